//! What the agent sees of the cluster.

use bellwether_agent_core::{
    adopted::{Held, Sight, decision_view},
    effective::GovernedRoute,
    machine::{CanaryView, Endpoints, Observations, Overlay, RouteView, ServiceView},
    provider::{Names, RouteObservation},
    settled::{DeploymentView, ReplicaSetView, TemplateVersion},
};
use bellwether_api::{duration::Dur, reference::ObjectRef, traffic::Provider};
use serde_json::{Value, json};

use super::site::{CANARY, Set, Site, hash_of, set_name, template};

impl Site {
    pub(super) fn sight(&self) -> Sight {
        let sets: Vec<Value> = self.sets.iter().map(object).collect();
        Sight::of(&self.workload, &sets)
    }

    /// What a decision sees while a run wants `overlay`.
    pub(super) fn observe(&self, held: Held<'_>, overlay: &Overlay) -> Observations {
        let canary_ready = self.canary_ready();
        let mut apex = Endpoints::default();
        for set in &self.sets {
            let selected = self
                .pin
                .as_ref()
                .is_none_or(|pin| *pin == hash_of(&set.image));
            if selected {
                apex.ready.extend(addresses(&set.image, set.ready));
            }
        }
        let canary_endpoints = Endpoints {
            ready: addresses("canary", canary_ready).collect(),
            ..Endpoints::default()
        };
        if self.pin.is_none() {
            apex.ready.extend(addresses("canary", canary_ready));
        }
        let view = decision_view(&self.sight(), held, overlay, self.view());
        let weight = self.weight();
        Observations {
            fresh: true,
            workload: Some(view),
            delivered_by_others: true,
            replica_sets: self.sets.iter().map(set_view).collect(),
            canary: self.canary.as_ref().map(|canary| CanaryView {
                replicas: canary.wanted,
                generation: 1,
                observed_generation: 1,
                updated: canary.wanted,
                ready: canary.ready,
                available: canary.ready,
                trouble: String::new(),
                labels: std::collections::BTreeSet::new(),
                deleting: false,
                unwritten: false,
            }),
            canary_service: self.canary.is_some(),
            services: vec![ServiceView {
                name: "web".to_owned(),
                pin: self.pin.clone(),
                unpinnable: String::new(),
            }],
            apex_endpoints: apex,
            canary_endpoints,
            routes: vec![RouteView {
                name: "HTTPRoute/web".to_owned(),
                is_missing: false,
                weight: Some(weight),
                split: None,
                lacking: None,
                announces: false,
                observation: if self.carried == weight {
                    RouteObservation::Programmed
                } else {
                    RouteObservation::NotYet {
                        why: "the gateway has not taken it".to_owned(),
                    }
                },
            }],
            route_settle: Dur::from_millis(1_000),
            ..Observations::default()
        }
    }

    fn view(&self) -> DeploymentView {
        let count = |path: &str| u32::try_from(self.number(path)).unwrap_or(0);
        let revision = self
            .workload
            .pointer("/metadata/annotations/deployment.kubernetes.io~1revision");
        DeploymentView {
            uid: "u".to_owned(),
            generation: self.number("/metadata/generation"),
            observed_generation: self.number("/status/observedGeneration"),
            replicas: count("/spec/replicas"),
            total: count("/status/replicas"),
            updated: count("/status/updatedReplicas"),
            ready: count("/status/readyReplicas"),
            available: count("/status/availableReplicas"),
            paused: self.is_paused(),
            revision: revision
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            template: TemplateVersion::Other,
            update_takes: 0,
            unread: String::new(),
        }
    }
}

/// The route that a run splits.
pub(super) fn governed_route() -> GovernedRoute {
    GovernedRoute {
        provider: Provider::HttpRoute,
        target: ObjectRef {
            api_version: "gateway.networking.k8s.io/v1".to_owned(),
            kind: "HTTPRoute".to_owned(),
            namespace: Some("shop".to_owned()),
            name: "web".to_owned(),
        },
        names: Names {
            namespace: "shop".to_owned(),
            apex: "web".to_owned(),
            canary: CANARY.to_owned(),
            rules: Vec::new(),
            copied: None,
        },
    }
}

fn addresses(prefix: &str, count: u32) -> impl Iterator<Item = String> {
    (0..count).map(move |number| format!("{prefix}-{number}"))
}

fn set_view(set: &Set) -> ReplicaSetView {
    ReplicaSetView {
        name: set_name(&set.image),
        hash: hash_of(&set.image),
        owner_uid: "u".to_owned(),
        revision: set.revision.to_string(),
        replicas: set.wanted,
        ready: set.ready,
    }
}

fn object(set: &Set) -> Value {
    let hash = hash_of(&set.image);
    let mut template = template(&set.image);
    template["metadata"]["labels"]["pod-template-hash"] = json!(hash);
    json!({
        "metadata": {
            "name": set_name(&set.image),
            "labels": {"pod-template-hash": hash},
            "annotations": {"deployment.kubernetes.io/revision": set.revision.to_string()},
            "ownerReferences": [{"controller": true, "uid": "u"}],
        },
        "spec": {"replicas": set.wanted, "template": template},
        "status": {"replicas": set.wanted, "readyReplicas": set.ready},
    })
}
