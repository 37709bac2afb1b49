//! What every handler needs of a request, read once at the edge.

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::Arc;

use archive::{Caller, Selector};
use axum::extract::{FromRequestParts, RawPathParams};
use dicom_data::Uid;
use http::header::{ACCEPT, ACCEPT_CHARSET, IF_NONE_MATCH, RANGE};
use http::request::Parts;
use http::{HeaderMap, HeaderName};

use crate::accept::{Accept, Offer};
use crate::app::App;
use crate::base_url::base_url;
use crate::media_type::split_list;
use crate::problem::Problem;
use crate::query_string;

/// One request, without its body.
#[derive(Debug)]
pub(crate) struct Call {
    /// The client.
    pub(crate) caller: Caller,
    /// URL of the service, without a trailing slash.
    pub(crate) base_url: String,
    /// What the client takes.
    pub(crate) accept: Arc<Accept>,
    /// Decoded query parameters, in order.
    pub(crate) parameters: Vec<(String, String)>,
    /// `If-None-Match`.
    pub(crate) if_none_match: Option<String>,
    /// `Range`.
    pub(crate) range: Option<String>,
    /// What the path names.
    pub(crate) target: Target,
}

/// What the path names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Target {
    pub(crate) study: Option<Uid>,
    pub(crate) series: Option<Uid>,
    pub(crate) instance: Option<Uid>,
    /// Frame list or bulk data path.
    pub(crate) rest: String,
}

impl Target {
    /// Returns what to look for in the archive.
    pub(crate) fn selector(&self) -> Selector {
        Selector {
            patient_id: None,
            studies: self.study.iter().cloned().collect(),
            series: self.series.iter().cloned().collect(),
            instances: self.instance.iter().cloned().collect(),
        }
    }
}

impl Call {
    /// Returns the media type of a JSON answer, or refuses (WE-067, WE-100).
    pub(crate) fn json_type(&self) -> Result<&'static str, Problem> {
        const JSON: [(&str, bool); 3] =
            [("application/dicom+json", false), ("application/json", false), ("application/dicom+json", true)];
        let ranked = JSON.iter().rev().filter_map(|(media, multipart)| {
            let rank = self.accept.rank(Offer { multipart: *multipart, media }, |_| true)?;
            Some((rank, *media))
        });
        let best = ranked.max_by_key(|(rank, _)| *rank);
        best.map(|(_, media)| media)
            .ok_or_else(|| Problem::not_acceptable("available here: application/dicom+json, application/json"))
    }
}

impl<A: Send + Sync> FromRequestParts<App<A>> for Call {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App<A>) -> Result<Self, Problem> {
        let target = target(parts).await?;
        Self::new(parts, app, target)
    }
}

impl Call {
    /// Reads what is not in the path.
    pub(crate) fn new<A>(parts: &Parts, app: &App<A>, target: Target) -> Result<Self, Problem> {
        let parameters = query_string::parse(parts.uri.query().unwrap_or_default())?;
        let accept = accept(&parts.headers, &parameters)?;
        check_charset(&parts.headers)?;
        Ok(Self {
            caller: app.caller(&parts.extensions).clone(),
            base_url: base_url(parts, &app.options, &app.base_path),
            accept,
            parameters,
            if_none_match: joined(&parts.headers, &IF_NONE_MATCH).map(Cow::into_owned),
            range: joined(&parts.headers, &RANGE).map(Cow::into_owned),
            target,
        })
    }
}

async fn target(parts: &mut Parts) -> Result<Target, Problem> {
    let raw = RawPathParams::from_request_parts(parts, &()).await;
    let raw = raw.map_err(|_| Problem::bad_request("the path is not percent-encoded UTF-8"))?;
    let mut target = Target::default();
    for (name, value) in &raw {
        match name {
            "study" => target.study = Some(uid(value)?),
            "series" => target.series = Some(uid(value)?),
            "instance" => target.instance = Some(uid(value)?),
            _ => value.clone_into(&mut target.rest),
        }
    }
    Ok(target)
}

/// Reads a UID of the path (WE-010); padding is no part of a UID here.
pub(crate) fn uid(text: &str) -> Result<Uid, Problem> {
    let uid: Result<Uid, _> = text.parse();
    match uid {
        Ok(uid) if uid.as_str() == text => Ok(uid),
        _ => Err(Problem::bad_request("a UID in the path must be 1 to 64 digits and dots")),
    }
}

/// Reads the `Accept` headers and the `accept` parameter, which overrides them (WE-022, WE-025).
fn accept(headers: &HeaderMap, parameters: &[(String, String)]) -> Result<Arc<Accept>, Problem> {
    let header = joined(headers, &ACCEPT).map_or_else(|| Arc::new(Accept::anything()), |text| parsed(&text));
    let Some((_, text)) = parameters.iter().find(|(name, _)| name == "accept") else {
        return Ok(header);
    };
    let parameter = Accept::parse(text);
    if parameter.is_empty() || parameter.has_wildcard() {
        return Err(Problem::bad_request("the accept parameter must name media types without wildcards"));
    }
    if !parameter.is_within(&header) {
        return Err(Problem::not_acceptable("the accept parameter names what the Accept header does not allow"));
    }
    Ok(Arc::new(parameter))
}

thread_local! {
    /// The last header that was read here: who asks for a thousand frames sends the same one a thousand times.
    static LAST: RefCell<Option<(String, Arc<Accept>)>> = const { RefCell::new(None) };
}

fn parsed(text: &str) -> Arc<Accept> {
    LAST.with_borrow_mut(|last| match last {
        Some((known, accept)) if known == text => Arc::clone(accept),
        _ => {
            let accept = Arc::new(Accept::parse(text));
            *last = Some((text.to_owned(), Arc::clone(&accept)));
            accept
        }
    })
}

/// Refuses clients that take no UTF-8, the only character set of our texts (WE-033).
fn check_charset(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(text) = joined(headers, &ACCEPT_CHARSET) else {
        return Ok(());
    };
    let takes_utf8 = split_list(&text).into_iter().any(|entry| {
        let (name, weight) = entry.split_once(';').unwrap_or((entry, ""));
        let name = name.trim().to_ascii_lowercase();
        let refused = weight.trim().strip_prefix("q=").is_some_and(|q| q.trim_matches(['0', '.']).is_empty());
        (name == "utf-8" || name == "utf8" || name == "*") && !refused
    });
    if takes_utf8 { Ok(()) } else { Err(Problem::not_acceptable("texts are made in UTF-8 only")) }
}

/// Joins repeated headers as a list (WE-023); `None` when there is none.
fn joined<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Cow<'a, str>> {
    let mut values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let first = values.next()?;
    Some(values.fold(Cow::Borrowed(first), |joined, value| joined + "," + value))
}
