//! Which pods a Service selects beside those of the workload that a run governs.
//!
//! A pin to the hash of one ReplicaSet takes a Service away from every pod without that hash.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::names::HASH_LABEL;

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
        .filter(|(key, _)| key.as_str() != HASH_LABEL)
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

    #[test]
    fn everything_else_that_a_service_selects_is_named() {
        let deploy = |name, app| workload("Deployment", name, app, 1, None);
        let set = |name, replicas, by| workload("ReplicaSet", name, "web", replicas, by);
        let mut going = pod("going", "web", None);
        going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let of = |name| Some(("Deployment", name));
        let cases: [(
            &str,
            Vec<Value>,
            Vec<Value>,
            Vec<Value>,
            Vec<Value>,
            &[&str],
        ); 9] = [
            (
                "the run's own",
                vec![deploy("web", "web"), deploy("web-canary", "web")],
                vec![],
                vec![
                    set("web-1", 3, of("web")),
                    set("web-canary-1", 1, of("web-canary")),
                ],
                vec![pod("web-1-a", "web", Some(("ReplicaSet", "web-1")))],
                &[],
            ),
            (
                "other labels",
                vec![deploy("api", "api")],
                vec![workload("StatefulSet", "db", "db", 1, None)],
                vec![],
                vec![pod("db-0", "db", Some(("StatefulSet", "db")))],
                &[],
            ),
            (
                "a Deployment",
                vec![deploy("api", "web")],
                vec![],
                vec![],
                vec![],
                &["Deployment/api"],
            ),
            (
                "a Deployment whose new template has other labels, while old pods are there",
                vec![deploy("api", "api")],
                vec![],
                vec![set("api-1", 1, of("api")), set("api-0", 0, of("other"))],
                vec![],
                &["Deployment/api"],
            ),
            (
                "a StatefulSet that has no pods yet",
                vec![],
                vec![workload("StatefulSet", "web", "web", 0, None)],
                vec![],
                vec![],
                &["StatefulSet/web"],
            ),
            (
                "a DaemonSet, once",
                vec![],
                vec![workload("DaemonSet", "edge", "web", 0, None)],
                vec![],
                vec![pod("edge-x", "web", Some(("DaemonSet", "edge")))],
                &["DaemonSet/edge"],
            ),
            (
                "a ReplicaSet and a pod of nobody",
                vec![],
                vec![],
                vec![set("bare", 1, None)],
                vec![
                    pod("bare-1", "web", Some(("ReplicaSet", "bare"))),
                    pod("solo", "web", None),
                ],
                &["Pod/solo", "ReplicaSet/bare"],
            ),
            (
                "a kind that only its cluster knows",
                vec![],
                vec![],
                vec![],
                vec![pod("x-0", "web", Some(("CloneSet", "x")))],
                &["CloneSet/x"],
            ),
            (
                "pods of Jobs, and pods that go",
                vec![],
                vec![],
                vec![],
                vec![pod("migrate-1", "web", Some(("Job", "migrate"))), going],
                &[],
            ),
        ];
        for (what, deployments, sets, replica_sets, pods, expected) in cases {
            let found = others_selected(
                &map(&[("app", "web")]),
                Neighbours {
                    own: &["web", "web-canary"],
                    deployments: &deployments,
                    stateful_and_daemon_sets: &sets,
                    replica_sets: &replica_sets,
                    pods: &pods,
                },
            );
            assert_eq!(
                found.iter().map(String::as_str).collect::<Vec<_>>(),
                expected,
                "{what}"
            );
        }
    }
}
