//! A server with two interfaces, each with IPv4 and IPv6, and a client who is beyond both: in network
//! namespaces of their own.

use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::mpsc;

use nix::sched::{CloneFlags, unshare};

use super::media::start;
use super::peer::{Peer, drive, socket};
use super::*;

/// The server's addresses, and the client's on the same links.
const OURS: [&str; 4] = ["10.77.1.1", "10.77.2.1", "fd77:1::1", "fd77:2::1"];
const THEIRS: [&str; 4] = ["10.77.1.2", "10.77.2.2", "fd77:1::2", "fd77:2::2"];

fn ip(args: &str) {
    let status = Command::new("ip").args(args.split(' ')).status().unwrap();
    assert!(status.success(), "ip {args}");
}

fn set_up(device: &str, addresses: [&str; 2]) {
    ip(&format!("addr add {}/24 dev {device}", addresses[0]));
    ip(&format!("addr add {}/64 dev {device} nodad", addresses[1]));
    ip(&format!("link set {device} up"));
}

/// The client's side: a thread in a namespace of its own makes its sockets, which stay there.
struct Elsewhere {
    ask: mpsc::Sender<IpAddr>,
    made: mpsc::Receiver<[UdpSocket; 2]>,
}

impl Elsewhere {
    fn new() -> Self {
        let (ask, asked) = mpsc::channel::<IpAddr>();
        let (make, made) = mpsc::channel();
        let (there, is_there) = mpsc::channel();
        let (linked, is_linked) = mpsc::channel();
        std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            let thread = std::fs::read_link("/proc/thread-self").unwrap();
            there.send(thread.file_name().unwrap().to_str().unwrap().to_owned()).unwrap();
            is_linked.recv().unwrap();
            set_up("a1", [THEIRS[0], THEIRS[2]]);
            set_up("b1", [THEIRS[1], THEIRS[3]]);
            make.send([(); 2].map(|()| socket([0, 0, 0, 0].into()))).unwrap();
            for bind in asked {
                make.send([(); 2].map(|()| socket(bind))).unwrap();
            }
        });
        let thread = is_there.recv().unwrap();
        for (ours, theirs) in [("a0", "a1"), ("b0", "b1")] {
            ip(&format!("link add {ours} type veth peer name {theirs} netns {thread}"));
        }
        set_up("a0", [OURS[0], OURS[2]]);
        set_up("b0", [OURS[1], OURS[3]]);
        linked.send(()).unwrap();
        made.recv().unwrap();
        Self { ask, made }
    }

    fn sockets(&self, bind: &str) -> [UdpSocket; 2] {
        self.ask.send(bind.parse().unwrap()).unwrap();
        self.made.recv().unwrap()
    }
}

/// Two who send from `from` to `target`, whatever they are told.
async fn reach(elsewhere: &Elsewhere, handle: &Handle, from: &str, target: &str) {
    let target: IpAddr = target.parse().unwrap();
    let room = handle.new_room();
    let mut peers = Vec::new();
    for _ in 0..2 {
        let participant = handle.new_participant();
        let sockets = elsewhere.sockets(from);
        let (mut peer, request) = Peer::with_sockets(sockets, participant, true, 1);
        let port = handle.media_addresses()[0].port();
        peer.nat = Some(SocketAddr::new(target, port));
        assert_eq!(peer.join(handle, room, request).await.room, room);
        peers.push(peer);
    }
    let what = format!("media from {from} to {target} and back");
    drive(&mut peers, &what, |p| p.iter().all(|p| p.seen().len() == 1)).await;
    for peer in &peers {
        let from: Vec<IpAddr> = peer.heard_from.iter().map(SocketAddr::ip).collect();
        assert_eq!(from, [target], "{what}: answers from where it was sent to");
    }
}

/// Set in the namespace.
const INSIDE: &str = "CONVOKE_IN_A_NAMESPACE";

#[tokio::test]
async fn a_wildcard_serves_every_address_of_two_interfaces_and_answers_from_it() {
    if std::env::var_os(INSIDE).is_some() {
        return in_a_namespace().await;
    }
    let in_namespace = || {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--net"]).env(INSIDE, "1");
        command
    };
    if !in_namespace().arg("true").status().is_ok_and(|status| status.success()) {
        return eprintln!("no network namespaces here: not tested");
    }
    let name = "a_wildcard_serves_every_address_of_two_interfaces_and_answers_from_it";
    let args = ["--exact".to_owned(), format!("tests::interfaces::{name}")];
    let done = in_namespace().arg(std::env::current_exe().unwrap()).args(args).output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && said.contains("1 passed"), "{said}");
}

async fn in_a_namespace() {
    let elsewhere = Elsewhere::new();
    let advertise = OURS.map(|ip| ip.parse().unwrap()).to_vec();
    let config = NodeConfig { bind: vec![Ipv6Addr::UNSPECIFIED.into()], advertise, ..config(1) };
    let (_node, handle, _) = start(config).await;
    assert_eq!(handle.media_addresses().len(), OURS.len());
    for (number, target) in OURS.iter().enumerate() {
        // By the link of the address, and by the other one, where the kernel by itself would answer from
        // the other address.
        let family = number - number % 2;
        for from in &THEIRS[family..family + 2] {
            reach(&elsewhere, &handle, from, target).await;
        }
    }
}
