//! A STUN server on loopback says what a NAT would have made of us.

use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc;
use std::thread::JoinHandle;

use stun_types::attribute::XorMappedAddress;
use stun_types::message::{Message, MessageWrite, MessageWriteExt, MessageWriteVec};

use super::media::{call, start};
use super::peer::{Peer, drive};
use super::*;
use crate::{StunConfig, StunStats, TcpConfig};

/// What a server does with a request from there.
type Answer = dyn FnMut(&UdpSocket, &[u8], SocketAddr) + Send;

/// Answers until it is dropped.
struct Server {
    address: SocketAddr,
    _stop: mpsc::Sender<()>,
    _thread: JoinHandle<()>,
}

impl Server {
    fn new(bind: IpAddr, mut answer: Box<Answer>) -> Self {
        let socket = UdpSocket::bind((bind, 0)).unwrap();
        let address = socket.local_addr().unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 1_500];
            while stopped.try_recv() != Err(mpsc::TryRecvError::Disconnected) {
                if let Ok((len, source)) = socket.recv_from(&mut buffer) {
                    answer(&socket, &buffer[..len], source);
                }
            }
        });
        Self { address, _stop: stop, _thread: thread }
    }

    /// One that sees everybody at `ip`, with their own port.
    fn seeing(bind: IpAddr, ip: &str) -> Self {
        let ip: IpAddr = ip.parse().unwrap();
        Self::new(
            bind,
            Box::new(move |socket, request, source| {
                let seen = SocketAddr::new(ip, source.port());
                socket.send_to(&reply(request, seen), source).unwrap();
            }),
        )
    }

    fn config(&self, workers: usize) -> NodeConfig {
        let stun = StunConfig::new(self.address.ip().to_string(), self.address.port());
        NodeConfig { stun: Some(stun), ..config(workers) }
    }
}

fn reply(request: &[u8], seen: SocketAddr) -> Vec<u8> {
    let request = Message::from_bytes(request).unwrap();
    let mut message = Message::builder_success(&request, MessageWriteVec::new());
    let seen = XorMappedAddress::new(seen, request.transaction_id());
    message.add_attribute(&seen).unwrap();
    message.finish()
}

/// The candidates that somebody who joins now is told, without their foundations.
async fn told(handle: &Handle) -> Vec<String> {
    let (_, request) = Peer::new("127.0.0.1", handle.new_participant(), false, 1);
    let joined = handle.join(handle.new_room(), request).await.unwrap();
    let answer = joined.receive_answer.unwrap();
    let lines = answer.lines().filter_map(|line| line.strip_prefix("a=candidate:"));
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    lines.map(words).map(|w| format!("{} {} {}", w[2], w[4], w[5])).collect()
}

#[tokio::test]
async fn what_the_server_sees_is_told_beside_our_own_and_media_flows() {
    let server = Server::seeing(LOOPBACK, "203.0.113.7");
    let mut config = server.config(2);
    config.tcp = Some(TcpConfig::new(SocketAddr::new(LOOPBACK, 0)));
    let (_node, handle, room) = start(config).await;
    // Of both workers, whichever the room is on.
    let alike = StunStats { outcomes: [1, 0, 0, 0], addresses: 1, remapped: 0 };
    eventually(&handle, "each socket asks", |s| s.iter().all(|one| one.stun == alike)).await;
    let (own, tcp) = (handle.media_addresses(), handle.tcp_addresses()[0].port());
    let told = told(&handle).await;
    let port =
        own.iter().map(SocketAddr::port).find(|p| told[0].ends_with(&p.to_string())).unwrap();
    let want = [
        format!("udp 127.0.0.1 {port}"),
        format!("tcp 127.0.0.1 {tcp}"),
        format!("udp 203.0.113.7 {port}"),
        format!("tcp 203.0.113.7 {tcp}"),
    ];
    assert_eq!(told, want);
    let mut peers = call(&handle, room, 2, "127.0.0.1").await;
    drive(&mut peers, "both see each other", |p| p.iter().all(|p| p.seen().len() == 1)).await;
}

#[tokio::test]
async fn of_ipv6_too_and_on_a_wildcard_without_anything_configured() {
    let server = Server::seeing(LOOPBACK, "203.0.113.7");
    let config = NodeConfig { bind: vec![Ipv4Addr::UNSPECIFIED.into()], ..server.config(1) };
    let (_node, handle, _) = start(config).await;
    let port = handle.media_addresses()[0].port();
    let want = ["127.0.0.1", "203.0.113.7"].map(|ip| format!("udp {ip} {port}"));
    assert_eq!(told(&handle).await, want, "first the address that leads to the server");

    let ipv6 = std::net::Ipv6Addr::LOCALHOST;
    if UdpSocket::bind((ipv6, 0)).is_err() {
        return;
    }
    let server = Server::seeing(ipv6.into(), "2001:db8::7");
    let config = NodeConfig {
        bind: vec![std::net::Ipv6Addr::UNSPECIFIED.into()],
        advertise: vec![LOOPBACK, ipv6.into()],
        ..server.config(1)
    };
    let (_node, handle, _) = start(config).await;
    let port = handle.media_addresses()[0].port();
    let want = ["127.0.0.1", "::1", "2001:db8::7"].map(|ip| format!("udp {ip} {port}"));
    let mut told = told(&handle).await;
    told.sort();
    let mut want = want.to_vec();
    want.sort();
    assert_eq!(told, want);
}

#[tokio::test]
async fn a_silent_server_does_not_keep_a_node_from_starting() {
    let server = Server::new(LOOPBACK, Box::new(|_, _, _| {}));
    let began = Instant::now();
    let (_node, handle, _) = start(server.config(1)).await;
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    let port = handle.media_addresses()[0].port();
    assert_eq!(told(&handle).await, [format!("udp 127.0.0.1 {port}")]);
    eventually(&handle, "it is given up, and counted", |s| s[0].stun.outcomes == [0, 1, 0, 0])
        .await;
}

#[tokio::test]
async fn forged_answers_are_told_to_nobody() {
    let forged: SocketAddr = "198.51.100.66:9".parse().unwrap();
    let stranger = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    let mut requests = 0;
    let answer = move |socket: &UdpSocket, request: &[u8], source: SocketAddr| {
        requests += 1;
        // Who sees the request but cannot send from the server's address, and who can but does not see it.
        stranger.send_to(&reply(request, forged), source).unwrap();
        let mut blind = reply(request, forged);
        for guess in 0..50 {
            blind[8..20].fill(guess);
            socket.send_to(&blind, source).unwrap();
        }
        if requests > 1 {
            let seen = SocketAddr::new([203, 0, 113, 7].into(), source.port());
            socket.send_to(&reply(request, seen), source).unwrap();
        }
    };
    let server = Server::new(LOOPBACK, Box::new(answer));
    let (_node, handle, _) = start(server.config(1)).await;
    let port = handle.media_addresses()[0].port();
    let want = ["127.0.0.1", "203.0.113.7"].map(|ip| format!("udp {ip} {port}"));
    assert_eq!(told(&handle).await, want);
    let drops = |s: &crate::WorkerStats| s.core.drops.iter().sum::<u64>();
    eventually(&handle, "what is forged is a stranger's datagram", |s| drops(&s[0]) >= 100).await;
}
