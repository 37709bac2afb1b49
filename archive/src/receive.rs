//! Taking one instance in: the store service behind C-STORE, STOW-RS and import.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use dicom_data::{Identifiers, TransferSyntax, Uid};
use disk::Crc32c;
use index::{InstanceRef, Location};
use journal::{LargeWriter, Payload, RecordHead};
use tokio::sync::Semaphore;

use crate::manifest_cache::ManifestCache;
use crate::resend;
use crate::retrieve::Reader;
use crate::tasks::{Tasks, blocking};
use crate::unsealed::{Reservation, Reserved, Unsealed};
use crate::windowed::file_source;
use crate::{Clock, Error, Metrics};

/// Pieces of long instances that are written at a time: each is a thread, and with one for each sender those that answer
/// everybody else hardly get to run.
const LARGE_WRITES_MAX: usize = 8;

/// Limits of what is taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StoreLimits {
    /// Longest data set in bytes.
    pub(crate) instance_bytes_max: u64,
    /// Longest data set that stays in memory.
    pub(crate) inline_bytes_max: u64,
}

/// The store service: takes instances into the journal.
#[derive(Debug)]
pub(crate) struct Intake {
    unsealed: Arc<Unsealed>,
    /// Tells whether an instance is sealed already.
    manifests: Arc<ManifestCache>,
    /// Reads what is stored under the UID of a resent instance.
    reader: Arc<Reader>,
    /// A permit for each piece of a long instance that is being written.
    large_writes: Semaphore,
    limits: StoreLimits,
    clock: Clock,
    metrics: Metrics,
    tasks: Tasks,
}

impl Intake {
    pub(crate) fn new(
        unsealed: Arc<Unsealed>,
        manifests: Arc<ManifestCache>,
        reader: Arc<Reader>,
        limits: StoreLimits,
        (clock, metrics, tasks): (Clock, Metrics, Tasks),
    ) -> Self {
        let large_writes = Semaphore::new(LARGE_WRITES_MAX);
        Self { unsealed, manifests, reader, large_writes, limits, clock, metrics, tasks }
    }
}

/// Where an instance comes from and what was said about it before its data set.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Encoding of the data set (presentation context or file meta information).
    pub transfer_syntax_uid: Uid,
    /// What the command set or file meta information says; it must not contradict the data set.
    pub sop_class_uid: Option<Uid>,
    /// As above.
    pub sop_instance_uid: Option<Uid>,
    /// Study of the STOW-RS resource, if it names one.
    pub study_instance_uid: Option<Uid>,
    /// Calling AE title, empty for DICOMweb and import.
    pub calling_ae: String,
    /// Called AE title, empty for DICOMweb and import.
    pub called_ae: String,
}

/// Shorter chunks are copied together. A chunk keeps the buffer alive that it came in, and some bytes of its own: a sender
/// of single bytes would make 16 KiB of each.
const CHUNK_BYTES_MIN: usize = 8 * 1024;
/// Short chunks are gathered up to this.
const GATHERED_BYTES_MAX: usize = 64 * 1024;

/// Takes the bytes of one data set. Dropped before `finish`, it leaves nothing behind.
///
/// Up to the journal's inline limit (1 MiB by default) the bytes stay in memory; a longer data set goes to a file of
/// its own in every journal copy as it arrives, so memory does not grow with the instance.
#[derive(Debug)]
pub struct Receiver {
    intake: Arc<Intake>,
    origin: Origin,
    syntax: &'static TransferSyntax,
    chunks: Vec<Bytes>,
    /// Short chunks that came after the last of `chunks`.
    gathered: BytesMut,
    chunk_bytes: u64,
    total_bytes: u64,
    large: Option<LargeWriter>,
}

/// What became of an instance.
#[derive(Debug, Clone)]
pub struct Stored {
    /// SOP Class UID of the data set.
    pub sop_class_uid: Uid,
    /// SOP Instance UID of the data set.
    pub sop_instance_uid: Uid,
    /// Study Instance UID of the data set.
    pub study_instance_uid: Uid,
    /// Series Instance UID of the data set.
    pub series_instance_uid: Uid,
    /// New or known.
    pub outcome: Outcome,
}

/// Whether the instance is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was not there before.
    New,
    /// The same bytes were already stored.
    Duplicate,
}

impl Receiver {
    pub(crate) fn new(intake: Arc<Intake>, origin: Origin) -> Result<Self, Error> {
        let syntax = dicom_data::transfer_syntax(origin.transfer_syntax_uid.as_str())
            .filter(|syntax| syntax.accepted)
            .ok_or(Error::TransferSyntaxNotSupported)?;
        let (chunks, gathered) = (Vec::new(), BytesMut::new());
        Ok(Self { intake, origin, syntax, chunks, gathered, chunk_bytes: 0, total_bytes: 0, large: None })
    }

    /// Takes the next bytes; waits while the disks are slower than the sender.
    ///
    /// A dropped call makes the receiver useless: drop it too, nothing is left behind.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), Error> {
        let len = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        self.total_bytes = self.total_bytes.saturating_add(len);
        if self.total_bytes > self.intake.limits.instance_bytes_max {
            return Err(Error::TooLarge { bytes_max: self.intake.limits.instance_bytes_max });
        }
        self.chunk_bytes = self.chunk_bytes.saturating_add(len);
        self.keep(chunk);
        if self.chunk_bytes > self.intake.limits.inline_bytes_max {
            self.spill().await?;
        }
        Ok(())
    }

    /// Keeps a chunk in memory.
    fn keep(&mut self, chunk: Bytes) {
        if chunk.len() < CHUNK_BYTES_MIN {
            self.gathered.extend_from_slice(&chunk);
            if self.gathered.len() < GATHERED_BYTES_MAX {
                return;
            }
            self.close_gathered();
        } else {
            self.close_gathered();
            self.chunks.push(chunk);
        }
    }

    /// Makes one chunk of the short ones.
    fn close_gathered(&mut self) {
        if !self.gathered.is_empty() {
            self.chunks.push(self.gathered.split().freeze());
        }
    }

    /// Moves what is in memory to the large file.
    async fn spill(&mut self) -> Result<(), Error> {
        self.close_gathered();
        let chunks = std::mem::take(&mut self.chunks);
        self.chunk_bytes = 0;
        let writer = self.large.take();
        let unsealed = Arc::clone(&self.intake.unsealed);
        let permit = self.intake.large_writes.acquire().await.expect("it is never closed");
        let written = blocking(move || -> Result<LargeWriter, journal::Error> {
            let mut writer = match writer {
                Some(writer) => writer,
                None => unsealed.begin_large()?,
            };
            for chunk in &chunks {
                writer.write(chunk)?;
            }
            Ok(writer)
        });
        let written = written.await?;
        drop(permit);
        self.large = Some(written.map_err(|error| self.intake.unsealed.refusal(&error))?);
        Ok(())
    }

    /// Files the instance: returns when it is durable on every journal copy. What was begun is finished
    /// even if the call is dropped.
    pub async fn finish(self) -> Result<Stored, Error> {
        let tasks = self.intake.tasks.clone();
        tasks.finish(self.file()).await?
    }

    async fn file(mut self) -> Result<Stored, Error> {
        self.close_gathered();
        if self.large.is_some() && !self.chunks.is_empty() {
            self.spill().await?;
        }
        let received = self.payload().await?;
        let (intake, origin) = (self.intake, self.origin);
        let identifiers = received.identifiers.clone();
        check(&origin, &identifiers)?;
        intake.unsealed.check_deleted(&identifiers)?;
        let Identifiers { study_instance_uid: study, series_instance_uid: series, sop_instance_uid: sop, .. } =
            &identifiers;
        let reservation = match intake.unsealed.reserve(study, series, sop).await {
            Reserved::New(reservation) => reservation,
            Reserved::Stored(record) => {
                let bytes = record.payload_bytes;
                let known = instance_ref(&origin, &identifiers, Location::Journal(record), bytes);
                return intake.already_stored(&received, known, identifiers).await;
            }
        };
        if let Some(known) = intake.manifests.find_for_sender(study, series, sop).await {
            drop(reservation);
            return intake.already_stored(&received, known, identifiers).await;
        }
        intake.append(&origin, received, reservation).await?;
        intake.metrics.instances("received", 1);
        Ok(stored(identifiers, Outcome::New))
    }

    /// Ends the payload and reads its identifiers.
    async fn payload(&mut self) -> Result<Received, Error> {
        let syntax = self.syntax;
        if let Some(writer) = self.large.take() {
            let ended = blocking(move || -> Result<Received, Error> {
                let payload = writer.finish().map_err(|e| Error::from_journal_write(&e))?;
                let file = payload
                    .open()
                    .map_err(|source| Error::Io { doing: "open a large payload just written", source })?;
                let bytes = payload.bytes();
                let identifiers = dicom_data::read_identifiers(&file_source(file, bytes), syntax)?;
                Ok(Received { payload: Payload::Large(payload), bytes, identifiers })
            });
            return ended.await?;
        }
        let data_set = join(std::mem::take(&mut self.chunks));
        let identifiers = dicom_data::read_identifiers(&data_set[..], syntax)?;
        let bytes = self.total_bytes;
        Ok(Received { payload: Payload::Inline(vec![data_set]), bytes, identifiers })
    }
}

/// A whole payload, not yet in the journal.
struct Received {
    payload: Payload,
    bytes: u64,
    identifiers: Identifiers,
}

impl Received {
    /// Returns the CRC-32C of the bytes: for a resent instance only, the journal computes its own.
    fn crc32c(&self) -> u32 {
        match &self.payload {
            Payload::Large(large) => large.crc32c(),
            Payload::Inline(pieces) => {
                let mut digest = Crc32c::default();
                for piece in pieces {
                    digest.update(piece);
                }
                digest.finish()
            }
        }
    }
}

/// Puts the chunks into one piece; the usual instance came in one or a few.
fn join(mut chunks: Vec<Bytes>) -> Bytes {
    if chunks.len() == 1 {
        return chunks.pop().unwrap_or_default();
    }
    let mut whole = Vec::with_capacity(chunks.iter().map(Bytes::len).sum());
    for chunk in &chunks {
        whole.extend_from_slice(chunk);
    }
    whole.into()
}

/// Refuses a data set that contradicts what was said about it (PS3.4 §B.2.3, PS3.18 §10.5.3).
fn check(origin: &Origin, identifiers: &Identifiers) -> Result<(), Error> {
    let pairs = [
        (&origin.sop_class_uid, &identifiers.sop_class_uid, "SOPClassUID"),
        (&origin.sop_instance_uid, &identifiers.sop_instance_uid, "SOPInstanceUID"),
        (&origin.study_instance_uid, &identifiers.study_instance_uid, "StudyInstanceUID"),
    ];
    for (said, found, keyword) in pairs {
        if said.as_ref().is_some_and(|said| said != found) {
            return Err(Error::Contradiction { keyword });
        }
    }
    if !dicom_data::is_storage(identifiers.sop_class_uid.as_str()) {
        return Err(Error::SopClassNotSupported);
    }
    Ok(())
}

impl Intake {
    async fn append(&self, origin: &Origin, received: Received, reservation: Reservation) -> Result<(), Error> {
        let identifiers = received.identifiers;
        let head = RecordHead {
            study_instance_uid: identifiers.study_instance_uid,
            series_instance_uid: identifiers.series_instance_uid,
            sop_instance_uid: identifiers.sop_instance_uid,
            sop_class_uid: identifiers.sop_class_uid,
            transfer_syntax_uid: origin.transfer_syntax_uid.clone(),
            calling_ae: origin.calling_ae.clone(),
            called_ae: origin.called_ae.clone(),
            received_millis: self.clock.now().as_millisecond(),
        };
        self.unsealed.append(head, received.payload, reservation).await
    }

    /// Answers a resent instance: the same bytes are a success, others a conflict (the first is kept).
    async fn already_stored(
        &self,
        received: &Received,
        known: InstanceRef,
        identifiers: Identifiers,
    ) -> Result<Stored, Error> {
        let sent = resend::Sent { bytes: received.bytes, crc32c: received.crc32c(), payload: &received.payload };
        if resend::is_same(&self.reader, &known, &sent).await? {
            self.metrics.instances("duplicate", 1);
            return Ok(stored(identifiers, Outcome::Duplicate));
        }
        self.metrics.instances("conflict", 1);
        tracing::warn!(
            study_instance_uid = %identifiers.study_instance_uid,
            sop_instance_uid = %identifiers.sop_instance_uid,
            "refused other bytes under a stored SOP Instance UID"
        );
        Err(Error::Conflict)
    }
}

fn instance_ref(origin: &Origin, identifiers: &Identifiers, location: Location, bytes: u64) -> InstanceRef {
    InstanceRef {
        study_instance_uid: identifiers.study_instance_uid.clone(),
        series_instance_uid: identifiers.series_instance_uid.clone(),
        sop_instance_uid: identifiers.sop_instance_uid.clone(),
        sop_class_uid: identifiers.sop_class_uid.clone(),
        transfer_syntax_uid: origin.transfer_syntax_uid.clone(),
        bytes,
        location,
    }
}

fn stored(identifiers: Identifiers, outcome: Outcome) -> Stored {
    Stored {
        sop_class_uid: identifiers.sop_class_uid,
        sop_instance_uid: identifiers.sop_instance_uid,
        study_instance_uid: identifiers.study_instance_uid,
        series_instance_uid: identifiers.series_instance_uid,
        outcome,
    }
}
