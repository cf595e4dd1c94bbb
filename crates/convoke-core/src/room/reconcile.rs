//! Who deserves which slot: desired state, and the edges that follow from it.
//!
//! Owns: ranks, placement of tracks in slots, the edges from tracks to slots.
//! Never: numbers or sends packets.
//!
//! **Audio.** A participant hears the first `K` (its audio slots) of the room's unmuted audio
//! tracks that are not its own, by rank: sound of shared screens, then whoever must be heard (see
//! [`crate::speaker`]), then in order of publishing. With at most `K` of them it hears all, each in a fixed
//! slot. A muted track keeps its slot while nobody needs it.
//!
//! A slot with a wish for a participant is for what that publishes alone.
//!
//! **Video.** Slots with a wish hold what it asks for. The others hold the first of the unmuted
//! video tracks by rank: shared screens, newest first, then the dominant speaker's camera, then
//! those of recent speakers, then in order of publishing.

use std::cmp::Reverse;

use super::{Io, Room, Slot, Subscription};
use crate::api::{Event, MediaKind, Show, SlotReason, SlotState, SlotWish, Source};
use crate::ids::ParticipantId;
use crate::slots::{Place, place};

impl Room {
    pub(super) fn reconcile_all(&mut self, io: &mut Io<'_>) {
        for key in self.keys() {
            self.reconcile(io, key);
        }
    }

    pub(super) fn reconcile_many(&mut self, io: &mut Io<'_>, mut keys: Vec<usize>) {
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            self.reconcile(io, key);
        }
    }

    /// Replaces a participant's view. The wishes were checked by [`Self::check_view`].
    pub(crate) fn set_view(&mut self, io: &mut Io<'_>, key: usize, wishes: Vec<SlotWish>) {
        let Some(participant) = self.participants.get_mut(key) else { return };
        participant.wishes = wishes;
        self.reconcile(io, key);
    }

    /// Whether a view can be carried out; else the first wish at fault and why.
    pub(crate) fn check_view(
        &self,
        key: usize,
        wishes: &[SlotWish],
    ) -> Result<(), (usize, String)> {
        let Some(participant) = self.participants.get(key) else { return Ok(()) };
        for (index, wish) in wishes.iter().enumerate() {
            let slot = participant.slots.iter().find(|slot| slot.mid == wish.mid);
            let fits = |slot: &Slot| {
                slot.kind == MediaKind::Video || matches!(wish.show, Show::Participant(_))
            };
            let fault = if !slot.is_some_and(fits) {
                format!("mid {} is no video slot", wish.mid)
            } else if wishes.iter().take(index).any(|earlier| earlier.mid == wish.mid) {
                format!("mid {} is named twice", wish.mid)
            } else if let Show::Track(track) = wish.show {
                match self.track_keys.get(&track).and_then(|key| self.tracks.get(*key)) {
                    Some(t) if t.source.kind() == MediaKind::Video && t.owner != key => {
                        continue;
                    }
                    Some(_) => format!("track {track} is no video track of another participant"),
                    None => format!("track {track} does not exist"),
                }
            } else {
                continue;
            };
            return Err((index, fault));
        }
        Ok(())
    }

    /// A new track of the lowest rank: only who has room for it can be affected.
    pub(super) fn reconcile_newcomer(&mut self, io: &mut Io<'_>, track: usize) {
        let Some(state) = self.tracks.get(track) else { return };
        if matches!(state.source, Source::Screen | Source::ScreenAudio) {
            return self.reconcile_all(io);
        }
        let kind = state.source.kind();
        let idle = |held: Option<usize>| {
            held.and_then(|track| self.tracks.get(track)).is_none_or(|track| track.muted)
        };
        let owner = self.participants.get(state.owner).map(|owner| Show::Participant(owner.id));
        let has_room = |key: &usize| {
            self.participants.get(*key).is_some_and(|participant| {
                participant.wishes.iter().any(|wish| Some(wish.show) == owner)
                    || participant.slots.iter().any(|slot| slot.kind == kind && idle(slot.assigned))
            })
        };
        let affected = self.locals.iter().copied().filter(has_room).collect();
        self.reconcile_many(io, affected);
    }

    /// Brings a participant's slots in line with what it should receive, and tells it.
    pub(super) fn reconcile(&mut self, io: &mut Io<'_>, key: usize) {
        for kind in [MediaKind::Audio, MediaKind::Video] {
            let Some((slots, held)) = self.placement(io, key, kind) else { continue };
            let moves: Vec<(usize, Option<usize>)> =
                slots.into_iter().zip(held).filter(|(s, h)| self.holds(key, *s) != *h).collect();
            // First clear, then fill: a track that moves must not be in two slots.
            for (slot, _) in moves.iter().filter(|(_, to)| to.is_none()) {
                self.release(key, *slot);
            }
            for (slot, to) in moves {
                if let Some(track) = to {
                    self.assign(key, slot, track);
                }
            }
        }
        self.allocate(io, key);
    }

    fn holds(&self, participant: usize, slot: usize) -> Option<usize> {
        self.slot(participant, slot).and_then(|slot| slot.assigned)
    }

    /// The slots of one kind, and what each should hold.
    fn placement(
        &self,
        io: &Io<'_>,
        key: usize,
        kind: MediaKind,
    ) -> Option<(Vec<usize>, Vec<Option<usize>>)> {
        let participant = self.participants.get(key)?;
        let lines = participant.receive.and_then(|seat| io.seats.get(seat));
        let open = |line: usize| {
            lines.and_then(|seat| seat.transport.lines.get(line)).is_some_and(|line| line.sends)
        };
        let slots: Vec<usize> = participant
            .slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.kind == kind && open(slot.line))
            .map(|(index, _)| index)
            .collect();
        if slots.is_empty() {
            return None;
        }
        let may_have = |track: &usize| {
            participant.permissions.receive
                && self.tracks.get(*track).is_some_and(|track| track.owner != key)
        };
        let audible = |track: &usize| self.tracks.get(*track).is_some_and(|track| !track.muted);
        let deserving = || {
            self.ranks.of(kind).iter().copied().filter(|track| may_have(track) && audible(track))
        };
        let wanted: Vec<usize> = deserving().take(slots.len() + participant.wishes.len()).collect();
        // A policy may have to look beyond those: a camera behind many screens.
        let plain = kind == MediaKind::Audio || participant.wishes.is_empty();
        let all = if plain { Vec::new() } else { deserving().collect() };
        let fixed = self.fixed(key, kind, &all, &slots);
        let places: Vec<Place<usize>> = slots
            .iter()
            .zip(fixed)
            .map(|(slot, fixed)| Place { current: self.holds(key, *slot), fixed })
            .collect();
        let tolerated = |track: usize| may_have(&track);
        let prefer =
            |track: usize, held: &[Option<usize>]| self.preferred(key, kind, track, &slots, held);
        Some((slots.clone(), place(&places, &wanted, tolerated, prefer)))
    }

    /// What wishes make of each slot.
    fn fixed(
        &self,
        key: usize,
        kind: MediaKind,
        deserving: &[usize],
        slots: &[usize],
    ) -> Vec<Option<Option<usize>>> {
        let mut fixed = vec![None; slots.len()];
        let Some(participant) = self.participants.get(key) else { return fixed };
        let of_kind = |wish: &&SlotWish| {
            participant.slots.iter().any(|slot| slot.mid == wish.mid && slot.kind == kind)
        };
        let mut taken: Vec<usize> = Vec::new();
        let mut wishes: Vec<&SlotWish> = participant.wishes.iter().filter(of_kind).collect();
        // Named tracks first, then participants, then policies; the more important before the less.
        wishes.sort_by_key(|wish| {
            let rank = match wish.show {
                Show::Track(_) => 0,
                Show::Participant(_) => 1,
                _ => 2,
            };
            (rank, Reverse(wish.priority))
        });
        for wish in wishes {
            let place = slots.iter().position(|slot| {
                participant.slots.get(*slot).is_some_and(|slot| slot.mid == wish.mid)
            });
            let source_is = |track: &usize, source: Source| {
                self.tracks.get(*track).is_some_and(|track| track.source == source)
            };
            let free = |track: &usize| !taken.contains(track);
            let choice = match wish.show {
                Show::Track(id) => {
                    let track = self.track_keys.get(&id).copied();
                    let owner = track.and_then(|track| self.tracks.get(track)).map(|t| t.owner);
                    let allowed = participant.permissions.receive && owner != Some(key);
                    track.filter(|track| allowed && free(track))
                }
                Show::Participant(id) => {
                    let allowed = participant.permissions.receive;
                    let choice = self.best_of(id, kind, key).filter(|_| allowed);
                    choice.filter(|track| free(track))
                }
                Show::Default => continue,
                Show::ScreenShare => {
                    deserving.iter().copied().find(|t| free(t) && source_is(t, Source::Screen))
                }
                Show::ActiveSpeaker => {
                    deserving.iter().copied().find(|t| free(t) && source_is(t, Source::Camera))
                }
            };
            taken.extend(choice);
            if let Some(slot) = place.and_then(|place| fixed.get_mut(place)) {
                *slot = Some(choice);
            }
        }
        fixed
    }

    /// What a wish for a participant shows of it, to another one: what is not muted, and of that for
    /// video the screen, for audio the microphone; the newest.
    fn best_of(&self, id: ParticipantId, kind: MediaKind, to: usize) -> Option<usize> {
        let owner = self.key_of(id).filter(|owner| *owner != to)?;
        let worth = |key: &usize| {
            let track = self.tracks.get(*key)?;
            let first = matches!(track.source, Source::Screen | Source::Microphone);
            (track.source.kind() == kind).then_some((!track.muted, first, track.arrival))
        };
        let tracks = self.participants.get(owner)?.tracks.iter();
        tracks.filter_map(|key| Some((worth(key)?, *key))).max().map(|(_, key)| key)
    }

    /// Where a newcomer would best go: beside its owner's other kind (they share a media stream
    /// id, so browsers lip-sync them), else where the other kind's place is free as well.
    fn preferred(
        &self,
        key: usize,
        kind: MediaKind,
        track: usize,
        slots: &[usize],
        held: &[Option<usize>],
    ) -> Option<usize> {
        let participant = self.participants.get(key)?;
        let owner = self.tracks.get(track)?.owner;
        let screen = |t: &super::Track| matches!(t.source, Source::Screen | Source::ScreenAudio);
        let is_screen = screen(self.tracks.get(track)?);
        let others = || participant.slots.iter().filter(|slot| slot.kind != kind);
        let index_of = |place: &usize| {
            slots.get(*place).and_then(|slot| participant.slots.get(*slot)).map(|slot| slot.index)
        };
        let partner = others().find(|slot| {
            slot.assigned
                .and_then(|other| self.tracks.get(other))
                .is_some_and(|other| other.owner == owner && screen(other) == is_screen)
        });
        let free = |place: &usize| held.get(*place).is_some_and(Option::is_none);
        if let Some(partner) = partner {
            return (0..slots.len()).find(|place| index_of(place) == Some(partner.index));
        }
        (0..slots.len()).filter(free).find(|place| {
            others()
                .find(|slot| Some(slot.index) == index_of(place))
                .is_none_or(|slot| slot.assigned.is_none())
        })
    }

    /// Gives a slot to a track.
    fn assign(&mut self, participant: usize, slot: usize, track: usize) {
        let muted = self.tracks.get(track).is_some_and(|track| track.muted);
        let Some(subscriber) = self.participants.get_mut(participant) else { return };
        // What another slot takes over must not go on here.
        let elsewhere: Vec<usize> = subscriber.slots.iter().filter_map(|s| s.assigned).collect();
        let Some(state) = subscriber.slots.get_mut(slot) else { return };
        state.assigned = Some(track);
        state.allocated = None;
        state.upstream = None;
        state.limit = SlotReason::NotPublished;
        state.forwarder.want(track);
        let goes_on = state.forwarder.sending();
        if goes_on.is_some_and(|sending| sending != track && elsewhere.contains(&sending)) {
            state.forwarder.stop();
        }
        state.state = SlotState::Waiting;
        state.settle(muted);
        self.refresh_edges(participant, slot);
    }

    /// Empties a slot.
    pub(super) fn release(&mut self, participant: usize, slot: usize) {
        let state = self.participants.get_mut(participant).and_then(|p| p.slots.get_mut(slot));
        let Some(state) = state else { return };
        state.empty();
        self.refresh_edges(participant, slot);
    }

    /// A track is gone: a slot that had it no longer sends or waits for it. What it is for next,
    /// and the telling, is for [`Self::reconcile`].
    pub(super) fn forget_track(&mut self, participant: usize, slot: usize, track: usize) {
        let state = self.participants.get_mut(participant).and_then(|p| p.slots.get_mut(slot));
        let Some(state) = state else { return };
        if state.forwarder.sending() == Some(track) {
            state.forwarder.stop();
        }
        if state.assigned == Some(track) {
            state.empty();
        }
        self.refresh_edges(participant, slot);
    }

    /// A track was muted or unmuted: a slot that is for it stops, or waits for its start.
    pub(super) fn pause_or_resume(
        &mut self,
        io: &mut Io<'_>,
        participant: usize,
        slot: usize,
        track: usize,
    ) {
        let muted = self.tracks.get(track).is_some_and(|track| track.muted);
        let state = self.participants.get_mut(participant).and_then(|p| p.slots.get_mut(slot));
        let Some(state) = state else { return };
        if state.forwarder.sending() == Some(track) {
            state.forwarder.stop();
        }
        if state.assigned == Some(track) {
            state.forwarder.want(track);
            state.state = SlotState::Waiting;
            state.settle(muted);
            self.refresh_edges(participant, slot);
            self.tell_slots(io, participant);
        }
    }

    /// Makes the edges into a slot what its forwarder needs: the track that it is for, and the one
    /// that it still sends.
    pub(super) fn refresh_edges(&mut self, participant: usize, slot: usize) {
        let edge = Subscription { participant, slot };
        let Some(state) = self.slot(participant, slot) else { return };
        let needed = [state.assigned, state.forwarder.sending()];
        let known = state.edges;
        for track in known.into_iter().flatten().filter(|track| !needed.contains(&Some(*track))) {
            if let Some(track) = self.tracks.get_mut(track) {
                track.subscriptions.retain(|other| *other != edge);
            }
        }
        for track in needed.into_iter().flatten() {
            if let Some(track) = self.tracks.get_mut(track)
                && !track.subscriptions.contains(&edge)
            {
                track.subscriptions.push(edge);
            }
        }
        if let Some(state) =
            self.participants.get_mut(participant).and_then(|p| p.slots.get_mut(slot))
        {
            state.edges = needed;
        }
    }

    /// Tells a participant of the slots that are not as it was last told.
    pub(super) fn tell_slots(&mut self, io: &mut Io<'_>, key: usize) {
        let Some(participant) = self.participants.get_mut(key) else { return };
        let id = participant.id;
        let mut seat = participant.receive.and_then(|seat| io.seats.get_mut(seat));
        let mut changed = Vec::new();
        for (index, slot) in participant.slots.iter_mut().enumerate() {
            let assigned = slot.assigned.and_then(|key| self.tracks.get(key)).map(|t| t.id);
            let now = (assigned, slot.state, slot.allocated, slot.reason);
            if slot.told != now {
                if slot.kind == MediaKind::Video
                    && now.0.is_none()
                    && let Some(seat) = &mut seat
                {
                    // Not even as the padding of a probe.
                    seat.transport.forget_sent(slot.line);
                }
                slot.told = now;
                changed.push(index);
            }
        }
        if changed.is_empty() {
            return;
        }
        let slots = changed.into_iter().filter_map(|slot| self.slot_view(key, slot)).collect();
        self.version += 1;
        let (room, version) = (self.id, self.version);
        io.events.push(Event::Slots { room, participant: id, version, slots });
    }
}

impl Slot {
    /// Nothing is assigned any more.
    fn empty(&mut self) {
        self.assigned = None;
        self.allocated = None;
        self.upstream = None;
        self.bitrate_bps = 0;
        self.last_keyframe = None;
        self.forwarder.clear();
        self.settle(false);
    }
}
