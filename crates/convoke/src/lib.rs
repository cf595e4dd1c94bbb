//! Convoke: group calls inside any tokio program.

#![forbid(unsafe_code)]
