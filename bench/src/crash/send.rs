//! Sending until the server is gone.

use crate::association::{Association, Kind};
use crate::crash::{Acknowledged, spec};

/// Studies that one association sends at most in a round.
const STUDIES_MAX: u64 = 1000;
/// CT Image Storage in the transfer syntaxes of the studies.
const KINDS: [Kind; 3] = [
    ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"),
    ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2"),
    ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.5"),
];

/// What was sent in a round.
#[derive(Debug, Default)]
pub(super) struct Sent {
    pub(super) acknowledged: Acknowledged,
    pub(super) refused: usize,
}

/// Sends over several associations until each has failed: the server was killed.
pub(super) fn send(address: &str, first_seed: u64, associations: u32) -> Sent {
    let mut sent = Sent::default();
    std::thread::scope(|scope| {
        let sender = |number: u32| scope.spawn(move || send_one(address, first_seed + u64::from(number) * STUDIES_MAX));
        let senders: Vec<_> = (0..associations).map(sender).collect();
        for one in senders {
            let one = one.join().expect("a sender has no reason to panic");
            sent.acknowledged.extend(one.acknowledged);
            sent.refused += one.refused;
        }
    });
    sent
}

/// Sends studies over one association; every error is the end, for the server is to be killed.
fn send_one(address: &str, first_seed: u64) -> Sent {
    let mut sent = Sent::default();
    let Ok(mut association) = Association::open(address, "FILMROOM", &KINDS) else {
        return sent;
    };
    for seed in first_seed..first_seed + STUDIES_MAX {
        for (number, instance) in testdata::study(spec(seed)).enumerate() {
            let kind = (instance.sop_class_uid, instance.transfer_syntax_uid);
            match association.store(kind, &instance.sop_instance_uid, &instance.data_set) {
                Ok(0) => sent.acknowledged.entry(seed).or_default().push(number),
                Ok(_) => sent.refused += 1,
                Err(_) => return sent,
            }
        }
    }
    sent
}
