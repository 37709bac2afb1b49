//! Histories of a journal on two copies in memory, each decided by its seed alone: appends, seals
//! and releases meet faults, crashes, rot, and devices that go away and return. Whatever happens,
//! what was acknowledged is there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use journal::{CopyPlace, Error, Fault, Ids, Journal, JournalOptions, Lsn, MemoryCopy, Payload, RecordRef};

use super::{all, bytes, head, options};

/// Histories that are tried.
const SEEDS: u64 = 60;
/// Seeds that found something once.
const FOUND: [u64; 1] = [1242];
/// What happens in one history.
const EVENTS: u64 = 40;

/// The numbers that decide a history: SplitMix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let value = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        value ^ (value >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

/// One history.
struct History {
    chance: Chance,
    copies: [MemoryCopy; 2],
    copies_required: usize,
    ids: Ids,
    journal: Option<Journal>,
    /// The copy that has trouble, until a start has made both equal again.
    victim: usize,
    /// Whether that trouble is rot: the other copy must be kept whole then.
    rots: bool,
    /// Every record that was acknowledged and not released.
    acknowledged: BTreeMap<usize, RecordRef>,
    next: usize,
    /// What happened, to print and to compare.
    log: String,
}

impl History {
    fn new(seed: u64) -> Self {
        let mut chance = Chance(seed);
        let copies_required = if chance.one_in(3) { 2 } else { 1 };
        Self {
            copies: ["left", "right"].map(MemoryCopy::new),
            copies_required,
            ids: Ids::seeded(seed),
            journal: None,
            victim: 0,
            rots: chance.one_in(4),
            acknowledged: BTreeMap::new(),
            next: 0,
            log: format!("seed {seed}, {copies_required} required\n"),
            chance,
        }
    }

    fn note(&mut self, what: impl std::fmt::Display) {
        writeln!(self.log, "{what}").unwrap();
    }

    fn run(&mut self) {
        self.start();
        for _ in 0..EVENTS {
            match self.chance.below(12) {
                0..6 => self.append(),
                6 => self.append_large(),
                7 => self.seal_and_release(),
                8 | 9 => self.trouble(),
                10 => self.crash(),
                _ => self.restart(),
            }
        }
        self.crash();
        self.start();
    }

    fn open(&mut self) -> Result<(), Error> {
        let copies = self.copies.iter().cloned().map(CopyPlace::Memory).collect();
        let (ids, copies_required) = (self.ids.clone(), self.copies_required);
        let opened = Journal::open_stepped(JournalOptions { copies, copies_required, ids, ..options(&[]) });
        opened.map(|journal| self.journal = Some(journal))
    }

    /// Opens the journal, at times without its victim first, and checks that everything
    /// acknowledged is there.
    fn start(&mut self) {
        assert!(self.journal.is_none());
        self.copies.iter().for_each(|copy| copy.plan([]));
        self.copies.iter().for_each(|copy| copy.inject(Fault::None));
        if self.copies_required == 1 && self.next > 0 && self.chance.one_in(4) {
            self.start_without_victim();
        }
        self.open().unwrap_or_else(|error| panic!("{error}\n{}", self.log));
        let healthy = self.journal.as_ref().unwrap().status().copies.iter().all(|copy| copy.healthy);
        assert!(healthy, "both are there\n{}", self.log);
        self.check();
        if !self.rots {
            self.victim = usize::try_from(self.chance.below(2)).unwrap();
        }
        self.note("started");
    }

    fn start_without_victim(&mut self) {
        let victim = self.copies[self.victim].clone();
        let unmounted = self.chance.one_in(2);
        if unmounted {
            victim.unmount();
        } else {
            victim.vanish();
        }
        self.open().unwrap_or_else(|error| panic!("{error}\n{}", self.log));
        self.note("started without its victim");
        self.check();
        for _ in 0..self.chance.below(4) {
            self.append();
        }
        self.check();
        self.crash();
        assert!(!unmounted || victim.is_empty(), "nothing is written below a mount point\n{}", self.log);
        if unmounted {
            victim.mount();
        } else {
            victim.come_back();
        }
    }

    /// Stops the machine.
    fn crash(&mut self) {
        for copy in &self.copies {
            copy.crash(self.chance.next());
        }
        self.note("crashed");
        self.journal = None; // the next event starts it
    }

    fn restart(&mut self) {
        self.journal = None;
        self.note("stopped");
    }

    /// Returns the journal, started if it is not running.
    fn running(&mut self) -> Journal {
        if self.journal.is_none() {
            self.start();
        }
        self.journal.clone().unwrap()
    }

    /// Appends some records at the same time.
    fn append(&mut self) {
        let journal = self.running();
        let count = 1 + self.chance.below(4);
        let numbers: Vec<(usize, usize)> =
            (0..count).map(|at| (self.next + usize::try_from(at).unwrap(), self.length(20_000))).collect();
        self.next += numbers.len();
        let calls = numbers.iter().map(|&(number, len)| {
            let payload = Payload::Inline(vec![bytes(number, len)]);
            (number, Box::pin(journal.append(head(number), payload)))
        });
        let mut calls: Vec<_> = calls.collect();
        let context = &mut Context::from_waker(Waker::noop());
        let mut answered = Vec::new();
        calls.retain_mut(|(number, call)| match call.as_mut().poll(context) {
            Poll::Ready(result) => {
                answered.push((*number, result));
                false
            }
            Poll::Pending => true,
        });
        journal.step();
        for (number, mut call) in calls {
            let Poll::Ready(result) = call.as_mut().poll(context) else {
                panic!("a step answers everything\n{}", self.log);
            };
            answered.push((number, result));
        }
        for (number, result) in answered {
            self.answered(number, result);
        }
    }

    fn append_large(&mut self) {
        let journal = self.running();
        let (number, len) = (self.next, self.length(60_000));
        self.next += 1;
        let result = journal.begin_large().and_then(|mut writer| {
            writer.write(&bytes(number, len))?;
            writer.finish()
        });
        let payload = match result {
            Ok(payload) => payload,
            Err(error) => return self.note(format_args!("large {number}: {error}")),
        };
        let mut call = pin!(journal.append(head(number), Payload::Large(payload)));
        let context = &mut Context::from_waker(Waker::noop());
        let mut result = call.as_mut().poll(context);
        if result.is_pending() {
            journal.step();
            result = call.as_mut().poll(context);
        }
        let Poll::Ready(result) = result else { panic!("a step answers everything\n{}", self.log) };
        self.answered(number, result);
    }

    fn length(&mut self, limit: u64) -> usize {
        usize::try_from(self.chance.below(limit)).unwrap()
    }

    fn answered(&mut self, number: usize, result: Result<RecordRef, Error>) {
        match result {
            Ok(at) => {
                self.note(format_args!("{number} at {}", at.lsn.0));
                self.acknowledged.insert(number, at);
            }
            Err(error @ (Error::Poisoned { .. } | Error::Full { .. })) => {
                self.note(format_args!("{number}: {error}"));
            }
            Err(error) => panic!("{number}: {error}\n{}", self.log),
        }
    }

    fn seal_and_release(&mut self) {
        let journal = self.running();
        if let Err(error) = journal.seal_current() {
            self.note(format_args!("seal: {error}"));
        }
        let keep = self.chance.below(6);
        let freed = journal.release(&|segment| segment % 5 == keep, journal.durable_end());
        self.note(format_args!("release: {freed:?}"));
        let listed: BTreeSet<Lsn> = all(&journal).iter().map(|record| record.at.lsn).collect();
        let newest = journal.segment_of(journal.durable_end());
        for (number, at) in self.acknowledged.extract_if(.., |_, at| !listed.contains(&at.lsn)) {
            let segment = journal.segment_of(at.lsn);
            assert!(segment % 5 != keep && segment <= newest, "{number} was not to be released\n{}", self.log);
        }
    }

    /// Has the victim go wrong, now or later.
    fn trouble(&mut self) {
        if self.journal.is_none() {
            return;
        }
        let victim = self.copies[self.victim].clone();
        if self.rots {
            let rotten = victim.rot(self.chance.next());
            return self.note(format_args!("rot: {rotten}"));
        }
        let faults = [Fault::Write, Fault::Flush, Fault::NoSpace, Fault::TornWrite, Fault::ReadOnly];
        let fault = faults[usize::try_from(self.chance.below(5)).unwrap()];
        let after = self.chance.below(12);
        self.note(format_args!("{fault:?} after {after}"));
        victim.plan([(after, fault), (1 + self.chance.below(6), Fault::None)]);
    }

    /// Everything listed is what was written, and everything acknowledged is listed.
    fn check(&self) {
        let journal = self.journal.as_ref().unwrap();
        let mut found = BTreeMap::new();
        for record in all(journal) {
            let uid = record.head.sop_instance_uid.as_str();
            let number: usize = uid.rsplit('.').next().unwrap().parse().unwrap();
            let payload = journal.read_payload(&record.at, 0..record.at.payload_bytes);
            let payload = payload.unwrap_or_else(|error| panic!("{number}: {error}\n{}", self.log));
            assert!(payload == bytes(number, payload.len()), "{number} has other bytes\n{}", self.log);
            assert!(found.insert(number, record.at).is_none(), "{number} is there twice\n{}", self.log);
        }
        for (number, at) in &self.acknowledged {
            assert_eq!(found.get(number), Some(at), "{number} was acknowledged\n{}", self.log);
        }
        assert!(journal.status().damaged.is_empty(), "{:?}\n{}", journal.status().damaged, self.log);
    }
}

#[test]
fn whatever_happens_to_one_copy_nothing_acknowledged_is_lost() {
    let mut acknowledged = 0;
    for seed in (0..SEEDS).chain(FOUND) {
        let mut history = History::new(seed);
        history.run();
        acknowledged += history.acknowledged.len();
    }
    assert!(acknowledged > 300, "histories do something: {acknowledged}");
}

#[test]
fn a_seed_decides_its_history() {
    for seed in 0..20 {
        let logs = [(); 2].map(|()| {
            let mut history = History::new(seed);
            history.run();
            history.log
        });
        assert_eq!(logs[0], logs[1]);
    }
}
