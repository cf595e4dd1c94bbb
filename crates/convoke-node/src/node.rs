//! A node: starts the workers and stops them.
//!
//! Owns: [`Node`], the threads and their runtimes.
//! Never: needs a particular runtime of its host; takes part in anything after the start.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::Instant;
use std::{fmt, io};

use convoke_core::WorkerConfig;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::Span;

use crate::binds::{Site, sites, told_by_tcp};
use crate::config::{NodeConfig, TcpConfig};
use crate::desk::Desk;
use crate::error::StartError;
use crate::events::{self, EventSender, Events};
use crate::handle::{Handle, WorkerLink};
use crate::mailbox::{Mail, Mailbox};
use crate::ports::BoundPorts;
use crate::shards::Shards;
use crate::stats::{Meter, StatsBlock};
use crate::stun::Asker;
use crate::tcp::{BoundDoor, Links, Tcp};
use crate::worker_loop::{LoopConfig, Stop, WorkerLoop};

/// A running node. Dropping it stops its workers: everyone is removed, but nobody waits for
/// goodbyes to be heard; [`Node::shutdown`] does.
pub struct Node {
    handle: Handle,
    threads: Threads,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("threads", &self.threads.running.len()).finish()
    }
}

impl Node {
    /// Binds the sockets and starts the workers.
    ///
    /// # Errors
    /// When a socket or thread cannot be had, or no address can be told to clients.
    pub async fn start(config: NodeConfig) -> Result<(Self, Events), StartError> {
        let config = config.bounded();
        let sites = sites(&config)?;
        let ports = bind_all(&config, &sites)?;
        let door = config.tcp.as_ref().map(|tcp| bind_door(tcp, &config, &sites)).transpose()?;
        let tcp = door.as_ref().map(BoundDoor::tcp).unwrap_or_default();
        let node = tracing::info_span!("node", bind = %listed(&config.bind));
        let (sink, events) = events::channel(config.events);
        let mailboxes: Arc<[Mailbox]> =
            ports.iter().map(|_| Mailbox::new(config.relay_queue)).collect();
        let shards = Arc::new(Shards::new(Arc::clone(&mailboxes), config.participants_per_shard));
        let mut threads = Threads::new();
        let mut links = Vec::new();
        let mut started = Vec::new();
        let mut inlets = Vec::new();
        let mut asked = Vec::new();
        for (index, port) in ports.into_iter().enumerate() {
            let addresses = port.candidates();
            let (tcp_links, inlet) = Links::new(&tcp);
            inlets.push(inlet);
            let stun = config.stun.clone().map(|stun| {
                let (asker, over) = Asker::new(stun, port.asks(), &addresses, index == 0);
                asked.push(over);
                asker
            });
            let seat = Seat {
                span: tracing::info_span!(parent: &node, "worker", index),
                events: EventSender::new(index, sink.clone()),
                stop: threads.stop.subscribe(),
                shards: Arc::clone(&shards),
                mailboxes: Arc::clone(&mailboxes),
                index,
                tcp: tcp.clone(),
                links: tcp_links,
                stun,
            };
            let (link, ready) = seat.start(&config, port, addresses, &mut threads.running)?;
            links.push(link);
            started.push(ready);
        }
        if let Some(door) = door {
            let span = tracing::info_span!(parent: &node, "tcp");
            let stop = threads.stop.subscribe();
            let (thread, ready) = door.start(inlets, stop, span).map_err(StartError::Thread)?;
            threads.running.push(thread);
            started.push(ready);
        }
        for ready in started {
            let outcome = ready.await.unwrap_or_else(|_| Err(io::Error::other("ended at once")));
            outcome.map_err(StartError::Thread)?;
        }
        for first in asked {
            // Not for long; a worker that is gone is told elsewhere.
            let _ = first.await;
        }
        let told: Vec<IpAddr> = sites.into_iter().flat_map(|site| site.told).collect();
        let (workers, by_tcp) = (links.len(), &tcp.candidates);
        node.in_scope(|| tracing::info!(workers, ?told, ?by_tcp, "media workers run"));
        Ok((Self { handle: Handle::new(links, shards, tcp), threads }, events))
    }

    /// A handle to drive the node.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Removes everyone with [`convoke_core::LeaveReason::Stopped`], lets the goodbyes out and
    /// stops the workers. Events up to the end can still be read.
    pub async fn shutdown(mut self) {
        self.threads.stop.send_replace(Stop::Drain);
        for thread in &mut self.threads.running {
            // Ends when the thread drops its side.
            let _ = (&mut thread.ended).await;
        }
    }
}

/// One port number per worker: `port`, `port + 1`, …
fn bind_all(config: &NodeConfig, sites: &[Site]) -> Result<Vec<BoundPorts>, StartError> {
    let mut ports = Vec::new();
    let first = sites.first().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |site| site.bind);
    for index in 0..config.workers {
        let number = match config.port {
            0 => Some(0),
            first => u16::try_from(index).ok().and_then(|index| first.checked_add(index)),
        };
        let addr = SocketAddr::new(first, number.unwrap_or(u16::MAX));
        let bind_error = |source| StartError::Bind { addr, source };
        let Some(number) = number else {
            return Err(bind_error(io::Error::other("no port above it for the next worker")));
        };
        let bound = BoundPorts::bind(sites, number)?;
        let granted = bound.ask_for_buffers(config.socket_buffer).map_err(bind_error)?;
        if index == 0 && granted.receive.min(granted.send) < config.socket_buffer {
            tracing::warn!(
                asked = config.socket_buffer,
                receive = granted.receive,
                send = granted.send,
                "socket buffers are smaller than asked, bursts may be lost: raise the sysctls \
                 net.core.rmem_max and net.core.wmem_max",
            );
        }
        ports.push(bound);
    }
    Ok(ports)
}

fn bind_door(
    tcp: &TcpConfig,
    config: &NodeConfig,
    sites: &[Site],
) -> Result<BoundDoor, StartError> {
    let told = told_by_tcp(tcp.listen.ip(), config, sites)?;
    let bind_error = |source| StartError::Bind { addr: tcp.listen, source };
    BoundDoor::bind(tcp.clone(), &told).map_err(bind_error)
}

/// Where the TCP port listens, if it is at all the addresses that the media sockets are at, as far as is known.
fn tcp_behind_nat(config: &NodeConfig, tcp: &Tcp) -> Option<SocketAddr> {
    let listen = config.tcp.as_ref()?.listen.ip();
    let port = tcp.candidates.first()?.port();
    let is_same = config.bind == [listen] || listen.is_unspecified();
    is_same.then_some(SocketAddr::new(listen, port))
}

fn listed(ips: &[IpAddr]) -> String {
    ips.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ")
}

/// What a worker gets from its node.
struct Seat {
    index: usize,
    tcp: Tcp,
    links: Links,
    stun: Option<Asker>,
    span: Span,
    events: EventSender,
    stop: watch::Receiver<Stop>,
    shards: Arc<Shards>,
    mailboxes: Arc<[Mailbox]>,
}

/// Tells that a thread runs, or why not.
pub(crate) type Ready = oneshot::Receiver<Result<(), io::Error>>;

impl Seat {
    fn start(
        self,
        config: &NodeConfig,
        port: BoundPorts,
        addresses: Vec<SocketAddr>,
        running: &mut Vec<RunningThread>,
    ) -> Result<(WorkerLink, Ready), StartError> {
        let mut core = WorkerConfig::new(addresses.clone());
        core.tcp_candidates = self.tcp.candidates.clone();
        core.index = u8::try_from(self.index).unwrap_or(u8::MAX);
        core.limits = config.limits;
        core.media_timeout = config.media_timeout;
        core.keyframe_interval = config.keyframe_interval;
        let loop_config = LoopConfig {
            core,
            datagrams_per_turn: config.datagrams_per_turn,
            tcp_behind_nat: tcp_behind_nat(config, &self.tcp),
        };
        let send_queue = config.send_queue;
        let now = Instant::now();
        let stats = Arc::new(StatsBlock::new(now));
        let meter = Meter::new(Arc::clone(&stats), now);
        let (inbox, messages) = mpsc::channel(config.inbox);
        let (ended_sender, ended) = oneshot::channel::<()>();
        let (ready_sender, ready) = oneshot::channel();
        let name = format!("convoke-worker-{}", self.index);
        let work = move || {
            let _ended = ended_sender;
            let _entered = self.span.enter();
            let desk = Desk::new(messages, self.events, self.shards);
            let mail = Mail::new(self.index, self.mailboxes);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let opened = runtime.and_then(|runtime| {
                let guard = runtime.enter();
                let wires = (port.open(send_queue)?, self.links, self.stun);
                let worker = WorkerLoop::new(loop_config, wires, (desk, mail), self.stop, meter);
                drop(guard);
                Ok((runtime, worker))
            });
            match opened {
                Ok((runtime, worker)) => {
                    let _ = ready_sender.send(Ok(()));
                    runtime.block_on(worker.run());
                    tracing::debug!("worker stopped");
                }
                Err(e) => drop(ready_sender.send(Err(e))),
            }
        };
        let thread = thread::Builder::new().name(name).spawn(work).map_err(StartError::Thread)?;
        running.push(RunningThread { thread: Some(thread), ended });
        Ok((WorkerLink { inbox, stats, addresses }, ready))
    }
}

/// The threads of workers and of the TCP port; dropping stops and joins them.
struct Threads {
    stop: watch::Sender<Stop>,
    running: Vec<RunningThread>,
}

pub(crate) struct RunningThread {
    pub(crate) thread: Option<thread::JoinHandle<()>>,
    pub(crate) ended: oneshot::Receiver<()>,
}

impl Threads {
    fn new() -> Self {
        Self { stop: watch::Sender::new(Stop::No), running: Vec::new() }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop.send_if_modified(|stop| {
            let goes_on = *stop == Stop::No;
            if goes_on {
                *stop = Stop::Now;
            }
            goes_on
        });
        for running in &mut self.running {
            // A turn or two at most; after `shutdown` the threads have ended already.
            if running.thread.take().is_some_and(|thread| thread.join().is_err()) {
                tracing::error!("a worker thread panicked");
            }
        }
    }
}
