//! Paths that change, and strangers who would like to change them.

use std::net::{Ipv6Addr, SocketAddr, UdpSocket};

use aws_lc_rs::hmac;
use convoke_core::DropReason;

use super::media::{call, start};
use super::peer::{Peer, drive, drive_once};
use super::*;

/// A client's own checks are what it moves by. Those of the native one come every 3 s while nothing
/// changes, and a lost one is tried again.
const MOVED_WITHIN: Duration = Duration::from_secs(8);

fn both_see(peers: &[Peer]) -> bool {
    peers.iter().all(|peer| peer.seen().len() == 1)
}

/// How long nothing came to the one whose ports changed, and from it to the other.
async fn rebind(bind: IpAddr) -> [Duration; 2] {
    let (_node, handle, room) = start(NodeConfig { bind: vec![bind], ..config(1) }).await;
    let mut peers = call(&handle, room, 2, &bind.to_string()).await;
    drive(&mut peers, "both see each other", both_see).await;
    for peer in &mut peers {
        peer.received.clear();
    }
    let before = peers[0].addresses();
    peers[0].rebind();
    assert_ne!(before, peers[0].addresses());
    let changed = Instant::now();
    let mut gaps = [None; 2];
    while gaps.contains(&None) {
        // What is on its way while the ports change is not counted.
        for (gap, peer) in gaps.iter_mut().zip(&peers) {
            let late = |p: &&convoke_client::media::Received| {
                p.at.saturating_duration_since(changed) > Duration::from_millis(100)
            };
            *gap = peer.received.iter().find(late).map(|p| p.at - changed);
        }
        assert!(changed.elapsed() < PATIENCE, "{bind}: {gaps:?}");
        drive_once(&mut peers).await;
    }
    eprintln!("{bind}: media was away for {gaps:?} (to, from the one whose ports changed)");
    assert_eq!(handle.stats()[0].core.participants, 2, "nobody joined anew");
    assert!(peers.iter().all(|peer| peer.closed == 0));
    gaps.map(|gap| gap.unwrap_or_default())
}

#[tokio::test]
async fn media_follows_new_ports_without_a_rejoin() {
    let ipv6: IpAddr = Ipv6Addr::LOCALHOST.into();
    let has_ipv6 = UdpSocket::bind((ipv6, 0)).is_ok();
    for bind in [Some(LOOPBACK), has_ipv6.then_some(ipv6)].into_iter().flatten() {
        let gaps = rebind(bind).await;
        assert!(gaps.iter().all(|gap| *gap < MOVED_WITHIN), "{bind}: {gaps:?}");
    }
}

/// A connectivity check (RFC 8445 §7.1.1) that nominates, by whoever knows this password.
fn check(ufrag: &str, password: &str) -> Vec<u8> {
    let attribute = |kind: u16, value: &[u8]| {
        let mut bytes = [kind.to_be_bytes(), (value.len() as u16).to_be_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    };
    let [username, priority, nominate, role] = [
        (0x0006, format!("{ufrag}:xxxx").as_bytes()),
        (0x0024, &[0x6e; 4]),
        (0x0025, &[]),
        (0x802a, &[1; 8]),
    ]
    .map(|(kind, value)| attribute(kind, value));
    let mut message = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    message.extend([7; 12]);
    for attribute in [username, priority, nominate, role] {
        message.extend(attribute);
    }
    // Its length counts MESSAGE-INTEGRITY, which is made of all before that (RFC 8489 §14.5).
    let length = (message.len() - 20 + 24) as u16;
    message[2..4].copy_from_slice(&length.to_be_bytes());
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
    let integrity = hmac::sign(&key, &message);
    message.extend(attribute(0x0008, integrity.as_ref()));
    message
}

/// The beginning of a DTLS ClientHello, RTP, RTCP, and checks with what a stranger may have seen.
fn forgeries(ufrag: &str) -> Vec<Vec<u8>> {
    let mut without_integrity = check(ufrag, "x");
    without_integrity.truncate(without_integrity.len() - 24);
    let length = (without_integrity.len() - 20) as u16;
    without_integrity[2..4].copy_from_slice(&length.to_be_bytes());
    vec![
        check(ufrag, "not the password of anybody"),
        check("nobody00", "not the password of anybody"),
        without_integrity,
        [&[22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 60, 1, 0, 0, 48][..], &[0; 56]].concat(),
        [&[0x80, 111, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1][..], &[5; 80]].concat(),
        [&[0x80, 200, 0, 6][..], &[5; 40]].concat(),
    ]
}

/// SE-06.
#[tokio::test]
async fn se_06_a_stranger_with_a_known_user_name_moves_nothing_and_hears_nothing() {
    let (_node, handle, room) = start(config(1)).await;
    let mut peers = call(&handle, room, 2, "127.0.0.1").await;
    drive(&mut peers, "both see each other", both_see).await;
    let (server, own) = (handle.media_addresses()[0], peers[0].addresses());
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    stranger.set_nonblocking(true).unwrap();
    let start = peers.iter().map(|peer| peer.received.len()).collect::<Vec<_>>();
    let ufrags = peers[0].ufrags.clone();
    for _ in 0..20 {
        for bytes in ufrags.iter().flat_map(|ufrag| forgeries(ufrag)) {
            stranger.send_to(&bytes, server).unwrap();
            // The same from the victim's own address, and from another participant's.
            peers[0].send_raw(&bytes, server);
            peers[1].send_raw(&bytes, server);
        }
        drive_once(&mut peers).await;
    }
    // A stranger sends 20 rounds for each of two user names.
    for (reason, least) in [
        (DropReason::BadIntegrity, 40),
        (DropReason::UnknownUfrag, 40),
        (DropReason::UnknownSource, 160),
    ] {
        eventually(&handle, reason.label(), |s| s[0].core.drops[reason as usize] >= least).await;
    }
    drive(&mut peers, "media goes on", |peers| {
        peers.iter().zip(&start).all(|(peer, before)| peer.received.len() > before + 50)
    })
    .await;
    assert_eq!(peers[0].addresses(), own);
    let heard = stranger.recv_from(&mut [0; 2_048]);
    assert!(heard.is_err(), "a stranger was answered: {heard:?}");
    assert!(peers.iter().all(|peer| peer.closed == 0));
    assert_eq!(handle.stats()[0].core.peer_panics, 0);
}

/// Candidates that lead nowhere good, and one to `spy`.
fn odd_candidates(spy: SocketAddr) -> String {
    let (ip, port) = (spy.ip(), spy.port());
    let odd = [
        format!("{ip} {port}"),
        format!("0f4f1c3e-6d3b-4f6e-9c5a-1f2e3d4c5b6a.local {port}"),
        format!("localhost {port}"),
        format!("media.example.com {port}"),
        format!("fe80::1 {port}"),
        format!("fe80::1%lo {port}"),
        format!("169.254.1.1 {port}"),
        format!("224.0.0.251 {port}"),
        format!("ff02::fb {port}"),
        format!("255.255.255.255 {port}"),
        format!("0.0.0.0 {port}"),
        format!(":: {port}"),
        format!("::ffff:{ip} {port}"),
        format!("{ip} 0"),
        format!("{ip} 65536"),
        format!("{ip} -1"),
        format!("[::1] {port}"),
        format!("{} {port}", "a".repeat(300)),
    ];
    let line = |(at, address): (usize, &String)| {
        format!("a=candidate:{at} 1 udp 2130706431 {address} typ host generation 0\r\n")
    };
    odd.iter().enumerate().map(line).collect()
}

#[tokio::test]
async fn candidates_of_an_offer_are_neither_looked_up_nor_sent_to() {
    let (_node, handle, room) = start(config(1)).await;
    let spy = UdpSocket::bind("127.0.0.1:0").unwrap();
    spy.set_nonblocking(true).unwrap();
    let lines = odd_candidates(spy.local_addr().unwrap());
    let mut peers = Vec::new();
    for _ in 0..2 {
        let (mut peer, mut request) = Peer::new("127.0.0.1", handle.new_participant(), true, 1);
        for offer in [&mut request.send_offer, &mut request.receive_offer].into_iter().flatten() {
            // Among those of each m-line, and at the session's own level.
            *offer = offer.replace("a=ice-ufrag:", &format!("{lines}a=ice-ufrag:"));
            *offer = offer.replacen("t=0 0\r\n", &format!("t=0 0\r\n{lines}"), 1);
            assert_eq!(offer.matches(".local ").count(), 1 + offer.matches("a=ice-ufrag:").count());
        }
        // A look-up would take its time.
        let asked = Instant::now();
        peer.join(&handle, room, request).await;
        assert!(asked.elapsed() < Duration::from_secs(2));
        peers.push(peer);
    }
    drive(&mut peers, "both see each other", both_see).await;
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(500) {
        drive_once(&mut peers).await;
    }
    let heard = spy.recv_from(&mut [0; 2_048]);
    assert!(heard.is_err(), "a candidate was sent to: {heard:?}");
    assert_eq!(handle.stats()[0].send_drops, 0);
}
