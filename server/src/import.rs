//! Import of files: walks a path, reads DICOM files (PS3.10) and stores their data sets.
//!
//! Files that are not DICOM are counted and named, DICOMDIRs are passed over (the files they list are walked anyway), and
//! every file that should have been stored and was not is named with its reason.

mod file;
mod walk;

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use archive::{Archive, JobControl};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};

use crate::admin::ImportSummary;
use crate::import::file::{Imported, import_file};
use crate::progress::Reporter;

/// Files that are read and stored at a time: enough for the journal to commit them in groups.
const FILES_AT_ONCE: usize = 16;
/// Paths found ahead of the files that are being read.
const PATHS_AHEAD_MAX: usize = 1024;

/// Stores the files below `path`. Dropped or cancelled, it stops between two files; what was stored stays.
pub(crate) async fn run(
    archive: &Archive,
    path: &Path,
    reporter: &Reporter,
    control: &JobControl,
) -> anyhow::Result<ImportSummary> {
    std::fs::symlink_metadata(path).with_context(|| format!("import {}", path.display()))?;
    let (sender, mut paths) = mpsc::channel(PATHS_AHEAD_MAX);
    let root = path.to_owned();
    let walk = tokio::task::spawn_blocking(move || walk::walk(&root, &|path| sender.blocking_send(path).is_ok()));
    let (mut summary, mut running) = (ImportSummary::default(), JoinSet::new());
    let mut done = 0;
    while let Some(path) = paths.recv().await {
        if running.len() >= FILES_AT_ONCE
            && let Some(ended) = running.join_next().await
        {
            done += 1;
            count(&mut summary, ended, reporter).await;
        }
        control.checkpoint().await?;
        summary.files += 1;
        let waiting = u64::try_from(paths.len()).unwrap_or(u64::MAX);
        control.report(done, summary.files + waiting);
        reporter.progress("import", done, summary.files + waiting);
        let archive = archive.clone();
        running.spawn(async move {
            let imported = import_file(&archive, &path).await;
            (path, imported)
        });
    }
    while let Some(ended) = running.join_next().await {
        done += 1;
        control.report(done, summary.files);
        reporter.progress("import", done, summary.files);
        count(&mut summary, ended, reporter).await;
    }
    for problem in walk.await.context("walk the directories")? {
        summary.failed += 1;
        reporter.note(format!("failed: {problem}")).await;
    }
    ensure!(summary.files > 0 || summary.failed > 0, "import {}: there is no file", path.display());
    Ok(summary)
}

async fn count(
    summary: &mut ImportSummary,
    ended: Result<(PathBuf, anyhow::Result<Imported>), JoinError>,
    reporter: &Reporter,
) {
    match ended {
        Ok((_, Ok(Imported::Stored { bytes }))) => {
            summary.stored += 1;
            summary.bytes += bytes;
        }
        Ok((_, Ok(Imported::Known { bytes }))) => {
            summary.known += 1;
            summary.bytes += bytes;
        }
        Ok((path, Ok(Imported::NotDicom))) => {
            summary.not_dicom += 1;
            reporter.note(format!("no DICOM file: {}", path.display())).await;
        }
        Ok((_, Ok(Imported::Dicomdir))) => summary.dicomdir += 1,
        Ok((path, Err(error))) => {
            summary.failed += 1;
            reporter.note(format!("failed: {}: {error:#}", path.display())).await;
        }
        Err(error) => {
            summary.failed += 1;
            reporter.note(format!("failed: a file: {error}")).await;
        }
    }
}
