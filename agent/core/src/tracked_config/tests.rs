use serde_json::{Value, json};

use super::*;

/// Every way in which a pod template can read configuration, one object each.
fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"template": {"spec": {
            "imagePullSecrets": [{"name": "pull"}],
            "initContainers": [{"name": "first", "envFrom": [{"secretRef": {"name": "first-env"}}]}],
            "containers": [{"name": "web",
                "envFrom": [{"configMapRef": {"name": "env", "optional": true}}],
                "env": [
                    {"name": "PLAIN", "value": "env"},
                    {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "key", "key": "a"}}},
                    {"name": "B", "valueFrom": {"secretKeyRef": {"name": "secret-key", "key": "b"}}},
                ]}],
            "volumes": [
                {"name": "a", "configMap": {"name": "files"}},
                {"name": "b", "secret": {"secretName": "cert"}},
                {"name": "c", "projected": {"sources": [
                    {"configMap": {"name": "part"}}, {"secret": {"name": "secret-part"}},
                    {"serviceAccountToken": {"path": "token"}},
                ]}},
                {"name": "d", "csi": {"driver": "x", "nodePublishSecretRef": {"name": "driver"}}},
            ],
        }}},
    })
}

const USED: [(&str, &str); 8] = [
    ("ConfigMap", "env"),
    ("ConfigMap", "files"),
    ("ConfigMap", "key"),
    ("ConfigMap", "part"),
    ("Secret", "cert"),
    ("Secret", "first-env"),
    ("Secret", "secret-key"),
    ("Secret", "secret-part"),
];

fn object(kind: &str, name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "shop"},
        "data": {"k": value}})
}

fn named(objects: &[ConfigChange]) -> Vec<(&str, &str)> {
    objects
        .iter()
        .map(|change| (change.kind.as_str(), change.name.as_str()))
        .collect()
}

/// What comes of two releases: workloads and their objects.
fn between(old: (&Value, &[Value]), new: (&Value, &[Value])) -> Vec<ConfigChange> {
    let (old_objects, new_objects): (Vec<&Value>, Vec<&Value>) =
        (old.1.iter().collect(), new.1.iter().collect());
    let revision = |workload, objects| Revision {
        workload: Some(workload),
        objects,
        default_namespace: "shop",
    };
    changes(
        &revision(old.0, &old_objects),
        &revision(new.0, &new_objects),
    )
}

#[test]
fn every_way_of_reading_configuration_is_found_and_nothing_else() {
    let deployment = deployment();
    let mut objects: Vec<Value> = USED
        .iter()
        .map(|(kind, name)| object(kind, name, "a"))
        .collect();
    objects.extend([
        object("Secret", "pull", "a"),
        object("Secret", "driver", "a"),
        object("Secret", "env", "a"),
        object("ConfigMap", "unused", "a"),
    ]);
    let objects: Vec<&Value> = objects.iter().collect();
    let found: Vec<(&str, &str)> = tracked(&Revision {
        workload: Some(&deployment),
        objects: &objects,
        default_namespace: "other",
    })
    .into_iter()
    .map(|object| {
        (
            object["kind"].as_str().expect("a kind"),
            object["metadata"]["name"].as_str().expect("a name"),
        )
    })
    .collect();
    assert_eq!(found, USED);
}

#[test]
fn objects_without_a_namespace_lie_in_the_target_namespace() {
    let deployment = deployment();
    let mut unnamed = object("ConfigMap", "env", "a");
    unnamed["metadata"] = json!({"name": "env"});
    let count = |default_namespace| {
        tracked(&Revision {
            workload: Some(&deployment),
            objects: &[&unnamed],
            default_namespace,
        })
        .len()
    };
    assert_eq!((count("shop"), count("other")), (1, 0));
}

/// What it shows; the old workload and the object in it, the new ones; whether that is a change.
type Case<'a> = (
    &'a str,
    &'a Value,
    Option<&'a Value>,
    &'a Value,
    Option<&'a Value>,
    bool,
);

#[test]
fn contents_that_differ_are_changes() {
    let deployment = deployment();
    let mut plain = deployment.clone();
    plain["spec"]["template"] = json!({"spec": {"containers": [{"name": "web"}]}});
    let (one, two) = (
        object("ConfigMap", "env", "1"),
        object("ConfigMap", "env", "2"),
    );
    let mut relabelled = one.clone();
    relabelled["metadata"]["labels"] = json!({"a": "b"});
    let mut untracked = two.clone();
    untracked["metadata"]["annotations"] = json!({TRACK_CONFIG_ANNOTATION: "disabled"});
    let (uses, not): (&Value, &Value) = (&deployment, &plain);
    let cases: [Case<'_>; 10] = [
        ("changed", uses, Some(&one), uses, Some(&two), true),
        ("the same", uses, Some(&one), uses, Some(&one), false),
        (
            "metadata alone",
            uses,
            Some(&one),
            uses,
            Some(&relabelled),
            false,
        ),
        ("opted out", uses, Some(&one), uses, Some(&untracked), false),
        ("opted in", uses, Some(&untracked), uses, Some(&one), true),
        (
            "used by the old version alone",
            uses,
            Some(&one),
            not,
            Some(&two),
            true,
        ),
        (
            "used by the new version alone",
            not,
            Some(&one),
            uses,
            Some(&two),
            true,
        ),
        (
            "made, and known to the old version",
            uses,
            None,
            uses,
            Some(&one),
            true,
        ),
        (
            "made, and known to nobody else",
            not,
            None,
            uses,
            Some(&one),
            false,
        ),
        ("taken away", uses, Some(&one), uses, None, true),
    ];
    for (what, old, was, new, is, changes) in cases {
        let (was, is): (Vec<Value>, Vec<Value>) = (
            was.cloned().into_iter().collect(),
            is.cloned().into_iter().collect(),
        );
        let found = between((old, &was), (new, &is));
        let expected: &[(&str, &str)] = if changes {
            &[("ConfigMap", "env")]
        } else {
            &[]
        };
        assert_eq!(named(&found), expected, "{what}");
    }
}

#[test]
fn what_the_new_version_no_longer_uses_needs_no_absent_copy() {
    let deployment = deployment();
    let mut plain = deployment.clone();
    plain["spec"]["template"] = json!({"spec": {"containers": [{"name": "web"}]}});
    let one = [object("ConfigMap", "env", "1")];
    assert_eq!(between((&deployment, &one), (&plain, &[])), []);
}

#[test]
fn canary_pods_use_copies_of_what_changes_everywhere() {
    let deployment = deployment();
    let all = |value| -> Vec<Value> {
        USED.iter()
            .map(|(kind, name)| object(kind, name, value))
            .collect()
    };
    let changes = between((&deployment, &all("1")), (&deployment, &all("2")));
    assert_eq!(named(&changes), USED);
    let mut template = deployment["spec"]["template"].clone();
    use_copies(&mut template, &changes);
    let names: Vec<String> = places(&template)
        .into_iter()
        .map(|place| place.name)
        .collect();
    assert_eq!(names.len(), USED.len());
    assert!(
        names.iter().all(|name| name.ends_with("-canary")),
        "{names:?}"
    );
    assert_eq!(template["spec"]["imagePullSecrets"][0]["name"], "pull");

    let mut template = deployment["spec"]["template"].clone();
    use_copies(&mut template, &changes[..1]);
    let container = &template["spec"]["containers"][0];
    assert_eq!(
        container["envFrom"][0]["configMapRef"]["name"],
        "env-canary"
    );
    assert_eq!(container["envFrom"][0]["configMapRef"]["optional"], true);
    assert_eq!(
        container["env"][1]["valueFrom"]["configMapKeyRef"]["name"],
        "key"
    );
}

#[test]
fn a_copy_has_the_new_content_and_nothing_of_the_users_metadata() {
    let mut new = object("Secret", "cert", "2");
    new["type"] = json!("kubernetes.io/tls");
    new["immutable"] = json!(true);
    new["metadata"]["labels"] = json!({"team": "shop"});
    let change = ConfigChange {
        kind: "Secret".into(),
        name: "cert".into(),
        old: Some(object("Secret", "cert", "1")),
        new: Some(new),
    };
    let made = copy(&change, "r-1").expect("a copy");
    assert_eq!(
        made,
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "data": {"k": "2"},
            "metadata": {
                "name": "cert-canary", "namespace": "shop",
                "labels": {
                    "app.kubernetes.io/managed-by": "bellwether",
                    "bellwether.dev/run": "r-1", "bellwether.dev/canary-of": "cert",
                },
                "annotations": {"bellwether.dev/purpose":
                    "temporary copy of cert that tests a release; removed when its run ends"},
            },
        })
    );
    assert!(
        !format!("{change:?}").contains("\"2\""),
        "contents are not for logs"
    );
    let gone = ConfigChange {
        new: None,
        ..change
    };
    assert_eq!(copy(&gone, "r-1"), None);
}
