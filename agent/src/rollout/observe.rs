//! What a decision sees of the cluster.

use std::{collections::BTreeSet, sync::Arc};

use bellwether_agent_core::{
    effective::GovernedRoute,
    machine::{CanaryView, Observations, RouteView, ServiceView},
    provider::{RouteObservation, Split, own, render, renderer},
    settled::{DeploymentView, TemplateVersion},
};
use bellwether_api::{bundle::Bundle, duration::Dur, reference::ObjectRef, traffic::Demand};
use serde_json::Value;

use super::{
    in_place, revisions,
    run::Run,
    scene::{Live, find},
    telling::Notes,
    views,
};
use crate::{
    clock::Clock,
    hooks::HookCaller,
    metrics::Meter,
    sync::{cluster::Cluster, watch::Poke},
};

/// Workloads that are named in one reason.
const MAX_NAMED: usize = 5;

/// What the shell knows beside the live objects.
pub struct Seen<'a> {
    /// The workload, where it is another than what is live shows; absent = it is not.
    pub workload: Option<DeploymentView>,
    /// The bundle that comes in.
    pub bundle: &'a Arc<Bundle>,
    /// Objects that somebody changed although the run holds them.
    pub edited: &'a BTreeSet<ObjectRef>,
    /// Objects that the application delivers.
    pub delivered: &'a BTreeSet<ObjectRef>,
    /// Objects that were applied as the run wants them now.
    pub applied: &'a BTreeSet<ObjectRef>,
    /// Rollouts that test configuration which this one changes too, and do not promote yet.
    pub config_held_by: &'a [String],
    /// Objects of the release that the API server has not taken, and what it says; empty = none.
    pub untaken: &'a str,
    /// The time by which checks begin.
    pub clock: Clock,
    /// What measures.
    pub meter: &'a Meter,
    /// The member cluster.
    pub cluster: &'a Arc<Cluster>,
    /// What calls hooks.
    pub hooks: &'a HookCaller,
    /// Where is noted what came of telling hooks.
    pub notes: &'a Arc<Notes>,
    /// Wakes the unit when a measurement or a call is done.
    pub poke: &'a Arc<Poke>,
    /// How long a data plane may need after its controller said that a route is programmed.
    pub route_settle: Dur,
}

impl Run {
    pub(super) fn observations(&self, live: &Live, seen: &Seen<'_>) -> Observations {
        let scene = &self.scene;
        let workload = live.workload.as_ref();
        let service_name = scene
            .service
            .as_ref()
            .map_or("", |service| service.name.as_str());
        let canary_name = scene
            .canary_service
            .as_ref()
            .map_or("", |service| service.name.as_str());
        let own_canary = live.canary.as_ref().filter(|object| scene.is_own(object));
        let own_service = live
            .canary_service
            .as_ref()
            .filter(|object| scene.is_own(object));
        let owner = workload.map(views::uid).unwrap_or_default();
        let stable = self.state.stable.as_ref();
        let template = if seen.edited.contains(&scene.workload) {
            TemplateVersion::Other
        } else {
            self.overlay().template
        };
        Observations {
            fresh: true,
            workload: workload
                .filter(|object| !views::is_deleting(object))
                .map(|object| match (&seen.workload, &scene.adapter) {
                    (Some(workload), _) => workload.clone(),
                    (None, Some(adapter)) if adapter.by_revision => {
                        revisions::workload(object, template)
                    }
                    (None, Some(adapter)) => in_place::workload(object, adapter, template),
                    (None, None) => scene.beside_copy(object, live, template),
                }),
            delivered_by_others: seen.workload.is_some(),
            in_place: workload
                .filter(|object| !views::is_deleting(object))
                .zip(scene.adapter.as_ref().filter(|one| !one.by_revision))
                .map(|(object, adapter)| {
                    let written =
                        (seen.applied.contains(&scene.workload)).then(|| self.overlay().in_place);
                    let mut view = in_place::view(object, adapter, &live.own_pods, written);
                    if view.trouble.is_empty() {
                        view.trouble = self.blocked.clone().unwrap_or_default();
                    }
                    view
                }),
            revisions: workload
                .filter(|object| scene.is_by_revision() && !views::is_deleting(object))
                .map(|object| {
                    let applied = seen.applied.contains(&scene.workload);
                    revisions::view(object, applied.then(|| self.overlay().revisions))
                }),
            replica_sets: scene
                .versions(live, stable.map(|stable| stable.hash.as_str()))
                .into_iter()
                .filter(|set| !owner.is_empty() && set.owner_uid == owner)
                .collect(),
            canary: own_canary.map(|object| CanaryView {
                unwritten: !self.canary.is_held(),
                ..scene.copy(object, &live.canary_pods)
            }),
            canary_pods_left: scene.copy_pods_left(live),
            canary_service: own_service.is_some(),
            services: self.services(live, seen),
            apex_endpoints: views::endpoints(&live.slices, service_name),
            canary_endpoints: views::endpoints(&live.slices, canary_name),
            routes: self.routes(live, seen),
            autoscalers: live
                .autoscalers
                .iter()
                .filter_map(views::autoscaler)
                .collect(),
            foreign_objects: [&live.canary, &live.canary_service]
                .into_iter()
                .chain(&live.own_routes)
                .flatten()
                .chain(&live.config_copies)
                .filter(|object| !scene.is_own(object))
                .map(kind_and_name)
                .collect(),
            canary_config: live.config_copies.iter().any(|copy| scene.is_own(copy)),
            config_held_by: seen.config_held_by.to_vec(),
            untaken: seen.untaken.to_owned(),
            foreign_edits: seen
                .edited
                .iter()
                .map(|object| format!("{}/{}: changed by somebody else", object.kind, object.name))
                .collect(),
            deleted: self.track.metadata.deletion_timestamp.is_some(),
            namespace_terminating: live.namespace.as_ref().is_none_or(views::is_deleting),
            samples: self.samples.clone(),
            hooks: self.calls.answers(),
            route_settle: seen.route_settle,
        }
    }

    /// The Services that would send requests to canary pods, and the apex whatever it selects.
    fn services(&self, live: &Live, seen: &Seen<'_>) -> Vec<ServiceView> {
        let scene = &self.scene;
        let apex = scene.service.as_ref().map(|service| service.name.clone());
        live.services
            .iter()
            .filter(|service| !scene.is_own(service))
            .filter_map(|service| {
                let name = views::name(service);
                let mut selector = views::string_map(service, "/spec/selector");
                // Updated in place, the pods are the workload's own: other Services may have all of
                // them.
                let matches = scene.adapter.is_none() && scene.selects_canary(service);
                if !matches && apex.as_ref() != Some(&name) {
                    return None;
                }
                let pin = selector.remove(scene.pin_label());
                let target = ObjectRef {
                    api_version: "v1".to_owned(),
                    kind: "Service".to_owned(),
                    namespace: Some(scene.namespace.clone()),
                    name: name.clone(),
                };
                let others = scene.others_selected(live, &name, &selector);
                let headless =
                    views::text(service, "/spec/clusterIP") == "None" && scene.adapter.is_some();
                let unpinnable = if !seen.delivered.contains(&target) {
                    "it is not delivered by this application".to_owned()
                } else if headless {
                    "it is headless, and its pods find each other by it; name another".to_owned()
                } else if scene.is_told_apart_by(seen.bundle, &target) {
                    format!("it selects by {} itself", scene.pin_label())
                } else if others.is_empty() {
                    String::new()
                } else {
                    format!("it also selects pods of {}", some_of(others))
                };
                Some(ServiceView {
                    name,
                    pin,
                    unpinnable,
                })
            })
            .collect()
    }

    fn routes(&self, live: &Live, seen: &Seen<'_>) -> Vec<RouteView> {
        let scene = &self.scene;
        let demand = Demand::of(&self.track.spec.plan);
        let itself = revisions::route(&scene.workload, live.workload.as_ref(), &self.overlay());
        let named = scene.routes.iter().zip(&live.routes).map(|(route, found)| {
            let own = scene.own_of(live, route);
            let renderer = renderer(route.provider);
            RouteView {
                name: format!("{}/{}", route.target.kind, route.target.name),
                is_missing: found.is_none(),
                weight: found
                    .as_ref()
                    .and_then(|object| renderer?.observed_weight(object, &own, &route.names)),
                split: (seen.applied.contains(&route.target) && self.own_routes.are_held())
                    .then(|| self.overlay().split),
                observation: match (found, renderer) {
                    (Some(object), Some(renderer)) => self
                        .unsplit(route, object, seen)
                        .unwrap_or_else(|| renderer.observe(object)),
                    (None, _) => not_yet("the route does not exist"),
                    (_, None) => not_yet("this version of Bellwether cannot split by it"),
                },
                lacking: found
                    .as_ref()
                    .and_then(|object| renderer?.lacking(object, &demand)),
                announces: renderer
                    .zip(found.as_ref())
                    .is_some_and(|(renderer, object)| renderer.announces(object)),
            }
        });
        named.chain(itself).collect()
    }

    /// Why a route does not carry the split that the run wants; absent = nothing speaks against it.
    fn unsplit(
        &self,
        route: &GovernedRoute,
        live: &Value,
        seen: &Seen<'_>,
    ) -> Option<RouteObservation> {
        let split = self.overlay().split;
        if split.is_none() {
            return None;
        }
        let rejected = |why: String| Some(RouteObservation::Rejected { why });
        if !seen.delivered.contains(&route.target) {
            return rejected(
                "it is not delivered by this application, so that its shares cannot be set"
                    .to_owned(),
            );
        }
        // What the user wrote decides; the live object has the split in it already.
        let written = find(seen.bundle, &route.target).unwrap_or(live);
        let refused = render(route.provider, written, &route.names, &split)
            .err()
            .or_else(|| own(route.provider, written, &route.names, &split).err());
        if let Some(refused) = refused {
            return rejected(refused.to_string());
        }
        // A share is read back; matches and mirrors are known to be there once they were applied.
        let shares_alone = split == Split::by_weight(split.weight);
        let applied = seen.applied.contains(&route.target) && self.own_routes.are_held();
        (!shares_alone && !applied).then(|| not_yet("its rules are not written"))
    }
}

fn not_yet(why: &str) -> RouteObservation {
    RouteObservation::NotYet {
        why: why.to_owned(),
    }
}

/// The first of many names: a Service may select any number of single pods.
fn some_of(names: BTreeSet<String>) -> String {
    let more = names.len().saturating_sub(MAX_NAMED);
    let named: Vec<String> = names.into_iter().take(MAX_NAMED).collect();
    let named = named.join(", ");
    if more == 0 {
        named
    } else {
        format!("{named} and {more} more")
    }
}

fn kind_and_name(object: &Value) -> String {
    let kind = object
        .get("kind")
        .and_then(Value::as_str)
        .unwrap_or("Object");
    format!("{kind}/{}", views::name(object))
}
