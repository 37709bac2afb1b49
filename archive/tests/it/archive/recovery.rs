//! Indexes that were lost or are of yesterday, and crashes between the steps of a seal.

use super::deleting::{assert_deleted, delete_some, three_studies};
use super::*;

impl Rig {
    async fn admin(&self, statements: &[String]) {
        let fixture = self.fixture.as_ref().unwrap();
        fixture.index.close().await;
        let admin = sqlx::PgPool::connect_with(fixture.options.clone().database("filmroom")).await.unwrap();
        for statement in statements {
            sqlx::raw_sql(sqlx::AssertSqlSafe(statement.clone())).execute(&admin).await.unwrap();
        }
        admin.close().await;
    }

    fn database(&self) -> String {
        self.fixture.as_ref().unwrap().options.get_database().unwrap().to_owned()
    }

    /// Keeps the index as it is now. No archive may run.
    async fn back_up(&self) {
        let name = self.database();
        self.admin(&[format!("create database {name}_old template {name}")]).await;
    }

    /// Makes the index what it was. No archive may run.
    async fn go_back(&self) {
        let name = self.database();
        self.admin(&[format!("drop database {name}"), format!("create database {name} template {name}_old")]).await;
    }

    /// Stores some and stops right between the shards and the index: the devices have the container, the index does not
    /// know it, and the journal has everything.
    async fn crash_while_sealing(&self, instances: &[Instance]) -> Answers {
        let archive = self.start().await;
        store_all(&archive, instances).await;
        let before = answers(&archive, instances).await;
        stop(archive).await;
        self.back_up().await;
        let (journal, kept) = (self.home.path().join("journal"), self.home.path().join("journal_then"));
        copy(&journal, &kept);
        let archive = self.start().await;
        pack(&archive).await;
        stop(archive).await;
        fs::remove_dir_all(&journal).unwrap();
        fs::rename(&kept, &journal).unwrap();
        self.go_back().await;
        before
    }
}

fn copy(from: &Path, to: &Path) {
    let mut files = Vec::new();
    files_below(from, &mut files);
    for file in files {
        let target = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(file, target).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuilt_index_answers_as_the_one_before_and_keeps_deletions() {
    // Promise 6
    let rig = Rig::new().await;
    let archive = rig.start().await;
    let mut instances = three_studies();
    store_all(&archive, &instances).await;
    pack(&archive).await;
    delete_some(&archive, &instances).await;
    assert_deleted(&archive, &instances).await;
    let (sealed, unsealed): (Vec<_>, Vec<_>) =
        mixture().into_iter().map(|i| (i.instance_number % 2 == 0, i)).partition(|(odd, _)| *odd);
    let more: Vec<Instance> = sealed.iter().map(|(_, i)| i.clone()).collect();
    // The first three studies have seeds of the mixture.
    let more: Vec<Instance> = more.into_iter().filter(|i| i.patient_id.as_str() > "TEST-000003").collect();
    store_all(&archive, &more).await;
    pack(&archive).await;
    let late: Vec<Instance> =
        unsealed.into_iter().map(|(_, i)| i).filter(|i| i.patient_id.as_str() > "TEST-000003").collect();
    store_all(&archive, &late).await;
    instances.extend(more);
    instances.extend(late);
    let before = answers(&archive, &instances).await;
    stop(archive).await;
    let rebuilt = Archive::rebuild_index(rig.options.clone(), Progress::silent()).await.unwrap();
    assert_eq!(rebuilt, u64::try_from(before.instances.len()).unwrap());
    let archive = rig.start().await;
    assert_same(&before, &answers(&archive, &instances).await);
    for instance in &instances[18..] {
        assert_eq!(store(&archive, instance).await.unwrap().outcome, Outcome::Duplicate);
    }
    assert!(archive.verify(Progress::silent()).await.unwrap().is_clean());
    stop(archive).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions_outlive_the_index() {
    // ST-086
    let rig = Rig::new().await;
    let archive = rig.start().await;
    let instances = three_studies();
    store_all(&archive, &instances).await;
    pack(&archive).await;
    delete_some(&archive, &instances).await;
    stop(archive).await;
    Archive::rebuild_index(rig.options.clone(), Progress::silent()).await.unwrap();
    let archive = rig.start().await;
    assert_deleted(&archive, &instances).await;
    stop(archive).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_index_is_brought_up_at_the_start() {
    let rig = Rig::new().await;
    let archive = rig.start().await;
    let instances = mixture();
    store_all(&archive, &instances[..8]).await;
    drop(search(&archive, Level::Study).await);
    stop(archive).await;
    rig.back_up().await;
    let archive = rig.start().await;
    pack(&archive).await;
    store_all(&archive, &instances[8..20]).await;
    pack(&archive).await;
    store_all(&archive, &instances[20..]).await;
    let before = answers(&archive, &instances).await;
    stop(archive).await;
    rig.go_back().await;
    let archive = rig.start().await;
    assert_same(&before, &answers(&archive, &instances).await);
    assert_eq!(rig.count("instance_unsealed").await, i64::try_from(instances.len() - 20).unwrap());
    assert_eq!(archive.status().await.unsealed_instances, u64::try_from(instances.len() - 20).unwrap());
    assert!(archive.verify(Progress::silent()).await.unwrap().is_clean());
    stop(archive).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_the_index_missed_is_taken_in_once() {
    let rig = Rig::new().await;
    let instances = slices(1, 2, 20);
    let before = rig.crash_while_sealing(&instances).await;
    let archive = rig.start().await;
    for instance in &instances {
        assert!(is_sealed(&locate(&archive, instance).await));
    }
    assert_eq!(rig.count("instance_unsealed").await, 0);
    assert_eq!(archive.status().await.unsealed_instances, 0);
    assert_eq!(pack(&archive).await, 0);
    let after = answers(&archive, &instances).await;
    assert!(before.instances == after.instances);
    assert_eq!(search(&archive, Level::Instance).await.len(), 40);
    assert!(archive.verify(Progress::silent()).await.unwrap().is_clean());
    stop(archive).await;
}

/// Harms the container of a crash and checks that nothing is served from it, by index or after a rebuild.
async fn half_sealed(harm: impl Fn(&Rig, &[PathBuf])) {
    for rebuild in [false, true] {
        let rig = Rig::new().await;
        let instances = slices(1, 2, 20);
        let before = rig.crash_while_sealing(&instances).await;
        let mut shards = rig.shards();
        shards.sort_by_key(|path| path.file_name().unwrap().to_owned());
        harm(&rig, &shards);
        if rebuild {
            Archive::rebuild_index(rig.options.clone(), Progress::silent()).await.unwrap();
        }
        let archive = rig.start().await;
        let after = answers(&archive, &instances).await;
        assert!(before.instances == after.instances);
        for instance in &instances {
            assert!(!is_sealed(&locate(&archive, instance).await));
        }
        pack(&archive).await;
        assert_served(&archive, &instances).await;
        assert!(archive.verify(Progress::silent()).await.unwrap().is_clean());
        stop(archive).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_with_few_shards_gives_way_to_the_journal() {
    half_sealed(|_, shards| {
        let per_container = 6;
        for container in shards.chunks(per_container) {
            container[1..].iter().for_each(|shard| fs::remove_file(shard).unwrap());
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_reads_back_wrong_gives_way_to_the_journal() {
    half_sealed(|_, shards| {
        for container in shards.chunks(6) {
            for shard in &container[..3] {
                let mut content = fs::read(shard).unwrap();
                content[5_000] ^= 1;
                fs::write(shard, content).unwrap();
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seal_that_the_index_refused_is_taken_up_by_the_next_pack() {
    let rig = Rig::new().await;
    let archive = rig.start().await;
    let instances = slices(1, 2, 5);
    store_all(&archive, &instances).await;
    rig.sql(
        "create function refuse() returns trigger language plpgsql as $$ begin raise 'not now'; end $$;
         create trigger refuse before insert on container execute function refuse();",
    )
    .await;
    assert!(archive.pack_now(Progress::silent()).await.is_err());
    assert_eq!(rig.shards().len(), 6);
    assert_served(&archive, &instances).await;
    rig.sql("drop trigger refuse on container").await;
    assert_eq!(pack(&archive).await, 0);
    assert_eq!(rig.shards().len(), 6);
    assert_eq!((rig.count("container").await, rig.count("instance_unsealed").await), (1, 0));
    assert_eq!(archive.status().await.unsealed_instances, 0);
    assert_served(&archive, &instances).await;
    assert_eq!(search(&archive, Level::Instance).await.len(), 10);
    stop(archive).await;
}
