//! Store (STOW-RS, PS3.18 §10.5): a body of Part 10 files is taken apart as it arrives and each part is streamed into
//! the archive. Up to [`StowLimits::filing_max`](crate::StowLimits) instances are being made durable while the next is
//! read, so that they share the journal's group commits. The answer is sent when all are durable (WE-174).

mod answer;
mod failure;
mod part;
mod request;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use dicom_data::Uid;
use futures_util::StreamExt as _;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use tokio::task::JoinSet;

use crate::app::App;
use crate::call::Call;
use crate::multipart::{Event, Reader};
use crate::options::StowLimits;
use crate::problem::Problem;
use answer::{Outcome, Report};
use archive::{Caller, ReceiveInstance as _, Services};
use part::Part;
use request::{Form, form};

/// `POST /studies` and `POST /studies/{study}`.
///
/// A dropped call leaves what was filed and what was being filed; the part in transit leaves nothing.
pub(crate) async fn store_instances<A: Services>(
    State(app): State<App<A>>,
    call: Call,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    call.json_type()?;
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let form = form(content_type)?;
    let limits = app.options.stow.clone();
    let mut store = Store {
        archive: app.archive.clone(),
        caller: call.caller.clone(),
        study: call.target.study.clone(),
        limits: limits.clone(),
        filing: JoinSet::new(),
        outcomes: Vec::new(),
        parts: 0,
        failures: 0,
    };
    let mut body = Incoming { body: body.into_data_stream(), bytes: 0, limits };
    let read = match form {
        Form::Parts(reader) => read_parts(&mut body, *reader, &mut store).await,
        Form::File => read_file(&mut body, &mut store).await,
    };
    // What was begun is made durable and reported even if the body turned out bad in the middle.
    let report = store.finish().await;
    match read {
        Ok(()) => report.respond(&call.base_url),
        Err(problem) => Err(problem.noting(&report.already_stored())),
    }
}

/// The request's body, with its bounds on bytes and on silence.
struct Incoming {
    body: axum::body::BodyDataStream,
    bytes: u64,
    limits: StowLimits,
}

impl Incoming {
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        let chunk = tokio::time::timeout(self.limits.idle_max, self.body.next()).await.map_err(|_| {
            Problem::new(StatusCode::REQUEST_TIMEOUT, "the body stopped arriving: send it again in full")
        })?;
        let cut_off = |_| Problem::bad_request("the body was cut off: send it again in full");
        let chunk = chunk.transpose().map_err(cut_off)?;
        self.bytes += chunk.as_ref().map_or(0, |chunk| u64::try_from(chunk.len()).unwrap_or(u64::MAX));
        if self.bytes > self.limits.request_bytes_max {
            let bytes_max = self.limits.request_bytes_max;
            let text = format!("a request may have {bytes_max} bytes: send the instances in several requests");
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, text));
        }
        Ok(chunk)
    }
}

async fn read_parts<A: Services>(body: &mut Incoming, mut reader: Reader, store: &mut Store<A>) -> Result<(), Problem> {
    let bad = |fault: crate::multipart::Fault| Problem::bad_request(fault.to_string());
    let mut part = None;
    while let Some(chunk) = body.next().await? {
        reader.push(&chunk);
        while let Some(event) = reader.next_event().map_err(bad)? {
            match event {
                Event::Part(content_type) => part = Some(store.begin(content_type.as_deref())?),
                Event::Data(data) => {
                    if let Some(part) = &mut part {
                        store.write(part, data).await;
                    }
                }
                Event::PartEnd => {
                    if let Some(part) = part.take() {
                        store.end(part).await;
                        store.check_failures()?;
                    }
                }
            }
        }
    }
    reader.finish().map_err(bad)?;
    if store.parts == 0 { Err(Problem::bad_request("the body has no parts")) } else { Ok(()) }
}

/// Takes a whole body as one file (WE-160).
async fn read_file<A: Services>(body: &mut Incoming, store: &mut Store<A>) -> Result<(), Problem> {
    let mut part = store.begin(None)?;
    let mut empty = true;
    while let Some(chunk) = body.next().await? {
        empty = false;
        store.write(&mut part, chunk).await;
    }
    if empty {
        return Err(Problem::bad_request("the body is empty"));
    }
    store.end(part).await;
    Ok(())
}

/// Files the parts of one request.
struct Store<A: Services> {
    archive: A,
    caller: Caller,
    study: Option<Uid>,
    limits: StowLimits,
    filing: JoinSet<Outcome>,
    outcomes: Vec<Outcome>,
    parts: u64,
    /// Parts that were not handed to the archive.
    failures: usize,
}

impl<A: Services> Store<A> {
    /// Begins a part.
    fn begin(&mut self, content_type: Option<&str>) -> Result<Part<A::Receiver>, Problem> {
        if self.parts == self.limits.parts_max {
            let text = format!("a request may have {} parts: send several requests", self.limits.parts_max);
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, text));
        }
        self.parts += 1;
        Ok(Part::new(self.parts, content_type, self.limits.part_bytes_max))
    }

    /// Hands the next bytes of a part to the archive; waits while it is slower than the sender.
    async fn write(&self, part: &mut Part<A::Receiver>, data: Bytes) {
        part.write(&self.archive, &self.caller, self.study.as_ref(), data).await;
    }

    /// Begins to file a part; waits while too many are being filed.
    async fn end(&mut self, part: Part<A::Receiver>) {
        while self.filing.len() >= self.limits.filing_max.max(1) {
            self.collect_one().await;
        }
        match part.end() {
            Ok((receiver, outcome)) => {
                self.filing.spawn(async move { outcome.filed(receiver.finish().await) });
            }
            Err(outcome) => {
                self.failures += 1;
                self.outcomes.push(outcome);
            }
        }
    }

    /// Refuses a request of which too many parts were no instances.
    fn check_failures(&self) -> Result<(), Problem> {
        if self.failures <= self.limits.failures_max {
            return Ok(());
        }
        let text = format!("more than {} parts could not be stored", self.limits.failures_max);
        Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, text))
    }

    async fn collect_one(&mut self) {
        match self.filing.join_next().await {
            Some(Ok(outcome)) => self.outcomes.push(outcome),
            Some(Err(error)) => {
                tracing::error!(%error, "filing an instance panicked");
                self.outcomes.push(Outcome::lost());
            }
            None => {}
        }
    }

    /// Waits until everything that was begun is filed.
    async fn finish(mut self) -> Report {
        while !self.filing.is_empty() {
            self.collect_one().await;
        }
        self.outcomes.sort_by_key(|outcome| outcome.part);
        Report::new(self.outcomes)
    }
}
