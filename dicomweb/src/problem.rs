//! Refusals: a status and a text that says what to do (PS3.18 §8.5). Never patient data.

use std::borrow::Cow;
use std::error::Error as _;

use archive::Error;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};

/// Seconds after which a sender may try again when nothing can be stored or asked now.
const RETRY_AFTER_SECONDS: u16 = 10;

/// Why a request was refused.
#[derive(Debug)]
pub(crate) struct Problem {
    /// Status of the answer.
    pub(crate) status: StatusCode,
    detail: Cow<'static, str>,
}

impl Problem {
    /// Makes a refusal with this status; `detail` says what to do.
    pub(crate) fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, detail: detail.into() }
    }

    /// Adds what else the client should know.
    pub(crate) fn noting(self, note: &str) -> Self {
        Self { detail: Cow::Owned(format!("{}; {note}", self.detail)), ..self }
    }

    /// The request cannot be read; it will not work if it is repeated.
    pub(crate) fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// Nothing that is acceptable can be made of what is there.
    pub(crate) fn not_acceptable(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_ACCEPTABLE, detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or("Error");
        let body = serde_json::json!({"status": self.status.as_u16(), "title": title, "detail": self.detail});
        let mut response = (self.status, body.to_string()).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
        }
        response
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let status = status_of(&error);
        if status.is_server_error() {
            tracing::warn!(error = %Chain(&error), status = status.as_u16(), "request failed");
        }
        Self::new(status, error.to_string())
    }
}

/// Returns the HTTP status of an error of the archive; every variant by name.
fn status_of(error: &Error) -> StatusCode {
    match error {
        Error::InvalidKey(_) => StatusCode::BAD_REQUEST,
        Error::NotFound { .. } => StatusCode::NOT_FOUND,
        Error::NotAllowed { .. } => StatusCode::FORBIDDEN,
        Error::Deleted => StatusCode::GONE,
        Error::NoFrames { .. } => StatusCode::NOT_ACCEPTABLE,
        Error::Conflict | Error::Contradiction { .. } | Error::MissingIdentifier { .. } => StatusCode::CONFLICT,
        Error::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        Error::OutOfResources { .. } | Error::IndexAway(_) | Error::DevicesSilent(_) | Error::Cancelled => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        Error::SopClassNotSupported | Error::TransferSyntaxNotSupported => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Error::Locked
        | Error::Index(_)
        | Error::Malformed { .. }
        | Error::Tiering(_)
        | Error::Journal(_)
        | Error::Io { .. } => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Shows an error with everything that caused it, on one line.
pub(crate) struct Chain<'a>(pub(crate) &'a Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_archive_have_their_statuses() {
        // WE-039, WE-083
        assert_eq!(Problem::from(Error::NotFound { what: "frame" }).status, 404);
        assert_eq!(Problem::from(Error::Deleted).status, 410);
        let response = Problem::from(Error::OutOfResources { reason: "journal full".into() }).into_response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "10");
        assert_eq!(response.headers()["content-type"], "application/json");
    }
}
