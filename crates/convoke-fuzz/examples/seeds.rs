//! Writes the hand-made seeds of the corpus: `cargo run -p convoke-fuzz --example seeds`.
//!
//! The offers of browsers come from `fuzz/browser-offers.mjs`; found crashes are added as they are.

#![allow(clippy::cast_possible_truncation)]

use std::fs;
use std::path::Path;

use convoke_fuzz::{Record, write_records};

fn main() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for (name, bytes) in datagrams() {
        fs::write(corpus.join("datagrams").join(name), bytes)?;
    }
    for (name, bytes) in data() {
        fs::write(corpus.join("data").join(name), bytes)?;
    }
    for (name, text) in signalling() {
        fs::write(corpus.join("signalling").join(name), text)?;
    }
    for (name, text) in http_sdp() {
        fs::write(corpus.join("http_sdp").join(name), text)?;
    }
    for (name, bytes) in tcp_frames() {
        fs::write(corpus.join("tcp_frames").join(name), bytes)?;
    }
    for (name, flags, sdp) in offers() {
        let bytes = [&[flags], sdp.as_bytes()].concat();
        fs::write(corpus.join("sdp_offer").join(name), bytes)?;
    }
    Ok(())
}

const PUBLISHER: u8 = 0;
const VIEWER: u8 = 1;
const STRANGER: u8 = 2;
const OWN_OF_PUBLISHER: u8 = 4;
const OWN_OF_VIEWER: u8 = 5;
const TIME: u8 = 8;
const PAYLOAD: u8 = 9;

/// A STUN message (RFC 8489 §5): type, then attributes.
fn stun(kind: u16, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (attribute, value) in attributes {
        body.extend_from_slice(&attribute.to_be_bytes());
        body.extend_from_slice(&(value.len() as u16).to_be_bytes());
        body.extend_from_slice(value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    let mut out = kind.to_be_bytes().to_vec();
    out.extend_from_slice(&(body.len() as u16).to_be_bytes());
    out.extend_from_slice(&[0x21, 0x12, 0xa4, 0x42]);
    out.extend_from_slice(&[7; 12]);
    out.extend_from_slice(&body);
    out
}

/// RTP (RFC 3550 §5.1) with one-byte header extensions (RFC 8285 §4.2).
fn rtp(payload_type: u8, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0x90, payload_type];
    out.extend_from_slice(&sequence.to_be_bytes());
    out.extend_from_slice(&[0, 0, 3, 0xc0, 0, 0, 0x10, 0x01]);
    out.extend_from_slice(&[0xbe, 0xde, 0, 1, 0x10, 0x85, 0, 0]);
    out.extend_from_slice(payload);
    out
}

/// One RTCP packet (RFC 3550 §6) of this type and count, with `words` of body.
fn rtcp(count: u8, kind: u8, words: &[u32]) -> Vec<u8> {
    let mut out = vec![0x80 | count, kind];
    out.extend_from_slice(&(words.len() as u16).to_be_bytes());
    out.extend(words.iter().flat_map(|word| word.to_be_bytes()));
    out
}

/// A DTLS record (RFC 6347 §4.1).
fn dtls(content: u8, epoch: u16, body: &[u8]) -> Vec<u8> {
    let mut out = vec![content, 0xfe, 0xfd];
    out.extend_from_slice(&epoch.to_be_bytes());
    out.extend_from_slice(&[0; 6]);
    out.extend_from_slice(&(body.len() as u16).to_be_bytes());
    out.extend_from_slice(body);
    out
}

type Seed = (&'static str, Vec<u8>);

fn from_everywhere(connect: bool, datagrams: &[Vec<u8>]) -> Vec<u8> {
    let records = datagrams.iter().flat_map(|bytes| {
        [PUBLISHER, VIEWER, STRANGER].map(|kind| Record { kind, bytes: bytes.as_slice() })
    });
    write_records(connect, &records.collect::<Vec<_>>())
}

fn datagrams() -> Vec<Seed> {
    let ms = |ms: u32| ms.to_be_bytes();
    let time = |bytes| Record { kind: TIME, bytes };
    let own = |kind, bytes| Record { kind, bytes };
    let (short, long) = (ms(20), ms(29_999));
    let hello = dtls(22, 0, &[1, 0, 0, 40, 0, 0, 0, 0, 0, 0, 0, 40]);
    let alert = [dtls(21, 0, &[2, 40]), dtls(21, 1, &[1, 0]), dtls(23, 0, b"data")];
    let first_bytes: Vec<Vec<u8>> = (0..=255).step_by(7).map(|b| vec![b; 30]).collect();
    let handshake: Vec<Record<'_>> = (0..40)
        .flat_map(|_| [own(OWN_OF_PUBLISHER, &[]), own(OWN_OF_VIEWER, &[]), time(&short)])
        .collect();
    let spoiled: Vec<Record<'_>> = (0..40)
        .flat_map(|_| {
            [own(OWN_OF_PUBLISHER, &[0, 0, 1]), own(OWN_OF_VIEWER, &[0; 30]), time(&short)]
        })
        .collect();
    let mut seeds = vec![
        ("nothing", write_records(false, &[])),
        ("connect", write_records(true, &[])),
        ("connect-and-wait", write_records(true, &[time(&short), time(&long), time(&long)])),
        ("never-connect", write_records(false, &[time(&long), time(&long)])),
        ("handshake", write_records(false, &handshake)),
        ("handshake-spoiled", write_records(false, &spoiled)),
        ("first-bytes", from_everywhere(true, &first_bytes[..20])),
        ("first-bytes-high", from_everywhere(true, &first_bytes[20..])),
        ("stun", from_everywhere(true, &stuns())),
        ("stun-early", from_everywhere(false, &stuns())),
        ("dtls", from_everywhere(true, &[vec![hello], alert.to_vec()].concat())),
        ("dtls-early", from_everywhere(false, &alert)),
        (
            "rtp",
            from_everywhere(
                true,
                &[rtp(111, 1, b"opus"), rtp(96, 65_535, b"vp8"), rtp(127, 0, b"")],
            ),
        ),
        ("rtcp", from_everywhere(true, &rtcps())),
    ];
    seeds.extend(payloads());
    seeds
}

fn stuns() -> Vec<Vec<u8>> {
    vec![
        stun(1, &[]),
        stun(1, &[(6, b"nobody:somebody"), (0x24, &[0x6e, 0, 0, 1]), (0x8, &[9; 20])]),
        stun(1, &[(6, &[b'u'; 600])]),
        stun(0x101, &[(0x20, &[0, 1, 0, 80, 127, 0, 0, 1])]),
        stun(0x111, &[(9, &[0, 0, 4, 1])]),
        stun(1, &[(0x8028, &[0; 4])]),
        vec![0; 20],
    ]
}

fn rtcps() -> Vec<Vec<u8>> {
    vec![
        rtcp(0, 200, &[1, 2, 3, 4, 5, 6]),
        rtcp(1, 201, &[1, 2, 3, 4, 5, 6, 7]),
        rtcp(1, 202, &[1, 0x0103_6162]),
        rtcp(1, 203, &[1]),
        rtcp(1, 205, &[1, 2, 0x0001_ffff]),
        rtcp(15, 205, &[1, 2, 0x0001_0002, 3, 4]),
        rtcp(1, 206, &[1, 2]),
        rtcp(4, 206, &[1, 2, 3, 0x0100_0000]),
        rtcp(31, 201, &[]),
    ]
}

/// What publishers can put into their packets: the first byte chooses the codec (Opus, VP8, VP9,
/// H.264, AV1) and the marker.
fn payloads() -> Vec<Seed> {
    let send = |payloads: &[&[u8]]| {
        let records = payloads.iter().map(|bytes| Record { kind: PAYLOAD, bytes });
        write_records(true, &records.collect::<Vec<_>>())
    };
    vec![
        ("payload-opus", send(&[&[0, 0, 1, 0xf8, 0xff, 0xfe], &[0x80, 0, 2, 0x78]])),
        (
            "payload-vp8",
            send(&[
                // A key frame with a long picture id, then all extensions, then a truncated one.
                &[
                    0x81, 0, 1, 0x90, 0x80, 0x81, 0x23, 0x50, 0x11, 0, 0x9d, 0x01, 0x2a, 0x80, 2,
                    0x68, 1,
                ],
                &[0x81, 0, 2, 0x90, 0xf0, 0x7f, 5, 0x61, 0x31, 0],
                &[0x81, 0, 3, 0x80, 0xf0, 0x80],
                &[1, 0, 4, 0],
            ]),
        ),
        (
            "payload-vp9",
            send(&[
                &[0x82, 0, 1, 0x8a, 0x81, 0x02, 0x18, 0x02, 0x80, 0x01, 0x68, 0x82, 0x49, 0x83],
                &[0x82, 0, 2, 0xe8, 0x81, 0x03, 0x42, 0x11, 2, 1],
                &[0x82, 0, 3, 0xff, 0x80],
                &[2, 0, 4, 0x0a, 0xff],
            ]),
        ),
        (
            "payload-h264",
            send(&[
                &[0x83, 0, 1, 0x78, 0, 2, 0x67, 0x42, 0, 2, 0x68, 0xce],
                &[3, 0, 2, 0x7c, 0x85, 0x88, 0x84],
                &[0x83, 0, 2, 0x7c, 0x45, 0],
                &[0x83, 0, 3, 0x78, 0xff, 0xff, 1],
                &[0x83, 0, 4, 0x65],
            ]),
        ),
        (
            "payload-av1",
            send(&[
                &[0x84, 0, 1, 0x18, 0x0a, 0x0b, 0, 0, 0, 0x24, 0xc4, 0xff, 0xdf, 0, 0x68, 2, 0x10],
                &[0x84, 0, 2, 0x10, 0x32, 1],
                &[4, 0, 3, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff],
                &[0x84, 0, 4, 0x48, 0x80],
            ]),
        ),
    ]
}

fn data() -> Vec<Seed> {
    let records = |records: &[(u8, &[u8])]| {
        let records: Vec<Record<'_>> =
            records.iter().map(|&(kind, bytes)| Record { kind, bytes }).collect();
        write_records(true, &records)
    };
    let large = [b"\x01\0\x04chat".as_slice(), &[7; 16 * 1024]].concat();
    let over = [large.as_slice(), b"x"].concat();
    let many = vec![(0, large.as_slice()); 120];
    let churn: Vec<(u8, &[u8])> =
        [(5, &b""[..]), (0, b"\x01\0\0x"), (6, b"")].into_iter().cycle().take(90).collect();
    vec![
        ("to-all", records(&[(0, b"\x01\0\x04chathello"), (1, b"\x01\0\0hello")])),
        (
            "to-some",
            records(&[(0, b"\x01\x02\0\0\0\x02\0\0\0\x01\0x"), (2, b"\x01\x01\0\0\0\x03\0y")]),
        ),
        ("to-itself", records(&[(0, b"\x01\x01\0\0\0\x01\0x")])),
        ("cut-off", records(&[(0, b"\x01\x02\0\0\0\x02"), (0, b"\x01"), (1, b"\x01\0\x09abc")])),
        ("other-version", records(&[(0, b"\x02\0\0x"), (0, b"\0\0\0x")])),
        ("no-utf-8", records(&[(0, b"\x01\0\x02\xff\xfex")])),
        ("long-topic", records(&[(0, &[&[1, 0, 65][..], &[b'a'; 70]].concat())])),
        ("largest", records(&[(0, &large), (1, &large)])),
        ("too-large", records(&[(0, &over), (1, &over)])),
        ("too-fast", records(&many)),
        ("churn", records(&churn)),
        ("other-label", records(&[(4, b"other"), (4, b"durable"), (4, b"lossy!"), (7, &[1, 0])])),
        ("opens-again", records(&[(6, b""), (8, b"\x02hi"), (5, b""), (8, b"\0hi"), (7, &[8, 0])])),
        ("commands", records(&[(8, b""), (8, b"\x01topic"), (8, &[64; 80]), (8, &[66; 80])])),
        ("permission", records(&[(9, b""), (0, b"\x01\0\0x"), (9, b"x"), (0, b"\x01\0\0x")])),
        ("only-a-frame", b"\x01\x01\0\0\0\x02\x04chathello".to_vec()),
    ]
}

type TextSeed = (&'static str, &'static str);

fn signalling() -> Vec<TextSeed> {
    vec![
        (
            "good-hello",
            r#"{"type":"hello","requestId":1,"protocol":1,"token":"a.b.c","displayName":"Ada","userAgent":"web/1"}"#,
        ),
        (
            "good-join",
            r#"{"type":"join","requestId":2,"groupId":"{29228D3E-040E-4656-A70E-890AB4E173E5}","send":{"sdp":"v=0\r\n"},"receive":{"sdp":"v=0\r\n"},"tracks":[{"clientId":"mic","source":"microphone","mid":"0","muted":true},{"clientId":"cam","source":"camera","mid":"1"}]}"#,
        ),
        (
            "good-join-viewer",
            r#"{"type":"join","groupId":"urn:uuid:29228d3e-040e-4656-a70e-890ab4e173e5","receive":{"sdp":""}}"#,
        ),
        ("good-resume", r#"{"type":"resume","requestId":4294967295,"resumeToken":"t"}"#),
        (
            "good-offer",
            r#"{"type":"offer","requestId":3,"callId":"c","transport":"receive","sdp":"v=0\r\n"}"#,
        ),
        (
            "good-publish",
            r#"{"type":"publish","requestId":4,"callId":"c","track":{"clientId":"s","source":"screenAudio","mid":"3","muted":false}}"#,
        ),
        ("good-unpublish", r#"{"type":"unpublish","requestId":5,"callId":"c","clientId":"s"}"#),
        (
            "good-mute",
            r#"{"type":"mute","requestId":6,"callId":"c","clientId":"mic","muted":true,"unknown":[1,2,{}]}"#,
        ),
        (
            "good-view",
            r#"{"type":"view","requestId":7,"callId":"c","slots":[{"mid":"2","trackId":"t1","width":1280,"height":720,"priority":200},{"mid":"3","follow":"activeSpeaker"}]}"#,
        ),
        ("good-view-default", r#"{"type":"view","callId":"c","slots":null}"#),
        ("good-explain", r#"{"type":"explain","requestId":10,"callId":"c"}"#),
        (
            "good-data",
            r#"{"type":"data","requestId":9,"callId":"c","to":["p00000001"],"reliability":"durable","topic":"chat","payload":"aGVsbG8="}"#,
        ),
        ("good-data-all", r#"{"type":"data","callId":"c","reliability":"lossy","payload":""}"#),
        ("bad-data", r#"{"type":"data","callId":"c","to":"p1","reliability":"sometimes"}"#),
        ("good-leave", r#"{"type":"leave","requestId":8,"callId":"c"}"#),
        ("good-ping", r#"{"type":"ping"}"#),
        ("bad-empty", ""),
        ("bad-text", "hello"),
        ("bad-number", "1e999"),
        ("bad-array", "[[[[]]]]"),
        ("bad-no-type", r#"{"requestId":9}"#),
        ("bad-type-number", r#"{"type":5,"requestId":-1}"#),
        ("bad-misspelt", r#"{"type":"jion","requestId":10}"#),
        ("bad-missing-field", r#"{"type":"leave","requestId":1.5}"#),
        (
            "bad-track",
            r#"{"type":"publish","callId":"c","track":{"clientId":"s","source":"window","mid":"3"}}"#,
        ),
        ("bad-twice", r#"{"type":"ping","type":"leave","callId":"a","callId":"b"}"#),
        ("bad-surrogate", r#"{"type":"\ud800"}"#),
        ("bad-priority", r#"{"type":"view","callId":"c","slots":[{"mid":"2","priority":256}]}"#),
        ("bad-open", r#"{"type":"ping""#),
    ]
}

const SESSION: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";
const TRANSPORT: &str = "c=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901234\r\n\
    a=fingerprint:sha-256 00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F\r\n\
    a=setup:actpass\r\na=rtcp-mux\r\n";

/// One section; `more` are attributes.
fn section(kind: &str, mid: &str, direction: &str, more: &str) -> String {
    let (payload_type, codec) = match kind {
        "audio" => (111, "opus/48000/2"),
        _ => (96, "VP8/90000"),
    };
    format!(
        "m={kind} 9 UDP/TLS/RTP/SAVPF {payload_type}\r\n{TRANSPORT}a=mid:{mid}\r\na={direction}\r\n\
         a=rtpmap:{payload_type} {codec}\r\n{more}"
    )
}

fn offer(bundle: &str, sections: &[String]) -> String {
    format!("{SESSION}{bundle}{}", sections.concat())
}

const BUNDLE: &str = "a=group:BUNDLE 0 1\r\n";

fn offers() -> Vec<(&'static str, u8, String)> {
    let audio = |more: &str| section("audio", "0", "sendonly", more);
    let video = |more: &str| section("video", "1", "sendonly", more);
    let good = offer(BUNDLE, &[audio(""), video("")]);
    let change = |from: &str, to: &str| good.replace(from, to);
    let slots = [section("audio", "0", "recvonly", ""), section("video", "1", "recvonly", "")];
    vec![
        ("good-send", 1, good.clone()),
        ("good-send-track", 5, good.clone()),
        ("good-send-again", 5, format!("{good}\0{good}")),
        ("good-receive", 2, offer(BUNDLE, &slots)),
        ("good-odd-session-name", 1, change("s=-", "s=a name with spaces")),
        (
            "good-unknown-attributes",
            1,
            offer(BUNDLE, &[audio("a=x-what:ever\r\n"), video("a=:\r\n")]),
        ),
        ("odd-no-offer", 0, String::new()),
        ("odd-both-transports", 7, good.clone()),
        ("odd-sends-on-receive", 2, good.clone()),
        ("odd-again-other-codec", 5, format!("{good}\0{}", change("VP8", "AV1"))),
        ("odd-again-fewer", 5, format!("{good}\0{}", offer("", &[audio("")]))),
        (
            "odd-again-other-kind",
            5,
            format!(
                "{good}\0{}",
                offer(
                    BUNDLE,
                    &[section("video", "0", "sendonly", ""), section("audio", "1", "sendonly", "")]
                )
            ),
        ),
        ("odd-again-restart", 5, format!("{good}\0{}", change("abcd", "wxyz"))),
        ("odd-again-garbage", 5, format!("{good}\0garbage")),
        (
            "odd-many-ssrcs",
            5,
            offer(
                BUNDLE,
                &[
                    audio(""),
                    video(&(0..60).map(|n| format!("a=ssrc:{n} cname:c\r\n")).collect::<String>()),
                ],
            ),
        ),
        (
            "odd-ssrc-groups",
            5,
            offer(
                BUNDLE,
                &[
                    audio(""),
                    video(
                        "a=ssrc-group:FID 1 2\r\na=ssrc-group:SIM 1 1 1\r\na=ssrc-group:FID\r\na=ssrc:1 msid:a b\r\n",
                    ),
                ],
            ),
        ),
        (
            "odd-simulcast",
            5,
            offer(
                BUNDLE,
                &[
                    audio(""),
                    video("a=rid:q send\r\na=rid:h send pt=96\r\na=simulcast:send q;~h;q\r\n"),
                ],
            ),
        ),
        (
            "odd-extmaps",
            5,
            offer(
                BUNDLE,
                &[
                    audio(
                        "a=extmap:0 urn:x\r\na=extmap:255 urn:ietf:params:rtp-hdrext:sdes:mid\r\n",
                    ),
                    video("a=extmap:14/sendonly urn:x y z\r\n"),
                ],
            ),
        ),
        (
            "odd-fmtp",
            5,
            offer(
                BUNDLE,
                &[
                    audio("a=fmtp:111 minptime=10;useinbandfec=\r\n"),
                    video("a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=97\r\na=fmtp:300 x=y\r\n"),
                ],
            ),
        ),
        ("odd-port-zero", 5, change("m=video 9", "m=video 0")),
        ("odd-no-fingerprint", 1, change("a=fingerprint", "a=x")),
        ("odd-weak-fingerprint", 1, change("sha-256", "md5")),
        ("odd-setup-passive", 1, change("actpass", "passive")),
        ("odd-line-ends", 1, change("\r\n", "\n")),
        ("odd-payload-type", 1, change("SAVPF 96", "SAVPF 300")),
        ("odd-port", 1, change("m=video 9", "m=video 99999999999")),
        ("odd-protocol", 1, change("UDP/TLS/RTP/SAVPF", "RTP/AVP")),
        (
            "odd-candidates",
            1,
            offer(
                BUNDLE,
                &[
                    audio(
                        "a=candidate:1 1 udp 1 0.0.0.0 0 typ host\r\na=candidate:x\r\na=candidate:1 1 tcp 1 ::1 9 typ host tcptype active\r\n",
                    ),
                    video(""),
                ],
            ),
        ),
        ("bad-empty", 1, String::new()),
        ("bad-text", 1, "hello".into()),
        ("bad-no-section", 1, SESSION.into()),
        ("bad-twice-the-same-mid", 1, change("a=mid:1", "a=mid:0")),
        ("bad-no-mid", 1, change("a=mid:1\r\n", "")),
        ("bad-long-mid", 1, change("a=mid:1", "a=mid:12345678901234567")),
        ("bad-no-bundle", 1, change("a=group:BUNDLE 0 1\r\n", "")),
        ("bad-half-bundle", 1, change("BUNDLE 0 1", "BUNDLE 0")),
        ("bad-two-transports", 1, good.replacen("abcd", "efgh", 1)),
        ("odd-control-characters", 1, change("m=video", "m=\u{1}\u{7f}video")),
    ]
}

/// An offer as a WHIP client makes it, shortened.
const HTTP_OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
    a=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n\
    a=candidate:1 1 udp 1 10.0.0.1 9 typ host\r\na=ice-ufrag:abcd\r\n\
    a=ice-pwd:0123456789012345678901\r\na=fingerprint:sha-256 AA\r\na=setup:actpass\r\n\
    a=mid:0\r\na=sendonly\r\na=rtcp-mux\r\nm=video 0 UDP/TLS/RTP/SAVPF 96\r\na=bundle-only\r\n\
    a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=fingerprint:sha-256 AA\r\n\
    a=mid:1\r\na=sendonly\r\na=rtcp-mux\r\na=rid:q send\r\na=rid:h send\r\n\
    a=simulcast:send q;h\r\n";

/// A fragment as RFC 9725 shows one.
const FRAGMENT: &str = "a=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
    a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n\
    a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw\r\n\
    a=end-of-candidates\r\n";

fn http_sdp() -> Vec<(&'static str, String)> {
    let credentials = "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n";
    let (audio, video) = HTTP_OFFER.split_once("m=video").unwrap_or_default();
    let audio = audio.replace("BUNDLE 0 1", "BUNDLE 0");
    let third = format!("m=video{}", video.replace("mid:1", "mid:2"));
    let replace = |from: &str, to: &str| match from {
        "" => HTTP_OFFER.to_owned(),
        from => HTTP_OFFER.replace(from, to),
    };
    let offer = |from: &str, to: &str| format!("P{}", replace(from, to));
    let watch = |from: &str, to: &str| format!("W{}", replace(from, to));
    let session =
        audio.replace(credentials, "").replace("t=0 0\r\n", &format!("t=0 0\r\n{credentials}"));
    let tcp = FRAGMENT.replace(" udp ", " tcp ").replace("typ host", "typ host tcptype active");
    vec![
        ("good-publish", offer("", "")),
        ("good-publish-audio", format!("P{audio}")),
        ("good-publish-sendrecv", offer("sendonly", "sendrecv")),
        ("good-publish-unix-lines", offer("\r\n", "\n")),
        ("good-watch", watch("sendonly", "recvonly")),
        ("good-watch-no-direction", watch("a=sendonly\r\n", "")),
        ("good-session-credentials", format!("P{session}")),
        ("bad-empty", String::new()),
        ("bad-publish-recvonly", offer("sendonly", "recvonly")),
        ("bad-watch-sendonly", watch("", "")),
        ("bad-no-bundle", offer("a=group:BUNDLE 0 1\r\n", "")),
        ("bad-no-mux", offer("a=rtcp-mux\r\n", "")),
        ("bad-two-videos", offer("BUNDLE 0 1", "BUNDLE 0 1 2") + &third),
        ("bad-application", offer("m=video 0 UDP/TLS/RTP/SAVPF", "m=application 9 UDP/DTLS/SCTP")),
        ("bad-other-credentials", format!("P{}", HTTP_OFFER.replacen("abcd", "abce", 1))),
        ("bad-text", "Phello".to_owned()),
        ("good-fragment", format!("F{FRAGMENT}")),
        ("good-fragment-end", "Fa=end-of-candidates\r\n".to_owned()),
        ("good-fragment-tcp", format!("F{tcp}")),
        ("bad-fragment-half-credentials", "Fa=ice-ufrag:EsAw\r\n".to_owned()),
        ("bad-fragment-candidate", "Fa=candidate:1 1 udp 0 x 9 typ host\r\n".to_owned()),
        ("bad-fragment-two-ufrags", format!("F{FRAGMENT}a=ice-ufrag:EsAx\r\n")),
        ("bad-fragment-text", "Fhello".to_owned()),
    ]
}

/// A frame (RFC 4571 §2).
fn frame(datagram: &[u8]) -> Vec<u8> {
    [&(datagram.len() as u16).to_be_bytes(), datagram].concat()
}

/// The first byte says in which pieces the rest comes.
fn tcp_frames() -> Vec<(&'static str, Vec<u8>)> {
    let check = |user: &str| stun(1, &[(6, user.as_bytes()), (0x24, &[1, 2, 3, 4]), (8, &[7; 20])]);
    let first = frame(&check("AAxxxxxxxx:peer"));
    let media = frame(&rtp(96, 7, &[9; 1_100]));
    let whole = [&first[..], &frame(&[22, 254, 253]), &media, &frame(&[]), &media].concat();
    let in_pieces = |how: u8, stream: &[u8]| [&[how], stream].concat();
    let large = |bytes: usize| frame(&[&[128][..], &vec![0; bytes - 1]].concat());
    vec![
        ("good-check", in_pieces(0, &first)),
        ("good-call", in_pieces(255, &whole)),
        ("good-call-byte-by-byte", in_pieces(0, &whole)),
        ("good-null-packets-first", in_pieces(3, &[&[0; 64][..], &whole].concat())),
        ("good-half-a-frame-behind", in_pieces(7, &whole[..whole.len() - 500])),
        ("good-half-a-length-behind", in_pieces(2, &[&first[..], &[4]].concat())),
        ("good-last-worker", in_pieces(9, &frame(&check("D/xxxxxxxx:peer")))),
        ("good-largest", in_pieces(64, &[&first[..], &large(2_000)].concat())),
        ("bad-empty", Vec::new()),
        ("bad-null-packets-alone", in_pieces(1, &[0; 300])),
        ("bad-half-a-check", in_pieces(4, &first[..first.len() - 1])),
        ("bad-http", in_pieces(16, b"GET / HTTP/1.1\r\nHost: sfu.example.com\r\n\r\n")),
        ("bad-tls", in_pieces(16, &[&[22, 3, 1, 2, 0, 1][..], &[0; 512]].concat())),
        ("bad-media-first", in_pieces(8, &[&media[..], &first].concat())),
        ("bad-no-user-name", in_pieces(8, &frame(&stun(1, &[(0x24, &[1, 2, 3, 4])])))),
        ("bad-short-user-name", in_pieces(8, &frame(&check("A:b")))),
        ("bad-too-large", in_pieces(64, &[&first[..], &large(2_001)].concat())),
        ("bad-largest-length", in_pieces(5, &[&first[..], &[255; 300]].concat())),
        ("bad-nothing-that-is-spoken", in_pieces(6, &[&first[..], &frame(&[255; 40])].concat())),
    ]
}
