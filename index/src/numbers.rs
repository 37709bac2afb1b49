//! Numbers on their way to and from Postgres, which has no unsigned ones.

use crate::error::Error;

/// Returns the number as Postgres stores it. What the archive writes fits.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Returns a stored number that cannot be negative unless `what` is damaged.
pub(crate) fn unsigned(value: i64, what: &'static str) -> Result<u64, Error> {
    u64::try_from(value).map_err(|_| Error::Damaged { what })
}
