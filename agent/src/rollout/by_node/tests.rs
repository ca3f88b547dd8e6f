use super::*;

fn daemon_set(kind: &str, revision: &str) -> Value {
    json!({
        "metadata": {"name": "log", "uid": "u1", "generation": 3},
        "spec": {"updateStrategy": {"type": kind, "rollingUpdate": {"maxUnavailable": 1}}},
        "status": {"observedGeneration": 3, "desiredNumberScheduled": 3, "numberAvailable": 3,
            "currentNumberScheduled": 3, "numberReady": 3, "updateRevision": revision},
    })
}

fn pod(name: &str, revision: &str, ready: bool) -> Value {
    json!({
        "metadata": {"name": name, "uid": format!("uid-{name}"),
            "labels": {"controller-revision-hash": revision},
            "ownerReferences": [{"uid": "u1", "controller": true}]},
        "status": {"conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
    })
}

fn want(partition: u32, back: bool) -> InPlaceWant {
    InPlaceWant {
        partition: Some(partition),
        replaces: back.then(|| "old".to_owned()),
    }
}

fn names(object: &Value, pods: &[Value], want: &InPlaceWant) -> Vec<(String, bool)> {
    let adapter = WorkloadAdapter::known("apps/v1", "DaemonSet").expect("known");
    going(object, &adapter, pods, want, "old")
        .into_iter()
        .map(|pod| (pod.name, pod.broken))
        .collect()
}

#[test]
fn the_newest_revision_of_its_own_is_the_templates() {
    let revision = |uid: &str, number: i64, hash: &str| {
        json!({"revision": number, "metadata": {"labels": {REVISION_LABEL: hash},
            "ownerReferences": [{"uid": uid, "controller": true}]}})
    };
    let revisions = [
        revision("u1", 1, "a"),
        revision("u1", 2, "b"),
        revision("u2", 9, "c"),
    ];
    let mut object = daemon_set("OnDelete", "");
    name_revision(&mut object, &revisions);
    assert_eq!(object["status"]["updateRevision"], "b");
}

#[test]
fn no_pod_goes_before_the_controller_knows_what_takes_its_place() {
    let pods = [
        pod("a", "old", true),
        pod("b", "old", true),
        pod("c", "old", true),
    ];
    let forth = want(2, false);
    assert_eq!(
        names(&daemon_set("OnDelete", "new"), &pods, &forth),
        [("a".to_owned(), false)]
    );
    assert_eq!(names(&daemon_set("OnDelete", "old"), &pods, &forth), []);
    assert_eq!(names(&daemon_set("OnDelete", ""), &pods, &forth), []);
    assert_eq!(
        names(&daemon_set("RollingUpdate", "new"), &pods, &forth),
        []
    );
    assert_eq!(
        names(&daemon_set("OnDelete", "new"), &pods, &want(3, false)),
        []
    );
    assert_eq!(
        names(
            &daemon_set("OnDelete", "new"),
            &pods,
            &InPlaceWant::default()
        ),
        []
    );
    let mut unseen = daemon_set("OnDelete", "new");
    unseen["metadata"]["generation"] = json!(4);
    assert_eq!(names(&unseen, &pods, &forth), []);
}

#[test]
fn going_back_takes_new_pods_alone() {
    let pods = [
        pod("a", "new", true),
        pod("b", "new", false),
        pod("c", "old", true),
    ];
    let mut object = daemon_set("OnDelete", "old");
    object["status"]["numberAvailable"] = json!(2);
    assert_eq!(
        names(&object, &pods, &want(0, true)),
        [("b".to_owned(), true)]
    );
    assert_eq!(
        names(&daemon_set("OnDelete", "new"), &pods, &want(0, true)),
        []
    );
    let pods = [
        pod("a", "new", true),
        pod("b", "old", true),
        pod("c", "old", true),
    ];
    let object = daemon_set("OnDelete", "old");
    assert_eq!(
        names(&object, &pods, &want(0, true)),
        [("a".to_owned(), false)]
    );
    assert_eq!(names(&object, &pods, &want(1, true)), []);
}

#[test]
fn the_users_own_budget_is_kept() {
    let pods = [
        pod("a", "old", true),
        pod("b", "old", true),
        pod("c", "old", true),
    ];
    for (budget, expected) in [
        (json!(2), 2),
        (json!("50%"), 2),
        (json!("1%"), 1),
        (json!(0), 1),
    ] {
        let mut object = daemon_set("OnDelete", "new");
        object["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] = budget.clone();
        assert_eq!(
            names(&object, &pods, &want(0, false)).len(),
            expected,
            "{budget}"
        );
    }
    let stopping = |name: &str| {
        let mut pod = pod(name, "old", true);
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        pod
    };
    let pods = [stopping("a"), pods[1].clone(), pods[2].clone()];
    assert_eq!(
        names(&daemon_set("OnDelete", "new"), &pods, &want(0, false)),
        []
    );
}
