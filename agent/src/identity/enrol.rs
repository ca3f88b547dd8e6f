//! How the cluster gets its first identity.

use std::time::Duration;

use bellwether_proto::wire::EnrolRequest;
use sha2::{Digest, Sha256};

use super::{
    material::{Identity, Request},
    secret::{self, SecretError, Stored},
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
    let stored = secret::load(client.clone(), namespace).await?;
    let token_hash = hex::encode(Sha256::digest(enrolment.token.trim()));
    let now = crate::clock::wall();
    let has_token = !enrolment.token.trim().is_empty();
    let usable = stored.filter(|stored| stored.identity.not_after + RENEWAL_GRACE > now);
    if let Some(stored) = &usable
        && (!has_token || stored.token_hash == token_hash)
    {
        return Ok(stored.identity.clone());
    }
    if !has_token {
        return Err(ObtainError::NoToken);
    }
    match enrol(enrolment).await {
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
                Ok(stored.identity)
            }
            _ => Err(error.into()),
        },
    }
}

/// The token is spent: what it gave must not be lost to an API server that is away for a while.
async fn save(client: &kube::Client, namespace: &str, stored: &Stored) {
    let mut backoff = Backoff::default();
    while let Err(error) = secret::save(client.clone(), namespace, stored).await {
        tracing::warn!(error = %crate::link::chain(&error), "the identity could not be stored yet");
        tokio::time::sleep(backoff.next(rand::random())).await;
    }
}

async fn enrol(enrolment: &Enrolment) -> Result<Identity, LinkError> {
    let request = Request::new()?;
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
