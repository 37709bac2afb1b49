//! C-STORE.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::{anyhow, ensure};

use crate::association::{Association, Kind, Options};
use crate::data::{Sample, bytes};
use crate::measure::times::{Times, number};
use crate::measure::usage::own_cpu_seconds;

/// What is sent, and how.
#[derive(Debug, Clone, Copy)]
pub struct Store<'a> {
    /// Where.
    pub address: SocketAddr,
    /// Called application entity.
    pub ae: &'a str,
    /// What.
    pub samples: &'a [Sample],
    /// Associations at a time; each sends all samples.
    pub associations: usize,
    /// How often each association sends all samples.
    pub copies: u32,
    /// Salt of the first copy of the first association; the following count on. Absent: identifiers as generated.
    pub salt: Option<u32>,
    /// How the bytes leave.
    pub style: Style,
}

/// How the bytes leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Style {
    /// One vectored write an instance, Nagle off.
    #[default]
    Vectored,
    /// As DCMTK does by default: two writes a PDU of 16 KiB, Nagle on.
    LikeDcmtk,
}

/// What was sent; every instance was acknowledged with success.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct Stored {
    /// Instances.
    pub instances: usize,
    /// Bytes of data sets.
    pub bytes: u64,
    /// Wall clock.
    pub seconds: f64,
    /// Instances a second.
    pub per_second: f64,
    /// From the first byte of an instance to its answer.
    pub times: Times,
    /// Processor seconds that we used ourselves.
    pub client_cpu_seconds: f64,
}

impl Default for Store<'_> {
    fn default() -> Self {
        Self {
            address: crate::peers::loopback(0),
            ae: "FILMROOM",
            samples: &[],
            associations: 1,
            copies: 1,
            salt: None,
            style: Style::default(),
        }
    }
}

/// Sends, and fails unless every instance is acknowledged with success.
pub fn store(work: &Store<'_>) -> anyhow::Result<Stored> {
    let kinds = kinds(work.samples);
    ensure!(kinds.len() <= 127, "{} kinds of instances do not fit into an association", kinds.len());
    let (ready, cpu_before) = (Barrier::new(work.associations + 1), own_cpu_seconds());
    let (mut times, seconds) = std::thread::scope(|scope| {
        let lane = |number: usize| {
            let (ready, kinds) = (&ready, &kinds);
            scope.spawn(move || {
                ready.wait();
                send_lane(work, kinds, number)
            })
        };
        let lanes: Vec<_> = (0..work.associations).map(lane).collect();
        ready.wait();
        let begun = Instant::now();
        let mut times = Vec::new();
        for lane in lanes {
            times.extend(lane.join().map_err(|_| anyhow!("a sender panicked"))??);
        }
        anyhow::Ok((times, begun.elapsed().as_secs_f64()))
    })?;
    let instances = times.len();
    let sent = u64::try_from(work.associations)? * u64::from(work.copies);
    Ok(Stored {
        instances,
        bytes: bytes(work.samples) * sent,
        seconds,
        per_second: number(instances) / seconds,
        times: Times::of(&mut times),
        client_cpu_seconds: own_cpu_seconds() - cpu_before,
    })
}

fn send_lane(work: &Store<'_>, kinds: &[Kind], lane: usize) -> anyhow::Result<Vec<Duration>> {
    let options = Options { like_dcmtk: work.style == Style::LikeDcmtk, receive: false };
    let mut association = Association::open_with(&work.address.to_string(), work.ae, kinds, options)?;
    let (mut times, mut head) = (Vec::new(), Vec::new());
    let lane = u32::try_from(lane)?;
    for copy in 0..work.copies {
        let salt = work.salt.map(|salt| salt + lane * work.copies + copy);
        for sample in work.samples {
            let instance = &sample.instance;
            let salted = salt.map(|salt| sample.sop_instance_uid(salt));
            let rest = match salt {
                Some(salt) => sample.salted(salt, &mut head),
                None => &instance.data_set,
            };
            let uid = salted.as_deref().unwrap_or(&instance.sop_instance_uid);
            let begun = Instant::now();
            let status = association.store_parts(kind(sample), uid, [&head, rest])?;
            times.push(begun.elapsed());
            ensure!(status == 0, "{uid} was refused with status {status:04X}");
        }
    }
    association.release()?;
    Ok(times)
}

fn kind(sample: &Sample) -> Kind {
    (sample.instance.sop_class_uid, sample.instance.transfer_syntax_uid)
}

fn kinds(samples: &[Sample]) -> Vec<Kind> {
    samples.iter().map(kind).collect::<BTreeSet<_>>().into_iter().collect()
}
