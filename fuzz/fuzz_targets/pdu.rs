//! A peer's stream of PDUs, and the association requests and answers in it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dicom_net::fuzzing::pdu(bytes));
