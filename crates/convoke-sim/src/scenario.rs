//! A call as data: who is there, over what networks, and what they do when.

use std::time::Duration;

use convoke_client::media::Codec;
use convoke_client::source::PausedClock;
use convoke_protocol::Source;

use crate::link::LinkConfig;

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
}

impl PublishSpec {
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
            first_sequence: None,
            ssrc: None,
            first_rtp_time: None,
            first_picture_id: None,
            paused_clock: PausedClock::default(),
            sends_while_muted: false,
        }
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
    /// Everyone.
    pub actors: Vec<ActorSpec>,
    /// What they do.
    pub steps: Vec<Step>,
    /// How long it lasts; a settling time is added.
    pub length: Duration,
    /// See [`convoke_core::WorkerConfig::media_timeout`].
    pub media_timeout: Duration,
}

impl Scenario {
    /// A call with a schedule yet to be filled.
    #[must_use]
    pub fn new(name: &str, actors: Vec<ActorSpec>) -> Self {
        Self {
            name: name.to_owned(),
            workers: 1,
            actors,
            steps: Vec::new(),
            length: Duration::from_secs(4),
            media_timeout: Duration::from_secs(12),
        }
    }

    /// With one more step, at so many milliseconds.
    #[must_use]
    pub fn step(mut self, at_ms: u64, who: usize, act: Act) -> Self {
        self.steps.push(Step { at: Duration::from_millis(at_ms), who, act });
        self
    }

    /// Lasting so many milliseconds.
    #[must_use]
    pub fn lasting(mut self, ms: u64) -> Self {
        self.length = Duration::from_millis(ms);
        self
    }
}
