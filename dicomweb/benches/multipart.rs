//! What writing a study of 1,000 slices of 60 KB as one multipart answer costs, from the request to its last byte, with
//! every data set in memory. The baselines copy the bytes once, and send them as a plain body of as many chunks.

use std::sync::Arc;

use archive::{Error, Frames, InstanceBody, InstanceRef, Location, Metrics, Origin, Selector, Stored};
use axum::body::Body;
use bytes::Bytes;
use dicom_data::query::Query;
use dicom_data::{Attributes, BulkPath};
use dicomweb::{Backend, Opened, Options, Receive, Results, router};
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use futures_util::{StreamExt as _, stream};
use http::Request;
use http_body_util::BodyExt as _;
use journal::{Lsn, RecordRef};
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
    let study = Study::new();
    let mut copy = vec![0; INSTANCE_BYTES * INSTANCES];
    bencher.counter(BytesCount::new(INSTANCE_BYTES * INSTANCES)).bench_local(|| {
        for chunk in copy.chunks_exact_mut(INSTANCE_BYTES) {
            chunk.copy_from_slice(black_box(&study.0.data_set));
        }
        black_box(&mut copy);
    });
}

#[divan::bench]
fn baseline_plain_body(bencher: Bencher<'_, '_>) {
    let (study, runtime) = (Study::new(), runtime());
    bencher.counter(BytesCount::new(INSTANCE_BYTES * INSTANCES)).bench_local(|| {
        let chunks = std::iter::repeat_n(study.0.data_set.clone(), INSTANCES).map(Ok::<_, Error>);
        let bytes = runtime.block_on(drain(Body::from_stream(stream::iter(chunks))));
        assert_eq!(bytes, INSTANCE_BYTES * INSTANCES);
    });
}

#[divan::bench]
fn retrieve_study(bencher: Bencher<'_, '_>) {
    let (study, runtime) = (Study::new(), runtime());
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

/// An archive in memory with one study, whose instances share their bytes.
#[derive(Clone)]
struct Study(Arc<Kept>);

struct Kept {
    data_set: Bytes,
    instances: Vec<InstanceRef>,
    metrics: Metrics,
}

impl Study {
    fn new() -> Self {
        let uid = |text: &str| text.parse().expect("it is a UID");
        let bytes = u64::try_from(INSTANCE_BYTES).expect("it is short");
        let at = RecordRef { lsn: Lsn(0), head_bytes: 0, payload_bytes: bytes, crc32c: 0, large: false };
        let instance = |number| InstanceRef {
            study_instance_uid: uid("2.25.1"),
            series_instance_uid: uid("2.25.2"),
            sop_instance_uid: uid(&format!("2.25.{}", 85_070_591_730_234_615_865_843_651_857_942_052_864 + number)),
            sop_class_uid: uid("1.2.840.10008.5.1.4.1.1.2"),
            transfer_syntax_uid: uid("1.2.840.10008.1.2.1"),
            bytes,
            location: Location::Journal(at.clone()),
        };
        Self(Arc::new(Kept {
            data_set: Bytes::from(vec![7; INSTANCE_BYTES]),
            instances: (0_u128..).map(instance).take(INSTANCES).collect(),
            metrics: Metrics::default(),
        }))
    }

    fn body(&self) -> InstanceBody {
        let bytes = u64::try_from(INSTANCE_BYTES).expect("it is short");
        InstanceBody { bytes, chunks: Box::pin(stream::iter([Ok(self.0.data_set.clone())])) }
    }
}

/// What no request here asks for.
const NOT_HERE: Error = Error::NotFound { what: "answer" };

impl Backend for Study {
    type Receiver = Refused;

    fn receive(&self, _origin: Origin) -> Result<Refused, Error> {
        Err(NOT_HERE)
    }

    async fn search(&self, _query: Query) -> Result<Results<Attributes>, Error> {
        Err(NOT_HERE)
    }

    async fn count(&self, _query: &Query, _at_most: u64) -> Result<Option<u64>, Error> {
        Err(NOT_HERE)
    }

    async fn locate(&self, _selector: &Selector) -> Result<Vec<InstanceRef>, Error> {
        Ok(self.0.instances.clone())
    }

    async fn was_deleted(&self, _selector: &Selector) -> Result<bool, Error> {
        Ok(false)
    }

    async fn open(&self, _instance: &InstanceRef) -> Result<InstanceBody, Error> {
        Ok(self.body())
    }

    fn open_all(&self, instances: Vec<InstanceRef>) -> Opened {
        let study = self.clone();
        Box::pin(stream::iter(instances).map(move |instance| (instance, Ok(study.body()))))
    }

    async fn metadata(&self, _instances: Vec<InstanceRef>) -> Result<Results<Bytes>, Error> {
        Err(NOT_HERE)
    }

    async fn frames(&self, _instance: &InstanceRef, _numbers: &[u32]) -> Result<Frames, Error> {
        Err(NOT_HERE)
    }

    async fn frame_count(&self, _instance: &InstanceRef) -> Result<u32, Error> {
        Err(NOT_HERE)
    }

    async fn bulk_data(&self, _instance: &InstanceRef, _path: &BulkPath) -> Result<InstanceBody, Error> {
        Err(NOT_HERE)
    }

    fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }
}

/// Is never made.
enum Refused {}

impl Receive for Refused {
    async fn write(&mut self, _chunk: Bytes) -> Result<(), Error> {
        match *self {}
    }

    async fn finish(self) -> Result<Stored, Error> {
        match self {}
    }
}
