//! Store requests broken in every way: each gets the status that says so, and nothing half done stays behind.

use axum::body::Body;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::server::{EXPLICIT, Server};
use crate::sockets::connect;
use crate::store::{TYPE, body, file_in, post, reasons};

/// Statuses that a broken store request may have: never 500, and 200 only when everything is stored.
const ANSWERS: [u16; 8] = [200, 202, 400, 408, 409, 413, 415, 503];

#[tokio::test]
async fn content_types_without_a_usable_boundary() {
    // WE-160, WE-162, WE-164
    let long = format!("multipart/related; boundary={}", "b".repeat(257));
    let longest = format!("multipart/related; boundary={}", "b".repeat(256));
    let with = |content_type: &'static str| content_type.to_owned();
    for (content_type, status) in [
        (with("multipart/related"), 400),
        (with("multipart/related; boundary="), 400),
        (with("multipart/related; boundary=\"\""), 400),
        (long, 400),
        (longest, 400),
        (with("multipart/related; boundary=\"x"), 415),
        (with("multipart/related; boundary=x; type=\"a\" b"), 415),
        (with("multipart/form-data; boundary=x"), 415),
        (with("multipart/mixed; boundary=x"), 415),
        (with("text/plain"), 415),
        (with("application/dicom+xml"), 415),
        (with("*/*"), 415),
        (with(";;;"), 415),
        (with(""), 415),
    ] {
        let answer = post(&Server::default(), "/studies", &content_type, body(&["1.2"])).await;
        assert_eq!(answer.status, status, "{content_type}");
    }
}

#[tokio::test]
async fn bodies_that_are_no_multipart() {
    // WE-164, WE-165
    let server = Server::default();
    let headers = |line: String| format!("--x\r\n{line}\r\n\r\nA\r\n--x--").into_bytes();
    for (name, body, status) in [
        ("nothing", Vec::new(), 400),
        ("no delimiter", vec![b'a'; 70_000], 400),
        ("another boundary", b"--y\r\n\r\nA\r\n--y--".to_vec(), 400),
        ("only the end", b"--x--".to_vec(), 400),
        ("no end", b"--x\r\n\r\nA".to_vec(), 400),
        ("headers only", b"--x\r\nContent-Type: application/dicom\r\n".to_vec(), 400),
        ("a header line of 20 KiB", headers(format!("A: {}", "a".repeat(20_480))), 400),
        ("10,000 header lines", headers("A: b\r\n".repeat(10_000)), 400),
        ("a header line that is no text", b"--x\r\n\xFF\xFE: \0\r\n\r\nA\r\n--x--".to_vec(), 409),
        ("a part of another type", headers("Content-Type: image/jpeg".to_owned()), 409),
        ("a type that is none", headers("Content-Type: \"".to_owned()), 409),
        ("empty parts", b"--x\r\n\r\n\r\n--x\r\n\r\n\r\n--x--".to_vec(), 409),
        ("only line feeds", b"\n".repeat(60_000), 400),
        ("a boundary in every line", b"\r\n--xy".repeat(10_000), 400),
    ] {
        let answer = post(&server, "/studies", TYPE, body).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.text());
    }
    assert!(server.0.state().stored.is_empty());
}

#[tokio::test]
async fn a_multipart_in_a_part_is_no_instance() {
    // WE-164
    let inner = [b"--y\r\n\r\n".to_vec(), file_in(EXPLICIT, 1, "1.2"), b"\r\n--y--".to_vec()].concat();
    let mut nested = b"--x\r\nContent-Type: multipart/related; boundary=y\r\n\r\n".to_vec();
    nested.extend(&inner);
    nested.extend(b"\r\n--x\r\nContent-Type: application/dicom\r\n\r\n");
    nested.extend(&inner);
    nested.extend(b"\r\n--x--");
    let answer = post(&Server::default(), "/studies", TYPE, nested).await;
    assert_eq!((answer.status.as_u16(), reasons(&answer.json())), (409, (vec![], vec![0xC000, 0xC000])));
}

#[tokio::test]
async fn parts_that_are_no_instances_are_refused_when_they_are_too_many() {
    // WE-165: 100,000 empty parts in 1 MB
    let few = [b"--x\r\n\r\n\r\n".repeat(9_000), b"--x--".to_vec()].concat();
    assert_eq!(post(&Server::default(), "/studies", TYPE, few).await.status, 409);
    let mut many = body(&["1.2"]);
    many.truncate(many.len() - 7);
    many.extend(b"--x\r\n\r\n\r\n".repeat(100_000));
    many.extend(b"--x--");
    let answer = post(&Server::default(), "/studies", TYPE, many).await;
    assert_eq!(answer.status, 413);
    assert!(answer.text().contains("1 instances that came before are stored"), "{}", answer.text());
}

#[tokio::test]
async fn requests_that_http_cannot_frame() {
    // WE-164
    let head =
        |more: &str| format!("POST /dicomweb/studies HTTP/1.1\r\nHost: x\r\nContent-Type: {TYPE}\r\n{more}\r\n\r\n");
    let whole = body(&["1.2"]);
    let chunk = [format!("{:x}\r\n", whole.len()).into_bytes(), whole.clone(), b"\r\n".to_vec()].concat();
    let length = format!("Content-Length: {}", whole.len() + 10);
    for (name, head, body, status) in [
        ("chunks that are none", head("Transfer-Encoding: chunked"), b"zz\r\n\r\n".to_vec(), "400"),
        ("a chunk of 2^64 bytes", head("Transfer-Encoding: chunked"), b"FFFFFFFFFFFFFFFFF\r\n".to_vec(), "400"),
        ("no last chunk", head("Transfer-Encoding: chunked"), chunk, "400"),
        ("a length that is too long", head(&length), whole.clone(), "400"),
        ("a length that is too short", head("Content-Length: 20"), whole.clone(), "400"),
        ("a length that is none", head("Content-Length: ten"), whole.clone(), "400"),
        ("two lengths", head("Content-Length: 10\r\nContent-Length: 20"), whole.clone(), "400"),
    ] {
        let server = Server::default();
        let mut connection = connect(&server).await;
        connection.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
        connection.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _reset = connection.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        // Who hangs up in the middle may find that nobody answers any more.
        let gone = answer.is_empty() && (name.starts_with("no last") || name.contains("too long"));
        assert!(gone || answer.starts_with(&format!("HTTP/1.1 {status}")), "{name}: {answer}");
        assert_eq!(server.0.state().filing, 0, "{name}");
    }
}

#[tokio::test]
async fn ih_011_damaged_bodies_have_an_answer() {
    let cases = std::env::var("FILMROOM_HOSTILE_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000);
    let whole = body(&["1.2", "1.2 b", "1.3"]);
    for seed in 0..cases {
        let mut damaged = whole.clone();
        testdata::damage(&mut damaged, seed);
        let pieces: Vec<Result<Vec<u8>, std::io::Error>> =
            damaged.chunks(1 + usize::try_from(seed).unwrap() % 200).map(|piece| Ok(piece.to_vec())).collect();
        let body = Body::from_stream(futures_util::stream::iter(pieces));
        let server = Server::default();
        let answer = post(&server, "/studies", TYPE, body).await;
        assert!(ANSWERS.contains(&answer.status.as_u16()), "seed {seed}: {}", answer.status);
        assert_eq!(server.0.state().filing, 0, "seed {seed}");
        if answer.status == 200 {
            assert!(!server.0.state().stored.is_empty(), "seed {seed}");
        }
    }
}
