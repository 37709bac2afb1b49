//! Commands to a running server: a Unix socket in the data directory that speaks lines of JSON.
//!
//! The client sends one [`Request`] line; the server answers with any number of [`Reply::Event`] lines and one last
//! [`Reply::Done`] or [`Reply::Failed`]. A client that goes away cancels what can be cancelled. The socket is for the
//! server's own user and for root.

mod client;
mod protocol;
mod server;
mod socket;
mod work;

pub(crate) use client::ask;
pub(crate) use protocol::{Answer, ImportSummary, JobOrder, PoolLine, Request};
pub(crate) use server::AdminServer;
pub(crate) use work::execute;
