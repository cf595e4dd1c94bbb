//! Scheduled rooms as live calls see them.
//!
//! Owns: who may join a room's call as what, and that changes of a room act at once in its call.
//! Never: changes a room; `rest` does, and tells us here.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use convoke_node::core::LeaveReason;
use convoke_protocol::{EndReason, ErrorCode, Role};
use convoke_store::{self as store, Room, Store, StoreError};

use crate::calls::{Call, Locator};
use crate::control::Inner;
use crate::convert;
use crate::refusal::Refusal;
use crate::rest::time::now_ms;
use crate::session::Session;

/// How often it is checked whether a room's time is over.
const CHECK: Duration = Duration::from_secs(1);

/// When a room can be joined, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RoomTimes {
    pub(crate) from: i64,
    pub(crate) until: i64,
}

/// As what somebody may join.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Admission {
    pub(crate) role: Role,
    pub(crate) times: RoomTimes,
    /// How many changes of rooms there had been when this was found.
    pub(crate) seen: u64,
}

impl From<&Room> for RoomTimes {
    fn from(room: &Room) -> Self {
        Self { from: room.valid_from, until: room.valid_until }
    }
}

impl RoomTimes {
    /// Why nobody may be in the room at `now`.
    fn closed(&self, now: i64) -> Option<(ErrorCode, EndReason)> {
        if now >= self.until {
            Some((ErrorCode::RoomExpired, EndReason::room_expired()))
        } else if now < self.from {
            Some((ErrorCode::RoomNotOpen, EndReason::room_not_open()))
        } else {
            None
        }
    }
}

fn role(role: store::Role) -> Role {
    match role {
        store::Role::Presenter => Role::Presenter,
        store::Role::Attendee => Role::Attendee,
        store::Role::Consumer => Role::Consumer,
        store::Role::Collaborator => Role::Collaborator,
    }
}

impl Inner {
    fn store(&self) -> Option<Store> {
        self.config().services.as_ref().map(|services| services.store.clone())
    }

    /// As what an identity may join a room's call now.
    pub(crate) async fn admission(&self, id: &str, who: &str) -> Result<Admission, Refusal> {
        let not_found = || {
            let text = "there is no such room";
            Refusal::new(ErrorCode::RoomNotFound, text).field("roomId")
        };
        let seen = self.room_changes.load(Ordering::Acquire);
        let found = self.store().ok_or_else(not_found)?.room_for(id, who).await;
        let (room, found) = found.map_err(|error| match error {
            StoreError::NotFound => not_found(),
            error => {
                tracing::warn!(%error, "a join needs the store");
                convert::busy(self.config().times.retry_after)
            }
        })?;
        let refuse = |code, reason: EndReason| {
            let text = reason.message.clone();
            Refusal::new(code, text).field("roomId").reason(reason)
        };
        let Some(found) = found else {
            return Err(refuse(ErrorCode::RoomNotInvited, EndReason::not_invited()));
        };
        let times = RoomTimes::from(&room);
        match times.closed(now_ms()) {
            Some((code, reason)) => Err(refuse(code, reason)),
            None => Ok(Admission { role: role(found), times, seen }),
        }
    }

    /// A room changed while somebody joined its call: what was found then may be wrong by now.
    pub(crate) async fn recheck(self: &Arc<Self>, session: &Arc<Session>, admission: &Admission) {
        let Locator::Room(id) = session.call().locator() else { return };
        if self.room_changes.load(Ordering::Acquire) == admission.seen {
            return;
        }
        match self.admission(id, session.identity()).await {
            Ok(found) => {
                session.call().set_times(found.times);
                self.give(session.call(), session.identity(), Some(found.role)).await;
            }
            Err(refusal) => {
                let reason = refusal.end_reason().unwrap_or_else(EndReason::call_ended);
                self.remove_for(session, reason).await;
            }
        }
    }

    fn room_call(&self, id: &str) -> Option<Arc<Call>> {
        self.room_changes.fetch_add(1, Ordering::AcqRel);
        self.calls.by_locator(&Locator::Room(id.into()))
    }

    /// A room's times were changed.
    pub(crate) async fn room_updated(self: &Arc<Self>, room: &Room) {
        let Some(call) = self.room_call(&room.id) else { return };
        call.set_times(room.into());
        self.end_if_closed(&call).await;
    }

    /// A room was deleted.
    pub(crate) async fn room_deleted(self: &Arc<Self>, id: &str) {
        if let Some(call) = self.room_call(id) {
            self.end_call(&call, EndReason::call_ended()).await;
        }
    }

    /// A room's list was changed.
    pub(crate) async fn room_list_changed(
        self: &Arc<Self>,
        id: &str,
        list: &[(String, Option<store::Role>)],
    ) {
        let Some(call) = self.room_call(id) else { return };
        for (identity, new) in list {
            // Also for who is not there: it may come again while the call lives.
            self.give(&call, identity, new.map(role)).await;
            if new.is_some() {
                continue;
            }
            for session in call.everyone() {
                if **session.identity() == **identity && !session.is_ended() {
                    self.remove_for(&session, EndReason::removed_from_room()).await;
                }
            }
        }
    }

    async fn give(self: &Arc<Self>, call: &Arc<Call>, identity: &str, role: Option<Role>) {
        if let Err(error) = self.give_role(call, identity, role).await {
            // Whoever joins just now is looked at again.
            tracing::warn!(%error, "a role was not taken");
        }
    }

    /// Takes a participant out for a reason of the control plane's own.
    pub(crate) async fn remove_for(self: &Arc<Self>, session: &Arc<Session>, reason: EndReason) {
        self.end_session(session, reason);
        self.take_out(session, LeaveReason::Removed).await;
    }

    async fn end_if_closed(self: &Arc<Self>, call: &Arc<Call>) {
        if let Some((_, reason)) = call.times().and_then(|times| times.closed(now_ms())) {
            self.end_call(call, reason).await;
        }
    }

    /// Ends calls whose room's time is over. Runs for ever.
    pub(crate) async fn watch_rooms(self: &Arc<Self>) {
        let mut tick = tokio::time::interval(CHECK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            for call in self.calls.all() {
                self.end_if_closed(&call).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_open_from_its_beginning_until_before_its_end() {
        let times = RoomTimes { from: 10, until: 20 };
        let code = |now| times.closed(now).map(|(code, _)| code);
        assert_eq!(code(9), Some(ErrorCode::RoomNotOpen));
        assert_eq!(code(10), None);
        assert_eq!(code(19), None);
        assert_eq!(code(20), Some(ErrorCode::RoomExpired));
    }
}
