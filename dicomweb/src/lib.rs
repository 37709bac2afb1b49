//! The DICOMweb adapter (PS3.18): QIDO-RS, WADO-RS and STOW-RS on top of [`archive::Archive`].
//!
//! Wire to archive types and back, no storage and no SQL. [`router`] makes the routes; the server binds the socket,
//! sets `TCP_NODELAY`, makes an [`archive::Caller`] for each connection and puts it into the extensions of each request.
//!
//! What is answered differently from the letter of the standard, on purpose:
//! - No `Accept` header, and `*/*`, mean "as stored": `transfer-syntax=*` (PS3.18 §8.7.5 would have 406).
//! - Nothing is transcoded yet: a transfer syntax that is not the stored one is answered with 406 and a text that says
//!   that `transfer-syntax=*` works.
//! - `/frames/{list}` and `/bulkdata/{path}` of a compressed instance may be asked as
//!   `application/octet-stream; transfer-syntax=*`, as OHIF does; the part names its true media type.
//! - STOW-RS takes `application/dicom` only; metadata with bulk data (`application/dicom+json`) is answered with 415.

/// Entry points of the fuzz targets; not part of the interface.
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;

mod accept;
mod app;
mod base_url;
mod call;
mod capabilities;
mod cors;
mod front;
mod media_type;
mod multipart;
mod observe;
mod options;
mod page;
mod problem;
mod qido;
mod query_string;
mod routes;
mod stow;
mod wado;

pub use options::{Cors, EmptySearch, Forwarded, Options, StowLimits};
pub use routes::router;
