use bellwether_agent_core::settled::settled;
use serde_json::json;

use super::*;

fn adapter() -> WorkloadAdapter {
    let adapter = json!({
        "replicas": "/spec/size/shards", "paused": "/spec/update/paused", "revisionLabel": "version",
        "total": "/status/shards", "ready": "/status/readyShards", "available": "/status/liveShards",
    });
    serde_json::from_value(adapter).expect("an adapter")
}

fn pod(uid: &str, version: &str, ready: &str) -> Value {
    json!({
        "metadata": {"labels": {"version": version},
            "ownerReferences": [{"kind": "Shard", "uid": uid, "controller": true}]},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    })
}

fn pods(version: &str) -> Vec<Value> {
    vec![pod("u1", version, "True"); 3]
}

fn shard() -> Value {
    json!({
        "metadata": {"name": "web", "uid": "u1", "generation": 3},
        "spec": {"size": {"shards": 3}, "update": {}},
        "status": {"observedGeneration": 3, "shards": 3, "readyShards": 3, "liveShards": 3,
            "updateRevision": "web-new"},
    })
}

/// Why it does not stand still; empty = it does.
fn unsettled(live: &Value, pods: &[Value]) -> &'static str {
    let view = workload(live, &adapter(), pods, TemplateVersion::New);
    let versions = versions(live, &adapter(), pods, None);
    settled(&view, &versions).map_or_else(|unsettled| unsettled.reason, |_| "")
}

#[test]
fn a_workload_stands_still_once_all_its_pods_carry_the_label_of_its_revision() {
    let view = workload(&shard(), &adapter(), &pods("new"), TemplateVersion::New);
    assert_eq!((view.replicas, view.total, view.updated), (3, 3, 3));
    assert!(!view.paused);
    for label in ["new", "web-new"] {
        let versions = versions(&shard(), &adapter(), &pods(label), None);
        let stands = settled(&view, &versions).expect("settled");
        assert_eq!(stands.hash, label, "what its Services are kept to");
    }
    let mut mixed = pods("new");
    mixed[1] = pod("u1", "old", "True");
    assert_eq!(unsettled(&shard(), &mixed), "RollingUpdate");
    assert_eq!(unsettled(&shard(), &pods("old")), "NoReplicaSet");
    assert_eq!(unsettled(&shard(), &pods("new")[..2]), "PodsNotUpdated");
    mixed[1] = pod("u1", "new", "True");
    mixed[1]["metadata"]["labels"] = json!({});
    assert_eq!(unsettled(&shard(), &mixed), "RollingUpdate");
}

#[test]
fn a_status_that_lacks_what_is_read_holds_the_run() {
    for (field, reason) in [
        ("observedGeneration", "NotObserved"),
        ("updateRevision", "NoReplicaSet"),
        ("shards", "CountsUnknown"),
        ("liveShards", "CountsUnknown"),
    ] {
        let mut live = shard();
        live["status"]
            .as_object_mut()
            .expect("a status")
            .remove(field);
        assert_eq!(unsettled(&live, &pods("new")), reason, "{field}");
    }
    let mut copied = shard();
    copied["status"] = Value::Null;
    let seen = copy(&copied, &adapter(), &pods("new"));
    assert_eq!((seen.replicas, seen.ready, seen.updated), (3, 0, 0));
    assert!(seen.observed_generation < seen.generation);
}

#[test]
fn pods_of_others_and_those_that_stop_or_have_ended_are_no_pods_of_a_version() {
    let mut stops = pod("u1", "old", "True");
    stops["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    let mut ended = pod("u1", "old", "False");
    ended["status"]["phase"] = json!("Failed");
    let seen = [
        stops,
        ended,
        pod("u2", "old", "True"),
        pod("u1", "new", "True"),
        pod("u1", "new", "False"),
    ];
    let versions = versions(&shard(), &adapter(), &seen, None);
    let [new] = versions.as_slice() else {
        panic!("{versions:?}");
    };
    assert_eq!((new.hash.as_str(), new.replicas, new.ready), ("new", 2, 1));
    assert_eq!(new.owner_uid, "u1");
    let mut evicted = pod("u1", "new", "False");
    evicted["status"]["phase"] = json!("Failed");
    let mut seen = pods("new");
    seen.push(evicted);
    assert_eq!(unsettled(&shard(), &seen), "");
    assert_eq!(left(&seen), 3);
}

#[test]
fn a_version_that_has_lost_its_pods_is_known_as_long_as_the_template_is_of_it() {
    let known = |stable: &str| versions(&shard(), &adapter(), &[], Some(stable));
    let [left] = known("new").try_into().expect("one version");
    assert_eq!((left.hash.as_str(), left.replicas), ("new", 0));
    assert_eq!(known("old"), []);
}

#[test]
fn held_by_its_own_field_a_workload_is_paused() {
    let mut live = shard();
    live["spec"]["update"]["paused"] = json!(true);
    assert!(workload(&live, &adapter(), &[], TemplateVersion::Old).paused);
}

#[test]
fn a_copy_that_was_told_to_stop_is_counted_by_its_pods() {
    let runs = copy(&shard(), &adapter(), &pods("new"));
    assert_eq!((runs.replicas, runs.updated, runs.available), (3, 3, 3));
    let mut told = shard();
    told["spec"]["size"]["shards"] = json!(0);
    told["status"]["readyShards"] = json!(0);
    let stops = copy(&told, &adapter(), &pods("new")[..1]);
    assert_eq!((stops.replicas, stops.updated, stops.ready), (0, 1, 0));
    let mut counted = adapter();
    counted.updated = Some("/status/new".to_owned());
    assert_eq!(copy(&told, &counted, &pods("new")[..1]).updated, 1);
}

#[test]
fn a_count_that_is_not_read_is_named_where_pods_are_ready() {
    let mut live = shard();
    live["status"]["liveShards"] = Value::Null;
    let seen = |pods: &[Value]| workload(&live, &adapter(), pods, TemplateVersion::Old).unread;
    assert_eq!(seen(&pods("new")), "/status/liveShards");
    assert_eq!(seen(&[pod("u1", "new", "False")]), "", "it may be none");
}

#[test]
fn the_labels_of_the_copys_pods_are_told() {
    let labels = copy(&shard(), &adapter(), &pods("1")).labels;
    assert_eq!(labels, ["1".to_owned()].into());
}
