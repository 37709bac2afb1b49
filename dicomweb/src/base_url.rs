//! The service's URL as the client sees it (WE-037).

use archive::Caller;
use http::request::Parts;
use http::{HeaderMap, HeaderName, header};

use crate::media_type::split_list;
use crate::options::{Forwarded, Options};

/// Longest host with port that is repeated in an answer.
const HOST_BYTES_MAX: usize = 255;

static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
static FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

/// Returns the URL of the service without a trailing slash: as configured, else as the request says, else the bare path.
pub(crate) fn base_url(parts: &Parts, options: &Options, base_path: &str) -> String {
    if let Some(public) = &options.public_base {
        return public.trim_end_matches('/').to_owned();
    }
    let seen = seen_by_proxy(parts, options);
    let host = seen.host.or_else(|| host_of(parts)).filter(|host| is_host(host));
    let prefix = seen.prefix.filter(|p| is_path(p)).unwrap_or_default();
    let prefix = prefix.trim_end_matches('/');
    match host {
        Some(host) => {
            let scheme = if seen.scheme.is_some_and(|scheme| scheme == "https") { "https://" } else { "http://" };
            [scheme, &host, prefix, base_path].concat()
        }
        None => format!("{prefix}{base_path}"),
    }
}

#[derive(Default)]
struct Seen {
    scheme: Option<String>,
    host: Option<String>,
    prefix: Option<String>,
}

fn host_of(parts: &Parts) -> Option<String> {
    let header = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    header.map(str::to_owned).or_else(|| parts.uri.authority().map(ToString::to_string))
}

/// Reads `Forwarded` (RFC 7239) and the older `X-Forwarded-*` of a believed peer; the first proxy in the list counts.
fn seen_by_proxy(parts: &Parts, options: &Options) -> Seen {
    let believed = match &options.forwarded {
        Forwarded::Ignored => false,
        Forwarded::Trusted => true,
        Forwarded::From(peers) => parts
            .extensions
            .get::<Caller>()
            .and_then(Caller::address)
            .is_some_and(|peer| peers.contains(&peer.ip().to_canonical())),
    };
    if !believed {
        return Seen::default();
    }
    let mut seen = Seen {
        scheme: first(&parts.headers, &FORWARDED_PROTO).map(|s| s.to_ascii_lowercase()),
        host: first(&parts.headers, &FORWARDED_HOST),
        prefix: first(&parts.headers, &FORWARDED_PREFIX),
    };
    if let Some(port) = first(&parts.headers, &FORWARDED_PORT).filter(|p| p.bytes().all(|b| b.is_ascii_digit())) {
        let usual = matches!((seen.scheme.as_deref(), port.as_str()), (Some("https"), "443") | (_, "80"));
        seen.host = seen.host.map(|host| if usual || has_port(&host) { host } else { format!("{host}:{port}") });
    }
    for pair in first(&parts.headers, &header::FORWARDED).iter().flat_map(|f| f.split(';')) {
        if let Some((name, value)) = pair.split_once('=') {
            let value = value.trim().trim_matches('"').to_owned();
            match name.trim().to_ascii_lowercase().as_str() {
                "host" => seen.host = Some(value),
                "proto" => seen.scheme = Some(value.to_ascii_lowercase()),
                _ => {}
            }
        }
    }
    seen
}

fn first(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    split_list(value).first().map(|entry| entry.trim().to_owned())
}

fn has_port(host: &str) -> bool {
    let tail = host.rsplit(']').next().unwrap_or(host);
    tail.contains(':')
}

/// Tells whether a host may be repeated in URLs: nothing in it needs quoting in JSON, headers or URLs.
fn is_host(host: &str) -> bool {
    !host.is_empty()
        && host.len() <= HOST_BYTES_MAX
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b))
}

fn is_path(path: &str) -> bool {
    path.starts_with('/')
        && path.len() <= HOST_BYTES_MAX
        && path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/.-_~".contains(&b))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use archive::{Identity, Rights};

    use super::*;

    fn check(options: &Options, peer: Option<&str>, headers: &[(&str, &str)], expected: &str) {
        let mut request = http::Request::builder().uri("/dicomweb/studies");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        if let Some(peer) = peer {
            let peer: SocketAddr = peer.parse().unwrap();
            let identity = Identity { address: Some(peer), ..Identity::default() };
            parts.extensions.insert(Caller::new(identity, Rights::ALL));
        }
        assert_eq!(base_url(&parts, options, "/dicomweb"), expected, "{headers:?}");
    }

    #[test]
    fn host_of_the_request() {
        // WE-037, OHIF 2.2.2
        let options = Options::default();
        check(&options, None, &[("host", "pacs:8080")], "http://pacs:8080/dicomweb");
        check(&options, None, &[("host", "[::1]:8080")], "http://[::1]:8080/dicomweb");
        check(&options, None, &[], "/dicomweb");
        check(&options, None, &[("host", "a\"><b")], "/dicomweb");
    }

    #[test]
    fn forwarded_headers_of_believed_peers_only() {
        let options = Options::default();
        let headers = [
            ("host", "inner:1"),
            ("x-forwarded-host", "pacs.example, other"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-prefix", "/x/"),
        ];
        check(&options, Some("127.0.0.1:5"), &headers, "https://pacs.example/x/dicomweb");
        check(&options, Some("10.0.0.1:5"), &headers, "http://inner:1/dicomweb");
        check(&options, None, &headers, "http://inner:1/dicomweb");
        let trusting = Options { forwarded: Forwarded::Trusted, ..Options::default() };
        check(&trusting, None, &[("forwarded", "for=1;Host=\"a:8443\";proto=https")], "https://a:8443/dicomweb");
        let port =
            [("host", "i"), ("x-forwarded-host", "a"), ("x-forwarded-port", "8443"), ("x-forwarded-proto", "https")];
        check(&trusting, None, &port, "https://a:8443/dicomweb");
        let ignoring = Options { forwarded: Forwarded::Ignored, ..Options::default() };
        check(&ignoring, Some("127.0.0.1:5"), &headers, "http://inner:1/dicomweb");
    }

    #[test]
    fn a_configured_base_wins() {
        let options = Options { public_base: Some("https://a/b/".into()), ..Options::default() };
        check(&options, None, &[("host", "c")], "https://a/b");
    }
}
