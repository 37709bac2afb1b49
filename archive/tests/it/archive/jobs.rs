//! Jobs: shown, paused, cancelled; the work of a caller as well as the archive's own.

use archive::{Error, JobControl, JobState};
use tokio::sync::oneshot;

use super::*;

fn state(archive: &Archive, name: &str) -> Option<JobState> {
    archive.jobs().into_iter().find(|job| job.name == name).map(|job| job.state)
}

/// Work that goes from checkpoint to checkpoint until it is cancelled; tells when it has begun.
async fn endless(control: JobControl, begun: oneshot::Sender<()>) -> Result<(), Error> {
    begun.send(()).unwrap();
    for done in 0.. {
        control.report(done, 0);
        control.checkpoint().await?;
        tokio::task::yield_now().await;
    }
    Ok(())
}

#[tokio::test]
async fn a_job_of_a_caller_is_shown_and_cancelled() {
    let rig = Rig::new().await;
    let archive = rig.start().await;
    let (begin, begun) = oneshot::channel();
    let runner = archive.clone();
    let work = |control: JobControl| endless(control, begin);
    let run = tokio::spawn(async move { runner.run_job(("import", "files"), work).await });
    begun.await.unwrap();
    assert_eq!(state(&archive, "import"), Some(JobState::Running));
    archive.cancel_job("import").unwrap();
    assert!(matches!(run.await.unwrap(), Err(Error::Cancelled)));
    assert_eq!(state(&archive, "import"), Some(JobState::Cancelled));
    // A background job can only be paused.
    assert!(matches!(archive.cancel_job("pack"), Err(Error::NotFound { .. })));
    archive.stop().await;
}

#[tokio::test]
async fn a_job_whose_caller_goes_away_is_cancelled() {
    let rig = Rig::new().await;
    let archive = rig.start().await;
    let (begin, begun) = oneshot::channel();
    let runner = archive.clone();
    let work = |control: JobControl| endless(control, begin);
    let run = tokio::spawn(async move { runner.run_job(("import", "files"), work).await });
    begun.await.unwrap();
    run.abort();
    while state(&archive, "import") == Some(JobState::Running) {
        tokio::task::yield_now().await;
    }
    assert_eq!(state(&archive, "import"), Some(JobState::Cancelled));
    archive.stop().await;
}

#[tokio::test]
async fn packing_by_hand_waits_while_its_job_is_paused() {
    let rig = Rig::new().await;
    let archive = rig.start().await;
    store_all(&archive, &slices(1, 1, 4)).await;
    archive.pause_job("pack").await.unwrap();
    assert_eq!(state(&archive, "pack"), Some(JobState::Paused));
    // The job of the command is another one.
    assert_eq!(pack(&archive).await, 4);
    assert_eq!(state(&archive, "pack-now"), Some(JobState::Done));
    archive.stop().await;

    let archive = rig.start().await;
    while state(&archive, "pack") != Some(JobState::Paused) {
        tokio::task::yield_now().await;
    }
    archive.resume_job("pack").await.unwrap();
    assert_eq!(state(&archive, "pack"), Some(JobState::Waiting));
    archive.stop().await;
}
