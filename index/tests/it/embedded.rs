//! The server of our own: started, stopped, met as an orphan, refused.

use index::EmbeddedPostgres;
use index::Error;
use sqlx::ConnectOptions as _;

use super::*;

#[tokio::test]
async fn a_cluster_is_made_once_and_survives_stop_crash_and_orphanage() {
    let (_kept, directory) = directory();
    let unfinished = directory.join("cluster.unfinished-of-a-start-that-was-killed");
    std::fs::create_dir_all(unfinished.join("base")).unwrap();
    let first = EmbeddedPostgres::start(&directory, CACHE).await.unwrap();
    assert!(!unfinished.exists());
    let index = Index::connect(first.options(), 2).await.unwrap();
    index.apply(JOURNAL, &[arrival(1, 1, 1)], Lsn(7)).await.unwrap();
    let settings: (String, String, String, String) = sqlx::query_as(
        "select current_setting('fsync'), current_setting('data_checksums'), current_setting('listen_addresses'), \
             current_setting('synchronous_commit')",
    )
    .fetch_one(&sqlx::PgPool::connect_with(first.options()).await.unwrap())
    .await
    .unwrap();
    assert_eq!(settings, ("on".into(), "on".into(), String::new(), "on".into()));
    index.close().await;
    first.stop().await.unwrap();

    let killed = EmbeddedPostgres::start(&directory, CACHE).await.unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(killed.pid()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty()).unwrap();
    std::mem::forget(killed);

    let orphan = EmbeddedPostgres::start(&directory, CACHE).await.unwrap();
    let pid = orphan.pid();
    std::mem::forget(orphan); // its owner is killed: nobody tells it to stop

    let last = EmbeddedPostgres::start(&directory, CACHE).await.unwrap();
    assert_ne!(last.pid(), pid);
    let index = Index::connect(last.options(), 2).await.unwrap();
    assert_eq!(index.applied(JOURNAL).await.unwrap(), Some(Lsn(7)));
    index.close().await;
    last.stop().await.unwrap();
}

#[tokio::test]
async fn an_orphan_that_writes_its_pid_file_late_is_not_taken_for_our_server() {
    let (_kept, directory) = directory();
    let orphan = EmbeddedPostgres::start(&directory, CACHE).await.unwrap();
    let pid = orphan.pid();
    std::mem::forget(orphan);
    let file = directory.join("cluster/postmaster.pid");
    let hidden = directory.join("hidden.pid");
    std::fs::rename(&file, &hidden).unwrap();
    let starting = tokio::spawn({
        let directory = directory.clone();
        async move { EmbeddedPostgres::start(&directory, CACHE).await }
    });
    tokio::time::sleep(std::time::Duration::from_millis(700)).await;
    assert!(!starting.is_finished(), "the orphan answered in place of our server");
    std::fs::rename(&hidden, &file).unwrap();
    let mut ours = starting.await.unwrap().unwrap();
    assert_ne!(ours.pid(), pid);
    assert!(ours.is_running());
    ours.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_that_was_killed_is_revived_under_the_same_options() {
    // Promise 7
    let (_kept, directory) = directory();
    let mut postgres = EmbeddedPostgres::start(&directory, CACHE).await.unwrap();
    let index = Index::connect(postgres.options(), 2).await.unwrap();
    index.apply(JOURNAL, &[arrival(1, 1, 1)], Lsn(7)).await.unwrap();
    assert!(!postgres.revive().await.unwrap());
    let pid = rustix::process::Pid::from_raw(i32::try_from(postgres.pid()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    while !postgres.revive().await.unwrap() {
        tokio::task::yield_now().await;
    }
    // Connections of the pool that broke are told apart and replaced.
    let position = loop {
        match index.applied(JOURNAL).await {
            Err(Error::Away(_)) => {}
            answer => break answer.unwrap(),
        }
    };
    assert_eq!(position, Some(Lsn(7)));
    index.close().await;
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn a_cluster_of_another_version_is_refused_with_what_to_do() {
    let (_kept, directory) = directory();
    std::fs::create_dir_all(directory.join("cluster")).unwrap();
    std::fs::write(directory.join("cluster/PG_VERSION"), "9\n").unwrap();
    let error = EmbeddedPostgres::start(&directory, CACHE).await.unwrap_err();
    assert!(matches!(&error, Error::ProgramVersion { cluster, .. } if cluster == "9"), "{error}");
}

#[tokio::test]
async fn a_directory_that_the_server_cannot_reach_is_named() {
    use std::os::unix::fs::PermissionsExt as _;
    let (kept, directory) = directory();
    if rustix::process::geteuid().is_root() {
        std::fs::set_permissions(kept.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let error = EmbeddedPostgres::start(&directory, CACHE).await.unwrap_err().to_string();
        assert!(error.contains("chmod o+x"), "{error}");
    }
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_is_no_hindrance() {
    let (_kept, directory) = directory();
    let long = directory.join("a-rather-long-name-of-a-directory-that-does-not-fit-into-sun-path").join("deeper");
    let parent = long.parent().unwrap();
    std::fs::create_dir_all(parent).unwrap();
    let postgres = EmbeddedPostgres::start(&long, CACHE).await.unwrap();
    let socket = postgres.options().get_socket().unwrap().clone();
    assert!(socket.as_os_str().len() < 90, "{}", socket.display());
    Index::connect(postgres.options(), 2).await.unwrap().close().await;
    postgres.stop().await.unwrap();
    std::fs::remove_dir_all(socket).unwrap();
}

#[tokio::test]
async fn a_server_without_fsync_is_refused() {
    let f = fixture().await;
    let pool = sqlx::PgPool::connect_with(f.options.clone()).await.unwrap();
    // fsync belongs to the server: what it says is replaced for this database only.
    sqlx::raw_sql(
        "create function public.current_setting(text) returns text language sql as
             $$ select case when $1 = 'fsync' then 'off' else pg_catalog.current_setting($1) end $$;",
    )
    .execute(&pool)
    .await
    .unwrap();
    let options = f.options.clone().options([("search_path", "public,pg_catalog")]);
    let error = Index::connect(options, 2).await.unwrap_err();
    assert!(matches!(error, Error::Unsuitable { .. }), "{error}");
    assert!(error.to_string().contains("fsync"), "{error}");
}

#[tokio::test]
async fn pages_that_were_in_memory_are_there_again_after_a_restart() {
    let (_kept, directory) = directory();
    let first = EmbeddedPostgres::start(&directory, CACHE).await.unwrap();
    let index = Index::connect(first.options(), 2).await.unwrap();
    let mut connection = first.options().connect().await.unwrap();
    let buffers: String = sqlx::query_scalar("show shared_buffers").fetch_one(&mut connection).await.unwrap();
    assert_eq!(buffers, "32MB");
    index.close().await;
    first.stop().await.unwrap();
    let second = EmbeddedPostgres::start(&directory, CACHE).await.unwrap();
    let warmed = async {
        while !std::fs::read_to_string(directory.join("postgres.log")).unwrap().contains("autoprewarm successfully") {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_mins(1), warmed).await.expect("pages are read at the start");
    second.stop().await.unwrap();
}
