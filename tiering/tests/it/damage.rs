//! Every kind of byte in a shard, flipped: each is found by verify and survived by reads.

use std::fs;
use std::ops::Range;

use tiering::{ContainerId, Store, Tier, Verdict};
use uuid::Uuid;

use crate::support::{BLOCK, Rig, assert_readable, crc32c, fill, make, read_of, toc_of};

const LENGTHS: [usize; 4] = [60_000, 131_072, 40_000, 250_000];

/// Parts of a shard file, computed from its last bytes as a reader of the format would.
fn parts(bytes: &[u8], shards: usize) -> Vec<(&'static str, Range<usize>)> {
    let tail = bytes.len() - 100;
    let field = |at: usize| u64::from_le_bytes(bytes[tail + at..][..8].try_into().unwrap()) as usize;
    let table = 4096 + field(40);
    let hashes = table + field(40) / BLOCK * 4;
    let toc = hashes + 32 * shards;
    vec![
        ("header", 0..4096),
        ("units", 4096..table),
        ("table", table..hashes),
        ("hashes", hashes..toc),
        ("toc", toc..tail),
        ("footer", tail..tail + 84),
        ("trailer", tail + 84..bytes.len()),
    ]
}

#[test]
fn a_flip_anywhere_is_found_and_survived() {
    let rig = Rig::new("4+2", 6);
    let filled = make(&rig.open(), &LENGTHS);
    let id = filled.sealed.id;
    for (number, path) in rig.shards(id).into_iter().enumerate() {
        let whole = fs::read(&path).unwrap();
        for (part, range) in parts(&whole, 6) {
            assert!(!range.is_empty() || (part == "toc" && (1..4).contains(&number)), "{part} of shard {number}");
            for at in [range.start, range.start + range.len() / 2, range.end.saturating_sub(1)]
                .into_iter()
                .filter(|at| range.contains(at))
            {
                let mut bytes = whole.clone();
                bytes[at] ^= 0x20;
                fs::write(&path, bytes).unwrap();
                let store = rig.open();
                let verification = store.verify(id).unwrap();
                assert!(verification.recoverable, "{part} of shard {number}");
                for verdict in &verification.shards {
                    let harmed = usize::from(verdict.number) == number;
                    assert_eq!(
                        matches!(verdict.verdict, Verdict::Damaged { .. }),
                        harmed,
                        "{part} at {at} of shard {number}: {verdict:?}"
                    );
                }
                assert_readable(&store, &filled);
            }
        }
        fs::write(&path, whole).unwrap();
    }
    assert!(rig.open().verify(id).unwrap().is_healthy());
}

#[test]
fn damaged_blocks_are_named() {
    let rig = Rig::new("2+1", 3);
    let filled = make(&rig.open(), &LENGTHS);
    let path = &rig.shards(filled.sealed.id)[1];
    let mut bytes = fs::read(path).unwrap();
    bytes[4096] ^= 1;
    bytes[4096 + 2 * BLOCK + 9] ^= 1;
    fs::write(path, bytes).unwrap();
    let store = rig.open();
    let verification = store.verify(filled.sealed.id).unwrap();
    let want = Verdict::Damaged { what: "block checksums differ", blocks: vec![0, 2] };
    assert_eq!(verification.shards[1].verdict, want);
    assert_eq!((store.damage().block_mismatches, store.damage().damaged_shards), (2, 0));
}

#[test]
fn damage_that_comes_while_the_store_is_open_is_survived() {
    let rig = Rig::new("4+2", 6);
    let store = rig.open();
    let filled = make(&store, &LENGTHS);
    assert_readable(&store, &filled);
    for path in &rig.shards(filled.sealed.id)[..2] {
        // In place, so that open handles see it.
        let mut bytes = fs::read(path).unwrap();
        bytes[4096 + 10] ^= 1;
        fs::write(path, bytes).unwrap();
    }
    assert_readable(&store, &filled);
    assert!(store.damage().block_mismatches > 0);
}

#[test]
fn all_tables_of_contents_damaged_leaves_the_bytes_readable() {
    let rig = Rig::new("4+2", 6);
    let filled = make(&rig.open(), &LENGTHS);
    let id = filled.sealed.id;
    for number in [0, 4, 5] {
        let path = &rig.shards(id)[number];
        let mut bytes = fs::read(path).unwrap();
        let (_, toc) = parts(&bytes, 6).into_iter().find(|(part, _)| *part == "toc").unwrap();
        bytes[toc.start + 1] ^= 1;
        fs::write(path, bytes).unwrap();
    }
    let store = rig.open();
    assert!(matches!(toc_of(&store, id), Err(tiering::Error::Lost { missing, .. }) if missing == [0, 4, 5]));
    assert!(read_of(&store, id, 0..filled.logical.len() as u64).unwrap() == filled.logical);
    assert!(!store.verify(id).unwrap().recoverable);
}

#[test]
fn misdirected_shards_are_damage() {
    let rig = Rig::new("4+2", 6);
    let store = rig.open();
    let (one, other) = (make(&store, &LENGTHS), make(&store, &LENGTHS));
    let (shards, others) = (rig.shards(one.sealed.id), rig.shards(other.sealed.id));
    fs::copy(&shards[1], &shards[2]).unwrap(); // another number of the same container
    fs::copy(&others[0], &shards[0]).unwrap(); // the same number of another container
    let store = rig.open();
    assert_readable(&store, &one);
    let verification = store.verify(one.sealed.id).unwrap();
    for number in [0, 2] {
        assert!(matches!(
            verification.shards[number].verdict,
            Verdict::Damaged { what: "belongs to another container or place", .. }
        ));
    }
    assert!(verification.recoverable);
}

fn written_as(rig: &Rig, id: ContainerId, lengths: &[usize]) -> crate::support::Filled {
    fill(rig.open().create_as(id, Tier::Hot, 400_000).unwrap(), lengths)
}

#[test]
fn a_shard_of_another_writing_of_the_container_is_damage() {
    let id = ContainerId(Uuid::from_u128(0x77));
    let (rig, old) = (Rig::new("4+2", 6), Rig::new("4+2", 6));
    let filled = written_as(&rig, id, &LENGTHS);
    written_as(&old, id, &[70_000, 131_072, 40_000, 240_000]);
    fs::copy(&old.shards(id)[1], &rig.shards(id)[1]).unwrap();
    let store: Store = rig.open();
    assert_readable(&store, &filled);
    let verdict = &store.verify(id).unwrap().shards[1].verdict;
    assert!(
        matches!(verdict, Verdict::Damaged { what: "belongs to another writing of the container", .. }),
        "{verdict:?}"
    );
}

#[test]
fn a_block_changed_together_with_its_checksums_is_found_by_its_hash() {
    let rig = Rig::new("2+1", 3);
    let filled = make(&rig.open(), &LENGTHS);
    let path = &rig.shards(filled.sealed.id)[1];
    let mut bytes = fs::read(path).unwrap();
    let part = |name: &str| {
        let mut parts = parts(&bytes, 3).into_iter();
        parts.find(|(part, _)| *part == name).unwrap().1
    };
    let (table, footer) = (part("table"), part("footer"));
    bytes[4096] ^= 1;
    let crc = crc32c(&bytes[4096..4096 + BLOCK]);
    bytes[table.start..][..4].copy_from_slice(&crc.to_le_bytes());
    let crc = crc32c(&bytes[table]);
    bytes[footer.start + 52..][..4].copy_from_slice(&crc.to_le_bytes());
    let crc = crc32c(&bytes[footer.start..footer.end - 4]);
    bytes[footer.end - 4..footer.end].copy_from_slice(&crc.to_le_bytes());
    fs::write(path, bytes).unwrap();
    let verification = rig.open().verify(filled.sealed.id).unwrap();
    let want = Verdict::Damaged { what: "hash differs", blocks: Vec::new() };
    assert_eq!(verification.shards[1].verdict, want);
    assert!(verification.recoverable);
}

#[test]
fn an_old_disk_that_spoke_alone_is_outvoted_when_the_others_return() {
    let id = ContainerId(Uuid::from_u128(0x78));
    let (rig, old) = (Rig::new("1+2", 3), Rig::new("1+2", 3));
    let filled = written_as(&rig, id, &LENGTHS);
    let before = written_as(&old, id, &[1_000]);
    let shards = rig.shards(id);
    fs::copy(&old.shards(id)[1], &shards[1]).unwrap();
    let away = [0, 2].map(|shard| {
        let device = rig.device(rig.device_of(&shards[shard])).to_owned();
        let away = rig.home.path().join(format!("away{shard}"));
        fs::rename(&device, &away).unwrap();
        (device, away)
    });
    let store = rig.open();
    assert_readable(&store, &before);
    for (device, away) in away {
        fs::rename(away, device).unwrap();
    }
    store.probe();
    assert_readable(&store, &filled);
}
