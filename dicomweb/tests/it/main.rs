//! The HTTP side of the adapter on a stand-in for the archive: requests in, answers out.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests are not seen as tests by clippy.toml's exceptions"
)]

mod bulk_data;
mod frames;
mod hostile;
mod http_rules;
mod instances;
mod metadata;
mod search;
mod server;
mod sockets;
mod store;
