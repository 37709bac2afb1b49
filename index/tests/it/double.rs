//! The double in memory answers as Postgres does: both go through the same random operations.

use futures_util::FutureExt as _;
use index::{Applied, Located, Location, MemoryIndex, PreparedBatch, Segment, Tombstone, UnsealedRow};

use super::*;

/// Operations of each seed.
const OPERATIONS: usize = 240;
/// Questions are asked after every so many operations, and all contents compared ten times as seldom.
const ASKED_EVERY: usize = 4;
const JOURNALS: [Uuid; 2] = [Uuid::from_u128(7), Uuid::from_u128(8)];
/// So many studies, series of a study and instances of a series there may be.
const UNIVERSE: [u32; 3] = [4, 3, 5];

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        u32::try_from((mixed ^ (mixed >> 31)) % u64::from(bound)).unwrap()
    }

    fn pick(&mut self, bound: u32) -> usize {
        self.below(bound).try_into().unwrap()
    }

    fn place(&mut self) -> (u32, u32, u32) {
        (1 + self.below(UNIVERSE[0]), 1 + self.below(UNIVERSE[1]), 1 + self.below(UNIVERSE[2]))
    }

    /// An instance of the universe: resent, with other bytes, without a number, of a patient without an ID.
    fn arrival(&mut self, lsn: &mut u64) -> Arrival {
        let (t, s, i) = self.place();
        let mut arrival = arrival(t, s, i);
        *lsn += 100;
        // Now and then a record that was applied before.
        arrival.record.lsn = Lsn(if self.below(5) == 0 { u64::from(self.below(20)) * 100 } else { *lsn });
        arrival.record.crc32c ^= u32::from(self.below(6) == 0);
        arrival.head.received_millis += i64::from(self.below(1_000));
        if i == 2 {
            arrival.instance_number = None;
        }
        if s == 2 {
            arrival.series.put_text(Tag(0x0008, 0x0060), VR::CS, "MR");
            arrival.series.0.remove(&Tag(0x0020, 0x0011));
        }
        if i == 5 {
            arrival.head.sop_class_uid = uid(SR);
        }
        match t {
            2 => arrival.patient.put_text(Tag(0x0010, 0x0020), VR::LO, "P1"),
            3 => {
                arrival.patient.0.remove(&Tag(0x0010, 0x0020));
            }
            4 => {
                arrival.study.0.remove(&Tag(0x0008, 0x0020));
            }
            _ => {}
        }
        arrival
    }

    fn selector(&mut self) -> Selector {
        let (t, s, i) = self.place();
        let mut some = |text: String| if self.below(2) == 0 { vec![uid(&text)] } else { vec![] };
        let mut selector = Selector {
            patient_id: None,
            studies: some(format!("1.2.826.{t}")),
            series: some(format!("1.2.826.{t}.{s}")),
            instances: some(format!("1.2.826.{t}.{s}.{i}")),
        };
        if self.below(8) == 0 {
            selector.patient_id = Some(format!("P{t}"));
        }
        selector
    }

    fn tombstone(&mut self) -> Tombstone {
        let (t, s, i) = self.place();
        let series = (self.below(12) > 0).then(|| uid(&format!("1.2.826.{t}.{s}")));
        let instance = series.as_ref().filter(|_| self.below(5) > 0).map(|series| uid(&format!("{series}.{i}")));
        Tombstone {
            study: uid(&format!("1.2.826.{t}")),
            series,
            instance,
            deleted_millis: 1_700_000_200_000 + i64::from(self.below(5)),
        }
    }

    fn query(&mut self) -> Query {
        const KEYS: [(&[Tag], &str); 8] = [
            (&[Tag(0x0010, 0x0020)], "P1"),
            (&[Tag(0x0010, 0x0010)], "doe2*"),
            (&[Tag(0x0008, 0x0061)], "MR"),
            (&[Tag(0x0008, 0x0060)], "CT"),
            (&[Tag(0x0008, 0x0050)], "A3"),
            (&[Tag(0x0020, 0x000D)], "1.2.826.2"),
            (&[Tag(0x0020, 0x0011)], "1"),
            (&[Tag(0x0020, 0x0013)], "3"),
        ];
        let level = [Level::Patient, Level::Study, Level::Series, Level::Instance][self.pick(4)];
        let mut query = query(level, &[]);
        if self.below(3) > 0 {
            let (path, value) = KEYS[self.pick(8)];
            let matching =
                if value.ends_with('*') { Matching::WildCard(value.into()) } else { Matching::Single(value.into()) };
            query = self::query(level, &[(path, matching)]);
        }
        if self.below(4) == 0 {
            query = self::query(level, &[(&[Tag(0x0008, 0x0020)], Matching::Range(Some("20240103".into()), None))]);
        }
        query.offset = u64::from(self.below(3));
        query.limit = (self.below(2) == 0).then(|| u64::from(self.below(6)));
        query
    }
}

/// Without the row number, which each index gives by itself.
fn place(located: &Located) -> String {
    let mut located = located.clone();
    if let Location::Container(place) = &mut located.instance.location {
        place.segment = 0;
    }
    format!("{located:?}")
}

fn outcome(outcome: &Applied) -> String {
    match outcome {
        Applied::Same(known) => format!("same {}", place(known)),
        Applied::Different(known) => format!("different {}", place(known)),
        Applied::New | Applied::Known | Applied::Deleted => format!("{outcome:?}"),
    }
}

fn part(segment: &Arc<Segment>) -> String {
    let positions: Vec<usize> = (0..segment.manifest.instances.len()).map(|n| segment.position(n)).collect();
    let uids = (&segment.study, &segment.series);
    format!("{} {uids:?} {:?} {positions:?} {:?}", segment.container, segment.metadata, segment.manifest.instances)
}

fn rows(rows: &[UnsealedRow]) -> Vec<String> {
    rows.iter().map(|row| format!("{row:?}")).collect()
}

/// What one index answers to questions that need random values.
async fn asked(index: &dyn ArchiveIndex, mut random: Random) -> Vec<String> {
    let mut said = Vec::new();
    for _ in 0..3 {
        let selector = random.selector();
        said.extend(index.locate(&selector).await.unwrap().iter().map(place));
        said.push(format!("deleted {:?}", index.was_deleted(&selector).await.unwrap()));
        let query = random.query();
        let found: Vec<Attributes> = index.search(&query).await.unwrap().try_collect().await.unwrap();
        said.extend(found.iter().map(|one| format!("{query:?} {one:?}")));
        let at_most = [1, 5, 100][random.pick(3)];
        said.push(format!("{:?}", index.count(&query, at_most).await.unwrap()));
    }
    let studies = [uid("1.2.826.2"), uid("1.2.826.9"), uid("1.2.826.1")];
    let left_out = [Lsn(100), Lsn(200)];
    said.extend(rows(&index.unsealed_instances(&studies, &left_out, random.pick(9)).await.unwrap()));
    let busy = 1_700_000_000_400..=1_700_000_000_400 + i64::from(random.below(600));
    said.push(format!("{:?}", index.quiet_studies(busy).await.unwrap()));
    said
}

/// Everything that one index knows.
async fn contents(index: &dyn ArchiveIndex) -> Vec<String> {
    let mut said = Vec::new();
    for level in [Level::Patient, Level::Study, Level::Series, Level::Instance] {
        let found: Vec<Attributes> = index.search(&query(level, &[])).await.unwrap().try_collect().await.unwrap();
        said.extend(found.iter().map(|one| format!("{one:?}")));
    }
    let in_order = index.unsealed_in_order(None, usize::MAX).await.unwrap();
    let half = in_order.len() / 2;
    if let Some(behind) = half.checked_sub(1).map(|n| &in_order[n]) {
        said.extend(rows(&index.unsealed_in_order(Some(behind), 3).await.unwrap()));
    }
    said.extend(rows(&in_order));
    for journal in JOURNALS {
        let mut lsns = index.unsealed_lsns(journal).await.unwrap();
        lsns.sort_unstable();
        let in_use = index.journal_segments_in_use(journal, 1_000).await.unwrap();
        said.push(format!("{:?} {lsns:?} {in_use:?}", index.applied(journal).await.unwrap()));
    }
    for t in 1..=UNIVERSE[0] {
        said.extend(index.locate(&of_study(&format!("1.2.826.{t}"))).await.unwrap().iter().map(place));
        for s in 1..=UNIVERSE[1] {
            let (study, series) = (uid(&format!("1.2.826.{t}")), uid(&format!("1.2.826.{t}.{s}")));
            for segment in index.series_segments(&series).await.unwrap() {
                said.push(part(&segment));
                assert_eq!(part(&index.segment(segment.id).await.unwrap()), part(&segment));
            }
            said.push(format!("{:?}", index.series_summaries(&[(study, series)]).await.ok()));
        }
    }
    said.push(format!("{:?}", index.counts().await.unwrap()));
    said.push(format!("{:?}", index.containers().await.unwrap()));
    said.push(format!("{:?}", index.tombstones().await.unwrap()));
    said.push(format!("{:?}", index.contradictions().await.unwrap()));
    said.push(format!("{:?}", index.job("scrub").await.unwrap()));
    said
}

/// The two indexes, and what a process would remember beside them.
struct Pair {
    postgres: Arc<dyn ArchiveIndex>,
    memory: MemoryIndex,
    packed: Vec<NewContainer>,
    deleted: Vec<Tombstone>,
    lsn: u64,
}

impl Pair {
    fn both(&self) -> [&dyn ArchiveIndex; 2] {
        [self.postgres.as_ref(), &self.memory]
    }

    async fn apply(&mut self, random: &mut Random) {
        let batch: Vec<Arrival> = (0..=random.below(7)).map(|_| random.arrival(&mut self.lsn)).collect();
        let journal = JOURNALS[random.pick(2)];
        let end = Lsn(u64::from(random.below(50)) * 100);
        let dropped = random.below(6) == 0;
        let mut said = Vec::new();
        for index in self.both() {
            let prepared = index.prepare(journal, &batch, end).await.unwrap();
            said.push(prepared.outcomes().iter().map(outcome).collect::<Vec<_>>());
            if !dropped {
                prepared.commit().await.unwrap();
            }
        }
        assert_eq!(said[0], said[1]);
    }

    async fn pack(&mut self, random: &mut Random) {
        let mut studies: Vec<Uid> = (1..=UNIVERSE[0]).map(|t| uid(&format!("1.2.826.{t}"))).collect();
        studies.retain(|_| random.below(2) == 0);
        let number = 1_000 + u128::try_from(self.packed.len()).unwrap();
        let container = pack(&self.memory, &studies, number).await;
        if random.below(4) > 0 {
            for index in self.both() {
                index.seal(&container).await.unwrap();
            }
        }
        self.packed.push(container); // else a crash left it, and it is adopted later, or never
    }

    async fn adopt(&self, random: &mut Random) {
        let Some(last) = u32::try_from(self.packed.len()).unwrap().checked_sub(1) else { return };
        let mut container = self.packed[random.pick(last + 1)].clone();
        if random.below(4) == 0 {
            container.id = ContainerId(Uuid::from_u128(u128::from(random.below(1_000_000)) + 10_000));
        }
        for index in self.both() {
            index.adopt(&container).await.unwrap();
        }
    }

    async fn delete(&mut self, tombstone: Tombstone) {
        let [a, b] = self.both();
        assert_eq!(a.add_tombstone(&tombstone).await.unwrap(), b.add_tombstone(&tombstone).await.unwrap());
        self.deleted.push(tombstone);
    }

    async fn rebuild(&self) {
        for index in self.both() {
            index.clear().await.unwrap();
            for tombstone in &self.deleted {
                index.add_tombstone(tombstone).await.unwrap();
            }
            for container in &self.packed {
                index.adopt(container).await.unwrap();
            }
        }
    }

    async fn step(&mut self, random: &mut Random) -> &'static str {
        match random.below(40) {
            0..20 => {
                self.apply(random).await;
                "apply"
            }
            20..27 => {
                self.pack(random).await;
                "pack"
            }
            27..32 => {
                self.adopt(random).await;
                "adopt"
            }
            32..36 => {
                self.delete(random.tombstone()).await;
                "delete"
            }
            36..39 => {
                let state = format!("{}", random.below(9));
                for index in self.both() {
                    index.put_job("scrub", &state, 5).await.unwrap();
                }
                "job"
            }
            _ => {
                self.rebuild().await;
                "rebuild"
            }
        }
    }
}

async fn run(seed: u64) {
    let f = fixture().await;
    let mut random = Random(seed);
    let mut pair = Pair {
        postgres: Arc::new(f.index.clone()),
        memory: MemoryIndex::new(),
        packed: vec![],
        deleted: vec![],
        lsn: 10_000,
    };
    for operation in 0..OPERATIONS {
        let did = pair.step(&mut random).await;
        if operation % ASKED_EVERY == 0 {
            let questions = u64::from(random.below(u32::MAX));
            let [a, b] = pair.both();
            let (a, b) = (asked(a, Random(questions)).await, asked(b, Random(questions)).await);
            assert_eq!(a, b, "seed {seed}, operation {operation}: {did}");
        }
        if operation % (10 * ASKED_EVERY) == 10 * ASKED_EVERY - 1 {
            let [a, b] = pair.both();
            let (a, b) = (contents(a).await, contents(b).await);
            assert_eq!(a, b, "seed {seed}, operation {operation}: {did}");
        }
    }
}

#[tokio::test]
async fn memory_answers_as_postgres_does_1() {
    run(1).await;
}

#[tokio::test]
async fn memory_answers_as_postgres_does_2() {
    run(2).await;
}

#[tokio::test]
async fn memory_answers_as_postgres_does_3() {
    run(3).await;
}

#[tokio::test]
async fn memory_answers_as_postgres_does_4() {
    run(4).await;
}

async fn apply(index: &MemoryIndex, arrivals: &[Arrival]) -> Box<dyn PreparedBatch> {
    index.prepare(JOURNAL, arrivals, Lsn(1)).await.unwrap()
}

async fn instances(index: &MemoryIndex) -> u64 {
    index.counts().await.unwrap().instances
}

#[tokio::test]
async fn a_crash_loses_what_is_not_committed() {
    let index = MemoryIndex::new();
    apply(&index, &[arrival(1, 1, 1)]).await.commit().await.unwrap();
    let lost = apply(&index, &[arrival(1, 1, 2)]).await;
    index.crash();
    assert!(lost.commit().await.unwrap_err().is_passing());
    assert_eq!(instances(&index).await, 1);
    drop(apply(&index, &[arrival(1, 1, 3)]).await);
    assert_eq!(instances(&index).await, 1);
}

#[tokio::test]
async fn an_answer_that_is_lost_leaves_the_change() {
    let index = MemoryIndex::new();
    index.lose_next_answer();
    assert!(apply(&index, &[arrival(1, 1, 1)]).await.commit().await.unwrap_err().is_passing());
    assert_eq!(instances(&index).await, 1);
    apply(&index, &[arrival(1, 1, 2)]).await.commit().await.unwrap();
}

#[tokio::test]
async fn a_snapshot_takes_the_index_back_in_time() {
    let index = MemoryIndex::new();
    apply(&index, &[arrival(1, 1, 1)]).await.commit().await.unwrap();
    let backup = index.snapshot();
    index.seal(&pack(&index, &[uid("1.2.826.1")], 1).await).await.unwrap();
    assert_eq!(index.containers().await.unwrap().len(), 1);
    index.restore(&backup);
    assert!(index.containers().await.unwrap().is_empty());
    assert_eq!(index.counts().await.unwrap().instances_unsealed, 1);
}

#[tokio::test]
async fn an_index_may_be_away_or_hang() {
    let index = MemoryIndex::new();
    index.go_away();
    assert!(!ArchiveIndex::answers(&index).await);
    assert!(index.counts().await.unwrap_err().is_passing());
    index.hang();
    let mut hanging = index.counts();
    assert!((&mut hanging).now_or_never().is_none());
    index.come_back();
    assert_eq!(hanging.await.unwrap().instances, 0);
}
