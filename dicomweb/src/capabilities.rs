//! What the service can do (PS3.18 §8.9): a WADL document (PS3.18 Annex H), or the same as JSON.

use std::fmt::Write as _;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::request::Parts;

use crate::accept::{Accept, Offer};
use crate::app::App;
use crate::base_url::base_url;
use crate::problem::Problem;
use archive::Services;

const WADL: &str = "application/vnd.sun.wadl+xml";
const JSON: &str = "application/json";

/// Media types of answers.
const FOUND: &[&str] = &["application/dicom+json"];
const STORED: &[&str] = &["application/dicom+json"];
const METADATA: &[&str] = &["application/dicom+json"];
const PARTS: &[&str] =
    &["multipart/related; type=\"application/dicom\"", "multipart/related; type=\"application/octet-stream\""];
const PARTS_OR_FILE: &[&str] = &[
    "multipart/related; type=\"application/dicom\"",
    "multipart/related; type=\"application/octet-stream\"",
    "application/dicom",
];
const PIXELS: &[&str] = &[
    "multipart/related; type=\"application/octet-stream\"",
    "multipart/related; type=\"image/*\"",
    "application/octet-stream",
];
const OCTETS: &[&str] = &["application/octet-stream", "multipart/related; type=\"application/octet-stream\""];

/// Query parameters of searches, beside the attributes.
const SEARCH: &[&str] = &["limit", "offset", "includefield", "fuzzymatching"];
const RETRIEVE: &[&str] = &["accept"];

/// A method of a resource.
struct Method {
    verb: &'static str,
    id: &'static str,
    parameters: &'static [&'static str],
    answers: &'static [&'static str],
}

const fn search(id: &'static str) -> Method {
    Method { verb: "GET", id, parameters: SEARCH, answers: FOUND }
}

const fn retrieve(id: &'static str, answers: &'static [&'static str]) -> Method {
    Method { verb: "GET", id, parameters: RETRIEVE, answers }
}

const STORE: Method = Method { verb: "POST", id: "StoreInstances", parameters: &[], answers: STORED };
const STORE_IN_STUDY: Method = Method { verb: "POST", id: "StoreStudyInstances", parameters: &[], answers: STORED };

/// Paths below the service's root and their methods; those of `routes`.
const RESOURCES: &[(&str, &[Method])] = &[
    ("studies", &[search("SearchForStudies"), STORE]),
    ("series", &[search("SearchForSeries")]),
    ("instances", &[search("SearchForInstances")]),
    ("studies/{study}", &[retrieve("RetrieveStudy", PARTS), STORE_IN_STUDY]),
    ("studies/{study}/metadata", &[retrieve("RetrieveStudyMetadata", METADATA)]),
    ("studies/{study}/series", &[search("SearchForStudySeries")]),
    ("studies/{study}/instances", &[search("SearchForStudyInstances")]),
    ("studies/{study}/series/{series}", &[retrieve("RetrieveSeries", PARTS)]),
    ("studies/{study}/series/{series}/metadata", &[retrieve("RetrieveSeriesMetadata", METADATA)]),
    ("studies/{study}/series/{series}/instances", &[search("SearchForStudySeriesInstances")]),
    ("studies/{study}/series/{series}/instances/{instance}", &[retrieve("RetrieveInstance", PARTS_OR_FILE)]),
    (
        "studies/{study}/series/{series}/instances/{instance}/metadata",
        &[retrieve("RetrieveInstanceMetadata", METADATA)],
    ),
    ("studies/{study}/series/{series}/instances/{instance}/frames/{frames}", &[retrieve("RetrieveFrames", PIXELS)]),
    ("studies/{study}/series/{series}/instances/{instance}/bulkdata/{path}", &[retrieve("RetrieveBulkData", OCTETS)]),
];

/// `OPTIONS` on the service's root.
pub(crate) async fn retrieve_capabilities<A: Services>(State(app): State<App<A>>, request: Request) -> Response {
    capabilities(&app, &request.into_parts().0)
}

/// Answers what the service can do, as WADL unless JSON is liked better (WE-005).
pub(crate) fn capabilities<A>(app: &App<A>, parts: &Parts) -> Response {
    let accepted: Vec<&str> = parts.headers.get_all(ACCEPT).iter().filter_map(|v| v.to_str().ok()).collect();
    let accept = if accepted.is_empty() { Accept::anything() } else { Accept::parse(&accepted.join(",")) };
    let rank = |media| accept.rank(Offer { multipart: false, media }, |_| true);
    let base = base_url(parts, &app.options, &app.base_path);
    match (rank(WADL).max(rank("application/xml")), rank(JSON)) {
        (None, None) => {
            let available = format!("available here: {WADL}, {JSON}");
            Problem::not_acceptable(available).into_response()
        }
        (xml, json) if xml >= json => ([(CONTENT_TYPE, WADL)], wadl(&base)).into_response(),
        _ => ([(CONTENT_TYPE, JSON)], json(&base)).into_response(),
    }
}

fn json(base: &str) -> String {
    let method = |method: &Method| {
        let Method { verb, id, parameters, answers } = method;
        serde_json::json!({"name": verb, "id": id, "query": parameters, "mediaTypes": answers})
    };
    let resource = |(path, methods): &(&str, &[Method])| {
        let methods: Vec<_> = methods.iter().map(method).collect();
        serde_json::json!({"path": path, "methods": methods})
    };
    let resources: Vec<_> = RESOURCES.iter().map(resource).collect();
    serde_json::json!({"application": {"resources": {"base": base, "resource": resources}}}).to_string()
}

/// Nothing that is put in needs quoting: a base URL of other characters is not repeated (see `base_url`), but for an
/// operator's own, whose `&` is replaced.
fn wadl(base: &str) -> String {
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<application xmlns=\"http://wadl.dev.java.net/2009/02\" \
         xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\">\n<resources base=\"{}/\">\n",
        escaped(base)
    );
    for (path, methods) in RESOURCES {
        put(&mut out, format_args!("<resource path=\"{path}\">\n"));
        for name in path.split(['{', '}']).skip(1).step_by(2) {
            put(
                &mut out,
                format_args!("<param name=\"{name}\" style=\"template\" type=\"xsd:string\" required=\"true\"/>\n"),
            );
        }
        for method in *methods {
            write_method(&mut out, method);
        }
        out.push_str("</resource>\n");
    }
    out.push_str("</resources>\n</application>\n");
    out
}

fn write_method(out: &mut String, method: &Method) {
    put(out, format_args!("<method name=\"{}\" id=\"{}\">\n<request>\n", method.verb, method.id));
    out.push_str("<param name=\"Accept\" style=\"header\" type=\"xsd:string\">\n");
    for media in method.answers {
        put(out, format_args!("<option value=\"{}\"/>\n", escaped(media)));
    }
    out.push_str("</param>\n");
    for name in method.parameters {
        put(out, format_args!("<param name=\"{name}\" style=\"query\" type=\"xsd:string\"/>\n"));
    }
    if method.verb == "POST" {
        let media = escaped("multipart/related; type=\"application/dicom\"");
        put(out, format_args!("<representation mediaType=\"{media}\"/>\n"));
    }
    out.push_str("</request>\n<response status=\"200\">\n");
    for media in method.answers {
        put(out, format_args!("<representation mediaType=\"{}\"/>\n", escaped(media)));
    }
    out.push_str("</response>\n</method>\n");
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a string cannot fail");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;")
}
