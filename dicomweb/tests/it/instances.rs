//! WADO-RS: whole instances.

use archive::double::{Instance, Reading, State};

use bytes::Bytes;
use dicom_data::write_file_meta;

use crate::server::{BASE, EXPLICIT, IMPLICIT, JPEG, JPEG_LOSSLESS, Server, instance};

/// The Part 10 file that an instance must come back as.
fn file(kept: &Instance) -> Bytes {
    let i = &kept.instance;
    let mut file = write_file_meta(&i.sop_class_uid, &i.sop_instance_uid, &i.transfer_syntax_uid, None);
    file.extend_from_slice(&kept.data_set);
    file.into()
}

#[tokio::test]
async fn a_study_comes_in_parts_and_order() {
    // WE-080, WE-081, WE-128
    let server = Server::with((1..30).map(|n| instance(1 + n / 10, n, EXPLICIT)).collect());
    for accept in [
        "*/*",
        "multipart/related; type=\"application/dicom\"",
        "multipart/related;type=application/dicom;transfer-syntax=*",
    ] {
        let answer = server.get("/studies/1.2", &[("accept", accept)]).await;
        assert_eq!(answer.status, 200, "{accept}");
        assert!(answer.header("content-type").starts_with("multipart/related; type=\"application/dicom\"; boundary="));
        let parts = answer.parts();
        assert_eq!(parts.len(), 29);
        for ((head, bytes), kept) in parts.iter().zip(&server.0.state().instances) {
            assert_eq!(*bytes, file(kept));
            let i = &kept.instance;
            let url = format!("{BASE}/studies/1.2/series/{}/instances/{}", i.series_instance_uid, i.sop_instance_uid);
            assert_eq!(head["content-location"], url);
            assert_eq!(head["content-type"], format!("application/dicom; transfer-syntax={EXPLICIT}"));
        }
    }
    let boundary = |answer: &crate::server::Answer| answer.header("content-type").to_owned();
    let again = [server.get("/studies/1.2", &[]).await, server.get("/studies/1.2", &[]).await];
    assert_ne!(boundary(&again[0]), boundary(&again[1]));
    assert_eq!(server.get("/studies/1.2/series/1.2.2", &[]).await.parts().len(), 10);
}

#[tokio::test]
async fn a_single_file_is_for_a_single_instance() {
    // WE-028, WE-080
    let server = Server::with(vec![instance(1, 1, EXPLICIT)]);
    let accept = [("accept", "application/dicom")];
    let answer = server.get("/studies/1.2/series/1.2.1/instances/1.2.1.1", &accept).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), format!("application/dicom; transfer-syntax={EXPLICIT}"));
    assert_eq!(answer.header("content-length"), answer.bytes().len().to_string());
    assert_eq!(*answer.bytes(), file(&server.0.state().instances[0]));
    assert_eq!(server.get("/studies/1.2/series/1.2.1", &accept).await.status, 406);
    let answer = server.get("/studies/1.2/series/1.2.1/instances/1.2.1.1", &[]).await;
    assert_eq!(answer.parts().len(), 1, "multipart is the default");
}

#[tokio::test]
async fn transfer_syntaxes_are_as_stored_or_refused() {
    // WE-022, WE-029, WE-030, WE-031
    let default = "multipart/related; type=\"application/dicom\"";
    let stored = "multipart/related; type=\"application/dicom\"; transfer-syntax=*";
    let check = async |syntax: &str, accept: &str, status: u16| {
        let answer = Server::with(vec![instance(1, 1, syntax)]).get("/studies/1.2", &[("accept", accept)]).await;
        assert_eq!(answer.status.as_u16(), status, "{syntax} {accept}");
        if status == 406 {
            assert!(answer.text().contains("transfer-syntax=*"), "{}", answer.text());
        }
    };
    check(EXPLICIT, default, 200).await;
    check(JPEG, default, 200).await;
    check(JPEG_LOSSLESS, default, 406).await;
    check(IMPLICIT, default, 406).await;
    for syntax in [EXPLICIT, IMPLICIT, JPEG, JPEG_LOSSLESS] {
        check(syntax, stored, 200).await;
        check(syntax, "*/*", 200).await;
    }
    check(JPEG_LOSSLESS, &format!("{default}; transfer-syntax={JPEG_LOSSLESS}"), 200).await;
    check(JPEG_LOSSLESS, &format!("{default}; transfer-syntax={JPEG}, {default}"), 406).await;
    check(IMPLICIT, &format!("{default}; transfer-syntax={IMPLICIT}"), 406).await;
    check(EXPLICIT, "application/dicom, image/jpeg", 400).await;
    check(EXPLICIT, "text/html,application/xhtml+xml,*/*;q=0.8", 200).await;
}

#[tokio::test]
async fn what_cannot_be_had_is_left_out_or_aborts() {
    // WE-082
    let broken_at = |at| if at == 0 { Reading::Fails } else { Reading::BreaksAt(at) };
    let lost_at = |n: u32, at: usize| Instance { reading: broken_at(at), ..instance(1, n, EXPLICIT) };
    let get = async |instances: Vec<Instance>, accept: &str| {
        Server::with(instances).get("/studies/1.2", &[("accept", accept)]).await
    };
    let answer =
        get(vec![lost_at(1, 0), lost_at(2, 0), instance(1, 3, EXPLICIT), instance(1, 4, EXPLICIT)], "*/*").await;
    assert_eq!((answer.status.as_u16(), answer.parts().len()), (206, 2));
    let answer = get(vec![lost_at(1, 0), lost_at(2, 0)], "*/*").await;
    assert_eq!(answer.status, 500);
    for at in [0, 14] {
        let answer = get(vec![instance(1, 1, EXPLICIT), lost_at(2, at), instance(1, 3, EXPLICIT)], "*/*").await;
        assert_eq!(answer.status, 200);
        assert!(answer.body.is_err(), "the connection is aborted");
    }
    let default = "multipart/related; type=\"application/dicom\"";
    let answer = get(vec![instance(1, 1, EXPLICIT), instance(1, 2, JPEG_LOSSLESS)], default).await;
    assert_eq!((answer.status.as_u16(), answer.parts().len()), (206, 1));
}

#[tokio::test]
async fn an_instance_that_is_not_as_long_as_indexed_is_not_answered() {
    // WE-082
    for (bytes, opened_bytes, data_set) in [(5, 5, "longer"), (7, 7, "short"), (4, 5, "other")] {
        let wrong = || {
            let mut wrong = instance(1, 1, EXPLICIT);
            (wrong.data_set, wrong.opened_bytes) = (data_set.into(), Some(opened_bytes));
            wrong.instance.bytes = bytes;
            wrong
        };
        let alone = Server::with(vec![wrong()]).get("/studies/1.2", &[]).await;
        assert!(alone.body.is_err() || alone.status == 500, "{data_set}: {}", alone.status);
        let second = Server::with(vec![instance(1, 2, EXPLICIT), wrong()]).get("/studies/1.2", &[]).await;
        assert!(second.body.is_err(), "{data_set}");
    }
}

#[tokio::test]
async fn never_known_and_deleted() {
    // WE-083
    let gone = Server::of(State { deleted: true, ..State::default() });
    for path in [
        "/studies/1.2",
        "/studies/1.2/metadata",
        "/studies/1/series/2/instances/3/frames/1",
        "/studies/1/series/2/instances/3/bulkdata/7FE00010",
    ] {
        assert_eq!(Server::default().get(path, &[]).await.status, 404, "{path}");
        assert_eq!(gone.get(path, &[]).await.status, 410, "{path}");
    }
}
