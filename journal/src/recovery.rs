//! Opens a journal: locks the copies, finds the records, makes the copies equal and removes files
//! that no record names. `decide.rs` decides what to do with what was found.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use uuid::Uuid;

use crate::commit::Current;
use crate::copies::Copies;
use crate::decide::{self, LargeFacts, LargeFiles, Mend, SegmentEnd, SegmentFacts, Union};
use crate::error::Error;
use crate::format::{self, Placed, len64};
use crate::identity::{Role, Verdict};
use crate::journal_copy::JournalCopy;
use crate::medium::SegmentFile;
use crate::opening::lock_copies;
use crate::options::{JournalOptions, check};
use crate::record::Lsn;
use crate::scan::SegmentView;
use crate::segments::{Segment, SegmentFiles};

/// Most segments that are scanned at the same time: their records are in memory meanwhile.
const SCANS_MAX: usize = 8;
/// Bytes of records that are written again by one flush; it takes one more record.
const REWRITE_BYTES: u64 = 4 << 20;
/// Bytes of a large file copied at a time.
const COPY_BYTES: usize = 1 << 20;

/// A journal that was recovered.
pub(crate) struct Recovered {
    /// Its options, with the journal's own length of a segment.
    pub(crate) options: JournalOptions,
    pub(crate) copies: Copies,
    pub(crate) segments: BTreeMap<u64, Segment>,
    pub(crate) durable: Lsn,
    pub(crate) damaged: Vec<Lsn>,
    /// Where writing goes on; nothing in a new journal.
    pub(crate) current: Option<Current>,
}

/// Opens the copies, recovers the records and tells where writing goes on.
pub(crate) fn open(mut options: JournalOptions) -> Result<Recovered, Error> {
    check(&options)?;
    let (copies, Verdict { identity, roles }) = lock_copies(&options)?;
    options.segment_bytes = identity.segment_bytes;
    check(&options)?;
    let is_new = identity.changes == 0;
    let copies = Copies::new(copies, options.copies_required, identity, options.ids.clone());
    if is_new {
        // Otherwise a start that is interrupted between two copies would look like a missing
        // device.
        copies.write_note();
    }
    let segment_bytes = options.segment_bytes;
    Recovery { options, copies, roles, segment_bytes }.run()
}

struct Recovery {
    options: JournalOptions,
    copies: Copies,
    roles: Vec<Role>,
    segment_bytes: u64,
}

/// A segment on one copy.
struct CopyOfSegment {
    file: Arc<SegmentFile>,
    facts: SegmentFacts,
}

/// A segment on all copies that can be read.
struct Scanned {
    number: u64,
    copies: Vec<Option<CopyOfSegment>>,
    union: Union,
}

impl Recovery {
    fn run(self) -> Result<Recovered, Error> {
        self.require_copies()?;
        let (numbers, own_newest) = self.remove_strangers();
        let newest = numbers.last().copied();
        let mut ends = Vec::new();
        let mut all_files = Vec::new();
        let mut large = LargeFiles::new();
        let mut damaged = Vec::new();
        let mut current = None;
        let numbers: Vec<u64> = numbers.into_iter().collect();
        for segment in numbers.chunks(SCANS_MAX).flat_map(|wave| self.scan_together(wave, newest)) {
            let Scanned { number, ref union, .. } = segment;
            let unused = Some(number) == newest && self.is_unused(&segment);
            let files = self.mend(&segment, Some(number) == newest && !unused, &own_newest);
            self.require_copies()?;
            damaged.extend(&union.damaged);
            let named = union.records.iter().filter_map(|record| Some((record.large?, record.payload_bytes)));
            large.extend(named.map(|(id, bytes)| (id, (number, bytes))));
            let offset = decide::resume_at(unused, self.segment_bytes);
            current = Some(Current::begun(number, offset, files.clone(), false));
            let first_durable = union.records.first().map(|record| record.durable);
            ends.push(SegmentEnd { number, end: union.end, first_durable });
            all_files.push(files);
        }
        damaged.extend(decide::missing_ends(&mut ends, self.segment_bytes));
        let large = self.recover_large(large, &own_newest);
        let durable = decide::durable_end(&ends, self.segment_bytes);
        let segments = self.table(&ends, all_files, large);
        self.finish()?;
        Ok(Recovered { options: self.options, copies: self.copies, segments, durable, damaged, current })
    }

    fn require_copies(&self) -> Result<(), Error> {
        self.copies.require()?;
        let healthy_and_current = |copy| self.copies.is_healthy(copy) && self.is_current(copy);
        if (0..self.roles.len()).any(healthy_and_current) { Ok(()) } else { Err(self.copies.poisoned()) }
    }

    fn is_current(&self, copy: usize) -> bool {
        self.roles.get(copy) == Some(&Role::Current)
    }

    /// Returns the numbers of the segments that current copies have, and the newest of them that
    /// each copy has; removes others from those behind.
    fn remove_strangers(&self) -> (BTreeSet<u64>, Vec<Option<u64>>) {
        let list = |(number, copy): (usize, &JournalCopy)| {
            let listed = copy.attempt("list journal segments", || copy.segments());
            (self.is_current(number), listed.unwrap_or_default())
        };
        let listed: Vec<(bool, Vec<u64>)> = self.copies.all().iter().enumerate().map(list).collect();
        let (numbers, strangers) = decide::strangers(&listed);
        for (copy, number) in strangers {
            tracing::info!(copy, number, "segment that only a copy that was left behind has is removed");
            if let Some(copy) = self.copies.get(copy) {
                copy.attempt("remove journal segment", || copy.recycle(number, 0, false));
            }
        }
        let newest =
            |(_, listed): &(bool, Vec<u64>)| listed.iter().rev().find(|number| numbers.contains(number)).copied();
        let own_newest = listed.iter().map(newest).collect();
        (numbers, own_newest)
    }

    fn start_of(&self, number: u64) -> u64 {
        number * self.segment_bytes
    }

    fn view<'a>(&self, number: u64, file: &'a SegmentFile, len: u64) -> SegmentView<'a> {
        let epoch = format::epoch(self.copies.journal(), number);
        SegmentView { file, epoch, start: self.start_of(number), len }
    }

    /// Scans segments at the same time: heads are far apart, each costs a read of the disk, and a
    /// disk serves several at once.
    fn scan_together(&self, numbers: &[u64], newest: Option<u64>) -> Vec<Scanned> {
        thread::scope(|scope| {
            let scan = |&number| scope.spawn(move || self.scan(number, Some(number) == newest));
            let running: Vec<_> = numbers.iter().map(scan).collect();
            running.into_iter().map(|scan| scan.join().expect("a scan of a journal segment panicked")).collect()
        })
    }

    fn scan(&self, number: u64, newest: bool) -> Scanned {
        let scan_copy =
            |copy: &JournalCopy| copy.attempt("read journal segment", || self.scan_copy(copy, number)).flatten();
        let mut copies: Vec<Option<CopyOfSegment>> = self.copies.all().iter().map(scan_copy).collect();
        let found = copies.iter().flatten().flat_map(|found| &found.facts.records);
        let boundary = decide::boundary(newest, found);
        for (copy, found) in copies.iter_mut().enumerate() {
            // A copy that is behind may have been given up in the middle of a write: any of its
            // records can be torn.
            let from = if self.is_current(copy) { boundary } else { Lsn(0) };
            let (Some(copy), Some(present)) = (self.copies.get(copy), found.as_mut()) else {
                continue;
            };
            if copy.attempt("read journal segment", || self.drop_torn(number, present, from)).is_none() {
                *found = None;
            }
        }
        let current = copies.iter().enumerate().filter(|&(copy, _)| self.is_current(copy));
        let records = current.flat_map(|(_, found)| found).flat_map(|found| &found.facts.records);
        let union = decide::unite(self.start_of(number), records, boundary);
        for lsn in &union.contradicting {
            tracing::error!(lsn = lsn.0, "journal copies contradict each other, the first one counts");
        }
        Scanned { number, copies, union }
    }

    fn scan_copy(&self, copy: &JournalCopy, number: u64) -> io::Result<Option<CopyOfSegment>> {
        let file = match copy.open_segment(number) {
            Ok(file) => Arc::new(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let bytes = file.bytes()?.min(self.segment_bytes);
        let records = self.view(number, &file, bytes).records()?;
        Ok(Some(CopyOfSegment { file, facts: SegmentFacts { bytes, records, torn: Vec::new() } }))
    }

    /// Sorts out the records at or behind `from` whose payload is not what was written.
    fn drop_torn(&self, number: u64, found: &mut CopyOfSegment, from: Lsn) -> io::Result<()> {
        let view = self.view(number, &found.file, found.facts.bytes);
        for record in std::mem::take(&mut found.facts.records) {
            let whole = record.lsn < from || record.large.is_some() || view.payload_is_whole(&record)?;
            if whole {
                found.facts.records.push(record);
            } else {
                found.facts.torn.push(record);
            }
        }
        Ok(())
    }

    fn is_unused(&self, segment: &Scanned) -> bool {
        let healthy = self.copies.all().iter().zip(&segment.copies).filter(|(copy, _)| copy.is_healthy());
        decide::is_unused(healthy.map(|(_, found)| found.as_ref().map(|found| &found.facts)), self.segment_bytes)
    }

    /// Makes all copies of a segment equal; returns their files.
    fn mend(&self, segment: &Scanned, cut: bool, own_newest: &[Option<u64>]) -> SegmentFiles {
        let mut files = Vec::new();
        for ((copy, found), newest) in self.copies.all().iter().zip(&segment.copies).zip(own_newest) {
            let own_newest = *newest == Some(segment.number);
            let facts = found.as_ref().map(|found| &found.facts);
            let doubtful_from = facts.map_or(Lsn(u64::MAX), |facts| decide::doubtful_from(own_newest, facts));
            let steps = decide::mend(&segment.union, facts, doubtful_from, cut);
            let mend = || self.mend_copy(copy, segment, found.as_ref(), steps);
            files.push(copy.attempt("heal journal segment", mend));
        }
        files
    }

    fn mend_copy(
        &self,
        copy: &JournalCopy,
        segment: &Scanned,
        found: Option<&CopyOfSegment>,
        mend: Mend,
    ) -> io::Result<Arc<SegmentFile>> {
        let file = match found {
            Some(found) => Arc::clone(&found.file),
            None => Arc::new(copy.create_segment(segment.number, self.segment_bytes)?.0),
        };
        let start = self.start_of(segment.number);
        self.rewrite(copy, segment, &file, mend.rewrite)?;
        for record in mend.erase {
            copy.commit(&file, record.lsn.0 - start, &[Bytes::from_static(&[0; format::MAGIC.len()])])?;
        }
        let mut restored = 0;
        for record in mend.restore {
            if let Some(bytes) = self.read_whole(segment, &record) {
                copy.commit(&file, record.lsn.0 - start, &[bytes])?;
                restored += 1;
            }
        }
        if restored > 0 {
            tracing::warn!(path = %copy.path().display(), segment = segment.number, healed = restored, "records restored from another journal copy");
        }
        if let Some(end) = mend.cut {
            copy.cut(&file, end)?;
        }
        Ok(file)
    }

    /// Writes records again, those that lie side by side at once, and flushes them.
    fn rewrite(
        &self,
        copy: &JournalCopy,
        segment: &Scanned,
        file: &SegmentFile,
        records: Vec<Placed>,
    ) -> io::Result<()> {
        let (mut buffers, mut from, mut end) = (Vec::new(), Lsn(0), Lsn(0));
        for record in records {
            let Some(bytes) = self.read_whole(segment, &record) else {
                continue;
            };
            if record.lsn != end || end.0 - from.0 > REWRITE_BYTES {
                if !buffers.is_empty() {
                    copy.commit(file, from.0 - self.start_of(segment.number), &buffers)?;
                    buffers.clear();
                }
                from = record.lsn;
            }
            buffers.push(bytes);
            end = record.end();
        }
        if buffers.is_empty() {
            return Ok(());
        }
        copy.commit(file, from.0 - self.start_of(segment.number), &buffers)
    }

    /// Reads a record from a copy that has it whole.
    fn read_whole(&self, segment: &Scanned, record: &Placed) -> Option<Bytes> {
        let len = usize::try_from(record.record_bytes()).ok()?;
        for (copy, found) in self.copies.all().iter().zip(&segment.copies) {
            let Some(found) = found.as_ref().filter(|found| decide::has(&found.facts.records, record)) else {
                continue;
            };
            let view = self.view(segment.number, &found.file, found.facts.bytes);
            let read = copy.attempt("read journal segment", || {
                if record.large.is_none() && !view.payload_is_whole(record)? {
                    return Ok(None);
                }
                let mut bytes = vec![0; len];
                let read = found.file.read_up_to(&mut bytes, record.lsn.0 - view.start)?;
                Ok((read == len).then(|| Bytes::from(bytes)))
            });
            if let Some(Some(bytes)) = read {
                return Some(bytes);
            }
        }
        None
    }

    /// Removes large files that no record names, copies those that a copy lacks, and returns those
    /// that are there.
    fn recover_large(&self, named: LargeFiles, own_newest: &[Option<u64>]) -> LargeFiles {
        let list = |((number, copy), newest): ((usize, &JournalCopy), &Option<u64>)| {
            let files = copy.attempt("list large files", || copy.large_files()).unwrap_or_default();
            LargeFacts { current: self.is_current(number), newest: newest.unwrap_or(0), files }
        };
        let copies = self.copies.all().iter().enumerate().zip(own_newest);
        let facts: Vec<LargeFacts> = copies.map(list).collect();
        let steps = decide::large_steps(named, &facts);
        for (copy, id) in steps.remove {
            if let Some(copy) = self.copies.get(copy) {
                copy.attempt("remove large file", || copy.remove_large(id));
            }
        }
        for (from, to, id) in steps.copy {
            if let (Some(from), Some(to)) = (self.copies.get(from), self.copies.get(to)) {
                to.attempt("copy large file", || copy_large(from, to, id));
            }
        }
        steps.kept
    }

    fn table(&self, ends: &[SegmentEnd], files: Vec<SegmentFiles>, large: LargeFiles) -> BTreeMap<u64, Segment> {
        let mut segments = BTreeMap::new();
        for (&SegmentEnd { number, end, .. }, files) in ends.iter().zip(files) {
            let bytes = files.iter().flatten().filter_map(|file| file.bytes().ok());
            let file_bytes = bytes.max().unwrap_or(self.segment_bytes);
            segments.insert(number, Segment { end, file_bytes, files, large: BTreeMap::new() });
        }
        for (id, (number, bytes)) in large {
            segments.get_mut(&number).into_iter().for_each(|segment| {
                segment.large.insert(id, bytes);
            });
        }
        segments
    }

    /// Notes on the copies that they are equal now.
    fn finish(&self) -> Result<(), Error> {
        for copy in self.copies.all() {
            copy.attempt("trim free journal segments", || copy.trim_free(self.segment_bytes));
        }
        self.copies.note_change()?;
        for copy in self.copies.healthy() {
            if let Err(error) = copy.remove_adopt_mark() {
                tracing::warn!(path = %copy.path().display(), %error, "marker not removed");
            }
        }
        Ok(())
    }
}

fn copy_large(from: &JournalCopy, to: &JournalCopy, id: Uuid) -> io::Result<()> {
    let source = from.open_large(id)?;
    let target = to.create_large(id)?;
    let mut buffer = vec![0; COPY_BYTES];
    let mut at = 0;
    loop {
        let read = source.read_up_to(&mut buffer, at)?;
        target.write(buffer.get(..read).unwrap_or_default(), at)?;
        at += len64(read);
        if read < COPY_BYTES {
            return to.finish_large(&target);
        }
    }
}
