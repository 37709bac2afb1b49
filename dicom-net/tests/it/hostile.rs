//! Peers that break the upper layer on purpose (CONFORMANCE section 1), and streams damaged by seed: each ends in an
//! answer, an abort or a close, and nothing stays behind.

use std::time::Duration;

use archive::Services as _;
use dicom_net::command::{CommandSet, element};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use crate::raw::*;

const SOON: Duration = Duration::from_secs(20);
/// Damaged streams at a time.
const PEERS: u64 = 16;

#[tokio::test]
async fn ul_001_several_titles_share_a_port() {
    let running = start(|o| o.ae_titles.push("SECOND".parse().unwrap())).await;
    for called in [b"FILMROOM        ", b"SECOND          "] {
        let (peer, _) = Peer::associate(&running, &Ask { called: called.to_vec(), ..Ask::default() }).await;
        peer.release().await;
    }
}

#[tokio::test]
async fn ul_008_a_pdu_that_stops_in_the_middle_is_aborted() {
    let running = start(|o| o.timeouts.pdu_read = Duration::from_millis(100)).await;
    for half in [&[4, 0, 0][..], &pdu(4, &value(1, 3, b"command"))[..14]] {
        let (mut peer, _) = Peer::associate(&running, &Ask::default()).await;
        peer.send(half).await;
        peer.aborted(ABORT_USER).await;
    }
}

#[tokio::test]
async fn ul_020_ul_024_fixed_pdus_of_another_length_are_aborted() {
    let running = start(|_| {}).await;
    for kind in [5, 6, 7] {
        for length in [0_u32, 3, 5, u32::MAX] {
            let (mut peer, _) = Peer::associate(&running, &Ask::default()).await;
            peer.send(&[&[kind, 0][..], &length.to_be_bytes()].concat()).await;
            peer.aborted(INVALID_PARAMETER).await;
        }
    }
}

#[tokio::test]
async fn ul_021_reserved_bytes_are_not_tested() {
    let running = start(|_| {}).await;
    let (mut peer, _) = Peer::associate(&running, &Ask { reserved: [0xA5; 32], ..Ask::default() }).await;
    let command = CommandSet::request(0x0030, 1, VERIFICATION).encode();
    let mut echo = pdu(4, &value(1, 0xFF, &command));
    echo[1] = 0xEE;
    peer.send(&echo).await;
    assert_eq!(peer.response().await.status().0, 0);
    peer.send(&[5, 0xFF, 0, 0, 0, 4, 0xFF, 0xFF, 0xFF, 0xFF]).await;
    assert_eq!(peer.read().await.0, 6);
}

#[tokio::test]
async fn ul_023_answers_to_nothing_are_aborted() {
    let running = start(|_| {}).await;
    for kind in [2, 3, 6] {
        let (mut peer, _) = Peer::associate(&running, &Ask::default()).await;
        peer.send(&pdu(kind, &[0; 4])).await;
        peer.aborted(UNEXPECTED_PDU).await;
    }
}

#[tokio::test]
async fn ul_026_ul_027_requests_full_of_nothing_are_refused() {
    let running = start(|_| {}).await;
    for (kind, length) in [(0x00, 0xFFFF), (0x10, 0xFFFF), (0x20, 4), (0x50, 0), (0xFF, 1)] {
        let one = item(kind, &vec![0; length]);
        let body = [&Ask::default().pdu()[6..74], &one.repeat(1_000_000 / one.len())].concat();
        let mut peer = Peer::connect(&running).await;
        peer.send(&pdu(1, &body)).await;
        let (kind, body) = peer.read().await;
        assert!(matches!((kind, &body[..]), (7, [_, _, 2, _]) | (3, _)), "{kind} {body:?}");
    }
}

#[tokio::test]
async fn ul_063_values_that_leave_their_pdu_are_aborted() {
    let running = start(|_| {}).await;
    let long = [&u32::MAX.to_be_bytes()[..], &[1, 3]].concat();
    let two = [value(1, 1, b"one"), vec![0, 0, 0, 9, 1, 3]].concat();
    for body in [&[][..], &[0, 0, 0, 2, 1], &[0, 0, 0, 0, 1, 3], &[0, 0, 0, 1, 1, 3], &long, &two] {
        let (mut peer, _) = Peer::associate(&running, &Ask::default()).await;
        peer.send(&pdu(4, body)).await;
        peer.aborted(INVALID_PARAMETER).await;
    }
}

#[tokio::test]
async fn ul_064_fragments_out_of_their_place_are_aborted() {
    let running = start(|_| {}).await;
    let ask = Ask::contexts(vec![context(1, CT, &[EXPLICIT]), context(3, VERIFICATION, &[IMPLICIT])]);
    let command = store("1.2.3.1").encode();
    let endless = value(1, 1, &[0; 16_000]).repeat(5);
    for body in [
        value(1, 2, b"data where a command must be"),
        [value(1, 1, b"half a command"), value(3, 3, b"rest in another context")].concat(),
        [value(1, 3, &command), value(3, 2, b"data in another context")].concat(),
        [value(1, 3, &command), value(1, 3, b"command where data must be")].concat(),
        endless,
        value(1, 3, b"no command set"),
    ] {
        let (mut peer, _) = Peer::associate(&running, &ask).await;
        peer.send(&pdu(4, &body)).await;
        peer.aborted(INVALID_PARAMETER).await;
    }
}

#[tokio::test]
async fn ul_012_ul_025_a_release_in_the_middle_of_a_message_is_aborted() {
    let running = start(|_| {}).await;
    let (mut peer, _) = Peer::associate(&running, &ask()).await;
    peer.send(&pdu(4, &value(1, 3, &store("1.2.3.1").encode()))).await;
    peer.send(&pdu(5, &[0; 4])).await;
    peer.aborted(UNEXPECTED_PDU).await;
    assert_eq!(running.archive.state().instances.len(), 0);
}

#[tokio::test]
async fn ih_011_damaged_streams_end_and_leave_nothing_behind() {
    let running = start(|o| o.timeouts.artim = Duration::from_secs(1)).await;
    let cases = std::env::var("FILMROOM_HOSTILE_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000);
    let (mut peers, mut rss_kib) = (JoinSet::new(), 0);
    for seed in 0..cases {
        if seed >= PEERS {
            peers.join_next().await.unwrap().unwrap();
        }
        if seed == 1_000 {
            rss_kib = resident_kib();
        }
        let peer = Peer::connect(&running).await;
        peers.spawn(async move {
            let ended = tokio::time::timeout(SOON, damaged_session(peer, seed)).await;
            ended.unwrap_or_else(|_| panic!("seed {seed}: neither an end nor an answer"));
        });
    }
    while let Some(peer) = peers.join_next().await {
        peer.unwrap();
    }
    let grown_kib = resident_kib().saturating_sub(rss_kib);
    assert!(cases <= 1_000 || grown_kib < 64 * 1024, "{grown_kib} KiB more after {cases} cases");
    let (mut peer, _) = Peer::associate(&running, &Ask::default()).await;
    peer.echo(1).await;
    running.cancel.cancel();
    drop(peer);
    tokio::time::timeout(SOON, running.task).await.unwrap().unwrap();
    assert!(running.archive.metrics().encode().contains("associations 0\n"));
}

/// Sends a damaged session and reads until the server closes; all that it says must be PDUs.
async fn damaged_session(mut peer: Peer, seed: u64) {
    let mut stream = session();
    // Half of them are whole up to the association's establishment, so that the damage comes to messages.
    let whole = if seed.is_multiple_of(2) { ask().pdu().len() } else { 0 };
    let mut tail = stream.split_off(whole);
    testdata::damage(&mut tail, seed);
    stream.extend(tail);
    // The server may close before it has read all.
    let sent = peer.stream.write_all(&stream).await.is_ok() && peer.stream.shutdown().await.is_ok();
    let mut said = Vec::new();
    let read = peer.stream.read_to_end(&mut said).await;
    if sent && read.is_ok() {
        check_pdus(&said, seed);
    }
}

fn check_pdus(mut said: &[u8], seed: u64) {
    while !said.is_empty() {
        let length = u32::from_be_bytes(said[2..6].try_into().unwrap()) as usize;
        assert!(matches!(said[0], 2 | 3 | 4 | 6 | 7) && said.len() >= 6 + length, "seed {seed}: {said:?}");
        said = &said[6 + length..];
    }
}

fn session() -> Vec<u8> {
    let command = store("1.2.3.1").encode();
    let (begin, end) = command.split_at(60);
    let echo = CommandSet::request(0x0030, 7, VERIFICATION).encode();
    let data = [value(1, 0, &[b'x'; 300]), value(1, 2, b"last")].concat();
    [
        ask().pdu(),
        pdu(4, &[value(1, 1, begin), value(1, 3, end)].concat()),
        pdu(4, &data),
        pdu(4, &value(3, 3, &echo)),
        pdu(4, &[value(1, 3, &command), value(1, 2, b"short")].concat()),
        pdu(5, &[0; 4]),
    ]
    .concat()
}

fn ask() -> Ask {
    Ask::contexts(vec![context(1, CT, &[EXPLICIT]), context(3, VERIFICATION, &[IMPLICIT])])
}

fn store(sop_instance_uid: &str) -> CommandSet {
    CommandSet::request(0x0001, 9, CT)
        .with_uid(element::AFFECTED_SOP_INSTANCE_UID, sop_instance_uid)
        .with_u16(element::PRIORITY, 0)
        .with_data_set()
}

/// Memory of this process that is in use.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
