//! What the packer asks: which studies are quiet, what of them is unsealed, and what the journal still holds for us.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use bytes::Bytes;
use sqlx::QueryBuilder;
use uuid::Uuid;

use crate::connection::Index;
use crate::error::Error;
use crate::instances::{INSTANCE_COLUMNS, InstanceRow};
use crate::json;
use crate::numbers::{signed, unsigned};
use crate::places::{InstanceRef, Located, Location};
use dicom_data::Uid;
use journal::{Lsn, RecordRef};

/// A study with instances that are not yet sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackStudy {
    /// Study Instance UID.
    pub study_instance_uid: Uid,
    /// Year and month of Study Date.
    pub month: Option<(i16, u8)>,
    /// UnsealedRow instances.
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
pub struct UnsealedRow {
    /// The journal.
    pub journal: Uuid,
    /// Where it lies there.
    pub record: RecordRef,
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
    /// Instance Number.
    pub instance_number: Option<i32>,
    /// As it arrived.
    pub detail: Bytes,
    /// When it was received, in milliseconds since 1970.
    pub received_millis: i64,
}

impl UnsealedRow {
    /// Returns where it lies.
    pub(crate) fn located(&self) -> Located {
        Located {
            instance: InstanceRef {
                study_instance_uid: self.study_instance_uid.clone(),
                series_instance_uid: self.series_instance_uid.clone(),
                sop_instance_uid: self.sop_instance_uid.clone(),
                sop_class_uid: self.sop_class_uid.clone(),
                transfer_syntax_uid: self.transfer_syntax_uid.clone(),
                bytes: self.record.payload_bytes,
                location: Location::Journal(self.record.clone()),
            },
            journal: Some(self.journal),
            instance_number: self.instance_number,
            received_millis: self.received_millis,
        }
    }
}

const DAMAGED: Error = Error::Damaged { what: "unsealed instance" };
/// Studies or series that one statement asks for at most.
const ASKED_MAX: usize = 1_000;

#[derive(sqlx::FromRow)]
struct NamedInstanceRow {
    study_instance_uid: String,
    series_instance_uid: String,
    #[sqlx(flatten)]
    row: InstanceRow,
}

impl NamedInstanceRow {
    fn read(self) -> Result<UnsealedRow, Error> {
        let Self { study_instance_uid, series_instance_uid, row } = self;
        Ok(UnsealedRow {
            journal: row.journal()?,
            record: row.record()?,
            study_instance_uid: study_instance_uid.parse().map_err(|_| DAMAGED)?,
            series_instance_uid: series_instance_uid.parse().map_err(|_| DAMAGED)?,
            sop_instance_uid: row.sop_instance_uid.parse().map_err(|_| DAMAGED)?,
            sop_class_uid: row.sop_class_uid.parse().map_err(|_| DAMAGED)?,
            transfer_syntax_uid: row.transfer_syntax_uid.parse().map_err(|_| DAMAGED)?,
            instance_number: row.instance_number,
            received_millis: row.received_millis,
            detail: row.detail.into(),
        })
    }
}

impl Index {
    /// Returns the studies with unsealed instances none of which came in these milliseconds, all studies if there are none, the
    /// one that waits longest first. Reads all unsealed rows: some 100 ms for 200,000.
    pub async fn quiet_studies(&self, busy_millis: RangeInclusive<i64>) -> Result<Vec<PackStudy>, Error> {
        type Row = (String, Option<i32>, Option<i32>, i64, i64, i64, i64);
        let rows: Vec<Row> = sqlx::query_as(
            "select t.study_instance_uid, extract(year from t.study_date)::int, extract(month from t.study_date)::int, \
                 h.instances, h.bytes, h.oldest, h.newest
             from (select s.study, count(*) as instances, sum(h.payload_bytes)::bigint as bytes, \
                       min(h.received_millis) as oldest, max(h.received_millis) as newest
                   from instance_unsealed h join series s on s.id = h.series
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
                    instances: unsigned(instances, "unsealed instance")?,
                    bytes: unsigned(bytes, "unsealed instance")?,
                    oldest_received: oldest,
                    newest_received: newest,
                })
            })
            .collect()
    }

    /// Returns the first unsealed instances of studies in the order given, each study's by series number and UID, instance number
    /// and SOP Instance UID; not those in `left_out`, and at most `instances_max`.
    pub async fn unsealed_instances(
        &self,
        studies: &[Uid],
        left_out: &[Lsn],
        instances_max: usize,
    ) -> Result<Vec<UnsealedRow>, Error> {
        let left_out: Vec<i64> = left_out.iter().map(|at| signed(at.0)).collect();
        let mut found = Vec::new();
        for studies in studies.chunks(ASKED_MAX) {
            let uids: Vec<&str> = studies.iter().map(Uid::as_str).collect();
            let more_max = instances_max.saturating_sub(found.len());
            let mut query = QueryBuilder::new("select t.study_instance_uid, s.series_instance_uid, ");
            query.push(INSTANCE_COLUMNS).push(" from unnest(").push_bind(uids).push(
                "::text[]) with ordinality as n (study, no)
                 join study t on t.study_instance_uid = n.study
                 join series s on s.study = t.id
                 join instance_unsealed h on h.series = s.id
                 where h.lsn <> all(",
            );
            query.push_bind(&left_out).push(
                "::bigint[])
                 order by n.no, s.series_number, s.series_instance_uid, h.instance_number, h.sop_instance_uid limit ",
            );
            query.push_bind(i64::try_from(more_max).unwrap_or(i64::MAX));
            let rows: Vec<NamedInstanceRow> = query.build_query_as().fetch_all(&self.pool).await?;
            found.reserve(rows.len());
            for row in rows {
                found.push(row.read()?);
            }
        }
        Ok(found)
    }

    /// Returns unsealed instances as they lie in their journals, behind one of them or from the first: at most `instances_max`.
    pub async fn unsealed_in_order(
        &self,
        behind: Option<&UnsealedRow>,
        instances_max: usize,
    ) -> Result<Vec<UnsealedRow>, Error> {
        let (journal, lsn) = behind.map_or((Uuid::nil(), -1), |row| (row.journal, signed(row.record.lsn.0)));
        let mut query = QueryBuilder::new("select t.study_instance_uid, s.series_instance_uid, ");
        query.push(INSTANCE_COLUMNS).push(
            " from instance_unsealed h join series s on s.id = h.series join study t on t.id = s.study
             where (h.journal, h.lsn) > (",
        );
        query.push_bind(journal.to_string()).push("::uuid, ").push_bind(lsn);
        query.push(") order by h.journal, h.lsn limit ");
        query.push_bind(i64::try_from(instances_max).unwrap_or(i64::MAX));
        let rows: Vec<NamedInstanceRow> = query.build_query_as().fetch_all(&self.pool).await?;
        rows.into_iter().map(NamedInstanceRow::read).collect()
    }

    /// Returns for each series, named by Study and Series Instance UID, all that is needed to make its row and those that
    /// it belongs to again: `{"patient": {..}, "study": {..}, "series": {..}}`, DICOM JSON objects. It goes into the
    /// container. Fails when one of the series is not there.
    pub async fn series_summaries(&self, series: &[(Uid, Uid)]) -> Result<Vec<Bytes>, Error> {
        let mut found = Vec::with_capacity(series.len());
        for series in series.chunks(ASKED_MAX) {
            let rows: Vec<(String, String, String)> = sqlx::query_as(
                "select p.attributes, t.attributes, s.attributes
                 from unnest($1::text[], $2::text[]) with ordinality as n (study, series, no)
                 join study t on t.study_instance_uid = n.study
                 join series s on s.study = t.id and s.series_instance_uid = n.series
                 join patient p on p.id = t.patient
                 order by n.no",
            )
            .bind(series.iter().map(|(study, _)| study.as_str()).collect::<Vec<_>>())
            .bind(series.iter().map(|(_, series)| series.as_str()).collect::<Vec<_>>())
            .fetch_all(&self.pool)
            .await?;
            if rows.len() != series.len() {
                return Err(Error::NotFound { what: "series" });
            }
            for (patient, study, series) in rows {
                for part in [&patient, &study, &series] {
                    json::read(part)?;
                }
                found.push(format!(r#"{{"patient":{patient},"study":{study},"series":{series}}}"#).into());
            }
        }
        Ok(found)
    }

    /// Returns the numbers of the journal's segments (position / `segment_bytes`) in which unsealed instances begin; all others
    /// up to the applied position can be recycled.
    pub async fn journal_segments_in_use(&self, journal: Uuid, segment_bytes: u64) -> Result<BTreeSet<u64>, Error> {
        let rows: Vec<i64> =
            sqlx::query_scalar("select distinct lsn / $2 from instance_unsealed where journal = $1::uuid")
                .bind(journal.to_string())
                .bind(signed(segment_bytes.max(1)))
                .fetch_all(&self.pool)
                .await?;
        rows.into_iter().map(|no| unsigned(no, "unsealed instance")).collect()
    }
}
