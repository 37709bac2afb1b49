//! Cross-origin requests (WE-006, WE-007).

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};

use crate::app::App;
use crate::capabilities::capabilities;
use crate::options::Cors;
use archive::Services;

/// Headers of answers that pages may read.
const EXPOSED: &str =
    "Content-Type, Content-Location, Content-Length, Content-Range, Warning, ETag, Location, Retry-After";
/// How long browsers may remember a preflight answer, in seconds.
const MAX_AGE_SECONDS: &str = "7200";

/// Answers preflights, marks answers for the origins that may read them, and turns OPTIONS into the capabilities.
pub(crate) async fn cross_origin<A: Services>(State(app): State<App<A>>, request: Request, next: Next) -> Response {
    let origin = allowed_origin(&app.options.cors, request.headers());
    let asks_options = request.method() == Method::OPTIONS;
    let mut response = if asks_options && is_preflight(request.headers()) {
        preflight(request.headers(), origin.is_some())
    } else {
        let (parts, body) = request.into_parts();
        let asked = asks_options.then(|| parts.clone());
        let response = next.run(Request::from_parts(parts, body)).await;
        // Every resource that exists answers OPTIONS; axum knows only that it has no handler for it.
        match asked {
            Some(parts) if response.status() == StatusCode::METHOD_NOT_ALLOWED => capabilities(&app, &parts),
            _ => response,
        }
    };
    mark(response.headers_mut(), origin);
    response
}

/// Returns the origin of a request if it may read the answer.
pub(crate) fn allowed_origin(cors: &Cors, headers: &HeaderMap) -> Option<HeaderValue> {
    headers.get(ORIGIN).filter(|origin| is_allowed(cors, origin)).cloned()
}

/// Marks an answer for the origin that may read it.
pub(crate) fn mark(headers: &mut HeaderMap, origin: Option<HeaderValue>) {
    headers.append(VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    }
}

fn is_preflight(headers: &HeaderMap) -> bool {
    headers.contains_key(ORIGIN) && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

fn preflight(asked: &HeaderMap, allowed: bool) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    if allowed {
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, POST, OPTIONS"));
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE_SECONDS));
        let names = asked.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned();
        let names = names.unwrap_or_else(|| HeaderValue::from_static("Accept, Authorization, Content-Type"));
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names);
    }
    response
}

fn is_allowed(cors: &Cors, origin: &HeaderValue) -> bool {
    let Ok(origin) = origin.to_str() else {
        return false;
    };
    match cors {
        Cors::Off => false,
        Cors::Any => true,
        Cors::Origins(origins) => origins.iter().any(|allowed| allowed == origin),
        Cors::Loopback => origin
            .parse::<Uri>()
            .is_ok_and(|uri| uri.host().is_some_and(|host| matches!(host, "localhost" | "127.0.0.1" | "[::1]"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_that_may_read() {
        // WE-006
        let allowed = |cors: &Cors, origin: &str| is_allowed(cors, &HeaderValue::from_str(origin).unwrap());
        for origin in ["http://localhost:3000", "https://127.0.0.1", "http://[::1]:9"] {
            assert!(allowed(&Cors::Loopback, origin), "{origin}");
        }
        for origin in ["https://evil.example", "null", "http://localhost.evil.example", "http://127.0.0.1@evil"] {
            assert!(!allowed(&Cors::Loopback, origin), "{origin}");
        }
        let list = Cors::Origins(vec!["https://viewer.example".into()]);
        assert!(allowed(&list, "https://viewer.example"));
        assert!(!allowed(&list, "https://viewer.example.evil"));
        assert!(allowed(&Cors::Any, "null"));
        assert!(!allowed(&Cors::Off, "http://localhost"));
    }
}
