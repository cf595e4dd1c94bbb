//! One WebSocket.
//!
//! Owns: its two halves, its deadlines and rate, and that every message is answered once.
//! Never: decides what a request means; `requests` does.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime};

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use convoke_node::core::LeaveReason;
use convoke_protocol::{EndReason, ServerMessage, close, decode_client};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::time::{timeout, timeout_at};
use tracing::Instrument as _;

use crate::clients::{Address, Seat};
use crate::config::Times;
use crate::control::{AgentEntry, Handover, Inner};
use crate::ids::AgentId;
use crate::limiter::Limiter;
use crate::metrics::count;
use crate::outlet::{Drain, Next, Outlet, outlet};
use crate::session::Session;
use crate::token::AccessToken;

/// The client closed, or vanished (RFC 6455 §7.4.1).
const NORMAL: u16 = 1000;
/// Not a valid WebSocket frame.
const PROTOCOL_ERROR: u16 = 1002;
/// Text that is no UTF-8.
const NOT_UTF8: u16 = 1007;

/// What is known of a client.
pub(crate) struct Agent {
    pub(crate) inner: Arc<Inner>,
    pub(crate) id: AgentId,
    pub(crate) outlet: Outlet,
    /// After an accepted `hello`.
    pub(crate) known: Option<Known>,
    /// Its part in a call. May have ended, or have been taken over by another WebSocket.
    pub(crate) session: Option<Arc<Session>>,
    /// How it comes into calls.
    pub(crate) via: Via,
    limiter: Limiter,
    /// Where it comes from, if that is counted.
    pub(crate) address: Option<Address>,
    /// Its place among those of its identity, after an accepted `hello`.
    pub(crate) seat: Option<Seat<Arc<str>>>,
}

/// What a WebSocket occupies until it ends.
pub(crate) struct AgentPlace {
    pub(crate) place: Seat<()>,
    pub(crate) address: Option<(Address, Seat<Address>)>,
}

/// How a participant comes into its call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Via {
    /// By a WebSocket.
    Agent,
    /// By WHIP (RFC 9725): it publishes.
    Whip,
    /// By WHEP (draft-ietf-wish-whep): it watches.
    Whep,
}

/// Who the client acts for.
pub(crate) struct Known {
    pub(crate) token: AccessToken,
    pub(crate) display_name: Arc<str>,
    /// What it says that it is, shortened.
    pub(crate) app: Arc<str>,
}

/// Serves one WebSocket until it is closed.
pub(crate) async fn serve(inner: Arc<Inner>, socket: WebSocket, place: AgentPlace) {
    let id = AgentId::random();
    let span = tracing::info_span!("agent", agent = %id);
    let AgentPlace { place, address } = place;
    let (address, seat) = address.unzip();
    run(inner, socket, id, address).instrument(span).await;
    drop((place, seat));
}

async fn run(inner: Arc<Inner>, socket: WebSocket, id: AgentId, address: Option<Address>) {
    let limits = inner.config().limits;
    let (outlet, drain) = outlet(id, &limits);
    let (sink, mut stream) = socket.split();
    inner.agents.insert(id, AgentEntry::new(outlet.clone()));
    let times = inner.config().times;
    let heard = LastHeard::new();
    let mut writer = tokio::spawn(write(sink, drain, heard.clone(), times));
    let now = Instant::now();
    let mut agent = Agent::new(Arc::clone(&inner), id, outlet.clone(), Via::Agent, now);
    agent.address = address;
    let code = tokio::select! {
        code = agent.read(&mut stream, &heard) => code,
        _ = &mut writer => NORMAL,
    };
    outlet.close(code);
    inner.counters.close(code);
    tracing::debug!(code, "closed");
    agent.gone();
    agent.lose_session();
    if !writer.is_finished() {
        // Bounded by the farewell time.
        let _ = writer.await;
    }
    if code != NORMAL {
        // Until the client closes as well: dropping the socket over what it still sends would
        // reset the connection, and it would not get the reason.
        let rest = async { while let Some(Ok(_)) = stream.next().await {} };
        let _ = timeout(times.farewell, rest).await;
    }
    inner.agents.remove(&id);
}

impl Agent {
    pub(crate) fn new(
        inner: Arc<Inner>,
        id: AgentId,
        outlet: Outlet,
        via: Via,
        now: Instant,
    ) -> Self {
        let limits = inner.config().limits;
        let limiter = Limiter::new(limits.messages_per_second, limits.message_burst, now);
        Self {
            inner,
            id,
            outlet,
            known: None,
            session: None,
            via,
            limiter,
            address: None,
            seat: None,
        }
    }

    /// Reads until the socket is to be closed; the close code.
    async fn read(&mut self, stream: &mut SplitStream<WebSocket>, last: &LastHeard) -> u16 {
        let times = self.inner.config().times;
        let hello_by = tokio::time::Instant::now() + times.hello;
        let mut heard = tokio::time::Instant::now();
        let mut closing = self.outlet.closing();
        let mut handover = self.inner.handover.subscribe();
        loop {
            // It is in no call here, and what it asks for next it gets from the other server.
            if *handover.borrow_and_update() == Handover::Done && self.is_free() {
                return close::GOING_AWAY;
            }
            let known = self.known.is_some();
            let deadline = if known { heard + 2 * times.ping } else { hello_by };
            let expires_in = self.expires_in();
            let frame = tokio::select! {
                biased;
                reason = closing.wait_for(Option::is_some) => {
                    return reason.ok().and_then(|code| *code).unwrap_or(close::GOING_AWAY);
                }
                Ok(()) = handover.changed() => continue,
                () = tokio::time::sleep(expires_in.unwrap_or_default()), if expires_in.is_some() => None,
                frame = timeout_at(deadline, stream.next()) => Some(frame),
            };
            let Some(frame) = frame else {
                self.expire().await;
                continue;
            };
            heard = tokio::time::Instant::now();
            last.set(heard);
            match frame {
                Err(_) if known => return close::PING_TIMEOUT,
                Err(_) => return close::NOT_AUTHENTICATED,
                Ok(None | Some(Ok(Message::Close(_)))) => return NORMAL,
                Ok(Some(Err(error))) => return fault(error),
                Ok(Some(Ok(_))) if !self.limiter.allow(heard.into_std()) => {
                    return close::TOO_MANY_MESSAGES;
                }
                Ok(Some(Ok(Message::Text(text)))) => self.handle(&text).await,
                Ok(Some(Ok(Message::Binary(_)))) => return close::NOT_TEXT,
                Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => {}
            }
        }
    }

    /// Whether it is in no call.
    fn is_free(&self) -> bool {
        self.session.as_ref().is_none_or(|session| session.is_ended())
    }

    /// How long the call of this agent may go on without a fresh token.
    fn expires_in(&self) -> Option<Duration> {
        self.session.as_ref().filter(|session| !session.is_ended())?;
        let leeway = self.inner.config().keys.rules().leeway;
        let expires_at = self.known.as_ref()?.token.expires_at + leeway;
        Some(expires_at.duration_since(SystemTime::now()).unwrap_or_default())
    }

    /// The token has expired: so does what it let in.
    async fn expire(&mut self) {
        if let Some(session) = self.session.take() {
            tracing::info!(participant = session.wire_id(), "the access token expired");
            self.inner.remove(&session, LeaveReason::Expired).await;
        }
    }

    async fn handle(&mut self, text: &str) {
        count(&self.inner.counters.messages);
        let message = match decode_client(text) {
            Ok(message) => message,
            Err(error) => {
                self.inner.counters.error(error.code());
                return self.send(&ServerMessage::Error(error.to_reply()));
            }
        };
        let request_id = message.request_id();
        match self.answer(message).await {
            Ok(Some(reply)) => self.send(&reply),
            // Told by the session, in the order of its changes.
            Ok(None) => {}
            Err(refusal) => {
                self.inner.counters.error(refusal.code);
                tracing::debug!(code = refusal.code.as_str(), "refused");
                self.send(&refusal.into_message(request_id));
            }
        }
    }

    fn send(&self, message: &ServerMessage) {
        // A client too slow for its own answers is closed by its outlet.
        let _ = self.outlet.send(message);
    }

    /// Lets go of the session, which then has its grace time.
    fn lose_session(&mut self) {
        let Some(session) = self.session.take() else { return };
        if session.is_outside() {
            // Nothing of it can be resumed.
            return self.inner.end_session(&session, EndReason::unreachable());
        }
        if let Some(turn) = session.detach(self.id) {
            self.inner.lost(session, turn);
        }
    }
}

/// The close code for a fault of the WebSocket itself.
fn fault(error: axum::Error) -> u16 {
    use tungstenite::Error as E;
    match error.into_inner().downcast_ref::<E>() {
        Some(E::Capacity(_)) => close::TOO_BIG,
        Some(E::Utf8(_)) => NOT_UTF8,
        Some(E::Protocol(_)) => PROTOCOL_ERROR,
        _ => NORMAL,
    }
}

/// What times of agents are counted from.
static EPOCH: LazyLock<tokio::time::Instant> = LazyLock::new(tokio::time::Instant::now);

/// When anything came from a socket, in milliseconds after [`EPOCH`]: its reader says so, and its writer asks.
#[derive(Debug, Clone, Default)]
struct LastHeard(Arc<AtomicU64>);

impl LastHeard {
    fn new() -> Self {
        let heard = Self::default();
        heard.set(tokio::time::Instant::now());
        heard
    }

    fn set(&self, now: tokio::time::Instant) {
        let millis = now.saturating_duration_since(*EPOCH).as_millis();
        self.0.store(u64::try_from(millis).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// When the socket has been silent for so long. The agents of a server are looked at in ticks of a
    /// sixteenth of that, so that one timer that goes off is for many.
    fn silent_for(&self, silence: Duration) -> tokio::time::Instant {
        let due = Duration::from_millis(self.0.load(Ordering::Relaxed)) + silence;
        let tick = (silence / 16).max(Duration::from_millis(1));
        let ticks = due.as_nanos().div_ceil(tick.as_nanos());
        *EPOCH + tick * u32::try_from(ticks).unwrap_or(u32::MAX)
    }
}

/// Writes until told to close.
async fn write(
    mut sink: SplitSink<WebSocket, Message>,
    mut drain: Drain,
    heard: LastHeard,
    times: Times,
) {
    let Times { ping, farewell, .. } = times;
    // Clients ping by themselves as often as they are told to. One that does not, such as a tab whose timers
    // are throttled, is asked by a frame that browsers answer.
    let silence = ping * 4 / 3;
    let mut ping_at = heard.silent_for(silence);
    let mut closing = drain.closing();
    let code = loop {
        let message = tokio::select! {
            next = drain.next() => match next {
                Next::Text(text) => Message::Text(text),
                Next::Close(code) => break code,
            },
            () = tokio::time::sleep_until(ping_at) => {
                let now = tokio::time::Instant::now();
                ping_at = heard.silent_for(silence);
                if ping_at > now {
                    continue;
                }
                ping_at = now + silence;
                Message::Ping(axum::body::Bytes::new())
            }
        };
        tokio::select! {
            // What was taken from the queue is in the sink before a reason to close is looked for: it
            // may be the `ended` that the reason belongs to.
            biased;
            sent = sink.send(message) => if sent.is_err() { return },
            reason = closing.wait_for(Option::is_some) => {
                break reason.ok().and_then(|code| *code).unwrap_or(close::GOING_AWAY);
            }
        }
    };
    let goodbye = async {
        while let Some(text) = drain.rest() {
            sink.send(Message::Text(text)).await?;
        }
        let reason = close::ALL.iter().find(|(_, one, _)| *one == code);
        let reason = reason.map(|(.., text)| *text).unwrap_or_default().into();
        sink.send(Message::Close(Some(CloseFrame { code, reason }))).await
    };
    let _ = timeout(farewell, goodbye).await;
    if code == close::TOO_BIG {
        // What the client still sends cannot be read any more, see `run`.
        tokio::time::sleep(farewell).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_fall_silent_at_about_the_same_time_are_looked_at_together() {
        let silence = Duration::from_secs(16);
        let heard = LastHeard::new();
        let begun = *EPOCH + Duration::from_secs(100);
        let mut looked: Vec<_> = (0..160_u32)
            .map(|number| {
                let last = begun + number * Duration::from_millis(97);
                heard.set(last);
                let at = heard.silent_for(silence);
                assert!(at >= last + silence && at < last + silence + silence / 16, "{number}");
                at
            })
            .collect();
        looked.dedup();
        assert_eq!(looked.len(), 17, "of 15.5 s, one in each second");
        // Times of tests, too, end.
        assert!(heard.silent_for(Duration::ZERO) >= begun);
    }
}
