//! Values that a database keeps about itself.
//!
//! Owns: what is made once and stays, such as the resource's id.
//! Never: holds configuration; that is the operator's file.

use crate::store::{Store, StoreError};

const FIND: &str = "SELECT value FROM setting WHERE name = $1";
const KEEP: &str =
    "INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";

#[cfg(test)]
pub(crate) const ALL: &[&str] = &[FIND, KEEP];

impl Store {
    /// The value of `name`; `fresh` the first time.
    ///
    /// # Errors
    /// When the store is down.
    pub async fn setting(&self, name: &str, fresh: &str) -> Result<String, StoreError> {
        self.write(async |tx| {
            tx.run(KEEP, &[name.into(), fresh.into()]).await?;
            let row = tx.row(FIND, &[name.into()]).await?;
            row.ok_or(StoreError::NotFound)?.text(0).map_err(StoreError::from)
        })
        .await
    }
}
