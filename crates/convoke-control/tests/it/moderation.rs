//! Roles, capabilities and moderation in calls that run.

use convoke_control::{ModerationError, TokenRequest};
use convoke_node::core::Permissions;
use convoke_protocol::{
    Capabilities, CapabilityReason, EndReason, ErrorCode, GroupId, Joined, Role, ServerMessage,
};
use serde_json::{Value, json};

use crate::support::{Raw, Server, expect_code, join, offers};

pub(crate) fn with_role(server: &Server, identity: &str, role: Role) -> String {
    server.token_with(TokenRequest { role: Some(role), ..TokenRequest::new(identity) })
}

/// Someone in the call with this role.
pub(crate) async fn come(
    server: &Server,
    identity: &str,
    role: Role,
    group: GroupId,
) -> (Raw, Joined) {
    let mut raw = Raw::connect(server.address).await;
    raw.hello(&with_role(server, identity, role)).await;
    let joined = raw.join(group).await;
    (raw, joined)
}

pub(crate) fn ended(message: &ServerMessage) -> Option<EndReason> {
    match message {
        ServerMessage::Ended(m) => Some(m.reason.clone()),
        _ => None,
    }
}

fn capabilities(message: &ServerMessage) -> Option<Capabilities> {
    match message {
        ServerMessage::CapabilitiesChanged(m) => Some(m.capabilities),
        _ => None,
    }
}

fn role(message: &ServerMessage) -> Option<Option<Role>> {
    match message {
        ServerMessage::RoleChanged(m) => Some(m.role),
        _ => None,
    }
}

fn spotlight(message: &ServerMessage) -> Option<Vec<String>> {
    match message {
        ServerMessage::SpotlightChanged(m) => Some(m.participant_ids.clone()),
        _ => None,
    }
}

fn hands(message: &ServerMessage) -> Option<Vec<String>> {
    match message {
        ServerMessage::RaisedHandsChanged(m) => Some(m.participant_ids.clone()),
        _ => None,
    }
}

/// The mute of the next track that changed: whose, and whether.
fn muted(message: &ServerMessage) -> Option<(String, bool)> {
    match message {
        ServerMessage::TrackUpdated(m) => Some((m.participant_id.clone(), m.track.muted)),
        _ => None,
    }
}

fn ask(kind: &str, of: &Joined, mut rest: Value) -> Value {
    rest["type"] = json!(kind);
    rest["callId"] = json!(of.call_id);
    rest
}

async fn done(raw: &mut Raw, message: Value) {
    let reply = raw.ask(message).await;
    assert!(matches!(reply, ServerMessage::Ack(_)), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_roles_everyone_is_told_to_be_an_equal() {
    let server = Server::start().await;
    let (mut alice, joined) = server.participant("alice", GroupId::random()).await;
    let able = alice.wait_for(capabilities).await;
    assert!(able.share_screen.is_present && able.raise_hand.is_present);
    assert_eq!(able.mute_others.reason, CapabilityReason::RoleRestricted);
    for kind in ["muteParticipants", "stopSpotlight", "admit", "reject"] {
        let refused = alice.refused(ask(kind, &joined, json!({}))).await;
        expect_code(&refused, ErrorCode::NotAllowed, None);
    }
    let leave = ask("leave", &joined, json!({ "forEveryone": true }));
    assert_eq!(alice.refused(leave).await.code, ErrorCode::NotAllowed);
    assert_eq!(server.control.active_calls(), 1, "a refused request changes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_joins_without_its_tracks_and_publishes_once_it_may() {
    let server = Server::start().await;
    let group = GroupId::random();
    let (mut host, in_host) = come(&server, "host", Role::Presenter, group).await;
    let (mut carol, joined) = come(&server, "carol", Role::Consumer, group).await;
    let own = joined.participants.iter().find(|p| p.identity == "carol").unwrap();
    assert!(own.tracks.is_empty(), "the declared microphone is left out");
    assert_eq!(carol.wait_for(role).await, Some(Role::Consumer));
    assert!(!carol.wait_for(capabilities).await.unmute_mic.is_present);
    let track = json!({ "clientId": "mic", "source": "microphone", "mid": offers().send_mids[0] });
    let publish = ask("publish", &joined, json!({ "track": track }));
    assert_eq!(carol.refused(publish.clone()).await.code, ErrorCode::NotAllowed);

    let promote = json!({ "participantId": joined.participant_id, "role": "Attendee" });
    done(&mut host, ask("setRole", &in_host, promote)).await;
    assert_eq!(carol.wait_for(role).await, Some(Role::Attendee));
    let able = carol.wait_for(capabilities).await;
    assert!(able.unmute_mic.is_present && !able.share_screen.is_present);
    done(&mut carol, publish.clone()).await;
    // And back: what it publishes goes, whatever it does.
    server.control.set_role(group, "carol", Some(Role::Consumer)).await.unwrap();
    let gone = |message: &ServerMessage| match message {
        ServerMessage::TrackUnpublished(m) => Some(m.participant_id.clone()),
        _ => None,
    };
    assert_eq!(host.wait_for(gone).await, joined.participant_id);
    assert_eq!(carol.refused(publish).await.code, ErrorCode::NotAllowed);
    let wrong = json!({ "participantId": "p00000001", "role": "Attendee" });
    let refused = host.refused(ask("setRole", &in_host, wrong)).await;
    expect_code(&refused, ErrorCode::ParticipantNotFound, Some("participantId"));
    assert_eq!(
        server.control.set_role(GroupId::random(), "carol", None).await,
        Err(ModerationError::NoSuchCall)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn cp_04_what_was_taken_from_an_identity_holds_for_its_next_device_too() {
    let server = Server::start().await;
    let group = GroupId::random();
    let (_host, _) = server.participant("host", group).await;
    let (mut alice, _) = server.participant("alice", group).await;
    let silent = Permissions { microphone: false, ..Permissions::ALL };
    server.control.set_permissions(group, "alice", silent).await.unwrap();
    alice.wait_for(capabilities).await;
    let able = alice.wait_for(capabilities).await;
    assert_eq!(able.unmute_mic.reason, CapabilityReason::MeetingRestricted);
    let (_again, joined) = server.participant("alice", group).await;
    let own = joined.participants.iter().find(|p| p.participant_id == joined.participant_id);
    assert!(own.unwrap().tracks.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_presenter_mutes_others_who_hear_by_whom_and_may_unmute() {
    let server = Server::start().await;
    let group = GroupId::random();
    let (mut host, in_host) = come(&server, "host", Role::Presenter, group).await;
    let (mut bob, in_bob) = come(&server, "bob", Role::Attendee, group).await;
    let by = |message: &ServerMessage| match message {
        ServerMessage::MutedByOthers(m) => Some(m.by.clone()),
        _ => None,
    };
    done(&mut host, ask("muteParticipants", &in_host, json!({}))).await;
    assert_eq!(bob.wait_for(by).await, Some(in_host.participant_id.clone()));
    assert_eq!(host.wait_for(muted).await, (in_bob.participant_id.clone(), true));
    let unmute = json!({ "clientId": "mic", "muted": false });
    done(&mut bob, ask("mute", &in_bob, unmute)).await;
    assert_eq!(host.wait_for(muted).await, (in_bob.participant_id.clone(), false));
    assert_eq!(server.control.mute(group, Some("bob")).await, Ok(1));
    assert_eq!(bob.wait_for(by).await, None, "a service has no participant");
    assert_eq!(server.control.mute(group, Some("bob")).await, Ok(0), "told once");
    let nobody = json!({ "participantIds": [in_bob.participant_id, "nobody"] });
    let refused = host.refused(ask("muteParticipants", &in_host, nobody)).await;
    expect_code(&refused, ErrorCode::ParticipantNotFound, Some("participantIds[1]"));
    let refused = bob.refused(ask("muteParticipants", &in_bob, json!({}))).await;
    assert_eq!(refused.code, ErrorCode::NotAllowed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_identity_is_out_on_all_its_devices_and_cannot_walk_back_in() {
    let server = Server::start().await;
    let group = GroupId::random();
    let (mut host, in_host) = come(&server, "host", Role::Presenter, group).await;
    let (mut one, in_one) = server.participant("bob", group).await;
    let (mut two, _) = server.participant("bob", group).await;
    let remove = json!({ "participantId": in_one.participant_id });
    done(&mut host, ask("removeParticipant", &in_host, remove)).await;
    assert_eq!(one.wait_for(ended).await, EndReason::removed());
    assert_eq!(two.wait_for(ended).await, EndReason::removed());
    let refused = one.refused(join(group)).await;
    expect_code(&refused, ErrorCode::RemovedFromCall, Some("groupId"));
    let mut fresh = server.agent("bob").await;
    assert_eq!(fresh.refused(join(group)).await.code, ErrorCode::RemovedFromCall);
    fresh.join(GroupId::random()).await;
    let own = json!({ "participantId": in_host.participant_id });
    let refused = host.refused(ask("removeParticipant", &in_host, own)).await;
    expect_code(&refused, ErrorCode::NotAllowed, Some("participantId"));
    server.control.readmit(group, "bob").unwrap();
    one.join(group).await;
    assert!(server.control.readmit(group, "bob").is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_during_a_join_leaves_nobody_behind() {
    let server = Server::start().await;
    for _ in 0..10 {
        let group = GroupId::random();
        let (mut host, in_host) = server.participant("host", group).await;
        let mut bob = server.agent("bob").await;
        let id = bob.say(join(group)).await;
        server.control.remove(group, "bob").await.unwrap();
        match bob.answer_to(id).await {
            ServerMessage::Joined(_) => {
                assert_eq!(bob.wait_for(ended).await, EndReason::removed());
            }
            ServerMessage::Error(error) => assert_eq!(error.code, ErrorCode::RemovedFromCall),
            other => panic!("{other:?}"),
        }
        let leave = ask("leave", &in_host, json!({}));
        assert_eq!(ended(&host.ask(leave).await), Some(EndReason::left()));
    }
    server.becomes_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn spotlight_and_hands_are_told_to_everyone_also_to_who_comes_later() {
    let server = Server::start().await;
    let group = GroupId::random();
    let (mut host, in_host) = come(&server, "host", Role::Presenter, group).await;
    let (mut bob, in_bob) = server.participant("bob", group).await;
    done(&mut bob, ask("raiseHand", &in_bob, json!({}))).await;
    done(&mut bob, ask("raiseHand", &in_bob, json!({}))).await;
    done(&mut host, ask("raiseHand", &in_host, json!({}))).await;
    let both = [in_bob.participant_id.clone(), in_host.participant_id.clone()];
    assert_eq!(bob.wait_for(hands).await, both[..1]);
    assert_eq!(bob.wait_for(hands).await, both);
    let shown = json!({ "participantIds": [in_bob.participant_id] });
    done(&mut host, ask("startSpotlight", &in_host, shown.clone())).await;
    assert_eq!(bob.wait_for(spotlight).await, both[..1]);
    let refused = bob.refused(ask("startSpotlight", &in_bob, shown)).await;
    assert_eq!(refused.code, ErrorCode::NotAllowed);

    let (mut late, in_late) = server.participant("late", group).await;
    assert_eq!(late.wait_for(spotlight).await, both[..1]);
    assert_eq!(late.wait_for(hands).await, both);
    let others = json!({ "participantIds": [in_bob.participant_id] });
    let refused = late.refused(ask("lowerHands", &in_late, others.clone())).await;
    assert_eq!(refused.code, ErrorCode::NotAllowed);
    done(&mut host, ask("lowerHands", &in_host, others.clone())).await;
    assert_eq!(late.wait_for(hands).await, both[1..]);
    // It leaves the spotlight by itself, and by going.
    done(&mut bob, ask("stopSpotlight", &in_bob, others)).await;
    assert_eq!(late.wait_for(spotlight).await, [""; 0]);
    host.ask(ask("leave", &in_host, json!({}))).await;
    assert_eq!(late.wait_for(hands).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ending_for_everyone_tells_all_and_leaves_nothing() {
    let server = Server::start().await;
    let group = GroupId::random();
    let (mut host, in_host) = come(&server, "host", Role::Presenter, group).await;
    let (mut bob, _) = server.participant("bob", group).await;
    let leave = ask("leave", &in_host, json!({ "forEveryone": true }));
    assert_eq!(ended(&host.ask(leave).await), Some(EndReason::ended_for_everyone()));
    assert_eq!(bob.wait_for(ended).await, EndReason::ended_for_everyone());
    server.becomes_empty().await;
    let (mut bob, _) = server.participant("bob", group).await;
    server.control.end_call(group, EndReason::call_ended()).await.unwrap();
    assert_eq!(bob.wait_for(ended).await, EndReason::call_ended());
    server.becomes_empty().await;
    let gone = server.control.end_call(group, EndReason::call_ended()).await;
    assert_eq!(gone, Err(ModerationError::NoSuchCall));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_is_told_anew_after_a_resume() {
    let server = Server::start().await;
    let group = GroupId::random();
    let (mut bob, in_bob) = come(&server, "bob", Role::Presenter, group).await;
    let (_other, _) = server.participant("other", group).await;
    done(&mut bob, ask("raiseHand", &in_bob, json!({}))).await;
    bob.cut();
    server.control.set_role(group, "bob", Some(Role::Consumer)).await.unwrap();
    let mut back = Raw::connect(server.address).await;
    back.hello(&with_role(&server, "bob", Role::Presenter)).await;
    back.resume(&in_bob.resume_token).await;
    assert_eq!(back.wait_for(role).await, Some(Role::Consumer));
    assert!(!back.wait_for(capabilities).await.mute_others.is_present);
    assert_eq!(back.wait_for(hands).await, [in_bob.participant_id]);
}
