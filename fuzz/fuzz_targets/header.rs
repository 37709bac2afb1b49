//! A data set in each encoding, read in every way; and file meta information.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::header(bytes));
