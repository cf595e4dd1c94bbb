//! CP-04: permission taken away in mid-call.

use convoke_control::PermissionError;
use convoke_node::core::Permissions;
use convoke_protocol::{ErrorCode, GroupId, ServerMessage};
use serde_json::{Value, json};

use crate::support::{Server, offers};

#[tokio::test(flavor = "multi_thread")]
async fn cp_04_a_taken_permission_unpublishes_refuses_and_can_be_given_back() {
    let server = Server::start().await;
    let group = GroupId::random();
    let (mut watcher, _) = server.participant("watcher", group).await;
    let (mut alice, joined) = server.participant("alice", group).await;
    let mic = offers().send_mids[0].clone();
    let publish = |client_id: &str| -> Value {
        json!({
            "type": "publish", "callId": joined.call_id,
            "track": { "clientId": client_id, "source": "microphone", "mid": mic },
        })
    };
    let silent = Permissions { microphone: false, ..Permissions::ALL };
    server.control.set_permissions(group, "alice", silent).await.unwrap();
    let unpublished = |message: &ServerMessage| match message {
        ServerMessage::TrackUnpublished(m) => Some(m.participant_id.clone()),
        _ => None,
    };
    assert_eq!(watcher.wait_for(unpublished).await, joined.participant_id);
    assert_eq!(alice.refused(publish("again")).await.code, ErrorCode::NotAllowed);
    for _ in 0..10 {
        server.control.set_permissions(group, "alice", Permissions::ALL).await.unwrap();
        server.control.set_permissions(group, "alice", silent).await.unwrap();
    }
    assert_eq!(
        alice.refused(publish("again")).await.code,
        ErrorCode::NotAllowed,
        "the last counts"
    );
    server.control.set_permissions(group, "alice", Permissions::ALL).await.unwrap();
    assert!(matches!(alice.ask(publish("again")).await, ServerMessage::Ack(_)));
    for (call, who) in [(group, "nobody"), (GroupId::random(), "alice")] {
        let found = server.control.set_permissions(call, who, silent).await;
        assert_eq!(found, Err(PermissionError::NoSuchParticipant));
    }
}
