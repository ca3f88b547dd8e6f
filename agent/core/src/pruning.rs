//! Which objects go when no release wants them any more, and which stay when application or component goes:
//! what their components say, else the application.

use std::collections::BTreeMap;

use bellwether_api::{
    bundle::{Bundle, BundleComponent},
    reference::ObjectRef,
    sync_policy::{self, DeletionPolicies, DeletionPolicy},
    sync_record::{HeldObject, SyncUnit},
};

/// Notes what becomes of the objects of a unit when its application or their component goes, as is said now:
/// by a bundle, or by the tombstone that takes the application away.
pub fn hear_deletion(unit: &mut SyncUnit, said: &DeletionPolicies) {
    unit.deletion = said.application;
    for held in &mut unit.objects {
        held.deletion = said.heard(held.component.as_deref(), held.deletion);
    }
}

/// Notes whose every object is that a bundle brings; `components` are their names, by object.
pub fn note(unit: &mut SyncUnit, bundle: &Bundle, components: &BTreeMap<ObjectRef, String>) {
    let said = DeletionPolicies::of_bundle(bundle);
    for held in &mut unit.objects {
        let Some(name) = components.get(&held.object()) else {
            continue;
        };
        let component = bundle.components.iter().find(|one| one.name == *name);
        held.kept = component.is_some_and(|one| !prunes(one, bundle));
        held.deletion = said.heard(Some(name), None);
        held.component = Some(name.clone());
    }
}

/// Tells whether an object goes that the bundle does not have. What a component made that is not in the
/// bundle any more follows what it said last; where it is not known whose an object is, it stays if some
/// component keeps what it made.
#[must_use]
pub fn is_pruned(held: &HeldObject, bundle: &Bundle) -> bool {
    let Some(name) = &held.component else {
        let keeps = |one: &BundleComponent| !prunes(one, bundle);
        return bundle.sync.prune && !bundle.components.iter().any(keeps);
    };
    match bundle.components.iter().find(|one| one.name == *name) {
        Some(component) => prunes(component, bundle),
        None => bundle.sync.prune && !held.kept,
    }
}

/// What becomes of an object that no release wants any more, when it goes with its application or its
/// component. `application` is what the application says; `next` is the bundle that is held from now on,
/// absent = the application goes. `None` = neither goes: a release left the object out.
#[must_use]
pub fn deletion_of(
    held: &HeldObject,
    application: DeletionPolicy,
    next: Option<&Bundle>,
) -> Option<DeletionPolicy> {
    let Some(bundle) = next else {
        return Some(sync_policy::deletion_of(held.deletion, application));
    };
    let name = held.component.as_ref()?;
    let is_there = bundle.components.iter().any(|one| one.name == *name);
    held.deletion.filter(|_| !is_there)
}

fn prunes(component: &BundleComponent, bundle: &Bundle) -> bool {
    let own = component.sync.as_ref().and_then(|sync| sync.prune);
    own.unwrap_or(bundle.sync.prune)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(name: &str) -> ObjectRef {
        ObjectRef {
            api_version: "v1".to_owned(),
            kind: "ConfigMap".to_owned(),
            namespace: Some("shop".to_owned()),
            name: name.to_owned(),
        }
    }

    fn bundle(prune: bool, components: Value) -> Bundle {
        serde_json::from_value(json!({
            "application": {"namespace": "default", "name": "shop"}, "release": "r", "revision": 2,
            "run": uuid::Uuid::nil(), "attempt": 1, "mode": "Plain", "targetNamespace": "shop",
            "createNamespace": true, "components": components, "rollouts": [],
            "sync": {"prune": prune},
        }))
        .expect("a bundle")
    }

    fn component(name: &str, prune: Option<bool>) -> Value {
        json!({"name": name, "objects": [], "sync": {"prune": prune}})
    }

    fn unit(names: &[&str]) -> SyncUnit {
        let mut unit: SyncUnit = serde_json::from_value(json!({
            "key": "application/default/shop", "generation": 1, "digest": "d",
        }))
        .expect("a unit");
        unit.objects = names
            .iter()
            .map(|name| HeldObject::from(object(name)))
            .collect();
        unit
    }

    fn noted(bundle: &Bundle, of: &str) -> HeldObject {
        let mut unit = unit(&["made"]);
        let components = BTreeMap::from([(object("made"), of.to_owned())]);
        note(&mut unit, bundle, &components);
        unit.objects.remove(0)
    }

    #[test]
    fn a_component_wins_over_its_application() {
        for (application, own, goes) in [
            (true, None, true),
            (true, Some(false), false),
            (false, None, false),
            (false, Some(true), true),
        ] {
            let bundle = bundle(application, json!([component("web", own)]));
            let held = noted(&bundle, "web");
            assert_eq!(is_pruned(&held, &bundle), goes, "{application} {own:?}");
        }
    }

    #[test]
    fn what_a_component_said_last_of_its_end_is_kept_with_its_objects() {
        let says = |deletion| {
            let component = json!({"name": "db", "objects": [], "sync": {"deletion": deletion}});
            bundle(true, json!([component]))
        };
        let (orphan, none) = (says(json!("Orphan")), says(json!(null)));
        let held = noted(&orphan, "db");
        let (goes, stays) = (DeletionPolicy::Delete, DeletionPolicy::Orphan);
        assert_eq!(deletion_of(&held, goes, None), Some(stays), "it wins");
        assert_eq!(deletion_of(&held, goes, Some(&orphan)), None, "left out");
        let without = bundle(true, json!([component("web", None)]));
        assert_eq!(deletion_of(&held, goes, Some(&without)), Some(stays));
        let held = noted(&none, "db");
        assert_eq!(deletion_of(&held, stays, None), Some(stays));
        assert_eq!(deletion_of(&held, stays, Some(&without)), None);
    }

    #[test]
    fn what_is_said_now_counts_and_what_was_said_last_where_the_component_is_gone() {
        let keeping = bundle(true, json!([component("web", Some(false))]));
        let held = noted(&keeping, "web");
        let pruning = bundle(true, json!([component("web", None)]));
        assert!(is_pruned(&held, &pruning), "it prunes now");
        let without = bundle(true, json!([component("db", None)]));
        assert!(!is_pruned(&held, &without), "it kept what it made");
        let held = noted(&pruning, "web");
        assert!(is_pruned(&held, &without));
        assert!(
            !is_pruned(&held, &keeping),
            "the release that drops an object may say that it stays"
        );
    }

    #[test]
    fn an_object_of_nobody_knows_whom_stays_where_somebody_keeps() {
        let held = HeldObject::from(object("made"));
        let all = bundle(true, json!([component("web", None)]));
        assert!(is_pruned(&held, &all));
        let some = bundle(
            true,
            json!([component("web", None), component("db", Some(false))]),
        );
        assert!(!is_pruned(&held, &some));
        assert!(!is_pruned(
            &held,
            &bundle(false, json!([component("web", None)]))
        ));
    }

    #[test]
    fn what_a_bundle_does_not_bring_keeps_what_was_noted() {
        let keeping = bundle(true, json!([component("web", Some(false))]));
        let mut unit = unit(&["made"]);
        unit.objects[0] = noted(&keeping, "web");
        let before = unit.clone();
        note(&mut unit, &bundle(true, json!([])), &BTreeMap::new());
        assert_eq!(unit, before);
    }
}
