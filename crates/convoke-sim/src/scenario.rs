//! A call as data: who is there, over what networks, and what they do when.

use std::time::Duration;

use convoke_client::media::Codec;
use convoke_client::source::{EncodingConfig, PausedClock, Scalability};
use convoke_core::Permissions;
use convoke_protocol::Source;

use crate::link::LinkConfig;

/// The RIDs of simulcast encodings, lowest first.
pub(crate) const RIDS: [&str; 3] = ["q", "h", "f"];

/// The layers of a camera or screen.
#[derive(Debug, Clone, PartialEq)]
pub struct LayersSpec {
    /// The layers of each encoding.
    pub mode: Scalability,
    /// The encodings, lowest first: one, or two or three for simulcast.
    pub encodings: Vec<EncodingConfig>,
    /// VP9's flexible mode.
    pub flexible: bool,
    /// Send the dependency descriptor; its publisher must offer it.
    pub descriptor: bool,
    /// Encrypted end to end: nothing in the payload can be read.
    pub encrypted: bool,
}

/// One encoding of a [`LayersSpec`].
#[must_use]
pub const fn encoding(size: (u16, u16), bps: u32) -> EncodingConfig {
    EncodingConfig { size, bps, active: true }
}

impl LayersSpec {
    /// 180p, 360p and 720p, each in three temporal layers.
    #[must_use]
    pub fn simulcast() -> Self {
        Self {
            mode: Scalability::L1T3,
            encodings: vec![
                encoding((320, 180), 100_000),
                encoding((640, 360), 350_000),
                encoding((1_280, 720), 1_200_000),
            ],
            flexible: true,
            descriptor: false,
            encrypted: false,
        }
    }

    /// One encoding of up to 720p in spatial and temporal layers.
    #[must_use]
    pub fn scalable(mode: Scalability) -> Self {
        Self { mode, encodings: vec![encoding((1_280, 720), 1_300_000)], ..Self::simulcast() }
    }

    /// The RIDs of its encodings; none if it has a single one.
    pub(crate) fn rids(&self) -> &'static [&'static str] {
        let several = self.encodings.len() > 1;
        RIDS.get(..self.encodings.len()).filter(|_| several).unwrap_or_default()
    }
}

/// What a microphone sends, in bit/s.
const AUDIO_BPS: u32 = 40_000;

/// What someone publishes.
#[derive(Debug, Clone, PartialEq)]
pub struct PublishSpec {
    /// What it is.
    pub source: Source,
    /// The codec; Opus for audio.
    pub codec: Codec,
    /// Whether it starts muted.
    pub muted: bool,
    /// Level of RFC 6464 in -dBov (audio).
    pub level: u8,
    /// Frames in a second (video).
    pub fps: u32,
    /// Bits in a second (video).
    pub bps: u32,
    /// Bytes of the largest packet's payload (video without layers).
    pub packet_bytes: usize,
    /// First sequence number of the m-line; used only by what is published with the join.
    pub first_sequence: Option<u16>,
    /// SSRC of the m-line; used only by what is published with the join.
    pub ssrc: Option<u32>,
    /// First RTP timestamp.
    pub first_rtp_time: Option<u32>,
    /// First VP8 or VP9 picture id.
    pub first_picture_id: Option<u16>,
    /// What the RTP clock does over a mute.
    pub paused_clock: PausedClock,
    /// Goes on sending while muted, as a broken client might.
    pub sends_while_muted: bool,
    /// Its layers; without, video is one encoding in one layer.
    pub layers: Option<LayersSpec>,
    /// Goes on sending encodings that nobody wants, as old clients do.
    pub ignores_demand: bool,
}

impl PublishSpec {
    /// About what it sends when all of it is wanted, in bit/s.
    pub(crate) fn sends_bps(&self) -> u32 {
        match (&self.layers, self.source) {
            (Some(layers), _) => layers.encodings.iter().map(|encoding| encoding.bps).sum(),
            (None, Source::Microphone | Source::ScreenAudio) => AUDIO_BPS,
            (None, _) => self.bps,
        }
    }

    /// An open microphone.
    #[must_use]
    pub fn microphone() -> Self {
        Self {
            source: Source::Microphone,
            codec: Codec::Opus,
            muted: false,
            level: 30,
            fps: 15,
            bps: 150_000,
            packet_bytes: 1_100,
            first_sequence: None,
            ssrc: None,
            first_rtp_time: None,
            first_picture_id: None,
            paused_clock: PausedClock::default(),
            sends_while_muted: false,
            layers: None,
            ignores_demand: false,
        }
    }

    /// A camera in layers.
    #[must_use]
    pub fn layered(codec: Codec, layers: LayersSpec) -> Self {
        Self { fps: 20, layers: Some(layers), ..Self::camera(codec) }
    }

    /// A camera.
    #[must_use]
    pub fn camera(codec: Codec) -> Self {
        Self { source: Source::Camera, codec, ..Self::microphone() }
    }

    /// A shared screen.
    #[must_use]
    pub fn screen(codec: Codec) -> Self {
        Self { source: Source::Screen, codec, fps: 5, ..Self::microphone() }
    }
}

/// Someone.
#[derive(Debug, Clone, PartialEq)]
pub struct ActorSpec {
    /// Which room it joins.
    pub room: u64,
    /// Its audio slots; with no slots at all it only sends.
    pub audio_slots: usize,
    /// Its video slots.
    pub video_slots: usize,
    /// What it publishes from each join on; empty and `sends` false: a viewer.
    pub publish: Vec<PublishSpec>,
    /// Whether it has a send transport.
    pub sends: bool,
    /// Toward the server.
    pub uplink: LinkConfig,
    /// From the server.
    pub downlink: LinkConfig,
    /// Whether it joins at the start.
    pub joins: bool,
    /// Whether it offers the dependency descriptor on both transports.
    pub descriptor: bool,
}

impl ActorSpec {
    /// Someone with a microphone and a VP8 camera, 4 audio and 4 video slots, on a good network.
    #[must_use]
    pub fn new() -> Self {
        Self {
            room: 1,
            audio_slots: 4,
            video_slots: 4,
            publish: vec![PublishSpec::microphone(), PublishSpec::camera(Codec::Vp8)],
            sends: true,
            uplink: LinkConfig::default(),
            downlink: LinkConfig::default(),
            joins: true,
            descriptor: false,
        }
    }

    /// Someone with a microphone and this camera, who watches nobody.
    #[must_use]
    pub fn publisher(camera: PublishSpec) -> Self {
        Self {
            audio_slots: 0,
            video_slots: 0,
            descriptor: camera.layers.as_ref().is_some_and(|layers| layers.descriptor),
            publish: vec![PublishSpec::microphone(), camera],
            ..Self::new()
        }
    }

    /// Someone who only receives.
    #[must_use]
    pub fn viewer() -> Self {
        Self { publish: Vec::new(), sends: false, ..Self::new() }
    }
}

impl Default for ActorSpec {
    fn default() -> Self {
        Self::new()
    }
}

/// What a view asks of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A track of someone (by index in [`Scenario::actors`]), if it is published then.
    Track(usize, Source),
    /// Whoever speaks.
    ActiveSpeaker,
    /// The shared screen.
    ScreenShare,
    /// Whatever someone (by index) publishes, if it is there when this is asked for.
    Participant(usize),
}

/// One wish of a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// The video slot, by index.
    pub slot: usize,
    /// What it should show.
    pub at: Target,
    /// Higher first.
    pub priority: u8,
    /// Width and height at which it is shown, if said; 0 for one that is not visible.
    pub size: Option<(u32, u32)>,
    /// The most frames in a second that are of use, if said.
    pub frame_rate: Option<u32>,
}

impl Look {
    /// A wish of no particular size.
    #[must_use]
    pub const fn new(slot: usize, at: Target) -> Self {
        Self { slot, at, priority: 0, size: None, frame_rate: None }
    }

    /// A wish for someone's camera at a size.
    #[must_use]
    pub const fn camera(slot: usize, who: usize, size: (u32, u32)) -> Self {
        Self { size: Some(size), ..Self::new(slot, Target::Track(who, Source::Camera)) }
    }
}

/// What someone does.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// Joins (again).
    Join,
    /// Leaves properly.
    Leave,
    /// Closes its transports (DTLS close_notify) without leaving.
    Close,
    /// Is gone without a word.
    Kill,
    /// Publishes something more.
    Publish(PublishSpec),
    /// Stops publishing.
    Unpublish(Source),
    /// Mutes or unmutes.
    Mute(Source, bool),
    /// Becomes louder or quieter (RFC 6464, -dBov).
    Level(u8),
    /// Says what its video slots should show; empty: the default.
    View(Vec<Look>),
    /// Its network is cut.
    Cut,
    /// Its network comes back; transports that noticed restart ICE.
    Restore,
    /// Restarts ICE on both transports, from a new address if so.
    RestartIce {
        /// Whether the address is new.
        new_address: bool,
    },
    /// Its signalling is lost or back.
    Reachable(bool),
    /// The server closes its room.
    CloseRoom,
    /// What it may do changes, also for its later presences. It goes on sending what it may no longer
    /// send, as a client might that does not listen.
    Permit(Permissions),
    /// The server removes it; from then on it cannot join.
    Remove,
    /// Wants to join, and is kept waiting in the lobby; cannot join by itself.
    Knock,
    /// Is let in from the lobby.
    Admit,
    /// Its downlink has another capacity from now on, in bit/s; none for no limit.
    DownRate(Option<u64>),
    /// Its uplink has another capacity from now on.
    UpRate(Option<u64>),
}

/// What must hold beside the laws that always do.
#[derive(Debug, Clone, PartialEq)]
pub struct Bounds {
    /// Nothing but what the laws forbid counts before this.
    pub settled: Duration,
    /// Freezes of one slot, from `settled` on.
    pub freezes: Option<u64>,
    /// The longest of them.
    pub longest_freeze: Option<Duration>,
    /// Changes of one slot's size in any minute, from `settled` on (see `allocate.md`, 3).
    pub switches: usize,
    /// Those of frame rate included, which are hardly noticed.
    pub layer_changes: usize,
    /// The share of audio packets of each slot that must come, from `settled` on, of those that its
    /// downlink's random loss did not take.
    pub audio: Option<f64>,
    /// How far a participant's audio and video may be apart.
    pub skew: Duration,
    /// The share of each narrow downlink's capacity that must be used, from `settled` on.
    pub utilisation: Option<f64>,
    /// Keyframes asked of one encoding, a second, over the whole run.
    pub keyframe_requests: f64,
    /// From a join to the first picture.
    pub first_picture: Option<Duration>,
    /// The estimate of each receiver at the end must be at least this, in bit/s.
    pub estimate: Option<u64>,
    /// The heights that are shown at the end: actor, video slot, pixels.
    pub heights: Vec<(usize, usize, u16)>,
    /// The most video that may have come in at the server, in packets.
    pub video_in: Option<u64>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            settled: Duration::from_secs(8),
            freezes: None,
            longest_freeze: None,
            switches: 6,
            layer_changes: 12,
            audio: None,
            skew: Duration::from_millis(40),
            utilisation: None,
            keyframe_requests: 2.0,
            first_picture: None,
            estimate: None,
            heights: Vec::new(),
            video_in: None,
        }
    }
}

/// One entry of the schedule.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// When, from the start.
    pub at: Duration,
    /// Who, by index in [`Scenario::actors`]. Steps of someone not in the call do nothing.
    pub who: usize,
    /// What.
    pub act: Act,
}

/// A whole call.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// Workers; room `n` lives on worker `n` modulo their number.
    pub workers: usize,
    /// Workers that a room spans, its participants spread in turn; 1, or up to 16.
    pub span: usize,
    /// How long what one worker says to another is on its way.
    pub relay_delay: Duration,
    /// Everyone.
    pub actors: Vec<ActorSpec>,
    /// What they do.
    pub steps: Vec<Step>,
    /// How long it lasts; a settling time is added.
    pub length: Duration,
    /// See [`convoke_core::WorkerConfig::media_timeout`].
    pub media_timeout: Duration,
    /// What must hold besides.
    pub bounds: Bounds,
}

impl Scenario {
    /// A call with a schedule yet to be filled.
    #[must_use]
    pub fn new(name: &str, actors: Vec<ActorSpec>) -> Self {
        Self {
            name: name.to_owned(),
            workers: 1,
            span: 1,
            relay_delay: Duration::ZERO,
            actors,
            steps: Vec::new(),
            length: Duration::from_secs(4),
            media_timeout: Duration::from_secs(12),
            bounds: Bounds::default(),
        }
    }

    /// With one more step, at so many milliseconds.
    #[must_use]
    pub fn step(mut self, at_ms: u64, who: usize, act: Act) -> Self {
        self.steps.push(Step { at: Duration::from_millis(at_ms), who, act });
        self
    }

    /// Spanning so many workers; `delay_ms` is how long messages between them are on their way.
    #[must_use]
    pub fn spanning(mut self, span: usize, delay_ms: u64) -> Self {
        self.span = span;
        self.workers = self.workers.max(span);
        self.relay_delay = Duration::from_millis(delay_ms);
        self
    }

    /// Lasting so many milliseconds.
    #[must_use]
    pub fn lasting(mut self, ms: u64) -> Self {
        self.length = Duration::from_millis(ms);
        self
    }
}
