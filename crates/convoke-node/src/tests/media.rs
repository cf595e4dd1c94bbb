use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use convoke_core::RoomId;

use super::peer::{Peer, drive};
use super::*;
use crate::Node;

pub(super) async fn start(config: NodeConfig) -> (Node, Handle, RoomId) {
    let (node, mut events) = Node::start(config).await.unwrap();
    tokio::spawn(async move { while events.recv().await.is_some() {} });
    let handle = node.handle();
    let room = handle.new_room();
    (node, handle, room)
}

/// Joins `count` peers with a camera and as many slots as there are others.
pub(super) async fn call(handle: &Handle, room: RoomId, count: usize, bind: &str) -> Vec<Peer> {
    let mut peers = Vec::new();
    for _ in 0..count {
        let (mut peer, request) = Peer::new(bind, handle.new_participant(), true, count - 1);
        peer.join(handle, room, request).await;
        peers.push(peer);
    }
    peers
}

#[tokio::test]
async fn everyone_sees_everyone() {
    let (node, handle, room) = start(config(1)).await;
    let mut peers = call(&handle, room, 3, "127.0.0.1").await;
    drive(&mut peers, "everyone sees both others", |peers| {
        peers.iter().all(|peer| peer.seen().len() == 2)
    })
    .await;
    let expect = |of: &Peer| peers.iter().filter(|p| p.participant != of.participant).count();
    assert!(peers.iter().all(|peer| expect(peer) == peer.seen().len()));
    eventually(&handle, "packets are counted", |s| s[0].core.rtp_out[1] > 0).await;
    let stats = handle.stats()[0];
    assert!(stats.gso_datagrams > stats.gso_groups, "frames of several packets: {stats:?}");
    assert!(stats.receive_calls > 0 && stats.busy > Duration::ZERO, "{stats:?}");
    assert_eq!((stats.send_drops, stats.receive_drops, stats.failures), (0, 0, 0));
    peers.iter_mut().for_each(Peer::fall_silent);
    let all_closed = |peers: &[Peer]| peers.iter().all(|peer| peer.closed == 2);
    tokio::join!(drive(&mut peers, "the goodbyes are heard", all_closed), node.shutdown());
}

/// Datagrams of every kind of stranger: see RFC 7983 for the first bytes.
fn junk(number: usize) -> Vec<u8> {
    let size = number % 200;
    (0..size).map(|at| ((number / 7) * (at + 1) % 256) as u8).collect()
}

/// SE-06.
#[tokio::test]
async fn se_06_junk_is_dropped_and_counted_and_a_call_beside_it_goes_on() {
    let (_node, handle, room) = start(config(1)).await;
    let mut peers = call(&handle, room, 2, "127.0.0.1").await;
    drive(&mut peers, "both see each other", |p| p.iter().all(|p| p.seen().len() == 1)).await;
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let target = handle.media_addresses()[0];
    let before = handle.stats()[0];
    for number in 0..10_000 {
        stranger.send_to(&junk(number), target).unwrap();
        if number % 25 == 0 {
            // The kernel's buffer is small; what it loses is nobody's test.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let drops = |s: &crate::WorkerStats| s.core.drops.iter().sum::<u64>();
    eventually(&handle, "junk is counted", |s| drops(&s[0]) > drops(&before) + 1_000).await;
    let heard = peers.iter().map(|p| p.received.len()).collect::<Vec<_>>();
    drive(&mut peers, "media goes on", |peers| {
        peers.iter().zip(&heard).all(|(peer, before)| peer.received.len() > before + 20)
    })
    .await;
    assert_eq!(handle.stats()[0].failures, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_does_not_starve_commands_and_deadlines() {
    let (_node, handle, room) = start(config(1)).await;
    let target = handle.media_addresses()[0];
    let stop = std::sync::Arc::new(AtomicBool::new(false));
    let flood = std::thread::spawn({
        let stop = std::sync::Arc::clone(&stop);
        move || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            while !stop.load(Relaxed) {
                // RTP from nowhere.
                let _ = socket.send_to(&[0x80; 40], target);
            }
        }
    });
    eventually(&handle, "it is flooded", |s| s[0].core.datagrams_in > 1_000).await;
    let mut slowest = Duration::ZERO;
    for _ in 0..50 {
        let asked = Instant::now();
        handle.join(room, viewer(handle.new_participant())).await.unwrap();
        slowest = slowest.max(asked.elapsed());
    }
    let stats = handle.stats()[0];
    stop.store(true, Relaxed);
    flood.join().unwrap();
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    assert!(stats.last_turn < Duration::from_secs(1), "{stats:?}");
}

/// A call of two through `target`, where the candidates' own addresses may lead nowhere.
async fn check_path(config: NodeConfig, bind: &str, target: Option<IpAddr>, from: IpAddr) {
    let (_node, handle, room) = start(config).await;
    let port = handle.media_addresses()[0].port();
    let mut peers = call(&handle, room, 2, bind).await;
    for peer in &mut peers {
        peer.nat = target.map(|ip| SocketAddr::new(ip, port));
    }
    drive(&mut peers, "both see each other", |p| p.iter().all(|p| p.seen().len() == 1)).await;
    for peer in &peers {
        assert_eq!(Vec::from_iter(peer.heard_from.clone()), [SocketAddr::new(from, port)]);
    }
}

fn on(bind: impl Into<IpAddr>, advertise: &[&str]) -> NodeConfig {
    let advertise = advertise.iter().map(|a| a.parse().unwrap()).collect();
    NodeConfig { bind: vec![bind.into()], advertise, ..config(1) }
}

/// DE-01.
#[tokio::test]
async fn de_01_a_wildcard_answers_from_the_address_that_was_asked() {
    let second: IpAddr = [127, 0, 0, 2].into();
    check_path(on(Ipv4Addr::UNSPECIFIED, &["127.0.0.2"]), "127.0.0.1", None, second).await;
}

/// DE-01.
#[tokio::test]
async fn de_01_a_wildcard_behind_nat_answers_from_the_address_that_was_asked() {
    let (config, third) = (on(Ipv4Addr::UNSPECIFIED, &["203.0.113.7"]), [127, 0, 0, 3].into());
    check_path(config, "127.0.0.1", Some(third), third).await;
}

/// DE-01.
#[tokio::test]
async fn de_01_a_bound_address_behind_nat_answers_from_itself() {
    check_path(on(LOOPBACK, &["203.0.113.7"]), "127.0.0.1", Some(LOOPBACK), LOOPBACK).await;
}

#[tokio::test]
async fn ipv6_and_dual_stack() {
    if UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        return;
    }
    let ipv6 = Ipv6Addr::LOCALHOST.into();
    check_path(on(Ipv6Addr::LOCALHOST, &[]), "::1", None, ipv6).await;
    let both = ["127.0.0.2", "::1"];
    check_path(on(Ipv6Addr::UNSPECIFIED, &both), "::1", None, ipv6).await;
    let second = [127, 0, 0, 2].into();
    check_path(on(Ipv6Addr::UNSPECIFIED, &both), "127.0.0.1", None, second).await;
}
