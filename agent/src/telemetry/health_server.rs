//! /livez, /readyz and /metrics over plain HTTP.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;

use super::Figures;

/// Connections served at once.
const MAX_CONNECTIONS: usize = 16;

/// Why the endpoints are not served.
#[derive(Debug, thiserror::Error)]
pub enum HealthServerError {
    /// The address cannot be taken.
    #[error("failed to listen on {address} for health checks; choose another with --health-listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

/// Whether what is held was read and units are kept, and what people should know of the way to the
/// hub, which makes nobody unready; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<State>);

#[derive(Debug, Default)]
struct State {
    ready: AtomicBool,
    notes: Mutex<Vec<String>>,
}

impl Readiness {
    /// Says that units are kept from now on, or no longer.
    pub fn set(&self, ready: bool) {
        self.0.ready.store(ready, Ordering::Relaxed);
    }

    /// Says what people should know, one sentence a line.
    pub fn note(&self, notes: Vec<String>) {
        *self.notes() = notes;
    }

    fn get(&self) -> bool {
        self.0.ready.load(Ordering::Relaxed)
    }

    fn notes(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer in words.
    fn text(&self) -> String {
        let mut text = "ok\n".to_owned();
        for note in self.notes().iter() {
            text.push_str(note);
            text.push('\n');
        }
        text
    }
}

/// Takes the address.
///
/// # Errors
/// The address cannot be taken.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, HealthServerError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| HealthServerError::Listen { address, source })
}

/// Serves until `shutdown`.
pub async fn serve(
    listener: TcpListener,
    readiness: Readiness,
    figures: Figures,
    shutdown: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let (stream, permit) = tokio::select! {
            () = shutdown.cancelled() => return,
            accepted = listener.accept() => match (accepted, Arc::clone(&permits).try_acquire_owned()) {
                (Ok((stream, _)), Ok(permit)) => (stream, permit),
                _ => continue,
            },
        };
        let (readiness, figures) = (readiness.clone(), figures.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let answer = answer(request.uri().path(), &readiness, &figures);
                async move { Ok::<_, Infallible>(answer) }
            });
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(5))
                .max_buf_size(8 * 1024)
                .serve_connection(TokioIo::new(stream), service);
            // A client that goes away early concerns nobody.
            let _ = tokio::time::timeout(Duration::from_secs(30), served).await;
            drop(permit);
        });
    }
}

type Answer = Response<http_body_util::Full<Bytes>>;

fn answer(path: &str, readiness: &Readiness, figures: &Figures) -> Answer {
    let (status, text) = match path {
        "/livez" => (StatusCode::OK, "ok\n".to_owned()),
        "/readyz" if readiness.get() => (StatusCode::OK, readiness.text()),
        "/readyz" => (StatusCode::SERVICE_UNAVAILABLE, "starting\n".to_owned()),
        "/metrics" => (StatusCode::OK, figures.text()),
        _ => (StatusCode::NOT_FOUND, "not found\n".to_owned()),
    };
    let mut response = Response::new(http_body_util::Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response
}
