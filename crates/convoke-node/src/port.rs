//! A UDP port of a worker's: socket, receive batch, addresses, send queue.
//!
//! Owns: every system call on the way of a packet.
//! Never: knows what the datagrams mean; logs about one of them.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
#[cfg(target_os = "linux")]
use std::os::fd::AsFd;
use std::task::{Context, Poll};
use std::time::Instant;

use convoke_core::{Input, Outbox, Transmit, Worker};
use quinn_udp::{UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::Interest;

use crate::addresses::AddressMap;
#[cfg(target_os = "linux")]
use crate::mmsg::Batch;
use crate::receive::ReceiveBatch;
use crate::send::{SendCounts, SendQueue, Sink};
use crate::stun::Asker;

/// A bound socket that is not yet in a runtime.
#[derive(Debug)]
pub(crate) struct BoundPort {
    socket: UdpSocket,
    addresses: AddressMap,
}

/// What the kernel granted of the asked-for buffers, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Buffers {
    pub(crate) receive: usize,
    pub(crate) send: usize,
}

impl BoundPort {
    /// Binds `addr` and no other: a port in use is an error (`SO_REUSEADDR` stays off).
    pub(crate) fn bind(addr: SocketAddr, told: &[IpAddr]) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
        if addr.is_ipv6() {
            // `::` hears IPv4 too.
            socket.set_only_v6(!addr.ip().is_unspecified())?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&addr.into())?;
        let socket = UdpSocket::from(socket);
        let addresses = AddressMap::new(socket.local_addr()?, told);
        Ok(Self { socket, addresses })
    }

    /// Asks for buffers of `bytes` and says what was granted.
    pub(crate) fn ask_for_buffers(&self, bytes: usize) -> io::Result<Buffers> {
        let socket = SockRef::from(&self.socket);
        socket.set_recv_buffer_size(bytes)?;
        socket.set_send_buffer_size(bytes)?;
        // Linux reports twice what it grants: socket(7).
        let share = if cfg!(target_os = "linux") { 2 } else { 1 };
        Ok(Buffers {
            receive: socket.recv_buffer_size()? / share,
            send: socket.send_buffer_size()? / share,
        })
    }

    /// The port number.
    pub(crate) fn number(&self) -> u16 {
        self.addresses.port()
    }

    /// The advertised addresses.
    pub(crate) fn candidates(&self) -> Vec<SocketAddr> {
        self.addresses.candidates()
    }

    /// What a NAT is asked about: see [`AddressMap::asks`].
    pub(crate) fn asks(&self) -> Vec<SocketAddr> {
        self.addresses.asks()
    }

    /// Enters the current runtime.
    pub(crate) fn open(self, send_queue: usize) -> io::Result<Port> {
        let state = UdpSocketState::new(UdpSockRef::from(&self.socket))?;
        let socket = tokio::net::UdpSocket::from_std(self.socket)?;
        Ok(Port {
            wire: Wire {
                socket,
                state,
                addresses: self.addresses,
                #[cfg(target_os = "linux")]
                batch: Some(Batch::new()),
            },
            batch: ReceiveBatch::new(),
            queue: SendQueue::new(send_queue),
            receive_calls: 0,
            receive_drops: 0,
        })
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Port {
    wire: Wire,
    batch: ReceiveBatch,
    queue: SendQueue,
    receive_calls: u64,
    receive_drops: u64,
}

impl Port {
    /// Waits until there is something to do here.
    pub(crate) async fn ready(&self) -> io::Result<()> {
        let interest = match self.queue.waits() {
            true => Interest::READABLE | Interest::WRITABLE,
            false => Interest::READABLE,
        };
        self.wire.socket.ready(interest).await.map(|_| ())
    }

    /// The same, for who waits for several.
    pub(crate) fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        let socket = &self.wire.socket;
        let readable = socket.poll_recv_ready(context).is_ready();
        let writable = self.queue.waits() && socket.poll_send_ready(context).is_ready();
        if readable || writable { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Whether received datagrams wait for the next turn.
    pub(crate) fn has_received(&self) -> bool {
        !self.batch.is_empty()
    }

    /// Whether datagrams wait for the kernel.
    pub(crate) fn has_unsent(&self) -> bool {
        self.queue.waits()
    }

    /// Hands received datagrams to the core, at most `limit`, but for the answers that `stun` waits for. `true`
    /// when those were all.
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        limit: usize,
        stun: &mut Option<Asker>,
        core: &mut Worker,
        out: &mut Outbox,
    ) -> bool {
        let mut handled = 0;
        while handled < limit {
            let Some(datagram) = self.batch.next() else {
                if self.refill().is_err() {
                    return true;
                }
                continue;
            };
            handled += 1;
            let (source, bytes) = (datagram.source, datagram.bytes);
            if stun.as_mut().is_some_and(|stun| stun.answered(now, source, bytes)) {
                continue;
            }
            let arrived = self.wire.addresses.arrived(source, datagram.destination);
            let Some(local) = arrived else {
                self.receive_drops += 1;
                continue;
            };
            let input = Input::Datagram { source, local, bytes };
            core.handle(now, input, out);
        }
        false
    }

    /// An error, would-block above all, ends the reading of this turn.
    fn refill(&mut self) -> io::Result<()> {
        let Wire { socket, state, .. } = &self.wire;
        let calls = &mut self.receive_calls;
        let perhaps_more = self.batch.refill(|buffers, metas| {
            socket.try_io(Interest::READABLE, || {
                *calls += 1;
                state.recv(UdpSockRef::from(socket), buffers, metas)
            })
        })?;
        if !perhaps_more {
            // The socket is drained: saying so saves the call that would find it empty. At once,
            // as a datagram that comes from now on is reported by the poller anew.
            let drained: io::Result<()> =
                socket.try_io(Interest::READABLE, || Err(io::ErrorKind::WouldBlock.into()));
            debug_assert!(drained.is_err());
        }
        Ok(())
    }

    /// Sends; leaves `transmits` empty.
    pub(crate) fn flush(&mut self, transmits: &mut Vec<Transmit>) {
        self.queue.flush(&mut self.wire, transmits);
    }

    /// Send counters so far.
    pub(crate) fn send_counts(&self) -> SendCounts {
        self.queue.counts()
    }

    /// Receive calls so far, and datagrams that could not be answered and were dropped.
    pub(crate) fn receive_counts(&self) -> (u64, u64) {
        (self.receive_calls, self.receive_drops)
    }
}

#[derive(Debug)]
struct Wire {
    socket: tokio::net::UdpSocket,
    state: UdpSocketState,
    addresses: AddressMap,
    /// `None` where the kernel says that it has no such call.
    #[cfg(target_os = "linux")]
    batch: Option<Batch>,
}

impl Sink for Wire {
    fn segments_max(&self) -> usize {
        self.state.max_gso_segments()
    }

    #[cfg(target_os = "linux")]
    fn takes_groups(&self) -> bool {
        self.batch.is_some()
    }

    #[cfg(target_os = "linux")]
    fn send_groups(&mut self, transmits: &[Transmit], lengths: &[usize]) -> io::Result<usize> {
        let Some(batch) = &mut self.batch else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let addresses = &self.addresses;
        let sent = self.socket.try_io(Interest::WRITABLE, || {
            batch.send(self.socket.as_fd(), transmits, lengths, |transmit| {
                let Transmit { local, destination, .. } = transmit;
                let source = addresses.source_ip(*local, destination);
                (addresses.for_socket(*destination), source)
            })
        });
        // Also how a sandbox refuses a system call that it does not know.
        if sent.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::Unsupported) {
            tracing::info!("no sendmmsg here: each group of datagrams takes a system call");
            self.batch = None;
        }
        sent
    }

    #[cfg(not(target_os = "linux"))]
    fn takes_groups(&self) -> bool {
        false
    }

    #[cfg(not(target_os = "linux"))]
    fn send_groups(&mut self, _: &[Transmit], _: &[usize]) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn send(
        &mut self,
        local: SocketAddr,
        destination: SocketAddr,
        contents: &[u8],
        segment: Option<usize>,
    ) -> io::Result<()> {
        let transmit = quinn_udp::Transmit {
            destination: self.addresses.for_socket(destination),
            ecn: None,
            contents,
            segment_size: segment,
            src_ip: self.addresses.source_ip(local, &destination),
        };
        self.socket.try_io(Interest::WRITABLE, || {
            self.state.try_send(UdpSockRef::from(&self.socket), &transmit)
        })
    }
}
