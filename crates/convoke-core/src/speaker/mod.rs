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
mod score;
