//! Load over DIMSE: compiled, cheap, exact in what it counts.

mod find;
mod retrieve;
mod store;

pub use find::{Find, Found, Query, ask, find};
pub use retrieve::{Got, Moved, c_get, c_move};
pub use store::{Store, Stored, Style, store};
