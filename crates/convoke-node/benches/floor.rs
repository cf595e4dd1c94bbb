//! What a forwarded packet costs at the very least on this machine: to encrypt it, and to hand it to
//! the kernel, alone and in groups. Everything that the server takes beyond that is its own.
//!
//! `cargo bench -p convoke-node --bench floor`. Loopback carries a packet to its receiver within the
//! sending call, so the kernel's share is larger than with a network card.

#![expect(clippy::print_stdout, reason = "a program that reports to its user")]

use std::net::{SocketAddr, UdpSocket};
use std::time::Instant;

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use quinn_udp::{Transmit, UdpSockRef, UdpSocketState};

const PACKET_BYTES: usize = 1_200;
const HEADER_BYTES: usize = 40;
const PACKETS: usize = 200_000;
const RECEIVERS: usize = 32;

/// The least of five rounds, in nanoseconds for a packet.
fn least(mut round: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let start = Instant::now();
        round();
        best = best.min(start.elapsed().as_nanos() as f64 / PACKETS as f64);
    }
    best
}

fn encrypt() -> f64 {
    let key = UnboundKey::new(&AES_128_GCM, &[7; 16]).expect("a key");
    let key = LessSafeKey::new(key);
    let mut packet = vec![0x5a; PACKET_BYTES];
    let mut number = 0u64;
    least(|| {
        for _ in 0..PACKETS {
            number += 1;
            let mut nonce = [0; NONCE_LEN];
            nonce[..8].copy_from_slice(&number.to_be_bytes());
            let (header, payload) = packet.split_at_mut(HEADER_BYTES);
            let tag = key.seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(&*header),
                payload,
            );
            let _ = std::hint::black_box(tag.expect("sealed"));
        }
    })
}

fn send(group: usize) -> std::io::Result<f64> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
    // What nobody reads is dropped by the kernel, after all of the work.
    let bound = |_| UdpSocket::bind("127.0.0.1:0");
    let receivers: Vec<UdpSocket> = (0..RECEIVERS).map(bound).collect::<Result<_, _>>()?;
    let to: Vec<SocketAddr> =
        receivers.iter().map(UdpSocket::local_addr).collect::<Result<_, _>>()?;
    let contents = vec![0x5a; PACKET_BYTES * group];
    Ok(least(|| {
        for number in 0..PACKETS / group {
            let transmit = Transmit {
                destination: to[number % RECEIVERS],
                ecn: None,
                contents: &contents,
                segment_size: (group > 1).then_some(PACKET_BYTES),
                src_ip: None,
            };
            let _ = state.try_send(UdpSockRef::from(&socket), &transmit);
        }
    }))
}

fn main() -> std::io::Result<()> {
    let encrypt = encrypt();
    println!("{:<44}{encrypt:>8.0} ns", "AES-128-GCM, 1,200 bytes");
    for group in [1, 4, 13] {
        let send = send(group)?;
        println!("{:<44}{send:>8.0} ns", format!("sending, {group} to a receiver at once"));
        println!("{:<44}{:>8.0} ns", "  floor of a forwarded packet", encrypt + send);
    }
    Ok(())
}
