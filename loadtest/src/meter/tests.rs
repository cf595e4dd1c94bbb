//! The meter, on packets made by the sources themselves.

use convoke_client::media::{Codec, Packet};
use convoke_client::source::{
    AudioConfig, AudioSource, EncodingConfig, LayeredConfig, LayeredSource, MediaSource,
};

use super::*;

const MS: Duration = Duration::from_millis(1);

struct Bench {
    epoch: Instant,
    meter: Meter,
    figures: Figures,
    sequence: u64,
}

impl Bench {
    fn new(impaired_down: bool) -> Self {
        let epoch = Instant::now();
        let shared = Shared {
            epoch,
            impaired_up: vec![false, false, true],
            heights: vec![180, 360],
            tiles: vec![360, 180],
        };
        let meter = Meter::new(Arc::new(shared), impaired_down);
        Self { epoch, meter, figures: Figures::default(), sequence: 1 }
    }

    fn at(&self, ms: u32) -> Instant {
        self.epoch + MS * ms
    }

    /// The packet arrives; so long after the epoch.
    fn take(&mut self, packet: &Packet, kind: MediaKind, ms: u32) -> Outcome {
        let received = Received {
            at: self.at(ms),
            mid: "m".into(),
            kind,
            index: 0,
            ssrc: 1,
            sequence: self.sequence,
            rtp_time: packet.rtp_time,
            marker: packet.marker,
            csrc: None,
            codec: packet.codec,
            level: packet.level,
            payload: packet.payload.clone(),
            descriptor: None,
            made_at: None,
        };
        self.sequence += 1;
        self.meter.packet(&received, &mut self.figures)
    }

    fn voice(&self, publisher: u32) -> AudioSource {
        AudioSource::new(AudioConfig::new(publisher, self.epoch, self.epoch), 1)
    }

    fn camera(&self, publisher: u32) -> LayeredSource {
        let encodings = vec![EncodingConfig { size: (320, 180), bps: 100_000, active: true }];
        let epoch = self.epoch;
        let config = LayeredConfig {
            encodings,
            ..LayeredConfig::simulcast(Codec::Vp8, publisher, epoch, epoch)
        };
        LayeredSource::new(config, 1)
    }
}

#[test]
fn delays_are_from_sending_to_receiving() {
    let mut bench = Bench::new(false);
    let mut voice = bench.voice(0);
    for n in 0..50 {
        for packet in voice.take(bench.at(n * 20)) {
            let outcome = bench.take(&packet, MediaKind::Audio, n * 20 + 7);
            assert_eq!(outcome.first_sound, n == 0);
        }
    }
    let delay = bench.figures.audio_delay.ms(0.5).expect("measured");
    assert!((6.9..7.1).contains(&delay), "{delay}");
    assert_eq!((bench.figures.audio_gaps, bench.figures.missing), (0, 0));
    assert_eq!(bench.figures.audio_packets, 49);
}

#[test]
fn a_lost_packet_and_a_late_stretch_are_one_gap_each() {
    let mut bench = Bench::new(false);
    let mut voice = bench.voice(0);
    for n in 0..100 {
        let packets = voice.take(bench.at(n * 20));
        if n == 30 {
            bench.sequence += 1;
            continue;
        }
        // Half a second in which everything is 150 ms late.
        let late = if (50..75).contains(&n) { 150 } else { 0 };
        for packet in packets {
            bench.take(&packet, MediaKind::Audio, n * 20 + 5 + late);
        }
    }
    assert_eq!((bench.figures.audio_gaps, bench.figures.missing), (2, 1));
}

#[test]
fn what_is_withheld_is_no_gap() {
    let mut bench = Bench::new(false);
    let mut voice = bench.voice(0);
    for n in 0..100 {
        let packets = voice.take(bench.at(n * 20));
        if (20..60).contains(&n) {
            continue;
        }
        for packet in packets {
            bench.take(&packet, MediaKind::Audio, n * 20 + 5);
        }
    }
    assert_eq!((bench.figures.audio_gaps, bench.figures.missing), (0, 0));
}

#[test]
fn losses_behind_impaired_paths_are_told_apart() {
    for (down, publisher, server) in [(false, 1, 1), (true, 1, 0), (false, 2, 0)] {
        let mut bench = Bench::new(down);
        let mut voice = bench.voice(publisher);
        for n in 0..10 {
            bench.sequence += u64::from(n == 5);
            for packet in voice.take(bench.at(n * 20)) {
                bench.take(&packet, MediaKind::Audio, n * 20);
            }
        }
        let figures = &bench.figures;
        assert_eq!((figures.missing, figures.missing_impaired), (server, 1 - server));
    }
}

#[test]
fn late_packets_are_not_missing_but_not_of_an_earlier_count() {
    let mut bench = Bench::new(false);
    let mut voice = bench.voice(0);
    let packets: Vec<Packet> = (0..6).flat_map(|n| voice.take(bench.at(n * 20))).collect();
    let order = [1, 2, 5, 3, 8, 6];
    for (packet, sequence) in packets.iter().zip(order) {
        if sequence == 6 {
            bench.meter.rebase();
        }
        bench.sequence = sequence;
        bench.take(packet, MediaKind::Audio, 100);
    }
    // 3, 4, 6 and 7 were missing; 3 came; 6 came after counting began anew.
    assert_eq!(bench.figures.missing, 3);
}

/// Sends 30 frames a second for four seconds; `delay` gives each picture's delay, or loses it.
fn watch(bench: &mut Bench, delay: impl Fn(u32) -> Option<u32>) -> Vec<Outcome> {
    let mut camera = bench.camera(0);
    let mut outcomes = Vec::new();
    for n in 0..120 {
        let ms = n * 100 / 3 + 1;
        for packet in camera.take(bench.at(ms)) {
            match delay(n) {
                Some(delay) => outcomes.push(bench.take(&packet, MediaKind::Video, ms + delay)),
                None => bench.sequence += 1,
            }
        }
    }
    outcomes
}

#[test]
fn smooth_video_has_no_freeze_and_is_judged_by_its_size() {
    let mut bench = Bench::new(false);
    let outcomes = watch(&mut bench, |_| Some(5));
    assert_eq!(outcomes.iter().filter(|outcome| outcome.first_frame).count(), 1);
    let figures = &bench.figures;
    assert_eq!((figures.freezes, figures.frames_decoded, figures.missing), (0, 120, 0));
    assert_eq!((figures.frames_below_wish, figures.frames_as_wished), (120, 0));
}

#[test]
fn a_stall_is_a_freeze_unless_the_slot_rests() {
    let stall = |n: u32| Some(if (60..75).contains(&n) { 600 - (n - 60) * 33 } else { 5 });
    let mut bench = Bench::new(false);
    watch(&mut bench, stall);
    assert_eq!(bench.figures.freezes, 1);
    assert!(bench.figures.frozen_us > 400_000);
}

#[test]
fn a_lost_frame_stops_the_decoder_and_asks_for_a_keyframe() {
    let mut bench = Bench::new(false);
    // A base-layer frame: all others need it.
    let outcomes = watch(&mut bench, |n| (n != 40).then_some(5));
    assert_eq!(bench.figures.missing, 1);
    assert!(outcomes.iter().any(|outcome| outcome.keyframe.is_some()));
    assert!(bench.figures.frames_decoded < 60, "{}", bench.figures.frames_decoded);
    assert!(bench.figures.keyframe_requests_sent >= 2);
}

#[test]
fn damage_is_counted_and_nothing_else() {
    let mut bench = Bench::new(false);
    let packet = Packet::new(Codec::Opus, 0, vec![0; 100]);
    assert_eq!(bench.take(&packet, MediaKind::Audio, 1), Outcome::default());
    assert_eq!((bench.figures.damaged, bench.figures.audio_delay.count()), (1, 0));
}
