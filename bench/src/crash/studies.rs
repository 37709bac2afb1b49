//! The studies that are sent, by seed.

use std::collections::{BTreeMap, BTreeSet};

use testdata::{Charset, Encoding, StudySpec};

/// Seeds of studies, and the numbers of their instances in the order of generation.
pub(crate) type Studies = BTreeMap<u64, BTreeSet<usize>>;

/// Returns the study of a seed: sizes and encodings change with it. Every eighth has instances of more than 1 MiB.
pub(crate) fn spec(seed: u64) -> StudySpec {
    let (series, instances_per_series, side) = match seed % 8 {
        5 => (1, 4, 800),
        even if even % 2 == 0 => (2, 12, 172),
        _ => (2, 12, 64),
    };
    StudySpec {
        seed,
        series,
        instances_per_series,
        rows: side,
        columns: side,
        charset: if seed.is_multiple_of(5) { Charset::Utf8 } else { Charset::Ascii },
        encoding: match seed % 3 {
            0 => Encoding::ExplicitLittleEndian,
            1 => Encoding::ImplicitLittleEndian,
            _ => Encoding::RleLossless,
        },
        ..StudySpec::default()
    }
}
