//! Clients that do not read, or say too much.

use std::time::Duration;

use convoke_protocol::{Connection, GroupId, ServerMessage, close};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Bystander, Server};

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_detached_and_holds_nobody_up() {
    let server = Server::with(|config| {
        config.limits.queue_messages = 128;
        // Faster than anybody would be, to fill what the system buffers.
        config.limits.messages_per_second = 1_000_000;
        config.limits.message_burst = 1_000_000;
    })
    .await;
    let bystander = Bystander::start(&server).await;
    let group = GroupId::random();
    let (mut busy, in_busy) = server.participant("busy", group).await;
    // Reads nothing from here on.
    let (_deaf, in_deaf) = server.participant("deaf", group).await;
    let mute = |muted: bool| json!({ "type": "mute", "callId": in_busy.call_id, "clientId": "mic", "muted": muted });
    let mut detached = false;
    'all: for _ in 0..1000 {
        let mut last = 0;
        for at in 0..20 {
            last = busy.say(mute(at % 2 == 0)).await;
        }
        busy.answer_to(last).await;
        for message in busy.heard.drain(..) {
            if let ServerMessage::ParticipantUpdated(m) = message
                && m.participant_id == in_deaf.participant_id
            {
                assert_eq!(m.connection, Connection::Reconnecting);
                detached = true;
                break 'all;
            }
        }
    }
    assert!(detached, "the deaf one was never detached");
    busy.ping().await;
    // It may come back.
    let mut again = server.agent("deaf").await;
    let resumed = again.resume(&in_deaf.resume_token).await;
    assert_eq!(resumed.participant_id, in_deaf.participant_id);
    bystander.did_not_notice().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_says_too_much_is_closed_and_may_resume() {
    let server = Server::with(|config| {
        config.limits.messages_per_second = 5;
        config.limits.message_burst = 20;
    })
    .await;
    let (mut agent, joined) = server.participant("chatty", GroupId::random()).await;
    for _ in 0..30 {
        let ping = json!({ "type": "ping" }).to_string();
        // The server may close before all of them were sent.
        if agent.try_send(Message::Text(ping.into())).await.is_err() {
            break;
        }
    }
    assert_eq!(agent.close_code().await, close::TOO_MANY_MESSAGES);
    let mut again = server.agent("chatty").await;
    again.resume(&joined.resume_token).await;
}

/// LC-05.
#[tokio::test(flavor = "multi_thread")]
async fn lc_05_the_number_of_agents_is_bounded_and_places_come_back() {
    let server = Server::with(|config| config.limits.agents = 2).await;
    let first = server.agent("a").await;
    let _second = server.agent("b").await;
    let headers = [
        ("connection", "upgrade, close"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let refused = server.request("GET", "/agent", &headers, "").await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "tooManyAgents"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    first.cut();
    let end = std::time::Instant::now() + crate::support::PATIENCE;
    while server.control.active_agents() > 1 {
        assert!(std::time::Instant::now() < end);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.agent("c").await;
}
