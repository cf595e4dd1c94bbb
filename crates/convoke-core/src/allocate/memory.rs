//! What is remembered of one slot, and when it may climb.
//!
//! Owns: hysteresis. Down is immediate and never asked here; up is.
//! Never: knows other slots.

use std::time::{Duration, Instant};

use super::history::{Held, History, SPAN};
use super::{Layer, SlotId, with_headroom};
use crate::ids::TrackId;

/// How long headroom must have lasted before a climb; doubled for each climb that was taken back.
const HOLD_MIN: Duration = Duration::from_secs(1);
/// The longest hold.
const HOLD_MAX: Duration = SPAN;
/// A slot that shows nothing waits no longer than this.
const HOLD_RESUME_MAX: Duration = Duration::from_secs(8);
/// Doublings after which the hold is at its longest.
const BACK_OFF_MAX: u32 = 5;
/// A climb that is taken back this soon was a mistake.
const MISTAKE: Duration = Duration::from_secs(20);
/// This long without a fall takes one doubling back.
const FORGIVE: Duration = Duration::from_secs(60);
/// Between two climbs of a slot, so that a rising estimate makes few large steps.
const DWELL: Duration = Duration::from_secs(2);

/// The time in which switches are counted.
const MINUTE: Duration = Duration::from_secs(60);
/// A climb may follow this many switches in a minute,
const CLIMB_AFTER_MAX: usize = 3;
/// or one more, if it shows a picture where there was none,
const RESUME_AFTER_MAX: usize = 4;
/// or this many, if the path is clearly another.
const RELIEF_AFTER_MAX: usize = 6;
/// A fall that follows this many switches in a minute goes to the lowest rung at once.
const FALL_FAR_AFTER: usize = 4;

#[derive(Debug, Clone)]
pub(super) struct Memory {
    pub(super) slot: SlotId,
    pub(super) track: TrackId,
    /// What was granted last, and what it was counted with.
    pub(super) layer: Option<Layer>,
    pub(super) bitrate_bps: u64,
    /// It could have been shown, but the path did not carry it.
    pub(super) paused: bool,
    /// It had the top of its ladder: what it gets beyond that is not a recovery.
    topped: bool,
    /// It has fallen since it holds this track; before, climbing is only a start.
    fallen: bool,
    back_off: u32,
    /// Since when a doubling could be taken back.
    calm_since: Option<Instant>,
    climbed_at: Option<Instant>,
    /// The last climb, until it is taken back.
    on_trial_since: Option<Instant>,
    fell_at: Option<Instant>,
    /// What the path did not carry at the last fall.
    overload_bps: u64,
    /// The last switches of size that bandwidth caused, newest first.
    switches: [Option<Instant>; RELIEF_AFTER_MAX + 1],
}

impl Memory {
    pub(super) fn new(slot: SlotId, track: TrackId) -> Self {
        Self {
            slot,
            track,
            layer: None,
            bitrate_bps: 0,
            paused: false,
            topped: false,
            fallen: false,
            back_off: 0,
            calm_since: None,
            climbed_at: None,
            on_trial_since: None,
            fell_at: None,
            overload_bps: 0,
            switches: [None; RELIEF_AFTER_MAX + 1],
        }
    }

    /// Another track sits in the slot: what was granted is no layer of it, and it starts anew. What
    /// the path has taught stays.
    pub(super) fn change_track(&mut self, track: TrackId) {
        self.track = track;
        self.layer = None;
        self.paused = false;
        self.topped = false;
        self.fallen = false;
    }

    /// Lets time take doublings back.
    pub(super) fn forgive(&mut self, now: Instant) {
        while let Some(since) = self.calm_since
            && self.back_off > 0
            && since + FORGIVE <= now
        {
            self.back_off -= 1;
            self.calm_since = Some(since + FORGIVE);
        }
    }

    /// When the slot may climb to where `total_bps` are spent, all that is served before it
    /// included. `None` if the estimate does not carry that with headroom.
    pub(super) fn may_climb_at(
        &self,
        now: Instant,
        history: &History,
        total_bps: u64,
        resumes: bool,
    ) -> Option<Instant> {
        let held_since = |bps: u64| match history.held(bps) {
            Held::No => None,
            Held::Since(at) => Some(Some(at)),
            Held::Always => Some(None),
        };
        let needed_bps = with_headroom(total_bps);
        let after = |since: Option<Instant>, hold: Duration, switches: usize| {
            let waits = [
                since.map(|at| at + hold),
                self.fell_at.map(|at| at + hold),
                self.climbed_at.map(|at| at + DWELL),
                self.switches.get(switches).copied().flatten().map(|at| at + MINUTE),
            ];
            waits.into_iter().flatten().fold(now, Instant::max)
        };
        let hold = self.hold(resumes);
        let switches = if resumes { RESUME_AFTER_MAX } else { CLIMB_AFTER_MAX };
        let normally = after(held_since(needed_bps)?, hold, switches);
        // Half as much again as what once was too much: it is no longer the same path.
        let relief_bps = needed_bps.max(self.overload_bps.saturating_add(self.overload_bps / 2));
        let relieved = held_since(relief_bps).map(|since| after(since, HOLD_MIN, RELIEF_AFTER_MAX));
        Some(relieved.map_or(normally, |relieved| relieved.min(normally)))
    }

    fn hold(&self, resumes: bool) -> Duration {
        let most = if resumes { HOLD_RESUME_MAX } else { HOLD_MAX };
        (HOLD_MIN * (1 << self.back_off.min(BACK_OFF_MAX))).min(most)
    }

    /// Whether a fall now must go to the smallest size, so that no further one of size can follow.
    pub(super) fn must_fall_far(&self, now: Instant) -> bool {
        let switch = self.switches.get(FALL_FAR_AFTER - 1).copied().flatten();
        switch.is_some_and(|at| now < at + MINUTE)
    }

    /// It was given less than it had, because the path did not carry `overload_bps`.
    /// `noticed` says that the picture's size changed, or that there is none any more.
    pub(super) fn fell(&mut self, now: Instant, overload_bps: u64, noticed: bool) {
        let on_trial = self.on_trial_since.take();
        if on_trial.is_some_and(|since| now < since + MISTAKE) {
            self.back_off = (self.back_off + 1).min(BACK_OFF_MAX);
        }
        self.calm_since = Some(now);
        self.fell_at = Some(now);
        self.fallen = true;
        self.overload_bps = overload_bps;
        if noticed {
            self.note_switch(now);
        }
    }

    /// It was given more than it had.
    pub(super) fn climbed(&mut self, now: Instant, noticed: bool) {
        if self.fallen && !self.topped && noticed {
            self.note_switch(now);
        }
        self.climbed_at = Some(now);
        self.on_trial_since = Some(now);
    }

    /// What it has from now on; `top` says whether its ladder offers no more.
    pub(super) fn settle(&mut self, granted: Option<(Layer, u64)>, paused: bool, top: bool) {
        self.layer = granted.map(|(layer, _)| layer);
        self.bitrate_bps = granted.map_or(0, |(_, bitrate_bps)| bitrate_bps);
        self.paused = paused;
        self.topped = top;
    }

    fn note_switch(&mut self, now: Instant) {
        self.switches.rotate_right(1);
        if let Some(newest) = self.switches.first_mut() {
            *newest = Some(now);
        }
    }
}
