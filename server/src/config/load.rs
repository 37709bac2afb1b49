//! Reading the configuration file.

use std::fmt;
use std::path::Path;

use super::check::check;
use super::{Config, InvalidConfig};

/// Longest configuration file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;

impl Config {
    /// Reads the file if one is named, puts `data` over it, fills in what follows from the data directory and
    /// checks the whole.
    pub(crate) fn load(file: Option<&Path>, data: Option<&Path>) -> Result<Self, InvalidConfig> {
        let mut config = match file {
            Some(path) => Self::parse(&path.display().to_string(), &read(path)?)?,
            None => Self::default(),
        };
        if let Some(data) = data {
            data.clone_into(&mut config.data);
        }
        config.fill_in();
        check(&config)?;
        Ok(config)
    }

    /// Reads the text of a configuration file; `name` is for messages.
    pub(super) fn parse(name: &str, text: &str) -> Result<Self, InvalidConfig> {
        toml::from_str(text).map_err(|error| invalid_toml(name, text, &error))
    }
}

fn read(path: &Path) -> Result<String, InvalidConfig> {
    let invalid = |why: &dyn fmt::Display| InvalidConfig(format!("read config {}: {why}", path.display()));
    let bytes = std::fs::metadata(path).map_err(|error| invalid(&error))?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(invalid(&"it is longer than 1 MiB, this cannot be the right file"));
    }
    std::fs::read_to_string(path).map_err(|error| invalid(&error))
}

/// Says file, line and what to do. The parser's own text is not used: it quotes the file, which may hold a password.
fn invalid_toml(name: &str, text: &str, error: &toml::de::Error) -> InvalidConfig {
    let message = error.message();
    let start = error.span().map_or(0, |span| span.start);
    let line = text.bytes().take(start).filter(|b| *b == b'\n').count() + 1;
    let message = match message.strip_prefix("unknown field ") {
        Some(rest) => {
            format!("unknown key {rest}; remove it or correct its spelling (filmroom.example.toml describes every key)")
        }
        None if message == "invalid socket address syntax" => {
            "this is not an address to listen on: write IP address and port, as in \"127.0.0.1:11112\"".to_owned()
        }
        None => message.trim_end().replace('\n', ": "),
    };
    InvalidConfig(format!("{name}:{line}: {message}"))
}
