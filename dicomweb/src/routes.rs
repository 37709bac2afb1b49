//! The resources and their methods (PS3.18 §10.1).

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{get, options as options_method};
use axum::{Router, routing::MethodRouter};
use http::StatusCode;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::Predicate;

use crate::app::App;
use crate::capabilities::retrieve_capabilities;
use crate::cors::cross_origin;
use crate::front::Front;
use crate::observe::observe;
use crate::options::Options;
use crate::page::Pages;
use crate::problem::Problem;
use crate::{qido, stow, wado};
use archive::{Caller, Identity, Services};

/// Answers below this length are not worth compressing.
const COMPRESSED_BYTES_MIN: u64 = 1024;

/// Returns the routes of the service under each of its base paths.
#[expect(clippy::needless_pass_by_value, reason = "the routes own the archive: callers hand over a clone")]
pub fn router<A: Services>(archive: A, options: Options) -> Router {
    let unknown = Caller::new(Identity::default(), options.rights);
    let options = Arc::new(options);
    let (mut router, mut apps, pages) = (Router::new(), Vec::new(), Pages::new());
    let paths: BTreeSet<&str> = options.base_paths.iter().map(|path| path.trim_matches('/')).collect();
    for path in paths {
        let base_path = if path.is_empty() { String::new() } else { format!("/{path}") };
        let app = App {
            archive: archive.clone(),
            options: Arc::clone(&options),
            base_path: Arc::from(base_path.as_str()),
            pages: pages.clone(),
            unknown: unknown.clone(),
        };
        apps.push(app.clone());
        let root = options_method(retrieve_capabilities::<A>).with_state(app.clone());
        let service = service(app);
        router = if base_path.is_empty() {
            router.merge(service)
        } else {
            router.route(&format!("{base_path}/"), root).nest(&base_path, service)
        };
    }
    Router::new().fallback_service(Front::new(apps, router))
}

fn service<A: Services>(app: App<A>) -> Router {
    const STUDY: &str = "/studies/{study}";
    const SERIES: &str = "/studies/{study}/series/{series}";
    const INSTANCE: &str = "/studies/{study}/series/{series}/instances/{instance}";
    let metadata = || -> MethodRouter<App<A>> { get(wado::retrieve_metadata::<A>) };
    Router::new()
        .route("/", options_method(retrieve_capabilities::<A>))
        .route("/studies", get(qido::search_for_studies::<A>).post(stow::store_instances::<A>))
        .route("/series", get(qido::search_for_series::<A>))
        .route("/instances", get(qido::search_for_instances::<A>))
        .route(STUDY, get(wado::retrieve_instances::<A>).post(stow::store_instances::<A>))
        .route(&format!("{STUDY}/metadata"), metadata())
        .route(&format!("{STUDY}/series"), get(qido::search_for_series::<A>))
        .route(&format!("{STUDY}/instances"), get(qido::search_for_instances::<A>))
        .route(SERIES, get(wado::retrieve_instances::<A>))
        .route(&format!("{SERIES}/metadata"), metadata())
        .route(&format!("{SERIES}/instances"), get(qido::search_for_instances::<A>))
        .route(INSTANCE, get(wado::retrieve_instances::<A>))
        .route(&format!("{INSTANCE}/metadata"), metadata())
        .route(&format!("{INSTANCE}/frames/{{frames}}"), get(wado::retrieve_frames::<A>))
        .route(&format!("{INSTANCE}/bulkdata/{{*bulk}}"), get(wado::retrieve_bulk_data::<A>))
        .route_layer(middleware::from_fn_with_state(app.clone(), observe::<A>))
        .fallback(unknown)
        .layer(CompressionLayer::new().compress_when(JsonOnly))
        .layer(middleware::from_fn_with_state(app.clone(), cross_origin::<A>))
        .layer(DefaultBodyLimit::disable())
        .with_state(app)
}

async fn unknown() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no such resource: OPTIONS on the service's root lists what there is")
}

/// JSON is compressed when asked for; pixel data is not: most of it is compressed already (WE-034).
#[derive(Debug, Clone, Copy)]
struct JsonOnly;

impl Predicate for JsonOnly {
    fn should_compress<B: axum::body::HttpBody>(&self, response: &http::Response<B>) -> bool {
        let content_type = response.headers().get(http::header::CONTENT_TYPE);
        let json = content_type.is_some_and(|t| t.as_bytes().ends_with(b"json"));
        json && response.body().size_hint().upper().is_none_or(|bytes| bytes >= COMPRESSED_BYTES_MIN)
    }
}
