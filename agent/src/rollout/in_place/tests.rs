use serde_json::json;

use super::*;

fn known(kind: &str) -> WorkloadAdapter {
    let group = if kind == "CloneSet" {
        "apps.kruise.io/v1alpha1"
    } else {
        "apps/v1"
    };
    WorkloadAdapter::known(group, kind).expect("a known kind")
}

fn pod(name: &str, revision: &str, ready: bool) -> Value {
    json!({
        "metadata": {"name": name, "uid": format!("uid-{name}"),
            "labels": {"app": "db", "controller-revision-hash": revision},
            "ownerReferences": [{"uid": "u1", "controller": true}]},
        "status": {"conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
    })
}

fn stateful_set(available: u32) -> Value {
    json!({
        "metadata": {"name": "db", "uid": "u1", "generation": 4},
        "spec": {"replicas": 4, "selector": {"matchLabels": {"app": "db", "tier": "data"}},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}},
        "status": {"observedGeneration": 4, "replicas": 4, "readyReplicas": 4,
            "availableReplicas": available, "currentRevision": "db-old", "updateRevision": "db-new"},
    })
}

#[test]
fn new_pods_of_a_stateful_set_are_counted_by_their_label() {
    let pods = [
        pod("db-0", "db-old", true),
        pod("db-1", "db-old", true),
        pod("db-2", "db-new", false),
        pod("db-3", "db-new", true),
    ];
    let seen = view(&stateful_set(3), &known("StatefulSet"), &pods, None);
    assert_eq!(
        (seen.partition, seen.updated, seen.updated_available),
        (Some(2), 2, 1)
    );
    let counts = workload(
        &stateful_set(3),
        &known("StatefulSet"),
        TemplateVersion::New,
    );
    assert_eq!((counts.replicas, counts.total, counts.ready), (4, 4, 4));
    assert_eq!(counts.revision, "db-new");
    assert_eq!(
        pod_selector(&stateful_set(3)).as_deref(),
        Some("app=db,tier=data")
    );
}

#[test]
fn new_pods_below_an_ordinal_partition_are_told_by_their_names() {
    let pods = [
        pod("db-0", "db-old", true),
        pod("db-1", "db-new", true),
        pod("db-2", "db-old", true),
        pod("db-3", "db-new", true),
    ];
    let kept = |set: &Value, kind: &str| view(set, &known(kind), &pods, None).kept_new;
    assert_eq!(kept(&stateful_set(4), "StatefulSet"), 1);
    let mut from_one = stateful_set(4);
    from_one["spec"]["ordinals"] = json!({"start": 1});
    from_one["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = json!(3);
    assert_eq!(kept(&from_one, "StatefulSet"), 2);
    let mut unseen = stateful_set(4);
    unseen["status"]["observedGeneration"] = json!(3);
    assert_eq!(kept(&unseen, "StatefulSet"), 0, "whose revision is unknown");
    let mut clones = stateful_set(4);
    clones["spec"]["updateStrategy"]["partition"] = json!(2);
    assert_eq!(
        kept(&clones, "CloneSet"),
        0,
        "it counts pods, whichever they are"
    );
}

#[test]
fn a_pod_that_is_ready_for_too_short_a_time_is_not_available() {
    let pods = [
        pod("db-0", "db-old", true),
        pod("db-1", "db-old", true),
        pod("db-2", "db-new", true),
        pod("db-3", "db-new", true),
    ];
    let seen = view(&stateful_set(3), &known("StatefulSet"), &pods, None);
    assert_eq!(seen.updated_available, 1, "minReadySeconds hold one back");
}

#[test]
fn foreign_and_stopping_pods_do_not_count() {
    let mut foreign = pod("x", "db-new", true);
    foreign["metadata"]["ownerReferences"][0]["uid"] = json!("u2");
    let mut stopping = pod("db-3", "db-new", true);
    stopping["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    let seen = view(
        &stateful_set(4),
        &known("StatefulSet"),
        &[foreign, stopping],
        None,
    );
    assert_eq!((seen.updated, seen.updated_available), (0, 0));
}

#[test]
fn a_clone_set_counts_by_itself() {
    let clone_set = json!({
        "metadata": {"name": "web", "uid": "u1", "generation": 2},
        "spec": {"replicas": 10, "updateStrategy": {"partition": 6, "paused": true}},
        "status": {"observedGeneration": 2, "replicas": 10, "readyReplicas": 9,
            "availableReplicas": 9, "updatedReplicas": 4, "updatedReadyReplicas": 3,
            "updatedAvailableReplicas": 3, "updateRevision": "web-6b5c"},
    });
    let adapter = known("CloneSet");
    let seen = view(&clone_set, &adapter, &[], None);
    assert_eq!(
        (seen.partition, seen.updated, seen.updated_available),
        (Some(6), 4, 3)
    );
    let counts = workload(&clone_set, &adapter, TemplateVersion::New);
    assert!(counts.paused);
    assert!(is_of(&pod("p", "6b5c", true), &adapter, "web-6b5c"));
    assert!(!is_of(&pod("p", "5c", true), &adapter, "web-6b5c"));
}

#[test]
fn only_broken_pods_of_another_revision_stand_in_the_way() {
    let adapter = known("StatefulSet");
    let pods = [
        pod("db-0", "db-old", false),
        pod("db-1", "db-old", true),
        pod("db-2", "db-bad", true),
        pod("db-3", "db-bad", false),
    ];
    let back = InPlaceWant {
        partition: Some(0),
        replaces: Some("db-old".to_owned()),
    };
    let mut object = stateful_set(2);
    let names = |object: &Value, want: &InPlaceWant| -> Vec<String> {
        pods_in_the_way(object, &adapter, &pods, want)
            .into_iter()
            .map(views::name)
            .collect()
    };
    assert!(
        names(&object, &back).is_empty(),
        "the controller still has the new template"
    );
    object["status"]["updateRevision"] = json!("db-old");
    assert_eq!(names(&object, &back), ["db-3"]);
    assert!(names(&object, &InPlaceWant::default()).is_empty());
    object["metadata"]["generation"] = json!(5);
    assert!(names(&object, &back).is_empty(), "not seen yet");
    object["metadata"]["generation"] = json!(4);
    let none = pods_in_the_way(&object, &known("CloneSet"), &pods, &back);
    assert!(none.is_empty(), "its controller needs no help");
}
