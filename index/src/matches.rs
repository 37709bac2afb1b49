//! The matches of a search.

use std::pin::Pin;

use dicom_data::Attributes;
use futures_core::Stream;

use crate::error::Error;

/// Matches as they are found, in the order of answers.
pub type Matches = Pin<Box<dyn Stream<Item = Result<Attributes, Error>> + Send>>;
