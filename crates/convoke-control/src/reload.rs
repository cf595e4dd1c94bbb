//! Reading the configuration anew, on demand.
//!
//! Owns: the way from whoever asks to whoever has read it at the start, and what is told of it.
//! Never: reads a file; the host does, and calls [`crate::Control::reconfigure`].

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use utoipa::ToSchema;

/// What reading the configuration anew came to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reloaded {
    /// Keys whose values have changed, and hold now. Files that keys name were read again too.
    pub changed: Vec<String>,
    /// Keys whose values have changed, and hold only after a restart.
    pub needs_restart: Vec<String>,
}

/// Somebody asks for it. The error says what is wrong with the file; nothing is changed then.
#[derive(Debug)]
pub struct Reload(oneshot::Sender<Result<Reloaded, String>>);

impl Reload {
    /// Tells whoever asked.
    pub fn answer(self, result: Result<Reloaded, String>) {
        // Whoever hung up need not be told.
        let _ = self.0.send(result);
    }
}

/// The way to whoever reads the configuration. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reloads(mpsc::Sender<Reload>);

impl Reloads {
    /// The way, and its end.
    #[must_use]
    pub fn channel() -> (Self, mpsc::Receiver<Reload>) {
        let (to, from) = mpsc::channel(1);
        (Self(to), from)
    }

    /// Asks, and waits for what it came to; `None` when nobody listens any more.
    pub(crate) async fn ask(&self) -> Option<Result<Reloaded, String>> {
        let (to, told) = oneshot::channel();
        self.0.send(Reload(to)).await.ok()?;
        told.await.ok()
    }
}
