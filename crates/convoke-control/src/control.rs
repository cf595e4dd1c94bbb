//! The control plane as its host sees it, and what all its parts share.
//!
//! Owns: the calls, the sessions that can be resumed, the open agents, draining.
//! Never: speaks HTTP (`http` does) or to one client (`agent` does).

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use convoke_node::core::{Action, LeaveReason, Permissions, Reply, RoomId};
use convoke_node::{Events, Handle, HandleError, WorkerStats};
use convoke_protocol::{EndReason, GroupId, close};
use dashmap::DashMap;
use futures_util::{StreamExt as _, stream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::Instrument as _;

use crate::calling::Calling;
use crate::calls::{Call, CallTable};
use crate::captures::Captures;
use crate::clients::{Address, Rates, Seats};
use crate::config::ControlConfig;
use crate::convert;
use crate::dispatch::dispatch;
use crate::ids::{AgentId, ResumeHash};
use crate::metrics::{Counters, Lags, count};
use crate::outlet::Outlet;
use crate::recorder::Recorder;
use crate::ringing::Ringing;
use crate::session::Session;
use crate::whip::Sessions;

/// How often a command that must get through is tried while the worker is busy, the waits doubling
/// from [`INSIST_FIRST`]: about 5 s in all.
const INSIST_TRIES: u32 = 8;
const INSIST_FIRST: Duration = Duration::from_millis(20);

/// Rooms that are closed at once when all calls end.
const CLOSE_AT_ONCE: usize = 64;

/// The control plane of one node. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Control {
    pub(crate) inner: Arc<Inner>,
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("calls", &self.active_calls()).finish_non_exhaustive()
    }
}

/// What all parts share.
pub(crate) struct Inner {
    pub(crate) handle: Handle,
    config: RwLock<Arc<ControlConfig>>,
    /// Changes with the configuration.
    pub(crate) configured: watch::Sender<u64>,
    pub(crate) calls: CallTable,
    pub(crate) counters: Counters,
    /// Sessions by what resumes them.
    pub(crate) resumable: DashMap<ResumeHash, Arc<Session>>,
    /// Every open WebSocket.
    pub(crate) agents: DashMap<AgentId, AgentEntry>,
    /// Places for WebSockets.
    pub(crate) places: Seats<()>,
    /// WebSockets of each address, and of each identity.
    pub(crate) agents_of: (Seats<Address>, Seats<Arc<str>>),
    /// How far webhooks were behind lately.
    pub(crate) lags: Mutex<Lags>,
    /// Wrong access tokens by address.
    pub(crate) wrong_tokens: Rates<Address>,
    /// Joins by identity.
    pub(crate) joins: Rates<Arc<str>>,
    /// All sessions want a new snapshot.
    pub(crate) refresh: tokio::sync::Notify,
    /// Which agents are there, and what rings.
    pub(crate) ringing: Ringing,
    /// What app servers hold of calls.
    pub(crate) calling: Calling,
    /// Changes of scheduled rooms so far.
    pub(crate) room_changes: AtomicU64,
    pub(crate) recorder: Recorder,
    /// Participants without a WebSocket.
    pub(crate) http_sessions: Sessions,
    pub(crate) captures: Captures,
    draining: AtomicBool,
    /// How far another server has taken over.
    pub(crate) handover: watch::Sender<Handover>,
}

/// How far another server has taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Handover {
    /// Not at all.
    Not,
    /// New connections are the other one's.
    Begun,
    /// So is everyone who is in no call here.
    Done,
}

/// An open WebSocket, as others see it.
pub(crate) struct AgentEntry {
    pub(crate) outlet: Outlet,
    identity: OnceLock<Arc<str>>,
}

impl AgentEntry {
    pub(crate) fn new(outlet: Outlet) -> Self {
        Self { outlet, identity: OnceLock::new() }
    }

    /// Who it acts for, once it has said so.
    pub(crate) fn identity(&self) -> Option<&Arc<str>> {
        self.identity.get()
    }

    /// An agent never changes its identity.
    pub(crate) fn identify(&self, identity: &str) {
        self.identity.get_or_init(|| identity.into());
    }
}

/// A call or participant that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PermissionError {
    /// The call does not run, or the identity is not in it.
    #[error("no such participant")]
    NoSuchParticipant,
    /// The worker did not take it.
    #[error("the worker is busy; try again")]
    Busy,
}

impl Control {
    /// Starts the control plane of a node. Must be called within a tokio runtime. It goes on until
    /// the node stops.
    #[must_use]
    pub fn start(handle: Handle, events: Events, config: ControlConfig) -> Self {
        let store = config.services.as_ref().map(|services| services.store.clone());
        let inner = Arc::new(Inner {
            handle,
            room_changes: AtomicU64::new(0),
            recorder: store.map(Recorder::start).unwrap_or_default(),
            calls: CallTable::new(config.limits.calls),
            counters: Counters::default(),
            resumable: DashMap::new(),
            agents: DashMap::new(),
            places: Seats::default(),
            agents_of: Default::default(),
            lags: Mutex::default(),
            wrong_tokens: Rates::default(),
            joins: Rates::default(),
            refresh: tokio::sync::Notify::new(),
            ringing: Ringing::default(),
            calling: Calling::new(config.calling.clone()),
            http_sessions: Sessions::default(),
            captures: Captures::default(),
            draining: AtomicBool::new(false),
            handover: watch::Sender::new(Handover::Not),
            config: RwLock::new(Arc::new(config)),
            configured: watch::Sender::new(0),
        });
        let mut background = JoinSet::new();
        let (rooms, tidier, teller) = (Arc::clone(&inner), Arc::clone(&inner), Arc::clone(&inner));
        background.spawn(async move { rooms.watch_rooms().await });
        background.spawn(async move { tidier.keep_tidy().await });
        let watcher = Arc::clone(&inner);
        background.spawn(async move { watcher.watch_lags().await });
        background.spawn(async move { teller.tell_webhooks().await });
        let dispatcher = Arc::clone(&inner);
        tokio::spawn(async move {
            dispatch(dispatcher, events).await;
            // Ends with the workers' events; but what fails in there never keeps these from clients.
            background.shutdown().await;
        });
        Self { inner }
    }

    /// What it is configured to be now.
    #[must_use]
    pub fn config(&self) -> Arc<ControlConfig> {
        self.inner.config()
    }

    /// Goes on with other settings, from now on: keys, issuers, origins, proxies, times, limits and
    /// what clients are told. What was let in by keys that are gone stays until its token expires.
    ///
    /// [`ControlConfig::calling`], [`Limits::calls`](crate::Limits::calls) and whether there are
    /// [`Services`](crate::Services), and their store, stay as they are; see
    /// [`Services::reconfigured`](crate::Services::reconfigured).
    pub fn reconfigure(&self, mut config: ControlConfig) {
        let now = self.inner.config();
        config.calling = now.calling.clone();
        config.limits.calls = now.limits.calls;
        for issuer in &mut config.issuers {
            if let Some(known) = now.issuers.iter().find(|one| one.is_same(issuer)) {
                *issuer = known.clone();
            }
        }
        if config.services.is_some() != now.services.is_some() {
            config.services = now.services.clone();
        }
        *self.inner.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        self.inner.configured.send_modify(|count| *count += 1);
    }

    /// From now on new joins are refused, and `/readyz` says so. Calls go on, and resuming works.
    pub fn drain(&self) {
        self.inner.draining.store(true, Relaxed);
    }

    /// Lets another server that listens on the same address take over, instead of a drain's beginning:
    /// at once `/readyz` fails, listeners that do so ([`Control::serve_until_handover`]) close, and
    /// webhooks are left to the other one. Clients that were connected before may still join for
    /// `grace`, so that nobody in the middle of it is refused. Then it drains, kept connections end
    /// with their request, and WebSockets without a call are closed (1001): their clients connect
    /// again, which is to the other server.
    pub async fn hand_over(&self, grace: Duration) {
        self.inner.handover.send_replace(Handover::Begun);
        tokio::time::sleep(grace).await;
        self.drain();
        self.inner.handover.send_replace(Handover::Done);
    }

    /// Calls that live now.
    #[must_use]
    pub fn active_calls(&self) -> usize {
        self.inner.calls.count()
    }

    /// Call connections of app servers that are not over.
    #[must_use]
    pub fn active_call_connections(&self) -> usize {
        self.inner.calling.count()
    }

    /// Whether app servers hold nothing any more, and all that they were to be told is told or
    /// given up.
    #[must_use]
    pub fn is_automation_idle(&self) -> bool {
        self.inner.calling.is_empty()
    }

    /// WebSockets open now.
    #[must_use]
    pub fn active_agents(&self) -> usize {
        self.inner.agents.len()
    }

    /// Returns when no call lives. After [`Control::drain`] none can begin.
    pub async fn wait_idle(&self) {
        // An error means that the table is gone, and all calls with it.
        let _ = self.inner.calls.watch().wait_for(|calls| *calls == 0).await;
    }

    /// Ends all calls and tells their participants why. For [`EndReason::server_stopped`] new joins
    /// are refused from now on and all WebSockets are closed too (1001); what was told them has
    /// gone out when this returns, or the configured farewell time has passed.
    pub async fn end_all(&self, reason: EndReason) {
        let inner = &self.inner;
        let stopped = reason == EndReason::server_stopped();
        if stopped {
            self.drain();
        }
        let calls = inner.calls.all();
        inner.end_calls(&calls, &reason).await;
        if !stopped {
            return;
        }
        inner.disconnect_all(&reason);
        inner.agents.iter().for_each(|agent| agent.outlet.close(close::GOING_AWAY));
        let farewell = inner.config().times.farewell + Duration::from_millis(500);
        let gone = async {
            while !inner.agents.is_empty() || !inner.calling.is_told() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let _ = tokio::time::timeout(farewell, gone).await;
    }

    /// Changes at once what an identity may do in a call beside its role, on all its devices, and
    /// while the call lives; tracks that are no longer allowed are unpublished. The core enforces it,
    /// whatever the client does.
    ///
    /// # Errors
    /// When the identity is not in the call, or the worker is too busy; then it may be done in part.
    pub async fn set_permissions(
        &self,
        group: GroupId,
        identity: &str,
        permissions: Permissions,
    ) -> Result<(), PermissionError> {
        let call =
            self.inner.calls.by_locator(&group.into()).ok_or(PermissionError::NoSuchParticipant)?;
        let mut sessions = call.sessions();
        sessions.retain(|session| &**session.identity() == identity && session.is_live());
        if sessions.is_empty() {
            return Err(PermissionError::NoSuchParticipant);
        }
        {
            let mut moderation = call.moderation();
            moderation.restrict(identity, permissions).map_err(|_| PermissionError::Busy)?;
            self.inner.tell_capabilities(&moderation, &call, identity);
        }
        for session in sessions {
            self.inner.sync_permissions(&session).await.map_err(|_| PermissionError::Busy)?;
        }
        Ok(())
    }
}

impl Inner {
    /// The settings of this moment. Whoever needs several that fit each other asks once.
    pub(crate) fn config(&self) -> Arc<ControlConfig> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// Returns when another server has taken over so far.
    pub(crate) async fn handed_over(&self, stage: Handover) {
        let mut handover = self.handover.subscribe();
        // An error means that the server is gone, and whoever asks with it.
        let _ = handover.wait_for(|now| *now >= stage).await;
    }

    /// Whether every worker comes round.
    pub(crate) fn is_healthy(&self) -> bool {
        let workers = self.handle.stats();
        let stalled = |worker: &WorkerStats| worker.last_turn > self.config().times.worker_stall;
        !workers.is_empty() && !workers.iter().any(stalled)
    }

    /// One command, with the configured patience: a worker that takes longer is as good as gone.
    pub(crate) async fn command(&self, room: RoomId, action: Action) -> Result<Reply, HandleError> {
        let reply = self.handle.command(room, action);
        match tokio::time::timeout(self.config().times.command, reply).await {
            Ok(reply) => reply,
            Err(_) => Err(HandleError::Gone),
        }
    }

    /// One command that should get through: tried again while the worker is busy.
    pub(crate) async fn insist(
        &self,
        room: RoomId,
        action: impl Fn() -> Action,
    ) -> Result<Reply, HandleError> {
        let mut wait = INSIST_FIRST;
        for _ in 1..INSIST_TRIES {
            match self.command(room, action()).await {
                Err(HandleError::Busy) => tokio::time::sleep(wait).await,
                other => return other,
            }
            wait *= 2;
        }
        self.command(room, action()).await
    }

    /// Ends one call for everyone.
    pub(crate) async fn end_call(self: &Arc<Self>, call: &Arc<Call>, reason: EndReason) {
        self.end_calls(&[Arc::clone(call)], &reason).await;
    }

    /// Ends calls and tells everyone in them why.
    pub(crate) async fn end_calls(self: &Arc<Self>, calls: &[Arc<Call>], reason: &EndReason) {
        // Before the calls go, and their rooms are forgotten.
        let rooms: Vec<RoomId> =
            calls.iter().flat_map(|call| self.handle.rooms_of(call.room())).collect();
        for call in calls {
            let over = self.calls.kill(call);
            for session in call.everyone() {
                self.end_session(&session, reason.clone());
            }
            if over {
                self.call_over(call, reason);
            }
        }
        let leave = convert::read_end_reason(reason);
        let close = |room: RoomId| async move {
            // A worker that is gone has no room either.
            let _ = self.insist(room, || Action::CloseRoom { reason: leave }).await;
        };
        let closed = stream::iter(rooms).for_each_concurrent(CLOSE_AT_ONCE, close);
        let _ = tokio::time::timeout(self.config().times.command, closed).await;
    }

    /// The one ending of a session, whatever it was that ended it.
    pub(crate) fn end_session(self: &Arc<Self>, session: &Arc<Session>, reason: EndReason) {
        let (code, sub_code) = (reason.code, reason.sub_code);
        let void = session.finish(reason.clone());
        // Once it has ended it is let in no more: it never came.
        let waited = session.call().waiting().iter().any(|one| Arc::ptr_eq(&one.session, session));
        if let Some(void) = void {
            if !waited {
                self.recorder.left(session, &reason);
            }
            void.iter().for_each(|hash| drop(self.resumable.remove(hash)));
            let call = session.call().wire_id();
            tracing::info!(call, participant = session.wire_id(), code, sub_code, "left");
        }
        self.caller_gone(session);
        if self.calls.leave(session) {
            self.call_over(session.call(), &reason);
            tracing::info!(call = session.call().wire_id(), "call ended");
        } else {
            self.forget(session, waited);
        }
    }

    /// A session lost its WebSocket: the others are told, and the grace time runs.
    pub(crate) fn lost(self: &Arc<Self>, session: Arc<Session>, turn: u64) {
        let span = tracing::info_span!(
            "call",
            call = session.call().wire_id(),
            participant = session.wire_id(),
        );
        let this = Arc::clone(self);
        let grace = tokio::time::sleep(self.config().times.grace);
        let expire = async move {
            tracing::info!("unreachable");
            this.sync_reachable(&session).await;
            grace.await;
            if session.begin_expiry(turn) {
                count(&this.counters.graces_expired);
                this.remove(&session, LeaveReason::Unreachable).await;
            }
        };
        tokio::spawn(expire.instrument(span));
    }

    /// Takes a participant out of its room and ends its session.
    pub(crate) async fn remove(self: &Arc<Self>, session: &Arc<Session>, reason: LeaveReason) {
        self.take_out(session, reason).await;
        self.end_session(session, convert::end_reason(reason));
    }

    /// Takes a participant out of its room.
    pub(crate) async fn take_out(&self, session: &Session, reason: LeaveReason) {
        let participant = session.participant();
        let leave = || Action::Leave { participant, reason };
        if let Err(error) = self.insist(session.room(), leave).await {
            tracing::warn!(%error, "the worker did not take a leave");
        }
    }

    /// Tells the core what a participant may do, as it is at the time of telling. A participant that
    /// is not in the core (yet) is told when it comes.
    pub(crate) async fn sync_permissions(&self, session: &Session) -> Result<(), HandleError> {
        let mut told = session.granted.lock().await;
        let permissions = session.call().moderation().permissions(session.bearer());
        if *told == Some(permissions) {
            return Ok(());
        }
        *told = None;
        let participant = session.participant();
        let action = || Action::SetPermissions { participant, permissions };
        match self.insist(session.room(), action).await {
            Ok(_) => *told = Some(permissions),
            Err(HandleError::Refused(_)) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Tells the core whether the client can be reached, as it is at the time of telling.
    pub(crate) async fn sync_reachable(&self, session: &Session) {
        let _turn = session.reach.lock().await;
        let participant = session.participant();
        let action = || Action::SetReachable { participant, reachable: session.is_attached() };
        if let Err(error) = self.insist(session.room(), action).await {
            tracing::debug!(%error, "reachability not told");
        }
    }
}
