//! Each law holds on a good stream and is shown to break on a bad one.

mod layers;

use std::time::{Duration, Instant};

use convoke_protocol::MediaKind;

use super::*;
use crate::media::{Codec, Packet, Received};
use crate::source::{AudioConfig, AudioSource, MediaSource, Stamp, VideoConfig, VideoSource};

const GRACE: Grace = Grace { before: Duration::ZERO, after: Duration::from_millis(500) };

struct Stream {
    epoch: Instant,
    kind: MediaKind,
    packets: Vec<Received>,
}

fn received(packet: Packet, at: Instant, sequence: u64, csrc: u32) -> Received {
    Received {
        at: at + Duration::from_millis(30),
        mid: "abc".into(),
        kind: packet.codec.kind(),
        index: 0,
        ssrc: 1,
        sequence,
        rtp_time: packet.rtp_time,
        marker: packet.marker,
        csrc: Some(csrc),
        codec: packet.codec,
        level: packet.level,
        payload: packet.payload,
        descriptor: packet.descriptor,
        made_at: None,
    }
}

/// One second of publisher 1, then one of publisher 2, numbered and timed through.
fn stream(kind: MediaKind) -> Stream {
    let epoch = Instant::now();
    let mut packets = Vec::new();
    let mut sequence = 70_000;
    let ids = |publisher: u32, start: Instant| {
        let config = VideoConfig {
            first_rtp_time: Some(if publisher == 1 { 0 } else { 90_000 }),
            first_picture_id: Some(if publisher == 1 { 50 } else { 80 }),
            ..VideoConfig::new(Codec::Vp8, publisher, epoch, start)
        };
        VideoSource::new(config, 4)
    };
    for publisher in [1, 2] {
        let from = u64::from(publisher - 1) * 1_000;
        let start = epoch + Duration::from_millis(from);
        let mut source: Box<dyn MediaSource> = match kind {
            MediaKind::Audio => {
                let first_rtp_time = Some((publisher - 1) * 48_000);
                let config = AudioConfig::new(publisher, epoch, start);
                Box::new(AudioSource::new(AudioConfig { first_rtp_time, ..config }, 4))
            }
            MediaKind::Video => Box::new(ids(publisher, start)),
        };
        for ms in from..from + 1_000 {
            let now = epoch + Duration::from_millis(ms);
            for packet in source.take(now) {
                packets.push(received(packet, now, sequence, publisher));
                sequence += 1;
            }
        }
    }
    let mut stream = Stream { epoch, kind, packets };
    if kind == MediaKind::Video {
        stream.continue_tl0();
    }
    stream
}

impl Stream {
    /// Both sources begin at the same random TL0PICIDX; let the second go on from the first.
    fn continue_tl0(&mut self) {
        for packet in self.packets.iter_mut().filter(|p| p.csrc == Some(2)) {
            let mut payload = packet.payload.to_vec();
            payload[4] = payload[4].wrapping_add(30);
            packet.payload = payload.into();
        }
    }

    fn check(&self) -> SlotReport {
        let mut checker = SlotChecker::new(self.kind, self.epoch, Some(GRACE));
        checker.assign(self.epoch, Some(1));
        let mut switched = false;
        for packet in &self.packets {
            if packet.at >= self.epoch + Duration::from_millis(1_000) && !switched {
                switched = true;
                checker.assign(packet.at, Some(2));
            }
            checker.packet(packet);
        }
        checker.report()
    }

    /// The index of the first packet of publisher 2.
    fn switch(&self) -> usize {
        self.packets.iter().position(|p| p.csrc == Some(2)).unwrap()
    }

    fn renumber(&mut self, from: usize, by: i64) {
        for packet in &mut self.packets[from..] {
            packet.sequence = packet.sequence.saturating_add_signed(by);
        }
    }
}

fn broken(report: &SlotReport, is: impl Fn(&Violation) -> bool) {
    assert!(report.violations.iter().any(is), "{:?}", report.violations);
    assert!(report.violation_count > 0);
}

#[test]
fn a_good_stream_passes() {
    for kind in [MediaKind::Audio, MediaKind::Video] {
        let report = stream(kind).check();
        assert_eq!(report.violations, []);
        assert_eq!((report.missing, report.switches), (0, 1));
        assert_eq!(report.sources.len(), 2);
        let frames = if kind == MediaKind::Audio { 50 } else { 30 };
        for source in report.sources.values() {
            assert_eq!((source.frames_decoded, source.frames_complete), (frames, frames));
            assert!(source.longest_gap < Duration::from_millis(40));
        }
        assert_eq!(report.delays.percentile(0.5), Duration::from_millis(30));
    }
}

#[test]
fn reordering_and_late_fills_are_no_fault() {
    for kind in [MediaKind::Audio, MediaKind::Video] {
        let mut s = stream(kind);
        for at in (4..s.packets.len() - 4).step_by(7) {
            s.packets.swap(at, at + 2);
        }
        let report = s.check();
        assert_eq!((report.violations.len(), report.missing), (0, 0));
    }
}

#[test]
fn gaps_are_counted_and_break_frames() {
    let mut s = stream(MediaKind::Video);
    let lost = s.packets.iter().position(|p| Stamp::read(&p.payload).unwrap().frame == 10).unwrap();
    s.packets.remove(lost);
    let report = s.check();
    assert_eq!((report.violations.len(), report.missing), (0, 1));
    assert_eq!(report.sources[&(1, 1)].frames_decoded, 10);
    assert_eq!(report.sources[&(1, 1)].frames_complete, 29);
    assert_eq!(report.sources[&(2, 1)].frames_decoded, 30);
}

#[test]
fn a_stalled_decoder_wants_a_keyframe_until_it_gets_one() {
    let mut s = stream(MediaKind::Video);
    s.packets.remove(20);
    let mut checker = SlotChecker::new(s.kind, s.epoch, None);
    let (mut wanted_at, mut still) = (None, false);
    for packet in &s.packets {
        checker.packet(packet);
        still = checker.wants_keyframe(packet.at);
        if still {
            wanted_at.get_or_insert(packet.at);
        }
    }
    let wait = wanted_at.expect("it stalls") - s.packets[20].at;
    assert!((250..320).contains(&wait.as_millis()), "{wait:?}");
    assert!(!still, "the next source began with a keyframe");
}

#[test]
fn a_fill_by_rtx_is_decoded() {
    let mut s = stream(MediaKind::Video);
    let lost = s.packets.remove(20);
    let back = Received { at: s.packets[60].at, ..lost };
    s.packets.insert(61, back);
    let report = s.check();
    assert_eq!((report.violations.len(), report.missing), (0, 0));
    assert_eq!(report.sources[&(1, 1)].frames_decoded, 30);
    assert!(report.sources[&(1, 1)].longest_gap > Duration::from_millis(300));
}

#[test]
fn a_reused_sequence_number_is_seen() {
    let mut s = stream(MediaKind::Video);
    s.packets[30].sequence = s.packets[29].sequence;
    broken(&s.check(), |v| matches!(v, Violation::SequenceReused { .. }));
}

#[test]
fn a_timestamp_that_steps_back_is_seen() {
    for kind in [MediaKind::Audio, MediaKind::Video] {
        let mut s = stream(kind);
        let at = s.switch();
        for packet in &mut s.packets[at..] {
            packet.rtp_time = packet.rtp_time.wrapping_sub(40_000);
        }
        broken(&s.check(), |v| matches!(v, Violation::TimestampBack { .. }));
    }
}

#[test]
fn an_audio_step_under_a_packet_is_seen() {
    let mut s = stream(MediaKind::Audio);
    let at = s.switch();
    for packet in &mut s.packets[at..] {
        packet.rtp_time -= 500;
    }
    broken(&s.check(), |v| matches!(v, Violation::AudioStep { ticks: 460, .. }));
}

#[test]
fn a_switch_without_a_keyframe_is_seen() {
    let mut s = stream(MediaKind::Video);
    let at = s.switch();
    let second = |p: &Received| {
        let stamp = Stamp::read(&p.payload).unwrap();
        p.csrc == Some(2) && stamp.frame == 0
    };
    let keyframe = s.packets.iter().filter(|p| second(p)).count();
    s.packets.drain(at..at + keyframe);
    s.renumber(at, -(keyframe as i64));
    broken(&s.check(), |v| matches!(v, Violation::NoKeyframeAtSwitch { csrc: 2, .. }));
}

#[test]
fn a_wrong_or_absent_csrc_is_seen() {
    let mut s = stream(MediaKind::Audio);
    s.packets[10].csrc = Some(2);
    broken(&s.check(), |v| matches!(v, Violation::WrongCsrc { csrc: 2, publisher: 1, .. }));
    s.packets[10].csrc = None;
    broken(&s.check(), |v| matches!(v, Violation::NoCsrc { .. }));
}

#[test]
fn packets_of_someone_not_assigned_are_seen() {
    let mut s = stream(MediaKind::Audio);
    // Publisher 1 goes on for longer than the grace time.
    let late = s.packets.len() - 1;
    let donor = s.packets[5].clone();
    s.packets[late].csrc = Some(1);
    s.packets[late].payload = donor.payload;
    broken(&s.check(), |v| matches!(v, Violation::NotAssigned { csrc: 1, .. }));
    // And publisher 2 comes before it is assigned.
    let mut s = stream(MediaKind::Audio);
    let early = s.packets[s.switch()].payload.clone();
    s.packets[5].csrc = Some(2);
    s.packets[5].payload = early;
    broken(&s.check(), |v| matches!(v, Violation::NotAssigned { csrc: 2, .. }));
}

#[test]
fn a_source_out_of_order_is_seen() {
    let mut s = stream(MediaKind::Video);
    let (a, b) = (s.packets[40].payload.clone(), s.packets[41].payload.clone());
    s.packets[40].payload = b;
    s.packets[41].payload = a;
    broken(&s.check(), |v| matches!(v, Violation::Reordered { .. }));
}

#[test]
fn a_loss_without_a_gap_is_seen() {
    let mut s = stream(MediaKind::Video);
    s.packets.remove(40);
    s.renumber(40, -1);
    broken(&s.check(), |v| matches!(v, Violation::HiddenLoss { .. }));
}

#[test]
fn picture_ids_that_do_not_go_on_are_seen() {
    for (byte, what) in [(3, "PictureID"), (4, "TL0PICIDX")] {
        let mut s = stream(MediaKind::Video);
        let at = s.switch();
        for packet in &mut s.packets[at..] {
            let mut payload = packet.payload.to_vec();
            payload[byte] = payload[byte].wrapping_add(5);
            packet.payload = payload.into();
        }
        broken(&s.check(), |v| matches!(v, Violation::PictureIds { what: w, .. } if *w == what));
    }
}

#[test]
fn a_damaged_payload_is_seen() {
    let mut s = stream(MediaKind::Audio);
    let mut payload = s.packets[3].payload.to_vec();
    let last = payload.len() - 1;
    payload[last] ^= 1;
    s.packets[3].payload = payload.into();
    broken(&s.check(), |v| matches!(v, Violation::Damaged { .. }));
}

fn rtp(sequence: u16, ssrc: u32) -> Vec<u8> {
    let mut bytes = vec![0x90, 96];
    bytes.extend(sequence.to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend(ssrc.to_be_bytes());
    bytes.extend([0; 30]);
    bytes
}

#[test]
fn the_wire_checker_sees_reuse_gaps_and_high_starts() {
    let (a, b) = (([127, 0, 0, 1], 1).into(), ([127, 0, 0, 1], 2).into());
    let mut wire = WireChecker::default();
    for sequence in 0..70_000_u32 {
        assert_eq!(wire.datagram(a, b, &rtp((sequence + 32_000) as u16, 5)), None);
    }
    assert_eq!((wire.missing(), wire.packets()), (0, 70_000));
    let again = wire.datagram(a, b, &rtp((69_999_u32 + 32_000) as u16, 5));
    assert_eq!(again, Some(Violation::WireReused { ssrc: 5, sequence: 101_999 }));
    assert_eq!(wire.datagram(a, b, &rtp((70_003_u32 + 32_000) as u16, 5)), None);
    assert_eq!(wire.missing(), 3);
    // Another stream, another destination, RTCP and STUN are no repeats.
    assert_eq!(wire.datagram(a, b, &rtp(7, 6)), None);
    assert_eq!(wire.datagram(b, a, &rtp(7, 6)), None);
    let mut rtcp = rtp(7, 6);
    rtcp[1] = 200;
    assert_eq!(wire.datagram(a, b, &rtcp), None);
    assert_eq!(wire.datagram(a, b, &[0; 40]), None);
    assert_eq!(wire.datagram(a, b, &[0x80; 5]), None);
    let high = wire.datagram(a, b, &rtp(40_000, 8));
    assert_eq!(high, Some(Violation::HighStart { ssrc: 8, sequence: 40_000 }));
}

#[test]
fn delays_keep_their_percentiles() {
    let mut delays = Delays::default();
    assert_eq!(delays.percentile(0.5), Duration::ZERO);
    for ms in 1..=1_000 {
        delays.add(Duration::from_millis(ms));
    }
    let mut twice = delays.clone();
    twice.merge(&delays);
    assert_eq!(twice.count(), 2_000);
    for (share, ms) in [(0.5, 500.0), (0.95, 950.0), (0.99, 990.0), (1.0, 1_000.0)] {
        let got = twice.percentile(share).as_secs_f64() * 1_000.0;
        assert!((got / ms - 1.0).abs() < 0.07, "{share}: {got}");
    }
    assert_eq!(delays.max(), Duration::from_secs(1));
    delays.add(Duration::from_secs(1 << 40));
    assert_eq!(delays.percentile(1.0), delays.max());
}
