//! Requests that may be sent twice (OASIS Repeatable Requests 1.0).
//!
//! Owns: the reply to each, for as long as it may be repeated, kept in the transaction of its change.
//! Never: judges whether two requests are the same; it compares the digests that it is given.

use crate::backend::Tx;
use crate::store::{Store, StoreError};

const FIND: &str = "SELECT digest, reply FROM repeat WHERE key = $1";
const INSERT: &str = "INSERT INTO repeat (key, digest, reply, at) VALUES ($1, $2, $3, $4)";
const FORGET: &str = "DELETE FROM repeat WHERE at < $1";

#[cfg(test)]
pub(crate) const ALL: &[&str] = &[FIND, INSERT, FORGET];

/// A request that may be repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeat {
    /// Who sent it and its id.
    pub key: String,
    /// Of all that makes it this request: method, path, body.
    pub digest: String,
    /// What it is answered, then and later.
    pub reply: String,
}

impl Repeat {
    /// The former reply, if the request was carried out before.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] when the id was used for another request.
    pub(crate) async fn found(&self, tx: &mut Tx) -> Result<Option<String>, StoreError> {
        let Some(row) = tx.row(FIND, &[(&self.key).into()]).await? else { return Ok(None) };
        if row.text(0)? != self.digest {
            return Err(StoreError::Invalid("this request id was used for another request"));
        }
        Ok(Some(row.text(1)?))
    }

    pub(crate) async fn keep(&self, tx: &mut Tx, at: i64) -> Result<(), StoreError> {
        let values = [(&self.key).into(), (&self.digest).into(), (&self.reply).into(), at.into()];
        tx.run(INSERT, &values).await?;
        Ok(())
    }
}

impl Store {
    /// Forgets replies kept before a time; how many.
    ///
    /// # Errors
    /// When the store is down.
    pub async fn forget_repeats(&self, before: i64) -> Result<u64, StoreError> {
        self.write(async |tx| Ok(tx.run(FORGET, &[before.into()]).await?)).await
    }
}
