//! What becomes of a configured device at a start: a pure function of what a first look found.

use crate::device::identity::Found;
use crate::{DeviceId, PoolConfig};

/// Why an empty device of a used pool stays as it is.
const NOT_MOUNTED: &str =
    "it was a device of this pool and is empty now: mount its disk; a new disk needs a path of its own";

/// What a pool has been through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum History {
    /// No medium is a device yet.
    None,
    /// Some are, and no container was ever written: perhaps the first start was interrupted.
    Made,
    /// There are containers.
    Used,
}

/// What to do with a configured device.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Use it; it is this device.
    Use(DeviceId),
    /// Make it a device of the pool. With `needed` the start fails if that fails.
    Make {
        /// Whether the pool cannot start without it.
        needed: bool,
        /// Whether the pool has containers: the medium is new, or its disk is not mounted.
        joins_used_pool: bool,
    },
    /// Leave it out until a probe finds it as it should be, and say why.
    Offline(String),
    /// Do not start: a person must change something first.
    Refuse(String),
}

/// Returns what a pool has been through, from what each medium was found to be and whether it ever held shards.
pub(crate) fn history<'a>(seen: impl Iterator<Item = (&'a Found, bool)>, used: bool) -> History {
    let mut ready = seen.filter(|(found, _)| matches!(found, Found::Ready(_))).peekable();
    if used {
        History::Used
    } else if ready.peek().is_none() {
        History::None
    } else if ready.any(|(_, has_shards)| has_shards) {
        History::Used
    } else {
        History::Made
    }
}

/// Decides on one device. `was_device` says that the caller remembers it as one that held containers.
pub(crate) fn admit(found: &Found, history: History, was_device: bool, config: &PoolConfig) -> Admission {
    match (found, history) {
        (Found::Empty | Found::Absent, _) if was_device => Admission::Offline(NOT_MOUNTED.to_owned()),
        (Found::Ready(identity), _) => match identity.refusal(config) {
            None => Admission::Use(identity.id()),
            Some(reason) => Admission::Refuse(reason),
        },
        (Found::Unreadable(reason), History::None) => {
            Admission::Refuse(format!("{reason}; the first start of a pool needs all its devices"))
        }
        (Found::Unreadable(reason), History::Made | History::Used) => Admission::Offline(reason.clone()),
        (Found::Empty | Found::Absent, History::None) => Admission::Make { needed: true, joins_used_pool: false },
        (Found::Absent, History::Used) => {
            Admission::Offline("it is not there; make its directory if it is a new device".to_owned())
        }
        (Found::Empty, History::Used) => Admission::Make { needed: false, joins_used_pool: true },
        (Found::Empty | Found::Absent, History::Made) => Admission::Make { needed: false, joins_used_pool: false },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tier;

    fn decide(found: &Found, history: History, was_device: bool) -> Admission {
        let code = "2+1".parse().unwrap();
        let config = PoolConfig { name: "hot".to_owned(), tier: Tier::Hot, code, devices: Vec::new() };
        admit(found, history, was_device, &config)
    }

    #[test]
    fn a_first_start_makes_every_device_or_none() {
        for found in [Found::Empty, Found::Absent] {
            let made = Admission::Make { needed: true, joins_used_pool: false };
            assert_eq!(decide(&found, History::None, false), made);
        }
        let unreadable = Found::Unreadable("it is not a directory".to_owned());
        assert!(matches!(decide(&unreadable, History::None, false), Admission::Refuse(_)));
    }

    #[test]
    fn an_unmounted_disk_of_a_used_pool_is_never_made_anew() {
        for found in [Found::Empty, Found::Absent] {
            for history in [History::None, History::Made, History::Used] {
                assert_eq!(decide(&found, history, true), Admission::Offline(NOT_MOUNTED.to_owned()));
            }
        }
        assert!(matches!(decide(&Found::Absent, History::Used, false), Admission::Offline(_)));
    }

    #[test]
    fn a_used_pool_takes_an_empty_medium_and_starts_without_an_unreadable_one() {
        let made = Admission::Make { needed: false, joins_used_pool: true };
        assert_eq!(decide(&Found::Empty, History::Used, false), made);
        let unreadable = Found::Unreadable("it hangs".to_owned());
        assert_eq!(decide(&unreadable, History::Used, false), Admission::Offline("it hangs".to_owned()));
    }

    #[test]
    fn what_a_pool_has_been_through_follows_from_its_media() {
        let seen = |found: &[(Found, bool)], used: bool| {
            history(found.iter().map(|(found, has_shards)| (found, *has_shards)), used)
        };
        assert_eq!(seen(&[(Found::Empty, false)], false), History::None);
        assert_eq!(seen(&[(Found::Empty, false)], true), History::Used);
        assert_eq!(seen(&[(Found::Absent, true)], false), History::None);
    }
}
