//! The archive at its real boundaries.

mod archive;
mod dataset;
mod index;
mod journal;
mod query;
