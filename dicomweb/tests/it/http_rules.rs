//! Rules of HTTP that hold for all resources.

use archive::{Caller, Identity, Right, Rights};
use axum::body::Body;
use dicomweb::{Cors, Options};

use crate::server::{Answer, EXPLICIT, Server, instance, request};
use crate::store;

async fn send(method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let server = Server::with(vec![instance(1, 1, EXPLICIT)]);
    Answer::of(server.send(request(method, path, headers, Body::empty())).await).await
}

#[tokio::test]
async fn unknown_paths_and_wrong_methods() {
    // WE-009
    for path in ["/nothing", "/studies/1.2/nothing", "/studies/1.2/series/1.2.1/instances/1/frames", "/studies/"] {
        let answer = send("GET", path, &[]).await;
        assert_eq!(answer.status, 404, "{path}");
    }
    let answer = send("DELETE", "/studies/1.2", &[]).await;
    assert_eq!(answer.status, 405);
    assert_eq!(answer.header("allow"), "GET,HEAD,POST");
    let answer = send("POST", "/studies/1.2/metadata", &[]).await;
    assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, "GET,HEAD"));
}

#[tokio::test]
async fn what_goes_past_the_router_is_answered_as_by_the_router() {
    // WE-009: a percent-encoded path is left to the router
    let instances = "/studies/1.2/series/1.2.1/instances";
    let origin = ("origin", "http://localhost:3000");
    let frame_only = ("accept", "application/octet-stream; transfer-syntax=*");
    let file_only = ("accept", "application/dicom; transfer-syntax=*");
    for (path, headers, status) in [
        ("1.2.1.1", &[origin][..], 200),
        ("1.2.1.1", &[file_only], 200),
        ("1.2.1.1", &[frame_only], 406),
        ("1.2.1.1", &[("accept", "image/png")], 406),
        ("1.2.1.1?accept=application/*", &[], 400),
        ("1.2.1.9", &[origin], 404),
        ("1.2.1.x", &[], 400),
        ("1.2.1.1/frames/1", &[origin], 200),
        ("1.2.1.1/frames/1", &[frame_only], 200),
        ("1.2.1.1/frames/4", &[], 404),
        ("1.2.1.1/frames/x", &[], 400),
    ] {
        let direct = send("GET", &format!("{instances}/{path}"), headers).await;
        let routed = send("GET", &format!("{}/{path}", instances.replace('2', "%32")), headers).await;
        assert_eq!((direct.status.as_u16(), routed.status.as_u16()), (status, status), "{path} {headers:?}");
        let names = |answer: &Answer| {
            // The length of a body that is in memory is hyper's to add where the router has not.
            let names = answer.headers.keys().filter(|name| *name != "content-length");
            let mut names: Vec<String> = names.map(ToString::to_string).collect();
            names.sort_unstable();
            names
        };
        assert_eq!(names(&direct), names(&routed), "{path} {headers:?}");
        assert_eq!(direct.bytes().len(), routed.bytes().len(), "{path} {headers:?}");
    }
}

#[tokio::test]
async fn uids_in_paths() {
    // WE-010
    let long = format!("/studies/{}", "1".repeat(65));
    for path in
        ["/studies/1.2x", "/studies/a/metadata", "/studies/1.2/series/x", &long, "/studies/%201.2", "/studies/%FF"]
    {
        let answer = send("GET", path, &[]).await;
        assert_eq!(answer.status, 400, "{path}");
        assert_eq!(answer.header("content-type"), "application/json", "{path}");
    }
    assert_eq!(send("GET", "/studies/1.002", &[]).await.status, 404);
}

#[tokio::test]
async fn both_bases_answer() {
    // WE-001
    let server = Server::default();
    for base in ["/dicomweb", "/dicom-web"] {
        let mut request = request("GET", "/studies", &[], Body::empty());
        *request.uri_mut() = format!("{base}/studies").parse().unwrap();
        assert_eq!(server.send(request).await.status(), 200, "{base}");
    }
}

#[tokio::test]
async fn preflight_is_not_the_capabilities() {
    // WE-005, WE-006, OHIF 2.1 row 14
    let asking = [
        ("origin", "http://localhost:3000"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type"),
    ];
    let answer = send("OPTIONS", "/studies", &asking).await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-origin"), "http://localhost:3000");
    assert_eq!(answer.header("access-control-allow-methods"), "GET, HEAD, POST, OPTIONS");
    assert_eq!(answer.header("access-control-allow-headers"), "content-type");
    for path in ["", "/", "/studies", "/studies/1.2/metadata"] {
        let answer = send("OPTIONS", path, &[("accept", "application/json")]).await;
        assert_eq!(answer.status, 200, "{path}");
        let resources = answer.json()["application"]["resources"]["resource"].as_array().unwrap().len();
        for accept in ["*/*", "application/vnd.sun.wadl+xml", "application/json;q=0.5, */*"] {
            let answer = send("OPTIONS", path, &[("accept", accept)]).await;
            assert_eq!(answer.header("content-type"), "application/vnd.sun.wadl+xml", "{path} {accept}");
            let wadl = answer.text();
            assert!(wadl.contains("<resources base=\"http://pacs:8080/dicomweb/\">"), "{wadl}");
            assert_eq!(wadl.matches("<resource path=").count(), resources);
            for element in ["resource", "method", "request", "response", "param"] {
                let open =
                    wadl.matches(&format!("<{element} ")).count() + wadl.matches(&format!("<{element}>")).count();
                let closed = wadl.matches(&format!("</{element}>")).count();
                let empty = wadl.split('<').filter(|e| e.starts_with(element) && e.contains("/>")).count();
                assert_eq!(open, closed + empty, "{element}");
            }
        }
        assert_eq!(send("OPTIONS", path, &[("accept", "text/plain")]).await.status, 406);
    }
    assert_eq!(send("OPTIONS", "/nothing", &[]).await.status, 404);
}

#[tokio::test]
async fn pages_of_other_origins_are_told_apart() {
    // WE-006, WE-007
    let answer = send("GET", "/studies", &[("origin", "http://127.0.0.1:3000")]).await;
    assert_eq!(answer.header("access-control-allow-origin"), "http://127.0.0.1:3000");
    for name in ["Content-Type", "Content-Location", "Warning", "ETag", "Location", "Retry-After"] {
        assert!(answer.header("access-control-expose-headers").contains(name), "{name}");
    }
    assert!(answer.headers.get_all("vary").iter().any(|value| value == "origin"));
    let evil = [("origin", "https://evil.example"), ("access-control-request-method", "GET")];
    assert_eq!(send("OPTIONS", "/studies", &evil).await.header("access-control-allow-origin"), "");
    assert_eq!(send("GET", "/studies", &evil[..1]).await.header("access-control-allow-origin"), "");
    let open = Options { cors: Cors::Any, ..Options::default() };
    let request = request("GET", "/studies", &evil[..1], Body::empty());
    let answer = Server::default().send_with(open, request).await;
    assert_eq!(answer.headers()["access-control-allow-origin"], "https://evil.example");
}

#[tokio::test]
async fn head_has_the_headers_of_get() {
    // WE-008
    for path in
        ["/studies", "/studies/1.2", "/studies/1.2/metadata", "/studies/1.2/series/1.2.1/instances/1.2.1.1/frames/1"]
    {
        let get = send("GET", path, &[]).await;
        let head = send("HEAD", path, &[]).await;
        assert_eq!((head.status, head.bytes().len()), (get.status, 0), "{path}");
        assert_eq!(head.header("content-length"), get.header("content-length"), "{path}");
        assert_eq!(head.header("etag"), get.header("etag"), "{path}");
    }
}

#[tokio::test]
async fn accept_as_parameter_and_character_sets() {
    // WE-025, WE-033
    let status = async |path, headers: &[(&str, &str)]| send("GET", path, headers).await.status.as_u16();
    assert_eq!(status("/studies?accept=application/dicom%2Bjson", &[]).await, 200);
    assert_eq!(status("/studies?accept=application/*", &[]).await, 400);
    assert_eq!(status("/studies?accept=application/json", &[("accept", "application/dicom+json")]).await, 406);
    assert_eq!(status("/studies", &[("accept", "application/dicom+json"), ("accept", "x")]).await, 200);
    assert_eq!(status("/studies", &[("accept", "application/dicom+xml")]).await, 406);
    assert_eq!(status("/studies", &[("accept-charset", "iso-8859-1, utf-8;q=0.5")]).await, 200);
    assert_eq!(status("/studies", &[("accept-charset", "iso-8859-1")]).await, 406);
}

#[tokio::test]
async fn json_is_compressed_when_asked_and_pixels_are_not() {
    // WE-034
    let server = Server::with((1..100).map(|n| instance(1, n, EXPLICIT)).collect());
    let gzip = [("accept-encoding", "gzip, deflate, br, zstd")];
    let answer = server.get("/studies/1.2/metadata", &gzip).await;
    assert_eq!(answer.header("content-encoding"), "gzip");
    assert!(answer.bytes().starts_with(&[0x1F, 0x8B]));
    let answer = server.get("/studies/1.2", &gzip).await;
    assert_eq!(answer.header("content-encoding"), "");
}

#[tokio::test]
async fn base_paths_as_operators_write_them() {
    // WE-001
    for (base, path) in [("x/y/", "/x/y/studies"), ("/", "/studies"), ("", "/studies")] {
        let options = Options { base_paths: vec![base.to_owned(), base.to_owned()], ..Options::default() };
        let mut request = request("GET", "", &[], Body::empty());
        *request.uri_mut() = path.parse().unwrap();
        assert_eq!(Server::default().send_with(options, request).await.status(), 200, "{base}");
    }
}

#[tokio::test]
async fn clients_without_the_right_are_refused() {
    let server = Server::with(vec![instance(1, 1, EXPLICIT)]);
    let status = async |rights, method, path: &str, headers: &[(&str, &str)], body: Vec<u8>| {
        let options = Options { rights, ..Options::default() };
        server.send_with(options, request(method, path, headers, body.into())).await.status().as_u16()
    };
    let instance = "/studies/1.2/series/1.2.1/instances/1.2.1.1";
    let gets = [
        (Right::Query, "/studies".to_owned()),
        (Right::Query, "/studies?limit=0".to_owned()),
        (Right::Retrieve, "/studies/1.2".to_owned()),
        (Right::Retrieve, "/studies/1.2/metadata".to_owned()),
        (Right::Retrieve, instance.to_owned()),
        (Right::Retrieve, format!("{instance}/frames/1")),
        (Right::Retrieve, format!("{instance}/bulkdata/00420011")),
    ];
    for (right, path) in gets {
        assert_eq!(status(Rights::ALL.without(right), "GET", &path, &[], Vec::new()).await, 403, "{path}");
        assert_ne!(status(Rights::NONE.with(right), "GET", &path, &[], Vec::new()).await, 403, "{path}");
    }
    let headers = [("content-type", store::TYPE)];
    let post = async |rights| status(rights, "POST", "/studies", &headers, store::body(&["1.2", "1.2"])).await;
    assert_eq!(post(Rights::ALL.without(Right::Store)).await, 403);
    assert!(server.0.state().received.is_empty());
    assert_eq!(post(Rights::NONE.with(Right::Store)).await, 200);
}

#[tokio::test]
async fn the_caller_of_a_connection_goes_before_the_rights_of_the_service() {
    let mut get = request("GET", "/studies", &[], Body::empty());
    get.extensions_mut().insert(Caller::new(Identity::default(), Rights::NONE));
    assert_eq!(Server::default().send(get).await.status(), 403);
}
