//! See `convoke_fuzz::tcp_frames`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| convoke_fuzz::tcp_frames(bytes));
