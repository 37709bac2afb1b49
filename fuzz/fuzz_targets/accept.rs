//! An Accept header.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dicomweb::fuzzing::accept(bytes));
