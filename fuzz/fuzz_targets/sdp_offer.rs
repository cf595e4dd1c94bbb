//! See `convoke_fuzz::sdp_offer`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| convoke_fuzz::sdp_offer(bytes));
