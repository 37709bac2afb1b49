//! A multipart body, in one piece and in many.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dicomweb::fuzzing::multipart(bytes));
