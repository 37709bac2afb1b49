//! SOP class extended negotiation (PS3.7 §D.3.3.5): what a service can do beyond its baseline.

use super::Service;

/// Level 2: all attributes are kept, and what is stored is what was sent, signatures included
/// (PS3.4 §B.3.1). Bytes 2, 4 and 6 are reserved; byte 5 says that nothing is coerced.
const STORAGE: [u8; 6] = [2, 0, 2, 0, 0, 0];
/// Options of C-FIND (PS3.4 §C.5.1.1).
const FIND_OPTIONS: usize = 7;
/// Options of C-MOVE and C-GET (PS3.4 §C.5.2.1, §C.5.3.1).
const RETRIEVE_OPTIONS: usize = 2;

/// Returns the answer to the service class application information that was offered, never
/// longer than the offer (UL-075). Of the options of queries and retrieves we have the first:
/// keys of all levels, whether or not the unique keys above are there.
pub(super) fn answer(service: Service, offered: &[u8]) -> Option<Vec<u8>> {
    let options = match service {
        Service::Verification => return None,
        Service::Storage => {
            return Some(STORAGE.into_iter().take(offered.len()).collect());
        }
        Service::Find(_) => FIND_OPTIONS,
        Service::Move(_) | Service::Get(_) => RETRIEVE_OPTIONS,
    };
    let relational = u8::from(is_relational(offered));
    let rest = std::iter::repeat(0);
    let answer = std::iter::once(relational).chain(rest);
    Some(answer.take(offered.len().min(options)).collect())
}

/// Tells whether relational queries or retrieves are offered.
pub(super) fn is_relational(offered: &[u8]) -> bool {
    offered.first() == Some(&1)
}

#[cfg(test)]
mod tests {
    use super::super::Root;
    use super::*;

    #[test]
    fn answers_are_no_longer_than_offers_and_no_more_than_we_can() {
        // UL-073 to UL-077
        let find = Service::Find(Root::Study);
        for (service, offered, expected) in [
            (Service::Storage, &[3, 0, 3, 0, 2, 0][..], Some(vec![2, 0, 2, 0, 0, 0])),
            (Service::Storage, &[2], Some(vec![2])),
            (find, &[1, 1, 1, 1, 1, 1, 1, 1, 1], Some(vec![1, 0, 0, 0, 0, 0, 0])),
            (find, &[1], Some(vec![1])),
            (find, &[0, 1, 1], Some(vec![0, 0, 0])),
            (Service::Get(Root::Patient), &[1, 1], Some(vec![1, 0])),
            (Service::Move(Root::Patient), &[], Some(vec![])),
            (Service::Verification, &[1], None),
        ] {
            assert_eq!(answer(service, offered), expected, "{service:?} {offered:?}");
        }
    }
}
