//! What goes into a slot, packet by packet.
//!
//! Owns: a slot's choice ([`select`]: what is forwarded, what is waited for), its numbering
//! ([`rewrite`]: one continuous RTP stream whatever feeds it), and the keyframe budget of a source
//! ([`keyframe`]).
//! Never: touches a transport or another slot.

pub(crate) mod keyframe;
pub(crate) mod rewrite;
pub(crate) mod select;

pub(crate) use keyframe::{Keyframes, Pace};
pub(crate) use select::{Choice, Forwarder, Kind};

#[cfg(test)]
mod tests;
