//! Carrying out moderation: what clients ask for, and the same for the host.
//!
//! Owns: who may ask for what, the way to the core, and what everyone in the call is told of it.
//! Never: keeps state; `moderation` does. What a refusal leaves is as it was.

use std::sync::Arc;

use axum::extract::ws::Utf8Bytes;
use convoke_node::HandleError;
use convoke_node::core::{Action, LeaveReason, ParticipantId, Reply, Source};
use convoke_protocol::{
    Capabilities, CapabilitiesChanged, Capability, EndReason, ErrorCode, GroupId, LowerHands,
    MuteParticipants, MutedByOthers, RaiseHand, RaisedHandsChanged, RemoveParticipant, Role,
    RoleChanged, ServerMessage, SetRole, SpotlightChanged, StartSpotlight, StopSpotlight, encode,
};
use futures_util::{StreamExt as _, stream};

use crate::agent::Agent;
use crate::calls::Call;
use crate::control::{Control, Inner};
use crate::convert;
use crate::moderation::{Full, Moderation};
use crate::refusal::Refusal;
use crate::requests::{Answered, ack};
use crate::session::Session;

/// Participants that are muted at once.
const AT_ONCE: usize = 16;
/// Participants that one request may name.
const NAMED: usize = 255;

/// Why moderation was refused; nothing was changed unless it says so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModerationError {
    /// No such call runs.
    #[error("no call of this group ID runs")]
    NoSuchCall,
    /// The identity is not in the call, or not in its lobby.
    #[error("no such participant")]
    NoSuchParticipant,
    /// A bound was reached.
    #[error("limit reached: {0}")]
    Limit(&'static str),
    /// The worker did not take it; it may be done in part. Try again.
    #[error("the worker is busy; try again")]
    Busy,
}

impl From<Full> for ModerationError {
    fn from(full: Full) -> Self {
        Self::Limit(full.0)
    }
}

impl From<HandleError> for ModerationError {
    fn from(_: HandleError) -> Self {
        Self::Busy
    }
}

impl Control {
    /// Gives an identity a role in a call that runs, on all its devices and for as long as the call
    /// lives; `None` takes back what was given, so that the token's counts again. What it may no
    /// longer send is unpublished when this returns.
    ///
    /// # Errors
    /// See [`ModerationError`].
    pub async fn set_role(
        &self,
        group: GroupId,
        identity: &str,
        role: Option<Role>,
    ) -> Result<(), ModerationError> {
        let call = self.call(group)?;
        self.inner.give_role(&call, identity, role).await
    }

    /// Mutes the microphones of an identity, or of everyone. They may unmute. How many were not
    /// muted before.
    ///
    /// # Errors
    /// See [`ModerationError`].
    pub async fn mute(
        &self,
        group: GroupId,
        identity: Option<&str>,
    ) -> Result<usize, ModerationError> {
        let call = self.call(group)?;
        let mut sessions = call.sessions();
        if let Some(identity) = identity {
            sessions.retain(|session| &**session.identity() == identity);
            if sessions.is_empty() {
                return Err(ModerationError::NoSuchParticipant);
            }
        }
        Ok(self.inner.mute_all(sessions, None).await?)
    }

    /// Removes an identity from a call and its lobby, on all its devices; while the call lives it
    /// cannot come in again, also if it is not there now. See [`Control::readmit`].
    ///
    /// # Errors
    /// See [`ModerationError`].
    pub async fn remove(&self, group: GroupId, identity: &str) -> Result<(), ModerationError> {
        let call = self.call(group)?;
        self.inner.remove_identity(&call, &Arc::from(identity)).await.map_err(Into::into)
    }

    /// Lets an identity that was removed come in again.
    ///
    /// # Errors
    /// When it was not removed, or the call does not run.
    pub fn readmit(&self, group: GroupId, identity: &str) -> Result<(), ModerationError> {
        let readmitted = self.call(group)?.moderation().readmit(identity);
        if readmitted { Ok(()) } else { Err(ModerationError::NoSuchParticipant) }
    }

    /// Ends one call and tells everyone in it, and in its lobby, why.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn end_call(&self, group: GroupId, reason: EndReason) -> Result<(), ModerationError> {
        let calls = [self.call(group)?];
        self.inner.end_calls(&calls, &reason).await;
        Ok(())
    }

    pub(crate) fn call(&self, group: GroupId) -> Result<Arc<Call>, ModerationError> {
        self.inner.calls.by_locator(&group.into()).ok_or(ModerationError::NoSuchCall)
    }
}

/// Refuses what a participant may not do.
pub(crate) fn require(
    session: &Session,
    name: &str,
    which: impl Fn(&Capabilities) -> Capability,
) -> Result<(), Refusal> {
    let capability = which(&session.call().moderation().capabilities(session.bearer()));
    if capability.is_present {
        return Ok(());
    }
    let reason = capability.reason;
    let text = format!("this participant has not the capability `{name}` ({reason:?})");
    Err(Refusal::new(ErrorCode::NotAllowed, text))
}

impl Agent {
    pub(crate) async fn set_role(&mut self, message: SetRole) -> Answered {
        let session = self.in_call(&message.call_id)?;
        require(&session, "manageRoles", |able| able.manage_roles)?;
        let other = find(session.call(), &message.participant_id, "participantId")?;
        let (call, identity) = (session.call(), Arc::clone(other.identity()));
        let given = self.inner.give_role(call, &identity, Some(message.role)).await;
        given.map_err(|error| self.moderation_refusal(&error))?;
        ack(message.request_id)
    }

    pub(crate) async fn mute_participants(&mut self, message: MuteParticipants) -> Answered {
        let session = self.in_call(&message.call_id)?;
        require(&session, "muteOthers", |able| able.mute_others)?;
        let sessions = match &message.participant_ids {
            Some(ids) => find_all(session.call(), ids)?,
            None => {
                let mut others = session.call().sessions();
                others.retain(|other| other.participant() != session.participant());
                others
            }
        };
        let muted = self.inner.mute_all(sessions, Some(session.wire_id())).await;
        muted.map_err(|error| self.refuse(&error))?;
        ack(message.request_id)
    }

    pub(crate) async fn remove_participant(&mut self, message: RemoveParticipant) -> Answered {
        let session = self.in_call(&message.call_id)?;
        require(&session, "removeParticipant", |able| able.remove_participant)?;
        let other = find(session.call(), &message.participant_id, "participantId")?;
        if other.identity() == session.identity() {
            let text = "nobody can remove itself; use `leave`";
            return Err(Refusal::new(ErrorCode::NotAllowed, text).field("participantId"));
        }
        let removed = self.inner.remove_identity(session.call(), other.identity()).await;
        removed.map_err(limit)?;
        ack(message.request_id)
    }

    pub(crate) fn start_spotlight(&mut self, message: StartSpotlight) -> Answered {
        let session = self.in_call(&message.call_id)?;
        require(&session, "spotlightParticipant", |able| able.spotlight_participant)?;
        let call = session.call();
        let who = ids_of(&find_all(call, &message.participant_ids)?);
        let mut moderation = call.moderation();
        if moderation.start_spotlight(&who).map_err(limit)? {
            self.inner.tell_everyone(&moderation, call, &spotlight(&moderation, call));
        }
        ack(message.request_id)
    }

    pub(crate) fn stop_spotlight(&mut self, message: StopSpotlight) -> Answered {
        let session = self.in_call(&message.call_id)?;
        let call = session.call();
        let who = match &message.participant_ids {
            Some(ids) => Some(ids_of(&find_all(call, ids)?)),
            None => None,
        };
        if who.as_deref() != Some(&[session.participant()]) {
            let name = "removeParticipantsSpotlight";
            require(&session, name, |able| able.remove_participants_spotlight)?;
        }
        let mut moderation = call.moderation();
        if moderation.stop_spotlight(who.as_deref()) {
            self.inner.tell_everyone(&moderation, call, &spotlight(&moderation, call));
        }
        ack(message.request_id)
    }

    pub(crate) fn raise_hand(&mut self, message: RaiseHand) -> Answered {
        let session = self.in_call(&message.call_id)?;
        require(&session, "raiseHand", |able| able.raise_hand)?;
        let call = session.call();
        let mut moderation = call.moderation();
        if moderation.raise_hand(session.participant()).map_err(limit)? {
            self.inner.tell_everyone(&moderation, call, &hands(&moderation, call));
        }
        ack(message.request_id)
    }

    pub(crate) fn lower_hands(&mut self, message: LowerHands) -> Answered {
        let session = self.in_call(&message.call_id)?;
        let call = session.call();
        let who = match &message.participant_ids {
            Some(ids) => ids_of(&find_all(call, ids)?),
            None => vec![session.participant()],
        };
        if who != [session.participant()] {
            require(&session, "muteOthers", |able| able.mute_others)?;
        }
        let mut moderation = call.moderation();
        if moderation.lower_hands(&who) {
            self.inner.tell_everyone(&moderation, call, &hands(&moderation, call));
        }
        ack(message.request_id)
    }

    fn moderation_refusal(&self, error: &ModerationError) -> Refusal {
        match error {
            ModerationError::Limit(what) => limit(Full(what)),
            _ => convert::busy(self.inner.config().times.retry_after),
        }
    }
}

impl Inner {
    pub(crate) async fn give_role(
        self: &Arc<Self>,
        call: &Arc<Call>,
        identity: &str,
        role: Option<Role>,
    ) -> Result<(), ModerationError> {
        {
            let mut moderation = call.moderation();
            let sessions = call.sessions();
            let own = sessions.iter().filter(|session| &**session.identity() == identity);
            let before: Vec<_> = own.map(|one| (one, moderation.role(one.bearer()))).collect();
            moderation.set_role(identity, role)?;
            for (session, before) in before {
                if moderation.role(session.bearer()) != before {
                    self.tell(session, &role_message(&moderation, session));
                    self.tell_capabilities_to(&moderation, session);
                    self.tell_lobby_to(&moderation, session, true);
                }
            }
        }
        tracing::info!(call = call.wire_id(), ?identity, ?role, "role given");
        for session in call.sessions() {
            if &**session.identity() == identity {
                self.sync_permissions(&session).await?;
            }
        }
        Ok(())
    }

    /// Mutes the microphones of these, and tells them by whom. How many were not muted before.
    pub(crate) async fn mute_all(
        self: &Arc<Self>,
        sessions: Vec<Arc<Session>>,
        by: Option<&str>,
    ) -> Result<usize, HandleError> {
        let mute = |session: Arc<Session>| async move {
            let participant = session.participant();
            let action = || Action::MuteSource { participant, source: Source::Microphone };
            match self.insist(session.room(), action).await {
                Ok(Reply::Muted { tracks }) if tracks > 0 => {
                    let call_id = session.call().wire_id().to_owned();
                    let muted = MutedByOthers { call_id, by: by.map(str::to_owned) };
                    self.tell(&session, &ServerMessage::MutedByOthers(muted));
                    Ok(tracks)
                }
                // It may have left meanwhile.
                Ok(_) | Err(HandleError::Refused(_)) => Ok(0),
                Err(error) => Err(error),
            }
        };
        let done: Vec<Result<usize, HandleError>> =
            stream::iter(sessions).map(mute).buffer_unordered(AT_ONCE).collect().await;
        done.into_iter().sum()
    }

    pub(crate) async fn remove_identity(
        self: &Arc<Self>,
        call: &Arc<Call>,
        identity: &Arc<str>,
    ) -> Result<(), Full> {
        call.moderation().remove(identity)?;
        tracing::info!(call = call.wire_id(), ?identity, "removed");
        for session in call.everyone() {
            if session.identity() != identity {
                continue;
            }
            if session.is_outside() {
                self.end_session(&session, EndReason::removed());
            } else {
                self.remove(&session, LeaveReason::Removed).await;
            }
        }
        Ok(())
    }

    /// A message of no version: never older than a snapshot.
    pub(crate) fn tell(self: &Arc<Self>, session: &Arc<Session>, message: &ServerMessage) {
        self.push(session, u64::MAX, &encode(message).into());
    }

    /// Tells everyone in the call. The moderation is asked for so that what is told comes in order.
    fn tell_everyone(
        self: &Arc<Self>,
        _turn: &Moderation,
        call: &Arc<Call>,
        message: &ServerMessage,
    ) {
        let text = Utf8Bytes::from(encode(message));
        call.for_each(|session| self.push(session, u64::MAX, &text));
    }

    /// Tells an identity what it may do now.
    pub(crate) fn tell_capabilities(
        self: &Arc<Self>,
        moderation: &Moderation,
        call: &Arc<Call>,
        identity: &str,
    ) {
        call.for_each(|session| {
            if &**session.identity() == identity {
                self.tell_capabilities_to(moderation, session);
            }
        });
    }

    pub(crate) fn tell_capabilities_to(
        self: &Arc<Self>,
        moderation: &Moderation,
        session: &Arc<Session>,
    ) {
        self.tell(session, &capabilities_message(moderation, session));
    }

    /// Tells a client all that stands; of lists that are empty, and of no role, only if `all`.
    pub(crate) fn tell_standing(self: &Arc<Self>, session: &Arc<Session>, all: bool) {
        let call = session.call();
        let moderation = call.moderation();
        if all || moderation.role(session.bearer()).is_some() {
            self.tell(session, &role_message(&moderation, session));
        }
        self.tell(session, &capabilities_message(&moderation, session));
        if all || !moderation.spotlight().is_empty() {
            self.tell(session, &spotlight(&moderation, call));
        }
        if all || !moderation.hands().is_empty() {
            self.tell(session, &hands(&moderation, call));
        }
        self.tell_lobby_to(&moderation, session, all);
        self.tell_moves(session);
    }

    /// A session is over: what there was of it in the call's lists goes.
    pub(crate) fn forget(self: &Arc<Self>, session: &Session, waited: bool) {
        let call = session.call();
        let mut moderation = call.moderation();
        let id = [session.participant()];
        if moderation.stop_spotlight(Some(&id)) {
            self.tell_everyone(&moderation, call, &spotlight(&moderation, call));
        }
        if moderation.lower_hands(&id) {
            self.tell_everyone(&moderation, call, &hands(&moderation, call));
        }
        if waited {
            self.tell_lobby(&moderation, call);
        }
    }
}

/// A participant of the call by its id on the wire; in `field`, for errors.
fn find(call: &Call, id: &str, field: &str) -> Result<Arc<Session>, Refusal> {
    let found = convert::read_participant_id(id).and_then(|id| call.session(id));
    found.ok_or_else(|| not_found(field))
}

pub(crate) fn not_found(field: &str) -> Refusal {
    let text = "nobody of this id is there (any more)";
    Refusal::new(ErrorCode::ParticipantNotFound, text).field(field)
}

fn find_all(call: &Call, ids: &[String]) -> Result<Vec<Arc<Session>>, Refusal> {
    check_named(ids)?;
    let field = |at| format!("participantIds[{at}]");
    ids.iter().enumerate().map(|(at, id)| find(call, id, &field(at))).collect()
}

pub(crate) fn check_named(ids: &[String]) -> Result<(), Refusal> {
    if ids.len() <= NAMED {
        return Ok(());
    }
    let text = format!("at most {NAMED} participants can be named");
    Err(Refusal::new(ErrorCode::LimitExceeded, text).field("participantIds"))
}

fn ids_of(sessions: &[Arc<Session>]) -> Vec<ParticipantId> {
    sessions.iter().map(|session| session.participant()).collect()
}

fn limit(full: Full) -> Refusal {
    Refusal::new(ErrorCode::LimitExceeded, format!("limit reached: {}", full.0))
}

fn role_message(moderation: &Moderation, session: &Session) -> ServerMessage {
    let call_id = session.call().wire_id().to_owned();
    ServerMessage::RoleChanged(RoleChanged { call_id, role: moderation.role(session.bearer()) })
}

fn capabilities_message(moderation: &Moderation, session: &Session) -> ServerMessage {
    ServerMessage::CapabilitiesChanged(CapabilitiesChanged {
        call_id: session.call().wire_id().to_owned(),
        capabilities: moderation.capabilities(session.bearer()),
    })
}

fn wire_ids(ids: &[ParticipantId]) -> Vec<String> {
    ids.iter().copied().map(convert::participant_id).collect()
}

fn spotlight(moderation: &Moderation, call: &Call) -> ServerMessage {
    ServerMessage::SpotlightChanged(SpotlightChanged {
        call_id: call.wire_id().to_owned(),
        participant_ids: wire_ids(moderation.spotlight()),
    })
}

fn hands(moderation: &Moderation, call: &Call) -> ServerMessage {
    ServerMessage::RaisedHandsChanged(RaisedHandsChanged {
        call_id: call.wire_id().to_owned(),
        participant_ids: wire_ids(moderation.hands()),
    })
}
