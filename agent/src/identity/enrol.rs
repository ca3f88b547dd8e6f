//! How the cluster gets its first identity.

use std::time::Duration;

use bellwether_proto::wire::EnrolRequest;
use sha2::{Digest, Sha256};

use super::{
    material::{Identity, Request},
    secret::{self, Held, Pending, SecretError, Stored},
    tls::Trust,
};
use crate::link::{Backoff, LinkError, identity_client};

/// How long one try to enrol may take.
const LIMIT: Duration = Duration::from_secs(30);
/// How long after its end a certificate can still be renewed.
const RENEWAL_GRACE: Duration = Duration::from_secs(30 * 24 * 3600);
/// Pause where only a human can help, who may do so at any time.
const HOPELESS_PAUSE: Duration = Duration::from_secs(30);

/// What `bellwether register cluster` gave to the agent.
#[derive(Clone)]
pub struct Enrolment {
    /// `host:port` pairs of the hub.
    pub addresses: Vec<String>,
    /// SHA-256 of the DER of the hub's CA.
    pub ca_hash: [u8; 32],
    /// The join token; empty = there is none, an identity must be stored already.
    pub token: String,
    /// UID of this cluster's kube-system namespace.
    pub cluster_uid: String,
    /// The agent's version.
    pub agent_version: String,
}

impl std::fmt::Debug for Enrolment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Enrolment")
            .field("addresses", &self.addresses)
            .field("cluster_uid", &self.cluster_uid)
            .finish_non_exhaustive()
    }
}

/// Gives the stored identity; enrols where there is none, where it can no longer be renewed, or
/// where the token is another than the one it came from. Tries until it succeeds and says in the
/// log what stands in the way.
pub async fn obtain(client: &kube::Client, namespace: &str, enrolment: &Enrolment) -> Identity {
    let mut backoff = Backoff::default();
    loop {
        let pause = match try_obtain(client, namespace, enrolment).await {
            Ok(identity) => return identity,
            Err(ObtainError::Link(error)) if error.needs_human() => {
                let error = crate::link::chain(&error);
                tracing::error!(error, "this cluster could not be enrolled");
                HOPELESS_PAUSE
            }
            Err(error) => {
                tracing::warn!(
                    error = crate::link::chain(&error),
                    "this cluster could not be enrolled yet"
                );
                backoff.next(rand::random())
            }
        };
        tokio::time::sleep(pause).await;
    }
}

#[derive(Debug, thiserror::Error)]
enum ObtainError {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("failed to find a join token; run `bellwether register cluster` for this cluster")]
    NoToken,
}

async fn try_obtain(
    client: &kube::Client,
    namespace: &str,
    enrolment: &Enrolment,
) -> Result<Identity, ObtainError> {
    let Held { stored, pending } = secret::load(client.clone(), namespace).await?;
    let token_hash = hex::encode(Sha256::digest(enrolment.token.trim()));
    let now = crate::clock::wall();
    let has_token = !enrolment.token.trim().is_empty();
    let usable = stored
        .as_ref()
        .filter(|stored| stored.identity.not_after + RENEWAL_GRACE > now);
    if let Some(stored) = usable
        && (!has_token || stored.token_hash == token_hash)
    {
        return Ok(stored.identity.clone());
    }
    if !has_token {
        return Err(ObtainError::NoToken);
    }
    let kept = pending
        .filter(|pending| pending.token_hash == token_hash)
        .and_then(|pending| Request::again(&pending.key_pem).ok());
    let request = match kept {
        Some(request) => request,
        None => {
            let request = Request::new().map_err(LinkError::from)?;
            // Before the token is spent: whoever loses the answer must be able to ask for it again.
            let pending = Pending {
                key_pem: request.key_pem(),
                token_hash: token_hash.clone(),
            };
            secret::save(client.clone(), namespace, stored.as_ref(), Some(&pending)).await?;
            request
        }
    };
    match enrol(enrolment, &request).await {
        Ok(identity) => {
            tracing::info!(
                cluster.id = identity.cluster_id,
                cluster.name = identity.cluster_name,
                not_after = %identity.not_after,
                "this cluster is enrolled"
            );
            let stored = Stored {
                identity,
                token_hash,
            };
            save(client, namespace, &stored).await;
            Ok(stored.identity)
        }
        // The token is of no use, the identity from an earlier one may still be.
        Err(error) => match usable {
            Some(stored) if error.needs_human() => {
                let error = crate::link::chain(&error);
                tracing::warn!(
                    error,
                    "the join token is refused; the stored identity is used"
                );
                Ok(stored.identity.clone())
            }
            _ => Err(error.into()),
        },
    }
}

/// What the token gave must not be lost to an API server that is away for a while.
async fn save(client: &kube::Client, namespace: &str, stored: &Stored) {
    let mut backoff = Backoff::default();
    while let Err(error) = secret::save(client.clone(), namespace, Some(stored), None).await {
        tracing::warn!(error = %crate::link::chain(&error), "the identity could not be stored yet");
        tokio::time::sleep(backoff.next(rand::random())).await;
    }
}

async fn enrol(enrolment: &Enrolment, request: &Request) -> Result<Identity, LinkError> {
    let mut client =
        identity_client(&enrolment.addresses, Trust::CaHash(enrolment.ca_hash)).await?;
    let asked = client.call.enrol(EnrolRequest {
        token: enrolment.token.trim().to_owned(),
        csr_der: request.csr_der.clone().into(),
        cluster_uid: enrolment.cluster_uid.clone(),
        agent_version: enrolment.agent_version.clone(),
    });
    let answer = tokio::time::timeout(LIMIT, asked)
        .await
        .map_err(|_| LinkError::Slow)?
        .map_err(|status| client.watch.error_of(status))?
        .into_inner();
    let now = crate::clock::wall();
    crate::link::warn_of_clocks(answer.hub_time_ms, now);
    Ok(request.complete(answer, now)?)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::{Arc, Mutex};

    use http::{Method, Request as HttpRequest, Response, StatusCode};
    use http_body_util::BodyExt as _;
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;

    /// A cluster that keeps one Secret; every write of it, oldest first.
    fn cluster() -> (kube::Client, Arc<Mutex<Vec<Value>>>) {
        let writes = Arc::new(Mutex::new(Vec::<Value>::new()));
        let kept = Arc::clone(&writes);
        let service = tower::service_fn(move |request: HttpRequest<Body>| {
            let kept = Arc::clone(&kept);
            async move {
                let (head, body) = request.into_parts();
                let bytes = body.collect().await.unwrap().to_bytes();
                let (status, answer) = if head.method == Method::PATCH {
                    let secret: Value = serde_json::from_slice(&bytes).unwrap();
                    kept.lock().unwrap().push(secret.clone());
                    (StatusCode::OK, secret)
                } else {
                    match kept.lock().unwrap().last() {
                        Some(secret) => (StatusCode::OK, secret.clone()),
                        None => {
                            let gone = json!({"kind": "Status", "apiVersion": "v1",
                                "status": "Failure", "reason": "NotFound", "code": 404,
                                "message": "no such secret", "metadata": {}});
                            (StatusCode::NOT_FOUND, gone)
                        }
                    }
                };
                let body = Body::from(serde_json::to_vec(&answer).unwrap());
                let response = Response::builder().status(status).body(body).unwrap();
                Ok::<_, std::io::Error>(response)
            }
        });
        (kube::Client::new(service, "bellwether-system"), writes)
    }

    fn keys(writes: &Mutex<Vec<Value>>) -> Vec<String> {
        let writes = writes.lock().unwrap();
        let key = |secret: &Value| secret["data"]["pending.key"].as_str().map(str::to_owned);
        writes.iter().map(|secret| key(secret).unwrap()).collect()
    }

    #[tokio::test]
    async fn key_is_kept_before_the_token_is_spent() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        // Bound and dropped: nobody listens there.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        let enrolment = |token: &str| Enrolment {
            addresses: vec![address.clone()],
            ca_hash: [0; 32],
            token: token.to_owned(),
            cluster_uid: "uid".to_owned(),
            agent_version: "0".to_owned(),
        };
        let (client, writes) = cluster();
        for _ in 0..2 {
            let tried = try_obtain(&client, "bellwether-system", &enrolment("bwj_a")).await;
            assert!(matches!(tried, Err(ObtainError::Link(_))), "{tried:?}");
        }
        assert_eq!(
            keys(&writes).len(),
            1,
            "the second try asks with the same key"
        );
        let tried = try_obtain(&client, "bellwether-system", &enrolment("bwj_b")).await;
        assert!(tried.is_err());
        let keys = keys(&writes);
        assert_eq!(keys.len(), 2);
        assert_ne!(keys[0], keys[1], "another token is another enrolment");
    }
}
