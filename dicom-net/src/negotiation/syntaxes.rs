//! Which SOP classes are served, and in which transfer syntaxes.

use crate::options::Rules;

pub(crate) const IMPLICIT_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2";
pub(crate) const EXPLICIT_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2.1";
const EXPLICIT_BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";

/// What an abstract syntax stands for here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Verification,
    Storage,
    Find(Root),
    Move(Root),
    Get(Root),
}

/// Information model of a query or retrieve (PS3.4 §C.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Root {
    Patient,
    Study,
}

impl Service {
    /// Returns the service of a SOP class, `None` when it is not served.
    pub(crate) fn of(sop_class_uid: &str) -> Option<Self> {
        match sop_class_uid {
            "1.2.840.10008.1.1" => Some(Self::Verification),
            "1.2.840.10008.5.1.4.1.2.1.1" => Some(Self::Find(Root::Patient)),
            "1.2.840.10008.5.1.4.1.2.1.2" => Some(Self::Move(Root::Patient)),
            "1.2.840.10008.5.1.4.1.2.1.3" => Some(Self::Get(Root::Patient)),
            "1.2.840.10008.5.1.4.1.2.2.1" => Some(Self::Find(Root::Study)),
            "1.2.840.10008.5.1.4.1.2.2.2" => Some(Self::Move(Root::Study)),
            "1.2.840.10008.5.1.4.1.2.2.3" => Some(Self::Get(Root::Study)),
            uid if dicom_data::is_storage(uid) => Some(Self::Storage),
            _ => None,
        }
    }

    /// Chooses one of the proposed transfer syntaxes: the first we take, but Implicit VR Little
    /// Endian and the retired Big Endian only when there is nothing else (UL-051). Implicit VR
    /// loses the value representation of private elements, so it is not what a sender should be
    /// held to.
    pub(crate) fn choose<'a>(self, proposed: &[&'a str], rules: &Rules) -> Option<&'a str> {
        let usable = || proposed.iter().copied().filter(|uid| self.takes(uid, rules));
        usable()
            .find(|uid| *uid != IMPLICIT_LITTLE_ENDIAN && *uid != EXPLICIT_BIG_ENDIAN)
            .or_else(|| usable().find(|uid| *uid == IMPLICIT_LITTLE_ENDIAN))
            .or_else(|| usable().next())
    }

    fn takes(self, uid: &str, rules: &Rules) -> bool {
        if uid == IMPLICIT_LITTLE_ENDIAN {
            return true; // the default transfer syntax is never refused (UL-054)
        }
        match self {
            Self::Verification | Self::Find(_) | Self::Move(_) | Self::Get(_) => {
                uid == EXPLICIT_LITTLE_ENDIAN || uid == EXPLICIT_BIG_ENDIAN
            }
            Self::Storage => match &rules.transfer_syntaxes {
                Some(listed) => listed.iter().any(|one| one == uid),
                None => {
                    dicom_data::transfer_syntax(uid).map_or(rules.store_opaque && is_uid(uid), |syntax| syntax.accepted)
                }
            },
        }
    }
}

fn is_uid(text: &str) -> bool {
    text.parse::<dicom_data::Uid>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RLE: &str = "1.2.840.10008.1.2.5";
    const PRIVATE: &str = "1.2.840.113619.5.2";

    fn choose<'a>(service: Service, proposed: &[&'a str]) -> Option<&'a str> {
        service.choose(proposed, &Rules::default())
    }

    #[test]
    fn the_first_proposed_wins_but_big_endian_and_implicit_come_last() {
        // UL-051, UL-054
        let (be, imp, exp) = (EXPLICIT_BIG_ENDIAN, IMPLICIT_LITTLE_ENDIAN, EXPLICIT_LITTLE_ENDIAN);
        assert_eq!(choose(Service::Storage, &[be, imp, RLE, exp]), Some(RLE));
        assert_eq!(choose(Service::Storage, &[exp, RLE]), Some(exp));
        assert_eq!(choose(Service::Storage, &[be, imp]), Some(imp));
        assert_eq!(choose(Service::Storage, &[be]), Some(be));
        assert_eq!(choose(Service::Verification, &[RLE, imp]), Some(imp));
        assert_eq!(choose(Service::Verification, &[RLE]), None);
    }

    #[test]
    fn unknown_syntaxes_need_a_rule_and_lists_restrict() {
        // UL-050, UL-053
        assert_eq!(choose(Service::Storage, &[PRIVATE]), None);
        let opaque = Rules { store_opaque: true, ..Rules::default() };
        assert_eq!(Service::Storage.choose(&[PRIVATE], &opaque), Some(PRIVATE));
        let listed = Rules { transfer_syntaxes: Some(vec![RLE.to_owned()]), ..Rules::default() };
        let proposed = [EXPLICIT_LITTLE_ENDIAN, RLE];
        assert_eq!(Service::Storage.choose(&proposed, &listed), Some(RLE));
    }

    #[test]
    fn query_and_print_classes_are_not_storage() {
        // ST-062
        assert_eq!(Service::of("1.2.840.10008.5.1.4.1.1.2"), Some(Service::Storage));
        assert_eq!(Service::of("1.2.840.10008.5.1.4.1.2.2.1"), Some(Service::Find(Root::Study)));
        for uid in ["1.2.840.10008.5.1.4.31", "1.2.840.10008.3.1.2.3.3", "1.2.840.10008.5.1.1.9"] {
            assert_eq!(Service::of(uid), None, "{uid}");
        }
    }
}
