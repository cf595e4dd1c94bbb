//! What goes into a [`crate::Worker`] and what comes out: plain data, no behaviour.
//!
//! Owns: commands, replies, events.
//! Never: JSON, HTTP or sockets; adapters translate.

mod capture;
mod data;
mod quality;
mod relay;
mod stats;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::ids::{Mid, ParticipantId, RequestId, RoomId, TrackId};

pub use capture::{CAPTURE_HEAD_BYTES_MAX, Capture, CaptureSink, CapturedPacket};
pub use data::{
    DATA_RECIPIENTS_MAX, DATA_TOPIC_BYTES_MAX, DataCloseReason, DataClosed, DataDrop, DataEvent,
    DataLimits, DataMessage, DataStats, Reliability,
};
pub use quality::{
    EncodingDeclaration, EncodingDemand, EncodingExplanation, Explanation, Layer, SlotExplanation,
    SlotReason, TrackExplanation,
};
pub(crate) use relay::WANT_LESS_AFTER;
pub use relay::{
    Ladder, LadderRung, Relay, RelayDrop, RelayMessage, RelayPacket, SPATIAL_LAYERS_MAX,
    WantedLayers, Withheld,
};
pub use stats::{Again, DropReason, ESTIMATE_BUCKETS, Stats, TransportFailure};

/// Everything that can happen to a worker.
#[derive(Debug)]
pub enum Input<'a> {
    /// A datagram came in.
    Datagram {
        /// Where it came from.
        source: SocketAddr,
        /// The advertised address it was sent to: one of [`crate::WorkerConfig::candidates`].
        local: SocketAddr,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// A datagram came in a frame (RFC 4571) of a TCP connection.
    Frame {
        /// Who connected.
        source: SocketAddr,
        /// The advertised address that was connected to: one of
        /// [`crate::WorkerConfig::tcp_candidates`].
        local: SocketAddr,
        /// The bytes of the datagram.
        bytes: &'a [u8],
    },
    /// The control plane wants something.
    Command(Command),
    /// Another shard of a call says something.
    Relay(Relay),
    /// The end of a turn begins: touched transports are driven until there are so many datagrams more, or none are
    /// left ([`crate::Worker::has_touched`]). They are best sent before it goes on: in a large room a packet's
    /// copies are more than a processor's cache holds.
    Part {
        /// There may be more by what one transport has to send.
        datagrams: usize,
    },
    /// The end of a turn, or a deadline came: touched and due transports are driven.
    Timeout,
}

/// Audio or video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MediaKind {
    /// An `m=audio` section.
    Audio,
    /// An `m=video` section.
    Video,
}

/// What a track shows or carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// A microphone.
    Microphone,
    /// A camera.
    Camera,
    /// A shared screen.
    Screen,
    /// A shared screen's sound.
    ScreenAudio,
}

impl Source {
    /// The media kind that it is sent as.
    #[must_use]
    pub fn kind(self) -> MediaKind {
        match self {
            Self::Microphone | Self::ScreenAudio => MediaKind::Audio,
            Self::Camera | Self::Screen => MediaKind::Video,
        }
    }
}

/// Which of a participant's transports is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TransportRole {
    /// The participant sends media on it.
    Send,
    /// The participant receives media on it: its m-lines are slots.
    Receive,
}

/// What a participant may do; changeable in mid-call, enforced here whatever the client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permissions {
    /// May publish from a microphone.
    pub microphone: bool,
    /// May publish from a camera.
    pub camera: bool,
    /// May publish a screen and its sound.
    pub screen: bool,
    /// May receive the media of others.
    pub receive: bool,
    /// May send data messages.
    pub data: bool,
}

impl Permissions {
    /// Everything.
    pub const ALL: Self =
        Self { microphone: true, camera: true, screen: true, receive: true, data: true };

    /// Whether publishing `source` is allowed.
    #[must_use]
    pub fn may_publish(&self, source: Source) -> bool {
        match source {
            Source::Microphone => self.microphone,
            Source::Camera => self.camera,
            Source::Screen | Source::ScreenAudio => self.screen,
        }
    }
}

/// Declares a track and binds it to an m-line of the participant's send transport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackDeclaration {
    /// The publisher's own id of the track; unique among its tracks.
    pub client_id: Arc<str>,
    /// What it carries.
    pub source: Source,
    /// The m-line that carries it.
    pub mid: Mid,
    /// Whether it starts muted.
    pub muted: bool,
    /// Its encodings, lowest first; empty when the publisher says nothing of them.
    pub encodings: Vec<EncodingDeclaration>,
    /// Whether its payloads are encrypted end to end: then they are never looked into.
    pub encrypted: bool,
}

/// A wish for one slot. All but [`Show::Participant`] are for video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotWish {
    /// The slot.
    pub mid: Mid,
    /// What it should show.
    pub show: Show,
    /// The width at which it will be shown, in physical pixels, if known.
    pub width: Option<u32>,
    /// The height at which it will be shown, in physical pixels, if known. A side of 0 means that
    /// it is not visible.
    pub height: Option<u32>,
    /// The most frames in a second that are of use, if known.
    pub max_frame_rate: Option<u32>,
    /// Higher is served first.
    pub priority: u8,
}

/// What a wish asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// This track.
    Track(TrackId),
    /// The camera of whoever speaks.
    ActiveSpeaker,
    /// The screen that is shared.
    ScreenShare,
    /// What one participant publishes: its screen, else its camera; in an audio slot its microphone,
    /// else its screen's sound. Nothing while there is none, or no such participant.
    Participant(ParticipantId),
    /// Whatever would be there without a wish: the wish says only how it is shown.
    Default,
}

/// Commands. Each is answered by exactly one [`Event::Reply`].
#[derive(Debug, Clone)]
pub struct Command {
    /// Repeated in the reply.
    pub request: RequestId,
    /// The room it is for.
    pub room: RoomId,
    /// What to do.
    pub action: Action,
}

/// What a command asks for.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Action {
    /// Adds a participant; makes the room if it does not exist. Answered by [`Reply::Joined`].
    Join(JoinRequest),
    /// Removes a participant. Answered by [`Reply::Done`], also if it is gone already.
    Leave {
        /// Who.
        participant: ParticipantId,
        /// Why; told to the others.
        reason: LeaveReason,
    },
    /// Applies a new offer to a transport. Answered by [`Reply::Answer`].
    Offer {
        /// Whose.
        participant: ParticipantId,
        /// Which transport.
        role: TransportRole,
        /// The offer.
        sdp: String,
    },
    /// Publishes a track. Answered by [`Reply::Published`].
    Publish {
        /// Who.
        participant: ParticipantId,
        /// What.
        track: TrackDeclaration,
    },
    /// Stops publishing. Answered by [`Reply::Done`].
    Unpublish {
        /// Who.
        participant: ParticipantId,
        /// The track's own id.
        client_id: Arc<str>,
    },
    /// Mutes or unmutes. Answered by [`Reply::Done`].
    SetMuted {
        /// Who.
        participant: ParticipantId,
        /// The track's own id.
        client_id: Arc<str>,
        /// The wanted state.
        muted: bool,
    },
    /// Mutes everything that a participant publishes of one source; it may unmute it. Answered by
    /// [`Reply::Muted`].
    MuteSource {
        /// Whose.
        participant: ParticipantId,
        /// What.
        source: Source,
    },
    /// Replaces the participant's view; empty means the default policy for all slots.
    /// Answered by [`Reply::Done`].
    SetView {
        /// Who.
        participant: ParticipantId,
        /// At most one wish for a slot.
        wishes: Vec<SlotWish>,
    },
    /// Changes permissions at once; published tracks no longer allowed are unpublished.
    /// Answered by [`Reply::Done`].
    SetPermissions {
        /// Who.
        participant: ParticipantId,
        /// The new ones.
        permissions: Permissions,
    },
    /// Sends a data message to others. Answered by [`Reply::Done`] once it is taken.
    SendData {
        /// Who sends it.
        participant: ParticipantId,
        /// What, and to whom.
        message: DataMessage,
    },
    /// Marks a participant reachable or not; told to the others. Answered by [`Reply::Done`].
    SetReachable {
        /// Who.
        participant: ParticipantId,
        /// Whether its signalling is attached.
        reachable: bool,
    },
    /// Asks for the room as `participant` sees it. Answered by [`Reply::Snapshot`]; the demand for
    /// what it publishes is told anew.
    Snapshot {
        /// For whom.
        participant: ParticipantId,
    },
    /// Asks what a participant sends and receives, and why. Answered by [`Reply::Explained`].
    Explain {
        /// Whose.
        participant: ParticipantId,
    },
    /// Removes everyone. Answered by [`Reply::Done`].
    CloseRoom {
        /// Why.
        reason: LeaveReason,
    },
    /// Links the room to another shard of its call; makes the room if it does not exist, for a join
    /// that must follow. Both shards must be linked to each other, in any order. A link that is there
    /// already is told everything anew, as is needed where messages were lost. Answered by
    /// [`Reply::Done`].
    Link {
        /// The other shard.
        peer: RoomId,
    },
    /// Shows the room's RTP packets to a sink, in place of another, or to none any more. Answered by
    /// [`Reply::Done`].
    Capture {
        /// What, and where to.
        capture: Option<Capture>,
    },
    /// Ends a link; also fine if there is none. Answered by [`Reply::Done`].
    Unlink {
        /// The other shard.
        peer: RoomId,
        /// Why its participants are gone; told to those who are left.
        reason: LeaveReason,
    },
}

/// A participant to be.
#[derive(Debug, Clone)]
pub struct JoinRequest {
    /// Its id, chosen by the caller.
    pub participant: ParticipantId,
    /// Who it is; opaque to the core.
    pub identity: Arc<str>,
    /// A name to show; opaque to the core.
    pub display_name: Arc<str>,
    /// What it may do.
    pub permissions: Permissions,
    /// The offer of its send transport, if it has one.
    pub send_offer: Option<String>,
    /// The offer of its receive transport, if it has one.
    pub receive_offer: Option<String>,
    /// Tracks published from the start.
    pub tracks: Vec<TrackDeclaration>,
}

/// Why a participant is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LeaveReason {
    /// It left.
    Left,
    /// Someone removed it.
    Removed,
    /// The room was closed.
    RoomClosed,
    /// What let it in has expired.
    Expired,
    /// Its signalling was lost for too long.
    Unreachable,
    /// Its ICE or DTLS never connected or was lost for too long.
    MediaLost,
    /// The node stops.
    Stopped,
    /// The worker failed.
    Failed,
}

/// A published track as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackView {
    /// Its id.
    pub track: TrackId,
    /// The publisher's own id.
    pub client_id: Arc<str>,
    /// What it carries.
    pub source: Source,
    /// Whether it is muted.
    pub muted: bool,
    /// Whether its payloads are encrypted end to end.
    pub encrypted: bool,
}

/// A participant as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParticipantView {
    /// Its id.
    pub participant: ParticipantId,
    /// Who it is.
    pub identity: Arc<str>,
    /// A name to show.
    pub display_name: Arc<str>,
    /// Whether its signalling is attached.
    pub reachable: bool,
    /// What it publishes.
    pub tracks: Vec<TrackView>,
}

/// What a slot is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SlotState {
    /// No track is assigned.
    Empty,
    /// Assigned, but the first packet (video: the keyframe) has not come.
    Waiting,
    /// Forwarding.
    Active,
    /// Assigned, deliberately not forwarded.
    Paused,
    /// Assigned, but the subscriber did not offer the track's codec.
    CodecNotSupported,
}

/// A slot as its subscriber sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotView {
    /// The m-line of the receive transport.
    pub mid: Mid,
    /// Audio or video.
    pub kind: MediaKind,
    /// The index among the slots of its kind, in m-line order.
    pub index: u32,
    /// What is assigned.
    pub assigned: Option<(ParticipantId, TrackId)>,
    /// What it is doing.
    pub state: SlotState,
    /// The layer that it is for (video): what was allocated.
    pub layer: Option<Layer>,
    /// Why not more (video slots that hold a track).
    pub reason: Option<SlotReason>,
}

/// The room as one participant sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The room's state count.
    pub version: u64,
    /// Everyone, in order of joining, the participant itself included.
    pub participants: Vec<ParticipantView>,
    /// The participant's own slots, in m-line order.
    pub slots: Vec<SlotView>,
}

/// A command's success.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Reply {
    /// To [`Action::Join`].
    Joined {
        /// The answer of the send transport, if it was offered.
        send_answer: Option<String>,
        /// The answer of the receive transport, if it was offered.
        receive_answer: Option<String>,
        /// The room.
        snapshot: Snapshot,
    },
    /// To [`Action::Offer`].
    Answer {
        /// The answer.
        sdp: String,
        /// All slots (receive transport only).
        slots: Vec<SlotView>,
    },
    /// To [`Action::Publish`].
    Published(TrackId),
    /// To [`Action::MuteSource`].
    Muted {
        /// How many tracks were not muted before.
        tracks: usize,
    },
    /// To [`Action::Snapshot`].
    Snapshot(Snapshot),
    /// To [`Action::Explain`].
    Explained(Box<Explanation>),
    /// To everything else.
    Done,
}

/// A command's failure. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The room does not exist.
    #[error("no such room")]
    NoSuchRoom,
    /// The participant does not exist.
    #[error("no such participant")]
    NoSuchParticipant,
    /// The participant id is taken.
    #[error("participant id taken")]
    ParticipantExists,
    /// The participant does not publish such a track.
    #[error("no such track: {0}")]
    NoSuchTrack(Arc<str>),
    /// An SDP offer could not be used.
    #[error("{role:?} offer: {reason}")]
    Sdp {
        /// Which offer.
        role: TransportRole,
        /// What is wrong with it.
        reason: String,
    },
    /// A track declaration is wrong.
    #[error("tracks[{index}]: {reason}")]
    Track {
        /// Which of the declarations, from 0.
        index: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A wish is wrong.
    #[error("slots[{index}]: {reason}")]
    View {
        /// Which of the wishes, from 0.
        index: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A permission is missing.
    #[error("not allowed: {0}")]
    NotAllowed(&'static str),
    /// A configured limit is reached.
    #[error("limit reached: {0}")]
    Limit(&'static str),
    /// The participant asks for too much too fast.
    #[error("too fast; try again in {retry_after:?}")]
    TooFast {
        /// How long to wait.
        retry_after: Duration,
    },
    /// A fault in the core or in str0m.
    #[error("internal: {0}")]
    Internal(String),
}

/// What a worker tells its shell.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A command was carried out or refused.
    Reply {
        /// The command.
        request: RequestId,
        /// How it went.
        result: Result<Reply, CommandError>,
    },
    /// The roster changed: for everyone in the room.
    Room {
        /// Where.
        room: RoomId,
        /// The room's state count after the change.
        version: u64,
        /// What.
        change: RoomChange,
    },
    /// Some slots of one participant changed: for that participant.
    Slots {
        /// Where.
        room: RoomId,
        /// Whose.
        participant: ParticipantId,
        /// The room's state count after the change.
        version: u64,
        /// The changed slots as they are now.
        slots: Vec<SlotView>,
    },
    /// A transport's connection state changed.
    Transport {
        /// Where.
        room: RoomId,
        /// Whose.
        participant: ParticipantId,
        /// Which.
        role: TransportRole,
        /// What it is now.
        state: TransportState,
    },
    /// Who speaks changed; at most five times a second for a room.
    Speakers {
        /// Where.
        room: RoomId,
        /// The room's state count after the change.
        version: u64,
        /// Who has the floor, if anyone.
        dominant: Option<ParticipantId>,
        /// Everyone who speaks now, at most 16.
        speaking: Vec<ParticipantId>,
    },
    /// Which encodings of a track anybody wants changed: for its publisher, who should send those
    /// and no others.
    Demand {
        /// Where.
        room: RoomId,
        /// Whose track.
        participant: ParticipantId,
        /// The publisher's own id of the track.
        client_id: Arc<str>,
        /// All encodings, lowest first.
        encodings: Vec<EncodingDemand>,
    },
    /// A data message for participants without a data channel for it: not part of any state.
    Data(DataEvent),
    /// A participant's data channel was closed by the room.
    DataClosed(DataClosed),
    /// The last participant left; the room is gone.
    RoomClosed {
        /// Which.
        room: RoomId,
    },
}

/// A change of the roster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoomChange {
    /// Someone joined.
    ParticipantJoined(ParticipantView),
    /// Someone is gone, tracks included.
    ParticipantLeft {
        /// Who.
        participant: ParticipantId,
        /// Why.
        reason: LeaveReason,
    },
    /// Someone's signalling was lost or came back.
    Reachable {
        /// Who.
        participant: ParticipantId,
        /// Whether it is attached.
        reachable: bool,
    },
    /// A track appeared.
    TrackPublished {
        /// Whose.
        participant: ParticipantId,
        /// The track.
        track: TrackView,
    },
    /// A track is gone.
    TrackUnpublished {
        /// Whose.
        participant: ParticipantId,
        /// Which.
        track: TrackId,
    },
    /// A track was muted or unmuted.
    TrackUpdated {
        /// Whose.
        participant: ParticipantId,
        /// The track.
        track: TrackView,
    },
}

/// The state of a transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransportState {
    /// ICE and DTLS are up: media flows.
    Connected,
    /// ICE lost its peer; it may come back.
    Disconnected,
}

/// A datagram to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// The advertised address to send from (see [`Input::Datagram::local`]).
    pub local: SocketAddr,
    /// Where to.
    pub destination: SocketAddr,
    /// The bytes.
    pub contents: Vec<u8>,
}

/// Everything that a worker has to say, in order. The shell takes it after each turn.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Datagrams to send by UDP; packets of one subscriber stand together.
    pub transmits: Vec<Transmit>,
    /// Datagrams to send as frames (RFC 4571), each in the TCP connection between its two addresses.
    /// The first one in a connection says that its peer proved who it is.
    pub frames: Vec<Transmit>,
    /// TCP connections that are of no use any more once `frames` are sent, each as (peer, local).
    pub closed: Vec<(SocketAddr, SocketAddr)>,
    /// Events to deliver.
    pub events: Vec<Event>,
    /// Messages for other shards, in order.
    pub relays: Vec<Relay>,
}

impl Outbox {
    /// How many datagrams are to be sent.
    pub(crate) fn datagrams(&self) -> usize {
        self.transmits.len() + self.frames.len()
    }
}

/// Settings of a worker.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// The addresses that go into answers as host candidates (RFC 8839 §5.1). At least one.
    pub candidates: Vec<SocketAddr>,
    /// Those that go into answers as passive TCP candidates (RFC 6544 §4.5), which clients prefer less.
    /// None: media comes by UDP only.
    pub tcp_candidates: Vec<SocketAddr>,
    /// Further addresses of which peers are told; see [`Reflexive`].
    pub reflexive: Reflexive,
    /// The worker's number among those of its node. It stands in every ICE user name fragment, so that a
    /// TCP port of all workers can tell whose a connection is: [`crate::addressed_worker`].
    pub index: u8,
    /// Limits.
    pub limits: Limits,
    /// A transport that has not connected, or has been disconnected, for this long is lost: its
    /// participant is removed with [`LeaveReason::MediaLost`].
    pub media_timeout: Duration,
    /// The smallest time between two keyframe requests toward one publisher's track.
    pub keyframe_interval: Duration,
}

/// Addresses that a NAT before the node was seen to give its sockets. They go into answers as host
/// candidates after the node's own, and nowhere else: what is sent to them arrives at one of
/// [`WorkerConfig::candidates`] (or [`WorkerConfig::tcp_candidates`]), which must have one of the same family.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reflexive {
    /// Those of the UDP socket.
    pub udp: Vec<SocketAddr>,
    /// Those of the TCP port.
    pub tcp: Vec<SocketAddr>,
}

/// Bounds. At the bound a command is refused with [`CommandError::Limit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Rooms on one worker.
    pub rooms: usize,
    /// Participants on one worker.
    pub participants: usize,
    /// Participants in one room.
    pub room_participants: usize,
    /// Audio slots of one participant.
    pub audio_slots: usize,
    /// Video slots of one participant.
    pub video_slots: usize,
    /// Tracks published by one participant.
    pub tracks: usize,
    /// Bytes of one SDP offer.
    pub sdp_bytes: usize,
    /// m-lines of one SDP offer.
    pub sdp_sections: usize,
    /// Of data messages.
    pub data: DataLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rooms: 10_000,
            participants: 10_000,
            room_participants: 1_000,
            audio_slots: 16,
            video_slots: 64,
            tracks: 8,
            sdp_bytes: 256 * 1024,
            sdp_sections: 128,
            data: DataLimits::default(),
        }
    }
}

impl WorkerConfig {
    /// Defaults, with these candidates.
    #[must_use]
    pub fn new(candidates: Vec<SocketAddr>) -> Self {
        Self {
            candidates,
            tcp_candidates: Vec::new(),
            reflexive: Reflexive::default(),
            index: 0,
            limits: Limits::default(),
            media_timeout: Duration::from_secs(30),
            keyframe_interval: Duration::from_millis(500),
        }
    }
}
