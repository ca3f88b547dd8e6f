//! Everything between the agent's start and its open session.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    bulk::SampleOutbox,
    compliance, facts,
    rights::Places,
    runner::{self, Link, LinkStatus},
};
use crate::{
    desired::Desired,
    identity::{self, Enrolment},
    metrics::Reachable,
    report::Reports,
};

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
    let (home, desired) = (hub.namespace.clone(), hub.desired.clone());
    let places = move || places(&home, &desired);
    let found = facts::read(&client, &places()).await;
    let enrolment = Enrolment {
        addresses: hub.addresses.clone(),
        ca_hash,
        token: hub.token.clone(),
        cluster_uid: found.cluster_uid.clone(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let obtained = identity::obtain(&client, &hub.namespace, &enrolment).await;
    hub.cluster_name
        .send_replace(Some(obtained.cluster_name.clone()));
    let (sender, receiver) = watch::channel(Arc::new(obtained));
    let facts = watch::Sender::new(found.facts);
    let counted = watch::Sender::new(None);
    let link = Link {
        addresses: hub.addresses.clone(),
        identity: receiver,
        desired: hub.desired,
        reports: hub.reports,
        samples: hub.samples,
        metrics: hub.metrics,
        agent_version: enrolment.agent_version,
        instance: uuid::Uuid::new_v4(),
        cluster_uid: found.cluster_uid,
        facts: facts.subscribe(),
        compliance: counted.subscribe(),
        drift_age_ms: hub.drift_age_ms,
        status: hub.status,
        shutdown: shutdown.clone(),
    };
    let counting = compliance::keep(client.clone(), facts.subscribe(), counted, shutdown.clone());
    let refresh = facts::keep(client.clone(), facts, places, shutdown.clone());
    let renewal = identity::run_renewal(
        client,
        hub.namespace,
        hub.addresses,
        sender,
        shutdown.clone(),
    );
    tokio::join!(renewal, refresh, counting, runner::run(link));
}

/// Where the agent lives, and where it holds objects.
fn places(home: &str, desired: &Desired) -> Places {
    let units = desired.units().into_values();
    Places {
        home: home.to_owned(),
        work: units
            .flat_map(|unit| unit.objects)
            .filter_map(|object| object.namespace)
            .collect(),
    }
}
