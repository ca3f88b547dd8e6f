//! Answers the API server over TLS, one request a connection.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bellwether_api::custom_resource::WEBHOOK_PATH;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use super::review::answer;
use crate::app::App;

/// Connections served at once; more wait until one is done.
const MAX_CONNECTIONS: usize = 16;
/// Largest review that is read, in bytes: an object before and after, each at most what etcd takes.
const MAX_REVIEW_BYTES: usize = 4 << 20;
/// How long one request may take; the API server waits no longer.
const LIMIT: Duration = Duration::from_secs(6);
/// Pause after a failed accept, so that running out of files does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until the hub stops.
pub(super) async fn serve(app: Arc<App>, listener: TcpListener) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            () = app.shutdown.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let served = Arc::clone(&app);
                app.tasks.spawn(async move {
                    // Whoever hangs or goes away is asked again, or is none of ours.
                    let _ = timeout(LIMIT, converse(&served, stream)).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection of the API server was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn converse(app: &App, stream: TcpStream) {
    let tls = TlsAcceptor::from(app.pki.webhook_config());
    let Ok(stream) = tls.accept(stream).await else {
        tracing::debug!("a connection to the admission webhook made no TLS");
        return;
    };
    let service = service_fn(async |request| Ok::<_, Infallible>(hear(app, request).await));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(LIMIT)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a request to the admission webhook ended early");
    }
}

async fn hear(app: &App, request: Request<Incoming>) -> Response<Full<Bytes>> {
    if request.method() != Method::POST || request.uri().path() != WEBHOOK_PATH {
        return response(StatusCode::NOT_FOUND, "not found\n");
    }
    let body = Limited::new(request.into_body(), MAX_REVIEW_BYTES);
    let Ok(body) = body.collect().await else {
        return response(StatusCode::PAYLOAD_TOO_LARGE, "the review is too large\n");
    };
    let review: Option<Value> = serde_json::from_slice(&body.to_bytes()).ok();
    let answered = match review {
        Some(review) => answer(app, &review).await,
        None => None,
    };
    match answered {
        Some(answer) => response(StatusCode::OK, answer.to_string()),
        None => response(StatusCode::BAD_REQUEST, "this is no admission review\n"),
    }
}

fn response(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}
