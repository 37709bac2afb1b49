//! Reading instances back: what adapters ask for and what they get.

mod bulk_value;
mod frame_layout;
mod frames;
mod instance_body;
mod instance_source;
mod layouts;
mod locate;
mod metadata;
mod open;
mod reader;

pub(crate) use bulk_value::bulk_data;
pub use frames::{Frame, Frames};
pub(crate) use frames::{FrameReader, frame_count, frames};
pub use instance_body::InstanceBody;
pub(crate) use locate::Locator;
pub(crate) use metadata::{MetadataReader, metadata};
pub use open::Opened;
pub(crate) use open::{open, open_all};
pub(crate) use reader::Reader;
