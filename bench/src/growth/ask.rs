//! One kind of question, asked again and again.

use std::time::Instant;

use anyhow::{Context, ensure};
use testdata::{Population, SmallStudy};

use super::find::Find;
use super::serve::Server;
use super::shape::{Question, Right, Shape};
use super::web::{self, Web};
use super::{Asked, Options, cpu, millis, rounded};

/// Questions that are not counted: connections, prepared statements and caches come first.
const WARM_UP: usize = 20;
/// Step between the studies that are asked for; prime, so that it meets all of them in the end.
const STEP: u64 = 7_368_787;

/// Asks; fails when an answer is wrong.
pub(super) fn ask(
    server: &Server,
    shape: &Shape,
    populations: &[Population],
    options: &Options,
) -> anyhow::Result<Asked> {
    let studies = populations.iter().map(|population| population.studies).sum();
    let mut clients = (Web::open(&server.http)?, Find::open(&server.dicom)?);
    let mut times = Vec::new();
    let mut matches = 0;
    let mut cpu = 0.0;
    let begun = Instant::now();
    for number in 0_u64.. {
        if times.len() == options.asked_max || (times.len() > 20 && begun.elapsed() > options.asked_for_max) {
            break;
        }
        if number == u64::try_from(WARM_UP)? {
            times.clear();
            matches = 0;
            cpu = cpu::tree_seconds(server.pid());
        }
        let (population, study) = study(populations, number.wrapping_mul(STEP) % studies).context("choose a study")?;
        let question = (shape.question)(&study);
        let asked = Instant::now();
        let found = answer(&mut clients, &question)?;
        times.push(asked.elapsed());
        matches += found.matches()?;
        check(shape.right, found.matches()?, &study, (population, studies))?;
    }
    let cpu = cpu::tree_seconds(server.pid()) - cpu;
    times.sort_unstable();
    let at = |percent: usize| times.get(times.len() * percent / 100).copied().map(millis).unwrap_or_default();
    let count = f64::from(u32::try_from(times.len())?);
    Ok(Asked {
        bench: "growth",
        studies,
        shape: shape.name,
        asked: times.len(),
        matches: rounded(f64::from(u32::try_from(matches)?) / count),
        p50_ms: at(50),
        p99_ms: at(99),
        cpu_ms: rounded(cpu * 1e3 / count),
        p50_ratio: 1.0,
        p99_ratio: 1.0,
    })
}

/// What came back, counted after the clock was stopped.
enum Found {
    Body(Vec<u8>),
    Matches(usize),
}

impl Found {
    fn matches(&self) -> anyhow::Result<usize> {
        match self {
            Self::Body(body) => web::count(body),
            Self::Matches(matches) => Ok(*matches),
        }
    }
}

fn answer(clients: &mut (Web, Find), question: &Question) -> anyhow::Result<Found> {
    match question {
        Question::Web(path) => Ok(Found::Body(clients.0.get(path)?)),
        Question::Find(tag, value) => Ok(Found::Matches(clients.1.studies(*tag, value)?)),
    }
}

fn study(populations: &[Population], mut index: u64) -> Option<(&Population, SmallStudy)> {
    for population in populations {
        if index < population.studies {
            return Some((population, population.study(index)));
        }
        index -= population.studies;
    }
    None
}

fn check(right: Right, matches: usize, study: &SmallStudy, among: (&Population, u64)) -> anyhow::Result<()> {
    let (population, studies) = among;
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
            let count = usize::try_from(studies.saturating_sub(offset).min(limit))?;
            (count, count)
        }
    };
    ensure!((least..=most).contains(&matches), "{matches} matches where {least} to {most} are right");
    Ok(())
}
