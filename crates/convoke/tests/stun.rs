//! `media.stun_server` through the binary: what the server says is in answers, and a server that says nothing
//! keeps nobody from joining.

mod common;

use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use common::call::{DevServer, GROUP};
use common::{get, http};
use convoke::protocol::Source;
use convoke_client::media::{MediaConfig, MediaPeer, SendLine};
use stun_types::attribute::XorMappedAddress;
use stun_types::message::{Message, MessageWrite, MessageWriteExt, MessageWriteVec};

/// A server on loopback that sees everybody at 203.0.113.7, with their own port or with this one; a silent one
/// where `port` is `None`. It ends with the test.
fn server(port: Option<fn(u16) -> u16>) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("an address");
    thread::spawn(move || {
        let mut buffer = [0; 1_500];
        while let Ok((len, source)) = socket.recv_from(&mut buffer) {
            let Some(port) = port else { continue };
            let request = Message::from_bytes(&buffer[..len]).expect("STUN");
            let mut reply = Message::builder_success(&request, MessageWriteVec::new());
            let seen = SocketAddr::from(([203, 0, 113, 7], port(source.port())));
            let seen = XorMappedAddress::new(seen, request.transaction_id());
            reply.add_attribute(&seen).expect("room");
            socket.send_to(&reply.finish(), source).expect("sent");
        }
    });
    address
}

fn start(stun: SocketAddr) -> DevServer {
    let stun = stun.to_string();
    DevServer::start(&[("CONVOKE__MEDIA__STUN_SERVER", &stun), ("CONVOKE__MEDIA__WORKERS", "1")])
}

/// The addresses of the candidates that somebody is told who joins by WHIP.
fn told(server: &DevServer) -> Vec<String> {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 9));
    let mut config = MediaConfig::new(nowhere, nowhere);
    config.send = vec![SendLine::new(Source::Microphone)];
    let (_media, offers) = MediaPeer::new(config, 1, Instant::now()).expect("a peer");
    let bearer = format!("Bearer {}", server.token("8:acs:someone"));
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/sdp")];
    let url = format!("{}whip/{GROUP}", server.url);
    let (status, answer) = http("POST", &url, &headers, &offers.send.expect("an offer"));
    assert_eq!(status, 201, "{answer}");
    let candidates = answer.lines().filter_map(|line| line.strip_prefix("a=candidate:"));
    candidates.filter_map(|line| Some(line.split(' ').nth(4)?.to_owned())).collect()
}

/// The value of a metric, once it is there.
#[track_caller]
fn eventually(server: &DevServer, line: &str) {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let (_, page) = get(&server.metrics_url);
        if page.lines().any(|one| one == line) {
            return;
        }
        assert!(Instant::now() < end, "{line}: {page}");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn clients_are_told_what_the_server_sees() {
    let server = start(server(Some(|port| port)));
    assert_eq!(told(&server), ["127.0.0.1", "203.0.113.7"]);
    eventually(&server, "convoke_stun_addresses 1");
    eventually(&server, "convoke_stun_requests_total{outcome=\"answered\"} 1");
    eventually(&server, "convoke_stun_addresses_remapped 0");
    assert!(server.process.log().contains("203.0.113.7"), "{}", server.process.log());
}

#[test]
fn another_port_is_warned_of() {
    let server = start(server(Some(|_| 51_234)));
    assert_eq!(told(&server), ["127.0.0.1", "203.0.113.7"]);
    eventually(&server, "convoke_stun_addresses_remapped 1");
    let log = server.process.log();
    assert!(log.contains("203.0.113.7:51234") && log.contains("another port"), "{log}");
}

#[test]
fn a_silent_server_is_warned_of_and_keeps_nobody_from_joining() {
    let server = start(server(None));
    assert_eq!(told(&server), ["127.0.0.1"]);
    assert_eq!(get(&format!("{}readyz", server.url)).0, 200);
    eventually(&server, "convoke_stun_requests_total{outcome=\"unanswered\"} 1");
    let log = server.process.log();
    assert!(log.contains("WARN") && log.contains("media.stun_server"), "{log}");
}
