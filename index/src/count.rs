//! How many matches a search has, without reading them.

use dicom_data::query::Query;

use crate::connection::Index;
use crate::error::Error;
use crate::plan::{self, Facts, Lookups, Plan};
use crate::plan_sql;

impl Index {
    /// Returns the number of matches after the query's offset, whatever its limit, or `at_most` if there are more:
    /// counting then ends. `None` when some key is matched in memory, so that only the search itself can tell.
    ///
    /// Instances are counted by their series, of which `at_most` suffice.
    pub async fn count(&self, query: &Query, at_most: u64) -> Result<Option<u64>, Error> {
        if !plan::without_column(query).is_empty() {
            return Ok(None);
        }
        let modalities = self.look_up_modalities(Lookups::of(query).modalities).await?;
        // The order of the answers does not matter here: a name is found by its grams.
        let plan = Plan::of(query, &Facts { modalities, ..Facts::default() })?;
        let mut sql = plan_sql::count(&plan, at_most.saturating_add(query.offset));
        let counted: i64 = sql.build_query_scalar().persistent(false).fetch_one(&self.pool).await?;
        let all = u64::try_from(counted).unwrap_or(0);
        Ok(Some(all.saturating_sub(query.offset).min(at_most)))
    }
}
