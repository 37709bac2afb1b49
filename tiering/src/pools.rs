//! The configured pools and their devices.

pub(crate) mod admission;
mod config;
mod open;
mod set;

pub(crate) use open::open;
pub(crate) use set::{Pool, Pools};
