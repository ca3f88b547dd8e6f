//! The connection pool and its transactions.

use std::{sync::Arc, time::Duration};

use sqlx::{
    Postgres, Transaction,
    postgres::{PgConnectOptions, PgPool, PgPoolOptions},
};

use crate::{BlobCipher, StoreError, error::Doing};

/// How the hub speaks to its database.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// `postgres://…`; a Unix socket is given as `?host=/directory`.
    pub url: String,
    /// Connections at most.
    pub max_connections: u32,
    /// How long one statement may take. Bounds how far the tailer's window can widen.
    pub statement_timeout: Duration,
    /// How long a transaction may sit without a statement; its end lets the tailer's xmin move.
    pub idle_in_transaction_timeout: Duration,
}

impl StoreOptions {
    /// The defaults: 20 connections, 30 s a statement, 5 s idle in a transaction.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            max_connections: 20,
            statement_timeout: Duration::from_secs(30),
            idle_in_transaction_timeout: Duration::from_secs(5),
        }
    }
}

/// The database. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pub(crate) pool: PgPool,
    pub(crate) connect: Arc<PgConnectOptions>,
    pub(crate) cipher: Arc<BlobCipher>,
}

/// One transaction; what it did is lost unless it is committed.
pub struct Tx {
    pub(crate) inner: Transaction<'static, Postgres>,
    pub(crate) cipher: Arc<BlobCipher>,
}

impl Store {
    /// Connects, waiting until the database answers, at most 10 s. Migrates nothing.
    ///
    /// # Errors
    /// The URL cannot be read, or the database does not answer.
    pub async fn connect(options: StoreOptions, cipher: BlobCipher) -> Result<Self, StoreError> {
        let connect: PgConnectOptions = options.url.parse().doing("read the database's URL")?;
        let millis = |duration: Duration| duration.as_millis().to_string();
        let connect = connect.application_name("bellwether-hub").options([
            ("statement_timeout", millis(options.statement_timeout)),
            (
                "idle_in_transaction_session_timeout",
                millis(options.idle_in_transaction_timeout),
            ),
        ]);
        let pool = PgPoolOptions::new()
            .max_connections(options.max_connections)
            .acquire_timeout(Duration::from_secs(10))
            .connect_with(connect.clone())
            .await
            .doing("connect to the database")?;
        Ok(Self {
            pool,
            connect: Arc::new(connect),
            cipher: Arc::new(cipher),
        })
    }

    /// Brings the schema up to date. Safe to call from several hubs at once.
    ///
    /// # Errors
    /// A migration fails, or the schema is newer than this program.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        sqlx::migrate!("../../migrations")
            .run(&self.pool)
            .await
            .map_err(StoreError::Migrate)
    }

    /// Starts a transaction (READ COMMITTED).
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        let inner = self.pool.begin().await.doing("begin a transaction")?;
        Ok(Tx {
            inner,
            cipher: Arc::clone(&self.cipher),
        })
    }

    /// Asks the database for a sign of life; for readiness, never for liveness.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1")
            .execute(&self.pool)
            .await
            .doing("reach the database")?;
        Ok(())
    }

    /// Closes every connection; statements under way end first.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

impl Tx {
    /// Makes everything of the transaction last.
    ///
    /// # Errors
    /// The database went away: whether it was committed is then unknown.
    pub async fn commit(self) -> Result<(), StoreError> {
        self.inner.commit().await.doing("commit a transaction")
    }

    /// Undoes everything of the transaction; dropping it does the same.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn rollback(self) -> Result<(), StoreError> {
        self.inner.rollback().await.doing("roll a transaction back")
    }

    /// Lets this transaction delete releases, plans and actions.
    pub(crate) async fn allow_history_deletion(&mut self) -> Result<(), StoreError> {
        sqlx::query("SET LOCAL bellwether.history_deletion = 'on'")
            .execute(&mut *self.inner)
            .await
            .doing("allow the deletion of history")?;
        Ok(())
    }
}
