//! The laws that a slot's stream must keep, checked on received packets.
//!
//! Owns: [`SlotChecker`] (one slot, from decrypted packets), [`WireChecker`] (one server's outgoing
//! datagrams, from clear headers), a model decoder and a delay histogram.
//! Never: reads a clock or asserts; faults are returned as [`Violation`]s.

mod decode;
mod delay;
mod pairs;
mod screen;
mod slot;
mod violation;
mod wire;

pub use decode::{Decoded, ModelDecoder, SourceReport};
pub use delay::Delays;
pub use screen::{Screen, Shown};
pub use slot::{Grace, SlotChecker, SlotReport};
pub use violation::Violation;
pub use wire::{WireChecker, rtp_numbers};

#[cfg(test)]
mod tests;
