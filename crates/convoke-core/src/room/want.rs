//! What this shard wants of the tracks of others.
//!
//! Owns: the union of what the shard's own slots need of each mirrored track, and telling its shard.
//! Never: decides what a slot gets.
//!
//! **Audio** is wanted, all of it, while anyone here receives anything: who speaks decides who is
//! heard and seen, and that is decided here. **Video**: the layers that slots are for, those that they
//! should come to, and those that they still forward. More is told at once, less when it has been so
//! for a while.

use std::time::Instant;

use super::track::Track;
use super::{Io, Room, Slot};
use crate::api::{Layer, MediaKind, RelayMessage, WANT_LESS_AFTER, WantedLayers};

/// What is wanted of a mirrored track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Want {
    /// What is to cross.
    layers: WantedLayers,
    /// The best that the publisher should send.
    upstream: Option<Layer>,
}

impl Want {
    fn covers(&self, other: &Self) -> bool {
        self.layers.covers(&other.layers) && self.upstream >= other.upstream
    }
}

/// What a mirrored track's shard was told.
#[derive(Debug, Default)]
pub(super) struct Wanting {
    told: Want,
    less_since: Option<Instant>,
}

impl Wanting {
    /// What was told means nothing any more.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

impl Room {
    /// A slot is for a layer of a track, and should come to another: if the track is another
    /// shard's, that is told at once.
    pub(super) fn raise_want(
        &mut self,
        io: &mut Io<'_>,
        key: usize,
        layer: Option<Layer>,
        upstream: Option<Layer>,
    ) {
        let Some(track) = self.tracks.get(key).filter(|track| track.home.is_some()) else { return };
        let mut want = track.want.told;
        layer.into_iter().for_each(|layer| want.layers.add(layer));
        want.upstream = want.upstream.max(upstream);
        if want != track.want.told {
            self.tell_want(io, key, want);
        }
    }

    /// Tells a mirrored video track's shard what all slots here need, if that is more than it was
    /// told, or has been less for long enough.
    pub(super) fn lower_want(&mut self, io: &mut Io<'_>, key: usize) {
        let Some(track) = self.tracks.get(key) else { return };
        let mut needed = Want::default();
        for subscription in &track.subscriptions {
            if let Some(slot) = self.slot(subscription.participant, subscription.slot) {
                slot.add_needs(key, &mut needed);
                if let Some(layer) = slot.waits_in_vain(key, track) {
                    needed.layers.add(layer);
                }
            }
        }
        let Some(track) = self.tracks.get_mut(key) else { return };
        if needed == track.want.told {
            track.want.less_since = None;
            return;
        }
        if track.want.told.covers(&needed) {
            let since = *track.want.less_since.get_or_insert(io.now);
            if io.now.saturating_duration_since(since) < WANT_LESS_AFTER {
                return;
            }
        }
        self.tell_want(io, key, needed);
    }

    fn tell_want(&mut self, io: &mut Io<'_>, key: usize, want: Want) {
        let Some(track) = self.tracks.get_mut(key) else { return };
        let Some(home) = track.home else { return };
        track.want = Wanting { told: want, less_since: None };
        let Want { layers, upstream } = want;
        let message = RelayMessage::Want { track: track.id, layers, upstream };
        self.relay_to(io, home, message);
    }

    /// Tells a shard anew what is wanted of all its tracks: it may not know.
    pub(super) fn repeat_wants(&mut self, io: &mut Io<'_>, link: usize) {
        let of_it = self.tracks.iter().filter(|(_, track)| track.home == Some(link));
        for key in of_it.map(|(key, _)| key).collect::<Vec<_>>() {
            let Some(track) = self.tracks.get(key) else { continue };
            self.tell_want(io, key, track.want.told);
        }
    }

    /// Someone came, went or may receive now: whether audio is wanted may be otherwise.
    pub(super) fn update_audio_want(&mut self, io: &mut Io<'_>) {
        let receives = |key: &usize| {
            let participant = self.participants.get(*key);
            participant.is_some_and(|p| p.permissions.receive && !p.slots.is_empty())
        };
        let wants = self.locals.iter().any(receives);
        if wants == self.wants_audio {
            return;
        }
        self.wants_audio = wants;
        for index in 0..self.ranks.audio.len() {
            let Some(key) = self.ranks.audio.get(index).copied() else { break };
            self.tell_audio_want(io, key);
        }
    }

    /// A track is new: if it is another shard's and audio, it is wanted.
    pub(super) fn want_audio_of(&mut self, io: &mut Io<'_>, key: usize) {
        if self.wants_audio {
            self.tell_audio_want(io, key);
        }
    }

    fn tell_audio_want(&mut self, io: &mut Io<'_>, key: usize) {
        let layers = if self.wants_audio { WantedLayers::AUDIO } else { WantedLayers::default() };
        let want = Want { layers, upstream: None };
        let Some(track) = self.tracks.get(key) else { return };
        if track.source.kind() == MediaKind::Audio && track.want.told != want {
            self.tell_want(io, key, want);
        }
    }
}

impl Slot {
    /// The layer that may stand in for what it waits for.
    fn waits_in_vain(&self, key: usize, track: &Track) -> Option<Layer> {
        let layer = self.allocated.filter(|_| self.assigned == Some(key))?;
        let spatial = track.stand_in(layer.spatial)?;
        (!self.forwarder.delivers(key)).then_some(Layer { spatial, ..layer })
    }

    fn add_needs(&self, track: usize, needed: &mut Want) {
        if self.assigned == Some(track) {
            self.allocated.into_iter().for_each(|layer| needed.layers.add(layer));
            needed.upstream = needed.upstream.max(self.upstream);
        }
        // What still goes until its successor has come.
        self.forwarder.layer(track).into_iter().for_each(|layer| needed.layers.add(layer));
    }
}
