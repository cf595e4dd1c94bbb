//! Keyframes: who needs one, and when its publisher is asked.
//!
//! Owns: the way from a subscriber's need to a request, within each encoding's budget.
//! Never: forgets a need; see [`crate::forward::keyframe`].

use std::time::Instant;

use super::track::ENCODINGS_MAX;
use super::{Io, Room};
use crate::api::{MediaKind, SlotState, TransportRole};

impl Room {
    /// A subscriber asks for a keyframe of what it receives on an m-line.
    pub(crate) fn keyframe_wanted(&mut self, io: &mut Io<'_>, participant: usize, line: usize) {
        io.stats.keyframe_requests_in += 1;
        let Some(participant) = self.participants.get(participant) else { return };
        let Some(slot) = participant.slots.iter().find(|slot| slot.line == line) else { return };
        let Some(track) = slot.forwarder.sending().or(slot.assigned) else { return };
        let layer = slot.forwarder.layer(track).or(slot.allocated);
        self.request_keyframe(io, track, layer.map_or(0, |layer| layer.spatial), false);
    }

    /// Asks a track's publisher for a keyframe of a spatial layer, within its encoding's budget;
    /// `waiting` says that somebody waits for it to be switched to.
    pub(super) fn request_keyframe(
        &mut self,
        io: &mut Io<'_>,
        track: usize,
        spatial: u8,
        waiting: bool,
    ) {
        let Some(state) = self.tracks.get_mut(track) else { return };
        if state.source.kind() == MediaKind::Audio || state.muted {
            return;
        }
        let owner = self.participants.get(state.owner).and_then(|owner| owner.send);
        if state.home.is_none() && !owner.is_some_and(|seat| io.is_connected(seat)) {
            // It begins with a keyframe anyway; when it connects, it is asked if someone waits.
            return;
        }
        let index = state.encoding_of(spatial);
        let pace = state.keyframe_pace(io.keyframe_interval);
        let Some(encoding) = state.encodings.get_mut(index) else { return };
        let send = encoding.keyframes.request(io.now, pace, waiting);
        // Sent or kept, it is looked at again when the interval ends.
        let again = encoding.keyframes.next(io.now, pace, waiting).unwrap_or(io.now);
        self.poll_keyframes_at(again);
        if send {
            self.send_keyframe_request(io, track, index, waiting);
        }
    }

    pub(super) fn poll_keyframes_at(&mut self, at: Instant) {
        self.keyframe_poll = Some(self.keyframe_poll.map_or(at, |earlier| earlier.min(at)));
    }

    fn send_keyframe_request(
        &mut self,
        io: &mut Io<'_>,
        track: usize,
        index: usize,
        waiting: bool,
    ) {
        let Some(track) = self.tracks.get_mut(track) else { return };
        if let Some(home) = track.home {
            let id = track.id;
            if let Some(encoding) = track.encodings.get_mut(index) {
                encoding.requests += 1;
            }
            return self.relay_keyframe(io, home, id, index, waiting);
        }
        let owner = self.participants.get(track.owner);
        let Some(key) = owner.and_then(|owner| owner.send) else { return };
        let Some(seat) = io.seats.get_mut(key) else { return };
        let Some(encoding) = track.encodings.get_mut(index) else { return };
        encoding.requests += 1;
        seat.transport.request_keyframe(track.line, encoding.rid);
        io.stats.keyframe_requests_out += 1;
        io.touch(key);
    }

    /// Serves keyframe requests whose interval has ended, and those that went unanswered.
    pub(crate) fn poll_keyframes(&mut self, io: &mut Io<'_>) {
        for index in 0..self.ranks.video.len() {
            let Some(key) = self.ranks.video.get(index).copied() else { break };
            let waiting = self.waited_for(io, key);
            for (at, waiting) in waiting.into_iter().enumerate() {
                let Some(track) = self.tracks.get_mut(key).filter(|track| !track.muted) else {
                    break;
                };
                let pace = track.keyframe_pace(io.keyframe_interval);
                let Some(encoding) = track.encodings.get_mut(at) else { break };
                if !(waiting || encoding.keyframes.is_wanted()) {
                    continue;
                }
                let send = encoding.keyframes.poll(io.now, pace, waiting);
                let again = encoding.keyframes.next(io.now, pace, waiting);
                self.poll_keyframes_at(again.unwrap_or(io.now));
                if send {
                    self.send_keyframe_request(io, key, at, waiting);
                }
            }
        }
    }

    /// For each encoding of a video track, whether a connected subscriber waits for its keyframe: who
    /// has no picture, and waits in vain, takes one of the next lower encoding too.
    fn waited_for(&self, io: &Io<'_>, key: usize) -> [bool; ENCODINGS_MAX] {
        let mut waited = [false; ENCODINGS_MAX];
        let Some(track) = self.tracks.get(key) else { return waited };
        for subscription in &track.subscriptions {
            let Some(subscriber) = self.participants.get(subscription.participant) else {
                continue;
            };
            let Some(slot) = subscriber.slots.get(subscription.slot) else { continue };
            let connected = subscriber.receive.is_some_and(|seat| io.is_connected(seat));
            if !connected || slot.state == SlotState::CodecNotSupported {
                continue;
            }
            let Some(spatial) = slot.forwarder.waits_for_keyframe(key) else { continue };
            let lower = track.stand_in(spatial).filter(|_| !slot.forwarder.delivers(key));
            for spatial in [Some(spatial), lower].into_iter().flatten() {
                if let Some(waited) = waited.get_mut(track.encoding_of(spatial)) {
                    *waited = true;
                }
            }
        }
        waited
    }

    /// A participant's transport is up: what waits for it is asked for.
    pub(crate) fn connected(&mut self, io: &mut Io<'_>, key: usize, role: TransportRole) {
        let Some(participant) = self.participants.get(key) else { return };
        let waits: Vec<(usize, u8)> = match role {
            TransportRole::Receive => {
                let slots = participant.slots.iter();
                let waiting = slots.filter_map(|slot| {
                    let track = slot.forwarder.waiting()?;
                    Some((track, slot.forwarder.waits_for_keyframe(track)?))
                });
                waiting.collect()
            }
            TransportRole::Send => {
                let waited = |track: usize| {
                    let waited = self.waited_for(io, track).into_iter().zip(0u8..);
                    waited.filter(|(waited, _)| *waited).map(move |(_, spatial)| (track, spatial))
                };
                participant.tracks.iter().flat_map(|track| waited(*track)).collect()
            }
        };
        for (track, spatial) in waits {
            self.request_keyframe(io, track, spatial, true);
        }
    }
}
