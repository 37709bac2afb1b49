//! C-STORE (CONFORMANCE 2.3).

use std::time::Duration;

use archive::double::{Fault, Identify};
use archive::{Error, Right, Rights};
use dicom_net::Rules;
use dicom_net::command::{CommandSet, element};
use tokio::io::AsyncWriteExt;

use crate::raw::*;

fn store_command(sop_instance_uid: &str) -> CommandSet {
    CommandSet::request(0x0001, 9, CT)
        .with_uid(element::AFFECTED_SOP_INSTANCE_UID, sop_instance_uid)
        .with_u16(element::PRIORITY, 0)
        .with_data_set()
}

fn ask() -> Ask {
    Ask::contexts(vec![context(1, CT, &[EXPLICIT]), context(3, "1.2.840.10008.5.1.4.1.1.4", &[EXPLICIT])])
}

async fn store(peer: &mut Peer, command: &CommandSet, context_id: u8, data: &[u8]) -> u16 {
    let mut stream = pdu(4, &value(context_id, 3, &command.encode()));
    for chunk in data.chunks(16_000) {
        stream.extend(pdu(4, &value(context_id, 0, chunk)));
    }
    stream.extend(pdu(4, &value(context_id, 2, &[]))); // UL-065
    peer.send(&stream).await;
    let response = peer.response().await;
    assert_eq!(response.responded_to(), Some(9));
    let comment = response.text(element::ERROR_COMMENT);
    assert_eq!(comment.is_some(), response.status().0 != 0, "{response:?}"); // DI-013
    response.status().0
}

#[tokio::test]
async fn bytes_arrive_as_sent_however_they_are_cut() {
    let running = start(|_| {}).await;
    let (mut peer, _) = Peer::associate(&running, &ask()).await;
    let data: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    assert_eq!(store(&mut peer, &store_command("1.2.3.1"), 1, &data).await, 0);
    assert_eq!(running.archive.data_set("1.2.3.1").unwrap(), data);
    // Command and data in one PDU, in many values (UL-064).
    let command = store_command("1.2.3.2").encode();
    let (begin, end) = command.split_at(50);
    let body = [value(1, 1, begin), value(1, 3, end), value(1, 0, b"da"), value(1, 0, b""), value(1, 2, b"ta")];
    peer.send(&pdu(4, &body.concat())).await;
    assert_eq!(peer.response().await.status().0, 0);
    assert_eq!(running.archive.data_set("1.2.3.2").unwrap(), "data");
    let (caller, origin) = running.archive.state().received[0].clone();
    assert_eq!(caller.calling_ae(), "PROBE");
    assert_eq!(caller.called_ae(), "FILMROOM");
    assert!(caller.address().unwrap().ip().is_loopback());
    assert_eq!(origin.transfer_syntax_uid.as_str(), EXPLICIT);
    peer.release().await;
}

#[tokio::test]
async fn di_014_di_033_a_refused_instance_is_drained_and_the_next_one_stored() {
    let running = start(|o| o.instance_bytes_max = 200_000).await;
    let (mut peer, _) = Peer::associate(&running, &ask()).await;
    let data = vec![1; 100_000];
    let usual = running.archive.state().identify;
    let unreadable = Identify { begin: |_| Err(Error::Malformed { offset: 0, reason: "as told" }), ..usual };
    let conflict = Identify { finish: |_, _| Err(Error::Conflict), ..usual };
    let refusals = [(Fault::Full, usual, 0xA700), (Fault::None, unreadable, 0xC000), (Fault::None, conflict, 0xC410)];
    for (fault, identify, status) in refusals {
        running.archive.state().fault = fault;
        running.archive.state().identify = identify;
        assert_eq!(store(&mut peer, &store_command("1.2.3.1"), 1, &data).await, status);
    }
    running.archive.state().identify = usual;
    assert_eq!(store(&mut peer, &store_command("1.2.3.4"), 1, &vec![1; 200_001]).await, 0xA700);
    assert_eq!(running.archive.state().instances.len(), 0);
    assert_eq!(store(&mut peer, &store_command("1.2.3.1"), 1, &data).await, 0);
    assert_eq!(running.archive.state().instances.len(), 1);
    peer.release().await;
}

#[tokio::test]
async fn st_065_di_015_commands_that_do_not_fit_are_answered_and_drained() {
    let running = start(|_| {}).await;
    let (mut peer, _) = Peer::associate(&running, &ask()).await;
    assert_eq!(store(&mut peer, &store_command("1.2.3.1"), 3, &vec![1; 50_000]).await, 0x0122);
    let no_instance = CommandSet::request(0x0001, 9, CT).with_data_set();
    assert_eq!(store(&mut peer, &no_instance, 1, &vec![1; 50_000]).await, 0x0117);
    let bad_instance = no_instance.with_uid(element::AFFECTED_SOP_INSTANCE_UID, "1.2.x");
    assert_eq!(store(&mut peer, &bad_instance, 1, &vec![1; 50_000]).await, 0x0117);
    let no_data = store_command("1.2.3.1").with_u16(element::DATA_SET_TYPE, 0x0101);
    peer.send(&pdu(4, &value(1, 3, &no_data.encode()))).await;
    assert_eq!(peer.response().await.status().0, 0xC000);
    assert_eq!(running.archive.state().instances.len(), 0);
    assert_eq!(store(&mut peer, &store_command("1.2.3.1"), 1, &[1; 10]).await, 0);
    peer.release().await;
}

#[tokio::test]
async fn di_037_an_abort_in_mid_object_leaves_the_earlier_objects_only() {
    let running = start(|o| o.associations_max = 1).await;
    let (mut peer, _) = Peer::associate(&running, &ask()).await;
    assert_eq!(store(&mut peer, &store_command("1.2.3.1"), 1, &[1; 10]).await, 0);
    let half = [value(1, 3, &store_command("1.2.3.2").encode()), value(1, 0, &[1; 1_000])];
    peer.send(&pdu(4, &half.concat())).await;
    peer.send(&pdu(7, &[0; 4])).await;
    peer.stream.shutdown().await.unwrap();
    peer.closed(Duration::from_secs(5)).await;
    assert_eq!(running.archive.state().instances.len(), 1);
}

#[tokio::test]
async fn ul_010_a_reset_while_the_disks_are_slow_frees_the_association() {
    let running = start(|o| o.associations_max = 1).await;
    running.archive.state().fault = Fault::Hangs;
    let (mut peer, _) = Peer::associate(&running, &ask()).await;
    let body = [value(1, 3, &store_command("1.2.3.2").encode()), value(1, 2, &[1; 1_000])];
    peer.send(&pdu(4, &body.concat())).await;
    socket2::SockRef::from(&peer.stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(peer);
    let begun = std::time::Instant::now();
    loop {
        let mut next = Peer::connect(&running).await;
        next.send(&Ask::default().pdu()).await;
        if next.read().await.0 == 2 {
            return next.release().await;
        }
        assert!(begun.elapsed() < Duration::from_secs(1), "the slot is free within 1 s");
    }
}

#[tokio::test]
async fn ul_012_a_running_store_is_finished_or_cut_off_at_the_deadline() {
    let running = start(|o| o.timeouts.shutdown = Duration::from_millis(300)).await;
    let (mut peer, _) = Peer::associate(&running, &ask()).await;
    let command = store_command("1.2.3.2").encode();
    peer.send(&pdu(4, &[value(1, 3, &command), value(1, 0, b"first")].concat())).await;
    let (mut other, _) = Peer::associate(&running, &ask()).await;
    running.archive.state().fault = Fault::Hangs;
    let hanging = [value(1, 3, &store_command("1.2.3.9").encode()), value(1, 2, b"x")];
    other.send(&pdu(4, &hanging.concat())).await;
    while running.archive.state().received.len() < 2 {
        tokio::task::yield_now().await;
    }
    running.cancel.cancel();
    peer.send(&pdu(4, &value(1, 2, b" last"))).await;
    assert_eq!(peer.response().await.status().0, 0);
    peer.aborted(ABORT_USER).await;
    other.aborted(ABORT_USER).await;
    drop((peer, other));
    tokio::time::timeout(Duration::from_secs(5), running.task).await.unwrap().unwrap();
    assert_eq!(running.archive.data_set("1.2.3.2").unwrap(), "first last");
}

#[tokio::test]
async fn ul_068_a_peer_that_does_not_wait_for_responses_loses_nothing() {
    let running = start(|_| {}).await;
    running.archive.state().fault = Fault::Slow;
    let (mut peer, _) = Peer::associate(&running, &ask()).await;
    let mut stream = Vec::new();
    for (n, data) in [b"one", b"two", b"six"].into_iter().enumerate() {
        let command = store_command(&format!("1.2.3.{n}")).encode();
        stream.extend(pdu(4, &value(1, 3, &command)));
        stream.extend(pdu(4, &value(1, 2, data)));
    }
    stream.extend(pdu(5, &[0; 4]));
    peer.send(&stream).await;
    for _ in 0..3 {
        assert_eq!(peer.response().await.status().0, 0);
    }
    assert_eq!(peer.read().await.0, 6, "released after the last response (UL-025)");
    assert_eq!(running.archive.data_set("1.2.3.1").unwrap(), "two");
    assert_eq!(running.archive.data_set("1.2.3.2").unwrap(), "six");
}

#[tokio::test]
async fn a_peer_without_the_right_is_refused_and_the_association_goes_on() {
    let probe = "PROBE".parse().unwrap();
    let may_not = |right| Rules { rights: Rights::ALL.without(right), ..Rules::default() };
    let running = start(|o| drop(o.rules_of.insert(probe, may_not(Right::Store)))).await;
    let (mut peer, _) = Peer::associate(&running, &ask()).await;
    for uid in ["1.2.3.1", "1.2.3.2"] {
        assert_eq!(store(&mut peer, &store_command(uid), 1, &vec![1; 50_000]).await, 0x0124);
    }
    peer.release().await;
    assert!(running.archive.state().received.is_empty());
    let other = Ask { calling: b"OTHER           ".to_vec(), ..ask() };
    let (mut peer, _) = Peer::associate(&running, &other).await;
    assert_eq!(store(&mut peer, &store_command("1.2.3.1"), 1, b"data").await, 0);
    peer.release().await;
}
