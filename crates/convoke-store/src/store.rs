//! The store as its users see it.
//!
//! Owns: opening, patience, and the kinds of failure.
//! Never: retries: whoever asked knows whether to.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::audit::AuditQueue;
use crate::backend::{Backend, Tx};
use crate::migrate;
use crate::stats::Counters;

/// Where the data is.
#[derive(Clone, PartialEq, Eq)]
pub enum Location {
    /// In this process's memory: gone with it.
    Memory,
    /// An SQLite file. Its folder must exist.
    File(PathBuf),
    /// A PostgreSQL database: `postgres://user:password@host/database`.
    Postgres(String),
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("Memory"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            // The URL may hold a password.
            Self::Postgres(_) => f.write_str("Postgres(…)"),
        }
    }
}

/// How a store is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// Where the data is.
    pub location: Location,
    /// How long one operation may take before it fails: 3 s by default.
    pub patience: Duration,
}

impl StoreConfig {
    /// With the default patience.
    #[must_use]
    pub fn new(location: Location) -> Self {
        Self { location, patience: Duration::from_secs(3) }
    }
}

/// Why a store was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A newer version made the database.
    #[error(
        "the database has schema version {found}, and this version of Convoke knows {known}; \
         run the newer Convoke, or restore the backup from before the upgrade"
    )]
    Newer {
        /// Its version.
        found: i64,
        /// The newest known here.
        known: i64,
    },
    /// A migration failed.
    #[error("the database could not be migrated: {0}")]
    Migration(String),
    /// It could not be reached or opened.
    #[error("the database could not be opened: {0}")]
    Open(#[from] sqlx::Error),
}

/// Why an operation was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// What it is about is not there.
    #[error("not found")]
    NotFound,
    /// It is there already.
    #[error("exists already")]
    Exists,
    /// A limit was reached.
    #[error("too many: at most {0}")]
    TooMany(usize),
    /// The change would break a law of the data.
    #[error("{0}")]
    Invalid(&'static str),
    /// The database is down or too slow. A write may or may not have been done.
    #[error("the store is not available: {0}")]
    Unavailable(String),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(fault) if fault.is_unique_violation() => Self::Exists,
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

/// The store. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Store {
    backend: Backend,
    patience: Duration,
    audit: AuditQueue,
    /// The position of the newest event that this process wrote.
    events: Arc<watch::Sender<i64>>,
    /// Of reads and of writes.
    counters: Arc<[Counters; 2]>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.backend {
            Backend::Sqlite { .. } => "sqlite",
            Backend::Postgres(_) => "postgres",
        };
        f.debug_struct("Store").field("backend", &kind).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store and brings it to the newest version. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When it cannot be reached, or is of a newer version.
    pub async fn open(config: &StoreConfig) -> Result<Self, OpenError> {
        let patience = config.patience;
        let backend = match &config.location {
            Location::Memory => Backend::memory().await?,
            Location::File(path) => Backend::file(path, patience).await?,
            Location::Postgres(url) => Backend::postgres(url, patience).await?,
        };
        migrate::migrate(&backend).await?;
        let events = Arc::new(watch::Sender::new(0));
        let (audit, queue) = AuditQueue::new();
        let store = Self { backend, patience, audit, events, counters: Arc::default() };
        store.clone().start_audit(queue);
        Ok(store)
    }

    /// Closes all connections; later operations fail.
    pub async fn close(&self) {
        self.backend.close().await;
    }

    /// How long an operation may take.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.patience
    }

    pub(crate) fn counters(&self) -> &[Counters; 2] {
        &self.counters
    }

    pub(crate) fn close_queue(&mut self) {
        self.audit = AuditQueue::closed();
    }

    pub(crate) fn audit_queue(&self) -> &AuditQueue {
        &self.audit
    }

    /// Follows the position of the newest event that was written here: its change means that there
    /// is something to read.
    #[must_use]
    pub fn watch_events(&self) -> watch::Receiver<i64> {
        self.events.subscribe()
    }

    pub(crate) fn announce(&self, position: i64) {
        self.events.send_if_modified(|newest| {
            let newer = position > *newest;
            *newest = position.max(*newest);
            newer
        });
    }

    /// Reads in one transaction.
    pub(crate) async fn read<T>(
        &self,
        body: impl AsyncFnOnce(&mut Tx) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.bounded(&self.counters[0], async {
            let mut tx = self.backend.begin(false).await?;
            body(&mut tx).await
        })
        .await
    }

    /// Writes in one transaction: all of it, or nothing when the body fails.
    pub(crate) async fn write<T>(
        &self,
        body: impl AsyncFnOnce(&mut Tx) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.bounded(&self.counters[1], async {
            let mut tx = self.backend.begin(true).await?;
            let done = body(&mut tx).await?;
            tx.commit().await?;
            Ok(done)
        })
        .await
    }

    async fn bounded<T>(
        &self,
        counters: &Counters,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let began = Instant::now();
        let done = match tokio::time::timeout(self.patience, work).await {
            Ok(done) => done,
            Err(_) => Err(StoreError::Unavailable("it took too long".to_owned())),
        };
        counters.count(began.elapsed(), matches!(done, Err(StoreError::Unavailable(_))));
        done
    }
}
