//! C-STORE (CONFORMANCE 2.3).

use std::time::Duration;

use dicom_net::command::{CommandSet, element};
use tokio::io::AsyncWriteExt;

use crate::memory::Fault;
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
    assert_eq!(running.memory.data_set("1.2.3.1").unwrap(), data);
    // Command and data in one PDU, in many values (UL-064).
    let command = store_command("1.2.3.2").encode();
    let (begin, end) = command.split_at(50);
    let body = [value(1, 1, begin), value(1, 3, end), value(1, 0, b"da"), value(1, 0, b""), value(1, 2, b"ta")];
    peer.send(&pdu(4, &body.concat())).await;
    assert_eq!(peer.response().await.status().0, 0);
    assert_eq!(running.memory.data_set("1.2.3.2").unwrap(), "data");
    let origins = running.memory.origins();
    assert_eq!(origins[0].calling_ae, "PROBE");
    assert_eq!(origins[0].called_ae, "FILMROOM");
    assert_eq!(origins[0].transfer_syntax_uid.as_str(), EXPLICIT);
    peer.release().await;
}

#[tokio::test]
async fn di_014_di_033_a_refused_instance_is_drained_and_the_next_one_stored() {
    let running = start(|o| o.instance_bytes_max = 200_000).await;
    let (mut peer, _) = Peer::associate(&running, &ask()).await;
    let data = vec![1; 100_000];
    for (fault, status) in [(Fault::Full, 0xA700), (Fault::WriteFails, 0xC000), (Fault::Conflict, 0xC410)] {
        running.memory.set_fault(fault);
        assert_eq!(store(&mut peer, &store_command("1.2.3.1"), 1, &data).await, status);
    }
    running.memory.set_fault(Fault::None);
    assert_eq!(store(&mut peer, &store_command("1.2.3.4"), 1, &vec![1; 200_001]).await, 0xA700);
    assert_eq!(running.memory.len(), 0);
    assert_eq!(store(&mut peer, &store_command("1.2.3.1"), 1, &data).await, 0);
    assert_eq!(running.memory.len(), 1);
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
    assert_eq!(running.memory.len(), 0);
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
    assert_eq!(running.memory.len(), 1);
}

#[tokio::test]
async fn ul_010_a_reset_while_the_disks_are_slow_frees_the_association() {
    let running = start(|o| o.associations_max = 1).await;
    running.memory.set_fault(Fault::Hangs);
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
    running.memory.set_fault(Fault::Hangs);
    let hanging = [value(1, 3, &store_command("1.2.3.9").encode()), value(1, 2, b"x")];
    other.send(&pdu(4, &hanging.concat())).await;
    while running.memory.origins().len() < 2 {
        tokio::task::yield_now().await;
    }
    running.cancel.cancel();
    peer.send(&pdu(4, &value(1, 2, b" last"))).await;
    assert_eq!(peer.response().await.status().0, 0);
    peer.aborted(ABORT_USER).await;
    other.aborted(ABORT_USER).await;
    drop((peer, other));
    tokio::time::timeout(Duration::from_secs(5), running.task).await.unwrap().unwrap();
    assert_eq!(running.memory.data_set("1.2.3.2").unwrap(), "first last");
}

#[tokio::test]
async fn ul_068_a_peer_that_does_not_wait_for_responses_loses_nothing() {
    let running = start(|_| {}).await;
    running.memory.set_fault(Fault::Slow);
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
    assert_eq!(running.memory.data_set("1.2.3.1").unwrap(), "two");
    assert_eq!(running.memory.data_set("1.2.3.2").unwrap(), "six");
}
