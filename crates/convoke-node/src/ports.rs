//! A worker's UDP ports: one for each bound address, all of the same number.
//!
//! Owns: their binding, and which of them a datagram leaves from: the one whose candidate it names, which is
//! the one that the peer's came to.
//! Never: costs a server with one address anything: where there is one port, it is asked alone.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::Poll;
use std::time::Instant;

use convoke_core::{Outbox, Transmit, Worker};

use crate::binds::Site;
use crate::error::StartError;
use crate::port::{BoundPort, Buffers, Port};
use crate::send::SendCounts;
use crate::stun::Asker;

/// With any free port numbers: how often one is looked for that is free at all addresses.
const SEARCHES: usize = 32;

/// Bound sockets that are not yet in a runtime.
#[derive(Debug)]
pub(crate) struct BoundPorts {
    ports: Vec<BoundPort>,
}

impl BoundPorts {
    /// Binds `port` at each address; 0 is any that is free at all of them.
    pub(crate) fn bind(sites: &[Site], port: u16) -> Result<Self, StartError> {
        for _ in 1..SEARCHES {
            match Self::bind_once(sites, port) {
                Err(StartError::Bind { source, .. })
                    if port == 0 && source.kind() == io::ErrorKind::AddrInUse => {}
                bound => return bound,
            }
        }
        Self::bind_once(sites, port)
    }

    fn bind_once(sites: &[Site], mut port: u16) -> Result<Self, StartError> {
        let mut ports = Vec::new();
        for site in sites {
            let addr = SocketAddr::new(site.bind, port);
            let bound = BoundPort::bind(addr, &site.told)
                .map_err(|source| StartError::Bind { addr, source })?;
            port = bound.number();
            ports.push(bound);
        }
        Ok(Self { ports })
    }

    /// Asks for buffers of `bytes` and says what was granted.
    pub(crate) fn ask_for_buffers(&self, bytes: usize) -> io::Result<Buffers> {
        let mut least = Buffers { receive: usize::MAX, send: usize::MAX };
        for port in &self.ports {
            let Buffers { receive, send } = port.ask_for_buffers(bytes)?;
            least = Buffers { receive: least.receive.min(receive), send: least.send.min(send) };
        }
        Ok(least)
    }

    /// The advertised addresses.
    pub(crate) fn candidates(&self) -> Vec<SocketAddr> {
        self.ports.iter().flat_map(BoundPort::candidates).collect()
    }

    /// What a NAT is asked about: see [`crate::addresses::AddressMap::asks`].
    pub(crate) fn asks(&self) -> Vec<SocketAddr> {
        self.ports.iter().flat_map(BoundPort::asks).collect()
    }

    /// Enters the current runtime.
    pub(crate) fn open(self, send_queue: usize) -> io::Result<Ports> {
        let opened = self.ports.into_iter().map(|port| {
            let candidates = port.candidates();
            let port = port.open(send_queue)?;
            Ok(Open { port, candidates, leaves: Vec::new() })
        });
        Ok(Ports { ports: opened.collect::<io::Result<_>>()? })
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Ports {
    ports: Vec<Open>,
}

#[derive(Debug)]
struct Open {
    port: Port,
    candidates: Vec<SocketAddr>,
    /// What is about to leave by it.
    leaves: Vec<Transmit>,
}

impl Ports {
    /// Waits until there is something to do here.
    pub(crate) async fn ready(&self) -> io::Result<()> {
        if let [only] = self.ports.as_slice() {
            return only.port.ready().await;
        }
        poll_fn(|context| {
            // All of them are asked, so that each wakes.
            let ready = self.ports.iter().filter(|open| open.port.poll_ready(context).is_ready());
            if ready.count() > 0 { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
        .await
    }

    /// Whether received datagrams wait for the next turn.
    pub(crate) fn has_received(&self) -> bool {
        self.ports.iter().any(|open| open.port.has_received())
    }

    /// Whether datagrams wait for the kernel.
    pub(crate) fn has_unsent(&self) -> bool {
        self.ports.iter().any(|open| open.port.has_unsent())
    }

    /// See [`Port::receive`]; each port has the same share of `limit`.
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        limit: usize,
        stun: &mut Option<Asker>,
        core: &mut Worker,
        out: &mut Outbox,
    ) -> bool {
        let share = limit.div_ceil(self.ports.len().max(1));
        let mut all = true;
        for open in &mut self.ports {
            all &= open.port.receive(now, share, stun, core, out);
        }
        all
    }

    /// Sends; leaves `transmits` empty.
    pub(crate) fn flush(&mut self, transmits: &mut Vec<Transmit>) {
        if let [only] = self.ports.as_mut_slice() {
            return only.port.flush(transmits);
        }
        for transmit in transmits.drain(..) {
            let is_its = |open: &&mut Open| open.candidates.contains(&transmit.local);
            if let Some(open) = self.ports.iter_mut().find(is_its) {
                open.leaves.push(transmit);
            }
        }
        for open in &mut self.ports {
            open.port.flush(&mut open.leaves);
        }
    }

    /// Send counters so far.
    pub(crate) fn send_counts(&self) -> SendCounts {
        let mut sum = SendCounts::default();
        for open in &self.ports {
            let SendCounts { calls, gso_groups, gso_datagrams, drops } = open.port.send_counts();
            sum.calls += calls;
            sum.gso_groups += gso_groups;
            sum.gso_datagrams += gso_datagrams;
            sum.drops += drops;
        }
        sum
    }

    /// Receive calls so far, and datagrams that could not be answered and were dropped.
    pub(crate) fn receive_counts(&self) -> (u64, u64) {
        let counts = self.ports.iter().map(|open| open.port.receive_counts());
        counts.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }
}
