//! What one run has to do with: names, versions of its objects, and what is live of them.

use std::collections::{BTreeMap, BTreeSet};

use bellwether_agent_core::{
    effective::GovernedRoute,
    names::{HASH_LABEL, RUN_LABEL, canary_name, run_label},
    provider::{Names, renderer},
    selection::{self, Neighbours, selects},
    tracked_config::ConfigChange,
};
use bellwether_api::{
    bundle::{Bundle, BundleRollout},
    reference::ObjectRef,
    rollout::PortRef,
    traffic::Traffic,
    workload_adapter::WorkloadAdapter,
};
use futures::future::try_join_all;
use serde_json::Value;

use super::{track::workload_of, views};
use crate::sync::cluster::{Cluster, ClusterError, reference};

const APPS: &str = "apps/v1";
const SLICES: &str = "discovery.k8s.io/v1";

/// What one run has to do with.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The workload's namespace.
    pub namespace: String,
    /// The governed workload.
    pub workload: ObjectRef,
    /// How the workload is updated in place; absent = a copy runs beside it.
    pub adapter: Option<WorkloadAdapter>,
    /// The apex Service; absent = no traffic is split.
    pub service: Option<ObjectRef>,
    /// The user's objects that split traffic; empty = none is split.
    pub routes: Vec<GovernedRoute>,
    /// The objects that the providers may need beside them, which are the run's own.
    pub own_routes: Vec<ObjectRef>,
    /// Those of them that the user's objects name while they are needed.
    pub named_own_routes: BTreeSet<ObjectRef>,
    /// The user's objects of which the run makes the like for the canary.
    pub copied: Vec<ObjectRef>,
    /// The canary Deployment.
    pub canary: ObjectRef,
    /// The canary Service; absent = no traffic is split.
    pub canary_service: Option<ObjectRef>,
    /// ConfigMaps and Secrets of the workload that the release changes.
    pub config: Vec<ConfigChange>,
    /// Value of the run label.
    pub label: String,
    /// Labels of canary pods.
    pub canary_labels: BTreeMap<String, String>,
}

impl Scene {
    /// Works out the names of a run.
    #[must_use]
    pub fn of(bundle: &Bundle, rollout: &BundleRollout) -> Self {
        let workload = workload_of(bundle, rollout);
        let namespace = workload.namespace.clone().unwrap_or_default();
        let named = |api_version: &str, kind: &str, name: &str| ObjectRef {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: Some(namespace.clone()),
            name: name.to_owned(),
        };
        let label = run_label(bundle.run, bundle.attempt);
        let mut canary_labels = find(bundle, &workload).map_or_else(BTreeMap::new, |object| {
            views::string_map(object, "/spec/template/metadata/labels")
        });
        canary_labels.insert(RUN_LABEL.to_owned(), label.clone());
        let service = rollout.spec.service.as_ref();
        let routes = service.map_or_else(Vec::new, |service| {
            routes_of(bundle, rollout, &namespace, &service.name)
        });
        Self {
            canary: named(APPS, "Deployment", &canary_name(&workload.name)),
            canary_service: service
                .map(|service| named("v1", "Service", &canary_name(&service.name))),
            service: service.map(|service| named("v1", "Service", &service.name)),
            own_routes: routes
                .iter()
                .flat_map(own_targets)
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect(),
            copied: rollout
                .spec
                .traffic
                .iter()
                .filter_map(|traffic| copied(bundle, traffic, &namespace, &service?.name))
                .collect(),
            named_own_routes: routes
                .iter()
                .filter(|route| renderer(route.provider).is_some_and(|one| one.names_own()))
                .flat_map(own_targets)
                .collect(),
            routes,
            config: Vec::new(),
            label,
            canary_labels,
            adapter: (rollout.spec.strategy.batch.is_some())
                .then(|| WorkloadAdapter::of(&rollout.spec.workload))
                .flatten(),
            workload,
            namespace,
        }
    }

    /// The user's objects of [`Self::config`], in its order.
    pub fn config_targets(&self) -> impl Iterator<Item = ObjectRef> {
        self.config
            .iter()
            .map(|change| self.config_named(change, change.name.clone()))
    }

    /// The canary's copies of [`Self::config`], in its order.
    pub fn config_copies(&self) -> impl Iterator<Item = ObjectRef> {
        self.config
            .iter()
            .map(|change| self.config_named(change, canary_name(&change.name)))
    }

    fn config_named(&self, change: &ConfigChange, name: String) -> ObjectRef {
        ObjectRef {
            api_version: "v1".to_owned(),
            kind: change.kind.clone(),
            namespace: Some(self.namespace.clone()),
            name,
        }
    }

    /// Reads everything that a decision looks at.
    ///
    /// # Errors
    /// The API server refuses or does not answer: then nothing is known, and nothing is decided.
    pub async fn look(&self, cluster: &Cluster) -> Result<Live, ClusterError> {
        if self.adapter.is_some() {
            // Held on the heap: threads of the agent have small stacks.
            return Box::pin(self.look_in_place(cluster)).await;
        }
        let namespace = Some(self.namespace.as_str());
        let space = ObjectRef {
            api_version: "v1".to_owned(),
            kind: "Namespace".to_owned(),
            namespace: None,
            name: self.namespace.clone(),
        };
        let pods_of_run = format!("{RUN_LABEL}={}", self.label);
        let routes = try_join_all(self.routes.iter().map(|route| cluster.get(&route.target)));
        let own_routes = try_join_all(self.own_routes.iter().map(|own| get_own(cluster, own)));
        let copies: Vec<ObjectRef> = self.config_copies().collect();
        let config_copies = try_join_all(copies.iter().map(|copy| cluster.get(copy)));
        let canary_service = async {
            match &self.canary_service {
                Some(service) => cluster.get(service).await,
                None => Ok(None),
            }
        };
        let (workload, canary, canary_service, space, replica_sets, services, slices) = tokio::try_join!(
            cluster.get(&self.workload),
            cluster.get(&self.canary),
            canary_service,
            cluster.get(&space),
            cluster.list(APPS, "ReplicaSet", namespace, None),
            cluster.list("v1", "Service", namespace, None),
            cluster.list(SLICES, "EndpointSlice", namespace, None),
        )?;
        let (
            routes,
            own_routes,
            config_copies,
            canary_pods,
            selected_pods,
            deployments,
            stateful_sets,
            daemon_sets,
            hpas,
            scaled_objects,
        ) = tokio::try_join!(
            routes,
            own_routes,
            config_copies,
            cluster.list("v1", "Pod", namespace, Some(&pods_of_run)),
            self.selected_pods(cluster, &services),
            cluster.list(APPS, "Deployment", namespace, None),
            cluster.list(APPS, "StatefulSet", namespace, None),
            cluster.list(APPS, "DaemonSet", namespace, None),
            cluster.list("autoscaling/v2", "HorizontalPodAutoscaler", namespace, None),
            cluster.list("keda.sh/v1alpha1", "ScaledObject", namespace, None),
        )?;
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
            own_pods: Vec::new(),
            selected_pods,
            deployments,
            stateful_and_daemon_sets: stateful_sets.into_iter().chain(daemon_sets).collect(),
            autoscalers: hpas.into_iter().chain(scaled_objects).collect(),
        })
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

    /// The label by whose value Services are pinned to one version.
    #[must_use]
    pub fn pin_label(&self) -> &str {
        let adapter = self.adapter.as_ref();
        adapter.map_or(HASH_LABEL, |adapter| adapter.revision_label.as_str())
    }

    /// The ports of the apex Service that the plan names.
    #[must_use]
    pub fn ports(&self, live: &Live, rollout: &BundleRollout) -> Ports {
        let none = Ports {
            service: None,
            container: None,
        };
        let (Some(target), Some(plan)) = (&self.service, &rollout.spec.service) else {
            return none;
        };
        let Some(service) = self.live_of(live, target) else {
            return none;
        };
        let port = service
            .pointer("/spec/ports")
            .and_then(Value::as_array)
            .and_then(|ports| {
                ports.iter().find(|port| match &plan.port {
                    PortRef::Number(number) => {
                        port.get("port").and_then(Value::as_u64) == Some(u64::from(*number))
                    }
                    PortRef::Name(name) => port.get("name").and_then(Value::as_str) == Some(name),
                })
            });
        let Some(port) = port else { return none };
        let number = |value: &Value| value.as_u64().and_then(|port| u16::try_from(port).ok());
        let own = port.get("port").and_then(number);
        let container = match port.get("targetPort") {
            Some(Value::String(name)) => live
                .workload
                .as_ref()
                .and_then(|workload| named_port(workload, name)),
            Some(value) => number(value),
            None => own,
        };
        Ports {
            service: own,
            container,
        }
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

    /// Tells whether a live object was made by this run.
    #[must_use]
    pub fn is_own(&self, object: &Value) -> bool {
        views::string_map(object, "/metadata/labels").get(RUN_LABEL) == Some(&self.label)
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
                selects(&selector, &self.canary_labels)
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
        let mut others = selection::others_selected(
            selector,
            Neighbours {
                own: &[&self.workload.name, &self.canary.name],
                deployments: &live.deployments,
                stateful_and_daemon_sets: &live.stateful_and_daemon_sets,
                replica_sets: &live.replica_sets,
                pods: live.selected_pods.get(service).map_or(&[], Vec::as_slice),
            },
        );
        others.remove(&format!("{}/{}", self.workload.kind, self.workload.name));
        others
    }
}

/// The user's objects that split traffic, in the version in which the application writes them.
fn routes_of(
    bundle: &Bundle,
    rollout: &BundleRollout,
    namespace: &str,
    apex: &str,
) -> Vec<GovernedRoute> {
    let mut routes = Vec::new();
    for traffic in &rollout.spec.traffic {
        let objects = traffic.routes().into_iter();
        for route in objects.filter(|route| route.provider.has_object()) {
            let mut governed = GovernedRoute {
                provider: route.provider,
                target: ObjectRef {
                    api_version: route.provider.api_version().to_owned(),
                    kind: route.provider.kind().to_owned(),
                    namespace: Some(traffic.namespace.clone().unwrap_or(namespace.to_owned())),
                    name: route.name.to_owned(),
                },
                names: Names {
                    namespace: namespace.to_owned(),
                    apex: apex.to_owned(),
                    canary: canary_name(apex),
                    rules: traffic.rules.clone(),
                    copied: copied(bundle, traffic, namespace, apex)
                        .and_then(|target| find(bundle, &target).cloned()),
                },
            };
            let written = bundle
                .components
                .iter()
                .flat_map(|component| &component.objects)
                .find(|object| governed.is(object))
                .and_then(|object| object.get("apiVersion"))
                .and_then(Value::as_str);
            if let Some(written) = written {
                written.clone_into(&mut governed.target.api_version);
            }
            routes.push(governed);
        }
    }
    routes
}

/// The object of the user that is copied for the canary, in the version in which the application
/// writes it.
fn copied(bundle: &Bundle, traffic: &Traffic, namespace: &str, apex: &str) -> Option<ObjectRef> {
    let copied = traffic.copied(apex)?;
    let mut targets = copied.api_versions.iter().map(|api_version| ObjectRef {
        api_version: (*api_version).to_owned(),
        kind: copied.kind.to_owned(),
        namespace: Some(traffic.namespace.clone().unwrap_or(namespace.to_owned())),
        name: copied.name.clone(),
    });
    let usual = targets.next()?;
    if find(bundle, &usual).is_some() {
        return Some(usual);
    }
    Some(
        targets
            .find(|older| find(bundle, older).is_some())
            .unwrap_or(usual),
    )
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

fn own_targets(route: &GovernedRoute) -> Vec<ObjectRef> {
    renderer(route.provider).map_or_else(Vec::new, |renderer| {
        renderer.own_targets(&route.target, &route.names)
    })
}

fn named_port(workload: &Value, name: &str) -> Option<u16> {
    workload
        .pointer("/spec/template/spec/containers")
        .and_then(Value::as_array)?
        .iter()
        .filter_map(|container| container.get("ports").and_then(Value::as_array))
        .flatten()
        .find(|port| port.get("name").and_then(Value::as_str) == Some(name))
        .and_then(|port| port.get("containerPort"))
        .and_then(Value::as_u64)
        .and_then(|port| u16::try_from(port).ok())
}

/// The ports of the apex Service that the plan names; absent = they cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// The Service's own, by number.
    pub service: Option<u16>,
    /// The container's behind it.
    pub container: Option<u16>,
}

/// What is live of a run's objects.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// The workload.
    pub workload: Option<Value>,
    /// Whatever has the canary Deployment's name.
    pub canary: Option<Value>,
    /// Whatever has the canary Service's name.
    pub canary_service: Option<Value>,
    /// The namespace itself.
    pub namespace: Option<Value>,
    /// All ReplicaSets of the namespace.
    pub replica_sets: Vec<Value>,
    /// All Services of the namespace.
    pub services: Vec<Value>,
    /// All EndpointSlices of the namespace.
    pub slices: Vec<Value>,
    /// The routes, in the order of [`Scene::routes`].
    pub routes: Vec<Option<Value>>,
    /// Whatever has the names of [`Scene::own_routes`], in their order.
    pub own_routes: Vec<Option<Value>>,
    /// Whatever has the names of [`Scene::config_copies`].
    pub config_copies: Vec<Value>,
    /// The canary's pods.
    pub canary_pods: Vec<Value>,
    /// The pods that a workload which is updated in place selects; empty for any other.
    pub own_pods: Vec<Value>,
    /// Metadata of the pods of each Service that is to be pinned and is not yet.
    pub selected_pods: BTreeMap<String, Vec<Value>>,
    /// All Deployments of the namespace.
    pub deployments: Vec<Value>,
    /// All StatefulSets and DaemonSets of the namespace.
    pub stateful_and_daemon_sets: Vec<Value>,
    /// HorizontalPodAutoscalers and ScaledObjects of the namespace.
    pub autoscalers: Vec<Value>,
}

/// Finds an object of a bundle; objects that name no namespace lie in the target namespace.
#[must_use]
pub fn find<'a>(bundle: &'a Bundle, target: &ObjectRef) -> Option<&'a Value> {
    bundle
        .components
        .iter()
        .flat_map(|component| &component.objects)
        .find(|object| {
            reference(object).is_some_and(|mut found| {
                found.namespace = found
                    .namespace
                    .or_else(|| Some(bundle.target_namespace.clone()));
                found == *target
            })
        })
}
