//! Coming into a call: `join` and `resume`.
//!
//! Owns: the order of checks, the way into the core, and that a refusal leaves nothing behind.
//! Never: touches the socket.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use convoke_node::core::{
    Action, CommandError, JoinRequest, LeaveReason, Permissions, Reply, Snapshot, Source,
    TrackDeclaration,
};
use convoke_node::{HandleError, Joined};
use convoke_protocol::{
    self as wire, ErrorCode, GroupIdError, InLobby, Join, LobbyPolicy, Resume, ServerMessage,
    SessionDescription, encode,
};

use crate::agent::{Agent, Known, Via};
use crate::calling::moving::Coming;
use crate::calls::{EnterError, Locator};
use crate::config::millis;
use crate::control::Inner;
use crate::convert;
use crate::ids::{ResumeHash, ResumeToken};
use crate::metrics::{Limited, count};
use crate::moderation::Bearer;
use crate::refusal::Refusal;
use crate::requests::{Answered, unexpected};
use crate::scheduled::Admission;
use crate::session::Session;
use crate::token::{AccessToken, TokenError, check_name};

/// How often a join is tried whose call ends under its hands, or whose random id is taken.
pub(crate) const JOIN_TRIES: u32 = 4;

/// A join whose every part was found good.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) locator: Locator,
    pub(crate) may_start: bool,
    /// In a scheduled room.
    pub(crate) admission: Option<Admission>,
    /// What let it in: it may be revoked meanwhile.
    pub(crate) token: AccessToken,
    /// Who waits, if this begins the call.
    pub(crate) lobby: LobbyPolicy,
    /// It was asked in: it does not wait.
    pub(crate) invited: bool,
    /// If this begins the call: it is between two people.
    pub(crate) two_party: bool,
    pub(crate) bearer: Bearer,
    pub(crate) media: Media,
    pub(crate) via: Via,
}

#[cfg(test)]
impl Wanted {
    /// Of someone called alice, with nothing to offer.
    pub(crate) fn test(locator: impl Into<Locator>, may_start: bool) -> Self {
        let (identity, display_name) = ("alice".into(), "".into());
        Self {
            locator: locator.into(),
            may_start,
            admission: None,
            token: AccessToken::test(),
            lobby: LobbyPolicy::Nobody,
            invited: false,
            two_party: false,
            bearer: Bearer { identity, display_name, role: None, guest: false, app: "".into() },
            media: Media::default(),
            via: Via::Agent,
        }
    }
}

/// What a join offers.
#[derive(Debug, Default)]
pub(crate) struct Media {
    send: Option<String>,
    receive: Option<String>,
    tracks: Vec<TrackDeclaration>,
}

/// A join that the core has carried out.
pub(crate) enum Admitted {
    Yes,
    /// The call ended meanwhile, or the place was taken.
    TryAgain,
}

impl Agent {
    pub(crate) async fn join(&mut self, join: Join) -> Answered {
        let began = Instant::now();
        let request_id = join.request_id;
        let result = self.try_join(join, request_id).await;
        self.inner.counters.join(outcome(&result), began.elapsed());
        result.map(|()| None)
    }

    async fn try_join(&mut self, join: Join, request_id: Option<u32>) -> Result<(), Refusal> {
        let seat = self.seat(&join);
        let mut wanted = self.check_join(join, seat.is_some())?;
        if let Locator::Room(room) = &wanted.locator {
            let admission = self.inner.admission(room, &wanted.bearer.identity).await?;
            wanted.bearer.role = Some(admission.role);
            wanted.admission = Some(admission);
        }
        // It is in that call until it is in the other.
        let left = self.session.clone().filter(|_| seat.is_some());
        let came = self.come_in(Arc::new(wanted), request_id).await;
        if let Some(seat) = seat {
            self.inner.seat_used(&seat, left, came.as_ref());
        }
        came
    }

    /// What is kept for it in the call that it wants to join, if it is moved there.
    fn seat(&self, join: &Join) -> Option<Coming> {
        let identity = &self.known.as_ref()?.token.identity;
        let group = join.group_id.parse().ok().filter(|_| join.room_id.is_none())?;
        let seat = self.inner.seat_for(identity, group)?;
        let free = self.session.as_ref().is_none_or(|one| one.is_ended());
        (free || self.session.as_ref().is_some_and(|one| seat.is_from(one))).then_some(seat)
    }

    /// Carries out a join that was found good, as far as the lobby.
    pub(crate) async fn come_in(
        &mut self,
        wanted: Arc<Wanted>,
        request_id: Option<u32>,
    ) -> Result<(), Refusal> {
        for _ in 0..JOIN_TRIES {
            let (session, waits) = match self.enter(&wanted, request_id) {
                Ok(entered) => entered,
                Err(EnterError::IdTaken) => continue,
                Err(EnterError::NotRunning) => return Err(not_running()),
                Err(EnterError::TooManyCalls) => return Err(self.full()),
                Err(EnterError::Removed) => return Err(removed()),
                Err(EnterError::LobbyFull) => {
                    let text = "as many wait in the lobby of this call as may; try again later";
                    let refusal = Refusal::new(ErrorCode::LimitExceeded, text);
                    return Err(refusal.retry_after(self.inner.config().times.retry_after));
                }
            };
            if waits {
                self.inner.watch_lobby(&session);
                self.session = Some(session);
                return Ok(());
            }
            match self.inner.enter_room(&session, &wanted, request_id).await {
                Ok(Admitted::Yes) => {
                    self.session = Some(session);
                    return Ok(());
                }
                Ok(Admitted::TryAgain) => self.inner.give_up(&session),
                Err(refusal) => {
                    self.inner.give_up(&session);
                    let gone = session.call().moderation().is_removed(session.identity());
                    return Err(if gone { removed() } else { refusal });
                }
            }
        }
        Err(convert::busy(self.inner.config().times.retry_after))
    }

    /// `moved`: there is a seat for it.
    fn check_join(&mut self, join: Join, moved: bool) -> Result<Wanted, Refusal> {
        if moved {
            self.check_open()?
        } else {
            self.check_may_join()?
        };
        let token = &self.fresh()?.token;
        let locator = read_locator(&join.group_id, join.room_id)?;
        if !moved && token.group_id.is_some_and(|only| Locator::Group(only) != locator) {
            let text = "the token is for another group ID; get one for this";
            return Err(Refusal::new(ErrorCode::TokenWrongCall, text).field("groupId"));
        }
        if !token.may_join() {
            let text = "the token's `scp` has neither `voip` nor `voip.join`";
            return Err(Refusal::new(ErrorCode::ScopeMissing, text).field("token"));
        }
        Ok(Wanted {
            locator,
            may_start: !moved && token.may_start(),
            admission: None,
            token: token.clone(),
            lobby: join.lobby.unwrap_or(self.inner.config().lobby),
            invited: moved,
            two_party: false,
            bearer: self.bearer()?,
            media: self.check_media(join.send, join.receive, join.tracks)?,
            via: self.via,
        })
    }

    /// Whether new joins are taken, and this agent is in no call.
    pub(crate) fn check_may_join(&mut self) -> Result<(), Refusal> {
        self.check_open()?;
        self.check_free()
    }

    /// Whether new joins are taken.
    fn check_open(&self) -> Result<(), Refusal> {
        if self.inner.is_draining() {
            let text = "the server takes no new joins because it will stop; join elsewhere";
            let refusal = Refusal::new(ErrorCode::Draining, text);
            return Err(refusal.retry_after(self.inner.config().times.retry_after));
        }
        self.check_rate()
    }

    /// Whether its identity may join so often.
    fn check_rate(&self) -> Result<(), Refusal> {
        let (inner, now) = (&self.inner, Instant::now());
        let most = inner.config().limits.joins_per_minute;
        let identity: Arc<str> = self.fresh()?.token.identity.as_str().into();
        if inner.joins.spend(Arc::clone(&identity), most, now) {
            return Ok(());
        }
        inner.counters.limited(Limited::Joins);
        let wait = inner.joins.must_wait(&identity, most, now).unwrap_or_default();
        let text = format!("an identity may join {most} times in a minute");
        Err(Refusal::new(ErrorCode::LimitExceeded, text).retry_after(wait))
    }

    /// Who joins, by its token.
    pub(crate) fn bearer(&self) -> Result<Bearer, Refusal> {
        let known = self.fresh()?;
        Ok(Bearer {
            identity: known.token.identity.as_str().into(),
            display_name: Arc::clone(&known.display_name),
            role: known.token.role,
            guest: known.token.guest,
            app: Arc::clone(&known.app),
        })
    }

    /// The offers and declarations of a join.
    pub(crate) fn check_media(
        &self,
        send: Option<SessionDescription>,
        receive: Option<SessionDescription>,
        tracks: Vec<wire::TrackDeclaration>,
    ) -> Result<Media, Refusal> {
        let send = self.check_offer(send, "send.sdp")?;
        let receive = self.check_offer(receive, "receive.sdp")?;
        if send.is_none() && receive.is_none() {
            let text = "give at least one of the offers `send` and `receive`";
            return Err(Refusal::new(ErrorCode::SdpInvalid, text).field("send"));
        }
        let most = self.inner.config().limits.tracks;
        if tracks.len() > most {
            let text = format!("at most {most} tracks can be published");
            return Err(Refusal::new(ErrorCode::LimitExceeded, text).field("tracks"));
        }
        let read = |(at, track)| convert::read_declaration(track, &format!("tracks[{at}]"));
        let tracks = tracks.into_iter().enumerate().map(read).collect::<Result<_, _>>()?;
        Ok(Media { send, receive, tracks })
    }

    /// Whether this agent is in no call.
    fn check_free(&mut self) -> Result<(), Refusal> {
        self.session.take_if(|session| session.is_ended());
        match &self.session {
            None => Ok(()),
            Some(session) => {
                let call = session.call().wire_id();
                let text = format!("this agent is in call {call} already; leave it first");
                Err(Refusal::new(ErrorCode::AlreadyJoined, text))
            }
        }
    }

    /// Who the client acts for, if its token has not expired.
    pub(crate) fn fresh(&self) -> Result<&Known, Refusal> {
        let Some(known) = &self.known else { return Err(unexpected()) };
        let leeway = self.inner.config().keys.rules().leeway;
        known.token.check_expiry(leeway, SystemTime::now())?;
        if self.inner.is_revoked(&known.token) {
            return Err(TokenError::Revoked.into());
        }
        Ok(known)
    }

    fn check_offer(
        &self,
        offer: Option<SessionDescription>,
        field: &str,
    ) -> Result<Option<String>, Refusal> {
        let Some(SessionDescription { sdp }) = offer else { return Ok(None) };
        self.check_sdp_size(&sdp, field)?;
        if !sdp.starts_with("v=") {
            let text = "this is no SDP: it must begin with `v=0`";
            return Err(Refusal::new(ErrorCode::SdpInvalid, text).field(field));
        }
        if self.via == Via::Agent && !has_audio(&sdp) {
            let text = "the offer has no audio m-line; add one, it costs nothing while unused";
            return Err(Refusal::new(ErrorCode::SdpWithoutAudio, text).field(field));
        }
        Ok(Some(sdp))
    }

    /// Registers before the core is asked, so that no change is missed. With whether it must wait
    /// in the lobby; that was told then, and all else will be from there.
    fn enter(
        &self,
        wanted: &Arc<Wanted>,
        request_id: Option<u32>,
    ) -> Result<(Arc<Session>, bool), EnterError> {
        let inner = &self.inner;
        let participant = inner.handle.new_participant();
        let (outlet, held) = (self.outlet.clone(), inner.config().limits.queue_messages);
        let (mut started, mut waits) = (false, false);
        let new_room = || {
            started = true;
            inner.handle.new_room()
        };
        let new_session = |call: &Arc<_>| {
            Session::new(Arc::clone(call), participant, wanted.bearer.clone(), outlet, held)
        };
        let timeout_ms = millis(inner.config().times.lobby);
        let in_lobby = |session: &Session| {
            waits = true;
            let (group_id, room_id) = names(session);
            ServerMessage::InLobby(InLobby {
                request_id,
                call_id: session.call().wire_id().to_owned(),
                group_id,
                room_id,
                participant_id: session.wire_id().to_owned(),
                timeout_ms,
            })
        };
        let session = inner.calls.enter(wanted, new_room, new_session, in_lobby)?;
        if let Some(admission) = &wanted.admission {
            session.call().set_times(admission.times);
        }
        if started {
            count(&inner.counters.calls_started);
            tracing::info!(call = session.call().wire_id(), "call begins");
        }
        Ok((session, waits))
    }

    fn full(&self) -> Refusal {
        let text = "the server has as many calls as it may have";
        Refusal::new(ErrorCode::LimitExceeded, text)
            .retry_after(self.inner.config().times.retry_after)
    }

    pub(crate) async fn resume(&mut self, resume: Resume) -> Answered {
        let result = self.try_resume(resume).await;
        self.inner.counters.resume(outcome(&result));
        result.map(|()| None)
    }

    async fn try_resume(&mut self, resume: Resume) -> Result<(), Refusal> {
        self.check_free()?;
        let identity = self.fresh()?.token.identity.clone();
        let inner = Arc::clone(&self.inner);
        let used = ResumeHash::of(&resume.resume_token);
        let session = inner.resumable.get(&used).map(|session| Arc::clone(&session));
        let session = session.filter(|session| **session.identity() == *identity);
        let session = session.ok_or_else(not_resumable)?;
        let token = ResumeToken::random();
        let fresh = token.hash();
        inner.resumable.insert(fresh, Arc::clone(&session));
        match session.attach(self.outlet.clone(), used, fresh) {
            Ok(void) => void.into_iter().for_each(|hash| drop(inner.resumable.remove(&hash))),
            Err(_) => {
                inner.resumable.remove(&fresh);
                return Err(not_resumable());
            }
        }
        self.session = Some(Arc::clone(&session));
        inner.sync_reachable(&session).await;
        let participant = session.participant();
        let snapshot = || Action::Snapshot { participant };
        let snapshot = match inner.insist(session.room(), snapshot).await {
            Ok(Reply::Snapshot(snapshot)) => snapshot,
            Ok(_) => return Err(self.forget(&session, unexpected())),
            Err(HandleError::Refused(_)) => {
                inner.end_session(&session, wire::EndReason::server_failed());
                return Err(self.forget(&session, not_resumable()));
            }
            Err(error) => return Err(self.forget(&session, self.refuse(&error))),
        };
        let version = snapshot.version;
        let text = encode(&resumed_message(&session, &snapshot, token, resume.request_id));
        let delivered = session.resumed(self.id, version, text.into());
        let delivered = delivered.map_err(|_| self.forget(&session, not_resumable()))?;
        let (call, participant) = (session.call().wire_id(), session.wire_id());
        tracing::info!(call, participant, "resumed");
        inner.tell_standing(&session, false);
        inner.refresh_if(delivered.stale, &session);
        Ok(())
    }

    /// A resume that failed halfway: the session is as if this WebSocket had been lost.
    fn forget(&mut self, session: &Arc<Session>, refusal: Refusal) -> Refusal {
        self.session = None;
        if let Some(turn) = session.detach(self.id) {
            self.inner.lost(Arc::clone(session), turn);
        }
        refusal
    }
}

impl Inner {
    /// Carries out in the core the join of a session that is in its call, and tells its client.
    /// Where that fails, the caller ends the session.
    pub(crate) async fn enter_room(
        self: &Arc<Self>,
        session: &Arc<Session>,
        wanted: &Wanted,
        request_id: Option<u32>,
    ) -> Result<Admitted, Refusal> {
        let span = session.join_span(wanted.via);
        let bearer = session.bearer();
        let permissions = session.call().moderation().permissions(bearer);
        check_purpose(wanted, permissions)?;
        let allowed = |track: &&TrackDeclaration| permissions.may_publish(track.source);
        let request = JoinRequest {
            participant: session.participant(),
            identity: Arc::clone(&bearer.identity),
            display_name: Arc::clone(&bearer.display_name),
            permissions,
            send_offer: wanted.media.send.clone(),
            receive_offer: wanted.media.receive.clone(),
            tracks: wanted.media.tracks.iter().filter(allowed).cloned().collect(),
        };
        let retry_after = self.config().times.retry_after;
        // A join whose caller stops waiting is undone by the node.
        let place = self.handle.place(session.call().room(), session.participant());
        session.place_in(place.room());
        let joined =
            match tokio::time::timeout(self.config().times.command, place.join(request)).await {
                Ok(Ok(joined)) => joined,
                Ok(Err(
                    HandleError::Moved | HandleError::Refused(CommandError::ParticipantExists),
                )) => return Ok(Admitted::TryAgain),
                Ok(Err(error)) => return Err(self.refuse(&error)),
                Err(_) => return Err(convert::busy(retry_after)),
            };
        *session.granted.lock().await = Some(permissions);
        if self.is_revoked(&wanted.token) {
            // During the join; whoever revoked it may not have found this session yet.
            self.take_out(session, LeaveReason::Removed).await;
            return Err(TokenError::Revoked.into());
        }
        if session.call().is_over() {
            // The call was ended for all during the join: whoever comes now is in a fresh one.
            self.take_out(session, LeaveReason::Failed).await;
            return Ok(Admitted::TryAgain);
        }
        if !self.welcome_in(session, joined, request_id) {
            // It was ended during the join.
            self.take_out(session, LeaveReason::Failed).await;
            return Err(convert::busy(retry_after));
        }
        // What changed during the join.
        if let Err(error) = self.sync_permissions(session).await {
            tracing::warn!(%error, "permissions not told");
        }
        if let Some(admission) = &wanted.admission {
            self.recheck(session, admission).await;
        }
        span.record("admitted", true);
        Ok(Admitted::Yes)
    }

    /// Whether the session is live now.
    fn welcome_in(
        self: &Arc<Self>,
        session: &Arc<Session>,
        joined: Joined,
        request_id: Option<u32>,
    ) -> bool {
        let token = ResumeToken::random();
        let hash = token.hash();
        let version = joined.snapshot.version;
        let grace = millis(self.config().times.grace);
        let text = encode(&joined_message(session, joined, token, grace, request_id));
        self.resumable.insert(hash, Arc::clone(session));
        let Ok(delivered) = session.joined(version, text.into(), hash) else {
            self.resumable.remove(&hash);
            return false;
        };
        let (call, participant) = (session.call().wire_id(), session.wire_id());
        tracing::info!(call, participant, "joined");
        self.recorder.joined(session);
        self.tell_standing(session, false);
        self.refresh_if(delivered.stale, session);
        true
    }

    /// Ends the session of a join that failed: its client is told by the answer.
    fn give_up(self: &Arc<Self>, session: &Arc<Session>) {
        session.finish(wire::EndReason::server_failed());
        if self.calls.leave(session) {
            self.call_over(session.call(), &wire::EndReason::call_ended());
        }
    }

    fn refresh_if(self: &Arc<Self>, stale: bool, session: &Arc<Session>) {
        if stale {
            let (inner, session) = (Arc::clone(self), Arc::clone(session));
            tokio::spawn(async move { inner.refresh(&session).await });
        }
    }
}

/// What is to be joined: exactly one of a group ID and a room.
fn read_locator(group_id: &str, room_id: Option<String>) -> Result<Locator, Refusal> {
    match room_id {
        Some(room) if group_id.is_empty() && check_name(&room).is_ok() && !room.is_empty() => {
            Ok(Locator::Room(room.into()))
        }
        Some(_) if group_id.is_empty() => {
            Err(Refusal::new(ErrorCode::RoomNotFound, "there is no such room").field("roomId"))
        }
        Some(_) => {
            let text = "give either `groupId` or `roomId`, not both";
            Err(Refusal::new(ErrorCode::GroupIdInvalid, text).field("groupId"))
        }
        None => group_id.parse().map(Locator::Group).map_err(|error: GroupIdError| {
            Refusal::new(ErrorCode::GroupIdInvalid, error.to_string()).field("groupId")
        }),
    }
}

/// Whoever comes by HTTP comes for one thing, and is not let in without it; an agent may be allowed
/// more later.
fn check_purpose(wanted: &Wanted, permissions: Permissions) -> Result<(), Refusal> {
    let text = match wanted.via {
        Via::Agent => return Ok(()),
        Via::Whip => {
            let mut tracks = wanted.media.tracks.iter().map(|track| track.source);
            match tracks.find(|source| !permissions.may_publish(*source)) {
                None => return Ok(()),
                Some(Source::Camera | Source::Screen) => "this participant may not publish video",
                Some(_) => "this participant may not publish audio",
            }
        }
        Via::Whep if permissions.receive => return Ok(()),
        Via::Whep => "this participant may not receive media",
    };
    Err(Refusal::new(ErrorCode::NotAllowed, text))
}

/// The group ID and the room, as clients are told.
fn names(session: &Session) -> (String, Option<String>) {
    match session.call().locator() {
        Locator::Group(group) => (group.to_string(), None),
        Locator::Room(room) => (String::new(), Some(room.to_string())),
    }
}

/// The result as it is counted.
fn outcome(result: &Result<(), Refusal>) -> Result<(), ErrorCode> {
    match result {
        Ok(()) => Ok(()),
        Err(refusal) => Err(refusal.code),
    }
}

/// Whether an SDP has an `m=audio` line.
fn has_audio(sdp: &str) -> bool {
    sdp.lines().any(|line| line.starts_with("m=audio "))
}

fn not_running() -> Refusal {
    let text = "no such call runs, and this token may not start one (`voip` may)";
    Refusal::new(ErrorCode::CallNotFound, text).field("groupId")
}

fn removed() -> Refusal {
    let text = "this identity was removed from the call, which still runs; do not join again";
    Refusal::new(ErrorCode::RemovedFromCall, text).field("groupId")
}

fn not_resumable() -> Refusal {
    let text = "the resume token is not good (any more); join anew";
    Refusal::new(ErrorCode::ResumeInvalid, text).field("resumeToken")
}

fn joined_message(
    session: &Session,
    joined: Joined,
    token: ResumeToken,
    grace: u32,
    request_id: Option<u32>,
) -> ServerMessage {
    let (group_id, room_id) = names(session);
    let description = |sdp: Option<String>| sdp.map(|sdp| SessionDescription { sdp });
    ServerMessage::Joined(wire::Joined {
        request_id,
        call_id: session.call().wire_id().to_owned(),
        group_id,
        room_id,
        role: session.role(),
        participant_id: session.wire_id().to_owned(),
        resume_token: token.expose(),
        resume_grace_ms: grace,
        send: description(joined.send_answer),
        receive: description(joined.receive_answer),
        version: joined.snapshot.version,
        participants: convert::participants(&joined.snapshot.participants),
        slots: convert::slots(&joined.snapshot.slots),
    })
}

fn resumed_message(
    session: &Session,
    snapshot: &Snapshot,
    token: ResumeToken,
    request_id: Option<u32>,
) -> ServerMessage {
    let (group_id, room_id) = names(session);
    ServerMessage::Resumed(wire::Resumed {
        request_id,
        call_id: session.call().wire_id().to_owned(),
        group_id,
        room_id,
        role: session.role(),
        participant_id: session.wire_id().to_owned(),
        resume_token: token.expose(),
        version: snapshot.version,
        participants: convert::participants(&snapshot.participants),
        slots: convert::slots(&snapshot.slots),
    })
}
