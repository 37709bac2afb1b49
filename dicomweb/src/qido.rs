//! Search (QIDO-RS, PS3.18 §10.6): six resources, one search of the archive.

mod answer;
mod request;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use dicom_data::query::Level;
use futures_util::StreamExt as _;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, WARNING};
use http::{HeaderValue, StatusCode};

use crate::app::App;
use crate::call::Call;
use crate::options::EmptySearch;
use crate::page::Page;
use crate::problem::Problem;
use answer::Shape;
use archive::Services;
#[cfg(any(test, fuzzing))]
pub(crate) use request::SearchRequest;
#[cfg(not(any(test, fuzzing)))]
use request::SearchRequest;

/// `GET /studies`.
pub(crate) async fn search_for_studies<A: Services>(
    State(app): State<App<A>>,
    call: Call,
) -> Result<Response, Problem> {
    search(&app, &call, Level::Study).await
}

/// `GET /series` and `GET /studies/{study}/series`.
pub(crate) async fn search_for_series<A: Services>(State(app): State<App<A>>, call: Call) -> Result<Response, Problem> {
    search(&app, &call, Level::Series).await
}

/// `GET /instances` and those below a study or a series.
pub(crate) async fn search_for_instances<A: Services>(
    State(app): State<App<A>>,
    call: Call,
) -> Result<Response, Problem> {
    search(&app, &call, Level::Instance).await
}

/// Further matches are counted up to so many: more would cost more than the page itself, and the more the larger the
/// archive is.
const ADDITIONAL_MAX: u64 = 100;

async fn search<A: Services>(app: &App<A>, call: &Call, level: Level) -> Result<Response, Problem> {
    let content_type = call.json_type()?;
    let request = SearchRequest::read(call, level, app.options.page_max)?;
    let shape = Shape::new(level, &call.target, &request, &call.base_url);
    // A page, and known further matches: a lower bound.
    let (page, additional) = if request.limit == 0 {
        (Page::new(&app.pages), count(app, call, &request, level).await?)
    } else {
        page(app, call, &request, &shape).await?
    };
    let mut response = if page.matches() == 0 && app.options.empty_search == EmptySearch::NoContent {
        StatusCode::NO_CONTENT.into_response()
    } else {
        let (body, bytes) = page.finish();
        let mut response = body.into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(bytes));
        response
    };
    if additional > 0 {
        let text = format!("There are {additional} additional results that can be requested");
        warn(&mut response, &call.base_url, &text);
    }
    for parameter in &request.unsupported {
        let text = format!("The {parameter} parameter is not supported. Only literal matching has been performed.");
        warn(&mut response, &call.base_url, &text);
    }
    Ok(response)
}

/// Collects one page; it asks for one match more, to know whether there is a next page.
async fn page<A: Services>(
    app: &App<A>,
    call: &Call,
    request: &SearchRequest,
    shape: &Shape<'_>,
) -> Result<(Page, u64), Problem> {
    let mut found =
        app.archive.search(&call.caller, request.query(shape.level(), request.limit.saturating_add(1))).await?;
    let mut page = Page::new(&app.pages);
    while let Some(found) = found.next().await {
        if page.matches() == request.limit {
            return Ok((page, additional(app, call, request, shape.level()).await?));
        }
        let found = found?;
        page.push(|json| shape.write(found, json)).await?;
    }
    Ok((page, 0))
}

/// Returns how many matches follow the page, of which there is one at least (WE-058).
async fn additional<A: Services>(
    app: &App<A>,
    call: &Call,
    request: &SearchRequest,
    level: Level,
) -> Result<u64, Problem> {
    let mut rest = request.query(level, ADDITIONAL_MAX);
    rest.offset = rest.offset.saturating_add(request.limit);
    Ok(app.archive.count(&call.caller, &rest, ADDITIONAL_MAX).await?.unwrap_or(1).max(1))
}

/// Counts matches without returning them (WE-070); what the index cannot count, up to one page.
async fn count<A: Services>(app: &App<A>, call: &Call, request: &SearchRequest, level: Level) -> Result<u64, Problem> {
    let query = request.query(level, app.options.page_max);
    if let Some(counted) = app.archive.count(&call.caller, &query, u64::MAX).await? {
        return Ok(counted);
    }
    let (mut found, mut matches) = (app.archive.search(&call.caller, query).await?, 0);
    while let Some(found) = found.next().await {
        found?;
        matches += 1;
    }
    Ok(matches)
}

/// Adds a warning; a configured base URL that fits no header is left out of it.
fn warn(response: &mut Response, service: &str, text: &str) {
    let value = HeaderValue::from_str(&format!("299 {service}: {text}"))
        .or_else(|_| HeaderValue::from_str(&format!("299 -: {text}")));
    response.headers_mut().extend(value.ok().map(|value| (WARNING, value)));
}
