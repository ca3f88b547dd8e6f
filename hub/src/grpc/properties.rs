//! What agents report of their clusters: versions, kinds and nodes.

use std::time::{Duration, Instant};

use bellwether_api::cluster::{NodeProperties, PodRequests};
use bellwether_proto::wire::{self, ClusterReport, Hello};
use bellwether_store::{
    Store,
    clusters::{self, Cluster, ReportedProperties},
};
use uuid::Uuid;

use crate::telemetry::chain;

/// Bytes that one word of an agent may have.
pub(super) const MAX_TEXT_BYTES: usize = 256;
const MAX_CAPABILITIES: usize = 256;
/// Kinds that a cluster may serve.
const MAX_KINDS: usize = 2_000;
/// Regions or zones that the nodes of a cluster may name.
const MAX_GROUPS: usize = 64;
/// Sentences on rights that an agent lacks.
const MAX_RIGHTS: usize = 32;
/// How often a report is taken in: agents of ours say less.
const EVERY: Duration = Duration::from_secs(10);

/// What one session said of its cluster.
#[derive(Debug, Default)]
pub(super) struct PropertiesLink {
    heard: Option<Instant>,
}

impl PropertiesLink {
    /// Takes in what the agent found.
    pub(super) fn hear(&mut self, store: &Store, cluster: Uuid, report: ClusterReport) {
        let too_often = self.heard.is_some_and(|heard| heard.elapsed() < EVERY);
        if too_often || says_too_much(&report) {
            tracing::warn!(cluster.id = %cluster, too_often, "a report of a cluster was dropped");
            return;
        }
        self.heard = Some(Instant::now());
        let store = store.clone();
        tokio::spawn(async move {
            record(&store, cluster, &reported(report)).await;
        });
    }
}

/// Writes what an agent said of its nodes when its stream began, where it is new.
pub(super) async fn record_at_hello(store: &Store, cluster: &Cluster, hello: &Hello) {
    let reported = reported(of_hello(hello));
    if (&cluster.nodes, &cluster.missing_rights) != (&reported.nodes, &reported.missing_rights) {
        record(store, cluster.id, &reported).await;
    }
}

async fn record(store: &Store, cluster: Uuid, reported: &ReportedProperties) {
    if let Err(error) = clusters::record_properties(store, cluster, reported).await {
        let error = chain(&error);
        tracing::warn!(cluster.id = %cluster, error, "a report of a cluster was not recorded");
    }
}

/// What an agent says of its cluster when its stream begins.
pub(super) fn of_hello(hello: &Hello) -> ClusterReport {
    ClusterReport {
        kubernetes_version: hello.kubernetes_version.clone(),
        capabilities: hello.capabilities.clone(),
        api_kinds: hello.api_kinds.clone(),
        nodes: hello.nodes.clone(),
        missing_rights: hello.missing_rights.clone(),
    }
}

/// Tells whether no agent of ours would say so much.
pub(super) fn says_too_much(report: &ClusterReport) -> bool {
    let nodes = report.nodes.as_ref();
    let groups = nodes.map(|nodes| nodes.regions.iter().chain(&nodes.zones));
    let mut texts = [&report.kubernetes_version]
        .into_iter()
        .chain(&report.capabilities)
        .chain(&report.api_kinds)
        .chain(&report.missing_rights)
        .chain(groups.into_iter().flatten());
    texts.any(|text| text.len() > MAX_TEXT_BYTES)
        || report.capabilities.len() > MAX_CAPABILITIES
        || report.api_kinds.len() > MAX_KINDS
        || report.missing_rights.len() > MAX_RIGHTS
        || nodes.is_some_and(|nodes| nodes.regions.len().max(nodes.zones.len()) > MAX_GROUPS)
}

fn reported(report: ClusterReport) -> ReportedProperties {
    ReportedProperties {
        kubernetes_version: report.kubernetes_version,
        capabilities: [report.capabilities, report.api_kinds].concat(),
        nodes: report.nodes.map(nodes_of),
        missing_rights: report.missing_rights,
    }
}

fn nodes_of(nodes: wire::NodeProperties) -> NodeProperties {
    NodeProperties {
        ready: nodes.ready,
        allocatable_cpu_milli: nodes.allocatable_cpu_milli,
        allocatable_memory_bytes: nodes.allocatable_memory_bytes,
        regions: nodes.regions,
        zones: nodes.zones,
        requested: nodes.requested.map(|requested| PodRequests {
            cpu_milli: requested.cpu_milli,
            memory_bytes: requested.memory_bytes,
        }),
    }
}
