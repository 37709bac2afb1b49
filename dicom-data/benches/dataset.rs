//! What reading the header of one 60 KB CT slice costs: the four UIDs that a receiver wants, and all attributes that the
//! index wants. The baseline copies the same bytes once.

use dicom_data::{EXPLICIT_VR_LITTLE_ENDIAN, Limits, TransferSyntax, read, read_identifiers, transfer_syntax};
use divan::counter::BytesCount;
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

/// The least that anything does with a received data set.
#[divan::bench]
fn baseline_memcpy(bencher: Bencher<'_, '_>) {
    let data_set = slice();
    let mut copy = vec![0; data_set.len()];
    bencher.counter(BytesCount::of_slice(&data_set)).bench_local(|| {
        copy.copy_from_slice(black_box(&data_set));
        black_box(&mut copy);
    });
}

#[divan::bench]
fn identifiers(bencher: Bencher<'_, '_>) {
    let data_set = slice();
    bencher
        .counter(BytesCount::of_slice(&data_set))
        .bench_local(|| read_identifiers(black_box(data_set.as_slice()), syntax()).expect("the generator's are right"));
}

#[divan::bench]
fn all_attributes(bencher: Bencher<'_, '_>) {
    let (data_set, limits) = (slice(), Limits::default());
    bencher.counter(BytesCount::of_slice(&data_set)).bench_local(|| {
        let parsed = read(black_box(data_set.as_slice()), syntax(), &limits).expect("the generator's are right");
        assert!(parsed.complete);
        parsed
    });
}

/// Returns one data set of the default study.
fn slice() -> Vec<u8> {
    let spec = testdata::StudySpec { instances_per_series: 1, ..testdata::StudySpec::default() };
    testdata::study(spec).next().expect("it has one instance").data_set
}

fn syntax() -> &'static TransferSyntax {
    transfer_syntax(EXPLICIT_VR_LITTLE_ENDIAN).expect("the table has it")
}
