use std::io::IoSliceMut;
use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};

use super::*;

fn transmit(destination: SocketAddr, size: usize, fill: u8) -> Transmit {
    let local = (Ipv4Addr::LOCALHOST, 1).into();
    Transmit { local, destination, contents: vec![fill; size] }
}

/// A receiver that waits for what comes, and tells from where it came.
struct Receiver(UdpSocket);

impl Receiver {
    fn bind(ip: IpAddr) -> Self {
        let socket = UdpSocket::bind((ip, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Self(socket)
    }

    fn addr(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    fn next(&self) -> (Vec<u8>, IpAddr) {
        let mut buffer = [0; 2_048];
        let (length, source) = self.0.recv_from(&mut buffer).unwrap();
        (buffer[..length].to_vec(), source.ip())
    }
}

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V4_OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 7));

fn send(
    batch: &mut Batch,
    socket: &UdpSocket,
    transmits: &[Transmit],
    lengths: &[usize],
    source: Option<IpAddr>,
) -> io::Result<usize> {
    batch.send(socket.as_fd(), transmits, lengths, |one| (one.destination, source))
}

#[test]
fn groups_and_singles_arrive_whole_and_in_order() {
    let socket = UdpSocket::bind((V4, 0)).unwrap();
    let (a, b) = (Receiver::bind(V4), Receiver::bind(V4));
    let mut transmits: Vec<Transmit> = (0..3).map(|n| transmit(a.addr(), 1_000, n)).collect();
    transmits.push(transmit(a.addr(), 70, 3));
    transmits.push(transmit(b.addr(), 90, 4));
    transmits.push(transmit(a.addr(), 1_100, 5));
    let mut batch = Batch::new();
    assert_eq!(send(&mut batch, &socket, &transmits, &[4, 1, 1], None).unwrap(), 3);
    for n in [0, 1, 2, 3, 5] {
        let (bytes, _) = a.next();
        assert_eq!((bytes.len(), bytes[0]), (transmits[usize::from(n)].contents.len(), n));
    }
    assert_eq!(b.next(), (vec![4; 90], V4));
}

#[test]
fn each_message_leaves_from_its_own_address() {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    let receiver = Receiver::bind(V4);
    let transmits = [0, 1, 2].map(|n| transmit(receiver.addr(), 100, n));
    let source = |one: &Transmit| (one.contents[0] != 1).then_some(V4_OTHER);
    let sent = Batch::new()
        .send(socket.as_fd(), &transmits, &[1, 1, 1], |one| (one.destination, source(one)));
    assert_eq!(sent.unwrap(), 3);
    assert_eq!([(); 3].map(|()| receiver.next().1), [V4_OTHER, V4, V4_OTHER]);
}

/// One socket for both families, as `::` is bound.
#[test]
fn a_wildcard_socket_sends_in_both_families_in_one_call() {
    let v6: IpAddr = Ipv6Addr::LOCALHOST.into();
    let Ok(socket) = UdpSocket::bind("[::]:0") else { return };
    if UdpSocket::bind((v6, 0)).is_err() {
        return;
    }
    let (four, six) = (Receiver::bind(V4), Receiver::bind(v6));
    let transmits = [
        transmit(four.addr(), 100, 0),
        transmit(four.addr(), 100, 0),
        transmit(six.addr(), 100, 1),
        transmit(six.addr(), 100, 1),
        transmit(six.addr(), 200, 1),
    ];
    let sent =
        Batch::new().send(socket.as_fd(), &transmits, &[2, 2, 1], |one| match one.destination {
            SocketAddr::V4(to) => ((to.ip().to_ipv6_mapped(), to.port()).into(), Some(V4_OTHER)),
            SocketAddr::V6(_) => (one.destination, Some(v6)),
        });
    assert_eq!(sent.unwrap(), 3);
    assert_eq!([four.next(), four.next()], [(vec![0; 100], V4_OTHER), (vec![0; 100], V4_OTHER)]);
    assert_eq!([six.next(), six.next()], [(vec![1; 100], v6), (vec![1; 100], v6)]);
    assert_eq!(six.next(), (vec![1; 200], v6));
}

/// As quinn-udp has it with `ecn: None`.
#[test]
fn nothing_is_marked_for_congestion() {
    let socket = UdpSocket::bind((V4, 0)).unwrap();
    let receiver = UdpSocket::bind((V4, 0)).unwrap();
    let state = UdpSocketState::new(UdpSockRef::from(&receiver)).unwrap();
    let transmits = [transmit(receiver.local_addr().unwrap(), 100, 0)];
    assert_eq!(send(&mut Batch::new(), &socket, &transmits, &[1], None).unwrap(), 1);
    let (mut buffer, mut metas) = ([0; 2_048], [RecvMeta::default()]);
    // Loopback has delivered it within the sending call.
    let mut buffers = [IoSliceMut::new(&mut buffer)];
    state.recv(UdpSockRef::from(&receiver), &mut buffers, &mut metas).unwrap();
    assert_eq!((metas[0].len, metas[0].ecn), (100, None));
}

/// EACCES (a broadcast address) and EMSGSIZE: nothing after it is taken, and the next call says why.
#[test]
fn an_error_ends_a_call_before_its_group() {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    let receiver = Receiver::bind(V4);
    let broadcast = SocketAddr::from((Ipv4Addr::BROADCAST, 9));
    for bad in [transmit(broadcast, 100, 1), transmit(receiver.addr(), 70_000, 1)] {
        let transmits = [transmit(receiver.addr(), 100, 0), bad, transmit(receiver.addr(), 100, 2)];
        let mut batch = Batch::new();
        assert_eq!(send(&mut batch, &socket, &transmits, &[1, 1, 1], None).unwrap(), 1);
        let refused = send(&mut batch, &socket, &transmits[1..], &[1, 1], None).unwrap_err();
        let codes = [libc::EACCES, libc::EMSGSIZE];
        assert!(refused.raw_os_error().is_some_and(|code| codes.contains(&code)), "{refused}");
        assert_eq!(send(&mut batch, &socket, &transmits[2..], &[1], None).unwrap(), 1);
        assert_eq!([receiver.next().0[0], receiver.next().0[0]], [0, 2]);
    }
}

#[test]
fn a_full_call_needs_no_memory_anew() {
    let socket = UdpSocket::bind((V4, 0)).unwrap();
    let receiver = Receiver::bind(V4);
    let transmits: Vec<Transmit> =
        (0..GROUPS_MAX).map(|_| transmit(receiver.addr(), 10, 0)).collect();
    let mut batch = Batch::new();
    let places = |batch: &Batch| {
        let Batch { names, slices, controls, headers } = batch;
        [
            names.as_ptr().addr(),
            slices.as_ptr().addr(),
            controls.as_ptr().addr(),
            headers.as_ptr().addr(),
        ]
    };
    let before = places(&batch);
    for _ in 0..3 {
        let sent = send(&mut batch, &socket, &transmits, &[1; GROUPS_MAX], Some(V4));
        assert_eq!(sent.unwrap(), GROUPS_MAX);
    }
    assert_eq!(places(&batch), before);
}
