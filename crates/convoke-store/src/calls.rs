//! Who was in which call, when, and how it ended.
//!
//! Owns: call records, and the events of calls, written together and in order.
//! Never: is asked whether a call runs: the control plane's tables say that.

use serde_json::{Value, json};

use crate::backend::{Row, Tx};
use crate::events;
use crate::store::{Store, StoreError};

const START: &str = "INSERT INTO call_record (id, locator, started_at) VALUES ($1, $2, $3) \
     ON CONFLICT (id) DO NOTHING";
const END: &str = "UPDATE call_record SET ended_at = $2 WHERE id = $1 AND ended_at IS NULL";
const JOIN: &str = "INSERT INTO participation (call, participant, identity, joined_at) \
     VALUES ($1, $2, $3, $4) ON CONFLICT (call, participant) DO NOTHING";
const LEAVE: &str = "UPDATE participation SET left_at = $3, code = $4, sub_code = $5 \
     WHERE call = $1 AND participant = $2 AND left_at IS NULL";
const FIND: &str = "SELECT id, locator, started_at, ended_at FROM call_record WHERE id = $1";
const LIST: &str = "SELECT id, locator, started_at, ended_at FROM call_record \
     WHERE id > $1 ORDER BY id LIMIT $2";
const PARTICIPATIONS: &str = "SELECT participant, identity, joined_at, left_at, code, sub_code \
     FROM participation WHERE call = $1 ORDER BY joined_at, participant LIMIT $2";

/// ACS's name of that event.
const INCOMING: &str = "Microsoft.Communication.IncomingCall";

#[cfg(test)]
pub(crate) const ALL: &[&str] = &[START, END, JOIN, LEAVE, FIND, LIST, PARTICIPATIONS];

/// Something that happened in a call. Times are in milliseconds since 1970; `more` is what its event
/// tells besides: the fields of a JSON object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallChange {
    /// A call began.
    Started {
        /// Its id.
        call: String,
        /// `groups/GUID` or `rooms/ID`.
        locator: String,
        /// When.
        at: i64,
        /// More that is told.
        more: Value,
    },
    /// Somebody came.
    Joined {
        /// Which call.
        call: String,
        /// The participant's id.
        participant: String,
        /// Who it is.
        identity: String,
        /// When.
        at: i64,
        /// More that is told.
        more: Value,
    },
    /// Somebody went.
    Left {
        /// Which call.
        call: String,
        /// The participant's id.
        participant: String,
        /// Who it is.
        identity: String,
        /// When.
        at: i64,
        /// Why, as clients are told.
        code: i64,
        /// Why more precisely.
        sub_code: i64,
        /// More that is told.
        more: Value,
    },
    /// A call rings for somebody.
    Incoming {
        /// Which call.
        call: String,
        /// What is told, as ACS has it.
        data: Value,
        /// When.
        at: i64,
    },
    /// A call is over.
    Ended {
        /// Its id.
        call: String,
        /// When.
        at: i64,
        /// More that is told.
        more: Value,
    },
}

/// A call, past or present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallRecord {
    /// Its id.
    pub id: String,
    /// `groups/GUID` or `rooms/ID`.
    pub locator: String,
    /// When it began.
    pub started_at: i64,
    /// When it ended; `None` also if the server was killed meanwhile.
    pub ended_at: Option<i64>,
}

/// One person's part in a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Participation {
    /// The participant's id.
    pub participant: String,
    /// Who it is.
    pub identity: String,
    /// When they came.
    pub joined_at: i64,
    /// When they went.
    pub left_at: Option<i64>,
    /// Why.
    pub code: Option<i64>,
    /// Why more precisely.
    pub sub_code: Option<i64>,
}

async fn apply(tx: &mut Tx, change: &CallChange) -> Result<i64, StoreError> {
    let (call, kind, at, data) = match change {
        CallChange::Started { call, locator, at, more } => {
            tx.run(START, &[call.into(), locator.into(), (*at).into()]).await?;
            let data = json!({ "call": call, "locator": locator });
            (call, "call.started", *at, with(data, more))
        }
        CallChange::Joined { call, participant, identity, at, more } => {
            let values = [call.into(), participant.into(), identity.into(), (*at).into()];
            tx.run(JOIN, &values).await?;
            let data = json!({ "call": call, "participant": participant, "identity": identity });
            (call, "call.participantJoined", *at, with(data, more))
        }
        CallChange::Left { call, participant, identity, at, code, sub_code, more } => {
            let values =
                [call.into(), participant.into(), (*at).into(), (*code).into(), (*sub_code).into()];
            tx.run(LEAVE, &values).await?;
            let data = json!({
                "call": call,
                "participant": participant,
                "identity": identity,
                "code": code,
                "subCode": sub_code,
            });
            (call, "call.participantLeft", *at, with(data, more))
        }
        CallChange::Incoming { call, data, at } => (call, INCOMING, *at, data.clone()),
        CallChange::Ended { call, at, more } => {
            tx.run(END, &[call.into(), (*at).into()]).await?;
            (call, "call.ended", *at, with(json!({ "call": call }), more))
        }
    };
    events::append(tx, &format!("calls/{call}"), kind, at, &data).await
}

/// What is told of a change, and more: its own fields stand.
fn with(mut data: Value, more: &Value) -> Value {
    if let (Some(data), Some(more)) = (data.as_object_mut(), more.as_object()) {
        for (name, value) in more {
            data.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
    data
}

impl Store {
    /// Records what happened in calls, in this order, all or nothing.
    ///
    /// # Errors
    /// When the store is down.
    pub async fn record(&self, changes: &[CallChange]) -> Result<(), StoreError> {
        let position = self
            .write(async |tx| {
                let mut position = 0;
                for change in changes {
                    position = apply(tx, change).await?;
                }
                Ok(position)
            })
            .await?;
        self.announce(position);
        Ok(())
    }

    /// A call and who was in it, at most `limit` of them.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or when the store is down.
    pub async fn call_record(
        &self,
        id: &str,
        limit: i64,
    ) -> Result<(CallRecord, Vec<Participation>), StoreError> {
        self.read(async |tx| {
            let row = tx.row(FIND, &[id.into()]).await?.ok_or(StoreError::NotFound)?;
            let rows = tx.rows(PARTICIPATIONS, &[id.into(), limit.into()]).await?;
            let people = rows.iter().map(participation).collect::<Result<_, _>>()?;
            Ok((call(&row)?, people))
        })
        .await
    }

    /// Calls after an id, in the order of ids.
    ///
    /// # Errors
    /// When the store is down.
    pub async fn call_records(
        &self,
        after: &str,
        limit: i64,
    ) -> Result<Vec<CallRecord>, StoreError> {
        self.read(async |tx| {
            let rows = tx.rows(LIST, &[after.into(), limit.into()]).await?;
            rows.iter().map(call).collect()
        })
        .await
    }
}

fn call(row: &Row) -> Result<CallRecord, StoreError> {
    Ok(CallRecord {
        id: row.text(0)?,
        locator: row.text(1)?,
        started_at: row.int(2)?,
        ended_at: row.maybe_int(3)?,
    })
}

fn participation(row: &Row) -> Result<Participation, StoreError> {
    Ok(Participation {
        participant: row.text(0)?,
        identity: row.text(1)?,
        joined_at: row.int(2)?,
        left_at: row.maybe_int(3)?,
        code: row.maybe_int(4)?,
        sub_code: row.maybe_int(5)?,
    })
}
