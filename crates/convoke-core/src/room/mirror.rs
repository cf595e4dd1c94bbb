//! What comes over a link: the participants and tracks of another shard, mirrored here.
//!
//! Owns: keeping them as their own shard says.
//! Never: lets a shard speak for what is not its own; sends anything on over another link.

use std::sync::Arc;

use super::{Io, Participant, Room, Track, candidate};
use crate::api::{
    Ladder, LeaveReason, MediaKind, ParticipantView, RelayDrop, RelayMessage, RelayPacket,
    RoomChange, TrackView, Withheld,
};
use crate::clock::SamplingClock;
use crate::forward::rewrite::Incoming;
use crate::ids::{ParticipantId, RoomId, TrackId};

impl Room {
    /// Another shard says something.
    pub(crate) fn relayed(&mut self, io: &mut Io<'_>, from: RoomId, message: RelayMessage) {
        let Some(link) = self.link_to(from) else {
            let echo = from == self.id;
            let reason = if echo { RelayDrop::Echo } else { RelayDrop::NotLinked };
            return io.stats.count_relay_drop(reason);
        };
        match message {
            RelayMessage::Media { track, encoding, withheld, packet } => {
                let media = (track, usize::from(encoding));
                if let Err(reason) = self.mirror_media(io, link, media, &withheld, &packet) {
                    io.stats.count_relay_drop(reason);
                }
            }
            RelayMessage::Snapshot { participants, ladders, answer } => {
                self.mirror_all(io, link, participants, &ladders);
                if answer {
                    self.relay_snapshot(io, link, false);
                }
                self.repeat_wants(io, link);
            }
            RelayMessage::Change { change, ladder } => {
                if let Err(reason) = self.mirror_change(io, link, change, ladder.as_ref()) {
                    io.stats.count_relay_drop(reason);
                }
            }
            RelayMessage::Ladder(ladder) => match self.mirrored_track(link, ladder.track) {
                Ok(key) => self.follow_ladder(io, key, &ladder),
                Err(reason) => io.stats.count_relay_drop(reason),
            },
            RelayMessage::Want { track, layers, upstream } => {
                self.wanted_by(io, link, track, (layers, upstream));
            }
            RelayMessage::Keyframe { track, spatial, waiting } => {
                self.keyframe_wanted_by(io, track, spatial, waiting);
            }
            RelayMessage::Data { from, to, reliability, topic, payload } => {
                match self.mirrored(link, from) {
                    Ok(key) => {
                        let what = (topic, payload);
                        self.mirror_data(io, (key, from), to.as_deref(), reliability, what);
                    }
                    Err(reason) => io.stats.count_relay_drop(reason),
                }
            }
            RelayMessage::Bye { reason } => self.drop_link(io, link, reason),
        }
    }

    /// One packet of another shard's track, to this shard's subscriptions.
    fn mirror_media(
        &mut self,
        io: &mut Io<'_>,
        link: usize,
        (track, encoding): (TrackId, usize),
        withheld: &[Withheld],
        packet: &Arc<RelayPacket>,
    ) -> Result<(), RelayDrop> {
        let key = self.mirrored_track(link, track)?;
        let packet = &packet.0;
        let audio = packet.codec.is_audio();
        let track = self.tracks.get_mut(key).ok_or(RelayDrop::Unknown)?;
        if track.muted {
            return Err(RelayDrop::Muted);
        }
        let rid = track.encodings.get(encoding).map(|encoding| encoding.rid);
        let other = packet.rid.is_some() && rid.flatten().is_some() && rid != Some(packet.rid);
        if audio != (track.source.kind() == MediaKind::Audio) || other {
            return Err(RelayDrop::Unreadable);
        }
        io.stats.count_relay_in(audio, packet.payload.len());
        let heard = track.hear_encoding(io.now, encoding, packet).ok_or(RelayDrop::Unreadable)?;
        let admitted = self.admitted(io, key, packet, heard).ok_or(RelayDrop::Unreadable)?;
        if audio {
            self.hear(io, key, packet);
        } else if !withheld.is_empty() {
            let numbers = candidate(&admitted, packet).numbers;
            self.close_up(io, key, packet.ssrc, numbers, withheld);
        }
        self.fan_out(io, &admitted, packet);
        Ok(())
    }

    /// Packets did not cross because nobody here wants them: numbering closes up over them.
    fn close_up(
        &mut self,
        io: &mut Io<'_>,
        key: usize,
        ssrc: u32,
        numbers: Incoming,
        withheld: &[Withheld],
    ) {
        let Some(track) = self.tracks.get(key) else { return };
        for subscription in &track.subscriptions {
            let subscriber = self.participants.get_mut(subscription.participant);
            let slot = subscriber.and_then(|p| p.slots.get_mut(subscription.slot));
            let Some(slot) = slot else { continue };
            for run in withheld {
                for seq in (run.seq..).take(usize::from(run.count)) {
                    let numbers = Incoming { seq, time: run.time, ..numbers };
                    let of = (ssrc, run.layer);
                    if slot.forwarder.withheld(of, numbers, run.picture_id) {
                        // It came to be wanted while it was on its way.
                        if slot.assigned == Some(key) {
                            slot.settle(false);
                        }
                        self.changed.push(*subscription);
                    }
                }
            }
        }
        if !self.changed.is_empty() {
            self.after_switches(io, key);
        }
    }

    /// The key of a track that is mirrored from `link`.
    fn mirrored_track(&self, link: usize, id: TrackId) -> Result<usize, RelayDrop> {
        let known = self.track_keys.get(&id).and_then(|key| Some((*key, self.tracks.get(*key)?)));
        match known {
            Some((key, track)) if track.home == Some(link) => Ok(key),
            Some(_) => Err(RelayDrop::Echo),
            None if id.shard() == self.id.shard() => Err(RelayDrop::Echo),
            None => Err(RelayDrop::Unknown),
        }
    }

    /// The key of a participant that is mirrored from `link`.
    pub(super) fn mirrored(&self, link: usize, id: ParticipantId) -> Result<usize, RelayDrop> {
        let key = self.key_of(id).ok_or(RelayDrop::Unknown)?;
        let participant = self.participants.get(key).ok_or(RelayDrop::Unknown)?;
        if participant.home == Some(link) { Ok(key) } else { Err(RelayDrop::Echo) }
    }

    fn mirror_change(
        &mut self,
        io: &mut Io<'_>,
        link: usize,
        change: RoomChange,
        ladder: Option<&Ladder>,
    ) -> Result<(), RelayDrop> {
        match change {
            RoomChange::ParticipantJoined(view) => self.mirror_participant(io, link, view, &[]),
            RoomChange::ParticipantLeft { participant, reason } => {
                let key = self.mirrored(link, participant)?;
                self.remove(io, key, reason);
                Ok(())
            }
            RoomChange::Reachable { participant, reachable } => {
                let key = self.mirrored(link, participant)?;
                self.mirror_reachable(io, link, key, reachable);
                Ok(())
            }
            RoomChange::TrackPublished { participant, track } => {
                let key = self.mirrored(link, participant)?;
                self.mirror_track(io, link, key, &track, ladder)
            }
            RoomChange::TrackUnpublished { track, .. } => {
                let key = self.mirrored_track(link, track)?;
                self.unpublish_key(io, key);
                Ok(())
            }
            RoomChange::TrackUpdated { track, .. } => {
                let key = self.mirrored_track(link, track.track)?;
                self.set_muted(io, key, track.muted);
                Ok(())
            }
        }
    }

    /// Makes what is mirrored from a link what its shard says now.
    fn mirror_all(
        &mut self,
        io: &mut Io<'_>,
        link: usize,
        participants: Vec<ParticipantView>,
        ladders: &[Ladder],
    ) {
        let stays = |id: ParticipantId| participants.iter().any(|view| view.participant == id);
        let gone = self.participants.iter().filter(|(_, p)| p.home == Some(link) && !stays(p.id));
        let gone: Vec<usize> = gone.map(|(key, _)| key).collect();
        for key in gone {
            self.remove(io, key, LeaveReason::Left);
        }
        for view in participants {
            if let Err(reason) = self.mirror_participant(io, link, view, ladders) {
                io.stats.count_relay_drop(reason);
            }
        }
    }

    /// Makes one mirrored participant what its shard says, with all its tracks.
    fn mirror_participant(
        &mut self,
        io: &mut Io<'_>,
        link: usize,
        view: ParticipantView,
        ladders: &[Ladder],
    ) -> Result<(), RelayDrop> {
        let ParticipantView { participant, identity, display_name, reachable, tracks } = view;
        let key = match self.mirrored(link, participant) {
            Ok(key) => {
                self.mirror_reachable(io, link, key, reachable);
                key
            }
            Err(RelayDrop::Unknown) => {
                let mirrored = Participant {
                    identity,
                    display_name,
                    reachable,
                    ..Participant::mirrored(participant, link)
                };
                self.add(io, mirrored)
            }
            Err(reason) => return Err(reason),
        };
        let known = self.participants.get(key).map(|p| p.tracks.clone()).unwrap_or_default();
        for known in known {
            let id = self.tracks.get(known).map(|track| track.id);
            if !tracks.iter().any(|track| Some(track.track) == id) {
                self.unpublish_key(io, known);
            }
        }
        for track in &tracks {
            let ladder = ladders.iter().find(|ladder| ladder.track == track.track);
            self.mirror_track(io, link, key, track, ladder)?;
        }
        Ok(())
    }

    fn mirror_track(
        &mut self,
        io: &mut Io<'_>,
        link: usize,
        owner: usize,
        view: &TrackView,
        ladder: Option<&Ladder>,
    ) -> Result<(), RelayDrop> {
        match self.mirrored_track(link, view.track) {
            Ok(key) => {
                self.set_muted(io, key, view.muted);
                if let Some(ladder) = ladder {
                    self.follow_ladder(io, key, ladder);
                }
            }
            Err(RelayDrop::Unknown) => {
                let mut track = Track::new(owner, Some(link), view, Vec::new());
                track.follow(ladder.unwrap_or(&Ladder::default()));
                self.add_track(io, track);
            }
            Err(reason) => return Err(reason),
        }
        Ok(())
    }

    fn mirror_reachable(&mut self, io: &mut Io<'_>, link: usize, key: usize, reachable: bool) {
        if let Some(participant) = self.change_reachable(key, reachable) {
            self.announce(io, Some(link), RoomChange::Reachable { participant, reachable });
        }
    }

    fn follow_ladder(&mut self, io: &mut Io<'_>, key: usize, ladder: &Ladder) {
        let Some(track) = self.tracks.get_mut(key) else { return };
        let flowing =
            |track: &Track| -> Vec<bool> { track.rungs.iter().map(|r| r.flowing).collect() };
        let before = flowing(track);
        if track.follow(ladder) {
            track.want.forget();
            self.restart(io, key);
            self.lower_want(io, key);
        } else if flowing(track) != before {
            let subscribers = track.subscriptions.iter().map(|edge| edge.participant);
            for subscriber in subscribers.collect::<Vec<_>>() {
                self.allocate(io, subscriber);
            }
        }
    }
}

impl Participant {
    /// Someone of another shard: no transports, no slots.
    fn mirrored(id: ParticipantId, link: usize) -> Self {
        Self {
            id,
            home: Some(link),
            identity: "".into(),
            display_name: "".into(),
            permissions: crate::api::Permissions::ALL,
            reachable: true,
            send: None,
            receive: None,
            tracks: Vec::new(),
            by_line: Vec::new(),
            slots: Vec::new(),
            wishes: Vec::new(),
            clock: SamplingClock::default(),
            quality: super::Quality::default(),
            data: super::data::Data::default(),
        }
    }
}
