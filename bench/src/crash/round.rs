//! One round, and what is kept between rounds.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};

use super::chance::Chance;
use super::compare::{Compared, compare};
use super::found::Round;
use super::options::{During, Killed, Options, Victim};
use super::send::{Cursor, Sending, Sent, Work, add, resend, some_of};
use super::studies::Studies;
use crate::http;
use crate::process::{Place, Server, pause};

/// Seeds of studies that are set aside for a round, and for an association in it: more than it can send. No factor is
/// shared with the periods of `spec`, so that rounds begin with different kinds.
const STUDIES_OF_ROUND: u64 = 10_000_001;
/// See above.
const STUDIES_OF_ASSOCIATION: u64 = 100_003;
/// How long it may take until searches are answered again.
const RECOVERY_MAX: Duration = Duration::from_mins(2);
/// A search that takes longer waited for the index.
const PROMPT: Duration = Duration::from_millis(300);
/// How long senders go on after Postgres was killed.
const GOES_ON: (Duration, Duration) = (Duration::from_millis(300), Duration::from_millis(2500));
/// Pause of a sender after each instance: from a flood that the disks slow down to a modality's pace.
const PACES_MS: [u64; 4] = [0, 3, 8, 15];
/// One instance in so many of the round, and of all earlier ones, is sent again.
const RESENT: (usize, usize) = (10, 100);

/// The state between rounds.
#[derive(Debug)]
pub(super) struct Trial {
    options: Options,
    /// Where the associations of the round before stopped.
    cursors: Vec<Cursor>,
    /// Rounds in this data directory.
    rounds: u32,
    /// The data directory of these rounds and the server in it.
    present: Option<(Place, Server)>,
    /// Everything that is stored in it.
    stored: Studies,
}

/// What came of the kill.
struct Aftermath {
    server: Server,
    sent: Sent,
    recovered: Duration,
}

impl Trial {
    pub(super) fn new(options: &Options) -> Self {
        let (cursors, stored) = (Vec::new(), Studies::new());
        Self { options: options.clone(), cursors, rounds: 0, present: None, stored }
    }

    /// Runs the round of a seed; after the last one nothing is left. After an error the next one begins anew.
    pub(super) fn round(&mut self, seed: u64, last: bool) -> anyhow::Result<Round> {
        self.rounds += 1;
        let last = last || self.rounds == self.options.fresh_every;
        let found = self.round_in_place(seed, last);
        if last || found.is_err() {
            *self = Self::new(&self.options);
        }
        found
    }

    fn round_in_place(&mut self, seed: u64, last: bool) -> anyhow::Result<Round> {
        let mut chance = Chance::new(seed);
        let killed = self.victim(&mut chance);
        let during = [During::Ingest, During::IngestAndPack, During::Pack, During::Start];
        let during = chance.one_of(&during).context("choose")?;
        let moment = chance.between(self.options.kill_after.0, self.options.kill_after.1);
        let pace = chance.one_of(&PACES_MS).map(Duration::from_millis).context("choose")?;
        let (place, server) = self.place(seed)?;
        let sending = Sending::start(&server.dicom, self.work(seed), pace);
        let after = kill(&place, server, sending, (killed, during, moment), &mut chance)?;
        self.cursors.clone_from(&after.sent.cursors);
        let mut found = Round {
            seed,
            round: self.rounds,
            killed,
            during,
            killed_after_ms: moment.as_millis(),
            recovered_after_ms: after.recovered.as_millis(),
            acknowledged: after.sent.acknowledged.values().map(std::collections::BTreeSet::len).sum(),
            longest_wait_ms: after.sent.longest_wait.as_millis(),
            refused: after.sent.refused.clone(),
            broken: Vec::new(),
            resent: 0,
            resent_refused: Vec::new(),
            compared: Compared::default(),
            unverified: None,
        };
        if !killed.is_server() {
            found.broken.clone_from(&after.sent.broken);
        }
        self.check(&after, &mut found)?;
        found.unverified = place.verify()?;
        let mut server = after.server;
        if last {
            server.kill()?;
            server = place.serve()?;
            found.compared.add(compare(&server.http, &self.stored, &Studies::new())?);
            found.unverified = found.unverified.or(place.verify()?);
            server.stop()?;
            if found.is_clean() {
                place.remove()?;
            }
        } else {
            self.present = Some((place, server));
        }
        Ok(found)
    }

    fn victim(&self, chance: &mut Chance) -> Killed {
        let chosen = match self.options.victim {
            Victim::Server => Some(Killed::Server),
            Victim::Postgres => chance.one_of(&[Killed::Postmaster, Killed::Postmaster, Killed::Backend]),
            Victim::Both => chance.one_of(&[
                Killed::Server,
                Killed::Postmaster,
                Killed::Backend,
                Killed::PostmasterThenServer,
                Killed::PostmasterThenServer,
            ]),
        };
        chosen.unwrap_or(Killed::Server)
    }

    /// Returns what each association sends: the rest of the study that the round before cut, then its own.
    fn work(&self, seed: u64) -> Vec<Work> {
        let own = |number| seed.wrapping_mul(STUDIES_OF_ROUND) + u64::from(number) * STUDIES_OF_ASSOCIATION;
        let mut cut = self.cursors.iter().copied();
        (0..self.options.associations).map(|number| Work { cut: cut.next(), own: own(number) }).collect()
    }

    /// Returns the server of the round before, or a new one in a new directory.
    fn place(&mut self, seed: u64) -> anyhow::Result<(Place, Server)> {
        if let Some(present) = self.present.take() {
            return Ok(present);
        }
        let directory = self.options.directory.join(format!("from-{seed}"));
        if directory.exists() {
            fs::remove_dir_all(&directory).context("remove what an earlier run left")?;
        }
        let place = Place::new(&self.options.binary, &directory)?;
        let server = place.serve()?;
        Ok((place, server))
    }

    /// Compares, sends some again, and compares once more: then the counts must be exact.
    fn check(&mut self, after: &Aftermath, found: &mut Round) -> anyhow::Result<()> {
        let (address, sent) = (&after.server, &after.sent);
        // Studies that go on from the round before are compared as a whole.
        let mut touched = sent.acknowledged.clone();
        for (seed, numbers) in &mut touched {
            numbers.extend(self.stored.get(seed).into_iter().flatten());
        }
        found.compared = compare(&address.http, &touched, &sent.unanswered)?;
        let mut again = some_of(&sent.acknowledged, RESENT.0);
        add(&mut again, &some_of(&self.stored, RESENT.1));
        add(&mut again, &sent.unanswered);
        found.resent_refused = resend(&address.dicom, &again)?;
        found.resent = again.values().map(std::collections::BTreeSet::len).sum();
        add(&mut self.stored, &sent.acknowledged);
        add(&mut self.stored, &sent.unanswered);
        let exact = again.keys().filter_map(|seed| Some((*seed, self.stored.get(seed)?.clone()))).collect();
        let mut second = compare(&address.http, &exact, &Studies::new())?;
        second.same = 0; // counted before
        found.compared.add(second);
        Ok(())
    }
}

impl Killed {
    fn is_server(self) -> bool {
        matches!(self, Self::Server | Self::PostmasterThenServer)
    }
}

/// Kills at the moment, and waits until searches are answered again.
fn kill(
    place: &Place,
    server: Server,
    sending: Sending,
    (killed, during, moment): (Killed, During, Duration),
    chance: &mut Chance,
) -> anyhow::Result<Aftermath> {
    let packing = match during {
        During::IngestAndPack => Some(Packing::start(place)),
        During::Ingest | During::Pack | During::Start => None,
    };
    pause(moment);
    let (mut sending, mut done) = (Some(sending), None);
    let mut packing = packing;
    if during == During::Pack {
        done = sending.take().map(Sending::stop).transpose()?;
        packing = Some(Packing::start(place));
        pause(chance.between(Duration::ZERO, Duration::from_millis(500)));
    }
    if killed.is_server() {
        if killed == Killed::PostmasterThenServer {
            server.kill_postgres(place)?;
            pause(chance.between(Duration::ZERO, Duration::from_millis(1500)));
        }
        server.kill()?;
        packing.map(Packing::stop).transpose()?;
        let sent = done.map_or_else(|| sending.map_or_else(|| Ok(Sent::default()), Sending::stop), Ok)?;
        if during == During::Start {
            for _ in 0..2 {
                place.serve_and_kill(chance.between(Duration::ZERO, Duration::from_millis(900)))?;
            }
        }
        let begun = Instant::now();
        let server = place.serve()?;
        let recovered = Watch::start(&server.http, begun).stop()?;
        return Ok(Aftermath { server, sent, recovered });
    }
    let (before, begun) = (place.postmaster()?, Instant::now());
    match killed {
        Killed::Backend => server.kill_backend(place, chance.below(1 << 20))?,
        Killed::Postmaster | Killed::Server | Killed::PostmasterThenServer => server.kill_postgres(place)?,
    }
    let watch = Watch::start(&server.http, begun);
    pause(chance.between(GOES_ON.0, GOES_ON.1));
    if killed == Killed::Postmaster {
        new_postmaster(place, before, begun)?;
    }
    packing.map(Packing::stop).transpose()?;
    let sent = done.map_or_else(|| sending.map_or_else(|| Ok(Sent::default()), Sending::stop), Ok)?;
    let recovered = watch.stop()?;
    let mut server = server;
    ensure!(server.is_running(), "the server ended when its Postgres was killed");
    Ok(Aftermath { server, sent, recovered })
}

/// Waits until the server has started its Postgres again.
fn new_postmaster(place: &Place, before: i32, begun: Instant) -> anyhow::Result<()> {
    while place.postmaster().map_or(true, |pid| pid == before) {
        ensure!(begun.elapsed() < RECOVERY_MAX, "the server does not start its Postgres again");
        pause(Duration::from_millis(20));
    }
    Ok(())
}

/// Searches, again and again.
struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<Duration>>,
}

impl Watch {
    fn start(address: &str, begun: Instant) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (address, stopped) = (address.to_owned(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut answered_since = None;
            loop {
                let asked = Instant::now();
                match searched(&address) {
                    Ok(()) if asked.elapsed() > PROMPT => answered_since = Some(begun.elapsed()),
                    Ok(()) => _ = answered_since.get_or_insert_with(|| begun.elapsed()),
                    Err(_) if begun.elapsed() < RECOVERY_MAX => answered_since = None,
                    Err(error) => return Err(error),
                }
                if let Some(since) = answered_since.filter(|_| stopped.load(Ordering::Relaxed)) {
                    return Ok(since);
                }
                pause(Duration::from_millis(20));
            }
        });
        Self { stop, thread }
    }

    /// Returns after which time all searches were answered promptly.
    fn stop(self) -> anyhow::Result<Duration> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the search panicked"))?
    }
}

fn searched(address: &str) -> anyhow::Result<()> {
    let status = http::get(address, "/dicomweb/studies?limit=1", "application/dicom+json")?.status;
    ensure!(matches!(status, 200 | 204), "searches are answered by {status}");
    Ok(())
}

/// `filmroom pack --now` again and again.
struct Packing {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<()>>,
}

impl Packing {
    fn start(place: &Place) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (place, stopped) = (place.clone(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                place.pack(&stopped)?;
                pause(Duration::from_millis(50));
            }
            Ok(())
        });
        Self { stop, thread }
    }

    /// Ends it; a command that still runs is killed, for beside a dead server it would do the work itself.
    fn stop(self) -> anyhow::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("packing panicked"))?
    }
}
