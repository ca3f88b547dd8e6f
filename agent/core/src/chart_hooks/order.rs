//! Which hooks run, and in which order.

use bellwether_api::{
    bundle::{Bundle, BundleMode},
    chart_hook::{ChartHook, HookMoment, HookOccasion, HookSide},
    reference::NamespacedName,
};
use serde_json::Value;

use crate::apply_order::apply_stage;

/// Tells what happens to an application when `bundle` comes in. `applied` is the bundle that runs as a
/// whole; absent = none has yet. `None` = nothing: it brings the release that runs.
///
/// What comes in at once where something runs is the way back: the hub's rollback, or what a cluster
/// had before.
#[must_use]
pub fn occasion(applied: Option<&Bundle>, bundle: &Bundle) -> Option<HookOccasion> {
    match applied {
        None => Some(HookOccasion::Install),
        Some(applied) if applied.release == bundle.release => None,
        Some(_) if bundle.mode == BundleMode::Plain => Some(HookOccasion::Rollback),
        Some(_) => Some(HookOccasion::Upgrade),
    }
}

/// The moment of an occasion and a side.
#[must_use]
pub const fn moment(occasion: HookOccasion, side: HookSide) -> HookMoment {
    match (occasion, side) {
        (HookOccasion::Install, HookSide::Before) => HookMoment::PreInstall,
        (HookOccasion::Install, HookSide::After) => HookMoment::PostInstall,
        (HookOccasion::Upgrade, HookSide::Before) => HookMoment::PreUpgrade,
        (HookOccasion::Upgrade, HookSide::After) => HookMoment::PostUpgrade,
        (HookOccasion::Rollback, HookSide::Before) => HookMoment::PreRollback,
        (HookOccasion::Rollback, HookSide::After) => HookMoment::PostRollback,
        (HookOccasion::Delete, HookSide::Before) => HookMoment::PreDelete,
        (HookOccasion::Delete, HookSide::After) => HookMoment::PostDelete,
    }
}

/// Both moments of an occasion, in their order.
#[must_use]
pub fn moments(occasion: HookOccasion) -> [HookMoment; 2] {
    [HookSide::Before, HookSide::After].map(|side| moment(occasion, side))
}

/// The hooks of a moment, in the order in which they run: by weight, then kind (what others need
/// first), then name.
#[must_use]
pub fn due(bundle: &Bundle, moment: HookMoment) -> Vec<&ChartHook> {
    let mut hooks: Vec<&ChartHook> = bundle
        .components
        .iter()
        .flat_map(|component| &component.hooks)
        .filter(|hook| hook.moments.contains(&moment))
        .collect();
    hooks.sort_by_key(|hook| {
        let text = |pointer: &str| {
            let value = hook.object.pointer(pointer).and_then(Value::as_str);
            value.unwrap_or_default()
        };
        let kind = text("/kind");
        let name = [text("/metadata/name"), text("/metadata/namespace")];
        (hook.weight, apply_stage(kind), kind, name)
    });
    hooks
}

/// The ServiceAccount in whose name a hook of a bundle is made; absent = in the agent's own. Of a hook that stands
/// in several components it is one that any of them names.
#[must_use]
pub fn account_of<'a>(bundle: &'a Bundle, hook: &ChartHook) -> Option<&'a NamespacedName> {
    let components = bundle.components.iter();
    let mut its = components.filter(|component| component.hooks.contains(hook));
    bundle.brought_in_by(its.find_map(|component| component.service_account.as_ref()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn bundle(hooks: &[(&str, &str, i64, &[&str])]) -> Bundle {
        let hooks: Vec<Value> = hooks
            .iter()
            .map(|(kind, name, weight, moments)| {
                json!({"object": {"kind": kind, "metadata": {"name": name}}, "weight": weight,
                    "moments": moments})
            })
            .collect();
        serde_json::from_value(json!({
            "application": {"namespace": "default", "name": "shop"},
            "release": "r", "revision": 1, "run": uuid::Uuid::nil(), "attempt": 1,
            "mode": "Plain", "targetNamespace": "shop", "createNamespace": false,
            "components": [{"name": "web", "hookedObjects": [], "hooks": hooks}],
            "rollouts": [], "sync": {}, "metrics": null,
        }))
        .expect("a bundle")
    }

    #[test]
    fn what_happens_follows_from_what_runs_and_how_a_release_comes_in() {
        let of = |release: &str, mode| Bundle {
            release: release.to_owned(),
            mode,
            ..bundle(&[])
        };
        let old = of("old", BundleMode::Rollout);
        for (applied, release, mode, expected) in [
            (None, "new", BundleMode::Plain, Some(HookOccasion::Install)),
            (
                None,
                "new",
                BundleMode::Rollout,
                Some(HookOccasion::Install),
            ),
            (
                Some(&old),
                "new",
                BundleMode::Rollout,
                Some(HookOccasion::Upgrade),
            ),
            (
                Some(&old),
                "new",
                BundleMode::Plain,
                Some(HookOccasion::Rollback),
            ),
            (Some(&old), "old", BundleMode::Rollout, None),
            (Some(&old), "old", BundleMode::Plain, None),
        ] {
            assert_eq!(
                occasion(applied, &of(release, mode)),
                expected,
                "{release} {mode:?}"
            );
        }
    }

    #[test]
    fn hooks_run_by_weight_then_kind_then_name() {
        let before: &[&str] = &["pre-install"];
        let bundle = bundle(&[
            ("Job", "b", 0, before),
            ("Job", "late", 10, before),
            ("Job", "a", 0, &["pre-install", "post-install"]),
            ("ServiceAccount", "z", 0, before),
            ("Job", "early", -5, before),
            ("Job", "never", -9, &["pre-delete"]),
        ]);
        let names = |moment| -> Vec<String> {
            due(&bundle, moment)
                .into_iter()
                .map(|hook| {
                    hook.object["metadata"]["name"]
                        .as_str()
                        .unwrap_or("")
                        .to_owned()
                })
                .collect()
        };
        assert_eq!(
            names(HookMoment::PreInstall),
            ["early", "z", "a", "b", "late"]
        );
        assert_eq!(names(HookMoment::PostInstall), ["a"]);
        assert!(names(HookMoment::PreUpgrade).is_empty());
    }

    #[test]
    fn a_hook_is_made_in_the_name_of_its_own_component() {
        let mut all = bundle(&[("Job", "a", 0, &["pre-install"])]);
        let other = bundle(&[("Job", "b", 0, &["pre-install"])]);
        all.components.extend(other.components);
        let account = NamespacedName {
            namespace: "shop".to_owned(),
            name: "deployer".to_owned(),
        };
        all.components[1].service_account = Some(account.clone());
        let [a, b] = due(&all, HookMoment::PreInstall)[..] else {
            panic!("two hooks");
        };
        assert_eq!(account_of(&all, a), None);
        assert_eq!(account_of(&all, b), Some(&account));
        // The same hook in two components: never in the agent's own name.
        let mut twice = all.clone();
        twice.components[0].hooks = twice.components[1].hooks.clone();
        assert_eq!(account_of(&twice, b), Some(&account));
        let back = Bundle {
            returns: true,
            ..twice.clone()
        };
        assert_eq!(account_of(&back, b), None, "it was let in before");
    }

    #[test]
    fn every_moment_is_one_side_of_an_occasion() {
        let occasions = [
            HookOccasion::Install,
            HookOccasion::Upgrade,
            HookOccasion::Rollback,
            HookOccasion::Delete,
        ];
        assert_eq!(occasions.map(moments).concat(), HookMoment::ALL);
    }
}
