//! The objects of a run: the two releases, what is laid over them, and the canary.

use std::{slice, sync::Arc};

use bellwether_agent_core::{
    config_stamp::AsFound,
    effective::{Governed, GovernedRoute, HeldWhole, effective},
    machine::Overlay,
    provider::{Split, own, render},
    template_digest::template_digest as digest_with,
    tracked_config::{ConfigChange, Revision, changes, tracked},
};
use bellwether_api::{
    bundle::{Bundle, BundleRollout},
    reference::ObjectRef,
};
use serde_json::Value;

use super::{
    run::Run,
    scene::{Scene, find},
    track::workload_of,
};
use crate::sync::{
    cluster::reference,
    keep::{Care, Wanted},
};

/// The release that comes in and the one that ran before.
pub struct Versions {
    /// The one that comes in.
    pub new: Arc<Bundle>,
    /// The one that ran before.
    pub old: Arc<Bundle>,
    /// Workloads that were taken over with their pods.
    pub found: AsFound,
}

impl Versions {
    /// Tells whether the release changes a governed workload's template.
    #[must_use]
    pub fn changes(&self, rollout: &BundleRollout) -> bool {
        template_differs(&self.new, &self.old, rollout)
    }

    /// Digest of the new template and its tracked configuration; absent = the release has no such
    /// workload.
    #[must_use]
    pub fn digest_of(&self, rollout: &BundleRollout) -> Option<String> {
        template_digest(&self.new, rollout)
    }

    /// What the release changes in the configuration of a governed workload.
    #[must_use]
    pub fn config_changes(&self, rollout: &BundleRollout) -> Vec<ConfigChange> {
        if !rollout.spec.trigger.track_config {
            return Vec::new();
        }
        let workload = workload_of(&self.new, rollout);
        let (old, new) = (objects_of(&self.old), objects_of(&self.new));
        let revision = |bundle, objects| revision(bundle, find(bundle, &workload), objects);
        changes(&revision(&self.old, &old), &revision(&self.new, &new))
    }

    /// A governed workload as one of the releases has it; absent = it has none.
    #[must_use]
    pub fn governed(&self, bundle: &Bundle, workload: &ObjectRef) -> Option<Value> {
        find(bundle, workload).map(|object| stamped(bundle, object, &self.found))
    }
}

/// Lays over `wanted` what a run wants, and marks the objects that the run looks after.
pub fn overlaid(run: &Run, versions: &Versions, wanted: &mut [Wanted]) {
    let scene = &run.scene;
    let overlay = run.overlay();
    let old = versions.governed(&versions.old, &scene.workload);
    let governed = Governed {
        workload: &scene.workload,
        old_template: old
            .as_ref()
            .and_then(|object| object.pointer("/spec/template")),
        routes: &scene.routes,
        adapter: scene.adapter.as_ref(),
        copy_adapter: scene.copy_adapter.as_ref().map(|adapter| HeldWhole {
            adapter,
            old_spec: old.as_ref().and_then(|object| object.get("spec")),
        }),
        overlay: &overlay,
    };
    let all = all_carry(&scene.routes, &overlay.split, wanted);
    for want in wanted.iter_mut() {
        let route = scene.routes.iter().any(|route| route.is(&want.object));
        let pinned = overlay
            .pins
            .iter()
            .any(|pin| is_service(scene, &want.target, &pin.service));
        if want.target == scene.workload {
            // A template names the configuration that it was made for.
            want.after = scene.config_targets().collect();
            want.size_over = overlay.replicas_over;
        }
        if want.target == scene.workload || route || pinned {
            want.care = care(run, &overlay, route);
        }
        if route && !all {
            want.care = Care::Frozen;
        }
        let laid = effective(slice::from_ref(&want.object), slice::from_ref(&governed));
        if let Some(object) = laid.into_iter().next() {
            want.object = object;
        }
    }
}

/// Tells whether every route can carry the split. Routes are written all or none: while one cannot,
/// the others stay where they were.
fn all_carry(routes: &[GovernedRoute], split: &Split, wanted: &[Wanted]) -> bool {
    routes.iter().all(|route| {
        let written = wanted.iter().find(|want| route.is(&want.object));
        written.is_none_or(|want| carries(route, &want.object, split))
    })
}

/// Tells whether a route, as the user wrote it, can carry the split.
#[must_use]
pub fn carries(route: &GovernedRoute, written: &Value, split: &Split) -> bool {
    render(route.provider, written, &route.names, split).is_ok()
        && own(route.provider, written, &route.names, split).is_ok()
}

fn is_service(scene: &Scene, target: &ObjectRef, name: &str) -> bool {
    target.api_version == "v1"
        && target.kind == "Service"
        && target.namespace.as_ref() == Some(&scene.namespace)
        && target.name == name
}

/// While a human's edit is held nothing is written, but a route that takes traffic off the canary.
fn care(run: &Run, overlay: &Overlay, route: bool) -> Care {
    let unloads = route && overlay.split.is_none();
    if run.holds_edit() && !unloads {
        Care::Frozen
    } else {
        Care::Run
    }
}

/// Tells whether a release changes the template of a workload that the one before had too.
#[must_use]
pub fn template_differs(new: &Bundle, old: &Bundle, rollout: &BundleRollout) -> bool {
    let workload = workload_of(new, rollout);
    match (digest_in(new, &workload), digest_in(old, &workload)) {
        (Some(new), Some(old)) => new != old,
        _ => false,
    }
}

/// Digest of a governed template and its tracked configuration; absent = the release has no such
/// workload.
#[must_use]
pub fn template_digest(bundle: &Bundle, rollout: &BundleRollout) -> Option<String> {
    digest_in(bundle, &workload_of(bundle, rollout))
}

fn digest_in(bundle: &Bundle, workload: &ObjectRef) -> Option<String> {
    let objects = tracked_objects(bundle, workload);
    let found = find(bundle, workload)?;
    Some(digest_with(&revision(bundle, Some(found), &objects)))
}

fn revision<'a>(
    bundle: &'a Bundle,
    workload: Option<&'a Value>,
    objects: &'a [&'a Value],
) -> Revision<'a> {
    Revision {
        workload,
        objects,
        default_namespace: &bundle.target_namespace,
    }
}

fn objects_of(bundle: &Bundle) -> Vec<&Value> {
    bundle
        .components
        .iter()
        .flat_map(|component| &component.objects)
        .collect()
}

/// The objects among which a workload's configuration is looked for; none unless a Rollout of the
/// bundle tracks it.
fn tracked_objects<'a>(bundle: &'a Bundle, workload: &ObjectRef) -> Vec<&'a Value> {
    let tracks = bundle.rollouts.iter().any(|rollout| {
        rollout.spec.trigger.track_config && workload_of(bundle, rollout) == *workload
    });
    if tracks {
        objects_of(bundle)
    } else {
        Vec::new()
    }
}

/// A workload with the digest of its tracked configuration in its pod template, so that a change of
/// configuration alone makes new pods; unchanged when it uses none, or was taken over with just that.
#[must_use]
pub fn stamped(bundle: &Bundle, workload: &Value, found: &AsFound) -> Value {
    let mut stamped = workload.clone();
    let Some(mut target) = reference(workload) else {
        return stamped;
    };
    target
        .namespace
        .get_or_insert_with(|| bundle.target_namespace.clone());
    let objects = tracked_objects(bundle, &target);
    let revision = revision(bundle, Some(workload), &objects);
    if !tracked(&revision).is_empty() {
        found.stamp(&target, &mut stamped, &digest_with(&revision));
    }
    stamped
}

/// A governed workload and what its version uses of the release.
pub struct Used {
    /// The workload.
    pub workload: ObjectRef,
    /// Digest of its template and its tracked configuration.
    pub digest: String,
    /// Its tracked configuration; never empty.
    pub configuration: Vec<ObjectRef>,
}

/// The governed workloads of a bundle that use tracked configuration.
#[must_use]
pub fn using_configuration(bundle: &Bundle) -> Vec<Used> {
    let used = |workload: ObjectRef| {
        let objects = tracked_objects(bundle, &workload);
        let revision = revision(bundle, Some(find(bundle, &workload)?), &objects);
        let configuration: Vec<ObjectRef> = tracked(&revision)
            .into_iter()
            .filter_map(reference)
            .map(|mut object| {
                object
                    .namespace
                    .get_or_insert_with(|| bundle.target_namespace.clone());
                object
            })
            .collect();
        let digest = digest_with(&revision);
        (!configuration.is_empty()).then_some(Used {
            workload,
            digest,
            configuration,
        })
    };
    governed_by(bundle).into_iter().filter_map(used).collect()
}

/// The governed workloads of a bundle.
#[must_use]
pub fn governed_by(bundle: &Bundle) -> Vec<ObjectRef> {
    bundle
        .rollouts
        .iter()
        .map(|rollout| workload_of(bundle, rollout))
        .collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use bellwether_agent_core::{config_stamp::CONFIG_ANNOTATION, provider::Names};
    use bellwether_api::{number::Weight, traffic::Provider};
    use serde_json::json;

    use super::*;

    fn bundle(value: &str) -> Bundle {
        serde_json::from_value(json!({
            "application": {"namespace": "default", "name": "shop"},
            "release": "r", "revision": 1, "run": uuid::Uuid::nil(), "attempt": 1,
            "mode": "Rollout", "targetNamespace": "shop", "createNamespace": true,
            "components": [{"name": "web", "objects": [
                {"apiVersion": "apps/v1", "kind": "Deployment",
                 "metadata": {"name": "web", "namespace": "shop"},
                 "spec": {"template": {"metadata": {"labels": {"app": "web"}}, "spec": {
                     "containers": [{"name": "web",
                         "envFrom": [{"configMapRef": {"name": "env"}}]}]}}}},
                {"apiVersion": "v1", "kind": "ConfigMap",
                 "metadata": {"name": "env", "namespace": "shop"}, "data": {"K": value}},
                {"apiVersion": "apps/v1", "kind": "Deployment",
                 "metadata": {"name": "plain", "namespace": "shop"},
                 "spec": {"template": {"metadata": {"labels": {"app": "plain"}}, "spec": {}}}},
            ]}],
            "rollouts": [{"name": "shop-web", "spec": {
                "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                "strategy": {"canary": {"stepWeight": 50}},
            }}],
            "sync": {}, "metrics": null,
        }))
        .unwrap()
    }

    #[test]
    fn change_of_configuration_alone_is_a_change_and_makes_new_pods() {
        let (one, two) = (bundle("1"), bundle("2"));
        assert!(template_differs(&two, &one, &two.rollouts[0]));
        assert!(!template_differs(&one, &one, &one.rollouts[0]));
        let annotation = |bundle: &Bundle| {
            stamped(
                bundle,
                &bundle.components[0].objects[0],
                &AsFound::default(),
            )
            .pointer("/spec/template/metadata/annotations")
            .unwrap()
            .get(CONFIG_ANNOTATION)
            .cloned()
        };
        assert!(annotation(&one).is_some());
        assert_ne!(annotation(&one), annotation(&two));
    }

    #[test]
    fn configuration_that_is_not_tracked_changes_and_stamps_nothing() {
        let untracked = |value| {
            let mut bundle = bundle(value);
            bundle.rollouts[0].spec.trigger.track_config = false;
            bundle
        };
        let (one, two) = (untracked("1"), untracked("2"));
        assert!(!template_differs(&two, &one, &two.rollouts[0]));
        let workload = &one.components[0].objects[0];
        assert_eq!(stamped(&one, workload, &AsFound::default()), *workload);
        let versions = |new: &Bundle| Versions {
            new: Arc::new(new.clone()),
            old: Arc::new(bundle("1")),
            found: AsFound::default(),
        };
        let changed = versions(&bundle("2"));
        assert_eq!(changed.config_changes(&changed.new.rollouts[0]).len(), 1);
        let changed = versions(&two);
        assert_eq!(changed.config_changes(&changed.new.rollouts[0]), []);
        // The stamp goes: new pods all the same, and not without a run.
        assert!(changed.changes(&changed.new.rollouts[0]));
    }

    #[test]
    fn stamps_are_the_same_whether_or_not_objects_name_their_namespace() {
        let named = bundle("1");
        let mut unnamed = named.clone();
        for object in &mut unnamed.components[0].objects {
            object["metadata"]
                .as_object_mut()
                .unwrap()
                .remove("namespace");
        }
        let stamp = |bundle: &Bundle, object: &Value| {
            let stamped = stamped(bundle, object, &AsFound::default());
            stamped["spec"]["template"]["metadata"]["annotations"].clone()
        };
        let workload = &named.components[0].objects[0];
        let expected = stamp(&named, workload);
        assert!(expected[CONFIG_ANNOTATION].is_string());
        assert_eq!(stamp(&unnamed, workload), expected);
        assert_eq!(stamp(&unnamed, &unnamed.components[0].objects[0]), expected);
    }

    #[test]
    fn routes_are_written_all_or_none() {
        let route = |name: &str, service: &str| {
            let target = ObjectRef {
                api_version: "traefik.io/v1alpha1".to_owned(),
                kind: "IngressRoute".to_owned(),
                namespace: Some("shop".to_owned()),
                name: name.to_owned(),
            };
            let object = json!({
                "apiVersion": target.api_version, "kind": target.kind,
                "metadata": {"name": name, "namespace": "shop"},
                "spec": {"routes": [
                    {"match": "Host(`a`)", "services": [{"name": service, "port": 80}]},
                ]},
            });
            let governed = GovernedRoute {
                provider: Provider::IngressRoute,
                target,
                names: Names {
                    namespace: "shop".to_owned(),
                    apex: "web".to_owned(),
                    canary: "web-canary".to_owned(),
                    rules: Vec::new(),
                    copied: None,
                },
            };
            (governed, Wanted::new(object).unwrap())
        };
        let split = Split::by_weight(Weight::clamped(20));
        let (good, good_object) = route("one", "web");
        let (bad, bad_object) = route("two", "other");
        let routes = [good, bad];
        let wanted = [good_object, bad_object];
        assert!(all_carry(&routes[..1], &split, &wanted));
        assert!(!all_carry(&routes, &split, &wanted));
        assert!(
            all_carry(&routes, &Split::default(), &wanted),
            "nothing keeps traffic from going back"
        );
    }

    #[test]
    fn workload_without_configuration_stays_as_it_was_written() {
        let bundle = bundle("1");
        let plain = &bundle.components[0].objects[2];
        assert_eq!(stamped(&bundle, plain, &AsFound::default()), *plain);
        let used = using_configuration(&bundle);
        assert_eq!(used.len(), 1, "the other one uses none");
        assert_eq!(used[0].workload.name, "web");
        assert_eq!(used[0].configuration[0].to_string(), "ConfigMap/shop/env");
    }

    #[test]
    fn a_workload_that_was_taken_over_stays_as_it_was_until_its_configuration_changes() {
        let (one, two) = (bundle("1"), bundle("2"));
        let workload = |bundle: &Bundle| bundle.components[0].objects[0].clone();
        let mut found = AsFound::default();
        let used = using_configuration(&one).remove(0);
        found.add(used.workload.clone(), used.digest);
        let versions = Versions {
            new: Arc::new(two),
            old: Arc::new(one),
            found,
        };
        let governed = |bundle| versions.governed(bundle, &used.workload).unwrap();
        assert_eq!(governed(&versions.old), workload(&versions.old));
        assert_ne!(governed(&versions.new), workload(&versions.new));
        assert!(versions.changes(&versions.new.rollouts[0]));
    }
}
