//! Tells the sessions where the metrics of their clusters are read, when that changes.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use bellwether_api::fleet::{FleetSpec, MetricsDefaults};
use bellwether_hub_core::{metrics_sources::sources, placement::ClusterFacts};
use uuid::Uuid;

/// Clusters and fleets as they were at one moment.
#[derive(Clone, Debug)]
pub(super) struct MetricsPlaces {
    pub(super) clusters: Arc<[ClusterFacts]>,
    pub(super) fleets: Arc<BTreeMap<String, FleetSpec>>,
}

impl MetricsPlaces {
    /// Whether both were read at the same moments.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.clusters, &other.clusters) && Arc::ptr_eq(&self.fleets, &other.fleets)
    }

    /// Where the metrics of each cluster are read.
    pub(super) fn sources(&self) -> HashMap<Uuid, Arc<[MetricsDefaults]>> {
        let of = |cluster: &ClusterFacts| sources(cluster, self.fleets.values()).into();
        self.clusters
            .iter()
            .map(|cluster| (cluster.id, of(cluster)))
            .collect()
    }
}
