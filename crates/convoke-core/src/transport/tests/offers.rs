//! Offers of stacks that bundle differently, or have one codec alone.

use std::collections::HashSet;

use super::*;
use crate::entropy::{Entropy, Random};

/// A peer's offers, with two slots of each kind.
fn offers() -> Offers {
    let mut config = MediaConfig::new(address(1), address(2));
    config.send = vec![SendLine::new(Source::Microphone), SendLine::new(Source::Camera)];
    (config.audio_slots, config.video_slots) = (2, 2);
    MediaPeer::new(config, 1, Instant::now()).unwrap().1
}

fn accept(role: TransportRole, offer: &str) -> Result<(Transport, String), NegotiateError> {
    let (crypto, candidates) = (Crypto::shared(Instant::now()).unwrap(), [address(9)]);
    Transport::accept(
        Instant::now(),
        role,
        offer,
        credentials(1),
        Settings { sdp_sections: 400, sdp_bytes: 1_000_000, ..settings(&crypto, &candidates) },
    )
}

fn refusal(offer: &str) -> String {
    accept(TransportRole::Send, offer).expect_err("refused").to_string()
}

/// The session part and the sections of an offer, each with the ends of its lines.
fn parts(sdp: &str) -> Vec<String> {
    let mut parts: Vec<String> = vec![String::new()];
    for line in sdp.split_inclusive('\n') {
        if line.starts_with("m=") {
            parts.push(String::new());
        }
        parts.last_mut().unwrap().push_str(line);
    }
    parts
}

/// The ports of the sections.
fn ports(sdp: &str) -> Vec<&str> {
    let media = sdp.lines().filter(|line| line.starts_with("m="));
    media.map(|line| line.split(' ').nth(1).unwrap()).collect()
}

/// An offer whose video sections have H.264 alone, under 96, with this `a=fmtp`.
fn of_one_h264(offer: &str, fmtp: &str) -> String {
    let video = |section: &str| {
        let codec = ["a=rtpmap:", "a=fmtp:", "a=rtcp-fb:"];
        let mut out = String::from("m=video 9 UDP/TLS/RTP/SAVPF 96\r\n");
        let kept = |line: &&str| !codec.iter().any(|prefix| line.starts_with(prefix));
        out.extend(section.split_inclusive('\n').skip(1).filter(kept));
        out += "a=rtpmap:96 H264/90000\r\n";
        if !fmtp.is_empty() {
            out += &format!("a=fmtp:96 {fmtp}\r\n");
        }
        // Without retransmission there are no such SSRCs.
        let lines = out.split_inclusive('\n');
        lines.filter(|line| !line.starts_with("a=ssrc")).collect::<String>()
    };
    let each = |part: String| if part.starts_with("m=video") { video(&part) } else { part };
    parts(offer).into_iter().map(each).collect()
}

/// JN-03: whatever of H.264's profiles a publisher has, it is taken, whether by its name, in capitals, with
/// another level or without one; and whoever cannot take it is known.
#[test]
fn jn_03_each_h264_profile_is_taken_and_matched_by_its_meaning() {
    // The profile, and whether a receiver with 42e01f in the same mode can take it.
    let table = [
        ("profile-level-id=42e01f;", true),
        ("profile-level-id=42001f;", false),
        ("profile-level-id=42C02A;", true),
        ("profile-level-id=42e00a;", true),
        ("profile-level-id=4d0032;", false),
        ("profile-level-id=640c1f;", false),
        ("profile-level-id=640032;", false),
        ("", false),
    ];
    let offers = offers();
    let of = |role, fmtp: &str| {
        let offer = match role {
            TransportRole::Send => offers.send.as_deref(),
            TransportRole::Receive => offers.receive.as_deref(),
        };
        let (transport, answer) = accept(role, &of_one_h264(offer.unwrap(), fmtp)).expect(fmtp);
        let line = transport.lines.iter().position(|line| line.kind == MediaKind::Video).unwrap();
        (transport, line, answer)
    };
    for (profile, suits) in table {
        for mode in ["", "packetization-mode=0;", "packetization-mode=1;"] {
            for asymmetry in ["level-asymmetry-allowed=0", "level-asymmetry-allowed=1"] {
                let fmtp = format!("{profile}{mode}{asymmetry}");
                let (publisher, line, answer) = of(TransportRole::Send, &fmtp);
                assert!(!ports(&answer).contains(&"0"), "{fmtp}: {answer}");
                assert!(answer.contains("a=rtpmap:96 H264/90000"), "{fmtp}: {answer}");
                let line = &publisher.lines[line];
                let [(96, codec)] = line.payloads[..] else {
                    panic!("{fmtp}: {:?}", line.payloads)
                };
                let is_one = mode == "packetization-mode=1;";
                for (receiver, expected) in [("1", suits && is_one), ("0", suits && !is_one)] {
                    let fmtp = format!("profile-level-id=42e01f;packetization-mode={receiver}");
                    let (receives, line, _) = of(TransportRole::Receive, &fmtp);
                    let taken = receives.lines[line].payload_for(codec).is_some();
                    assert_eq!(taken, expected, "{codec:?} by mode {receiver}");
                }
            }
        }
    }
}

/// JN-03: an offer's payload types count, also where each means another codec by default.
#[test]
fn jn_03_payload_types_are_the_peers_own() {
    let offer = offers().receive.unwrap();
    // In turn, and on each of the numbers that H.264 has here by default.
    let codecs = [
        (47, "VP8/90000", ""),
        (49, "AV1/90000", ""),
        (51, "VP9/90000", "profile-id=0"),
        (45, "H264/90000", "profile-level-id=640c1f;packetization-mode=1"),
        (96, "H264/90000", "profile-level-id=640c1f;packetization-mode=0"),
        (98, "H264/90000", "profile-level-id=42e01f;packetization-mode=1"),
    ];
    let mut formats = String::new();
    for (number, name, fmtp) in codecs {
        formats += &format!("a=rtpmap:{number} {name}\r\n");
        if !fmtp.is_empty() {
            formats += &format!("a=fmtp:{number} {fmtp}\r\n");
        }
    }
    let list = codecs.map(|(number, ..)| number.to_string()).join(" ");
    let one = of_one_h264(&offer, "")
        .replace("RTP/SAVPF 96\r\n", &format!("RTP/SAVPF {list}\r\n"))
        .replace("a=rtpmap:96 H264/90000\r\n", &formats);
    let (transport, answer) = accept(TransportRole::Receive, &one).unwrap();
    let line = transport.lines.iter().find(|line| line.kind == MediaKind::Video).unwrap();
    let h264 =
        |id: u32, mode| Codec::H264 { profile: H264Profile::from_profile_level_id(id), mode };
    for (codec, number) in [
        (Codec::Vp8, 47),
        (Codec::Av1 { profile: 0 }, 49),
        (Codec::Vp9 { profile: 0 }, 51),
        (h264(0x64_0c_1f, 1), 45),
        (h264(0x64_0c_1f, 0), 96),
        (h264(0x42_e0_1f, 1), 98),
    ] {
        assert_eq!(line.payload_for(codec), Some(number), "{codec:?}: {answer}");
    }
}

/// JN-04: a second transport is refused in words.
#[test]
fn jn_04_two_transports_are_refused_in_words() {
    let send = offers().send.unwrap();
    let parts = parts(&send);
    let (ufrag, password) = ("a=ice-ufrag:", "a=ice-pwd:");
    // Credentials of its own in the second section.
    let mut two = parts.clone();
    two[2] = two[2]
        .split_inclusive('\n')
        .map(|line| match line {
            _ if line.starts_with(ufrag) => "a=ice-ufrag:other\r\n",
            _ if line.starts_with(password) => "a=ice-pwd:otherotherotherotherother\r\n",
            _ => line,
        })
        .collect();
    let two = two.concat();
    assert!(two.contains("a=ice-ufrag:other"), "{two}");
    let without = |offer: &str| -> String {
        let kept = |line: &&str| !line.starts_with("a=group:");
        offer.split_inclusive('\n').filter(kept).collect()
    };
    for (offer, reason) in [
        (without(&two), "different ICE credentials"),
        (two.clone(), "different ICE credentials"),
        (without(&send), "no a=group:BUNDLE"),
        (send.replace("a=group:BUNDLE", "a=group:LS"), "no a=group:BUNDLE"),
    ] {
        let refused = refusal(&offer);
        assert!(refused.contains(reason), "{refused}");
        assert!(refused.contains("RFC 9143"), "{refused}");
    }
    // A second password under one user name, too.
    let mut passwords = parts;
    passwords[2] = passwords[2]
        .split_inclusive('\n')
        .map(|line| match line {
            _ if line.starts_with(password) => "a=ice-pwd:otherotherotherotherother\r\n",
            _ => line,
        })
        .collect();
    let refused = refusal(&passwords.concat());
    assert!(refused.contains("different ICE credentials"), "{refused}");
}

/// JN-04: a section with port 0 that is bundle-only is in use, one without is not.
#[test]
fn jn_04_bundle_only_sections_are_taken() {
    let offers = offers();
    for (role, offer) in
        [(TransportRole::Send, offers.send), (TransportRole::Receive, offers.receive)]
    {
        let mut parts = parts(offer.as_deref().unwrap());
        for part in parts.iter_mut().skip(2) {
            *part = part.replacen(" 9 ", " 0 ", 1) + "a=bundle-only\r\n";
        }
        let (transport, answer) = accept(role, &parts.concat()).expect("accepted");
        assert!(!ports(&answer).contains(&"0"), "{answer}");
        assert!(!answer.contains("a=inactive"), "{answer}");
        assert!(transport.lines.iter().all(|line| line.sends || line.receives));
        assert_eq!(transport.lines.len(), parts.len() - 1);
    }
}

/// JN-04: of ice-chars (RFC 8839 §5.4) and long enough, and none twice.
#[test]
fn jn_04_user_names_and_passwords_are_ice_chars() {
    let mut random = Random::new(Entropy::from_seed(7));
    let mut seen = HashSet::new();
    for n in 0..1_000u32 {
        let (ufrag, password) = random.ice_credentials(n.to_le_bytes()[0]);
        for (text, least) in [(&ufrag, 4), (&password, 22)] {
            assert!((least..=256).contains(&text.len()), "{text}");
            let is_ice_char = |c: char| c.is_ascii_alphanumeric() || c == '+' || c == '/';
            assert!(text.chars().all(is_ice_char), "{text}");
            assert!(seen.insert(text.clone()), "{text} twice");
        }
    }
}

/// JN-07: what an answer takes grows with its sections alone, and each of 300 is there.
#[test]
fn jn_07_three_hundred_sections_are_answered_one_by_one() {
    let answered = |slots: usize| {
        let mut config = MediaConfig::new(address(1), address(2));
        (config.audio_slots, config.video_slots) = (slots, slots);
        let (_, offers) = MediaPeer::new(config, 1, Instant::now()).unwrap();
        let (transport, answer) = accept(TransportRole::Receive, &offers.receive.unwrap()).unwrap();
        assert_eq!(transport.lines.len(), 2 * slots);
        assert_eq!(answer.matches("\r\nm=").count(), 2 * slots);
        assert!(transport.lines.iter().all(|line| line.sends));
        let mids: HashSet<Mid> = transport.lines.iter().map(|line| line.mid).collect();
        assert_eq!(mids.len(), 2 * slots);
        answer.len()
    };
    let (few, many) = (answered(15), answered(150));
    assert!(many <= 11 * few, "{few} bytes for 30 sections, {many} for 300");
}
