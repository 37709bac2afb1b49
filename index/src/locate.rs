//! Where instances are.

use std::collections::BTreeSet;

use sqlx::QueryBuilder;

use crate::connection::Index;
use crate::error::Error;
use crate::instances::{INSTANCE_COLUMNS, InstanceRow, SeriesRef};
use crate::places::{Located, Selector};
use dicom_data::Uid;
use dicom_data::query::text;

impl Index {
    /// Returns the instances of a selection, ordered by study, series number, series UID, instance number and SOP
    /// Instance UID (WE-087). A selector without any restriction selects nothing.
    pub async fn locate(&self, selector: &Selector) -> Result<Vec<Located>, Error> {
        let only: BTreeSet<Uid> = selector.instances.iter().cloned().collect();
        if selector.patient_id.is_none() && selector.studies.is_empty() && selector.series.is_empty() {
            return self.locate_by_sop(&only).await;
        }
        let mut connection = self.pool.acquire().await?;
        let series = series_of(&mut connection, selector).await?;
        let instances = self.instances_of(&mut connection, &series, &only).await?;
        Ok(instances.into_iter().flatten().map(|instance| instance.located).collect())
    }

    /// Returns one instance of a series.
    pub async fn find_instance(&self, series: &Uid, sop: &Uid) -> Result<Option<Located>, Error> {
        let selector = Selector { series: vec![series.clone()], instances: vec![sop.clone()], ..Selector::default() };
        Ok(self.locate(&selector).await?.into_iter().next())
    }

    /// Returns all instances with a SOP Instance UID: unsealed rows, then the containers whose filters admit it, newest first.
    pub async fn find_by_sop(&self, sop: &Uid) -> Result<Vec<Located>, Error> {
        let mut connection = self.pool.acquire().await?;
        let unsealed: Vec<InstanceRow> = unsealed_by_sop(&mut connection, sop).await?;
        let ids: Vec<i64> = unsealed.iter().map(|row| row.series).collect();
        let series = series_by_id(&mut connection, &ids).await?;
        let mut found = Vec::new();
        for row in &unsealed {
            // A series that is gone by now took its instances along.
            if let Some(series) = series.iter().find(|s| s.id == row.series) {
                found.push(row.located(series)?);
            }
        }
        drop(connection);
        // After the unsealed rows: what was sealed in between is in a filter that is read now.
        self.filters.refresh(&self.pool).await?;
        let mut connection = self.pool.acquire().await?;
        for container in self.filters.candidates(sop.as_str()) {
            for segment in self.segments_in(&mut connection, container).await? {
                let Some(place) = segment.locate(sop)? else {
                    continue;
                };
                let same = |other: &Located| {
                    other.instance.series_instance_uid == place.instance.series_instance_uid
                        && other.instance.study_instance_uid == place.instance.study_instance_uid
                };
                match found.iter_mut().find(|other| same(other)) {
                    Some(other) => *other = place,
                    None => found.push(place),
                }
            }
        }
        Ok(found)
    }

    async fn locate_by_sop(&self, only: &BTreeSet<Uid>) -> Result<Vec<Located>, Error> {
        let mut found = Vec::new();
        for sop in only {
            found.extend(self.find_by_sop(sop).await?);
        }
        found.sort_by(|a, b| {
            let key = |l: &Located| {
                let i = &l.instance;
                (
                    i.study_instance_uid.clone(),
                    i.series_instance_uid.clone(),
                    l.instance_number.is_none(),
                    l.instance_number,
                    i.sop_instance_uid.clone(),
                )
            };
            key(a).cmp(&key(b))
        });
        Ok(found)
    }
}

/// Returns the series rows of a selection in the order of answers.
pub(super) async fn series_of(
    connection: &mut sqlx::PgConnection,
    selector: &Selector,
) -> Result<Vec<SeriesRef>, Error> {
    let mut query = QueryBuilder::new(SERIES);
    query.push(" where true");
    if let Some(patient_id) = &selector.patient_id {
        query.push(" and p.patient_id = ").push_bind(text::normal(patient_id).unwrap_or_default());
    }
    for (list, column) in [(&selector.studies, "t.study_instance_uid"), (&selector.series, "s.series_instance_uid")] {
        if !list.is_empty() {
            let uids: Vec<&str> = list.iter().map(Uid::as_str).collect();
            query.push(" and ").push(column).push(" = any(").push_bind(uids).push(")");
        }
    }
    query.push(" order by t.study_instance_uid, s.series_number, s.series_instance_uid");
    let rows: Vec<(i64, String, String)> = query.build_query_as().fetch_all(connection).await?;
    rows.into_iter().map(series_ref).collect()
}

async fn series_by_id(connection: &mut sqlx::PgConnection, ids: &[i64]) -> Result<Vec<SeriesRef>, Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut query = QueryBuilder::new(SERIES);
    query.push(" where s.id = any(").push_bind(ids).push(")");
    let rows: Vec<(i64, String, String)> = query.build_query_as().fetch_all(connection).await?;
    rows.into_iter().map(series_ref).collect()
}

async fn unsealed_by_sop(connection: &mut sqlx::PgConnection, sop: &Uid) -> Result<Vec<InstanceRow>, Error> {
    let mut query = QueryBuilder::new("select ");
    query.push(INSTANCE_COLUMNS).push(" from instance_unsealed h where h.sop_instance_uid = ").push_bind(sop.as_str());
    Ok(query.build_query_as().fetch_all(connection).await?)
}

const SERIES: &str = "select s.id, t.study_instance_uid, s.series_instance_uid
    from series s
    join study t on t.id = s.study
    join patient p on p.id = t.patient";

fn series_ref((id, study, series): (i64, String, String)) -> Result<SeriesRef, Error> {
    let damaged = |_| Error::Damaged { what: "series" };
    Ok(SeriesRef { id, study: study.parse().map_err(damaged)?, series: series.parse().map_err(damaged)? })
}
