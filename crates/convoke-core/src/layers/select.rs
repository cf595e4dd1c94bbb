//! Which packets a receiver gets who is to have a certain layer.
//!
//! Owns: what is forwarded now, what is wished, and the way from the one to the other, for simulcast
//! and scalable coding alike.
//! Never: numbers packets, or asks for keyframes; it says when one is waited for.
//!
//! The rules, whatever the codec:
//! - down takes effect with the next picture, where all that the lower layer needs was forwarded;
//!   in key-SVC it was not, and the next keyframe is waited for;
//! - up takes effect where decoding can go on from what was forwarded: at a keyframe of another
//!   encoding, at a frame whose indication says `Switch` and whose references were all forwarded, at
//!   a temporal switching point of a payload descriptor, at a frame that needs only the next lower
//!   spatial layer;
//! - a late packet is judged by what was forwarded when its turn was, and begins nothing: what came
//!   before it may have been dropped already.

use super::Layer;
use super::descriptor::Indication;
use super::frame::{FrameInfo, Keyframe, Targets, UpSwitch};
use super::numbers::Sent;

/// Changes of layer that late packets can still be judged by.
const CHANGES_MAX: usize = 8;
/// Three bits in every codec.
const TEMPORAL_MAX: u8 = 7;

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It leaves, with this marker: set on the last packet of the highest layer forwarded of its
    /// picture, even where the source's marker is on a higher one.
    /// `starts` with the first packet from an encoding, or after nothing was forwarded.
    Forward { marker: bool, starts: bool },
    /// It does not: numbering closes up.
    Drop,
}

/// From packet `seq` on, and for what comes late of picture `time`, from its layer `spatial` up.
#[derive(Debug, Clone, Copy)]
struct Change {
    seq: u64,
    time: u32,
    spatial: u8,
    layer: Option<Layer>,
}

impl Change {
    fn covers(&self, info: &FrameInfo) -> bool {
        info.seq >= self.seq || info.time == self.time && info.layer.spatial >= self.spatial
    }
}

/// One subscription's choice.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selector {
    wished: Option<Layer>,
    current: Option<Layer>,
    /// Newest first, all of the present encoding.
    changes: [Option<Change>; CHANGES_MAX],
    /// The timestamp of the newest picture of the present encoding.
    picture: Option<u32>,
    /// The highest spatial layer there is, if the encoder says so and has one encoding only.
    top_spatial: Option<u8>,
    /// Frames of lower spatial layers were dropped since the last keyframe.
    thinned: bool,
    /// Frames forwarded since decoding began.
    sent: Sent,
}

impl Selector {
    /// What is to be forwarded: at most this; `None` for nothing.
    pub(crate) fn want(&mut self, layer: Option<Layer>) {
        self.wished = layer;
        if layer.is_none() {
            self.current = None;
        }
    }

    /// The encoding goes on under other numbers (a new SSRC, a jump): its next keyframe is waited for.
    pub(crate) fn lose(&mut self) {
        self.current = None;
    }

    /// A packet of the present encoding never came, on purpose. If it is part of what is forwarded,
    /// that goes down to where it is not: by frame rate, else the next keyframe is waited for.
    /// Whether it was.
    pub(crate) fn withheld(&mut self, seq: u64, time: u32, layer: Layer) -> bool {
        let Some(now) = self.current.filter(|now| layer.is_within(*now)) else { return false };
        let lower = layer.temporal.checked_sub(1).map(|temporal| Layer { temporal, ..now });
        self.change(Change { seq, time, spatial: 0, layer: lower });
        true
    }

    /// What is forwarded now. Without dependency descriptor the temporal part may be above what the
    /// encoder sends.
    pub(crate) fn current(&self) -> Option<Layer> {
        self.current
    }

    /// The spatial layer (for simulcast: the encoding) whose keyframe would bring what is wished
    /// nearer. In scalable coding a switching point may come first.
    pub(crate) fn waits_for_keyframe(&self) -> Option<u8> {
        let wished = self.wished?.spatial;
        let possible = self.top_spatial.map_or(wished, |top| wished.min(top));
        (self.current.map(|layer| layer.spatial) != Some(possible)).then_some(possible)
    }

    pub(crate) fn choose(&mut self, info: &FrameInfo) -> Verdict {
        let before = self.current;
        if info.encoding.is_some() && before.is_none_or(|now| Some(now.spatial) != info.encoding) {
            if !self.is_nearer(info) || !self.begin(info) {
                return Verdict::Drop;
            }
        } else if !info.is_late {
            if self.picture.replace(info.time) != Some(info.time) {
                self.top_spatial = info.top_spatial.filter(|_| info.encoding.is_none());
                self.go_down(info);
            }
            if self.current.is_some() {
                self.go_up(info);
            } else {
                self.begin(info);
            }
        }
        let starts = match (before, self.current) {
            (Some(before), Some(now)) => info.encoding.is_some() && before.spatial != now.spatial,
            (before, _) => before.is_none(),
        };
        self.judge(info, starts)
    }

    fn judge(&mut self, info: &FrameInfo, starts: bool) -> Verdict {
        let Some(layer) = self.in_force(info) else { return Verdict::Drop };
        if info.is_part_of(layer) {
            if let Some(number) = info.frame_number {
                self.sent.add(number);
            }
            let highest = info.ends_frame && info.layer.spatial == layer.spatial;
            return Verdict::Forward { marker: info.ends_picture || highest, starts };
        }
        self.thinned |= info.layer.spatial < layer.spatial;
        Verdict::Drop
    }

    /// The layer by which a packet is judged; `None` for one from before anything was forwarded.
    fn in_force(&self, info: &FrameInfo) -> Option<Layer> {
        self.current?;
        let mut changes = self.changes.iter().flatten();
        changes.find(|change| change.covers(info))?.layer
    }

    fn set(&mut self, info: &FrameInfo, spatial: u8, layer: Option<Layer>) {
        if self.current != layer {
            self.change(Change { seq: info.seq, time: info.time, spatial, layer });
        }
    }

    fn change(&mut self, change: Change) {
        self.current = change.layer;
        self.changes.rotate_right(1);
        if let Some(newest) = self.changes.first_mut() {
            *newest = Some(change);
        }
    }

    /// Whether the packet's encoding is a better choice than the present one.
    fn is_nearer(&self, info: &FrameInfo) -> bool {
        let (Some(wished), Some(encoding)) = (self.wished, info.encoding) else { return false };
        match self.current {
            None => encoding <= wished.spatial,
            Some(now) if now.spatial < wished.spatial => {
                now.spatial < encoding && encoding <= wished.spatial
            }
            Some(now) => wished.spatial <= encoding && encoding < now.spatial,
        }
    }

    /// Begins with the packet, if that is possible.
    fn begin(&mut self, info: &FrameInfo) -> bool {
        if info.is_late || !info.starts_keyframe() {
            return false;
        }
        let Some(wished) = self.wished_of(info) else { return false };
        let layer = match &info.targets {
            Some(targets) => {
                let switch = |target| targets.indications.get(target) == Indication::Switch;
                best(targets, |layer, target| layer.is_within(wished) && switch(target))
            }
            None => at_keyframe(info, wished),
        };
        let Some(layer) = layer.filter(|layer| info.is_part_of(info.of_track(*layer))) else {
            // It would begin with what it is not to have.
            return false;
        };
        self.changes = [None; CHANGES_MAX];
        self.sent = Sent::default();
        self.thinned = false;
        self.picture = Some(info.time);
        self.current = None;
        self.set(info, 0, Some(info.of_track(layer)));
        true
    }

    /// What is wished, as the packet's encoding counts it. As long as a lower encoding stands in
    /// for a higher one, all of it is welcome.
    fn wished_of(&self, info: &FrameInfo) -> Option<Layer> {
        let wished = self.wished?;
        Some(match info.encoding {
            None => wished,
            Some(encoding) if encoding < wished.spatial => {
                Layer { spatial: 0, temporal: TEMPORAL_MAX }
            }
            Some(_) => Layer { spatial: 0, temporal: wished.temporal },
        })
    }

    /// At the first packet of a picture.
    fn go_down(&mut self, info: &FrameInfo) {
        let Some(now) = self.current.and_then(|now| info.within_encoding(now)) else { return };
        let Some(wished) = self.wished_of(info) else { return };
        let layer = match &info.targets {
            Some(targets) => down_by_targets(targets, now, wished),
            None => self.down_by_ids(info, now, wished),
        };
        self.set(info, 0, layer.map(|layer| info.of_track(layer)));
    }

    fn down_by_ids(&self, info: &FrameInfo, now: Layer, wished: Layer) -> Option<Layer> {
        let top = info.top_spatial.filter(|_| info.encoding.is_none()).unwrap_or(u8::MAX);
        let lower = Layer { spatial: now.spatial.min(wished.spatial).min(top), ..now.meet(wished) };
        if self.thinned && lower.spatial < now.spatial {
            // What is there in its place was not forwarded so far.
            return (now.spatial <= top).then_some(Layer { spatial: now.spatial, ..lower });
        }
        Some(lower)
    }

    /// At any packet in order.
    fn go_up(&mut self, info: &FrameInfo) {
        let Some(now) = self.current.and_then(|now| info.within_encoding(now)) else { return };
        let Some(wished) = self.wished_of(info) else { return };
        self.thinned &= !info.starts_keyframe();
        if now == wished {
            return;
        }
        let layer = match &info.targets {
            Some(targets) => self.up_by_targets(info, targets, now, wished),
            None if info.starts_keyframe() => at_keyframe(info, wished),
            None => up_by_ids(info, now, wished),
        };
        if let Some(layer) = layer {
            self.set(info, info.layer.spatial, Some(info.of_track(layer)));
        }
    }

    fn up_by_targets(
        &self,
        info: &FrameInfo,
        targets: &Targets,
        now: Layer,
        wished: Layer,
    ) -> Option<Layer> {
        let number = info.frame_number?;
        // Of a frame that began before the wish came, some may have been dropped.
        let whole = info.starts_frame || self.sent.has(number);
        let mut needed = targets.references.iter().map(|diff| number.wrapping_sub(diff));
        if !whole || !needed.all(|needed| self.sent.has(needed)) {
            return None;
        }
        best(targets, |layer, target| {
            layer.is_within(wished)
                && (layer > now || !now.is_within(wished))
                && targets.indications.get(target) == Indication::Switch
        })
    }
}

/// The highest active decode target that `fits`.
fn best(targets: &Targets, fits: impl Fn(Layer, usize) -> bool) -> Option<Layer> {
    let layers = targets.structure.target_layers().iter().enumerate();
    let active = layers.filter(|(target, _)| targets.active >> target & 1 == 1);
    active.filter(|&(target, &layer)| fits(layer, target)).map(|(_, &layer)| layer).max()
}

/// Where to go at the first packet of a picture: `now` if all is well, else the best that can be
/// decoded from what was forwarded, else nowhere.
fn down_by_targets(targets: &Targets, now: Layer, wished: Layer) -> Option<Layer> {
    let structure = &targets.structure;
    let here = structure.target(now)?;
    let is_active = targets.active >> here & 1 == 1;
    if is_active && now.is_within(wished) {
        return Some(now);
    }
    let bound = now.meet(wished);
    let lower =
        best(targets, |layer, target| layer.is_within(bound) && structure.contains(here, target));
    lower.or(is_active.then_some(now))
}

/// The layer with which a keyframe's first packet lets one go on.
fn at_keyframe(info: &FrameInfo, wished: Layer) -> Option<Layer> {
    if info.encoding.is_some() {
        return Some(Layer { spatial: 0, ..wished });
    }
    let top = info.top_spatial.unwrap_or(u8::MAX);
    (info.layer.spatial == 0).then_some(Layer { spatial: wished.spatial.min(top), ..wished })
}

fn up_by_ids(info: &FrameInfo, now: Layer, wished: Layer) -> Option<Layer> {
    let Layer { spatial, temporal } = info.layer;
    if info.encoding.is_none() && spatial == now.spatial + 1 && spatial <= wished.spatial {
        let joins = info.starts_frame && info.keyframe == Keyframe::Layer;
        return (joins && temporal <= now.temporal).then_some(Layer { spatial, ..now });
    }
    let reached = match info.up_switch {
        UpSwitch::ToThis if info.starts_frame && temporal == now.temporal + 1 => temporal,
        UpSwitch::ToAny if temporal <= now.temporal => wished.temporal,
        _ => return None,
    };
    (reached > now.temporal && reached <= wished.temporal)
        .then_some(Layer { temporal: reached, ..now })
}
