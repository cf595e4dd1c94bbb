//! What each message of a client does.
//!
//! Owns: the checks that need no core (token, scope, group ID, limits), and the answer to each.
//! Never: touches the socket.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use convoke_node::HandleError;
use convoke_node::core::{Action, LeaveReason, Reply};
use convoke_protocol::{
    Ack, Answer, ClientMessage, EndReason, ErrorCode, Explain, Explained, Hello, Leave, Limits,
    Mute, OfferMessage, PROTOCOL_VERSION, Ping, Pong, Publish, SendData, ServerMessage,
    TransportRole, Unpublish, ViewMessage, Welcome,
};

use crate::agent::{Agent, Known};
use crate::clients::Seat;
use crate::config::millis;
use crate::control::Inner;
use crate::convert;
use crate::metrics::Limited;
use crate::moderate::require;
use crate::refusal::Refusal;
use crate::session::Session;
use crate::token::{AccessToken, MAX_NAME, TokenError, check_name};

/// `None`: the session has answered, or will.
pub(crate) type Answered = Result<Option<ServerMessage>, Refusal>;

impl Agent {
    /// Carries out a request.
    pub(crate) async fn answer(&mut self, message: ClientMessage) -> Answered {
        match message {
            ClientMessage::Hello(hello) => self.hello(hello).await,
            _ if self.known.is_none() => {
                let text = "send `hello` with an access token first";
                Err(Refusal::new(ErrorCode::NotAuthenticated, text))
            }
            ClientMessage::Join(join) => self.join(join).await,
            ClientMessage::Resume(resume) => self.resume(resume).await,
            ClientMessage::Offer(offer) => self.offer(offer).await,
            ClientMessage::Publish(publish) => self.publish(publish).await,
            ClientMessage::Unpublish(unpublish) => self.unpublish(unpublish).await,
            ClientMessage::Mute(mute) => self.mute(mute).await,
            ClientMessage::View(view) => self.view(view).await,
            ClientMessage::Explain(explain) => self.explain(explain).await,
            ClientMessage::Data(data) => self.data(data).await,
            ClientMessage::Leave(leave) => self.leave(leave).await,
            ClientMessage::SetRole(message) => self.set_role(message).await,
            ClientMessage::MuteParticipants(message) => self.mute_participants(message).await,
            ClientMessage::RemoveParticipant(message) => self.remove_participant(message).await,
            ClientMessage::StartSpotlight(message) => self.start_spotlight(message),
            ClientMessage::StopSpotlight(message) => self.stop_spotlight(message),
            ClientMessage::RaiseHand(message) => self.raise_hand(message),
            ClientMessage::LowerHands(message) => self.lower_hands(message),
            ClientMessage::Admit(message) => self.admit(message),
            ClientMessage::Reject(message) => self.reject(message),
            ClientMessage::StartCall(message) => self.start_call(message).await,
            ClientMessage::AcceptCall(message) => self.accept_call(message).await,
            ClientMessage::RejectCall(message) => self.reject_call(&message),
            ClientMessage::Ping(Ping { request_id }) => {
                Ok(Some(ServerMessage::Pong(Pong { request_id })))
            }
        }
    }

    async fn hello(&mut self, hello: Hello) -> Answered {
        if hello.protocol != PROTOCOL_VERSION {
            let text = format!("this server speaks protocol {PROTOCOL_VERSION}; update the client");
            return Err(Refusal::new(ErrorCode::ProtocolVersion, text).field("protocol"));
        }
        let config = self.inner.config();
        let token = self.verify(&hello.token).await?;
        if self.known.as_ref().is_some_and(|known| known.token.identity != token.identity) {
            let text = "the token is of another identity; open another WebSocket for it";
            return Err(Refusal::new(ErrorCode::NotAllowed, text).field("token"));
        }
        if self.seat.is_none() {
            self.seat = Some(self.take_seat(&token)?);
        }
        // Known first, checked then: whoever revokes it later finds this agent.
        if let Some(entry) = self.inner.agents.get(&self.id) {
            entry.identify(&token.identity);
        }
        if self.inner.is_revoked(&token) {
            return Err(TokenError::Revoked.into());
        }
        let own_name = hello.display_name.unwrap_or_default();
        check_name(&own_name).map_err(|reason| {
            let text = format!("the display name {reason}");
            Refusal::new(ErrorCode::LimitExceeded, text).field("displayName")
        })?;
        let display_name: Arc<str> = token.display_name.clone().unwrap_or(own_name).into();
        let mut app = hello.user_agent.unwrap_or_default();
        app.truncate(app.floor_char_boundary(MAX_NAME));
        if self.known.is_none() {
            tracing::debug!(identity = ?token.identity, ?app, "authenticated");
        }
        let app = app.into();
        let since_epoch = token.expires_at.duration_since(SystemTime::UNIX_EPOCH);
        let expires_at_ms = since_epoch.unwrap_or_default().as_millis();
        let now = SystemTime::now();
        let turn = config.turn.iter().map(|turn| turn.server(&token.identity, now));
        let ice_servers = config.ice_servers.iter().cloned().chain(turn).collect();
        let welcome = Welcome {
            request_id: hello.request_id,
            agent_id: self.id.to_string(),
            identity: token.identity.clone(),
            display_name: display_name.to_string(),
            scopes: token.scopes.clone(),
            expires_at_ms: u64::try_from(expires_at_ms).unwrap_or(u64::MAX),
            limits: Limits {
                max_message_bytes: u32::try_from(config.limits.message_bytes).unwrap_or(u32::MAX),
                audio_slots: config.slots.audio,
                video_slots: config.slots.video,
            },
            ping_interval_ms: millis(config.times.ping),
            ice_servers,
        };
        let first = self.known.replace(Known { token, display_name, app }).is_none();
        // What rings must be told behind it.
        let _ = self.outlet.send(&ServerMessage::Welcome(welcome));
        if first {
            self.came();
        }
        Ok(None)
    }

    /// What its token says; an address that shows wrong ones all the time is not listened to.
    async fn verify(&self, token: &str) -> Result<AccessToken, Refusal> {
        let (inner, most) = (&self.inner, self.inner.config().limits.failures_per_minute);
        let Some(address) = self.address else {
            return Ok(inner.verify(token, SystemTime::now()).await?);
        };
        if let Some(wait) = inner.wrong_tokens.must_wait(&address, most, Instant::now()) {
            inner.counters.limited(Limited::WrongTokens);
            let text = "too many wrong access tokens came from this address";
            let refusal = Refusal::new(ErrorCode::LimitExceeded, text).field("token");
            return Err(refusal.retry_after(wait));
        }
        let verified = inner.verify(token, SystemTime::now()).await;
        // What has expired was ours, and no guess.
        let is_wrong = |error: &TokenError| {
            matches!(error.code(), ErrorCode::TokenInvalid | ErrorCode::TokenMissing)
        };
        if verified.as_ref().is_err_and(is_wrong) {
            inner.wrong_tokens.spend(address, most, Instant::now());
        }
        Ok(verified?)
    }

    /// A place among the WebSockets of an identity.
    pub(crate) fn take_seat(&self, token: &AccessToken) -> Result<Seat<Arc<str>>, Refusal> {
        let (inner, identity) = (&self.inner, token.identity.as_str().into());
        let most = inner.config().limits.agents_per_identity;
        inner.agents_of.1.take(identity, most).ok_or_else(|| {
            inner.counters.limited(Limited::AgentsPerIdentity);
            let text = format!("this identity has {most} agents, which is as many as it may");
            let refusal = Refusal::new(ErrorCode::LimitExceeded, text).field("token");
            refusal.retry_after(inner.config().times.retry_after)
        })
    }

    async fn offer(&mut self, offer: OfferMessage) -> Answered {
        let session = self.in_call(&offer.call_id)?;
        self.check_sdp_size(&offer.sdp, "sdp")?;
        let participant = session.participant();
        let role = convert::read_role(offer.transport);
        let action = Action::Offer { participant, role, sdp: offer.sdp };
        let reply = self.ask(&session, action).await.map_err(|refusal| match refusal.code {
            ErrorCode::SdpInvalid => refusal.field("sdp"),
            _ => refusal,
        })?;
        let Reply::Answer { sdp, slots } = reply else { return Err(unexpected()) };
        let answer = Answer {
            request_id: offer.request_id,
            call_id: offer.call_id,
            transport: offer.transport,
            sdp,
            slots: convert::slots(&slots),
        };
        if offer.transport == TransportRole::Receive {
            // Changes of the new slots may have been told before this answer: a snapshot, which
            // the outlet queues behind it, sets that right.
            session.begin_refresh();
            let inner = Arc::clone(&self.inner);
            let _ = self.outlet.send(&ServerMessage::Answer(answer));
            tokio::spawn(async move { inner.refresh(&session).await });
            return Ok(None);
        }
        Ok(Some(ServerMessage::Answer(answer)))
    }

    async fn publish(&mut self, publish: Publish) -> Answered {
        let session = self.in_call(&publish.call_id)?;
        let track = convert::read_declaration(publish.track, "track")?;
        let action = Action::Publish { participant: session.participant(), track };
        self.ask(&session, action).await.map_err(|refusal| match refusal.code {
            ErrorCode::TrackInvalid => refusal.field("track"),
            _ => refusal,
        })?;
        ack(publish.request_id)
    }

    async fn unpublish(&mut self, unpublish: Unpublish) -> Answered {
        let session = self.in_call(&unpublish.call_id)?;
        let (participant, client_id) = (session.participant(), unpublish.client_id.into());
        self.ask(&session, Action::Unpublish { participant, client_id }).await?;
        ack(unpublish.request_id)
    }

    async fn mute(&mut self, mute: Mute) -> Answered {
        let session = self.in_call(&mute.call_id)?;
        let (participant, client_id) = (session.participant(), mute.client_id.into());
        let action = Action::SetMuted { participant, client_id, muted: mute.muted };
        self.ask(&session, action).await?;
        ack(mute.request_id)
    }

    async fn view(&mut self, view: ViewMessage) -> Answered {
        let session = self.in_call(&view.call_id)?;
        let wishes = view.slots.unwrap_or_default();
        let most = self.inner.config().limits.wishes;
        if wishes.len() > most {
            let text = format!("at most {most} wishes are accepted");
            return Err(Refusal::new(ErrorCode::LimitExceeded, text).field("slots"));
        }
        let wishes = convert::read_wishes(wishes)?;
        let action = Action::SetView { participant: session.participant(), wishes };
        self.ask(&session, action).await?;
        ack(view.request_id)
    }

    async fn explain(&mut self, explain: Explain) -> Answered {
        let session = self.in_call(&explain.call_id)?;
        let participant = session.participant();
        let reply = self.ask(&session, Action::Explain { participant }).await?;
        let Reply::Explained(explanation) = reply else { return Err(unexpected()) };
        Ok(Some(ServerMessage::Explained(Explained {
            request_id: explain.request_id,
            call_id: explain.call_id,
            explanation: convert::quality::explanation(&explanation),
        })))
    }

    async fn data(&mut self, data: SendData) -> Answered {
        let session = self.in_call(&data.call_id)?;
        let (participant, request_id) = (session.participant(), data.request_id);
        let message = convert::data::read_message(data)?;
        let action = Action::SendData { participant, message };
        self.ask(&session, action).await.map_err(convert::data::refusal)?;
        ack(request_id)
    }

    async fn leave(&mut self, leave: Leave) -> Answered {
        let session = self.own(&leave.call_id)?;
        if leave.for_everyone {
            require(&session, "hangUpForEveryOne", |able| able.hang_up_for_every_one)?;
        }
        let outside = session.is_outside();
        session.begin_leave(leave.request_id).map_err(|_| not_in_call())?;
        if leave.for_everyone {
            let calls = [Arc::clone(session.call())];
            self.inner.end_calls(&calls, &EndReason::ended_for_everyone()).await;
            self.session = None;
            return Ok(None);
        }
        let participant = session.participant();
        let reason = LeaveReason::Left;
        let left = self.inner.command(session.room(), Action::Leave { participant, reason });
        // Whoever comes from the lobby is not in the core, or taken out again by its join.
        if !outside && let Err(HandleError::Busy) = left.await {
            session.abort_leave();
            if !session.is_ended() {
                return Err(convert::busy(self.inner.config().times.retry_after));
            }
        }
        // Says `ended`, unless the core's event was here first and it has been said.
        self.inner.end_session(&session, convert::end_reason(reason));
        self.session = None;
        Ok(None)
    }

    /// The session, if it is that of this call, not over, and not in the lobby.
    pub(crate) fn in_call(&mut self, call_id: &str) -> Result<Arc<Session>, Refusal> {
        let session = self.own(call_id)?;
        if session.is_outside() {
            let text = "this participant waits in the lobby until someone lets it in";
            return Err(Refusal::new(ErrorCode::NotAllowed, text));
        }
        Ok(session)
    }

    /// The session, if it is that of this call and not over.
    fn own(&mut self, call_id: &str) -> Result<Arc<Session>, Refusal> {
        self.session.take_if(|session| session.is_ended());
        match &self.session {
            Some(session) if session.call().wire_id() == call_id => Ok(Arc::clone(session)),
            _ => Err(not_in_call()),
        }
    }

    /// One command about this client's own participant.
    pub(crate) async fn ask(&self, session: &Session, action: Action) -> Result<Reply, Refusal> {
        let reply = self.inner.command(session.room(), action).await;
        reply.map_err(|error| self.refuse(&error))
    }

    pub(crate) fn refuse(&self, error: &HandleError) -> Refusal {
        self.inner.refuse(error)
    }

    pub(crate) fn check_sdp_size(&self, sdp: &str, field: &str) -> Result<(), Refusal> {
        let most = self.inner.config().limits.sdp_bytes;
        if sdp.len() <= most {
            return Ok(());
        }
        let text = format!("the SDP has {} bytes; at most {most} are accepted", sdp.len());
        Err(Refusal::new(ErrorCode::LimitExceeded, text).field(field))
    }
}

impl Inner {
    pub(crate) fn refuse(&self, error: &HandleError) -> Refusal {
        let refusal = convert::refusal(error, self.config().times.retry_after);
        if refusal.code == ErrorCode::Internal {
            tracing::error!(%error, "the core failed over a request");
        }
        refusal
    }
}

fn not_in_call() -> Refusal {
    let text = "this agent is not in that call; use the `callId` from `joined`";
    Refusal::new(ErrorCode::NotInCall, text).field("callId")
}

pub(crate) fn unexpected() -> Refusal {
    tracing::error!("the core gave a reply of the wrong kind");
    Refusal::new(ErrorCode::Internal, "the server failed over this; the fault was logged")
}

pub(crate) fn ack(request_id: Option<u32>) -> Answered {
    Ok(Some(ServerMessage::Ack(Ack { request_id })))
}
