//! The values that go into and come out of a [`super::MediaPeer`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use convoke_protocol::{MediaKind, Reliability, Source, TransportRole};
use str0m::format::Codec as StrCodec;

/// A codec that can be sent and received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Codec {
    /// Opus (RFC 7587), 48 kHz clock.
    Opus,
    /// VP8 (RFC 7741).
    Vp8,
    /// VP9 (RFC 9628).
    Vp9,
    /// H.264 (RFC 6184), packetization mode 1.
    H264,
    /// AV1 (AOMedia RTP specification).
    Av1,
}

impl Codec {
    /// The video codecs, in the order in which they are offered by default.
    pub const VIDEO: [Self; 4] = [Self::Vp8, Self::Vp9, Self::H264, Self::Av1];

    /// Audio or video.
    #[must_use]
    pub fn kind(self) -> MediaKind {
        match self {
            Self::Opus => MediaKind::Audio,
            Self::Vp8 | Self::Vp9 | Self::H264 | Self::Av1 => MediaKind::Video,
        }
    }

    /// Ticks of the RTP clock in a second.
    #[must_use]
    pub fn clock_rate(self) -> u32 {
        match self {
            Self::Opus => 48_000,
            Self::Vp8 | Self::Vp9 | Self::H264 | Self::Av1 => 90_000,
        }
    }

    pub(crate) fn from_str0m(codec: StrCodec) -> Option<Self> {
        match codec {
            StrCodec::Opus => Some(Self::Opus),
            StrCodec::Vp8 => Some(Self::Vp8),
            StrCodec::Vp9 => Some(Self::Vp9),
            StrCodec::H264 => Some(Self::H264),
            StrCodec::Av1 => Some(Self::Av1),
            _ => None,
        }
    }
}

/// One m-line of the send transport. What is published on it is told by signalling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendLine {
    /// What it carries; decides its media kind.
    pub source: Source,
    /// The RIDs of its simulcast encodings (RFC 8851, RFC 8853), lowest first; empty for a line with
    /// a single encoding, which has none.
    pub rids: Vec<Arc<str>>,
    /// The first RTP sequence number, of each encoding; random (below 2^15) when absent.
    pub first_sequence: Option<u16>,
    /// The SSRC; random when absent. Further encodings have the numbers after it. Two lines of one
    /// peer must not share one.
    pub ssrc: Option<u32>,
}

impl SendLine {
    /// A line with random numbers.
    #[must_use]
    pub fn new(source: Source) -> Self {
        Self { source, rids: Vec::new(), first_sequence: None, ssrc: None }
    }

    /// A line with simulcast encodings.
    #[must_use]
    pub fn simulcast(source: Source, rids: &[&str]) -> Self {
        let rids = rids.iter().map(|rid| Arc::from(*rid)).collect();
        Self { rids, ..Self::new(source) }
    }
}

/// What a [`super::MediaPeer`] offers.
#[derive(Debug, Clone)]
pub struct MediaConfig {
    /// The m-lines of the send transport; empty for a viewer.
    pub send: Vec<SendLine>,
    /// Receive-only audio m-lines.
    pub audio_slots: usize,
    /// Receive-only video m-lines; with no slots at all there is no receive transport.
    pub video_slots: usize,
    /// Video codecs to offer, best first.
    pub video_codecs: Vec<Codec>,
    /// The address of the send transport's socket.
    pub send_addr: SocketAddr,
    /// The address of the receive transport's socket.
    pub receive_addr: SocketAddr,
    /// Estimate the uplink's bandwidth, beginning at so many bit/s. Absent: no estimation, and
    /// packets leave unpaced.
    pub estimate_from_bps: Option<u64>,
    /// Offer the dependency descriptor (AV1 RTP specification, Appendix A) on all video lines.
    pub dependency_descriptor: bool,
    /// Offer data channels: on the send transport, or the receive transport where that is the only
    /// one.
    pub data_channel: bool,
}

impl MediaConfig {
    /// Microphone, camera, screen and its sound on the send transport; 8 audio and 16 video slots.
    #[must_use]
    pub fn new(send_addr: SocketAddr, receive_addr: SocketAddr) -> Self {
        let all = [Source::Microphone, Source::Camera, Source::Screen, Source::ScreenAudio];
        Self {
            send: all.map(SendLine::new).to_vec(),
            audio_slots: 8,
            video_slots: 16,
            video_codecs: Codec::VIDEO.to_vec(),
            send_addr,
            receive_addr,
            estimate_from_bps: None,
            dependency_descriptor: false,
            data_channel: false,
        }
    }
}

/// The offers of a join. Both must be answered with [`super::MediaPeer::accept_answers`].
#[derive(Debug, Clone)]
pub struct Offers {
    /// The send transport's SDP offer, if there is one.
    pub send: Option<String>,
    /// The receive transport's SDP offer, if there is one.
    pub receive: Option<String>,
    /// The `a=mid` of each [`MediaConfig::send`] line.
    pub send_mids: Vec<String>,
    /// The `a=mid` of each audio slot.
    pub audio_mids: Vec<String>,
    /// The `a=mid` of each video slot.
    pub video_mids: Vec<String>,
}

/// One RTP packet to send. Sequence numbers are the peer's business.
#[derive(Debug, Clone)]
pub struct Packet {
    /// The codec of the payload.
    pub codec: Codec,
    /// The RTP timestamp.
    pub rtp_time: u32,
    /// The marker bit: last packet of a video frame, first of a talkspurt.
    pub marker: bool,
    /// The RTP payload, descriptor included.
    pub payload: Arc<[u8]>,
    /// The level of RFC 6464, in -dBov (0 loudest, 127 silence); audio only.
    pub level: Option<u8>,
    /// Which of the line's encodings it belongs to: the index in [`SendLine::rids`]; 0 on a line with
    /// a single one.
    pub encoding: usize,
    /// The dependency descriptor, as on the wire; sent only where it was negotiated.
    pub descriptor: Option<Arc<[u8]>>,
}

impl Packet {
    /// A packet of the only encoding, without a marker or extensions.
    #[must_use]
    pub fn new(codec: Codec, rtp_time: u32, payload: impl Into<Arc<[u8]>>) -> Self {
        let (marker, payload) = (false, payload.into());
        Self { codec, rtp_time, marker, payload, level: None, encoding: 0, descriptor: None }
    }
}

/// What can happen to a peer.
#[derive(Debug)]
pub enum Input<'a> {
    /// A datagram came in.
    Datagram {
        /// Whose socket it came in at.
        transport: TransportRole,
        /// Where it came from.
        source: SocketAddr,
        /// The socket's address, as in [`MediaConfig`].
        local: SocketAddr,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// A deadline came, or packets were written.
    Timeout,
}

/// A datagram to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// Whose socket it leaves by.
    pub transport: TransportRole,
    /// The local address to send from.
    pub local: SocketAddr,
    /// Where to.
    pub destination: SocketAddr,
    /// The bytes.
    pub contents: Vec<u8>,
}

/// A received RTP packet, RTX undone.
#[derive(Debug, Clone)]
pub struct Received {
    /// When it came in.
    pub at: Instant,
    /// The `a=mid` of the slot.
    pub mid: Arc<str>,
    /// Audio or video.
    pub kind: MediaKind,
    /// The slot's index among the slots of its kind.
    pub index: usize,
    /// The slot's SSRC.
    pub ssrc: u32,
    /// The extended sequence number (RFC 3711 §3.3.1).
    pub sequence: u64,
    /// The RTP timestamp.
    pub rtp_time: u32,
    /// The marker bit.
    pub marker: bool,
    /// The first contributing source: the publisher's stable number.
    pub csrc: Option<u32>,
    /// The codec.
    pub codec: Codec,
    /// The level of RFC 6464, in -dBov, if carried.
    pub level: Option<u8>,
    /// The RTP payload.
    pub payload: Arc<[u8]>,
    /// The dependency descriptor, as on the wire.
    pub descriptor: Option<Arc<[u8]>>,
    /// When it was made by the sender's clock, as far as its reports tell: since the Unix epoch.
    pub made_at: Option<Duration>,
}

/// A data message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataMessage {
    /// The `csrc`s of those who shall get it, at most 255; everyone else when absent, nobody when
    /// empty.
    pub to: Option<Vec<u32>>,
    /// How hard it is tried.
    pub reliability: Reliability,
    /// What it is about, at most 64 bytes; empty for none.
    pub topic: Arc<str>,
    /// What it says. Servers take 16 KiB unless configured otherwise.
    pub payload: Arc<[u8]>,
}

/// A data message that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedData {
    /// The `csrc` of who sent it.
    pub from: u32,
    /// How hard it was tried.
    pub reliability: Reliability,
    /// What it is about; empty for none.
    pub topic: Arc<str>,
    /// What it says.
    pub payload: Arc<[u8]>,
}

/// What a peer tells its owner.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum MediaEvent {
    /// ICE and DTLS of a transport are up.
    Connected(TransportRole),
    /// ICE of a transport lost its peer; it may come back by itself or by an ICE restart.
    Disconnected(TransportRole),
    /// A transport is over: closed by the server, or failed.
    Closed {
        /// Which.
        transport: TransportRole,
        /// Why.
        reason: String,
    },
    /// A packet came in on a slot.
    Rtp(Received),
    /// The server wants a keyframe (PLI or FIR) on a send line.
    KeyframeRequest {
        /// The index in [`MediaConfig::send`].
        line: usize,
        /// Which of the line's encodings, as in [`Packet::encoding`].
        encoding: usize,
    },
    /// The uplink's estimated bandwidth.
    Estimate {
        /// In bit/s.
        bps: u64,
    },
    /// A data message came.
    Data(ReceivedData),
    /// A data channel opened, or closed by either side.
    DataChannel {
        /// Which.
        reliability: Reliability,
        /// Whether it is open now.
        open: bool,
    },
}

/// Why a peer refused something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MediaError {
    /// Neither something to send nor a slot to receive.
    #[error("the peer has neither a send line nor a slot")]
    NothingToOffer,
    /// There is no such transport.
    #[error("the peer has no {0:?} transport")]
    NoTransport(TransportRole),
    /// There is no such send line.
    #[error("no send line {0}")]
    NoLine(usize),
    /// There is no such encoding on the line.
    #[error("the line has no encoding {0}")]
    NoEncoding(usize),
    /// An answer came that no offer asked for.
    #[error("no offer of the {0:?} transport is open")]
    NoOffer(TransportRole),
    /// An answer is missing.
    #[error("the {0:?} transport was offered but not answered")]
    NoAnswer(TransportRole),
    /// The other side did not accept the packet's codec on this line.
    #[error("{0:?} was not negotiated on this line")]
    CodecNotNegotiated(Codec),
    /// A codec of the wrong media kind for the line.
    #[error("{0:?} does not belong on a line of this kind")]
    WrongKind(Codec),
    /// A payload that no datagram carries.
    #[error("a payload of {0} bytes; at most {max} fit into a packet", max = super::PAYLOAD_BYTES_MAX)]
    TooLarge(usize),
    /// There is no open data channel of this kind.
    #[error("no {0:?} data channel is open")]
    DataNotOpen(Reliability),
    /// Too much waits on the data channel; the message was not taken.
    #[error("the {0:?} data channel is full")]
    DataFull(Reliability),
    /// More recipients or a longer topic than a frame has room for.
    #[error("more than 255 recipients, or a topic longer than 64 bytes")]
    DataInvalid,
    /// An address is no usable ICE candidate.
    #[error("{0} is no usable candidate")]
    Address(SocketAddr),
    /// The media stack refused.
    #[error("{0}")]
    Stack(String),
}
