//! What someone publishes, at work: declarations, sources, what is wanted of them.
//!
//! Owns: the way from a [`PublishSpec`] to a track's declaration and packets.
//! Never: sends; the actor does.

use std::time::{Duration, Instant};

use convoke_client::source::{
    AudioConfig, AudioSource, LayeredConfig, LayeredSource, MediaSource, VideoConfig, VideoSource,
};
use convoke_core::{EncodingDeclaration, Mid, ParticipantId, Rid, TrackDeclaration};
use convoke_protocol::{MediaKind as WireKind, Source};

use crate::scenario::{LayersSpec, PublishSpec};

/// The m-lines of every send transport, in order.
pub(crate) const LINES: [Source; 4] =
    [Source::Microphone, Source::Camera, Source::Screen, Source::ScreenAudio];

/// A source of either kind.
#[derive(Debug)]
pub(crate) enum Player {
    Audio(AudioSource),
    Video(VideoSource),
    Layered(Box<LayeredSource>),
}

impl Player {
    pub(crate) fn as_source(&mut self) -> &mut dyn MediaSource {
        match self {
            Self::Audio(source) => source,
            Self::Video(source) => source,
            Self::Layered(source) => &mut **source,
        }
    }

    pub(crate) fn next_due(&self) -> Option<Instant> {
        match self {
            Self::Audio(source) => source.next_due(),
            Self::Video(source) => source.next_due(),
            Self::Layered(source) => source.next_due(),
        }
    }
}

/// Something that is published.
#[derive(Debug)]
pub(crate) struct Playing {
    pub(crate) line: usize,
    pub(crate) client_id: String,
    pub(crate) spec: PublishSpec,
    pub(crate) player: Player,
    /// Which encodings the server wants; until it says so, all.
    pub(crate) wanted: Vec<bool>,
    /// Keyframes that were asked for, of each encoding.
    pub(crate) asked: Vec<u64>,
    pub(crate) since: Instant,
    /// The server has taken it away, and it goes on all the same.
    pub(crate) ghost: bool,
}

pub(crate) fn core_source(source: Source) -> convoke_core::Source {
    match source {
        Source::Microphone => convoke_core::Source::Microphone,
        Source::Camera => convoke_core::Source::Camera,
        Source::Screen => convoke_core::Source::Screen,
        Source::ScreenAudio => convoke_core::Source::ScreenAudio,
    }
}

pub(crate) fn line_of(source: Source) -> usize {
    LINES.iter().position(|line| *line == source).unwrap_or(0)
}

/// The declaration of a track on its line.
pub(crate) fn declaration(
    spec: &PublishSpec,
    client_id: &str,
    send_mids: &[String],
) -> Option<TrackDeclaration> {
    let mid = Mid::new(send_mids.get(line_of(spec.source))?)?;
    let source = core_source(spec.source);
    Some(TrackDeclaration {
        client_id: client_id.into(),
        source,
        mid,
        muted: spec.muted,
        encodings: spec.layers.as_ref().map(|l| encodings(spec, l)).unwrap_or_default(),
        encrypted: spec.layers.as_ref().is_some_and(|layers| layers.encrypted),
    })
}

fn encodings(spec: &PublishSpec, layers: &LayersSpec) -> Vec<EncodingDeclaration> {
    let rids = layers.rids();
    let each = layers.encodings.iter().enumerate().map(|(index, encoding)| EncodingDeclaration {
        rid: rids.get(index).and_then(|rid| Rid::new(rid)),
        width: Some(encoding.size.0.into()),
        height: Some(encoding.size.1.into()),
        max_bitrate_bps: Some(encoding.bps.into()),
        max_frame_rate: Some(spec.fps),
    });
    each.collect()
}

/// A track's packets, from `now` on.
pub(crate) fn playing(
    spec: &PublishSpec,
    client_id: String,
    publisher: ParticipantId,
    epoch: Instant,
    now: Instant,
    seed: u64,
) -> Playing {
    // Sources of one participant do not tick together.
    let start = now + Duration::from_micros(seed % 15_000);
    let line = line_of(spec.source);
    // What is published anew on a line counts its frames anew.
    let track = client_id.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or(0);
    let (first_rtp_time, paused_clock) = (spec.first_rtp_time, spec.paused_clock);
    let mut player = match spec.source.kind() {
        WireKind::Audio => Player::Audio(AudioSource::new(
            AudioConfig {
                track,
                level: spec.level,
                first_rtp_time,
                paused_clock,
                ..AudioConfig::new(publisher.0, epoch, start)
            },
            seed,
        )),
        WireKind::Video if spec.layers.is_some() => Player::Layered(Box::new(LayeredSource::new(
            layered(spec, track, LayeredConfig::simulcast(spec.codec, publisher.0, epoch, start)),
            seed,
        ))),
        WireKind::Video => Player::Video(VideoSource::new(
            VideoConfig {
                track,
                fps: spec.fps,
                bps: spec.bps,
                packet_bytes: spec.packet_bytes,
                first_rtp_time,
                first_picture_id: spec.first_picture_id,
                paused_clock,
                ..VideoConfig::new(spec.codec, publisher.0, epoch, start)
            },
            seed,
        )),
    };
    if spec.muted && !spec.sends_while_muted {
        player.as_source().set_paused(now, true);
    }
    let (wanted, asked) = (Vec::new(), Vec::new());
    Playing { line, client_id, spec: spec.clone(), player, wanted, asked, since: now, ghost: false }
}

fn layered(spec: &PublishSpec, track: u16, plain: LayeredConfig) -> LayeredConfig {
    let Some(layers) = &spec.layers else { return plain };
    LayeredConfig {
        track,
        fps: spec.fps,
        mode: layers.mode,
        flexible: layers.flexible,
        descriptor: layers.descriptor,
        encrypted: layers.encrypted,
        encodings: layers.encodings.clone(),
        first_rtp_time: spec.first_rtp_time,
        first_picture_id: spec.first_picture_id,
        first_tl0: spec.first_picture_id.map(|id| id as u8),
        paused_clock: spec.paused_clock,
        ..plain
    }
}
