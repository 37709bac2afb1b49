//! Rebuilding: empties the index and fills it from containers, tombstones and journal.

use std::sync::Arc;

use super::adopt::Adopter;
use super::control::JobControl;
use crate::Error;
use crate::barrier::Barrier;
use crate::follower::Follower;
use crate::link::IndexLink;
use crate::tasks::Tasks;

/// Empties the index and fills it again; returns the instances it then has.
pub(crate) async fn rebuild(
    link: &IndexLink,
    adopter: &Adopter,
    follower: Arc<Follower>,
    (barrier, tasks): (&Barrier, &Tasks),
    control: &JobControl,
) -> Result<u64, Error> {
    let index = link.get()?;
    index.clear().await?;
    adopter.adopt(&index, &|done, total| control.report(done, total)).await?;
    tasks.start(follower.run());
    barrier.catch_up_patiently().await?;
    index.analyze_if_grown().await?;
    Ok(index.counts().await?.instances)
}
