//! Coming into a call: `join` and `resume`.
//!
//! Owns: the order of checks, and that a refusal leaves nothing behind.
//! Never: touches the socket.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use convoke_node::core::{
    Action, CommandError, JoinRequest, Permissions, Reply, Snapshot, TrackDeclaration,
};
use convoke_node::{HandleError, Joined};
use convoke_protocol::{
    self as wire, ErrorCode, GroupIdError, Join, Resume, ServerMessage, SessionDescription, encode,
};

use crate::agent::{Agent, Known};
use crate::calls::{EnterError, Locator};
use crate::config::millis;
use crate::convert;
use crate::ids::{ResumeHash, ResumeToken};
use crate::metrics::count;
use crate::refusal::Refusal;
use crate::requests::{Answered, unexpected};
use crate::scheduled::{Admission, permissions};
use crate::session::Session;
use crate::token::{TokenError, check_name};

/// How often a join is tried whose call ends under its hands, or whose random id is taken.
const JOIN_TRIES: u32 = 4;

/// A join whose every part was found good.
struct Wanted {
    locator: Locator,
    may_start: bool,
    /// In a scheduled room.
    admission: Option<Admission>,
    send: Option<String>,
    receive: Option<String>,
    tracks: Vec<TrackDeclaration>,
}

/// What to try next when a call ended during the join.
enum Admitted {
    Yes,
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
        let mut wanted = self.check_join(join)?;
        if let Locator::Room(room) = &wanted.locator {
            let identity = self.fresh()?.token.identity.as_str();
            wanted.admission = Some(self.inner.admission(room, identity).await?);
        }
        for _ in 0..JOIN_TRIES {
            let session = match self.enter(&wanted) {
                Ok(session) => session,
                Err(EnterError::IdTaken) => continue,
                Err(EnterError::NotRunning) => return Err(not_running()),
                Err(EnterError::TooManyCalls) => return Err(self.full()),
            };
            if let Admitted::Yes = self.admit(&session, &wanted, request_id).await? {
                self.session = Some(Arc::clone(&session));
                if let Some(admission) = &wanted.admission {
                    self.inner.recheck(&session, admission).await;
                }
                return Ok(());
            }
        }
        Err(convert::busy(self.inner.config.times.retry_after))
    }

    fn check_join(&mut self, join: Join) -> Result<Wanted, Refusal> {
        if self.inner.is_draining() {
            let text = "the server takes no new joins because it will stop; join elsewhere";
            let refusal = Refusal::new(ErrorCode::Draining, text);
            return Err(refusal.retry_after(self.inner.config.times.retry_after));
        }
        self.check_free()?;
        let token = &self.fresh()?.token;
        let locator = read_locator(&join.group_id, join.room_id)?;
        if token.group_id.is_some_and(|only| Locator::Group(only) != locator) {
            let text = "the token is for another group ID; get one for this";
            return Err(Refusal::new(ErrorCode::TokenWrongCall, text).field("groupId"));
        }
        if !token.may_join() {
            let text = "the token's `scp` has neither `voip` nor `voip.join`";
            return Err(Refusal::new(ErrorCode::ScopeMissing, text).field("token"));
        }
        let may_start = token.may_start();
        let send = self.check_offer(join.send, "send.sdp")?;
        let receive = self.check_offer(join.receive, "receive.sdp")?;
        if send.is_none() && receive.is_none() {
            let text = "give at least one of the offers `send` and `receive`";
            return Err(Refusal::new(ErrorCode::SdpInvalid, text).field("send"));
        }
        let most = self.inner.config.limits.tracks;
        if join.tracks.len() > most {
            let text = format!("at most {most} tracks can be published");
            return Err(Refusal::new(ErrorCode::LimitExceeded, text).field("tracks"));
        }
        let read = |(at, track)| convert::read_declaration(track, &format!("tracks[{at}]"));
        let tracks = join.tracks.into_iter().enumerate().map(read).collect::<Result<_, _>>()?;
        Ok(Wanted { locator, may_start, admission: None, send, receive, tracks })
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
    fn fresh(&self) -> Result<&Known, Refusal> {
        let Some(known) = &self.known else { return Err(unexpected()) };
        let leeway = self.inner.config.keys.rules().leeway;
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
        if !has_audio(&sdp) {
            let text = "the offer has no audio m-line; add one, it costs nothing while unused";
            return Err(Refusal::new(ErrorCode::SdpWithoutAudio, text).field(field));
        }
        Ok(Some(sdp))
    }

    /// Registers before the core is asked, so that no change is missed.
    fn enter(&self, wanted: &Wanted) -> Result<Arc<Session>, EnterError> {
        let inner = &self.inner;
        let identity = self.known.as_ref().map(|known| known.token.identity.as_str());
        let identity: Arc<str> = identity.unwrap_or_default().into();
        let participant = inner.handle.new_participant();
        let (outlet, held) = (self.outlet.clone(), inner.config.limits.queue_messages);
        let mut started = false;
        let new_room = || {
            started = true;
            inner.handle.new_room()
        };
        let locator = wanted.locator.clone();
        let session = inner.calls.enter(locator, wanted.may_start, new_room, |call| {
            Session::new(Arc::clone(call), participant, identity, outlet, held)
        })?;
        if let Some(admission) = &wanted.admission {
            session.call().set_times(admission.times);
            session.swap_role(admission.role);
        }
        if started {
            count(&inner.counters.calls_started);
            tracing::info!(call = session.call().wire_id(), "call begins");
        }
        Ok(session)
    }

    async fn admit(
        &self,
        session: &Arc<Session>,
        wanted: &Wanted,
        request_id: Option<u32>,
    ) -> Result<Admitted, Refusal> {
        let inner = &self.inner;
        let display_name = self.known.as_ref().map(|known| Arc::clone(&known.display_name));
        let request = JoinRequest {
            participant: session.participant(),
            identity: Arc::clone(session.identity()),
            display_name: display_name.unwrap_or_default(),
            permissions: wanted.admission.map_or(Permissions::ALL, |a| permissions(a.role)),
            send_offer: wanted.send.clone(),
            receive_offer: wanted.receive.clone(),
            tracks: wanted.tracks.clone(),
        };
        // A join whose caller stops waiting is undone by the node.
        let place = inner.handle.place(session.call().room(), session.participant());
        session.place_in(place.room());
        let join = place.join(request);
        let joined = match tokio::time::timeout(inner.config.times.command, join).await {
            Ok(Ok(joined)) => joined,
            Ok(Err(error)) => {
                self.give_up(session);
                return match error {
                    HandleError::Moved | HandleError::Refused(CommandError::ParticipantExists) => {
                        Ok(Admitted::TryAgain)
                    }
                    error => Err(self.refuse(&error)),
                };
            }
            Err(_) => {
                self.give_up(session);
                return Err(convert::busy(inner.config.times.retry_after));
            }
        };
        if self.fresh().is_err() {
            // Revoked during the join; whoever revoked it may not have found this session yet.
            inner.remove_for(session, wire::EndReason::token_revoked()).await;
            return Err(TokenError::Revoked.into());
        }
        if session.call().is_over() {
            // The call was ended for all during the join: whoever comes now is in a fresh one.
            inner.remove(session, convoke_node::core::LeaveReason::Failed).await;
            return Ok(Admitted::TryAgain);
        }
        self.welcome_in(session, joined, request_id)
    }

    fn welcome_in(
        &self,
        session: &Arc<Session>,
        joined: Joined,
        request_id: Option<u32>,
    ) -> Result<Admitted, Refusal> {
        let inner = &self.inner;
        let token = ResumeToken::random();
        let hash = token.hash();
        let version = joined.snapshot.version;
        let text = encode(&joined_message(
            session,
            joined,
            token,
            millis(inner.config.times.grace),
            request_id,
        ));
        inner.resumable.insert(hash, Arc::clone(session));
        let Ok(delivered) = session.joined(version, text.into(), hash) else {
            inner.resumable.remove(&hash);
            inner.calls.leave(session);
            return Err(convert::busy(inner.config.times.retry_after));
        };
        let (call, participant) = (session.call().wire_id(), session.wire_id());
        tracing::info!(call, participant, "joined");
        inner.recorder.joined(session);
        self.refresh_if(delivered.stale, session);
        Ok(Admitted::Yes)
    }

    fn give_up(&self, session: &Arc<Session>) {
        let nobody_hears_this = wire::EndReason::server_failed();
        session.finish(nobody_hears_this);
        if self.inner.calls.leave(session) {
            self.inner.recorder.ended(session.call());
        }
    }

    fn full(&self) -> Refusal {
        let text = "the server has as many calls as it may have";
        Refusal::new(ErrorCode::LimitExceeded, text)
            .retry_after(self.inner.config.times.retry_after)
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
        self.refresh_if(delivered.stale, &session);
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

    fn refresh_if(&self, stale: bool, session: &Arc<Session>) {
        if stale {
            let (inner, session) = (Arc::clone(&self.inner), Arc::clone(session));
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
