//! What the user's ConfigMaps and Secrets hold while runs change them.

use std::collections::BTreeSet;

use bellwether_agent_core::settled::TemplateVersion;
use bellwether_api::reference::ObjectRef;
use serde_json::json;

use super::{run::Run, scene::Scene};
use crate::sync::keep::Wanted;

/// What one run wants of the configuration that it changes.
struct Want<'a> {
    scene: &'a Scene,
    /// The workload carries its new template.
    takes_new: bool,
}

/// Lets the user's ConfigMaps and Secrets keep their old contents until a run that changes them takes
/// its new template. Runs that change the same one promote together.
pub fn hold_config<'a>(runs: impl Iterator<Item = &'a Run>, wanted: &mut Vec<Wanted>) {
    let wants: Vec<Want<'_>> = runs
        .map(|run| Want {
            scene: &run.scene,
            takes_new: run.overlay().template == TemplateVersion::New,
        })
        .collect();
    hold(&wants, wanted);
}

fn hold(wants: &[Want<'_>], wanted: &mut Vec<Wanted>) {
    let released: BTreeSet<ObjectRef> = wants
        .iter()
        .filter(|want| want.takes_new)
        .flat_map(|want| want.scene.config_targets())
        .collect();
    for Want { scene, .. } in wants.iter().filter(|want| !want.takes_new) {
        for (target, change) in scene.config_targets().zip(&scene.config) {
            if released.contains(&target) {
                continue;
            }
            let Some(old) = &change.old else {
                // Nobody had it before, and the old version's pods would read it.
                wanted.retain(|want| want.target != target);
                continue;
            };
            if let Some(want) = wanted.iter_mut().find(|want| want.target == target) {
                want.object = old.clone();
                want.object["metadata"]["namespace"] = json!(scene.namespace);
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use bellwether_api::bundle::Bundle;
    use serde_json::Value;

    use super::*;
    use crate::rollout::objects::Versions;
    use bellwether_agent_core::config_stamp::AsFound;

    fn config(name: &str, value: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
            "data": {"K": value}})
    }

    fn bundle(objects: &[Value]) -> Bundle {
        let workload = |name: &str| {
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
                "spec": {"template": {"spec": {"containers": [{"name": "web", "envFrom": [
                    {"configMapRef": {"name": "shared"}},
                    {"configMapRef": {"name": "extra", "optional": true}},
                ]}]}}},
            })
        };
        let rollout = |name: &str| {
            json!({"name": name, "spec": {
                "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
                "strategy": {"canary": {"stepWeight": 50}},
            }})
        };
        let mut all = objects.to_vec();
        all.extend([workload("web"), workload("api")]);
        serde_json::from_value(json!({
            "application": {"namespace": "default", "name": "shop"},
            "release": "r", "revision": 1, "run": uuid::Uuid::nil(), "attempt": 1,
            "mode": "Rollout", "targetNamespace": "shop", "createNamespace": true,
            "components": [{"name": "web", "objects": all}],
            "rollouts": [rollout("web"), rollout("api")],
            "sync": {}, "metrics": null,
        }))
        .unwrap()
    }

    /// What the user's objects hold while `web` and `api` do or do not take their new templates.
    fn held(takes_new: [bool; 2]) -> Vec<(String, Value)> {
        let objects = [
            config("shared", "2"),
            config("extra", "2"),
            config("own", "2"),
        ];
        let versions = Versions {
            old: bundle(&[config("shared", "1"), config("own", "1")]).into(),
            new: bundle(&objects).into(),
            found: AsFound::default(),
        };
        let scenes: Vec<Scene> = versions
            .new
            .rollouts
            .iter()
            .map(|rollout| Scene {
                config: versions.config_changes(rollout),
                ..Scene::of(&versions.new, rollout)
            })
            .collect();
        let wants: Vec<Want<'_>> = scenes
            .iter()
            .zip(takes_new)
            .map(|(scene, takes_new)| Want { scene, takes_new })
            .collect();
        let mut wanted: Vec<Wanted> = objects
            .into_iter()
            .map(|mut object| {
                object["metadata"]["namespace"] = json!("shop");
                Wanted::new(object).unwrap()
            })
            .collect();
        hold(&wants, &mut wanted);
        wanted
            .into_iter()
            .map(|want| (want.target.name, want.object["data"]["K"].clone()))
            .collect()
    }

    #[test]
    fn the_users_objects_keep_their_old_content_until_the_promotion() {
        let pair = |name: &str, value: &str| (name.to_owned(), json!(value));
        assert_eq!(
            held([false, false]),
            [pair("shared", "1"), pair("own", "2")],
            "what nobody governed uses is as the release has it"
        );
        let all = [pair("shared", "2"), pair("extra", "2"), pair("own", "2")];
        assert_eq!(held([true, true]), all);
        assert_eq!(held([true, false]), all, "they promote together");
    }
}
