//! How far a long command is: from the work, which must not wait for it, to a bar on standard error.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

/// Reports that wait to be shown; a report that finds no room is dropped, the next one has newer numbers.
const REPORTS_MAX: usize = 64;

/// What a running command says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(crate) enum Event {
    /// So much of so much is done; `total` may grow.
    Progress {
        /// What is being done.
        phase: String,
        /// Units done.
        done: u64,
        /// Units known by now.
        total: u64,
    },
    /// Something about one file that the user must read.
    Note {
        /// One line.
        text: String,
    },
}

/// The end of the channel that the work holds.
#[derive(Debug, Clone)]
pub(crate) struct Reporter(mpsc::Sender<Event>);

/// Returns a reporter and where its events come out.
pub(crate) fn channel() -> (Reporter, mpsc::Receiver<Event>) {
    let (sender, receiver) = mpsc::channel(REPORTS_MAX);
    (Reporter(sender), receiver)
}

impl Reporter {
    /// Tells how far the work is; never waits.
    pub(crate) fn progress(&self, phase: &str, done: u64, total: u64) {
        let lost = self.0.try_send(Event::Progress { phase: phase.to_owned(), done, total });
        drop(lost); // a later report replaces it
    }

    /// Passes a note on; waits while the queue is full.
    pub(crate) async fn note(&self, text: String) {
        // The listener has ended: the summary still counts it.
        drop(self.0.send(Event::Note { text }).await);
    }

    /// Returns the same reporter in the form the archive's jobs take.
    pub(crate) fn for_archive(&self, phase: &'static str) -> archive::Progress {
        let reporter = self.clone();
        archive::Progress::new(move |done, total| reporter.progress(phase, done, total))
    }
}

/// Shows events to a person: a bar when standard error is a terminal, notes as lines.
#[derive(Debug)]
pub(crate) struct Display {
    bar: ProgressBar,
}

impl Display {
    /// Returns a display; `quiet` shows notes only.
    pub(crate) fn new(quiet: bool) -> Self {
        let bar = ProgressBar::with_draw_target(
            None,
            if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() },
        );
        let style = ProgressStyle::with_template("{msg:12} [{bar:40}] {human_pos}/{human_len} {elapsed} eta {eta}");
        bar.set_style(style.expect("the template is a constant").progress_chars("=> "));
        Self { bar }
    }

    /// Shows events until the work drops its reporter.
    pub(crate) async fn run(self, mut events: mpsc::Receiver<Event>) {
        while let Some(event) = events.recv().await {
            self.show(event);
        }
        self.bar.finish_and_clear();
    }

    /// Shows one event.
    pub(crate) fn show(&self, event: Event) {
        match event {
            Event::Progress { phase, done, total } => {
                self.bar.set_message(phase);
                self.bar.set_length(total);
                self.bar.set_position(done);
            }
            Event::Note { text } => self.bar.suspend(|| {
                use std::io::Write;
                drop(writeln!(std::io::stderr(), "{text}")); // standard error may be closed
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn progress_without_room_is_dropped_and_a_note_is_not() {
        let (reporter, mut events) = channel();
        for done in 0..1000 {
            reporter.progress("x", done, 1000);
        }
        let waiting = tokio::spawn(async move { reporter.note("kept".to_owned()).await });
        let mut seen = Vec::new();
        while let Some(event) = events.recv().await {
            seen.push(event);
        }
        waiting.await.unwrap();
        assert_eq!(seen.len(), REPORTS_MAX + 1);
        assert_eq!(seen.last(), Some(&Event::Note { text: "kept".to_owned() }));
    }
}
