//! Ten thousand junk datagrams beside a running call: it does not notice, and all are counted.

mod common;

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use common::call::{Host, until};

const JUNK: usize = 10_000;

/// Every kind of first byte that a stranger may send (RFC 7983), more or less well formed.
fn junk(number: usize, random: &mut u64) -> Vec<u8> {
    let mut byte = || {
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        (*random >> 24) as u8
    };
    let length = [0, 1, 11, 12, 20, 100, 1_200, 1_472][number % 8];
    let mut bytes: Vec<u8> = (0..length).map(|_| byte()).collect();
    let head: &[u8] = match number % 7 {
        // STUN binding requests: the cookie is right, nothing else.
        0 => &[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42],
        1 => &[0, 1, 0xff, 0xff, 0x21, 0x12, 0xa4, 0x42],
        // DTLS 1.2 handshake records, RTP, RTCP.
        2 => &[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
        3 => &[0x80, 111, 0, 1],
        4 => &[0x81, 201, 0, 7],
        // Nothing that RFC 7983 knows.
        5 => &[0xff],
        _ => &[],
    };
    let shared = head.len().min(bytes.len());
    bytes[..shared].copy_from_slice(&head[..shared]);
    bytes
}

/// SE-06.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn se_06_a_call_does_not_notice_junk_beside_it() {
    let host = Host::start().await;
    let epoch = Instant::now();
    let a = host.join("a", epoch).await;
    let b = host.join("b", epoch).await;
    until("both are there", || a.call.state().participants.len() == 2).await;
    tokio::time::sleep(Duration::from_secs(1)).await;

    let dropped =
        || -> u64 { host.server.node().stats().iter().flat_map(|worker| worker.core.drops).sum() };
    let before = dropped();
    let targets = host.server.node().media_addresses();
    let sent = tokio::task::spawn_blocking(move || {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let mut random = 0x5eed_5eed_5eed_5eed;
        let mut sent = 0;
        for number in 0..JUNK {
            let bytes = junk(number, &mut random);
            socket.send_to(&bytes, targets[number % targets.len()]).expect("sent");
            // Empty ones never reach the worker, so they are not counted.
            sent += u64::from(!bytes.is_empty());
            if number % 50 == 49 {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        sent
    });
    let sent = sent.await.expect("sent");
    tokio::time::sleep(Duration::from_secs(2)).await;

    let lost = host.lost();
    let counted = dropped() - before;
    assert!(counted + lost.at_server >= sent, "{counted} counted and {lost:?} of {sent}");
    let mut staying = Vec::new();
    for participant in [a, b] {
        let (client, call, received) = participant.received().await;
        received.is_undisturbed(lost, 31);
        staying.push((client, call));
    }
    assert_eq!(host.server.control().active_calls(), 1);
    host.stop().await;
}
