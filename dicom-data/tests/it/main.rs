//! Data sets at the crate's real boundary.

mod dataset;
