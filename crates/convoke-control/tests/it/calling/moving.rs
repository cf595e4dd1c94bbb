//! Moving participants from call to call, and transferring one of several.

use convoke_control::TokenRequest;
use convoke_protocol::{ErrorCode, LobbyPolicy, Moved};

use super::*;

fn moved(message: &ServerMessage) -> Option<Moved> {
    match message {
        ServerMessage::Moved(m) => Some(m.clone()),
        _ => None,
    }
}

/// Goes where it is told to.
async fn follow(raw: &mut Raw, told: &Moved) -> Joined {
    let join = json!({ "type": "join", "groupId": told.group_id });
    match raw.ask(with_offers(join)).await {
        ServerMessage::Joined(joined) => joined,
        other => panic!("{other:?}"),
    }
}

/// Two calls with one person each, and a connection to each.
struct Two {
    server: Server,
    receiver: Receiver,
    alice: Raw,
    in_alice: Joined,
    bob: Raw,
    in_bob: Joined,
    /// The groups and connections of alice's call, and of bob's.
    groups: [GroupId; 2],
    ids: [String; 2],
}

impl Two {
    async fn start(change: impl FnOnce(&mut ControlConfig)) -> Self {
        let server = server_with(change).await;
        let receiver = Receiver::start().await;
        let groups = [GroupId::random(), GroupId::random()];
        let (alice, in_alice) = server.participant("alice", groups[0]).await;
        let (bob, in_bob) = server.participant("bob", groups[1]).await;
        let ids = [
            connect(&server, groups[0], &receiver).await,
            connect(&server, groups[1], &receiver).await,
        ];
        Self { server, receiver, alice, in_alice, bob, in_bob, groups, ids }
    }

    /// Moves somebody of alice's call into bob's.
    async fn move_over(&self, who: &[&str], context: &str) -> Value {
        let path = format!("{BASE}/{}/participants:moveHere", self.ids[1]);
        let who: Vec<Value> = who.iter().map(|one| user(one)).collect();
        let body = json!({
            "targetParticipants": who, "fromCall": self.ids[0], "operationContext": context,
        });
        good(&self.server, 202, &path, body).await
    }

    async fn failed(&self, context: &str) -> u64 {
        let event = self.receiver.wait_context("MoveParticipantFailed", context).await;
        assert!(event["participant"]["rawId"].is_string());
        event["resultInformation"]["code"].as_u64().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_participant_is_moved_past_lobby_and_token_and_leaves_its_call_by_that() {
    let mut two = Two::start(|_| {}).await;
    // A token that is for the one call only.
    let group_id = Some(two.groups[0]);
    let token = two.server.token_with(TokenRequest { group_id, ..TokenRequest::new("alice") });
    two.alice.hello(&token).await;
    let (mut carol, in_carol) = two.server.participant("carol", two.groups[0]).await;
    two.server.control.set_lobby(two.groups[1], LobbyPolicy::Everyone).unwrap();
    let taken = two.move_over(&["alice"], "move").await;
    assert_eq!(
        (&taken["operationContext"], &taken["participants"][0]["identifier"]["rawId"]),
        (&json!("move"), &json!("alice"))
    );
    let told = two.alice.wait_for(moved).await;
    assert_eq!(
        (&told.call_id, &told.group_id),
        (&two.in_alice.call_id, &two.groups[1].to_string())
    );
    assert!(told.timeout_ms > 0);
    assert_eq!(two.receiver.count("MoveParticipantSucceeded"), 0);
    let joined = follow(&mut two.alice, &told).await;
    assert_eq!(joined.call_id, two.in_bob.call_id);
    assert_eq!(joined.participants.len(), 2);
    assert_eq!(two.alice.wait_for(ended).await, EndReason::moved());
    let event = two.receiver.wait_context("MoveParticipantSucceeded", "move").await;
    assert_eq!(event["participant"]["rawId"], "alice");
    assert_eq!(event["callConnectionId"], two.ids[1]);
    two.receiver.wait_roster(&two.ids[0], &["carol"]).await;
    two.receiver.wait_roster(&two.ids[1], &["alice", "bob"]).await;
    leave(&mut two.alice, &joined).await;
    leave(&mut two.bob, &two.in_bob).await;
    leave(&mut carol, &in_carol).await;
    two.server.becomes_empty().await;
    becomes_idle(&two.server).await;
    two.receiver.is_sound();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_move_that_cannot_be_fails_and_whoever_stays_is_where_it_was() {
    let mut two =
        Two::start(|config| config.calling.move_within = Duration::from_millis(600)).await;
    // One is not there, the other does not come.
    two.move_over(&["nobody", "alice"], "two").await;
    let events = async || {
        two.receiver.wait_context("MoveParticipantFailed", "two").await;
        while two.receiver.count("MoveParticipantFailed") < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, events()).await.unwrap();
    let told = two.alice.wait_for(moved).await;
    // Now it is too late.
    let late = two.alice.refused(with_offers(json!({ "type": "join", "groupId": told.group_id })));
    assert_eq!(late.await.code, ErrorCode::AlreadyJoined);
    two.alice.ping().await;
    // Who was removed from the other call stays out of it.
    two.server.control.remove(two.groups[1], "alice").await.unwrap();
    two.move_over(&["alice"], "removed").await;
    assert_eq!(two.failed("removed").await, 403);
    two.server.control.readmit(two.groups[1], "alice").unwrap();
    // Removed while it is on the way.
    two.move_over(&["alice"], "meanwhile").await;
    let told = two.alice.wait_for(moved).await;
    two.server.control.remove(two.groups[1], "alice").await.unwrap();
    let join = with_offers(json!({ "type": "join", "groupId": told.group_id }));
    assert_eq!(two.alice.refused(join).await.code, ErrorCode::RemovedFromCall);
    assert_eq!(two.failed("meanwhile").await, 410);
    // The connection ends first; and who has left its call by then may not come any more.
    two.server.control.readmit(two.groups[1], "alice").unwrap();
    two.move_over(&["alice"], "over").await;
    let path = format!("{BASE}/{}", two.ids[1]);
    assert_eq!(ask(&two.server, "DELETE", &path, Value::Null).await.status, 204);
    assert_eq!(two.failed("over").await, 487);
    leave(&mut two.alice, &two.in_alice).await;
    leave(&mut two.bob, &two.in_bob).await;
    two.server.becomes_empty().await;
    becomes_idle(&two.server).await;
    two.receiver.is_sound();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_between_wrong_calls_is_refused() {
    let two = Two::start(|_| {}).await;
    let path = format!("{BASE}/{}/participants:moveHere", two.ids[1]);
    let body = |from: &str| json!({ "targetParticipants": [user("alice")], "fromCall": from });
    let error = bad(&two.server, 404, "CallConnectionNotFound", &path, body("x")).await;
    assert_eq!(error["target"], "fromCall");
    let error = bad(&two.server, 400, "BadRequest", &path, body(&two.ids[1])).await;
    assert_eq!(error["target"], "fromCall");
    let none = json!({ "targetParticipants": [], "fromCall": two.ids[0] });
    let error = bad(&two.server, 400, "BadRequest", &path, none).await;
    assert_eq!(error["target"], "targetParticipants");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_several_is_transferred_once_the_target_has_accepted() {
    let two = Two::start(|config| config.calling.move_within = Duration::from_millis(900)).await;
    let Two { server, receiver, mut alice, in_alice, groups, ids, .. } = two;
    let (mut carol, in_carol) = server.participant("carol", groups[0]).await;
    let mut dave = server.agent("dave").await;
    let path = format!("{BASE}/{}:transferToParticipant", ids[0]);
    let body = |context: &str| {
        let (target, who) = (user("dave"), user("alice"));
        json!({ "targetParticipant": target, "transferee": who, "operationContext": context })
    };
    let unnamed = json!({ "targetParticipant": user("dave") });
    let error = bad(&server, 400, "BadRequest", &path, unnamed).await;
    assert_eq!(error["target"], "transferee");
    good(&server, 202, &path, body("declined")).await;
    decline(&mut dave, false).await;
    let event = receiver.wait_context("CallTransferFailed", "declined").await;
    assert_eq!(event["resultInformation"]["code"], 603);
    alice.ping().await;
    // Accepted, but the transferee does not come: whoever waits there is let go.
    good(&server, 202, &path, body("late")).await;
    accept(&mut dave).await;
    alice.wait_for(moved).await;
    let event = receiver.wait_context("CallTransferFailed", "late").await;
    assert_eq!(event["resultInformation"]["code"], 408);
    assert_eq!(dave.wait_for(ended).await, EndReason::call_ended());
    good(&server, 202, &path, body("good")).await;
    let in_dave = accept(&mut dave).await;
    let told = alice.wait_for(moved).await;
    assert_eq!(told.call_id, in_alice.call_id);
    let joined = follow(&mut alice, &told).await;
    assert_eq!((&joined.call_id, joined.participants.len()), (&in_dave.call_id, 2));
    let event = receiver.wait_context("CallTransferAccepted", "good").await;
    assert_eq!(
        (&event["transferee"]["rawId"], &event["transferTarget"]["rawId"]),
        (&json!("alice"), &json!("dave"))
    );
    assert_eq!(alice.wait_for(ended).await, EndReason::moved());
    receiver.wait_roster(&ids[0], &["carol"]).await;
    assert_eq!(receiver.count("CallDisconnected"), 0, "the connection stays with its call");
    leave(&mut carol, &in_carol).await;
    receiver.wait_of("CallDisconnected", &ids[0]).await;
    receiver.is_sound();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_lost_its_websocket_is_told_again_where_to_go() {
    let mut two = Two::start(|_| {}).await;
    two.move_over(&["alice"], "move").await;
    let told = two.alice.wait_for(moved).await;
    two.alice.cut();
    let mut alice = Raw::connect(two.server.address).await;
    alice.hello(&two.server.token("alice")).await;
    alice.resume(&two.in_alice.resume_token).await;
    let again = alice.wait_for(moved).await;
    assert_eq!((&again.call_id, &again.group_id), (&told.call_id, &told.group_id));
    assert!(again.timeout_ms <= told.timeout_ms, "the time goes on");
    // Who was not there when it was told hears of it as well.
    let joined = follow(&mut alice, &again).await;
    assert_eq!(alice.wait_for(ended).await, EndReason::moved());
    two.receiver.wait_context("MoveParticipantSucceeded", "move").await;
    // It is there: nothing is repeated any more.
    alice.cut();
    let mut alice = Raw::connect(two.server.address).await;
    alice.hello(&two.server.token("alice")).await;
    alice.resume(&joined.resume_token).await;
    alice.ping().await;
    assert!(alice.heard.iter().all(|message| moved(message).is_none()));
    leave(&mut alice, &joined).await;
    leave(&mut two.bob, &two.in_bob).await;
    two.server.becomes_empty().await;
    becomes_idle(&two.server).await;
    two.receiver.is_sound();
}

#[tokio::test(flavor = "multi_thread")]
async fn all_devices_in_the_call_are_moved_and_the_others_ring_on() {
    let mut two = Two::start(|_| {}).await;
    let (mut phone, _) = two.server.participant("alice", two.groups[0]).await;
    let mut idle = two.server.agent("alice").await;
    // A call rings for alice meanwhile, on each of her devices.
    let mut carol = two.server.agent("carol").await;
    let start = with_offers(json!({ "type": "startCall", "targets": ["alice"] }));
    let ServerMessage::Joined(in_carol) = carol.ask(start).await else { panic!() };
    let ring = idle.wait_for(incoming).await;
    phone.wait_for(incoming).await;
    two.move_over(&["alice"], "move").await;
    let told = two.alice.wait_for(moved).await;
    let in_alice = follow(&mut two.alice, &told).await;
    assert_eq!(two.alice.wait_for(ended).await, EndReason::moved());
    two.receiver.wait_context("MoveParticipantSucceeded", "move").await;
    // The second comes later, and the move is not told of twice.
    let told = phone.wait_for(moved).await;
    let in_phone = follow(&mut phone, &told).await;
    assert_eq!(phone.wait_for(ended).await, EndReason::moved());
    assert_eq!(in_phone.participants.len(), 3);
    assert_eq!(two.receiver.count("MoveParticipantSucceeded"), 1);
    two.receiver.wait_roster(&two.ids[1], &["alice", "bob"]).await;
    // The device that was in no call was not told, and what rings on it still does.
    idle.ping().await;
    assert!(idle.heard.iter().all(|message| moved(message).is_none()));
    assert!(idle.heard.iter().all(|message| stopped(message).is_none()));
    let accept = json!({ "type": "acceptCall", "incomingCallId": ring.incoming_call_id });
    let ServerMessage::Joined(joined) = idle.ask(with_offers(accept)).await else { panic!() };
    assert_eq!(joined.call_id, in_carol.call_id);
    for raw in [&mut two.alice, &mut phone] {
        assert_eq!(raw.wait_for(stopped).await, EndReason::accepted_elsewhere());
    }
    leave(&mut two.alice, &in_alice).await;
    leave(&mut phone, &in_phone).await;
    leave(&mut idle, &joined).await;
    leave(&mut carol, &in_carol).await;
    leave(&mut two.bob, &two.in_bob).await;
    two.server.becomes_empty().await;
    becomes_idle(&two.server).await;
    two.receiver.is_sound();
}
