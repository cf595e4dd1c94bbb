//! The node as its embedder sees it, over real sockets.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use convoke_core::{JoinRequest, ParticipantId, Permissions};

use crate::{Handle, NodeConfig};

mod binds;
mod idle;
mod interfaces;
mod lifecycle;
mod media;
mod paths;
mod peer;
mod span;
mod stun;
mod tcp;
mod tcp_paths;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Longer than anything here takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(20);

fn config(workers: usize) -> NodeConfig {
    let mut config = NodeConfig::new(LOOPBACK, 0);
    config.workers = workers;
    // What every system grants, so that nothing is warned about.
    config.socket_buffer = 128 * 1024;
    config
}

/// A participant without media.
fn viewer(participant: ParticipantId) -> JoinRequest {
    JoinRequest {
        participant,
        identity: "someone".into(),
        display_name: "Someone".into(),
        permissions: Permissions::ALL,
        send_offer: None,
        receive_offer: None,
        tracks: Vec::new(),
    }
}

/// Waits until the counters say so.
async fn eventually(handle: &Handle, what: &str, holds: impl Fn(&[crate::WorkerStats]) -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds(&handle.stats()) {
        assert!(Instant::now() < end, "{what}: {:?}", handle.stats());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
