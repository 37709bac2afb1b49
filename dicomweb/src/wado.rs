//! Retrieve (WADO-RS, PS3.18 §10.4).

mod all_bulk;
mod bulk_data;
mod frames;
mod instances;
mod metadata;
mod range;
mod syntax;

use std::pin::Pin;

use archive::{Error, InstanceRef};
use axum::body::Body;
use bytes::Bytes;
use dicom_data::Uid;
use futures_core::Stream;
use http::StatusCode;

use crate::app::App;
use crate::call::Call;
use crate::problem::{Chain, Problem};
use archive::Services;

pub(crate) use bulk_data::retrieve_bulk_data;
pub(crate) use frames::retrieve_frames;
pub(crate) use instances::retrieve_instances;
pub(crate) use metadata::retrieve_metadata;

/// Pieces of an answer's body.
type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>>;

/// Finds what the path names: 404 when it was never here, 410 when it was deleted (WE-083).
async fn find<A: Services>(app: &App<A>, call: &Call) -> Result<Vec<InstanceRef>, Problem> {
    let selector = call.target.selector();
    let found = app.archive.locate(&call.caller, &selector).await?;
    if !found.is_empty() {
        return Ok(found);
    }
    if app.archive.was_deleted(&call.caller, &selector)? {
        return Err(Problem::new(StatusCode::GONE, "it was here and was deleted"));
    }
    Err(Problem::new(StatusCode::NOT_FOUND, "no such study, series or instance"))
}

/// Finds the one instance that the path names.
async fn find_one<A: Services>(app: &App<A>, call: &Call) -> Result<InstanceRef, Problem> {
    let found = find(app, call).await?;
    found.into_iter().next().ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "no such instance"))
}

/// Makes a body of pieces. An error in mid-stream aborts the connection: the client sees that the answer is not whole
/// (WE-082).
fn body(chunks: Chunks) -> Body {
    use futures_util::TryStreamExt as _;
    Body::from_stream(chunks.inspect_err(|error| {
        tracing::warn!(error = %Chain(error), "answer aborted in mid-stream");
    }))
}

/// Returns the URL of an instance.
fn instance_url(base_url: &str, instance: &InstanceRef) -> String {
    let [study, series, sop] =
        [&instance.study_instance_uid, &instance.series_instance_uid, &instance.sop_instance_uid].map(Uid::as_str);
    [base_url, "/studies/", study, "/series/", series, "/instances/", sop].concat()
}
