//! Who changed what, and when.
//!
//! Owns: the audit log. Entries that stand alone are written many at a time, and each caller waits
//! for its own to be safe.
//! Never: holds what was changed to, or a secret.

use tokio::sync::{mpsc, oneshot};

use crate::backend::{Row, Tx};
use crate::store::{Store, StoreError};

const NEXT: &str = "UPDATE counter SET value = value + 1 WHERE name = 'audit' RETURNING value";
const INSERT: &str = "INSERT INTO audit (position, at, actor, action, target, request_id) \
     VALUES ($1, $2, $3, $4, $5, $6)";
const LIST: &str = "SELECT position, at, actor, action, target, request_id FROM audit \
     WHERE position > $1 ORDER BY position LIMIT $2";

#[cfg(test)]
pub(crate) const ALL: &[&str] = &[NEXT, INSERT, LIST];

/// Entries that wait to be written.
const QUEUE: usize = 4096;
/// Entries in one transaction.
const BATCH: usize = 256;

/// Who asks for a change, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// In milliseconds since 1970.
    pub at: i64,
    /// Who: the name of a service key.
    pub actor: String,
    /// What is done, as `room.create`.
    pub action: &'static str,
    /// The caller's id of the request, perhaps empty.
    pub request_id: String,
}

/// One entry of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its place in the log.
    pub position: i64,
    /// In milliseconds since 1970.
    pub at: i64,
    /// Who did it.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// What it was done to.
    pub target: String,
    /// The caller's id of the request, perhaps empty.
    pub request_id: String,
}

type Waiting = (Change, String, oneshot::Sender<Result<(), StoreError>>);

/// The way to the task that writes entries which stand alone.
#[derive(Clone)]
pub(crate) struct AuditQueue(Option<mpsc::Sender<Waiting>>);

impl AuditQueue {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Waiting>) {
        let (to, from) = mpsc::channel(QUEUE);
        (Self(Some(to)), from)
    }

    /// For the task itself, which must not keep its own queue open.
    pub(crate) fn closed() -> Self {
        Self(None)
    }
}

impl Change {
    /// Writes the entry of this change within its transaction.
    pub(crate) async fn audit(&self, tx: &mut Tx, target: &str) -> Result<(), StoreError> {
        let position = tx.row(NEXT, &[]).await?.ok_or(StoreError::NotFound)?.int(0)?;
        let values = [
            position.into(),
            self.at.into(),
            (&self.actor).into(),
            self.action.into(),
            target.into(),
            (&self.request_id).into(),
        ];
        tx.run(INSERT, &values).await?;
        Ok(())
    }
}

impl Store {
    /// Writes an entry for something that changes nothing else here, such as the issue of a token.
    /// It is safe when this returns.
    ///
    /// # Errors
    /// When the store is down.
    pub async fn audit(&self, change: Change, target: &str) -> Result<(), StoreError> {
        let (done, written) = oneshot::channel();
        let down = || StoreError::Unavailable("too much is waiting to be written".to_owned());
        let queue = self.audit_queue().0.as_ref().ok_or_else(down)?;
        queue.try_send((change, target.to_owned(), done)).map_err(|_| down())?;
        match tokio::time::timeout(self.patience() * 2, written).await {
            Ok(Ok(result)) => result,
            _ => Err(down()),
        }
    }

    /// Starts the task that writes; it ends with the last store.
    pub(crate) fn start_audit(mut self, mut queue: mpsc::Receiver<Waiting>) {
        self.close_queue();
        tokio::spawn(async move {
            let mut batch = Vec::new();
            while queue.recv_many(&mut batch, BATCH).await > 0 {
                let result = self
                    .write(async |tx| {
                        for (change, target, _) in &batch {
                            change.audit(tx, target).await?;
                        }
                        Ok(())
                    })
                    .await;
                let failed = result.err().map(|error| error.to_string());
                for (.., done) in batch.drain(..) {
                    let told = failed.clone().map(StoreError::Unavailable);
                    // Whoever stopped waiting need not be told.
                    let _ = done.send(told.map_or(Ok(()), Err));
                }
            }
        });
    }

    /// Entries after a position, oldest first.
    ///
    /// # Errors
    /// When the store is down.
    pub async fn audits(&self, after: i64, limit: i64) -> Result<Vec<AuditEntry>, StoreError> {
        self.read(async |tx| {
            let rows = tx.rows(LIST, &[after.into(), limit.into()]).await?;
            rows.iter().map(entry).collect()
        })
        .await
    }
}

fn entry(row: &Row) -> Result<AuditEntry, StoreError> {
    Ok(AuditEntry {
        position: row.int(0)?,
        at: row.int(1)?,
        actor: row.text(2)?,
        action: row.text(3)?,
        target: row.text(4)?,
        request_id: row.text(5)?,
    })
}
