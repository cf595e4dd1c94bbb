//! A capture of a running call, by HTTP: what is in the file, what is not, who began it, and what Wireshark
//! makes of it.

mod common;

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use common::call::{DevServer, GROUP, connect, talking, talking_through, until};
use common::http;
use common::wireshark::{self, Row};
use convoke::protocol::Source;
use convoke_client::media::{Packet as SentPacket, Received};
use convoke_client::source::MediaSource;
use convoke_client::{Call, JoinOptions};
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketOption;
use pcap_file::pcapng::{Block, PcapNgReader};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(30);

struct Admin {
    url: String,
    bearer: String,
}

impl Admin {
    fn new(server: &DevServer) -> Self {
        let key = server.dev["accessKey"].as_str().expect("a key");
        Self { url: server.url.trim_end_matches('/').to_owned(), bearer: format!("Bearer {key}") }
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let headers = [("Authorization", &*self.bearer), ("Content-Type", "application/json")];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (status, text) = http(method, &format!("{}{path}", self.url), &headers, &body);
        (status, serde_json::from_str(&text).unwrap_or_default())
    }

    /// A body that is no text.
    fn download(&self, path: &str) -> Vec<u8> {
        let host = self.url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(host).expect("connects");
        let bearer = &self.bearer;
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {bearer}\r\n\
             Connection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).expect("sent");
        let mut all = Vec::new();
        stream.read_to_end(&mut all).expect("read");
        assert!(all.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&all));
        let end = all.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        all.split_off(end + 4)
    }

    /// Until the capture is as wanted.
    fn wait(&self, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let (status, capture) = self.ask("GET", &format!("/captures/{id}"), &Value::Null);
            assert_eq!(status, 200);
            if wanted(&capture) {
                return capture;
            }
            assert!(Instant::now() < end, "{capture}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// One packet of a file.
struct Packet {
    inbound: bool,
    original: usize,
    data: Vec<u8>,
}

impl Packet {
    /// After IPv4 and UDP.
    fn rtp(&self) -> &[u8] {
        assert_eq!((self.data[0], self.data[9]), (0x45, 17), "IPv4 and UDP");
        &self.data[28..]
    }

    fn ssrc(&self) -> u32 {
        u32::from_be_bytes(self.rtp()[8..12].try_into().expect("four bytes"))
    }

    /// The header with its extensions (RFC 3550 §5.3.1).
    fn head_bytes(&self) -> usize {
        let rtp = self.rtp();
        let mut bytes = 12 + 4 * usize::from(rtp[0] & 0x0f);
        if rtp[0] & 0x10 != 0 {
            bytes += 4 + 4 * usize::from(u16::from_be_bytes([rtp[bytes + 2], rtp[bytes + 3]]));
        }
        bytes
    }
}

fn packets(file: &[u8]) -> Vec<Packet> {
    let mut reader = PcapNgReader::new(file).expect("pcapng");
    let mut found = Vec::new();
    while let Some(block) = reader.next_block() {
        if let Block::EnhancedPacket(packet) = block.expect("a block") {
            let inbound = packet.options.contains(&EnhancedPacketOption::Flags(1));
            let (original, data) = (packet.original_len as usize, packet.data.into_owned());
            found.push(Packet { inbound, original, data });
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_captured_without_what_is_said_in_it() {
    let server = DevServer::start(&[]);
    let admin = Admin::new(&server);
    let alice = connect(&server.url, &server.token("alice")).await;
    let talks = alice.join(GROUP, talking(Instant::now())).await.expect("joins");
    let bob = connect(&server.url, &server.token("bob")).await;
    let listens = bob.join(GROUP, JoinOptions::default()).await.expect("joins");
    let call = talks.state().call_id.clone();

    let path = format!("/calls/{call}/:capture");
    let (status, refused) = admin.ask("POST", &path, &json!({ "seconds": 301 }));
    assert_eq!((status, &refused["target"]), (400, &json!("seconds")), "{refused}");
    let (status, refused) = admin.ask("POST", &path, &json!({ "payloads": true }));
    assert_eq!((status, &refused["code"]), (403, &json!("forbidden")), "{refused}");
    let (status, _) = admin.ask("POST", "/calls/nothing/:capture", &json!({}));
    assert_eq!(status, 404);
    let (status, capture) = admin.ask("POST", &path, &json!({ "seconds": 60 }));
    assert_eq!(status, 201, "{capture}");
    let id = capture["id"].as_str().expect("an id").to_owned();
    let (status, refused) = admin.ask("POST", &path, &json!({}));
    assert_eq!((status, &refused["code"]), (409, &json!("captureRunning")));

    admin.wait(&id, |capture| capture["packets"].as_u64() > Some(200));
    assert_eq!(admin.ask("POST", &format!("/captures/{id}/:stop"), &Value::Null).0, 204);
    let capture = admin.wait(&id, |capture| !capture["ended"].is_null());
    assert_eq!(capture["ended"], "stopped");
    assert_eq!((&capture["callId"], &capture["dropped"]), (&json!(call), &json!(0)));
    let file = admin.download(&format!("/captures/{id}/file"));
    assert_eq!(Some(file.len() as u64), capture["bytes"].as_u64());
    let packets = packets(&file);
    assert_eq!(Some(packets.len() as u64), capture["packets"].as_u64());
    for packet in &packets {
        assert_eq!(packet.rtp().len(), packet.head_bytes(), "nothing but the head");
        assert!(packet.original > packet.data.len(), "and how long it was");
        let udp = usize::from(u16::from_be_bytes([packet.data[24], packet.data[25]]));
        assert_eq!(udp + 20, packet.original);
    }
    let ssrcs = |inbound| -> BTreeSet<u32> {
        packets.iter().filter(|one| one.inbound == inbound).map(Packet::ssrc).collect()
    };
    assert!(ssrcs(true).len() >= 2, "a voice and a camera come in");
    assert!(ssrcs(false).len() >= 2, "and go out");

    let (_, audit) = admin.ask("GET", "/audit?limit=100", &Value::Null);
    let entries = audit["value"].as_array().expect("entries");
    for action in ["capture.start", "capture.stop"] {
        let found = entries.iter().find(|one| one["action"] == action).expect("an entry");
        assert_eq!(found["target"], call);
    }
    talks.leave().await.expect("leaves");
    listens.leave().await.expect("leaves");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_capture_ends_when_its_file_is_full_and_has_payloads_where_they_are_allowed() {
    let server = DevServer::start(&[("CONVOKE__SERVICES__CAPTURE_PAYLOADS", "true")]);
    let admin = Admin::new(&server);
    let alice = connect(&server.url, &server.token("alice")).await;
    let call = alice.join(GROUP, talking(Instant::now())).await.expect("joins");
    let path = format!("/calls/{}/:capture", call.state().call_id);
    let (status, capture) = admin.ask("POST", &path, &json!({ "bytes": 20_000, "payloads": true }));
    assert_eq!(status, 201, "{capture}");
    let id = capture["id"].as_str().expect("an id").to_owned();
    let capture = admin.wait(&id, |capture| !capture["ended"].is_null());
    assert_eq!(capture["ended"], "size");
    let file = admin.download(&format!("/captures/{id}/file"));
    assert!(file.len() <= 20_000 && file.len() > 10_000, "{}", file.len());
    let packets = packets(&file);
    assert!(packets.iter().any(|packet| packet.rtp().len() > packet.head_bytes() + 20));

    // Of a call that ends.
    let (status, capture) = admin.ask("POST", &path, &json!({}));
    assert_eq!(status, 201, "{capture}");
    let id = capture["id"].as_str().expect("an id").to_owned();
    call.leave().await.expect("leaves");
    let capture = admin.wait(&id, |capture| !capture["ended"].is_null());
    assert_eq!(capture["ended"], "callEnded");
    let (_, all) = admin.ask("GET", "/captures", &Value::Null);
    assert_eq!(all["value"].as_array().map(Vec::len), Some(2));
}

/// What the sources of a participant gave it to send, in their order, and when.
type Sent = Arc<Mutex<Vec<(Source, SystemTime, SentPacket)>>>;

/// A source that keeps what it makes.
struct Noted {
    what: Source,
    source: Box<dyn MediaSource>,
    sent: Sent,
}

impl MediaSource for Noted {
    fn next_due(&self) -> Option<Instant> {
        self.source.next_due()
    }

    fn take(&mut self, now: Instant) -> Vec<SentPacket> {
        let made = self.source.take(now);
        let noted = made.iter().map(|packet| (self.what, SystemTime::now(), packet.clone()));
        self.sent.lock().expect("unbroken").extend(noted);
        made
    }

    fn request_keyframe(&mut self) {
        self.source.request_keyframe();
    }

    fn set_paused(&mut self, now: Instant, paused: bool) {
        self.source.set_paused(now, paused);
    }
}

/// Payload types of the native client's offers.
const PAYLOAD_TYPES: [(Source, u8); 2] = [(Source::Microphone, 111), (Source::Camera, 96)];
/// `WTAP_ENCAP_RAW_IP`.
const RAW_IP: u32 = 7;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wireshark_reads_what_was_sent() {
    let server = DevServer::start(&[]);
    let admin = Admin::new(&server);
    let sent = Sent::default();
    let alice = connect(&server.url, &server.token("alice")).await;
    let options = talking_through(Instant::now(), {
        let sent = Arc::clone(&sent);
        move |what, source| Box::new(Noted { what, source, sent: Arc::clone(&sent) })
    });
    let talks = alice.join(GROUP, options).await.expect("joins");
    let bob = connect(&server.url, &server.token("bob")).await;
    let listens = bob.join(GROUP, JoinOptions::default()).await.expect("joins");
    let heard = heard(&listens);

    let path = format!("/calls/{}/:capture", talks.state().call_id);
    let (status, capture) = admin.ask("POST", &path, &json!({}));
    assert_eq!(status, 201, "{capture}");
    let id = capture["id"].as_str().expect("an id").to_owned();
    admin.wait(&id, |capture| capture["packets"].as_u64() > Some(600));
    assert_eq!(admin.ask("POST", &format!("/captures/{id}/:stop"), &Value::Null).0, 204);
    admin.wait(&id, |capture| !capture["ended"].is_null());
    let name = server.folder.path().join("capture.pcapng");
    std::fs::write(&name, admin.download(&format!("/captures/{id}/file"))).expect("written");

    let rows = wireshark::rows(&name);
    assert!(rows.len() > 600, "{}", rows.len());
    assert!(rows.is_sorted_by_key(|row| row.at), "in the order of their times");
    for row in &rows {
        assert_eq!((row.link, row.bytes), (RAW_IP, 20 + row.udp_bytes), "{row:?}");
        assert!(row.checksum_is_good && row.payload.is_empty(), "{row:?}");
        // IPv4, UDP, RTP with one CSRC, and at most what is kept of extensions.
        let least = 20 + 8 + 12 + 4 * usize::from(row.csrc.is_some());
        assert!(row.kept >= least && row.kept < row.bytes, "{row:?}");
        assert_eq!(row.kept > least, row.has_extensions, "{row:?}");
    }
    let (inbound, outbound): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| row.inbound);
    let port = inbound.first().expect("some").destination_port;
    assert!(inbound.iter().all(|row| row.destination_port == port), "one worker's");
    assert!(outbound.iter().all(|row| row.source_port == port), "the same");
    as_sent(&inbound, &sent.lock().expect("unbroken"));
    let last = outbound.iter().rev().find(|row| source_of(row).is_some()).expect("media");
    let is_last = |one: &Received| one.ssrc == last.ssrc && one.sequence as u16 == last.seq;
    until("all of it is heard", || heard.lock().expect("unbroken").iter().any(is_last)).await;
    as_heard(&outbound, &heard.lock().expect("unbroken"));
    talks.leave().await.expect("leaves");
    listens.leave().await.expect("leaves");
}

fn source_of(row: &Row) -> Option<Source> {
    PAYLOAD_TYPES.iter().find(|(_, number)| *number == row.payload_type).map(|(source, _)| *source)
}

/// What a participant receives from now on.
fn heard(call: &Call) -> Arc<Mutex<Vec<Received>>> {
    let heard = Arc::<Mutex<Vec<Received>>>::default();
    let mut packets = call.packets();
    let all = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Some(packet) = packets.next().await {
            all.lock().expect("unbroken").push(packet);
        }
    });
    heard
}

/// Each source's packets are there with one SSRC, one number after the other.
fn as_sent(rows: &[&Row], sent: &[(Source, SystemTime, SentPacket)]) {
    for (source, _) in PAYLOAD_TYPES {
        let sent: Vec<_> = sent.iter().filter(|(of, ..)| *of == source).collect();
        let rows: Vec<_> = rows.iter().filter(|row| source_of(row) == Some(source)).collect();
        let first = rows.first().expect("packets of it");
        let same = |row: &Row, packet: &SentPacket| {
            (row.rtp_time, row.marker) == (packet.rtp_time, packet.marker)
        };
        let begin = sent.iter().position(|(.., packet)| same(first, packet)).expect("it was sent");
        assert!(rows.len() > 20, "{source:?}: {}", rows.len());
        for row in &rows {
            assert_eq!(row.ssrc, first.ssrc, "{source:?}");
            let index = begin + usize::from(row.seq.wrapping_sub(first.seq));
            let (_, at, packet) = sent[index];
            assert!(same(row, packet), "{row:?}, but {packet:?}");
            // SRTP adds its tag to header and payload.
            let tag = (row.bytes - row.kept).checked_sub(packet.payload.len());
            assert!(tag.is_some_and(|tag| (4..=16).contains(&tag)), "{row:?}, but {packet:?}");
            let late = row.at.duration_since(*at).unwrap_or_else(|error| {
                panic!("{:?} before it was sent", error.duration());
            });
            assert!(late < Duration::from_secs(5), "{late:?} after it was sent");
        }
    }
}

/// What left was received: the same numbers, and the publisher as contributing source.
fn as_heard(rows: &[&Row], heard: &[Received]) {
    let media: Vec<_> = rows.iter().filter(|row| source_of(row).is_some()).collect();
    assert!(media.len() > 60, "{}", media.len());
    let mut lost = 0;
    for row in &media {
        let same = |one: &&Received| one.ssrc == row.ssrc && one.sequence as u16 == row.seq;
        let Some(one) = heard.iter().find(same) else {
            lost += 1;
            continue;
        };
        assert_eq!(
            (row.rtp_time, row.marker, row.csrc),
            (one.rtp_time, one.marker, one.csrc),
            "{row:?}"
        );
    }
    // A full socket of the test's own loses some.
    assert!(lost * 10 < media.len(), "{lost} of {}", media.len());
}
