//! Which components of a release a cluster gets, and in which order.

use std::collections::BTreeSet;

use bellwether_api::application::Destination;

use crate::{
    addons::Fleets,
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bellwether_api::{
        application::ApplicationSpec,
        bundle::{Bundle, BundleMode},
        fleet::FleetDefaults,
    };
    use serde_json::{Value, json};
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
            returns: false,
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
    fn a_fleet_that_is_not_there_takes_nothing_away() {
        let placed = |destination: Value| {
            content(&json!([
                {"name": "web", "manifests": [map("web")], "destination": destination},
            ]))
        };
        let fleets: Fleets =
            serde_json::from_value(json!({"all": {"clusters": ["c1"]}})).expect("fleets");
        let here = cluster("c1", "big");
        let count = |destination: Value| present(&placed(destination), &here, &fleets).len();
        assert_eq!(count(json!({"fleet": "all"})), 1);
        assert_eq!(count(json!({"clusters": ["c2"]})), 0);
        assert_eq!(count(json!({"fleet": "gone"})), 1);
    }
}
