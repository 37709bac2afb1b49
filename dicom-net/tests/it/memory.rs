//! An archive in memory: keeps what it is given, fails when told to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use archive::{Error, InstanceBody, InstanceRef, Location, Metrics, Origin, Outcome, Selector, Stored};
use bytes::Bytes;
use dicom_core::{Tag, VR};
use dicom_data::Uid;
use dicom_data::query::{Level, Query};
use dicom_data::{Attribute, Attributes, Value};
use dicom_net::{Backend, Opened, Receive, Results};
use futures_util::{StreamExt, stream};

/// What an instance's receiver does when it should finish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fault {
    #[default]
    None,
    /// `receive` fails.
    Full,
    /// `write` fails.
    WriteFails,
    /// `finish` fails.
    Conflict,
    /// `finish` takes a while.
    Slow,
    /// `finish` never returns.
    Hangs,
}

/// The archive in memory.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    metrics: Metrics,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    instances: BTreeMap<String, (InstanceRef, Bytes)>,
    origins: Vec<Origin>,
    fault: Fault,
    endless_search: bool,
    open_delay: Duration,
    unreadable: Vec<String>,
    torn: Vec<String>,
    queries: Vec<Query>,
}

impl Memory {
    pub fn set_fault(&self, fault: Fault) {
        self.state.lock().unwrap().fault = fault;
    }

    pub fn set_endless_search(&self) {
        self.state.lock().unwrap().endless_search = true;
    }

    pub fn set_open_delay(&self, delay: Duration) {
        self.state.lock().unwrap().open_delay = delay;
    }

    pub fn make_unreadable(&self, sop_instance_uid: &str) {
        self.state.lock().unwrap().unreadable.push(sop_instance_uid.to_owned());
    }

    /// Reading this instance fails before its last piece.
    pub fn tear(&self, sop_instance_uid: &str) {
        let mut state = self.state.lock().unwrap();
        state.torn.push(sop_instance_uid.to_owned());
    }

    pub fn origins(&self) -> Vec<Origin> {
        self.state.lock().unwrap().origins.clone()
    }

    pub fn queries(&self) -> Vec<Query> {
        self.state.lock().unwrap().queries.clone()
    }

    pub fn data_set(&self, sop_instance_uid: &str) -> Option<Bytes> {
        let state = self.state.lock().unwrap();
        state.instances.get(sop_instance_uid).map(|(_, bytes)| bytes.clone())
    }

    pub fn len(&self) -> usize {
        self.state.lock().unwrap().instances.len()
    }

    fn matches(&self, query: &Query) -> Vec<Attributes> {
        let tag = match query.level {
            Level::Patient => Tag(0x0010, 0x0020),
            Level::Study => Tag(0x0020, 0x000D),
            Level::Series => Tag(0x0020, 0x000E),
            Level::Instance => Tag(0x0008, 0x0018),
        };
        let mut seen = BTreeMap::new();
        for (instance, _) in self.state.lock().unwrap().instances.values() {
            let mut one = Attributes::default();
            let uid = |uid: &Uid| uid.to_string();
            one.put_text(Tag(0x0020, 0x000D), VR::UI, uid(&instance.study_instance_uid));
            one.put_text(Tag(0x0020, 0x000E), VR::UI, uid(&instance.series_instance_uid));
            one.put_text(Tag(0x0008, 0x0018), VR::UI, uid(&instance.sop_instance_uid));
            one.put_text(Tag(0x0010, 0x0020), VR::LO, "ID1");
            one.put_text(Tag(0x0020, 0x1208), VR::IS, "7");
            one.0.insert(
                Tag(0x0040, 0x0275),
                Attribute {
                    vr: VR::SQ,
                    value: Value::Sequence(vec![{
                        let mut item = Attributes::default();
                        item.put_text(Tag(0x0040, 0x0009), VR::SH, "SPS1");
                        item.put_text(Tag(0x0040, 0x0007), VR::LO, "not asked for");
                        item
                    }]),
                },
            );
            seen.entry(one.text(tag).unwrap().to_owned()).or_insert(one);
        }
        seen.into_values().collect()
    }
}

impl Backend for Memory {
    type Receiver = MemoryReceiver;

    fn receive(&self, origin: Origin) -> Result<MemoryReceiver, Error> {
        let fault = {
            let mut state = self.state.lock().unwrap();
            state.origins.push(origin.clone());
            state.fault
        };
        if fault == Fault::Full {
            return Err(Error::OutOfResources { reason: "full".to_owned() });
        }
        Ok(MemoryReceiver { memory: self.clone(), origin, fault, bytes: Vec::new() })
    }

    async fn search(&self, query: Query) -> Result<Results<Attributes>, Error> {
        self.state.lock().unwrap().queries.push(query.clone());
        let matches = self.matches(&query);
        if self.state.lock().unwrap().endless_search {
            let endless = stream::iter(matches.into_iter().cycle());
            return Ok(Box::pin(endless.then(|one| async {
                tokio::task::yield_now().await;
                Ok(one)
            })));
        }
        Ok(Box::pin(stream::iter(matches.into_iter().map(Ok))))
    }

    async fn locate(&self, selector: &Selector) -> Result<Vec<InstanceRef>, Error> {
        let has = |list: &Vec<Uid>, uid: &Uid| list.is_empty() || list.contains(uid);
        let state = self.state.lock().unwrap();
        let found = state.instances.values().map(|(instance, _)| instance).filter(|instance| {
            has(&selector.studies, &instance.study_instance_uid)
                && has(&selector.series, &instance.series_instance_uid)
                && has(&selector.instances, &instance.sop_instance_uid)
        });
        Ok(found.cloned().collect())
    }

    fn open_all(&self, instances: Vec<InstanceRef>) -> Opened {
        let memory = self.clone();
        Box::pin(stream::iter(instances).then(move |instance| {
            let memory = memory.clone();
            async move {
                let (delay, unreadable, torn) = {
                    let state = memory.state.lock().unwrap();
                    let uid = instance.sop_instance_uid.to_string();
                    (state.open_delay, state.unreadable.contains(&uid), state.torn.contains(&uid))
                };
                if !delay.is_zero() {
                    tokio::time::sleep(delay).await;
                }
                if unreadable {
                    return (instance, Err(Error::NotFound { what: "instance" }));
                }
                let bytes = memory.data_set(instance.sop_instance_uid.as_str()).unwrap();
                let mut pieces: Vec<_> = bytes.chunks(100_000).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
                if torn {
                    pieces.pop();
                    pieces.push(Err(Error::NotFound { what: "piece" }));
                }
                let chunks = Box::pin(stream::iter(pieces));
                (instance, Ok(InstanceBody { bytes: bytes.len() as u64, chunks }))
            }
        }))
    }

    fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}

/// Gathers one instance.
#[derive(Debug)]
pub struct MemoryReceiver {
    memory: Memory,
    origin: Origin,
    fault: Fault,
    bytes: Vec<u8>,
}

impl Receive for MemoryReceiver {
    async fn write(&mut self, chunk: Bytes) -> Result<(), Error> {
        if self.fault == Fault::WriteFails {
            return Err(Error::Malformed { offset: 0, reason: "as told" });
        }
        self.bytes.extend_from_slice(&chunk);
        Ok(())
    }

    async fn finish(self) -> Result<Stored, Error> {
        match self.fault {
            Fault::None | Fault::Full | Fault::WriteFails => {}
            Fault::Slow => tokio::time::sleep(Duration::from_millis(100)).await,
            Fault::Conflict => return Err(Error::Conflict),
            Fault::Hangs => std::future::pending().await,
        }
        let sop_instance_uid = self.origin.sop_instance_uid.unwrap();
        // Instances of one study have UIDs that begin with the study's.
        let mut arcs: Vec<&str> = sop_instance_uid.as_str().split('.').collect();
        arcs.pop();
        let series: Uid = arcs.join(".").parse().unwrap();
        arcs.pop();
        let study: Uid = arcs.join(".").parse().unwrap();
        let instance = InstanceRef {
            study_instance_uid: study.clone(),
            series_instance_uid: series.clone(),
            sop_instance_uid: sop_instance_uid.clone(),
            sop_class_uid: self.origin.sop_class_uid.clone().unwrap(),
            transfer_syntax_uid: self.origin.transfer_syntax_uid,
            bytes: self.bytes.len() as u64,
            location: location(),
        };
        let mut state = self.memory.state.lock().unwrap();
        let known = state.instances.insert(sop_instance_uid.to_string(), (instance, self.bytes.into()));
        Ok(Stored {
            sop_class_uid: self.origin.sop_class_uid.unwrap(),
            sop_instance_uid,
            study_instance_uid: study,
            series_instance_uid: series,
            outcome: if known.is_some() { Outcome::Duplicate } else { Outcome::New },
        })
    }
}

fn location() -> Location {
    Location::Journal(journal::RecordRef {
        lsn: journal::Lsn(0),
        head_bytes: 0,
        payload_bytes: 0,
        crc32c: 0,
        large: false,
    })
}
