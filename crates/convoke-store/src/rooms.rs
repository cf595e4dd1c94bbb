//! Scheduled rooms and who may come in as what.
//!
//! Owns: their times and participants, and that a room ends after it begins.
//! Never: knows which calls run.

use std::fmt;
use std::str::FromStr;

use serde_json::json;

use crate::audit::Change;
use crate::backend::{Row, Tx};
use crate::events;
use crate::repeat::Repeat;
use crate::store::{Store, StoreError};

const INSERT: &str = "INSERT INTO room (id, created_at, valid_from, valid_until, pstn_dial_out) \
     VALUES ($1, $2, $3, $4, $5)";
const FIND: &str = "SELECT id, created_at, valid_from, valid_until, pstn_dial_out FROM room \
     WHERE id = $1";
const LIST: &str = "SELECT id, created_at, valid_from, valid_until, pstn_dial_out FROM room \
     WHERE id > $1 ORDER BY id LIMIT $2";
const UPDATE: &str = "UPDATE room SET valid_from = $2, valid_until = $3, pstn_dial_out = $4 \
     WHERE id = $1";
/// Locks the room until the commit.
const LOCK: &str = "UPDATE room SET pstn_dial_out = pstn_dial_out WHERE id = $1";
const DELETE: &str = "DELETE FROM room WHERE id = $1";
const PUT: &str = "INSERT INTO room_participant (room, raw_id, role) VALUES ($1, $2, $3) \
     ON CONFLICT (room, raw_id) DO UPDATE SET role = excluded.role";
const REMOVE: &str = "DELETE FROM room_participant WHERE room = $1 AND raw_id = $2";
const COUNT: &str = "SELECT COUNT(*) FROM room_participant WHERE room = $1";
const ROLE: &str = "SELECT role FROM room_participant WHERE room = $1 AND raw_id = $2";
const PARTICIPANTS: &str = "SELECT raw_id, role FROM room_participant \
     WHERE room = $1 AND raw_id > $2 ORDER BY raw_id LIMIT $3";

#[cfg(test)]
pub(crate) const ALL: &[&str] =
    &[INSERT, FIND, LIST, UPDATE, LOCK, DELETE, PUT, REMOVE, COUNT, ROLE, PARTICIPANTS];

/// A scheduled room. Times are in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// Its id: digits.
    pub id: String,
    /// When it was made.
    pub created_at: i64,
    /// From when on it can be joined.
    pub valid_from: i64,
    /// Until when.
    pub valid_until: i64,
    /// Whether its participants may call telephones.
    pub pstn_dial_out: bool,
}

/// A change of a room; what is `None` stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RoomPatch {
    /// The new beginning.
    pub valid_from: Option<i64>,
    /// The new end.
    pub valid_until: Option<i64>,
    /// The new permission.
    pub pstn_dial_out: Option<bool>,
}

/// What a participant may do in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Role {
    /// Everything.
    Presenter,
    /// Speak and be seen.
    #[default]
    Attendee,
    /// See and hear only.
    Consumer,
    /// Speak, be seen and share.
    Collaborator,
}

/// What became of a creation that may be repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// It was done.
    Now,
    /// It had been done before, and was answered this.
    Before(String),
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Presenter => "Presenter",
            Self::Attendee => "Attendee",
            Self::Consumer => "Consumer",
            Self::Collaborator => "Collaborator",
        })
    }
}

impl FromStr for Role {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        [Self::Presenter, Self::Attendee, Self::Consumer, Self::Collaborator]
            .into_iter()
            .find(|role| role.to_string() == text)
            .ok_or(StoreError::Invalid("no such role"))
    }
}

impl Room {
    fn check(&self) -> Result<(), StoreError> {
        if self.valid_until > self.valid_from {
            return Ok(());
        }
        Err(StoreError::Invalid("`validUntil` must be after `validFrom`"))
    }
}

fn stream(id: &str) -> String {
    format!("rooms/{id}")
}

async fn find(tx: &mut Tx, id: &str) -> Result<Room, StoreError> {
    tx.row(FIND, &[id.into()]).await?.as_ref().map(room).ok_or(StoreError::NotFound)?
}

impl Store {
    /// Keeps a new room with its participants.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] when it ends before it begins or the repeated request is another
    /// one, [`StoreError::Exists`] when the id is taken, or when the store is down.
    pub async fn create_room(
        &self,
        room: &Room,
        participants: &[(String, Role)],
        change: &Change,
        repeat: Option<&Repeat>,
    ) -> Result<Created, StoreError> {
        room.check()?;
        let created = self
            .write(async |tx| {
                if let Some(repeat) = repeat {
                    if let Some(reply) = repeat.found(tx).await? {
                        return Ok((Created::Before(reply), 0));
                    }
                    repeat.keep(tx, change.at).await?;
                }
                tx.run(
                    INSERT,
                    &[
                        (&room.id).into(),
                        room.created_at.into(),
                        room.valid_from.into(),
                        room.valid_until.into(),
                        room.pstn_dial_out.into(),
                    ],
                )
                .await?;
                for (raw_id, role) in participants {
                    let role = role.to_string();
                    tx.run(PUT, &[(&room.id).into(), raw_id.into(), (&role).into()]).await?;
                }
                change.audit(tx, &room.id).await?;
                let data = data(room);
                let kind = "room.created";
                let stream = stream(&room.id);
                let position = events::append(tx, &stream, kind, change.at, &data).await?;
                Ok((Created::Now, position))
            })
            .await;
        match (created, repeat) {
            // The same request at the same time was quicker.
            (Err(StoreError::Exists), Some(repeat)) => {
                let reply = self.read(async |tx| repeat.found(tx).await).await?;
                reply.map(Created::Before).ok_or(StoreError::Exists)
            }
            (created, _) => {
                let (created, position) = created?;
                self.announce(position);
                Ok(created)
            }
        }
    }

    /// A room.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or when the store is down.
    pub async fn room(&self, id: &str) -> Result<Room, StoreError> {
        self.read(async |tx| find(tx, id).await).await
    }

    /// A room, and as what an identity may come in.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for a room that is not there, or when the store is down.
    pub async fn room_for(
        &self,
        id: &str,
        identity: &str,
    ) -> Result<(Room, Option<Role>), StoreError> {
        self.read(async |tx| {
            let room = find(tx, id).await?;
            let role = tx.row(ROLE, &[id.into(), identity.into()]).await?;
            Ok((room, role.map(|row| row.text(0)?.parse()).transpose()?))
        })
        .await
    }

    /// Rooms after an id, in the order of ids.
    ///
    /// # Errors
    /// When the store is down.
    pub async fn rooms(&self, after: &str, limit: i64) -> Result<Vec<Room>, StoreError> {
        self.read(async |tx| {
            let rows = tx.rows(LIST, &[after.into(), limit.into()]).await?;
            rows.iter().map(room).collect()
        })
        .await
    }

    /// Changes a room.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Invalid`] when it would end before it begins, or
    /// when the store is down.
    pub async fn update_room(
        &self,
        id: &str,
        patch: RoomPatch,
        change: &Change,
    ) -> Result<Room, StoreError> {
        let (room, position) = self
            .write(async |tx| {
                tx.run(LOCK, &[id.into()]).await?;
                let mut room = find(tx, id).await?;
                room.valid_from = patch.valid_from.unwrap_or(room.valid_from);
                room.valid_until = patch.valid_until.unwrap_or(room.valid_until);
                room.pstn_dial_out = patch.pstn_dial_out.unwrap_or(room.pstn_dial_out);
                room.check()?;
                let values = [
                    id.into(),
                    room.valid_from.into(),
                    room.valid_until.into(),
                    room.pstn_dial_out.into(),
                ];
                tx.run(UPDATE, &values).await?;
                change.audit(tx, id).await?;
                let data = data(&room);
                let kind = "room.updated";
                let position = events::append(tx, &stream(id), kind, change.at, &data).await?;
                Ok((room, position))
            })
            .await?;
        self.announce(position);
        Ok(room)
    }

    /// Deletes a room and its participants.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or when the store is down.
    pub async fn delete_room(&self, id: &str, change: &Change) -> Result<(), StoreError> {
        let position = self
            .write(async |tx| {
                if tx.run(DELETE, &[id.into()]).await? == 0 {
                    return Err(StoreError::NotFound);
                }
                change.audit(tx, id).await?;
                let data = json!({ "room": id });
                events::append(tx, &stream(id), "room.deleted", change.at, &data).await
            })
            .await?;
        self.announce(position);
        Ok(())
    }

    /// Adds, changes (`Some`) and removes (`None`) participants. At most `most` may remain.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::TooMany`], or when the store is down.
    pub async fn patch_participants(
        &self,
        id: &str,
        patch: &[(String, Option<Role>)],
        most: usize,
        change: &Change,
    ) -> Result<(), StoreError> {
        let told: serde_json::Map<_, _> = patch
            .iter()
            .map(|(raw_id, role)| (raw_id.clone(), json!(role.map(|role| role.to_string()))))
            .collect();
        let data = json!({ "room": id, "participants": told });
        let position = self
            .write(async |tx| {
                tx.run(LOCK, &[id.into()]).await?;
                find(tx, id).await?;
                for (raw_id, role) in patch {
                    match role.map(|role| role.to_string()) {
                        Some(role) => {
                            tx.run(PUT, &[id.into(), raw_id.into(), (&role).into()]).await?
                        }
                        None => tx.run(REMOVE, &[id.into(), raw_id.into()]).await?,
                    };
                }
                let count = tx.row(COUNT, &[id.into()]).await?;
                let count = count.ok_or(StoreError::NotFound)?.int(0)?;
                if usize::try_from(count).unwrap_or(usize::MAX) > most {
                    return Err(StoreError::TooMany(most));
                }
                change.audit(tx, id).await?;
                let kind = "room.participantsChanged";
                events::append(tx, &stream(id), kind, change.at, &data).await
            })
            .await?;
        self.announce(position);
        Ok(())
    }

    /// Participants of a room after a raw id, in the order of raw ids.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or when the store is down.
    pub async fn room_participants(
        &self,
        id: &str,
        after: &str,
        limit: i64,
    ) -> Result<Vec<(String, Role)>, StoreError> {
        self.read(async |tx| {
            find(tx, id).await?;
            let rows = tx.rows(PARTICIPANTS, &[id.into(), after.into(), limit.into()]).await?;
            rows.iter().map(|row| Ok((row.text(0)?, row.text(1)?.parse()?))).collect()
        })
        .await
    }
}

/// A room as its events tell it.
fn data(room: &Room) -> serde_json::Value {
    json!({
        "room": room.id,
        "validFrom": room.valid_from,
        "validUntil": room.valid_until,
        "pstnDialOutEnabled": room.pstn_dial_out,
    })
}

fn room(row: &Row) -> Result<Room, StoreError> {
    Ok(Room {
        id: row.text(0)?,
        created_at: row.int(1)?,
        valid_from: row.int(2)?,
        valid_until: row.int(3)?,
        pstn_dial_out: row.truth(4)?,
    })
}
