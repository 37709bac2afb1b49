//! The instances of series: unsealed rows first, then manifests, each instance once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use sqlx::PgConnection;
use tiering::ManifestInstance;
use uuid::Uuid;

use crate::connection::Index;
use crate::error::Error;
use crate::numbers::unsigned;
use crate::places::{InstanceRef, Located, Location};
use crate::segment::Segment;
use dicom_data::Uid;
use journal::{Lsn, RecordRef};

/// A row of `series`.
#[derive(Debug, Clone)]
pub(crate) struct SeriesRef {
    pub(crate) id: i64,
    pub(crate) study: Uid,
    pub(crate) series: Uid,
}

/// An instance with what queries answer about it.
#[derive(Debug, Clone)]
pub(crate) struct Instance {
    pub(crate) located: Located,
    pub(crate) detail: Bytes,
}

/// A row of `instance_unsealed`.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct InstanceRow {
    pub(crate) series: i64,
    pub(crate) sop_instance_uid: String,
    pub(crate) sop_class_uid: String,
    pub(crate) transfer_syntax_uid: String,
    pub(crate) instance_number: Option<i32>,
    journal: String,
    lsn: i64,
    head_bytes: i64,
    payload_bytes: i64,
    crc32c: i64,
    large: bool,
    pub(crate) received_millis: i64,
    pub(crate) detail: Vec<u8>,
}

/// The columns of `InstanceRow`.
pub(crate) const INSTANCE_COLUMNS: &str = "h.series, h.sop_instance_uid, h.sop_class_uid, h.transfer_syntax_uid, \
    h.instance_number, h.journal::text as journal, h.lsn, h.head_bytes, h.payload_bytes, h.crc32c, h.large, \
    h.received_millis, h.detail";

impl InstanceRow {
    pub(crate) fn record(&self) -> Result<RecordRef, Error> {
        Ok(RecordRef {
            lsn: Lsn(unsigned(self.lsn, "unsealed instance")?),
            head_bytes: u32::try_from(self.head_bytes).map_err(|_| DAMAGED)?,
            payload_bytes: unsigned(self.payload_bytes, "unsealed instance")?,
            crc32c: u32::try_from(self.crc32c).map_err(|_| DAMAGED)?,
            large: self.large,
        })
    }

    pub(crate) fn journal(&self) -> Result<Uuid, Error> {
        self.journal.parse().map_err(|_| DAMAGED)
    }

    pub(crate) fn located(&self, series: &SeriesRef) -> Result<Located, Error> {
        let record = self.record()?;
        Ok(Located {
            instance: InstanceRef {
                study_instance_uid: series.study.clone(),
                series_instance_uid: series.series.clone(),
                sop_instance_uid: uid(&self.sop_instance_uid)?,
                sop_class_uid: uid(&self.sop_class_uid)?,
                transfer_syntax_uid: uid(&self.transfer_syntax_uid)?,
                bytes: record.payload_bytes,
                location: Location::Journal(record),
            },
            journal: Some(self.journal()?),
            instance_number: self.instance_number,
            received_millis: self.received_millis,
        })
    }
}

impl Index {
    /// Returns the instances of each series in the order given, each list by instance number and SOP Instance UID; only
    /// the named ones unless `only` is empty.
    pub(crate) async fn instances_of(
        &self,
        connection: &mut PgConnection,
        series: &[SeriesRef],
        only: &BTreeSet<Uid>,
    ) -> Result<Vec<Vec<Instance>>, Error> {
        let rows: Vec<i64> = series.iter().map(|s| s.id).collect();
        let unsealed = unsealed_rows(connection, &rows, only).await?;
        let segments = self.segments_of(connection, &rows).await?;
        let mut found: BTreeMap<i64, Vec<Instance>> = BTreeMap::new();
        let by_id: BTreeMap<i64, &SeriesRef> = series.iter().map(|s| (s.id, s)).collect();
        let mut several = BTreeSet::new();
        for row in unsealed {
            let Some(series) = by_id.get(&row.series) else {
                continue;
            };
            let located = row.located(series)?;
            found.entry(row.series).or_default().push(Instance { located, detail: row.detail.into() });
        }
        for (series, segment) in &segments {
            let all = found.entry(*series).or_default();
            if !all.is_empty() {
                several.insert(*series);
            }
            for (index, instance) in chosen(segment, only) {
                let located = segment.located(index, instance)?;
                all.push(Instance { located, detail: instance.kind.detail.clone() });
            }
        }
        let lists = series.iter().map(|s| {
            let list = found.remove(&s.id).unwrap_or_default();
            ordered(if several.contains(&s.id) { each_once(list) } else { list })
        });
        Ok(lists.collect())
    }
}

/// Keeps the last of those with one UID: what was sealed since the unsealed rows were read, the container has, the journal may
/// not much longer.
fn each_once(list: Vec<Instance>) -> Vec<Instance> {
    let mut all = BTreeMap::new();
    for instance in list {
        all.insert(instance.located.instance.sop_instance_uid.clone(), instance);
    }
    all.into_values().collect()
}

/// Sorts by instance number, those without one last, and SOP Instance UID.
fn ordered(mut list: Vec<Instance>) -> Vec<Instance> {
    let number = |i: &Instance| (i.located.instance_number.is_none(), i.located.instance_number);
    list.sort_by(|a, b| {
        let uids = || a.located.instance.sop_instance_uid.cmp(&b.located.instance.sop_instance_uid);
        number(a).cmp(&number(b)).then_with(uids)
    });
    list
}

fn chosen<'a>(
    segment: &'a Arc<Segment>,
    only: &'a BTreeSet<Uid>,
) -> Box<dyn Iterator<Item = (usize, &'a ManifestInstance)> + Send + 'a> {
    if only.is_empty() {
        Box::new(segment.manifest.instances.iter().enumerate())
    } else {
        Box::new(only.iter().filter_map(|uid| segment.find_numbered(uid)))
    }
}

async fn unsealed_rows(
    connection: &mut PgConnection,
    series: &[i64],
    only: &BTreeSet<Uid>,
) -> Result<Vec<InstanceRow>, Error> {
    let mut query = sqlx::QueryBuilder::new("select ");
    query.push(INSTANCE_COLUMNS).push(" from instance_unsealed h where h.series = any(").push_bind(series).push(")");
    if !only.is_empty() {
        let only: Vec<&str> = only.iter().map(Uid::as_str).collect();
        query.push(" and h.sop_instance_uid = any(").push_bind(only).push(")");
    }
    Ok(query.build_query_as().fetch_all(connection).await?)
}

const DAMAGED: Error = Error::Damaged { what: "instance" };

fn uid(text: &str) -> Result<Uid, Error> {
    text.parse().map_err(|_| DAMAGED)
}
