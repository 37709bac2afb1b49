//! The archive at its real boundaries.

mod dataset;
mod index;
mod journal;
mod query;
