//! The clients: those that send much, those that read slowly, and those that want to be answered meanwhile.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde::Serialize;

use super::data::{CT, Long, small};
use crate::association::{Association, ECHO, FIND};
use crate::http;
use crate::process::pause;

/// How long any of them waits for the server.
const PATIENCE: Duration = Duration::from_mins(10);
/// Bytes that a slow reader takes at a time.
const SIP_BYTES: u32 = 64 << 10;
/// Pause between two rounds of probes.
const PROBE_EVERY: Duration = Duration::from_millis(100);
/// Name of the probe that needs room in the journal.
pub(super) const STORE: &str = "C-STORE of a small instance";
/// Any DICOM file.
const FILES: &str = "multipart/related; type=\"application/dicom\"; transfer-syntax=*";
/// Frames as they are.
const FRAMES: &str = "multipart/related; type=\"application/octet-stream\"; transfer-syntax=*";

/// What became of the instances that were sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Sent {
    /// Acknowledged.
    pub stored: usize,
    /// Refused because there is no room (A7xx).
    pub no_room: usize,
}

/// Latencies of one kind of question.
#[derive(Debug, Clone, Serialize)]
pub struct Probe {
    /// What was asked.
    pub what: &'static str,
    /// How often.
    pub asked: usize,
    /// Median time to the answer.
    pub p50_ms: u128,
    /// Longest.
    pub most_ms: u128,
    /// Why some were not answered as they should.
    pub failures: Vec<String>,
}

/// Sends one instance.
pub(super) fn send(address: &str, long: &Long) -> anyhow::Result<Sent> {
    let mut association = Association::open(address, "FILMROOM", &[CT])?;
    association.wait_at_most(PATIENCE)?;
    let uid = &long.instance.sop_instance_uid;
    let status = association.store_from(CT, uid, long.bytes(), &mut long.data_set())?;
    ensure!(status == 0 || status >> 8 == 0xA7, "C-STORE was answered by {status:04X}");
    association.release()?;
    Ok(Sent { stored: usize::from(status == 0), no_room: usize::from(status != 0) })
}

/// Sends studies of one small instance each.
pub(super) fn send_studies(address: &str, seeds: std::ops::Range<u64>) -> anyhow::Result<()> {
    let mut association = Association::open(address, "FILMROOM", &[CT])?;
    for instance in seeds.flat_map(|seed| small(seed, 1)) {
        let status = association.store(CT, &instance.sop_instance_uid, &instance.data_set)?;
        ensure!(status == 0, "C-STORE was answered by {status:04X}");
    }
    association.release()
}

/// Reads an answer at a rate, to its end or until it should stop; returns the bytes of its body that it saw.
pub(super) fn sip(
    (address, path): (&str, &str),
    bytes_per_second: u64,
    stop: &AtomicBool,
    taken: &AtomicU64,
) -> anyhow::Result<()> {
    let accept = if path.contains('?') { "application/dicom+json" } else { FILES };
    let mut stream = TcpStream::connect(address).context("connect")?;
    stream.set_read_timeout(Some(PATIENCE)).context("set up the connection")?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\nAccept: {accept}\r\n\r\n").context("ask")?;
    let (begun, mut total) = (Instant::now(), 0_u64);
    let mut sip = vec![0; usize::try_from(SIP_BYTES)?];
    while !stop.load(Ordering::Relaxed) {
        let read = stream.read(&mut sip).context("read the answer")?;
        if total == 0 {
            ensure!(sip.get(9..12) == Some(b"200"), "GET {path} was not answered by 200");
        }
        if read == 0 {
            break;
        }
        total += u64::try_from(read)?;
        taken.store(total, Ordering::Relaxed);
        let due = Duration::from_millis(total.saturating_mul(1000) / bytes_per_second.max(1));
        pause(due.saturating_sub(begun.elapsed()));
    }
    Ok(())
}

/// Asks for all studies, and reads the matches with pauses.
pub(super) fn find_slowly(address: &str, rest: Duration) -> anyhow::Result<u64> {
    let mut association = Association::open(address, "FILMROOM", &[FIND])?;
    association.wait_at_most(PATIENCE)?;
    let matches = association.find_studies(rest)?;
    association.release()?;
    Ok(matches)
}

/// Asks short questions, one after the other, until it should stop. `sealed` is a study that can be read, `seed` that
/// of studies that no other client sends.
pub(super) fn probe(dicom: &str, http: &str, sealed: u64, seed: u64, stop: &AtomicBool) -> anyhow::Result<Vec<Probe>> {
    let known = small(sealed, 1).next().context("a study has an instance")?;
    let mut association = Association::open(dicom, "FILMROOM", &[CT, ECHO])?;
    let search = format!("/dicomweb/studies?PatientID={}", known.patient_id);
    let (study, series, instance) = (&known.study_instance_uid, &known.series_instance_uid, &known.sop_instance_uid);
    let frame = format!("/dicomweb/studies/{study}/series/{series}/instances/{instance}/frames/1");
    let mut sent = (seed..).flat_map(|seed| small(seed, 1));
    let mut gathered: [Gathered; 4] = Default::default();
    let [echo, store, qido, frames] = &mut gathered;
    while !stop.load(Ordering::Relaxed) {
        echo.time(|| association.echo());
        store.time(|| {
            let new = sent.next().context("seeds do not end")?;
            let status = association.store(CT, &new.sop_instance_uid, &new.data_set)?;
            ensure!(status == 0, "C-STORE was answered by {status:04X}");
            Ok(())
        });
        qido.time(|| get(http, &search, "application/dicom+json"));
        frames.time(|| get(http, &frame, FRAMES));
        pause(PROBE_EVERY);
    }
    let names = ["C-ECHO", STORE, "QIDO-RS of a patient", "WADO-RS of a frame"];
    Ok(names.into_iter().zip(gathered).map(|(what, gathered)| gathered.probe(what)).collect())
}

fn get(address: &str, path: &str, accept: &str) -> anyhow::Result<()> {
    let answer = http::get(address, path, accept)?;
    ensure!(answer.status == 200 && !answer.body.is_empty(), "GET {path} was answered by {}", answer.status);
    Ok(())
}

#[derive(Debug, Default)]
struct Gathered {
    times: Vec<Duration>,
    failures: Vec<String>,
}

impl Gathered {
    fn time(&mut self, ask: impl FnOnce() -> anyhow::Result<()>) {
        let begun = Instant::now();
        let answered = ask();
        self.times.push(begun.elapsed());
        self.failures.extend(answered.err().map(|error| format!("{error:#}")));
    }

    fn probe(mut self, what: &'static str) -> Probe {
        self.times.sort_unstable();
        let at = |index: usize| self.times.get(index).map_or(0, Duration::as_millis);
        let (p50_ms, most_ms) = (at(self.times.len() / 2), at(self.times.len().saturating_sub(1)));
        self.failures.truncate(10);
        Probe { what, asked: self.times.len(), p50_ms, most_ms, failures: self.failures }
    }
}
