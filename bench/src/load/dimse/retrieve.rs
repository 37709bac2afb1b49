//! C-GET and C-MOVE of whole studies.

use std::net::SocketAddr;

/// What C-GET brought.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct Got {
    /// Instances.
    pub instances: usize,
    /// Bytes of data sets.
    pub bytes: u64,
    /// Until the first instance was there.
    pub first_seconds: f64,
    /// Until the last answer.
    pub seconds: f64,
}

/// What C-MOVE did.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct Moved {
    /// Completed sub-operations, as the last answer says.
    pub instances: usize,
    /// Until the last answer.
    pub seconds: f64,
}

/// Gets a study of so many instances.
pub fn c_get(_address: SocketAddr, _ae: &str, _study_instance_uid: &str, _instances: usize) -> anyhow::Result<Got> {
    anyhow::bail!("not yet")
}

/// Has a study of so many instances sent to a destination.
pub fn c_move(
    _address: SocketAddr,
    _ae: &str,
    _study_instance_uid: &str,
    _destination: &str,
    _instances: usize,
) -> anyhow::Result<Moved> {
    anyhow::bail!("not yet")
}
