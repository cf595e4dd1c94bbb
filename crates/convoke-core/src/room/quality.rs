//! Who gets which layer: the room's side of [`crate::allocate`].
//!
//! Owns: when allocation is done, what goes into it, and the carrying out: layers into slots,
//! keyframe requests, aims for estimators, demand for publishers.
//! Never: divides bandwidth itself.
//!
//! A receiver without transport-wide feedback (on TCP, or an old client) has no estimate: it gets what
//! `allocate.md` says of that. One that sends REMB has its last REMB as estimate, and is not probed; `remb.rs`
//! says for how long.

use std::time::{Duration, Instant};

use super::path::Path;
use super::probe::Prober;
use super::remb::{self, Remb};
use super::{Io, Room, Slot};
use crate::allocate::{self, Allocation, Demand, Kind, Reason, SlotId, State, Want, Wish};
use crate::api::{Event, MediaKind, SlotReason, SlotState, Source};

/// How often layers are measured, and everyone's allocation is looked at again.
const EVERY: Duration = Duration::from_millis(500);
/// How long a better estimate waits, so that a rise is taken in few steps.
const BETTER_AFTER: Duration = Duration::from_millis(100);
/// At the beginning estimators look for so much, whatever is wanted, in bit/s.
const BEGINNING_BPS: u64 = 3_000_000;
const BEGINNING: Duration = Duration::from_secs(4);
/// Below this, in bit/s, what leaves at once delays what is heard: a keyframe that is not held back, or
/// the five packets of a probe, which take 0.2 s of 300 kbit/s.
const NARROW_BPS: u64 = 500_000;
/// What an audio slot is counted with before it was measured, in bit/s on the wire.
const AUDIO_BPS: u64 = 45_000;

/// What is known of the path to one subscriber, and what was made of it.
#[derive(Debug, Default)]
pub(super) struct Quality {
    state: State,
    prober: Prober,
    /// As the estimator says, over the last seconds.
    estimated_bps: Option<u64>,
    /// As it said when the path was looked at last: by this the pacer sends.
    paced_bps: Option<u64>,
    /// As it is believed.
    pub(super) estimate_bps: Option<u64>,
    can_probe: bool,
    remb: Remb,
    /// Pictures a second in all slots together.
    video_fps: u32,
    pub(super) path: Path,
    pub(super) allocated_bps: u64,
    pub(super) desired_bps: u64,
    pub(super) audio_bps: u64,
    /// When allocation is due before the next round.
    due: Option<Instant>,
    /// What the estimator was told last.
    aim: Option<(u64, u64)>,
    /// When it was told first.
    since: Option<Instant>,
}

impl Quality {
    fn believe(&mut self, now: Instant) -> Option<u64> {
        let spent = self.spent();
        // What is averaged falls late, and meanwhile a queue grows before the pacer.
        let paced = self.paced_bps.unwrap_or(u64::MAX);
        let on_wire = |estimated: u64| {
            if self.can_probe {
                return estimated;
            }
            remb::on_wire(estimated, self.video_fps).saturating_add(self.audio_bps)
        };
        let estimated = self.estimated_bps.map(|estimated| on_wire(estimated).min(paced));
        self.estimate_bps = estimated.map(|estimated| self.path.believe(now, estimated, spent));
        self.estimate_bps
    }

    /// Forgets a REMB that nothing will renew.
    fn forget_remb(&mut self, now: Instant) {
        let is_remb = self.estimated_bps.is_some() && !self.can_probe;
        let flows = self.allocated_bps > 0 || self.desired_bps == 0;
        if is_remb && self.remb.is_stale(now, flows) {
            self.estimated_bps = None;
        }
    }

    /// What is sent as far as is known, in bit/s.
    fn spent(&self) -> u64 {
        self.allocated_bps + self.audio_bps
    }
}

impl Room {
    /// What the path to a participant is estimated to carry changed.
    pub(crate) fn estimated(&mut self, io: &mut Io<'_>, key: usize, bps: Option<u64>, probe: bool) {
        let Some(participant) = self.participants.get_mut(key) else { return };
        (participant.quality.estimated_bps, participant.quality.can_probe) = (bps, probe);
        participant.quality.remb.heard(io.now);
        self.believe(io, key);
    }

    /// How the path to a participant is, and what its estimator says of it at the moment.
    pub(crate) fn path(
        &mut self,
        io: &mut Io<'_>,
        key: usize,
        heard: (Option<Duration>, Option<f32>),
        sent_bytes: u64,
        paced_bps: Option<u64>,
    ) {
        let Some(participant) = self.participants.get_mut(key) else { return };
        let receive = participant.receive;
        let quality = &mut participant.quality;
        quality.path.report(io.now, heard, sent_bytes);
        quality.paced_bps = paced_bps;
        let spent = quality.spent();
        if let Some(seat_key) = receive
            && let Some(seat) = io.seats.get_mut(seat_key)
        {
            seat.transport.set_congested(quality.path.is_congested());
            let falls = paced_bps.is_some_and(|bps| bps < spent) && spent >= NARROW_BPS;
            if seat.transport.set_unpaced(falls && quality.path.has_been_clean(io.now)) {
                io.touch(seat_key);
            }
        }
        self.believe(io, key);
        let Some(participant) = self.participants.get_mut(key) else { return };
        if participant.quality.can_probe
            && participant.quality.path.is_to_reset(io.now)
            && let Some(seat) = receive.and_then(|seat| io.seats.get_mut(seat))
        {
            let anew = spent + spent / 3;
            seat.transport.restart_estimate(anew);
            participant.quality.estimated_bps = Some(anew);
            participant.quality.paced_bps = None;
            io.stats.estimates_restarted += 1;
        }
    }

    /// Allocates by what is believed of the estimate: at once if it is less than is spent.
    fn believe(&mut self, io: &mut Io<'_>, key: usize) {
        let Some(participant) = self.participants.get_mut(key) else { return };
        let quality = &mut participant.quality;
        let spent = quality.spent();
        let before = quality.estimate_bps;
        let bps = quality.believe(io.now);
        if before.is_some() != bps.is_some() || bps.is_some_and(|bps| bps < spent) {
            return self.allocate(io, key);
        }
        if bps > before {
            let at = io.now + BETTER_AFTER;
            quality.due = Some(quality.due.map_or(at, |due| due.min(at)));
            self.poll_quality_at(at);
        }
    }

    pub(super) fn poll_quality_at(&mut self, at: Instant) {
        self.quality_poll = Some(self.quality_poll.map_or(at, |earlier| earlier.min(at)));
    }

    /// Looks at everyone whose time has come; twice a second at everyone.
    pub(crate) fn poll_quality(&mut self, io: &mut Io<'_>) {
        let round = self.next_round.is_none_or(|at| at <= io.now);
        if round {
            for (_, track) in &mut self.tracks {
                track.update_rungs(io.now);
            }
            self.tell_ladders(io);
            self.next_round = Some(io.now + EVERY);
            self.count_estimates(io);
        }
        for key in self.keys() {
            let due = self.participants.get(key).and_then(|p| p.quality.due);
            if round || due.is_some_and(|due| due <= io.now) {
                self.allocate(io, key);
            }
        }
        if round {
            self.lower_demands(io);
        }
        let due = self.participants.iter().filter_map(|(_, p)| p.quality.due).min();
        if let Some(due) = due {
            self.poll_quality_at(due);
        }
        if self.ranks.video.is_empty() {
            self.next_round = None;
        } else if let Some(next) = self.next_round {
            self.poll_quality_at(next);
        }
    }

    fn count_estimates(&self, io: &mut Io<'_>) {
        let estimates = self.participants.iter().filter_map(|(_, p)| p.quality.estimated_bps);
        for bps in estimates {
            io.stats.count_estimate(bps);
        }
    }

    /// Divides what a participant's path carries among its video slots.
    pub(super) fn allocate(&mut self, io: &mut Io<'_>, key: usize) {
        let audio_bps = self.audio_bps(io.now, key);
        let (video_bps, video_fps) = self.video_rate(key);
        let Some(participant) = self.participants.get_mut(key) else { return };
        participant.quality.due = None;
        participant.quality.audio_bps = audio_bps;
        participant.quality.allocated_bps = video_bps;
        participant.quality.video_fps = video_fps;
        participant.quality.forget_remb(io.now);
        // Bitrates were measured anew: what is carried now is what they say.
        participant.quality.believe(io.now);
        let mut state = std::mem::take(&mut participant.quality.state);
        let estimate_bps = participant.quality.estimate_bps;
        let wants = self.wants(key);
        let demand = Demand { estimate_bps, audio_bps, wants: &wants };
        let allocation = allocate::allocate(io.now, &demand, &mut state);
        if let Some(participant) = self.participants.get_mut(key) {
            participant.quality.state = state;
        }
        self.carry_out(io, key, &allocation);
        self.aim(io, key, &allocation);
        self.tell_slots(io, key);
    }

    fn audio_bps(&self, now: Instant, key: usize) -> u64 {
        let Some(participant) = self.participants.get(key) else { return 0 };
        let heard = participant.slots.iter().filter(|slot| slot.kind == MediaKind::Audio);
        let tracks = heard.filter_map(|slot| self.tracks.get(slot.assigned?));
        let bps = tracks.filter(|track| !track.muted).map(|track| match track.meter.bps(now) {
            0 => AUDIO_BPS,
            bps => bps,
        });
        bps.sum()
    }

    /// What the layers that are given now take, in bit/s, and their pictures a second, as measured last.
    fn video_rate(&self, key: usize) -> (u64, u32) {
        let Some(participant) = self.participants.get(key) else { return (0, 0) };
        let rungs = participant.slots.iter().filter_map(|slot| {
            let track = self.tracks.get(slot.assigned?)?;
            let layer = slot.allocated?;
            track.rungs.iter().find(|rung| rung.layer == layer)
        });
        rungs.fold((0, 0), |(bps, fps), rung| (bps + rung.bitrate_bps, fps + rung.fps))
    }

    /// What the video slots want, the most deserving first.
    fn wants(&self, key: usize) -> Vec<Want<'_>> {
        let Some(participant) = self.participants.get(key) else { return Vec::new() };
        let mut wants: Vec<(usize, Want<'_>)> = Vec::new();
        for (index, slot) in participant.slots.iter().enumerate() {
            let Some(track) = slot.assigned.and_then(|track| self.tracks.get(track)) else {
                continue;
            };
            let usable = slot.kind == MediaKind::Video
                && !track.muted
                && slot.state != SlotState::CodecNotSupported;
            if !usable {
                continue;
            }
            let wish = participant.wishes.iter().find(|wish| wish.mid == slot.mid);
            let kind = if track.source == Source::Screen { Kind::Screen } else { Kind::Camera };
            let want = Want {
                slot: SlotId(u32::try_from(index).unwrap_or(u32::MAX)),
                track: track.id,
                kind,
                priority: wish.map_or(0, |wish| wish.priority),
                wish: wish.map_or(Wish::Any, |wish| Wish::from_pixels(wish.width, wish.height)),
                fps_max: wish.and_then(|wish| wish.max_frame_rate),
                rungs: &track.rungs,
            };
            wants.push((track.rank, want));
        }
        wants.sort_by_key(|(rank, _)| *rank);
        wants.into_iter().map(|(_, want)| want).collect()
    }

    /// Puts layers into slots, and asks for the keyframes that this needs.
    fn carry_out(&mut self, io: &mut Io<'_>, key: usize, allocation: &Allocation) {
        let Some(participant) = self.participants.get_mut(key) else { return };
        let quality = &mut participant.quality;
        (quality.allocated_bps, quality.desired_bps) =
            (allocation.allocated_bps, allocation.desired_bps);
        if let Some(at) = allocation.again_at {
            quality.due = Some(quality.due.map_or(at, |due| due.min(at)));
        }
        let due = quality.due;
        let connected = participant.receive.is_some_and(|seat| io.is_connected(seat));
        let mut waits = Vec::new();
        let mut wanted = Vec::new();
        for slot in &mut participant.slots {
            slot.upstream = None;
        }
        for decision in &allocation.decisions {
            let index = usize::try_from(decision.slot.0).unwrap_or(usize::MAX);
            let Some(slot) = participant.slots.get_mut(index) else { continue };
            let Some(track) = slot.assigned else { continue };
            if slot.allocated != decision.rung && slot.allocated.is_some() {
                io.stats.layer_switches += 1;
            }
            slot.allocated = decision.rung;
            slot.bitrate_bps = decision.bitrate_bps;
            slot.upstream = decision.upstream;
            slot.forwarder.want_layer(track, decision.rung);
            if decision.rung.is_none() && slot.forwarder.sending() != Some(track) {
                // What went before must not go on instead of what is not to be.
                slot.forwarder.stop();
            }
            slot.limit = reason(decision.reason);
            slot.settle(false);
            wanted.push((track, decision.rung, decision.upstream));
            if let Some(spatial) = slot.forwarder.waits_for_keyframe(track).filter(|_| connected) {
                waits.push((track, spatial));
            }
        }
        for (track, rung, upstream) in wanted {
            self.raise_want(io, track, rung, upstream);
            self.raise_demand(io, track, upstream);
        }
        for (track, spatial) in waits {
            self.request_keyframe(io, track, spatial, true);
        }
        if let Some(due) = due {
            self.poll_quality_at(due);
        }
        if self.next_round.is_none() && !self.ranks.video.is_empty() {
            self.poll_quality_at(io.now + EVERY);
        }
    }

    /// Tells the estimator what to look for.
    fn aim(&mut self, io: &mut Io<'_>, key: usize, allocation: &Allocation) {
        let Some(participant) = self.participants.get_mut(key) else { return };
        let Some(seat_key) = participant.receive else { return };
        let quality = &mut participant.quality;
        let Some(estimate_bps) = quality.estimate_bps.filter(|_| quality.can_probe) else { return };
        let aim = quality.prober.aim(io.now, estimate_bps, allocation.probe_to_bps);
        // Outside a window it aims at what is sent, so that opening one raises its aim and makes it
        // probe; when nothing is held back there is nothing to find. On a narrow path padding is enough.
        let spent = (allocation.allocated_bps + quality.audio_bps) * 5 / 4;
        let narrow = estimate_bps < NARROW_BPS && quality.path.is_narrower(io.now, NARROW_BPS);
        let quiet = allocation.probe_to_bps.is_some() && (!aim.open || narrow);
        let mut desired_bps =
            if quiet { spent.min(allocation.desired_bps) } else { allocation.desired_bps };
        // What it aims at bounds its first probes: too low, and they find too little.
        let since = *quality.since.get_or_insert(io.now);
        if io.now.saturating_duration_since(since) < BEGINNING {
            desired_bps = desired_bps.max(BEGINNING_BPS);
        }
        if let Some(until) = aim.until {
            quality.due = Some(quality.due.map_or(until, |due| due.min(until)));
        }
        let due = quality.due;
        let new = (aim.sustained_bps, desired_bps);
        let differs = |old: u64, new: u64| old.abs_diff(new) * 20 > old.max(new);
        let changed = quality.aim.is_none_or(|old| old.0 != new.0 || differs(old.1, new.1));
        if changed {
            quality.aim = Some(new);
            if let Some(seat) = io.seats.get_mut(seat_key) {
                seat.transport.set_bitrates(new.0, new.1);
                io.touch(seat_key);
            }
        }
        if aim.anew
            && quality.path.is_clean(io.now)
            && let Some(seat) = io.seats.get_mut(seat_key)
        {
            seat.transport.restart_estimate(estimate_bps);
            quality.paced_bps = None;
            io.stats.estimates_restarted += 1;
        }
        if let Some(due) = due {
            self.poll_quality_at(due);
        }
    }

    /// Somebody wants `upstream` of a track: if that is more than its publisher sends, it is told at
    /// once.
    fn raise_demand(&mut self, io: &mut Io<'_>, key: usize, upstream: Option<crate::api::Layer>) {
        let Some(track) = self.tracks.get(key).filter(|track| track.home.is_none()) else { return };
        if upstream > track.demand.wanted {
            self.set_demand(io, key, upstream);
        }
    }

    /// What is wanted of each track by anybody, at the end of a round.
    fn lower_demands(&mut self, io: &mut Io<'_>) {
        for index in 0..self.ranks.video.len() {
            let Some(key) = self.ranks.video.get(index).copied() else { break };
            self.update_demand(io, key);
        }
    }

    /// Tells a track's publisher what is wanted of it, if that has changed.
    pub(super) fn update_demand(&mut self, io: &mut Io<'_>, key: usize) {
        let Some(track) = self.tracks.get(key) else { return };
        if track.muted {
            // It sends nothing; what was wanted is what will be wanted again.
            return;
        }
        if track.home.is_some() {
            return self.lower_want(io, key);
        }
        let wanted = track.subscriptions.iter().map(|subscription| {
            let slot = self.slot(subscription.participant, subscription.slot)?;
            slot.upstream.filter(|_| slot.assigned == Some(key))
        });
        let elsewhere = track.relaying.iter().map(|relaying| relaying.upstream);
        let wanted = allocate::upstream::union(wanted.chain(elsewhere));
        self.set_demand(io, key, wanted);
    }

    fn set_demand(&mut self, io: &mut Io<'_>, key: usize, wanted: Option<crate::api::Layer>) {
        let Some(track) = self.tracks.get_mut(key) else { return };
        if track.source.kind() != MediaKind::Video {
            return;
        }
        if let Some(encodings) = track.demand(io.now, wanted) {
            self.tell_demand(io, key, encodings);
        }
    }

    fn tell_demand(&self, io: &mut Io<'_>, key: usize, encodings: Vec<crate::api::EncodingDemand>) {
        let Some(track) = self.tracks.get(key) else { return };
        let Some(owner) = self.participants.get(track.owner) else { return };
        let (room, participant) = (self.id, owner.id);
        let client_id = std::sync::Arc::clone(&track.client_id);
        io.events.push(Event::Demand { room, participant, client_id, encodings });
    }

    /// Tells a publisher anew what is wanted of all its tracks.
    pub(crate) fn repeat_demands(&self, io: &mut Io<'_>, key: usize) {
        let Some(participant) = self.participants.get(key) else { return };
        for key in &participant.tracks {
            let Some(track) = self.tracks.get(*key) else { continue };
            if track.source.kind() == MediaKind::Video {
                self.tell_demand(io, *key, track.told());
            }
        }
    }
}

fn reason(reason: Reason) -> SlotReason {
    match reason {
        Reason::Wish => SlotReason::Wish,
        Reason::Bandwidth | Reason::Paused => SlotReason::Bandwidth,
        Reason::NotPublished => SlotReason::NotPublished,
        Reason::Invisible => SlotReason::Hidden,
    }
}

impl Slot {
    /// Brings state and reason in line with what is assigned, allocated and forwarded.
    pub(super) fn settle(&mut self, muted: bool) {
        let Some(track) = self.assigned else {
            (self.state, self.reason) = (SlotState::Empty, None);
            return;
        };
        let video = self.kind == MediaKind::Video;
        let (state, reason) = if self.state == SlotState::CodecNotSupported {
            (SlotState::CodecNotSupported, SlotReason::Codec)
        } else if muted {
            (SlotState::Paused, SlotReason::Muted)
        } else if video && self.allocated.is_none() {
            match self.limit {
                // Nothing to forward yet, nothing held back either.
                SlotReason::NotPublished => (SlotState::Waiting, SlotReason::NotPublished),
                limit => (SlotState::Paused, limit),
            }
        } else if self.forwarder.delivers(track) {
            (SlotState::Active, self.limit)
        } else {
            (SlotState::Waiting, SlotReason::NoKeyframe)
        };
        self.state = state;
        self.reason = video.then_some(reason);
    }
}
