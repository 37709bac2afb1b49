//! Deleting: durable beside the containers, then in the index, then the journal's space comes back.

use std::sync::Arc;

use super::pack;
use crate::archive::Inner;
use crate::receive::joined;
use crate::{Error, tombstones};
use index::{Hot, Tombstone};

/// Deletes as [`crate::Archive::delete`] says. The index must have caught up.
pub(crate) async fn delete(archive: &Arc<Inner>, tombstone: Tombstone) -> Result<(), Error> {
    let index = archive.link.get()?;
    let covered = |hot: &Hot| {
        tombstone.series.as_ref().is_none_or(|series| *series == hot.series_instance_uid)
            && tombstone.instance.as_ref().is_none_or(|instance| *instance == hot.sop_instance_uid)
    };
    let mut unsealed = index.hot_instances(std::slice::from_ref(&tombstone.study), &[], usize::MAX).await?;
    unsealed.retain(covered);
    let keeper = Arc::clone(archive);
    let record = tombstones::encode(&tombstone);
    joined(tokio::task::spawn_blocking(move || keeper.store.add_tombstone(&record)).await)??;
    archive.tombstones.enter(&tombstone);
    index.add_tombstone(&tombstone).await?;
    archive.sealed_series.all_changed();
    for hot in &unsealed {
        archive.presence.forget_record(&tombstone.study, &hot.series_instance_uid, &hot.sop_instance_uid, &hot.record);
    }
    let releaser = Arc::clone(archive);
    let released = tokio::task::spawn_blocking(move || {
        for hot in unsealed.iter().filter(|hot| hot.record.large) {
            if let Err(error) = releaser.journal.release_large(&hot.record) {
                tracing::warn!(%error, "a large payload that is deleted stays behind until the next start");
            }
        }
    });
    joined(released.await)?;
    let applied = *archive.applied.borrow();
    pack::release(archive, &index, applied).await
}
