//! A command set.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dicom_net::fuzzing::command_set(bytes));
