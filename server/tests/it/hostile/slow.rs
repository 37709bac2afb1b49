//! Clients that ask for much and take it slowly: each may keep a little of the server's memory, all together a bounded part.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use super::peer::{Peer, data_set};
use crate::filmroom::{Place, Server};

/// What each reads before it rests.
const SIP_BYTES: u64 = 256 << 10;
/// Memory that all readers of instances may take together.
const INSTANCES_KIB_MAX: u64 = 128 * 1024;
/// Memory that all searching clients may take: rows and connections' buffers among it, of rows ten times as long as usual.
const SEARCHES_KIB_MAX: u64 = 224 * 1024;

/// Asks for a path with many clients, each of which reads a little; returns them and the most memory the server had.
fn read_slowly(server: &Server, readers: usize, path: &str, accept: &str) -> (Vec<TcpStream>, u64) {
    let ask = || {
        let mut stream = TcpStream::connect(&server.http).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n").unwrap();
        let mut sip = Vec::new();
        (&mut stream).take(SIP_BYTES).read_to_end(&mut sip).unwrap();
        assert!(sip.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&sip));
        stream
    };
    let readers = thread::scope(|scope| {
        let asking: Vec<_> = (0..readers).map(|_| scope.spawn(ask)).collect();
        asking.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(server.get("/dicomweb/studies?limit=1").starts_with("HTTP/1.0 200"), "others are served");
    (readers, server.memory_kib().1)
}

#[test]
fn slow_readers_of_long_instances_take_bounded_memory() {
    // ST-075, WE-084: eight instances are opened ahead, a long one in pieces of 1 MiB
    let place = Place::new("");
    let server = place.serve();
    let mut peer = Peer::associate(&server.dicom);
    for number in 0..12 {
        let uid = format!("1.2.3.{number}");
        let pixels = [&[0xE0, 0x7F, 0x10, 0, b'O', b'W', 0, 0, 0, 0, 0x40, 0][..], &vec![7; 4 << 20]].concat();
        assert_eq!(peer.store(&uid, &[data_set(&uid), pixels].concat()), 0);
    }
    let (rest_kib, _) = server.memory_kib();
    let accept = "multipart/related; type=\"application/dicom\"; transfer-syntax=*";
    let (readers, most_kib) = read_slowly(&server, 100, "/dicomweb/studies/1.2.9", accept);
    assert!(most_kib < rest_kib + INSTANCES_KIB_MAX, "{rest_kib} KiB at rest, {most_kib} KiB at most");
    let mut all = usize::try_from(SIP_BYTES).unwrap();
    let mut first = readers.into_iter().next().unwrap();
    let mut piece = vec![0; 1 << 20];
    while all < 12 * (4 << 20) {
        let read = first.read(&mut piece).unwrap();
        assert!(read > 0, "cut after {all} bytes");
        all += read;
    }
}

#[test]
fn slow_readers_of_long_search_answers_take_bounded_memory() {
    // WE-059: a page of 8 MB
    let place = Place::new("");
    let server = place.serve();
    let mut peer = Peer::associate(&server.dicom);
    let comments = [&[0x10, 0, 0, 0x40, b'L', b'T', 0x40, 0x1F][..], &[b'c'; 8_000]].concat();
    for number in 0..1_000 {
        let (sop, study, series) = (format!("1.2.3.{number}"), format!("1.2.9.{number}"), format!("1.2.9.{number}.1"));
        let of = |tag: [u8; 4], uid: &str| {
            let padded = [uid.as_bytes(), if uid.len().is_multiple_of(2) { &[][..] } else { &[0] }].concat();
            let bytes = u16::try_from(padded.len()).unwrap().to_le_bytes();
            [&tag[..], b"UI", &bytes, &padded].concat()
        };
        let class = of([8, 0, 0x16, 0], "1.2.840.10008.5.1.4.1.1.2");
        let uids = [of([8, 0, 0x18, 0], &sop), comments.clone(), of([0x20, 0, 0x0D, 0], &study)].concat();
        assert_eq!(peer.store(&sop, &[class, uids, of([0x20, 0, 0x0E, 0], &series)].concat()), 0);
    }
    let path = "/dicomweb/studies?limit=1000&includefield=all";
    let whole = server.get(path);
    assert!(whole.len() > 8_000_000 && whole.ends_with(']'), "{} bytes", whole.len());
    let (rest_kib, _) = server.memory_kib();
    let (_readers, most_kib) = read_slowly(&server, 40, path, "application/dicom+json");
    assert!(most_kib < rest_kib + SEARCHES_KIB_MAX, "{rest_kib} KiB at rest, {most_kib} KiB at most");
}
