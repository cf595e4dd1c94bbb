use std::time::{Duration, Instant};

use super::*;
use crate::media::Codec;

fn video(codec: Codec) -> (VideoSource, Instant) {
    let now = Instant::now();
    (VideoSource::new(VideoConfig::new(codec, 3, now, now), 11), now)
}

#[test]
fn a_stamp_survives_and_damage_is_seen() {
    let stamp = Stamp {
        publisher: 0xdead_beef,
        track: 7,
        encoding: 2,
        spatial: 1,
        temporal: 2,
        keyframe: true,
        frame: 123_456,
        picture: 41_152,
        references: [12, 1, 0],
        opaque: true,
        size: (1_280, 720),
        packet: 3,
        packets: 9,
        sent_us: 1 << 40,
    };
    let mut payload = vec![1, 2, 3];
    stamp.write(&mut payload);
    assert_eq!(payload.len(), 3 + Stamp::LEN);
    assert_eq!(Stamp::read(&payload), Some(stamp));
    for at in 3..payload.len() {
        let mut bad = payload.clone();
        bad[at] ^= 0x04;
        assert_eq!(Stamp::read(&bad), None, "byte {at}");
    }
    assert_eq!(Stamp::read(&payload[..20]), None);
    assert_eq!(Stamp::read(&[]), None);
}

#[test]
fn sources_are_deterministic() {
    let now = Instant::now();
    for codec in Codec::VIDEO {
        let make = |seed| {
            let mut source = VideoSource::new(VideoConfig::new(codec, 3, now, now), seed);
            let mut all = Vec::new();
            for ms in 0..500 {
                all.extend(source.take(now + Duration::from_millis(ms)));
            }
            all.iter().map(|p| (p.rtp_time, p.payload.clone())).collect::<Vec<_>>()
        };
        assert_eq!(make(5), make(5));
        assert_ne!(make(5), make(6));
    }
}

#[test]
fn video_has_its_rate_its_markers_and_its_keyframes() {
    for codec in Codec::VIDEO {
        let (mut source, now) = video(codec);
        let mut packets = Vec::new();
        for ms in 0..2_000 {
            if ms == 1_000 {
                source.request_keyframe();
            }
            packets.extend(source.take(now + Duration::from_millis(ms)));
        }
        let stamps: Vec<Stamp> = packets.iter().map(|p| Stamp::read(&p.payload).unwrap()).collect();
        assert_eq!(stamps.last().unwrap().frame, 59, "{codec:?}");
        let bytes: usize = packets.iter().map(|p| p.payload.len()).sum();
        assert!((130_000..190_000).contains(&bytes), "{codec:?}: {bytes}");
        assert!(packets.iter().all(|p| p.payload.len() <= 1_150));
        for (packet, stamp) in packets.iter().zip(&stamps) {
            assert_eq!(packet.marker, stamp.packet + 1 == stamp.packets);
            let starts = stamp.keyframe && stamp.packet == 0;
            assert_eq!(starts_keyframe(codec, &packet.payload), starts || idr(codec, stamp));
        }
        let starts = |s: &&Stamp| s.keyframe && s.packet == 0;
        let keyframes: Vec<u32> = stamps.iter().filter(starts).map(|s| s.frame).collect();
        assert_eq!(keyframes, [0, 30], "{codec:?}");
        for pair in packets.windows(2) {
            let step = pair[1].rtp_time.wrapping_sub(pair[0].rtp_time);
            assert_eq!(step, if pair[0].marker { 3_000 } else { 0 });
        }
    }
}

/// An H.264 keyframe is known by its parameter sets and again by its IDR slice.
fn idr(codec: Codec, stamp: &Stamp) -> bool {
    codec == Codec::H264 && stamp.keyframe && stamp.packet == 1
}

#[test]
fn vp8_descriptors_are_valid_and_picture_ids_wrap() {
    let now = Instant::now();
    let mut config = VideoConfig::new(Codec::Vp8, 3, now, now);
    config.first_picture_id = Some(32_760);
    let mut source = VideoSource::new(config, 1);
    let mut last: Option<(u16, u8, u32)> = None;
    let mut wrapped = false;
    for ms in 0..2_000 {
        for packet in source.take(now + Duration::from_millis(ms)) {
            let stamp = Stamp::read(&packet.payload).unwrap();
            let parsed = str0m::rtp::Vp8Descriptor::parse(&packet.payload).unwrap();
            assert_eq!(
                parsed.starts_keyframe(&packet.payload),
                stamp.keyframe && stamp.packet == 0
            );
            let ids = picture_ids(Codec::Vp8, &packet.payload);
            let (picture, tl0) = (ids.picture_id.unwrap(), ids.tl0_pic_idx.unwrap());
            if let Some((p, t, frame)) = last {
                let step = u16::from(frame != stamp.frame);
                assert_eq!(picture, (p + step) & 0x7fff);
                assert_eq!(tl0, t.wrapping_add(step as u8));
                wrapped |= picture < p;
            }
            last = Some((picture, tl0, stamp.frame));
        }
    }
    assert!(wrapped);
    assert_eq!(picture_ids(Codec::Vp8, &[0x10, 0]).picture_id, None);
    assert_eq!(picture_ids(Codec::Vp8, &[0x90]).picture_id, None);
    assert_eq!(picture_ids(Codec::Vp8, &[0x90, 0x80, 0x05, 0]).picture_id, None);
    assert_eq!(picture_ids(Codec::Vp8, &[0x90, 0x80, 0x85]).picture_id, None);
    assert_eq!(picture_ids(Codec::Vp8, &[0x90, 0xc0, 0x05]).tl0_pic_idx, None);
}

#[test]
fn audio_is_steady_and_carries_its_level() {
    let now = Instant::now();
    let mut source = AudioSource::new(AudioConfig::new(8, now, now), 2);
    let mut packets = Vec::new();
    for ms in (0..1_000).step_by(5) {
        packets.extend(source.take(now + Duration::from_millis(ms)));
    }
    assert_eq!(packets.len(), 50);
    assert!(packets.windows(2).all(|w| w[1].rtp_time.wrapping_sub(w[0].rtp_time) == 960));
    assert!(packets.iter().all(|p| p.level == Some(30)));
    assert!(packets[0].marker && packets[1..].iter().all(|p| !p.marker));
    source.set_level(127);
    let next = source.take(now + Duration::from_millis(1_000));
    assert_eq!(next[0].level, Some(127));
}

#[test]
fn a_pause_stops_packets_and_moves_the_clock_as_told() {
    let now = Instant::now();
    let at = |ms| now + Duration::from_millis(ms);
    for clock in [PausedClock::Runs, PausedClock::Stands, PausedClock::Jumps] {
        let config = AudioConfig {
            paused_clock: clock,
            first_rtp_time: Some(1_000),
            ..AudioConfig::new(1, now, now)
        };
        let mut audio = AudioSource::new(config, 9);
        let config = VideoConfig {
            paused_clock: clock,
            first_rtp_time: Some(1_000),
            ..VideoConfig::new(Codec::Vp8, 1, now, now)
        };
        let mut video = VideoSource::new(config, 9);
        let sources: [(&mut dyn MediaSource, u32); 2] =
            [(&mut audio, 48_000), (&mut video, 90_000)];
        for (source, rate) in sources {
            let mut last = 0;
            for ms in 0..100 {
                last = source.take(at(ms)).last().map_or(last, |p| p.rtp_time);
            }
            source.set_paused(at(100), true);
            assert_eq!(source.next_due(), None);
            assert!(source.take(at(5_000)).is_empty());
            source.set_paused(at(10_100), false);
            let mut after = Vec::new();
            for ms in 10_100..10_200 {
                after.extend(source.take(at(ms)));
            }
            let first = after.first().unwrap();
            let stamp = Stamp::read(&first.payload).unwrap();
            assert!(stamp.keyframe, "a picture after a pause begins with a keyframe");
            let step = first.rtp_time.wrapping_sub(last);
            match clock {
                PausedClock::Runs => assert!(step.abs_diff(10 * rate) < rate / 10, "{step}"),
                PausedClock::Stands => assert!(step < rate / 10, "{step}"),
                PausedClock::Jumps => assert!(step > rate * 60, "{step}"),
            }
        }
    }
}

#[test]
fn a_caller_that_was_away_gets_no_flood() {
    let now = Instant::now();
    let mut audio = AudioSource::new(AudioConfig::new(1, now, now), 9);
    assert!(audio.take(now + Duration::from_secs(3_600)).len() <= 51);
    let mut video = VideoSource::new(VideoConfig::new(Codec::Vp8, 1, now, now), 9);
    let frames = video.take(now + Duration::from_secs(3_600)).iter().filter(|p| p.marker).count();
    assert!(frames <= 5);
}
