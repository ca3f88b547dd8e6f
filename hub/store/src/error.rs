//! What can go wrong with the database itself. Refusals that a caller decides on have enums of
//! their own beside the function that gives them.

/// A failure of the database, or of what was read from it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A statement failed, or the database could not be reached.
    #[error("failed to {action}")]
    Database {
        /// What was being done.
        action: &'static str,
        /// What the driver said.
        #[source]
        source: sqlx::Error,
    },
    /// The schema could not be brought up to date.
    #[error("failed to migrate the database")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// A stored value does not read as what it should be.
    #[error("failed to read {what} from the database: {detail}")]
    Corrupt {
        /// The column.
        what: &'static str,
        /// What is wrong with it, without its content.
        detail: String,
    },
    /// A value that Postgres cannot hold: a NUL character, or a number beyond 63 bits.
    #[error("failed to store {what}: {detail}")]
    Unstorable {
        /// The column.
        what: &'static str,
        /// What is wrong with it, without its content.
        detail: &'static str,
    },
    /// A sealed value could not be opened or sealed.
    #[error("failed to seal or open {what}")]
    Cipher {
        /// The column.
        what: &'static str,
        /// Why.
        #[source]
        source: crate::CipherError,
    },
}

impl StoreError {
    /// Tells whether the same call may succeed when it is tried again shortly: the database was
    /// away, or two transactions were in each other's way.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        let Self::Database { source, .. } = self else {
            return false;
        };
        match source {
            sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::WorkerCrashed => true,
            sqlx::Error::Database(database) => matches!(
                database.code().as_deref(),
                Some("40001" | "40P01" | "55P03" | "57P01" | "57P02" | "57P03" | "53300" | "25P03")
            ),
            _ => false,
        }
    }

    /// Tells whether a unique or foreign key stood against the statement.
    pub(crate) fn violates(&self, constraint: &str) -> bool {
        let Self::Database {
            source: sqlx::Error::Database(database),
            ..
        } = self
        else {
            return false;
        };
        database.constraint() == Some(constraint)
    }
}

/// Says what was being done when the driver failed.
pub(crate) trait Doing<T> {
    fn doing(self, action: &'static str) -> Result<T, StoreError>;
}

impl<T> Doing<T> for Result<T, sqlx::Error> {
    fn doing(self, action: &'static str) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::Database { action, source })
    }
}
