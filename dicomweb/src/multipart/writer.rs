//! The frame around the parts of an answer.

use std::fmt::Write as _;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use bytes::Bytes;

/// Writes the delimiters and part headers of one answer; the boundary is unique (WE-128).
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    boundary: String,
}

/// What the headers of a part say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PartHead<'a> {
    /// `Content-Type`, with parameters.
    pub(crate) content_type: &'a str,
    /// `Content-Location`.
    pub(crate) location: &'a str,
    /// `Content-Length`.
    pub(crate) bytes: u64,
}

impl Writer {
    /// Begins an answer with a boundary of its own.
    pub(crate) fn new() -> Self {
        // Keyed at random, each another one, and without asking the system for every answer.
        let random = || RandomState::new().build_hasher().finish();
        Self { boundary: format!("{:016x}{:016x}", random(), random()) }
    }

    /// Returns the `Content-Type` of the answer whose parts are of type `media`.
    pub(crate) fn content_type(&self, media: &str) -> String {
        format!("multipart/related; type=\"{media}\"; boundary={}", self.boundary)
    }

    /// Returns the delimiter before a part with the part's headers; the line break before a delimiter belongs to it.
    pub(crate) fn head(&self, first: bool, part: PartHead<'_>) -> Vec<u8> {
        let mut head = String::with_capacity(512);
        head.push_str(if first { "--" } else { "\r\n--" });
        let written = write!(
            head,
            "{}\r\nContent-Type: {}\r\nContent-Length: {}\r\nContent-Location: {}\r\n\r\n",
            self.boundary, part.content_type, part.bytes, part.location,
        );
        written.expect("writing to a string cannot fail");
        head.into_bytes()
    }

    /// Returns the closing delimiter.
    pub(crate) fn tail(&self) -> Bytes {
        Bytes::from(format!("\r\n--{}--\r\n", self.boundary))
    }
}
