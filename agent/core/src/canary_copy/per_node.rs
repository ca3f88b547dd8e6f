//! The copy of a DaemonSet: a pod on each node that its template matches.

use serde_json::{Map, Value, json};

use super::{CanaryCopyError, field, labelled, metadata_of, name_of};

/// A label that no node carries.
const NO_NODE_LABEL: &str = "bellwether.dev/no-node";

/// Builds the canary DaemonSet from the user's DaemonSet as the granted bundle renders it, as
/// [`super::canary_deployment`] does. It has no count: unless it `runs`, its template asks for a node
/// that there is not, so that its controller stops every pod.
///
/// # Errors
/// Fails when the DaemonSet has no name, selector or template, or its template no spec.
pub fn canary_daemon_set(
    daemon_set: &Value,
    run_label: &str,
    runs: bool,
) -> Result<Value, CanaryCopyError> {
    let name = name_of(daemon_set)?;
    let (selector, mut template) = labelled(daemon_set, run_label)?;
    if !runs {
        template
            .pointer_mut("/spec")
            .and_then(Value::as_object_mut)
            .ok_or_else(|| field(daemon_set, "spec.template.spec"))?
            .entry("nodeSelector")
            .or_insert_with(|| json!({}))
            .as_object_mut()
            .ok_or_else(|| field(daemon_set, "spec.template.spec.nodeSelector"))?
            .insert(NO_NODE_LABEL.to_owned(), json!(run_label));
    }
    let mut spec = Map::new();
    spec.insert("selector".to_owned(), Value::Object(selector));
    spec.insert("template".to_owned(), template);
    spec.insert("revisionHistoryLimit".to_owned(), json!(1));
    if let Some(seconds) = daemon_set.pointer("/spec/minReadySeconds") {
        spec.insert("minReadySeconds".to_owned(), seconds.clone());
    }
    Ok(json!({
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": metadata_of(daemon_set, name, run_label),
        "spec": spec,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::RUN_LABEL;

    fn daemon_set() -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "DaemonSet",
            "metadata": {"name": "log", "namespace": "shop", "labels": {"team": "shop"}, "uid": "u"},
            "spec": {
                "minReadySeconds": 3, "selector": {"matchLabels": {"app": "log"}},
                "updateStrategy": {"type": "OnDelete"},
                "template": {"metadata": {"labels": {"app": "log"}},
                    "spec": {"nodeSelector": {"disk": "ssd"},
                        "containers": [{"name": "log", "image": "log:2"}]}},
            },
            "status": {"desiredNumberScheduled": 5},
        })
    }

    #[test]
    fn the_copy_is_on_the_same_nodes_and_differs_by_its_label_and_its_name() {
        let copy = canary_daemon_set(&daemon_set(), "abc-1", true).expect("a copy");
        let mut expected = daemon_set()["spec"]["template"].clone();
        expected["metadata"]["labels"][RUN_LABEL] = json!("abc-1");
        assert_eq!(copy["spec"]["template"], expected);
        assert_eq!(
            copy["spec"]["selector"],
            json!({"matchLabels": {"app": "log", "bellwether.dev/run": "abc-1"}})
        );
        assert_eq!(
            (&copy["kind"], &copy["metadata"]["name"]),
            (&json!("DaemonSet"), &json!("log-canary"))
        );
        assert_eq!(
            copy["metadata"]["labels"]["bellwether.dev/canary-of"],
            "log"
        );
        assert_eq!(copy["spec"]["minReadySeconds"], 3);
        for left_out in ["/spec/updateStrategy", "/status", "/metadata/uid"] {
            assert_eq!(copy.pointer(left_out), None, "{left_out}");
        }
    }

    #[test]
    fn a_copy_that_is_to_stop_asks_for_a_node_that_there_is_not() {
        let copy = canary_daemon_set(&daemon_set(), "abc-1", false).expect("a copy");
        assert_eq!(
            copy["spec"]["template"]["spec"]["nodeSelector"],
            json!({"disk": "ssd", "bellwether.dev/no-node": "abc-1"})
        );
        let mut broken = daemon_set();
        broken["spec"]["template"]["spec"] = Value::Null;
        assert_eq!(
            canary_daemon_set(&broken, "abc-1", false)
                .expect_err("no spec")
                .to_string(),
            "failed to copy DaemonSet/log: spec.template.spec is missing or of another type"
        );
    }
}
