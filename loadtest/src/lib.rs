//! Convoke's load test.
//!
//! Owns: many simulated callers on a few threads, what reached them, and the report of it.
//! Never: knows the server's inside; it goes by what a client gets and what the system tells.

#![forbid(unsafe_code)]

pub mod engine;
pub mod figures;
pub mod key;
pub mod meter;
pub mod peers;
pub mod plan;
pub mod probe;
pub mod report;
pub mod run;
pub mod scenario;
pub mod server;
pub mod target;
pub mod units;
pub mod visit;
