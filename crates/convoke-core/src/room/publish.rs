//! Tracks coming and going.
//!
//! Owns: publish, unpublish, mute, permissions.
//! Never: lets a track exist that its publisher may not have.

use std::sync::Arc;
use std::time::Instant;

use super::{Io, Room, Track};
use crate::api::{Permissions, RoomChange, Source, TrackDeclaration, TrackView};
use crate::ids::{ParticipantId, TrackId};
use crate::transport::Transport;

/// Why a declaration was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TrackError {
    /// It is wrong in itself.
    Invalid(String),
    /// The participant may not publish this source.
    NotAllowed(&'static str),
    /// The participant publishes as much as it may.
    Limit,
}

impl Room {
    /// Whether `declarations` can be published on `transport` by someone with `permissions`.
    /// Returns the index of the first that cannot, and why.
    pub(crate) fn check_declarations(
        transport: Option<&Transport>,
        permissions: Permissions,
        declarations: &[TrackDeclaration],
    ) -> Result<(), (usize, TrackError)> {
        for (index, track) in declarations.iter().enumerate() {
            let earlier = declarations.get(..index).unwrap_or_default();
            if earlier.iter().any(|other| other.client_id == track.client_id) {
                let text = format!("clientId {:?} is used twice", track.client_id);
                return Err((index, TrackError::Invalid(text)));
            }
            if earlier.iter().any(|other| other.mid == track.mid) {
                let text = format!("mid {} is used twice", track.mid);
                return Err((index, TrackError::Invalid(text)));
            }
            check_declaration(transport, permissions, track).map_err(|error| (index, error))?;
        }
        Ok(())
    }

    /// Publishes a track.
    pub(crate) fn publish(
        &mut self,
        io: &mut Io<'_>,
        participant: usize,
        declaration: TrackDeclaration,
        limit: usize,
    ) -> Result<TrackId, TrackError> {
        let Some(owner) = self.participants.get(participant) else {
            return Err(TrackError::Invalid("the participant is gone".into()));
        };
        let transport = owner.send.and_then(|key| io.seats.get(key)).map(|seat| &seat.transport);
        check_declaration(transport, owner.permissions, &declaration)?;
        if owner.tracks.len() >= limit {
            return Err(TrackError::Limit);
        }
        let taken = owner.tracks.iter().filter_map(|key| self.tracks.get(*key));
        for track in taken {
            if track.client_id == declaration.client_id {
                let text = format!("clientId {:?} is published already", track.client_id);
                return Err(TrackError::Invalid(text));
            }
            if track.mid == Some(declaration.mid) {
                let text = format!("mid {} carries another track already", declaration.mid);
                return Err(TrackError::Invalid(text));
            }
        }
        let line = transport.and_then(|transport| transport.line_of(declaration.mid));
        let Some(line) = line else {
            return Err(TrackError::Invalid(format!("mid {} is unknown", declaration.mid)));
        };
        Ok(self.insert_track(io, participant, declaration, line))
    }

    fn insert_track(
        &mut self,
        io: &mut Io<'_>,
        owner: usize,
        declaration: TrackDeclaration,
        line: usize,
    ) -> TrackId {
        let id = TrackId::new(self.id.shard(), self.next_track);
        self.next_track += 1;
        let TrackDeclaration { client_id, source, mid, muted, encodings, encrypted } = declaration;
        let seat = self.participants.get(owner).and_then(|owner| owner.send);
        let lines = seat.and_then(|seat| io.seats.get(seat)).map(|seat| &seat.transport.lines);
        let rids = lines.and_then(|lines| lines.get(line)).map_or(&[][..], |line| &line.rids);
        let view = TrackView { track: id, client_id, source, muted, encrypted };
        let mut track = Track::new(owner, None, &view, Track::make_encodings(encodings, rids));
        (track.line, track.mid) = (line, Some(mid));
        let key = self.add_track(io, track);
        if let Some(bound) =
            self.participants.get_mut(owner).and_then(|owner| owner.by_line.get_mut(line))
        {
            *bound = Some(key);
        }
        id
    }

    /// Takes a track into all maps, tells of it, and gives it to whoever has room for it.
    pub(super) fn add_track(&mut self, io: &mut Io<'_>, mut track: Track) -> usize {
        track.update_rungs(io.now);
        track.arrival = self.next_arrival;
        self.next_arrival += 1;
        let (id, owner, home) = (track.id, track.owner, track.home);
        let key = self.tracks.insert(track);
        self.track_keys.insert(id, key);
        let mut participant = ParticipantId(0);
        if let Some(owner) = self.participants.get_mut(owner) {
            participant = owner.id;
            owner.tracks.push(key);
        }
        self.rank_new(key);
        if let Some(track) = self.track_view(key) {
            self.announce(io, home, RoomChange::TrackPublished { participant, track });
        }
        self.want_audio_of(io, key);
        self.reconcile_newcomer(io, key);
        self.update_demand(io, key);
        key
    }

    /// The key of a participant's track by the participant's own name for it.
    pub(crate) fn track_by_client_id(&self, participant: usize, client_id: &str) -> Option<usize> {
        let tracks = &self.participants.get(participant)?.tracks;
        let named = |key: &usize| self.tracks.get(*key).is_some_and(|t| &*t.client_id == client_id);
        tracks.iter().copied().find(named)
    }

    /// Ends a track and tells so.
    pub(crate) fn unpublish_key(&mut self, io: &mut Io<'_>, key: usize) {
        let Some(track) = self.tracks.get(key) else { return };
        let (owner, id) = (track.owner, track.id);
        let affected = self.detach(io.now, key);
        let Some(owner) = self.participants.get_mut(owner) else { return };
        owner.tracks.retain(|other| *other != key);
        let (participant, home) = (owner.id, owner.home);
        self.announce(io, home, RoomChange::TrackUnpublished { participant, track: id });
        self.reconcile_many(io, affected);
    }

    /// Takes a track out of all maps and slots; returns who had it in a slot.
    pub(super) fn detach(&mut self, now: Instant, key: usize) -> Vec<usize> {
        let Some(track) = self.tracks.try_remove(key) else { return Vec::new() };
        self.track_keys.remove(&track.id);
        self.ranks.of_mut(track.source.kind()).retain(|other| *other != key);
        self.speakers.remove(now, key);
        if let Some(owner) = self.participants.get_mut(track.owner) {
            for bound in owner.by_line.iter_mut().filter(|bound| **bound == Some(key)) {
                *bound = None;
            }
        }
        for subscription in &track.subscriptions {
            self.forget_track(subscription.participant, subscription.slot, key);
        }
        track.subscriptions.iter().map(|subscription| subscription.participant).collect()
    }

    /// Mutes or unmutes.
    pub(crate) fn set_muted(&mut self, io: &mut Io<'_>, key: usize, muted: bool) {
        let Some(track) = self.tracks.get_mut(key) else { return };
        if track.muted == muted {
            return;
        }
        track.muted = muted;
        if muted {
            self.speakers.mute(key);
        }
        let (owner, kind) = (track.owner, track.source.kind());
        let subscriptions = track.subscriptions.clone();
        if let (Some(owner), Some(track)) = (self.participants.get(owner), self.track_view(key)) {
            let (participant, home) = (owner.id, owner.home);
            self.announce(io, home, RoomChange::TrackUpdated { participant, track });
        }
        for subscription in subscriptions {
            self.pause_or_resume(io, subscription.participant, subscription.slot, key);
        }
        self.rank(kind);
        self.reconcile_all(io);
    }

    /// Mutes what a participant publishes of one source. How many tracks were not muted before.
    pub(crate) fn mute_source(
        &mut self,
        io: &mut Io<'_>,
        participant: usize,
        source: Source,
    ) -> usize {
        let audible = |key: &usize| {
            self.tracks.get(*key).is_some_and(|track| track.source == source && !track.muted)
        };
        let tracks = self.participants.get(participant).map_or(&[][..], |owner| &owner.tracks);
        let found: Vec<usize> = tracks.iter().copied().filter(audible).collect();
        for key in &found {
            self.set_muted(io, *key, true);
        }
        found.len()
    }

    /// Changes what a participant may do, at once.
    pub(crate) fn set_permissions(
        &mut self,
        io: &mut Io<'_>,
        participant: usize,
        permissions: Permissions,
    ) {
        let Some(state) = self.participants.get_mut(participant) else { return };
        state.permissions = permissions;
        let forbidden = |key: &usize| {
            self.tracks.get(*key).is_some_and(|track| !permissions.may_publish(track.source))
        };
        let gone: Vec<usize> = state.tracks.iter().copied().filter(forbidden).collect();
        for key in gone {
            self.unpublish_key(io, key);
        }
        self.reconcile(io, participant);
        self.update_audio_want(io);
    }

    pub(super) fn track_view(&self, key: usize) -> Option<TrackView> {
        let track = self.tracks.get(key)?;
        Some(TrackView {
            track: track.id,
            client_id: Arc::clone(&track.client_id),
            source: track.source,
            muted: track.muted,
            encrypted: track.encrypted,
        })
    }
}

fn check_declaration(
    transport: Option<&Transport>,
    permissions: Permissions,
    track: &TrackDeclaration,
) -> Result<(), TrackError> {
    if track.client_id.is_empty() || track.client_id.len() > 64 {
        return Err(TrackError::Invalid("clientId must have 1 to 64 bytes".into()));
    }
    if !permissions.may_publish(track.source) {
        return Err(TrackError::NotAllowed("publishing this source"));
    }
    let Some(transport) = transport else {
        return Err(TrackError::Invalid("there is no send transport".into()));
    };
    let line = transport.line_of(track.mid).and_then(|line| transport.lines.get(line));
    let Some(line) = line else {
        return Err(TrackError::Invalid(format!("mid {} is not in the send offer", track.mid)));
    };
    if line.kind != track.source.kind() {
        let text = format!("mid {} is of another media kind than the source", track.mid);
        return Err(TrackError::Invalid(text));
    }
    if !line.receives {
        return Err(TrackError::Invalid(format!("mid {} was not offered for sending", track.mid)));
    }
    Ok(())
}
