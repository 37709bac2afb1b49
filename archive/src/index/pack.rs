//! What the packer asks: which studies are quiet, what of them is hot, and what the journal still holds for us.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use bytes::Bytes;
use sqlx::QueryBuilder;
use uuid::Uuid;

use super::instances::{HOT_COLUMNS, HotRow};
use super::{Error, Index, json, signed, unsigned};
use crate::Uid;
use crate::journal::RecordRef;

/// A study with instances that are not yet sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackStudy {
    /// Study Instance UID.
    pub study_instance_uid: Uid,
    /// Year and month of Study Date.
    pub month: Option<(i16, u8)>,
    /// Hot instances.
    pub instances: u64,
    /// Bytes of their data sets.
    pub bytes: u64,
    /// When the first of them was received, in milliseconds since 1970.
    pub oldest_received: i64,
    /// When the last of them was received.
    pub newest_received: i64,
}

/// An instance that is not yet sealed.
#[derive(Debug, Clone)]
pub struct Hot {
    /// The journal.
    pub journal: Uuid,
    /// Where it lies there.
    pub record: RecordRef,
    /// Series Instance UID.
    pub series_instance_uid: Uid,
    /// SOP Instance UID.
    pub sop_instance_uid: Uid,
    /// SOP Class UID.
    pub sop_class_uid: Uid,
    /// Transfer syntax of the stored bytes.
    pub transfer_syntax_uid: Uid,
    /// Instance Number.
    pub instance_number: Option<i32>,
    /// As it arrived.
    pub detail: Bytes,
    /// When it was received, in milliseconds since 1970.
    pub received_millis: i64,
}

const DAMAGED: Error = Error::Damaged { what: "hot instance" };

impl Index {
    /// Returns the studies with hot instances none of which came in these milliseconds, all studies if there are none, the
    /// one that waits longest first. Reads all hot rows: some 100 ms for 200,000.
    pub async fn quiet_studies(&self, busy_millis: RangeInclusive<i64>) -> Result<Vec<PackStudy>, Error> {
        type Row = (String, Option<i32>, Option<i32>, i64, i64, i64, i64);
        let rows: Vec<Row> = sqlx::query_as(
            "select t.study_instance_uid, extract(year from t.study_date)::int, extract(month from t.study_date)::int, \
                 h.instances, h.bytes, h.oldest, h.newest
             from (select s.study, count(*) as instances, sum(h.payload_bytes)::bigint as bytes, \
                       min(h.received_millis) as oldest, max(h.received_millis) as newest
                   from instance_hot h join series s on s.id = h.series
                   group by s.study having max(h.received_millis) not between $1 and $2) as h
             join study t on t.id = h.study
             order by h.oldest, t.study_instance_uid",
        )
        .bind(busy_millis.start())
        .bind(busy_millis.end())
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|(study, year, month, instances, bytes, oldest, newest)| {
                let month = year.zip(month).and_then(|(y, m)| Some((y.try_into().ok()?, m.try_into().ok()?)));
                Ok(PackStudy {
                    study_instance_uid: study.parse().map_err(|_| DAMAGED)?,
                    month,
                    instances: unsigned(instances, "hot instance")?,
                    bytes: unsigned(bytes, "hot instance")?,
                    oldest_received: oldest,
                    newest_received: newest,
                })
            })
            .collect()
    }

    /// Returns the hot instances of a study by series number and UID, instance number and SOP Instance UID.
    pub async fn hot_instances(&self, study: &Uid) -> Result<Vec<Hot>, Error> {
        #[derive(sqlx::FromRow)]
        struct Row {
            series_instance_uid: String,
            #[sqlx(flatten)]
            hot: HotRow,
        }
        let mut query = QueryBuilder::new("select s.series_instance_uid, ");
        query
            .push(HOT_COLUMNS)
            .push(
                " from instance_hot h join series s on s.id = h.series join study t on t.id = s.study
                 where t.study_instance_uid = ",
            )
            .push_bind(study.as_str())
            .push(" order by s.series_number, s.series_instance_uid, h.instance_number, h.sop_instance_uid");
        let rows: Vec<Row> = query.build_query_as().fetch_all(&self.pool).await?;
        rows.into_iter()
            .map(|Row { series_instance_uid, hot }| {
                Ok(Hot {
                    journal: hot.journal()?,
                    record: hot.record()?,
                    series_instance_uid: series_instance_uid.parse().map_err(|_| DAMAGED)?,
                    sop_instance_uid: hot.sop_instance_uid.parse().map_err(|_| DAMAGED)?,
                    sop_class_uid: hot.sop_class_uid.parse().map_err(|_| DAMAGED)?,
                    transfer_syntax_uid: hot.transfer_syntax_uid.parse().map_err(|_| DAMAGED)?,
                    instance_number: hot.instance_number,
                    received_millis: hot.received_millis,
                    detail: hot.detail.into(),
                })
            })
            .collect()
    }

    /// Returns all that is needed to make the rows of a series and of what it belongs to again:
    /// `{"patient": {..}, "study": {..}, "series": {..}}`, DICOM JSON objects. It goes into the container.
    pub async fn series_summary(&self, study: &Uid, series: &Uid) -> Result<Bytes, Error> {
        let row: Option<(String, String, String)> = sqlx::query_as(
            "select p.attributes, t.attributes, s.attributes
             from series s join study t on t.id = s.study join patient p on p.id = t.patient
             where t.study_instance_uid = $1 and s.series_instance_uid = $2",
        )
        .bind(study.as_str())
        .bind(series.as_str())
        .fetch_optional(&self.pool)
        .await?;
        let (patient, study, series) = row.ok_or(Error::NotFound { what: "series" })?;
        for part in [&patient, &study, &series] {
            json::read(part)?;
        }
        Ok(format!(r#"{{"patient":{patient},"study":{study},"series":{series}}}"#).into())
    }

    /// Returns the numbers of the journal's segments (position / `segment_bytes`) in which hot instances begin; all others
    /// up to the applied position can be recycled.
    pub async fn hot_segments(&self, journal: Uuid, segment_bytes: u64) -> Result<BTreeSet<u64>, Error> {
        let rows: Vec<i64> = sqlx::query_scalar("select distinct lsn / $2 from instance_hot where journal = $1::uuid")
            .bind(journal.to_string())
            .bind(signed(segment_bytes.max(1)))
            .fetch_all(&self.pool)
            .await?;
        rows.into_iter().map(|no| unsigned(no, "hot instance")).collect()
    }
}
