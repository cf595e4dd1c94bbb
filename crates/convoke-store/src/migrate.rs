//! The schema's versions.
//!
//! Owns: the migrations, and the refusal of a database that a newer version made.
//! Never: changes a migration that was released.

use std::borrow::Cow;

use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr as _};

use crate::backend::Backend;
use crate::store::OpenError;

const MIGRATIONS: [(i64, &str, &str); 1] =
    [(1, "begin", include_str!("../migrations/0001_begin.sql"))];

/// The newest version that is known here.
pub(crate) const NEWEST: i64 = MIGRATIONS.len() as i64;

fn migrator() -> Migrator {
    let one = |(version, name, sql): (i64, &'static str, &'static str)| {
        let sql = AssertSqlSafe(sql).into_sql_str();
        Migration::new(version, Cow::Borrowed(name), MigrationType::Simple, sql, false)
    };
    Migrator { migrations: Cow::Owned(MIGRATIONS.map(one).to_vec()), ..Migrator::DEFAULT }
}

/// Brings a database to the newest version.
pub(crate) async fn migrate(backend: &Backend) -> Result<(), OpenError> {
    let migrator = migrator();
    match backend {
        Backend::Sqlite { writer, .. } => {
            let mut connection = writer.acquire().await?;
            check(&mut *connection, &migrator.table_name).await?;
            drop(connection);
            migrator.run(writer).await
        }
        Backend::Postgres(pool) => {
            let mut connection = pool.acquire().await?;
            check(&mut *connection, &migrator.table_name).await?;
            drop(connection);
            migrator.run(pool).await
        }
    }
    .map_err(OpenError::from)
}

/// Whether the database is of a version that is known here.
async fn check(connection: &mut impl Migrate, table: &str) -> Result<(), OpenError> {
    connection.ensure_migrations_table(table).await?;
    let applied = connection.list_applied_migrations(table).await?;
    match applied.iter().map(|one| one.version).max() {
        Some(found) if found > NEWEST => Err(OpenError::Newer { found, known: NEWEST }),
        _ => Ok(()),
    }
}

impl From<MigrateError> for OpenError {
    fn from(error: MigrateError) -> Self {
        Self::Migration(error.to_string())
    }
}
