//! Media over TCP: a call without UDP, and what strangers and slow peers cost.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use convoke_core::{LeaveReason, RoomId};
use socket2::{Domain, Socket, Type};

use super::media::start;
use super::peer::{Peer, drive};
use super::*;
use crate::{Node, StartError, TcpConfig, TcpEnd, TcpStats};

/// The kernel keeps a buffer of its own for each byte that is written alone: thousands of them fill what a
/// slow reader has room for, and TCP waits ever longer before it tries again.
const PIECES: usize = 40;

/// A connection of a client, in frames (RFC 4571).
#[derive(Debug)]
pub(super) struct Frames {
    stream: TcpStream,
    received: Vec<u8>,
    unsent: Vec<u8>,
    /// So many bytes are written at a time, of the first [`PIECES`] of what there is to write.
    chunk: usize,
    /// The server closed it.
    pub(super) ended: bool,
    /// Nothing is read.
    pub(super) stalls: bool,
    /// A check was sent.
    checked: bool,
}

impl Frames {
    pub(super) fn connect(to: SocketAddr) -> Self {
        Self::with(to, |_| {})
    }

    pub(super) fn with(to: SocketAddr, set: impl FnOnce(&Socket)) -> Self {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
        set(&socket);
        socket.connect(&to.into()).unwrap();
        let stream = TcpStream::from(socket);
        stream.set_nonblocking(true).unwrap();
        let (received, unsent) = (Vec::new(), Vec::new());
        let chunk = usize::MAX;
        Self { stream, received, unsent, chunk, ended: false, stalls: false, checked: false }
    }

    /// As an ICE agent does: the first thing that it says in a connection is a check.
    pub(super) fn send_datagram(&mut self, datagram: &[u8]) {
        self.checked |= matches!(datagram.first(), Some(0..=3));
        if self.checked {
            self.send(datagram);
        }
    }

    fn send(&mut self, datagram: &[u8]) {
        self.unsent.extend(u16::try_from(datagram.len()).unwrap().to_be_bytes());
        self.unsent.extend(datagram);
        self.write();
    }

    /// What is no frame.
    fn send_raw(&mut self, bytes: &[u8]) {
        self.unsent.extend(bytes);
        self.write();
    }

    fn write(&mut self) {
        let mut pieces = 0;
        while !self.unsent.is_empty() && !self.ended {
            pieces += 1;
            let next = if pieces > PIECES { usize::MAX } else { self.chunk };
            let next = self.unsent.len().min(next);
            match self.stream.write(&self.unsent[..next]) {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.ended = true,
            }
        }
    }

    pub(super) fn next(&mut self) -> Option<Vec<u8>> {
        self.write();
        if self.stalls {
            return None;
        }
        let mut buffer = [0; 4_096];
        match self.stream.read(&mut buffer) {
            Ok(0) => self.ended = true,
            Ok(count) => self.received.extend(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.ended = true,
        }
        let length = self.received.first_chunk().map(|two| u16::from_be_bytes(*two));
        let length = usize::from(length?);
        let frame = self.received.get(2..length + 2)?.to_vec();
        self.received.drain(..length + 2);
        Some(frame)
    }

    /// Waits for its end; how many frames came before.
    async fn end(&mut self, what: &str) -> usize {
        let (until, mut frames) = (Instant::now() + PATIENCE, 0);
        loop {
            frames += usize::from(self.next().is_some());
            if self.ended {
                return frames;
            }
            assert!(Instant::now() < until, "{what} is not ended");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

pub(super) fn with_tcp(workers: usize, set: impl FnOnce(&mut TcpConfig)) -> NodeConfig {
    let mut tcp = TcpConfig::new(SocketAddr::new(LOOPBACK, 0));
    set(&mut tcp);
    NodeConfig { tcp: Some(tcp), ..config(workers) }
}

pub(super) fn port(handle: &Handle) -> SocketAddr {
    handle.tcp_addresses()[0]
}

/// Two with a camera in a call of their own, by TCP.
async fn call(handle: &Handle) -> Vec<Peer> {
    call_in(handle, handle.new_room()).await
}

pub(super) async fn call_in(handle: &Handle, room: RoomId) -> Vec<Peer> {
    let mut peers = Vec::new();
    for _ in 0..2 {
        let (mut peer, request) = Peer::new("127.0.0.1", handle.new_participant(), true, 1);
        peer.join(handle, room, request).await;
        peer.by_tcp = Some([Frames::connect(port(handle)), Frames::connect(port(handle))]);
        peers.push(peer);
    }
    drive(&mut peers, "both see each other", |p| p.iter().all(|p| p.seen().len() == 1)).await;
    peers
}

/// Media goes on in this call.
pub(super) async fn goes_on(peers: &mut [Peer]) {
    let before: Vec<usize> = peers.iter().map(|peer| peer.received.len()).collect();
    drive(peers, "media goes on", |peers| {
        peers.iter().zip(&before).all(|(peer, before)| peer.received.len() > before + 20)
    })
    .await;
}

pub(super) async fn counted(handle: &Handle, what: &str, holds: impl Fn(&TcpStats) -> bool) {
    eventually(handle, what, |_| holds(&handle.tcp_stats())).await;
}

pub(super) fn ended(stats: &TcpStats, why: TcpEnd) -> u64 {
    stats.ended[why as usize]
}

/// A binding request (RFC 8489) by a user name, whose integrity does not hold.
fn forged(username: &str) -> Vec<u8> {
    let mut attributes = Vec::new();
    let mut attribute = |kind: u16, value: &[u8]| {
        attributes.extend(kind.to_be_bytes());
        attributes.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
        attributes.extend(value);
        attributes.resize(attributes.len().next_multiple_of(4), 0);
    };
    attribute(0x0006, username.as_bytes());
    attribute(0x0024, &[1, 2, 3, 4]);
    attribute(0x0008, &[7; 20]);
    let mut message = vec![0, 1];
    message.extend(u16::try_from(attributes.len()).unwrap().to_be_bytes());
    message.extend([0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    message.extend(attributes);
    message
}

/// IC-05.
#[tokio::test]
async fn ic_05_calls_on_two_workers_go_by_one_tcp_port_alone() {
    let (node, handle, _) = start(with_tcp(2, |_| {})).await;
    let (mut first, mut second) = (call(&handle).await, call(&handle).await);
    goes_on(&mut first).await;
    goes_on(&mut second).await;
    eventually(&handle, "both workers have a call", |s| s.iter().all(|s| s.core.rooms == 1)).await;
    let (stats, workers) = (handle.tcp_stats(), handle.stats());
    assert_eq!((stats.open, stats.accepted, stats.refused), (8, 8, [0, 0]));
    assert!(stats.datagrams.iter().all(|count| *count > 100), "{stats:?}");
    assert_eq!((stats.drops, stats.ended), ([0, 0], [0; 6]));
    for worker in workers {
        assert_eq!(worker.core.drops.iter().sum::<u64>(), 0, "{worker:?}");
        assert_eq!((worker.send_calls, worker.receive_drops), (0, 0), "by UDP nothing");
    }
    node.shutdown().await;
    for call in [&mut first, &mut second] {
        drive(call, "the goodbyes are heard", |peers| peers.iter().all(|p| p.closed == 2)).await;
        for frames in call.iter_mut().flat_map(|peer| peer.by_tcp.iter_mut().flatten()) {
            frames.end("a connection of a stopped node").await;
        }
    }
}

/// IC-05.
#[tokio::test]
async fn ic_05_connections_end_with_their_participant_and_no_others() {
    let (_node, handle, room) = start(with_tcp(1, |_| {})).await;
    let (mut first, mut second) = (call_in(&handle, room).await, call(&handle).await);
    let gone = first.pop().unwrap();
    handle.leave(room, gone.participant, LeaveReason::Left).await.unwrap();
    let mut gone = [gone];
    drive(&mut gone, "the goodbyes are heard", |peers| peers[0].closed == 2).await;
    for frames in gone[0].by_tcp.iter_mut().flatten() {
        frames.end("a connection of somebody who left").await;
    }
    counted(&handle, "both are counted", |s| ended(s, TcpEnd::Left) == 2 && s.open == 6).await;
    goes_on(&mut second).await;
}

/// IC-05.
#[tokio::test]
async fn ic_05_every_kind_of_stranger_costs_its_own_connection() {
    let timeout = Duration::from_secs(2);
    let (_node, handle, _) = start(with_tcp(1, |tcp| tcp.hello_timeout = timeout)).await;
    let mut peers = call(&handle).await;
    let began = Instant::now();
    let connect = || Frames::connect(port(&handle));
    let (mut silent, mut half, mut null, mut wrong) = (connect(), connect(), connect(), connect());
    half.send_raw(&[0, 200, 0, 1, 0, 0]);
    null.send(&[]);
    wrong.send(&forged("AAxxxxxxxx:peer"));
    let at_once = [
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n".to_vec(), TcpEnd::Malformed),
        ("TLS", [&[22, 3, 1, 2, 0, 1][..], &[0; 512]].concat(), TcpEnd::Malformed),
        ("oversize", [&2_001u16.to_be_bytes()[..], &[0; 100]].concat(), TcpEnd::Malformed),
        ("zeros", [&2_000u16.to_be_bytes()[..], &[0; 2_000]].concat(), TcpEnd::Stranger),
        ("RTP", [&40u16.to_be_bytes()[..], &[128; 40]].concat(), TcpEnd::Stranger),
    ];
    for (what, bytes, why) in at_once {
        let (before, mut frames) = (ended(&handle.tcp_stats(), why), connect());
        frames.send_raw(&bytes);
        assert_eq!(frames.end(what).await, 0, "{what} is answered");
        counted(&handle, what, |stats| ended(stats, why) == before + 1).await;
    }
    for username in ["ABxxxxxxxx:peer", "?", "EAxxxxxxxx:peer", "A:b"] {
        let mut frames = connect();
        frames.send(&forged(username));
        assert_eq!(frames.end(username).await, 0, "{username} is answered");
    }
    assert!(began.elapsed() < timeout, "too slow to tell");
    for (what, frames) in
        [("silent", &mut silent), ("half", &mut half), ("null", &mut null), ("wrong", &mut wrong)]
    {
        assert_eq!(frames.end(what).await, 0, "{what} is answered");
        assert!(began.elapsed() >= timeout, "{what} ended early");
    }
    counted(&handle, "all four", |stats| ended(stats, TcpEnd::Silent) == 4 && stats.open == 4)
        .await;
    assert_eq!(ended(&handle.tcp_stats(), TcpEnd::Stranger), 6);
    goes_on(&mut peers).await;
    // Who proved itself may say no nonsense either.
    let spoiled = &mut peers[0].by_tcp.as_mut().unwrap()[0];
    spoiled.send_raw(&[1, 0]);
    spoiled.send_raw(&[255; 256]);
    spoiled.end("nonsense in a proven connection").await;
    let mut others = call(&handle).await;
    goes_on(&mut others).await;
}

/// IC-05: however a stream is cut into segments, its frames come out whole, and empty ones between them are
/// nothing.
#[tokio::test]
async fn ic_05_frames_are_whole_however_they_are_cut() {
    let (_node, handle, _) = start(with_tcp(1, |_| {})).await;
    let mut peers = call(&handle).await;
    for chunk in [1, 2, 3, 700, usize::MAX] {
        for frames in peers.iter_mut().flat_map(|peer| peer.by_tcp.iter_mut().flatten()) {
            frames.stream.set_nodelay(true).unwrap();
            frames.chunk = chunk;
            frames.send(&[]);
            // Two in one write.
            frames.send_raw(&[0, 0, 0, 0]);
        }
        goes_on(&mut peers).await;
    }
    let stats = handle.stats()[0];
    let malformed = convoke_core::DropReason::Malformed as usize;
    assert_eq!(stats.core.drops[malformed], 0, "{stats:?}");
    counted(&handle, "none was closed", |stats| stats.open == 4).await;
}

/// IC-05.
#[tokio::test]
async fn ic_05_too_many_connections_are_closed_and_those_before_go_on() {
    let (_node, handle, _) = start(with_tcp(1, |tcp| tcp.connections = 6)).await;
    let mut peers = call(&handle).await;
    let mut two = [Frames::connect(port(&handle)), Frames::connect(port(&handle))];
    counted(&handle, "six", |stats| stats.open == 6).await;
    Frames::connect(port(&handle)).end("the seventh").await;
    counted(&handle, "a refusal", |stats| stats.refused == [1, 0]).await;
    goes_on(&mut peers).await;
    two[0].send_raw(b"GET / HTTP/1.1\r\n\r\n");
    two[0].end("its place").await;
    counted(&handle, "five", |stats| stats.open == 5).await;

    let (_node, handle, _) = start(with_tcp(1, |tcp| tcp.connections_per_address = 4)).await;
    let mut peers = call(&handle).await;
    Frames::connect(port(&handle)).end("the fifth").await;
    counted(&handle, "a refusal", |stats| stats.refused == [0, 1]).await;
    let second = |socket: &Socket| {
        let other: SocketAddr = ([127, 0, 0, 2], 0).into();
        socket.bind(&other.into()).unwrap();
    };
    let _other = Frames::with(port(&handle), second);
    counted(&handle, "another address", |stats| stats.open == 5).await;
    goes_on(&mut peers).await;
}

/// IC-05.
#[tokio::test]
async fn ic_05_who_takes_nothing_loses_media_and_then_the_connection() {
    let set = |tcp: &mut TcpConfig| {
        tcp.send_queue = 32;
        tcp.send_timeout = Duration::from_secs(2);
    };
    let (_node, handle, room) = start(with_tcp(1, set)).await;
    let mut peers = call_in(&handle, room).await;
    // A third one, whose system takes but a few packets for it.
    let (mut slow, request) = Peer::new("127.0.0.1", handle.new_participant(), false, 1);
    slow.join(&handle, room, request).await;
    let small = |socket: &Socket| socket.set_recv_buffer_size(4_096).unwrap();
    slow.by_tcp = Some([Frames::connect(port(&handle)), Frames::with(port(&handle), small)]);
    peers.push(slow);
    drive(&mut peers, "it sees somebody", |p| !p[2].received.is_empty()).await;
    peers[2].by_tcp.as_mut().unwrap()[1].stalls = true;
    let end = |_: &[Peer]| ended(&handle.tcp_stats(), TcpEnd::Slow) == 1;
    let before = peers[0].received.len();
    let began = Instant::now();
    drive(&mut peers, "the slow connection ends", end).await;
    let (took, stats) = (began.elapsed(), handle.tcp_stats());
    assert!(took >= Duration::from_secs(2), "{took:?}");
    assert!(stats.drops[1] > 0, "{stats:?}");
    // 1.5 Mbit/s in packets of 1,100 bytes are 170 a second; half of that, as machines are loaded.
    let rate = (peers[0].received.len() - before) as f64 / took.as_secs_f64();
    assert!(rate > 80.0, "{rate} packets a second beside a slow one");
    peers.truncate(2);
    goes_on(&mut peers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_in_one_connection_is_shed_like_that_of_a_socket() {
    let (_node, handle, _) = start(with_tcp(1, |tcp| tcp.hello_timeout = PATIENCE)).await;
    let mut peers = call(&handle).await;
    let target = port(&handle);
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flood = std::thread::spawn({
        let stop = std::sync::Arc::clone(&stop);
        move || {
            let mut frames = Frames::connect(target);
            frames.stream.set_nonblocking(false).unwrap();
            frames.send(&forged("AAxxxxxxxx:peer"));
            let batch = [&[0, 20][..], &[128; 20]].concat().repeat(1_000);
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                frames.send_raw(&batch);
            }
        }
    });
    let before = handle.tcp_stats().datagrams[0];
    counted(&handle, "it is flooded", |stats| stats.datagrams[0] > before + 20_000).await;
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        let asked = Instant::now();
        handle.join(handle.new_room(), viewer(handle.new_participant())).await.unwrap();
        slowest = slowest.max(asked.elapsed());
    }
    goes_on(&mut peers).await;
    let unknown = convoke_core::DropReason::UnknownSource as usize;
    eventually(&handle, "none is believed", |s| s[0].core.drops[unknown] > 20_000).await;
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    flood.join().unwrap();
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
}

#[tokio::test]
async fn a_port_in_use_and_an_address_of_another_family_are_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    match Node::start(with_tcp(1, |tcp| tcp.listen = addr)).await {
        Err(StartError::Bind { addr: named, .. }) => assert_eq!(named, addr),
        other => panic!("{other:?}"),
    }
    let mut config = with_tcp(1, |tcp| tcp.listen = ([0, 0, 0, 0], 0).into());
    match Node::start(config.clone()).await {
        Err(StartError::NothingToAdvertise(ip)) => assert!(ip.is_unspecified()),
        other => panic!("{other:?}"),
    }
    config.bind = vec![std::net::Ipv6Addr::UNSPECIFIED.into()];
    config.advertise = vec!["2001:db8::7".parse().unwrap()];
    assert!(matches!(Node::start(config).await, Err(StartError::NotServed { .. })));
}
