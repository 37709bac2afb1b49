//! C-MOVE and C-GET (CONFORMANCE 2.6, 2.7).

use std::collections::BTreeMap;
use std::time::Duration;

use archive::double::Reading;
use archive::{Right, Rights};
use bytes::Bytes;
use dicom_core::{Tag, VR};
use dicom_net::client::{Proposal, Received, Retrieved};
use dicom_net::command::{CommandSet, element};
use dicom_net::{Destination, Rules, Status};

use crate::query::{client, fill, identifier};
use crate::raw::*;

const STUDY_MOVE: &str = "1.2.840.10008.5.1.4.1.2.2.2";
const STUDY_GET: &str = "1.2.840.10008.5.1.4.1.2.2.3";
const MR: &str = "1.2.840.10008.5.1.4.1.1.4";
const RLE: &str = "1.2.840.10008.1.2.5";
const STUDY_UID: Tag = Tag(0x0020, 0x000D);
const SOP_UID: Tag = Tag(0x0008, 0x0018);

fn study(uid: &str) -> dicom_data::Attributes {
    identifier("STUDY", &[(STUDY_UID, VR::UI, uid)])
}

/// A server that knows another server as `SINK`, and the other one.
async fn pair(sink_rules: Rules) -> (Running, Running) {
    let sink = start(|o| {
        o.accept_any_called_ae = true;
        o.rules = sink_rules;
    })
    .await;
    let host_port = sink.address.to_string();
    let source = start(|o| {
        o.destinations.insert("SINK".parse().unwrap(), Destination { host_port });
        let host_port = "127.0.0.1:1".to_owned();
        o.destinations.insert("DEAD".parse().unwrap(), Destination { host_port });
        o.timeouts.pending_every = Duration::from_millis(50);
    })
    .await;
    (source, sink)
}

async fn move_to(running: &Running, destination: &str, keys: &dicom_data::Attributes) -> Retrieved {
    let mut client = client(running, &[Proposal::new(STUDY_MOVE, &[EXPLICIT])]).await;
    let retrieved = client.move_to(STUDY_MOVE, &destination.parse().unwrap(), keys).await.unwrap();
    client.release().await.unwrap();
    retrieved
}

fn retrieved(status: u16, completed: u16, failed: u16) -> Retrieved {
    Retrieved { status: Status(status), completed, failed, warning: 0 }
}

#[tokio::test]
async fn di_050_di_055_di_083_a_move_sends_the_stored_bytes() {
    let (source, sink) = pair(Rules::default()).await;
    fill(&source, &["1.1.1.1", "1.1.1.2", "1.2.1.1"]).await;
    assert_eq!(move_to(&source, "SINK", &study("1.1")).await, retrieved(0, 2, 0));
    assert_eq!(sink.archive.state().instances.len(), 2);
    assert_eq!(sink.archive.data_set("1.1.1.2"), source.archive.data_set("1.1.1.2"));
    let (caller, origin) = sink.archive.state().received.remove(0);
    assert_eq!((caller.calling_ae(), caller.called_ae()), ("FILMROOM", "SINK"));
    assert_eq!(origin.transfer_syntax_uid.as_str(), EXPLICIT);
}

#[tokio::test]
async fn di_081_di_082_di_089_unknown_and_dead_destinations_and_nothing_to_send() {
    let (source, _sink) = pair(Rules::default()).await;
    fill(&source, &["1.1.1.1"]).await;
    assert_eq!(move_to(&source, "NOBODY", &study("1.1")).await, retrieved(0xA801, 0, 0));
    assert_eq!(move_to(&source, "DEAD", &study("1.1")).await, retrieved(0xA702, 0, 1));
    assert_eq!(move_to(&source, "SINK", &study("1.9")).await, retrieved(0, 0, 0));
    let everything = identifier("STUDY", &[]);
    assert_eq!(move_to(&source, "SINK", &everything).await.status.0, 0xA900);
}

#[tokio::test]
async fn di_092_what_the_destination_refuses_is_counted_and_the_rest_sent() {
    let rules = Rules { transfer_syntaxes: Some(vec![EXPLICIT.to_owned()]), ..Rules::default() };
    let (source, sink) = pair(rules).await;
    fill(&source, &["1.1.1.1"]).await;
    let mut client = client(&source, &[Proposal::new(MR, &[RLE])]).await;
    client.store(MR, "1.1.1.2", RLE, Bytes::from_static(b"rle")).await.unwrap();
    client.release().await.unwrap();
    fill(&source, &["1.1.1.3"]).await;
    source.archive.read_as("1.1.1.3", Reading::Fails);
    assert_eq!(move_to(&source, "SINK", &study("1.1")).await, retrieved(0xB000, 1, 2));
    assert_eq!(sink.archive.state().instances.len(), 1);
}

#[tokio::test]
async fn di_090_a_list_of_1000_uids_works() {
    let (source, sink) = pair(Rules::default()).await;
    let uids: Vec<String> = (0..1_000).map(|n| format!("1.1.1.{n}")).collect();
    fill(&source, &uids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let keys = identifier("IMAGE", &[(STUDY_UID, VR::UI, "1.1"), (SOP_UID, VR::UI, &uids.join("\\"))]);
    assert_eq!(move_to(&source, "SINK", &keys).await, retrieved(0, 1_000, 0));
    assert_eq!(sink.archive.state().instances.len(), 1_000);
}

async fn ask_move(peer: &mut Peer, keys: &dicom_data::Attributes) {
    let command =
        CommandSet::request(0x0021, 3, STUDY_MOVE).with_text(element::MOVE_DESTINATION, "SINK").with_data_set();
    let data = dicom_data::encode(keys, dicom_data::transfer_syntax(EXPLICIT).unwrap());
    peer.send(&pdu(4, &[value(1, 3, &command.encode()), value(1, 2, &data)].concat())).await;
}

fn counters(response: &CommandSet) -> [Option<u16>; 4] {
    [element::REMAINING, element::COMPLETED, element::FAILED, element::WARNING].map(|element| response.number(element))
}

#[tokio::test]
async fn di_084_di_086_di_087_di_088_pending_responses_and_cancel() {
    let (source, sink) = pair(Rules::default()).await;
    let uids: Vec<String> = (0..1_000).map(|n| format!("1.1.1.{n}")).collect();
    fill(&source, &uids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    source.archive.read_as("1.1.1.0", Reading::Fails);
    source.archive.state().open_delay = Duration::from_millis(20);
    let ask = Ask::contexts(vec![context(1, STUDY_MOVE, &[EXPLICIT])]);
    let (mut peer, _) = Peer::associate(&source, &ask).await;
    ask_move(&mut peer, &study("1.1")).await;
    // A cancel of another message changes nothing.
    let other = CommandSet::cancel(99).encode();
    peer.send(&pdu(4, &value(1, 3, &other))).await;
    for _ in 0..4 {
        let pending = peer.response().await;
        assert_eq!(pending.status().0, 0xFF00);
        assert!(!pending.has_data_set());
        let sum: u16 = counters(&pending).into_iter().map(Option::unwrap).sum();
        assert_eq!(sum, 1_000, "DI-085");
    }
    peer.send(&pdu(4, &value(1, 3, &CommandSet::cancel(3).encode()))).await;
    let last = loop {
        let response = peer.response().await;
        if response.status().0 != 0xFF00 {
            break response;
        }
    };
    assert_eq!(last.status().0, 0xFE00);
    let [remaining, completed, failed, _] = counters(&last).map(Option::unwrap);
    assert_eq!(failed, 1);
    assert!(remaining > 500, "stopped early: {remaining}");
    assert_eq!(usize::from(completed), sink.archive.state().instances.len());
    let (_, body) = peer.read().await;
    let syntax = dicom_data::transfer_syntax(EXPLICIT).unwrap();
    let list = dicom_data::read(&body[6..], syntax, &dicom_data::Limits::default()).unwrap().attributes;
    assert_eq!(list.text(Tag(0x0008, 0x0058)), Some("1.1.1.0"));
    assert_eq!(list.0.len(), 1, "no character set, nothing else (QR-053)");
    peer.release().await;
}

#[tokio::test]
async fn di_091_a_move_goes_on_when_its_requestor_is_lost() {
    let (source, sink) = pair(Rules::default()).await;
    fill(&source, &["1.1.1.1", "1.1.1.2", "1.1.1.3"]).await;
    source.archive.state().open_delay = Duration::from_millis(100);
    let ask = Ask::contexts(vec![context(1, STUDY_MOVE, &[EXPLICIT])]);
    let (mut peer, _) = Peer::associate(&source, &ask).await;
    ask_move(&mut peer, &study("1.1")).await;
    assert_eq!(peer.response().await.status().0, 0xFF00);
    drop(peer);
    let all = async {
        while sink.archive.state().instances.len() < 3 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), all).await.unwrap();
    source.cancel.cancel();
    tokio::time::timeout(Duration::from_secs(5), source.task).await.unwrap().unwrap();
}

async fn get(running: &Running, proposals: &[Proposal]) -> (Retrieved, BTreeMap<String, Received>) {
    let mut all = vec![Proposal::new(STUDY_GET, &[EXPLICIT])];
    all.extend_from_slice(proposals);
    let mut client = client(running, &all).await;
    let mut received = BTreeMap::new();
    let take = |one: Received| {
        received.insert(one.sop_instance_uid.clone(), one);
        Status::SUCCESS
    };
    let retrieved = client.get(STUDY_GET, &study("1.1"), take).await.unwrap();
    client.release().await.unwrap();
    (retrieved, received)
}

#[tokio::test]
async fn di_101_ul_070_a_get_comes_back_over_the_same_association() {
    let running = start(|_| {}).await;
    fill(&running, &["1.1.1.1", "1.1.1.2"]).await;
    let (end, received) = get(&running, &[Proposal::new(CT, &[EXPLICIT]).as_scp()]).await;
    assert_eq!(end, retrieved(0, 2, 0));
    assert_eq!(received["1.1.1.2"].data_set, "data set of 1.1.1.2");
    assert_eq!(received["1.1.1.2"].transfer_syntax_uid, EXPLICIT);
}

#[tokio::test]
async fn ul_071_a_role_that_was_not_proposed_is_assumed_by_rule() {
    for (get_without_role, end) in [(true, retrieved(0, 1, 0)), (false, retrieved(0xA702, 0, 1))] {
        let running = start(|o| o.rules = Rules { get_without_role, ..Rules::default() }).await;
        fill(&running, &["1.1.1.1"]).await;
        assert_eq!(get(&running, &[Proposal::new(CT, &[EXPLICIT])]).await.0, end);
    }
}

#[tokio::test]
async fn di_102_di_105_instances_without_a_context_are_counted_failed() {
    let running = start(|_| {}).await;
    fill(&running, &["1.1.1.1"]).await;
    let mut client = client(&running, &[Proposal::new(MR, &[EXPLICIT])]).await;
    client.store(MR, "1.1.1.2", EXPLICIT, Bytes::from_static(b"mr")).await.unwrap();
    client.release().await.unwrap();
    let implicit = Proposal::new(MR, &[IMPLICIT]).as_scp();
    let (end, received) = get(&running, &[Proposal::new(CT, &[EXPLICIT]).as_scp(), implicit]).await;
    assert_eq!(end, retrieved(0xB000, 1, 1));
    assert_eq!(received.len(), 1);
}

#[tokio::test]
async fn large_instances_are_streamed_within_the_peers_maximum() {
    // UL-061, ST-071 in small: longer than what is gathered before sending.
    let (source, sink) = pair(Rules::default()).await;
    let data: Vec<u8> = (0..2_500_000_u32).flat_map(u32::to_le_bytes).collect();
    let mut client = client(&source, &[Proposal::new(CT, &[EXPLICIT])]).await;
    client.store(CT, "1.1.1.1", EXPLICIT, data.clone().into()).await.unwrap();
    client.release().await.unwrap();
    assert_eq!(move_to(&source, "SINK", &study("1.1")).await, retrieved(0, 1, 0));
    assert_eq!(sink.archive.data_set("1.1.1.1").unwrap(), data);
}

#[tokio::test]
async fn di_103_a_cancel_between_sub_operations_of_a_get_is_seen() {
    let running = start(|_| {}).await;
    fill(&running, &["1.1.1.1", "1.1.1.2", "1.1.1.3"]).await;
    let mut ask = Ask::contexts(vec![context(1, STUDY_GET, &[EXPLICIT]), context(3, CT, &[EXPLICIT])]);
    ask = ask.with_user(&role(CT, 0, 1));
    let (mut peer, _) = Peer::associate(&running, &ask).await;
    let command = CommandSet::request(0x0010, 1, STUDY_GET).with_data_set().encode();
    let data = dicom_data::encode(&study("1.1"), dicom_data::transfer_syntax(EXPLICIT).unwrap());
    peer.send(&pdu(4, &[value(1, 3, &command), value(1, 2, &data)].concat())).await;
    let store = peer.response().await; // any command set
    assert_ne!(store.message_id(), Some(1), "message IDs are distinct");
    let (_, body) = peer.read().await;
    assert_eq!(&body[6..], b"data set of 1.1.1.1");
    let cancel = pdu(4, &value(1, 3, &CommandSet::cancel(1).encode()));
    let response = pdu(4, &value(3, 3, &store.response(Status::SUCCESS).encode()));
    peer.send(&[cancel, response].concat()).await;
    let last = peer.response().await;
    assert_eq!(last.status().0, 0xFE00);
    assert_eq!(counters(&last), [Some(2), Some(1), Some(0), Some(0)]);
    peer.release().await;
}

#[tokio::test]
async fn an_instance_that_becomes_unreadable_is_never_completed() {
    // The middle one fails before its beginning was sent, the long one after it: that ends an
    // association, and the next instance goes over another one.
    let (source, sink) = pair(Rules::default()).await;
    let mut client = client(&source, &[Proposal::new(CT, &[EXPLICIT])]).await;
    for (uid, bytes) in [("1.1.1.1", 10), ("1.1.1.2", 300_000), ("1.1.1.3", 9_000_000), ("1.1.1.4", 10)] {
        let data = Bytes::from(vec![7; bytes]);
        client.store(CT, uid, EXPLICIT, data).await.unwrap();
    }
    client.release().await.unwrap();
    source.archive.read_as("1.1.1.2", Reading::BreaksAt(200_000));
    source.archive.read_as("1.1.1.3", Reading::BreaksAt(8_900_000));
    let end = move_to(&source, "SINK", &study("1.1")).await;
    assert_eq!(end, retrieved(0xB000, 2, 2));
    assert!(sink.archive.data_set("1.1.1.4").is_some());
    assert_eq!(sink.archive.state().instances.len(), 2);
}

#[tokio::test]
async fn a_peer_without_the_right_retrieves_nothing() {
    let rules = Rules { rights: Rights::ALL.without(Right::Retrieve), ..Rules::default() };
    let running = start(|o| {
        o.rules = rules;
        o.destinations.insert("SINK".parse().unwrap(), Destination { host_port: "127.0.0.1:1".to_owned() });
    })
    .await;
    fill(&running, &["1.1.1.1"]).await;
    assert_eq!(get(&running, &[Proposal::new(CT, &[EXPLICIT]).as_scp()]).await.0.status, Status::NOT_AUTHORIZED);
    assert_eq!(move_to(&running, "SINK", &study("1.1")).await.status, Status::NOT_AUTHORIZED);
}
