//! Promise 5: any m devices of a pool may vanish and every byte is still served; m+1 lost is said plainly.

use std::fs;
use std::path::PathBuf;

use tiering::{Checked, Error, Store, Verdict, Wait};

use crate::support::{BLOCK, Filled, Rig, assert_readable, make, options, read_of};

/// How a shard is broken.
#[derive(Debug, Clone, Copy)]
enum Harm {
    Removed,
    /// One bit in every block.
    Rotten,
    Truncated,
}

struct Victim {
    rig: Rig,
    filled: Filled,
    shards: Vec<(PathBuf, Vec<u8>)>,
}

impl Victim {
    fn new(code: &str, devices: usize) -> Self {
        let rig = Rig::new(code, devices);
        let filled = make(&rig.open(), &[100, 60_000, 65_536, 70_001, 3, 200_000, 150_000]);
        let shards =
            rig.shards(filled.sealed.id).into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect();
        Self { rig, filled, shards }
    }

    /// Breaks the shards whose bit is set.
    fn harm(&self, lost: u32, harm: Harm) {
        for (number, (path, whole)) in self.shards.iter().enumerate() {
            let mut bytes = whole.clone();
            match harm {
                _ if lost >> number & 1 == 0 => {}
                Harm::Removed => {
                    fs::remove_file(path).ok();
                    continue;
                }
                Harm::Rotten => (4096..bytes.len() - 77).step_by(BLOCK / 2).for_each(|at| bytes[at + 77] ^= 4),
                Harm::Truncated => bytes.truncate(bytes.len() / 2),
            }
            fs::write(path, bytes).unwrap();
        }
    }

    fn open(&self) -> Store {
        self.rig.open()
    }
}

fn sets(shards: u32, of: u32) -> impl Iterator<Item = u32> {
    (0..1_u32 << shards).filter(move |set| set.count_ones() == of)
}

fn survives(code: &str, shards: u32, lost_max: u32) {
    let victim = Victim::new(code, shards as usize);
    for lost in (0..=lost_max).flat_map(|count| sets(shards, count)) {
        for harm in [Harm::Removed, Harm::Rotten, Harm::Truncated] {
            victim.harm(lost, harm);
            let store = victim.open();
            assert_readable(&store, &victim.filled);
            let verification = store.verify(victim.filled.sealed.id).unwrap();
            assert!(verification.recoverable, "{code} {lost:b} {harm:?}");
            for verdict in verification.shards {
                let harmed = lost >> verdict.number & 1 == 1;
                assert_eq!(verdict.verdict != Verdict::Healthy, harmed, "{code} {lost:b} {harm:?}: {verdict:?}");
            }
            assert_eq!(store.damage().unreadable_reads, 0);
        }
    }
}

#[test]
fn any_two_of_4_and_2_may_go() {
    survives("4+2", 6, 2);
}

#[test]
fn any_one_of_2_and_1_may_go() {
    survives("2+1", 3, 1);
}

#[test]
fn all_copies_but_one_may_go() {
    survives("1+2", 3, 2);
}

#[test]
fn mixed_harm_in_different_blocks_of_every_shard_is_survived() {
    let victim = Victim::new("4+2", 6);
    // Every shard is damaged, but no block number in more than two shards.
    for (number, (path, whole)) in victim.shards.iter().enumerate() {
        let mut bytes = whole.clone();
        bytes[4096 + (number % 3) * BLOCK + number] ^= 1;
        fs::write(path, bytes).unwrap();
    }
    let store = victim.open();
    assert_readable(&store, &victim.filled);
    assert!(store.verify(victim.filled.sealed.id).unwrap().recoverable);
    assert!(store.damage().block_mismatches > 0 && store.damage().degraded_reads > 0);
}

#[test]
fn three_of_4_and_2_lost_names_the_container_and_serves_the_rest() {
    let victim = Victim::new("4+2", 6);
    let id = victim.filled.sealed.id;
    let end = victim.filled.logical.len() as u64;
    for lost in sets(6, 3) {
        for harm in [Harm::Removed, Harm::Rotten, Harm::Truncated] {
            victim.harm(lost, harm);
            let store = victim.open();
            let error = read_of(&store, id, 0..end);
            let data_lost = (0..4).any(|shard| lost >> shard & 1 == 1);
            if data_lost {
                let Err(Error::Lost { container, missing }) = error else { panic!("{lost:b} {harm:?}: {error:?}") };
                assert_eq!(container, id);
                assert_eq!(missing, (0..6).filter(|shard| lost >> shard & 1 == 1).collect::<Vec<u8>>());
                assert!(store.damage().unreadable_reads > 0);
            }
            for shard in (0..4_u64).filter(|shard| lost >> shard & 1 == 0) {
                let start = shard * BLOCK as u64;
                let got = read_of(&store, id, start..start + 1_000).unwrap();
                assert!(got == victim.filled.logical[start as usize..][..1_000]);
            }
            assert!(!store.verify(id).unwrap().recoverable);
        }
    }
    // Nothing was overwritten: with the shards back everything is healthy again.
    victim.harm(0, Harm::Removed);
    assert!(victim.open().verify(id).unwrap().is_healthy());
}

#[tokio::test]
async fn reads_that_do_not_block_return_the_same_bytes() {
    let victim = Victim::new("4+2", 6);
    let (id, logical) = (victim.filled.sealed.id, &victim.filled.logical);
    for (lost, harm) in [(0, Harm::Rotten), (0b00_0011, Harm::Rotten), (0b00_1001, Harm::Removed)] {
        victim.harm(lost, harm);
        let store = victim.open();
        for _ in 0..2 {
            for instance in &victim.filled.toc.segments[0].manifest.instances {
                let range = instance.offset..instance.offset + instance.bytes;
                let want = &logical[range.start as usize..range.end as usize];
                assert!(
                    store.read(id, range.clone(), Checked::Crc(instance.crc32c), Wait::IfNeeded).await.unwrap() == want
                );
                assert!(store.read(id, range, Checked::Blocks, Wait::IfNeeded).await.unwrap() == want);
            }
            assert_eq!(store.toc(id).await.unwrap(), victim.filled.toc);
        }
        assert_eq!(store.damage().degraded_reads > 0, lost > 0);
    }
}

#[tokio::test]
async fn a_wrong_checksum_of_the_caller_is_told_from_damage() {
    let victim = Victim::new("2+1", 3);
    let store = victim.open();
    let error = store.read(victim.filled.sealed.id, 10..20, Checked::Crc(1), Wait::IfNeeded).await.unwrap_err();
    assert!(matches!(error, Error::Mismatch { offset: 10, bytes: 10, .. }), "{error}");
    assert_eq!(store.damage().caller_mismatches, 1);
    assert_eq!(store.damage().block_mismatches, 0);
}

#[tokio::test]
async fn ranges_beyond_the_end_are_refused() {
    let victim = Victim::new("2+1", 3);
    let store = victim.open();
    let (id, end) = (victim.filled.sealed.id, victim.filled.logical.len() as u64);
    for range in [end - 1..end + 1, end + 1..end + 1, 0..u64::MAX, u64::MAX - 1..u64::MAX] {
        assert!(
            matches!(
                store.read(id, range.clone(), Checked::Blocks, Wait::IfNeeded).await,
                Err(Error::OutOfRange { .. })
            ),
            "{range:?}"
        );
        assert!(matches!(store.read(id, range, Checked::Crc(0), Wait::IfNeeded).await, Err(Error::OutOfRange { .. })));
    }
    #[expect(clippy::reversed_empty_ranges, reason = "what a caller's wrong arithmetic gives")]
    let backwards = 5..3;
    assert!(matches!(store.read(id, backwards, Checked::Blocks, Wait::IfNeeded).await, Err(Error::OutOfRange { .. })));
}

#[test]
fn a_large_container_has_units_of_full_size() {
    let rig = Rig::new("4+2", 6);
    let options = tiering::StoreOptions { unit_bytes_max: 1 << 20, ..options() };
    let store = Store::open(vec![rig.pool.clone()], options).unwrap();
    let filled = make(&store, &[300_000; 30]);
    for (offset, bytes) in &filled.items {
        assert_eq!(offset >> 20, (offset + *bytes as u64 - 1) >> 20, "an item straddles a unit");
    }
    fs::remove_file(&rig.shards(filled.sealed.id)[1]).unwrap();
    assert_readable(&rig.open(), &filled);
}
