//! Which components of a release a cluster gets, and in which order.

use std::collections::BTreeSet;

use bellwether_api::{application::Destination, bundle::Bundle};
use serde_json::Value;

use crate::{
    addons::Fleets,
    brake::{Loss, prunes},
    placement::{ClusterFacts, is_member},
    release::{ReleaseComponent, ReleaseContent},
};

/// Returns the components that a cluster gets, in the release's order.
#[must_use]
pub fn present<'a>(
    content: &'a ReleaseContent,
    cluster: &ClusterFacts,
    fleets: &Fleets,
) -> Vec<&'a ReleaseComponent> {
    let here =
        |component: &&ReleaseComponent| is_placed(component.destination.as_ref(), cluster, fleets);
    content.components.iter().filter(here).collect()
}

/// Tells whether a cluster of the application gets a component of that destination; absent = all do.
#[must_use]
pub fn is_placed(
    destination: Option<&Destination>,
    cluster: &ClusterFacts,
    fleets: &Fleets,
) -> bool {
    destination.is_none_or(|one| has(one, cluster, fleets))
}

/// Everything that a destination names holds at once. A fleet that is not there any more takes nothing
/// away.
fn has(destination: &Destination, cluster: &ClusterFacts, fleets: &Fleets) -> bool {
    let fleet = destination.fleet.as_ref();
    let fleet = fleet.and_then(|name| fleets.get(name));
    (destination.clusters.is_empty() || destination.clusters.contains(&cluster.name))
        && fleet.is_none_or(|fleet| is_member(fleet, cluster))
        && destination
            .selector
            .as_ref()
            .is_none_or(|selector| selector.matches(&cluster.labels))
}

/// Returns those of the components `there` that come before one of them. Instead of one that is not
/// there stand those that come before it.
#[must_use]
pub fn after(
    component: &ReleaseComponent,
    content: &ReleaseContent,
    there: &[&ReleaseComponent],
) -> Vec<String> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    let mut open: Vec<&String> = component.depends_on.iter().rev().collect();
    while let Some(name) = open.pop() {
        if !seen.insert(name) {
            continue;
        }
        if there.iter().any(|one| one.name == *name) {
            found.push(name.clone());
        } else if let Some(absent) = content.components.iter().find(|one| one.name == *name) {
            open.extend(absent.depends_on.iter().rev());
        }
    }
    found
}

/// Tells whether some component goes to a part of the release's clusters only.
#[must_use]
pub fn are_placed(content: &ReleaseContent) -> bool {
    let mut components = content.components.iter();
    components.any(|component| component.destination.is_some())
}

/// Counts the objects that a cluster would lose with the components that it does not get any more, of
/// what it holds.
#[must_use]
pub fn leaving(held: &Bundle, next: &ReleaseContent, there: &[&ReleaseComponent]) -> Loss {
    let goes = |name: &str| {
        let stays = there.iter().any(|one| one.name == name);
        let known = next.components.iter().find(|one| one.name == name);
        !stays && known.is_some_and(|component| prunes(next, component))
    };
    let kept: BTreeSet<Key<'_>> = there
        .iter()
        .flat_map(|one| {
            let home = one.target_namespace.as_deref();
            let home = home.unwrap_or(&next.target_namespace);
            one.objects.iter().map(move |object| key(object, home))
        })
        .collect();
    let count = |component: &[Value]| {
        let lost = component.iter().map(|object| key(object, ""));
        lost.filter(|one| !kept.contains(one)).count()
    };
    let gone = held.components.iter().filter(|one| goes(&one.name));
    Loss {
        leaving: gone.map(|one| count(&one.objects)).sum(),
        holding: held.components.iter().map(|one| one.objects.len()).sum(),
    }
}

/// Group, kind, namespace and name.
type Key<'a> = (&'a str, &'a str, &'a str, &'a str);

fn key<'a>(object: &'a Value, home: &'a str) -> Key<'a> {
    let text = |pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let group = text("/apiVersion")
        .split_once('/')
        .map_or("", |(group, _)| group);
    let namespace = match text("/metadata/namespace") {
        "" => home,
        written => written,
    };
    (group, text("/kind"), namespace, text("/metadata/name"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bellwether_api::{application::ApplicationSpec, bundle::BundleMode, fleet::FleetDefaults};
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::{
        bundle::{BundleInput, build},
        release::{self, Release},
    };

    fn content(components: &Value) -> ReleaseContent {
        let spec: ApplicationSpec = serde_json::from_value(json!({
            "destination": {"fleet": "all"}, "components": components,
            "overrides": [{"name": "all", "labels": {"from": "application"}}],
        }))
        .expect("a spec");
        release::content("shop", &spec, &[]).expect("content")
    }

    fn map(name: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}})
    }

    fn cluster(name: &str, tier: &str) -> ClusterFacts {
        ClusterFacts {
            id: Uuid::nil(),
            name: name.to_owned(),
            labels: BTreeMap::from([("tier".to_owned(), tier.to_owned())]),
            metrics: None,
            traffic: Vec::new(),
            scheduling: std::sync::Arc::default(),
        }
    }

    fn bundle(content: &ReleaseContent, cluster: &ClusterFacts, fleets: &Fleets) -> Bundle {
        let release = Release {
            id: Uuid::nil(),
            revision: 1,
            digest: content.digest(),
            content: content.clone(),
        };
        let application = bellwether_api::reference::NamespacedName {
            namespace: "default".to_owned(),
            name: "shop".to_owned(),
        };
        build(BundleInput {
            application: &application,
            release: &release,
            run: Uuid::nil(),
            attempt: 1,
            mode: BundleMode::Plain,
            cluster,
            fleet: &FleetDefaults::default(),
            fleets,
        })
        .expect("a bundle")
        .bundle
    }

    #[test]
    fn each_cluster_gets_its_components_in_their_order() {
        let content = content(&json!([
            {"name": "db", "manifests": [map("db")]},
            {"name": "cache", "manifests": [map("cache")], "dependsOn": ["db"],
             "destination": {"selector": {"matchLabels": {"tier": "big"}}}},
            {"name": "web", "manifests": [map("web")], "dependsOn": ["cache"],
             "sync": {"drift": "Report", "interval": "1h"}},
            {"name": "edge", "manifests": [map("edge")], "destination": {"clusters": ["c9"]},
             "rollout": {"workload": {"apiVersion": "v1", "kind": "ConfigMap", "name": "edge"},
                         "strategy": {"canary": {"weights": [50]}}}},
        ]));
        let fleets = Fleets::new();
        let order = |cluster: &ClusterFacts| {
            let bundle = bundle(&content, cluster, &fleets);
            let order: Vec<(String, Vec<String>)> = bundle
                .components
                .iter()
                .map(|one| (one.name.clone(), one.depends_on.clone()))
                .collect();
            (order, bundle.rollouts.len())
        };
        let step = |name: &str, after: &[&str]| {
            (
                name.to_owned(),
                after.iter().map(|one| (*one).to_owned()).collect(),
            )
        };
        assert_eq!(
            order(&cluster("c1", "big")),
            (
                vec![
                    step("db", &[]),
                    step("cache", &["db"]),
                    step("web", &["cache"])
                ],
                0
            )
        );
        assert_eq!(
            order(&cluster("c2", "small")),
            (vec![step("db", &[]), step("web", &["db"])], 0),
            "what is not there is stepped over"
        );
        assert_eq!(order(&cluster("c9", "small")).1, 1);
        let sync = content.components[2].sync.clone().expect("its own");
        assert_eq!(
            sync.interval, None,
            "it says when a source is looked at, not how objects are kept"
        );
    }

    #[test]
    fn overrides_of_a_component_win_and_concern_it_alone() {
        let own = json!([{"name": "web-only", "labels": {"from": "component"}}]);
        let content = content(&json!([
            {"name": "web", "manifests": [map("web")], "overrides": own},
            {"name": "db", "manifests": [map("db")]},
        ]));
        let bundle = bundle(&content, &cluster("c1", "big"), &Fleets::new());
        let from = |index: usize| {
            bundle.components[index].objects[0]["metadata"]["labels"]["from"].clone()
        };
        assert_eq!(
            (from(0), from(1)),
            (json!("component"), json!("application"))
        );
    }

    #[test]
    fn a_component_that_leaves_is_a_loss() {
        let names: Vec<Value> = (0..8)
            .map(|number| map(&format!("item-{number}")))
            .collect();
        let placed = |destination: Value| {
            content(&json!([
                {"name": "web", "manifests": [map("web")]},
                {"name": "items", "manifests": names, "destination": destination},
            ]))
        };
        let fleets: Fleets =
            serde_json::from_value(json!({"all": {"clusters": ["c1"]}})).expect("fleets");
        let here = cluster("c1", "big");
        let everywhere = placed(json!({"fleet": "all"}));
        let held = bundle(&everywhere, &here, &fleets);
        let loss = |next: &ReleaseContent| leaving(&held, next, &present(next, &here, &fleets));
        assert_eq!(loss(&everywhere).leaving, 0);
        let elsewhere = loss(&placed(json!({"clusters": ["c2"]})));
        assert_eq!((elsewhere.leaving, elsewhere.holding), (8, 9));
        assert!(elsewhere.is_braked(None) && !elsewhere.is_braked(Some(8)));
        assert_eq!(
            loss(&placed(json!({"fleet": "gone"}))).leaving,
            0,
            "a fleet that is not there takes nothing away"
        );
    }
}
