//! Sending until the server is gone or sending is to stop.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use testdata::Instance;

use super::studies::{Studies, spec};
use crate::association::{Association, Kind};
use crate::process::pause;

/// Instances that one association sends at most in a round: comparing them takes longer than sending.
const INSTANCES_MAX: usize = 180;
/// Studies of its own that one association sends at most.
const STUDIES_MAX: u64 = 1000;
/// CT Image Storage in the transfer syntaxes of the studies.
const KINDS: [Kind; 3] = [
    ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"),
    ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2"),
    ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.5"),
];

/// What a sender would send next: a study's seed, and the instance's number in the order of generation.
pub(super) type Cursor = (u64, usize);

/// What an association sends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Work {
    /// A study that an earlier kill cut goes on first, into series that may be sealed by now.
    pub(super) cut: Option<Cursor>,
    /// Seed of the first study after that.
    pub(super) own: u64,
}

/// What was sent in a round.
#[derive(Debug, Default)]
pub(super) struct Sent {
    pub(super) acknowledged: Studies,
    /// Sent without an answer: they may be stored.
    pub(super) unanswered: Studies,
    /// Answers other than success.
    pub(super) refused: Vec<String>,
    /// Associations that ended before they should.
    pub(super) broken: Vec<String>,
    /// Longest wait for an answer.
    pub(super) longest_wait: Duration,
    /// Where each association goes on.
    pub(super) cursors: Vec<Cursor>,
}

/// Associations that send.
#[derive(Debug)]
pub(super) struct Sending {
    stop: Arc<AtomicBool>,
    senders: Vec<JoinHandle<Sent>>,
}

impl Sending {
    /// Opens one association for each work and sends over all of them, with a pause after each instance.
    pub(super) fn start(address: &str, works: Vec<Work>, pace: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let sender = |work: Work| {
            let (address, stop) = (address.to_owned(), Arc::clone(&stop));
            std::thread::spawn(move || {
                let mut sent = Sent::default();
                let mut cursor = work.cut.unwrap_or((work.own, 0));
                if let Err(error) = send_one(&address, (&mut cursor, work.own), (&stop, pace), &mut sent) {
                    sent.broken.push(format!("{error:#}"));
                }
                sent.cursors.push(cursor);
                sent
            })
        };
        Self { senders: works.into_iter().map(sender).collect(), stop }
    }

    /// Lets each association finish its instance, if it still can, and returns what was sent.
    pub(super) fn stop(self) -> anyhow::Result<Sent> {
        self.stop.store(true, Ordering::Relaxed);
        let mut sent = Sent::default();
        for sender in self.senders {
            let one = sender.join().map_err(|_| anyhow!("a sender panicked"))?;
            sent.acknowledged.extend(one.acknowledged);
            sent.unanswered.extend(one.unanswered);
            sent.refused.extend(one.refused);
            sent.broken.extend(one.broken);
            sent.longest_wait = sent.longest_wait.max(one.longest_wait);
            sent.cursors.extend(one.cursors);
        }
        Ok(sent)
    }
}

fn send_one(
    address: &str,
    (cursor, own): (&mut Cursor, u64),
    (stop, rest): (&AtomicBool, Duration),
    sent: &mut Sent,
) -> anyhow::Result<()> {
    let mut association = Association::open(address, "FILMROOM", &KINDS)?;
    let mut count = 0;
    loop {
        let (seed, first) = *cursor;
        for (number, instance) in testdata::study(spec(seed)).enumerate().skip(first) {
            if stop.load(Ordering::Relaxed) || count == INSTANCES_MAX {
                return association.release();
            }
            count += 1;
            *cursor = (seed, number + 1);
            let begun = Instant::now();
            let stored = store(&mut association, &instance);
            sent.longest_wait = sent.longest_wait.max(begun.elapsed());
            match stored {
                Ok(0) => _ = sent.acknowledged.entry(seed).or_default().insert(number),
                Ok(status) => sent.refused.push(format!("{}: {status:04X}", instance.sop_instance_uid)),
                Err(error) => {
                    sent.unanswered.entry(seed).or_default().insert(number);
                    return Err(error);
                }
            }
            pause(rest);
        }
        *cursor = (if (own..own + STUDIES_MAX).contains(&seed) { seed + 1 } else { own }, 0);
    }
}

fn store(association: &mut Association, instance: &Instance) -> anyhow::Result<u16> {
    let kind = (instance.sop_class_uid, instance.transfer_syntax_uid);
    association.store(kind, &instance.sop_instance_uid, &instance.data_set)
}

/// Sends again, twice at the same time, as senders do after a lost acknowledgement. Returns the refusals.
pub(super) fn resend(address: &str, studies: &Studies) -> anyhow::Result<Vec<String>> {
    let again = || -> anyhow::Result<Vec<String>> {
        let mut association = Association::open(address, "FILMROOM", &KINDS)?;
        let mut refused = Vec::new();
        for (seed, numbers) in studies {
            for (number, instance) in testdata::study(spec(*seed)).enumerate() {
                if numbers.contains(&number) {
                    let status = store(&mut association, &instance)?;
                    if status != 0 {
                        refused.push(format!("{}: {status:04X}", instance.sop_instance_uid));
                    }
                }
            }
        }
        association.release()?;
        Ok(refused)
    };
    std::thread::scope(|scope| {
        let both = [scope.spawn(again), scope.spawn(again)];
        let mut refused = Vec::new();
        for one in both {
            refused.extend(one.join().map_err(|_| anyhow!("a sender panicked"))??);
        }
        Ok(refused)
    })
}

/// Adds studies to others.
pub(super) fn add(to: &mut Studies, more: &Studies) {
    for (seed, numbers) in more {
        to.entry(*seed).or_default().extend(numbers);
    }
}

/// Returns about one in `share` of the instances.
pub(super) fn some_of(studies: &Studies, share: usize) -> Studies {
    let mut count = 0_usize;
    let mut some = BTreeMap::new();
    for (seed, numbers) in studies {
        for number in numbers {
            count += 1;
            if count.is_multiple_of(share) {
                let known: &mut std::collections::BTreeSet<usize> = some.entry(*seed).or_default();
                known.insert(*number);
            }
        }
    }
    some
}
