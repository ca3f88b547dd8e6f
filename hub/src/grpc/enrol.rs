//! How a cluster gets its identity: a one-time token, bound to its name.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bellwether_api::fleet_hook::FleetEvent;
use bellwether_hub_core::fleet_hooks::Happened;
use bellwether_store::{
    StoreError, Tx,
    certificates::{self, Certificate},
    clusters::{self, Cluster, ClusterPatch, ClusterState, CreateError, NewCluster},
    join_tokens::{self, JoinToken, UseError},
};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    app::App,
    fleet_hooks,
    pki::{Issued, PkiError},
};

/// First characters of every join token, so that people and scanners know one.
pub const TOKEN_PREFIX: &str = "bwj_";

/// What a cluster needs to join.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinMaterial {
    /// The secret; shown once and kept nowhere.
    pub token: String,
    /// Hex SHA-256 of the CA's DER, by which the agent knows the hub.
    pub ca_hash: String,
    /// The CA, PEM.
    pub ca_pem: String,
    /// `host:port` pairs at which agents reach the hub.
    pub addresses: Vec<String>,
    /// From then on the token is refused.
    pub expires_at: Timestamp,
}

impl std::fmt::Debug for JoinMaterial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinMaterial")
            .field("ca_hash", &self.ca_hash)
            .field("addresses", &self.addresses)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// A join token to make.
#[derive(Clone, Debug)]
pub struct NewJoinToken {
    /// The only cluster that it enrols.
    pub cluster: String,
    /// Labels that the cluster gets; empty = a cluster that exists keeps its own.
    pub labels: BTreeMap<String, String>,
    /// How long it is good.
    pub ttl: Duration,
    /// How often it may be used.
    pub uses: u32,
    /// Who makes it.
    pub by: String,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The cluster could not be announced.
    #[error("failed to announce the cluster")]
    Announce(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes a join token, and announces its cluster where it is new.
///
/// # Errors
/// The database fails.
pub async fn create_join_token(app: &App, new: NewJoinToken) -> Result<JoinMaterial, JoinError> {
    let now = app.clock.now();
    let secret: [u8; 32] = rand::random();
    let token = format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(secret));
    let expires_at = now + new.ttl;
    let mut tx = app.store.begin().await?;
    match clusters::get_in(&mut tx, &new.cluster).await? {
        None => {
            announce(&mut tx, &new.cluster, &new.labels, &new.by, now)
                .await
                .map_err(|error| JoinError::Announce(error.into()))?;
        }
        Some(_) if !new.labels.is_empty() => {
            let patch = ClusterPatch {
                labels: Some(new.labels.clone()),
                ..ClusterPatch::default()
            };
            clusters::update(&mut tx, &new.cluster, &patch, None)
                .await
                .map_err(|error| JoinError::Announce(error.into()))?;
        }
        Some(_) => {}
    }
    join_tokens::create(
        &mut tx,
        &JoinToken {
            id: Uuid::now_v7(),
            hash: hash(&token),
            cluster_name: new.cluster,
            labels: new.labels,
            expires_at,
            max_uses: new.uses.max(1),
            uses: 0,
            created_at: now,
            created_by: new.by,
        },
    )
    .await?;
    tx.commit().await?;
    Ok(JoinMaterial {
        token,
        ca_hash: app.pki.ca_hash(),
        ca_pem: app.pki.ca_pem(),
        addresses: app.agent_addresses.clone(),
        expires_at,
    })
}

/// Why a cluster was not enrolled or its certificate not renewed.
#[derive(Debug, thiserror::Error)]
pub(super) enum IdentityError {
    #[error(transparent)]
    Token(#[from] UseError),
    #[error("failed to announce the cluster")]
    Announce(#[from] CreateError),
    #[error("failed to sign the certificate request")]
    Pki(#[from] PkiError),
    #[error("failed to find the cluster: it was deleted")]
    Gone,
    #[error("failed to renew: {}", super::sessions::REVOKED)]
    Revoked,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A certificate with the cluster that it is for.
pub(super) struct Granted {
    pub(super) cluster: Uuid,
    pub(super) name: String,
    pub(super) issued: Issued,
}

/// Uses a token and gives its cluster a new identity; the certificates it had before are refused
/// from now on. The same key with the same token is the same enrolment, whose answer was lost: it
/// gets another certificate, and nothing else changes.
pub(super) async fn enrol(
    app: &App,
    token: &str,
    csr: &[u8],
    kube_uid: &str,
    now: Timestamp,
) -> Result<Granted, IdentityError> {
    let mut tx = app.store.begin().await?;
    let key = app.pki.key_of(csr)?;
    let used = join_tokens::use_once(&mut tx, &hash(token), &key, app.clock.now()).await?;
    let (token, name) = (&used.token, used.token.cluster_name.clone());
    let cluster = match clusters::get_in(&mut tx, &name).await? {
        Some(cluster) if used.repeated && cluster.state == ClusterState::Active => {
            return again(app, tx, cluster, kube_uid, csr, now).await;
        }
        // Whatever became of the cluster since, it takes a new token.
        _ if used.repeated => return Err(IdentityError::Token(UseError::Used)),
        Some(cluster) => cluster,
        None => announce(&mut tx, &name, &token.labels, &token.created_by, now).await?,
    };
    if cluster.state != ClusterState::Pending {
        clusters::revoke(&mut tx, cluster.id, now).await?;
    }
    let issued = app.pki.issue(csr, cluster.id, now)?;
    keep(&mut tx, cluster.id, &issued, now).await?;
    clusters::activate(&mut tx, cluster.id, kube_uid, now).await?;
    let registered = Happened {
        event: FleetEvent::ClusterRegistered,
        at: app.clock.now(),
        again: cluster.registered_at.is_some(),
        reason: "",
    };
    fleet_hooks::note(&mut tx, &cluster, registered).await?;
    tx.commit().await?;
    app.pokes.deliver.notify_one();
    Ok(Granted {
        cluster: cluster.id,
        name,
        issued,
    })
}

/// Answers an enrolment once more.
async fn again(
    app: &App,
    mut tx: Tx,
    cluster: Cluster,
    kube_uid: &str,
    csr: &[u8],
    now: Timestamp,
) -> Result<Granted, IdentityError> {
    if cluster.kube_uid.as_deref() != Some(kube_uid) {
        return Err(IdentityError::Token(UseError::Used));
    }
    let issued = app.pki.issue(csr, cluster.id, now)?;
    keep(&mut tx, cluster.id, &issued, now).await?;
    tx.commit().await?;
    tracing::info!(
        cluster.id = %cluster.id,
        cluster.name = cluster.name,
        "the same key enrols again: its answer was lost"
    );
    Ok(Granted {
        cluster: cluster.id,
        name: cluster.name,
        issued,
    })
}

/// Gives a cluster a further certificate; the one it has stays good until it ends.
pub(super) async fn renew(
    app: &App,
    cluster: Uuid,
    serial: &str,
    csr: &[u8],
    now: Timestamp,
) -> Result<Granted, IdentityError> {
    let held = admit(app, cluster, serial).await?;
    let issued = app.pki.issue(csr, cluster, now)?;
    let mut tx = app.store.begin().await?;
    keep(&mut tx, cluster, &issued, now).await?;
    tx.commit().await?;
    Ok(Granted {
        cluster,
        name: held.name,
        issued,
    })
}

/// Tells whether the holder of a certificate may speak. A serial number that the database does not
/// know is good: a restored database has forgotten the newest.
pub(super) async fn admit(
    app: &App,
    cluster: Uuid,
    serial: &str,
) -> Result<Cluster, IdentityError> {
    let (held, certificate) = tokio::try_join!(
        clusters::by_id(&app.store, cluster),
        certificates::get(&app.store, serial),
    )?;
    let held = held.ok_or(IdentityError::Gone)?;
    let refused = certificate.is_some_and(|certificate| {
        certificate.revoked_at.is_some() || certificate.cluster != cluster
    });
    if refused || held.state != ClusterState::Active {
        return Err(IdentityError::Revoked);
    }
    Ok(held)
}

async fn announce(
    tx: &mut Tx,
    name: &str,
    labels: &BTreeMap<String, String>,
    by: &str,
    now: Timestamp,
) -> Result<Cluster, CreateError> {
    let new = NewCluster {
        id: Uuid::now_v7(),
        name: name.to_owned(),
        labels: labels.clone(),
        annotations: BTreeMap::new(),
        spec: serde_json::json!({}),
        by: by.to_owned(),
    };
    clusters::create(tx, &new, now).await
}

async fn keep(
    tx: &mut Tx,
    cluster: Uuid,
    issued: &Issued,
    now: Timestamp,
) -> Result<(), StoreError> {
    let certificate = Certificate {
        serial: issued.serial.clone(),
        cluster,
        issued_at: now,
        not_after: issued.not_after,
        revoked_at: None,
    };
    certificates::insert(tx, &certificate).await
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.trim()).into()
}
