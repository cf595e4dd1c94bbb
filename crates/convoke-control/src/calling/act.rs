//! Carrying out what app servers ask of calls.
//!
//! Owns: how a connection comes by its call and how it ends, inviting and transferring, and what
//! calls and rings tell connections of themselves.
//! Never: decides how an operation ends; the connection's machine and the ring do.

use std::sync::Arc;
use std::time::Duration;

use convoke_protocol::{EndReason, GroupId, RingState, RingTarget};
use uuid::Uuid;

use super::Connection;
use super::callback::Callback;
use super::connection::{Asked, INVITATIONS, Invitation, Outcome, Phase, Purpose, Settled};
use crate::calls::{Call, Locator};
use crate::control::Inner;
use crate::ring::Input;
use crate::ringing::{Owner, RingError, RingRequest};

/// Why something cannot be done; nothing was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CallingError {
    /// As many connections as may be.
    Connections(usize),
    /// As many of this call as may be.
    ConnectionsOfCall(usize),
    /// As many invitations of this connection as may be.
    Invitations(usize),
    /// The connection is not up yet.
    NotConnected,
    /// Nobody of this identity is in the call.
    NoParticipant,
    /// It is in the call, or being called into it.
    Present,
    /// Nothing rings by this context (any more).
    NotRinging,
    /// Several are in the call, and it was not said who is to be transferred.
    Transferee,
    /// Somebody is to be moved from a call into the same call.
    SameCall,
    /// Somebody is to be transferred to itself.
    Itself,
    /// The call is of a scheduled room, into which nobody is called.
    InRoom,
    /// The worker did not take it.
    Busy,
    /// The server will stop.
    Draining,
    /// What is to ring is out of its bounds.
    Ring(RingError),
}

impl From<RingError> for CallingError {
    fn from(error: RingError) -> Self {
        Self::Ring(error)
    }
}

/// What a connection begins with.
#[derive(Debug, Clone)]
pub(crate) struct Opening {
    pub(crate) callback: Callback,
    pub(crate) context: Option<String>,
    pub(crate) source: Option<String>,
    pub(crate) targets: Vec<String>,
    pub(crate) answered_by: Option<String>,
}

/// Whom to call, and how.
#[derive(Debug, Clone)]
pub(crate) struct Guest {
    pub(crate) identity: String,
    /// As whom.
    pub(crate) from: String,
    pub(crate) display_name: String,
    pub(crate) custom_context: Option<String>,
    pub(crate) timeout: Option<Duration>,
}

pub(super) fn ring_id() -> String {
    format!("i{:032x}", Uuid::new_v4().as_u128())
}

impl Inner {
    /// Begins a connection.
    pub(super) fn open(
        &self,
        opening: &Opening,
        ring: Option<String>,
    ) -> Result<Arc<Connection>, CallingError> {
        let calling = &self.calling;
        let place = Arc::clone(&calling.places).try_acquire_owned();
        let place = place.map_err(|_| CallingError::Connections(calling.config.connections))?;
        let connection = Arc::new(Connection::new(opening, ring, place));
        calling.connections.insert(Arc::clone(&connection.id), Arc::clone(&connection));
        Ok(connection)
    }

    /// Calls people: the connection is up when the first of them is in the call.
    pub(crate) fn create_call(
        self: &Arc<Self>,
        opening: &Opening,
        from: String,
        display_name: String,
        custom_context: Option<String>,
    ) -> Result<Arc<Connection>, CallingError> {
        if self.is_draining() {
            return Err(CallingError::Draining);
        }
        let (group, targets) = (GroupId::random(), opening.targets.clone());
        let request =
            RingRequest { group, from, display_name, targets, custom_context, timeout: None };
        request.check()?;
        let ring = ring_id();
        let connection = self.open(opening, Some(ring.clone()))?;
        let (id, targets) = (&*connection.id, opening.targets.len());
        tracing::info!(connection = id, ring, targets, "call automation calls");
        if let Err(error) =
            self.ring_owned(request, Owner { ring, connection: Arc::clone(&connection) })
        {
            self.calling.connections.remove(&connection.id);
            return Err(error.into());
        }
        Ok(connection)
    }

    /// Attaches to a call that runs.
    pub(crate) fn connect_call(
        self: &Arc<Self>,
        opening: &Opening,
        call: &Arc<Call>,
    ) -> Result<Arc<Connection>, CallingError> {
        let connection = self.open(opening, None)?;
        if let Err(error) = self.bind(&connection, call) {
            self.calling.connections.remove(&connection.id);
            return Err(error);
        }
        Ok(connection)
    }

    /// The connection has its call from now on.
    pub(super) fn bind(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        call: &Arc<Call>,
    ) -> Result<(), CallingError> {
        self.calling.watch(call, connection)?;
        self.calling.with(connection, |machine| machine.connected());
        tracing::info!(
            connection = &*connection.id,
            call = call.wire_id(),
            "call automation is up"
        );
        if connection.phase() != Phase::Connected {
            // It was hung up meanwhile, and did not know this call yet.
            self.calling.unwatch(connection);
        } else if call.is_over() {
            // Then its end may have been told before it was watched.
            self.disconnect(connection, EndReason::call_ended().into());
        } else {
            self.roster_changed(call);
        }
        Ok(())
    }

    /// A call that runs, by its id.
    pub(crate) fn running(&self, id: &str) -> Option<Arc<Call>> {
        self.calls.by_wire_id(id)
    }

    /// The connection ends; its call goes on.
    pub(crate) fn disconnect(self: &Arc<Self>, connection: &Arc<Connection>, outcome: Outcome) {
        let rings = self.calling.with(connection, |machine| machine.disconnect(outcome));
        let Some(rings) = rings else { return };
        self.forget_connection(connection);
        if rings.is_empty() {
            return;
        }
        // Not here, where a ring may be locked.
        let this = Arc::clone(self);
        tokio::spawn(async move {
            for ring in rings {
                // One that is over needs no canceling.
                let _ = this.feed_ring(&ring, Input::Cancel);
            }
        });
    }

    fn forget_connection(self: &Arc<Self>, connection: &Arc<Connection>) {
        self.give_up_seats(connection);
        self.calling.unwatch(connection);
        self.calling.connections.remove(&connection.id);
        tracing::info!(connection = &*connection.id, "call automation is over");
    }

    /// Ends the call for everyone, if there is one.
    pub(crate) async fn terminate(self: &Arc<Self>, connection: &Arc<Connection>) {
        let (this, connection) = (Arc::clone(self), Arc::clone(connection));
        // By itself: it is done also if nobody waits for the reply any more.
        let ending = tokio::spawn(async move {
            if let Some(call) = connection.call() {
                this.end_call(call, EndReason::call_ended()).await;
            }
            // Where there was none yet, or it was over.
            this.disconnect(&connection, EndReason::call_ended().into());
        });
        if let Err(error) = ending.await {
            tracing::error!(%error, "ending a call failed");
        }
    }

    /// All connections end.
    pub(crate) fn disconnect_all(self: &Arc<Self>, reason: &EndReason) {
        let all: Vec<_> =
            self.calling.connections.iter().map(|connection| Arc::clone(&connection)).collect();
        all.iter().for_each(|connection| self.disconnect(connection, reason.clone().into()));
    }

    /// Calls somebody into the call; the invitation's id.
    pub(crate) fn invite(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        guest: Guest,
        purpose: Purpose,
        asked: Asked,
    ) -> Result<String, CallingError> {
        let call = connection.call().ok_or(CallingError::NotConnected)?;
        let Locator::Group(group) = *call.locator() else { return Err(CallingError::InRoom) };
        if call.everyone().iter().any(|one| **one.identity() == guest.identity) {
            return Err(CallingError::Present);
        }
        // Whoever is asked in may come, also if it was removed before.
        self.call_in(connection, guest, group, purpose, asked, |identity| {
            call.moderation().readmit(identity);
        })
    }

    /// Rings somebody into the call of a group ID; the invitation's id. `taken` is done before it
    /// rings.
    pub(super) fn call_in(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        guest: Guest,
        group: GroupId,
        purpose: Purpose,
        asked: Asked,
        taken: impl FnOnce(&str),
    ) -> Result<String, CallingError> {
        let Guest { identity, from, display_name, custom_context, timeout } = guest;
        let targets = vec![identity.clone()];
        let request = RingRequest { group, from, display_name, targets, custom_context, timeout };
        request.check()?;
        let id = ring_id();
        let cancels = Vec::new();
        let invitation =
            Invitation { id: id.clone(), identity: identity.clone(), purpose, asked, cancels };
        self.calling.with(connection, |machine| {
            machine.check().map_err(|_| CallingError::NotConnected)?;
            if machine.invites(&identity) {
                return Err(CallingError::Present);
            }
            machine.invite(invitation).map_err(|_| CallingError::Invitations(INVITATIONS))
        })?;
        taken(&identity);
        let owner = Owner { ring: id.clone(), connection: Arc::clone(connection) };
        if let Err(error) = self.ring_owned(request, owner) {
            self.calling.with(connection, |machine| machine.settle(&id, RingState::Failed));
            return Err(error.into());
        }
        if connection.phase() == Phase::Disconnected {
            // Then nobody may have found it to cancel it.
            let _ = self.feed_ring(&id, Input::Cancel);
        }
        Ok(id)
    }

    /// Cancels an invitation, if it is not accepted yet; what became of it is told.
    pub(crate) fn cancel_invitation(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        id: &str,
        asked: Asked,
    ) {
        if self.calling.with(connection, |machine| machine.cancel(id, asked)) {
            // Not ringing any more: then its outcome is on its way.
            let _ = self.feed_ring(id, Input::Cancel);
        }
    }

    /// Hands the call over: once `guest` is in, the connection ends. Where several are in the call,
    /// one of them goes to a call of its own with `guest`.
    pub(crate) fn transfer(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        guest: Guest,
        transferee: Option<&str>,
        asked: Asked,
    ) -> Result<(), CallingError> {
        let call = connection.call().ok_or(CallingError::NotConnected)?;
        let mut people: Vec<String> =
            call.sessions().iter().map(|session| session.identity().to_string()).collect();
        people.sort();
        people.dedup();
        if transferee.is_some_and(|one| !people.iter().any(|other| other == one)) {
            return Err(CallingError::NoParticipant);
        }
        let [only] = &people[..] else {
            let transferee = transferee.ok_or(CallingError::Transferee)?;
            return self.transfer_out(connection, guest, transferee, asked);
        };
        let transferee = only;
        let purpose = Purpose::Transfer(transferee.clone());
        self.invite(connection, guest, purpose, asked).map(drop)
    }

    /// Removes somebody from the call, and tells what became of it.
    pub(crate) fn expel(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        identity: &str,
        asked: Asked,
    ) -> Result<(), CallingError> {
        let call = connected(connection)?;
        if !call.everyone().iter().any(|one| &**one.identity() == identity) {
            let outcome = Outcome::new(404, "The participant is not in the call.");
            self.calling.with(connection, |machine| {
                machine.remove(identity, asked);
                machine.removed(identity, &outcome);
            });
            return Ok(());
        }
        self.calling.with(connection, |machine| machine.remove(identity, asked));
        let (this, connection, call) = (Arc::clone(self), Arc::clone(connection), Arc::clone(call));
        let identity: Arc<str> = identity.into();
        tokio::spawn(async move {
            let outcome = match this.remove_identity(&call, &identity).await {
                Ok(()) => Outcome::good(),
                Err(full) => Outcome::new(409, full.0),
            };
            this.calling.with(&connection, |machine| machine.removed(&identity, &outcome));
        });
        Ok(())
    }

    /// Mutes the microphones of these.
    pub(crate) async fn silence(
        self: &Arc<Self>,
        connection: &Connection,
        identities: &[String],
    ) -> Result<(), CallingError> {
        let call = connected(connection)?;
        let mut sessions = call.sessions();
        let here = |one: &String| sessions.iter().any(|session| **session.identity() == **one);
        if !identities.iter().all(here) {
            return Err(CallingError::NoParticipant);
        }
        sessions.retain(|session| identities.iter().any(|one| **one == **session.identity()));
        self.mute_all(sessions, None).await.map(drop).map_err(|_| CallingError::Busy)
    }

    /// A ring of a connection's moved: somebody accepted, perhaps.
    pub(crate) fn ring_moved(
        self: &Arc<Self>,
        owner: &Owner,
        group: GroupId,
        targets: &[RingTarget],
    ) {
        let connection = &owner.connection;
        let accepted = targets.iter().any(|target| target.state == RingState::Accepted);
        if !accepted || connection.phase() != Phase::Connecting {
            return;
        }
        // Over already: then it fails when the ring is over.
        let Some(call) = self.calls.by_locator(&group.into()) else { return };
        if let Err(error) = self.bind(connection, &call) {
            tracing::warn!(connection = &*connection.id, ?error, "a call that was created is lost");
        }
    }

    /// A ring of a connection's is over.
    pub(crate) fn ring_settled(self: &Arc<Self>, owner: &Owner, targets: &[RingTarget]) {
        let Owner { ring, connection } = owner;
        let state = best(targets);
        let outcome = match state {
            // And yet there is no call to be of.
            RingState::Accepted => Outcome::new(410, "The call was over at once."),
            state => state.into(),
        };
        let gone = self.calling.with(connection, |machine| machine.ring_over(ring, outcome));
        if gone {
            self.forget_connection(connection);
        }
        match self.calling.with(connection, |machine| machine.settle(ring, state)) {
            Settled::Nothing => {}
            Settled::HandedOver => {
                self.disconnect(connection, Outcome::new(200, "The call was transferred."));
            }
            Settled::Go(one, group) => self.send_over(connection, &one, group),
        }
    }
}

pub(super) fn connected(connection: &Connection) -> Result<&Arc<Call>, CallingError> {
    let call = connection.call().filter(|_| connection.phase() == Phase::Connected);
    call.ok_or(CallingError::NotConnected)
}

/// What a ring of several came to: the first of these that occurred.
fn best(targets: &[RingTarget]) -> RingState {
    use RingState as S;
    let order = [S::Accepted, S::Declined, S::Busy, S::TimedOut, S::Canceled, S::Unreachable];
    let occurred = |state: &&S| targets.iter().any(|target| target.state == **state);
    order.iter().find(occurred).copied().unwrap_or(S::Failed)
}
