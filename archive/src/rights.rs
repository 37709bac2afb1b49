//! What callers may do.

use std::fmt;

/// Something that a caller may or may not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Store instances.
    Store,
    /// Search for patients, studies, series and instances, and count them.
    Query,
    /// Locate instances and read their bytes, frames and metadata.
    Retrieve,
    /// Delete instances.
    Delete,
}

/// The rights of a caller. `Default` allows everything: nothing restricts callers until a configuration does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights(u8);

impl Rights {
    /// Every right.
    pub const ALL: Self = Self(u8::MAX);
    /// No right.
    pub const NONE: Self = Self(0);

    /// Returns these rights and one more.
    #[must_use]
    pub const fn with(self, right: Right) -> Self {
        Self(self.0 | right.bit())
    }

    /// Returns these rights less one.
    #[must_use]
    pub const fn without(self, right: Right) -> Self {
        Self(self.0 & !right.bit())
    }

    pub(crate) fn contain(self, right: Right) -> bool {
        self.0 & right.bit() != 0
    }
}

impl Default for Rights {
    fn default() -> Self {
        Self::ALL
    }
}

impl Right {
    const fn bit(self) -> u8 {
        match self {
            Self::Store => 1,
            Self::Query => 1 << 1,
            Self::Retrieve => 1 << 2,
            Self::Delete => 1 << 3,
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Store => "store",
            Self::Query => "query",
            Self::Retrieve => "retrieve",
            Self::Delete => "delete",
        })
    }
}
