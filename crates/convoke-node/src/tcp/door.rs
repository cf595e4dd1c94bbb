//! Where connections come in: one thread for all of a node's.
//!
//! Owns: the listener, how many connections there may be in all and from one address, and the first
//! frame of each, which says which worker it is for.
//! Never: believes that frame; answers a stranger; has to do with a connection after that.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use bytes::BytesMut;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument as _, Span};

use super::{Accepted, Ends, Framing, Incoming, Shared, Tcp, TcpEnd};
use crate::addresses::{AddressMap, from_socket};
use crate::config::TcpConfig;
use crate::node::{Ready, RunningThread};
use crate::worker_loop::Stop;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1_024;
/// The wait after a failure that concerns no single client, such as too many open files.
const PAUSE: Duration = Duration::from_millis(200);
/// A peer that is silent for so long is asked by the kernel whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// And again, three times in all: a connection whose client went on by another one is free after that.
const KEEPALIVE_AGAIN: Duration = Duration::from_secs(10);
/// So many bytes may wait in the kernel beside what is under way, so that what a slow peer does not take
/// waits in the connection's own queue, where old media can be dropped.
#[cfg(target_os = "linux")]
const UNSENT_BYTES: u32 = 32 * 1024;

/// A bound listener that is not yet in a runtime.
#[derive(Debug)]
pub(crate) struct BoundDoor {
    listener: std::net::TcpListener,
    addresses: AddressMap,
    tcp: Tcp,
}

impl BoundDoor {
    pub(crate) fn bind(config: TcpConfig, told: &[IpAddr]) -> io::Result<Self> {
        let addr = config.listen;
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        if addr.is_ipv6() {
            // `::` hears IPv4 too.
            socket.set_only_v6(!addr.ip().is_unspecified())?;
        }
        // After a restart connections of before may linger. Another listener is an error all the same.
        #[cfg(unix)]
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        let listener = std::net::TcpListener::from(socket);
        let addresses = AddressMap::new(listener.local_addr()?, told);
        let shared = Arc::new(Shared { config, counters: super::Counters::default() });
        let tcp = Tcp { candidates: addresses.candidates(), shared };
        Ok(Self { listener, addresses, tcp })
    }

    pub(crate) fn tcp(&self) -> Tcp {
        self.tcp.clone()
    }

    /// Starts the thread; `inlets` are those of the workers, by index.
    pub(crate) fn start(
        self,
        inlets: Vec<mpsc::Sender<Incoming>>,
        stop: watch::Receiver<Stop>,
        span: Span,
    ) -> io::Result<(RunningThread, Ready)> {
        let (ended_sender, ended) = oneshot::channel::<()>();
        let (ready_sender, ready) = oneshot::channel();
        let work = move || {
            let _ended = ended_sender;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let opened = runtime.and_then(|runtime| {
                let guard = runtime.enter();
                let listener = TcpListener::from_std(self.listener)?;
                drop(guard);
                Ok((runtime, listener))
            });
            match opened {
                Ok((runtime, listener)) => {
                    let _ = ready_sender.send(Ok(()));
                    let (shared, seats) = (self.tcp.shared, Arc::default());
                    let door = Door { addresses: self.addresses, shared, seats, inlets };
                    runtime.block_on(door.run(listener, stop).instrument(span));
                }
                Err(e) => drop(ready_sender.send(Err(e))),
            }
        };
        let thread = thread::Builder::new().name("convoke-tcp".to_owned()).spawn(work)?;
        Ok((RunningThread { thread: Some(thread), ended }, ready))
    }
}

struct Door {
    addresses: AddressMap,
    shared: Arc<Shared>,
    seats: Arc<Mutex<Seats>>,
    inlets: Vec<mpsc::Sender<Incoming>>,
}

impl Door {
    async fn run(self, listener: TcpListener, mut stop: watch::Receiver<Stop>) {
        let mut greeted = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => self.admit(stream, from_socket(peer), &mut greeted),
                    Err(error) => pause_after(&error).await,
                },
                Some(_) = greeted.join_next() => {}
                _ = stop.changed() => return,
            }
        }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr, greeted: &mut JoinSet<()>) {
        let (config, counters) = (&self.shared.config, &self.shared.counters);
        let place = match Place::take(&self.seats, &self.shared, config, peer.ip()) {
            Ok(place) => place,
            Err(full) => {
                let [all, address] = &counters.refused;
                let counter = if full == Full::All { all } else { address };
                counter.fetch_add(1, Relaxed);
                return;
            }
        };
        counters.accepted.fetch_add(1, Relaxed);
        let local = stream.local_addr().ok();
        let local = local.and_then(|local| self.addresses.connected(peer, local.ip()));
        let Some(local) = local else { return counters.ended(TcpEnd::Stranger) };
        let greeting = Greeting { ends: Ends { peer, local }, place, inlets: self.inlets.clone() };
        let (shared, deadline) = (Arc::clone(&self.shared), Instant::now() + config.hello_timeout);
        greeted.spawn(async move {
            if let Err(why) = greeting.hear(stream, deadline).await {
                shared.counters.ended(why);
            }
        });
    }
}

/// A connection that has said nothing yet.
struct Greeting {
    ends: Ends,
    place: Place,
    inlets: Vec<mpsc::Sender<Incoming>>,
}

impl Greeting {
    /// Hears its first frame and hands it to the worker that it names.
    async fn hear(self, mut stream: TcpStream, deadline: Instant) -> Result<(), TcpEnd> {
        let mut rest = BytesMut::new();
        let first = timeout_at(deadline, first_frame(&mut stream, &mut rest)).await;
        let (worker, first) = first.map_err(|_| TcpEnd::Silent)??;
        let inlet = self.inlets.get(usize::from(worker)).ok_or(TcpEnd::Stranger)?;
        set_options(&stream);
        let stream = stream.into_std().map_err(|_| TcpEnd::Peer)?;
        let Self { ends, place, .. } = self;
        let accepted = Box::new(Accepted { stream, ends, first, rest, deadline, place });
        let handed = timeout_at(deadline, inlet.send(Incoming::Accepted(accepted))).await;
        match handed {
            Ok(Ok(())) => Ok(()),
            // The worker is gone, or far behind.
            Ok(Err(_)) | Err(_) => Err(TcpEnd::Silent),
        }
    }
}

fn keepalive() -> TcpKeepalive {
    TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE_AGAIN).with_retries(3)
}

/// What they are for is said where they are named. A connection works without them.
fn set_options(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_keepalive(&keepalive());
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_notsent_lowat(UNSENT_BYTES);
}

async fn first_frame(
    stream: &mut TcpStream,
    buffer: &mut BytesMut,
) -> Result<(u8, BytesMut), TcpEnd> {
    let mut framing = Framing::default();
    loop {
        if let Some(first) = framing.first(buffer)? {
            return Ok(first);
        }
        Framing::reserve(buffer);
        match stream.read_buf(buffer).await {
            Ok(0) | Err(_) => return Err(TcpEnd::Peer),
            Ok(_) => {}
        }
    }
}

/// A connection that broke before it was taken is its client's affair; all else passes, or is asked
/// for again in vain.
async fn pause_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        tracing::error!(%error, "media connections are not accepted");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Who has how many connections.
#[derive(Debug, Default)]
struct Seats {
    open: usize,
    by_address: HashMap<IpAddr, usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Full {
    All,
    Address,
}

/// What a connection occupies until it ends.
#[derive(Debug)]
pub(super) struct Place {
    seats: Arc<Mutex<Seats>>,
    shared: Arc<Shared>,
    address: IpAddr,
}

impl Place {
    fn take(
        seats: &Arc<Mutex<Seats>>,
        shared: &Arc<Shared>,
        config: &TcpConfig,
        peer: IpAddr,
    ) -> Result<Self, Full> {
        let address = network(peer);
        let mut held = seats.lock().unwrap_or_else(PoisonError::into_inner);
        if held.open >= config.connections {
            return Err(Full::All);
        }
        let most = config.connections_per_address;
        let of_address = held.by_address.get(&address).copied().unwrap_or(0);
        if most > 0 && of_address >= most {
            return Err(Full::Address);
        }
        held.open += 1;
        held.by_address.insert(address, of_address + 1);
        drop(held);
        shared.counters.open.fetch_add(1, Relaxed);
        Ok(Self { seats: Arc::clone(seats), shared: Arc::clone(shared), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        held.open = held.open.saturating_sub(1);
        if let Some(count) = held.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                held.by_address.remove(&self.address);
            }
        }
        self.shared.counters.open.fetch_sub(1, Relaxed);
    }
}

/// One customer's addresses: of IPv6 a /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_by_address_and_given_back() {
        let (seats, shared) = (Arc::default(), Arc::new(Shared::default()));
        let mut config = TcpConfig::new(([0, 0, 0, 0], 0).into());
        (config.connections, config.connections_per_address) = (3, 2);
        let take = |ip: &str| Place::take(&seats, &shared, &config, ip.parse().unwrap());
        let first = take("2001:db8::1").unwrap();
        let _second = take("2001:db8::2").unwrap();
        assert_eq!(take("2001:db8::3").unwrap_err(), Full::Address, "of the same /64");
        let third = take("10.0.0.1").unwrap();
        assert_eq!(take("10.0.0.2").unwrap_err(), Full::All);
        drop(first);
        let _fourth = take("2001:db8::3").unwrap();
        drop(third);
        assert_eq!(shared.counters.read().open, 2);
        assert_eq!(seats.lock().unwrap().by_address.len(), 1);
    }
}
