//! Lobby, roles and ringing with native clients: down to packets.

mod common;

use std::time::{Duration, Instant};

use common::call::{GROUP, Host, connect, talking, until};
use convoke::control::TokenRequest;
use convoke::protocol::{EndReason, LobbyPolicy, RingState, Role};
use convoke_client::{Call, CallEvent, Client, Incoming, JoinError, JoinOptions, StartCallOptions};
use tokio::sync::oneshot;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

async fn come(host: &Host, request: TokenRequest) -> Client {
    connect(&host.url, &host.token(&request)).await
}

fn guest(identity: &str) -> TokenRequest {
    TokenRequest { guest: true, ..TokenRequest::new(identity) }
}

/// The packets of one participant that come within a second.
async fn packets_of(call: &Call, identity: &str) -> usize {
    let csrc = |call: &Call| {
        let state = call.state();
        state.participants.iter().find(|p| p.identity == identity).map(|p| p.csrc)
    };
    let mut packets = call.packets();
    let end = tokio::time::Instant::now() + Duration::from_secs(1);
    let mut count = 0;
    while let Ok(Some(packet)) = tokio::time::timeout_at(end, packets.next()).await {
        count += usize::from(packet.csrc.is_some() && packet.csrc == csrc(call));
    }
    count
}

/// Waits until packets of `identity` come, or come no more.
async fn flows(call: &Call, identity: &str, wanted: bool) {
    let end = Instant::now() + PATIENCE;
    while (packets_of(call, identity).await > 10) != wanted {
        assert!(Instant::now() < end, "{identity} flows: not {wanted}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_comes_in_from_the_lobby_and_sends_what_its_role_allows() {
    let host = Host::start().await;
    let epoch = Instant::now();
    let rosa = come(&host, TokenRequest::new("rosa")).await;
    let options = JoinOptions { lobby: Some(LobbyPolicy::Guests), ..talking(epoch) };
    let rosa = rosa.join(GROUP, options).await.expect("starts the call");
    let carol = come(&host, guest("carol")).await;
    let (told, waits) = oneshot::channel();
    let options = JoinOptions { in_lobby: Some(told), ..talking(epoch) };
    let joining = tokio::spawn(async move { (carol.join(GROUP, options).await, carol) });
    let waits = timeout(PATIENCE, waits).await.expect("in time").expect("waits");
    until("Rosa sees who waits", || rosa.state().standing.lobby.len() == 1).await;
    assert_eq!(rosa.state().standing.lobby[0].participant_id, waits.participant_id);
    assert_eq!(rosa.state().participants.len(), 1);
    rosa.admit(Some(vec![waits.participant_id.clone()])).await.expect("may admit");
    let (carol, _agent) = timeout(PATIENCE, joining).await.expect("in time").expect("joins");
    let carol = carol.expect("is let in");
    assert_eq!(carol.state().participant_id, waits.participant_id);
    flows(&rosa, "carol", true).await;
    flows(&carol, "rosa", true).await;

    // She goes on sending, whatever she is told.
    rosa.set_role(&waits.participant_id, Role::Consumer).await.expect("may give roles");
    flows(&rosa, "carol", false).await;
    flows(&carol, "rosa", true).await;
    until("she is told", || carol.state().standing.role == Some(Role::Consumer)).await;
    let refused = carol.mute_others(None).await;
    assert!(refused.is_err(), "a consumer moderates nobody");
    rosa.remove(&waits.participant_id).await.expect("may remove");
    let mut events = carol.events();
    let ended = async {
        loop {
            match events.next().await {
                Some(CallEvent::Ended(reason)) => return Some(reason),
                Some(_) => {}
                None => return None,
            }
        }
    };
    // It may be over before it is asked.
    let reason = timeout(PATIENCE, ended).await.expect("told");
    assert!(reason.is_none_or(|reason| reason == EndReason::removed()));
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_turned_away_hears_why() {
    let host = Host::start().await;
    let rosa = come(&host, TokenRequest::new("rosa")).await;
    let lobby = Some(LobbyPolicy::Everyone);
    let options = JoinOptions { lobby, ..JoinOptions::default() };
    let rosa = rosa.join(GROUP, options).await.expect("starts the call");
    let other = come(&host, TokenRequest::new("other")).await;
    let joining = tokio::spawn(async move { other.join(GROUP, JoinOptions::default()).await });
    until("someone waits", || rosa.state().standing.lobby.len() == 1).await;
    rosa.reject(None).await.expect("may reject");
    match timeout(PATIENCE, joining).await.expect("in time").expect("no panic") {
        Err(JoinError::Ended(reason)) => assert_eq!(reason, EndReason::rejected_in_lobby()),
        other => panic!("{other:?}"),
    }
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_is_accepted_on_one_device_and_media_flows() {
    let host = Host::start().await;
    let epoch = Instant::now();
    let (one, two) = (come(&host, TokenRequest::new("bob")).await, host.connect("bob").await);
    let (mut rings_one, mut rings_two) = (one.incoming(), two.incoming());
    let alice = host.connect("alice").await;
    let options = StartCallOptions { join: talking(epoch), ..StartCallOptions::default() };
    let call = alice.start_call(vec!["bob".to_owned()], options).await.expect("calls");
    let ring = match timeout(PATIENCE, rings_one.recv()).await.expect("rings").expect("rings") {
        Incoming::Rings(ring) => ring,
        other => panic!("{other:?}"),
    };
    let bob = one.accept(&ring, talking(epoch)).await.expect("accepts");
    assert!(matches!(rings_two.recv().await, Ok(Incoming::Rings(_))));
    match timeout(PATIENCE, rings_two.recv()).await.expect("told").expect("told") {
        Incoming::Ended(end) => assert_eq!(end.reason, EndReason::accepted_elsewhere()),
        other => panic!("{other:?}"),
    }
    assert!(two.accept(&ring, JoinOptions::default()).await.is_err(), "too late");
    let accepted = |call: &Call| {
        let ringing = call.state().standing.ringing.clone();
        ringing.iter().any(|target| target.state == RingState::Accepted)
    };
    until("Alice hears of it", || accepted(&call)).await;
    flows(&call, "bob", true).await;
    flows(&bob, "alice", true).await;
    host.stop().await;
}
