//! Packing: takes unsealed instances out of the journal into a container, and seals it.
//!
//! Order of events, each durable before the next: shards written, fsynced, linked, read back and verified; one
//! transaction with container, segments and the end of the hot rows; the journal's space given back. A crash before
//! the transaction leaves a container that the next start takes in (`recover`); after it, only space to give back.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::ops::RangeInclusive;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use tiering::{ContainerWriter, Extent, InstanceKind, Manifest, ManifestInstance, Tier, Toc, TocSegment};
use tokio_util::sync::CancellationToken;

use super::plan::{Batch, Month, Patience, batches};
use super::recover::recheck;
use super::{Progress, describe};
use crate::archive::Inner;
use crate::checksum::crc32c;
use crate::dataset::{self, Attributes, InstanceUids, Limits, Parsed, ReadError};
use crate::index::{Hot, Index};
use crate::journal::{self, Journal, Lsn, RecordRef};
use crate::receive::joined;
use crate::retrieve::BlockPacker;
use crate::source::{PayloadSource, record_source, verify_record};
use crate::{Error, Uid, used_pools};

/// No time at all, in milliseconds: every study is quiet in it.
pub(super) const NEVER: RangeInclusive<i64> = RangeInclusive::new(i64::MAX, i64::MIN);

/// Packs the studies that are due. Stops between containers when cancelled.
pub(crate) async fn pack_due(archive: &Arc<Inner>, cancel: &CancellationToken) -> Result<(), Error> {
    let Ok(index) = archive.link.get() else { return Ok(()) };
    // Until the index has every container, what looks unsealed may be sealed.
    if archive.applied.borrow().is_none() {
        return Ok(());
    }
    recheck(archive, &index).await?;
    let options = &archive.options.pack;
    let now = archive.options.clock.now().as_millisecond();
    let (busy, patience) = if archive.under_pressure() {
        (NEVER, Patience::None)
    } else {
        // What seems to come from the future was received before the clock was set back: it need not wait for that day.
        let quiet = i64::try_from(options.quiet.as_millis()).unwrap_or(i64::MAX);
        (now.saturating_sub(quiet)..=now.saturating_add(quiet), Patience::Until(options.wait_max))
    };
    let studies = index.quiet_studies(busy).await?;
    let mut failed = None;
    for batch in batches(studies, options.container_bytes, patience, now) {
        if cancel.is_cancelled() {
            break;
        }
        match pack_batch(archive, &index, &batch).await {
            Ok(_) => {}
            Err(error @ Error::IndexAway(_)) => return Err(error),
            // One study that cannot be packed does not keep the others in the journal.
            Err(error) => failed = Some(error),
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Packs everything that is not sealed; returns how many instances were sealed.
pub(crate) async fn pack_all(archive: &Arc<Inner>, progress: &Progress) -> Result<u64, Error> {
    let index = archive.link.get()?;
    // Somebody asks: perhaps devices were just mounted.
    super::probe_devices(archive).await;
    recheck(archive, &index).await?;
    // And perhaps a journal copy was mended.
    archive.unpackable().clear();
    let studies = index.quiet_studies(NEVER).await?;
    let total = studies.iter().map(|study| study.instances).sum();
    let mut done = 0;
    progress.report(done, total);
    let now = archive.options.clock.now().as_millisecond();
    let mut failed = None;
    for batch in batches(studies, archive.options.pack.container_bytes, Patience::None, now) {
        match pack_batch(archive, &index, &batch).await {
            Ok(sealed) => done += sealed,
            Err(error @ Error::IndexAway(_)) => return Err(error),
            Err(error) => failed = Some(error),
        }
        progress.report(done, total);
    }
    failed.map_or(Ok(done), Err)
}

/// Packs one batch into as many containers as it needs.
async fn pack_batch(archive: &Arc<Inner>, index: &Index, batch: &Batch) -> Result<u64, Error> {
    let _one_packer = archive.packing.lock().await;
    let studies: Vec<Uid> =
        batch.studies.iter().map(|study| study.parse().expect("the index keeps valid UIDs")).collect();
    let mut instances = index.hot_instances(&studies).await?;
    {
        let unpackable = archive.unpackable();
        instances.retain(|hot| !unpackable.contains(&hot.record.lsn));
    }
    let mut sealed = 0;
    let mut rest = instances;
    while !rest.is_empty() {
        let full = full_container(&rest, archive.options.pack.container_bytes);
        let later = rest.split_off(full);
        sealed += pack_container(archive, index, batch.month, rest).await?;
        rest = later;
    }
    Ok(sealed)
}

/// Returns how many of the instances, at least one, fill one container.
fn full_container(instances: &[Hot], container_bytes: u64) -> usize {
    let mut bytes = 0_u64;
    for (count, hot) in instances.iter().enumerate() {
        bytes = bytes.saturating_add(hot.record.payload_bytes);
        if bytes > container_bytes {
            return count.max(1);
        }
    }
    instances.len()
}

async fn pack_container(archive: &Arc<Inner>, index: &Index, month: Month, instances: Vec<Hot>) -> Result<u64, Error> {
    let series = series_parts(index, instances).await?;
    let writer = Arc::clone(archive);
    let written = joined(archive.tasks.spawn_blocking(move || write_container(&writer, series)).await)??;
    leave_out(archive, &written.lost);
    let Some((sealed, toc)) = written.sealed else { return Ok(0) };
    let container = describe::sealed(archive, &sealed, month, &toc)?;
    let recorded = match used_pools::remember(archive).await {
        Ok(()) => index.seal(&container).await.map_err(Error::from),
        Err(error) => Err(error),
    };
    if recorded.is_err() {
        // Whether the index has it is not known: the next pack first looks at what the devices have.
        archive.recheck.store(true, Ordering::Relaxed);
    }
    recorded?;
    let count = settle(archive, index, &written.series).await?;
    tracing::info!(container = %sealed.id, pool = sealed.pool, instances = count, bytes = sealed.logical_bytes, "container sealed");
    archive.metrics.instances("sealed", count);
    Ok(count)
}

/// Instances of one series that go into one container.
struct SeriesPart {
    study: Uid,
    series: Uid,
    summary: Bytes,
    instances: Vec<Hot>,
}

/// Sorts instances, which come series by series, into parts.
async fn series_parts(index: &Index, instances: Vec<Hot>) -> Result<Vec<SeriesPart>, Error> {
    let mut parts: Vec<SeriesPart> = Vec::new();
    for hot in instances {
        let (study, series) = (&hot.study_instance_uid, &hot.series_instance_uid);
        match parts.last_mut() {
            Some(part) if part.study == *study && part.series == *series => part.instances.push(hot),
            Some(_) | None => {
                let (study, series) = (study.clone(), series.clone());
                parts.push(SeriesPart { study, series, summary: Bytes::new(), instances: vec![hot] });
            }
        }
    }
    let named: Vec<(Uid, Uid)> = parts.iter().map(|part| (part.study.clone(), part.series.clone())).collect();
    for (part, summary) in parts.iter_mut().zip(index.series_summaries(&named).await?) {
        part.summary = summary;
    }
    Ok(parts)
}

/// What became of the instances that were to go into one container.
struct Written {
    /// Nothing when the journal lost all of them.
    sealed: Option<(tiering::Sealed, Toc)>,
    /// What is in it.
    series: Vec<SeriesPart>,
    /// What the journal cannot give back.
    lost: Vec<Hot>,
}

fn write_container(archive: &Inner, series: Vec<SeriesPart>) -> Result<Written, Error> {
    let payload: u64 = series.iter().flat_map(|part| &part.instances).map(|hot| hot.record.payload_bytes).sum();
    let mut writer = archive.store.create(Tier::Hot, payload)?;
    let mut packer = BlockPacker::new()?;
    let mut written = Written { sealed: None, series: Vec::with_capacity(series.len()), lost: Vec::new() };
    let mut segments = Vec::with_capacity(series.len());
    for mut part in series {
        if let Some(segment) = write_series(archive, (&mut writer, &mut packer), &mut part, &mut written.lost)? {
            segments.push(segment);
            written.series.push(part);
        }
    }
    if !segments.is_empty() {
        let toc = Toc { segments };
        written.sealed = Some((writer.seal(toc.clone())?, toc));
    }
    Ok(written)
}

/// Writes a series and leaves in `part` what is in the container; nothing if the journal lost all of it.
fn write_series(
    archive: &Inner,
    (writer, packer): (&mut ContainerWriter, &mut BlockPacker),
    part: &mut SeriesPart,
    lost: &mut Vec<Hot>,
) -> Result<Option<TocSegment>, Error> {
    let mut instances = Vec::with_capacity(part.instances.len());
    let mut kinds: Vec<Arc<InstanceKind>> = Vec::new();
    for hot in std::mem::take(&mut part.instances) {
        let copied = match copy(archive, writer, &hot.record) {
            Ok(copied) => copied,
            Err(Error::Journal(journal::Error::Damaged(_) | journal::Error::Gone)) => {
                lost.push(hot);
                continue;
            }
            Err(error) => return Err(error),
        };
        let kind = kind_of(&hot, &mut kinds);
        let parsed = parse(&copied.source, &hot)?;
        let (pixel_data, frame_table) = layout(&copied.source, &parsed, &hot, writer)?;
        packer.push(&object(parsed.attributes, part, &hot))?;
        instances.push(ManifestInstance {
            sop_instance_uid: hot.sop_instance_uid.to_string(),
            number: hot.instance_number,
            offset: copied.offset,
            bytes: hot.record.payload_bytes,
            crc32c: hot.record.crc32c,
            pixel_data,
            frame_table,
            received_millis: hot.received_millis,
            kind,
        });
        part.instances.push(hot);
    }
    if instances.is_empty() {
        return Ok(None);
    }
    let metadata = append(writer, &packer.finish()?)?;
    Ok(Some(TocSegment {
        study_instance_uid: part.study.to_string(),
        series_instance_uid: part.series.to_string(),
        summary: part.summary.clone(),
        metadata,
        manifest: Manifest { instances },
    }))
}

/// Leaves instances that the journal lost where they are, so that they do not hold up all others, and says so.
fn leave_out(archive: &Inner, lost: &[Hot]) {
    let Some(first) = lost.first() else { return };
    tracing::error!(
        instances = lost.len(),
        sop_instance_uid = %first.sop_instance_uid,
        "instances that no journal copy has undamaged are not packed: mend a copy or delete them and have them sent again"
    );
    archive.unpackable().extend(lost.iter().map(|hot| hot.record.lsn));
}

/// A data set that was copied into the container, still at hand to read its header.
struct Copied {
    offset: u64,
    source: PayloadSource,
}

/// Copies one data set; its CRC is checked on the way, so that a container never seals what the journal lost.
fn copy(archive: &Inner, writer: &mut ContainerWriter, record: &RecordRef) -> Result<Copied, Error> {
    if record.large {
        verify_record(&archive.journal, record)?;
        let mut reader = RecordReader { journal: &archive.journal, record, at: 0 };
        let offset = writer.append_from(record.payload_bytes, &mut reader)?;
        return Ok(Copied { offset, source: PayloadSource::Record(record_source(&archive.journal, record)) });
    }
    let bytes = archive.journal.read_once(record)?;
    Ok(Copied { offset: writer.append(&bytes)?, source: PayloadSource::Whole(bytes) })
}

/// Reads a large payload in order.
struct RecordReader<'a> {
    journal: &'a Journal,
    record: &'a RecordRef,
    at: u64,
}

impl Read for RecordReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = u64::try_from(buffer.len()).unwrap_or(u64::MAX);
        let end = self.at.saturating_add(wanted).min(self.record.payload_bytes);
        let part = self.journal.read_payload(self.record, self.at..end).map_err(io::Error::other)?;
        let (filled, _) = buffer.split_at_mut_checked(part.len()).ok_or(io::ErrorKind::InvalidData)?;
        filled.copy_from_slice(&part);
        self.at = end;
        Ok(part.len())
    }
}

/// Slices of a series are alike: they share one kind.
fn kind_of(hot: &Hot, kinds: &mut Vec<Arc<InstanceKind>>) -> Arc<InstanceKind> {
    let kind = InstanceKind {
        sop_class_uid: hot.sop_class_uid.to_string(),
        transfer_syntax_uid: hot.transfer_syntax_uid.to_string(),
        encoding: 0,
        detail: hot.detail.clone(),
    };
    if let Some(known) = kinds.iter().find(|known| ***known == kind) {
        return Arc::clone(known);
    }
    let kind = Arc::new(kind);
    kinds.push(Arc::clone(&kind));
    kind
}

/// Reads the header; nothing of it if it cannot be made out: such an instance is packed all the same, its metadata has its
/// UIDs, and its frames are looked for when they are asked for.
fn parse(source: &PayloadSource, hot: &Hot) -> Result<Parsed, Error> {
    let syntax = dataset::transfer_syntax(hot.transfer_syntax_uid.as_str()).ok_or(Error::TransferSyntaxNotSupported)?;
    match dataset::read(source, syntax, &Limits::default()) {
        Err(ReadError::Malformed { .. } | ReadError::Missing { .. }) => {
            Ok(Parsed { attributes: Attributes::default(), pixel_data: None, complete: false })
        }
        read => Ok(read?),
    }
}

/// Returns where the pixel data is, and lists the fragments of encapsulated frames beside it.
fn layout(
    source: &PayloadSource,
    parsed: &Parsed,
    hot: &Hot,
    writer: &mut ContainerWriter,
) -> Result<(u64, Option<Extent>), Error> {
    // Offsets into what a deflated data set becomes say nothing about what is stored.
    let deflated = dataset::transfer_syntax(hot.transfer_syntax_uid.as_str()).is_none_or(|syntax| syntax.deflated);
    let Some(pixel_data) = parsed.pixel_data.as_ref().filter(|_| !deflated) else { return Ok((0, None)) };
    if !pixel_data.encapsulated {
        return Ok((pixel_data.offset, None));
    }
    match dataset::fragment_table(source, pixel_data, &parsed.attributes) {
        Ok(table) => Ok((pixel_data.offset, Some(append(writer, &table.encode())?))),
        Err(_) => Ok((pixel_data.offset, None)),
    }
}

fn object(attributes: Attributes, part: &SeriesPart, hot: &Hot) -> Vec<u8> {
    let uids = InstanceUids {
        study_instance_uid: &part.study,
        series_instance_uid: &part.series,
        sop_instance_uid: &hot.sop_instance_uid,
    };
    dataset::attributes_json(attributes, uids)
}

fn append(writer: &mut ContainerWriter, bytes: &[u8]) -> Result<Extent, Error> {
    let offset = writer.append(bytes)?;
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    Ok(Extent { offset, bytes: length, crc32c: crc32c(bytes) })
}

/// Gives back what the journal held of sealed instances.
async fn settle(archive: &Arc<Inner>, index: &Index, series: &[SeriesPart]) -> Result<u64, Error> {
    let mut count = 0;
    for part in series {
        archive.sealed_series.changed(&part.series);
        for hot in &part.instances {
            archive.presence.forget_record(&part.study, &part.series, &hot.sop_instance_uid, &hot.record);
            count += 1;
            if hot.record.large
                && let Err(error) = archive.journal.release_large(&hot.record)
            {
                tracing::warn!(%error, "a large payload that is sealed stays behind until the next start");
            }
        }
    }
    let applied = *archive.applied.borrow();
    release(archive, index, applied).await?;
    Ok(count)
}

/// Recycles the journal segments before `applied` that hold no unsealed instance.
pub(super) async fn release(archive: &Arc<Inner>, index: &Index, applied: Option<Lsn>) -> Result<(), Error> {
    let Some(before) = applied else { return Ok(()) };
    let held = index.hot_segments(archive.journal.id(), archive.journal.segment_bytes()).await?;
    let releaser = Arc::clone(archive);
    let released =
        archive.tasks.spawn_blocking(move || releaser.journal.release(&|segment| held.contains(&segment), before));
    joined(released.await)??;
    Ok(())
}

impl Inner {
    /// Whether the journal is so full that studies are packed without waiting. The segment being written counts for
    /// nothing: no packing gives it back.
    fn under_pressure(&self) -> bool {
        let status = self.journal.status();
        let used = status.used_bytes.saturating_sub(self.journal.segment_bytes());
        let percent = u64::from(self.options.pack.pressure_percent);
        u128::from(used) * 100 >= u128::from(status.bytes_max) * u128::from(percent)
    }

    /// Returns the records that could not be packed, so that they are tried and reported only once.
    fn unpackable(&self) -> std::sync::MutexGuard<'_, BTreeSet<Lsn>> {
        self.unpackable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
