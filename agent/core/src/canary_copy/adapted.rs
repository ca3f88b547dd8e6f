//! The copy of a workload whose kind an adapter tells of.

use bellwether_api::workload_adapter::WorkloadAdapter;
use serde_json::{Value, json};

use super::{CanaryCopyError, field, labelled, metadata_of, name_of};
use crate::adopted::in_place::set;

/// Builds the canary of a workload from the user's object as the granted bundle renders it: everything of
/// its spec, since nobody knows what its kind can do without, with the label of the run in selector and
/// pods, `replicas` pods, and not paused. Metadata and status are not copied.
///
/// # Errors
/// Fails when the object has no version, kind, name, selector or template.
pub fn canary_adapted(
    workload: &Value,
    adapter: &WorkloadAdapter,
    run_label: &str,
    replicas: u32,
) -> Result<Value, CanaryCopyError> {
    let name = name_of(workload)?;
    let (selector, template) = labelled(workload, run_label)?;
    let of_type = |key: &'static str| workload.get(key).ok_or_else(|| field(workload, key));
    let mut copy = json!({
        "apiVersion": of_type("apiVersion")?,
        "kind": of_type("kind")?,
        "metadata": metadata_of(workload, name, run_label),
        "spec": workload["spec"],
    });
    copy["spec"]["selector"] = Value::Object(selector);
    copy["spec"]["template"] = template;
    set(&mut copy, &adapter.replicas, json!(replicas));
    let paused = adapter.paused.as_deref();
    if let Some(paused) = paused.and_then(|at| copy.pointer_mut(at)) {
        *paused = json!(false);
    }
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::RUN_LABEL;

    fn shard() -> Value {
        json!({
            "apiVersion": "example.dev/v1", "kind": "Shard",
            "metadata": {"name": "web", "namespace": "shop", "labels": {"team": "shop"}, "uid": "u"},
            "spec": {
                "size": {"shards": 5}, "update": {"paused": true, "order": "Descending"},
                "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}},
                    "spec": {"containers": [{"name": "web", "image": "web:2"}]}},
            },
            "status": {"replicas": 5},
        })
    }

    fn adapter() -> WorkloadAdapter {
        serde_json::from_value(json!({
            "replicas": "/spec/size/shards", "paused": "/spec/update/paused", "revisionLabel": "version",
        }))
        .expect("an adapter")
    }

    #[test]
    fn the_copy_has_the_whole_spec_but_for_its_size_and_the_label_of_its_run() {
        let copy = canary_adapted(&shard(), &adapter(), "abc-1", 2).expect("a copy");
        let mut expected = shard()["spec"].clone();
        expected["size"]["shards"] = json!(2);
        expected["update"]["paused"] = json!(false);
        expected["selector"]["matchLabels"][RUN_LABEL] = json!("abc-1");
        expected["template"]["metadata"]["labels"][RUN_LABEL] = json!("abc-1");
        assert_eq!(copy["spec"], expected);
        let named = (
            &copy["apiVersion"],
            &copy["kind"],
            &copy["metadata"]["name"],
        );
        assert_eq!(
            named,
            (
                &json!("example.dev/v1"),
                &json!("Shard"),
                &json!("web-canary")
            )
        );
        for left_out in ["/status", "/metadata/uid", "/metadata/labels/team"] {
            assert_eq!(copy.pointer(left_out), None, "{left_out}");
        }
    }

    #[test]
    fn what_the_user_does_not_say_is_not_said_of_the_copy_but_for_its_size() {
        let mut plain = shard();
        plain["spec"]["update"] = json!({"order": "Descending"});
        plain["spec"]["size"] = Value::Null;
        let copy = canary_adapted(&plain, &adapter(), "abc-1", 1).expect("a copy");
        assert_eq!(copy["spec"]["update"], plain["spec"]["update"]);
        assert_eq!(copy["spec"]["size"], json!({"shards": 1}));
        plain["spec"]["template"] = Value::Null;
        assert_eq!(
            canary_adapted(&plain, &adapter(), "abc-1", 1)
                .expect_err("no template")
                .to_string(),
            "failed to copy Shard/web: spec.template is missing or of another type"
        );
    }
}
