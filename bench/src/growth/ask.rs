//! One kind of question, asked again and again, of archives of every size in turn: what else the machine does meanwhile
//! slows all of them alike.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use testdata::SmallStudy;

use super::asked::{Archive, Asked, Options, rounded};
use super::shape::{Question, Right, Shape};
use crate::association::{Association, FIND};
use crate::load::dimse::{self, Query};
use crate::load::http::{Connection, JSON, Request};
use crate::measure::times::{Times, number};
use crate::measure::usage::cpu_seconds;

/// Questions that are not counted: connections, prepared statements and caches come first.
const WARM_UP: u64 = 20;
/// Questions of a turn.
const TURN: u64 = 10;
/// Questions that are asked however long they take.
const ASKED_MIN: usize = 20;
/// Step between the studies that are asked for; prime, so that it meets all of them in the end.
const STEP: u64 = 7_368_787;
/// Attributes of an answer by C-FIND, beside what is asked for.
const RETURNED: [u32; 6] = [0x0008_0020, 0x0008_0050, 0x0008_1030, 0x0010_0010, 0x0010_0020, 0x0020_000D];

/// Asks every archive; fails when an answer is wrong.
pub(super) fn ask(archives: &[Archive], shape: &Shape, options: &Options) -> anyhow::Result<Vec<Asked>> {
    let mut askers = archives.iter().map(Asker::open).collect::<anyhow::Result<Vec<_>>>()?;
    for asker in &mut askers {
        asker.turn(shape, WARM_UP)?;
        asker.forget();
    }
    let begun = Instant::now();
    loop {
        for asker in &mut askers {
            asker.turn(shape, TURN)?;
        }
        let asked = askers.first().context("there is an archive")?.times.len();
        if asked >= options.asked_max || (asked >= ASKED_MIN && begun.elapsed() > options.asked_for_max) {
            return Ok(askers.into_iter().map(|asker| asker.end(shape)).collect());
        }
    }
}

/// Asks one archive.
struct Asker<'a> {
    archive: &'a Archive,
    web: Connection,
    association: Association,
    asked: u64,
    times: Vec<Duration>,
    matches: usize,
    cpu_before: f64,
}

impl<'a> Asker<'a> {
    fn open(archive: &'a Archive) -> anyhow::Result<Self> {
        let http: SocketAddr = archive.server.http.parse().context("read the server's address")?;
        let association = Association::open(&archive.server.dicom, "FILMROOM", &[FIND])?;
        let (times, cpu_before) = (Vec::new(), 0.0);
        Ok(Self { archive, web: Connection::open(http)?, association, asked: 0, times, matches: 0, cpu_before })
    }

    fn forget(&mut self) {
        self.times.clear();
        self.matches = 0;
        self.cpu_before = cpu_seconds(&[self.archive.pid]);
    }

    fn turn(&mut self, shape: &Shape, questions: u64) -> anyhow::Result<()> {
        let population = self.archive.population;
        for _ in 0..questions {
            let study = population.study(self.asked.wrapping_mul(STEP) % population.studies);
            self.asked += 1;
            let (matches, time) = self.answer((shape.question)(&study))?;
            self.times.push(time);
            self.matches += matches;
            check(shape.right, matches, &study, self.archive)
                .with_context(|| format!("{} of {} studies", shape.name, population.studies))?;
        }
        Ok(())
    }

    fn answer(&mut self, question: Question) -> anyhow::Result<(usize, Duration)> {
        match question {
            Question::Web(path) => {
                let (path, mut body) = (format!("/dicomweb{path}"), Vec::new());
                let fetched = self.web.send(Request::get(&path, JSON), &mut |bytes| body.extend_from_slice(bytes))?;
                ensure!(fetched.status == 200, "{path}: status {}", fetched.status);
                let matches: Vec<serde::de::IgnoredAny> = serde_json::from_slice(&body).context("read the matches")?;
                Ok((matches.len(), fetched.total))
            }
            Question::Find(tag, value) => {
                let returned = RETURNED.iter().filter(|known| **known != tag).map(|tag| (*tag, String::new()));
                let mut keys: Vec<(u32, String)> = returned.collect();
                keys.extend([(0x0008_0005, "ISO_IR 192".to_owned()), (tag, value)]);
                let begun = Instant::now();
                let matches = dimse::ask(&mut self.association, &Query { level: "STUDY", keys, matches: 0 })?;
                Ok((matches, begun.elapsed()))
            }
        }
    }

    fn end(mut self, shape: &Shape) -> Asked {
        let cpu = cpu_seconds(&[self.archive.pid]) - self.cpu_before;
        let times = Times::of(&mut self.times);
        let count = number(times.count);
        Asked {
            bench: "growth",
            studies: self.archive.population.studies,
            shape: shape.name,
            asked: times.count,
            matches: rounded(number(self.matches) / count),
            p50_ms: rounded(times.p50_ms),
            p99_ms: rounded(times.p99_ms),
            cpu_ms: rounded(cpu * 1e3 / count),
            p50_ratio: 1.0,
            p99_ratio: 1.0,
        }
    }
}

fn check(right: Right, matches: usize, study: &SmallStudy, archive: &Archive) -> anyhow::Result<()> {
    let population = archive.population;
    let (least, most) = match right {
        Right::Exactly(count) => (count, count),
        Right::OfPatient => {
            let count = population.studies_of(&study.patient_id);
            (count, count)
        }
        Right::Series => {
            let mut series: Vec<&str> = study.instances.iter().map(|i| i.series_instance_uid.as_str()).collect();
            series.dedup();
            (series.len(), series.len())
        }
        Right::Instances => (study.instances.len(), study.instances.len()),
        Right::UpTo(most) => (1, most),
        Right::AtMost(most) => (0, most),
        Right::Page(offset, limit) => {
            let count = usize::try_from(population.studies.saturating_sub(offset).min(limit))?;
            (count, count)
        }
    };
    ensure!((least..=most).contains(&matches), "{matches} matches where {least} to {most} are right");
    Ok(())
}
