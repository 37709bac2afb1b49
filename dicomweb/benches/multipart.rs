//! What writing a study of 1,000 slices of 60 KB as one multipart answer costs, from the request to its last byte, with
//! every data set in memory. The baselines copy the bytes once, and send them as a plain body of as many chunks.

use archive::Error;
use archive::double::{Double, Instance};
use axum::body::Body;
use bytes::Bytes;
use dicom_data::Identifiers;
use dicomweb::{Options, router};
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use futures_util::stream;
use http::Request;
use http_body_util::BodyExt as _;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt as _;

/// Instances of the study.
const INSTANCES: usize = 1_000;
/// Bytes of each data set.
const INSTANCE_BYTES: usize = 60_000;

fn main() {
    divan::main();
}

#[divan::bench]
fn baseline_memcpy(bencher: Bencher<'_, '_>) {
    let data_set = data_set();
    let mut copy = vec![0; INSTANCE_BYTES * INSTANCES];
    bencher.counter(BytesCount::new(INSTANCE_BYTES * INSTANCES)).bench_local(|| {
        for chunk in copy.chunks_exact_mut(INSTANCE_BYTES) {
            chunk.copy_from_slice(black_box(&data_set));
        }
        black_box(&mut copy);
    });
}

#[divan::bench]
fn baseline_plain_body(bencher: Bencher<'_, '_>) {
    let (data_set, runtime) = (data_set(), runtime());
    bencher.counter(BytesCount::new(INSTANCE_BYTES * INSTANCES)).bench_local(|| {
        let chunks = std::iter::repeat_n(data_set.clone(), INSTANCES).map(Ok::<_, Error>);
        let bytes = runtime.block_on(drain(Body::from_stream(stream::iter(chunks))));
        assert_eq!(bytes, INSTANCE_BYTES * INSTANCES);
    });
}

#[divan::bench]
fn retrieve_study(bencher: Bencher<'_, '_>) {
    let (study, runtime) = (study(), runtime());
    let routes = router(study, Options::default());
    bencher.counter(BytesCount::new(INSTANCE_BYTES * INSTANCES)).bench_local(|| {
        let request = Request::get("/dicomweb/studies/2.25.1").header("host", "localhost");
        let request = request.body(Body::empty()).expect("the path is a path");
        let bytes = runtime.block_on(async {
            let answer = routes.clone().oneshot(request).await.unwrap_or_else(|never| match never {});
            assert_eq!(answer.status(), 200);
            drain(answer.into_body()).await
        });
        assert!(bytes > INSTANCE_BYTES * INSTANCES);
    });
}

fn runtime() -> Runtime {
    Builder::new_current_thread().build().expect("it needs no thread")
}

/// Returns the length of a body.
async fn drain(mut body: Body) -> usize {
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += frame.expect("nothing fails").data_ref().map_or(0, Bytes::len);
    }
    bytes
}

/// Makes an archive in memory with one study, whose instances share their bytes.
fn study() -> Double {
    let uid = |text: &str| text.parse().expect("it is a UID");
    let data_set = data_set();
    let instance = |number: u128| {
        let uids = Identifiers {
            study_instance_uid: uid("2.25.1"),
            series_instance_uid: uid("2.25.2"),
            sop_instance_uid: uid(&format!("2.25.{}", 85_070_591_730_234_615_865_843_651_857_942_052_864 + number)),
            sop_class_uid: uid("1.2.840.10008.5.1.4.1.1.2"),
        };
        let instance = Instance::new(uids, uid("1.2.840.10008.1.2.1"), data_set.clone());
        Instance { piece_bytes: INSTANCE_BYTES, ..instance }
    };
    Double::with((0..).map(instance).take(INSTANCES).collect())
}

fn data_set() -> Bytes {
    Bytes::from(vec![7; INSTANCE_BYTES])
}
