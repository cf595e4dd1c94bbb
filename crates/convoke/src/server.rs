//! A media node and its control plane as one.
//!
//! Owns: the order in which they start and stop.
//! Never: listens for HTTP by itself; its host nests the router where it likes.

use std::time::Duration;

use axum::Router;
use convoke_control::{Control, ControlConfig};
use convoke_node::{Handle, Node, NodeConfig, StartError};
use convoke_protocol::EndReason;

/// How a drain went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// All calls ended by themselves.
    Idle,
    /// Time was up, and the calls left were ended.
    DeadlinePassed {
        /// How many there were.
        calls: usize,
    },
}

/// Group calls, running. [`Server::stop`] says goodbye to all participants; dropping it does not.
#[derive(Debug)]
pub struct Server {
    node: Node,
    handle: Handle,
    control: Control,
}

impl Server {
    /// Binds the media sockets and starts. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When a media socket cannot be bound or has no address to tell to clients.
    pub async fn start(media: NodeConfig, control: ControlConfig) -> Result<Self, StartError> {
        let (node, events) = Node::start(media).await?;
        let handle = node.handle();
        let control = Control::start(handle.clone(), events, control);
        Ok(Self { node, handle, control })
    }

    /// What clients need: `/agent` (WebSocket), `/healthz`, `/readyz`, and the demo at `/`.
    pub fn router(&self) -> Router {
        self.control.router()
    }

    /// `/metrics`, for a listener that strangers do not reach.
    pub fn metrics_router(&self) -> Router {
        self.control.metrics_router()
    }

    /// Calls and their participants.
    #[must_use]
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// The media node.
    #[must_use]
    pub fn node(&self) -> &Handle {
        &self.handle
    }

    /// Refuses new joins, waits until all calls have ended but at most for `patience`, then ends
    /// those left.
    pub async fn drain(&self, patience: Duration) -> Drained {
        self.control.drain();
        if tokio::time::timeout(patience, self.control.wait_idle()).await.is_ok() {
            return Drained::Idle;
        }
        let calls = self.control.active_calls();
        self.control.end_all(EndReason::server_stopped()).await;
        Drained::DeadlinePassed { calls }
    }

    /// Ends all calls, tells their participants, and stops.
    pub async fn stop(self) {
        self.control.end_all(EndReason::server_stopped()).await;
        self.node.shutdown().await;
    }
}
