//! What else the Services of a run select, or would: looked for before one of them is pinned.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bellwether_agent_core::selection::{self, Neighbours};
use serde_json::Value;

use super::{APPS, Known, Live, Scene};
use crate::{
    rollout::{reading::Reading, views},
    sync::cluster::{Cluster, ClusterError},
};

/// The workloads of a namespace.
#[derive(Clone, Debug, Default)]
pub struct Beside {
    /// All Deployments.
    pub deployments: Arc<Vec<Value>>,
    /// All StatefulSets and DaemonSets.
    pub stateful_and_daemon_sets: Vec<Value>,
    /// All ReplicaSets.
    pub replica_sets: Arc<Vec<Value>>,
}

impl Scene {
    /// Tells whether a Service would select canary pods, or is the apex. Updated in place, the pods are
    /// the workload's own: other Services may have all of them.
    pub(in crate::rollout) fn concerns_service(&self, service: &Value) -> bool {
        let apex = self.service.as_ref().map(|service| service.name.as_str());
        apex == Some(views::name(service).as_str())
            || self.adapter.is_none() && self.selects_canary(service)
    }

    /// Reads the workloads of the namespace where a Service may be pinned: what a pin would cut off is
    /// looked for before, and all of them are much to read.
    pub(super) async fn neighbours(
        &self,
        reading: &Reading<'_>,
        services: &[Value],
        known: Known<'_>,
    ) -> Result<Beside, ClusterError> {
        let is_done = |service: &Value| {
            let pin = views::string_map(service, "/spec/selector").contains_key(self.pin_label());
            !known.begins && pin && known.pinned.contains(&views::name(service))
        };
        let due = services.iter().any(|service| {
            !self.is_own(service) && self.concerns_service(service) && !is_done(service)
        });
        if !due {
            return Ok(Beside::default());
        }
        let (deployments, replica_sets, stateful_sets, daemon_sets) = tokio::try_join!(
            reading.list(APPS, "Deployment", &self.namespace),
            reading.list(APPS, "ReplicaSet", &self.namespace),
            reading.list(APPS, "StatefulSet", &self.namespace),
            reading.list(APPS, "DaemonSet", &self.namespace),
        )?;
        let sets = stateful_sets.iter().chain(daemon_sets.iter());
        Ok(Beside {
            deployments,
            stateful_and_daemon_sets: sets.cloned().collect(),
            replica_sets,
        })
    }

    /// The pods of each Service that is to be pinned and is not yet: what a pin would take the Service
    /// away from is asked before, and costs nothing while a run is under way.
    pub(super) async fn selected_pods(
        &self,
        cluster: &Cluster,
        services: &[Value],
    ) -> Result<BTreeMap<String, Vec<Value>>, ClusterError> {
        let mut pods = BTreeMap::new();
        for service in services.iter().filter(|service| !self.is_own(service)) {
            let selector = views::string_map(service, "/spec/selector");
            let matches = if self.adapter.is_some() {
                self.service.as_ref().map(|apex| &apex.name) == Some(&views::name(service))
            } else {
                self.selects_canary(service)
            };
            if !matches || selector.contains_key(self.pin_label()) {
                continue;
            }
            let labels: Vec<String> = selector
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            let selected = cluster
                .pods_metadata(&self.namespace, &labels.join(","))
                .await?;
            pods.insert(views::name(service), selected);
        }
        Ok(pods)
    }

    /// What else a Service selects, or would as soon as it has pods, as names of workloads.
    #[must_use]
    pub fn others_selected(
        &self,
        live: &Live,
        service: &str,
        selector: &BTreeMap<String, String>,
    ) -> BTreeSet<String> {
        let deployments = [self.workload.name.as_str(), &self.canary.name];
        let mut others = selection::others_selected(
            selector,
            Neighbours {
                own: if self.is_per_node() || self.copy_adapter.is_some() {
                    &[]
                } else {
                    &deployments
                },
                deployments: &live.neighbours.deployments,
                stateful_and_daemon_sets: &live.neighbours.stateful_and_daemon_sets,
                replica_sets: &live.neighbours.replica_sets,
                pods: live.selected_pods.get(service).map_or(&[], Vec::as_slice),
            },
        );
        for own in [&self.workload, &self.canary] {
            others.remove(&format!("{}/{}", own.kind, own.name));
        }
        others
    }
}
