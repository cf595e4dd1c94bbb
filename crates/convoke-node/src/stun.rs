//! The addresses that a NAT gives a worker's media socket, asked of a STUN server (RFC 8489, Binding).
//!
//! Owns: when is asked, what is believed, what is found, and what is counted of it.
//! Never: touches a socket: questions leave with the worker's own datagrams, and answers are shown to it by
//! `port.rs`, so that it is the media socket that is asked about. Waits for anybody, or forgets what was
//! found because a server does not answer any more.
//!
//! ```text
//! waiting --due--> looking up the name --addresses--> asking, again and again --answers, or none--> waiting
//! ```
//!
//! An answer is believed that comes from the address that was asked and names the transaction, whose 96 bits
//! are random: who is not between the server and us cannot forge one.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use convoke_core::Transmit;
use stun_types::attribute::XorMappedAddress;
use stun_types::message::{
    BINDING, Message, MessageClass, MessageHeader, MessageWrite, MessageWriteExt, MessageWriteVec,
    TransactionId,
};
use tokio::sync::oneshot;

use crate::addresses::{from_socket, is_of_a_host};
use crate::config::StunConfig;

/// A question is asked so often; each time twice as long is waited as before (RFC 8489 §6.2.1, with fewer
/// repetitions: there is time to begin anew).
const TIMES: u32 = 4;
/// How long is waited for an answer the first time.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long is waited after questions that nobody answered; twice as long after each further time, to the
/// configured interval.
const BACK_OFF: Duration = Duration::from_secs(5);

/// A start waits so long for the first answers, so that the first clients have them.
const START: Duration = Duration::from_secs(3);

/// What became of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StunOutcome {
    /// An address came back.
    Answered,
    /// Nothing came back.
    Unanswered,
    /// An error came back, or no address that a peer could send to.
    Refused,
    /// There was nobody to ask: the name has no address of a family that is spoken here.
    Unresolved,
}

impl StunOutcome {
    /// All of them, in the order of [`StunStats::outcomes`].
    pub const ALL: [Self; 4] = [Self::Answered, Self::Unanswered, Self::Refused, Self::Unresolved];

    /// As a metric's label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Unanswered => "unanswered",
            Self::Refused => "refused",
            Self::Unresolved => "unresolved",
        }
    }
}

/// What a worker knows of the NAT before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StunStats {
    /// Questions that are over, by [`StunOutcome`].
    pub outcomes: [u64; StunOutcome::ALL.len()],
    /// Addresses that clients are told beside the configured ones.
    pub addresses: u64,
    /// Addresses of which the NAT was last seen to use another port than the socket's.
    pub remapped: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Asker {
    config: StunConfig,
    /// The addresses of ours that are asked about, as [`Transmit::local`] has them.
    locals: Vec<SocketAddr>,
    /// What clients are told already.
    told: Vec<IpAddr>,
    state: State,
    /// Rounds since the last that was answered.
    failed: u32,
    /// For each of `locals` the last answer.
    found: Vec<Option<SocketAddr>>,
    has_news: bool,
    stats: StunStats,
    /// Told of the end of the first round, or that it takes too long to wait for.
    first: Option<oneshot::Sender<()>>,
    began: Option<Instant>,
    /// Workers of a node are alike: one of them tells.
    tells: bool,
    said: Option<Said>,
}

#[derive(Debug)]
enum State {
    /// `None`: not at all.
    Waiting {
        until: Option<Instant>,
    },
    LookingUp(oneshot::Receiver<std::io::Result<Vec<SocketAddr>>>),
    LookedUp(std::io::Result<Vec<SocketAddr>>),
    Asking(Vec<Question>),
}

struct Question {
    /// The index in `locals`.
    at: usize,
    server: SocketAddr,
    transaction: TransactionId,
    request: Vec<u8>,
    /// How often it was sent.
    sent: u32,
    /// When it is sent again, or given up.
    due: Instant,
    outcome: Option<StunOutcome>,
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the transaction, which strangers must not know.
        f.debug_struct("Question").field("server", &self.server).finish_non_exhaustive()
    }
}

/// What was logged last, so that it is said once.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    Found(Vec<Option<SocketAddr>>),
    Nothing(StunOutcome),
}

impl Asker {
    /// Asks about each of `locals`; `told` is what clients are told anyway. The receiver hears of the end of
    /// the first round, or that it takes longer than a start waits.
    pub(crate) fn new(
        config: StunConfig,
        locals: Vec<SocketAddr>,
        told: &[SocketAddr],
        tells: bool,
    ) -> (Self, oneshot::Receiver<()>) {
        let (first, over) = oneshot::channel();
        let this = Self {
            config,
            found: vec![None; locals.len()],
            locals,
            told: told.iter().map(SocketAddr::ip).collect(),
            state: State::Waiting { until: None },
            failed: 0,
            has_news: false,
            stats: StunStats::default(),
            first: Some(first),
            began: None,
            tells,
            said: None,
        };
        (this, over)
    }

    /// Waits for the name's addresses; for ever when they are not looked up.
    pub(crate) async fn ready(&mut self) {
        let State::LookingUp(answer) = &mut self.state else {
            return std::future::pending().await;
        };
        let addresses = answer.await.unwrap_or_else(|_| Err(std::io::Error::other("given up")));
        self.state = State::LookedUp(addresses);
    }

    /// Does what is due. To be called at least twice a second.
    pub(crate) fn turn(&mut self, now: Instant, out: &mut Vec<Transmit>) {
        match &mut self.state {
            State::Waiting { until } if until.is_none_or(|until| now >= until) => self.look_up(),
            State::LookedUp(addresses) => {
                let addresses = std::mem::replace(addresses, Ok(Vec::new()));
                self.begin(now, addresses);
            }
            _ => {}
        }
        self.ask(now, out);
        let began = *self.began.get_or_insert(now);
        if self.first.is_some() && now >= began + START {
            self.end_start();
            if self.tells {
                tracing::warn!(
                    waited = ?START,
                    host = self.config.host,
                    "no answer yet of the STUN server (media.stun_server): starting without, clients \
                     are told the configured addresses",
                );
            }
        }
    }

    fn end_start(&mut self) {
        if let Some(first) = self.first.take() {
            let _ = first.send(());
        }
    }

    /// Needs a runtime.
    fn look_up(&mut self) {
        let (host, port) = (self.config.host.clone(), self.config.port);
        if let Ok(ip) = host.parse::<IpAddr>() {
            self.state = State::LookedUp(Ok(vec![SocketAddr::new(ip, port)]));
            return;
        }
        let (sender, answer) = oneshot::channel();
        tokio::spawn(async move {
            let found = tokio::net::lookup_host((host, port)).await;
            let _ = sender.send(found.map(Iterator::collect));
        });
        self.state = State::LookingUp(answer);
    }

    fn begin(&mut self, now: Instant, addresses: std::io::Result<Vec<SocketAddr>>) {
        if let Err(error) = &addresses
            && self.tells
        {
            tracing::debug!(%error, host = self.config.host, "the STUN server has no address");
        }
        let addresses = addresses.unwrap_or_default();
        let question = |(at, local): (usize, &SocketAddr)| {
            let of_family = || addresses.iter().filter(|s| s.is_ipv4() == local.is_ipv4());
            let servers = of_family().count().max(1);
            // Another of them after each round in vain.
            let server = of_family().cycle().nth(self.failed as usize % servers)?;
            Some(Question::new(at, *server, now))
        };
        let questions: Vec<Question> =
            self.locals.iter().enumerate().filter_map(question).collect();
        if questions.is_empty() {
            self.count(StunOutcome::Unresolved);
            return self.conclude(now, StunOutcome::Unresolved);
        }
        self.state = State::Asking(questions);
    }

    fn ask(&mut self, now: Instant, out: &mut Vec<Transmit>) {
        let State::Asking(questions) = &mut self.state else { return };
        let open = questions.iter_mut().filter(|q| q.outcome.is_none());
        for question in open.filter(|q| now >= q.due) {
            if question.sent == TIMES {
                question.outcome = Some(StunOutcome::Unanswered);
                continue;
            }
            question.due = now + PATIENCE * (1 << question.sent);
            question.sent += 1;
            let local = self.locals.get(question.at).copied().unwrap_or(question.server);
            let (destination, contents) = (question.server, question.request.clone());
            out.push(Transmit { local, destination, contents });
        }
        self.end_round(now);
    }

    /// Takes a datagram if it is the answer to a question; `false`: it is not.
    pub(crate) fn answered(&mut self, now: Instant, source: SocketAddr, bytes: &[u8]) -> bool {
        let Some(question) = self.asked(source, bytes) else { return false };
        if question.outcome.is_some() {
            return true;
        }
        let at = question.at;
        let mapped = mapped(bytes).filter(|address| is_usable(*address, source));
        question.outcome = Some(match mapped {
            Some(_) => StunOutcome::Answered,
            None => StunOutcome::Refused,
        });
        if let (Some(mapped), Some(found)) = (mapped, self.found.get_mut(at)) {
            self.has_news |= *found != Some(mapped);
            *found = Some(mapped);
        }
        self.end_round(now);
        true
    }

    /// The question that this answers.
    fn asked(&mut self, source: SocketAddr, bytes: &[u8]) -> Option<&mut Question> {
        let State::Asking(questions) = &mut self.state else { return None };
        let mut of_server = questions.iter_mut().filter(|q| q.server == source).peekable();
        of_server.peek()?;
        let transaction = MessageHeader::from_bytes(bytes).ok()?.transaction_id();
        of_server.find(|q| q.transaction == transaction)
    }

    /// Once every question is answered or given up.
    fn end_round(&mut self, now: Instant) {
        let State::Asking(questions) = &self.state else { return };
        let outcomes: Option<Vec<StunOutcome>> = questions.iter().map(|q| q.outcome).collect();
        let Some(outcomes) = outcomes else { return };
        outcomes.iter().for_each(|outcome| self.count(*outcome));
        let first = outcomes.first().copied().unwrap_or(StunOutcome::Unanswered);
        let answered = outcomes.iter().find(|outcome| **outcome == StunOutcome::Answered);
        self.conclude(now, *answered.unwrap_or(&first));
    }

    fn conclude(&mut self, now: Instant, outcome: StunOutcome) {
        let again = match outcome {
            StunOutcome::Answered => {
                self.failed = 0;
                self.config.interval
            }
            _ => {
                let wait = BACK_OFF.saturating_mul(1 << self.failed.min(16));
                self.failed = self.failed.saturating_add(1);
                wait.min(self.config.interval)
            }
        };
        self.state = State::Waiting { until: Some(now + again) };
        self.stats.addresses = self.told_beside().len() as u64;
        self.stats.remapped = self.remapped().count() as u64;
        self.say(outcome, again);
        self.end_start();
    }

    fn count(&mut self, outcome: StunOutcome) {
        let at = StunOutcome::ALL.iter().position(|one| *one == outcome);
        if let Some(count) = at.and_then(|at| self.stats.outcomes.get_mut(at)) {
            *count += 1;
        }
    }

    /// What clients are to be told beside the rest, when that changed.
    pub(crate) fn news(&mut self) -> Option<Vec<IpAddr>> {
        std::mem::take(&mut self.has_news).then(|| self.told_beside())
    }

    fn told_beside(&self) -> Vec<IpAddr> {
        let mut beside = Vec::new();
        for ip in self.found.iter().flatten().map(SocketAddr::ip) {
            if !self.told.contains(&ip) && !beside.contains(&ip) {
                beside.push(ip);
            }
        }
        beside
    }

    /// What a NAT gave another port to.
    fn remapped(&self) -> impl Iterator<Item = (SocketAddr, SocketAddr)> {
        let pairs = self.locals.iter().zip(&self.found);
        let pairs = pairs.filter_map(|(local, found)| Some((*local, (*found)?)));
        pairs.filter(|(local, found)| local.port() != found.port())
    }

    pub(crate) fn stats(&self) -> StunStats {
        self.stats
    }

    fn say(&mut self, outcome: StunOutcome, again: Duration) {
        let said = match outcome {
            StunOutcome::Answered => Said::Found(self.found.clone()),
            other => Said::Nothing(other),
        };
        if !self.tells || self.said.as_ref() == Some(&said) {
            return;
        }
        let server = format!("{}:{}", self.config.host, self.config.port);
        let told = self.told_beside();
        if outcome == StunOutcome::Answered {
            let seen: Vec<&SocketAddr> = self.found.iter().flatten().collect();
            tracing::info!(server, ?seen, ?told, "the STUN server sees the media socket so");
        } else {
            let why = outcome.label();
            tracing::warn!(
                server,
                why,
                ?told,
                "no answer of the STUN server (media.stun_server): clients are told what was \
                 known before, the configured addresses at least. Asked again in {again:?}",
            );
        }
        for (local, seen) in self.remapped() {
            tracing::warn!(
                %local,
                %seen,
                "the NAT gives the media socket another port. Clients are told its address with the \
                 socket's own port, and reach that only if the NAT forwards it: forward the ports from \
                 media.port on unchanged, or have a NAT that maps one address to one (1:1)",
            );
        }
        self.said = Some(said);
    }
}

impl Question {
    fn new(at: usize, server: SocketAddr, now: Instant) -> Self {
        let message = Message::builder_request(BINDING, MessageWriteVec::new());
        let transaction = message.transaction_id();
        let request = message.finish();
        let server = from_socket(server);
        Self { at, server, transaction, request, sent: 0, due: now, outcome: None }
    }
}

/// The address in a success response.
fn mapped(bytes: &[u8]) -> Option<SocketAddr> {
    let message = Message::from_bytes(bytes).ok()?;
    if message.class() != MessageClass::Success || message.method() != BINDING {
        return None;
    }
    let mapped = message.attribute::<XorMappedAddress>().ok()?;
    Some(from_socket(mapped.addr(message.transaction_id())))
}

/// Whether a peer could send there. A server on this machine may well see this machine.
fn is_usable(address: SocketAddr, server: SocketAddr) -> bool {
    let ip = address.ip();
    address.port() != 0
        && address.is_ipv4() == server.is_ipv4()
        && is_of_a_host(ip)
        && (!ip.is_loopback() || server.ip().is_loopback())
}

#[cfg(test)]
mod tests;
