//! Calling and being called.
//!
//! Owns: the requests, and what an agent hears of calls that ring for it.
//! Never: holds a ring; the server does.

use std::sync::PoisonError;
use std::time::Duration;

use convoke_protocol::{
    AcceptCall, ClientMessage, IncomingCall, IncomingCallEnded, RejectCall, StartCall,
};
use tokio::sync::broadcast;

use super::call::{self, Call, JoinError, JoinOptions, acked};
use super::{Client, RequestError};

/// What an agent hears of calls that ring for it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Incoming {
    /// Somebody calls.
    Rings(IncomingCall),
    /// It rings no more, other than by this client's doing.
    Ended(IncomingCallEnded),
}

/// How to call.
#[derive(Debug, Default)]
pub struct StartCallOptions {
    /// For those who are called.
    pub custom_context: Option<String>,
    /// How long to ring; the server's own time when absent.
    pub timeout: Option<Duration>,
    /// As for a join.
    pub join: JoinOptions,
}

impl Client {
    /// A reader of the calls that ring from now on; the first of a client begins with those that rang
    /// when it connected.
    #[must_use]
    pub fn incoming(&self) -> broadcast::Receiver<Incoming> {
        let first = self.agent.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        first.unwrap_or_else(|| self.agent.incoming.subscribe())
    }

    /// Starts a call and rings for these identities. How far that is stands in
    /// [`super::Standing::ringing`].
    ///
    /// # Errors
    /// When media sockets cannot be had or the server refuses; nothing is left behind.
    pub async fn start_call(
        &self,
        targets: Vec<String>,
        options: StartCallOptions,
    ) -> Result<Call, JoinError> {
        let StartCallOptions { custom_context, timeout, join } = options;
        let timeout_ms = timeout.map(|time| u32::try_from(time.as_millis()).unwrap_or(u32::MAX));
        let start = |media: call::Media| {
            ClientMessage::StartCall(StartCall {
                request_id: None,
                targets,
                custom_context,
                timeout_ms,
                send: media.send,
                receive: media.receive,
                tracks: media.tracks,
            })
        };
        call::join(self, start, join).await
    }

    /// Joins a call that rings.
    ///
    /// # Errors
    /// When media sockets cannot be had or the server refuses.
    pub async fn accept(
        &self,
        incoming: &IncomingCall,
        options: JoinOptions,
    ) -> Result<Call, JoinError> {
        let incoming_call_id = incoming.incoming_call_id.clone();
        let accept = |media: call::Media| {
            ClientMessage::AcceptCall(AcceptCall {
                request_id: None,
                incoming_call_id,
                send: media.send,
                receive: media.receive,
                tracks: media.tracks,
            })
        };
        call::join(self, accept, options).await
    }

    /// Declines a call that rings; `busy`: on this client only.
    ///
    /// # Errors
    /// When the server refuses or cannot be asked.
    pub async fn reject(&self, incoming: &IncomingCall, busy: bool) -> Result<(), RequestError> {
        let incoming_call_id = incoming.incoming_call_id.clone();
        let reject = RejectCall { request_id: None, incoming_call_id, busy };
        acked(&self.agent.request(ClientMessage::RejectCall(reject)).await?)
    }
}
