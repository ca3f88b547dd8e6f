use bellwether_agent_core::settled::settled;
use serde_json::json;

use super::*;

fn owned(uid: &str) -> Value {
    json!([{"kind": "DaemonSet", "uid": uid, "controller": true}])
}

fn revision_of(uid: &str, hash: &str, number: i64) -> Value {
    json!({"metadata": {"name": format!("log-{hash}"), "labels": {"controller-revision-hash": hash},
        "ownerReferences": owned(uid)}, "revision": number})
}

fn pod(uid: &str, hash: &str, ready: &str) -> Value {
    json!({
        "metadata": {"labels": {"controller-revision-hash": hash}, "ownerReferences": owned(uid)},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    })
}

fn daemon_set(updated: u32) -> Value {
    json!({
        "metadata": {"uid": "u1", "generation": 3},
        "spec": {"updateStrategy": {"type": "RollingUpdate"}},
        "status": {"observedGeneration": 3, "desiredNumberScheduled": 3, "currentNumberScheduled": 3,
            "updatedNumberScheduled": updated, "numberReady": 3, "numberAvailable": 3},
    })
}

fn versions(revisions: &[Value], pods: &[Value]) -> Vec<ReplicaSetView> {
    let all = revisions.iter().map(|one| version(one, pods));
    all.filter(|one| one.owner_uid == "u1").collect()
}

#[test]
fn a_daemon_set_says_how_many_nodes_its_update_empties_at_once() {
    for (rolling, takes) in [
        (json!({}), 1),
        (json!({"maxUnavailable": "50%"}), 2),
        (json!({"maxUnavailable": 9}), 3),
        (json!({"maxUnavailable": 0, "maxSurge": 1}), 0),
    ] {
        let mut live = daemon_set(3);
        live["spec"]["updateStrategy"]["rollingUpdate"] = rolling;
        let view = workload(&live, &[], TemplateVersion::Old);
        assert_eq!(view.update_takes, takes, "{live}");
    }
}

#[test]
fn a_daemon_set_stands_still_once_all_its_pods_are_of_the_newest_revision() {
    let revisions = [
        revision_of("u1", "old", 1),
        revision_of("u1", "new", 2),
        // The copy has the same labels, and more revisions.
        revision_of("u2", "copy", 7),
    ];
    let all = |hash: &str| vec![pod("u1", hash, "True"); 3];
    let live = daemon_set(3);
    let view = workload(&live, &revisions, TemplateVersion::New);
    assert_eq!(
        (view.revision.as_str(), view.replicas, view.paused),
        ("2", 3, false)
    );
    let stands = settled(&view, &versions(&revisions, &all("new"))).expect("settled");
    assert_eq!(
        (
            stands.hash.as_str(),
            stands.replica_set.as_str(),
            stands.replicas
        ),
        ("new", "log-new", 3)
    );
    let mut mixed = all("new");
    mixed[1] = pod("u1", "old", "True");
    for pods in [mixed, all("old")] {
        let rolls = settled(&view, &versions(&revisions, &pods)).expect_err("it rolls");
        assert_eq!(rolls.reason, "RollingUpdate");
    }
    let early = workload(&daemon_set(2), &revisions, TemplateVersion::New);
    let early = settled(&early, &versions(&revisions, &all("new"))).expect_err("not updated");
    assert_eq!(early.reason, "PodsNotUpdated");
    let unknown = workload(&live, &[], TemplateVersion::New);
    let unknown = settled(&unknown, &[]).expect_err("nothing is known");
    assert_eq!(unknown.reason, "NoReplicaSet");
}

#[test]
fn pods_that_stop_or_are_not_ready_are_no_pods_of_a_version() {
    let mut stops = pod("u1", "old", "True");
    stops["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    let pods = [
        stops,
        pod("u1", "old", "True"),
        pod("u1", "old", "False"),
        pod("u2", "old", "True"),
    ];
    let seen = version(&revision_of("u1", "old", 1), &pods);
    assert_eq!((seen.replicas, seen.ready), (2, 1));
    let nameless = json!({"metadata": {"ownerReferences": owned("u1")}, "revision": 1});
    assert_eq!(version(&nameless, &pods).replicas, 0);
}

#[test]
fn held_back_a_daemon_set_is_paused() {
    let mut live = daemon_set(3);
    live["spec"]["updateStrategy"]["type"] = json!("OnDelete");
    assert!(workload(&live, &[], TemplateVersion::Old).paused);
}

#[test]
fn a_copy_that_was_told_to_stop_is_counted_by_its_pods() {
    let runs = copy(&daemon_set(2), &[pod("u1", "new", "True")]);
    assert_eq!((runs.replicas, runs.updated, runs.ready), (3, 2, 3));
    let mut told = daemon_set(0);
    for field in ["desiredNumberScheduled", "numberReady", "numberAvailable"] {
        told["status"][field] = json!(0);
    }
    let stops = copy(&told, &[pod("u1", "new", "True")]);
    assert_eq!((stops.replicas, stops.updated), (0, 1));
    assert_eq!(copy(&told, &[]).updated, 0);
}
