//! Opening: locks the copies, finds the records, makes the copies equal and removes what nobody names.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use uuid::Uuid;

use super::committer::Current;
use super::copies::{check, lock_copies};
use super::directory::Disk;
use super::identity::{ADOPT_FILE, Identity, Role, Verdict};
use super::record::{self, Placed};
use super::scan::{SegmentView, read_up_to};
use super::segment_file::SegmentFile;
use super::segments::{Segment, Shared};
use super::{Error, JournalOptions, Lsn};

/// Opens the copies, recovers the records and tells where writing goes on.
pub(super) fn open(mut options: JournalOptions) -> Result<(Shared, Current), Error> {
    check(&options)?;
    let (disks, Verdict { identity, roles }) = lock_copies(&options)?;
    options.segment_bytes = identity.segment_bytes;
    check(&options)?;
    if identity.changes == 0 {
        // So that a start that is interrupted between two copies does not look like a missing device.
        for disk in &disks {
            on_copy(disk, "write journal.json", || disk.write_identity(&identity));
        }
    }
    let recovery = Recovery { disks, roles, identity, options };
    recovery.run()
}

/// Runs an operation on a healthy copy; a failure gives the copy up.
fn on_copy<T>(disk: &Disk, doing: &'static str, operation: impl FnOnce() -> io::Result<T>) -> Option<T> {
    if !disk.is_healthy() {
        return None;
    }
    operation().map_err(|error| disk.poison(doing, &error)).ok()
}

/// Segments that are looked through at the same time: what is known of their records is in memory meanwhile.
const SCANS_MAX: usize = 8;

struct Recovery {
    disks: Vec<Disk>,
    roles: Vec<Role>,
    identity: Identity,
    options: JournalOptions,
}

/// A segment on one copy.
struct CopyOfSegment {
    file: Arc<SegmentFile>,
    /// Bytes of the file.
    len: u64,
    /// Records that are whole.
    records: Vec<Placed>,
    /// Records whose payload is not.
    torn: Vec<Placed>,
}

/// A segment on all copies that can be read.
struct Scanned {
    number: u64,
    copies: Vec<Option<CopyOfSegment>>,
    /// Records that count, in order.
    union: Vec<Placed>,
    /// Starts of places behind which a record is known to be missing.
    damaged: Vec<Lsn>,
    end: u64,
}

impl Recovery {
    fn run(self) -> Result<(Shared, Current), Error> {
        self.require_copies()?;
        let numbers = self.remove_strangers();
        let newest = numbers.last().copied();
        let mut scanned = Vec::new();
        let mut large = HashMap::new();
        let mut damaged = Vec::new();
        let mut current = None;
        let numbers: Vec<u64> = numbers.into_iter().collect();
        for segment in numbers.chunks(SCANS_MAX).flat_map(|wave| self.scan_together(wave, newest)) {
            let number = segment.number;
            let clean = Some(number) == newest && self.is_unused(&segment);
            let files = self.heal(&segment, Some(number) == newest && !clean);
            self.require_copies()?;
            damaged.extend(&segment.damaged);
            for (id, bytes) in segment.union.iter().filter_map(|record| Some((record.large?, record.payload_bytes))) {
                large.insert(id, (number, bytes));
            }
            // Where nothing was ever written, writing goes on; elsewhere a new segment follows.
            let offset = if clean { 0 } else { self.options.segment_bytes };
            current = Some(Current { number, offset, files: files.clone(), tail: Bytes::new(), ready: false });
            let first = segment.union.first().map(|record| record.durable);
            scanned.push((number, segment.end, first, files));
        }
        self.find_missing_ends(&mut scanned, &mut damaged);
        let large = self.recover_large(large);
        self.finish(scanned, large, damaged, current)
    }

    fn require_copies(&self) -> Result<(), Error> {
        let current = |(disk, role): &(&Disk, &Role)| disk.is_healthy() && **role == Role::Current;
        let healthy = self.disks.iter().filter(|disk| disk.is_healthy()).count();
        let required = self.options.copies_required;
        if healthy < required || !self.disks.iter().zip(&self.roles).any(|copy| current(&copy)) {
            return Err(Error::Poisoned { healthy, required });
        }
        Ok(())
    }

    fn is_current(&self, copy: usize) -> bool {
        self.roles.get(copy) == Some(&Role::Current)
    }

    /// Returns the numbers of the segments that current copies have; removes others from those behind.
    fn remove_strangers(&self) -> BTreeSet<u64> {
        let mut numbers = BTreeSet::new();
        let list = |disk: &Disk| on_copy(disk, "list journal segments", || disk.segments()).unwrap_or_default();
        for (copy, disk) in self.disks.iter().enumerate() {
            if self.is_current(copy) {
                numbers.extend(list(disk));
            }
        }
        for (copy, disk) in self.disks.iter().enumerate().filter(|&(copy, _)| !self.is_current(copy)) {
            for number in list(disk).into_iter().filter(|number| !numbers.contains(number)) {
                tracing::info!(copy, number, "segment that only a copy that was left behind has is removed");
                on_copy(disk, "remove journal segment", || disk.recycle(number, 0, false));
            }
        }
        numbers
    }

    fn view<'a>(&self, number: u64, file: &'a SegmentFile, len: u64) -> SegmentView<'a> {
        let epoch = record::epoch(self.identity.journal, number);
        SegmentView { file: file.file(), epoch, start: number * self.options.segment_bytes, len }
    }

    /// Scans segments at the same time: heads are far apart, and each is a read of the disk that another does not wait for.
    fn scan_together(&self, numbers: &[u64], newest: Option<u64>) -> Vec<Scanned> {
        thread::scope(|scope| {
            let scan = |&number| scope.spawn(move || self.scan(number, Some(number) == newest));
            let running: Vec<_> = numbers.iter().map(scan).collect();
            running.into_iter().map(|scan| scan.join().expect("a scan of a journal segment panicked")).collect()
        })
    }

    fn scan(&self, number: u64, newest: bool) -> Scanned {
        let mut copies: Vec<Option<CopyOfSegment>> = self
            .disks
            .iter()
            .map(|disk| on_copy(disk, "read journal segment", || self.scan_copy(disk, number)).flatten())
            .collect();
        let boundary = copies.iter().flatten().flat_map(|copy| &copy.records).map(|record| record.durable).max();
        let boundary = boundary.filter(|_| newest).unwrap_or(Lsn(u64::MAX));
        for (copy, disk) in self.disks.iter().enumerate() {
            // A copy that is behind was perhaps given up while it was written: there any record can be torn.
            let from = if self.is_current(copy) { boundary } else { Lsn(0) };
            let Some(found) = copies.get_mut(copy).and_then(Option::as_mut) else {
                continue;
            };
            if on_copy(disk, "read journal segment", || self.drop_torn(number, found, from)).is_none() {
                copies.get_mut(copy).into_iter().for_each(|found| *found = None);
            }
        }
        self.unite(number, copies, if newest { boundary } else { Lsn(u64::MAX) })
    }

    fn scan_copy(&self, disk: &Disk, number: u64) -> io::Result<Option<CopyOfSegment>> {
        let file = match disk.open_segment(number) {
            Ok(file) => Arc::new(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let len = file.file().metadata()?.len().min(self.options.segment_bytes);
        let records = self.view(number, &file, len).records()?;
        Ok(Some(CopyOfSegment { file, len, records, torn: Vec::new() }))
    }

    /// Sorts out the records at or behind `from` whose payload is not what was written.
    fn drop_torn(&self, number: u64, copy: &mut CopyOfSegment, from: Lsn) -> io::Result<()> {
        let view = self.view(number, &copy.file, copy.len);
        for record in std::mem::take(&mut copy.records) {
            let whole = record.lsn < from || record.large.is_some() || view.payload_is_whole(&record)?;
            if whole {
                copy.records.push(record);
            } else {
                copy.torn.push(record);
            }
        }
        Ok(())
    }

    /// Unites what the current copies have. Gaps below `boundary` were durable records once.
    fn unite(&self, number: u64, copies: Vec<Option<CopyOfSegment>>, boundary: Lsn) -> Scanned {
        let start = number * self.options.segment_bytes;
        let mut all: BTreeMap<Lsn, Placed> = BTreeMap::new();
        for (_, copy) in copies.iter().enumerate().filter(|&(copy, _)| self.is_current(copy)) {
            for record in copy.iter().flat_map(|copy| &copy.records) {
                all.entry(record.lsn).or_insert(*record);
            }
        }
        let mut union: Vec<Placed> = Vec::new();
        let mut damaged = Vec::new();
        let mut end = Lsn(start);
        for record in all.into_values() {
            if record.lsn < end {
                tracing::error!(lsn = record.lsn.0, "journal copies contradict each other, the first one counts");
                continue;
            }
            if record.lsn > end && end < boundary {
                damaged.push(end);
            }
            end = record.end();
            union.push(record);
        }
        Scanned { number, copies, union, damaged, end: end.0 - start }
    }

    /// Tells whether nothing was ever written to the segment, on any copy, so that it can be begun.
    fn is_unused(&self, segment: &Scanned) -> bool {
        self.disks.iter().zip(&segment.copies).filter(|(disk, _)| disk.is_healthy()).all(|(_, copy)| {
            copy.as_ref().is_some_and(|copy| {
                copy.records.is_empty() && copy.torn.is_empty() && copy.len == self.options.segment_bytes
            })
        })
    }

    /// Makes all copies of a segment equal; returns their files.
    fn heal(&self, segment: &Scanned, cut: bool) -> Vec<Option<Arc<SegmentFile>>> {
        let mut files = Vec::new();
        for (disk, copy) in self.disks.iter().zip(&segment.copies) {
            files.push(on_copy(disk, "heal journal segment", || self.heal_copy(disk, segment, copy.as_ref(), cut)));
        }
        files
    }

    fn heal_copy(
        &self,
        disk: &Disk,
        segment: &Scanned,
        copy: Option<&CopyOfSegment>,
        cut: bool,
    ) -> io::Result<Arc<SegmentFile>> {
        let file = match copy {
            Some(copy) => Arc::clone(&copy.file),
            None => Arc::new(disk.create_segment(segment.number, self.options.segment_bytes)?.0),
        };
        let start = segment.number * self.options.segment_bytes;
        let own: &[Placed] = copy.map_or(&[], |copy| &copy.records);
        let torn: &[Placed] = copy.map_or(&[], |copy| &copy.torn);
        for record in own.iter().filter(|record| !has(&segment.union, record)).chain(torn) {
            disk.commit(&file, record.lsn.0 - start, &[Bytes::from_static(&[0; record::MAGIC.len()])])?;
        }
        let mut healed = 0;
        for record in segment.union.iter().filter(|record| !has(own, record)) {
            if let Some(bytes) = self.read_whole(segment, record) {
                disk.commit(&file, record.lsn.0 - start, &[bytes])?;
                healed += 1;
            }
        }
        if healed > 0 {
            tracing::warn!(path = %disk.path().display(), segment = segment.number, healed, "records restored from another journal copy");
        }
        if cut && copy.is_none_or(|copy| copy.len != segment.end) {
            disk.truncate(file.file(), segment.end)?;
        }
        Ok(file)
    }

    /// Reads a record from a copy that has it whole.
    fn read_whole(&self, segment: &Scanned, record: &Placed) -> Option<Bytes> {
        let len = usize::try_from(record.record_bytes()).ok()?;
        for (disk, copy) in self.disks.iter().zip(&segment.copies) {
            let Some(copy) = copy.as_ref().filter(|copy| has(&copy.records, record)) else {
                continue;
            };
            let view = self.view(segment.number, &copy.file, copy.len);
            let read = on_copy(disk, "read journal segment", || {
                if record.large.is_none() && !view.payload_is_whole(record)? {
                    return Ok(None);
                }
                let mut bytes = vec![0; len];
                let read = read_up_to(copy.file.file(), &mut bytes, record.lsn.0 - view.start)?;
                Ok((read == len).then(|| Bytes::from(bytes)))
            });
            if let Some(Some(bytes)) = read {
                return Some(bytes);
            }
        }
        None
    }

    /// The first record of a segment says where the last one of the segment before it ended.
    fn find_missing_ends(&self, scanned: &mut [RecoveredSegment], damaged: &mut Vec<Lsn>) {
        let segment_bytes = self.options.segment_bytes;
        let mut next: Option<Lsn> = None;
        for (number, end, first_durable, _) in scanned.iter_mut().rev() {
            let start = *number * segment_bytes;
            // Outside: the segment in which it ended was released.
            let known = next.and_then(|known| known.0.checked_sub(start)).filter(|&known| known <= segment_bytes);
            if let Some(known) = known.filter(|known| known > end) {
                damaged.push(Lsn(start + *end));
                *end = known;
            }
            next = first_durable.or(next);
        }
    }

    /// Removes large files that no record names, copies those that a copy lacks, and returns those that are there.
    fn recover_large(&self, named: HashMap<Uuid, (u64, u64)>) -> HashMap<Uuid, (u64, u64)> {
        let mut present: Vec<HashSet<Uuid>> = Vec::new();
        for disk in &self.disks {
            let found = on_copy(disk, "list large files", || disk.large_files()).unwrap_or_default();
            let (good, bad): (Vec<_>, Vec<_>) =
                found.into_iter().partition(|(id, bytes)| named.get(id).is_some_and(|(_, expected)| expected == bytes));
            for (id, _) in bad {
                on_copy(disk, "remove large file", || disk.remove_large(id));
            }
            present.push(good.into_iter().map(|(id, _)| id).collect());
        }
        let holder = |id: &Uuid| {
            let mut copies = present.iter().enumerate().zip(&self.disks);
            copies.find(|((copy, ids), _)| self.is_current(*copy) && ids.contains(id)).map(|(_, disk)| disk)
        };
        let mut kept = HashMap::new();
        for (id, place) in named {
            let from = holder(&id);
            for (disk, ids) in self.disks.iter().zip(&present) {
                match from {
                    Some(from) if !ids.contains(&id) => {
                        on_copy(disk, "copy large file", || copy_large(from, disk, id));
                    }
                    None if ids.contains(&id) => {
                        on_copy(disk, "remove large file", || disk.remove_large(id));
                    }
                    Some(_) | None => {}
                }
            }
            if from.is_some() {
                kept.insert(id, place);
            }
        }
        kept
    }

    fn finish(
        self,
        scanned: Vec<RecoveredSegment>,
        large: HashMap<Uuid, (u64, u64)>,
        damaged: Vec<Lsn>,
        current: Option<Current>,
    ) -> Result<(Shared, Current), Error> {
        let segment_bytes = self.options.segment_bytes;
        let mut segments = BTreeMap::new();
        let mut durable = Lsn(0);
        for (number, end, _, files) in scanned {
            let lens = files.iter().flatten().filter_map(|file| Some(file.file().metadata().ok()?.len()));
            let file_bytes = lens.max().unwrap_or(segment_bytes);
            // An empty segment has no record end: a follower would wait for one in vain.
            if end > 0 {
                durable = durable.max(Lsn(number * segment_bytes + end));
            }
            segments.insert(number, Segment { end, file_bytes, files, large: HashMap::new() });
        }
        for (id, (number, bytes)) in large {
            segments.get_mut(&number).into_iter().for_each(|segment| {
                segment.large.insert(id, bytes);
            });
        }
        for disk in &self.disks {
            on_copy(disk, "trim free journal segments", || disk.trim_free(segment_bytes));
        }
        let shared = Shared::new(self.options, self.disks, self.identity, segments, durable);
        shared.note_change()?;
        for disk in shared.disks.iter().filter(|disk| disk.is_healthy()) {
            if let Err(error) = fs::remove_file(disk.path().join(ADOPT_FILE))
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(path = %disk.path().display(), %error, "marker not removed");
            }
        }
        for at in damaged {
            shared.report_damage(at);
        }
        let current = if let Some(current) = current {
            current
        } else {
            let (files, ready) = shared.create_segment(0, 0)?;
            Current { number: 0, offset: 0, files, tail: Bytes::new(), ready }
        };
        Ok((shared, current))
    }
}

/// Number, end, what its first record says was durable before it, and the files.
type RecoveredSegment = (u64, u64, Option<Lsn>, Vec<Option<Arc<SegmentFile>>>);

/// Tells whether sorted records have this one.
fn has(records: &[Placed], record: &Placed) -> bool {
    let found = records.binary_search_by_key(&record.lsn, |record| record.lsn);
    found.is_ok_and(|at| records.get(at) == Some(record))
}

fn copy_large(from: &Disk, to: &Disk, id: Uuid) -> io::Result<()> {
    let mut source = File::open(from.large_path(id))?;
    let mut target = to.create_large(id)?;
    io::copy(&mut source, &mut target)?;
    to.sync_large(&target)
}
