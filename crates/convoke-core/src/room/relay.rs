//! The other shards of a call: links to them, and what of this shard's own goes over them.
//!
//! Owns: the links, and the second kind of edge, from a track to a shard that wants it: one copy of a
//! packet for a shard, however many there receive it.
//! Never: sends on what came over a link ([`super::mirror`] takes that in), so that nothing goes in a
//! circle; rewrites packets, that is for the subscriber's shard.

use std::sync::Arc;

use super::{Admitted, Io, Room, Track};
use crate::api::{
    Ladder, LadderRung, Layer, LeaveReason, MediaKind, Relay, RelayDrop, RelayMessage, RelayPacket,
    RoomChange, WantedLayers, Withheld,
};
use crate::ids::{RoomId, TrackId};
use crate::layers::FrameInfo;
use crate::transport::MediaPacket;

/// Shards that one is linked to at most.
const LINKS_MAX: usize = 32;
/// Runs of withheld packets that are told of at most; what is older becomes a gap.
const WITHHELD_MAX: usize = 64;
/// A rate that is off by less than so many percent need not be told.
const RATE_STEP_PERCENT: u64 = 15;

/// Another shard of the call.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) peer: RoomId,
}

/// Why a link cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkError {
    /// Both ends have one number among the shards: it is the room itself, or no shard of its call.
    SameShard,
    /// There are as many as may be.
    TooMany,
}

/// The edge from a track to a shard.
#[derive(Debug)]
pub(super) struct Relaying {
    pub(super) link: usize,
    layers: WantedLayers,
    /// The best that the publisher should send for that shard's sake.
    pub(super) upstream: Option<Layer>,
    /// What did not cross since the last packet of its encoding that did.
    withheld: Vec<(usize, Withheld)>,
}

/// What becomes of a packet on the way to a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passage {
    /// It crosses.
    Cross,
    /// It is of a stream that crosses, but of a layer that nobody there wants.
    Withhold,
    /// Nothing of its stream crosses.
    Ignore,
}

impl Relaying {
    fn passage(&self, info: Option<&FrameInfo>) -> Passage {
        let Some(info) = info else {
            return if self.layers.is_nothing() { Passage::Ignore } else { Passage::Cross };
        };
        let simulcast = info.encoding.is_some();
        if self.layers.includes(info.layer, simulcast) {
            Passage::Cross
        } else if self.layers.includes_encoding_of(info.layer, simulcast) {
            Passage::Withhold
        } else {
            Passage::Ignore
        }
    }

    fn withhold(&mut self, encoding: usize, info: &FrameInfo) {
        let picture_id = info.picture_id.map(|id| id.value);
        let (seq, time, layer) = (info.seq, info.time, info.layer);
        if let Some((of, last)) = self.withheld.last_mut()
            && *of == encoding
            && (last.time, last.layer, last.picture_id) == (time, layer, picture_id)
            && last.seq + u64::from(last.count) == seq
            && last.count < u16::MAX
        {
            last.count += 1;
            return;
        }
        if self.withheld.len() >= WITHHELD_MAX {
            self.withheld.remove(0);
        }
        self.withheld.push((encoding, Withheld { seq, count: 1, time, picture_id, layer }));
    }

    fn take_withheld(&mut self, encoding: usize) -> Vec<Withheld> {
        if self.withheld.is_empty() {
            return Vec::new();
        }
        let of_it = |(of, run): &(usize, Withheld)| (*of == encoding).then_some(*run);
        let taken = self.withheld.iter().filter_map(of_it).collect();
        self.withheld.retain(|(of, _)| *of != encoding);
        taken
    }
}

impl Room {
    pub(super) fn link_to(&self, peer: RoomId) -> Option<usize> {
        self.links.iter().find(|(_, link)| link.peer == peer).map(|(key, _)| key)
    }

    pub(crate) fn is_linked_to(&self, peer: RoomId) -> bool {
        self.link_to(peer).is_some()
    }

    pub(super) fn link_keys(&self) -> impl Iterator<Item = usize> {
        self.links.iter().map(|(key, _)| key)
    }

    pub(crate) fn is_linked(&self) -> bool {
        !self.links.is_empty()
    }

    /// Whether a link to `peer` can be; see [`LinkError`].
    pub(crate) fn check_link(room: RoomId, peer: RoomId) -> Result<(), LinkError> {
        if room.shard() == peer.shard() { Err(LinkError::SameShard) } else { Ok(()) }
    }

    /// Links this shard to another, or tells one that it is linked to everything anew.
    pub(crate) fn link(&mut self, io: &mut Io<'_>, peer: RoomId) -> Result<(), LinkError> {
        Self::check_link(self.id, peer)?;
        let key = match self.link_to(peer) {
            Some(key) => key,
            None if self.links.len() >= LINKS_MAX => return Err(LinkError::TooMany),
            None => self.links.insert(Link { peer }),
        };
        self.relay_snapshot(io, key, true);
        Ok(())
    }

    /// Ends a link: whoever is mirrored from it leaves, and it is told of it.
    pub(crate) fn unlink(&mut self, io: &mut Io<'_>, peer: RoomId, reason: LeaveReason) {
        if let Some(key) = self.link_to(peer) {
            self.relay_to(io, key, RelayMessage::Bye { reason });
            self.drop_link(io, key, reason);
        }
    }

    /// This shard ends: the others are told.
    pub(crate) fn close_links(&mut self, io: &mut Io<'_>, reason: LeaveReason) {
        for link in self.links.drain() {
            let message = RelayMessage::Bye { reason };
            io.relays.push(Relay { to: link.peer, from: self.id, message });
        }
    }

    pub(super) fn drop_link(&mut self, io: &mut Io<'_>, key: usize, reason: LeaveReason) {
        if !self.links.contains(key) {
            return;
        }
        self.links.remove(key);
        let mirrored = self.participants.iter().filter(|(_, p)| p.home == Some(key));
        let mirrored: Vec<usize> = mirrored.map(|(participant, _)| participant).collect();
        for participant in mirrored {
            self.remove(io, participant, reason);
        }
        let wanted = |track: &Track| track.relaying.iter().any(|relaying| relaying.link == key);
        let affected: Vec<usize> =
            self.tracks.iter().filter(|(_, track)| wanted(track)).map(|(track, _)| track).collect();
        for track in affected {
            if let Some(track) = self.tracks.get_mut(track) {
                track.relaying.retain(|relaying| relaying.link != key);
            }
            self.update_demand(io, track);
        }
    }

    pub(super) fn relay_to(&self, io: &mut Io<'_>, link: usize, message: RelayMessage) {
        if let Some(link) = self.links.get(link) {
            io.relays.push(Relay { to: link.peer, from: self.id, message });
        }
    }

    fn relay_to_all(&self, io: &mut Io<'_>, message: &RelayMessage) {
        for (_, link) in &self.links {
            io.relays.push(Relay { to: link.peer, from: self.id, message: message.clone() });
        }
    }

    /// Tells another shard everything of this one.
    pub(super) fn relay_snapshot(&mut self, io: &mut Io<'_>, link: usize, answer: bool) {
        let locals = self.locals.iter();
        let participants = locals.filter_map(|key| self.participant_view(*key)).collect();
        let mut ladders = Vec::new();
        for (_, track) in self.tracks.iter_mut().filter(|(_, track)| track.home.is_none()) {
            track.ladder_told = track.ladder();
            ladders.push(track.ladder_told.clone());
        }
        self.relay_to(io, link, RelayMessage::Snapshot { participants, ladders, answer });
    }

    /// Tells the other shards of a change of this one's own.
    pub(super) fn relay_change(&mut self, io: &mut Io<'_>, change: &RoomChange) {
        if self.links.is_empty() {
            return;
        }
        let mut ladder = None;
        if let RoomChange::TrackPublished { track, .. } = change
            && let Some(key) = self.track_keys.get(&track.track)
            && let Some(track) = self.tracks.get_mut(*key)
        {
            track.ladder_told = track.ladder();
            ladder = Some(track.ladder_told.clone());
        }
        self.relay_to_all(io, &RelayMessage::Change { change: change.clone(), ladder });
    }

    /// Tells the other shards of a track's layers, if they would see a difference.
    pub(super) fn tell_ladder(&mut self, io: &mut Io<'_>, key: usize) {
        if self.links.is_empty() {
            return;
        }
        let Some(track) = self.tracks.get_mut(key).filter(|track| track.home.is_none()) else {
            return;
        };
        if track.source.kind() == MediaKind::Audio {
            return;
        }
        let ladder = track.ladder();
        if is_alike(&track.ladder_told, &ladder) {
            return;
        }
        track.ladder_told = ladder.clone();
        self.relay_to_all(io, &RelayMessage::Ladder(ladder));
    }

    pub(super) fn tell_ladders(&mut self, io: &mut Io<'_>) {
        if self.links.is_empty() {
            return;
        }
        for index in 0..self.ranks.video.len() {
            let Some(key) = self.ranks.video.get(index).copied() else { break };
            self.tell_ladder(io, key);
        }
    }

    /// The other fan-out: one packet of one track of this shard to the shards that want it.
    pub(super) fn relay_media(
        &mut self,
        io: &mut Io<'_>,
        admitted: &Admitted,
        packet: &MediaPacket,
    ) {
        let Some(track) = self.tracks.get_mut(admitted.key) else { return };
        let mut shared: Option<Arc<RelayPacket>> = None;
        for relaying in &mut track.relaying {
            let info = admitted.info.as_ref();
            match (relaying.passage(info), info) {
                (Passage::Ignore, _) => continue,
                (Passage::Withhold, Some(info)) => {
                    relaying.withhold(admitted.encoding, info);
                    continue;
                }
                _ => {}
            }
            let Some(link) = self.links.get(relaying.link) else { continue };
            let packet = shared.get_or_insert_with(|| Arc::new(RelayPacket(packet.clone())));
            let message = RelayMessage::Media {
                track: track.id,
                encoding: u8::try_from(admitted.encoding).unwrap_or(u8::MAX),
                withheld: relaying.take_withheld(admitted.encoding),
                packet: Arc::clone(packet),
            };
            io.relays.push(Relay { to: link.peer, from: self.id, message });
            io.stats.count_relay_out(packet.0.codec.is_audio(), packet.0.payload.len());
        }
    }

    /// Asks a mirrored track's shard for a keyframe.
    pub(super) fn relay_keyframe(
        &self,
        io: &mut Io<'_>,
        home: usize,
        track: TrackId,
        encoding: usize,
        waiting: bool,
    ) {
        let spatial = u8::try_from(encoding).unwrap_or(0);
        self.relay_to(io, home, RelayMessage::Keyframe { track, spatial, waiting });
    }

    /// Another shard wants so much of a track of this one, from now on.
    pub(super) fn wanted_by(
        &mut self,
        io: &mut Io<'_>,
        link: usize,
        track: TrackId,
        (layers, upstream): (WantedLayers, Option<Layer>),
    ) {
        let Some(key) = self.own_track(io, track) else { return };
        let Some(track) = self.tracks.get_mut(key) else { return };
        match track.relaying.iter_mut().find(|relaying| relaying.link == link) {
            Some(relaying) => (relaying.layers, relaying.upstream) = (layers, upstream),
            None => {
                track.relaying.push(Relaying { link, layers, upstream, withheld: Vec::new() });
            }
        }
        let wants = |r: &Relaying| !r.layers.is_nothing() || r.upstream.is_some();
        track.relaying.retain(wants);
        self.update_demand(io, key);
    }

    /// Someone on another shard needs a keyframe.
    pub(super) fn keyframe_wanted_by(
        &mut self,
        io: &mut Io<'_>,
        track: TrackId,
        spatial: u8,
        waiting: bool,
    ) {
        if let Some(key) = self.own_track(io, track) {
            self.request_keyframe(io, key, spatial, waiting);
        }
    }

    /// The key of a track that is published here.
    fn own_track(&self, io: &mut Io<'_>, id: TrackId) -> Option<usize> {
        let key = self.track_keys.get(&id).copied();
        match key.and_then(|key| self.tracks.get(key)).map(|track| track.home) {
            Some(None) => return key,
            Some(Some(_)) => io.stats.count_relay_drop(RelayDrop::Echo),
            None => io.stats.count_relay_drop(RelayDrop::Unknown),
        }
        None
    }
}

/// Whether nobody would decide otherwise by `new` than by `old`.
fn is_alike(old: &Ladder, new: &Ladder) -> bool {
    let same = |(old, new): (&LadderRung, &LadderRung)| {
        let apart = old.bitrate_bps.abs_diff(new.bitrate_bps) * 100;
        let rate = apart <= old.bitrate_bps.max(new.bitrate_bps) * RATE_STEP_PERCENT;
        let fps = old.fps.abs_diff(new.fps) <= new.fps.max(old.fps) / 8;
        let rest = LadderRung { bitrate_bps: old.bitrate_bps, fps: old.fps, ..*new };
        rate && fps && rest == *old
    };
    old.encodings == new.encodings
        && old.rungs.len() == new.rungs.len()
        && old.rungs.iter().zip(&new.rungs).all(same)
}
