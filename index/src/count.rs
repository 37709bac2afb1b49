//! How many matches a search has, without reading them.

use sqlx::{Postgres, QueryBuilder};

use crate::condition::{self, Infix, Narrowed};
use crate::connection::Index;
use crate::error::Error;
use crate::numbers::signed;
use dicom_data::query::{Level, Query};

impl Index {
    /// Returns the number of matches after the query's offset, whatever its limit, or `at_most` if there are more:
    /// counting then ends. `None` when some key is matched in memory, so that only the search itself can tell.
    ///
    /// Instances are counted by their series, of which `at_most` suffice.
    pub async fn count(&self, query: &Query, at_most: u64) -> Result<Option<u64>, Error> {
        if !condition::without_column(query).is_empty() {
            return Ok(None);
        }
        // A patient that nobody asks for is not looked up: every study has one.
        let of_patient = query.keys.iter().any(|key| condition::is_of_patient(&key.path));
        let mut sql = QueryBuilder::<Postgres>::new(match query.level {
            Level::Patient => PATIENTS,
            Level::Study => STUDIES,
            Level::Series => SERIES,
            Level::Instance => INSTANCES,
        });
        if query.level != Level::Patient {
            sql.push(if of_patient { " join patient p on p.id = t.patient" } else { "" });
            let by_modality = condition::by_modality(query).is_some();
            sql.push(if by_modality { " join study_modality x on x.study = t.id where true" } else { " where true" });
        }
        let narrowed = Narrowed { infix: Infix::Grams, listed: self.listed(query).await? };
        condition::push(&mut sql, query, narrowed)?;
        let rows_max = at_most.saturating_add(query.offset);
        sql.push(" limit ").push_bind(signed(rows_max)).push(") as m");
        let counted: i64 = sql.build_query_scalar().persistent(false).fetch_one(&self.pool).await?;
        let all = u64::try_from(counted).unwrap_or(0);
        Ok(Some(all.saturating_sub(query.offset).min(at_most)))
    }
}

const PATIENTS: &str = "select count(*) from (
    select from patient p
    where exists (select from study t where t.patient = p.id)";

const STUDIES: &str = "select count(*) from (
    select from study t";

const SERIES: &str = "select count(*) from (
    select from series s join study t on t.id = s.study";

const INSTANCES: &str = "select coalesce(sum(m.instances), 0)::bigint from (
    select s.instances from series s join study t on t.id = s.study";
