//! How long events and audit entries are kept.
//!
//! Owns: the trimming of both logs from their old end, in bounded transactions.
//! Never: takes an event that a webhook has yet to be told, or the last of a stream that may go on:
//! the next one's number comes from it.

use crate::backend::Tx;
use crate::store::{Store, StoreError};

/// Rows looked at in one transaction.
const WINDOW: i64 = 1_000;

const OLD_EVENTS: &str =
    "SELECT position, at FROM event WHERE position > $1 ORDER BY position LIMIT $2";
const TRIM_EVENTS: &str = "DELETE FROM event WHERE position > $1 AND position <= $2 \
     AND (kind IN ('call.ended', 'room.deleted', 'identity.deleted') \
     OR EXISTS (SELECT 1 FROM event later WHERE later.stream = event.stream \
     AND later.seq > event.seq))";
const TRIM_LETTERS: &str = "DELETE FROM dead_letter WHERE position > $1 AND position <= $2 \
     AND NOT EXISTS (SELECT 1 FROM event WHERE event.position = dead_letter.position)";
const OLD_AUDIT: &str =
    "SELECT position, at FROM audit WHERE position > $1 ORDER BY position LIMIT $2";
const TRIM_AUDIT: &str = "DELETE FROM audit WHERE position <= $1";

#[cfg(test)]
pub(crate) const ALL: &[&str] = &[OLD_EVENTS, TRIM_EVENTS, TRIM_LETTERS, OLD_AUDIT, TRIM_AUDIT];

/// One step of trimming.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trimmed {
    /// Rows that are gone.
    pub rows: u64,
    /// Where the next step goes on; `None` when nothing more is old enough.
    pub next: Option<i64>,
}

impl Store {
    /// Takes events from before a time, in milliseconds since 1970, and the dead letters that go
    /// with them: one bounded step after position `after`, 0 for the first. The log is looked through
    /// in its order up to the first event that is not older, or that one of `webhooks` has not been
    /// told.
    ///
    /// # Errors
    /// When the store is down.
    pub async fn trim_events(
        &self,
        before: i64,
        webhooks: &[&str],
        after: i64,
    ) -> Result<Trimmed, StoreError> {
        self.write(async |tx| {
            let mut told = i64::MAX;
            for webhook in webhooks {
                // Of one that has not begun nothing is known: it begins with what is newest.
                told = told.min(crate::webhooks::told(tx, webhook).await?.unwrap_or(i64::MAX));
            }
            let old = |position, at| at < before && position <= told;
            let Some((last, more)) = window(tx, OLD_EVENTS, after, old).await? else {
                return Ok(Trimmed { rows: 0, next: None });
            };
            let rows = tx.run(TRIM_EVENTS, &[after.into(), last.into()]).await?;
            tx.run(TRIM_LETTERS, &[after.into(), last.into()]).await?;
            Ok(Trimmed { rows, next: more.then_some(last) })
        })
        .await
    }

    /// The same of the audit log.
    ///
    /// # Errors
    /// When the store is down.
    pub async fn trim_audit(&self, before: i64) -> Result<Trimmed, StoreError> {
        self.write(async |tx| {
            let Some((last, more)) = window(tx, OLD_AUDIT, 0, |_, at| at < before).await? else {
                return Ok(Trimmed { rows: 0, next: None });
            };
            let rows = tx.run(TRIM_AUDIT, &[last.into()]).await?;
            Ok(Trimmed { rows, next: more.then_some(last) })
        })
        .await
    }
}

/// The last of the rows after a position that are all old, and whether there may be more of them.
async fn window(
    tx: &mut Tx,
    sql: &'static str,
    after: i64,
    old: impl Fn(i64, i64) -> bool,
) -> Result<Option<(i64, bool)>, StoreError> {
    let rows = tx.rows(sql, &[after.into(), WINDOW.into()]).await?;
    let mut last = None;
    for row in &rows {
        let (position, at) = (row.int(0)?, row.int(1)?);
        if !old(position, at) {
            return Ok(last.map(|last| (last, false)));
        }
        last = Some(position);
    }
    let full = i64::try_from(rows.len()).is_ok_and(|count| count == WINDOW);
    Ok(last.map(|last| (last, full)))
}
