//! A capture of a running call, by HTTP: what is in the file, what is not, and who began it.

mod common;

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use common::call::{DevServer, GROUP, connect, talking};
use common::http;
use convoke_client::JoinOptions;
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

/// Where Wireshark's tshark is: it reads the same.
fn with_tshark(file: &[u8], ours: &[Packet]) {
    let path = std::env::temp_dir().join(format!("convoke-{}.pcapng", std::process::id()));
    std::fs::write(&path, file).expect("written");
    let shown = Command::new("tshark")
        .args(["-n", "-r"])
        .arg(&path)
        .args(["-o", "rtp.heuristic_rtp:TRUE", "--enable-heuristic", "rtp_udp"])
        .args(["-T", "fields", "-e", "rtp.ssrc", "-e", "rtp.seq"])
        .output();
    let _ = std::fs::remove_file(&path);
    let Ok(shown) = shown else { return };
    let shown = String::from_utf8(shown.stdout).expect("text");
    let wanted = ours.iter().map(|packet| {
        let rtp = packet.rtp();
        let seq = u16::from_be_bytes([rtp[2], rtp[3]]);
        format!("0x{:08x}\t{seq}", packet.ssrc())
    });
    assert_eq!(shown.lines().collect::<Vec<_>>(), wanted.collect::<Vec<_>>());
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
    with_tshark(&file, &packets);

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
