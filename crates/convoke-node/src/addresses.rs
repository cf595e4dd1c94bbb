//! Which advertised address a datagram was meant for, and which address an answer leaves from.
//!
//! Owns: the mapping between the bound socket and the candidates, both ways.
//! Never: tells an address that was not configured, but for that of the route outwards where that is asked
//! for.
//!
//! The core thinks in advertised addresses (candidates) only. Behind NAT those are not this host's
//! own, so an answer's source is then the address that the peer's datagrams came to (learned per
//! peer). Called by `port` for every batch and every send.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use crate::error::StartError;

/// Peers whose path is remembered, in each of two generations.
const LEARNED_MAX: usize = 16_384;

/// The addresses that clients are told, without repetition.
///
/// # Errors
/// When there is none, or one that no client can use or this socket cannot serve.
pub(crate) fn advertised(bind: IpAddr, advertise: &[IpAddr]) -> Result<Vec<IpAddr>, StartError> {
    let mut told = Vec::new();
    let own = [bind];
    for ip in if advertise.is_empty() { &own } else { advertise } {
        let ip = ip.to_canonical();
        if !is_of_a_host(ip) {
            return Err(StartError::NothingToAdvertise(ip));
        }
        if !serves(bind.to_canonical(), ip) {
            return Err(StartError::NotServed { advertised: ip, bind });
        }
        if !told.contains(&ip) {
            told.push(ip);
        }
    }
    Ok(told)
}

/// Whether an address is one that a peer could send to, wherever it is. A link-local one is that only together
/// with an interface of the peer's.
#[must_use]
pub fn is_of_a_host(ip: IpAddr) -> bool {
    let of_no_host = match ip.to_canonical() {
        IpAddr::V4(v4) => v4.is_broadcast() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(ip.is_unspecified() || ip.is_multicast() || of_no_host)
}

/// The addresses that a wildcard socket's datagrams toward `far`, or anywhere, leave from, by the routing
/// table. Nothing is sent.
pub(crate) fn outward(bind: IpAddr, far: Option<IpAddr>) -> Vec<IpAddr> {
    let anywhere: [IpAddr; 2] =
        [Ipv4Addr::new(192, 0, 2, 1).into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()];
    let families = anywhere.into_iter().filter(|ip| serves(bind, *ip));
    let source = |any: IpAddr| {
        let far = far.filter(|far| far.is_ipv4() == any.is_ipv4()).unwrap_or(any);
        let own: IpAddr = match far {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((own, 0)).ok()?;
        socket.connect((far, 9)).ok()?;
        let ip = socket.local_addr().ok()?.ip();
        is_of_a_host(ip).then_some(ip)
    };
    families.filter_map(source).collect()
}

/// `::` hears both families, everything else its own.
pub(crate) fn serves(bind: IpAddr, ip: IpAddr) -> bool {
    bind.is_ipv4() == ip.is_ipv4() || (bind.is_ipv6() && bind.is_unspecified())
}

/// See the module.
#[derive(Debug)]
pub(crate) struct AddressMap {
    port: u16,
    candidates: Vec<Candidate>,
    wildcard: bool,
    ipv6_socket: bool,
    learned: Learned,
}

#[derive(Debug)]
struct Candidate {
    addr: SocketAddr,
    /// The host has this address, so that datagrams can be sent from it.
    own: bool,
}

impl AddressMap {
    /// `bound` is the socket's own address; `told` is from [`advertised`].
    pub(crate) fn new(bound: SocketAddr, told: &[IpAddr]) -> Self {
        let wildcard = bound.ip().is_unspecified();
        let candidate = |ip: &IpAddr| Candidate {
            addr: SocketAddr::new(*ip, bound.port()),
            own: wildcard && UdpSocket::bind(SocketAddr::new(*ip, 0)).is_ok(),
        };
        Self {
            port: bound.port(),
            candidates: told.iter().map(candidate).collect(),
            wildcard,
            ipv6_socket: bound.is_ipv6(),
            learned: Learned::default(),
        }
    }

    /// The socket's port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The candidates, in the order of configuration.
    pub(crate) fn candidates(&self) -> Vec<SocketAddr> {
        self.candidates.iter().map(|c| c.addr).collect()
    }

    /// What a NAT before this host is asked about: each address of this host that is told, or else, for each
    /// family, the one that the kernel sends from.
    pub(crate) fn asks(&self) -> Vec<SocketAddr> {
        let mut asks = Vec::new();
        for is_ipv4 in [true, false] {
            let of_family = || self.candidates.iter().filter(|c| c.addr.is_ipv4() == is_ipv4);
            let own: Vec<SocketAddr> = of_family().filter(|c| c.own).map(|c| c.addr).collect();
            let any = of_family().next().map(|c| c.addr).filter(|_| own.is_empty());
            asks.extend(own.into_iter().chain(any));
        }
        asks
    }

    /// The candidate that a datagram from `source` to `destination` was sent to. `None`: it cannot
    /// be answered and must be dropped.
    pub(crate) fn arrived(
        &mut self,
        source: SocketAddr,
        destination: Option<IpAddr>,
    ) -> Option<SocketAddr> {
        if source.port() == 0 {
            return None;
        }
        let destination = destination.map(|ip| ip.to_canonical());
        let direct = self.candidates.iter().find(|c| Some(c.addr.ip()) == destination);
        if let Some(candidate) = direct {
            if self.wildcard {
                self.learned.forget(&source);
            }
            return Some(candidate.addr);
        }
        let same_family = |c: &&Candidate| c.addr.is_ipv4() == source.is_ipv4();
        let candidate = self.candidates.iter().find(same_family)?;
        if let (true, Some(ip)) = (self.wildcard, destination) {
            self.learned.learn(source, ip);
        }
        Some(candidate.addr)
    }

    /// The candidate that a connection from `source` to `destination` came to. `None`: it is of a family
    /// that is not told.
    pub(crate) fn connected(&self, source: SocketAddr, destination: IpAddr) -> Option<SocketAddr> {
        let destination = destination.to_canonical();
        let candidates = || self.candidates.iter().map(|candidate| candidate.addr);
        let direct = candidates().find(|addr| addr.ip() == destination);
        direct.or_else(|| candidates().find(|addr| addr.is_ipv4() == source.is_ipv4()))
    }

    /// The address to send from, where the kernel must not choose it.
    pub(crate) fn source_ip(&self, local: SocketAddr, destination: &SocketAddr) -> Option<IpAddr> {
        if !self.wildcard {
            return None;
        }
        self.learned.get(destination).or_else(|| {
            let own = |c: &&Candidate| c.own && c.addr == local;
            self.candidates.iter().find(own).map(|c| c.addr.ip())
        })
    }

    /// `destination` as this socket wants to have it.
    pub(crate) fn for_socket(&self, destination: SocketAddr) -> SocketAddr {
        match destination {
            SocketAddr::V4(v4) if self.ipv6_socket => {
                SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port())
            }
            other => other,
        }
    }
}

/// An address as the core wants to have it: IPv4 is IPv4, also on a dual-stack socket.
pub(crate) fn from_socket(addr: SocketAddr) -> SocketAddr {
    match addr {
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(v4) => SocketAddr::new(v4.into(), v6.port()),
            None => addr,
        },
        SocketAddr::V4(_) => addr,
    }
}

/// Peer -> the address of ours that it sends to. Two generations: when the young one is full it
/// becomes the old one, so that strangers cannot make it grow and live peers stay.
#[derive(Debug, Default)]
struct Learned {
    young: HashMap<SocketAddr, IpAddr>,
    old: HashMap<SocketAddr, IpAddr>,
}

impl Learned {
    fn learn(&mut self, peer: SocketAddr, ip: IpAddr) {
        if self.young.len() >= LEARNED_MAX && !self.young.contains_key(&peer) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(peer, ip);
    }

    fn forget(&mut self, peer: &SocketAddr) {
        if !self.young.is_empty() || !self.old.is_empty() {
            self.young.remove(peer);
            self.old.remove(peer);
        }
    }

    fn get(&self, peer: &SocketAddr) -> Option<IpAddr> {
        if self.young.is_empty() && self.old.is_empty() {
            return None;
        }
        self.young.get(peer).or_else(|| self.old.get(peer)).copied()
    }
}

#[cfg(test)]
mod tests;
