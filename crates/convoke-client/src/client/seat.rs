//! A joined call whose media the app drives itself.
//!
//! Owns: the call's signalling, message by message.
//! Never: touches media, or keeps what the messages said.

use convoke_protocol::{ClientMessage, EndReason, Join, Joined, ServerMessage};
use tokio::sync::mpsc;

use super::agent::{FromAgent, ToAgent};
use super::{AgentHandle, Client, RequestError};

/// Messages that may wait for the app. When it is slower, it slows its WebSocket down.
const SINK: usize = 256;

/// What happens in a call.
#[derive(Debug, Clone)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "one at a time, and most are messages")]
pub enum SeatEvent {
    /// The server said something of the call.
    Message(ServerMessage),
    /// The WebSocket is lost; the client reconnects by itself.
    Reconnecting,
    /// It is back; [`ServerMessage::Resumed`] came before.
    Reconnected,
    /// The call is over without an `ended` of the server.
    Over(EndReason),
}

/// A place in a call, from [`Client::join_bare`]. Dropping it leaves the call.
#[derive(Debug)]
pub struct Seat {
    agent: AgentHandle,
    messages: mpsc::Receiver<FromAgent>,
}

pub(super) async fn join(client: &Client, join: Join) -> Result<(Joined, Seat), RequestError> {
    let (sink, messages) = mpsc::channel(SINK);
    let message = ClientMessage::Join(join);
    match client.agent.ask(|answer| ToAgent::Join(message, sink, answer)).await? {
        ServerMessage::Joined(joined) => {
            Ok((joined, Seat { agent: client.agent.clone(), messages }))
        }
        _ => Err(RequestError::Unexpected),
    }
}

impl Seat {
    /// The next event; `None` when the call is over and all events are read.
    pub async fn next(&mut self) -> Option<SeatEvent> {
        Some(match self.messages.recv().await? {
            FromAgent::Message(message) => SeatEvent::Message(message),
            FromAgent::Lost => SeatEvent::Reconnecting,
            FromAgent::Back { .. } => SeatEvent::Reconnected,
            FromAgent::Over(reason) => SeatEvent::Over(reason),
        })
    }

    /// Asks the server; the request's number is the client's business. The answer waits for events
    /// that wait in [`Self::next`], so read those meanwhile.
    ///
    /// # Errors
    /// When the server refuses or cannot be asked.
    pub fn request(
        &self,
        message: ClientMessage,
    ) -> impl Future<Output = Result<ServerMessage, RequestError>> + Send + 'static {
        let agent = self.agent.clone();
        async move { agent.request(message).await }
    }
}
