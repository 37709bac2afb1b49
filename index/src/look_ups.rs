//! What Postgres is asked before a search is planned.

use std::collections::BTreeSet;

use dicom_data::Uid;

use crate::condition::NameKey;
use crate::connection::Index;
use crate::error::Error;
use crate::plan::{Facts, Lookups, ModalitiesFact, NameFact};
use crate::plan_sql;

/// A name with a wild card at its beginning that so many patients have at most is looked for among their studies; of more
/// patients there is one every few hundred studies in a million, so that a page is found on the way.
const PATIENTS_FEW_MAX: usize = 1_000;

/// A name with a wild card at its beginning that the planner believes to be of so many patients is not looked up: reading
/// them takes longer than the page, and it knows how often characters and pairs of them are.
const PATIENTS_MANY_MIN: u64 = 2_000;

/// Studies that have one of several modalities are taken from the lists if there are so many at most.
const STUDIES_FEW_MAX: i64 = 1_000;

impl Index {
    /// Looks up what a search is planned with.
    pub(crate) async fn look_up(&self, lookups: Lookups) -> Result<Facts, Error> {
        let Lookups { name, modalities, instances } = lookups;
        Ok(Facts {
            modalities: self.look_up_modalities(modalities).await?,
            series: if instances.is_empty() { None } else { Some(self.look_up_series(&instances).await?) },
            name: match name {
                Some(name) => self.look_up_name(&name).await?,
                None => NameFact::Unknown,
            },
        })
    }

    /// Tells whether few or many studies have one of several modalities.
    pub(crate) async fn look_up_modalities(&self, modalities: Option<Vec<String>>) -> Result<ModalitiesFact, Error> {
        let Some(modalities) = modalities else { return Ok(ModalitiesFact::Many) };
        let mut sql = plan_sql::studies_listed(modalities, STUDIES_FEW_MAX + 1);
        let studies: i64 = sql.build_query_scalar().persistent(false).fetch_one(&self.pool).await?;
        Ok(if studies <= STUDIES_FEW_MAX { ModalitiesFact::Few } else { ModalitiesFact::Many })
    }

    async fn look_up_series(&self, instances: &BTreeSet<Uid>) -> Result<Vec<String>, Error> {
        let mut series = BTreeSet::new();
        for sop in instances {
            for located in self.find_by_sop(sop).await? {
                series.insert(located.instance.series_instance_uid.as_str().to_owned());
            }
        }
        Ok(series.into_iter().collect())
    }

    async fn look_up_name(&self, name: &NameKey) -> Result<NameFact, Error> {
        if self.estimate(name).await? >= PATIENTS_MANY_MIN {
            return Ok(NameFact::Many);
        }
        let mut sql = plan_sql::patients_of(name, PATIENTS_FEW_MAX + 1);
        let patients: Vec<i64> = sql.build_query_scalar().persistent(false).fetch_all(&self.pool).await?;
        Ok(if patients.len() > PATIENTS_FEW_MAX { NameFact::Many } else { NameFact::Few(patients) })
    }

    /// Returns how many patients the planner believes to have a name.
    async fn estimate(&self, name: &NameKey) -> Result<u64, Error> {
        let mut sql = plan_sql::estimate_of(name);
        let plan: Vec<String> = sql.build_query_scalar().persistent(false).fetch_all(&self.pool).await?;
        let rows = plan.first().and_then(|line| line.split_once("rows=")?.1.split(' ').next()?.parse().ok());
        Ok(rows.unwrap_or(0))
    }
}
