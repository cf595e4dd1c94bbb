//! One call: from wants and memory to decisions.
//!
//! Owns: the rules of who may keep and who may climb.
//! Never: outlives the call.

use std::ops::Range;
use std::time::Instant;

use super::fill::{Step, fill};
use super::history::History;
use super::ladder::{self, Foot, Target};
use super::memory::Memory;
use super::{Allocation, Decision, Demand, Kind, Reason, Rung, State, Want, Wish, with_headroom};

/// Buffers that are used again from call to call.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    rungs: Vec<Rung>,
    feet: Vec<Foot>,
    steps: Vec<Step>,
    levels: Vec<usize>,
}

/// One want on its way to a decision.
#[derive(Debug)]
struct Entry {
    memory: Memory,
    target: Option<Target>,
    /// Its ladder, within [`Scratch::feet`].
    ladder: Range<usize>,
    /// The rungs it has already, as a number of its ladder's.
    held: usize,
    /// What was too much, if it was denied something.
    denied_bps: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Plan {
    now: Instant,
    entries: Vec<Entry>,
    scratch: Scratch,
    work: usize,
}

impl Plan {
    /// Puts wants and memory together, and all steps in their order.
    pub(super) fn new(now: Instant, demand: &Demand<'_>, state: &mut State) -> Self {
        let mut scratch = std::mem::take(&mut state.scratch);
        scratch.feet.clear();
        scratch.steps.clear();
        let mut work = 0;
        let mut entries = Vec::with_capacity(demand.wants.len());
        for (index, want) in demand.wants.iter().enumerate() {
            let memory = recall(now, want, &state.slots);
            let start = scratch.feet.len();
            let target = ladder::build(want, memory.layer, &mut scratch.rungs, &mut scratch.feet);
            let ladder = start..scratch.feet.len();
            let feet = scratch.feet.get(ladder.clone()).unwrap_or_default();
            let held = held(&memory, feet);
            add_steps(&mut scratch.steps, index, want, feet, held);
            work += want.rungs.len() + feet.len();
            entries.push(Entry { memory, target, ladder, held, denied_bps: None });
        }
        scratch.steps.sort_unstable();
        scratch.levels.clear();
        scratch.levels.resize(demand.wants.len(), 0);
        Self { now, entries, scratch, work }
    }

    /// Fills, decides, and leaves what is to be remembered in `state`.
    pub(super) fn carry_out(
        mut self,
        limit_bps: u64,
        demand: &Demand<'_>,
        state: &mut State,
    ) -> Allocation {
        let again_at = self.fill(limit_bps, demand, &state.history);
        self.move_all();
        let mut allocated_bps = 0u64;
        let mut desired_bps = demand.audio_bps;
        let mut decisions = Vec::with_capacity(demand.wants.len());
        for (want, (entry, level)) in
            demand.wants.iter().zip(self.entries.iter_mut().zip(&self.scratch.levels))
        {
            let feet = self.scratch.feet.get(entry.ladder.clone()).unwrap_or_default();
            let decision = decide(want, entry, feet, *level);
            allocated_bps = allocated_bps.saturating_add(decision.bitrate_bps);
            // A target that is not sent or not measured yet may be known for too little.
            let known_bps = feet.last().map_or(0, |foot| foot.bitrate_bps);
            let target_bps = entry.target.map_or(0, |target| target.bitrate_bps.max(known_bps));
            desired_bps = desired_bps.saturating_add(target_bps);
            decisions.push(decision);
        }
        let probe_to_bps = self.next_delta().map(|delta_bps| {
            with_headroom(demand.audio_bps.saturating_add(allocated_bps).saturating_add(delta_bps))
        });
        let work = self.work + self.scratch.steps.len();
        state.slots.clear();
        state.slots.extend(self.entries.into_iter().map(|entry| entry.memory));
        state.slots.sort_unstable_by_key(|memory| memory.slot);
        state.scratch = self.scratch;
        let desired_bps = with_headroom(desired_bps);
        Allocation { decisions, allocated_bps, desired_bps, probe_to_bps, again_at, work }
    }

    /// Walks the steps. What a slot has it keeps while it fits; what it never was denied it gets
    /// if it fits; for the rest it must have waited. Returns when the first wait ends.
    fn fill(&mut self, limit_bps: u64, demand: &Demand<'_>, history: &History) -> Option<Instant> {
        let (now, entries) = (self.now, &mut self.entries);
        let mut again_at: Option<Instant> = None;
        fill(&self.scratch.steps, &mut self.scratch.levels, |step, video_bps| {
            let Some(entry) = entries.get_mut(step.want) else { return false };
            let total_bps = demand.audio_bps.saturating_add(video_bps);
            let lowest = step.level == 1;
            // Where nobody estimates, nothing would ever bring a paused slot back.
            if lowest && demand.estimate_bps.is_none() {
                return true;
            }
            let ready_at = if total_bps > limit_bps {
                None
            } else if step.level <= entry.held || (lowest && !entry.memory.paused) {
                return true;
            } else {
                entry.memory.may_climb_at(now, history, total_bps, lowest)
            };
            if ready_at.is_some_and(|at| at <= now) {
                return true;
            }
            entry.denied_bps.get_or_insert(total_bps);
            again_at = [again_at, ready_at].into_iter().flatten().min();
            false
        });
        again_at
    }

    /// Makes the slots' memories know where they go.
    fn move_all(&mut self) {
        for (entry, level) in self.entries.iter_mut().zip(&mut self.scratch.levels) {
            let feet = self.scratch.feet.get(entry.ladder.clone()).unwrap_or_default();
            let size = |level: usize| {
                level.checked_sub(1).and_then(|at| feet.get(at)).map(|foot| foot.layer.spatial)
            };
            if *level < entry.held {
                if entry.memory.must_fall_far(self.now) {
                    // To the smallest size: below it there is nothing that would be noticed more.
                    *level = feet
                        .partition_point(|foot| Some(foot.layer.spatial) <= size(1))
                        .min(*level);
                }
                let noticed = size(*level) != size(entry.held);
                entry.memory.fell(self.now, entry.denied_bps.unwrap_or(0), noticed);
            } else if *level > entry.held && (entry.held > 0 || entry.memory.paused) {
                entry.memory.climbed(self.now, size(*level) != size(entry.held));
            }
        }
    }

    /// What the first step takes that was not granted, in the order of service.
    fn next_delta(&self) -> Option<u64> {
        let next = self.scratch.steps.iter().find(|step| {
            self.scratch.levels.get(step.want).is_some_and(|level| level + 1 == step.level)
        });
        next.map(|step| step.delta_bps)
    }
}

/// What is remembered of a want's slot.
fn recall(now: Instant, want: &Want<'_>, slots: &[Memory]) -> Memory {
    let known = slots.binary_search_by_key(&want.slot, |memory| memory.slot);
    let Some(memory) = known.ok().and_then(|index| slots.get(index)) else {
        return Memory::new(want.slot, want.track);
    };
    let mut memory = memory.clone();
    if memory.track != want.track {
        memory.change_track(want.track);
    }
    memory.forgive(now);
    memory
}

/// How many rungs of its ladder a slot has already. Another track in the same slot has what the
/// slot's last one took; a track whose rung is gone has the best below.
fn held(memory: &Memory, feet: &[Foot]) -> usize {
    match memory.layer {
        Some(layer) => feet.partition_point(|foot| foot.layer <= layer),
        None => feet.partition_point(|foot| foot.bitrate_bps <= memory.bitrate_bps),
    }
}

/// Appends a slot's steps.
fn add_steps(steps: &mut Vec<Step>, index: usize, want: &Want<'_>, feet: &[Foot], held: usize) {
    let kind = match want.kind {
        Kind::Screen => 0,
        Kind::Camera => 1 << 8,
    };
    let rank = kind | u16::from(u8::MAX - want.priority);
    let mut below_bps = 0;
    for (level, foot) in (1..).zip(feet) {
        steps.push(Step {
            rank,
            pixels: if level == 1 { 0 } else { foot.pixels.max(1) },
            level,
            new: level > held,
            want: index,
            delta_bps: foot.bitrate_bps.saturating_sub(below_bps),
        });
        below_bps = foot.bitrate_bps;
    }
}

/// Says what a slot gets and why, and lets it be remembered.
fn decide(want: &Want<'_>, entry: &mut Entry, feet: &[Foot], level: usize) -> Decision {
    let granted = level.checked_sub(1).and_then(|index| feet.get(index)).copied();
    let top = level == feet.len();
    let rung = granted.map(|foot| foot.layer);
    let target = entry.target.map(|target| target.layer);
    let reason = match (target, rung) {
        _ if want.wish == Wish::Hidden => Reason::Invisible,
        _ if feet.is_empty() => Reason::NotPublished,
        (_, None) => Reason::Paused,
        _ if !top => Reason::Bandwidth,
        (target, rung) if rung >= target => Reason::Wish,
        _ => Reason::NotPublished,
    };
    let upstream =
        target.map(|target| if top { target } else { ladder::next_size(want.rungs, rung, target) });
    let paused = reason == Reason::Paused;
    let remembered = granted.map(|foot| (foot.layer, foot.bitrate_bps));
    entry.memory.settle(remembered, paused, top);
    let bitrate_bps = granted.map_or(0, |foot| foot.bitrate_bps);
    Decision { slot: want.slot, rung, reason, bitrate_bps, upstream }
}

/// What the filling gives without memory, for tests of its laws.
#[cfg(test)]
pub(super) struct AtBest {
    /// For each want its ladder, and how many rungs of it are granted.
    pub(super) granted: Vec<(Vec<Foot>, usize)>,
    /// In the order of service, whether each step was granted.
    pub(super) grants: Vec<bool>,
}

/// The filling without memory: every step is granted that fits into `limit_bps`.
#[cfg(test)]
pub(super) fn at_best(now: Instant, demand: &Demand<'_>, limit_bps: u64) -> AtBest {
    let plan = Plan::new(now, demand, &mut State::default());
    let Plan { entries, scratch: Scratch { feet, steps, mut levels, .. }, .. } = plan;
    fill(&steps, &mut levels, |_, video_bps| {
        demand.audio_bps.saturating_add(video_bps) <= limit_bps
    });
    let ladders = entries.iter().map(|entry| feet[entry.ladder.clone()].to_vec());
    AtBest {
        grants: steps.iter().map(|step| step.level <= levels[step.want]).collect(),
        granted: ladders.zip(levels.iter().copied()).collect(),
    }
}
