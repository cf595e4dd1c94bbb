//! See `convoke_fuzz::data`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| convoke_fuzz::data(bytes));
