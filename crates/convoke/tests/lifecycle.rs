//! Draining and stopping, inside a program and as a process.

mod common;

use std::time::{Duration, Instant};

use common::call::{DevServer, GROUP, Host, Participant, connect, talking, until};
use convoke::Drained;
use convoke::protocol::{EndReason, ErrorCode};
use convoke_client::{Call, CallEvent, Client, JoinError, JoinOptions, RequestError};

async fn ended(call: &Call) -> impl Future<Output = EndReason> + use<> {
    let mut events = call.events();
    async move {
        loop {
            match events.next().await {
                Some(CallEvent::Ended(reason)) => return reason,
                Some(_) => {}
                None => panic!("the events stopped without an end"),
            }
        }
    }
}

#[track_caller]
fn code(result: Result<Call, JoinError>) -> ErrorCode {
    match result {
        Err(JoinError::Request(RequestError::Refused(error))) => error.code,
        other => panic!("expected a refusal, not {other:?}"),
    }
}

async fn frames(participant: &Participant) -> usize {
    packets(&participant.call).await
}

/// What comes within a second.
async fn packets(call: &Call) -> usize {
    let mut packets = call.packets();
    let mut count = 0;
    let second = tokio::time::Instant::now() + Duration::from_secs(1);
    while let Ok(Some(_)) = tokio::time::timeout_at(second, packets.next()).await {
        count += 1;
    }
    count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_refuses_joins_and_lets_calls_end() {
    let host = Host::start().await;
    let epoch = Instant::now();
    let a = host.join("a", epoch).await;
    let b = host.join("b", epoch).await;
    let late = host.connect("late").await;
    until("media flows", || b.call.state().participants.len() == 2).await;

    let talk = async {
        until("draining", || true).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(code(late.join(GROUP, talking(epoch)).await), ErrorCode::Draining);
        assert!(frames(&a).await > 20, "the call goes on");
        a.call.leave().await.expect("leaves");
        assert_eq!(host.server.control().active_calls(), 1);
        b.call.leave().await.expect("leaves");
    };
    let started = Instant::now();
    let (drained, ()) = tokio::join!(host.server.drain(Duration::from_secs(60)), talk);
    assert_eq!(drained, Drained::Idle);
    assert!(started.elapsed() < Duration::from_secs(30));
    assert_eq!(host.server.control().active_calls(), 0);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_deadline_calls_are_ended_and_told_why() {
    let host = Host::start().await;
    let epoch = Instant::now();
    let a = host.join("a", epoch).await;
    let end = ended(&a.call).await;
    let drained = host.server.drain(Duration::from_millis(500)).await;
    assert_eq!(drained, Drained::DeadlinePassed { calls: 1 });
    let reason = tokio::time::timeout(Duration::from_secs(10), end).await.expect("told");
    assert_eq!(reason, EndReason::server_stopped());
    assert_eq!(host.server.control().active_calls(), 0);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_tells_everyone_why() {
    let host = Host::start().await;
    let epoch = Instant::now();
    let a = host.join("a", epoch).await;
    let end = ended(&a.call).await;
    host.stop().await;
    let reason = tokio::time::timeout(Duration::from_secs(10), end).await.expect("told");
    assert_eq!(reason, EndReason::server_stopped());
}

/// The server as a process, with `drain` as its patience, and somebody in a call.
async fn process_with_a_call(drain: &str) -> (DevServer, Client, Call) {
    let server = DevServer::start(&[("CONVOKE__SHUTDOWN__DRAIN", drain)]);
    let client = connect(&server.url, &server.token("alice")).await;
    let call = client.join(GROUP, JoinOptions::default()).await.expect("joins");
    (server, client, call)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_stops_when_its_last_call_has_ended() {
    let (mut server, _client, call) = process_with_a_call("60s").await;
    server.process.signal("TERM");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(server.process.is_running(), "it waits for the call");
    call.leave().await.expect("leaves");
    let (status, log) = server.process.wait(Duration::from_secs(15));
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("all calls have ended"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_stops_at_its_deadline() {
    let (server, _client, call) = process_with_a_call("2s").await;
    let end = ended(&call).await;
    let asked = Instant::now();
    server.process.signal("INT");
    let reason = tokio::time::timeout(Duration::from_secs(15), end).await.expect("told");
    assert_eq!(reason, EndReason::server_stopped());
    let (status, log) = server.process.wait(Duration::from_secs(15));
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(asked.elapsed() >= Duration::from_millis(1_900), "{:?}", asked.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_stops_the_process_at_once() {
    let (mut server, _client, call) = process_with_a_call("10m").await;
    let end = ended(&call).await;
    server.process.signal("TERM");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(server.process.is_running());
    let asked = Instant::now();
    server.process.signal("TERM");
    let (status, log) = server.process.wait(Duration::from_secs(10));
    assert_eq!(status.code(), Some(3), "{log}");
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    // Even so, its participants were told.
    let reason = tokio::time::timeout(Duration::from_secs(10), end).await.expect("told");
    assert_eq!(reason, EndReason::server_stopped());
}

/// LC-06: a process that was stopped for five seconds goes on with its calls, and kicks nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lc_06_a_process_that_stood_still_goes_on_with_its_calls() {
    let (mut server, _client, call) = process_with_a_call("60s").await;
    let bob = connect(&server.url, &server.token("bob")).await;
    let talks = bob.join(GROUP, talking(Instant::now())).await.expect("joins");
    let mut media = call.packets();
    let first = tokio::time::timeout(Duration::from_secs(15), media.next()).await;
    assert!(matches!(first, Ok(Some(_))), "media flows");
    let (alice_ends, bob_ends) = (ended(&call).await, ended(&talks).await);
    server.process.signal("STOP");
    tokio::time::sleep(Duration::from_secs(5)).await;
    server.process.signal("CONT");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(packets(&call).await > 20, "media goes on");
    for end in [alice_ends, bob_ends] {
        let kicked = tokio::time::timeout(Duration::from_secs(1), end).await;
        assert!(kicked.is_err(), "{kicked:?}");
    }
    assert_eq!(call.state().participants.len(), talks.state().participants.len());
    assert!(server.process.is_running(), "{}", server.process.log());
}
