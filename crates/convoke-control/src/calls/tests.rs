use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use convoke_protocol::{Ack, EndReason, LobbyPolicy, Role};

use super::*;
use crate::config::Limits;
use crate::ids::{AgentId, ResumeToken};
use crate::outlet::{Drain, Outlet, outlet};

static NEXT: AtomicU32 = AtomicU32::new(1);
static ROOM: AtomicU64 = AtomicU64::new(1);

fn enter(
    calls: &CallTable,
    group: impl Into<Locator>,
    may_start: bool,
) -> Result<Arc<Session>, EnterError> {
    let participant = ParticipantId(NEXT.fetch_add(1, Ordering::Relaxed));
    let (out, _drain) = outlet(AgentId::random(), &Limits::default());
    let new_room = || RoomId(ROOM.fetch_add(1, Ordering::Relaxed));
    enter_as(calls, &Arc::new(Wanted::test(group, may_start)), participant, out, new_room)
}

fn enter_as(
    calls: &CallTable,
    wanted: &Arc<Wanted>,
    participant: ParticipantId,
    out: Outlet,
    new_room: impl FnOnce() -> RoomId,
) -> Result<Arc<Session>, EnterError> {
    let session = |call: &Arc<Call>| {
        Session::new(Arc::clone(call), participant, wanted.bearer.clone(), out, 8)
    };
    calls.enter(wanted, new_room, session, |_| ServerMessage::Ack(Ack { request_id: None }))
}

fn make_live(session: &Session) {
    session.joined(1, "{}".into(), ResumeToken::random().hash()).unwrap();
}

#[test]
fn a_call_starts_with_voip_and_only_with_voip() {
    let (calls, group) = (CallTable::new(10), GroupId::random());
    assert_eq!(enter(&calls, group, false).unwrap_err(), EnterError::NotRunning);
    assert_eq!(calls.count(), 0);
    let first = enter(&calls, group, true).unwrap();
    assert_eq!(calls.count(), 1);
    assert_eq!(
        enter(&calls, group, false).unwrap_err(),
        EnterError::NotRunning,
        "a join under way is not a running call"
    );
    make_live(&first);
    let second = enter(&calls, group, false).unwrap();
    assert!(Arc::ptr_eq(first.call(), second.call()));
}

#[test]
fn a_failed_first_join_leaves_no_state() {
    let (calls, group) = (CallTable::new(10), GroupId::random());
    let first = enter(&calls, group, true).unwrap();
    let room = first.call().room();
    assert!(calls.leave(&first));
    assert_eq!(calls.count(), 0);
    assert!(calls.by_locator.is_empty() && calls.by_number.is_empty());
    assert!(calls.by_room(room).is_none());
    assert!(!calls.leave(&first), "a second leave is harmless");
    assert_eq!(calls.count(), 0);
}

#[test]
fn a_join_under_way_keeps_the_call_and_one_after_the_end_makes_a_fresh_one() {
    let (calls, group) = (CallTable::new(10), GroupId::random());
    let first = enter(&calls, group, true).unwrap();
    make_live(&first);
    let racing = enter(&calls, group, true).unwrap();
    first.finish(EndReason::left());
    assert!(!calls.leave(&first));
    assert!(Arc::ptr_eq(first.call(), racing.call()));
    assert!(calls.leave(&racing));
    assert!(first.call().is_over());
    let fresh = enter(&calls, group, true).unwrap();
    assert!(!Arc::ptr_eq(first.call(), fresh.call()));
    assert_ne!(first.call().wire_id(), fresh.call().wire_id());
    assert_ne!(first.call().room(), fresh.call().room());
    assert!(!calls.leave(&first), "an old session does not end the fresh call");
    assert_eq!(calls.count(), 1);
}

#[test]
fn a_killed_call_is_gone_for_its_own_joins_and_the_next() {
    let (calls, group) = (CallTable::new(10), GroupId::random());
    let session = enter(&calls, group, true).unwrap();
    assert!(calls.kill(session.call()));
    assert!(session.call().is_over());
    assert_eq!(calls.count(), 0);
    let fresh = enter(&calls, group, true).unwrap();
    assert!(!Arc::ptr_eq(session.call(), fresh.call()));
    assert!(!calls.kill(session.call()));
    assert!(!calls.leave(&session));
    assert_eq!(calls.count(), 1);
}

#[test]
fn the_number_of_calls_is_bounded() {
    let calls = CallTable::new(2);
    let first = enter(&calls, GroupId::random(), true).unwrap();
    enter(&calls, GroupId::random(), true).unwrap();
    let third = GroupId::random();
    assert_eq!(enter(&calls, third, true).unwrap_err(), EnterError::TooManyCalls);
    assert!(
        enter(&calls, first.call().locator().clone(), true).is_ok(),
        "running ones can be joined"
    );
    let calls_now = calls.watch();
    calls.kill(first.call());
    assert_eq!(*calls_now.borrow(), 1);
    assert!(enter(&calls, third, true).is_ok());
}

#[test]
fn simultaneous_first_joins_make_one_call() {
    let (calls, group) = (CallTable::new(10), GroupId::random());
    let sessions: Vec<Arc<Session>> = std::thread::scope(|scope| {
        let joins: Vec<_> =
            (0..8).map(|_| scope.spawn(|| enter(&calls, group, true).unwrap())).collect();
        joins.into_iter().map(|join| join.join().unwrap()).collect()
    });
    assert!(sessions.iter().all(|one| Arc::ptr_eq(one.call(), sessions[0].call())));
    assert_eq!((calls.count(), sessions[0].call().sessions().len()), (1, 8));
}

#[test]
fn entering_and_leaving_from_many_threads_leaves_nothing() {
    let (calls, group) = (CallTable::new(10), GroupId::random());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    let session = enter(&calls, group, true).unwrap();
                    assert!(!session.call().is_over());
                    make_live(&session);
                    session.finish(EndReason::left());
                    calls.leave(&session);
                }
            });
        }
    });
    assert_eq!(calls.count(), 0);
    assert!(calls.by_locator.is_empty() && calls.by_number.is_empty());
}

/// Someone in the call that `first` begins, with this lobby.
fn come(calls: &CallTable, wanted: Wanted) -> (Result<Arc<Session>, EnterError>, Drain) {
    let participant = ParticipantId(NEXT.fetch_add(1, Ordering::Relaxed));
    let (out, drain) = outlet(AgentId::random(), &Limits::default());
    let new_room = || RoomId(ROOM.fetch_add(1, Ordering::Relaxed));
    (enter_as(calls, &Arc::new(wanted), participant, out, new_room), drain)
}

fn guest(group: GroupId) -> Wanted {
    let mut wanted = Wanted::test(group, true);
    (wanted.bearer.identity, wanted.bearer.guest) = ("guest".into(), true);
    wanted
}

#[test]
fn who_waits_keeps_the_call_and_is_not_in_it() {
    let (calls, group) = (CallTable::new(10), GroupId::random());
    let host = Wanted { lobby: LobbyPolicy::Guests, ..Wanted::test(group, true) };
    let host = come(&calls, host).0.unwrap();
    make_live(&host);
    let call = Arc::clone(host.call());
    assert_eq!(call.moderation().role(host.bearer()), Some(Role::Presenter));
    let (waits, mut drain) = come(&calls, guest(group));
    let waits = waits.unwrap();
    assert!(waits.is_waiting() && drain.rest().is_some(), "told that it waits");
    assert_eq!((call.sessions().len(), call.waiting().len(), call.everyone().len()), (1, 1, 2));
    assert_eq!(waits.push(7, &"a change".into()), None);
    assert_eq!(drain.rest(), None, "who waits hears nothing of the call");
    assert!(!calls.leave(&host), "the lobby outlives its presenter");
    assert_eq!(
        enter(&calls, group, false).unwrap_err(),
        EnterError::NotRunning,
        "a call in which everybody waits does not run"
    );
    let admitted = call.admit(None);
    assert_eq!((admitted.len(), call.waiting().len(), call.sessions().len()), (1, 0, 1));
    assert!(!waits.is_waiting() && waits.is_outside());
    assert!(call.admit(None).is_empty());
    make_live(&waits);
    assert!(!waits.is_outside());
    assert!(calls.leave(&waits));
}

#[test]
fn a_full_lobby_refuses_and_an_invited_guest_comes_past_it() {
    let (calls, group) = (CallTable::new(10), GroupId::random());
    let host = Wanted { lobby: LobbyPolicy::Guests, ..Wanted::test(group, true) };
    let _host = come(&calls, host).0.unwrap();
    for _ in 0..LOBBY {
        assert!(come(&calls, guest(group)).0.unwrap().is_waiting());
    }
    assert_eq!(come(&calls, guest(group)).0.unwrap_err(), EnterError::LobbyFull);
    let invited = Wanted { invited: true, ..guest(group) };
    assert!(!come(&calls, invited).0.unwrap().is_waiting());
}

#[test]
fn a_removed_identity_cannot_come_in_while_the_call_lives() {
    let (calls, group) = (CallTable::new(10), GroupId::random());
    let host = enter(&calls, group, true).unwrap();
    make_live(&host);
    host.call().moderation().remove(&"guest".into()).unwrap();
    assert_eq!(come(&calls, guest(group)).0.unwrap_err(), EnterError::Removed);
    let invited = Wanted { invited: true, ..guest(group) };
    assert_eq!(come(&calls, invited).0.unwrap_err(), EnterError::Removed);
    assert!(calls.leave(&host));
    assert!(come(&calls, guest(group)).0.is_ok(), "the next call is another");
}
