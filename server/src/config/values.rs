//! Values that are checked as they are read, so that an error names the line.

use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::str::FromStr;

use serde::de::value::{SeqAccessDeserializer, StrDeserializer};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An application entity title (PS3.5 §6.2): 1 to 16 characters, no backslash, no control character.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct AeTitle(pub(crate) dicom_net::AeTitle);

/// A host and a port to connect to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct HostPort(String);

/// A directory that keeps shards: `file:///mnt/d1` or a plain path.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Device(pub(crate) PathBuf);

/// The URL of a Postgres database. Debug does not show it: it may hold a password.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct DatabaseUrl(String);

impl HostPort {
    /// Returns `host:port`.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl DatabaseUrl {
    /// Returns the URL with its password, if it has one.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for AeTitle {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parsed = text.parse();
        parsed
            .map(Self)
            .map_err(|_| format!("`{text}` is not a valid AE title: use 1 to 16 ASCII characters without backslash"))
    }
}

impl TryFrom<String> for HostPort {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let valid = text.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty()
                && !host.contains(|c: char| c.is_whitespace() || c == '/')
                && port.parse::<u16>().is_ok_and(|port| port > 0)
        });
        if valid {
            Ok(Self(text))
        } else {
            Err(format!("`{text}` is not a valid address: write host:port, as in \"10.0.0.5:104\""))
        }
    }
}

impl TryFrom<String> for Device {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let path = match text.split_once("://") {
            None => text.as_str(),
            Some(("file", path)) if path.starts_with('/') => path,
            Some(("file", _)) => {
                return Err(format!("`{text}` names a host: write file:///path with three slashes"));
            }
            Some((scheme, _)) => {
                return Err(format!(
                    "devices of the kind {scheme}:// are not there yet: use a directory, as in \"file:///mnt/d1\""
                ));
            }
        };
        if path.is_empty() {
            return Err("a device needs a path, as in \"file:///mnt/d1\"".to_owned());
        }
        Ok(Self(PathBuf::from(path)))
    }
}

impl TryFrom<String> for DatabaseUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            Ok(Self(text))
        } else {
            // The text is not repeated: it may hold a password.
            Err("this is not a valid database URL: write postgres://user@host/database".to_owned())
        }
    }
}

impl From<AeTitle> for String {
    fn from(title: AeTitle) -> Self {
        title.0.to_string()
    }
}

impl From<HostPort> for String {
    fn from(address: HostPort) -> Self {
        address.0
    }
}

impl From<Device> for String {
    fn from(device: Device) -> Self {
        device.0.display().to_string()
    }
}

impl From<DatabaseUrl> for String {
    /// Returns the URL without what a password could be in: output of `check-config` is pasted into tickets.
    fn from(url: DatabaseUrl) -> Self {
        let (scheme, rest) = url.0.split_once("://").unwrap_or(("postgres", ""));
        let rest = rest.split('?').next().unwrap_or_default();
        match rest.rsplit_once('@') {
            Some((user, host)) => {
                let user = user.split(':').next().unwrap_or_default();
                format!("{scheme}://{user}@{host}")
            }
            None => format!("{scheme}://{rest}"),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from(self.clone()))
    }
}

/// Reads one value or a list of values.
pub(crate) fn one_or_many<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct OneOrMany<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrMany<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text or a list of texts")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<T>, E> {
            T::deserialize(StrDeserializer::new(text)).map(|value| vec![value])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Vec<T>, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(seq))
        }
    }

    deserializer.deserialize_any(OneOrMany(PhantomData))
}

/// Reads a value by its text form.
pub(crate) fn from_text<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

/// Writes a value in its text form.
pub(crate) fn to_text<S: Serializer>(value: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// Returns the first value that appears twice.
pub(crate) fn first_repeated<T: Ord>(values: impl IntoIterator<Item = T>) -> Option<T> {
    let mut seen = BTreeSet::new();
    for value in values {
        if seen.contains(&value) {
            return Some(value);
        }
        seen.insert(value);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ae_titles_are_trimmed_and_bounded() {
        assert_eq!(AeTitle::try_from(" A B ".to_owned()).unwrap().0.as_str(), "A B");
        for text in ["", "   ", "12345678901234567", "A\\B", "TAB\t", "Ä"] {
            assert!(AeTitle::try_from(text.to_owned()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn devices_are_directories_for_now() {
        let path = |text: &str| Device::try_from(text.to_owned()).map(|d| d.0.display().to_string());
        assert_eq!(path("file:///mnt/d1").unwrap(), "/mnt/d1");
        assert_eq!(path("./d1").unwrap(), "./d1");
        assert!(path("file://host/d1").unwrap_err().contains("three slashes"));
        assert!(path("s3://bucket").unwrap_err().contains("not there yet"));
        assert!(path("").is_err());
    }

    #[test]
    fn addresses_need_a_host_and_a_port() {
        for text in ["sink:104", "10.0.0.5:11112", "[::1]:104"] {
            assert!(HostPort::try_from(text.to_owned()).is_ok(), "{text}");
        }
        for text in ["sink", ":104", "sink:0", "sink:99999", "dicom://sink:104"] {
            assert!(HostPort::try_from(text.to_owned()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_password_is_shown_neither_by_debug_nor_by_output() {
        let url = DatabaseUrl::try_from("postgres://me:secret@db/film?password=secret".to_owned()).unwrap();
        assert_eq!(format!("{url:?}"), "postgres://me@db/film");
        assert_eq!(url.reveal(), "postgres://me:secret@db/film?password=secret");
        assert!(!DatabaseUrl::try_from("secret".to_owned()).unwrap_err().contains("secret"));
    }
}
