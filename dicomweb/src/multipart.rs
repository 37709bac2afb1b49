//! `multipart/related` (RFC 2046 §5.1, RFC 2387) as DICOMweb uses it (PS3.18 §8.6.1.2). Pure: bytes in, bytes out.

mod reader;
mod writer;

pub(crate) use reader::{Event, Fault, Reader};
pub(crate) use writer::{PartHead, Writer};
