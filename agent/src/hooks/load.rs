//! The built-in load: requests at a bounded rate over a bounded number of connections.

mod connection;
mod failing;
mod prepared;
mod tls;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bellwether_api::hooks::Load;
use bytes::Bytes;
use futures::future::BoxFuture;
use http_body_util::BodyExt;
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};
use tokio_rustls::TlsConnector;

use crate::metrics::SecretError;
use connection::{Connection, Dialer};
use failing::{Failing, LoadError};
use prepared::Prepared;

/// Shortest pause of a worker whose connection failed.
const PAUSE: Duration = Duration::from_millis(200);
/// How long it takes until a Secret that named nobody to trust is read again: it may be made later.
const SECRET_PAUSE: Duration = Duration::from_secs(2);
/// Most of an answer that is read, in bytes; a longer one ends the connection.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// Reads who alone is trusted, as PEM; absent = whom the system trusts.
pub(super) type Authorities =
    Box<dyn Fn() -> BoxFuture<'static, Result<Option<Vec<u8>>, SecretError>> + Send + Sync>;
/// Is told why a load fails, in a sentence without a word of what is sent.
pub(super) type Tell = Box<dyn Fn(&str) + Send + Sync>;

/// What a load is made on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadTarget {
    /// The URL, `http` or `https`.
    pub url: String,
    /// How long one request may take.
    pub timeout: Duration,
    /// How long the load lasts; absent = until it is dropped.
    pub lasts: Option<Duration>,
}

/// Makes load while it lives.
#[derive(Debug)]
pub struct LoadGenerator {
    task: tokio::task::JoinHandle<()>,
    counted: Arc<Counted>,
}

/// What came of the requests.
#[derive(Debug, Default)]
struct Counted {
    answered: AtomicU64,
    failed: AtomicU64,
}

impl LoadGenerator {
    /// Starts. `authorities` are read where the URL is `https`. Why the load fails is told once: at once
    /// where it will not mend by itself, otherwise when several requests in a row have failed.
    #[must_use]
    pub(super) fn start(
        load: Load,
        target: LoadTarget,
        authorities: Authorities,
        tell: Tell,
    ) -> Self {
        let counted = Arc::<Counted>::default();
        let task = tokio::spawn(run(load, target, authorities, tell, Arc::clone(&counted)));
        Self { task, counted }
    }

    /// Requests that were answered, whatever the status, and those that were not.
    #[must_use]
    pub fn counted(&self) -> (u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.counted.answered), read(&self.counted.failed))
    }
}

impl Drop for LoadGenerator {
    fn drop(&mut self) {
        self.task.abort();
        let (answered, failed) = self.counted();
        tracing::info!(answered, failed, "load ended");
    }
}

async fn run(
    load: Load,
    target: LoadTarget,
    authorities: Authorities,
    tell: Tell,
    counted: Arc<Counted>,
) {
    let making = make(&load, &target, &authorities, Failing::new(tell), counted);
    match target.lasts {
        Some(lasts) => {
            let _over = timeout(lasts, making).await;
        }
        None => making.await,
    }
}

async fn make(
    load: &Load,
    target: &LoadTarget,
    authorities: &Authorities,
    failing: Failing,
    counted: Arc<Counted>,
) {
    let request = match Prepared::of(load, &target.url) {
        Ok(request) => request,
        Err(error) => {
            failing.failed(&error);
            return;
        }
    };
    let tls = match request.server_name() {
        Some(name) => Some((trusting(load, authorities, &failing).await, name)),
        None => None,
    };
    let worker = Arc::new(Worker {
        dialer: Dialer::new(request.address().to_owned(), load.protocol, tls),
        request,
        limit: target.timeout,
        counted,
        failing,
    });
    let mut workers = JoinSet::new();
    let connections = load.concurrency.max(1);
    let beat = Duration::from_secs(1) * connections / load.rate.max(1);
    for number in 0..connections {
        // Spread over the beat, so that the rate is even.
        let first = Instant::now() + beat * number / connections;
        let worker = Arc::clone(&worker);
        workers.spawn(async move { worker.work(first, beat).await });
    }
    while workers.join_next().await.is_some() {}
}

/// Finds out who is trusted, and waits until somebody is.
async fn trusting(load: &Load, authorities: &Authorities, failing: &Failing) -> TlsConnector {
    loop {
        let connector = match authorities().await {
            Ok(pem) => tls::connector(pem.as_deref(), load.protocol),
            Err(error) => Err(error.into()),
        };
        match connector {
            Ok(connector) => return connector,
            Err(error) => failing.failed(&error),
        }
        tokio::time::sleep(SECRET_PAUSE).await;
    }
}

/// What every connection of a load does; they share it.
struct Worker {
    request: Prepared,
    dialer: Dialer,
    limit: Duration,
    counted: Arc<Counted>,
    failing: Failing,
}

impl Worker {
    async fn work(&self, first: Instant, beat: Duration) {
        let mut beat = interval_at(first, beat);
        // What is late is not made up for: the rate is the most there is.
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut connection = None;
        loop {
            beat.tick().await;
            let sent = timeout(self.limit, self.once(&mut connection)).await;
            let sent = sent.unwrap_or_else(|_elapsed| {
                Err(LoadError::Late {
                    address: self.dialer.address.clone(),
                    limit: self.limit,
                })
            });
            match sent {
                Ok(()) => {
                    self.counted.answered.fetch_add(1, Ordering::Relaxed);
                    self.failing.answered();
                }
                Err(error) => {
                    self.counted.failed.fetch_add(1, Ordering::Relaxed);
                    self.failing.failed(&error);
                    connection = None;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Sends one request, over a new connection where there is none.
    async fn once(&self, connection: &mut Option<Connection>) -> Result<(), LoadError> {
        let kept = match connection.take() {
            // Many servers end a connection after a number of requests.
            Some(mut kept) => kept.is_open().await.then_some(kept),
            None => None,
        };
        let mut open = match kept {
            Some(open) => open,
            None => self.dialer.connect().await?,
        };
        let broken = |source| self.dialer.broken(source);
        let answer = open.send(self.request.request()?).await.map_err(broken)?;
        let mut body = answer.into_body();
        let mut read = 0;
        while let Some(frame) = body.frame().await {
            read += frame.map_err(broken)?.data_ref().map_or(0, Bytes::len);
            if read > MAX_ANSWER_BYTES {
                return Ok(());
            }
        }
        *connection = Some(open);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
