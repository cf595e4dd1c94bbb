//! What people get: freezes, layers, lip sync, use of the path; and what the scenario bounds of it.
//!
//! Owns: the looks at [`convoke_core::Explanation`]s while a call goes on, and the bounds at its end.
//! Never: knows what happens on the way; it looks at receivers only.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use convoke_core::{Action, Explanation, MediaKind, Reply, SlotState};

use super::Sim;
use super::check::rate_at;
use super::ways::Ways;
use crate::actor::{Fate, Live, Watched, most_in_a_minute};
use crate::link::Usage;

/// Looks at which a law must be broken one after the other: the estimate may have fallen just now.
const LOOKS: u32 = 2;
/// A slot must have been unchanged for so long before its lip sync counts: reports come every two
/// seconds.
const SYNC_AFTER: Duration = Duration::from_secs(5);
/// Looks at which sound and picture must be apart one after the other: a publisher's queue that
/// drains moves its sampling clock, and receivers hear of it by a report, every two seconds.
const SKEW_LOOKS: usize = 10;
/// In larger calls only some are asked for explanations.
const EXPLAINED_MAX: usize = 12;

/// Packets that came in a slot, that did not, and that its downlink's random loss took.
#[derive(Debug, Clone, Copy, Default)]
struct Packets {
    came: u64,
    missing: u64,
    by_chance: u64,
}

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Quality {
    /// When the call had settled.
    marked: bool,
    /// By actor, presence and slot, at that time.
    marks: HashMap<(usize, u32, usize), Packets>,
    usage: Vec<Usage>,
    /// The greatest distance of anyone's sound and picture that lasted, in seconds, and whose.
    pub(super) skew: f64,
    skewed: Option<usize>,
    /// By actor: the distances at the latest looks.
    skews: HashMap<usize, VecDeque<f64>>,
    /// By actor: looks in a row at which more was allocated than there is.
    over: HashMap<usize, u32>,
    /// By actor, the latest.
    pub(super) explained: HashMap<usize, Explanation>,
}

fn packets(slot: &Watched, live: &Live, ways: &Ways) -> Packets {
    let report = slot.checker.report();
    let by_chance = slot.ssrc.map_or(0, |ssrc| ways.of(live.local[1], ssrc).by_chance);
    // What was lost a moment ago is not missed yet.
    let by_chance = by_chance.min(report.missing);
    Packets { came: report.packets, missing: report.missing, by_chance }
}

/// The distance of a participant's audio and video at one receiver, in seconds.
fn skews(live: &Live, now: Instant) -> impl Iterator<Item = f64> {
    let steady = move |s: &&Watched| now.saturating_duration_since(s.changed) > SYNC_AFTER;
    let errors = move |kind: MediaKind| {
        let slots = live.slots.iter().filter(steady).filter(move |s| s.kind == kind);
        slots.filter_map(move |slot| slot.checker.clock_error(now))
    };
    errors(MediaKind::Video).filter_map(move |(csrc, video)| {
        let (_, audio) = errors(MediaKind::Audio).find(|(other, _)| *other == csrc)?;
        Some((video - audio).abs())
    })
}

/// What is estimated and given, in one line.
fn line(explained: &Explanation) -> String {
    let kbps = |bps: u64| bps / 1_000;
    let slots = explained.slots.iter().filter(|slot| slot.reason.is_some()).map(|slot| {
        let layer = |layer: Option<convoke_core::Layer>| {
            layer.map_or("-".into(), |layer| format!("S{}T{}", layer.spatial, layer.temporal))
        };
        let reason = slot.reason.map_or(String::new(), |reason| format!("{reason:?}"));
        let (given, sent) = (layer(slot.allocated), layer(slot.layer));
        format!(" {given}/{sent} {} {reason}", kbps(slot.bitrate_bps))
    });
    format!(
        "quality rtt {} loss {:.2} estimate {} given {} audio {} wished {}{}",
        explained.rtt.map_or(0, |rtt| rtt.as_millis()),
        explained.loss.unwrap_or(0.0),
        explained.estimate_bps.map_or("-".into(), |bps| kbps(bps).to_string()),
        kbps(explained.allocated_bps),
        kbps(explained.audio_bps),
        kbps(explained.desired_bps),
        slots.collect::<String>()
    )
}

impl Sim {
    fn settled_at(&self) -> Instant {
        self.start + self.scenario.bounds.settled
    }

    /// One look at everyone.
    pub(super) fn look_at_quality(&mut self) {
        if self.now >= self.settled_at() && !self.quality.marked {
            self.mark();
        }
        for who in 0..self.actors.len() {
            if who % self.actors.len().div_ceil(EXPLAINED_MAX).max(1) == 0 {
                self.explain(who);
            }
            self.look_at_skew(who);
        }
    }

    fn look_at_skew(&mut self, who: usize) {
        let Some(live) = &self.actors[who].live else {
            self.quality.skews.remove(&who);
            return;
        };
        let skew = skews(live, self.now).fold(0.0, f64::max);
        let looks = self.quality.skews.entry(who).or_default();
        looks.push_back(skew);
        if looks.len() > SKEW_LOOKS {
            looks.pop_front();
        }
        let lasted = looks.iter().copied().fold(f64::MAX, f64::min);
        let counts = self.quality.marked && looks.len() == SKEW_LOOKS;
        if counts && lasted > self.quality.skew {
            (self.quality.skew, self.quality.skewed) = (lasted, Some(who));
        }
    }

    fn mark(&mut self) {
        self.quality.marked = true;
        let now = self.now;
        self.quality.usage = self.actors.iter_mut().map(|actor| actor.down.usage(now)).collect();
        for (who, actor) in self.actors.iter().enumerate() {
            let Some(live) = &actor.live else { continue };
            for (slot, watched) in live.slots.iter().enumerate() {
                let packets = packets(watched, live, &self.ways);
                self.quality.marks.insert((who, actor.generation, slot), packets);
            }
        }
    }

    fn explain(&mut self, who: usize) {
        let Some(live) = &self.actors[who].live else { return };
        let (participant, room) = (live.id, live.room);
        let explained = match self.command(room, Action::Explain { participant }) {
            Ok(Reply::Explained(explained)) => *explained,
            other => return self.broken(format!("actor {who} gets no explanation: {other:?}")),
        };
        if let Some(trace) = &mut self.trace {
            let at = self.now.saturating_duration_since(self.start).as_secs_f64();
            trace.push(format!("{at:9.3} actor {who} {}", line(&explained)));
        }
        self.judge(who, explained);
    }

    /// Nobody is given more than there is.
    pub(super) fn judge(&mut self, who: usize, explained: Explanation) {
        let spent = explained.allocated_bps + explained.audio_bps;
        let over = explained.allocated_bps > 0
            && explained.estimate_bps.is_some_and(|estimate| spent > estimate);
        let looks = self.quality.over.entry(who).or_default();
        *looks = if over { *looks + 1 } else { 0 };
        if *looks == LOOKS {
            self.broken(format!(
                "actor {who}: {} and {} for audio are allocated of {:?}",
                explained.allocated_bps, explained.audio_bps, explained.estimate_bps
            ));
        }
        self.quality.explained.insert(who, explained);
    }

    /// What the scenario asks for beside the laws, at its end.
    pub(super) fn check_bounds(&mut self) {
        let mut faults = Vec::new();
        for who in 0..self.actors.len() {
            self.bounds_of(who, &mut faults);
        }
        let bounds = &self.scenario.bounds;
        if self.quality.skew > bounds.skew.as_secs_f64() {
            let (skew, who) = (self.quality.skew, self.quality.skewed.unwrap_or_default());
            faults.push(format!("actor {who}: sound and picture are {skew:.3} s apart"));
        }
        let video: u64 = self.workers.iter().map(|worker| worker.stats().rtp_in[1]).sum();
        if let Some(most) = bounds.video_in.filter(|most| video > *most) {
            faults.push(format!("{video} packets of video came in, at most {most} should"));
        }
        self.report.skew_ms = self.quality.skew * 1_000.0;
        for fault in faults {
            self.broken(fault);
        }
    }

    fn bounds_of(&mut self, who: usize, faults: &mut Vec<String>) {
        let (now, settled, bounds) = (self.now, self.settled_at(), self.scenario.bounds.clone());
        let before = self.quality.usage.get(who).copied();
        let used = before.and_then(|before| self.actors[who].down.usage(now).since(&before));
        if let Some(used) = used {
            let least = self.report.utilisation.unwrap_or(f64::MAX).min(used);
            self.report.utilisation = Some(least);
            if bounds.utilisation.is_some_and(|least| used < least) {
                faults.push(format!("actor {who} uses {:.0}% of its path", used * 100.0));
            }
        }
        let generation = self.actors[who].generation;
        let present = self.actors[who].live.as_ref().filter(|l| l.fate == Fate::In);
        let Some(live) = present else { return };
        for (index, slot) in live.slots.iter().enumerate() {
            let mark = self.quality.marks.get(&(who, generation, index)).copied();
            let packets = packets(slot, live, &self.ways);
            let mut seen = Seen::of(slot, packets, mark.unwrap_or_default(), settled);
            seen.freezes.retain(|(at, lasted)| !self.is_as_told(live, index, *at, *lasted));
            self.report.size_changes_a_minute =
                self.report.size_changes_a_minute.max(seen.size_changes);
            let name = format!("actor {who}, {:?} slot {}", slot.kind, slot.index);
            faults.extend(seen.faults(&bounds, slot.kind).map(|fault| format!("{name}: {fault}")));
        }
        for (actor, slot, height) in bounds.heights.iter().filter(|(actor, _, _)| *actor == who) {
            let video = live.slots.iter().filter(|s| s.kind == MediaKind::Video).nth(*slot);
            let size = video.and_then(|slot| slot.checker.report().shown.size);
            let view = live.known.slots.iter().filter(|s| s.kind == MediaKind::Video).nth(*slot);
            if size.map(|(_, height)| height) != Some(*height) {
                faults.push(format!(
                    "actor {actor}, video slot {slot} shows {size:?} instead of {height}p: {view:?}"
                ));
            }
        }
        let estimate = self.quality.explained.get(&who).and_then(|e| e.estimate_bps);
        if let Some(least) = bounds.estimate.filter(|_| !live.slots.is_empty())
            && estimate.unwrap_or(0) < least
        {
            faults
                .push(format!("actor {who} is estimated at {estimate:?}, at least {least} wanted"));
        }
        let first = live.first_frame_ms();
        if let Some(most) = bounds.first_picture.filter(|_| first.is_some())
            && first.is_some_and(|ms| ms > most.as_secs_f64() * 1_000.0)
        {
            faults.push(format!("actor {who} waited {first:?} ms for its first picture"));
        }
        faults.extend(live.playing.iter().filter_map(|playing| {
            let seconds = now.saturating_duration_since(playing.since).as_secs_f64();
            let most = playing.asked.iter().copied().max().unwrap_or(0);
            (most as f64 > bounds.keyframe_requests * seconds + 3.0).then(|| {
                format!("{most} keyframes were asked of {} in {seconds:.0} s", playing.client_id)
            })
        }));
    }

    /// Whether a gap between two pictures is what the frame rate makes that the slot was told: the
    /// slowest in force in it. A picture more that is missing is none.
    pub(super) fn is_as_told(
        &self,
        live: &Live,
        slot: usize,
        at: Instant,
        lasted: Duration,
    ) -> bool {
        let Some((publisher, track)) = live.known.slots[slot].assigned else { return false };
        let Some((_, _, playing)) = self.playing_of(publisher, track) else { return false };
        let layers = live.slots[slot].layers_within(at.checked_sub(lasted).unwrap_or(at), at);
        let slowest = layers.map(|layer| rate_at(playing, Some(layer))).fold(f64::MAX, f64::min);
        lasted.as_secs_f64() * slowest < 1.5
    }

    /// Adds up what the present people see for the report.
    pub(super) fn rate_of_pictures(&mut self, before: &super::check::Counts, seconds: f64) {
        let (mut pictures, mut slots) = (0, 0);
        for (who, actor) in self.actors.iter().enumerate() {
            let Some(live) = actor.live.as_ref().filter(|l| l.fate == Fate::In) else { continue };
            for (index, slot) in live.slots.iter().enumerate() {
                let active = live.known.slots[index].state == SlotState::Active;
                if slot.kind != MediaKind::Video || !active {
                    continue;
                }
                let earlier = before.get(who).and_then(|counts| counts.get(index));
                let shown = slot.checker.report().shown.pictures;
                pictures += shown.saturating_sub(earlier.map_or(0, |count| count.frames));
                slots += 1;
            }
        }
        if slots > 0 {
            self.report.frame_rate = pictures as f64 / f64::from(slots) / seconds;
        }
    }
}

/// One slot from when the call had settled.
struct Seen {
    /// Markers before a picture's end, beyond one for each change of size.
    early_markers: u64,
    /// When each was over, and how long it lasted.
    freezes: Vec<(Instant, Duration)>,
    size_changes: usize,
    layer_changes: usize,
    /// The share of packets that came, of those that were not lost by chance.
    came: Option<f64>,
}

impl Seen {
    fn of(slot: &Watched, packets: Packets, mark: Packets, settled: Instant) -> Self {
        let report = slot.checker.report();
        let log = report.shown.freeze_log.iter();
        let came = packets.came.saturating_sub(mark.came);
        let by_chance = packets.by_chance.saturating_sub(mark.by_chance);
        let missing = packets.missing.saturating_sub(mark.missing).saturating_sub(by_chance);
        Self {
            early_markers: report.early_markers.saturating_sub(2 * (report.shown.resizes + 1)),
            freezes: log.filter(|(at, _)| *at >= settled).copied().collect(),
            size_changes: most_in_a_minute(&slot.size_changes, settled),
            layer_changes: most_in_a_minute(&slot.layer_changes, settled),
            came: (came > 0).then(|| came as f64 / (came + missing) as f64),
        }
    }

    fn faults(
        &self,
        bounds: &crate::scenario::Bounds,
        kind: MediaKind,
    ) -> impl Iterator<Item = String> {
        let lasted: Vec<Duration> = self.freezes.iter().map(|(_, lasted)| *lasted).collect();
        let longest = lasted.iter().max().copied().unwrap_or_default();
        let freezes = lasted.len() as u64;
        let audio = self.came.filter(|_| kind == MediaKind::Audio);
        let table = [
            (
                self.early_markers > 0,
                format!("{} markers too many came within pictures", self.early_markers),
            ),
            (
                bounds.freezes.is_some_and(|most| freezes > most),
                format!("it froze {freezes} times: {lasted:?}"),
            ),
            (
                bounds.longest_freeze.is_some_and(|most| longest > most),
                format!("it froze for {longest:?}"),
            ),
            (
                self.size_changes > bounds.switches,
                format!("its size changed {} times in a minute", self.size_changes),
            ),
            (
                self.layer_changes > bounds.layer_changes,
                format!("its layer changed {} times in a minute", self.layer_changes),
            ),
            (
                audio.is_some_and(|came| bounds.audio.is_some_and(|least| came < least)),
                format!("{:?} of its packets came", audio),
            ),
        ];
        table.into_iter().filter(|(broken, _)| *broken).map(|(_, fault)| fault)
    }
}
