//! An instance on its way from the journal into the index, and what becomes of it. Plain data.

use bytes::Bytes;
use dicom_data::{Attributes, Uid};
use journal::RecordRef;
use uuid::Uuid;

use crate::places::{Located, Location};

/// One instance as the journal has it.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// Where it lies.
    pub record: RecordRef,
    /// What it is.
    pub head: ArrivalHead,
    /// Instance Number (0020,0013).
    pub instance_number: Option<i32>,
    /// Further attributes of the instance that queries answer, as a DICOM JSON object.
    pub detail: Bytes,
    /// Attributes of the patient.
    pub patient: Attributes,
    /// Attributes of the study.
    pub study: Attributes,
    /// Attributes of the series.
    pub series: Attributes,
}

impl Arrival {
    /// Leaves only what an instance is found and read by.
    pub fn strip(&mut self) {
        self.instance_number = None;
        self.detail = Bytes::from_static(b"{}");
        for attributes in [&mut self.patient, &mut self.study, &mut self.series] {
            attributes.0.clear();
        }
    }
}

/// The identity of an arrival.
#[derive(Debug, Clone)]
pub struct ArrivalHead {
    /// Study Instance UID.
    pub study_instance_uid: Uid,
    /// Series Instance UID.
    pub series_instance_uid: Uid,
    /// SOP Instance UID.
    pub sop_instance_uid: Uid,
    /// SOP Class UID.
    pub sop_class_uid: Uid,
    /// Transfer syntax of the data set as stored.
    pub transfer_syntax_uid: Uid,
    /// Calling AE title.
    pub calling_ae: String,
    /// When it was received, in milliseconds since 1970.
    pub received_millis: i64,
}

/// What became of an arrival.
#[derive(Debug, Clone)]
pub enum Applied {
    /// It was not there and now is.
    New,
    /// This very record was applied before.
    Known,
    /// The same bytes are there already, here (ST-040).
    Same(Box<Located>),
    /// Other bytes with the same UIDs are there, here, and stay (ST-041).
    Different(Box<Located>),
    /// It, its series or its study was deleted and stays so (ST-086).
    Deleted,
}

impl Applied {
    /// Returns what becomes of an arrival of `journal` when an instance with its UIDs is there already.
    pub(crate) fn beside(journal: Uuid, arrival: &Arrival, known: &Located) -> Self {
        let instance = &known.instance;
        let crc32c = match &instance.location {
            Location::Journal(record) => {
                if known.journal == Some(journal) && record.lsn == arrival.record.lsn {
                    return Self::Known;
                }
                record.crc32c
            }
            Location::Container(sealed) => sealed.crc32c,
        };
        let same = crc32c == arrival.record.crc32c
            && instance.bytes == arrival.record.payload_bytes
            && instance.transfer_syntax_uid == arrival.head.transfer_syntax_uid;
        if same { Self::Same(Box::new(known.clone())) } else { Self::Different(Box::new(known.clone())) }
    }
}
