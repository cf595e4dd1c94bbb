//! The contract of the egress seam: laws that hold of whatever engine sends to subscribers.
//!
//! What a room relies on, and all that it relies on: what is written leaves, in order, as it was
//! numbered and by the deadline; what got lost and is asked for is sent again as it was; keyframe requests
//! come up; what a peer sends does no harm; nothing leaves after the end; nothing is kept for good. An
//! engine is an [`Engine`]; the ways in which str0m sends, paced, paced but for now, and not, are held to
//! all laws.

use super::*;

/// A way of sending, as a connected transport and its peer.
trait Engine {
    const NAME: &'static str;

    fn connected() -> Pair;
}

/// str0m without estimation: everything leaves at once.
struct Unpaced;

impl Engine for Unpaced {
    const NAME: &'static str = "unpaced";

    fn connected() -> Pair {
        Pair::new()
    }
}

/// str0m with estimation: a pacer holds packets.
struct Paced;

impl Engine for Paced {
    const NAME: &'static str = "paced";

    fn connected() -> Pair {
        Pair::with(str::to_owned)
    }
}

/// The same, told to let video go as it comes.
struct Released;

impl Engine for Released {
    const NAME: &'static str = "released";

    fn connected() -> Pair {
        let mut pair = Pair::with(str::to_owned);
        pair.transport.set_unpaced(true);
        pair
    }
}

const CODEC: Codec = Codec::Vp9 { profile: 0 };
const MS: Duration = Duration::from_millis(1);

/// What the network does with the datagram of this index, of those toward the peer.
type Network<'a> = &'a mut dyn FnMut(&[u8]) -> bool;

impl Pair {
    fn line(&self, kind: MediaKind) -> usize {
        self.transport.lines.iter().position(|line| line.kind == kind).unwrap()
    }

    fn write(&mut self, packet: &MediaPacket, seq: u64) -> bool {
        let line = self.line(MediaKind::Video);
        let payload_type = self.transport.lines[line].payload_for(CODEC).unwrap();
        self.transport.write(line, outgoing(packet, payload_type, seq, self.now))
    }

    /// Lets time pass as the worker does: a transport is driven when written to, and when its deadline
    /// is due, and at no other time.
    fn run(&mut self, duration: Duration, network: Network<'_>) -> Vec<Received> {
        let end = self.now + duration;
        let mut heard = Vec::new();
        while self.now < end {
            let mut out = Outbox::default();
            self.peer.handle(self.now, PeerInput::Timeout);
            while let Some(transmit) = self.peer.poll_transmit() {
                if transmit.transport == WireRole::Receive {
                    let (source, local) = (transmit.local, transmit.destination);
                    let bytes = &transmit.contents;
                    self.transport.receive(
                        self.now,
                        &udp(source, local),
                        bytes,
                        &mut out,
                        &mut heard,
                    );
                }
            }
            for _ in 0..100 {
                if self.transport.touched || self.transport.deadline() <= self.now {
                    self.transport.drive(self.now, &mut out, &mut heard);
                }
            }
            assert!(self.transport.deadline() > self.now, "what is due is done");
            for transmit in out.transmits.iter().filter(|transmit| network(&transmit.contents)) {
                let (source, local) = (transmit.local, transmit.destination);
                let bytes = &transmit.contents;
                let transport = WireRole::Receive;
                self.peer.handle(self.now, PeerInput::Datagram { transport, source, local, bytes });
            }
            self.now += MS;
        }
        heard
    }
}

fn perfect(_: &[u8]) -> bool {
    true
}

fn payload(seq: u64) -> Arc<[u8]> {
    let mut payload = vec![0x8f; 600];
    payload[200..208].copy_from_slice(&seq.to_be_bytes());
    payload.into()
}

/// Writes packets `seqs`, a few at a time, and lets them leave.
fn send(pair: &mut Pair, seqs: impl IntoIterator<Item = u64>, network: Network<'_>) {
    for seq in seqs {
        let packet = MediaPacket { payload: payload(seq), ..media_packet(true) };
        assert!(pair.write(&packet, seq));
        if seq % 4 == 0 {
            pair.run(20 * MS, network);
        }
    }
    pair.run(500 * MS, network);
}

fn seqs(pair: &mut Pair) -> Vec<u64> {
    let received = pair.received();
    for packet in &received {
        assert_eq!(packet.payload, payload(packet.sequence), "what was written under this number");
        assert_eq!((packet.csrc, packet.marker, packet.rtp_time), (Some(77), true, 5));
    }
    received.iter().map(|packet| packet.sequence).collect()
}

fn order_and_numbers_are_kept<E: Engine>() {
    let mut pair = E::connected();
    // Gaps are the publisher's losses, which the subscriber is to see.
    let numbers: Vec<u64> = (100..200).filter(|seq| seq % 10 != 3).collect();
    send(&mut pair, numbers.iter().copied(), &mut perfect);
    assert_eq!(seqs(&mut pair), numbers, "{}", E::NAME);
}

fn a_burst_leaves_by_its_deadlines<E: Engine>() {
    let mut pair = E::connected();
    let packet = |seq| MediaPacket { payload: payload(seq), ..media_packet(true) };
    for seq in 100..180 {
        assert!(pair.write(&packet(seq), seq));
    }
    // 50 kB in a burst: at the first estimate of 1.5 Mbit/s that is a quarter of a second.
    pair.run(400 * MS, &mut perfect);
    assert_eq!(seqs(&mut pair), (100..180).collect::<Vec<_>>(), "{}", E::NAME);
}

fn what_was_lost_is_sent_again_as_it_was<E: Engine>() {
    let mut pair = E::connected();
    let mut media = 0;
    let mut lossy = |datagram: &[u8]| {
        media += usize::from(datagram.len() > 600);
        datagram.len() <= 600 || media % 7 != 3
    };
    send(&mut pair, 100..160, &mut lossy);
    send(&mut pair, 160..164, &mut perfect);
    let mut got = seqs(&mut pair);
    got.sort_unstable();
    assert_eq!(got, (100..164).collect::<Vec<_>>(), "{}", E::NAME);
}

fn keyframe_requests_come_up<E: Engine>() {
    let mut pair = E::connected();
    send(&mut pair, 100..104, &mut perfect);
    let mid = pair.offers.video_mids[0].clone();
    assert!(pair.peer.request_keyframe(pair.now, &mid));
    let line = pair.line(MediaKind::Video);
    let heard = pair.run(100 * MS, &mut perfect);
    let asked =
        |heard: &Received| matches!(heard, Received::KeyframeRequest { line: l } if *l == line);
    assert!(heard.iter().any(asked), "{}: {heard:?}", E::NAME);
}

fn what_cannot_be_read_does_no_harm<E: Engine>() {
    let mut pair = E::connected();
    send(&mut pair, 100..120, &mut perfect);
    let (source, local) = (pair.offers_address(), address(9));
    let mut random = 1u64;
    for length in (1..200).chain([1_200]) {
        for first in [128, 129, 144, 191] {
            let mut bytes = vec![first; length];
            for byte in &mut bytes[1..] {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                *byte = (random >> 56) as u8;
            }
            if let Some(kind) = bytes.get_mut(1) {
                *kind = 200 + (random >> 40) as u8 % 8;
            }
            let (mut out, mut heard) = (Outbox::default(), Vec::new());
            let health =
                pair.transport.receive(pair.now, &udp(source, local), &bytes, &mut out, &mut heard);
            assert!(matches!(health, Health::Well | Health::Refused), "{}: {health:?}", E::NAME);
            assert!(heard.is_empty(), "{}: {heard:?}", E::NAME);
        }
    }
    pair.received();
    send(&mut pair, 120..140, &mut perfect);
    assert_eq!(seqs(&mut pair), (120..140).collect::<Vec<_>>(), "{}", E::NAME);
}

fn nothing_leaves_after_the_end<E: Engine>() {
    let mut pair = E::connected();
    send(&mut pair, 100..104, &mut perfect);
    let mut out = Outbox::default();
    pair.transport.close(pair.now, &mut out);
    let packet = MediaPacket { payload: payload(104), ..media_packet(true) };
    assert!(!pair.write(&packet, 104), "{}", E::NAME);
    let (mut out, mut heard) = (Outbox::default(), Vec::new());
    assert_eq!(pair.transport.drive(pair.now + MS, &mut out, &mut heard), Health::Dead);
    assert!(out.transmits.is_empty() && heard.is_empty(), "{}", E::NAME);
}

/// A peer that is gone says nothing: payloads are let go all the same.
fn nothing_is_kept_for_good<E: Engine>() {
    let mut pair = E::connected();
    let shared = payload(1);
    for seq in 100..4_100 {
        let packet = MediaPacket { payload: Arc::clone(&shared), ..media_packet(true) };
        assert!(pair.write(&packet, seq));
        pair.run(2 * MS, &mut |_| false);
    }
    let held = Arc::strong_count(&shared) - 1;
    assert!(held < 4_000 / 2, "{}: {held} packets are held of 4,000", E::NAME);
}

impl Pair {
    /// Where the peer receives.
    fn offers_address(&self) -> SocketAddr {
        address(2)
    }
}

/// All laws, for one engine.
fn only_streams_that_the_answer_told_are_used<E: Engine>() {
    let mut pair = E::connected();
    let video = |line: &&Line| line.kind == MediaKind::Video;
    let lines = pair.transport.lines.iter().filter(video);
    let padding: Vec<u32> = lines.filter_map(|line| line.stream?.rtx).map(|rtx| *rtx).collect();
    let mut left = FxHashSet::default();
    let mut network = |bytes: &[u8]| {
        left.extend(rtp_ssrc(bytes));
        true
    };
    // Only audio is sent while the path is probed, as where all cameras are off.
    let line = pair.line(MediaKind::Audio);
    let opus = MediaPacket { codec: Codec::Opus, ..media_packet(true) };
    let payload_type = pair.transport.lines[line].payload_for(Codec::Opus).unwrap();
    for seq in 0..50 {
        assert!(pair.transport.write(line, outgoing(&opus, payload_type, seq, pair.now)));
        pair.transport.set_bitrates(1_000_000, 3_000_000 + seq);
        pair.run(20 * MS, &mut network);
    }
    let audio = *pair.transport.lines[line].stream.unwrap().ssrc;
    assert!(left.remove(&audio), "{}", E::NAME);
    assert!(left.iter().all(|ssrc| padding.contains(ssrc)), "{}: {left:?}", E::NAME);
    assert_eq!(left.is_empty(), E::NAME == Unpaced::NAME, "a paced engine pads");
}

macro_rules! laws {
    ($name:ident, $engine:ty) => {
        mod $name {
            use super::*;

            #[test]
            fn keeps_order_and_numbers() {
                order_and_numbers_are_kept::<$engine>();
            }

            #[test]
            fn lets_a_burst_leave_by_its_deadlines() {
                a_burst_leaves_by_its_deadlines::<$engine>();
            }

            #[test]
            fn sends_again_what_was_lost_as_it_was() {
                what_was_lost_is_sent_again_as_it_was::<$engine>();
            }

            #[test]
            fn passes_keyframe_requests_up() {
                keyframe_requests_come_up::<$engine>();
            }

            #[test]
            fn is_not_harmed_by_what_cannot_be_read() {
                what_cannot_be_read_does_no_harm::<$engine>();
            }

            #[test]
            fn sends_nothing_after_the_end() {
                nothing_leaves_after_the_end::<$engine>();
            }

            #[test]
            fn uses_only_streams_that_the_answer_told() {
                only_streams_that_the_answer_told_are_used::<$engine>();
            }

            #[test]
            fn keeps_nothing_for_good() {
                nothing_is_kept_for_good::<$engine>();
            }
        }
    };
}

laws!(unpaced, Unpaced);
laws!(paced, Paced);
laws!(released, Released);

/// What a pacer holds goes when it is told to let go, in order, and is held again when it is told to.
#[test]
fn a_pacer_lets_go_and_holds_again() {
    let burst = |pair: &mut Pair, from: u64| {
        let packet = |seq| MediaPacket { payload: payload(seq), ..media_packet(true) };
        for seq in from..from + 80 {
            assert!(pair.write(&packet(seq), seq));
        }
        pair.run(10 * MS, &mut perfect);
        seqs(pair).len()
    };
    let mut pair = Paced::connected();
    assert!(burst(&mut pair, 100) < 40, "50 kB at 1.5 Mbit/s take a quarter of a second");
    pair.transport.set_unpaced(true);
    pair.run(10 * MS, &mut perfect);
    let held = seqs(&mut pair);
    assert_eq!(held.last(), Some(&179), "all of it: {held:?}");
    assert!(held.is_sorted());
    assert_eq!(burst(&mut pair, 180), 80, "as it comes");
    pair.transport.set_unpaced(false);
    pair.run(1_000 * MS, &mut perfect);
    assert!(burst(&mut pair, 260) < 40, "held again");
}
