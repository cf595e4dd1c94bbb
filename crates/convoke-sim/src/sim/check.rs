//! Looking at the whole world: tables at any time, flow and gaps when things have settled.

use std::time::Duration;

use convoke_client::media::Codec;
use convoke_core::{Action, Layer, MediaKind, ParticipantId, Reply, SlotState, TrackId};
use convoke_protocol::TransportRole;

use super::ways::Way;
use super::{MEASURE, Sim, worker_addr};
use crate::actor::{Actor, Fate, Live, Watched};
use crate::laws;
use crate::playing::{self, Playing};
use crate::report::{Report, SlotLine};

/// What one slot got up to some time.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Count {
    packets: u64,
    /// Pictures shown.
    pub(super) frames: u64,
}

/// By actor and slot.
pub(super) type Counts = Vec<Vec<Count>>;

fn count(live: &Live, slot: usize) -> Count {
    let report = live.slots[slot].checker.report();
    Count { packets: report.packets, frames: report.shown.pictures }
}

/// Pictures in a second of a track at this layer.
pub(super) fn rate_at(playing: &Playing, layer: Option<Layer>) -> f64 {
    let spec = &playing.spec;
    let layers = spec.layers.as_ref();
    let temporal = layers.map(|layers| layers.mode).unwrap_or_default().temporal_layers();
    // Without descriptor H.264 tells only which pictures no other needs.
    let blind = spec.codec == Codec::H264 && layers.is_some_and(|layers| !layers.descriptor);
    let top = if blind { temporal.min(2) } else { temporal } - 1;
    let below = layer.map_or(0, |layer| top - layer.temporal.min(top));
    f64::from(spec.fps) / f64::from(1 << below)
}

impl Sim {
    /// Tables by events, by snapshot and by the model are the same for everyone.
    pub(super) fn check_tables(&mut self) {
        if !self.is_told() {
            // The next check finds all shards knowing the same.
            return;
        }
        for who in 0..self.actors.len() {
            let Some(live) = &self.actors[who].live else { continue };
            let (participant, room) = (live.id, live.room);
            let Ok(Reply::Snapshot(snapshot)) =
                self.command(room, Action::Snapshot { participant })
            else {
                self.broken(format!("actor {who} gets no snapshot"));
                continue;
            };
            let Some(live) = &self.actors[who].live else { continue };
            let known = laws::same_as_snapshot(&live.known, &snapshot);
            let Some(state) = self.rooms.get(&room) else { continue };
            let Some(call) = self.rooms.get(&room.with_shard(0)) else { continue };
            let mut snapshot = snapshot;
            if self.scenario.span > 1 {
                // Each shard has its own order; ids rise with joining.
                snapshot.participants.sort_by_key(|view| view.participant);
            }
            let mut faults = call.model.faults(participant, &snapshot.slots);
            faults.extend(laws::same_as_model(&call.model, &snapshot));
            faults.extend(known);
            faults.extend(state.versions.snapshot(snapshot.version));
            for fault in faults {
                self.broken(format!("actor {who}: {fault}"));
            }
        }
    }

    pub(super) fn counts(&self) -> Counts {
        let each = |live: &Live| (0..live.slots.len()).map(|slot| count(live, slot)).collect();
        self.actors.iter().map(|a| a.live.as_ref().map(each).unwrap_or_default()).collect()
    }

    /// Who is assigned is received, at its rate; who is not, is not.
    pub(super) fn check_flow(&mut self, before: &Counts) {
        let mut faults = Vec::new();
        for (who, actor) in self.actors.iter().enumerate() {
            let Some(live) = actor.live.as_ref().filter(|l| l.fate == Fate::In) else { continue };
            let up = actor.up.is_up() && actor.down.is_up();
            for role in [TransportRole::Send, TransportRole::Receive] {
                if up && live.peer.has(role) && !live.peer.connected(role) {
                    faults.push(format!("actor {who} is not connected ({role:?})"));
                }
            }
            if !up || !live.peer.connected(TransportRole::Receive) {
                continue;
            }
            for (slot, view) in live.known.slots.iter().enumerate() {
                let recent = self.now - live.slots[slot].changed < MEASURE;
                let then = before.get(who).and_then(|b| b.get(slot)).copied();
                let Some(then) = then.filter(|_| !recent) else { continue };
                let now = count(live, slot);
                let got =
                    Count { packets: now.packets - then.packets, frames: now.frames - then.frames };
                let fault = match (view.assigned, view.state) {
                    (Some((publisher, track)), SlotState::Active | SlotState::Waiting) => {
                        self.too_little(who, publisher, track, (view.layer, got))
                    }
                    // What was sampled before may wait for its turn, or be sent again.
                    _ if got.packets > 0 && self.is_after(&live.slots[slot]) => {
                        Some(format!("{} packets though {:?}", got.packets, view.state))
                    }
                    _ => None,
                };
                if let Some(fault) = fault {
                    let (kind, index) = (live.slots[slot].kind, live.slots[slot].index);
                    faults.push(format!("actor {who}, {kind:?} slot {index}: {fault}"));
                }
            }
        }
        for fault in faults {
            self.broken(fault);
        }
    }

    /// Whether the newest that came in a slot was sampled after its last change.
    fn is_after(&self, slot: &Watched) -> bool {
        let newest = slot.checker.newest();
        newest.is_some_and(|stamp| self.start + Duration::from_micros(stamp.sent_us) > slot.changed)
    }

    /// Whether the downlink is or was of limited capacity.
    fn is_narrow(&self, who: usize) -> bool {
        let narrows = |step: &crate::scenario::Step| {
            step.who == who && matches!(step.act, crate::scenario::Act::DownRate(_))
        };
        let actor = &self.actors[who];
        actor.spec.downlink.rate_bps.is_some() || self.scenario.steps.iter().any(narrows)
    }

    /// What is behind a track, if its publisher is in the call.
    pub(super) fn playing_of(
        &self,
        publisher: ParticipantId,
        track: TrackId,
    ) -> Option<(&Actor, &Live, &Playing)> {
        let (publisher, live) = self.actors.iter().find_map(|a| {
            let live = a.live.as_ref().filter(|l| l.fate == Fate::In && l.id == publisher)?;
            Some((a, live))
        })?;
        let own = live.known.participants.iter().find(|p| p.participant == live.id)?;
        let client_id = &own.tracks.iter().find(|t| t.track == track)?.client_id;
        let playing = live.playing.iter().find(|p| *p.client_id == **client_id)?;
        Some((publisher, live, playing))
    }

    /// What is wrong with so much of a track at `who`, if it should flow.
    fn too_little(
        &self,
        who: usize,
        publisher: ParticipantId,
        track: TrackId,
        (layer, got): (Option<Layer>, Count),
    ) -> Option<String> {
        let (publisher, live, playing) = self.playing_of(publisher, track)?;
        if !publisher.up.is_up() || !live.peer.connected(TransportRole::Send) {
            return None;
        }
        let client_id = &playing.client_id;
        // A publisher that goes on sending more than its uplink carries may lose all of its keyframes.
        let chokes = |actor: &Actor| {
            let sends =
                |live: &Live| live.playing.iter().map(|p| u64::from(p.spec.sends_bps())).sum();
            let rate = actor.up.config().rate_bps.zip(actor.live.as_ref());
            rate.is_some_and(|(rate, live)| rate < sends(live))
        };
        let choked = chokes(publisher);
        if got.packets == 0 && !choked && !self.is_narrow(who) {
            return Some(format!("0 packets of {client_id}"));
        }
        let seconds = MEASURE.as_secs_f64();
        let (what, got, wanted) = match playing::core_source(playing.spec.source).kind() {
            MediaKind::Audio => ("packets", got.packets, 50.0 * seconds),
            MediaKind::Video => ("frames", got.frames, rate_at(playing, layer) * seconds),
        };
        let links = [publisher.spec.uplink, self.actors[who].spec.downlink];
        let lossless = links.iter().all(crate::link::LinkConfig::is_lossless);
        let narrowed = self.is_narrow(who) || publisher.up.config().rate_bps.is_some();
        // Who loses packets asks for them through its own uplink, and waits there too if that is full:
        // in vain, if it stays so.
        let least = match self.actors[who].up.config().rate_bps {
            Some(_) if chokes(&self.actors[who]) => f64::MIN_POSITIVE,
            Some(_) => 0.05,
            None => 0.2,
        };
        let lossy = |least: f64| links.iter().any(|l| l.loss >= least || l.burst.is_some());
        let rough = narrowed || lossy(least);
        let bounds = match (lossless && !narrowed, rough) {
            (true, _) => wanted * 0.9 - 1.0..=wanted * 1.1 + 2.0,
            (false, false) => wanted * 0.3..=wanted * 2.0 + 2.0,
            // How much must come at least is the scenario's to say.
            (_, true) => 0.0..=wanted * 3.0 + 2.0,
        };
        (!bounds.contains(&(got as f64)))
            .then(|| format!("{got} {what} of {client_id}, of about {wanted:.0}"))
    }

    /// No slot lacks what its link neither lost nor still carries, and the server skips nothing by
    /// itself.
    pub(super) fn check_gaps(&mut self) {
        let mut faults = Vec::new();
        for (who, actor) in self.actors.iter().enumerate() {
            let Some(live) = actor.live.as_ref().filter(|l| l.fate == Fate::In) else { continue };
            let server = worker_addr(self.worker_of(live.room));
            for slot in &live.slots {
                let Some(ssrc) = slot.ssrc else { continue };
                let missing = slot.checker.report().missing;
                let address = live.local[1];
                let Way { lost, underway, .. } = self.ways.of(address, ssrc);
                let excused = lost + underway + self.wire.missing_of(server, address, ssrc);
                if missing > excused {
                    let (kind, index) = (slot.kind, slot.index);
                    faults.push(format!(
                        "actor {who}, {kind:?} slot {index} lacks {missing} packets, the link lost {excused}"
                    ));
                }
            }
        }
        let clean = self.actors.iter().all(|a| {
            a.spec.uplink.is_lossless()
                && a.spec.uplink.is_ordered()
                && !a.was_cut
                && a.next_address <= 1
        });
        if clean && self.wire.missing() > 0 {
            faults.push(format!("the server skipped {} sequence numbers", self.wire.missing()));
        }
        for fault in faults {
            self.broken(fault);
        }
    }

    pub(super) fn check_nothing_left(&mut self) {
        let left: Vec<String> = self
            .workers
            .iter()
            .filter_map(|w| laws::nothing_left(&w.stats(), w.next_timeout()))
            .collect();
        for fault in left {
            self.broken(fault);
        }
        self.check_relays();
        let panics: u64 = self.workers.iter().map(|w| w.stats().peer_panics).sum();
        if panics > 0 {
            self.broken(format!("{panics} peers panicked in the media stack"));
        }
    }

    /// What one presence saw.
    pub(super) fn note(&mut self, who: usize, live: &Live) {
        for slot in &live.slots {
            let report = slot.checker.report();
            self.delays.merge(&report.delays);
            self.report.switches += report.switches;
            self.report.freezes += report.shown.freezes;
            self.report.layer_changes += slot.layer_changes.len() as u64;
            self.report.slots.push(SlotLine {
                actor: who,
                kind: format!("{:?}", slot.kind).to_lowercase(),
                index: slot.index,
                packets: report.packets,
                missing: report.missing,
                switches: report.switches,
                frames_decoded: report.sources.values().map(|s| s.frames_decoded).sum(),
                frames_complete: report.sources.values().map(|s| s.frames_complete).sum(),
                frames_undecodable: report.sources.values().map(|s| s.frames_undecodable).sum(),
                pictures: report.shown.pictures,
                freezes: report.shown.freezes,
                frozen_ms: report.shown.frozen.as_secs_f64() * 1_000.0,
                sizes: report
                    .shown
                    .sizes
                    .iter()
                    .map(|(at, size)| ((*at - self.start).as_secs_f64(), size.0, size.1))
                    .collect(),
                layer_changes: slot.layer_changes.len(),
            });
        }
        self.report.keyframe_requests += live.keyframe_requests;
        self.report.first_frame_ms.extend(live.first_frame_ms());
    }

    pub(super) fn finish(mut self) -> Report {
        let millis = |delay: Duration| delay.as_secs_f64() * 1_000.0;
        let stats = self.workers.iter().map(convoke_core::Worker::stats);
        for stats in stats {
            self.report.rtp_in += stats.rtp_in.iter().sum::<u64>();
            self.report.rtp_out += stats.rtp_out.iter().sum::<u64>();
        }
        self.report.virtual_seconds = (self.now - self.start).as_secs_f64();
        self.report.link_lost = self.actors.iter().map(|a| a.up.lost() + a.down.lost()).sum();
        self.report.server_gaps = self.wire.missing();
        self.report.delay_ms_p50 = millis(self.delays.percentile(0.5));
        self.report.delay_ms_p99 = millis(self.delays.percentile(0.99));
        self.report
    }
}
