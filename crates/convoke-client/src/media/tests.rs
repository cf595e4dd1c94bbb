//! A peer against a minimal answerer: one ICE-lite `Rtc` for each transport.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use convoke_protocol::{Source, TransportRole};
use str0m::change::SdpOffer;
use str0m::media::Mid;
use str0m::net::{Protocol, Receive};
use str0m::rtp::{RtpWrite, SeqNo};
use str0m::{Candidate, Event, Input as StrInput, Output, Rtc, RtcConfig};

use super::{Codec, Input, MediaConfig, MediaError, MediaEvent, MediaPeer, Packet, SendLine};
use crate::source::{AudioConfig, AudioSource, MediaSource, Stamp, VideoConfig, VideoSource};

const STEP: Duration = Duration::from_millis(5);

fn addr(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Answers both offers and copies what comes in on line `n` to a slot.
struct Answerer {
    send: Rtc,
    receive: Rtc,
    events: Vec<Event>,
}

impl Answerer {
    fn rtc(port: u16, now: Instant) -> Rtc {
        let mut rtc = RtcConfig::new()
            .set_ice_lite(true)
            .set_rtp_mode(true)
            .clear_codecs()
            .enable_opus(true, false)
            .enable_vp8(true)
            .enable_h264(true)
            // Another id than the peer's: the offer's is taken.
            .set_extension(9, super::descriptor::extension())
            .build(now);
        rtc.add_local_candidate(Candidate::host(addr(port), "udp").unwrap()).unwrap();
        rtc
    }

    fn new(now: Instant) -> Self {
        Self { send: Self::rtc(9000, now), receive: Self::rtc(9001, now), events: Vec::new() }
    }

    fn rtc_of(&mut self, role: TransportRole) -> &mut Rtc {
        match role {
            TransportRole::Send => &mut self.send,
            TransportRole::Receive => &mut self.receive,
        }
    }

    fn answer(&mut self, role: TransportRole, offer: &str) -> String {
        let offer = SdpOffer::from_sdp_string(offer).unwrap();
        self.rtc_of(role).sdp_api().accept_offer(offer).unwrap().to_sdp_string()
    }

    fn drain(rtc: &mut Rtc, events: &mut Vec<Event>) -> Vec<(SocketAddr, SocketAddr, Vec<u8>)> {
        let mut out = Vec::new();
        loop {
            match rtc.poll_output().unwrap() {
                Output::Timeout(_) => return out,
                Output::Transmit(t) => out.push((t.source, t.destination, t.contents.to_vec())),
                Output::Event(event) => events.push(event),
            }
        }
    }
}

struct Bench {
    now: Instant,
    peer: MediaPeer,
    server: Answerer,
    seen: Vec<MediaEvent>,
    server_events: Vec<Event>,
    cut: bool,
}

impl Bench {
    fn new(config: MediaConfig) -> (Self, super::Offers) {
        let now = Instant::now();
        let (mut peer, offers) = MediaPeer::new(config, 7, now).unwrap();
        let mut server = Answerer::new(now);
        let send = offers.send.as_ref().map(|o| server.answer(TransportRole::Send, o));
        let receive = offers.receive.as_ref().map(|o| server.answer(TransportRole::Receive, o));
        peer.accept_answers(now, send.as_deref(), receive.as_deref()).unwrap();
        let (seen, server_events) = (Vec::new(), Vec::new());
        (Self { now, peer, server, seen, server_events, cut: false }, offers)
    }

    /// Everything that one instant brings.
    fn turn(&mut self) {
        let now = self.now;
        for role in [TransportRole::Send, TransportRole::Receive] {
            let rtc = self.server.rtc_of(role);
            rtc.handle_input(StrInput::Timeout(now)).unwrap();
        }
        self.peer.handle(now, Input::Timeout);
        let mut busy = true;
        while std::mem::take(&mut busy) {
            while let Some(t) = self.peer.poll_transmit() {
                busy = true;
                if self.cut {
                    continue;
                }
                let rtc = self.server.rtc_of(t.transport);
                let r = Receive::new(Protocol::Udp, t.local, t.destination, &t.contents).unwrap();
                rtc.handle_input(StrInput::Receive(now, r)).unwrap();
                let mut events = Vec::new();
                let out = Answerer::drain(rtc, &mut events);
                self.server.events.extend(events);
                self.deliver(t.transport, &out);
            }
            for role in [TransportRole::Send, TransportRole::Receive] {
                let mut events = Vec::new();
                let out = Answerer::drain(self.server.rtc_of(role), &mut events);
                self.server.events.extend(events);
                busy |= !out.is_empty();
                self.deliver(role, &out);
            }
        }
        while let Some(event) = self.peer.poll_event() {
            self.seen.push(event);
        }
        self.server_events.append(&mut self.server.events);
    }

    fn deliver(&mut self, role: TransportRole, out: &[(SocketAddr, SocketAddr, Vec<u8>)]) {
        for (source, local, bytes) in out.iter().filter(|_| !self.cut) {
            let (transport, source, local) = (role, *source, *local);
            self.peer.handle(self.now, Input::Datagram { transport, source, local, bytes });
        }
    }

    fn run(&mut self, time: Duration, mut each: impl FnMut(&mut Self)) {
        let end = self.now + time;
        while self.now < end {
            each(self);
            self.turn();
            self.now += STEP;
        }
    }
}

fn config() -> MediaConfig {
    let mut config = MediaConfig::new(addr(5000), addr(5001));
    config.audio_slots = 2;
    config.video_slots = 3;
    config
}

fn connected(seen: &[MediaEvent], role: TransportRole) -> bool {
    seen.iter().any(|e| matches!(e, MediaEvent::Connected(r) if *r == role))
}

#[test]
fn the_offer_is_like_a_browsers() {
    let (_, offers) = MediaPeer::new(config(), 1, Instant::now()).unwrap();
    let (send, receive) = (offers.send.unwrap(), offers.receive.unwrap());
    assert_eq!(send.matches("a=sendonly").count(), 4);
    assert_eq!(receive.matches("a=recvonly").count(), 5);
    assert_eq!(receive.matches("m=audio").count(), 2);
    assert_eq!(receive.matches("m=video").count(), 3);
    for needle in [
        "VP8/90000",
        "VP9/90000",
        "H264/90000",
        "AV1/90000",
        "rtx/90000",
        "opus/48000/2",
        "nack pli",
        "ccm fir",
        "transport-cc",
        "urn:ietf:params:rtp-hdrext:sdes:mid",
        "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
        "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
        "abs-send-time",
        "a=setup:actpass",
        "a=group:BUNDLE",
        "a=rtcp-mux",
    ] {
        assert!(receive.contains(needle), "{needle} is missing in\n{receive}");
    }
    assert!(!receive.contains("a=ice-lite"));
    for (mids, sdp) in
        [(&offers.send_mids, &send), (&offers.audio_mids, &receive), (&offers.video_mids, &receive)]
    {
        for mid in mids {
            assert!(sdp.contains(&format!("a=mid:{mid}\r\n")));
        }
    }
}

#[test]
fn a_fixed_ssrc_is_offered_and_used() {
    let mut config = config();
    config.audio_slots = 0;
    config.video_slots = 0;
    config.send = vec![SendLine { ssrc: Some(77_777), ..SendLine::new(Source::Camera) }];
    let (mut bench, offers) = Bench::new(config);
    let offer = offers.send.unwrap();
    assert!(offer.contains("a=ssrc:77777 cname"), "{offer}");
    assert!(offer.contains("a=ssrc-group:FID 77777 "), "{offer}");
    let start = bench.now + Duration::from_millis(500);
    let camera = Mid::from(offers.send_mids[0].as_str());
    let mut source = VideoSource::new(VideoConfig::new(Codec::Vp8, 9, bench.now, start), 3);
    let mut asked = false;
    bench.run(Duration::from_secs(1), |b| {
        for packet in source.take(b.now) {
            b.peer.write(b.now, 0, packet).unwrap();
        }
        if !asked && b.now > start + Duration::from_millis(200) {
            let mut api = b.server.send.direct_api();
            let stream = api.stream_rx_by_mid(camera, None).unwrap();
            stream.request_keyframe(str0m::media::KeyframeRequestKind::Pli);
            asked = true;
        }
    });
    assert!(asked);
    let heard = |e: &MediaEvent| matches!(e, MediaEvent::KeyframeRequest { line: 0, encoding: 0 });
    assert!(bench.seen.iter().any(heard), "feedback for the SSRC finds its line");
    let ssrcs: Vec<u32> = bench
        .server_events
        .iter()
        .filter_map(|e| match e {
            Event::RtpPacket(p) => Some(*p.header.ssrc),
            _ => None,
        })
        .collect();
    assert!(ssrcs.len() > 10);
    assert!(ssrcs.iter().all(|s| *s == 77_777), "{ssrcs:?}");
}

/// What line 0 (microphone) and 1 (camera) sent, as the server got it.
fn stamps(events: &[Event]) -> Vec<(u64, Stamp)> {
    let rtp = |e: &Event| match e {
        Event::RtpPacket(p) => Some((*p.seq_no, Stamp::read(&p.payload)?)),
        _ => None,
    };
    events.iter().filter_map(rtp).collect()
}

#[test]
fn sent_media_arrives_whole_and_keyframe_requests_come_back() {
    let (mut bench, offers) = Bench::new(config());
    let epoch = bench.now;
    let start = epoch + Duration::from_millis(300);
    let mut audio = AudioSource::new(AudioConfig::new(5, epoch, start), 1);
    let mut video = VideoSource::new(VideoConfig::new(Codec::Vp8, 5, epoch, start), 2);
    let camera = Mid::from(offers.send_mids[1].as_str());
    let mut asked = false;
    let mut answered = 0;
    bench.run(Duration::from_secs(3), |b| {
        for packet in audio.take(b.now) {
            b.peer.write(b.now, 0, packet).unwrap();
        }
        for packet in video.take(b.now) {
            b.peer.write(b.now, 1, packet).unwrap();
        }
        if b.now > epoch + Duration::from_millis(1_500) && !asked {
            asked = true;
            let mut api = b.server.send.direct_api();
            let stream = api.stream_rx_by_mid(camera, None).unwrap();
            stream.request_keyframe(str0m::media::KeyframeRequestKind::Pli);
        }
        for event in b.seen.drain(..) {
            if let MediaEvent::KeyframeRequest { line, encoding } = event {
                assert_eq!((line, encoding), (1, 0));
                answered += 1;
                video.request_keyframe();
            }
        }
    });
    assert!(bench.peer.connected(TransportRole::Send));
    assert!(bench.peer.connected(TransportRole::Receive));
    assert_eq!(answered, 1);
    let got = stamps(&bench.server_events);
    let audio: Vec<_> = got.iter().filter(|(_, s)| s.track == 0).collect();
    let video: Vec<_> = got.iter().filter(|(_, s)| s.track == 1).collect();
    assert!((130..=136).contains(&audio.len()), "{}", audio.len());
    for track in [&audio, &video] {
        assert!(track[0].0 < 1 << 15);
        assert!(track.windows(2).all(|w| w[1].0 == w[0].0 + 1));
        assert!(track.iter().all(|(_, s)| s.publisher == 5));
    }
    let keyframes = video.iter().filter(|(_, s)| s.keyframe && s.packet == 0).count();
    assert_eq!(keyframes, 2, "one at the start, one when asked");
    assert_eq!(video.last().unwrap().1.frame, 80);
}

#[test]
fn slots_receive_with_csrc_and_mid() {
    let (mut bench, offers) = Bench::new(config());
    let mid = Mid::from(offers.video_mids[2].as_str());
    bench.run(Duration::from_millis(500), |_| {});
    assert!(connected(&bench.seen, TransportRole::Receive));
    let mut source = VideoSource::new(VideoConfig::new(Codec::Vp8, 42, bench.now, bench.now), 3);
    let (mut seq, mut asked) = (100, false);
    let pt = bench.server.receive.media(mid).unwrap().remote_pts()[0];
    bench.run(Duration::from_secs(1), |b| {
        for p in source.take(b.now) {
            seq += 1;
            let write = RtpWrite::new(pt, SeqNo::from(seq), p.rtp_time, b.now, p.payload);
            let mut api = b.server.receive.direct_api();
            let stream = api.stream_tx_by_mid(mid, None).unwrap();
            stream.write_rtp(write.marker(p.marker).csrc(&[42]).nackable(true));
        }
        if seq > 110 && !asked {
            asked = b.peer.request_keyframe(b.now, &offers.video_mids[2]);
        }
    });
    let rtp: Vec<_> = bench
        .seen
        .iter()
        .filter_map(|e| match e {
            MediaEvent::Rtp(received) => Some(received),
            _ => None,
        })
        .collect();
    assert!(rtp.len() > 20);
    assert!(rtp.iter().all(|r| r.csrc == Some(42) && r.index == 2 && r.codec == Codec::Vp8));
    assert_eq!(&*rtp[0].mid, offers.video_mids[2]);
    assert_eq!(rtp[0].sequence, 101);
    assert!(asked);
    assert!(bench.server_events.iter().any(|e| matches!(e, Event::KeyframeRequest(_))));
}

#[test]
fn encodings_have_rids_numbers_and_keyframe_requests_of_their_own() {
    let mut config = config();
    config.dependency_descriptor = true;
    let line = SendLine { ssrc: Some(7_000), ..SendLine::simulcast(Source::Camera, &["q", "h"]) };
    config.send = vec![line];
    let (mut bench, offers) = Bench::new(config);
    let (offer, receive) = (offers.send.unwrap(), offers.receive.unwrap());
    for needle in ["a=rid:q send", "a=rid:h send", "a=simulcast:send q;h", "a=ssrc:7001 cname"] {
        assert!(offer.contains(needle), "{needle} is missing in\n{offer}");
    }
    assert!(offer.contains("dependency-descriptor") && receive.contains("dependency-descriptor"));
    let camera = Mid::from(offers.send_mids[0].as_str());
    let start = bench.now + Duration::from_millis(500);
    let (mut frame, mut asked) = (0_u8, false);
    let descriptor: std::sync::Arc<[u8]> = (0..100).collect();
    bench.run(Duration::from_secs(1), |b| {
        if b.now < start {
            return;
        }
        frame += 1;
        for encoding in [0, 1] {
            // Long ones and short ones take the two forms of header.
            let bytes = if frame == 1 { descriptor.clone() } else { descriptor[..3].into() };
            let descriptor = Some(bytes);
            let new = Packet::new(Codec::Vp8, u32::from(frame) * 450, vec![frame; 50]);
            b.peer.write(b.now, 0, Packet { encoding, descriptor, ..new }).unwrap();
        }
        if frame == 20 {
            let mut api = b.server.send.direct_api();
            let stream = api.stream_rx_by_mid(camera, Some("h".into())).unwrap();
            stream.request_keyframe(str0m::media::KeyframeRequestKind::Pli);
            asked = true;
        }
    });
    let heard = |e: &MediaEvent| matches!(e, MediaEvent::KeyframeRequest { line: 0, encoding: 1 });
    assert!(asked && bench.seen.iter().filter(|e| heard(e)).count() == 1, "{:?}", bench.seen);
    for ssrc in [7_000, 7_001] {
        let mut got: Vec<&str0m::rtp::RtpPacket> = Vec::new();
        for event in &bench.server_events {
            if let Event::RtpPacket(packet) = event
                && *packet.header.ssrc == ssrc
            {
                got.push(packet);
            }
        }
        assert!(got.len() > 50);
        assert!(got.windows(2).all(|w| *w[1].seq_no == *w[0].seq_no + 1));
        let of = |at: usize| {
            let values = &got[at].header.ext_vals.user_values;
            values.get::<super::descriptor::RawDescriptor>().unwrap().0.clone()
        };
        assert_eq!((of(0), of(1)), (descriptor.clone(), descriptor[..3].into()));
        let mut api = bench.server.send.direct_api();
        let rid = api.stream_rx(&ssrc.into()).unwrap().rid();
        assert_eq!(rid, Some(if ssrc == 7_000 { "q".into() } else { "h".into() }));
    }
}

#[test]
fn a_cut_is_noticed_and_an_ice_restart_heals_it() {
    let (mut bench, _) = Bench::new(config());
    bench.run(Duration::from_millis(500), |_| {});
    bench.cut = true;
    bench.run(Duration::from_secs(40), |_| {});
    let lost = |e: &MediaEvent| matches!(e, MediaEvent::Disconnected(TransportRole::Send));
    assert!(bench.seen.iter().any(lost), "{:?}", bench.seen);
    assert!(!bench.peer.connected(TransportRole::Send));

    bench.cut = false;
    bench.seen.clear();
    for role in [TransportRole::Send, TransportRole::Receive] {
        let local = (role == TransportRole::Send).then(|| addr(5002));
        let offer = bench.peer.restart_ice(role, local).unwrap();
        let answer = bench.server.answer(role, &offer);
        bench.peer.accept_answer(bench.now, role, &answer).unwrap();
    }
    bench.run(Duration::from_secs(3), |_| {});
    assert!(connected(&bench.seen, TransportRole::Send), "{:?}", bench.seen);
    assert!(connected(&bench.seen, TransportRole::Receive));
}

#[test]
fn misuse_is_refused() {
    let now = Instant::now();
    let nothing = MediaConfig { send: vec![], audio_slots: 0, video_slots: 0, ..config() };
    assert!(matches!(MediaPeer::new(nothing, 1, now), Err(MediaError::NothingToOffer)));

    let viewer = MediaConfig { send: vec![], ..config() };
    let (mut peer, offers) = MediaPeer::new(viewer, 1, now).unwrap();
    assert!(offers.send.is_none());
    let role = TransportRole::Send;
    assert!(matches!(peer.restart_ice(role, None), Err(MediaError::NoTransport(_))));
    assert!(matches!(peer.accept_answers(now, None, None), Err(MediaError::NoAnswer(_))));
    let role = TransportRole::Receive;
    assert!(matches!(peer.accept_answer(now, role, "v=0"), Err(MediaError::Stack(_))));
    assert!(matches!(peer.accept_answer(now, role, "v=0"), Err(MediaError::NoOffer(_))));

    let (mut bench, _) = Bench::new(config());
    bench.run(Duration::from_millis(300), |_| {});
    let packet = |codec| Packet::new(codec, 0, vec![0; 100]);
    let other = Packet { encoding: 1, ..packet(Codec::Vp8) };
    let refused = bench.peer.write(bench.now, 1, other);
    assert!(matches!(refused, Err(MediaError::NoEncoding(1))));
    let write = |bench: &mut Bench, line, codec| bench.peer.write(bench.now, line, packet(codec));
    assert!(matches!(write(&mut bench, 9, Codec::Vp8), Err(MediaError::NoLine(9))));
    assert!(matches!(write(&mut bench, 0, Codec::Vp8), Err(MediaError::WrongKind(_))));
    // The answerer knows no AV1.
    let refused = write(&mut bench, 1, Codec::Av1);
    assert!(matches!(refused, Err(MediaError::CodecNotNegotiated(Codec::Av1))));
    assert!(write(&mut bench, 1, Codec::H264).is_ok());
}

#[test]
fn junk_changes_nothing() {
    let (mut bench, _) = Bench::new(config());
    bench.run(Duration::from_millis(500), |_| {});
    let before = bench.seen.len();
    for first in 0..=255 {
        for len in [0, 1, 12, 20, 60, 1200] {
            let mut bytes = vec![first; len];
            bytes.extend((0..len).map(|n| (n * 31) as u8));
            for transport in [TransportRole::Send, TransportRole::Receive] {
                let (source, local) = (addr(9000), addr(5000));
                let input = Input::Datagram { transport, source, local, bytes: &bytes };
                bench.peer.handle(bench.now, input);
            }
        }
    }
    bench.run(Duration::from_millis(200), |_| {});
    assert_eq!(bench.seen.len(), before);
    assert!(bench.peer.connected(TransportRole::Send));
}

#[test]
fn closing_says_goodbye_and_ends_the_timers() {
    let (mut bench, _) = Bench::new(config());
    bench.run(Duration::from_millis(500), |_| {});
    bench.peer.close(bench.now);
    assert!(bench.peer.poll_transmit().is_some());
    assert_eq!(bench.peer.next_timeout(), None);
}
