//! Identities that we hold, and what of their tokens is void.
//!
//! Owns: an identity's generation: each token says which one it is of, and a revocation begins a new
//! one. So revoking is exact, whatever clocks say.
//! Never: sees a token.

use serde_json::json;

use crate::audit::Change;
use crate::backend::Row;
use crate::events;
use crate::store::{Store, StoreError};

const INSERT: &str = "INSERT INTO identity (id, created_at, generation) VALUES ($1, $2, 0)";
const GENERATION: &str = "SELECT generation FROM identity WHERE id = $1";
const ADVANCE: &str =
    "UPDATE identity SET generation = generation + 1 WHERE id = $1 RETURNING generation";
const DELETE: &str = "DELETE FROM identity WHERE id = $1";
const REVOKE: &str = "INSERT INTO revocation (identity, generation, at) VALUES ($1, $2, $3) \
     ON CONFLICT (identity) DO UPDATE SET generation = excluded.generation, at = excluded.at";
const REVOKED: &str =
    "SELECT identity, generation, at FROM revocation WHERE at >= $1 ORDER BY identity";
const FORGET: &str = "DELETE FROM revocation WHERE at < $1";

#[cfg(test)]
pub(crate) const ALL: &[&str] = &[INSERT, GENERATION, ADVANCE, DELETE, REVOKE, REVOKED, FORGET];

/// The generation of an identity that was deleted: no token is of it.
pub const DELETED: i64 = i64::MAX;

/// Tokens of an identity that are void.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Whose.
    pub identity: String,
    /// Tokens of an older generation are void.
    pub generation: i64,
    /// Tokens that say no generation are void if they were issued before, in milliseconds since
    /// 1970.
    pub at: i64,
}

fn stream(id: &str) -> String {
    format!("identities/{id}")
}

impl Store {
    /// Keeps a new identity.
    ///
    /// # Errors
    /// [`StoreError::Exists`], or when the store is down.
    pub async fn create_identity(&self, id: &str, change: &Change) -> Result<(), StoreError> {
        let data = json!({ "identity": id });
        let position = self
            .write(async |tx| {
                tx.run(INSERT, &[id.into(), change.at.into()]).await?;
                change.audit(tx, id).await?;
                events::append(tx, &stream(id), "identity.created", change.at, &data).await
            })
            .await?;
        self.announce(position);
        Ok(())
    }

    /// The generation that tokens of this identity are of now.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or when the store is down.
    pub async fn generation(&self, id: &str) -> Result<i64, StoreError> {
        self.read(async |tx| {
            let row = tx.row(GENERATION, &[id.into()]).await?.ok_or(StoreError::NotFound)?;
            Ok(row.int(0)?)
        })
        .await
    }

    /// Makes all tokens of an identity void.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or when the store is down.
    pub async fn revoke(&self, id: &str, change: &Change) -> Result<Revocation, StoreError> {
        let (revocation, position) = self
            .write(async |tx| {
                let row = tx.row(ADVANCE, &[id.into()]).await?.ok_or(StoreError::NotFound)?;
                let generation = row.int(0)?;
                tx.run(REVOKE, &[id.into(), generation.into(), change.at.into()]).await?;
                change.audit(tx, id).await?;
                let data = json!({ "identity": id });
                let kind = "identity.tokensRevoked";
                let position = events::append(tx, &stream(id), kind, change.at, &data).await?;
                let identity = id.to_owned();
                Ok((Revocation { identity, generation, at: change.at }, position))
            })
            .await?;
        self.announce(position);
        Ok(revocation)
    }

    /// Deletes an identity; all its tokens are void.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or when the store is down.
    pub async fn delete_identity(
        &self,
        id: &str,
        change: &Change,
    ) -> Result<Revocation, StoreError> {
        let position = self
            .write(async |tx| {
                if tx.run(DELETE, &[id.into()]).await? == 0 {
                    return Err(StoreError::NotFound);
                }
                tx.run(REVOKE, &[id.into(), DELETED.into(), change.at.into()]).await?;
                change.audit(tx, id).await?;
                let data = json!({ "identity": id });
                events::append(tx, &stream(id), "identity.deleted", change.at, &data).await
            })
            .await?;
        self.announce(position);
        Ok(Revocation { identity: id.to_owned(), generation: DELETED, at: change.at })
    }

    /// Revocations since a time: older ones are of tokens that have expired.
    ///
    /// # Errors
    /// When the store is down.
    pub async fn revocations(&self, since: i64) -> Result<Vec<Revocation>, StoreError> {
        self.read(async |tx| {
            tx.rows(REVOKED, &[since.into()]).await?.iter().map(revocation).collect()
        })
        .await
    }

    /// Forgets revocations before a time; how many.
    ///
    /// # Errors
    /// When the store is down.
    pub async fn forget_revocations(&self, before: i64) -> Result<u64, StoreError> {
        self.write(async |tx| Ok(tx.run(FORGET, &[before.into()]).await?)).await
    }
}

fn revocation(row: &Row) -> Result<Revocation, StoreError> {
    Ok(Revocation { identity: row.text(0)?, generation: row.int(1)?, at: row.int(2)? })
}
