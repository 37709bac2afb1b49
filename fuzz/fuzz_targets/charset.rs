//! Text in a character set: a line of terms, then the bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::charset(bytes));
