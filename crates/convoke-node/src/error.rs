//! Why a node did not start, and why a command was not carried out.
//!
//! Owns: the error types of the public API.
//! Never: text for end users; the control plane words those.

use std::net::{IpAddr, SocketAddr};

use convoke_core::CommandError;

/// Why a command was not carried out.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum HandleError {
    /// The worker's inbox is full.
    #[error("the worker is busy; try again")]
    Busy,
    /// The worker is gone (stopped, or it panicked over this).
    #[error("the worker is gone")]
    Gone,
    /// The room of a [`crate::Place`] closed meanwhile: ask for another place.
    #[error("the room closed; place again")]
    Moved,
    /// The core refused.
    #[error(transparent)]
    Refused(#[from] CommandError),
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A socket could not be bound.
    #[error("media socket {addr}: {source}")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// The cause.
        source: std::io::Error,
    },
    /// `bind` is a wildcard and nothing is advertised, or what is advertised is no host's address, or
    /// link-local.
    #[error(
        "{0} cannot be told to clients: set the advertised address (`media.advertise`), or a STUN server \
         (`media.stun_server`) on a host with a route outwards"
    )]
    NothingToAdvertise(IpAddr),
    /// An advertised address is of a family that the bound socket does not speak.
    #[error("{advertised} is advertised, but a socket bound to {bind} does not hear it")]
    NotServed {
        /// The advertised address.
        advertised: IpAddr,
        /// The bound one.
        bind: IpAddr,
    },
    /// [`crate::NodeConfig::bind`] is empty.
    #[error("no address to bind media sockets to: name one or several (`media.bind`)")]
    NothingToBind,
    /// So many addresses are too many.
    #[error("{0} addresses to bind media sockets to are more than {max} (`media.bind`)", max = crate::BINDS_MAX)]
    TooManyBinds(usize),
    /// A wildcard hears what the other addresses are for.
    #[error("{0} is a wildcard: it stands alone in `media.bind`, or not at all")]
    WildcardAmongOthers(IpAddr),
    /// An address is bound, or told, that another one is too.
    #[error(
        "media socket {0}: it is bound, or told by the same address (`media.bind`, `media.advertise`), twice"
    )]
    Twice(IpAddr),
    /// With several bound addresses each is told by one.
    #[error(
        "{bound} addresses are bound and {advertised} advertised: name one for each, in their order, or none \
         (`media.advertise`)"
    )]
    Unpaired {
        /// How many are bound.
        bound: usize,
        /// How many are advertised.
        advertised: usize,
    },
    /// A thread could not be started.
    #[error("worker thread: {0}")]
    Thread(std::io::Error),
}
