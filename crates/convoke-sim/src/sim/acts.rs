//! What participants do.
//!
//! Owns: the way from a step to commands, peers and the model.

use std::sync::Arc;

use convoke_core::{
    Action, CommandError, JoinRequest, LeaveReason, Mid, ParticipantId, Reply, RoomId, Show,
    SlotWish,
};
use convoke_protocol::{Source, TransportRole};

use super::{Home, Sim, What};
use crate::actor::{self, Fate, Live};
use crate::model::{ModelParticipant, ModelTrack};
use crate::playing;
use crate::scenario::{Act, Look, PublishSpec, Target};

impl Sim {
    pub(super) fn act(&mut self, who: usize, act: Act) {
        let present = self.actors[who].live.as_ref().is_some_and(|l| l.fate == Fate::In);
        match (act, present) {
            (Act::Join, false) => {
                let actor = &self.actors[who];
                if actor.live.is_none() && !actor.waits && !actor.removed {
                    self.join(who);
                }
            }
            (act @ (Act::Permit(_) | Act::Remove | Act::Knock | Act::Admit), _) => {
                self.moderate(who, &act);
            }
            (Act::Restore, _) => self.restore(who),
            (Act::Join, true) | (_, false) => {}
            (act, true) => self.act_present(who, act),
        }
    }

    fn act_present(&mut self, who: usize, act: Act) {
        match act {
            Act::Leave => self.leave(who),
            Act::Close => self.close(who),
            Act::Kill => self.kill(who),
            Act::Publish(spec) => self.publish(who, &spec),
            Act::Unpublish(source) => self.unpublish(who, source),
            Act::Mute(source, muted) => self.mute(who, source, muted),
            Act::Level(level) => {
                if let Some(live) = &mut self.actors[who].live {
                    live.set_level(level);
                }
            }
            Act::View(looks) => self.view(who, &looks),
            Act::Cut => {
                let actor = &mut self.actors[who];
                actor.was_cut = true;
                actor.up.set_up(false);
                actor.down.set_up(false);
            }
            Act::RestartIce { new_address } => {
                for role in [TransportRole::Send, TransportRole::Receive] {
                    self.restart_ice(who, role, new_address);
                }
            }
            Act::Reachable(reachable) => self.reachable(who, reachable),
            Act::CloseRoom => self.close_room(who),
            Act::DownRate(rate) => self.actors[who].down.set_rate(self.now, rate),
            Act::UpRate(rate) => self.actors[who].up.set_rate(self.now, rate),
            Act::Join | Act::Restore => {}
            Act::Permit(_) | Act::Remove | Act::Knock | Act::Admit => {}
        }
    }

    /// The id of a present actor, its room, and itself.
    pub(super) fn present(&mut self, who: usize) -> Option<(ParticipantId, RoomId, &mut Live)> {
        let live = self.actors[who].live.as_mut()?;
        Some((live.id, live.room, live))
    }

    fn signalling_delay(&self, who: usize) -> std::time::Duration {
        let spec = &self.actors[who].spec;
        spec.uplink.delay + spec.downlink.delay
    }

    pub(super) fn join(&mut self, who: usize) {
        let room = self.open_shard(who);
        self.next_participant += 1;
        // Any number but 0 will do; these look like what a control plane gives.
        let id = ParticipantId(self.next_participant << 16 | 0x2a);
        let local = self.actors[who].addresses(who);
        let permissions = self.actors[who].permissions;
        let (actor, seed) = (&mut self.actors[who], self.random.u64(..));
        let (peer, offers) = match actor.peer(local, seed, self.now) {
            Ok(made) => made,
            Err(error) => return self.broken(format!("actor {who} could not offer: {error}")),
        };
        let published: Vec<(PublishSpec, String)> = actor
            .spec
            .publish
            .clone()
            .into_iter()
            .filter(|spec| permissions.may_publish(playing::core_source(spec.source)))
            .map(|spec| {
                let client_id = actor.client_id(spec.source);
                (spec, client_id)
            })
            .collect();
        let tracks = published
            .iter()
            .filter_map(|(spec, id)| playing::declaration(spec, id, &offers.send_mids))
            .collect();
        let request = JoinRequest {
            participant: id,
            identity: format!("user-{who}").into(),
            display_name: format!("User {who}").into(),
            permissions,
            send_offer: offers.send.clone(),
            receive_offer: offers.receive.clone(),
            tracks,
        };
        // In the room before the first event about it.
        let (reachable, receives) = (true, permissions.receive);
        let (tracks, wishes) = (Vec::new(), Vec::new());
        let participant = ModelParticipant { id, reachable, receives, tracks, wishes };
        self.model(room).participants.push(participant);
        let reply = self.command(room, Action::Join(request));
        let Ok(Reply::Joined { send_answer, receive_answer, snapshot }) = reply else {
            return self.broken(format!("actor {who} was refused: {reply:?}"));
        };
        let mut live = Live::new(id, room, (peer, offers, local), snapshot, self.start, self.now);
        for (spec, client_id) in published {
            let track = live
                .known
                .participants
                .iter()
                .find(|p| p.participant == id)
                .and_then(|p| p.tracks.iter().find(|t| *t.client_id == *client_id))
                .map(|t| t.track);
            match track {
                Some(track) => self.model_track(room, id, track, &client_id, &spec),
                None => self.broken(format!("{client_id} was declared but is not in the snapshot")),
            }
            let seed = self.random.u64(..);
            let playing = playing::playing(&spec, client_id, id, self.start, self.now, seed);
            live.playing.push(playing);
        }
        for (address, role) in local.iter().zip([TransportRole::Send, TransportRole::Receive]) {
            let home = Home { actor: who, role, first: *address };
            self.addresses.insert(*address, home);
        }
        let at = self.now + self.signalling_delay(who);
        let actor = &mut self.actors[who];
        actor.live = Some(live);
        let (actor, generation) = (who, actor.generation);
        let (send, receive) = (send_answer, receive_answer);
        self.push(at, What::Answers { actor, generation, send, receive });
    }

    fn model_track(
        &mut self,
        room: RoomId,
        participant: ParticipantId,
        id: convoke_core::TrackId,
        client_id: &str,
        spec: &PublishSpec,
    ) {
        let (source, muted) = (playing::core_source(spec.source), spec.muted);
        let model = self.model(room);
        if let Some(participant) = model.participant(participant) {
            let client_id = client_id.to_owned();
            participant.tracks.push(ModelTrack { id, client_id, source, muted });
        }
    }

    pub(super) fn answers(
        &mut self,
        who: usize,
        generation: u32,
        send: Option<&str>,
        receive: Option<&str>,
    ) {
        let actor = &mut self.actors[who];
        if actor.generation != generation {
            return;
        }
        let Some(live) = &mut actor.live else { return };
        if let Err(error) = live.peer.accept_answers(self.now, send, receive) {
            self.broken(format!("actor {who} cannot use its answers: {error}"));
        }
    }

    pub(super) fn answer(&mut self, who: usize, generation: u32, role: TransportRole, sdp: &str) {
        let actor = &mut self.actors[who];
        if actor.generation != generation {
            return;
        }
        let Some(live) = &mut actor.live else { return };
        live.restarting[actor::role_index(role)] = false;
        if let Err(error) = live.peer.accept_answer(self.now, role, sdp) {
            self.broken(format!("actor {who} cannot use its answer: {error}"));
        }
    }

    pub(super) fn leave(&mut self, who: usize) {
        let Some((participant, room, _)) = self.present(who) else { return };
        self.model(room).remove(participant);
        self.end_of(who);
        let reason = LeaveReason::Left;
        let reply = self.command(room, Action::Leave { participant, reason });
        self.must_be_done(&reply);
    }

    pub(super) fn must_be_done(&mut self, reply: &Result<Reply, CommandError>) {
        if !matches!(reply, Ok(Reply::Done)) {
            self.broken(format!("refused: {reply:?}"));
        }
    }

    /// Says goodbye on the transports only.
    fn close(&mut self, who: usize) {
        let now = self.now;
        let Some((_, _, live)) = self.present(who) else { return };
        live.peer.close(now);
        self.client_transmits(who);
        self.dying(who);
    }

    fn kill(&mut self, who: usize) {
        self.dying(who);
    }

    fn dying(&mut self, who: usize) {
        let since = self.now;
        if let Some(live) = &mut self.actors[who].live {
            live.fate = Fate::Dying { since };
        }
    }

    fn publish(&mut self, who: usize, spec: &PublishSpec) {
        // A line that was offered with simulcast encodings carries only those.
        let offered = self.actors[who].spec.publish.iter();
        let simulcast = |p: &&PublishSpec| {
            p.source == spec.source && p.layers.as_ref().is_some_and(|l| !l.rids().is_empty())
        };
        let spec = &offered.clone().find(simulcast).unwrap_or(spec).clone();
        let client_id = self.actors[who].client_id(spec.source);
        let allowed = self.actors[who].permissions.may_publish(playing::core_source(spec.source));
        let Some((participant, room, live)) = self.present(who) else { return };
        let taken = live.playing.iter().any(|p| p.spec.source == spec.source && !p.ghost);
        let Some(track) = playing::declaration(spec, &client_id, &live.offers.send_mids) else {
            return;
        };
        let reply = self.command(room, Action::Publish { participant, track });
        match (reply, taken) {
            (Ok(Reply::Published(track)), false) => {
                self.model_track(room, participant, track, &client_id, spec);
                let (seed, start, now) = (self.random.u64(..), self.start, self.now);
                if !allowed {
                    self.broken(format!("{client_id} was published, but may not be"));
                }
                if let Some((_, _, live)) = self.present(who) {
                    live.playing.retain(|p| p.spec.source != spec.source);
                    let playing = playing::playing(spec, client_id, participant, start, now, seed);
                    live.playing.push(playing);
                }
            }
            (Err(CommandError::Track { .. }), true) => {}
            (Err(CommandError::NotAllowed(_)), _) if !allowed => {}
            (reply, _) => self.broken(format!("publishing {client_id}: {reply:?}")),
        }
    }

    fn unpublish(&mut self, who: usize, source: Source) {
        let Some((participant, room, live)) = self.present(who) else { return };
        let Some(at) = live.playing.iter().position(|p| p.spec.source == source) else { return };
        let playing = live.playing.remove(at);
        if playing.ghost {
            return;
        }
        let client_id: Arc<str> = playing.client_id.as_str().into();
        let model = self.model(room);
        if let Some(participant) = model.participant(participant) {
            participant.tracks.retain(|t| t.client_id != playing.client_id);
        }
        let reply = self.command(room, Action::Unpublish { participant, client_id });
        self.must_be_done(&reply);
    }

    fn mute(&mut self, who: usize, source: Source, muted: bool) {
        let now = self.now;
        let Some((participant, room, live)) = self.present(who) else { return };
        let playing = live.playing.iter().find(|p| p.spec.source == source && !p.ghost);
        let Some(client_id) = playing.map(|p| p.client_id.clone()) else { return };
        live.set_paused(now, source, muted);
        let model = self.model(room);
        let tracks = model.participant(participant).map(|p| &mut p.tracks);
        for track in tracks.into_iter().flatten().filter(|t| t.client_id == client_id) {
            track.muted = muted;
        }
        let client_id = client_id.into();
        let reply = self.command(room, Action::SetMuted { participant, client_id, muted });
        self.must_be_done(&reply);
    }

    /// What a look is in the core's words; `None` if there is no such slot or track now.
    fn wish(&mut self, who: usize, look: Look) -> Option<SlotWish> {
        let show = match look.at {
            Target::ActiveSpeaker => Show::ActiveSpeaker,
            Target::ScreenShare => Show::ScreenShare,
            Target::Participant(of) => Show::Participant(self.actors[of].live.as_ref()?.id),
            Target::Track(owner, source) => {
                let room = self.room_of(who);
                let owner = self.actors[owner].live.as_ref()?.id;
                let model = self.model(room);
                let tracks = &model.participant(owner)?.tracks;
                let source = playing::core_source(source);
                Show::Track(tracks.iter().find(|t| t.source == source)?.id)
            }
        };
        let live = self.actors[who].live.as_ref()?;
        let mid = Mid::new(live.offers.video_mids.get(look.slot)?)?;
        Some(SlotWish {
            mid,
            show,
            width: look.size.map(|(width, _)| width),
            height: look.size.map(|(_, height)| height),
            max_frame_rate: look.frame_rate,
            priority: look.priority,
        })
    }

    fn view(&mut self, who: usize, looks: &[Look]) {
        let mut wishes: Vec<SlotWish> = Vec::new();
        for look in looks {
            let own = matches!(look.at, Target::Track(owner, _) if owner == who);
            if let Some(wish) = self.wish(who, *look).filter(|_| !own)
                && wishes.iter().all(|other| other.mid != wish.mid)
            {
                wishes.push(wish);
            }
        }
        let Some((participant, room, _)) = self.present(who) else { return };
        let model = self.model(room);
        if let Some(participant) = model.participant(participant) {
            participant.wishes.clone_from(&wishes);
        }
        let reply = self.command(room, Action::SetView { participant, wishes });
        self.must_be_done(&reply);
    }

    fn restore(&mut self, who: usize) {
        let actor = &mut self.actors[who];
        actor.up.set_up(true);
        actor.down.set_up(true);
        let Some(live) = actor.live.as_ref().filter(|l| l.fate == Fate::In) else { return };
        let lost = live.disconnected;
        for role in [TransportRole::Send, TransportRole::Receive] {
            if lost[actor::role_index(role)] {
                self.restart_ice(who, role, false);
            }
        }
    }

    fn restart_ice(&mut self, who: usize, role: TransportRole, new_address: bool) {
        let fresh = new_address.then(|| self.actors[who].addresses(who)[actor::role_index(role)]);
        let Some((participant, room, live)) = self.present(who) else { return };
        let first = live.local[actor::role_index(role)];
        // Before the answers to the join have come there is nothing to restart.
        let restarting = &mut live.restarting[actor::role_index(role)];
        if !live.peer.has(role) || !live.peer.answered(role) || *restarting {
            return;
        }
        *restarting = true;
        let sdp = match live.peer.restart_ice(role, fresh) {
            Ok(sdp) => sdp,
            Err(error) => return self.broken(format!("actor {who} cannot restart ICE: {error}")),
        };
        if let Some(address) = fresh {
            self.addresses.insert(address, Home { actor: who, role, first });
        }
        let core_role = match role {
            TransportRole::Send => convoke_core::TransportRole::Send,
            TransportRole::Receive => convoke_core::TransportRole::Receive,
        };
        match self.command(room, Action::Offer { participant, role: core_role, sdp }) {
            Ok(Reply::Answer { sdp, .. }) => {
                let at = self.now + self.signalling_delay(who);
                let (actor, generation) = (who, self.actors[who].generation);
                self.push(at, What::Answer { actor, generation, role, sdp });
            }
            reply => self.broken(format!("ICE restart of actor {who}: {reply:?}")),
        }
    }

    fn reachable(&mut self, who: usize, reachable: bool) {
        let Some((participant, room, _)) = self.present(who) else { return };
        let model = self.model(room);
        if let Some(participant) = model.participant(participant) {
            participant.reachable = reachable;
        }
        let reply = self.command(room, Action::SetReachable { participant, reachable });
        self.must_be_done(&reply);
    }

    fn close_room(&mut self, who: usize) {
        let call = self.room_of(who).with_shard(0);
        let mut rooms = Vec::new();
        for index in 0..self.actors.len() {
            let live = self.actors[index].live.as_ref();
            let here = live.map(|live| live.room).filter(|room| room.with_shard(0) == call);
            if let Some(room) = here
                && let Some(live) = self.end_of(index)
            {
                self.model(room).remove(live.id);
                rooms.push(room);
            }
        }
        rooms.sort_unstable();
        rooms.dedup();
        for room in rooms {
            let reply = self.command(room, Action::CloseRoom { reason: LeaveReason::RoomClosed });
            self.must_be_done(&reply);
        }
    }

    /// The end: those who can leave do, those who are dying are waited for, and nothing is left.
    pub(super) fn everyone_leaves(&mut self) {
        let mut dying_until = None;
        for who in 0..self.actors.len() {
            match self.actors[who].live.as_ref().map(|l| l.fate) {
                Some(Fate::In) => self.leave(who),
                Some(Fate::Dying { since }) => {
                    dying_until = dying_until.max(Some(since + self.scenario.media_timeout * 2));
                }
                None => {}
            }
        }
        if let Some(end) = dying_until {
            self.run_until(end.max(self.now));
            for who in 0..self.actors.len() {
                if self.actors[who].live.is_some() {
                    self.broken(format!("actor {who} died, but the server keeps it"));
                }
            }
        }
        self.run_until(self.now + std::time::Duration::from_millis(100));
        self.check_nothing_left();
    }
}
