//! Peers that write a message in two parts and leave Nagle's algorithm on: without an immediate
//! acknowledgement of the first part each message costs them 40 ms.

use std::time::{Duration, Instant};

use bytes::Bytes;
use dicom_core::{Tag, VR};
use dicom_net::client::Proposal;
use dicom_net::command::{CommandSet, element};
use dicom_net::{Destination, Status};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::query::{client, identifier};
use crate::raw::*;

const STUDY_MOVE: &str = "1.2.840.10008.5.1.4.1.2.2.2";
const MESSAGES: usize = 60;
/// Far below what the messages take with delayed acknowledgements.
const LIMIT: Duration = Duration::from_millis(1_200);

#[tokio::test]
async fn a_sender_in_two_parts_is_not_slowed_down() {
    let running = start(|_| {}).await;
    let ask = Ask::contexts(vec![context(1, CT, &[EXPLICIT])]);
    let (mut peer, _) = Peer::associate(&running, &ask).await;
    peer.stream.set_nodelay(false).unwrap();
    let begun = Instant::now();
    for n in 0..MESSAGES {
        let command = CommandSet::request(0x0001, 1, CT)
            .with_uid(element::AFFECTED_SOP_INSTANCE_UID, &format!("1.1.1.{n}"))
            .with_data_set();
        peer.send(&pdu(4, &value(1, 3, &command.encode()))).await;
        peer.send(&pdu(4, &value(1, 2, b"data"))).await;
        assert_eq!(peer.response().await.status().0, 0);
    }
    assert!(begun.elapsed() < LIMIT, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_destination_that_answers_in_two_parts_is_not_slowed_down() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host_port = listener.local_addr().unwrap().to_string();
    let sink = tokio::spawn(sink_in_two_parts(listener));
    let running = start(|o| {
        o.destinations.insert("SINK".parse().unwrap(), Destination { host_port });
    })
    .await;
    let proposals = [Proposal::new(CT, &[EXPLICIT]), Proposal::new(STUDY_MOVE, &[EXPLICIT])];
    let mut client = client(&running, &proposals).await;
    for n in 0..MESSAGES {
        let uid = format!("1.1.1.{n}");
        client.store(CT, &uid, EXPLICIT, Bytes::from_static(b"data")).await.unwrap();
    }
    let keys = identifier("STUDY", &[(Tag(0x0020, 0x000D), VR::UI, "1.1")]);
    let begun = Instant::now();
    let moved = client.move_to(STUDY_MOVE, &"SINK".parse().unwrap(), &keys).await.unwrap();
    assert!(begun.elapsed() < LIMIT, "{:?}", begun.elapsed());
    assert_eq!((moved.status, usize::from(moved.completed)), (Status::SUCCESS, MESSAGES));
    assert_eq!(sink.await.unwrap(), MESSAGES);
}

/// Accepts one association and everything in its first context; returns how much it was sent.
async fn sink_in_two_parts(listener: TcpListener) -> usize {
    let (mut stream, _) = listener.accept().await.unwrap();
    stream.set_nodelay(false).unwrap();
    let (_, request) = read_pdu(&mut stream).await;
    let mut answer = request[..68].to_vec();
    let mut accepted = vec![1, 0, 0, 0];
    accepted.extend(item(0x40, EXPLICIT.as_bytes()));
    answer.extend(item(0x10, b"1.2.840.10008.3.1.1.1"));
    answer.extend(item(0x21, &accepted));
    answer.extend(item(0x50, &item(0x51, &[0, 0, 0x40, 0])));
    stream.write_all(&pdu(2, &answer)).await.unwrap();
    let mut stored = 0;
    loop {
        let (kind, command) = read_pdu(&mut stream).await;
        if kind == 5 {
            stream.write_all(&pdu(6, &[0; 4])).await.unwrap();
            return stored;
        }
        let command = CommandSet::decode(&command[6..].to_vec().into()).unwrap();
        assert_eq!(command.text(element::MOVE_ORIGINATOR_AE), Some("PROBE"), "DI-055");
        let (_, data) = read_pdu(&mut stream).await;
        assert_eq!(&data[5..], b"\x02data");
        stored += 1;
        let response = pdu(4, &value(1, 3, &command.response(Status::SUCCESS).encode()));
        let (first, second) = response.split_at(12);
        stream.write_all(first).await.unwrap();
        stream.write_all(second).await.unwrap();
    }
}

async fn read_pdu(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut header = [0; 6];
    stream.read_exact(&mut header).await.unwrap();
    let length = u32::from_be_bytes([header[2], header[3], header[4], header[5]]);
    let mut body = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    (header[0], body)
}
