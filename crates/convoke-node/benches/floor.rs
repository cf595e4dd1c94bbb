//! What a forwarded packet costs at the very least on this machine: to encrypt it, and to hand it to
//! the kernel, alone and in groups. Everything that the server takes beyond that is its own.
//!
//! `cargo bench -p convoke-node --bench floor`. Loopback carries a packet to its receiver within the
//! sending call, so the kernel's share is larger than with a network card.

#![expect(clippy::print_stdout, reason = "a program that reports to its user")]

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Instant;

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use quinn_udp::{Transmit, UdpSockRef, UdpSocketState};

const PACKET_BYTES: usize = 1_200;
const HEADER_BYTES: usize = 40;
const PACKETS: usize = 200_000;
const RECEIVERS: usize = 32;

/// A voice: one packet to each of so many.
const VOICE_BYTES: usize = 120;
const LISTENERS: usize = 50;
const ROUNDS: usize = 15;

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

fn send(group: usize) -> io::Result<f64> {
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

/// One packet to each listener, with a call for each, and with one for all. Both with the control message of
/// the server (ECN, none). Nanoseconds for a packet, and the median of the second's share of the first, over
/// rounds that follow each other.
#[cfg(target_os = "linux")]
fn one_to_each(bytes: usize) -> io::Result<(f64, f64, f64)> {
    use std::os::fd::AsRawFd;

    use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, sendmmsg};

    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
    let bound = |_| UdpSocket::bind("127.0.0.1:0");
    let receivers: Vec<UdpSocket> = (0..LISTENERS).map(bound).collect::<Result<_, _>>()?;
    let to: Vec<SocketAddr> =
        receivers.iter().map(UdpSocket::local_addr).collect::<Result<_, _>>()?;
    let named = |addr: &SocketAddr| {
        let [a, b, c, d] = Ipv4Addr::LOCALHOST.octets();
        Some(SockaddrIn::new(a, b, c, d, addr.port()))
    };
    let names: Vec<Option<SockaddrIn>> = to.iter().map(named).collect();
    let packets = vec![vec![0x5a; bytes]; LISTENERS];
    let turns = PACKETS / LISTENERS / 4;
    let mut alone = || {
        for turn in 0..turns {
            for (destination, contents) in to.iter().zip(&packets) {
                let transmit = Transmit {
                    destination: *destination,
                    ecn: None,
                    contents,
                    segment_size: None,
                    src_ip: None,
                };
                let sent = state.try_send(UdpSockRef::from(&socket), &transmit);
                assert!(turn > 0 || sent.is_ok(), "{sent:?}");
            }
        }
    };
    let slices: Vec<[IoSlice<'_>; 1]> = packets.iter().map(|p| [IoSlice::new(p)]).collect();
    let mut headers = MultiHeaders::preallocate(LISTENERS, Some(nix::cmsg_space!(u8)));
    let mut together = || {
        for _ in 0..turns {
            let control = [ControlMessage::Ipv4Tos(&0)];
            let fd = socket.as_raw_fd();
            let flags = MsgFlags::empty();
            let sent = sendmmsg(fd, &mut headers, &slices, &names, control, flags);
            assert!(sent.is_ok(), "{sent:?}");
        }
    };
    together();
    // What stopped early would be cheap.
    receivers[LISTENERS - 1].recv(&mut [0; PACKET_BYTES])?;
    let spent = |round: &mut dyn FnMut()| {
        let start = Instant::now();
        round();
        start.elapsed().as_nanos() as f64 / (turns * LISTENERS) as f64
    };
    let (mut first, mut second, mut shares) = (f64::INFINITY, f64::INFINITY, Vec::new());
    for _ in 0..ROUNDS {
        let (a, b) = (spent(&mut alone), spent(&mut together));
        (first, second) = (first.min(a), second.min(b));
        shares.push(b / a);
    }
    shares.sort_by(f64::total_cmp);
    Ok((first, second, shares[ROUNDS / 2]))
}

fn main() -> io::Result<()> {
    let encrypt = encrypt();
    println!("{:<44}{encrypt:>8.0} ns", "AES-128-GCM, 1,200 bytes");
    for group in [1, 4, 13] {
        let send = send(group)?;
        println!("{:<44}{send:>8.0} ns", format!("sending, {group} to a receiver at once"));
        println!("{:<44}{:>8.0} ns", "  floor of a forwarded packet", encrypt + send);
    }
    #[cfg(target_os = "linux")]
    for bytes in [VOICE_BYTES, PACKET_BYTES] {
        let (alone, together, share) = one_to_each(bytes)?;
        let to = format!("1 packet of {bytes} bytes to each of {LISTENERS}");
        println!("{:<44}{alone:>8.0} ns", format!("{to}: sendmsg"));
        println!("{:<44}{together:>8.0} ns, {share:.3} of it", format!("{to}: sendmmsg"));
    }
    Ok(())
}
