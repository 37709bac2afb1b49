//! DICOM on the wire: the upper layer (PS3.8) and the message services (PS3.7, PS3.4) of Filmroom.
//!
//! A [`Server`] accepts associations and serves Verification, Storage and Query/Retrieve from an
//! archive; a [`client::Client`] asks other nodes. Data sets pass as bytes: nothing here parses
//! pixel data or knows where instances lie.

pub mod client;
pub mod command;
/// Entry points of the fuzz targets; not part of the interface.
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;

mod ae_title;
mod association;
mod end;
mod negotiation;
mod options;
mod pdu;
mod server;
mod services;
mod status;

pub use ae_title::{AeTitle, InvalidAeTitle};
pub use options::{Destination, Rules, ServerOptions, Timeouts};
pub use server::{Error, Server};
pub use status::Status;
