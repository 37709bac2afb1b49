//! Searching the double.

use dicom_data::Attributes;
use dicom_data::query::Query;
use futures_util::{StreamExt as _, stream};

use super::state::Double;
use crate::{Caller, Error, QueryService, Results, Right};

impl QueryService for Double {
    async fn search(&self, caller: &Caller, query: Query) -> Result<Results<Attributes>, Error> {
        caller.may(Right::Query)?;
        let mut state = self.state();
        let matches = state.matches(query.level).into_iter();
        let matches = matches.skip(count(query.offset)).take(query.limit.map_or(usize::MAX, count));
        let matches: Vec<_> = matches.collect();
        state.queries.push(query);
        if !state.endless_search {
            return Ok(Box::pin(stream::iter(matches.into_iter().map(Ok))));
        }
        let endless = stream::iter(matches.into_iter().cycle());
        Ok(Box::pin(endless.then(|one| async {
            tokio::task::yield_now().await;
            Ok(one)
        })))
    }

    async fn count(&self, caller: &Caller, query: &Query, at_most: u64) -> Result<Option<u64>, Error> {
        caller.may(Right::Query)?;
        let state = self.state();
        let after = u64::try_from(state.matches(query.level).len()).unwrap_or(u64::MAX).saturating_sub(query.offset);
        Ok((!state.uncounted).then(|| after.min(at_most)))
    }
}

fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
