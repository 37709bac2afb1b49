//! C-FIND (CONFORMANCE 2.5, section 3).

use std::time::{Duration, Instant};

use archive::{Right, Rights};
use bytes::Bytes;
use dicom_core::{Tag, VR};
use dicom_data::query::{Level, Matching};
use dicom_data::{Attribute, Attributes, Limits, Value};
use dicom_net::client::{Client, Error, Proposal};
use dicom_net::command::CommandSet;
use dicom_net::{Rules, Status};

use crate::raw::*;

pub const STUDY_FIND: &str = "1.2.840.10008.5.1.4.1.2.2.1";
pub const PATIENT_FIND: &str = "1.2.840.10008.5.1.4.1.2.1.1";
const STUDY_UID: Tag = Tag(0x0020, 0x000D);
const SERIES_UID: Tag = Tag(0x0020, 0x000E);
const SOP_UID: Tag = Tag(0x0008, 0x0018);
const LEVEL: Tag = Tag(0x0008, 0x0052);

/// An identifier of text keys; an empty text is a zero-length key.
pub fn identifier(level: &str, keys: &[(Tag, VR, &str)]) -> Attributes {
    let mut identifier = Attributes::default();
    if !level.is_empty() {
        identifier.put_text(LEVEL, VR::CS, level);
    }
    for (tag, vr, text) in keys {
        if text.is_empty() {
            identifier.0.insert(*tag, Attribute { vr: *vr, value: Value::Empty });
        } else {
            let values = text.split('\\').map(str::to_owned).collect();
            identifier.0.insert(*tag, Attribute { vr: *vr, value: Value::Text(values) });
        }
    }
    identifier
}

pub async fn client(running: &Running, proposals: &[Proposal]) -> Client {
    let (calling, called) = ("PROBE".parse().unwrap(), "FILMROOM".parse().unwrap());
    Client::connect(&running.address.to_string(), &calling, &called, proposals).await.unwrap()
}

/// Stores instances with these UIDs; series and study UIDs are their prefixes.
pub async fn fill(running: &Running, sop_instance_uids: &[&str]) {
    let mut client = client(running, &[Proposal::new(CT, &[EXPLICIT])]).await;
    for uid in sop_instance_uids {
        let data = Bytes::from(format!("data set of {uid}"));
        assert_eq!(client.store(CT, uid, EXPLICIT, data).await.unwrap(), Status::SUCCESS);
    }
    client.release().await.unwrap();
}

async fn find(running: &Running, class: &str, keys: &Attributes) -> Result<Vec<Attributes>, Error> {
    let mut client = client(running, &[Proposal::new(class, &[IMPLICIT, EXPLICIT])]).await;
    let found = client.find(class, keys).await;
    client.release().await.unwrap();
    found
}

fn status_of(result: Result<Vec<Attributes>, Error>) -> u16 {
    match result {
        Ok(_) => 0,
        Err(Error::Failed(status)) => status.0,
        Err(error) => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn di_061_di_065_di_066_matches_have_the_level_and_every_requested_key() {
    let running = start(|_| {}).await;
    fill(&running, &["1.1.1.1", "1.1.1.2", "1.2.1.1"]).await;
    let accession = Tag(0x0008, 0x0050);
    let keys = identifier("STUDY", &[(STUDY_UID, VR::UI, ""), (accession, VR::SH, "")]);
    let found = find(&running, STUDY_FIND, &keys).await.unwrap();
    let studies: Vec<_> = found.iter().map(|one| one.text(STUDY_UID).unwrap()).collect();
    assert_eq!(studies, ["1.1", "1.2"]);
    for one in &found {
        assert_eq!(one.text(LEVEL), Some("STUDY"));
        assert_eq!(one.get(accession).unwrap().value, Value::Empty);
        assert_eq!(one.text(Tag(0x0008, 0x0054)), Some("FILMROOM"));
        assert!(one.get(SOP_UID).is_none(), "only what was asked for");
    }
    let none = identifier("STUDY", &[(STUDY_UID, VR::UI, "")]);
    assert!(find(&start(|_| {}).await, STUDY_FIND, &none).await.unwrap().is_empty());
}

#[tokio::test]
async fn di_065_sequences_are_cut_down_to_the_requested_nested_keys() {
    let running = start(|_| {}).await;
    fill(&running, &["1.1.1.1"]).await;
    let sequence = Tag(0x0040, 0x0275);
    let mut keys = identifier("SERIES", &[(SERIES_UID, VR::UI, ""), (STUDY_UID, VR::UI, "1.1")]);
    let nested = identifier("", &[(Tag(0x0040, 0x0009), VR::SH, ""), (Tag(0x0040, 0x1001), VR::SH, "")]);
    let value = Value::Sequence(vec![nested]);
    keys.0.insert(sequence, Attribute { vr: VR::SQ, value });
    let found = find(&running, STUDY_FIND, &keys).await.unwrap();
    let Value::Sequence(items) = &found[0].get(sequence).unwrap().value else { panic!("{found:?}") };
    assert_eq!(items[0].text(Tag(0x0040, 0x0009)), Some("SPS1"));
    assert_eq!(items[0].get(Tag(0x0040, 0x1001)).unwrap().value, Value::Empty);
    assert!(items[0].get(Tag(0x0040, 0x0007)).is_none());
}

#[tokio::test]
async fn qr_020_di_067_keys_become_a_query() {
    let running = start(|_| {}).await;
    let mut keys = identifier(
        "SERIES",
        &[
            (STUDY_UID, VR::UI, "1.1\\1.2"),
            (Tag(0x0010, 0x0020), VR::LO, "*"),
            (Tag(0x0008, 0x0005), VR::CS, "ISO_IR 192"),
            (Tag(0x0008, 0x0000), VR::UL, ""),
        ],
    );
    let nested = identifier("", &[(Tag(0x0040, 0x0009), VR::SH, "SPS?")]);
    let value = Value::Sequence(vec![nested]);
    keys.0.insert(Tag(0x0040, 0x0275), Attribute { vr: VR::SQ, value });
    find(&running, STUDY_FIND, &keys).await.unwrap();
    let query = running.archive.state().queries.remove(0);
    assert_eq!(query.level, Level::Series);
    let keys: Vec<_> = query.keys.iter().map(|key| (key.path.0.clone(), key.matching.clone())).collect();
    assert_eq!(
        keys,
        [
            (vec![STUDY_UID], Matching::AnyOf(vec!["1.1".to_owned(), "1.2".to_owned()])),
            (vec![Tag(0x0040, 0x0275), Tag(0x0040, 0x0009)], Matching::WildCard("SPS?".to_owned())),
        ]
    );
}

#[tokio::test]
async fn di_063_qr_007_qr_008_levels() {
    let running = start(|_| {}).await;
    let ask = |class: &'static str, level: &'static str| {
        let running = &running;
        async move { status_of(find(running, class, &identifier(level, &[])).await) }
    };
    assert_eq!(ask(STUDY_FIND, "PATIENT").await, 0xA900);
    assert_eq!(ask(PATIENT_FIND, "PATIENT").await, 0);
    assert_eq!(ask(STUDY_FIND, "").await, 0xA900);
    assert_eq!(ask(STUDY_FIND, "WORKLIST").await, 0xA900);
    assert_eq!(ask(STUDY_FIND, "IMAGE").await, 0);
    assert_eq!(ask(STUDY_FIND, "INSTANCE").await, 0);
}

#[tokio::test]
async fn qr_010_qr_011_upper_keys_are_wanted_in_strict_mode_only() {
    let strict = start(|o| o.rules = Rules { strict_identifiers: true, ..Rules::default() }).await;
    let lenient = start(|_| {}).await;
    let without = identifier("SERIES", &[(SERIES_UID, VR::UI, "")]);
    let list = identifier("SERIES", &[(STUDY_UID, VR::UI, "1.1\\1.2")]);
    let with = identifier("SERIES", &[(STUDY_UID, VR::UI, "1.1")]);
    assert_eq!(status_of(find(&lenient, STUDY_FIND, &without).await), 0);
    assert_eq!(status_of(find(&strict, STUDY_FIND, &without).await), 0xA900);
    assert_eq!(status_of(find(&strict, STUDY_FIND, &list).await), 0xA900);
    assert_eq!(status_of(find(&strict, STUDY_FIND, &with).await), 0);
    assert_eq!(status_of(find(&strict, PATIENT_FIND, &with).await), 0xA900);
}

#[tokio::test]
async fn qr_013_keys_below_the_level_are_neither_matched_nor_returned() {
    let running = start(|_| {}).await;
    fill(&running, &["1.1.1.1"]).await;
    let modality = Tag(0x0008, 0x0060);
    let keys = [(SERIES_UID, VR::UI, "1.9"), (modality, VR::CS, "")];
    let mut peer = by_hand(&running).await;
    ask_by_hand(&mut peer, &identifier("STUDY", &keys)).await;
    let (status, found) = match_by_hand(&mut peer).await;
    let found = found.unwrap();
    assert_eq!(status, 0xFF00);
    assert!(found.get(SERIES_UID).is_none() && found.get(modality).is_none());
    assert!(running.archive.state().queries[0].keys.is_empty());
}

#[tokio::test]
async fn qr_012_relational_queries_may_be_negotiated_in_strict_mode() {
    let strict = start(|o| o.rules.strict_identifiers = true).await;
    let mut offer = 27_u16.to_be_bytes().to_vec();
    offer.extend(STUDY_FIND.as_bytes());
    for (relational, status) in [(1, 0), (0, 0xA900)] {
        let options = [&offer[..], &[relational]].concat();
        let contexts = vec![context(1, STUDY_FIND, &[EXPLICIT])];
        let ask = Ask::contexts(contexts).with_user(&item(0x56, &options));
        let (mut peer, _) = Peer::associate(&strict, &ask).await;
        ask_by_hand(&mut peer, &identifier("SERIES", &[])).await;
        assert_eq!(match_by_hand(&mut peer).await.0, status);
        peer.release().await;
    }
}

#[tokio::test]
async fn qr_024_a_key_that_cannot_match_is_refused() {
    let running = start(|_| {}).await;
    let keys = identifier("STUDY", &[(Tag(0x0008, 0x0020), VR::DA, "2024*")]);
    assert_eq!(status_of(find(&running, STUDY_FIND, &keys).await), 0xA900);
}

#[tokio::test]
async fn qr_065_private_keys_come_with_their_creator_only() {
    let running = start(|_| {}).await;
    fill(&running, &["1.1.1.1"]).await;
    let creator = Tag(0x0009, 0x0010);
    let keys = identifier(
        "STUDY",
        &[(creator, VR::LO, "ACME"), (Tag(0x0009, 0x1001), VR::LO, ""), (Tag(0x0009, 0x1101), VR::LO, "")],
    );
    let found = find(&running, STUDY_FIND, &keys).await.unwrap();
    assert_eq!(found[0].text(creator), Some("ACME"));
    assert!(found[0].get(Tag(0x0009, 0x1001)).is_some());
    assert!(found[0].get(Tag(0x0009, 0x1101)).is_none());
}

/// Sends a C-FIND-RQ by hand.
async fn ask_by_hand(peer: &mut Peer, keys: &Attributes) {
    let command = CommandSet::request(0x0020, 3, STUDY_FIND).with_data_set().encode();
    let syntax = dicom_data::transfer_syntax(EXPLICIT).unwrap();
    let data = dicom_data::encode(keys, syntax);
    peer.send(&pdu(4, &[value(1, 3, &command), value(1, 2, &data)].concat())).await;
}

/// Reads one response and the identifier after it.
async fn match_by_hand(peer: &mut Peer) -> (u16, Option<Attributes>) {
    let response = peer.response().await;
    if !response.has_data_set() {
        return (response.status().0, None);
    }
    let (_, body) = peer.read().await;
    assert_eq!(body[5], 2, "last fragment of a data set");
    let syntax = dicom_data::transfer_syntax(EXPLICIT).unwrap();
    let parsed = dicom_data::read(&body[6..], syntax, &Limits::default()).unwrap();
    (response.status().0, Some(parsed.attributes))
}

async fn by_hand(running: &Running) -> Peer {
    Peer::associate(running, &Ask::contexts(vec![context(1, STUDY_FIND, &[EXPLICIT])])).await.0
}

#[tokio::test]
async fn di_062_ff01_tells_of_keys_that_did_not_match() {
    let running = start(|_| {}).await;
    fill(&running, &["1.1.1.1"]).await;
    let mut peer = by_hand(&running).await;
    for (text, status) in [("", 0xFF00), ("X", 0xFF01)] {
        let keys = identifier("STUDY", &[(Tag(0x4008, 0x0102), VR::CS, text)]);
        ask_by_hand(&mut peer, &keys).await;
        let (seen, found) = match_by_hand(&mut peer).await;
        assert_eq!(seen, status);
        assert!(found.unwrap().get(Tag(0x4008, 0x0102)).is_some());
        assert_eq!(match_by_hand(&mut peer).await, (0, None));
    }
    peer.release().await;
}

#[tokio::test]
async fn di_064_a_cancel_ends_an_endless_search_within_a_second() {
    let running = start(|_| {}).await;
    fill(&running, &["1.1.1.1"]).await;
    running.archive.state().endless_search = true;
    let mut peer = by_hand(&running).await;
    ask_by_hand(&mut peer, &identifier("STUDY", &[])).await;
    for _ in 0..100 {
        assert_eq!(match_by_hand(&mut peer).await.0, 0xFF00);
    }
    let begun = Instant::now();
    peer.send(&pdu(4, &value(1, 3, &CommandSet::cancel(3).encode()))).await;
    let last = loop {
        let (status, found) = match_by_hand(&mut peer).await;
        if found.is_none() {
            break status;
        }
    };
    assert_eq!(last, 0xFE00);
    assert!(begun.elapsed() < Duration::from_secs(1));
    peer.release().await;
}

#[tokio::test]
async fn di_014_an_unreadable_identifier_is_answered() {
    let running = start(|_| {}).await;
    let mut peer = by_hand(&running).await;
    let command = CommandSet::request(0x0020, 3, STUDY_FIND).with_data_set().encode();
    peer.send(&pdu(4, &[value(1, 3, &command), value(1, 2, b"\x08\0\x52\0CS\xff\xffx")].concat())).await;
    assert_eq!(peer.response().await.status().0, 0xC000);
    peer.release().await;
}

#[tokio::test]
async fn di_012_a_message_id_in_use_is_refused() {
    let running = start(|_| {}).await;
    fill(&running, &["1.1.1.1"]).await;
    let mut peer = by_hand(&running).await;
    let keys = dicom_data::encode(&identifier("STUDY", &[]), dicom_data::transfer_syntax(IMPLICIT).unwrap());
    let ask = |id| {
        let command = CommandSet::request(0x0020, id, STUDY_FIND).with_data_set().encode();
        pdu(4, &[value(1, 3, &command), value(1, 2, &keys)].concat())
    };
    for (second, status) in [(3, 0x0210), (4, 0xFF00)] {
        peer.send(&[ask(3), ask(second)].concat()).await;
        assert_eq!(match_by_hand(&mut peer).await.0, 0xFF00);
        assert_eq!(match_by_hand(&mut peer).await.0, 0);
        assert_eq!(match_by_hand(&mut peer).await.0, status, "{second}");
    }
    assert_eq!(match_by_hand(&mut peer).await.0, 0);
    peer.send(&ask(3)).await;
    assert_eq!(match_by_hand(&mut peer).await.0, 0xFF00, "it is free again");
    assert_eq!(match_by_hand(&mut peer).await.0, 0);
    peer.release().await;
}

#[tokio::test]
async fn a_peer_without_the_right_finds_nothing() {
    let rules = Rules { rights: Rights::ALL.without(Right::Query), ..Rules::default() };
    let running = start(|o| o.rules = rules).await;
    fill(&running, &["1.1.1.1"]).await;
    assert_eq!(status_of(find(&running, STUDY_FIND, &identifier("STUDY", &[])).await), 0x0124);
    assert!(running.archive.state().queries.is_empty());
}
