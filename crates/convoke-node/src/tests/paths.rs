//! Paths that change, and strangers who would like to change them.

use std::net::{Ipv6Addr, UdpSocket};

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
    let (_node, handle, room) = start(NodeConfig { bind, ..config(1) }).await;
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
