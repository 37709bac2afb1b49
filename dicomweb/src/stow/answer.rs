//! What a store request is answered with (PS3.18 §10.5.3, §I).

use std::collections::BTreeSet;

use archive::{Error, Stored};
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use dicom_core::{Tag, VR};
use dicom_data::Uid;
use dicom_data::{Attribute, Attributes, Value, write_json};
use dicom_dictionary_std::tags;
use http::header::{CONTENT_LOCATION, CONTENT_TYPE, LOCATION};
use http::{HeaderValue, StatusCode};

use super::failure::{Failure, log_failure};
use crate::problem::Problem;

/// What became of one part.
#[derive(Debug)]
pub(super) struct Outcome {
    /// Number of the part; orders the answer.
    pub(super) part: u64,
    /// As the file meta information says, for what was not stored.
    pub(super) sop_class_uid: Option<Uid>,
    /// As above.
    pub(super) sop_instance_uid: Option<Uid>,
    result: Result<Stored, Failure>,
}

impl Outcome {
    /// Begins with nothing known but the part's number.
    pub(super) fn of_part(part: u64) -> Self {
        Self { part, sop_class_uid: None, sop_instance_uid: None, result: Err(Failure::Processing) }
    }

    /// The outcome of a part whose filing panicked.
    pub(super) fn lost() -> Self {
        Self::of_part(u64::MAX)
    }

    /// Says that the part was not stored.
    pub(super) fn fail(&mut self, failure: Failure) {
        self.result = Err(failure);
    }

    /// Says what filing it came to.
    pub(super) fn filed(mut self, result: Result<Stored, Error>) -> Self {
        self.result = result.map_err(|error| log_failure(&error));
        self
    }
}

/// What became of a request.
#[derive(Debug)]
pub(super) struct Report {
    outcomes: Vec<Outcome>,
}

impl Report {
    /// Makes a report of the parts in order.
    pub(super) fn new(outcomes: Vec<Outcome>) -> Self {
        Self { outcomes }
    }

    /// Answers with the Store Instances Response Module (WE-166, WE-168, WE-175).
    pub(super) fn respond(&self, base_url: &str) -> Result<Response, Problem> {
        let status = self.status();
        if status == StatusCode::FORBIDDEN {
            return Err(Problem::new(status, "this client may not store instances"));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            return Err(Problem::new(status, "nothing can be stored now: send the instances again later"));
        }
        let study_url = self.study().map(|study| format!("{base_url}/studies/{study}"));
        let mut json = Vec::new();
        write_json(&self.module(base_url, study_url.as_deref()), &|_| String::new(), &mut json);
        let mut response = (status, Body::from(json)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/dicom+json"));
        let created = self.stored().any(|stored| stored.outcome == archive::Outcome::New);
        if created && let Some(url) = study_url.and_then(|url| HeaderValue::from_str(&url).ok()) {
            headers.insert(LOCATION, url.clone());
            headers.insert(CONTENT_LOCATION, url);
        }
        Ok(response)
    }

    /// Says how much was stored of a request that is refused.
    pub(super) fn already_stored(&self) -> String {
        match self.stored().count() {
            0 => "nothing of it was stored".to_owned(),
            stored => format!("{stored} instances that came before are stored"),
        }
    }

    fn stored(&self) -> impl Iterator<Item = &Stored> {
        self.outcomes.iter().filter_map(|outcome| outcome.result.as_ref().ok())
    }

    fn failures(&self) -> impl Iterator<Item = (&Outcome, Failure)> {
        self.outcomes.iter().filter_map(|outcome| outcome.result.as_ref().err().map(|failure| (outcome, *failure)))
    }

    fn status(&self) -> StatusCode {
        let all = |wanted: Failure| self.failures().all(|(_, failure)| failure == wanted);
        if self.failures().next().is_none() {
            StatusCode::OK
        } else if self.stored().next().is_some() {
            StatusCode::ACCEPTED
        } else if all(Failure::NotAllowed) {
            StatusCode::FORBIDDEN
        } else if all(Failure::OutOfResources) {
            StatusCode::SERVICE_UNAVAILABLE
        } else if all(Failure::TooLarge) {
            StatusCode::PAYLOAD_TOO_LARGE
        } else {
            StatusCode::CONFLICT
        }
    }

    /// Returns the study of what was stored, if it is one.
    fn study(&self) -> Option<&Uid> {
        let studies: BTreeSet<&Uid> = self.stored().map(|stored| &stored.study_instance_uid).collect();
        studies.first().copied().filter(|_| studies.len() == 1)
    }

    fn module(&self, base_url: &str, study_url: Option<&str>) -> Attributes {
        let mut module = Attributes::default();
        module.0.insert(tags::RETRIEVE_URL, Attribute { vr: VR::UR, value: Value::Empty });
        if let Some(url) = study_url {
            module.put_text(tags::RETRIEVE_URL, VR::UR, url);
        }
        let mut failed = Vec::new();
        let mut others = Vec::new();
        for (outcome, failure) in self.failures() {
            let named = outcome.sop_class_uid.as_ref().zip(outcome.sop_instance_uid.as_ref());
            let mut item = named.map(|(class, instance)| reference(class, instance)).unwrap_or_default();
            let value = Value::Integers(vec![i128::from(failure.reason())]);
            item.0.insert(tags::FAILURE_REASON, Attribute { vr: VR::US, value });
            if named.is_some() { &mut failed } else { &mut others }.push(item);
        }
        put_sequence(&mut module, tags::FAILED_SOP_SEQUENCE, failed);
        put_sequence(&mut module, tags::OTHER_FAILURES_SEQUENCE, others);
        let referenced = self.stored().map(|stored| {
            let Stored { study_instance_uid, series_instance_uid, sop_instance_uid, .. } = stored;
            let mut item = reference(&stored.sop_class_uid, sop_instance_uid);
            let below = format!("series/{series_instance_uid}/instances/{sop_instance_uid}");
            item.put_text(tags::RETRIEVE_URL, VR::UR, format!("{base_url}/studies/{study_instance_uid}/{below}"));
            item
        });
        put_sequence(&mut module, tags::REFERENCED_SOP_SEQUENCE, referenced.collect());
        module
    }
}

fn reference(class: &Uid, instance: &Uid) -> Attributes {
    let mut item = Attributes::default();
    item.put_text(tags::REFERENCED_SOP_CLASS_UID, VR::UI, class.as_str());
    item.put_text(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, instance.as_str());
    item
}

/// Puts a sequence, unless it is empty: they are type 1C (WE-168).
fn put_sequence(module: &mut Attributes, tag: Tag, items: Vec<Attributes>) {
    if !items.is_empty() {
        module.0.insert(tag, Attribute { vr: VR::SQ, value: Value::Sequence(items) });
    }
}
