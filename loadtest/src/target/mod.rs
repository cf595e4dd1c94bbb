//! Servers that callers can join.
//!
//! Owns: what the load test wants of a server, whichever it is: a place in a call, and news of it.
//! Never: measures; media goes to the engine, times to the run.
//!
//! A join is an offer that is answered (Convoke, WHIP), an offer of the server's that the caller
//! answers (WHEP), or both, with more of the latter as others come.

pub mod convoke;
pub mod janus;
pub mod mediasoup;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use convoke_client::media::{Codec, MediaConfig, MediaPeer, SendLine};
use convoke_protocol::Source;

use crate::engine::bind;
use crate::scenario::Scenario;

/// The kernel buffers of a caller's socket.
const SOCKET_BUFFER: usize = 1 << 20;

/// The names of simulcast encodings, lowest first.
pub const RIDS: [&str; 3] = ["q", "h", "f"];

/// A caller that wants to join.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Which participant: also the number in its stamps.
    pub participant: usize,
    /// Which of its visits.
    pub visit: u64,
    /// Which call.
    pub room: usize,
    /// Whether it publishes.
    pub publishes: bool,
    /// The scenario.
    pub scenario: Arc<Scenario>,
}

impl Ask {
    /// Whether it sends sound.
    #[must_use]
    pub fn speaks(&self) -> bool {
        self.publishes && self.scenario.audio.enabled
    }

    /// Whether it sends pictures.
    #[must_use]
    pub fn films(&self) -> bool {
        self.publishes && self.scenario.video.enabled
    }

    /// What it sends, each with its send line.
    #[must_use]
    pub fn sources(&self) -> Vec<(usize, Source)> {
        let sends = |source: &Source| match source {
            Source::Camera => self.films(),
            _ => self.speaks(),
        };
        self.lines().into_iter().enumerate().filter(|(_, source)| sends(source)).collect()
    }

    /// Its send lines. There is always one for sound, as in clients that may unmute.
    #[must_use]
    pub fn lines(&self) -> Vec<Source> {
        let scenario = &self.scenario;
        let connects = self.publishes || scenario.calls.may_publish;
        let camera = scenario.video.enabled.then_some(Source::Camera);
        let lines = std::iter::once(Source::Microphone).chain(camera);
        lines.filter(|_| connects).collect()
    }
}

/// The sockets of a caller.
#[derive(Debug, Default)]
pub struct Sockets {
    /// For sending media.
    pub send: Option<std::net::UdpSocket>,
    /// For receiving it.
    pub receive: Option<std::net::UdpSocket>,
}

impl Sockets {
    /// Binds what a caller needs.
    ///
    /// # Errors
    /// When the system has no more.
    pub fn bind(ip: IpAddr, sends: bool, receives: bool) -> std::io::Result<Self> {
        let socket = |wanted: bool| wanted.then(|| bind(ip, SOCKET_BUFFER)).transpose();
        Ok(Self { send: socket(sends)?, receive: socket(receives)? })
    }

    /// The addresses; one that nobody can reach for a socket that there is not.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn addresses(&self) -> std::io::Result<[SocketAddr; 2]> {
        let none = SocketAddr::from(([127, 0, 0, 1], 9));
        let of = |socket: &Option<std::net::UdpSocket>| {
            socket.as_ref().map_or(Ok(none), std::net::UdpSocket::local_addr)
        };
        Ok([of(&self.send)?, of(&self.receive)?])
    }
}

/// The offers of a caller, with so many slots of each kind.
#[must_use]
pub fn media_config(ask: &Ask, addresses: [SocketAddr; 2], slots: [usize; 2]) -> MediaConfig {
    let [send_addr, receive_addr] = addresses;
    let video = &ask.scenario.video;
    let rids = RIDS.get(..video.encodings.len()).unwrap_or_default();
    let line = |source: Source| match source {
        Source::Camera if rids.len() > 1 => SendLine::simulcast(source, rids),
        _ => SendLine::new(source),
    };
    let codec = video.codec.codec();
    MediaConfig {
        send: ask.lines().into_iter().map(line).collect(),
        audio_slots: slots[0],
        video_slots: slots[1],
        video_codecs: vec![codec],
        dependency_descriptor: codec == Codec::Av1,
        ..MediaConfig::new(send_addr, receive_addr)
    }
}

/// A caller that joined.
#[derive(Debug)]
pub struct Seated<S> {
    /// Its media.
    pub peer: MediaPeer,
    /// Its sockets.
    pub sockets: Sockets,
    /// Its signalling.
    pub seat: S,
    /// When the server said yes.
    pub at: Instant,
}

/// Why a caller did not join, or did not stay.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {what}")]
pub struct Failure {
    /// In one of few words, to be counted.
    pub kind: &'static str,
    /// Exactly.
    pub what: String,
}

impl Failure {
    /// A failure of this kind.
    #[must_use]
    pub fn new(kind: &'static str, what: impl std::fmt::Display) -> Self {
        Self { kind, what: what.to_string() }
    }
}

/// What a caller hears of its call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// Which encodings of its camera anybody wants.
    Demand(Vec<bool>),
    /// These video slots are not meant to show anything now.
    Rest(Vec<usize>),
    /// The server offers media; the answer goes to [`Seat::answer`].
    Offer(String),
    /// Signalling is lost.
    Reconnecting,
    /// It is back.
    Reconnected,
    /// The call is over for this caller.
    Ended(String),
}

/// A place in a call.
pub trait Seat: Send + 'static {
    /// The next news; never ends before [`News::Ended`]. May be dropped and called again.
    fn next(&mut self) -> impl Future<Output = News> + Send;

    /// Looks at this page of the others' cameras, where the server lets callers choose.
    fn look(&mut self, page: usize);

    /// Gives the answer to an offer of the server.
    ///
    /// # Errors
    /// When the server cannot use it, or cannot be told.
    fn answer(&mut self, sdp: String) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Leaves.
    ///
    /// # Errors
    /// When the server cannot be told.
    fn leave(self) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// A kind of server; see the module.
pub trait Target: Send + Sync + 'static {
    /// A place in one of its calls.
    type Seat: Seat;

    /// Joins a call, which is made when it is not there.
    fn join(&self, ask: Ask) -> impl Future<Output = Result<Seated<Self::Seat>, Failure>> + Send;
}
