//! What viewers ask for by the thousand goes past the router: GET of one instance, or of frames of it.
//!
//! Each route and each layer of the router clones and boxes a service for a request, which costs more than finding and
//! checking a slice. The handlers and what surrounds them are those of the router, which takes whatever is not plainly one
//! of these two resources.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use archive::Operation;
use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::Method;
use http::request::Parts;
use tower::Service;
use tracing::Instrument as _;

use crate::app::App;
use crate::call::{Call, Target, uid};
use crate::cors;
use crate::observe::observed;
use crate::problem::Problem;
use crate::wado;
use archive::Services;

/// The service: the two resources of each base path, and the router behind them.
#[derive(Debug, Clone)]
pub(crate) struct Front<A> {
    apps: Arc<[App<A>]>,
    router: Router,
}

/// A resource of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resource<'a> {
    Instance,
    /// With its list of numbers.
    Frames(&'a str),
}

/// Study, series and SOP Instance UID as they stand in a path.
type Uids<'a> = [&'a str; 3];

type Answer = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

impl<A: Services> Front<A> {
    /// Puts the resources of these base paths before a router that has all of them.
    pub(crate) fn new(apps: Vec<App<A>>, router: Router) -> Self {
        Self { apps: apps.into(), router }
    }

    /// Returns the base path's state and the instance that a request is for, if it is for one.
    fn target(&self, request: &Request) -> Option<(&App<A>, Result<Target, Problem>, Operation)> {
        if request.method() != Method::GET {
            return None;
        }
        let path = request.uri().path();
        let (app, below) = self.apps.iter().find_map(|app| Some((app, path.strip_prefix(&*app.base_path)?)))?;
        let (uids, resource) = resource(below)?;
        let (rest, operation) = match resource {
            Resource::Instance => ("", Operation::WadoRsInstances),
            Resource::Frames(list) => (list, Operation::WadoRsFrames),
        };
        Some((app, target(uids, rest), operation))
    }
}

impl<A: Services> Service<Request> for Front<A> {
    type Response = Response;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match self.target(&request) {
            Some((app, target, operation)) => {
                let (app, (parts, _)) = (app.clone(), request.into_parts());
                Box::pin(async move { Ok(answer(app, parts, target, operation).await) })
            }
            None => Box::pin(self.router.call(request)),
        }
    }
}

async fn answer<A: Services>(
    app: App<A>,
    parts: Parts,
    target: Result<Target, Problem>,
    operation: Operation,
) -> Response {
    let origin = cors::allowed_origin(&app.options.cors, &parts.headers);
    let metrics = app.archive.metrics().clone();
    // Not at the level that is usually logged: to make a span costs as much as to read a slice.
    let span = tracing::debug_span!("request", audit = %app.caller(&parts.extensions).audit_id(), ?operation);
    let answering = async move {
        let call = match target.and_then(|target| Call::new(&parts, &app, target)) {
            Ok(call) => call,
            Err(problem) => return problem.into_response(),
        };
        if operation == Operation::WadoRsFrames {
            wado::retrieve_frames(State(app), call).await.into_response()
        } else {
            wado::retrieve_instances(State(app), call).await.into_response()
        }
    };
    let mut response = observed(&metrics, Some(operation), answering).instrument(span).await;
    cors::mark(response.headers_mut(), origin);
    response
}

/// Takes a path below the base path apart; `None` for every other resource, and for what is percent-encoded.
fn resource(below: &str) -> Option<(Uids<'_>, Resource<'_>)> {
    let below = below.strip_prefix("/studies/").filter(|below| !below.contains('%'))?;
    let (study, below) = below.split_once("/series/")?;
    let (series, below) = below.split_once("/instances/")?;
    let (instance, resource) = match below.split_once('/') {
        None => (below, Resource::Instance),
        Some((instance, below)) => (instance, Resource::Frames(below.strip_prefix("frames/")?)),
    };
    let list = if let Resource::Frames(list) = resource { list } else { "1" };
    let single = |part: &str| !part.is_empty() && !part.contains('/');
    [study, series, instance, list].into_iter().all(single).then_some(([study, series, instance], resource))
}

fn target([study, series, instance]: Uids<'_>, rest: &str) -> Result<Target, Problem> {
    Ok(Target {
        study: Some(uid(study)?),
        series: Some(uid(series)?),
        instance: Some(uid(instance)?),
        rest: rest.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_instances_and_frames_only() {
        let uids = ["1.2", "3", "4.5"];
        let path = "/studies/1.2/series/3/instances/4.5";
        assert_eq!(resource(path), Some((uids, Resource::Instance)));
        assert_eq!(resource(&format!("{path}/frames/1,2")), Some((uids, Resource::Frames("1,2"))));
        assert_eq!(resource("/studies/1.x/series/3/instances/4").map(|found| found.0[0]), Some("1.x"), "refused later");
        for other in ["/", "/metadata", "/frames", "/frames/", "/frames/1/", "/frames/1/rendered", "/bulkdata/1"] {
            assert_eq!(resource(&format!("{path}{other}")), None, "{other}");
        }
        for path in [
            "/studies",
            "/studies/1/series/2/instances",
            "/studies/1/series/2/instances/",
            "/studies//series/2/instances/3",
            "/studies/1/2/series/3/instances/4",
            "/studies/1%2E2/series/3/instances/4",
        ] {
            assert_eq!(resource(path), None, "{path}");
        }
    }
}
