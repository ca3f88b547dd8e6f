//! What is live of a run's objects, read from the API server.

use std::{collections::BTreeMap, sync::Arc};

use bellwether_agent_core::{
    adopted::in_place::Recorded, effective::GovernedRoute, names::RUN_LABEL,
};
use bellwether_api::reference::ObjectRef;
use futures::future::try_join_all;
use serde_json::Value;

use super::{APPS, Scene, neighbours::Beside, routes::own_targets};
use crate::{
    rollout::{reading::Reading, views},
    sync::cluster::{Cluster, ClusterError},
};

const SLICES: &str = "discovery.k8s.io/v1";
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// What is live of a run's objects.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// The workload.
    pub workload: Option<Value>,
    /// Whatever has the name of the workload's copy.
    pub canary: Option<Value>,
    /// Whatever has the canary Service's name.
    pub canary_service: Option<Value>,
    /// The namespace itself.
    pub namespace: Option<Value>,
    /// ReplicaSets with the labels by which the workload selects its pods, its own among them; beside
    /// a copy of a DaemonSet ControllerRevisions; empty where pods alone tell versions apart.
    pub replica_sets: Vec<Value>,
    /// All Services of the namespace.
    pub services: Arc<Vec<Value>>,
    /// EndpointSlices of the apex Service and the canary's.
    pub slices: Vec<Value>,
    /// The routes, in the order of [`Scene::routes`].
    pub routes: Vec<Option<Value>>,
    /// Whatever has the names of [`Scene::own_routes`], in their order.
    pub own_routes: Vec<Option<Value>>,
    /// Whatever has the names of [`Scene::config_copies`].
    pub config_copies: Vec<Value>,
    /// The canary's pods.
    pub canary_pods: Vec<Value>,
    /// The pods that a workload selects which is updated in place or has no ReplicaSets; empty for any other.
    pub own_pods: Vec<Value>,
    /// The versions that a workload of somebody else had which is updated in place; empty for any other.
    pub recorded: Vec<Recorded>,
    /// Metadata of the pods of each Service that is to be pinned and is not yet.
    pub selected_pods: BTreeMap<String, Vec<Value>>,
    /// What else a Service may select; empty unless one is to be pinned, or nothing is tested yet.
    pub neighbours: Beside,
    /// HorizontalPodAutoscalers and ScaledObjects that target the workload.
    pub autoscalers: Vec<Value>,
}

/// What of a run's memory says how much is read.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Services that the run has pinned.
    pub pinned: &'a [String],
    /// Nothing is tested yet: whatever a pin would cut off is looked for.
    pub begins: bool,
}

impl Known<'_> {
    /// Of a run that was not begun.
    pub const NOTHING: Known<'static> = Known {
        pinned: &[],
        begins: true,
    };
}

impl Scene {
    /// Reads everything that a decision looks at. What a whole namespace must be asked for is shared
    /// through `reading`; the rest is asked for by name or by label, so that a look costs the same
    /// however many runs there are.
    ///
    /// # Errors
    /// The API server refuses or does not answer: then nothing is known, and nothing is decided.
    pub async fn look(
        &self,
        reading: &Reading<'_>,
        known: Known<'_>,
    ) -> Result<Live, ClusterError> {
        if self.adapter.is_some() {
            // Held on the heap: threads of the agent have small stacks.
            return Box::pin(self.look_in_place(reading, known)).await;
        }
        let cluster = reading.cluster;
        let namespace = Some(self.namespace.as_str());
        // Runs of one release have the label in common. Only the pods of what has no ReplicaSets tell which
        // of its versions still runs.
        let own = (!self.counts_pods()).then(|| format!("{RUN_LABEL}={}", self.label));
        let own_pods = [own, self.pod_labels.clone()];
        let own_pods: Vec<String> = own_pods.into_iter().flatten().collect();
        let own_pods = own_pods.join(",");
        // Before the workload: a ReplicaSet that is newer than the template beside it would look like
        // one of another version.
        let (replica_sets, services, slices, pods) = tokio::try_join!(
            self.version_objects(cluster),
            reading.list("v1", "Service", &self.namespace),
            self.slices(cluster),
            cluster.list("v1", "Pod", namespace, Some(&own_pods)),
        )?;
        let routes = try_join_all(self.routes.iter().map(|route| cluster.get(&route.target)));
        let own_routes = try_join_all(self.own_routes.iter().map(|own| get_own(cluster, own)));
        let copies: Vec<ObjectRef> = self.config_copies().collect();
        let config_copies = try_join_all(copies.iter().map(|copy| cluster.get(copy)));
        let objects = async {
            tokio::try_join!(
                cluster.get(&self.workload),
                cluster.get(&self.canary),
                get_named(cluster, self.canary_service.as_ref()),
                reading.namespace(&self.namespace),
            )
        };
        let (
            (workload, canary, canary_service, space),
            routes,
            own_routes,
            config_copies,
            selected_pods,
            neighbours,
            autoscalers,
        ) = tokio::try_join!(
            objects,
            routes,
            own_routes,
            config_copies,
            self.selected_pods(cluster, &services),
            self.neighbours(reading, &services, known),
            self.autoscalers(reading),
        )?;
        let (canary_pods, own_pods) = pods.into_iter().partition(|pod| self.is_own(pod));
        Ok(Live {
            workload,
            canary,
            canary_service,
            namespace: space,
            replica_sets,
            services,
            slices,
            routes,
            own_routes,
            config_copies: config_copies.into_iter().flatten().collect(),
            canary_pods,
            own_pods,
            recorded: Vec::new(),
            selected_pods,
            neighbours,
            autoscalers,
        })
    }

    /// Reads by what requests come to the pods of a workload that is updated in place, and whose else
    /// those are.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub(in crate::rollout) async fn look_at_traffic(
        &self,
        reading: &Reading<'_>,
        known: Known<'_>,
    ) -> Result<Live, ClusterError> {
        let cluster = reading.cluster;
        let (services, slices) = tokio::try_join!(
            reading.list("v1", "Service", &self.namespace),
            self.slices(cluster),
        )?;
        let routes = try_join_all(self.routes.iter().map(|route| cluster.get(&route.target)));
        let own_routes = try_join_all(self.own_routes.iter().map(|own| get_own(cluster, own)));
        let (routes, own_routes, canary_service, selected_pods, neighbours) = tokio::try_join!(
            routes,
            own_routes,
            get_named(cluster, self.canary_service.as_ref()),
            self.selected_pods(cluster, &services),
            self.neighbours(reading, &services, known),
        )?;
        Ok(Live {
            canary_service,
            services,
            slices,
            routes,
            own_routes,
            selected_pods,
            neighbours,
            ..Live::default()
        })
    }

    async fn version_objects(&self, cluster: &Cluster) -> Result<Vec<Value>, ClusterError> {
        let Some(kind) = self.version_kind() else {
            return Ok(Vec::new());
        };
        let namespace = Some(self.namespace.as_str());
        cluster
            .list(APPS, kind, namespace, self.pod_labels.as_deref())
            .await
    }

    async fn slices(&self, cluster: &Cluster) -> Result<Vec<Value>, ClusterError> {
        let names: Vec<&str> = [&self.service, &self.canary_service]
            .into_iter()
            .flatten()
            .map(|service| service.name.as_str())
            .collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let labels = format!("{SERVICE_LABEL} in ({})", names.join(","));
        let namespace = Some(self.namespace.as_str());
        cluster
            .list(SLICES, "EndpointSlice", namespace, Some(&labels))
            .await
    }

    /// The autoscalers of the workload: they name it in a field by which nothing can be selected.
    pub(in crate::rollout) async fn autoscalers(
        &self,
        reading: &Reading<'_>,
    ) -> Result<Vec<Value>, ClusterError> {
        let (hpas, scaled_objects) = tokio::try_join!(
            reading.list("autoscaling/v2", "HorizontalPodAutoscaler", &self.namespace),
            reading.list("keda.sh/v1alpha1", "ScaledObject", &self.namespace),
        )?;
        let all = hpas.iter().chain(scaled_objects.iter());
        Ok(all
            .filter(|autoscaler| views::targets(autoscaler, &self.workload))
            .cloned()
            .collect())
    }

    /// What is live of one of the run's own objects; absent = it is none, or does not exist.
    #[must_use]
    pub fn live_of<'a>(&self, live: &'a Live, target: &ObjectRef) -> Option<&'a Value> {
        if *target == self.workload {
            return live.workload.as_ref();
        }
        if let Some(at) = self.routes.iter().position(|route| route.target == *target) {
            return live.routes.get(at).and_then(Option::as_ref);
        }
        let service =
            target.kind == "Service" && target.namespace.as_ref() == Some(&self.namespace);
        live.services
            .iter()
            .find(|object| service && views::name(object) == target.name)
    }

    /// The run's own objects beside one of the routes, those that exist.
    #[must_use]
    pub fn own_of<'a>(&self, live: &'a Live, route: &GovernedRoute) -> Vec<&'a Value> {
        let targets = own_targets(route);
        self.own_routes
            .iter()
            .zip(&live.own_routes)
            .filter(|(target, _)| targets.contains(target))
            .filter_map(|(_, found)| found.as_ref())
            .filter(|found| self.is_own(found))
            .collect()
    }
}

async fn get_named(
    cluster: &Cluster,
    target: Option<&ObjectRef>,
) -> Result<Option<Value>, ClusterError> {
    match target {
        Some(target) => cluster.get(target).await,
        None => Ok(None),
    }
}

/// Fetches what has the name of one of the run's own routes. What the agent may not even read it has
/// not made: rights on such a kind are needed only by splits that need the object.
///
/// # Errors
/// The API server refuses for another reason, or does not answer.
pub async fn get_own(cluster: &Cluster, target: &ObjectRef) -> Result<Option<Value>, ClusterError> {
    match cluster.get(target).await {
        Err(error) if error.code() == Some(403) => Ok(None),
        found => found,
    }
}
