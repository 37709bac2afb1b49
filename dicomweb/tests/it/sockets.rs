//! What only shows on a real connection.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use archive::double::{Endless, Instance, Reading};
use dicom_data::write_file_meta;
use dicomweb::{Options, router};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::server::{EXPLICIT, Server, instance, uid};

/// What the sockets of both sides, hyper and the kernel may hold of an answer that is not read.
const IN_TRANSIT_BYTES_MAX: u64 = 32 << 20;

pub(crate) async fn connect(server: &Server) -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = router(server.0.clone(), Options::default());
    tokio::spawn(async move { axum::serve(listener, service).await });
    TcpStream::connect(address).await.unwrap()
}

/// Reads until this text has come; returns everything up to and with it.
pub(crate) async fn read_until(connection: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    while !read.ends_with(end.as_bytes()) {
        read.push(connection.read_u8().await.unwrap());
    }
    String::from_utf8(read).unwrap()
}

fn endless() -> (Server, Arc<Endless>) {
    let endless = Arc::new(Endless::default());
    let mut instance = Instance { reading: Reading::Endless(Arc::clone(&endless)), ..instance(1, 1, EXPLICIT) };
    instance.instance.bytes = 1 << 40;
    (Server::with(vec![instance]), endless)
}

#[tokio::test]
async fn a_lost_instance_aborts_the_connection() {
    // WE-082
    let lost = Instance { reading: Reading::BreaksAt(14), ..instance(1, 2, EXPLICIT) };
    // More than hyper gathers before it sends, so that the answer has begun when the instance is missed.
    let mut large = instance(1, 1, EXPLICIT);
    large.data_set = vec![0; 4 << 20].into();
    large.instance.bytes = 4 << 20;
    large.metadata = format!("\"{}\"", "a".repeat(4 << 20)).into();
    let server = Server::with(vec![large, lost]);
    for path in ["/studies/1.2", "/studies/1.2/metadata"] {
        let mut connection = connect(&server).await;
        let request = format!("GET /dicomweb{path} HTTP/1.1\r\nHost: x\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // An orderly end and a reset are both unlike a whole answer.
        let _end = connection.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(!answer.ends_with("--\r\n") && !answer.ends_with("0\r\n\r\n"), "{answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        assert!(length.is_none_or(|length| length.parse::<usize>().unwrap() > body.len()), "{answer}");
    }
}

#[tokio::test]
async fn a_client_that_goes_away_ends_the_reading() {
    // WE-085
    let (server, endless) = endless();
    let mut connection = connect(&server).await;
    connection.write_all(b"GET /dicomweb/studies/1.2 HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    read_until(&mut connection, "DICM").await;
    drop(connection);
    let gone = tokio::time::timeout(Duration::from_secs(1), endless.dropped.notified()).await;
    assert!(gone.is_ok(), "the archive is still being read");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_slows_the_archive_down() {
    // WE-084
    let (server, endless) = endless();
    let mut connection = connect(&server).await;
    connection.write_all(b"GET /dicomweb/studies/1.2 HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut taken = vec![0; 1 << 20];
    for taken_bytes in (0_u64..128 << 20).step_by(taken.len()) {
        let given_bytes = endless.given_bytes.load(Ordering::SeqCst);
        assert!(given_bytes < taken_bytes + IN_TRANSIT_BYTES_MAX, "{given_bytes} given, {taken_bytes} taken");
        connection.read_exact(&mut taken).await.unwrap();
    }
}

#[tokio::test]
async fn chunked_bodies_and_kept_connections() {
    // WE-038
    let server = Server::default();
    let mut connection = connect(&server).await;
    let head = "POST /dicomweb/studies HTTP/1.1\r\nHost: x\r\nContent-Type: application/dicom\r\n\
        Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n";
    connection.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(read_until(&mut connection, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    let mut file = write_file_meta(&uid("1.2.840.10008.5.1.4.1.1.2"), &uid("1.8"), &uid(EXPLICIT), None);
    file.extend_from_slice(b"1.2 of a study");
    for chunk in file.chunks(100) {
        connection.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).await.unwrap();
        connection.write_all(chunk).await.unwrap();
        connection.write_all(b"\r\n").await.unwrap();
    }
    connection.write_all(b"0\r\n\r\n").await.unwrap();
    let head = read_until(&mut connection, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut answer = vec![0; length.parse().unwrap()];
    connection.read_exact(&mut answer).await.unwrap();
    // Past the study that was just stored.
    let request = b"GET /dicomweb/studies?offset=1 HTTP/1.1\r\nHost: x\r\n\r\n";
    connection.write_all(request).await.unwrap();
    let answer = read_until(&mut connection, "\r\n\r\n[]").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}
