//! Which instances are wanted, and where the index says that one lies.

use bytes::Bytes;
use dicom_data::Uid;
use journal::RecordRef;
use tiering::{ContainerId, Extent};
use uuid::Uuid;

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
    Journal(RecordRef),
    /// Sealed.
    Container(ContainerPlace),
}

/// Where a sealed instance lies, and what its series' manifest says of its pixel data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerPlace {
    /// The container.
    pub container: ContainerId,
    /// First byte in the container's logical bytes.
    pub offset: u64,
    /// CRC-32C of the data set.
    pub crc32c: u32,
    /// Row of the series segment that describes it.
    pub segment: i64,
    /// Its place among the segment's instances, counted from 0.
    pub position: usize,
    /// First byte of the Pixel Data value within the data set, 0 when there is none.
    pub pixel_data: u64,
    /// Where the fragments of encapsulated frames are listed.
    pub frame_table: Option<Extent>,
    /// Attributes that lay out the frames, as compact DICOM JSON.
    pub detail: Bytes,
}

/// An instance and where it is.
#[derive(Debug, Clone)]
pub struct Located {
    /// What adapters need to read it.
    pub instance: InstanceRef,
    /// The journal whose record it is; `None` once sealed.
    pub journal: Option<Uuid>,
    /// Instance Number (0020,0013).
    pub instance_number: Option<i32>,
    /// When it was received, in milliseconds since 1970.
    pub received_millis: i64,
}

impl InstanceRef {
    /// Returns the CRC-32C of the data set.
    pub fn crc32c(&self) -> u32 {
        match &self.location {
            Location::Journal(record) => record.crc32c,
            Location::Container(sealed) => sealed.crc32c,
        }
    }
}
