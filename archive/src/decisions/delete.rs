//! Which unsealed instances a deletion covers.

use dicom_data::Uid;
use index::Tombstone;

/// Tells whether a deletion covers an instance of its study.
pub(crate) fn covers(tombstone: &Tombstone, series: &Uid, instance: &Uid) -> bool {
    tombstone.series.as_ref().is_none_or(|deleted| deleted == series)
        && tombstone.instance.as_ref().is_none_or(|deleted| deleted == instance)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uid(text: &str) -> Uid {
        text.parse().unwrap()
    }

    #[test]
    fn a_deletion_covers_what_lies_below_it_and_nothing_else() {
        let of = |series: Option<&str>, instance: Option<&str>| Tombstone {
            study: uid("1"),
            series: series.map(uid),
            instance: instance.map(uid),
            deleted_millis: 0,
        };
        let (series, instance) = (uid("1.2"), uid("1.2.3"));
        assert!(covers(&of(None, None), &series, &instance));
        assert!(covers(&of(Some("1.2"), None), &series, &instance));
        assert!(covers(&of(Some("1.2"), Some("1.2.3")), &series, &instance));
        assert!(!covers(&of(Some("1.9"), None), &series, &instance));
        assert!(!covers(&of(Some("1.2"), Some("1.2.9")), &series, &instance));
    }
}
