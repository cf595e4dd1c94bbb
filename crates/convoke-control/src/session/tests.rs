use convoke_node::core::RoomId;
use convoke_protocol::{GroupId, decode_server};

use super::*;
use crate::calls::CallTable;
use crate::config::Limits;
use crate::ids::ResumeToken;
use crate::outlet::{Drain, outlet};

const HELD: usize = 4;

struct Client {
    outlet: Outlet,
    drain: Drain,
}

impl Client {
    fn new() -> Self {
        let limits = Limits { queue_messages: 8, ..Limits::default() };
        let (outlet, drain) = outlet(AgentId::random(), &limits);
        Self { outlet, drain }
    }

    fn heard(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.drain.rest()).map(|text| text.to_string()).collect()
    }
}

fn hash() -> ResumeHash {
    ResumeToken::random().hash()
}

fn session(client: &Client) -> Arc<Session> {
    let calls = CallTable::new(1);
    let wanted = Arc::new(crate::join::Wanted::test(GroupId::random(), true));
    let entered = calls.enter(
        &wanted,
        || RoomId(1),
        |call| {
            let outlet = client.outlet.clone();
            Session::new(Arc::clone(call), ParticipantId(1), wanted.bearer.clone(), outlet, HELD)
        },
        |_| ServerMessage::Ack(convoke_protocol::Ack { request_id: None }),
    );
    entered.unwrap()
}

fn live(client: &Client) -> (Arc<Session>, ResumeHash) {
    let (session, hash) = (session(client), hash());
    assert_eq!(session.joined(5, "joined".into(), hash), Ok(Delivered { stale: false }));
    (session, hash)
}

fn push(session: &Session, version: u64) -> Option<u64> {
    session.push(version, &version.to_string().into())
}

#[test]
fn changes_wait_for_the_snapshot_and_older_ones_are_dropped() {
    let mut client = Client::new();
    let session = session(&client);
    for version in [4, 5, 6, 6] {
        push(&session, version);
    }
    assert_eq!(client.heard(), [""; 0]);
    session.joined(5, "joined".into(), hash()).unwrap();
    for version in [5, 7] {
        push(&session, version);
    }
    assert_eq!(client.heard(), ["joined", "6", "6", "7"]);
}

#[test]
fn too_many_held_changes_ask_for_another_snapshot() {
    let mut client = Client::new();
    let session = session(&client);
    for version in 1..=HELD as u64 + 1 {
        push(&session, version);
    }
    assert_eq!(session.joined(1, "joined".into(), hash()), Ok(Delivered { stale: true }));
    assert_eq!(client.heard(), ["joined"]);
}

#[test]
fn a_refresh_holds_changes_back_and_replaces_what_was_known() {
    let mut client = Client::new();
    let (session, _) = live(&client);
    session.begin_refresh();
    push(&session, 7);
    push(&session, 9);
    assert_eq!(session.refreshed(8, "snapshot".into()), Delivered { stale: false });
    assert_eq!(client.heard(), ["joined", "snapshot", "9"]);
    session.refreshed(10, "stray".into());
    assert_eq!(client.heard(), [""; 0], "nobody waits for it");
}

#[test]
fn a_refresh_during_a_join_is_remembered() {
    let mut client = Client::new();
    let session = session(&client);
    session.begin_refresh();
    session.refreshed(1, "snapshot".into());
    assert_eq!(session.joined(5, "joined".into(), hash()), Ok(Delivered { stale: true }));
    assert_eq!(client.heard(), ["joined"]);
}

#[test]
fn a_slow_client_is_detached_and_can_resume() {
    let client = Client::new();
    let (session, used) = live(&client);
    let mut turn = None;
    for version in 6..20 {
        turn = turn.or(push(&session, version));
    }
    assert!(turn.is_some() && !session.is_attached());
    let mut again = Client::new();
    session.attach(again.outlet.clone(), used, hash()).unwrap();
    session.resumed(again.outlet.agent(), 20, "resumed".into()).unwrap();
    assert_eq!(again.heard(), ["resumed"]);
    assert!(!session.begin_expiry(turn.unwrap()), "the grace time was cut short");
}

#[test]
fn the_used_token_stays_good_until_its_successor_is_used() {
    let (first, client) = (Client::new(), Client::new());
    let (session, one) = live(&first);
    let (two, three, four) = (hash(), hash(), hash());
    let attach = |used, fresh| session.attach(client.outlet.clone(), used, fresh);
    assert_eq!(attach(one, two), Ok(None));
    assert_eq!(attach(one, three), Ok(Some(two)), "`resumed` never arrived");
    assert_eq!(attach(two, four), Err(Over));
    assert_eq!(attach(three, four), Ok(Some(one)));
    assert_eq!(attach(one, two), Err(Over));
}

#[tokio::test]
async fn a_takeover_closes_the_old_socket_whose_end_then_changes_nothing() {
    let (mut old, new) = (Client::new(), Client::new());
    let (session, used) = live(&old);
    session.attach(new.outlet.clone(), used, hash()).unwrap();
    assert_eq!(old.drain.next().await, crate::outlet::Next::Close(close::TAKEN_OVER));
    assert_eq!(session.detach(old.outlet.agent()), None);
    assert!(session.is_attached());
    assert_eq!(session.resumed(old.outlet.agent(), 9, "resumed".into()), Err(Over));
}

#[test]
fn grace_expires_once_and_then_nothing_resumes() {
    let (client, late) = (Client::new(), Client::new());
    let (session, used) = live(&client);
    let turn = session.detach(client.outlet.agent()).unwrap();
    assert!(session.begin_expiry(turn));
    assert!(!session.begin_expiry(turn));
    assert_eq!(session.attach(late.outlet, used, hash()), Err(Over));
    assert!(session.is_live(), "the core has it until it says otherwise");
}

#[test]
fn an_old_grace_time_does_not_end_a_new_detachment() {
    let (client, again) = (Client::new(), Client::new());
    let (session, used) = live(&client);
    let first = session.detach(client.outlet.agent()).unwrap();
    session.attach(again.outlet.clone(), used, hash()).unwrap();
    let second = session.detach(again.outlet.agent()).unwrap();
    assert!(!session.begin_expiry(first));
    assert!(session.begin_expiry(second));
}

#[test]
fn the_end_is_told_once_and_answers_the_leave() {
    let mut client = Client::new();
    let (session, _) = live(&client);
    session.begin_leave(Some(7)).unwrap();
    assert_eq!(session.begin_leave(Some(8)), Err(Over));
    assert_eq!(session.finish(EndReason::left()).unwrap().len(), 1);
    assert!(session.finish(EndReason::server_failed()).is_none());
    let heard = client.heard();
    let Ok(ServerMessage::Ended(ended)) = decode_server(&heard[1]) else { panic!("{heard:?}") };
    assert_eq!((ended.request_id, ended.reason), (Some(7), EndReason::left()));
    assert_eq!(heard.len(), 2);
    push(&session, 99);
    assert_eq!(client.heard(), [""; 0], "nothing follows");
}

#[test]
fn a_leave_that_the_core_did_not_take_can_be_tried_again() {
    let client = Client::new();
    let (session, _) = live(&client);
    session.begin_leave(Some(7)).unwrap();
    session.abort_leave();
    assert_eq!(session.begin_leave(None), Ok(()));
}

#[test]
fn an_end_during_the_join_is_left_to_the_join_to_tell() {
    let mut client = Client::new();
    let session = session(&client);
    assert!(session.finish(EndReason::media_lost()).is_some());
    assert_eq!(session.joined(1, "joined".into(), hash()), Err(Over));
    assert_eq!(client.heard(), [""; 0]);
}

fn data(session: &Session, durable: bool, text: &str) -> DataPushed {
    session.push_data(durable, &text.into())
}

#[test]
fn data_waits_for_the_snapshot_and_is_in_none() {
    let mut client = Client::new();
    let (session, used) = live(&client);
    assert_eq!(data(&session, true, "one"), DataPushed::Taken);
    session.begin_refresh();
    push(&session, 7);
    assert_eq!(data(&session, true, "two"), DataPushed::Taken);
    session.refreshed(8, "snapshot".into());
    assert_eq!(client.heard(), ["joined", "one", "snapshot", "two"]);
    session.detach(client.outlet.agent()).unwrap();
    assert_eq!(data(&session, true, "three"), DataPushed::Detached);
    let mut again = Client::new();
    session.attach(again.outlet.clone(), used, hash()).unwrap();
    assert_eq!(data(&session, false, "four"), DataPushed::Taken);
    session.resumed(again.outlet.agent(), 9, "resumed".into()).unwrap();
    assert_eq!(again.heard(), ["resumed", "four"]);
}

#[test]
fn data_that_finds_no_place_before_a_snapshot_is_dropped_or_closes_so_that_the_gap_is_told() {
    let mut client = Client::new();
    let (session, used) = live(&client);
    session.begin_refresh();
    for version in 6..20 {
        push(&session, version);
    }
    for text in ["one", "two", "three", "four"] {
        assert_eq!(data(&session, true, text), DataPushed::Taken);
    }
    // Changes beyond the bound make room for later ones, data stays.
    push(&session, 20);
    assert_eq!(data(&session, false, "lossy"), DataPushed::Dropped);
    assert!(session.is_attached());
    assert!(matches!(data(&session, true, "five"), DataPushed::TooSlow(_)));
    assert!(!session.is_attached());
    assert_eq!(client.heard(), ["joined"]);
    assert_eq!(*client.outlet.closing().borrow(), Some(close::SLOW_READER));
    // A client that joins or resumes has been told nothing yet: nothing to close for.
    let again = Client::new();
    session.attach(again.outlet.clone(), used, hash()).unwrap();
    for _ in 0..HELD {
        assert_eq!(data(&session, true, "held"), DataPushed::Taken);
    }
    assert_eq!(data(&session, true, "too early"), DataPushed::Detached);
    assert!(session.is_attached());
}

#[test]
fn a_client_too_slow_for_durable_data_is_detached_and_for_lossy_data_is_not() {
    let client = Client::new();
    let (session, _) = live(&client);
    let lossy: Vec<_> = (0..20).map(|_| data(&session, false, "x")).collect();
    assert_eq!(lossy.iter().filter(|pushed| **pushed == DataPushed::Taken).count(), 3);
    assert!(session.is_attached());
    let durable: Vec<_> = (0..5).map(|_| data(&session, true, "x")).collect();
    assert!(matches!(durable[4], DataPushed::TooSlow(_)), "{durable:?}");
    assert_eq!(data(&session, true, "x"), DataPushed::Detached);
}
