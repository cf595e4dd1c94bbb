//! How far each webhook has got in the log of events.
//!
//! Owns: the cursors, and the events that a receiver did not take in time (dead letters).
//! Never: sends.

use crate::backend::{Row, Tx};
use crate::events::{self, Event};
use crate::store::{Store, StoreError};

const BEGIN: &str =
    "INSERT INTO webhook (name, position) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
const CURSOR: &str = "SELECT position FROM webhook WHERE name = $1";
const ADVANCE: &str = "UPDATE webhook SET position = $2 WHERE name = $1 AND position < $2";
const BURY: &str = "INSERT INTO dead_letter (webhook, position, at, reason) \
     VALUES ($1, $2, $3, $4) ON CONFLICT (webhook, position) DO NOTHING";
const BURIED: &str = "SELECT position, at, reason FROM dead_letter \
     WHERE webhook = $1 AND position > $2 ORDER BY position LIMIT $3";
const EXHUME: &str = "DELETE FROM dead_letter WHERE webhook = $1 AND position = $2";

#[cfg(test)]
pub(crate) const ALL: &[&str] = &[BEGIN, CURSOR, ADVANCE, BURY, BURIED, EXHUME];

/// An event that a webhook's receiver did not take in time.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// When it was given up, in milliseconds since 1970.
    pub at: i64,
    /// The last failure.
    pub reason: String,
    /// What was to be told.
    pub event: Event,
}

/// The position up to which a webhook was told, if it has begun.
pub(crate) async fn told(tx: &mut Tx, webhook: &str) -> Result<Option<i64>, StoreError> {
    let row = tx.row(CURSOR, &[webhook.into()]).await?;
    Ok(row.map(|row| row.int(0)).transpose()?)
}

impl Store {
    /// The position up to which a webhook was told; a new one begins with what happens from now on.
    ///
    /// # Errors
    /// When the store is down.
    pub async fn cursor(&self, webhook: &str) -> Result<i64, StoreError> {
        self.write(async |tx| {
            let newest = events::newest(tx).await?;
            tx.run(BEGIN, &[webhook.into(), newest.into()]).await?;
            let row = tx.row(CURSOR, &[webhook.into()]).await?.ok_or(StoreError::NotFound)?;
            Ok(row.int(0)?)
        })
        .await
    }

    /// A webhook was told all up to a position, but for `dead`, which it is no longer told.
    ///
    /// # Errors
    /// When the store is down.
    pub async fn advance(
        &self,
        webhook: &str,
        position: i64,
        dead: &[(i64, String)],
        at: i64,
    ) -> Result<(), StoreError> {
        self.write(async |tx| {
            for (position, reason) in dead {
                let values = [webhook.into(), (*position).into(), at.into(), reason.into()];
                tx.run(BURY, &values).await?;
            }
            tx.run(ADVANCE, &[webhook.into(), position.into()]).await?;
            Ok(())
        })
        .await
    }

    /// Dead letters of a webhook after a position, oldest first.
    ///
    /// # Errors
    /// When the store is down.
    pub async fn dead_letters(
        &self,
        webhook: &str,
        after: i64,
        limit: i64,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        self.read(async |tx| {
            let rows = tx.rows(BURIED, &[webhook.into(), after.into(), limit.into()]).await?;
            let mut found = Vec::new();
            for row in rows {
                if let Some(event) = events::find(tx, row.int(0)?).await? {
                    found.push(letter(&row, event)?);
                }
            }
            Ok(found)
        })
        .await
    }

    /// A dead letter was delivered after all.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or when the store is down.
    pub async fn exhume(&self, webhook: &str, position: i64) -> Result<(), StoreError> {
        self.write(async |tx| match tx.run(EXHUME, &[webhook.into(), position.into()]).await? {
            0 => Err(StoreError::NotFound),
            _ => Ok(()),
        })
        .await
    }
}

fn letter(row: &Row, event: Event) -> Result<DeadLetter, StoreError> {
    Ok(DeadLetter { at: row.int(1)?, reason: row.text(2)?, event })
}
