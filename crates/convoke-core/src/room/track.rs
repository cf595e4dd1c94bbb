//! What a participant publishes: a track, its encodings, and what each of their layers takes.
//!
//! Owns: which stream is which encoding, the reading of their packets, the measuring of layers, the
//! keyframe budget of each encoding, and what the publisher was told to send.
//! Never: forwards, or decides who gets what.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Subscription;
use super::meter::Meter;
use super::relay::Relaying;
use super::want::Wanting;
use crate::allocate::Rung;
use crate::api::{
    EncodingDeclaration, EncodingDemand, Ladder, LadderRung, Layer, MediaKind, Source, TrackView,
};
use crate::clock::{SamplingClock, StreamClock};
use crate::forward::{Keyframes, Pace};
use crate::ids::{Mid, Rid, TrackId};
use crate::layers::{self, FrameInfo, Reader};
use crate::transport::MediaPacket;

/// A stream that has been silent for this long gives its place to another of its encoding.
const STREAM_IDLE: Duration = Duration::from_millis(500);
/// An encoding that is silent for so long while others of its track are heard is not sent.
const FLOWING: Duration = Duration::from_millis(1_500);
/// Simulcast encodings of one track at most.
pub(super) const ENCODINGS_MAX: usize = 4;
/// Layers that are measured of one encoding at most: four sizes of four rates.
const RUNGS_MAX: usize = 16;

/// One layer of an encoding, with what forwarding it takes.
#[derive(Debug)]
struct Measured {
    /// As the track counts.
    layer: Layer,
    meter: Meter,
    /// When a packet of exactly this layer came last.
    heard: Option<Instant>,
}

/// One stream of packets of a track: a simulcast encoding, or all there is.
#[derive(Debug)]
pub(super) struct Encoding {
    pub(super) rid: Option<Rid>,
    declared: EncodingDeclaration,
    ssrc: Option<u32>,
    heard: Option<Instant>,
    highest: u64,
    /// What its timestamps say.
    clock: StreamClock,
    reader: Option<Reader>,
    measured: Vec<Measured>,
    pub(super) keyframes: Keyframes,
    /// Keyframes asked for.
    pub(super) requests: u64,
}

impl Encoding {
    fn new(declared: EncodingDeclaration) -> Self {
        Self {
            rid: declared.rid,
            declared,
            ssrc: None,
            heard: None,
            highest: 0,
            clock: StreamClock::default(),
            reader: None,
            measured: Vec::new(),
            keyframes: Keyframes::default(),
            requests: 0,
        }
    }

    /// How many temporal layers there are above one, of its spatial layer.
    fn temporals_above(&self, layer: Layer) -> u8 {
        let of_size = self.measured.iter().filter(|other| other.layer.spatial == layer.spatial);
        let top = of_size.map(|other| other.layer.temporal).max().unwrap_or(layer.temporal);
        top.saturating_sub(layer.temporal)
    }

    /// Width and height of a spatial layer's pictures, as the encoding counts it.
    pub(super) fn size(&self, spatial: u8) -> Option<(u32, u32)> {
        let read = self.reader.as_ref().and_then(|reader| reader.size(spatial));
        read.or_else(|| {
            Some((self.declared.width?, self.declared.height?)).filter(|_| spatial == 0)
        })
    }

    fn pixels(&self) -> Option<u64> {
        self.size(0).map(|(width, height)| u64::from(width) * u64::from(height))
    }

    /// Takes a packet into account; whether it is the newest of its stream.
    fn hear(&mut self, now: Instant, packet: &MediaPacket) -> bool {
        let same = self.ssrc == Some(packet.ssrc);
        let newest = !same || packet.seq > self.highest;
        if !same {
            self.reader = None;
            self.clock = StreamClock::default();
        }
        self.ssrc = Some(packet.ssrc);
        self.heard = Some(now);
        self.highest = if same { self.highest.max(packet.seq) } else { packet.seq };
        newest
    }

    fn measure(&mut self, now: Instant, info: &FrameInfo, bytes: u64) {
        if let Some(targets) = &info.targets
            && let Some(structure) = &targets.descriptor.attached
        {
            for layer in structure.target_layers() {
                let spatial = info.encoding.unwrap_or(layer.spatial);
                self.add_rung(Layer { spatial, ..*layer });
            }
        } else if info.targets.is_none() {
            self.add_rung(info.layer);
        }
        let first_of_frame = info.starts_frame;
        for measured in &mut self.measured {
            if measured.layer == info.layer {
                measured.heard = Some(now);
            }
            if info.is_part_of(measured.layer) {
                let counts = first_of_frame && info.layer.spatial == measured.layer.spatial;
                measured.meter.add(now, bytes, counts);
            }
        }
    }

    fn add_rung(&mut self, layer: Layer) {
        if self.measured.len() < RUNGS_MAX
            && let Err(at) = self.measured.binary_search_by_key(&layer, |measured| measured.layer)
        {
            self.measured.insert(at, Measured { layer, meter: Meter::default(), heard: None });
        }
    }

    /// When a packet was sampled: by its sender's clock where that is known, which it helps to know.
    pub(super) fn sampled(
        &mut self,
        now: Instant,
        packet: &MediaPacket,
        sender: &mut SamplingClock,
    ) -> Instant {
        let rate = packet.codec.clock_rate();
        match packet.captured {
            Some(captured) => {
                sender.sampled_by(now, self.clock.arrived(now, packet.time, rate), captured)
            }
            None => self.clock.sampled(now, packet.time, rate),
        }
    }

    pub(super) fn is_flowing(&self, now: Instant) -> bool {
        self.heard.is_some_and(|heard| now.saturating_duration_since(heard) < FLOWING)
    }

    /// Bit/s and frames per second of all of it.
    pub(super) fn rate(&self, now: Instant) -> (u64, u32) {
        self.measured.last().map_or((0, 0), |top| (top.meter.bps(now), top.meter.fps(now)))
    }
}

/// What a packet is found to be.
pub(super) struct Heard {
    pub(super) newest: bool,
    /// Which of the track's encodings it is of.
    pub(super) encoding: usize,
    /// For video.
    pub(super) info: Option<FrameInfo>,
    /// Encodings were numbered anew: whoever has one must start again.
    pub(super) reordered: bool,
    /// Its encoding had been silent for long.
    pub(super) returned: bool,
}

/// What a participant publishes.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) id: TrackId,
    pub(super) owner: usize,
    /// The link that it is mirrored from; `None` for one that is published on this shard.
    pub(super) home: Option<usize>,
    /// Its place in the order in which this shard heard of tracks.
    pub(super) arrival: u64,
    pub(super) client_id: Arc<str>,
    pub(super) source: Source,
    pub(super) muted: bool,
    pub(super) encrypted: bool,
    /// The m-line that carries it; of no meaning for a mirrored one.
    pub(super) line: usize,
    pub(super) mid: Option<Mid>,
    pub(super) subscriptions: Vec<Subscription>,
    /// The shards that want it.
    pub(super) relaying: Vec<Relaying>,
    /// What was told them of its layers.
    pub(super) ladder_told: Ladder,
    /// What its own shard was told to send.
    pub(super) want: Wanting,
    /// Lowest first.
    pub(super) encodings: Vec<Encoding>,
    /// The ladder as it was last measured.
    pub(super) rungs: Vec<Rung>,
    /// The place among its kind, 0 first.
    pub(super) rank: usize,
    pub(super) demand: Demand,
    /// Audio: what it takes.
    pub(super) meter: Meter,
}

/// What the publisher should send, and was told.
#[derive(Debug, Default)]
pub(super) struct Demand {
    /// The best that anybody wants now.
    pub(super) wanted: Option<Layer>,
    /// What the publisher was told; `None` before the first time.
    told: Option<Option<u8>>,
    /// Since when less is wanted than was told.
    less_since: Option<Instant>,
}

/// Less is told to publishers only when it has been so for this long: starting an encoding again
/// costs a round trip and a keyframe.
const LESS_AFTER: Duration = Duration::from_secs(4);

impl Track {
    pub(super) fn new(
        owner: usize,
        home: Option<usize>,
        view: &TrackView,
        encodings: Vec<Encoding>,
    ) -> Self {
        Self {
            id: view.track,
            owner,
            home,
            arrival: 0,
            client_id: Arc::clone(&view.client_id),
            source: view.source,
            muted: view.muted,
            encrypted: view.encrypted,
            line: 0,
            mid: None,
            subscriptions: Vec::new(),
            relaying: Vec::new(),
            ladder_told: Ladder::default(),
            want: Wanting::default(),
            encodings,
            rungs: Vec::new(),
            rank: usize::MAX,
            demand: Demand::default(),
            meter: Meter::default(),
        }
    }

    /// Declared encodings, else the RIDs of the offer, else one.
    pub(super) fn make_encodings(
        declared: Vec<EncodingDeclaration>,
        rids: &[Rid],
    ) -> Vec<Encoding> {
        let of_rid = |rid: &Rid| {
            let known = declared.iter().find(|declared| declared.rid == Some(*rid)).cloned();
            known.unwrap_or(EncodingDeclaration { rid: Some(*rid), ..Default::default() })
        };
        let mut all: Vec<EncodingDeclaration> = if rids.is_empty() {
            let only = declared.into_iter().next_back().unwrap_or_default();
            vec![EncodingDeclaration { rid: None, ..only }]
        } else if declared.iter().filter(|d| d.rid.is_some_and(|r| rids.contains(&r))).count()
            == rids.len()
        {
            declared.into_iter().filter(|d| d.rid.is_some_and(|r| rids.contains(&r))).collect()
        } else {
            rids.iter().map(of_rid).collect()
        };
        all.truncate(ENCODINGS_MAX);
        all.into_iter().map(Encoding::new).collect()
    }

    pub(super) fn is_simulcast(&self) -> bool {
        self.encodings.len() > 1
    }

    /// The number by which packets of an encoding are told apart; `None` if there is only one.
    fn number(&self, encoding: usize) -> Option<u8> {
        u8::try_from(encoding).ok().filter(|_| self.is_simulcast())
    }

    /// How often keyframes are asked for.
    pub(super) fn keyframe_pace(&self, interval: Duration) -> Pace {
        if self.home.is_some() { Pace::Home(interval) } else { Pace::Publisher(interval) }
    }

    /// The encoding whose keyframe brings a spatial layer.
    pub(super) fn encoding_of(&self, spatial: u8) -> usize {
        if self.is_simulcast() { usize::from(spatial).min(self.encodings.len() - 1) } else { 0 }
    }

    /// The next lower encoding, if keyframes of the one with this spatial layer do not come: something to
    /// begin with for who has no picture.
    pub(super) fn stand_in(&self, spatial: u8) -> Option<u8> {
        let index = self.encoding_of(spatial);
        let in_vain = self.encodings.get(index).is_some_and(|e| e.keyframes.is_unanswered());
        u8::try_from(index).ok()?.checked_sub(1).filter(|_| in_vain)
    }

    /// Takes a packet into account. `None` if it is of a stream that is not this track's.
    pub(super) fn hear(&mut self, now: Instant, packet: &MediaPacket) -> Option<Heard> {
        let index = self.find(now, packet)?;
        self.hear_encoding(now, index, packet)
    }

    /// Takes a packet of a known encoding into account. `None` if there is no such encoding.
    pub(super) fn hear_encoding(
        &mut self,
        now: Instant,
        index: usize,
        packet: &MediaPacket,
    ) -> Option<Heard> {
        let number = self.number(index);
        let (is_video, encrypted) = (self.source.kind() == MediaKind::Video, self.encrypted);
        let mirrored = self.home.is_some();
        let encoding = self.encodings.get_mut(index)?;
        let returned = encoding.heard.is_some() && !encoding.is_flowing(now);
        let newest = encoding.hear(now, packet);
        if returned {
            encoding.keyframes.returned();
        }
        let heard = |info, reordered| Heard { newest, encoding: index, info, reordered, returned };
        if !is_video {
            self.meter.add(now, packet.wire_bytes(), true);
            return Some(heard(None, false));
        }
        let reader = match &mut encoding.reader {
            Some(reader) if reader.codec() == packet.codec => reader,
            reader => reader.insert(Reader::new(packet.codec, number).encrypted(encrypted)),
        };
        let info = reader.read(layers::Packet {
            seq: packet.seq,
            time: packet.time,
            marker: packet.marker,
            payload: &packet.payload,
            descriptor: packet.descriptor.as_ref().map(|descriptor| &*descriptor.0),
        });
        let Some(info) = info else { return Some(heard(None, false)) };
        if !mirrored {
            // Of a mirrored track only what is wanted comes: its own shard measures.
            encoding.measure(now, &info, packet.wire_bytes());
        }
        let keyframe = info.starts_keyframe() && newest;
        if keyframe {
            encoding.keyframes.arrived();
        }
        let reordered = keyframe && !mirrored && self.sort_encodings();
        Some(heard(Some(info), reordered))
    }

    fn find(&self, now: Instant, packet: &MediaPacket) -> Option<usize> {
        let takes = |encoding: &Encoding| {
            encoding.ssrc.is_none_or(|ssrc| ssrc == packet.ssrc)
                || encoding
                    .heard
                    .is_none_or(|heard| now.saturating_duration_since(heard) >= STREAM_IDLE)
        };
        let known = self.encodings.iter().position(|e| e.ssrc == Some(packet.ssrc));
        known.or_else(|| match packet.rid {
            Some(rid) if self.is_simulcast() => {
                self.encodings.iter().position(|e| e.rid == Some(rid) && takes(e))
            }
            _ if self.is_simulcast() => None,
            _ => self.encodings.first().filter(|e| takes(e)).map(|_| 0),
        })
    }

    /// Puts encodings in the order of their pictures' sizes, where these are known and say
    /// otherwise. Whether anything moved.
    fn sort_encodings(&mut self) -> bool {
        let pixels: Option<Vec<u64>> = self.encodings.iter().map(Encoding::pixels).collect();
        let Some(pixels) = pixels.filter(|pixels| !pixels.is_sorted()) else { return false };
        debug_assert_eq!(pixels.len(), self.encodings.len());
        self.encodings.sort_by_key(|encoding| encoding.pixels());
        let simulcast = self.is_simulcast();
        for (index, encoding) in self.encodings.iter_mut().enumerate() {
            let number = u8::try_from(index).ok().filter(|_| simulcast);
            encoding.measured.clear();
            if let Some(reader) = &mut encoding.reader {
                reader.set_encoding(number);
            }
        }
        true
    }

    /// Measures the ladder anew.
    pub(super) fn update_rungs(&mut self, now: Instant) {
        if self.home.is_some() {
            // Its own shard tells.
            return;
        }
        self.rungs.clear();
        if self.source.kind() == MediaKind::Audio {
            return;
        }
        // A screen may be still for long: silence of all says nothing.
        let silent = !self.encodings.iter().any(|encoding| encoding.is_flowing(now));
        let simulcast = self.is_simulcast();
        for (index, encoding) in self.encodings.iter().enumerate() {
            let number = u8::try_from(index).unwrap_or(u8::MAX);
            let was_heard = encoding.heard.is_some();
            let flowing = was_heard && (silent || encoding.is_flowing(now));
            let declared = &encoding.declared;
            if encoding.measured.is_empty() {
                let (width, height) = encoding.size(0).unwrap_or((0, 0));
                self.rungs.push(Rung {
                    layer: Layer { spatial: if simulcast { number } else { 0 }, temporal: 0 },
                    bitrate_bps: nominal_bps(declared, (width, height)),
                    width,
                    height,
                    fps: declared.max_frame_rate.unwrap_or(0),
                    flowing: flowing || !was_heard && silent,
                });
                continue;
            }
            let rungs = encoding.measured.len();
            for (at, measured) in encoding.measured.iter().enumerate() {
                let spatial = if simulcast { 0 } else { measured.layer.spatial };
                let (width, height) = encoding.size(spatial).unwrap_or((0, 0));
                let (bitrate_bps, fps) = match measured.meter.bps(now) {
                    // Too early to say: in equal steps up to what the whole will take.
                    0 => (
                        nominal_bps(declared, (width, height)) * (at as u64 + 1) / rungs as u64,
                        nominal_fps(declared, encoding.temporals_above(measured.layer)),
                    ),
                    bps => (bps, measured.meter.fps(now)),
                };
                let layer = measured.layer;
                self.rungs.push(Rung { layer, bitrate_bps, width, height, fps, flowing });
            }
        }
    }

    /// What other shards are to know of its layers.
    pub(super) fn ladder(&self) -> Ladder {
        let encodings = self.encodings.iter().map(|encoding| {
            let size = encoding.size(0);
            EncodingDeclaration {
                width: size.map(|(width, _)| width),
                height: size.map(|(_, height)| height),
                ..encoding.declared.clone()
            }
        });
        let rungs = self.rungs.iter().map(|rung| LadderRung {
            layer: rung.layer,
            bitrate_bps: rung.bitrate_bps,
            width: rung.width,
            height: rung.height,
            fps: rung.fps,
            flowing: rung.flowing,
        });
        Ladder { track: self.id, encodings: encodings.collect(), rungs: rungs.collect() }
    }

    /// Takes over what its own shard says of a mirrored track's layers. Whether its encodings are
    /// numbered anew.
    pub(super) fn follow(&mut self, ladder: &Ladder) -> bool {
        let rids = |encodings: &[Encoding]| -> Vec<_> { encodings.iter().map(|e| e.rid).collect() };
        let before = rids(&self.encodings);
        let mut known = std::mem::take(&mut self.encodings);
        let simulcast = ladder.encodings.len() > 1;
        for declared in ladder.encodings.iter().take(ENCODINGS_MAX) {
            let at = known.iter().position(|encoding| encoding.rid == declared.rid);
            let mut encoding =
                at.map_or_else(|| Encoding::new(declared.clone()), |at| known.swap_remove(at));
            encoding.declared = declared.clone();
            let number = u8::try_from(self.encodings.len()).ok().filter(|_| simulcast);
            if let Some(reader) = &mut encoding.reader {
                reader.set_encoding(number);
            }
            self.encodings.push(encoding);
        }
        if self.encodings.is_empty() {
            self.encodings.push(Encoding::new(EncodingDeclaration::default()));
        }
        let rung = |rung: &LadderRung| Rung {
            layer: rung.layer,
            bitrate_bps: rung.bitrate_bps,
            width: rung.width,
            height: rung.height,
            fps: rung.fps,
            flowing: rung.flowing,
        };
        self.rungs = ladder.rungs.iter().take(ENCODINGS_MAX * RUNGS_MAX).map(rung).collect();
        before != rids(&self.encodings)
    }

    /// What is known of the pictures of a layer.
    pub(super) fn size_of(&self, layer: Layer) -> Option<(u32, u32)> {
        let spatial = if self.is_simulcast() { 0 } else { layer.spatial };
        self.encodings.get(self.encoding_of(layer.spatial))?.size(spatial)
    }

    /// Takes what is wanted now; what the publisher is to be told, if anything.
    pub(super) fn demand(
        &mut self,
        now: Instant,
        wanted: Option<Layer>,
    ) -> Option<Vec<EncodingDemand>> {
        self.demand.wanted = wanted;
        let top =
            wanted.map(|layer| u8::try_from(self.encoding_of(layer.spatial)).unwrap_or(u8::MAX));
        let due = match self.demand.told {
            None => true,
            Some(told) if told == top => {
                self.demand.less_since = None;
                false
            }
            Some(told) if told < top => true,
            Some(_) => {
                let since = *self.demand.less_since.get_or_insert(now);
                now.saturating_duration_since(since) >= LESS_AFTER
            }
        };
        if !due {
            return None;
        }
        self.demand.told = Some(top);
        self.demand.less_since = None;
        Some(self.told())
    }

    /// What the publisher was last told; everything, before the first time.
    pub(super) fn told(&self) -> Vec<EncodingDemand> {
        let top = self.demand.told;
        let active =
            |index: usize| top.is_none_or(|top| top.is_some_and(|top| index <= usize::from(top)));
        let demand = |(index, encoding): (usize, &Encoding)| EncodingDemand {
            rid: encoding.rid,
            active: active(index),
        };
        self.encodings.iter().enumerate().map(demand).collect()
    }
}

/// The pictures a second of a temporal layer with so many above it, before they were counted: each
/// layer doubles them.
fn nominal_fps(declared: &EncodingDeclaration, above: u8) -> u32 {
    const UNKNOWN_FPS: u32 = 30;
    declared.max_frame_rate.unwrap_or(UNKNOWN_FPS).checked_shr(above.into()).unwrap_or(0).max(1)
}

/// What an encoding is taken to need before it was measured.
fn nominal_bps(declared: &EncodingDeclaration, (width, height): (u32, u32)) -> u64 {
    /// Of unknown size: a picture of 640x360.
    const UNKNOWN_BPS: u64 = 500_000;
    const LEAST_BPS: u64 = 100_000;
    let pixels = u64::from(width) * u64::from(height);
    let by_size = if pixels == 0 { UNKNOWN_BPS } else { (pixels * 2).max(LEAST_BPS) };
    declared.max_bitrate_bps.unwrap_or(by_size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporal_layer_that_was_not_counted_yet_has_its_share_of_the_pictures() {
        let mut declared = EncodingDeclaration::default();
        assert_eq!([2, 1, 0].map(|above| nominal_fps(&declared, above)), [7, 15, 30]);
        declared.max_frame_rate = Some(20);
        let mut encoding = Encoding::new(declared);
        for temporal in [0, 2, 1] {
            encoding.add_rung(Layer { spatial: 1, temporal });
        }
        encoding.add_rung(Layer { spatial: 2, temporal: 0 });
        let fps = |spatial, temporal| {
            let above = encoding.temporals_above(Layer { spatial, temporal });
            nominal_fps(&encoding.declared, above)
        };
        assert_eq!([fps(1, 0), fps(1, 1), fps(1, 2), fps(2, 0)], [5, 10, 20, 20]);
        assert_eq!(nominal_fps(&encoding.declared, u8::MAX), 1, "never unknown");
    }
}
