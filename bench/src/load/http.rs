//! Load over HTTP/1.1 on connections that are kept: clients that cost little and believe nothing. What is not the answer
//! that was expected, status and length, is an error and never part of a figure.

mod connection;
mod random;
mod reader;
mod stow;

pub use connection::{Connection, Fetched, Request};
pub use random::{Load, Rates, Target, random};
pub use stow::{Filed, store, store_body};

/// One or more Part 10 files.
pub const DICOM: &str = "multipart/related; type=\"application/dicom\"; transfer-syntax=*";
/// Frames and bulk data as they are.
pub const OCTETS: &str = "multipart/related; type=\"application/octet-stream\"; transfer-syntax=*";
/// Answers of searches, and metadata.
pub const JSON: &str = "application/dicom+json";
