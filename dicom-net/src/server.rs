//! The listener: accepts connections, establishes associations, serves them, ends them.

mod slots;
mod waiting;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use archive::{Caller, Identity, Metrics, Services};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug, info, warn};

use slots::{Slot, Slots};
use waiting::{Place, Waiting};

use crate::association::{Association, Link};
use crate::end::End;
use crate::negotiation::{AssociateRequest, Refusal, negotiate, read_request};
use crate::options::ServerOptions;
use crate::pdu::{AbortReason, Event, Phase, Rejection};
use crate::services::{Peer, Scp};

/// Connections that may wait for their request or their close beside the associations. A silent one costs 3 KiB.
const WAITING_MAX: usize = 1_024;
/// How long each of them keeps its place at least.
const WAITING_GRACE: Duration = Duration::from_secs(1);
/// Requests longer than this are read a few at a time: together they may not take a gigabyte.
const LARGE_REQUEST_BYTES: u32 = 96 * 1024;
/// How many at a time.
const LARGE_REQUESTS_MAX: usize = 16;
/// Pause after the machine could not give us a connection, such as for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a stopping server waits for the peer to close after A-ABORT.
const CLOSE_WAIT_STOPPING: Duration = Duration::from_secs(1);
/// Limits of `max_pdu_bytes`, 0 apart (UL-060).
const PDU_BYTES_RANGE: std::ops::RangeInclusive<u32> = 4_096..=1_048_576;

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken, or not ours, or needs a privilege (ports below 1024).
    #[error("listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// An option is out of its range.
    #[error("start DICOM server: {0}")]
    Options(&'static str),
}

/// A DICOM server that listens and does not yet accept.
#[derive(Debug)]
pub struct Server<A: Services> {
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    shared: Arc<Shared<A>>,
}

/// What all associations of a server share.
#[derive(Debug)]
struct Shared<A> {
    options: Arc<ServerOptions>,
    archive: A,
    slots: Slots,
    waiting: Waiting,
    large_requests: Semaphore,
    numbers: AtomicU64,
    /// Owns every task.
    tasks: TaskTracker,
    /// No new operations.
    stopping: CancellationToken,
    /// No operations any more.
    stopped: CancellationToken,
}

impl<A: Services> Server<A> {
    /// Binds all addresses.
    pub async fn bind(options: ServerOptions, archive: A) -> Result<Self, Error> {
        if options.ae_titles.is_empty() {
            return Err(Error::Options("name at least one AE title"));
        }
        if options.max_pdu_bytes != 0 && !PDU_BYTES_RANGE.contains(&options.max_pdu_bytes) {
            return Err(Error::Options("the maximum PDU length must be 0 or 4096 to 1048576"));
        }
        let (mut listeners, mut addresses) = (Vec::new(), Vec::new());
        for &address in &options.listen {
            let listen = |source| Error::Listen { address, source };
            let listener = TcpListener::bind(address).await.map_err(listen)?;
            addresses.push(listener.local_addr().map_err(listen)?);
            listeners.push(listener);
        }
        let shared = Shared {
            slots: Slots::new(options.associations_max, options.associations_per_calling_ae_max),
            waiting: Waiting::new(WAITING_MAX, WAITING_GRACE),
            large_requests: Semaphore::new(LARGE_REQUESTS_MAX),
            options: Arc::new(options),
            archive,
            numbers: AtomicU64::new(1),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
            stopped: CancellationToken::new(),
        };
        Ok(Self { listeners, addresses, shared: Arc::new(shared) })
    }

    /// Returns the bound addresses, in the order of the options.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.clone()
    }

    /// Serves until `cancel`; then stops accepting, lets running operations finish for the
    /// shutdown timeout, aborts what is left and returns when nothing runs any more (UL-012).
    pub async fn run(self, cancel: CancellationToken) {
        let tasks = &self.shared.tasks;
        for listener in self.listeners {
            tasks.spawn(accept(listener, Arc::clone(&self.shared)));
        }
        cancel.cancelled().await;
        self.shared.stopping.cancel();
        tasks.close();
        if timeout(self.shared.options.timeouts.shutdown, tasks.wait()).await.is_err() {
            warn!("running operations are cut off");
        }
        self.shared.stopped.cancel();
        tasks.wait().await;
    }
}

async fn accept<A: Services>(listener: TcpListener, shared: Arc<Shared<A>>) {
    let stopping = shared.stopping.clone();
    loop {
        // Without a place, connections wait in the kernel's queue: A-ASSOCIATE-RJ is only an
        // answer to a request.
        let next = async {
            let place = shared.waiting.place().await;
            (listener.accept().await, place)
        };
        let Some((accepted, place)) = stopping.run_until_cancelled(next).await else {
            return;
        };
        match accepted {
            Ok((stream, peer)) => {
                let assoc = shared.numbers.fetch_add(1, Ordering::Relaxed);
                let span = tracing::info_span!(
                    "association",
                    assoc,
                    audit = tracing::field::Empty,
                    %peer,
                    calling_ae = tracing::field::Empty,
                    called_ae = tracing::field::Empty,
                );
                let connection = connection(stream, place, Arc::clone(&shared));
                shared.tasks.spawn(connection.instrument(span));
            }
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves one connection, which is one association at most (UL-003).
async fn connection<A: Services>(stream: TcpStream, place: Place, shared: Arc<Shared<A>>) {
    let options = &shared.options;
    let link = Link::new(stream, Phase::AwaitingRequest, options.max_pdu_bytes, options.timeouts.clone());
    let mut link = match link {
        Ok(link) => link,
        Err(error) => return debug!(%error, "connection was lost at once"),
    };
    let Some(established) = place.keep(establish(&mut link, &shared)).await else {
        return debug!("connection was silent for longest, and others came");
    };
    let (link, place) = match established {
        Ok(established) => {
            drop(place);
            let association = Association::new(link, established.contexts, established.peer_pdu_bytes_max);
            let link = serve(association, established.peer, established.slot, &shared).await;
            let Ok(place) = shared.waiting.try_place() else {
                return debug!("closed first because too many connections wait");
            };
            (link, place)
        }
        Err(Some(last_word)) => {
            link.say_last(&last_word).await;
            (link, place)
        }
        Err(None) => return,
    };
    // The peer closes first; we do when it does not (UL-005).
    if shared.stopping.is_cancelled() {
        link.wait_for_close(CLOSE_WAIT_STOPPING).await;
    } else {
        let close = place.keep(link.wait_for_close(options.timeouts.artim));
        if !matches!(shared.stopping.run_until_cancelled(close).await, Some(Some(()))) {
            debug!("closed first because the server stops or others came");
        }
    }
}

struct Established {
    contexts: crate::negotiation::Contexts,
    peer_pdu_bytes_max: u32,
    peer: Peer,
    slot: Slot,
}

/// Reads the request and answers it. An error carries the PDU that says no, or nothing when the
/// connection is just closed: a silent peer is not spoken to (UL-004).
async fn establish<A: Services>(link: &mut Link, shared: &Shared<A>) -> Result<Established, Option<[u8; 10]>> {
    let options = &shared.options;
    let wait = options.timeouts.artim;
    let request = async {
        let announced_bytes = link.announced_bytes().await.map_err(|_| None)?;
        let _large = if announced_bytes > LARGE_REQUEST_BYTES {
            Some(shared.large_requests.acquire().await.map_err(|_| None)?)
        } else {
            None
        };
        let event = link.next(Some(wait), "association request").await;
        match event {
            Ok(Event::AssociateRequest(pdu)) => Ok(pdu),
            Ok(_) => Err(None), // A-ABORT: all else is refused by the phase
            Err(end) => {
                debug!(%end, "no association request");
                Err(end.abort_reason().filter(|reason| *reason != AbortReason::User))
            }
        }
    };
    let requested = timeout(wait, request);
    let pdu = match shared.stopping.run_until_cancelled(requested).await {
        Some(Ok(Ok(pdu))) => pdu,
        Some(Ok(Err(reason))) => return Err(reason.map(AbortReason::to_pdu)),
        Some(Err(_)) | None => return Err(None),
    };
    let request = read_request(&pdu).map_err(|refusal| Some(refused(refusal)))?;
    let span = tracing::Span::current();
    span.record("calling_ae", request.calling_ae.as_str());
    span.record("called_ae", request.called_ae.as_str());
    admit(link, &request, shared).await.map_err(|refusal| Some(refused(refusal)))
}

async fn admit<A: Services>(
    link: &mut Link,
    request: &AssociateRequest,
    shared: &Shared<A>,
) -> Result<Established, Refusal> {
    let accepted = negotiate(request, &shared.options)?;
    let slot = shared.slots.take(&request.calling_ae).ok_or(Rejection::LocalLimit)?;
    let contexts = accepted.contexts.iter().count();
    let rules = shared.options.rules_for(&request.calling_ae).clone();
    let identity = Identity {
        calling_ae: request.calling_ae.to_string(),
        called_ae: request.called_ae.to_string(),
        address: link.peer_address(),
    };
    let caller = Caller::new(identity, rules.rights);
    tracing::Span::current().record("audit", tracing::field::display(caller.audit_id()));
    let peer = Peer { caller, calling_ae: request.calling_ae.clone(), called_ae: request.called_ae.clone(), rules };
    let sent = link.send(vec![accepted.pdu.into()]).await;
    sent.map_err(|_| Refusal::Abort(AbortReason::User))?;
    link.establish(accepted.own_pdu_bytes_max);
    let implementation = request.implementation.as_deref().unwrap_or("unknown");
    info!(proposed = request.contexts.len(), contexts, implementation, "association accepted");
    if request.max_pdu_bytes.is_none() {
        debug!("peer tells no maximum length");
    }
    Ok(Established { contexts: accepted.contexts, peer_pdu_bytes_max: accepted.peer_pdu_bytes_max, peer, slot })
}

fn refused(refusal: Refusal) -> [u8; 10] {
    warn!(?refusal, "association refused");
    match refusal {
        Refusal::Reject(rejection) => rejection.to_pdu(),
        Refusal::Abort(reason) => reason.to_pdu(),
    }
}

/// An association in the metrics, until it is dropped: also when its task panics.
struct Counted<'a>(&'a Metrics);

impl<'a> Counted<'a> {
    fn new(metrics: &'a Metrics) -> Self {
        metrics.associations(1);
        Self(metrics)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.associations(-1);
    }
}

async fn serve<A: Services>(mut association: Association, peer: Peer, slot: Slot, shared: &Shared<A>) -> Link {
    let counted = Counted::new(shared.archive.metrics());
    let services = Scp {
        archive: shared.archive.clone(),
        options: Arc::clone(&shared.options),
        peer,
        stopping: shared.stopping.clone(),
        stopped: shared.stopped.clone(),
        leftovers: shared.tasks.clone(),
    };
    let end = tokio::select! {
        end = Box::pin(services.run(&mut association)) => end,
        () = shared.stopped.cancelled() => End::Shutdown,
    };
    match &end {
        End::Released => info!("association released"),
        End::Closed | End::PeerAborted { .. } | End::Shutdown => info!(%end, "association ended"),
        End::TimedOut(_) | End::Violation(_) | End::Torn(_) | End::Io(_) => {
            warn!(%end, "association aborted");
        }
    }
    let link = association.finish(&end).await;
    drop((counted, slot));
    link
}
