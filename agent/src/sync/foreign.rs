//! What others than the agent wrote into a workload's spec while a run held it.
//!
//! Applying leaves fields alone that others own, so that an addition — the annotation of
//! `kubectl rollout restart`, a further environment variable — survives it. In the pod template of
//! a governed workload it would change the version that the run pinned everything to.

use bellwether_agent_core::merge_patch::replacing;
use jiff::Timestamp;
use serde_json::Value;

use super::cluster::{ROLLOUT_MANAGER, SIZE_MANAGER, SYNC_MANAGER};

/// Tells whether somebody else wrote fields of the spec at or after `since`. Writes through the
/// scale subresource are none: sizes follow the live count.
#[must_use]
pub fn edited_since(live: &Value, since: Timestamp) -> bool {
    let entries = live
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array);
    entries.into_iter().flatten().any(|entry| {
        let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default();
        let ours = [SYNC_MANAGER, ROLLOUT_MANAGER, SIZE_MANAGER].contains(&text("manager"));
        // The API server keeps whole seconds.
        let late = text("time")
            .parse::<Timestamp>()
            .is_ok_and(|time| time.as_second() >= since.as_second());
        let spec = entry.pointer("/fieldsV1/f:spec").is_some();
        !ours && text("subresource").is_empty() && spec && late
    })
}

/// The merge patch that makes the pod template of `live` the one of `wanted`: what `wanted` does
/// not have is taken away, and the API server fills in its defaults again. `None` = `wanted` has no
/// pod template.
#[must_use]
pub fn template_patch(live: &Value, wanted: &Value) -> Option<Value> {
    let wanted = wanted.pointer("/spec/template")?;
    let live = live.pointer("/spec/template").unwrap_or(&Value::Null);
    Some(serde_json::json!({"spec": {"template": replacing(live, wanted)}}))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn written_by(manager: &str, subresource: &str, fields: &Value, time: &str) -> Value {
        let mut entry =
            json!({"manager": manager, "operation": "Update", "time": time, "fieldsV1": fields});
        if !subresource.is_empty() {
            entry["subresource"] = subresource.into();
        }
        json!({"metadata": {"managedFields": [entry]}})
    }

    #[test]
    fn only_late_writes_of_others_to_the_spec_are_edits() {
        let since: Timestamp = "2026-01-01T00:00:10.5Z".parse().expect("a time");
        let spec = json!({"f:spec": {"f:template": {}}});
        for (manager, subresource, fields, time, edit) in [
            ("kubectl", "", &spec, "2026-01-01T00:00:10Z", true),
            ("kubectl", "", &spec, "2026-01-01T00:00:09Z", false),
            ("kubectl", "scale", &spec, "2026-01-01T00:00:11Z", false),
            (SYNC_MANAGER, "", &spec, "2026-01-01T00:00:11Z", false),
            (SIZE_MANAGER, "", &spec, "2026-01-01T00:00:11Z", false),
            (
                "kube-controller-manager",
                "",
                &json!({"f:metadata": {}}),
                "2026-01-01T00:00:11Z",
                false,
            ),
        ] {
            let live = written_by(manager, subresource, fields, time);
            assert_eq!(
                edited_since(&live, since),
                edit,
                "{manager} {subresource} {time}"
            );
        }
    }

    #[test]
    fn the_patch_takes_additions_away_and_writes_changes_back() {
        let wanted = json!({"spec": {"template": {"metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "v1"}]}}}});
        let live = json!({"spec": {"template": {
            "metadata": {"labels": {"app": "web", "extra": "1"}, "annotations": {"restartedAt": "now"}},
            "spec": {"containers": [{"name": "web", "image": "v2", "env": []}], "dnsPolicy": "ClusterFirst"}}}});
        assert_eq!(
            template_patch(&live, &wanted),
            Some(json!({"spec": {"template": {
                "metadata": {"labels": {"app": "web", "extra": null}, "annotations": null},
                "spec": {"containers": [{"name": "web", "image": "v1"}], "dnsPolicy": null}}}}))
        );
    }
}
