//! Storing into the double.

use std::time::Duration;

use bytes::Bytes;
use dicom_data::Identifiers;

use super::filing::{Fault, Identify, Keeping};
use super::instance::Instance;
use super::state::Double;
use crate::{Caller, Error, Origin, Outcome, ReceiveInstance, Right, StoreService, Stored};

/// How long a slow instance takes to file.
const SLOW: Duration = Duration::from_millis(100);

impl StoreService for Double {
    type Receiver = DoubleReceiver;

    fn receive(&self, caller: &Caller, origin: Origin) -> Result<DoubleReceiver, Error> {
        caller.may(Right::Store)?;
        DoubleReceiver::new(self.clone(), caller, origin)
    }
}

/// Receives one instance into the double.
#[derive(Debug)]
pub struct DoubleReceiver {
    double: Double,
    origin: Origin,
    fault: Fault,
    identify: Identify,
    keeping: Keeping,
    bytes: Vec<u8>,
}

impl DoubleReceiver {
    fn new(double: Double, caller: &Caller, origin: Origin) -> Result<Self, Error> {
        let (fault, identify, keeping) = {
            let mut state = double.state();
            if state.keeping == Keeping::Everything {
                state.received.push((caller.clone(), origin.clone()));
            }
            (state.fault, state.identify, state.keeping)
        };
        if fault == Fault::Full {
            return Err(Error::OutOfResources { reason: "the journal is full".to_owned() });
        }
        Ok(Self { double, origin, fault, identify, keeping, bytes: Vec::new() })
    }
}

impl ReceiveInstance for DoubleReceiver {
    async fn write(&mut self, chunk: Bytes) -> Result<(), Error> {
        if self.keeping == Keeping::Nothing {
            return Ok(());
        }
        self.bytes.extend_from_slice(&chunk);
        (self.identify.begin)(&self.bytes)
    }

    async fn finish(self) -> Result<Stored, Error> {
        let filing = Filing::new(self.double.clone());
        match self.fault {
            Fault::None | Fault::Full => tokio::task::yield_now().await,
            Fault::Slow => tokio::time::sleep(SLOW).await,
            Fault::Hangs => std::future::pending().await,
        }
        drop(filing);
        let uids = (self.identify.finish)(&self.origin, &self.bytes)?;
        check(&self.origin, &uids)?;
        let outcome = file(&self.double, self.origin, &uids, self.bytes.into())?;
        Ok(Stored {
            sop_class_uid: uids.sop_class_uid,
            sop_instance_uid: uids.sop_instance_uid,
            study_instance_uid: uids.study_instance_uid,
            series_instance_uid: uids.series_instance_uid,
            outcome,
        })
    }
}

/// Keeps an instance; of two with the same UIDs the first one stays.
fn file(double: &Double, origin: Origin, uids: &Identifiers, data_set: Bytes) -> Result<Outcome, Error> {
    let mut state = double.state();
    if state.keeping == Keeping::Nothing {
        return Ok(Outcome::New);
    }
    let known = state.instance(uids.sop_instance_uid.as_str()).map(|known| known.data_set == data_set);
    if known == Some(false) {
        return Err(Error::Conflict);
    }
    state.stored.push((origin.clone(), data_set.clone()));
    if known == Some(true) {
        return Ok(Outcome::Duplicate);
    }
    state.instances.push(Instance::new(uids.clone(), origin.transfer_syntax_uid, data_set));
    Ok(Outcome::New)
}

/// Refuses a data set that contradicts what was said about it.
fn check(origin: &Origin, uids: &Identifiers) -> Result<(), Error> {
    let pairs = [
        (&origin.sop_class_uid, &uids.sop_class_uid, "SOPClassUID"),
        (&origin.sop_instance_uid, &uids.sop_instance_uid, "SOPInstanceUID"),
        (&origin.study_instance_uid, &uids.study_instance_uid, "StudyInstanceUID"),
    ];
    let contradicted = pairs.into_iter().find(|(said, found, _)| said.as_ref().is_some_and(|said| said != *found));
    contradicted.map_or(Ok(()), |(_, _, keyword)| Err(Error::Contradiction { keyword }))
}

/// Counts an instance as being filed until it is dropped: also when filing is cut off.
struct Filing(Double);

impl Filing {
    fn new(double: Double) -> Self {
        let mut state = double.state();
        state.filing += 1;
        state.filing_max = state.filing_max.max(state.filing);
        drop(state);
        Self(double)
    }
}

impl Drop for Filing {
    fn drop(&mut self) {
        self.0.state().filing -= 1;
    }
}
