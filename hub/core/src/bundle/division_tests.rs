use std::collections::BTreeMap;

use bellwether_api::{
    application::ApplicationSpec, bundle::Bundle, bundle::BundleMode, fleet::FleetDefaults,
    reference::NamespacedName,
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{BundleInput, build};
use crate::{
    addons::Fleets,
    placement::ClusterFacts,
    release::{Change, Release, ReleaseContent, RolloutRecord, Undivided, content},
};

fn cluster(number: u128) -> ClusterFacts {
    ClusterFacts {
        id: Uuid::from_u128(number),
        name: format!("c{number}"),
        labels: BTreeMap::new(),
        metrics: None,
        traffic: Vec::new(),
        scheduling: std::sync::Arc::default(),
    }
}

fn clusters(upto: u128) -> Vec<ClusterFacts> {
    (1..=upto).map(cluster).collect()
}

fn workload(kind: &str, name: &str, replicas: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name},
        "spec": {"replicas": replicas, "template": {"spec": {"containers": [{"name": "a"}]}}}})
}

fn spec(change: impl FnOnce(&mut Value)) -> ApplicationSpec {
    let mut spec = json!({
        "destination": {"selector": {}},
        "placement": {"division": {"mode": "Static",
            "weights": [{"clusters": ["c1"], "weight": 2}]}},
        "components": [{"name": "web", "manifests": [
            workload("Deployment", "web", json!(9)),
            workload("StatefulSet", "db", json!(null)),
            workload("Deployment", "scaled", json!(5)),
            {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
             "metadata": {"name": "scaled"},
             "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment",
                                         "name": "scaled"}}},
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}},
        ]}],
    });
    change(&mut spec);
    serde_json::from_value(spec).expect("an application")
}

fn rollout() -> RolloutRecord {
    let spec = json!({"application": "shop",
        "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "strategy": {"canary": {"stepWeight": 10}}});
    RolloutRecord {
        name: "shop-web".to_owned(),
        spec: serde_json::from_value(spec).expect("a rollout"),
        rendered_as: None,
    }
}

fn divided(
    spec: &ApplicationSpec,
    before: Option<Undivided<'_>>,
    clusters: &[ClusterFacts],
) -> ReleaseContent {
    let asked = spec
        .placement
        .as_ref()
        .and_then(|one| one.division.as_ref());
    content("shop", spec, &[rollout()])
        .expect("content")
        .divided(asked, before, clusters, &Fleets::new())
        .expect("divided")
}

fn bundle(content: &ReleaseContent, number: u128) -> Bundle {
    let release = Release {
        id: Uuid::nil(),
        revision: 1,
        digest: content.digest(),
        content: content.clone(),
    };
    let application = NamespacedName {
        namespace: "default".to_owned(),
        name: "shop".to_owned(),
    };
    let input = BundleInput {
        application: &application,
        release: &release,
        run: Uuid::nil(),
        attempt: 1,
        mode: BundleMode::Rollout,
        returns: false,
        cluster: &cluster(number),
        fleet: &FleetDefaults::default(),
        fleets: &Fleets::new(),
    };
    build(input).expect("a bundle").bundle
}

fn replicas(bundle: &Bundle) -> Vec<Option<u64>> {
    let objects = bundle.components[0].objects.iter();
    let replicas = |object: &Value| object["spec"]["replicas"].as_u64();
    objects.map(replicas).take(3).collect()
}

#[test]
fn every_cluster_gets_its_share_and_what_is_autoscaled_is_left_alone() {
    let content = divided(&spec(|_| {}), None, &clusters(3));
    let shares: Vec<_> = (1..=4)
        .map(|one| replicas(&bundle(&content, one)))
        .collect();
    assert_eq!(
        shares,
        [
            [Some(5), Some(1), Some(5)],
            [Some(2), Some(0), Some(5)],
            [Some(2), Some(0), Some(5)],
            [Some(0), Some(0), Some(5)],
        ]
    );
}

#[test]
fn an_override_of_a_cluster_wins() {
    let spec = spec(|spec| {
        spec["overrides"] = json!([{"name": "two", "clusters": ["c2"],
            "replicas": [{"target": {"kind": "Deployment", "name": "web"}, "count": 7}]}]);
    });
    let content = divided(&spec, None, &clusters(3));
    assert_eq!(replicas(&bundle(&content, 2))[0], Some(7));
    assert_eq!(replicas(&bundle(&content, 1))[0], Some(5));
}

#[test]
fn a_cluster_without_pods_of_a_governed_workload_has_no_rollout_to_wait_for() {
    let content = divided(&spec(|_| {}), None, &clusters(3));
    assert_eq!(bundle(&content, 1).rollouts.len(), 1);
    assert_eq!(bundle(&content, 4).rollouts, []);
}

#[test]
fn only_the_number_of_pods_changes_when_clusters_do() {
    let before = divided(&spec(|_| {}), None, &clusters(3));
    let succeeded = Undivided {
        content: &before,
        succeeded: true,
    };
    let after = divided(&spec(|_| {}), Some(succeeded), &clusters(2));
    assert!(after.is_redivided(&before));
    assert_eq!(before.change_to(&after), Change::Content);
    assert_ne!(before.digest(), after.digest());
    let mut had = bundle(&before, 2).components;
    let has = bundle(&after, 2).components;
    assert_eq!(has[0].objects[0]["spec"]["replicas"], 3);
    had[0].objects[0]["spec"]["replicas"] = json!(3);
    assert_eq!(had, has);
}

#[test]
fn clusters_that_come_and_go_start_no_run_anew_that_is_under_way() {
    let before = divided(&spec(|_| {}), None, &clusters(3));
    let running = Undivided {
        content: &before,
        succeeded: false,
    };
    assert_eq!(divided(&spec(|_| {}), Some(running), &clusters(2)), before);
    let more = spec(|spec| spec["placement"]["division"]["weights"][0]["weight"] = json!(5));
    let asked_otherwise = divided(&more, Some(running), &clusters(3));
    assert_ne!(asked_otherwise, before, "somebody wrote that");
    assert!(!asked_otherwise.is_redivided(&before));
    let other = spec(|spec| spec["targetNamespace"] = json!("shop"));
    let released = divided(&other, Some(running), &clusters(2));
    let division = released.division.expect("a division");
    assert_eq!(
        division.clusters.len(),
        2,
        "a release is divided as it is made"
    );
    let undivided = spec(|spec| spec["placement"] = json!({}));
    assert_eq!(
        divided(&undivided, Some(running), &clusters(3)).division,
        None
    );
}

#[test]
fn what_was_restored_is_divided_over_the_clusters_of_now() {
    let old = divided(&spec(|_| {}), None, &clusters(3));
    let newest = divided(&spec(|_| {}), None, &clusters(2));
    let frozen = newest.division.as_ref();
    let restored = old
        .clone()
        .divided_again(frozen, &clusters(2), &Fleets::new())
        .expect("divided");
    assert_eq!(restored.division, newest.division);
    let plain = content("shop", &spec(|_| {}), &[]).expect("content");
    let plain = plain
        .divided_again(frozen, &clusters(2), &Fleets::new())
        .expect("divided");
    assert_eq!(plain.division, None, "it was not divided then");
}
