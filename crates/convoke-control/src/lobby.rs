//! The lobby: who waits before coming in, and who lets it in.
//!
//! Owns: admitting, rejecting, the time that somebody may wait, and what those who manage the lobby
//! are told of it.
//! Never: lets a participant into the core before it is admitted. Its offers are kept, and looked
//! into only then; so nobody in a lobby can send or receive a packet, or learn who is in the call,
//! and waiting costs no transport. The answers come with `joined`, without another round of SDP.

use std::sync::Arc;

use convoke_node::core::ParticipantId;
use convoke_protocol::{
    Admit, EndReason, GroupId, LobbyParticipant, LobbyParticipantsUpdated, LobbyPolicy, Reject,
    ServerMessage,
};

use crate::agent::Agent;
use crate::calls::{Call, Waiter};
use crate::control::{Control, Inner};
use crate::convert;
use crate::join::{Admitted, JOIN_TRIES};
use crate::moderate::{ModerationError, check_named, not_found, require};
use crate::moderation::Moderation;
use crate::refusal::Refusal;
use crate::requests::{Answered, ack};
use crate::session::Session;

impl Control {
    /// Those who wait in the lobby of a call, in order of coming.
    ///
    /// # Errors
    /// When the call does not run.
    pub fn lobby(&self, group: GroupId) -> Result<Vec<LobbyParticipant>, ModerationError> {
        let call = self.call(group)?;
        Ok(views(&call))
    }

    /// Says who waits from now on. Who is in the call stays in, who waits goes on waiting.
    ///
    /// # Errors
    /// When the call does not run.
    pub fn set_lobby(&self, group: GroupId, policy: LobbyPolicy) -> Result<(), ModerationError> {
        let call = self.call(group)?;
        let mut moderation = call.moderation();
        moderation.set_lobby(policy);
        for session in call.sessions() {
            self.inner.tell_capabilities_to(&moderation, &session);
            self.inner.tell_lobby_to(&moderation, &session, false);
        }
        Ok(())
    }

    /// Lets an identity in from the lobby, on all its devices, or everyone who waits.
    ///
    /// # Errors
    /// When the call does not run, or the identity does not wait.
    pub fn admit(&self, group: GroupId, identity: Option<&str>) -> Result<(), ModerationError> {
        let call = self.call(group)?;
        let who = waiting_as(&call, identity)?;
        self.inner.let_in(&call, who.as_deref());
        Ok(())
    }

    /// Turns an identity in the lobby away, on all its devices, or everyone who waits.
    ///
    /// # Errors
    /// When the call does not run, or the identity does not wait.
    pub fn reject(&self, group: GroupId, identity: Option<&str>) -> Result<(), ModerationError> {
        let call = self.call(group)?;
        let who = waiting_as(&call, identity)?;
        self.inner.turn_away(&call, who.as_deref());
        Ok(())
    }
}

impl Agent {
    pub(crate) fn admit(&mut self, message: Admit) -> Answered {
        let session = self.in_call(&message.call_id)?;
        require(&session, "manageLobby", |able| able.manage_lobby)?;
        let who = read_waiting(session.call(), message.participant_ids.as_deref())?;
        self.inner.let_in(session.call(), who.as_deref());
        ack(message.request_id)
    }

    pub(crate) fn reject(&mut self, message: Reject) -> Answered {
        let session = self.in_call(&message.call_id)?;
        require(&session, "manageLobby", |able| able.manage_lobby)?;
        let who = read_waiting(session.call(), message.participant_ids.as_deref())?;
        self.inner.turn_away(session.call(), who.as_deref());
        ack(message.request_id)
    }
}

impl Inner {
    /// Someone came into the lobby: those who manage it are told, and its time runs.
    pub(crate) fn watch_lobby(self: &Arc<Self>, session: &Arc<Session>) {
        let (call, participant) = (session.call().wire_id(), session.wire_id());
        tracing::info!(call, participant, "waits in the lobby");
        self.tell_lobby(&session.call().moderation(), session.call());
        let (this, session) = (Arc::clone(self), Arc::downgrade(session));
        tokio::spawn(async move {
            tokio::time::sleep(this.config().times.lobby).await;
            if let Some(session) = session.upgrade().filter(|session| session.is_waiting()) {
                this.end_session(&session, EndReason::lobby_timed_out());
            }
        });
    }

    fn let_in(self: &Arc<Self>, call: &Arc<Call>, who: Option<&[ParticipantId]>) {
        let admitted = {
            let mut moderation = call.moderation();
            let admitted = call.admit(who);
            for waiter in &admitted {
                moderation.admit(waiter.session.identity());
            }
            self.tell_lobby(&moderation, call);
            admitted
        };
        for waiter in admitted {
            let this = Arc::clone(self);
            tokio::spawn(async move { this.carry_in(&waiter).await });
        }
    }

    /// The join of someone who was let in.
    async fn carry_in(self: &Arc<Self>, waiter: &Waiter) {
        let Waiter { session, wanted } = waiter;
        for _ in 0..JOIN_TRIES {
            match self.enter_room(session, wanted, None).await {
                Ok(Admitted::Yes) => return,
                Ok(Admitted::TryAgain) if !session.is_ended() => {}
                Ok(Admitted::TryAgain) => break,
                Err(refusal) => {
                    tracing::debug!(code = refusal.code.as_str(), "a join from the lobby failed");
                    break;
                }
            }
        }
        // One that leaves or was ended meanwhile is told by that.
        if session.is_outside() {
            self.end_session(session, EndReason::setup_failed());
        }
    }

    fn turn_away(self: &Arc<Self>, call: &Arc<Call>, who: Option<&[ParticipantId]>) {
        for Waiter { session, .. } in call.waiting() {
            if who.is_none_or(|who| who.contains(&session.participant())) {
                self.end_session(&session, EndReason::rejected_in_lobby());
            }
        }
    }

    /// Tells those who manage the lobby who waits.
    pub(crate) fn tell_lobby(self: &Arc<Self>, moderation: &Moderation, call: &Arc<Call>) {
        let message = message(call);
        call.for_each(|session| {
            if manages(moderation, session) {
                self.tell(session, &message);
            }
        });
    }

    /// The same to one client; of an empty lobby only if `all`.
    pub(crate) fn tell_lobby_to(
        self: &Arc<Self>,
        moderation: &Moderation,
        session: &Arc<Session>,
        all: bool,
    ) {
        let waits = all || !session.call().waiting().is_empty();
        if waits && manages(moderation, session) {
            self.tell(session, &message(session.call()));
        }
    }
}

fn manages(moderation: &Moderation, session: &Session) -> bool {
    moderation.capabilities(session.bearer()).manage_lobby.is_present
}

fn views(call: &Call) -> Vec<LobbyParticipant> {
    let view = |waiter: &Waiter| {
        let bearer = waiter.session.bearer();
        LobbyParticipant {
            participant_id: waiter.session.wire_id().to_owned(),
            identity: bearer.identity.to_string(),
            display_name: bearer.display_name.to_string(),
            guest: bearer.guest,
        }
    };
    call.waiting().iter().map(view).collect()
}

fn message(call: &Call) -> ServerMessage {
    ServerMessage::LobbyParticipantsUpdated(LobbyParticipantsUpdated {
        call_id: call.wire_id().to_owned(),
        participants: views(call),
    })
}

/// Those in the lobby that a client names.
fn read_waiting(
    call: &Call,
    ids: Option<&[String]>,
) -> Result<Option<Vec<ParticipantId>>, Refusal> {
    let Some(ids) = ids else { return Ok(None) };
    check_named(ids)?;
    let waiting = call.waiting();
    let read = |(at, text): (usize, &String)| {
        let id = convert::read_participant_id(text);
        let waits = |id: &ParticipantId| waiting.iter().any(|w| w.session.participant() == *id);
        id.filter(waits).ok_or_else(|| not_found(&format!("participantIds[{at}]")))
    };
    ids.iter().enumerate().map(read).collect::<Result<_, _>>().map(Some)
}

/// Those in the lobby who are of an identity.
fn waiting_as(
    call: &Call,
    identity: Option<&str>,
) -> Result<Option<Vec<ParticipantId>>, ModerationError> {
    let Some(identity) = identity else { return Ok(None) };
    let mut waiting = call.waiting();
    waiting.retain(|waiter| &**waiter.session.identity() == identity);
    if waiting.is_empty() {
        return Err(ModerationError::NoSuchParticipant);
    }
    Ok(Some(waiting.iter().map(|waiter| waiter.session.participant()).collect()))
}
