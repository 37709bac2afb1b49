//! What all requests below one base path share.

use std::sync::Arc;

use archive::Caller;
use http::Extensions;

use crate::options::Options;
use crate::page::Pages;

/// The state behind the routes of one base path.
#[derive(Debug, Clone)]
pub(crate) struct App<A> {
    pub(crate) archive: A,
    pub(crate) options: Arc<Options>,
    pub(crate) base_path: Arc<str>,
    pub(crate) pages: Pages,
    /// The caller of requests whose connection brings none.
    pub(crate) unknown: Caller,
}

impl<A> App<A> {
    /// Returns the caller that the server made for the request's connection.
    pub(crate) fn caller<'a>(&'a self, extensions: &'a Extensions) -> &'a Caller {
        extensions.get().unwrap_or(&self.unknown)
    }
}
