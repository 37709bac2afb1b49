//! Load generators: clients that cost little and count what they get.

pub mod dimse;
pub mod http;
pub mod sink;
