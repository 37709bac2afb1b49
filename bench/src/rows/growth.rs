//! A8g: how searches grow: p50 and p99 of every question in a large archive beside those in a small one.

use std::time::Duration;

use anyhow::Context;

use crate::comparison::{Comparison, Figures};
use crate::growth::{self, Asked, Line};
use crate::peers::Kind;
use crate::report::{Better, Outcome, progress};

/// How many times as long a question may take in the large archive.
const RATIO_MAX: f64 = 2.0;
/// How often each question is asked at most.
const ASKED_MAX: usize = 1_000;
/// The same where nothing is judged.
const ASKED_OF_SMOKE: usize = 5;
/// A question is judged if it finds at most so many times as much in the large archive.
const MATCHES_RATIO_MAX: f64 = 1.1;
/// Longest time for one question.
const ASKED_FOR_MAX: Duration = Duration::from_secs(10);

/// Measures row A8g: the question that grew most counts, of those that find as much in both archives.
pub fn a8g(comparison: &mut Comparison) -> anyhow::Result<Vec<Outcome>> {
    let sizes = comparison.sizes.growth.to_vec();
    let kept = comparison.growth_directory.clone();
    let directory = kept.clone().unwrap_or_else(|| comparison.directory.join("growth"));
    let asked_max = if comparison.smoke { ASKED_OF_SMOKE } else { ASKED_MAX };
    let binary = comparison.programs.filmroom.clone();
    let options =
        growth::Options { binary, directory: directory.clone(), sizes, asked_max, asked_for_max: ASKED_FOR_MAX };
    let (mut small, mut large) = (Vec::new(), Vec::new());
    growth::run(&options, |line| {
        match line {
            Line::Asked(asked) if options.sizes.last() == Some(&asked.studies) => large.push(asked.clone()),
            Line::Asked(asked) => small.push(asked.clone()),
            Line::Size(_) => progress(&format!("A8g: {line}")),
        }
        Ok(())
    })?;
    if kept.is_none() {
        std::fs::remove_dir_all(&directory).with_context(|| format!("remove {}", directory.display()))?;
    }
    large.retain(|asked: &Asked| {
        let before = small.iter().find(|small: &&Asked| small.shape == asked.shape);
        before.is_some_and(|small| asked.matches <= small.matches * MATCHES_RATIO_MAX)
    });
    Ok(vec![
        worst(&options.sizes, &large, ("p50", |asked| (asked.p50_ratio, asked.p50_ms)))?,
        worst(&options.sizes, &large, ("p99", |asked| (asked.p99_ratio, asked.p99_ms)))?,
    ])
}

/// A percentile and where to find its ratio and its milliseconds.
type Percentile = (&'static str, fn(&Asked) -> (f64, f64));

fn worst(sizes: &[u64], large: &[Asked], (name, of): Percentile) -> anyhow::Result<Outcome> {
    let worst = large.iter().max_by(|a, b| of(a).0.total_cmp(&of(b).0)).context("nothing was asked")?;
    let mut figures = Figures::default();
    figures.add(Kind::Filmroom, of(worst).0);
    let (small, most) = (sizes.first().context("no size")?, sizes.last().context("no size")?);
    let work = format!("{name} of {} searches at {most} studies beside {small}, the worst", large.len());
    let note = format!("{}: {:.2} ms at {most} studies", worst.shape, of(worst).1);
    Ok(Outcome::new("A8g", &work, "x", Better::Less, &figures).bound(RATIO_MAX).note(note))
}
