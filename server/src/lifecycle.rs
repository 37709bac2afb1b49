//! Start and stop of a server, in order.
//!
//! Start: archive (takes the data directory's lock), DICOM and HTTP sockets, admin socket. Stop: no new connections,
//! running operations end by a deadline, then the archive. kill -9 at any moment loses nothing that was acknowledged.

use std::net::SocketAddr;

use anyhow::{Context, bail};
use archive::Archive;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admin::AdminServer;
use crate::config::Config;
use crate::http::{HttpServer, routes};
use crate::options::{admin_socket, archive_options, dicom_options};
use crate::warnings::warnings;

/// A server that accepts.
#[derive(Debug)]
pub(crate) struct Running {
    /// What it serves.
    pub(crate) archive: Archive,
    /// Addresses of the DICOM service.
    pub(crate) dicom: Vec<SocketAddr>,
    /// Addresses of the HTTP service.
    pub(crate) http: Vec<SocketAddr>,
    services: JoinSet<&'static str>,
    cancel: CancellationToken,
}

/// The signals that end the process in order.
#[derive(Debug)]
pub(crate) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl Running {
    /// Starts everything; what was started is stopped again when something cannot start.
    pub(crate) async fn start(config: &Config) -> anyhow::Result<Self> {
        take_descriptors();
        // Bound first: an address in use is the commonest reason to fail and should not cost the archive's start.
        let http = HttpServer::bind(config).await?;
        let archive = Archive::start(archive_options(config)).await.context("start the archive")?;
        match serve(config, archive.clone(), http).await {
            Ok(running) => {
                for warning in warnings(config) {
                    tracing::warn!("{warning}");
                }
                Ok(running)
            }
            Err(error) => {
                archive.stop().await;
                Err(error)
            }
        }
    }

    /// Waits until a signal comes; fails when a service ends by itself.
    pub(crate) async fn until_signal(&mut self, signals: &mut StopSignals) -> anyhow::Result<()> {
        tokio::select! {
            name = signals.next() => {
                tracing::info!(signal = name, "stopping");
                Ok(())
            }
            Some(ended) = self.services.join_next() => match ended {
                Ok(service) => bail!("the {service} service ended by itself; this is a bug, please report it"),
                Err(error) => Err(error).context("a service ended by itself; this is a bug, please report it"),
            }
        }
    }

    /// Stops in order. Bounded: every service ends by the configured deadline.
    pub(crate) async fn stop(mut self) {
        self.cancel.cancel();
        while let Some(ended) = self.services.join_next().await {
            match ended {
                Ok(service) => tracing::debug!(service, "service ended"),
                Err(error) => tracing::error!(%error, "a service ended early"),
            }
        }
        self.archive.stop().await;
        tracing::info!("stopped");
    }
}

/// Takes as many file descriptors as the system gives: its usual 1,024 are fewer than the connections that may be open,
/// and what the journal cannot open then cannot be stored.
fn take_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, descriptors = limit.current, "the limit of open files cannot be raised");
    }
}

impl StopSignals {
    /// Begins to listen for SIGTERM and SIGINT.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("listen for signals");
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    /// Waits for the next signal and returns its name.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

async fn serve(config: &Config, archive: Archive, http_server: HttpServer) -> anyhow::Result<Running> {
    let dicom_server = dicom_net::Server::bind(dicom_options(config), archive.clone())
        .await
        .context("start the DICOM service (dicom.listen)")?;
    let admin = AdminServer::bind(&admin_socket(config))?;
    let (dicom, http) = (dicom_server.addresses(), http_server.addresses().to_vec());
    let cancel = CancellationToken::new();
    let mut services = JoinSet::new();
    let (router, child) = (routes(&archive, config), cancel.child_token());
    services.spawn(async move {
        http_server.run(router, child).await;
        "HTTP"
    });
    let child = cancel.child_token();
    services.spawn(async move {
        dicom_server.run(child).await;
        "DICOM"
    });
    let (child, served) = (cancel.child_token(), archive.clone());
    services.spawn(async move {
        admin.run(served, child).await;
        "admin"
    });
    tracing::info!(?dicom, ?http, "accepting");
    Ok(Running { archive, dicom, http, services, cancel })
}
