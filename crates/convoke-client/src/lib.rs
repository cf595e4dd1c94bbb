//! Convoke's native client.
//!
//! Owns: the client half of a participant ([`media`], sans-IO), synthetic media ([`source`]), the
//! laws that received media must keep ([`check`]), networks to try it over ([`link`]), and a ready
//! client for tokio programs ([`Client`]).
//! Never: imports the server's core; it knows the server by its protocol only.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod check;
mod client;
pub mod link;
pub mod media;
pub mod source;

pub use client::{
    Call, CallChange, CallData, CallDataReceived, CallEvent, CallState, Client, ClientOptions,
    ConnectError, DataError, Events, Incoming, JoinError, JoinOptions, Packets, Publication,
    RequestError, Seat, SeatEvent, SourceStart, Standing, StartCallOptions, TrackHandle,
    WriteError,
};
