//! Who speaks: the dominant speaker, the order of recent speakers, and who must be heard.
//!
//! Owns: the voices of one room and what follows from them.
//! Never: reads a clock, sees a packet's content, or knows tracks, slots and subscribers: a voice
//! is a key of the room's.
//!
//! The room calls the room's speakers for each audio packet, the room's speakers at
//! the room's speakers, and the room's speakers after either. RFC 6464; Volfin &
//! Cohen 2013.

mod activity;
mod floor;
mod level;
mod score;
mod voice;

/// What is known of one audio packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heard {
    /// RFC 6464: dBov from 0, loudest, to -127. Other numbers count as none. Its voice activity
    /// bit is not used: browsers set it each in their own way, or never.
    pub(crate) level: Option<i8>,
    /// Bytes of the payload; all there is if `level` is missing.
    pub(crate) payload: usize,
    /// An Opus packet without sound (one or two bytes, RFC 6716 §2.1.9) or comfort noise.
    pub(crate) dtx: bool,
}
