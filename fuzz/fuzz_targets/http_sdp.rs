//! See `convoke_fuzz::http_sdp`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| convoke_fuzz::http_sdp(bytes));
