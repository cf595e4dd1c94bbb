//! Video in layers: simulcast encodings, temporal and spatial layers.
//!
//! Owns: the pictures of several encodings of one track, on one clock, by the patterns of
//! [`super::Scalability`].
//! Never: decides which encodings anybody wants.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::descriptor::descriptor;
use super::payload::{Head, Packetizer, Style};
use super::scalability::{Pattern, Template};
use super::{FrameSizes, MediaSource, PausedClock, REFERENCES_MAX, Scalability, Stamp, micros};
use crate::media::{Codec, Packet};

/// Pictures of one [`MediaSource::take`] at most; a caller that was away longer lost the rest.
const MAX_BURST: u32 = 4;
/// How much larger a keyframe is than the mean frame.
const KEYFRAME_FACTOR: usize = 4;
/// The smallest time between two keyframes that were asked for.
const KEYFRAME_SPACING: Duration = Duration::from_millis(100);
/// The share of a picture that each of three spatial layers takes, in twelfths.
const SPATIAL_SHARES: [usize; 3] = [1, 3, 8];
/// How large a picture of each of three temporal layers is, in percent of the mean.
const TEMPORAL_SIZES: [usize; 3] = [160, 80, 80];

/// One encoding of a [`LayeredConfig`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodingConfig {
    /// Width and height of its largest spatial layer.
    pub size: (u16, u16),
    /// Bits in a second, payload only, all layers.
    pub bps: u32,
    /// Whether it is sent from the start.
    pub active: bool,
}

/// A layered source's settings.
#[derive(Debug, Clone)]
pub struct LayeredConfig {
    /// The codec to imitate.
    pub codec: Codec,
    /// See [`Stamp::publisher`].
    pub publisher: u32,
    /// See [`Stamp::track`].
    pub track: u16,
    /// Zero of [`Stamp::sent_us`]; receiver and sender must agree on it.
    pub epoch: Instant,
    /// When the first picture is due.
    pub start: Instant,
    /// Pictures in a second, with all temporal layers.
    pub fps: u32,
    /// The layers of each encoding. Only VP9 and AV1 have spatial ones.
    pub mode: Scalability,
    /// VP9's flexible mode (RFC 9628 §4.2).
    pub flexible: bool,
    /// Send the dependency descriptor.
    pub descriptor: bool,
    /// Nothing in payloads can be read, as if they were encrypted end to end.
    pub encrypted: bool,
    /// The encodings, lowest first: at least one, more with simulcast.
    pub encodings: Vec<EncodingConfig>,
    /// How large frames are, as recorded; about the mean of each encoding when absent.
    pub sizes: Option<Arc<FrameSizes>>,
    /// Bytes of the largest packet's payload.
    pub packet_bytes: usize,
    /// The first RTP timestamp of the first encoding; random when absent. Those of the others differ
    /// from it, as browsers' do.
    pub first_rtp_time: Option<u32>,
    /// The first picture id (15 bits; VP8 and VP9) and frame number of the dependency descriptor;
    /// random when absent.
    pub first_picture_id: Option<u16>,
    /// The first TL0PICIDX; random when absent.
    pub first_tl0: Option<u8>,
    /// What the RTP clock does over a pause.
    pub paused_clock: PausedClock,
}

impl LayeredConfig {
    /// 30 pictures/s in three temporal layers, 180p at 150, 360p at 500 and 720p at 1,700 kbit/s.
    #[must_use]
    pub fn simulcast(codec: Codec, publisher: u32, epoch: Instant, start: Instant) -> Self {
        let encoding =
            |width, height, bps| EncodingConfig { size: (width, height), bps, active: true };
        Self {
            codec,
            publisher,
            track: 1,
            epoch,
            start,
            fps: 30,
            mode: Scalability::L1T3,
            flexible: true,
            descriptor: false,
            encrypted: false,
            encodings: vec![
                encoding(320, 180, 150_000),
                encoding(640, 360, 500_000),
                encoding(1_280, 720, 1_700_000),
            ],
            sizes: None,
            packet_bytes: 1_100,
            first_rtp_time: None,
            first_picture_id: None,
            first_tl0: None,
            paused_clock: PausedClock::default(),
        }
    }

    /// 30 pictures/s in one encoding of three spatial and three temporal layers, 1.8 Mbit/s.
    #[must_use]
    pub fn scalable(codec: Codec, publisher: u32, epoch: Instant, start: Instant) -> Self {
        let top = EncodingConfig { size: (1_280, 720), bps: 1_800_000, active: true };
        Self {
            mode: Scalability::L3T3,
            encodings: vec![top],
            ..Self::simulcast(codec, publisher, epoch, start)
        }
    }

    /// The sizes of an encoding's spatial layers, lowest first.
    fn sizes(&self, (width, height): (u16, u16)) -> Vec<(u16, u16)> {
        let layers = self.mode.spatial_layers();
        (0..layers).rev().map(|down| (width >> down, height >> down)).collect()
    }

    fn style(&self, size: (u16, u16)) -> Style {
        Style {
            sizes: self.sizes(size),
            group: self.mode.temporal_layers() > 1,
            flexible: self.flexible,
            layered: self.mode != Scalability::L1T1,
            bare: self.descriptor,
            opaque: self.encrypted,
        }
    }
}

/// One encoding at work.
#[derive(Debug)]
struct Encoding {
    config: EncodingConfig,
    sizes: Vec<(u16, u16)>,
    packetizer: Packetizer,
    /// Added to the source's clock.
    rtp_offset: u32,
    /// Added to the frame's number.
    first_number: u16,
    frame: u32,
    picture: u32,
    /// Where in the pattern's period the next picture stands.
    position: usize,
    keyframe_wanted: bool,
    last_keyframe: Option<Instant>,
    /// What a keyframe took beyond its share, in bytes, to be saved again.
    debt: usize,
}

/// Synthetic layered video; see [`LayeredConfig`].
#[derive(Debug)]
pub struct LayeredSource {
    config: LayeredConfig,
    pattern: &'static Pattern,
    random: fastrand::Rng,
    encodings: Vec<Encoding>,
    due: Instant,
    rtp_time: u32,
    paused_at: Option<Instant>,
}

impl LayeredSource {
    /// A source whose active encodings begin with a keyframe at `config.start`.
    #[must_use]
    pub fn new(config: LayeredConfig, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let rtp_time = config.first_rtp_time.unwrap_or_else(|| random.u32(..));
        let encoding = |(index, encoding): (usize, &EncodingConfig)| {
            let first_number = config.first_picture_id.unwrap_or_else(|| random.u16(..));
            let tl0 = config.first_tl0.unwrap_or_else(|| random.u8(..));
            let style = config.style(encoding.size);
            Encoding {
                config: *encoding,
                sizes: style.sizes.clone(),
                packetizer: Packetizer::new(config.codec, first_number, tl0, style),
                rtp_offset: if index == 0 { 0 } else { random.u32(..) },
                first_number,
                frame: 0,
                picture: 0,
                position: 0,
                keyframe_wanted: true,
                last_keyframe: None,
                debt: 0,
            }
        };
        Self {
            encodings: config.encodings.iter().enumerate().map(encoding).collect(),
            pattern: Pattern::of(config.mode, config.codec),
            due: config.start,
            config,
            random,
            rtp_time,
            paused_at: None,
        }
    }

    /// Whether an encoding is sent.
    #[must_use]
    pub fn is_active(&self, encoding: usize) -> bool {
        self.encodings.get(encoding).is_some_and(|encoding| encoding.config.active)
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(1) / self.config.fps.max(1)
    }

    fn advance(&mut self, pictures: u32) {
        self.due += self.interval() * pictures;
        let ticks = 90_000 / self.config.fps.max(1);
        self.rtp_time = self.rtp_time.wrapping_add(ticks.wrapping_mul(pictures));
    }

    /// Whole pictures between the next due one and `now`.
    fn late(&self, now: Instant) -> u32 {
        let late = now.saturating_duration_since(self.due).as_nanos();
        u32::try_from(late / self.interval().as_nanos().max(1)).unwrap_or(u32::MAX)
    }

    fn picture(&mut self, now: Instant, packets: &mut Vec<Packet>) {
        let Self { config, pattern, random, encodings, rtp_time, .. } = self;
        for (index, encoding) in encodings.iter_mut().enumerate() {
            if encoding.config.active {
                let making = Making { config, pattern, index, now, rtp_time: *rtp_time };
                encoding.picture(&making, random, packets);
            }
        }
    }
}

/// What the pictures of one instant have in common.
struct Making<'a> {
    config: &'a LayeredConfig,
    pattern: &'static Pattern,
    /// The encoding's.
    index: usize,
    now: Instant,
    rtp_time: u32,
}

/// One frame to be written.
struct Frame<'a> {
    template: usize,
    of: &'a Template,
    key_picture: bool,
    bytes: usize,
    count: usize,
    /// The last of its picture.
    last: bool,
}

impl Encoding {
    fn begins_anew(&mut self, now: Instant) -> bool {
        let since = self.last_keyframe.map(|at| now.saturating_duration_since(at));
        let wanted = self.keyframe_wanted && since.is_none_or(|since| since >= KEYFRAME_SPACING);
        if wanted {
            self.keyframe_wanted = false;
            self.last_keyframe = Some(now);
            self.position = 0;
        }
        wanted
    }

    fn picture(
        &mut self,
        making: &Making<'_>,
        random: &mut fastrand::Rng,
        packets: &mut Vec<Packet>,
    ) {
        let key_picture = self.begins_anew(making.now);
        let pattern = making.pattern;
        let position = self.position % pattern.period.len().max(1);
        let Some(frames) =
            (if key_picture { Some(&pattern.key) } else { pattern.period.get(position) })
        else {
            return;
        };
        self.position = self.position.wrapping_add(1);
        let sync = pattern.syncs.contains(&position);
        let of = |template: usize| pattern.templates.get(template);
        let temporal = frames.first().and_then(|first| of(*first)).map_or(0, |t| t.temporal);
        self.packetizer.begin_picture(temporal);
        let upper_use = |spatial: usize| {
            let upper = frames.get(spatial + 1).and_then(|template| of(*template));
            upper.is_some_and(|template| template.references.contains(&1))
        };
        for (spatial, template) in frames.iter().enumerate() {
            let Some(of) = of(*template) else { continue };
            self.packetizer.begin_frame(head(of, key_picture, sync, upper_use(spatial), pattern));
            let bytes = self.bytes(making.config, of, key_picture, random);
            let room = making.config.packet_bytes.saturating_sub(Stamp::LEN).max(64);
            let count = bytes.div_ceil(room).max(self.packetizer.least_packets(key_picture));
            let last = spatial + 1 == frames.len();
            let frame = Frame { template: *template, of, key_picture, bytes, count, last };
            self.frame(making, &frame, random, packets);
            self.frame = self.frame.wrapping_add(1);
        }
        self.picture = self.picture.wrapping_add(1);
    }

    /// How large a frame is: keyframes are several times the mean, what follows pays for them.
    fn bytes(
        &mut self,
        config: &LayeredConfig,
        of: &Template,
        key_picture: bool,
        random: &mut fastrand::Rng,
    ) -> usize {
        let mean = usize::try_from(self.config.bps / 8 / config.fps.max(1)).unwrap_or(usize::MAX);
        let share =
            |table: &[usize; 3], layer: u8| table.get(usize::from(layer)).copied().unwrap_or(0);
        let mut bytes = mean;
        if config.mode.spatial_layers() > 1 {
            bytes = bytes * share(&SPATIAL_SHARES, of.spatial) / 12;
        }
        if let Some(sizes) = &config.sizes {
            let layer = (config.mode.temporal_layers() > 1).then_some(of.temporal);
            let at = usize::from(self.first_number).wrapping_add(self.frame as usize);
            return sizes.bytes(bytes, key_picture, layer, at).max(60);
        }
        if config.mode.temporal_layers() > 1 && !key_picture {
            bytes = bytes * share(&TEMPORAL_SIZES, of.temporal) / 100;
        }
        let bytes = bytes.max(60) * random.usize(80..=120) / 100;
        if key_picture {
            self.debt += bytes * (KEYFRAME_FACTOR - 1);
            return bytes * KEYFRAME_FACTOR;
        }
        let saved = (bytes / 4).min(self.debt);
        self.debt -= saved;
        bytes - saved
    }

    fn frame(
        &mut self,
        making: &Making<'_>,
        frame: &Frame<'_>,
        random: &mut fastrand::Rng,
        packets: &mut Vec<Packet>,
    ) {
        let (config, of) = (making.config, frame.of);
        let mut references = [0; REFERENCES_MAX];
        references.iter_mut().zip(of.references).for_each(|(to, from)| *to = *from);
        let number = self.first_number.wrapping_add(self.frame as u16);
        let room = config.packet_bytes.saturating_sub(Stamp::LEN).max(64);
        for index in 0..frame.count {
            let (first, last) = (index == 0, index + 1 == frame.count);
            let stamp = Stamp {
                publisher: config.publisher,
                track: config.track,
                encoding: u8::try_from(making.index).unwrap_or(u8::MAX),
                spatial: of.spatial,
                temporal: of.temporal,
                keyframe: of.references.is_empty(),
                frame: self.frame,
                picture: self.picture,
                references,
                opaque: config.encrypted,
                size: self.sizes.get(usize::from(of.spatial)).copied().unwrap_or_default(),
                packet: u16::try_from(index).unwrap_or(u16::MAX),
                packets: u16::try_from(frame.count).unwrap_or(u16::MAX),
                sent_us: micros(config.epoch, making.now),
            };
            let mut payload = Vec::with_capacity(frame.bytes / frame.count + 64);
            self.packetizer.head(index, frame.count, &mut payload);
            let head = payload.len();
            payload.resize((head + 8).max((frame.bytes / frame.count).min(room)), 0);
            if let Some(noise) = payload.get_mut(head..) {
                random.fill(noise);
            }
            stamp.write(&mut payload);
            let starts = first && frame.key_picture && of.spatial == 0;
            let sizes = starts.then_some(self.sizes.as_slice());
            let described =
                || descriptor(making.pattern, (first, last), frame.template, number, sizes).into();
            let rtp_time = making.rtp_time.wrapping_add(self.rtp_offset);
            packets.push(Packet {
                marker: last && frame.last,
                encoding: making.index,
                descriptor: config.descriptor.then(described),
                ..Packet::new(config.codec, rtp_time, payload)
            });
        }
    }
}

fn head(of: &Template, key_picture: bool, sync: bool, used_by_upper: bool, all: &Pattern) -> Head {
    let layers = all.key.len().max(1);
    let mut pictures_back = [0; 2];
    let earlier = of.references.iter().map(|back| usize::from(*back) / layers);
    let earlier = earlier.filter(|back| *back > 0).filter_map(|back| u8::try_from(back).ok());
    pictures_back.iter_mut().zip(earlier).for_each(|(to, from)| *to = from);
    Head {
        key_picture,
        spatial: of.spatial,
        temporal: of.temporal,
        sync: sync && of.temporal > 0,
        discardable: of.indications.bytes().all(|found| matches!(found, b'-' | b'D')),
        inter_layer: of.spatial > 0 && of.references.contains(&1),
        used_by_upper,
        pictures_back,
    }
}

impl MediaSource for LayeredSource {
    fn next_due(&self) -> Option<Instant> {
        let sends = self.encodings.iter().any(|encoding| encoding.config.active);
        (self.paused_at.is_none() && sends).then_some(self.due)
    }

    fn take(&mut self, now: Instant) -> Vec<Packet> {
        let mut packets = Vec::new();
        if self.next_due().is_none() {
            return packets;
        }
        let skip = self.late(now).saturating_sub(MAX_BURST);
        self.advance(skip);
        while self.due <= now {
            self.picture(now, &mut packets);
            self.advance(1);
        }
        packets
    }

    fn request_keyframe(&mut self) {
        self.encodings.iter_mut().for_each(|encoding| encoding.keyframe_wanted = true);
    }

    fn request_keyframe_of(&mut self, encoding: usize) {
        if let Some(encoding) = self.encodings.get_mut(encoding) {
            encoding.keyframe_wanted = true;
        }
    }

    fn set_active(&mut self, now: Instant, encoding: usize, active: bool) {
        let idle = self.next_due().is_none();
        if let Some(encoding) = self.encodings.get_mut(encoding)
            && std::mem::replace(&mut encoding.config.active, active) != active
        {
            encoding.keyframe_wanted |= active;
        }
        if idle && self.next_due().is_some() {
            let away = self.late(now);
            self.advance(away);
        }
    }

    fn set_paused(&mut self, now: Instant, paused: bool) {
        match (paused, self.paused_at) {
            (true, None) => self.paused_at = Some(now),
            (false, Some(_)) => {
                self.paused_at = None;
                self.request_keyframe();
                match self.config.paused_clock {
                    PausedClock::Runs => {
                        let away = self.late(now);
                        self.advance(away);
                    }
                    PausedClock::Stands => self.due = self.due.max(now),
                    PausedClock::Jumps => {
                        self.due = self.due.max(now);
                        self.rtp_time = self.random.u32(..);
                    }
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
