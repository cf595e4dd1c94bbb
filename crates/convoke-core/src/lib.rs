//! Convoke's sans-IO SFU core: rooms, participants, transports, tracks, slots, forwarding.
//!
//! Owns: everything that decides about media. One [`Worker`] is a pure state machine:
//! `(state, now, input) -> (state, outbox)`.
//! Never: reads a clock, opens a socket, spawns, locks, logs per packet, or knows HTTP or JSON.
//!
//! A shell calls [`Worker::handle`] for each datagram and command with the same `now` for a whole
//! turn, ends the turn with [`Input::Timeout`], sends what is in the [`Outbox`], and comes back at
//! [`Worker::next_timeout`] at the latest.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]
// Tests are where time comes from.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

mod allocate;
mod api;
mod clock;
mod demux;
mod entropy;
mod forward;
mod frame;
mod ids;
mod layers;
mod rate;
mod room;
mod slots;
mod speaker;
mod timers;
mod transport;
mod worker;

pub use api::{
    Action, Again, CAPTURE_HEAD_BYTES_MAX, Capture, CaptureSink, CapturedPacket, Command,
    CommandError, DATA_RECIPIENTS_MAX, DATA_TOPIC_BYTES_MAX, DataCloseReason, DataClosed, DataDrop,
    DataEvent, DataLimits, DataMessage, DataStats, DropReason, ESTIMATE_BUCKETS,
    EncodingDeclaration, EncodingDemand, EncodingExplanation, Event, Explanation, Input,
    JoinRequest, Ladder, LadderRung, Layer, LeaveReason, Limits, MediaKind, Outbox,
    ParticipantView, Permissions, Reflexive, Relay, RelayDrop, RelayMessage, RelayPacket,
    Reliability, Reply, RoomChange, SPATIAL_LAYERS_MAX, Show, SlotExplanation, SlotReason,
    SlotState, SlotView, SlotWish, Snapshot, Source, Stats, TrackDeclaration, TrackExplanation,
    TrackView, Transmit, TransportFailure, TransportRole, TransportState, WantedLayers, Withheld,
    WorkerConfig,
};
pub use demux::is_spoken;
pub use entropy::Entropy;
pub use frame::DataFrame;
pub use ids::{Mid, ParticipantId, RequestId, Rid, RoomId, TrackId};
pub use transport::{
    DATA_PAYLOAD_BYTES_MAX, DATAGRAM_BYTES_MAX, PAYLOAD_BYTES_MAX, addressed_worker,
};
pub use worker::{Shed, Worker};
