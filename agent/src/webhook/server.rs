//! Answers the API server over TLS, one request a connection.

use std::{convert::Infallible, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bellwether_agent_core::admission::{Hold, Update, admit, admit_in_place};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{PATH, governed::governing};
use crate::desired::Desired;

/// Connections served at once; more wait until one is done.
const MAX_CONNECTIONS: usize = 8;
/// Largest review that is read, in bytes: a workload before and after, each at most what etcd takes.
const MAX_REVIEW_BYTES: usize = 3 << 20;
/// How long one request may take; the API server waits no longer.
const LIMIT: Duration = Duration::from_secs(5);

/// Whom a server answers for, and with which certificate.
pub(super) struct Server {
    /// The settings to serve with; absent = there is no certificate yet.
    pub(super) tls: Arc<ArcSwapOption<ServerConfig>>,
    /// What is remembered of Rollouts.
    pub(super) desired: Desired,
    /// The agent's own user, whose writes go through.
    pub(super) agent_user: String,
}

impl Server {
    /// Serves until `shutdown`.
    pub(super) async fn serve(self, listener: TcpListener, shutdown: CancellationToken) {
        let server = Arc::new(self);
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        // What unpacks to much is unpacked one at a time.
        let reading = Arc::new(Semaphore::new(1));
        loop {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
                return;
            };
            let stream = tokio::select! {
                () = shutdown.cancelled() => return,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        tracing::warn!(%error, "a connection to the webhook was not accepted");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                },
            };
            let (server, reading) = (Arc::clone(&server), Arc::clone(&reading));
            tokio::spawn(async move {
                // Whoever hangs or goes away is asked again, or is none of ours.
                let _ = timeout(LIMIT, server.converse(stream, &reading)).await;
                drop(permit);
            });
        }
    }

    async fn converse(&self, stream: TcpStream, reading: &Semaphore) {
        let Some(tls) = self.tls.load_full() else {
            return;
        };
        let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await else {
            tracing::debug!("a connection to the webhook made no TLS");
            return;
        };
        let service =
            service_fn(async |request| Ok::<_, Infallible>(self.hear(request, reading).await));
        // One request a connection: none is in flight when the certificate changes or the agent ends.
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(LIMIT)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service)
            .await;
        if let Err(error) = served {
            tracing::debug!(%error, "a request to the webhook ended early");
        }
    }

    async fn hear(&self, request: Request<Incoming>, reading: &Semaphore) -> Response<Full<Bytes>> {
        if request.method() != Method::POST || request.uri().path() != PATH {
            return response(StatusCode::NOT_FOUND, "not found\n");
        }
        let body = Limited::new(request.into_body(), MAX_REVIEW_BYTES);
        let Ok(body) = body.collect().await else {
            return response(StatusCode::PAYLOAD_TOO_LARGE, "the review is too large\n");
        };
        let Ok(_turn) = reading.acquire().await else {
            return response(StatusCode::SERVICE_UNAVAILABLE, "the agent stops\n");
        };
        let review: Option<Value> = serde_json::from_slice(&body.to_bytes()).ok();
        let answer = match &review {
            Some(review) => self.answer(review).await,
            None => None,
        };
        match answer {
            Some(answer) => response(StatusCode::OK, answer.to_string()),
            None => response(StatusCode::BAD_REQUEST, "this is no admission review\n"),
        }
    }

    /// Answers a review; absent = it is none.
    async fn answer(&self, review: &Value) -> Option<Value> {
        let request = review.get("request")?;
        let text = |path: &str| request.pointer(path).and_then(Value::as_str);
        let place = (text("/namespace")?.to_owned(), text("/name")?.to_owned());
        let is_own = text("/userInfo/username") == Some(self.agent_user.as_str());
        let update = Update {
            old: request.get("oldObject")?,
            new: request.get("object")?,
        };
        let kind = (text("/kind/group")?, text("/kind/kind")?);
        let governing = governing(&self.desired, kind, &place).filter(|_| !is_own);
        let hold = match governing {
            Some(one) => match one.adapter(&self.desired, update.old).await {
                Some(adapter) => admit_in_place(update, one.facts(), &adapter),
                None if kind == ("apps", "Deployment") => admit(update, one.facts()),
                None => None,
            },
            None => None,
        };
        if hold.is_some() {
            tracing::info!(
                namespace = place.0,
                kind = kind.1,
                workload = place.1,
                "held as it is written"
            );
        }
        Some(verdict(text("/uid")?, hold))
    }
}

/// Every write is allowed: what is not to make pods is paused, not refused.
fn verdict(uid: &str, hold: Option<Hold>) -> Value {
    let mut response = json!({"uid": uid, "allowed": true});
    if let Some(hold) = hold {
        response["patchType"] = json!("JSONPatch");
        response["patch"] = json!(STANDARD.encode(hold.patch.to_string()));
        response["warnings"] = json!([hold.warning]);
    }
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
}

fn response(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}
