//! See `convoke_fuzz::signalling`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| convoke_fuzz::signalling(bytes));
