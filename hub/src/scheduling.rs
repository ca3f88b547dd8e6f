//! What placement needs to know of the clusters that the store holds.

use std::{collections::BTreeSet, sync::Arc};

use bellwether_api::{cluster::ClusterSpec, placement::Taint};
use bellwether_hub_core::placement::{ClusterFacts, CordonMode, Properties, Scheduling};
use bellwether_store::clusters::Cluster;

/// The same lists of kinds, once each: whole fleets serve the same.
pub(crate) type Kinds = BTreeSet<Arc<[String]>>;

/// Returns what placement needs to know of a cluster.
pub(crate) fn facts_of(cluster: &Cluster, kinds: &mut Kinds) -> ClusterFacts {
    let spec: ClusterSpec = serde_json::from_value(cluster.spec.clone()).unwrap_or_default();
    ClusterFacts {
        id: cluster.id,
        name: cluster.name.clone(),
        labels: cluster.labels.clone(),
        metrics: spec.metrics,
        traffic: spec.traffic,
        scheduling: Arc::new(scheduling_of(cluster, spec.taints, kinds)),
    }
}

fn scheduling_of(cluster: &Cluster, taints: Vec<Taint>, kinds: &mut Kinds) -> Scheduling {
    let api_kinds = match kinds.get(cluster.capabilities.as_slice()) {
        Some(same) => Arc::clone(same),
        None => {
            let new: Arc<[String]> = cluster.capabilities.clone().into();
            kinds.insert(Arc::clone(&new));
            new
        }
    };
    Scheduling {
        taints,
        cordon: cluster.cordon.as_ref().map(CordonMode::from),
        properties: Properties {
            kubernetes_version: cluster.kubernetes_version.clone(),
            api_kinds,
            nodes: cluster.nodes.clone(),
        },
    }
}
