//! What is heard decides who has slots: the room's side of [`crate::speaker`].
//!
//! Owns: the ranks of tracks, and who is looked at again when they change.
//! Never: judges voices itself.

use std::cmp::Reverse;
use std::time::Instant;

use rustc_hash::FxHashMap;

use super::{Io, Room};
use crate::api::{Event, MediaKind, Show, Source};
use crate::ids::ParticipantId;
use crate::speaker::Heard;
use crate::transport::MediaPacket;

/// Voices that rank before others at most; more than anyone has audio slots.
const AUDIBLE_MAX: usize = 128;

/// An Opus packet of at most this size holds no sound (RFC 6716 §2.1.9).
const DTX_BYTES_MAX: usize = 2;

impl Room {
    /// Takes an audio packet of a track into account; whoever lacks a voice that begins gets it.
    pub(super) fn hear(&mut self, io: &mut Io<'_>, key: usize, packet: &MediaPacket) {
        let Some(track) = self.tracks.get(key) else { return };
        if track.source != Source::Microphone {
            return;
        }
        let owner = track.owner;
        let payload = packet.own_bytes();
        let heard = Heard { level: packet.level, payload, dtx: payload <= DTX_BYTES_MAX };
        if self.speakers.heard(io.now, key, heard).is_none() {
            return;
        }
        self.rank(MediaKind::Audio);
        let lacks = |other: &usize| *other != owner && !self.has(*other, key);
        let affected = self.order.iter().copied().filter(lacks).collect();
        self.reconcile_many(io, affected);
    }

    /// When [`Self::poll_speech`] is due.
    pub(crate) fn next_speech_poll(&self) -> Option<Instant> {
        self.speakers.next_deadline()
    }

    /// Judges the voices, if it is time to.
    pub(crate) fn poll_speech(&mut self, io: &mut Io<'_>) {
        let turn = self.speakers.handle_timeout(io.now);
        if turn.audible {
            self.rank(MediaKind::Audio);
            let affected = self.short_of(MediaKind::Audio);
            self.reconcile_many(io, affected);
        }
        if turn.recent || turn.dominant {
            self.rank(MediaKind::Video);
            let mut affected = self.short_of(MediaKind::Video);
            affected.extend(self.order.iter().copied().filter(|key| self.follows_speaker(*key)));
            self.reconcile_many(io, affected);
        }
        if let Some(change) = self.speakers.poll_change(io.now) {
            let owner = |voice: usize| {
                let track = self.tracks.get(voice)?;
                self.participants.get(track.owner).map(|participant| participant.id)
            };
            let dominant = change.dominant.and_then(owner);
            let mut speaking: Vec<ParticipantId> =
                change.speaking.into_iter().filter_map(owner).collect();
            // A participant may have several microphones.
            speaking.sort_unstable();
            speaking.dedup();
            self.version += 1;
            let (room, version) = (self.id, self.version);
            io.events.push(Event::Speakers { room, version, dominant, speaking });
        }
    }

    /// Puts a new track where it belongs among its kind.
    pub(super) fn rank_new(&mut self, key: usize) {
        let Some(kind) = self.tracks.get(key).map(|track| track.source.kind()) else { return };
        self.ranks.of_mut(kind).push(key);
        self.rank(kind);
    }

    /// Sorts the tracks of a kind, most deserving of a slot first.
    pub(super) fn rank(&mut self, kind: MediaKind) {
        let places: FxHashMap<usize, usize> = match kind {
            MediaKind::Audio => {
                let audible = self.speakers.audible(AUDIBLE_MAX).iter();
                audible.enumerate().map(|(place, key)| (*key, place)).collect()
            }
            MediaKind::Video => {
                let dominant = self.speakers.dominant().into_iter();
                let recent = dominant.chain(self.speakers.recent().iter().copied());
                let mut places = FxHashMap::default();
                for (place, voice) in recent.enumerate() {
                    if let Some(track) = self.tracks.get(voice) {
                        places.entry(track.owner).or_insert(place);
                    }
                }
                places
            }
        };
        let tracks = &self.tracks;
        self.ranks.of_mut(kind).sort_by_key(|key| {
            let Some(track) = tracks.get(*key) else { return (2, usize::MAX, Reverse(0), 0) };
            match track.source {
                Source::Screen | Source::ScreenAudio => (0, 0, Reverse(track.id.0), 0),
                Source::Microphone | Source::Camera => {
                    let of = if kind == MediaKind::Audio { *key } else { track.owner };
                    let place = places.get(&of).copied().unwrap_or(usize::MAX);
                    (1, place, Reverse(0), track.id.0)
                }
            }
        });
        for (rank, key) in self.ranks.of(kind).iter().enumerate() {
            if let Some(track) = self.tracks.get_mut(*key) {
                track.rank = rank;
            }
        }
    }

    /// Those with fewer slots of a kind than there are tracks: a change of rank may concern them.
    fn short_of(&self, kind: MediaKind) -> Vec<usize> {
        let tracks = self.ranks.of(kind).len();
        let short = |key: &usize| {
            self.participants.get(*key).is_some_and(|participant| {
                participant.slots.iter().filter(|slot| slot.kind == kind).count() < tracks
            })
        };
        self.order.iter().copied().filter(short).collect()
    }

    fn has(&self, participant: usize, track: usize) -> bool {
        let participant = self.participants.get(participant);
        participant.is_some_and(|p| p.slots.iter().any(|slot| slot.assigned == Some(track)))
    }

    fn follows_speaker(&self, key: usize) -> bool {
        self.participants
            .get(key)
            .is_some_and(|p| p.wishes.iter().any(|wish| wish.show == Show::ActiveSpeaker))
    }
}
