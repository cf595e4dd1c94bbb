//! What happened, in order.
//!
//! Owns: one log of all events, whose positions are in the order of commits, and in it one stream
//! for each call, room and identity, numbered from 1 without gaps. An event is written in the
//! transaction of the change that it tells of.
//! Never: delivers; see `webhooks` for how far each receiver has got.

use serde_json::Value as Json;

use crate::backend::{Row, Tx};
use crate::store::{Store, StoreError};

/// Locks the log until the commit, so that a reader never finds a position behind one that it has.
const NEXT: &str = "UPDATE counter SET value = value + 1 WHERE name = 'event' RETURNING value";
const LAST_SEQ: &str = "SELECT COALESCE(MAX(seq), 0) FROM event WHERE stream = $1";
const INSERT: &str = "INSERT INTO event (position, stream, seq, kind, at, data) \
     VALUES ($1, $2, $3, $4, $5, $6)";
const LIST: &str = "SELECT position, stream, seq, kind, at, data FROM event \
     WHERE position > $1 ORDER BY position LIMIT $2";
const STREAM: &str = "SELECT position, stream, seq, kind, at, data FROM event \
     WHERE stream = $1 AND seq > $2 ORDER BY seq LIMIT $3";
const ONE: &str = "SELECT position, stream, seq, kind, at, data FROM event WHERE position = $1";
const EXISTS: &str = "SELECT seq FROM event WHERE stream = $1 LIMIT 1";
const NEWEST: &str = "SELECT value FROM counter WHERE name = 'event'";

#[cfg(test)]
pub(crate) const ALL: &[&str] = &[NEXT, LAST_SEQ, INSERT, LIST, STREAM, ONE, EXISTS, NEWEST];

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its place in the log of all events.
    pub position: i64,
    /// What it is about: `calls/ID`, `rooms/ID` or `identities/ID`.
    pub stream: String,
    /// Its number in that stream, from 1.
    pub seq: i64,
    /// What happened, as `room.created`.
    pub kind: String,
    /// In milliseconds since 1970.
    pub at: i64,
    /// The details: a JSON object.
    pub data: Json,
}

/// Writes an event within the transaction of its change; its position.
pub(crate) async fn append(
    tx: &mut Tx,
    stream: &str,
    kind: &str,
    at: i64,
    data: &Json,
) -> Result<i64, StoreError> {
    let position = tx.row(NEXT, &[]).await?.ok_or(StoreError::NotFound)?.int(0)?;
    let last = tx.row(LAST_SEQ, &[stream.into()]).await?.ok_or(StoreError::NotFound)?.int(0)?;
    let values = [
        position.into(),
        stream.into(),
        (last + 1).into(),
        kind.into(),
        at.into(),
        (&data.to_string()).into(),
    ];
    tx.run(INSERT, &values).await?;
    Ok(position)
}

/// One event by its position.
pub(crate) async fn find(tx: &mut Tx, position: i64) -> Result<Option<Event>, StoreError> {
    tx.row(ONE, &[position.into()]).await?.as_ref().map(event).transpose()
}

/// The position of the newest event.
pub(crate) async fn newest(tx: &mut Tx) -> Result<i64, StoreError> {
    Ok(tx.row(NEWEST, &[]).await?.ok_or(StoreError::NotFound)?.int(0)?)
}

impl Store {
    /// Events after a position of the whole log, oldest first.
    ///
    /// # Errors
    /// When the store is down.
    pub async fn events(&self, after: i64, limit: i64) -> Result<Vec<Event>, StoreError> {
        self.read(async |tx| {
            let rows = tx.rows(LIST, &[after.into(), limit.into()]).await?;
            rows.iter().map(event).collect()
        })
        .await
    }

    /// The position of the newest event, 0 before the first.
    ///
    /// # Errors
    /// When the store is down.
    pub async fn newest_event(&self) -> Result<i64, StoreError> {
        self.read(newest).await
    }

    /// Events of one stream after a number, oldest first. A stream's events outlive what they are
    /// about.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the stream never had any.
    pub async fn stream(
        &self,
        stream: &str,
        after: i64,
        limit: i64,
    ) -> Result<Vec<Event>, StoreError> {
        self.read(async |tx| {
            let rows = tx.rows(STREAM, &[stream.into(), after.into(), limit.into()]).await?;
            if rows.is_empty() && tx.row(EXISTS, &[stream.into()]).await?.is_none() {
                return Err(StoreError::NotFound);
            }
            rows.iter().map(event).collect()
        })
        .await
    }
}

fn event(row: &Row) -> Result<Event, StoreError> {
    Ok(Event {
        position: row.int(0)?,
        stream: row.text(1)?,
        seq: row.int(2)?,
        kind: row.text(3)?,
        at: row.int(4)?,
        data: serde_json::from_str(&row.text(5)?).unwrap_or_default(),
    })
}
