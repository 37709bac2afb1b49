//! Reading instances back: what adapters ask for and what they get.

use bytes::Bytes;

use crate::Uid;

/// Names what to retrieve. Empty lists do not restrict.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    /// Patient ID (0010,0020), for PATIENT level retrieves.
    pub patient_id: Option<String>,
    /// Study Instance UIDs.
    pub studies: Vec<Uid>,
    /// Series Instance UIDs.
    pub series: Vec<Uid>,
    /// SOP Instance UIDs.
    pub instances: Vec<Uid>,
}

/// One instance that was found, and where its bytes lie.
#[derive(Debug, Clone)]
pub struct InstanceRef {
    /// Study Instance UID.
    pub study_instance_uid: Uid,
    /// Series Instance UID.
    pub series_instance_uid: Uid,
    /// SOP Instance UID.
    pub sop_instance_uid: Uid,
    /// SOP Class UID.
    pub sop_class_uid: Uid,
    /// Transfer syntax of the stored bytes.
    pub transfer_syntax_uid: Uid,
    /// Length of the data set in bytes.
    pub bytes: u64,
    /// Where the bytes are.
    pub location: Location,
}

/// Where an instance's bytes lie. A location may be out of date by the time it is used: a read that
/// finds something else there asks the index again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// Not yet sealed.
    Journal(crate::journal::RecordRef),
    /// Sealed.
    Container {
        /// The container.
        container: tiering::ContainerId,
        /// First byte in the container's logical bytes.
        offset: u64,
        /// CRC-32C of the data set.
        crc32c: u32,
        /// Row of the series segment that describes it.
        segment: i64,
    },
}

/// The frames that were asked for, in the order asked.
#[derive(Debug)]
pub struct Frames {
    /// Transfer syntax of the frames as stored.
    pub transfer_syntax_uid: Uid,
    /// One per requested frame number.
    pub frames: Vec<Frame>,
}

/// One frame: native pixels, or all fragments of one encapsulated frame together.
#[derive(Debug, Clone)]
pub struct Frame {
    /// 1-based frame number.
    pub number: u32,
    /// Its bytes, unpadded for native pixel data.
    pub bytes: Bytes,
}

/// The bytes of one data set or bulk value, in pieces of at most a few MiB.
pub struct InstanceBody {
    /// Total length in bytes.
    pub bytes: u64,
    /// The pieces in order; ends at the first error.
    pub chunks: std::pin::Pin<Box<dyn futures_core::Stream<Item = Result<Bytes, crate::Error>> + Send>>,
}
