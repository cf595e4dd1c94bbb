//! UDP sockets of callers: buffers, batches, offload.
//!
//! Owns: every system call on the way of a caller's packet.
//! Never: knows what a datagram means.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};

use mio::net::UdpSocket;
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};

/// The largest that a buffer must take: several datagrams joined by the kernel.
const BUFFER_BYTES: usize = 64 * 1024;
/// Bytes of datagrams that leave in one call.
const JOINED_MAX: usize = 60_000;

/// Asks for a socket whose kernel buffers have this size; the kernel may give less.
pub(crate) fn bind(ip: IpAddr, buffer: usize) -> io::Result<std::net::UdpSocket> {
    let address = SocketAddr::new(ip, 0);
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.set_recv_buffer_size(buffer)?;
    socket.set_send_buffer_size(buffer)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// One socket of a caller.
#[derive(Debug)]
pub(super) struct CallerSocket {
    pub(super) socket: UdpSocket,
    state: UdpSocketState,
    pub(super) local: SocketAddr,
}

impl CallerSocket {
    pub(super) fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        let local = socket.local_addr()?;
        Ok(Self { socket: UdpSocket::from_std(socket), state, local })
    }

    /// Sends datagrams of one size (the last may be shorter) to one destination; gives how many
    /// the kernel did not take.
    fn send_run(&self, destination: SocketAddr, run: &[u8], segment: Option<usize>) -> u64 {
        let transmit =
            Transmit { destination, ecn: None, contents: run, segment_size: segment, src_ip: None };
        let sent = self.state.try_send(UdpSockRef::from(&self.socket), &transmit);
        let count = segment.map_or(1, |size| run.len().div_ceil(size.max(1)));
        if sent.is_ok() { 0 } else { count as u64 }
    }
}

/// Datagrams of one turn, joined where they may be.
#[derive(Debug, Default)]
pub(super) struct Sender {
    run: Vec<u8>,
    /// Destination and size of the run's datagrams.
    of: Option<(SocketAddr, usize)>,
    /// The run has a shorter datagram at its end: nothing may follow.
    closed: bool,
    count: usize,
    /// Datagrams that the kernel did not take.
    pub(super) unsent: u64,
}

impl Sender {
    /// Sends a datagram, perhaps together with those that follow.
    pub(super) fn push(&mut self, socket: &CallerSocket, destination: SocketAddr, bytes: &[u8]) {
        let joins = self.of.is_some_and(|(to, size)| {
            to == destination
                && bytes.len() <= size
                && !self.closed
                && self.count < socket.state.max_gso_segments()
                && self.run.len() + bytes.len() <= JOINED_MAX
        });
        if !joins {
            self.flush(socket);
            self.of = Some((destination, bytes.len()));
        }
        self.closed |= self.of.is_some_and(|(_, size)| bytes.len() < size);
        self.run.extend_from_slice(bytes);
        self.count += 1;
    }

    /// Sends what is left.
    pub(super) fn flush(&mut self, socket: &CallerSocket) {
        if let Some((destination, size)) = self.of.take() {
            let segment = (self.count > 1).then_some(size);
            self.unsent += socket.send_run(destination, &self.run, segment);
        }
        self.run.clear();
        self.closed = false;
        self.count = 0;
    }
}

/// Buffers for receiving, shared by all sockets of a thread.
#[derive(Debug)]
pub(super) struct Batch {
    memory: Vec<u8>,
    metas: [RecvMeta; BATCH_SIZE],
}

impl Batch {
    pub(super) fn new() -> Self {
        Self {
            memory: vec![0; BUFFER_BYTES * BATCH_SIZE],
            metas: [RecvMeta::default(); BATCH_SIZE],
        }
    }

    /// Reads once and hands each datagram on; `false` when the socket is empty: fewer came than
    /// there is room for, and the poller tells of those that come from now on.
    pub(super) fn read(
        &mut self,
        socket: &CallerSocket,
        mut each: impl FnMut(SocketAddr, &[u8]),
    ) -> bool {
        let mut chunks = self.memory.chunks_exact_mut(BUFFER_BYTES);
        let mut buffers: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
        let socket_ref = UdpSockRef::from(&socket.socket);
        let filled = match socket.state.recv(socket_ref, &mut buffers, &mut self.metas) {
            Ok(filled) => filled,
            // Other errors are about datagrams sent before; the next read goes on.
            Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
        };
        let chunks = self.memory.chunks_exact(BUFFER_BYTES);
        for (meta, buffer) in self.metas.iter().zip(chunks).take(filled) {
            let joined = buffer.get(..meta.len).unwrap_or_default();
            joined.chunks(meta.stride.max(1)).for_each(|datagram| each(meta.addr, datagram));
        }
        filled == BATCH_SIZE
    }
}
