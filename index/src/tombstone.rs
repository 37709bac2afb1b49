//! Deletions: what was deleted vanishes from every answer and stays deleted, whatever is replayed or restored.

use std::collections::BTreeSet;

use sqlx::PgConnection;

use crate::connection::Index;
use crate::error::Error;
use crate::instances::SeriesRef;
use crate::numbers::signed;
use crate::places::Selector;
use crate::upsert;
use dicom_data::Uid;

/// A study, a series or an instance that was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    /// Study Instance UID.
    pub study: Uid,
    /// Series Instance UID; `None` for the whole study.
    pub series: Option<Uid>,
    /// SOP Instance UID; `None` for the whole series.
    pub instance: Option<Uid>,
    /// When, in milliseconds since 1970.
    pub deleted_millis: i64,
}

impl Index {
    /// Deletes and remembers; tells whether anything was there. Durable on return. The bytes stay until their
    /// container is rewritten.
    pub async fn add_tombstone(&self, tombstone: &Tombstone) -> Result<bool, Error> {
        let mut tx = self.pool.begin().await?;
        let study = lock(&mut tx, &tombstone.study).await?;
        let (series, instance) = (text(tombstone.series.as_ref()), text(tombstone.instance.as_ref()));
        sqlx::query(
            "insert into tombstone (study_instance_uid, series_instance_uid, sop_instance_uid, deleted_millis)
             values ($1, $2, $3, $4) on conflict on constraint tombstone_key do nothing",
        )
        .bind(tombstone.study.as_str())
        .bind(series)
        .bind(instance)
        .bind(tombstone.deleted_millis)
        .execute(&mut *tx)
        .await?;
        if let Some(study) = study {
            upsert::forget_modalities(&mut tx, &[study]).await?;
        }
        let there = match (study, &tombstone.series, &tombstone.instance) {
            (None, ..) => false,
            (Some(study), None, _) => {
                sqlx::query("delete from series where study = $1").bind(study).execute(&mut *tx).await?;
                true
            }
            (Some(study), Some(series), None) => {
                sqlx::query("delete from series where study = $1 and series_instance_uid = $2")
                    .bind(study)
                    .bind(series.as_str())
                    .execute(&mut *tx)
                    .await?
                    .rows_affected()
                    > 0
            }
            (Some(study), Some(series), Some(instance)) => {
                self.delete_instance(&mut tx, study, &tombstone.study, series, instance).await?
            }
        };
        if let Some(study) = study {
            remove_empty(&mut tx, &[study]).await?;
            upsert::set_modalities(&mut tx, &[study]).await?;
        }
        tx.commit().await?;
        Ok(there)
    }

    /// Returns all deletions, the oldest first.
    pub async fn tombstones(&self) -> Result<Vec<Tombstone>, Error> {
        let rows: Vec<(String, String, String, i64)> = sqlx::query_as(
            "select study_instance_uid, series_instance_uid, sop_instance_uid, deleted_millis from tombstone
             order by deleted_millis, study_instance_uid, series_instance_uid, sop_instance_uid",
        )
        .fetch_all(&self.pool)
        .await?;
        let uid = |text: String| text.parse::<Uid>().map_err(|_| Error::Damaged { what: "tombstone" });
        let some = |text: String| {
            if text.is_empty() { Ok(None) } else { uid(text).map(Some) }
        };
        rows.into_iter()
            .map(|(study, series, instance, deleted_millis)| {
                Ok(Tombstone { study: uid(study)?, series: some(series)?, instance: some(instance)?, deleted_millis })
            })
            .collect()
    }

    /// Tells whether something of the selection was deleted. A patient alone is never known to be.
    pub async fn was_deleted(&self, selector: &Selector) -> Result<bool, Error> {
        let mut query = sqlx::QueryBuilder::new("select exists (select from tombstone where true");
        let mut named = false;
        for (list, column, whole) in [
            (&selector.studies, "study_instance_uid", false),
            (&selector.series, "series_instance_uid", !selector.studies.is_empty()),
            (&selector.instances, "sop_instance_uid", !selector.series.is_empty() || !selector.studies.is_empty()),
        ] {
            if list.is_empty() {
                continue;
            }
            named = true;
            // The deletion of what is above covers it, when that is named, too.
            let mut uids: Vec<&str> = list.iter().map(Uid::as_str).collect();
            if whole {
                uids.push("");
            }
            query.push(" and ").push(column).push(" = any(").push_bind(uids).push(")");
        }
        query.push(")");
        if !named {
            return Ok(false);
        }
        Ok(query.build_query_scalar().fetch_one(&self.pool).await?)
    }

    async fn delete_instance(
        &self,
        tx: &mut PgConnection,
        study: i64,
        study_uid: &Uid,
        series_uid: &Uid,
        sop: &Uid,
    ) -> Result<bool, Error> {
        let row: Option<i64> =
            sqlx::query_scalar("select id from series where study = $1 and series_instance_uid = $2")
                .bind(study)
                .bind(series_uid.as_str())
                .fetch_optional(&mut *tx)
                .await?;
        let Some(row) = row else { return Ok(false) };
        let series = SeriesRef { id: row, study: study_uid.clone(), series: series_uid.clone() };
        let only = BTreeSet::from([sop.clone()]);
        let there = self.instances_of(tx, std::slice::from_ref(&series), &only).await?;
        let Some(instance) = there.first().and_then(|list| list.first()) else {
            return Ok(false);
        };
        let bytes = signed(instance.located.instance.bytes);
        sqlx::query("delete from instance_unsealed where series = $1 and sop_instance_uid = $2")
            .bind(row)
            .bind(sop.as_str())
            .execute(&mut *tx)
            .await?;
        for (_, segment) in self.segments_of(tx, &[row]).await? {
            let Some(position) = segment.position_of(sop) else {
                continue;
            };
            sqlx::query("update series_segment set dead = array_append(dead, $2) where id = $1")
                .bind(segment.id)
                .bind(i32::try_from(position).map_err(|_| Error::Damaged { what: "segment" })?)
                .execute(&mut *tx)
                .await?;
        }
        let left = self.instances_of(tx, &[series], &BTreeSet::new()).await?;
        let classes: BTreeSet<&str> =
            left.iter().flatten().map(|i| i.located.instance.sop_class_uid.as_str()).collect();
        sqlx::query(
            "update series set instances = instances - 1, bytes = bytes - $2, sop_class_uids = $3 where id = $1",
        )
        .bind(row)
        .bind(bytes)
        .bind(classes.into_iter().collect::<Vec<_>>())
        .execute(tx)
        .await?;
        Ok(true)
    }
}

/// Removes series without instances, then studies without series, then patients without studies. Patients are locked
/// after studies here, against the order: `add_tombstone` has them locked before, and elsewhere nothing is empty unless
/// it was deleted; Postgres ends the deadlock that may still be, and the batch is applied again.
pub(super) async fn remove_empty(tx: &mut PgConnection, studies: &[i64]) -> Result<(), Error> {
    sqlx::query("delete from series where study = any($1) and instances = 0").bind(studies).execute(&mut *tx).await?;
    let patients: Vec<i64> = sqlx::query_scalar(
        "with gone as (
             delete from study t where t.id = any($1) and not exists (select from series s where s.study = t.id)
             returning t.patient, t.date_rank, t.study_instance_uid, t.modalities),
         listed as (
             delete from study_modality x using gone g, unnest(g.modalities) as m
             where x.modality = m and x.date_rank = g.date_rank and x.study_instance_uid = g.study_instance_uid)
         select patient from gone",
    )
    .bind(studies)
    .fetch_all(&mut *tx)
    .await?;
    if !patients.is_empty() {
        sqlx::query(
            "delete from patient p where p.id = any($1) and not exists (select from study t where t.patient = p.id)",
        )
        .bind(patients)
        .execute(tx)
        .await?;
    }
    Ok(())
}

/// Locks the patient of a study, then the study.
async fn lock(tx: &mut PgConnection, study: &Uid) -> Result<Option<i64>, Error> {
    sqlx::query(
        "select p.id from patient p where p.id = (select t.patient from study t where t.study_instance_uid = $1) for update",
    )
    .bind(study.as_str())
    .execute(&mut *tx)
    .await?;
    Ok(sqlx::query_scalar("select id from study where study_instance_uid = $1 for update")
        .bind(study.as_str())
        .fetch_optional(tx)
        .await?)
}

fn text(uid: Option<&Uid>) -> &str {
    uid.map_or("", Uid::as_str)
}
