//! Which pods a Service selects beside those of the workload that a run governs.
//!
//! A pin to the hash of one ReplicaSet takes a Service away from every pod without that hash.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::names::{HASH_LABEL, REVISION_LABEL};

/// What else there is in the namespace, as live objects.
#[derive(Clone, Copy, Debug)]
pub struct Neighbours<'a> {
    /// Names of the Deployments that the run itself looks after: the workload and its canary.
    pub own: &'a [&'a str],
    /// Deployments.
    pub deployments: &'a [Value],
    /// StatefulSets and DaemonSets.
    pub stateful_and_daemon_sets: &'a [Value],
    /// ReplicaSets.
    pub replica_sets: &'a [Value],
    /// Pods that the Service selects now and that have not ended; metadata is enough.
    pub pods: &'a [Value],
}

/// Tells whether a Service's selector matches labels; an empty selector matches nothing. The pin
/// itself is left out, since it is what a run adds.
#[must_use]
pub fn selects(selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    let mut own = selector
        .iter()
        .filter(|(key, _)| ![HASH_LABEL, REVISION_LABEL].contains(&key.as_str()))
        .peekable();
    own.peek().is_some() && own.all(|(key, value)| labels.get(key) == Some(value))
}

/// Names, as `Kind/name`, whatever else a Service with `selector` sends requests to, or would as soon
/// as it has pods; a pod without a controller is named itself. Pods of Jobs do not count: they serve
/// nothing, and come and go while a run is under way.
#[must_use]
pub fn others_selected(
    selector: &BTreeMap<String, String>,
    neighbours: Neighbours<'_>,
) -> BTreeSet<String> {
    let selected = |object: &&Value| selects(selector, &labels(object, "/spec/template/metadata"));
    let deployments = neighbours
        .deployments
        .iter()
        .filter(|object| !neighbours.own.contains(&name(object)))
        .filter(selected)
        .map(|object| format!("Deployment/{}", name(object)));
    let sets = neighbours
        .stateful_and_daemon_sets
        .iter()
        .filter(selected)
        .map(|object| format!("{}/{}", text(object, "/kind"), name(object)));
    let replica_sets = neighbours
        .replica_sets
        .iter()
        .filter(selected)
        .filter_map(|object| of_replica_set(object, neighbours.own));
    let pods = neighbours
        .pods
        .iter()
        .filter_map(|pod| of_pod(selector, pod));
    deployments
        .chain(sets)
        .chain(replica_sets)
        .chain(pods)
        .collect()
}

/// Whose pods a ReplicaSet's are; `None` = the run's own, or it is an old revision without pods.
fn of_replica_set(set: &Value, own: &[&str]) -> Option<String> {
    match controller(set) {
        None => Some(format!("ReplicaSet/{}", name(set))),
        Some(("Deployment", owner)) if own.contains(&owner) => None,
        Some((kind, owner)) => {
            let pods = |path| set.pointer(path).and_then(Value::as_u64).unwrap_or(0);
            let any = pods("/spec/replicas") + pods("/status/replicas") > 0;
            any.then(|| format!("{kind}/{owner}"))
        }
    }
}

fn of_pod(selector: &BTreeMap<String, String>, pod: &Value) -> Option<String> {
    let going = pod
        .pointer("/metadata/deletionTimestamp")
        .is_some_and(|at| !at.is_null());
    if going || !selects(selector, &labels(pod, "/metadata")) {
        return None;
    }
    match controller(pod) {
        None => Some(format!("Pod/{}", name(pod))),
        // A ReplicaSet is judged itself.
        Some(("ReplicaSet" | "Job", _)) => None,
        Some((kind, owner)) => Some(format!("{kind}/{owner}")),
    }
}

/// Kind and name of the controller; `None` = there is none.
fn controller(object: &Value) -> Option<(&str, &str)> {
    object
        .pointer("/metadata/ownerReferences")
        .and_then(Value::as_array)?
        .iter()
        .find(|owner| owner.get("controller").and_then(Value::as_bool) == Some(true))
        .map(|owner| (text(owner, "/kind"), text(owner, "/name")))
}

fn labels(object: &Value, at: &str) -> BTreeMap<String, String> {
    object
        .pointer(at)
        .and_then(|metadata| metadata.get("labels"))
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    object
        .pointer(path)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn selector_matches_without_its_pin() {
        let labels = map(&[("app", "web"), ("bellwether.dev/run", "x")]);
        assert!(selects(
            &map(&[("app", "web"), ("pod-template-hash", "abc")]),
            &labels
        ));
        assert!(!selects(&map(&[("app", "other")]), &labels));
        assert!(!selects(&map(&[]), &labels));
        assert!(!selects(&map(&[("pod-template-hash", "abc")]), &labels));
        let of_a_daemon_set = map(&[("app", "web"), ("controller-revision-hash", "abc")]);
        assert!(selects(&of_a_daemon_set, &labels));
    }

    fn owned(mut object: Value, by: Option<(&str, &str)>) -> Value {
        if let Some((kind, name)) = by {
            object["metadata"]["ownerReferences"] =
                json!([{"kind": kind, "name": name, "controller": true}]);
        }
        object
    }

    fn workload(
        kind: &str,
        name: &str,
        app: &str,
        replicas: u32,
        by: Option<(&str, &str)>,
    ) -> Value {
        let object = json!({"kind": kind, "metadata": {"name": name}, "spec": {
            "replicas": replicas, "template": {"metadata": {"labels": {"app": app}}}}});
        owned(object, by)
    }

    fn pod(name: &str, app: &str, by: Option<(&str, &str)>) -> Value {
        owned(
            json!({"metadata": {"name": name, "labels": {"app": app}}}),
            by,
        )
    }

    #[derive(Default)]
    struct Around {
        deployments: Vec<Value>,
        sets: Vec<Value>,
        replica_sets: Vec<Value>,
        pods: Vec<Value>,
    }

    fn assert_named(cases: Vec<(&str, Around, &[&str])>) {
        for (what, around, expected) in cases {
            let neighbours = Neighbours {
                own: &["web", "web-canary"],
                deployments: &around.deployments,
                stateful_and_daemon_sets: &around.sets,
                replica_sets: &around.replica_sets,
                pods: &around.pods,
            };
            let found = others_selected(&map(&[("app", "web")]), neighbours);
            let found: Vec<&str> = found.iter().map(String::as_str).collect();
            assert_eq!(found, expected, "{what}");
        }
    }

    fn deploy(name: &str, app: &str) -> Value {
        workload("Deployment", name, app, 1, None)
    }

    fn set(name: &str, replicas: u32, by: Option<(&str, &str)>) -> Value {
        workload("ReplicaSet", name, "web", replicas, by)
    }

    #[test]
    fn what_a_pin_takes_nothing_from_is_not_named() {
        let mut going = pod("going", "web", None);
        going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let own = Around {
            deployments: vec![deploy("web", "web"), deploy("web-canary", "web")],
            replica_sets: vec![
                set("web-1", 3, Some(("Deployment", "web"))),
                set("web-canary-1", 1, Some(("Deployment", "web-canary"))),
            ],
            pods: vec![pod("web-1-a", "web", Some(("ReplicaSet", "web-1")))],
            ..Around::default()
        };
        let others = Around {
            deployments: vec![deploy("api", "api")],
            sets: vec![workload("StatefulSet", "db", "db", 1, None)],
            pods: vec![pod("db-0", "db", Some(("StatefulSet", "db")))],
            ..Around::default()
        };
        let passing = Around {
            pods: vec![pod("migrate-1", "web", Some(("Job", "migrate"))), going],
            ..Around::default()
        };
        assert_named(vec![
            ("the run's own", own, &[]),
            ("other labels", others, &[]),
            ("pods of Jobs, and pods that go", passing, &[]),
        ]);
    }

    #[test]
    fn other_workloads_are_named_by_their_templates() {
        let deployment = Around {
            deployments: vec![deploy("api", "web")],
            ..Around::default()
        };
        let relabelled = Around {
            deployments: vec![deploy("api", "api")],
            replica_sets: vec![
                set("api-1", 1, Some(("Deployment", "api"))),
                set("api-0", 0, Some(("Deployment", "other"))),
            ],
            ..Around::default()
        };
        let stateful = Around {
            sets: vec![workload("StatefulSet", "web", "web", 0, None)],
            ..Around::default()
        };
        let daemon = Around {
            sets: vec![workload("DaemonSet", "edge", "web", 0, None)],
            pods: vec![pod("edge-x", "web", Some(("DaemonSet", "edge")))],
            ..Around::default()
        };
        assert_named(vec![
            ("a Deployment", deployment, &["Deployment/api"]),
            (
                "one whose old pods are there",
                relabelled,
                &["Deployment/api"],
            ),
            ("a StatefulSet without pods", stateful, &["StatefulSet/web"]),
            ("a DaemonSet, once", daemon, &["DaemonSet/edge"]),
        ]);
    }

    #[test]
    fn pods_are_named_by_their_controller_or_themselves() {
        let bare = Around {
            replica_sets: vec![set("bare", 1, None)],
            pods: vec![
                pod("bare-1", "web", Some(("ReplicaSet", "bare"))),
                pod("solo", "web", None),
            ],
            ..Around::default()
        };
        let unknown = Around {
            pods: vec![pod("x-0", "web", Some(("CloneSet", "x")))],
            ..Around::default()
        };
        assert_named(vec![
            ("of nobody", bare, &["Pod/solo", "ReplicaSet/bare"]),
            ("of a kind of its cluster", unknown, &["CloneSet/x"]),
        ]);
    }
}
