//! A container's table of contents, a manifest or a footer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tiering::fuzzing::toc(bytes));
