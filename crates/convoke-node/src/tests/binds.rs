//! Several bound addresses: a socket at each, and nothing crosses.

use std::net::{SocketAddr, UdpSocket};

use convoke_core::RoomId;

use super::media::start;
use super::peer::{Peer, drive};
use super::*;
use crate::StartError;

const OURS: [&str; 3] = ["127.0.0.1", "127.0.0.2", "::1"];

fn at(bind: &[&str], workers: usize) -> NodeConfig {
    NodeConfig { bind: bind.iter().map(|ip| ip.parse().unwrap()).collect(), ..config(workers) }
}

fn has_ipv6() -> bool {
    UdpSocket::bind("[::1]:0").is_ok()
}

/// Joins somebody who sends to `target` alone.
async fn join(handle: &Handle, room: RoomId, target: SocketAddr) -> Peer {
    let from = if target.is_ipv4() { "127.0.0.1" } else { "::1" };
    let (mut peer, request) = Peer::new(from, handle.new_participant(), true, OURS.len() - 1);
    peer.join(handle, room, request).await;
    peer.nat = Some(target);
    peer
}

#[tokio::test]
async fn each_address_has_its_socket_and_answers_come_from_it() {
    let ours = if has_ipv6() { &OURS[..] } else { &OURS[..2] };
    let (_node, handle, room) = start(at(ours, 1)).await;
    let told = handle.media_addresses();
    let ips: Vec<String> = told.iter().map(|addr| addr.ip().to_string()).collect();
    assert_eq!(ips, ours, "all of them are told");
    assert!(told.iter().all(|addr| addr.port() == told[0].port()), "{told:?}");
    let mut peers = Vec::new();
    for target in &told {
        peers.push(join(&handle, room, *target).await);
    }
    let others = told.len() - 1;
    drive(&mut peers, "all see each other", |p| p.iter().all(|p| p.seen().len() == others)).await;
    for (peer, target) in peers.iter().zip(&told) {
        assert_eq!(Vec::from_iter(peer.heard_from.clone()), [*target]);
    }
    let stats = handle.stats()[0];
    assert_eq!((stats.send_drops, stats.receive_drops), (0, 0), "{stats:?}");
    // Nobody hears at other addresses of this host.
    let other = UdpSocket::bind(SocketAddr::from(([127, 0, 0, 3], told[0].port())));
    assert!(other.is_ok(), "{other:?}");
}

#[tokio::test]
async fn each_is_told_by_its_own_of_the_advertised() {
    let advertise = ["203.0.113.7", "203.0.113.8"].map(|ip| ip.parse().unwrap()).to_vec();
    let (_node, handle, room) = start(NodeConfig { advertise, ..at(&OURS[..2], 1) }).await;
    let told = handle.media_addresses();
    assert_eq!(told[0].ip().to_string(), "203.0.113.7");
    assert_eq!(told[1].ip().to_string(), "203.0.113.8");
    let mut peers = Vec::new();
    for ip in &OURS[..2] {
        let target = SocketAddr::new(ip.parse().unwrap(), told[0].port());
        peers.push(join(&handle, room, target).await);
    }
    drive(&mut peers, "both see each other", |p| p.iter().all(|p| p.seen().len() == 1)).await;
    for (peer, ip) in peers.iter().zip(OURS) {
        let from: Vec<String> = peer.heard_from.iter().map(|from| from.ip().to_string()).collect();
        assert_eq!(from, [ip]);
    }
}

#[tokio::test]
async fn workers_have_the_next_port_at_each_and_one_in_use_is_named() {
    let (node, handle, _) = start(at(&OURS[..2], 2)).await;
    let told = handle.media_addresses();
    assert_eq!(told.len(), 4, "{told:?}");
    let of_second = told[3];
    node.shutdown().await;
    // Somebody has the second worker's port at the second address.
    let taken = UdpSocket::bind(of_second).unwrap();
    let first = of_second.port() - 1;
    let config = NodeConfig { port: first, ..at(&OURS[..2], 2) };
    let Err(error) = crate::Node::start(config).await else { panic!("{taken:?} is taken") };
    let StartError::Bind { addr, .. } = &error else { panic!("{error}") };
    // Unless the first worker's is in use by another test.
    assert!(addr.port() == first || *addr == of_second, "{error}");
    assert!(error.to_string().contains(&addr.to_string()), "{error}");
}

/// One address is flooded: the other has its turn.
#[tokio::test]
async fn a_flood_at_one_address_takes_no_turn_of_another() {
    let (_node, handle, room) = start(at(&OURS[..2], 1)).await;
    let told = handle.media_addresses();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flood = {
        let (stop, target) = (std::sync::Arc::clone(&stop), told[0]);
        std::thread::spawn(move || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = socket.send_to(&[0x80; 200], target);
            }
        })
    };
    let mut peers = Vec::new();
    for _ in 0..2 {
        peers.push(join(&handle, room, told[1]).await);
    }
    drive(&mut peers, "both see each other", |p| p.iter().all(|p| p.seen().len() == 1)).await;
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    flood.join().unwrap();
}
