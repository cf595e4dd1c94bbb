//! Calling people: which agents an identity has, what rings, and what becomes of it.
//!
//! Owns: the agents that are there, the calls that ring, their time, and what agents, callers and the
//! host are told.
//! Never: decides how a ring ends; [`Ring`] does. What it wants done is done while it is locked, so
//! that everybody hears things in the order in which they happened.
//!
//! Locks are taken in the order: ring, then those of `calls`.

use std::fmt;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use convoke_node::core::LeaveReason;
use convoke_protocol::{
    AcceptCall, EndReason, ErrorCode, GroupId, IncomingCall, IncomingCallEnded, LobbyPolicy,
    RejectCall, RingState, RingTarget, RingUpdated, ServerMessage, StartCall,
};
use dashmap::DashMap;
use tokio::sync::broadcast;

use crate::agent::Agent;
use crate::calling::Connection;
use crate::config::millis;
use crate::control::{Control, Inner};
use crate::ids::AgentId;
use crate::join::Wanted;
use crate::refusal::Refusal;
use crate::requests::{Answered, ack};
use crate::ring::{Input, NotRinging, Output, Ring};
use crate::session::Session;
use crate::sync::lock;
use crate::token::{MAX_NAME, check_name};

/// Identities that one ring may call.
const TARGETS: usize = 50;
/// Calls that ring for one identity at once.
const RINGS: usize = 8;
/// Bytes of the caller's own context.
pub(crate) const CONTEXT: usize = 2 * 1024;
/// How long a call may ring.
const TIMES: std::ops::RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_secs(120);
/// Events that a slow host may be behind; then it loses the oldest.
const EVENTS: usize = 1_024;

/// Somebody to call, on behalf of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingRequest {
    /// The call that those who accept join; the first of them starts it if it does not run.
    pub group: GroupId,
    /// The identity that calls.
    pub from: String,
    /// Its name to show.
    pub display_name: String,
    /// Who is called: 1 to 50 identities, each once.
    pub targets: Vec<String>,
    /// For those who are called, at most 2 KiB.
    pub custom_context: Option<String>,
    /// How long to ring, 5 s to 120 s; the configured time when absent.
    pub timeout: Option<Duration>,
}

/// What is wrong with a [`RingRequest`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}`: {reason}")]
pub struct RingError {
    /// Which field.
    pub field: String,
    /// What is wrong with it, and how to mend it.
    pub reason: String,
}

/// What happens to calls that ring.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RingEvent {
    /// A call begins to ring.
    Started {
        /// The ring.
        ring: String,
        /// The call.
        group: GroupId,
        /// Who calls.
        from: String,
        /// Who is called.
        targets: Vec<String>,
    },
    /// An identity has no agent connected (any more); it rings on, for one may come. Comes again if
    /// one came and went.
    Absent {
        /// The ring.
        ring: String,
        /// Who.
        identity: String,
        /// The call.
        group: GroupId,
        /// Who calls.
        from: String,
    },
    /// An identity has no agent connected (any more), and rings no more.
    Unreachable {
        /// The ring.
        ring: String,
        /// Who.
        identity: String,
        /// The call.
        group: GroupId,
        /// Who calls.
        from: String,
    },
    /// It rings no more; the outcome of each identity.
    Ended {
        /// The ring.
        ring: String,
        /// The call.
        group: GroupId,
        /// Who, and how it ended.
        targets: Vec<(String, RingState)>,
    },
}

/// For which call connection something rings; the ring has this id.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    pub(crate) ring: String,
    pub(crate) connection: Arc<Connection>,
}

impl RingRequest {
    /// Whether it is within its bounds.
    pub(crate) fn check(&self) -> Result<(), RingError> {
        let wrong = |field: &str, reason: String| RingError { field: field.to_owned(), reason };
        check_name(&self.from).map_err(|reason| wrong("from", reason))?;
        check_name(&self.display_name).map_err(|reason| wrong("displayName", reason))?;
        let wishes = Wishes {
            targets: self.targets.clone(),
            custom_context: self.custom_context.clone(),
            timeout: self.timeout,
        };
        wishes.check("").map(drop).map_err(|(field, reason)| RingError { field, reason })
    }
}

/// What is there and what rings.
#[derive(Debug)]
pub(crate) struct Ringing {
    /// The agents of each identity.
    present: DashMap<Arc<str>, Vec<AgentId>>,
    by_id: DashMap<String, Arc<Call>>,
    by_identity: DashMap<Arc<str>, Vec<Arc<Call>>>,
    events: broadcast::Sender<RingEvent>,
}

/// One call that rings.
pub(crate) struct Call {
    id: String,
    group: GroupId,
    from: Arc<str>,
    display_name: Arc<str>,
    custom_context: Option<String>,
    until: Instant,
    /// The session of an agent that calls; a service has none.
    caller: Option<Weak<Session>>,
    /// For whom a service calls.
    owner: Option<Owner>,
    /// By what app servers may take it.
    contexts: Mutex<Vec<String>>,
    ring: Mutex<Ring<AgentId>>,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Default for Ringing {
    fn default() -> Self {
        Self {
            present: DashMap::new(),
            by_id: DashMap::new(),
            by_identity: DashMap::new(),
            events: broadcast::Sender::new(EVENTS),
        }
    }
}

impl Ringing {
    fn of(&self, identity: &str) -> Vec<Arc<Call>> {
        self.by_identity.get(identity).map(|calls| calls.clone()).unwrap_or_default()
    }

    fn tell(&self, event: RingEvent) {
        // Nobody may listen.
        let _ = self.events.send(event);
    }

    /// Takes a call in, for those identities that do not have too many already; they are returned.
    fn insert(&self, call: &Arc<Call>, targets: Vec<Arc<str>>) -> Vec<(Arc<str>, bool)> {
        self.by_id.insert(call.id.clone(), Arc::clone(call));
        let enter = |identity: Arc<str>| {
            let free = self.enter(call, &identity);
            (identity, free)
        };
        targets.into_iter().map(enter).collect()
    }

    /// A call rings for an identity, too, unless too many do already. Whether it does.
    fn enter(&self, call: &Arc<Call>, identity: &Arc<str>) -> bool {
        let mut calls = self.by_identity.entry(Arc::clone(identity)).or_default();
        let free = calls.len() < RINGS;
        if free {
            calls.push(Arc::clone(call));
        }
        free
    }

    fn remove(&self, call: &Arc<Call>, identities: &[Arc<str>]) {
        self.by_id.remove(&call.id);
        for identity in identities {
            let none_left = |_: &Arc<str>, calls: &mut Vec<Arc<Call>>| {
                calls.retain(|other| !Arc::ptr_eq(other, call));
                calls.is_empty()
            };
            self.by_identity.remove_if_mut(identity, none_left);
        }
    }
}

impl Control {
    /// Calls people on behalf of a service: every connected agent of each identity rings. The ring's
    /// id, as its events name it.
    ///
    /// # Errors
    /// When the request is out of its bounds; nothing rings.
    pub fn ring(&self, request: RingRequest) -> Result<String, RingError> {
        request.check()?;
        Ok(self.inner.ring_for(request, None))
    }

    /// What happens to calls that ring, from now on.
    #[must_use]
    pub fn ring_events(&self) -> broadcast::Receiver<RingEvent> {
        self.inner.ringing.events.subscribe()
    }

    /// Calls that ring now.
    #[must_use]
    pub fn active_rings(&self) -> usize {
        self.inner.ringing.by_id.len()
    }
}

struct Caller {
    group: GroupId,
    from: Arc<str>,
    display_name: Arc<str>,
    owner: Option<Owner>,
}

/// Whom to ring, and how.
struct Wishes {
    targets: Vec<String>,
    custom_context: Option<String>,
    timeout: Option<Duration>,
}

impl Wishes {
    /// Within the bounds, and calling nobody twice; or the field at fault and what is wrong.
    fn check(self, own: &str) -> Result<Self, (String, String)> {
        let wrong = |field: &str, reason: String| Err((field.to_owned(), reason));
        if self.targets.is_empty() || self.targets.len() > TARGETS {
            return wrong("targets", format!("name 1 to {TARGETS} identities"));
        }
        for (at, target) in self.targets.iter().enumerate() {
            let field = format!("targets[{at}]");
            if target.is_empty() || target.len() > MAX_NAME {
                return wrong(&field, format!("an identity has 1 to {MAX_NAME} bytes"));
            }
            if target == own {
                return wrong(&field, "nobody can call itself; leave it out".to_owned());
            }
            if self.targets.iter().take(at).any(|other| other == target) {
                return wrong(&field, "is named twice; leave one out".to_owned());
            }
        }
        if self.custom_context.as_ref().is_some_and(|context| context.len() > CONTEXT) {
            return wrong("customContext", format!("at most {CONTEXT} bytes are passed on"));
        }
        if self.timeout.is_some_and(|timeout| !TIMES.contains(&timeout)) {
            return wrong("timeoutMs", "must be from 5000 to 120000".to_owned());
        }
        Ok(self)
    }
}

impl Agent {
    pub(crate) async fn start_call(&mut self, message: StartCall) -> Answered {
        let StartCall { request_id, targets, custom_context, timeout_ms, send, receive, tracks } =
            message;
        self.check_may_join()?;
        let token = &self.fresh()?.token;
        if !token.may_start() {
            let text = "the token's `scp` has not `voip`, which starting calls needs";
            return Err(Refusal::new(ErrorCode::ScopeMissing, text).field("token"));
        }
        if token.group_id.is_some() {
            let text = "the token is for one group ID only; get one without `groupId`";
            return Err(Refusal::new(ErrorCode::TokenWrongCall, text).field("token"));
        }
        let timeout = timeout_ms.map(|ms| Duration::from_millis(ms.into()));
        let wishes = Wishes { targets, custom_context, timeout }.check(&token.identity);
        let wishes = wishes.map_err(|(field, reason)| {
            Refusal::new(ErrorCode::LimitExceeded, reason).field(field)
        })?;
        let (bearer, group) = (self.bearer()?, GroupId::random());
        let two_party = wishes.targets.len() == 1;
        let caller = Caller {
            group,
            from: Arc::clone(&bearer.identity),
            display_name: Arc::clone(&bearer.display_name),
            owner: None,
        };
        let wanted = Wanted {
            locator: group.into(),
            may_start: true,
            admission: None,
            token: self.fresh()?.token.clone(),
            lobby: LobbyPolicy::Nobody,
            invited: true,
            two_party,
            bearer,
            media: self.check_media(send, receive, tracks)?,
            via: self.via,
        };
        self.come_in(Arc::new(wanted), request_id).await?;
        if let Some(session) = &self.session {
            self.inner.ring(caller, wishes, Some(session));
        }
        Ok(None)
    }

    pub(crate) async fn accept_call(&mut self, message: AcceptCall) -> Answered {
        let AcceptCall { request_id, incoming_call_id, send, receive, tracks } = message;
        let call = self.inner.ringing.by_id.get(&incoming_call_id).map(|call| Arc::clone(&call));
        let call = call.ok_or_else(not_ringing)?;
        self.check_may_join()?;
        let token = &self.fresh()?.token;
        if token.group_id.is_some_and(|only| only != call.group) {
            let text = "the token is for another group ID; get one for this call";
            return Err(Refusal::new(ErrorCode::TokenWrongCall, text).field("token"));
        }
        if !token.may_join() {
            let text = "the token's `scp` has neither `voip` nor `voip.join`";
            return Err(Refusal::new(ErrorCode::ScopeMissing, text).field("token"));
        }
        let wanted = Wanted {
            locator: call.group.into(),
            // Whom a service calls may come first.
            may_start: call.may_be_started(),
            admission: None,
            token: self.fresh()?.token.clone(),
            lobby: self.inner.config().lobby,
            invited: true,
            two_party: false,
            bearer: self.bearer()?,
            media: self.check_media(send, receive, tracks)?,
            via: self.via,
        };
        self.inner.feed(&call, Input::Accept(self.id)).map_err(|_| not_ringing())?;
        let mut accepted = Accepted { inner: &Arc::clone(&self.inner), call, agent: Some(self.id) };
        self.come_in(Arc::new(wanted), request_id).await?;
        accepted.joined();
        Ok(None)
    }

    pub(crate) fn reject_call(&mut self, message: &RejectCall) -> Answered {
        let calls = &self.inner.ringing.by_id;
        let call = calls.get(&message.incoming_call_id).map(|call| Arc::clone(&call));
        let call = call.ok_or_else(not_ringing)?;
        let input = if message.busy { Input::Busy(self.id) } else { Input::Decline(self.id) };
        self.inner.feed(&call, input).map_err(|_| not_ringing())?;
        ack(message.request_id)
    }

    /// After its first `hello`: what rings for its identity rings here, too. Must come after
    /// `welcome` has gone out.
    pub(crate) fn came(&self) {
        let Some(known) = &self.known else { return };
        let identity: Arc<str> = known.token.identity.as_str().into();
        self.inner.ringing.present.entry(Arc::clone(&identity)).or_default().push(self.id);
        for call in self.inner.ringing.of(&identity) {
            let input = Input::Came { identity: Arc::clone(&identity), agent: self.id };
            // It rings no more: nothing to do.
            let _ = self.inner.feed(&call, input);
        }
    }

    /// Its WebSocket is gone.
    pub(crate) fn gone(&self) {
        let Some(known) = &self.known else { return };
        let identity = known.token.identity.as_str();
        let none_left = |_: &Arc<str>, agents: &mut Vec<AgentId>| {
            agents.retain(|agent| *agent != self.id);
            agents.is_empty()
        };
        self.inner.ringing.present.remove_if_mut(identity, none_left);
        for call in self.inner.ringing.of(identity) {
            let _ = self.inner.feed(&call, Input::Gone(self.id));
        }
    }
}

fn not_ringing() -> Refusal {
    let text = "this call does not ring on this device (any more)";
    Refusal::new(ErrorCode::IncomingCallNotFound, text).field("incomingCallId")
}

/// An agent has the call and joins it; dropped before that is done, it has failed.
struct Accepted<'a> {
    inner: &'a Arc<Inner>,
    call: Arc<Call>,
    agent: Option<AgentId>,
}

impl Accepted<'_> {
    fn joined(&mut self) {
        if let Some(agent) = self.agent.take() {
            let _ = self.inner.feed(&self.call, Input::Joined(agent));
        }
    }
}

impl Drop for Accepted<'_> {
    fn drop(&mut self) {
        if let Some(agent) = self.agent.take() {
            let _ = self.inner.feed(&self.call, Input::Failed(agent));
        }
    }
}

impl Inner {
    /// Calls people for a connection.
    pub(crate) fn ring_owned(
        self: &Arc<Self>,
        request: RingRequest,
        owner: Owner,
    ) -> Result<(), RingError> {
        request.check()?;
        self.ring_for(request, Some(owner));
        Ok(())
    }

    fn ring_for(self: &Arc<Self>, request: RingRequest, owner: Option<Owner>) -> String {
        let RingRequest { group, from, display_name, targets, custom_context, timeout } = request;
        let wishes = Wishes { targets, custom_context, timeout };
        let (from, display_name) = (from.into(), display_name.into());
        self.ring(Caller { group, from, display_name, owner }, wishes, None)
    }

    /// Begins to ring; the ring's id.
    fn ring(
        self: &Arc<Self>,
        caller: Caller,
        wishes: Wishes,
        session: Option<&Arc<Session>>,
    ) -> String {
        let timeout = wishes.timeout.unwrap_or(self.config().times.ring);
        let id = match &caller.owner {
            Some(owner) => owner.ring.clone(),
            None => format!("i{:016x}", rand::random::<u64>()),
        };
        let call = Arc::new(Call {
            id: id.clone(),
            group: caller.group,
            from: caller.from,
            display_name: caller.display_name,
            custom_context: wishes.custom_context,
            until: Instant::now() + timeout,
            caller: session.map(Arc::downgrade),
            owner: caller.owner,
            contexts: Mutex::default(),
            ring: Mutex::new(Ring::none()),
        });
        self.ringing.tell(RingEvent::Started {
            ring: id.clone(),
            group: call.group,
            from: call.from.to_string(),
            targets: wishes.targets.clone(),
        });
        {
            // Whoever comes or goes meanwhile waits for this, and is not forgotten.
            let mut ring = lock(&call.ring);
            let targets = wishes.targets.into_iter().map(Arc::from).collect();
            let entered = self.ringing.insert(&call, targets);
            let too_many: Vec<Arc<str>> =
                entered.iter().filter(|(_, free)| !free).map(|(id, _)| Arc::clone(id)).collect();
            let agents = |identity: &Arc<str>| {
                self.ringing.present.get(identity).map(|agents| agents.clone()).unwrap_or_default()
            };
            let with_agents = entered.into_iter().map(|(identity, _)| {
                let agents = agents(&identity);
                (identity, agents)
            });
            let patient = !self.config().times.agent_wait.is_zero();
            let (started, out) = Ring::start(with_agents.collect(), &too_many, patient);
            *ring = started;
            self.carry_out(&call, &ring, out);
            let mut ringing = Vec::new();
            for target in ring.targets() {
                if target.state == RingState::Ringing {
                    let identity = target.identity.into();
                    self.offer_to(&call, &identity);
                    ringing.push(identity);
                }
            }
            self.wait_for_agents(&call, ringing);
        }
        if let Some(session) = session {
            session.set_ring(&call);
            if session.is_ended() {
                let _ = self.feed(&call, Input::Cancel);
            }
        }
        let (this, call) = (Arc::clone(self), Arc::downgrade(&call));
        tokio::spawn(async move {
            tokio::time::sleep(timeout).await;
            if let Some(call) = call.upgrade() {
                let _ = this.feed(&call, Input::Timeout);
            }
        });
        id
    }

    /// Gives up those who have no agent when it was waited long enough.
    fn wait_for_agents(self: &Arc<Self>, call: &Arc<Call>, identities: Vec<Arc<str>>) {
        let wait = self.config().times.agent_wait;
        if wait.is_zero() || identities.is_empty() {
            return;
        }
        let (this, call) = (Arc::clone(self), Arc::downgrade(call));
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            if let Some(call) = call.upgrade() {
                // Nothing is to be done when it is over.
                let _ = this.feed(&call, Input::Waited(identities));
            }
        });
    }

    /// The session that called is over.
    pub(crate) fn caller_gone(self: &Arc<Self>, session: &Session) {
        if let Some(call) = session.ring() {
            let _ = self.feed(&call, Input::Cancel);
        }
    }

    /// An app server may take the call of an agent on behalf of one who is called. Comes while the
    /// ring is locked.
    fn offer_to(&self, call: &Arc<Call>, identity: &Arc<str>) {
        let Some(session) = call.caller() else { return };
        let agents = self.ringing.present.get(identity).map_or(0, |agents| agents.len());
        if let Some(context) = self.offer(call, session.call(), identity, agents) {
            lock(&call.contexts).push(context);
        }
    }

    /// Tells a ring what happened, by its id.
    pub(crate) fn feed_ring(
        self: &Arc<Self>,
        id: &str,
        input: Input<AgentId>,
    ) -> Result<(), NotRinging> {
        let call = self.ringing.by_id.get(id).map(|call| Arc::clone(&call)).ok_or(NotRinging)?;
        self.feed(&call, input)
    }

    /// Calls another identity in place of one.
    pub(crate) fn redirect_ring(
        self: &Arc<Self>,
        call: &Arc<Call>,
        from: Arc<str>,
        to: Arc<str>,
    ) -> Result<(), NotRinging> {
        let mut ring = lock(&call.ring);
        let targets = ring.targets();
        let known = targets.iter().any(|target| *target.identity == *to);
        let rings =
            |target: &RingTarget| *target.identity == *from && target.state == RingState::Ringing;
        if !targets.iter().any(rings) || (!known && targets.len() >= TARGETS) {
            return Err(NotRinging);
        }
        let mut agents = None;
        if !known && self.ringing.enter(call, &to) {
            let present = self.ringing.present.get(&to).map(|agents| agents.clone());
            agents = Some(present.unwrap_or_default());
        }
        let out = ring.handle(Input::Redirect { from, to: Arc::clone(&to), agents })?;
        self.carry_out(call, &ring, out);
        let rings_on = ring
            .targets()
            .into_iter()
            .any(|target| *target.identity == *to && target.state == RingState::Ringing);
        if !known && rings_on {
            self.offer_to(call, &to);
            self.wait_for_agents(call, vec![to]);
        }
        Ok(())
    }

    /// Tells a ring what happened, and carries out what it wants.
    pub(crate) fn feed(
        self: &Arc<Self>,
        call: &Arc<Call>,
        input: Input<AgentId>,
    ) -> Result<(), NotRinging> {
        let mut ring = lock(&call.ring);
        let out = ring.handle(input)?;
        self.carry_out(call, &ring, out);
        Ok(())
    }

    fn carry_out(
        self: &Arc<Self>,
        call: &Arc<Call>,
        ring: &Ring<AgentId>,
        out: Vec<Output<AgentId>>,
    ) {
        for output in out {
            match output {
                Output::Ring(agent) => self.tell_agent(agent, &incoming(call)),
                Output::Stop(agent, reason) => {
                    let incoming_call_id = call.id.clone();
                    let ended = IncomingCallEnded { incoming_call_id, reason };
                    self.tell_agent(agent, &ServerMessage::IncomingCallEnded(ended));
                }
                Output::Update => {
                    if let Some(owner) = &call.owner {
                        self.ring_moved(owner, call.group, &ring.targets());
                    }
                    if let Some(session) = call.caller() {
                        let call_id = session.call().wire_id().to_owned();
                        let updated = RingUpdated { call_id, targets: ring.targets() };
                        self.tell(&session, &ServerMessage::RingUpdated(updated));
                    }
                }
                Output::Absent(identity) => self.ringing.tell(RingEvent::Absent {
                    ring: call.id.clone(),
                    identity: identity.to_string(),
                    group: call.group,
                    from: call.from.to_string(),
                }),
                Output::Unreachable(identity) => self.ringing.tell(RingEvent::Unreachable {
                    ring: call.id.clone(),
                    identity: identity.to_string(),
                    group: call.group,
                    from: call.from.to_string(),
                }),
                Output::Over(reason) => self.ring_over(call, ring, reason),
            }
        }
    }

    fn ring_over(
        self: &Arc<Self>,
        call: &Arc<Call>,
        ring: &Ring<AgentId>,
        reason: Option<EndReason>,
    ) {
        let identities: Vec<Arc<str>> = ring.identities().cloned().collect();
        self.ringing.remove(call, &identities);
        self.withdraw(&std::mem::take(&mut *lock(&call.contexts)));
        if let Some(owner) = &call.owner {
            self.ring_settled(owner, &ring.targets());
        }
        let targets = ring.targets().into_iter().map(|target| (target.identity, target.state));
        tracing::info!(ring = call.id, "rings no more");
        self.ringing.tell(RingEvent::Ended {
            ring: call.id.clone(),
            group: call.group,
            targets: targets.collect(),
        });
        let Some((reason, session)) = reason.zip(call.caller()) else { return };
        if session.call().sessions().len() > 1 {
            // Somebody came by the group ID: the call has a use.
            return;
        }
        // Not here, where the ring is locked.
        let this = Arc::clone(self);
        tokio::spawn(async move {
            this.end_session(&session, reason);
            this.take_out(&session, LeaveReason::RoomClosed).await;
        });
    }

    fn tell_agent(&self, agent: AgentId, message: &ServerMessage) {
        if let Some(entry) = self.agents.get(&agent) {
            // An agent too slow for it is closed by its outlet.
            let _ = entry.outlet.send(message);
        }
    }
}

impl Call {
    /// Whether who accepts may be the first: not where the call ran and is over.
    fn may_be_started(&self) -> bool {
        let here = self.group.into();
        let ran = |owner: &Owner| owner.connection.call().is_some_and(|it| *it.locator() == here);
        self.caller.is_none() && !self.owner.as_ref().is_some_and(ran)
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Who calls.
    pub(crate) fn from(&self) -> &str {
        &self.from
    }

    pub(crate) fn display_name(&self) -> &str {
        &self.display_name
    }

    pub(crate) fn custom_context(&self) -> Option<&str> {
        self.custom_context.as_deref()
    }

    fn caller(&self) -> Option<Arc<Session>> {
        self.caller.as_ref()?.upgrade()
    }
}

fn incoming(call: &Call) -> ServerMessage {
    ServerMessage::IncomingCall(IncomingCall {
        incoming_call_id: call.id.clone(),
        group_id: call.group.to_string(),
        from: call.from.to_string(),
        display_name: call.display_name.to_string(),
        custom_context: call.custom_context.clone(),
        timeout_ms: millis(call.until.saturating_duration_since(Instant::now())),
    })
}
