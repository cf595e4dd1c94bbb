//! What we rely on in str0m beyond its documentation, pinned.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use convoke_client::media::{
    Input as PeerInput, MediaConfig, MediaEvent, MediaPeer, Offers, SendLine,
};
use convoke_protocol::{Source, TransportRole as WireRole};
use str0m::rtp::ExtensionValues;

use super::*;
use crate::api::{Outbox, Reflexive};

mod certificates;
mod consent;
mod contract;
mod offers;

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn credentials(n: usize) -> (String, String) {
    (format!("ufrag{n}xx"), format!("password{n}passwordpassword"))
}

/// A peer's receive transport, connected to ours.
struct Pair {
    now: Instant,
    peer: MediaPeer,
    transport: Transport,
    offers: Offers,
    answer: String,
    crypto: Crypto,
}

static NO_REFLEXIVE: Reflexive = Reflexive { udp: Vec::new(), tcp: Vec::new() };

fn settings<'a>(crypto: &'a Crypto, candidates: &'a [SocketAddr]) -> Settings<'a> {
    Settings {
        crypto,
        candidates,
        tcp_candidates: &[],
        reflexive: &NO_REFLEXIVE,
        sdp_bytes: 100_000,
        sdp_sections: 100,
        epoch: Instant::now(),
    }
}

fn udp(source: SocketAddr, local: SocketAddr) -> demux::Pair {
    demux::Pair { protocol: demux::Protocol::Udp, source, local }
}

fn without_feedback(offer: &str) -> String {
    let kept = offer.lines().filter(|line| !line.ends_with("transport-cc"));
    kept.map(|line| format!("{line}\r\n")).collect()
}

impl Pair {
    fn new() -> Self {
        // Without feedback nothing is paced: what is written leaves at once.
        Self::with(without_feedback)
    }

    /// `edit` changes the offer of what the peer receives.
    fn with(edit: impl Fn(&str) -> String) -> Self {
        let now = Instant::now();
        let mut config = MediaConfig::new(address(1), address(2));
        config.send = vec![SendLine::new(Source::Microphone)];
        config.audio_slots = 2;
        config.video_slots = 2;
        let (mut peer, offers) = MediaPeer::new(config, 1, now).unwrap();
        let crypto = Crypto::shared(Instant::now()).unwrap();
        let candidates = [address(9), address(10)];
        let accept = |role, offer: &Option<String>, n| {
            let offer = offer.as_deref().unwrap();
            Transport::accept(now, role, offer, credentials(n), settings(&crypto, &candidates))
                .unwrap()
        };
        let (_, send_answer) = accept(TransportRole::Send, &offers.send, 1);
        let edited = offers.receive.as_deref().map(edit);
        let (transport, answer) = accept(TransportRole::Receive, &edited, 2);
        peer.accept_answers(now, Some(&send_answer), Some(&answer)).unwrap();
        let mut pair = Self { now, peer, transport, offers, answer, crypto };
        for _ in 0..200 {
            pair.step(Duration::from_millis(10));
        }
        assert!(pair.transport.connected && pair.peer.connected(WireRole::Receive));
        pair
    }

    fn step(&mut self, by: Duration) -> Outbox {
        self.now += by;
        self.peer.handle(self.now, PeerInput::Timeout);
        let mut out = Outbox::default();
        let mut received = Vec::new();
        while let Some(transmit) = self.peer.poll_transmit() {
            if transmit.transport == WireRole::Receive {
                let (source, local) = (transmit.local, transmit.destination);
                let bytes = &transmit.contents;
                self.transport.receive(
                    self.now,
                    &udp(source, local),
                    bytes,
                    &mut out,
                    &mut received,
                );
            }
        }
        self.transport.drive(self.now, &mut out, &mut received);
        for transmit in &out.transmits {
            self.peer.handle(
                self.now,
                PeerInput::Datagram {
                    transport: WireRole::Receive,
                    source: transmit.local,
                    local: transmit.destination,
                    bytes: &transmit.contents,
                },
            );
        }
        out
    }

    fn received(&mut self) -> Vec<convoke_client::media::Received> {
        let mut received = Vec::new();
        while let Some(event) = self.peer.poll_event() {
            if let MediaEvent::Rtp(packet) = event {
                received.push(packet);
            }
        }
        received
    }
}

fn media_packet(marker: bool) -> MediaPacket {
    MediaPacket {
        ssrc: 1,
        seq: 1,
        time: 1,
        codec: Codec::Vp9 { profile: 0 },
        marker,
        payload: Arc::from(vec![0x8f; 200]),
        primary: None,
        rid: None,
        descriptor: None,
        level: None,
        captured: Some(SystemTime::UNIX_EPOCH),
        ext: ExtensionValues::default(),
    }
}

fn outgoing(packet: &MediaPacket, payload_type: u8, seq: u64, sampled: Instant) -> Outgoing<'_> {
    Outgoing {
        packet,
        payload_type,
        seq,
        time: 5,
        sampled,
        csrc: 77,
        marker: true,
        opaque: false,
        prefix: None,
        descriptor: None,
    }
}

#[test]
fn many_writes_and_one_drive_send_all_of_them_in_order() {
    let mut pair = Pair::new();
    let line = pair.transport.lines.iter().position(|l| l.kind == MediaKind::Video).unwrap();
    let payload_type = pair.transport.lines[line].payload_for(Codec::Vp9 { profile: 0 }).unwrap();
    pair.received();
    let packet = media_packet(true);
    for batch in 0..5u64 {
        for number in 0..32 {
            let seq = 100 + batch * 32 + number;
            assert!(pair.transport.write(line, outgoing(&packet, payload_type, seq, pair.now)));
        }
        let out = pair.step(Duration::from_millis(20));
        // RTP, not RTCP (RFC 5761 §4).
        let media = out.transmits.iter().filter(|t| t.contents[1] & 0x7f == payload_type).count();
        assert_eq!(media, 32, "batch {batch}");
    }
    pair.step(Duration::from_millis(20));
    let received = pair.received();
    let seqs: Vec<u64> = received.iter().map(|r| r.sequence).collect();
    assert_eq!(seqs, (100..260).collect::<Vec<_>>());
    assert!(received.iter().all(|r| r.csrc == Some(77) && r.marker));
}

#[test]
fn an_idle_transport_has_one_deadline_in_seconds_reports_nothing_and_wakes_at_once() {
    idles(Pair::new());
    let mut paced = Pair::with(str::to_owned);
    paced.transport.set_bitrates(0, 3_000_000);
    idles(paced);
}

fn idles(mut pair: Pair) {
    // At first it looks for what the path carries.
    for _ in 0..500 {
        pair.step(Duration::from_millis(10));
    }
    for _ in 0..100 {
        let out = pair.step(Duration::from_millis(100));
        assert!(out.transmits.iter().all(|t| classify(&t.contents) == Class::Stun), "{out:?}");
        let wait = pair.transport.deadline() - pair.now;
        assert!((239_900..240_200).contains(&wait.as_millis()), "{wait:?}");
    }
    let line = pair.transport.lines.iter().position(|l| l.kind == MediaKind::Video).unwrap();
    let payload_type = pair.transport.lines[line].payload_for(Codec::Vp9 { profile: 0 }).unwrap();
    let packet = media_packet(true);
    for seq in 100..103 {
        assert!(pair.transport.write(line, outgoing(&packet, payload_type, seq, pair.now)));
    }
    // A pacer lets them pass one after the other.
    let mut media = 0;
    for _ in 0..20 {
        let out = pair.step(Duration::from_millis(1));
        media += out.transmits.iter().filter(|t| t.contents[1] & 0x7f == payload_type).count();
    }
    assert_eq!(media, 3);
    assert!(pair.transport.deadline() - pair.now < Duration::from_secs(4), "it is awake");
}

#[test]
fn the_answer_has_candidates_everywhere_one_stream_per_index_and_is_passive_ice_lite() {
    let pair = Pair::new();
    let sections = pair.answer.matches("\r\nm=").count();
    assert_eq!(sections, 4);
    assert_eq!(pair.answer.matches("a=candidate:").count(), sections * 2);
    assert!(pair.answer.contains("a=ice-lite") && pair.answer.contains("a=setup:passive"));
    assert!(!pair.answer.contains("a=setup:active"));
    for index in 0..2 {
        assert!(pair.answer.contains(&format!("a=msid:slot-{index} audio-{index}")));
        assert!(pair.answer.contains(&format!("a=msid:slot-{index} video-{index}")));
    }
    assert!(pair.answer.contains("a=ice-ufrag:ufrag2xx"));
}

/// IC-06.
#[test]
fn ic_06_the_same_offer_again_is_no_restart_and_new_credentials_are() {
    let mut pair = Pair::new();
    let candidates = [address(9)];
    let crypto = pair.crypto.clone();
    let offer = pair.offers.receive.clone().unwrap();
    let answer = pair
        .transport
        .accept_again(&offer, credentials(3), settings(&crypto, &candidates))
        .unwrap();
    assert_eq!(pair.transport.ufrag(), "ufrag2xx");
    assert!(answer.contains("a=ice-ufrag:ufrag2xx"));
    // Only the password changes: a restart (RFC 8839 §4.4.1.1.1).
    let pwd = offer.lines().find_map(|l| l.strip_prefix("a=ice-pwd:")).unwrap().to_owned();
    let restarted = offer.replace(&pwd, "anotherpasswordanotherpassword");
    let answer = pair
        .transport
        .accept_again(&restarted, credentials(3), settings(&crypto, &candidates))
        .unwrap();
    assert_eq!(pair.transport.ufrag(), "ufrag3xx");
    assert!(answer.contains("a=ice-ufrag:ufrag3xx"));
    assert!(answer.contains("a=ice-pwd:password3passwordpassword"));
    assert_eq!(pair.transport.lines.len(), 4);
}

#[test]
fn lines_know_what_the_peer_takes() {
    let pair = Pair::new();
    let video = pair.transport.lines.iter().find(|l| l.kind == MediaKind::Video).unwrap();
    let audio = pair.transport.lines.iter().find(|l| l.kind == MediaKind::Audio).unwrap();
    assert!(video.payload_for(Codec::Vp8).is_some() && video.payload_for(Codec::Opus).is_none());
    assert!(audio.payload_for(Codec::Opus).is_some() && audio.payload_for(Codec::Vp8).is_none());
    assert!(video.sends && !video.receives);
}

/// An offer with redundant audio under `red` on its first audio section.
fn with_red(offer: &str, opus: u8, red: u8) -> String {
    let mut added = false;
    let mut out = String::new();
    for line in offer.lines() {
        if line.starts_with("m=audio ") && !added {
            out += &format!("{line} {red}\r\n");
            continue;
        }
        out += &format!("{line}\r\n");
        if line.starts_with("a=rtpmap:") && line.contains("opus/48000/2") && !added {
            added = true;
            out += &format!("a=rtpmap:{red} red/48000/2\r\na=fmtp:{red} {opus}/{opus}\r\n");
        }
    }
    out
}

#[test]
fn redundant_audio_is_taken_by_those_who_offer_it() {
    let pair = Pair::new();
    let now = pair.now;
    let candidates = [address(9)];
    let offer = pair.offers.receive.clone().unwrap();
    let accept = |offer: &str| {
        let settings = settings(&pair.crypto, &candidates);
        Transport::accept(now, TransportRole::Receive, offer, credentials(7), settings).unwrap()
    };
    let (plain, answer) = accept(&offer);
    let line = plain.lines.iter().find(|line| line.kind == MediaKind::Audio).unwrap();
    let opus = line.payload_for(Codec::Opus).unwrap();
    assert_eq!(line.payload_for(Codec::OpusRed), Some(opus), "without redundancy");
    assert!(!line.takes(Codec::OpusRed));
    assert!(!answer.contains("red/48000"));
    for red in [63, 73] {
        let (transport, answer) = accept(&with_red(&offer, opus, red));
        let line = transport.lines.iter().find(|line| line.kind == MediaKind::Audio).unwrap();
        assert_eq!(line.payload_for(Codec::OpusRed), Some(red));
        assert!(answer.contains(&format!("a=rtpmap:{red} red/48000")), "{answer}");
        let packet = MediaPacket {
            codec: Codec::OpusRed,
            payload: [0x80 | 96, 0x0f, 0, 3, 96, 1, 2, 3, 7, 8].into(),
            primary: Some([7, 8].into()),
            ..media_packet(false)
        };
        let sent = |payload_type| {
            let outgoing = outgoing(&packet, payload_type, 1, now);
            egress::redundant_audio(line, &outgoing)
        };
        assert_eq!(sent(opus).as_deref(), Some(&[7, 8][..]));
        let expected = [0x80 | opus, 0x0f, 0, 3, opus, 1, 2, 3, 7, 8];
        assert_eq!(sent(red).as_deref(), Some(&expected[..]));
        let opaque = Outgoing { opaque: true, ..outgoing(&packet, red, 1, now) };
        assert_eq!(egress::redundant_audio(line, &opaque), None, "as it came");
        assert!(line.takes(Codec::OpusRed));
    }
}
