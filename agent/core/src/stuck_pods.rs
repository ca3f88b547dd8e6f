//! Pods that keep a StatefulSet from going back to a version that ran.

use serde_json::Value;

const REVISION_LABEL: &str = "controller-revision-hash";

/// Chooses the pods of a StatefulSet for which its controller waits for ever although it is to replace
/// them: of another revision than its template, and not ready. `pods` may hold any. Empty until the
/// controller has seen the template, where its user replaces pods by hand, and for pods that a partition
/// holds back.
#[must_use]
pub fn stuck_pods<'a>(stateful_set: &Value, pods: &'a [Value]) -> Vec<&'a Value> {
    let owner = text(stateful_set, "/metadata/uid");
    let revision = text(stateful_set, "/status/updateRevision");
    let generation = number(stateful_set, "/metadata/generation");
    let is_observed = number(stateful_set, "/status/observedGeneration") >= generation;
    let by_hand = text(stateful_set, "/spec/updateStrategy/type") == "OnDelete";
    if owner.is_empty() || revision.is_empty() || !is_observed || by_hand {
        return Vec::new();
    }
    let first = number(stateful_set, "/spec/ordinals/start")
        + number(stateful_set, "/spec/updateStrategy/rollingUpdate/partition");
    let prefix = format!("{}-", text(stateful_set, "/metadata/name"));
    let is_stuck = |pod: &&Value| {
        let ordinal = text(pod, "/metadata/name")
            .strip_prefix(&prefix)
            .and_then(|ordinal| ordinal.parse::<i64>().ok());
        let of = pod
            .pointer("/metadata/labels")
            .and_then(|labels| labels.get(REVISION_LABEL));
        is_controlled_by(pod, owner)
            && pod.pointer("/metadata/deletionTimestamp").is_none()
            && ordinal.is_some_and(|ordinal| ordinal >= first)
            && of.and_then(Value::as_str).is_some_and(|of| of != revision)
            && !is_ready(pod)
    };
    pods.iter().filter(is_stuck).collect()
}

fn is_controlled_by(pod: &Value, uid: &str) -> bool {
    let owners = pod
        .pointer("/metadata/ownerReferences")
        .and_then(Value::as_array);
    owners.into_iter().flatten().any(|owner| {
        owner.get("controller") == Some(&Value::Bool(true)) && text(owner, "/uid") == uid
    })
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    conditions
        .into_iter()
        .flatten()
        .any(|one| text(one, "/type") == "Ready" && text(one, "/status") == "True")
}

fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    object
        .pointer(path)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn number(object: &Value, path: &str) -> i64 {
    object.pointer(path).and_then(Value::as_i64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stateful_set() -> Value {
        json!({
            "metadata": {"name": "db", "uid": "u", "generation": 3},
            "spec": {"replicas": 3, "updateStrategy": {"type": "RollingUpdate"}},
            "status": {"observedGeneration": 3, "updateRevision": "db-old",
                "currentRevision": "db-bad"},
        })
    }

    fn pod(ordinal: u32, revision: &str, ready: bool) -> Value {
        let ready = if ready { "True" } else { "False" };
        json!({
            "metadata": {"name": format!("db-{ordinal}"), "uid": format!("pod-{ordinal}"),
                "labels": {REVISION_LABEL: revision},
                "ownerReferences": [{"uid": "u", "controller": true}]},
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        })
    }

    /// What is done to the StatefulSet and its pods before they are looked at.
    type Change = fn(&mut Value, &mut Vec<Value>);

    /// Names of the pods that are stuck, of one that is and two that are not.
    fn stuck(change: impl Fn(&mut Value, &mut Vec<Value>)) -> Vec<String> {
        let mut set = stateful_set();
        let mut pods = vec![
            pod(0, "db-old", false),
            pod(1, "db-bad", true),
            pod(2, "db-bad", false),
        ];
        change(&mut set, &mut pods);
        let found = stuck_pods(&set, &pods);
        found
            .into_iter()
            .map(|pod| text(pod, "/metadata/name").to_owned())
            .collect()
    }

    #[test]
    fn only_broken_pods_of_the_failed_revision_are_stuck() {
        assert_eq!(stuck(|_, _| {}), ["db-2"]);
        let nothing: [(&str, Change); 9] = [
            ("not seen yet", |set, _| {
                set["metadata"]["generation"] = json!(4)
            }),
            ("no revision is known", |set, _| {
                set["status"]["updateRevision"] = json!("");
            }),
            ("replaced by hand", |set, _| {
                set["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
            }),
            ("held back", |set, _| {
                set["spec"]["updateStrategy"]["rollingUpdate"] = json!({"partition": 3});
            }),
            ("held back, counted from another ordinal", |set, _| {
                set["spec"]["ordinals"] = json!({"start": 1});
                set["spec"]["updateStrategy"]["rollingUpdate"] = json!({"partition": 2});
            }),
            ("it stops already", |_, pods| {
                pods[2]["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            }),
            ("another's", |_, pods| {
                pods[2]["metadata"]["ownerReferences"][0]["uid"] = json!("other");
            }),
            ("of no revision", |_, pods| {
                pods[2]["metadata"]["labels"] = json!({})
            }),
            ("it became ready", |_, pods| {
                pods[2] = pod(2, "db-bad", true)
            }),
        ];
        for (why, change) in nothing {
            assert_eq!(stuck(change), Vec::<String>::new(), "{why}");
        }
        let beyond = stuck(|set, _| {
            set["spec"]["updateStrategy"]["rollingUpdate"] = json!({"partition": 2});
        });
        assert_eq!(beyond, ["db-2"], "the partition lets it go");
    }
}
