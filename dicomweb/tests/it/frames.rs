//! WADO-RS: frames.

use archive::double::Instance;
use bytes::Bytes;

use crate::server::{BASE, EXPLICIT, IMPLICIT, JPEG, JPEG_LS, Server, instance};

const PATH: &str = "/studies/1.2/series/1.2.1/instances/1.2.1.1";
const OHIF: &str = "multipart/related; type=application/octet-stream; transfer-syntax=*";

#[tokio::test]
async fn native_frames_are_octets() {
    // WE-120, WE-121
    for syntax in [EXPLICIT, IMPLICIT, "1.2.840.10008.1.2.2"] {
        let server = Server::with(vec![instance(1, 1, syntax)]);
        for accept in [OHIF, "multipart/related; type=\"application/octet-stream\"", "*/*"] {
            let answer = server.get(&format!("{PATH}/frames/3,1"), &[("accept", accept)]).await;
            assert_eq!(answer.status, 200, "{syntax} {accept}");
            let content_type = answer.header("content-type");
            assert!(content_type.starts_with("multipart/related; type=\"application/octet-stream\"; boundary="));
            let parts = answer.parts();
            assert_eq!([&parts[0].1[..], &parts[1].1[..]], [b"frame 3 of 1", b"frame 1 of 1"]);
            assert_eq!(parts[0].0["content-type"], "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1");
            assert_eq!(parts[0].0["content-location"], format!("{BASE}{PATH}/frames/3"));
        }
    }
}

#[tokio::test]
async fn compressed_frames_are_as_stored() {
    // WE-122, WE-125, WE-032, OHIF 2.1 row 7
    let server = Server::with(vec![instance(1, 1, JPEG_LS)]);
    let quoted = "multipart/related; type=\"application/octet-stream\"; transfer-syntax=\"*\"";
    for accept in
        [OHIF, quoted, &format!("application/dicom+json, {OHIF}"), "*/*", "multipart/related; type=\"image/jls\""]
    {
        let answer = server.get(&format!("{PATH}/frames/2"), &[("accept", accept)]).await;
        assert_eq!(answer.status, 200, "{accept}");
        assert!(answer.header("content-type").starts_with("multipart/related; type=\"image/jls\"; boundary="));
        let parts = answer.parts();
        assert_eq!(parts[0].0["content-type"], format!("image/jls; transfer-syntax={JPEG_LS}"));
        assert_eq!(&parts[0].1[..], b"frame 2 of 1");
    }
    let single =
        Server::with(vec![instance(1, 1, JPEG)]).get(&format!("{PATH}/frames/1"), &[("accept", "image/jpeg")]).await;
    assert_eq!(single.header("content-type"), format!("image/jpeg; transfer-syntax={JPEG}"));
    assert_eq!(single.text(), "frame 1 of 1");
    for accept in ["image/png", "multipart/related; type=\"application/octet-stream\""] {
        let answer = server.get(&format!("{PATH}/frames/2"), &[("accept", accept)]).await;
        assert_eq!(answer.status, 406, "{accept}");
    }
}

#[tokio::test]
async fn frames_that_are_not_there() {
    // WE-120
    let server = Server::with(vec![instance(1, 1, EXPLICIT)]);
    for (list, status) in [("0", 404), ("4", 404), ("1,4", 404), ("1,0", 404), ("x", 400), ("1,,2", 400), ("-1", 400)] {
        let answer = server.get(&format!("{PATH}/frames/{list}"), &[]).await;
        assert_eq!(answer.status.as_u16(), status, "{list}");
    }
}

#[tokio::test]
async fn many_frames_are_read_in_batches() {
    // WE-127
    let frames: Vec<Bytes> = (1..=1000).map(|n| Bytes::from(format!("frame {n}"))).collect();
    let server = Server::with(vec![Instance { frames: frames.clone(), ..instance(1, 1, EXPLICIT) }]);
    let list: Vec<String> = (1..=1000).map(|n| n.to_string()).collect();
    let answer = server.get(&format!("{PATH}/frames/{}", list.join(",")), &[]).await;
    let got: Vec<Bytes> = answer.parts().into_iter().map(|(_, bytes)| bytes).collect();
    assert_eq!(got, frames);
    assert_eq!(*server.0.state().frame_calls, [256, 256, 256, 232]);
}
