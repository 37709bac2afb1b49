//! The HTTP server: connections and their limits, health, metrics and the DICOMweb routes.

mod bounded;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use archive::{Archive, Caller, Identity, Rights};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::http::bounded::Bounded;
use crate::options::web_options;

/// Most header fields of a request; a browser behind two proxies sends some thirty.
const HEADERS_MAX: usize = 100;
/// Most requests that one HTTP/2 connection has open.
const STREAMS_MAX: u32 = 256;
/// Most bytes of an answer, of one connection or HTTP/2 stream, that wait for their client beside the piece that was read last.
const ANSWER_BYTES_MAX: usize = 128 << 10;
/// How long accepting rests after it failed: out of file descriptors, most likely.
const ACCEPT_REST: Duration = Duration::from_millis(100);
/// What Prometheus expects of an OpenMetrics text.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Bound sockets, not yet serving.
#[derive(Debug)]
pub(crate) struct HttpServer {
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    limits: Limits,
}

/// What a connection and all of them may take.
#[derive(Debug, Clone)]
struct Limits {
    connections: Arc<Semaphore>,
    header_wait_max: Duration,
    send_wait_max: Duration,
    stop_wait_max: Duration,
}

impl HttpServer {
    /// Binds the configured addresses; port 0 takes a free one.
    pub(crate) async fn bind(config: &Config) -> anyhow::Result<Self> {
        let (mut listeners, mut addresses) = (Vec::new(), Vec::new());
        for address in &config.http.listen {
            let listening = || format!("listen on {address} for HTTP (http.listen)");
            let listener = TcpListener::bind(address).await.with_context(listening)?;
            addresses.push(listener.local_addr().with_context(listening)?);
            listeners.push(listener);
        }
        let limits = Limits {
            connections: Arc::new(Semaphore::new(config.http.connections_max)),
            header_wait_max: config.http.header_wait_max.0,
            send_wait_max: config.http.send_wait_max.0,
            stop_wait_max: config.stop_wait_max.0,
        };
        Ok(Self { listeners, addresses, limits })
    }

    /// Returns the addresses that are bound.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Serves until cancelled, then lets running requests end by the deadline.
    pub(crate) async fn run(self, router: Router, cancel: CancellationToken) {
        let graceful = Arc::new(GracefulShutdown::new());
        let mut accepting = JoinSet::new();
        for listener in self.listeners {
            accepting.spawn(accept(
                listener,
                router.clone(),
                self.limits.clone(),
                Arc::clone(&graceful),
                cancel.clone(),
            ));
        }
        let mut connections = Vec::new();
        while let Some(ended) = accepting.join_next().await {
            match ended {
                Ok(running) => connections.push(running),
                Err(error) => tracing::error!(%error, "accepting HTTP connections ended early"),
            }
        }
        let graceful = Arc::into_inner(graceful).expect("the accepting tasks that shared it have ended");
        if tokio::time::timeout(self.limits.stop_wait_max, graceful.shutdown()).await.is_err() {
            tracing::warn!("HTTP requests that did not end in time are cut");
        }
        drop(connections); // aborts what still runs
    }
}

/// Returns all routes: ours and those of DICOMweb.
pub(crate) fn routes(archive: &Archive, config: &Config) -> Router {
    let own = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(archive.clone());
    own.merge(dicomweb::router(archive.clone(), web_options(config)))
}

/// Ready means: instances can be stored and found. What is served while it is not depends on what is missing.
async fn ready(State(archive): State<Archive>) -> Response {
    let status = archive.status().await;
    let missing = match (status.can_store, status.index) {
        (true, true) => return "ready\n".into_response(),
        (true, false) => "the index does not answer: instances are taken in, queries fail",
        (false, true) => "nothing can be stored: too few journal copies are healthy, or the journal is full",
        (false, false) => "the index does not answer, and nothing can be stored",
    };
    (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {missing}\n")).into_response()
}

async fn metrics(State(archive): State<Archive>) -> Response {
    ([(header::CONTENT_TYPE, OPEN_METRICS)], archive.encode_metrics()).into_response()
}

/// Accepts until cancelled; returns the connections that still run.
async fn accept(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    graceful: Arc<GracefulShutdown>,
    cancel: CancellationToken,
) -> JoinSet<()> {
    let mut connections = JoinSet::new();
    while let Some((stream, peer, permit)) =
        cancel.run_until_cancelled(next(&listener, &limits, &mut connections)).await
    {
        let connection = serve(stream, peer, router.clone(), limits.clone(), graceful.watcher(), cancel.clone());
        connections.spawn(async move {
            connection.await;
            drop(permit);
        });
    }
    connections
}

/// Waits for room and for the next connection; takes note of those that ended.
async fn next(
    listener: &TcpListener,
    limits: &Limits,
    connections: &mut JoinSet<()>,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    let permit = Arc::clone(&limits.connections).acquire_owned().await.expect("the semaphore is never closed");
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => return (stream, peer, permit),
                Err(error) => {
                    tracing::warn!(%error, "an HTTP connection could not be accepted");
                    tokio::time::sleep(ACCEPT_REST).await;
                }
            },
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "an HTTP connection's task ended early");
                }
            }
        }
    }
}

async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    limits: Limits,
    watcher: Watcher,
    cancel: CancellationToken,
) {
    // Answers are written whole; waiting for the peer's acknowledgement of the piece before costs 40 ms each.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection was gone before it was served");
        return;
    }
    // Hyper's own timeout begins with the first byte; a silent connection would hold its place for ever.
    let mut first = [0];
    let spoke = cancel.run_until_cancelled(tokio::time::timeout(limits.header_wait_max, stream.peek(&mut first)));
    if !matches!(spoke.await, Some(Ok(Ok(1)))) {
        return;
    }
    let router = TowerToHyperService::new(router);
    // One caller for the connection: its requests have the same id in the log.
    let caller = Caller::new(Identity { address: Some(peer), ..Identity::default() }, Rights::default());
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(caller.clone());
        router.call(request)
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.header_wait_max).max_headers(HEADERS_MAX);
    builder.http1().max_buf_size(ANSWER_BYTES_MAX);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(STREAMS_MAX);
    builder.http2().keep_alive_interval(limits.send_wait_max).max_send_buf_size(ANSWER_BYTES_MAX);
    let stream = TokioIo::new(Bounded::new(stream, limits.send_wait_max));
    let connection = builder.serve_connection(stream, service).into_owned();
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "an HTTP connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// More than the buffers of both ends of a connection hold.
    const LARGE_BYTES: usize = 64 << 20;

    struct Running {
        address: SocketAddr,
        cancel: CancellationToken,
        task: tokio::task::JoinHandle<()>,
    }

    async fn start(configure: impl FnOnce(&mut Config)) -> Running {
        let mut config = Config::default();
        config.http.listen = vec!["127.0.0.1:0".parse().unwrap()];
        configure(&mut config);
        let server = HttpServer::bind(&config).await.unwrap();
        let address = server.addresses()[0];
        let slow = || async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            "slow"
        };
        let router = Router::new()
            .route(
                "/peer",
                get(|axum::Extension(caller): axum::Extension<Caller>| async move {
                    caller.address().unwrap().ip().to_string()
                }),
            )
            .route("/slow", get(slow))
            .route("/large", get(|| async { vec![0_u8; LARGE_BYTES] }));
        let cancel = CancellationToken::new();
        let task = tokio::spawn(server.run(router, cancel.clone()));
        Running { address, cancel, task }
    }

    async fn connect(running: &Running, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    async fn rest(mut stream: TcpStream) -> String {
        let mut text = String::new();
        tokio::time::timeout(Duration::from_secs(20), stream.read_to_string(&mut text)).await.unwrap().unwrap();
        text
    }

    #[tokio::test]
    async fn routes_know_the_peer() {
        let running = start(|_| ()).await;
        let answer = rest(connect(&running, "GET /peer HTTP/1.0\r\n\r\n").await).await;
        assert!(answer.starts_with("HTTP/1.0 200") && answer.ends_with("127.0.0.1"), "{answer}");
    }

    #[tokio::test]
    async fn silent_connections_and_half_headers_are_closed() {
        let running = start(|config| config.http.header_wait_max = "200ms".parse().unwrap()).await;
        assert_eq!(rest(connect(&running, "").await).await, "");
        let answer = rest(connect(&running, "GET /peer HTTP/1.1\r\n").await).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    }

    #[tokio::test]
    async fn a_running_request_ends_before_the_server_does() {
        let running = start(|_| ()).await;
        let mut stream = connect(&running, "GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await;
        stream.readable().await.ok();
        running.cancel.cancel();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert!(text.ends_with("slow"), "{text}");
        running.task.await.unwrap();
        assert!(TcpStream::connect(running.address).await.is_err());
    }

    #[tokio::test]
    async fn connections_beyond_the_limit_wait() {
        let running = start(|config| config.http.connections_max = 1).await;
        let first = connect(&running, "GET /slow HTTP/1.0\r\n\r\n").await;
        let second = connect(&running, "GET /peer HTTP/1.0\r\n\r\n").await;
        let begun = tokio::time::Instant::now();
        assert!(rest(second).await.ends_with("127.0.0.1"));
        assert!(begun.elapsed() > Duration::from_millis(200));
        assert!(rest(first).await.ends_with("slow"));
    }

    #[tokio::test]
    async fn a_client_that_reads_nothing_loses_its_place() {
        let running = start(|config| {
            config.http.connections_max = 1;
            config.http.send_wait_max = "300ms".parse().unwrap();
        })
        .await;
        let mut deaf = connect(&running, "GET /large HTTP/1.0\r\n\r\n").await;
        let next = connect(&running, "GET /peer HTTP/1.0\r\n\r\n").await;
        assert!(rest(next).await.ends_with("127.0.0.1"));
        let mut late = Vec::new();
        deaf.read_to_end(&mut late).await.ok(); // cut, or reset
        assert!(late.len() < LARGE_BYTES, "{} bytes", late.len());
    }

    #[tokio::test]
    async fn a_client_that_reads_with_pauses_gets_everything() {
        let running = start(|config| config.http.send_wait_max = "2s".parse().unwrap()).await;
        let mut slow = connect(&running, "GET /large HTTP/1.0\r\n\r\n").await;
        let (mut got, mut piece) = (0, vec![0; 8 << 20]);
        loop {
            tokio::time::sleep(Duration::from_millis(5)).await;
            match slow.read(&mut piece).await.unwrap() {
                0 => break,
                read => got += read,
            }
        }
        assert!(got > LARGE_BYTES, "{got} bytes");
    }
}
