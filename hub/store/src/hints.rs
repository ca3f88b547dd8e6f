//! Hints between hubs that something changed, so that a tailer looks at once. Only hints: a lost
//! one costs the tailer's poll interval and nothing else. They never ride in a write transaction,
//! since NOTIFY serialises every commit that carries one.

use std::{sync::Arc, time::Duration};

use sqlx::{
    ConnectOptions as _, PgConnection,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::sync::Notify;

use crate::{Store, StoreError, error::Doing};

const CHANNEL: &str = "bellwether";
/// At most 20 hints a second and hub.
const PAUSE: Duration = Duration::from_millis(50);
const RETRY: Duration = Duration::from_secs(1);

/// Gives hints, however often it is told, at most 20 times a second. Cheap to clone.
#[derive(Clone, Default)]
pub struct Hinter {
    wanted: Arc<Notify>,
}

impl Hinter {
    /// A hinter that gives nothing until [`Self::run`] runs.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Says that something was committed. Never waits.
    pub fn hint(&self) {
        self.wanted.notify_one();
    }

    /// Gives the hints on a connection of its own, for ever; drop it to stop.
    pub async fn run(&self, store: &Store) {
        let mut connection: Option<PgConnection> = None;
        loop {
            self.wanted.notified().await;
            if let Err(error) = notify(store, &mut connection).await {
                tracing::debug!(error = %error, "failed to give a hint; the poll finds the change");
                connection = None;
                tokio::time::sleep(RETRY).await;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn notify(store: &Store, slot: &mut Option<PgConnection>) -> Result<(), StoreError> {
    let connection = match slot {
        Some(connection) => connection,
        None => {
            let options = store
                .connect
                .as_ref()
                .clone()
                .application_name("bellwether-hint");
            slot.insert(options.connect().await.doing("connect for hints")?)
        }
    };
    sqlx::query("SELECT pg_notify($1, '')")
        .bind(CHANNEL)
        .execute(connection)
        .await
        .doing("give a hint")?;
    Ok(())
}

/// Waits for hints.
pub struct HintListener {
    store: Store,
    listener: Option<PgListener>,
}

impl HintListener {
    /// A listener that connects at the first wait.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self {
            store,
            listener: None,
        }
    }

    /// Waits until somebody hints, or hints may have been lost (the connection broke and was made
    /// again). Either way the caller looks at the tables. While the database is away it tries
    /// again every second. Safe to drop while it waits.
    pub async fn wait(&mut self) {
        let listener = match &mut self.listener {
            Some(listener) => listener,
            none => loop {
                match listen(&self.store).await {
                    // Connected anew: whatever was hinted before is lost.
                    Ok(listener) => {
                        *none = Some(listener);
                        return;
                    }
                    Err(error) => {
                        tracing::debug!(error = %error, "failed to listen for hints");
                        tokio::time::sleep(RETRY).await;
                    }
                }
            },
        };
        match listener.try_recv().await {
            Ok(Some(_)) => while let Some(_repeat) = listener.next_buffered() {},
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(error = %error, "lost the connection that listens for hints");
                self.listener = None;
            }
        }
    }
}

/// A pool of one, so that listening never takes a connection from the store's.
async fn listen(store: &Store) -> Result<PgListener, StoreError> {
    let options = store
        .connect
        .as_ref()
        .clone()
        .application_name("bellwether-listen");
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(options)
        .await
        .doing("connect to listen for hints")?;
    let mut listener = PgListener::connect_with(&pool)
        .await
        .doing("listen for hints")?;
    listener.listen(CHANNEL).await.doing("listen for hints")?;
    Ok(listener)
}
