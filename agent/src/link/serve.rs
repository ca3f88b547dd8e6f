//! Everything between the agent's start and its open session.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, discovery::Discovery};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    backoff::Backoff,
    bulk::SampleOutbox,
    error::chain,
    runner::{self, Link, LinkStatus},
};
use crate::{
    desired::Desired,
    identity::{self, Enrolment},
    metrics::Reachable,
    report::Reports,
};

/// API groups that are told to the hub at most.
const MAX_CAPABILITIES: usize = 256;
/// Kinds that are told; the hub takes no more.
const MAX_KINDS: usize = 2_000;

/// What the agent is told of its hub, and what it works with.
#[derive(Clone)]
pub struct Hub {
    /// `host:port` pairs, tried in turn.
    pub addresses: Vec<String>,
    /// SHA-256 of the DER of the hub's CA, hex.
    pub ca_hash: String,
    /// The join token; empty = an identity is stored already.
    pub token: String,
    /// The agent's own namespace.
    pub namespace: String,
    /// What is held.
    pub desired: Desired,
    /// What is reported.
    pub reports: Reports,
    /// Metric samples for people.
    pub samples: SampleOutbox,
    /// Whether the cluster's metrics answer.
    pub metrics: Reachable,
    /// Where the cluster's name is told once it is known.
    pub cluster_name: watch::Sender<Option<String>>,
    /// Milliseconds since the drift loop last went round.
    pub drift_age_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// How the link stands, for readiness and metrics.
    pub status: watch::Sender<LinkStatus>,
}

/// Why the agent cannot serve a hub at all.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// No address was given.
    #[error("failed to find a hub address; set --hub-address")]
    NoAddress,
    /// The hash of the CA is none.
    #[error("failed to read the hub's CA hash: it has 64 hex digits; set --hub-ca-hash")]
    CaHash,
}

/// Enrols where that is due, keeps the identity fresh and a session open, until shutdown.
///
/// # Errors
/// When the settings are of no use. Everything else is tried again for as long as it takes.
pub async fn serve(
    client: kube::Client,
    hub: Hub,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    if hub.addresses.is_empty() {
        return Err(ServeError::NoAddress);
    }
    let mut ca_hash = [0; 32];
    hex::decode_to_slice(hub.ca_hash.trim(), &mut ca_hash).map_err(|_| ServeError::CaHash)?;
    tokio::select! {
        () = keep(client, hub, ca_hash, &shutdown) => {}
        () = shutdown.cancelled() => {}
    }
    Ok(())
}

async fn keep(client: kube::Client, hub: Hub, ca_hash: [u8; 32], shutdown: &CancellationToken) {
    let facts = read_facts(&client).await;
    let enrolment = Enrolment {
        addresses: hub.addresses.clone(),
        ca_hash,
        token: hub.token.clone(),
        cluster_uid: facts.cluster_uid.clone(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let obtained = identity::obtain(&client, &hub.namespace, &enrolment).await;
    hub.cluster_name
        .send_replace(Some(obtained.cluster_name.clone()));
    let (sender, receiver) = watch::channel(Arc::new(obtained));
    let link = Link {
        addresses: hub.addresses.clone(),
        identity: receiver,
        desired: hub.desired,
        reports: hub.reports,
        samples: hub.samples,
        metrics: hub.metrics,
        agent_version: enrolment.agent_version,
        kubernetes_version: facts.kubernetes_version,
        cluster_uid: facts.cluster_uid,
        capabilities: facts.capabilities,
        api_kinds: facts.api_kinds,
        drift_age_ms: hub.drift_age_ms,
        status: hub.status,
        shutdown: shutdown.clone(),
    };
    let renewal = identity::run_renewal(
        client,
        hub.namespace,
        hub.addresses,
        sender,
        shutdown.clone(),
    );
    tokio::join!(renewal, runner::run(link));
}

/// What the agent tells the hub of its cluster.
struct Facts {
    cluster_uid: String,
    kubernetes_version: String,
    capabilities: Vec<String>,
    api_kinds: Vec<String>,
}

async fn read_facts(client: &kube::Client) -> Facts {
    let mut backoff = Backoff::default();
    loop {
        match try_read_facts(client).await {
            Ok(facts) => return facts,
            Err(error) => {
                tracing::warn!(error = %chain(&error), "the cluster's own facts are not readable");
                let pause = backoff.next(rand::random()).max(Duration::from_millis(200));
                tokio::time::sleep(pause).await;
            }
        }
    }
}

async fn try_read_facts(client: &kube::Client) -> Result<Facts, kube::Error> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let system = namespaces.get("kube-system").await?;
    let version = client.apiserver_version().await?;
    let groups = client.list_api_groups().await?;
    let mut capabilities: Vec<String> = groups
        .groups
        .into_iter()
        .flat_map(|group| group.versions)
        .map(|version| version.group_version)
        .collect();
    capabilities.sort();
    capabilities.truncate(MAX_CAPABILITIES);
    Ok(Facts {
        cluster_uid: system.metadata.uid.unwrap_or_default(),
        kubernetes_version: version.git_version,
        capabilities,
        api_kinds: read_kinds(client).await,
    })
}

/// Every kind that the cluster serves. Without them charts that ask for kinds take them for missing,
/// which is no reason to stay away from the hub.
async fn read_kinds(client: &kube::Client) -> Vec<String> {
    let discovery = match Discovery::new(client.clone()).run_aggregated().await {
        Ok(discovery) => discovery,
        Err(error) => {
            tracing::warn!(error = %chain(&error), "the cluster's kinds are not readable");
            return Vec::new();
        }
    };
    let mut kinds: Vec<String> = discovery
        .groups()
        .flat_map(|group| {
            let versions = group.versions();
            versions.flat_map(|version| group.versioned_resources(version))
        })
        .map(|(resource, _)| format!("{}/{}", resource.api_version, resource.kind))
        .collect();
    kinds.sort();
    kinds.dedup();
    kinds.truncate(MAX_KINDS);
    kinds
}
