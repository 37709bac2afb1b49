//! Code profiles and tiers: what an operator writes in the configuration.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// Largest k·m: the parity rows of the generator matrix must fit the 4 KiB shard header.
const MATRIX_BYTES_MAX: u32 = 3_840;
/// Most data shards that one parity shard may stand for: a rebuild of more reads so much that a second loss is likely.
const SINGLE_PARITY_DATA_SHARDS_MAX: u8 = 8;

/// How a pool codes: k data shards and m parity shards, any m of which may be lost. Written `4+2`.
///
/// k = 1 is replication: every parity shard is a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CodeProfile {
    /// Data shards, k, at least 1.
    pub data_shards: u8,
    /// Parity shards, m; 0 only for `1+0`.
    pub parity_shards: u8,
}

impl CodeProfile {
    /// Returns the profile if it is one that can be used.
    pub fn new(data_shards: u8, parity_shards: u8) -> Result<Self, Error> {
        let code = Self { data_shards, parity_shards };
        let refuse = |why: &str| Error::Config { reason: format!("code {code} {why}") };
        let (k, m) = (u32::from(data_shards), u32::from(parity_shards));
        if k == 0 {
            return Err(refuse("has no data shard, write k+m with k of at least 1"));
        }
        if k + m > 255 {
            return Err(refuse("has more than 255 shards"));
        }
        if m == 0 && k > 1 {
            return Err(refuse("loses everything with any one device, use 1+0 for a single disk or add parity"));
        }
        if m == 1 && data_shards > SINGLE_PARITY_DATA_SHARDS_MAX {
            return Err(refuse("has one parity shard for too many data shards, use 8+2 or 18+2"));
        }
        if k * m > MATRIX_BYTES_MAX {
            return Err(refuse("has a generator matrix larger than the shard header"));
        }
        Ok(code)
    }

    /// Returns k+m.
    pub fn shards(self) -> u8 {
        self.data_shards.saturating_add(self.parity_shards)
    }

    /// Returns whether a shard of this number carries a copy of the table of contents: shard 0 and every parity shard.
    pub(crate) fn carries_toc(self, shard: u8) -> bool {
        shard == 0 || shard >= self.data_shards
    }
}

impl fmt::Display for CodeProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.data_shards, self.parity_shards)
    }
}

impl FromStr for CodeProfile {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = || Error::Config { reason: format!("code {text:?} is not of the form k+m, for example 4+2") };
        let (k, m) = text.split_once('+').ok_or_else(refuse)?;
        let number = |digits: &str| {
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse::<u8>().ok().filter(|_| plain).ok_or_else(refuse)
        };
        Self::new(number(k)?, number(m)?)
    }
}

/// Cost class of a pool. New studies go to hot; age moves whole containers down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Read often.
    Hot,
    /// Read now and then.
    Warm,
    /// Read rarely.
    Cold,
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hot => "hot",
            Self::Warm => "warm",
            Self::Cold => "cold",
        })
    }
}

impl FromStr for Tier {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "hot" => Ok(Self::Hot),
            "warm" => Ok(Self::Warm),
            "cold" => Ok(Self::Cold),
            _ => Err(Error::Config { reason: format!("tier {text:?} is not one of hot, warm, cold") }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, want: &str) {
        let got = text.parse::<CodeProfile>().map_or_else(|error| error.to_string(), |code| code.to_string());
        assert!(got.contains(want), "{text}: {got}");
    }

    #[test]
    fn profiles_that_can_be_used() {
        for text in ["1+0", "1+1", "1+2", "2+1", "2+2", "4+2", "8+2", "18+2", "60+64"] {
            check(text, text);
        }
    }

    #[test]
    fn profiles_that_are_refused() {
        check("0+2", "no data shard");
        check("200+56", "more than 255");
        check("4+0", "loses everything");
        check("9+1", "too many data shards");
        check("100+100", "generator matrix");
        for text in ["", "4", "4+", "+2", "4+2+1", " 4+2", "-4+2", "4++2", "400+2"] {
            check(text, "form k+m");
        }
    }

    #[test]
    fn tiers_round_trip() {
        for tier in [Tier::Hot, Tier::Warm, Tier::Cold] {
            assert_eq!(tier.to_string().parse::<Tier>().unwrap(), tier);
        }
        assert!("Hot".parse::<Tier>().is_err());
    }
}
