//! Data messages between the participants of a room: what they are, their bounds, what is counted.
//!
//! Owns: the words in which data goes in and comes out, and the reasons for which it does not.
//! Never: decides; that is the room's (`room/data.rs`).

use std::sync::Arc;
use std::time::Duration;

use crate::ids::{ParticipantId, RoomId};

/// The longest topic of a data message, in bytes: the wire has one byte for its length, and a topic
/// is a word, not a message.
pub const DATA_TOPIC_BYTES_MAX: usize = 64;

/// The most recipients that one data message can name: the wire has one byte for their number.
pub const DATA_RECIPIENTS_MAX: usize = 255;

/// How hard it is tried to deliver a data message (the words of ACS).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reliability {
    /// In order and retransmitted until it arrives.
    Durable,
    /// Once, at best, and in any order.
    Lossy,
}

impl Reliability {
    /// Both, in the order of [`DataStats`].
    pub const ALL: [Self; 2] = [Self::Durable, Self::Lossy];

    /// The metric label; also the label of its data channel.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Durable => "durable",
            Self::Lossy => "lossy",
        }
    }
}

/// A data message of a participant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataMessage {
    /// For whom, at most [`DATA_RECIPIENTS_MAX`]; everyone else when absent. Whoever is not in the
    /// room, and the sender, are passed over.
    pub to: Option<Vec<ParticipantId>>,
    /// How hard it is tried.
    pub reliability: Reliability,
    /// What it is about, at most [`DATA_TOPIC_BYTES_MAX`] bytes; empty for none.
    pub topic: Arc<str>,
    /// At most [`DataLimits::payload_bytes`].
    pub payload: Arc<[u8]>,
}

/// A data message for participants that have no open data channel for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataEvent {
    /// Where.
    pub room: RoomId,
    /// For whom; never empty.
    pub to: Vec<ParticipantId>,
    /// Who sent it.
    pub from: ParticipantId,
    /// How hard it is tried.
    pub reliability: Reliability,
    /// What it is about; empty for none.
    pub topic: Arc<str>,
    /// What it says.
    pub payload: Arc<[u8]>,
}

/// A participant's data channel was closed by the room: for that participant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataClosed {
    /// Where.
    pub room: RoomId,
    /// Whose.
    pub participant: ParticipantId,
    /// Which channel.
    pub reliability: Reliability,
    /// Why.
    pub reason: DataCloseReason,
    /// How long to wait before a new one is opened, where waiting helps.
    pub retry_after: Option<Duration>,
}

/// Why a room closes a data channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum DataCloseReason {
    /// The participant does not read what it is sent: what waited for it is lost.
    SlowReader,
    /// The participant sends more durable messages than it may: the last one was not taken.
    TooFast,
}

impl DataCloseReason {
    /// All of them, in the order of [`DataStats::closed`].
    pub const ALL: [Self; 2] = [Self::SlowReader, Self::TooFast];

    /// The metric label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::SlowReader => "slow_reader",
            Self::TooFast => "too_fast",
        }
    }
}

/// Why a data message was not delivered, to one or to all; counted in [`DataStats::drops`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum DataDrop {
    /// The frame on a data channel is none of ours.
    Malformed,
    /// The sender may not send data.
    NotAllowed,
    /// The payload is larger than [`DataLimits::payload_bytes`].
    TooLarge,
    /// The sender sends more than it may.
    TooFast,
    /// A receiver does not read: a lossy message was not queued for it, or a durable one was lost
    /// when its channel was closed.
    SlowReader,
    /// A data channel that is no durable or lossy one, or one too many, was opened.
    ChannelRefused,
}

impl DataDrop {
    /// All of them, in the order of [`DataStats::drops`].
    pub const ALL: [Self; 6] = [
        Self::Malformed,
        Self::NotAllowed,
        Self::TooLarge,
        Self::TooFast,
        Self::SlowReader,
        Self::ChannelRefused,
    ];

    /// The metric label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::NotAllowed => "not_allowed",
            Self::TooLarge => "too_large",
            Self::TooFast => "too_fast",
            Self::SlowReader => "slow_reader",
            Self::ChannelRefused => "channel_refused",
        }
    }
}

/// Bounds of data messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataLimits {
    /// Bytes of one payload; at most [`crate::DATA_PAYLOAD_BYTES_MAX`].
    pub payload_bytes: usize,
    /// Messages a second of one participant, and as many at once.
    pub messages_per_second: u32,
    /// Bytes a second (topic and payload) of one participant, and as many at once.
    pub bytes_per_second: u32,
    /// Bytes of durable messages that wait for one participant beyond the transport's own buffer.
    pub queue_bytes: usize,
}

impl Default for DataLimits {
    fn default() -> Self {
        Self {
            payload_bytes: 16 * 1024,
            messages_per_second: 3_000,
            bytes_per_second: 4 * 1024 * 1024,
            queue_bytes: 1024 * 1024,
        }
    }
}

/// Counters of data messages, and the gauge of channels; pairs are durable and lossy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DataStats {
    /// Data channels open now.
    pub channels: u64,
    /// Messages taken from senders.
    pub messages_in: [u64; 2],
    /// Their payload bytes.
    pub bytes_in: [u64; 2],
    /// Messages that left by a data channel, one for each receiver.
    pub out_by_channel: [u64; 2],
    /// Messages that left as a [`DataEvent`], one for each receiver.
    pub out_by_event: [u64; 2],
    /// Channels closed by rooms, in the order of [`DataCloseReason::ALL`].
    pub closed: [u64; DataCloseReason::ALL.len()],
    /// Drops, in the order of [`DataDrop::ALL`].
    pub drops: [u64; DataDrop::ALL.len()],
}

impl DataStats {
    pub(crate) fn count_drops(&mut self, reason: DataDrop, many: u64) {
        if let Some(count) = self.drops.get_mut(reason as usize) {
            *count += many;
        }
    }

    pub(crate) fn count_closed(&mut self, reason: DataCloseReason) {
        if let Some(count) = self.closed.get_mut(reason as usize) {
            *count += 1;
        }
    }

    pub(crate) fn count_in(&mut self, reliability: Reliability, bytes: usize) {
        let [messages, sum] = [&mut self.messages_in, &mut self.bytes_in];
        add(messages, reliability, 1);
        add(sum, reliability, bytes as u64);
    }

    pub(crate) fn count_by_channel(&mut self, reliability: Reliability) {
        add(&mut self.out_by_channel, reliability, 1);
    }

    pub(crate) fn count_by_event(&mut self, reliability: Reliability, many: usize) {
        add(&mut self.out_by_event, reliability, many as u64);
    }
}

fn add(counts: &mut [u64; 2], reliability: Reliability, many: u64) {
    if let Some(count) = counts.get_mut(reliability as usize) {
        *count += many;
    }
}
