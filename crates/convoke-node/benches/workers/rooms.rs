//! What a forwarded packet costs in small rooms and in large ones.
//!
//! Owns: the compositions, and what of the cost is a packet's coming in.
//!
//! One worker forwards the same number of packets a second in each row, at a fixed rate that it carries with ease,
//! made of many small rooms or of few large ones. A packet that comes in is received, decrypted, read
//! and chosen once, however many it goes to: rooms of two pay that for each packet that they forward, rooms of a
//! hundred for each hundredth. So the same rooms are measured with their publishers alone, too, and
//! what an incoming packet takes there, times those that come in for each that is forwarded, is the
//! column `in`; what remains is `out`, which should be the same in all rows of a kind. In rooms of two nearly all
//! is `in`, and the figures are of different moments, so there `out` is a guess.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use convoke_core::RoomId;
use convoke_node::{Handle, Node, NodeConfig};
use convoke_protocol::TransportRole;

use crate::camera::{Camera, Shape, VIDEO, VOICE};
use crate::peer::Peer;
use crate::{STEP, WARMING, cpu, forwarded};

/// Packets forwarded in a second, in every row.
const RATE: f64 = 40_000.0;
const MEASURED: Duration = Duration::from_secs(3);
/// The counters of the core are published now and then.
const SETTLING: Duration = Duration::from_millis(300);
const ROUNDS: usize = 3;
/// Ratios are to rooms of so many. In smaller ones `out` is what remains of two large figures.
const REFERENCE: usize = 10;

/// Rooms of one kind.
#[derive(Debug, Clone, Copy)]
struct Row {
    kind: &'static str,
    size: usize,
    rooms: usize,
    cameras: usize,
    slots: usize,
    shape: Shape,
}

const fn one(size: usize, rooms: usize) -> Row {
    Row { kind: "one camera", size, rooms, cameras: 1, slots: 1, shape: VIDEO }
}

const fn voice(size: usize, rooms: usize) -> Row {
    Row { kind: "single packets", shape: VOICE, ..one(size, rooms) }
}

const fn tiles(size: usize, rooms: usize, cameras: usize) -> Row {
    Row { kind: "12 slots each", cameras, slots: 12, ..one(size, rooms) }
}

/// About a thousand who look, in each.
const ROWS: [Row; 12] = [
    one(2, 1_000),
    one(10, 111),
    one(100, 10),
    one(1_000, 1),
    voice(2, 1_000),
    voice(10, 111),
    voice(100, 10),
    voice(1_000, 1),
    tiles(2, 500, 1),
    tiles(10, 100, 5),
    tiles(100, 10, 12),
    tiles(1_000, 1, 50),
];

impl Row {
    fn viewers(&self) -> usize {
        self.size - self.cameras
    }

    /// Streams that are forwarded.
    fn streams(&self) -> usize {
        self.rooms * self.viewers() * self.cameras.min(self.slots)
    }

    /// Between two pictures of a camera.
    fn interval(&self) -> Duration {
        let packets = self.streams() as f64 * f64::from(self.shape.packets);
        Duration::from_secs_f64(packets / RATE)
    }
}

/// A camera that keeps to a rate.
struct Publisher {
    peer: Peer,
    camera: Camera,
    due: Instant,
}

/// What was measured in a time.
#[derive(Debug, Clone, Copy)]
struct Measured {
    cpu_ns: f64,
    came: f64,
    forwarded: f64,
    sent: f64,
    calls: f64,
}

/// What a row comes to, in nanoseconds for a forwarded packet.
#[derive(Debug, Clone, Copy, Default)]
struct Figures {
    all: f64,
    coming_in: f64,
    per_second: f64,
    datagrams_per_call: f64,
}

async fn pump(row: Row, publishers: &mut [Publisher], time: Duration) {
    let end = Instant::now() + time;
    loop {
        let now = Instant::now();
        if now >= end {
            return;
        }
        for publisher in publishers.iter_mut().filter(|publisher| publisher.due <= now) {
            publisher.due += row.interval();
            for _ in 0..row.shape.packets {
                publisher.peer.write(now, publisher.camera.take());
            }
            publisher.camera.keyframe |= publisher.peer.turn(now);
        }
        tokio::time::sleep(STEP).await;
    }
}

async fn measure(row: Row, handle: &Handle, publishers: &mut [Publisher]) -> Measured {
    let sums = || {
        let stats = handle.stats();
        let sum =
            |of: fn(&convoke_node::WorkerStats) -> u64| stats.iter().map(of).sum::<u64>() as f64;
        Measured {
            cpu_ns: cpu().0,
            came: sum(|worker| worker.core.rtp_in.iter().sum()),
            forwarded: forwarded(handle),
            sent: sum(|worker| worker.core.datagrams_out),
            calls: sum(|worker| worker.send_calls),
        }
    };
    let before = sums();
    pump(row, publishers, MEASURED).await;
    // Nothing comes meanwhile.
    tokio::time::sleep(SETTLING).await;
    let after = sums();
    for publisher in publishers {
        publisher.due += SETTLING;
    }
    Measured {
        cpu_ns: after.cpu_ns - before.cpu_ns,
        came: after.came - before.came,
        forwarded: after.forwarded - before.forwarded,
        sent: after.sent - before.sent,
        calls: after.calls - before.calls,
    }
}

/// The least disturbed of some rounds.
async fn run(row: Row) -> Figures {
    let mut config = NodeConfig::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    config.workers = 1;
    config.participants_per_shard = 0;
    config.media_timeout = Duration::from_secs(600);
    let (node, _events) = Node::start(config).await.expect("starts");
    let handle = node.handle();
    let rooms: Vec<RoomId> = (0..row.rooms).map(|_| handle.new_room()).collect();
    let mut publishers = Vec::new();
    for room in rooms.iter().flat_map(|room| std::iter::repeat_n(*room, row.cameras)) {
        let peer = Peer::join(&handle, room, TransportRole::Send, 0).await;
        let camera = Camera::new(row.shape);
        publishers.push(Publisher { peer, camera, due: Instant::now() });
    }
    spread(row, &mut publishers);
    pump(row, &mut publishers, WARMING).await;
    let mut in_ns = f64::INFINITY;
    for _ in 0..ROUNDS {
        let alone = measure(row, &handle, &mut publishers).await;
        in_ns = in_ns.min(alone.cpu_ns / alone.came);
    }
    let mut sinks: Vec<UdpSocket> = Vec::new();
    for room in rooms.iter().flat_map(|room| std::iter::repeat_n(*room, row.viewers())) {
        sinks.push(Peer::join(&handle, room, TransportRole::Receive, row.slots).await.into_sink());
    }
    spread(row, &mut publishers);
    pump(row, &mut publishers, 2 * WARMING).await;
    let mut best = Figures { all: f64::INFINITY, ..Figures::default() };
    for _ in 0..ROUNDS {
        let Measured { cpu_ns, came, forwarded, sent, calls } =
            measure(row, &handle, &mut publishers).await;
        let figures = Figures {
            all: cpu_ns / forwarded,
            coming_in: in_ns * came / forwarded,
            per_second: forwarded / MEASURED.as_secs_f64(),
            datagrams_per_call: sent / calls,
        };
        if figures.all < best.all {
            best = figures;
        }
    }
    node.shutdown().await;
    best
}

/// Cameras take turns.
fn spread(row: Row, publishers: &mut [Publisher]) {
    let (now, count) = (Instant::now(), publishers.len() as u32);
    for (index, publisher) in (0..).zip(publishers) {
        publisher.due = now + row.interval() * index / count;
    }
}

/// Whether the arguments after `rooms` want it: kinds by a word of theirs, sizes by number; none means all.
fn is_wanted(row: &Row) -> bool {
    let words = std::env::args().skip_while(|argument| argument != "rooms").skip(1);
    let words: Vec<String> = words.filter(|word| !word.starts_with('-')).collect();
    let (sizes, kinds): (Vec<_>, Vec<_>) = words.iter().partition(|w| w.parse::<usize>().is_ok());
    let is_size = |word: &&String| word.parse() == Ok(row.size);
    (sizes.is_empty() || sizes.iter().any(is_size))
        && (kinds.is_empty() || kinds.iter().any(|word| row.kind.contains(word.as_str())))
}

/// All rows, or those that the arguments want.
pub(crate) async fn table() {
    let head = ["size", "rooms", "packets/s", "per call", "ns", "in", "out", "ratio"];
    let [size, rooms, rate, per_call, all, coming_in, out, ratio] = head;
    println!(
        "{:<16}{size:>6}{rooms:>7}{rate:>11}{per_call:>10}{all:>8}{coming_in:>8}{out:>8}{ratio:>7}",
        ""
    );
    let rows: Vec<Row> = ROWS.into_iter().filter(is_wanted).collect();
    for rows in rows.chunk_by(|one, next| one.kind == next.kind) {
        let mut measured = Vec::new();
        for row in rows {
            measured.push((*row, run(*row).await));
        }
        let out = |f: &Figures| f.all - f.coming_in;
        let reference = measured.iter().find(|(row, _)| row.size == REFERENCE);
        let reference = reference.or(measured.first()).map_or(0.0, |(_, figures)| out(figures));
        for (Row { kind, size, rooms, .. }, figures) in &measured {
            let Figures { all, coming_in, per_second, datagrams_per_call } = figures;
            let (out, ratio) = (out(figures), out(figures) / reference);
            println!(
                "{kind:<16}{size:>6}{rooms:>7}{per_second:>11.0}{datagrams_per_call:>10.1}\
                 {all:>8.0}{coming_in:>8.0}{out:>8.0}{ratio:>7.2}"
            );
        }
    }
}
