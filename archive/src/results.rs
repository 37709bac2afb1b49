//! Answers that come one by one.

use std::pin::Pin;

use futures_core::Stream;

use crate::Error;

/// A stream that ends at the first error.
pub type Results<T> = Pin<Box<dyn Stream<Item = Result<T, Error>> + Send>>;
