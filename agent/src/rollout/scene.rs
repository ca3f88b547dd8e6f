//! What one run has to do with: the names of its objects, and what is live of them.

mod look;
mod neighbours;
mod ports;
mod routes;

use std::collections::{BTreeMap, BTreeSet};

use bellwether_agent_core::{
    effective::GovernedRoute,
    names::{RUN_LABEL, canary_name, pin_label, run_label},
    provider::renderer,
    selection::selects,
    tracked_config::ConfigChange,
};
use bellwether_api::{
    bundle::{Bundle, BundleRollout},
    reference::ObjectRef,
    workload_adapter::WorkloadAdapter,
};
use serde_json::Value;

use super::{in_place::pod_selector, track::workload_of, views};
use crate::sync::cluster::reference;

pub use look::{Known, Live, get_own};
pub use ports::Ports;
use routes::{copied, own_targets, routes_of};

const APPS: &str = "apps/v1";
const DAEMON_SET: &str = "DaemonSet";

/// What one run has to do with.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The workload's namespace.
    pub namespace: String,
    /// The governed workload.
    pub workload: ObjectRef,
    /// How the workload is updated in place, or that it keeps revisions; absent = a copy runs beside
    /// it.
    pub adapter: Option<WorkloadAdapter>,
    /// How a copy of the workload's kind is made and held apart, as its adapter says; absent = it is known
    /// for the kind, or none is made.
    pub copy_adapter: Option<WorkloadAdapter>,
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
    /// The copy of the workload.
    pub canary: ObjectRef,
    /// The canary Service; absent = no traffic is split.
    pub canary_service: Option<ObjectRef>,
    /// ConfigMaps and Secrets of the workload that the release changes.
    pub config: Vec<ConfigChange>,
    /// Value of the run label.
    pub label: String,
    /// Labels of canary pods.
    pub canary_labels: BTreeMap<String, String>,
    /// The labels by which the workload selects its pods, for a query; absent = it names none.
    pub pod_labels: Option<String>,
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
        let written = find(bundle, &workload);
        let mut canary_labels = written.map_or_else(BTreeMap::new, |object| {
            views::string_map(object, "/spec/template/metadata/labels")
        });
        canary_labels.insert(RUN_LABEL.to_owned(), label.clone());
        let copy_adapter = rollout.spec.copy_adapter();
        let (api_version, kind) = match copy_adapter {
            Some(_) => (workload.api_version.as_str(), workload.kind.as_str()),
            None if rollout.spec.copies_daemon_set() => (APPS, DAEMON_SET),
            None => (APPS, "Deployment"),
        };
        let service = rollout.spec.service.as_ref();
        let routes = service.map_or_else(Vec::new, |service| {
            routes_of(bundle, rollout, &namespace, &service.name)
        });
        Self {
            canary: named(api_version, kind, &canary_name(&workload.name)),
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
            // It never changes while a workload lives.
            pod_labels: written.and_then(pod_selector),
            adapter: (rollout.spec.strategy.batch.is_some()
                || rollout.spec.workload.keeps_revisions())
            .then(|| WorkloadAdapter::of(&rollout.spec.workload))
            .flatten(),
            copy_adapter: copy_adapter.cloned(),
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

    /// The label by whose value Services are pinned to one version.
    #[must_use]
    pub fn pin_label(&self) -> &str {
        let adapter = self.adapter.as_ref().or(self.copy_adapter.as_ref());
        pin_label(&self.canary.kind, adapter)
    }

    /// Tells whether a Service would select canary pods, but for a pin of ours.
    #[must_use]
    pub fn selects_canary(&self, service: &Value) -> bool {
        let mut selector = views::string_map(service, "/spec/selector");
        selector.remove(self.pin_label());
        selects(&selector, &self.canary_labels)
    }

    /// Tells whether a copy of a DaemonSet runs beside it.
    #[must_use]
    pub fn is_per_node(&self) -> bool {
        self.canary.kind == DAEMON_SET && self.copy_adapter.is_none()
    }

    /// Tells whether the workload keeps revisions and shares its requests between them.
    #[must_use]
    pub fn is_by_revision(&self) -> bool {
        self.adapter
            .as_ref()
            .is_some_and(|adapter| adapter.by_revision)
    }

    /// Tells whether a live object was made by this run.
    #[must_use]
    pub fn is_own(&self, object: &Value) -> bool {
        views::string_map(object, "/metadata/labels").get(RUN_LABEL) == Some(&self.label)
    }
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
