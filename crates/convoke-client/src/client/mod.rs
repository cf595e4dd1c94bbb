//! A ready client for tokio programs: signalling, sockets and media in one.
//!
//! Owns: the tasks behind [`Client`] and [`Call`], and their errors.
//! Never: decides about media; the server and the app do.

mod agent;
mod call;
mod data;
mod driver;
mod moderation;
mod ring;
mod seat;
mod socket;
mod state;

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use convoke_protocol::{ClientMessage, ErrorReply, Join, Joined, Moved, ServerMessage, Welcome};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use agent::{Agent, Answer, ToAgent, Told};

pub use call::{
    Call, CallEvent, Events, JoinError, JoinOptions, Packets, Publication, SourceStart,
    TrackHandle, WriteError,
};
pub use data::{CallData, CallDataReceived, DataError};
pub use moderation::Standing;
pub use ring::{Incoming, StartCallOptions};
pub use seat::{Seat, SeatEvent};
pub use socket::ConnectError;
pub use state::{CallChange, CallState};

/// Requests that may wait for the agent's task.
const COMMANDS: usize = 256;
/// Calls that ring, of which a slow reader may be behind; then it loses the oldest.
const INCOMING: usize = 64;

/// Settings of a [`Client`].
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// A name to show where the token gives none.
    pub display_name: Option<String>,
    /// Name and version of the app, for the server's logs.
    pub user_agent: String,
    /// How long opening the WebSocket and `hello` may take together.
    pub connect_timeout: Duration,
    /// How long a request may wait for its answer.
    pub request_timeout: Duration,
    /// The first wait before reconnecting; doubled each time, and shortened at random.
    pub reconnect_first: Duration,
    /// The longest wait before reconnecting.
    pub reconnect_most: Duration,
    /// The local address of media sockets; that of the WebSocket when absent.
    pub bind: Option<IpAddr>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            display_name: None,
            user_agent: concat!("convoke-client/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(10),
            reconnect_first: Duration::from_millis(250),
            reconnect_most: Duration::from_secs(5),
            bind: None,
        }
    }
}

/// Why a request failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The server refused.
    #[error("refused ({:?}): {}", .0.code, .0.message)]
    Refused(ErrorReply),
    /// The WebSocket is gone, or went before the answer came. The request may or may not have been
    /// carried out; the client reconnects by itself.
    #[error("the connection to the server is lost; reconnecting")]
    Disconnected,
    /// No answer came in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// Too many requests wait for their answers.
    #[error("too many requests at once")]
    TooMany,
    /// The client or the call is over.
    #[error("the client or the call is over")]
    Closed,
    /// The server's answer is not one to this request.
    #[error("the server gave an answer of another kind")]
    Unexpected,
}

/// An authenticated agent: one WebSocket, kept up. Dropping it and its [`Call`] closes both.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use convoke_client::media::Codec;
/// use convoke_client::source::{VideoConfig, VideoSource};
/// use convoke_client::{Client, ClientOptions, JoinOptions, Publication};
/// use convoke_protocol::Source;
///
/// let client = Client::connect("ws://127.0.0.1:8080", "token", ClientOptions::default()).await?;
/// let camera = Publication::with_source(Source::Camera, |start| {
///     Box::new(VideoSource::new(
///         VideoConfig::new(Codec::Vp8, start.csrc, start.now, start.now),
///         1,
///     ))
/// });
/// let options = JoinOptions { publish: vec![camera], ..JoinOptions::default() };
/// let call = client.join("6ba7b810-9dad-11d1-80b4-00c04fd430c8", options).await?;
/// let mut packets = call.packets();
/// while let Some(packet) = packets.next().await {
///     println!("{} bytes from {:?}", packet.payload.len(), packet.csrc);
/// }
/// call.leave().await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Client {
    agent: AgentHandle,
    options: ClientOptions,
    local_ip: Option<IpAddr>,
}

/// The way to the agent's task.
#[derive(Debug, Clone)]
pub(crate) struct AgentHandle {
    commands: mpsc::Sender<ToAgent>,
    welcome: watch::Receiver<Welcome>,
    incoming: broadcast::Sender<Incoming>,
    /// For the first reader: it begins with what came since the agent is there.
    first: Arc<Mutex<Option<broadcast::Receiver<Incoming>>>>,
    timeout: Duration,
}

impl AgentHandle {
    async fn ask(
        &self,
        command: impl FnOnce(Answer) -> ToAgent,
    ) -> Result<ServerMessage, RequestError> {
        let (answer, answered) = oneshot::channel();
        let asking = async {
            self.commands.send(command(answer)).await.map_err(|_| RequestError::Closed)?;
            answered.await.map_err(|_| RequestError::Closed)?
        };
        let limit = self.timeout;
        tokio::time::timeout(limit, asking).await.unwrap_or(Err(RequestError::Timeout(limit)))
    }

    pub(crate) async fn request(
        &self,
        message: ClientMessage,
    ) -> Result<ServerMessage, RequestError> {
        self.ask(|answer| ToAgent::Request(message, answer)).await
    }
}

impl Client {
    /// Connects to the server at `url` (its base, or its `/agent`) and authenticates.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses the token.
    pub async fn connect(
        url: &str,
        token: &str,
        options: ClientOptions,
    ) -> Result<Self, ConnectError> {
        let url = socket::agent_url(url)?;
        let opened = socket::open(&url, token, &options).await?;
        let local_ip = options.bind.or(opened.local_ip);
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let (sender, welcome) = watch::channel(opened.welcome.clone());
        let (incoming, first) = broadcast::channel(INCOMING);
        let first = Arc::new(Mutex::new(Some(first)));
        let told = Told { welcome: sender, incoming: incoming.clone() };
        let agent = Agent::new(url, token.to_owned(), options.clone(), receiver, told);
        tokio::spawn(agent.run(opened));
        let timeout = options.request_timeout;
        let agent = AgentHandle { commands, welcome, incoming, first, timeout };
        Ok(Self { agent, options, local_ip })
    }

    /// What the server said when it accepted the token.
    #[must_use]
    pub fn welcome(&self) -> Welcome {
        self.agent.welcome.borrow().clone()
    }

    /// Renews the access token, also for reconnecting.
    ///
    /// # Errors
    /// When the server refuses it, or cannot be asked now (it is then used when reconnecting).
    pub async fn renew_token(&self, token: &str) -> Result<(), RequestError> {
        let token = token.to_owned();
        self.agent.ask(|answer| ToAgent::Token(token, answer)).await.map(|_| ())
    }

    /// Joins (or starts) the group call. Where it has a lobby this may take long; see
    /// [`JoinOptions::in_lobby`].
    ///
    /// # Errors
    /// When media sockets cannot be had or the server refuses; nothing is left behind.
    pub async fn join(&self, group_id: &str, options: JoinOptions) -> Result<Call, JoinError> {
        call::join(self, |media| media.join(group_id.to_owned(), None), options).await
    }

    /// Joins the call of a scheduled room.
    ///
    /// # Errors
    /// As [`Client::join`].
    pub async fn join_room(&self, room_id: &str, options: JoinOptions) -> Result<Call, JoinError> {
        let room_id = Some(room_id.to_owned());
        call::join(self, |media| media.join(String::new(), room_id), options).await
    }

    /// Goes into the call that [`CallEvent::Moved`] names. The present [`Call`] goes on until that is
    /// done, and ends with [`EndReason::moved`](convoke_protocol::EndReason::moved); when it fails,
    /// it goes on as before.
    ///
    /// # Errors
    /// As [`Client::join`].
    pub async fn follow(&self, moved: &Moved, options: JoinOptions) -> Result<Call, JoinError> {
        self.join(&moved.group_id, options).await
    }

    /// Joins with offers that the app made itself, and leaves the media to it: for programs that
    /// drive many [`crate::media::MediaPeer`]s together.
    ///
    /// # Errors
    /// When the server refuses or cannot be asked.
    pub async fn join_bare(&self, join: Join) -> Result<(Joined, Seat), RequestError> {
        seat::join(self, join).await
    }
}

#[cfg(test)]
mod tests;
