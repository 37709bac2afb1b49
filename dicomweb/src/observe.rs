//! One span, one log line and one metric for each request. The query string stays out: it holds patient data.

use std::future::Future;

use archive::{Metrics, Operation};
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::Method;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::app::App;
use archive::Services;

/// Runs a request in its span and records how long it took until its answer began, and its status.
pub(crate) async fn observe<A: Services>(State(app): State<App<A>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("unknown", MatchedPath::as_str).to_owned();
    let operation = operation(request.method(), &route);
    let span = tracing::info_span!("request", audit = %app.caller(request.extensions()).audit_id(), method = %request.method(), route);
    observed(app.archive.metrics(), operation, next.run(request)).instrument(span).await
}

/// Records how long a request took until its answer began, and its status.
pub(crate) async fn observed(
    metrics: &Metrics,
    operation: Option<Operation>,
    answering: impl Future<Output = Response>,
) -> Response {
    let started = Instant::now();
    let response = answering.await;
    let elapsed = started.elapsed();
    if let Some(operation) = operation {
        metrics.observe(operation, response.status().as_str(), elapsed);
    }
    tracing::debug!(status = response.status().as_u16(), elapsed_us = elapsed.as_micros(), "request answered");
    response
}

/// Returns which service a route is; `None` for what is none (OPTIONS, wrong methods).
fn operation(method: &Method, route: &str) -> Option<Operation> {
    if method == Method::POST {
        return Some(Operation::StowRs);
    }
    if method != Method::GET && method != Method::HEAD {
        return None;
    }
    Some(match route.rsplit('/').next() {
        Some("metadata") => Operation::WadoRsMetadata,
        Some("{frames}") => Operation::WadoRsFrames,
        Some("{*bulk}") => Operation::WadoRsBulkdata,
        Some("{study}" | "{series}" | "{instance}") => Operation::WadoRsInstances,
        Some("studies" | "series" | "instances") => Operation::QidoRs,
        _ => return None,
    })
}
