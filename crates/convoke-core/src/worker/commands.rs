//! Commands: checked as a whole first, then carried out; a refused one leaves no trace.
//!
//! Owns: the join, and the way from a command to its room.
//! Never: leaves a half-made participant.

use std::sync::Arc;
use std::time::Instant;

use super::Worker;
use crate::api::{
    Action, Command, CommandError, DataMessage, Event, JoinRequest, LeaveReason, MediaKind, Outbox,
    Reply, RoomChange, TransportRole,
};
use crate::ids::{ParticipantId, RoomId};
use crate::room::{Io, LinkError, Participant, Room, Seat, TrackError};
use crate::transport::{NegotiateError, Settings, Transport};

impl Worker {
    pub(super) fn command(&mut self, now: Instant, command: Command, out: &mut Outbox) {
        let Command { request, room, action } = command;
        let result = self.act(now, room, action, out);
        out.events.push(Event::Reply { request, result });
        if !self.touched.is_empty() {
            self.turn.get_or_insert(now);
        }
        if let Some(key) = self.room_keys.get(&room).copied() {
            self.schedule_room(key);
        }
    }

    fn act(
        &mut self,
        now: Instant,
        room: RoomId,
        action: Action,
        out: &mut Outbox,
    ) -> Result<Reply, CommandError> {
        match action {
            Action::Join(join) => self.join_or_close(now, room, join, out),
            Action::CloseRoom { .. }
            | Action::Capture { .. }
            | Action::Link { .. }
            | Action::Unlink { .. } => self.act_on_room(now, room, action, out),
            Action::Leave { participant, reason } => {
                if let Ok((room_key, key)) = self.find(room, participant) {
                    self.remove_participant(now, room_key, key, reason, out);
                }
                Ok(Reply::Done)
            }
            Action::Offer { participant, role, sdp } => {
                self.offer(now, (room, participant), role, &sdp, out)
            }
            Action::Publish { participant, track } => {
                let limit = self.config.limits.tracks;
                self.in_room(now, (room, participant), out, |room, io, key| {
                    let track = room.publish(io, key, track, limit).map_err(|e| refused(0, e))?;
                    Ok(Reply::Published(track))
                })
            }
            Action::Unpublish { participant, .. }
            | Action::SetMuted { participant, .. }
            | Action::MuteSource { participant, .. } => {
                self.in_room(now, (room, participant), out, |room, io, key| {
                    act_on_tracks(room, io, key, action)
                })
            }
            Action::SetView { participant, wishes } => {
                self.in_room(now, (room, participant), out, |room, io, key| {
                    room.check_view(key, &wishes)
                        .map_err(|(index, reason)| CommandError::View { index, reason })?;
                    room.set_view(io, key, wishes);
                    Ok(Reply::Done)
                })
            }
            Action::SetPermissions { participant, permissions } => {
                self.in_room(now, (room, participant), out, |room, io, key| {
                    room.set_permissions(io, key, permissions);
                    Ok(Reply::Done)
                })
            }
            Action::SendData { participant, message } => {
                self.send_data(now, (room, participant), message, out)
            }
            Action::SetReachable { participant, reachable } => {
                self.in_room(now, (room, participant), out, |room, io, key| {
                    room.set_reachable(io, key, reachable);
                    Ok(Reply::Done)
                })
            }
            Action::Snapshot { participant } => {
                self.in_room(now, (room, participant), out, |room, io, key| {
                    room.repeat_demands(io, key);
                    Ok(Reply::Snapshot(room.snapshot(key)))
                })
            }
            Action::Explain { participant } => {
                let (room_key, key) = self.find(room, participant)?;
                let room = self.rooms.get(room_key).ok_or(CommandError::NoSuchRoom)?;
                Ok(Reply::Explained(Box::new(room.explain(now, key))))
            }
        }
    }

    fn find(
        &self,
        room: RoomId,
        participant: ParticipantId,
    ) -> Result<(usize, usize), CommandError> {
        let room_key = *self.room_keys.get(&room).ok_or(CommandError::NoSuchRoom)?;
        let room = self.rooms.get(room_key).ok_or(CommandError::NoSuchRoom)?;
        let key = room.local_key_of(participant).ok_or(CommandError::NoSuchParticipant)?;
        Ok((room_key, key))
    }

    fn in_room(
        &mut self,
        now: Instant,
        (room, participant): (RoomId, ParticipantId),
        out: &mut Outbox,
        act: impl FnOnce(&mut Room, &mut Io<'_>, usize) -> Result<Reply, CommandError>,
    ) -> Result<Reply, CommandError> {
        let (room_key, key) = self.find(room, participant)?;
        let room = self.rooms.get_mut(room_key).ok_or(CommandError::NoSuchRoom)?;
        let mut io = io!(self, now, out);
        act(room, &mut io, key)
    }

    fn send_data(
        &mut self,
        now: Instant,
        of: (RoomId, ParticipantId),
        message: DataMessage,
        out: &mut Outbox,
    ) -> Result<Reply, CommandError> {
        self.in_room(now, of, out, |room, io, key| {
            room.send_data(io, key, message).map(|()| Reply::Done)
        })
    }

    fn close_room(&mut self, now: Instant, room: RoomId, reason: LeaveReason, out: &mut Outbox) {
        let Some(room_key) = self.room_keys.get(&room).copied() else { return };
        let keys = self.rooms.get(room_key).map(Room::keys).unwrap_or_default();
        for key in keys {
            self.remove_participant(now, room_key, key, reason, out);
        }
        if self.room_keys.get(&room) == Some(&room_key) {
            self.close_if_empty(now, room_key, reason, out);
        }
    }

    fn join_or_close(
        &mut self,
        now: Instant,
        room: RoomId,
        join: JoinRequest,
        out: &mut Outbox,
    ) -> Result<Reply, CommandError> {
        let result = self.join(now, room, join, out);
        if result.is_err()
            && let Some(key) = self.room_keys.get(&room).copied()
        {
            // A shard that was made for this join is of no use.
            self.close_if_empty(now, key, LeaveReason::Left, out);
        }
        result
    }

    /// What is about no participant.
    fn act_on_room(
        &mut self,
        now: Instant,
        room: RoomId,
        action: Action,
        out: &mut Outbox,
    ) -> Result<Reply, CommandError> {
        match action {
            Action::Link { peer } => self.link(now, room, peer, out),
            Action::Capture { capture } => self.set_capture(room, capture),
            Action::Unlink { peer, reason } => {
                let key = self.room_keys.get(&room).copied();
                if let Some(state) = key.and_then(|key| self.rooms.get_mut(key)) {
                    state.unlink(&mut io!(self, now, out), peer, reason);
                }
                Ok(Reply::Done)
            }
            Action::CloseRoom { reason } => {
                self.close_room(now, room, reason, out);
                Ok(Reply::Done)
            }
            _ => Err(CommandError::Internal("not about a room".into())),
        }
    }

    /// Links a room to another shard of its call; makes it, if need be, for a join that follows.
    fn link(
        &mut self,
        now: Instant,
        room: RoomId,
        peer: RoomId,
        out: &mut Outbox,
    ) -> Result<Reply, CommandError> {
        Room::check_link(room, peer).map_err(link_error)?;
        if !self.room_keys.contains_key(&room) && self.rooms.len() >= self.config.limits.rooms {
            return Err(CommandError::Limit("rooms on this worker"));
        }
        let key = self.room_key(room);
        let state = self.rooms.get_mut(key).ok_or(CommandError::NoSuchRoom)?;
        state.link(&mut io!(self, now, out), peer).map_err(link_error)?;
        Ok(Reply::Done)
    }

    /// The key of a room, which is made if it does not exist.
    fn room_key(&mut self, room: RoomId) -> usize {
        if let Some(key) = self.room_keys.get(&room) {
            return *key;
        }
        let key = self.rooms.insert(Room::new(room));
        self.room_keys.insert(room, key);
        key
    }

    fn join(
        &mut self,
        now: Instant,
        room: RoomId,
        join: JoinRequest,
        out: &mut Outbox,
    ) -> Result<Reply, CommandError> {
        self.check_join(room, &join)?;
        // Everything that can fail comes before anything that lasts.
        let send = self.negotiate(now, TransportRole::Send, join.send_offer.as_deref())?;
        let receive = self.negotiate(now, TransportRole::Receive, join.receive_offer.as_deref())?;
        if let Some((transport, _)) = &receive {
            self.check_slots(transport)?;
        }
        let sending = send.as_ref().map(|(transport, _)| transport);
        Room::check_declarations(sending, join.permissions, &join.tracks)
            .map_err(|(index, error)| refused(index, error))?;

        let room_key = self.room_key(room);
        let Some(state) = self.rooms.get(room_key) else { return Err(CommandError::NoSuchRoom) };
        let participant_key = state.next_key();
        let seat = |this: &mut Self, transport: Transport| {
            this.seat(
                now,
                Seat {
                    transport,
                    room: room_key,
                    participant: participant_key,
                    drive_scheduled: None,
                    liveness_scheduled: None,
                    silent: false,
                },
            )
        };
        let (send, send_answer) = match send {
            Some((transport, answer)) => (Some(seat(self, transport)), Some(answer)),
            None => (None, None),
        };
        let (receive, receive_answer) = match receive {
            Some((transport, answer)) => (Some(seat(self, transport)), Some(answer)),
            None => (None, None),
        };
        let participant = Participant::new(&join, send, receive);
        let limit = self.config.limits.tracks;
        let mut io = io!(self, now, out);
        let Some(state) = self.rooms.get_mut(room_key) else {
            return Err(CommandError::NoSuchRoom);
        };
        let random = &mut self.random;
        let key = state.join(&mut io, participant, &mut || random.u32());
        for (index, track) in join.tracks.into_iter().enumerate() {
            // Checked above: this cannot fail.
            state.publish(&mut io, key, track, limit).map_err(|error| refused(index, error))?;
        }
        Ok(Reply::Joined { send_answer, receive_answer, snapshot: state.snapshot(key) })
    }

    fn check_join(&self, room: RoomId, join: &JoinRequest) -> Result<(), CommandError> {
        let limits = &self.config.limits;
        if join.participant.0 == 0 {
            return Err(CommandError::Internal("participant id 0".into()));
        }
        if self.participants() >= limits.participants {
            return Err(CommandError::Limit("participants on this worker"));
        }
        if join.tracks.len() > limits.tracks {
            return Err(CommandError::Limit("tracks of one participant"));
        }
        let Some(state) = self.room_keys.get(&room).and_then(|key| self.rooms.get(*key)) else {
            if self.rooms.len() >= limits.rooms {
                return Err(CommandError::Limit("rooms on this worker"));
            }
            return Ok(());
        };
        if state.key_of(join.participant).is_some() {
            return Err(CommandError::ParticipantExists);
        }
        if state.len_of_call() >= limits.room_participants {
            return Err(CommandError::Limit("participants in this room"));
        }
        Ok(())
    }

    fn check_slots(&self, transport: &Transport) -> Result<(), CommandError> {
        let count = |kind| transport.lines.iter().filter(|l| l.sends && l.kind == kind).count();
        if count(MediaKind::Audio) > self.config.limits.audio_slots {
            return Err(CommandError::Limit("audio slots of one participant"));
        }
        if count(MediaKind::Video) > self.config.limits.video_slots {
            return Err(CommandError::Limit("video slots of one participant"));
        }
        Ok(())
    }

    fn negotiate(
        &mut self,
        now: Instant,
        role: TransportRole,
        offer: Option<&str>,
    ) -> Result<Option<(Transport, String)>, CommandError> {
        let Some(offer) = offer else { return Ok(None) };
        let credentials = self.random.ice_credentials(self.config.index);
        if let Some(crypto) = &mut self.crypto {
            crypto.renew(now);
        }
        let settings = self.settings()?;
        Transport::accept(now, role, offer, credentials, settings)
            .map(Some)
            .map_err(|error| sdp_error(role, error))
    }

    fn settings(&self) -> Result<Settings<'_>, CommandError> {
        let crypto = self.crypto.as_ref();
        Ok(Settings {
            crypto: crypto.ok_or_else(|| CommandError::Internal("no DTLS certificate".into()))?,
            candidates: &self.config.candidates,
            tcp_candidates: &self.config.tcp_candidates,
            reflexive: &self.config.reflexive,
            sdp_bytes: self.config.limits.sdp_bytes,
            sdp_sections: self.config.limits.sdp_sections,
            epoch: self.epoch,
        })
    }

    fn offer(
        &mut self,
        now: Instant,
        (room, participant): (RoomId, ParticipantId),
        role: TransportRole,
        offer: &str,
        out: &mut Outbox,
    ) -> Result<Reply, CommandError> {
        let (room_key, key) = self.find(room, participant)?;
        let credentials = self.random.ice_credentials(self.config.index);
        let state = self.rooms.get(room_key).ok_or(CommandError::NoSuchRoom)?;
        let Some(seat_key) = Self::role_of(state, key, role) else {
            let reason = "this transport was not offered in the join".to_owned();
            return Err(CommandError::Sdp { role, reason });
        };
        // Borrowed by field, as the seat is changed while the settings are read.
        let crypto = self.crypto.as_ref();
        let settings = Settings {
            crypto: crypto.ok_or_else(|| CommandError::Internal("no DTLS certificate".into()))?,
            candidates: &self.config.candidates,
            tcp_candidates: &self.config.tcp_candidates,
            reflexive: &self.config.reflexive,
            sdp_bytes: self.config.limits.sdp_bytes,
            sdp_sections: self.config.limits.sdp_sections,
            epoch: self.epoch,
        };
        let seat = self.seats.get_mut(seat_key).ok_or(CommandError::NoSuchParticipant)?;
        let answer = seat
            .transport
            .accept_again(offer, credentials, settings)
            .map_err(|error| sdp_error(role, error))?;
        self.demux.add(seat_key, seat.transport.ufrag(), seat.transport.earlier_ufrag());
        self.touched.push(seat_key);
        let mut io = io!(self, now, out);
        let state = self.rooms.get_mut(room_key).ok_or(CommandError::NoSuchRoom)?;
        let random = &mut self.random;
        state.renegotiated(&mut io, key, role, &mut || random.u32());
        let slots = match role {
            TransportRole::Receive => state.snapshot(key).slots,
            TransportRole::Send => Vec::new(),
        };
        Ok(Reply::Answer { sdp: answer, slots })
    }
}

/// What is about tracks that a participant has published.
fn act_on_tracks(
    room: &mut Room,
    io: &mut Io<'_>,
    key: usize,
    action: Action,
) -> Result<Reply, CommandError> {
    let find = |room: &Room, client_id: Arc<str>| {
        let track = room.track_by_client_id(key, &client_id);
        track.ok_or(CommandError::NoSuchTrack(client_id))
    };
    match action {
        Action::Unpublish { client_id, .. } => {
            let track = find(room, client_id)?;
            room.unpublish_key(io, track);
            Ok(Reply::Done)
        }
        Action::SetMuted { client_id, muted, .. } => {
            let track = find(room, client_id)?;
            room.set_muted(io, track, muted);
            Ok(Reply::Done)
        }
        Action::MuteSource { source, .. } => {
            Ok(Reply::Muted { tracks: room.mute_source(io, key, source) })
        }
        _ => Err(CommandError::Internal("not about tracks".into())),
    }
}

impl Room {
    fn set_reachable(&mut self, io: &mut Io<'_>, key: usize, reachable: bool) {
        let Some(participant) = self.change_reachable(key, reachable) else { return };
        self.announce(io, None, RoomChange::Reachable { participant, reachable });
    }
}

fn refused(index: usize, error: TrackError) -> CommandError {
    match error {
        TrackError::Invalid(reason) => CommandError::Track { index, reason },
        TrackError::NotAllowed(what) => CommandError::NotAllowed(what),
        TrackError::Limit => CommandError::Limit("tracks of one participant"),
    }
}

fn link_error(error: LinkError) -> CommandError {
    match error {
        LinkError::SameShard => CommandError::NotAllowed("linking rooms of one shard number"),
        LinkError::TooMany => CommandError::Limit("links of one room"),
    }
}

fn sdp_error(role: TransportRole, error: NegotiateError) -> CommandError {
    match error {
        NegotiateError::Offer(reason) => CommandError::Sdp { role, reason },
        NegotiateError::Internal(reason) => CommandError::Internal(reason),
    }
}
