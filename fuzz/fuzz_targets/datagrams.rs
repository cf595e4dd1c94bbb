//! See `convoke_fuzz::datagrams`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| convoke_fuzz::datagrams(bytes));
