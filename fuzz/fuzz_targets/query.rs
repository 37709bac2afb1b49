//! The query string of a search.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dicomweb::fuzzing::query(bytes));
