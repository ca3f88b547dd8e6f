//! What the agent tells the hub of its cluster: read when it starts, and again and again.

use std::time::Duration;

use bellwether_agent_core::node_properties::{NodeSeen, NodeSum};
use bellwether_api::cluster::NodeProperties;
use bellwether_proto::wire::{self, ClusterReport};
use k8s_openapi::api::core::v1::{Namespace, Node};
use kube::{
    Api,
    api::{ListParams, ObjectList},
    discovery::Discovery,
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    backoff::Backoff,
    error::chain,
    pods::PodCount,
    rights::{self, Places},
};

/// API groups that are told to the hub at most.
const MAX_CAPABILITIES: usize = 256;
/// Kinds that are told; the hub takes no more.
const MAX_KINDS: usize = 2_000;
/// How often the cluster is looked at, so that much and no more is told.
const EVERY: Duration = Duration::from_secs(60);
/// How often a cluster of many nodes is looked at: listing them is work for its API server.
const EVERY_OF_MANY: Duration = Duration::from_secs(300);
/// How often the agent looks what it may do.
const EVERY_RIGHTS: Duration = Duration::from_secs(600);
/// Nodes of which a cluster has many.
const MANY_NODES: u32 = 500;
/// Nodes that one request lists.
const PAGE: u32 = 500;
const REGION: &str = "topology.kubernetes.io/region";
const ZONE: &str = "topology.kubernetes.io/zone";

/// What is told of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The cluster's Kubernetes version.
    pub kubernetes_version: String,
    /// API groups with versions, sorted.
    pub capabilities: Vec<String>,
    /// Kinds that the cluster serves, as `apps/v1/Deployment`, sorted; empty = they are not readable.
    pub api_kinds: Vec<String>,
    /// What its nodes are; absent = they are not readable.
    pub nodes: Option<NodeProperties>,
    /// What registering the cluster today would let the agent do and it may not, one sentence each;
    /// empty = nothing, or the cluster does not say.
    pub missing_rights: Vec<String>,
}

impl Facts {
    /// Returns them as they travel.
    pub(super) fn report(&self) -> ClusterReport {
        let nodes = self.nodes.clone();
        ClusterReport {
            kubernetes_version: self.kubernetes_version.clone(),
            capabilities: self.capabilities.clone(),
            api_kinds: self.api_kinds.clone(),
            missing_rights: self.missing_rights.clone(),
            nodes: nodes.map(|nodes| wire::NodeProperties {
                ready: nodes.ready,
                allocatable_cpu_milli: nodes.allocatable_cpu_milli,
                allocatable_memory_bytes: nodes.allocatable_memory_bytes,
                regions: nodes.regions,
                zones: nodes.zones,
                requested: nodes.requested.map(|requested| wire::PodRequests {
                    cpu_milli: requested.cpu_milli,
                    memory_bytes: requested.memory_bytes,
                }),
            }),
        }
    }

    fn pause(&self) -> Duration {
        let ready = self.nodes.as_ref().map_or(0, |nodes| nodes.ready);
        if ready > MANY_NODES {
            EVERY_OF_MANY
        } else {
            EVERY
        }
    }
}

/// What the agent reads of its cluster before it can speak for it.
pub(super) struct Found {
    pub cluster_uid: String,
    pub facts: Facts,
}

/// Reads everything, for as long as it takes.
pub(super) async fn read(client: &kube::Client, places: &Places) -> Found {
    let mut backoff = Backoff::default();
    loop {
        let uid = cluster_uid(client).await;
        let mut pods = PodCount::default();
        match (uid, try_read(client, &Facts::default(), &mut pods).await) {
            (Ok(cluster_uid), Ok(mut facts)) => {
                facts.missing_rights = rights::read(client, places).await.unwrap_or_default();
                return Found { cluster_uid, facts };
            }
            (Err(error), _) | (_, Err(error)) => {
                tracing::warn!(error = %chain(&error), "the cluster's own facts are not readable");
                let pause = backoff.next(rand::random()).max(Duration::from_millis(200));
                tokio::time::sleep(pause).await;
            }
        }
    }
}

/// Looks again and again, and says what changed.
pub(super) async fn keep(
    client: kube::Client,
    facts: watch::Sender<Facts>,
    places: impl Fn() -> Places + Send,
    shutdown: CancellationToken,
) {
    let mut rights_read = Instant::now();
    let mut pods = PodCount::default();
    loop {
        let pause = facts.borrow().pause();
        if shutdown
            .run_until_cancelled(tokio::time::sleep(pause))
            .await
            .is_none()
        {
            return;
        }
        let known = facts.borrow().clone();
        match try_read(&client, &known, &mut pods).await {
            Ok(mut found) => {
                if rights_read.elapsed() >= EVERY_RIGHTS {
                    rights_read = Instant::now();
                    if let Some(missing) = rights::read(&client, &places()).await {
                        found.missing_rights = missing;
                    }
                }
                facts.send_if_modified(|now| {
                    let differs = *now != found;
                    *now = found;
                    differs
                });
            }
            // What was told stays until something else is known.
            Err(error) => {
                tracing::debug!(error = %chain(&error), "the cluster's facts were not readable");
            }
        }
    }
}

async fn cluster_uid(client: &kube::Client) -> Result<String, kube::Error> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let system = namespaces.get("kube-system").await?;
    Ok(system.metadata.uid.unwrap_or_default())
}

/// Reads what is told; what is not readable now is as `known`.
async fn try_read(
    client: &kube::Client,
    known: &Facts,
    pods: &mut PodCount,
) -> Result<Facts, kube::Error> {
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
    let mut nodes = read_nodes(client, known.nodes.as_ref()).await;
    if let Some(nodes) = &mut nodes {
        let told = known.nodes.as_ref().and_then(|known| known.requested);
        nodes.requested = pods.requested(client, nodes, told).await;
    }
    Ok(Facts {
        kubernetes_version: version.git_version,
        capabilities,
        api_kinds: read_kinds(client)
            .await
            .unwrap_or_else(|| known.api_kinds.clone()),
        nodes,
        missing_rights: known.missing_rights.clone(),
    })
}

/// Every kind that the cluster serves. Without them charts that ask for kinds take them for missing,
/// which is no reason to stay away from the hub.
async fn read_kinds(client: &kube::Client) -> Option<Vec<String>> {
    let discovery = match Discovery::new(client.clone()).run_aggregated().await {
        Ok(discovery) => discovery,
        Err(error) => {
            tracing::warn!(error = %chain(&error), "the cluster's kinds are not readable");
            return None;
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
    Some(kinds)
}

/// What the nodes are; absent = the agent may not read them. What is not readable now is as `known`.
async fn read_nodes(
    client: &kube::Client,
    known: Option<&NodeProperties>,
) -> Option<NodeProperties> {
    match sum_nodes(client).await {
        Ok(nodes) => Some(nodes),
        Err(kube::Error::Api(status)) if status.code == 403 => {
            tracing::debug!("the cluster's nodes are not the agent's to read");
            None
        }
        Err(error) => {
            tracing::debug!(error = %chain(&error), "the cluster's nodes were not readable");
            known.cloned()
        }
    }
}

async fn sum_nodes(client: &kube::Client) -> Result<NodeProperties, kube::Error> {
    let nodes: Api<Node> = Api::all(client.clone());
    let mut sum = NodeSum::default();
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let ObjectList {
            metadata, items, ..
        } = nodes.list(&page).await?;
        items.into_iter().map(seen).for_each(|node| sum.add(node));
        match metadata.continue_.filter(|next| !next.is_empty()) {
            Some(next) => page = page.continue_token(&next),
            None => return Ok(sum.total()),
        }
    }
}

fn seen(node: Node) -> NodeSeen {
    let labels = node.metadata.labels.unwrap_or_default();
    let status = node.status.unwrap_or_default();
    let allocatable = status.allocatable.unwrap_or_default();
    let amount = |name: &str| {
        let amount = allocatable.get(name);
        amount.map_or_else(String::new, |amount| amount.0.clone())
    };
    let conditions = status.conditions.unwrap_or_default();
    let ready = conditions
        .iter()
        .any(|one| one.type_ == "Ready" && one.status == "True");
    let closed = node.spec.and_then(|spec| spec.unschedulable);
    NodeSeen {
        ready: ready && closed != Some(true),
        allocatable_cpu: amount("cpu"),
        allocatable_memory: amount("memory"),
        region: labels.get(REGION).cloned(),
        zone: labels.get(ZONE).cloned(),
    }
}

#[cfg(test)]
#[path = "facts_tests.rs"]
mod tests;
