//! Postgres that is away: at the start, in the middle, killed.

use dicom_data::write_file_meta;
use index::EmbeddedPostgres;

use super::deleting::tombstone;
use super::*;
use crate::fixture::{CACHE, directory};

/// A server of the test's own, that can be stopped.
struct Server {
    postgres: Option<EmbeddedPostgres>,
    inside: PathBuf,
    _directory: TempDir,
}

impl Server {
    async fn start() -> Self {
        let (directory, inside) = directory();
        let postgres = Some(EmbeddedPostgres::start(&inside, CACHE).await.unwrap());
        Self { postgres, inside, _directory: directory }
    }

    fn url(&self) -> String {
        self.postgres.as_ref().unwrap().options().to_url_lossy().to_string()
    }

    async fn go(&mut self) {
        self.postgres.take().unwrap().stop().await.unwrap();
    }

    async fn come_back(&mut self) {
        self.postgres = Some(EmbeddedPostgres::start(&self.inside, CACHE).await.unwrap());
    }
}

fn impatient(url: Option<String>) -> Rig {
    let mut rig = Rig::without_index(url);
    rig.options.barrier_wait_max = Duration::from_millis(300);
    rig
}

async fn is_away(archive: &Archive) -> bool {
    matches!(archive.search(query(Level::Study, &[])).await, Err(Error::IndexAway(_)))
}

async fn until_found(archive: &Archive, instances: usize) {
    until("everything is in the index", async || {
        let Ok(found) = archive.search(query(Level::Instance, &[])).await else { return false };
        found.try_collect::<Vec<_>>().await.is_ok_and(|found| found.len() == instances)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ingest_goes_on_without_postgres_and_all_is_found_when_it_is_back() {
    // Promise 7
    let mut server = Server::start().await;
    let rig = impatient(Some(server.url()));
    let archive = rig.start().await;
    let instances = slices(1, 2, 12);
    store_all(&archive, &instances[..4]).await;
    until_found(&archive, 4).await;
    pack(&archive).await;
    let warm = locate(&archive, &instances[0]).await;
    server.go().await;
    store_all(&archive, &instances[4..12]).await;
    assert!(is_away(&archive).await);
    assert!(matches!(archive.pack_now(Progress::silent()).await, Err(Error::IndexAway(_))));
    // Sealed and known: needs no Postgres, one range of one container.
    assert_eq!(archive.frames(&warm, &[1]).await.unwrap().frames[0].body.bytes, 24 * 24 * 2);
    assert_served(&archive, &instances[..4]).await;
    assert_eq!(store(&archive, &instances[5]).await.unwrap().outcome, Outcome::Duplicate);
    server.come_back().await;
    until_found(&archive, 12).await;
    server.go().await;
    store_all(&archive, &instances[12..18]).await;
    stop(archive).await;
    // It is away at the start, too.
    let archive = rig.start().await;
    store_all(&archive, &instances[18..]).await;
    assert!(is_away(&archive).await);
    server.come_back().await;
    until_found(&archive, 24).await;
    assert_served(&archive, &instances).await;
    pack(&archive).await;
    assert_served(&archive, &instances).await;
    stop(archive).await;
    server.go().await;
}

/// Asks for one instance at a time.
async fn one_by_one(archive: &Archive, instances: &[Instance]) -> Vec<Answer> {
    let mut answers = Vec::new();
    for instance in instances {
        let located = locate(archive, instance).await;
        let metadata: Vec<Bytes> = archive.metadata(vec![located.clone()]).try_collect().await.unwrap();
        answers.push(answer(archive, located, metadata[0].clone()).await);
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsealed_instance_that_the_index_has_is_served_without_postgres() {
    // Promises 4 and 7
    let mut server = Server::start().await;
    let rig = impatient(Some(server.url()));
    let archive = rig.start().await;
    let instances = mixture();
    let (known, late) = instances.split_at(instances.len() - 1);
    store_all(&archive, known).await;
    until_found(&archive, known.len()).await;
    archive.delete(tombstone(&known[0], 3)).await.unwrap();
    let known = &known[1..];
    let mut expected = answers(&archive, known).await.instances;
    server.go().await;
    store_all(&archive, late).await;
    let mut found = one_by_one(&archive, known).await;
    for answers in [&mut found, &mut expected] {
        answers.sort_by(|a, b| a.uids.cmp(&b.uids));
    }
    assert!(found == expected);
    // Whether these are served, the index alone can tell.
    for undecided in [&late[0], &instances[0]] {
        assert!(matches!(archive.locate(&selector(undecided)).await, Err(Error::IndexAway(_))));
    }
    let elsewhere = Selector { series: vec![uid("1.2.3")], ..selector(&known[1]) };
    assert!(matches!(archive.locate(&elsewhere).await, Err(Error::IndexAway(_))));
    server.come_back().await;
    until_found(&archive, instances.len() - 1).await;
    assert_served(&archive, &instances[1..]).await;
    stop(archive).await;
    server.go().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_bytes_that_came_while_the_index_was_away_are_put_aside_for_sure() {
    // ST-041
    let mut server = Server::start().await;
    let rig = impatient(Some(server.url()));
    let archive = rig.start().await;
    let mut instances = slices(1, 1, 2);
    let large = StudySpec { seed: 9, rows: 900, columns: 900, instances_per_series: 1, ..StudySpec::default() };
    instances.extend(testdata::study(large));
    store_all(&archive, &instances).await;
    until_found(&archive, 3).await;
    pack(&archive).await;
    stop(archive).await;
    forget_the_journal(&rig).await;
    server.go().await;
    let archive = rig.start().await;
    let mut others = instances.clone();
    for other in &mut others {
        *other.data_set.last_mut().unwrap() ^= 1;
        // Nobody can know now that it is there with other bytes.
        assert_eq!(store(&archive, other).await.unwrap().outcome, Outcome::New);
    }
    // As if the disk were full: what is not put aside must not count as done, whatever happens.
    let quarantine = rig.options.data.join("quarantine");
    fs::write(&quarantine, b"in the way").unwrap();
    server.come_back().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(is_away(&archive).await);
    stop(archive).await;
    fs::remove_file(&quarantine).unwrap();
    let archive = rig.start().await;
    until_found(&archive, 4).await;
    assert_served(&archive, &instances).await;
    for other in &others {
        let files = fs::read_dir(&quarantine).unwrap().map(|entry| entry.unwrap().path());
        let mut its = files.filter(|path| {
            path.file_name().unwrap().to_str().unwrap().starts_with(&format!("{}-", other.sop_instance_uid))
        });
        let file = fs::read(its.next().unwrap()).unwrap();
        let meta = write_file_meta(
            &uid(other.sop_class_uid),
            &uid(&other.sop_instance_uid),
            &uid(other.transfer_syntax_uid),
            Some("SCANNER"),
        );
        assert!(file.strip_prefix(&meta[..]).unwrap() == other.data_set);
        assert!(its.next().is_none());
    }
    let status = archive.status().await;
    assert_eq!(status.unsealed_instances, 1, "{status:?}");
    stop(archive).await;
    server.go().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_our_own_that_is_killed_is_started_again() {
    let (directory, inside) = directory();
    let mut rig = impatient(None);
    rig.options.data = inside;
    let archive = rig.start().await;
    let instances = slices(1, 1, 20);
    store_all(&archive, &instances[..10]).await;
    until_found(&archive, 10).await;
    let pid_file = fs::read_to_string(rig.options.data.join("postgres/cluster/postmaster.pid")).unwrap();
    let pid = rustix::process::Pid::from_raw(pid_file.lines().next().unwrap().parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    store_all(&archive, &instances[10..]).await;
    until_found(&archive, 20).await;
    assert_eq!(pack(&archive).await, 20);
    assert_served(&archive, &instances).await;
    stop(archive).await;
    drop(directory);
}
