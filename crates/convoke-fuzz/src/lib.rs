//! The bodies of the fuzz targets: each takes bytes of strangers and panics when a promise breaks.
//!
//! Owns: what a target feeds and what it checks.
//! Never: touches a network or a file; `fuzz/` runs these under libFuzzer, `tests/corpus.rs`
//! replays the committed corpus in a plain `cargo test`.
//!
//! A panic is the finding, so `assert!`, `expect` and indexing are the tools here.

#![forbid(unsafe_code)]

mod data;
mod datagrams;
mod http_sdp;
mod offer;
mod signalling;
mod tcp_frames;
mod world;

pub use data::data;
pub use datagrams::{Record, datagrams, write_records};
pub use http_sdp::{http_sdp, http_sdp_taken};
pub use offer::{offers_joined, sdp_offer};
pub use signalling::signalling;
pub use tcp_frames::{tcp_frames, tcp_frames_taken};
