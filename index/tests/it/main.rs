//! The index on a real Postgres: a cluster for the process, a database for each test.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::sync::Arc;

use dicom_core::{Tag, VR};
use dicom_data::Uid;
use dicom_data::query::{Level, Matching, Query};
use dicom_data::{Attribute, Attributes, PersonName, Value};
use futures_util::TryStreamExt as _;
use index::Selector;
use index::{ArchiveIndex, Arrival, ArrivalHead, Index, NewContainer, NewSegment, NewShard};
use journal::{Lsn, RecordRef};
use tiering::{ContainerId, DeviceId, Extent, InstanceKind, Manifest, ManifestInstance};
use uuid::Uuid;

mod applying;
mod deleting;
mod double;
mod embedded;
mod fixture;
mod migrating;
mod query;
mod sealing;

pub(crate) use fixture::{CACHE, Fixture, directory, fixture, query, uid};

pub(crate) const JOURNAL: Uuid = Uuid::from_u128(7);
pub(crate) const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
pub(crate) const SR: &str = "1.2.840.10008.5.1.4.1.1.88.11";

pub(crate) fn name(alphabetic: &str, ideographic: &str, phonetic: &str) -> Attribute {
    let name = PersonName { alphabetic: alphabetic.into(), ideographic: ideographic.into(), phonetic: phonetic.into() };
    Attribute { vr: VR::PN, value: Value::PersonNames(vec![name]) }
}

/// Study `t`, series `s`, instance `i`: a CT of a patient of its study.
pub(crate) fn arrival(t: u32, s: u32, i: u32) -> Arrival {
    let mut patient = Attributes::default();
    patient.put_text(Tag(0x0010, 0x0020), VR::LO, format!("P{t}"));
    patient.0.insert(Tag(0x0010, 0x0010), name(&format!("Doe{t}^John"), "", ""));
    let mut study = Attributes::default();
    study.put_text(Tag(0x0008, 0x0020), VR::DA, format!("202401{:02}", t % 28 + 1));
    study.put_text(Tag(0x0008, 0x0030), VR::TM, "103000");
    study.put_text(Tag(0x0008, 0x0050), VR::SH, format!("A{t}"));
    let mut series = Attributes::default();
    series.put_text(Tag(0x0008, 0x0060), VR::CS, "CT");
    series.put_text(Tag(0x0020, 0x0011), VR::IS, s.to_string());
    Arrival {
        record: RecordRef {
            lsn: Lsn(u64::from(t * 1_000_000 + s * 10_000 + i) * 100),
            head_bytes: 200,
            payload_bytes: 60_000 + u64::from(i),
            crc32c: t ^ (s << 8) ^ (i << 16),
            large: false,
        },
        head: ArrivalHead {
            study_instance_uid: uid(&format!("1.2.826.{t}")),
            series_instance_uid: uid(&format!("1.2.826.{t}.{s}")),
            sop_instance_uid: uid(&format!("1.2.826.{t}.{s}.{i}")),
            sop_class_uid: uid(CT),
            transfer_syntax_uid: uid("1.2.840.10008.1.2.1"),
            calling_ae: "SCANNER".into(),
            received_millis: 1_700_000_000_000 + i64::from(i),
        },
        instance_number: Some(i32::try_from(i).unwrap()),
        detail: r#"{"00280010":{"vr":"US","Value":[512]}}"#.into(),
        patient,
        study,
        series,
    }
}

pub(crate) async fn search(index: &Index, query: &Query) -> Vec<Attributes> {
    index.search(query).await.unwrap().try_collect().await.unwrap()
}

pub(crate) fn texts(found: &[Attributes], tag: Tag) -> Vec<String> {
    found.iter().map(|a| a.text(tag).unwrap_or("-").to_owned()).collect()
}

/// Everything that can be asked without knowing where instances lie.
pub(crate) async fn everything(index: &Index) -> Vec<Vec<Attributes>> {
    let mut all = Vec::new();
    for level in [Level::Patient, Level::Study, Level::Series, Level::Instance] {
        all.push(search(index, &query(level, &[])).await);
    }
    all
}

/// Packs all unsealed instances of studies into one container, as the packer would.
pub(crate) async fn pack(index: &dyn ArchiveIndex, studies: &[Uid], number: u128) -> NewContainer {
    let mut segments: Vec<NewSegment> = Vec::new();
    let mut offset = 0;
    for study in studies {
        let unsealed = index.unsealed_instances(std::slice::from_ref(study), &[], usize::MAX).await.unwrap();
        let mut seen = BTreeSet::new();
        let series: Vec<Uid> =
            unsealed.iter().map(|h| h.series_instance_uid.clone()).filter(|s| seen.insert(s.clone())).collect();
        for series in series {
            let summary = index.series_summaries(&[(study.clone(), series.clone())]).await.unwrap().remove(0);
            let mut manifest = Manifest::default();
            for row in unsealed.iter().filter(|h| h.series_instance_uid == series) {
                manifest.instances.push(ManifestInstance {
                    sop_instance_uid: row.sop_instance_uid.as_str().into(),
                    number: row.instance_number,
                    offset,
                    bytes: row.record.payload_bytes,
                    crc32c: row.record.crc32c,
                    pixel_data: 1_200,
                    frame_table: None,
                    received_millis: row.received_millis,
                    kind: Arc::new(InstanceKind {
                        sop_class_uid: row.sop_class_uid.as_str().into(),
                        transfer_syntax_uid: row.transfer_syntax_uid.as_str().into(),
                        encoding: 0,
                        detail: row.detail.clone(),
                    }),
                });
                offset += row.record.payload_bytes;
            }
            segments.push(NewSegment {
                study: study.clone(),
                series,
                metadata: Extent { offset, bytes: 100, crc32c: 9 },
                manifest: Arc::new(manifest),
                summary,
            });
        }
    }
    NewContainer {
        id: ContainerId(Uuid::from_u128(number)),
        generation: 1,
        pool: "hot".into(),
        tier: "hot".into(),
        month: Some((2024, 1)),
        data_shards: 2,
        parity_shards: 1,
        bytes: offset,
        stored_bytes: offset * 3 / 2,
        sealed_millis: 1_700_000_100_000,
        shards: (0..3)
            .map(|number| NewShard { number, device: DeviceId(Uuid::from_u128(u128::from(number))) })
            .collect(),
        segments,
    }
}

pub(crate) fn of_study(study: &str) -> Selector {
    Selector { studies: vec![uid(study)], ..Selector::default() }
}
