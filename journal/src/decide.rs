//! What a start does with the copies it finds, from facts to steps: which records count, what each
//! copy is given, what is cut, where writing goes on. Pure: `recovery.rs` finds the facts and takes
//! the steps. `identity.rs` has decided before which copies are current.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::format::Placed;
use crate::record::Lsn;

/// What one copy has of a segment.
#[derive(Debug, Default)]
pub(crate) struct SegmentFacts {
    /// Bytes of the file.
    pub(crate) bytes: u64,
    /// Records that are whole, in order.
    pub(crate) records: Vec<Placed>,
    /// Records whose payload is not.
    pub(crate) torn: Vec<Placed>,
}

/// What counts of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Union {
    /// The records, in order.
    pub(crate) records: Vec<Placed>,
    /// Starts of places behind which a record is known to be missing.
    pub(crate) damaged: Vec<Lsn>,
    /// Records that overlap another one, which counts instead.
    pub(crate) contradicting: Vec<Lsn>,
    /// Offset behind the last record.
    pub(crate) end: u64,
}

/// What is done to one copy of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mend {
    /// Records that it has but may not have flushed: they are written again, before all else.
    pub(crate) rewrite: Vec<Placed>,
    /// Records that do not count: their heads are overwritten.
    pub(crate) erase: Vec<Placed>,
    /// Records that are written from another copy.
    pub(crate) restore: Vec<Placed>,
    /// Where the file is cut.
    pub(crate) cut: Option<u64>,
}

/// What is known of a segment when all are scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentEnd {
    pub(crate) number: u64,
    /// Offset behind its last record.
    pub(crate) end: u64,
    /// What its first record says was durable before it.
    pub(crate) first_durable: Option<Lsn>,
}

/// The large files that records name: segment and bytes of each.
pub(crate) type LargeFiles = BTreeMap<Uuid, (u64, u64)>;

/// The large files that one copy has.
#[derive(Debug)]
pub(crate) struct LargeFacts {
    /// Whether it is a current copy.
    pub(crate) current: bool,
    /// Its newest segment. A copy that is behind may have been given up because it could not flush
    /// a file that a record of this segment or a later one names.
    pub(crate) newest: u64,
    /// Name and bytes of each.
    pub(crate) files: Vec<(Uuid, u64)>,
}

/// What is done about large files.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct LargeSteps {
    /// Copy, and the file that is removed from it; these come first.
    pub(crate) remove: Vec<(usize, Uuid)>,
    /// Copy that has the file, copy that is given it, and the file.
    pub(crate) copy: Vec<(usize, usize, Uuid)>,
    /// What is there then.
    pub(crate) kept: LargeFiles,
}

/// Returns the segments that each copy has and no current one: a copy that is behind missed their
/// release. Current copies come as `true`.
pub(crate) fn strangers(copies: &[(bool, Vec<u64>)]) -> (BTreeSet<u64>, Vec<(usize, u64)>) {
    let current = copies.iter().filter(|(current, _)| *current);
    let known: BTreeSet<u64> = current.flat_map(|(_, numbers)| numbers).copied().collect();
    let behind = copies.iter().enumerate().filter(|(_, (current, _))| !current);
    let strange = behind.flat_map(|(copy, (_, numbers))| numbers.iter().map(move |&number| (copy, number)));
    let strange = strange.filter(|(_, number)| !known.contains(number)).collect();
    (known, strange)
}

/// Returns the position from which on the payloads of the newest segment may be torn: each head
/// says what was durable when it was written. Segments are flushed in order, so nothing is torn in
/// an older one.
pub(crate) fn boundary<'a>(newest: bool, records: impl Iterator<Item = &'a Placed>) -> Lsn {
    let durable = records.map(|record| record.durable).max();
    durable.filter(|_| newest).unwrap_or(Lsn(u64::MAX))
}

/// Unites what the current copies have of a segment that begins at `start`. Gaps below `boundary`
/// were durable records once.
pub(crate) fn unite<'a>(start: u64, current: impl Iterator<Item = &'a Placed>, boundary: Lsn) -> Union {
    let mut all: BTreeMap<Lsn, Placed> = BTreeMap::new();
    for record in current {
        all.entry(record.lsn).or_insert(*record);
    }
    let (mut records, mut damaged, mut contradicting) = (Vec::new(), Vec::new(), Vec::new());
    let mut end = Lsn(start);
    for record in all.into_values() {
        if record.lsn < end {
            contradicting.push(record.lsn);
            continue;
        }
        if record.lsn > end && end < boundary {
            damaged.push(end);
        }
        end = record.end();
        records.push(record);
    }
    Union { records, damaged, contradicting, end: end.0 - start }
}

/// Tells whether nothing was ever written to a segment, on any copy, so that it can be begun.
/// `None` is a copy without it.
pub(crate) fn is_unused<'a>(mut copies: impl Iterator<Item = Option<&'a SegmentFacts>>, segment_bytes: u64) -> bool {
    copies.all(|facts| {
        facts.is_some_and(|facts| facts.records.is_empty() && facts.torn.is_empty() && facts.bytes == segment_bytes)
    })
}

/// Returns the position from which on a copy may not have flushed what can be read from it. The
/// next batch says that the one before was durable, and a segment is durable before the next one
/// exists: so these are the last records of the copy's own newest segment. The server may have been
/// killed before it flushed them, or the flush failed, after which the kernel may still show bytes
/// that never reached the disk.
pub(crate) fn doubtful_from(own_newest: bool, facts: &SegmentFacts) -> Lsn {
    boundary(own_newest, facts.records.iter().chain(&facts.torn))
}

/// Returns what makes a copy of a segment equal to the union, and durable; `cut` if nothing more is
/// to be written to the segment.
pub(crate) fn mend(union: &Union, facts: Option<&SegmentFacts>, doubtful_from: Lsn, cut: bool) -> Mend {
    let own: &[Placed] = facts.map_or(&[], |facts| &facts.records);
    let torn: &[Placed] = facts.map_or(&[], |facts| &facts.torn);
    let (common, excess): (Vec<Placed>, Vec<Placed>) = own.iter().partition(|record| has(&union.records, record));
    Mend {
        rewrite: common.into_iter().filter(|record| record.lsn >= doubtful_from).collect(),
        erase: excess.iter().chain(torn).copied().collect(),
        restore: union.records.iter().filter(|record| !has(own, record)).copied().collect(),
        cut: Some(union.end).filter(|&end| cut && facts.is_none_or(|facts| facts.bytes != end)),
    }
}

/// Returns the offset in the newest segment at which writing goes on: where nothing was ever
/// written; elsewhere its end, so that a new segment follows and nothing that a torn write left
/// ever follows a new record.
pub(crate) fn resume_at(unused: bool, segment_bytes: u64) -> u64 {
    if unused { 0 } else { segment_bytes }
}

/// Finds records that are missing at the ends of segments: the first record of a segment says where
/// the last one of the segment before it ended. Corrects the ends and returns the damaged places.
pub(crate) fn missing_ends(segments: &mut [SegmentEnd], segment_bytes: u64) -> Vec<Lsn> {
    let mut damaged = Vec::new();
    let mut next: Option<Lsn> = None;
    for segment in segments.iter_mut().rev() {
        let start = segment.number * segment_bytes;
        // Outside: the segment in which it ended was released.
        let known = next.and_then(|known| known.0.checked_sub(start)).filter(|&known| known <= segment_bytes);
        if let Some(known) = known.filter(|known| *known > segment.end) {
            damaged.push(Lsn(start + segment.end));
            segment.end = known;
        }
        next = segment.first_durable.or(next);
    }
    damaged
}

/// Returns where the last durable record ends. An empty segment has no record end: a follower would
/// wait for one in vain.
pub(crate) fn durable_end(segments: &[SegmentEnd], segment_bytes: u64) -> Lsn {
    let used = segments.iter().filter(|segment| segment.end > 0);
    used.map(|segment| Lsn(segment.number * segment_bytes + segment.end)).max().unwrap_or(Lsn(0))
}

/// Returns what is done about large files: those that no record names, or of another length, go; a
/// copy that lacks one is given it by a current copy; those that no current copy has are lost and
/// go everywhere.
pub(crate) fn large_steps(named: LargeFiles, copies: &[LargeFacts]) -> LargeSteps {
    let mut steps = LargeSteps::default();
    let mut present: Vec<BTreeSet<Uuid>> = Vec::new();
    for (copy, facts) in copies.iter().enumerate() {
        let is_named = |&&(id, bytes): &&(Uuid, u64)| {
            let trusted = |segment| facts.current || segment < facts.newest;
            named.get(&id).is_some_and(|&(segment, named)| named == bytes && trusted(segment))
        };
        let (good, bad): (Vec<_>, Vec<_>) = facts.files.iter().partition(is_named);
        steps.remove.extend(bad.into_iter().map(|&(id, _)| (copy, id)));
        present.push(good.into_iter().map(|&(id, _)| id).collect());
    }
    for (id, place) in named {
        let mut holders = copies.iter().zip(&present).enumerate();
        let from = holders.find(|(_, (facts, ids))| facts.current && ids.contains(&id)).map(|(copy, _)| copy);
        for (copy, ids) in present.iter().enumerate() {
            match from {
                Some(from) if !ids.contains(&id) => steps.copy.push((from, copy, id)),
                None if ids.contains(&id) => steps.remove.push((copy, id)),
                Some(_) | None => {}
            }
        }
        if from.is_some() {
            steps.kept.insert(id, place);
        }
    }
    steps
}

/// Tells whether sorted records have this one.
pub(crate) fn has(records: &[Placed], record: &Placed) -> bool {
    let found = records.binary_search_by_key(&record.lsn, |record| record.lsn);
    found.is_ok_and(|at| records.get(at) == Some(record))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record of 200 bytes.
    fn record(lsn: u64, durable: u64) -> Placed {
        Placed { lsn: Lsn(lsn), durable: Lsn(durable), payload_bytes: 100, crc32c: 0, large: None, head_bytes: 96 }
    }

    fn facts(records: &[Placed], torn: &[Placed]) -> SegmentFacts {
        SegmentFacts { bytes: 1000, records: records.to_vec(), torn: torn.to_vec() }
    }

    fn lsns(records: &[Placed]) -> Vec<u64> {
        records.iter().map(|record| record.lsn.0).collect()
    }

    #[test]
    fn what_any_current_copy_has_counts_and_gaps_before_the_boundary_are_damage() {
        let [a, b, c] = [record(1000, 0), record(1200, 1000), record(1400, 1200)];
        let union = unite(1000, [a, c, b, c].iter(), Lsn(1400));
        assert_eq!((lsns(&union.records), union.damaged, union.end), (vec![1000, 1200, 1400], vec![], 600));
        let gap = unite(1000, [b, c].iter(), Lsn(1100));
        assert_eq!((gap.damaged, gap.end), (vec![Lsn(1000)], 600));
        assert_eq!(unite(1000, [b, c].iter(), Lsn(1000)).damaged, [], "it was never durable");
        let overlap = unite(1000, [a, record(1100, 0), b].iter(), Lsn(0));
        assert_eq!((lsns(&overlap.records), overlap.contradicting), (vec![1000, 1200], vec![Lsn(1100)]));
        assert_eq!(unite(1000, [].iter(), Lsn(0)).end, 0);
    }

    #[test]
    fn only_the_newest_segment_can_be_torn_behind_what_its_heads_call_durable() {
        let records = [record(0, 0), record(200, 200), record(400, 200)];
        assert_eq!(boundary(true, records.iter()), Lsn(200));
        assert_eq!(boundary(false, records.iter()), Lsn(u64::MAX));
        assert_eq!(boundary(true, [].iter()), Lsn(u64::MAX));
    }

    #[test]
    fn a_copy_loses_what_does_not_count_and_gains_what_it_lacks() {
        let [a, b, c] = [record(0, 0), record(200, 0), record(400, 0)];
        let union = unite(0, [a, b].iter(), Lsn(0));
        let whole = mend(&union, Some(&facts(&[a, b], &[])), Lsn(u64::MAX), false);
        assert_eq!(whole, Mend { rewrite: vec![], erase: vec![], restore: vec![], cut: None });
        let behind = mend(&union, Some(&facts(&[a, c], &[record(600, 0)])), Lsn(u64::MAX), true);
        assert_eq!(behind, Mend { rewrite: vec![], erase: vec![c, record(600, 0)], restore: vec![b], cut: Some(400) });
        assert_eq!(lsns(&mend(&union, None, Lsn(u64::MAX), true).restore), [0, 200]);
        let other = Placed { crc32c: 7, ..b };
        let differs = mend(&union, Some(&facts(&[a, other], &[])), Lsn(u64::MAX), false);
        assert_eq!(differs, Mend { rewrite: vec![], erase: vec![other], restore: vec![b], cut: None });
        let cut_before = SegmentFacts { bytes: 400, ..facts(&[a, b], &[]) };
        assert_eq!(mend(&union, Some(&cut_before), Lsn(u64::MAX), true).cut, None);
    }

    #[test]
    fn what_a_copy_may_not_have_flushed_is_written_again() {
        let [a, b, c, d] = [record(0, 0), record(200, 0), record(400, 200), record(600, 200)];
        let union = unite(0, [a, b, c].iter(), Lsn(0));
        let own = facts(&[a, b, c], &[d]);
        let from = doubtful_from(true, &own);
        assert_eq!((from, doubtful_from(false, &own)), (Lsn(200), Lsn(u64::MAX)));
        let mend = mend(&union, Some(&own), from, false);
        assert_eq!(mend, Mend { rewrite: vec![b, c], erase: vec![d], restore: vec![], cut: None });
    }

    #[test]
    fn writing_goes_on_in_a_segment_only_if_it_is_unused_everywhere() {
        let (empty, used) = (facts(&[], &[]), facts(&[record(0, 0)], &[]));
        let short = SegmentFacts { bytes: 999, ..SegmentFacts::default() };
        let torn = facts(&[], &[record(0, 0)]);
        assert!(is_unused([Some(&empty), Some(&empty)].into_iter(), 1000));
        for other in [None, Some(&used), Some(&short), Some(&torn)] {
            assert!(!is_unused([Some(&empty), other].into_iter(), 1000));
        }
        assert_eq!((resume_at(true, 1000), resume_at(false, 1000)), (0, 1000));
    }

    #[test]
    fn a_record_missing_at_the_end_of_a_segment_is_known_by_the_next_one() {
        let end = |number, end, durable: Option<u64>| SegmentEnd { number, end, first_durable: durable.map(Lsn) };
        let mut segments = [end(0, 600, Some(0)), end(1, 400, Some(800)), end(2, 0, None), end(3, 200, Some(1400))];
        assert_eq!(missing_ends(&mut segments, 1000), [Lsn(600)]);
        assert_eq!(segments.map(|segment| segment.end), [800, 400, 0, 200]);
        assert_eq!(durable_end(&segments, 1000), Lsn(3200));
        assert_eq!(durable_end(&segments[2..3], 1000), Lsn(0));
        let mut after_release = [end(0, 600, None), end(5, 200, Some(4900))];
        assert_eq!(missing_ends(&mut after_release, 1000), []);
    }

    #[test]
    fn segments_that_only_a_copy_behind_has_are_strangers() {
        let (known, strange) = strangers(&[(true, vec![2, 3]), (false, vec![1, 2]), (true, vec![4])]);
        assert_eq!((known, strange), (BTreeSet::from([2, 3, 4]), vec![(1, 1)]));
    }

    #[test]
    fn large_files_are_kept_where_a_current_copy_has_them_whole() {
        let [whole, lost, short, unknown] = [1, 2, 3, 4].map(Uuid::from_u128);
        let named = LargeFiles::from([(whole, (0, 10)), (lost, (0, 20)), (short, (1, 30))]);
        let copies = [
            LargeFacts { current: true, newest: 1, files: vec![(whole, 10), (short, 29), (unknown, 5)] },
            LargeFacts { current: false, newest: 1, files: vec![(lost, 20)] },
        ];
        let mut steps = large_steps(named, &copies);
        steps.remove.sort_unstable();
        assert_eq!(steps.remove, [(0, short), (0, unknown), (1, lost)]);
        assert_eq!((steps.copy, steps.kept), (vec![(0, 1, whole)], LargeFiles::from([(whole, (0, 10))])));
    }

    #[test]
    fn a_copy_that_is_behind_is_given_the_large_files_that_it_may_not_have_flushed() {
        let [old, new] = [1, 2].map(Uuid::from_u128);
        let named = LargeFiles::from([(old, (4, 10)), (new, (5, 20))]);
        let files = vec![(old, 10), (new, 20)];
        let copies = [true, false].map(|current| LargeFacts { current, newest: 5, files: files.clone() });
        let steps = large_steps(named.clone(), &copies);
        assert_eq!((steps.remove, steps.copy, steps.kept), (vec![(1, new)], vec![(0, 1, new)], named));
    }
}
