//! Where a container lies and how it is laid out: what most of its shards say.

use std::collections::HashMap;
use std::sync::Arc;

use super::cache::Located;
use super::shards::Shards;
use crate::catalog::Entry;
use crate::pools::Pool;
use crate::shard::footer::Geometry;
use crate::{ContainerId, Error};

/// Returns where a container lies and what most of its shards say of it. Blocks.
pub(crate) fn locate(shards: &Arc<Shards>, id: ContainerId) -> Result<Located, Error> {
    if let Some(at) = shards.cache().located(id) {
        return Ok(at);
    }
    let entries = shards.catalog().find(id);
    let mut lost = Error::Missing { container: id };
    for entry in entries {
        let Some(pool) = shards.pools().get(entry.pool) else {
            continue;
        };
        if let Some((geometry, votes)) = vote(shards, id, pool, &entry) {
            let at = Located { pool: entry.pool, geometry };
            // With fewer than k shards this may be an old disk's word alone: ask again next time.
            if votes >= usize::from(geometry.code.data_shards) {
                shards.cache().put_located(id, at);
            }
            return Ok(at);
        }
        lost = Error::Lost { container: id, missing: (0..pool.config.code.shards()).collect() };
    }
    Err(lost)
}

/// Opens all shards and returns the geometry that most have, the newest of equals, and how many have it.
///
/// A single shard suffices: what it holds can still be served. It is all shards, not the first, because a disk that
/// comes back after years may hold an older generation. Once k agree, slow ones are left out.
fn vote(shards: &Arc<Shards>, id: ContainerId, pool: &Pool, entry: &Entry) -> Option<(Geometry, usize)> {
    let mut asked = shards.fan_out();
    let online = |(shard, device)| Some((shard, Arc::clone(pool.online(device)?)));
    let mut places: Vec<_> = entry.places.iter().copied().filter_map(online).collect();
    places.dedup_by_key(|(shard, _)| *shard);
    for (shard, device) in places {
        let (opener, pool, on) = (Arc::clone(shards), entry.pool, Arc::clone(&device));
        asked.ask(shard, &device, move |heartbeat| {
            let open = opener.open_here(id, pool, shard, &on, heartbeat);
            open.map(|open| *open.file().geometry())
        });
    }
    let deadline = shards.deadline();
    let patient = shards.now() + pool.patience();
    let mut votes: HashMap<Geometry, usize> = HashMap::new();
    while asked.waiting() > 0 {
        let agreed = votes.values().any(|votes| *votes >= usize::from(pool.config.code.data_shards));
        match asked.next(if agreed { patient } else { deadline }) {
            Some((_, Ok(geometry))) => *votes.entry(geometry).or_default() += 1,
            Some((_, Err(_))) => {}
            None => {
                asked.note_hedge();
                asked.note_silence();
                break;
            }
        }
    }
    votes.into_iter().max_by_key(|(geometry, votes)| (*votes, geometry.generation))
}
