//! Moving somebody from one call into another.
//!
//! Owns: the seats that are kept for those who are moved, for a while: with one, an identity may join
//! the call past its lobby and whatever group ID its token is for, and while it is in the other.
//! Never: joins for anybody. Clients come by themselves, told by `moved`; until then they are where
//! they were, and one that does not come stays there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use convoke_node::core::LeaveReason;
use convoke_protocol::{EndReason, GroupId, Moved, ServerMessage};
use dashmap::DashMap;

use super::act::{CallingError, Guest, connected, ring_id};
use super::connection::{Asked, INVITATIONS, Move, Outcome, Phase, Purpose};
use super::{Calling, Connection};
use crate::calls::{Call, Locator};
use crate::config::millis;
use crate::control::Inner;
use crate::refusal::Refusal;
use crate::session::Session;

/// How often it is looked whether a join that is under way when the time is over has come to its end.
const LOOK: Duration = Duration::from_millis(50);

/// What is kept for an identity that is moved.
pub(crate) struct Seat {
    /// The move's.
    id: String,
    identity: Arc<str>,
    group: GroupId,
    from: Arc<Call>,
    until: Instant,
    /// Whose outcome it is.
    connection: Arc<Connection>,
    /// Its call is there for this move alone.
    transfer: bool,
    /// Somebody has come.
    taken: AtomicBool,
    /// Joins by it that are under way: they are waited for.
    coming: AtomicUsize,
}

/// A join by a seat.
pub(crate) struct Coming(Arc<Seat>);

impl Coming {
    fn new(seat: Arc<Seat>) -> Self {
        seat.coming.fetch_add(1, Ordering::AcqRel);
        Self(seat)
    }

    /// Whether the session is one of those who are moved.
    pub(crate) fn is_from(&self, session: &Session) -> bool {
        self.0.is_from(session)
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.0.coming.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Seat {
    fn is_from(&self, session: &Session) -> bool {
        Arc::ptr_eq(session.call(), &self.from)
    }

    /// Those who are still where they were.
    fn those_left(&self) -> Vec<Arc<Session>> {
        let mut sessions = self.from.sessions();
        sessions.retain(|one| *one.identity() == self.identity && !one.is_ended());
        sessions
    }

    fn message(&self) -> ServerMessage {
        ServerMessage::Moved(Moved {
            call_id: self.from.wire_id().to_owned(),
            group_id: self.group.to_string(),
            timeout_ms: millis(self.until.saturating_duration_since(Instant::now())),
            reason: None,
        })
    }
}

/// All of them, by identity.
pub(super) type Seats = DashMap<Arc<str>, Vec<Arc<Seat>>>;

impl Calling {
    fn seats_of(&self, identity: &str) -> Vec<Arc<Seat>> {
        self.seats.get(identity).map(|seats| seats.clone()).unwrap_or_default()
    }

    fn unseat(&self, seat: &Arc<Seat>) {
        let none_left = |_: &Arc<str>, seats: &mut Vec<Arc<Seat>>| {
            seats.retain(|one| !Arc::ptr_eq(one, seat));
            seats.is_empty()
        };
        self.seats.remove_if_mut(&seat.identity, none_left);
    }
}

impl Inner {
    /// Moves these from the call of `from` into that of `connection`; what becomes of each is told.
    pub(crate) fn move_here(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        from: &Connection,
        identities: &[String],
        asked: &Asked,
    ) -> Result<(), CallingError> {
        if self.is_draining() {
            return Err(CallingError::Draining);
        }
        let (call, from) = (connected(connection)?, connected(from)?);
        let Locator::Group(group) = *call.locator() else { return Err(CallingError::InRoom) };
        if Arc::ptr_eq(call, from) {
            return Err(CallingError::SameCall);
        }
        let moving = |identity: &String| Move {
            id: ring_id(),
            identity: identity.clone(),
            target: None,
            asked: asked.clone(),
        };
        let moves: Vec<Move> = identities.iter().map(moving).collect();
        self.calling.with(connection, |machine| {
            machine.check().map_err(|_| CallingError::NotConnected)?;
            machine.begin_moves(&moves).map_err(|_| CallingError::Invitations(INVITATIONS))
        })?;
        moves.iter().for_each(|one| self.seat(connection, from, one, group));
        Ok(())
    }

    /// Calls `guest` in the name of one of several in the call, who goes to a fresh call with it once
    /// it has accepted.
    pub(super) fn transfer_out(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        mut guest: Guest,
        transferee: &str,
        asked: Asked,
    ) -> Result<(), CallingError> {
        let call = connected(connection)?;
        if guest.identity == transferee {
            return Err(CallingError::Itself);
        }
        let everyone = call.everyone();
        if everyone.iter().any(|one| **one.identity() == guest.identity) {
            return Err(CallingError::Present);
        }
        let found = everyone.iter().find(|one| &**one.identity() == transferee);
        let bearer = found.ok_or(CallingError::NoParticipant)?.bearer();
        guest.from = transferee.to_owned();
        guest.display_name = bearer.display_name.to_string();
        let group = GroupId::random();
        let purpose = Purpose::TransferOut { transferee: transferee.to_owned(), group };
        self.call_in(connection, guest, group, purpose, asked, |_| {}).map(drop)
    }

    /// The target of a transfer is there: now the transferee shall go.
    pub(super) fn send_over(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        one: &Move,
        group: GroupId,
    ) {
        if let Some(from) = connection.call() {
            self.seat(connection, from, one, group);
        }
    }

    /// Keeps a seat, and tells the one whom it is for.
    fn seat(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        from: &Arc<Call>,
        one: &Move,
        group: GroupId,
    ) {
        let within = self.calling.config.move_within;
        let seat = Arc::new(Seat {
            id: one.id.clone(),
            identity: one.identity.as_str().into(),
            group,
            from: Arc::clone(from),
            until: Instant::now() + within,
            connection: Arc::clone(connection),
            transfer: one.target.is_some(),
            taken: AtomicBool::new(false),
            coming: AtomicUsize::new(0),
        });
        let those = seat.those_left();
        if those.is_empty() {
            let outcome = Outcome::new(404, "The participant is not in the call that it was in.");
            return self.give_up_seat(&seat, outcome);
        }
        let call = self.calls.by_locator(&group.into());
        if call.is_some_and(|call| call.moderation().is_removed(&seat.identity)) {
            let outcome = Outcome::new(403, "The participant was removed from this call before.");
            return self.give_up_seat(&seat, outcome);
        }
        self.calling.seats.entry(Arc::clone(&seat.identity)).or_default().push(Arc::clone(&seat));
        if connection.phase() == Phase::Disconnected {
            // Then nobody may have found it to give it up.
            return self.give_up_seats(connection);
        }
        tracing::info!(connection = &*connection.id, identity = ?seat.identity, "moves");
        those.iter().for_each(|session| self.tell(session, &seat.message()));
        let this = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(within).await;
            while seat.coming.load(Ordering::Acquire) > 0 {
                tokio::time::sleep(LOOK).await;
            }
            let text = if seat.those_left().is_empty() {
                "The participant did not come in time, and has left the call that it was in."
            } else {
                "The participant did not come in time; it is in its call as before."
            };
            this.give_up_seat(&seat, Outcome::new(408, text));
        });
    }

    /// What is kept for an identity in a call, if anything is.
    pub(crate) fn seat_for(&self, identity: &str, group: GroupId) -> Option<Coming> {
        let found = self.calling.seats_of(identity).into_iter().rfind(|seat| seat.group == group);
        found.map(Coming::new)
    }

    /// Tells a client that it shall go, if it shall.
    pub(crate) fn tell_moves(self: &Arc<Self>, session: &Arc<Session>) {
        if self.calling.seats.is_empty() {
            return;
        }
        for seat in self.calling.seats_of(session.identity()) {
            if seat.is_from(session) {
                self.tell(session, &seat.message());
            }
        }
    }

    /// Somebody joined by a seat, or could not. Who came leaves the call that it was in.
    pub(crate) fn seat_used(
        self: &Arc<Self>,
        Coming(seat): &Coming,
        left: Option<Arc<Session>>,
        came: Result<&(), &Refusal>,
    ) {
        if let Err(refusal) = came {
            if !refusal.is_temporary() {
                let text = format!("The participant could not join: {}", refusal.message());
                self.give_up_seat(seat, Outcome::new(410, &text));
            }
            return;
        }
        seat.taken.store(true, Ordering::Release);
        if let Some(call) = self.calls.by_locator(&seat.group.into()) {
            call.moderation().admit(&seat.identity);
        }
        self.calling.with(&seat.connection, |machine| machine.moved(&seat.id, Outcome::good()));
        if let Some(left) = left.filter(|one| !one.is_ended()) {
            self.end_session(&left, EndReason::moved());
            let this = Arc::clone(self);
            tokio::spawn(async move { this.take_out(&left, LeaveReason::Left).await });
        }
        if seat.those_left().is_empty() {
            // Its other devices, if there are any, have come too.
            self.calling.unseat(seat);
        }
    }

    fn give_up_seat(self: &Arc<Self>, seat: &Arc<Seat>, outcome: Outcome) {
        self.calling.unseat(seat);
        self.calling.with(&seat.connection, |machine| machine.moved(&seat.id, outcome));
        if !seat.transfer || seat.taken.load(Ordering::Acquire) {
            return;
        }
        // Whoever waits there waits in vain. Not here, where a ring may be locked.
        if let Some(call) = self.calls.by_locator(&seat.group.into()) {
            let this = Arc::clone(self);
            tokio::spawn(async move { this.end_call(&call, EndReason::call_ended()).await });
        }
    }

    /// A connection is over: so is what it moves.
    pub(super) fn give_up_seats(self: &Arc<Self>, connection: &Arc<Connection>) {
        let all = self.calling.seats.iter();
        let theirs: Vec<Arc<Seat>> = all
            .flat_map(|seats| seats.clone())
            .filter(|seat| Arc::ptr_eq(&seat.connection, connection))
            .collect();
        for seat in theirs {
            self.give_up_seat(&seat, Outcome::new(487, "The connection ended first."));
        }
    }
}
