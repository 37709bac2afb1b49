//! The outcome of a row's workload, and whether targets are met.

use serde::Serialize;

use crate::comparison::Figures;
use crate::peers::Kind;

/// Which figures are better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Better {
    /// Rates.
    More,
    /// Times, memory.
    Less,
}

/// Medians of one workload, ours beside the peers'.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Row of the targets, such as `A1`.
    pub row: &'static str,
    /// What was done.
    pub workload: String,
    /// Unit of the figures.
    pub unit: &'static str,
    /// Which figures are better.
    pub better: Better,
    /// Our median.
    pub ours: Option<f64>,
    /// Our runs.
    pub runs: Vec<f64>,
    /// The peers' medians, by name.
    pub peers: Vec<(String, f64)>,
    /// What is aimed at.
    pub targets: Vec<Target>,
    /// What limits it, or what else was seen.
    pub note: String,
}

/// Something aimed at.
#[derive(Debug, Clone, Serialize)]
pub struct Target {
    /// In words.
    pub text: String,
    /// How many times better than the peer we are; absent for bounds.
    pub ratio: Option<f64>,
    /// Absent when a figure is missing.
    pub met: Option<bool>,
}

impl Outcome {
    /// Takes the medians.
    pub fn new(row: &'static str, workload: &str, unit: &'static str, better: Better, figures: &Figures) -> Self {
        let others = figures.kinds().filter(|kind| *kind != Kind::Filmroom);
        Self {
            row,
            workload: workload.to_owned(),
            unit,
            better,
            ours: figures.median(Kind::Filmroom),
            runs: figures.runs(Kind::Filmroom).to_vec(),
            peers: others.filter_map(|kind| Some((kind.to_string(), figures.median(kind)?))).collect(),
            targets: Vec::new(),
            note: String::new(),
        }
    }

    /// Aims at so many times the best of these peers.
    #[must_use]
    pub fn times_best(mut self, kinds: &[Kind], factor: f64, whom: &str) -> Self {
        let known =
            |kind: &Kind| self.peers.iter().find(|(name, _)| *name == kind.to_string()).map(|(_, figure)| *figure);
        let figures = kinds.iter().filter_map(known);
        let best = match self.better {
            Better::More => figures.max_by(f64::total_cmp),
            Better::Less => figures.min_by(f64::total_cmp),
        };
        let ratio = self.ours.zip(best).map(|(ours, best)| match self.better {
            Better::More => ours / best,
            Better::Less => best / ours,
        });
        let text = format!(">= {factor}x {whom}");
        self.targets.push(Target { text, ratio, met: ratio.map(|ratio| ratio >= factor) });
        self
    }

    /// Aims at a bound, in the unit of the figures.
    #[must_use]
    pub fn bound(mut self, bound: f64) -> Self {
        let (sign, met) = match self.better {
            Better::More => (">=", self.ours.map(|ours| ours >= bound)),
            Better::Less => ("<=", self.ours.map(|ours| ours <= bound)),
        };
        self.targets.push(Target { text: format!("{sign} {bound} {}", self.unit), ratio: None, met });
        self
    }

    /// Adds something aimed at that was judged elsewhere.
    #[must_use]
    pub fn judged(mut self, text: &str, met: Option<bool>) -> Self {
        self.targets.push(Target { text: text.to_owned(), ratio: None, met });
        self
    }

    /// Says what limits it.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> Figures {
        let mut figures = Figures::default();
        for (kind, figure) in [
            (Kind::Filmroom, 10.0),
            (Kind::Filmroom, 30.0),
            (Kind::Filmroom, 20.0),
            (Kind::OrthancSqlite, 5.0),
            (Kind::NewOrthancSqlite, 8.0),
        ] {
            figures.add(kind, figure);
        }
        figures
    }

    #[test]
    fn medians_are_compared_with_the_best_peer() {
        let outcome = Outcome::new("A1", "store", "inst/s", Better::More, &figures())
            .times_best(&[Kind::OrthancSqlite, Kind::NewOrthancSqlite], 2.5, "SQLite")
            .times_best(&[Kind::NewOrthancPostgres], 7.0, "Postgres")
            .bound(21.0);
        let judged: Vec<_> = outcome.targets.iter().map(|target| (target.ratio, target.met)).collect();
        assert_eq!(judged, [(Some(2.5), Some(true)), (None, None), (None, Some(false))]);
    }

    #[test]
    fn less_can_be_better() {
        let outcome = Outcome::new("A9", "get", "s", Better::Less, &figures())
            .times_best(&Kind::ARCHIVES, 1.5, "the best")
            .bound(20.0);
        let judged: Vec<_> = outcome.targets.iter().map(|target| (target.ratio, target.met)).collect();
        assert_eq!(judged, [(Some(0.25), Some(false)), (None, Some(true))]);
    }
}
