//! A slot's choice: what it forwards, and what it waits for.
//!
//! Owns: the two sources that a slot can have to do with, the one that it sends and the one that it
//! waits for; and for each the layer ([`Selector`]).
//! Never: numbers packets itself; that is [`super::rewrite`]'s.
//!
//! A slot that is given another track goes on with the old one until the new one's first usable
//! packet (video: the start of a keyframe), then cuts over; what comes late from before the cut is
//! dropped. Within a track, simulcast encodings are switched in the same way by the selector.

use std::time::Instant;

use super::rewrite::{Incoming, Numbers, Rewriter};
use crate::api::Layer;
use crate::layers::{FrameInfo, Selector, Verdict};

/// A jump of more sequence numbers than this is a new stream under an old name: going on would
/// show the receiver a gap of that size.
const JUMP_MAX: u64 = 1_000;

/// A track, as one slot gets it.
#[derive(Debug)]
struct Source {
    /// The track's key in the room.
    track: usize,
    /// The SSRC of the stream that is forwarded.
    ssrc: u32,
    /// Audio has no layers.
    audio: bool,
    selector: Selector,
}

impl Source {
    fn new(track: usize) -> Self {
        Self { track, ssrc: 0, audio: false, selector: Selector::default() }
    }
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// It leaves with these numbers and this marker.
    Forward { numbers: Numbers, marker: bool },
    /// It is the first of what was waited for, and leaves with these numbers. `track` says that it
    /// is the slot's first of this track, not another encoding of it.
    Switch { numbers: Numbers, marker: bool, track: bool },
    /// It is not for this slot now (another stream, a higher layer, or no keyframe yet).
    Skip,
    /// It is from before the switch, or so late that it would only be in the way.
    Late,
    /// The stream jumped; its next keyframe is waited for.
    Lost,
}

/// One packet as the choice sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate<'a> {
    pub(crate) ssrc: u32,
    pub(crate) marker: bool,
    pub(crate) numbers: Incoming,
    pub(crate) payload: &'a [u8],
    pub(crate) kind: Kind<'a>,
}

/// What a packet says of where receivers can start.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind<'a> {
    /// Anywhere but at a packet that was overtaken.
    Audio { newest: bool },
    /// Where the selector says.
    Video(&'a FrameInfo),
}

impl<'a> Candidate<'a> {
    /// Whether a video receiver can begin here.
    pub(crate) fn starts_keyframe(&self) -> bool {
        self.info().is_some_and(FrameInfo::starts_keyframe)
    }

    fn info(&self) -> Option<&'a FrameInfo> {
        match self.kind {
            Kind::Audio { .. } => None,
            Kind::Video(info) => Some(info),
        }
    }
}

/// One slot's state.
#[derive(Debug)]
pub(crate) struct Forwarder {
    sending: Option<Source>,
    waiting: Option<Source>,
    rewriter: Rewriter,
}

impl Forwarder {
    pub(crate) fn new(random: [u32; 2]) -> Self {
        Self { sending: None, waiting: None, rewriter: Rewriter::new(random) }
    }

    /// The track whose packets leave now.
    pub(crate) fn sending(&self) -> Option<usize> {
        self.sending.as_ref().map(|source| source.track)
    }

    /// The track whose first usable packet is waited for.
    pub(crate) fn waiting(&self) -> Option<usize> {
        self.waiting.as_ref().map(|source| source.track)
    }

    /// The layer of `track` that leaves now.
    pub(crate) fn layer(&self, track: usize) -> Option<Layer> {
        let source = self.sending.as_ref().filter(|source| source.track == track)?;
        source.selector.current()
    }

    /// Whether packets of `track` leave now.
    pub(crate) fn delivers(&self, track: usize) -> bool {
        let source = self.sending.as_ref().filter(|source| source.track == track);
        source.is_some_and(|source| source.audio || source.selector.current().is_some())
    }

    /// Wants `track` from its next usable packet on; what is sent now goes on until then.
    pub(crate) fn want(&mut self, track: usize) {
        if self.sending() == Some(track) {
            self.waiting = None;
        } else if self.waiting() != Some(track) {
            self.waiting = Some(Source::new(track));
        }
    }

    /// At most this layer of `track` is forwarded; `None` for nothing.
    pub(crate) fn want_layer(&mut self, track: usize, layer: Option<Layer>) {
        for source in [&mut self.sending, &mut self.waiting].into_iter().flatten() {
            if source.track == track {
                source.selector.want(layer);
            }
        }
    }

    /// The spatial layer (for simulcast: the encoding) of video `track` whose keyframe is waited for.
    pub(crate) fn waits_for_keyframe(&self, track: usize) -> Option<u8> {
        let of_it = |source: &&Source| source.track == track;
        let source = self.waiting.as_ref().filter(of_it);
        source.or(self.sending.as_ref().filter(of_it))?.selector.waits_for_keyframe()
    }

    /// Stops what is sent now, and goes on waiting for what is waited for.
    pub(crate) fn stop(&mut self) {
        self.sending = None;
    }

    /// Encodings were numbered anew, or the stream is another: its next keyframe is waited for.
    pub(crate) fn lose(&mut self, track: usize) {
        if let Some(source) = self.sending.as_mut().filter(|source| source.track == track) {
            source.selector.lose();
        }
    }

    /// Wants nothing and sends nothing.
    pub(crate) fn clear(&mut self) {
        self.sending = None;
        self.waiting = None;
    }

    /// What becomes of one packet.
    pub(crate) fn choose(&mut self, now: Instant, packet: &Candidate<'_>) -> Choice {
        let track = packet.numbers.track;
        if self.waiting() == Some(track) {
            return self.try_start(now, packet);
        }
        match &self.sending {
            Some(source) if source.track == track => match packet.kind {
                Kind::Audio { newest } => self.go_on_with_audio(now, packet, newest),
                Kind::Video(info) => self.go_on_with_video(now, packet, info),
            },
            _ => Choice::Skip,
        }
    }

    /// Cuts over, if a receiver can start at this packet.
    fn try_start(&mut self, now: Instant, packet: &Candidate<'_>) -> Choice {
        let Some(source) = &mut self.waiting else { return Choice::Skip };
        let marker = match packet.kind {
            Kind::Audio { newest: true } => packet.marker,
            Kind::Audio { newest: false } => return Choice::Skip,
            Kind::Video(info) => match source.selector.choose(info) {
                Verdict::Forward { marker, starts: true } => marker,
                _ => return Choice::Skip,
            },
        };
        source.ssrc = packet.ssrc;
        source.audio = packet.numbers.audio;
        self.sending = self.waiting.take();
        let numbers = self.start(now, packet);
        Choice::Switch { numbers, marker, track: true }
    }

    fn start(&mut self, now: Instant, packet: &Candidate<'_>) -> Numbers {
        self.rewriter.start(now, packet.numbers, packet.info(), packet.payload)
    }

    fn go_on(&mut self, now: Instant, packet: &Candidate<'_>, marker: bool) -> Choice {
        let numbers = packet.numbers;
        match self.rewriter.continue_with(now, numbers, packet.info(), packet.payload) {
            Some(numbers) => Choice::Forward { numbers, marker },
            None => Choice::Late,
        }
    }

    fn go_on_with_audio(&mut self, now: Instant, packet: &Candidate<'_>, newest: bool) -> Choice {
        let jumped = self.jumps(packet);
        let Some(source) = &mut self.sending else { return Choice::Skip };
        if source.ssrc == packet.ssrc && !jumped {
            return self.go_on(now, packet, packet.marker);
        }
        if !newest {
            return Choice::Skip;
        }
        source.ssrc = packet.ssrc;
        let numbers = self.start(now, packet);
        Choice::Switch { numbers, marker: packet.marker, track: false }
    }

    fn go_on_with_video(
        &mut self,
        now: Instant,
        packet: &Candidate<'_>,
        info: &FrameInfo,
    ) -> Choice {
        let jumped = self.jumps(packet);
        let stale = info.is_late && self.rewriter.is_stale(packet.numbers);
        let Some(source) = &mut self.sending else { return Choice::Skip };
        if stale && source.ssrc == packet.ssrc {
            return Choice::Late;
        }
        let current = source.selector.current();
        let mine = info.encoding.is_none()
            || current.is_some_and(|current| Some(current.spatial) == info.encoding);
        let lost = mine && current.is_some() && (source.ssrc != packet.ssrc || jumped);
        if lost {
            source.selector.lose();
        }
        match source.selector.choose(info) {
            Verdict::Forward { marker, starts: true } => {
                source.ssrc = packet.ssrc;
                let numbers = self.start(now, packet);
                Choice::Switch { numbers, marker, track: false }
            }
            Verdict::Forward { marker, starts: false } => self.go_on(now, packet, marker),
            Verdict::Drop if lost => Choice::Lost,
            Verdict::Drop => {
                let goes_on = current.is_some() && source.selector.current().is_some();
                if mine && goes_on && source.ssrc == packet.ssrc {
                    let picture_id = info.picture_id.map(|id| id.value);
                    self.rewriter.skip(now, packet.numbers, picture_id);
                }
                Choice::Skip
            }
        }
    }

    /// A packet of `ssrc` and `layer` was withheld on its way here: if it is of the stream that is
    /// sent, numbering closes up over it. `true` if the slot must wait for a keyframe now, as it was
    /// part of what is forwarded.
    pub(crate) fn withheld(
        &mut self,
        (ssrc, layer): (u32, Layer),
        numbers: Incoming,
        picture_id: Option<u16>,
    ) -> bool {
        let source = self.sending.as_mut().filter(|source| source.track == numbers.track);
        let Some(source) = source.filter(|source| source.ssrc == ssrc) else { return false };
        if source.selector.current().is_none() {
            return false;
        }
        source.selector.withheld(numbers.seq, numbers.time, layer);
        self.rewriter.close_up(numbers.seq, picture_id);
        source.selector.current().is_none()
    }

    /// Whether the present stream jumped with this packet.
    fn jumps(&self, packet: &Candidate<'_>) -> bool {
        let same = self.sending.as_ref().is_some_and(|source| source.ssrc == packet.ssrc);
        same && self.rewriter.distance(packet.numbers.seq) > JUMP_MAX
    }
}
