//! What others than the agent wrote into a workload's spec while a run held it.
//!
//! Applying leaves fields alone that others own, so that an addition — the annotation of
//! `kubectl rollout restart`, a further environment variable — survives it. In the pod template of
//! a governed workload it would change the version that the run pinned everything to.

use bellwether_agent_core::merge_patch::replacing;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::cluster::{ROLLOUT_MANAGER, SIZE_MANAGER, SYNC_MANAGER};

/// Tells whether somebody else wrote fields of the spec at or after `since` that are not as `wanted` has them: who
/// takes an edit back owns the field from then on. Writes through the scale subresource are none: sizes follow the
/// live count.
#[must_use]
pub fn edited_since(live: &Value, wanted: &Value, since: Timestamp) -> bool {
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
        let spec = entry.pointer("/fieldsV1/f:spec");
        let differs =
            spec.is_some_and(|fields| !is_as_wanted(fields, &live["spec"], &wanted["spec"]));
        !ours && text("subresource").is_empty() && late && differs
    })
}

/// Tells whether `wanted` has each of the owned `fields`, with the value of `live`. What only the API server's
/// defaults make alike is not: it was not asked for.
fn is_as_wanted(fields: &Value, live: &Value, wanted: &Value) -> bool {
    let mut below = fields
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| *name != ".")
        .peekable();
    if below.peek().is_none() {
        return live == wanted;
    }
    below.all(|(name, fields)| {
        let both = field_of(live, name).zip(field_of(wanted, name));
        both.is_some_and(|(live, wanted)| is_as_wanted(fields, live, wanted))
    })
}

/// What an entry of `fieldsV1` names in an object or a list: a field, or an item by its keys.
fn field_of<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    if let Some(field) = name.strip_prefix("f:") {
        return object.get(field);
    }
    let keys: Map<String, Value> = serde_json::from_str(name.strip_prefix("k:")?).ok()?;
    let has_keys = |item: &&Value| keys.iter().all(|(key, value)| item.get(key) == Some(value));
    object.as_array()?.iter().find(has_keys)
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
                edited_since(&live, &json!({}), since),
                edit,
                "{manager} {subresource} {time}"
            );
        }
    }

    #[test]
    fn an_edit_that_was_taken_back_is_none() {
        let since: Timestamp = "2026-01-01T00:00:10Z".parse().expect("a time");
        let spec = |paused: bool, container: &Value| json!({"paused": paused, "template": {"spec": {"containers": [container]}}});
        let wanted = json!({"spec": spec(true, &json!({"name": "web", "image": "v1"}))});
        let fields = json!({"f:spec": {"f:paused": {}, "f:template": {"f:spec": {"f:containers": {
            "k:{\"name\":\"web\"}": {".": {}, "f:image": {}}}}}}});
        let added = json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {
            "k:{\"name\":\"web\"}": {"f:tty": {}}}}}}});
        let other = json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {
            "k:{\"name\":\"side\"}": {".": {}, "f:name": {}}}}}}});
        let web = json!({"name": "web", "image": "v1", "tty": true});
        for (fields, live, edit) in [
            (&fields, spec(true, &web), false),
            (&fields, spec(false, &web), true),
            (
                &fields,
                spec(true, &json!({"name": "web", "image": "v2"})),
                true,
            ),
            (&added, spec(true, &web), true),
            (&other, spec(true, &web), true),
        ] {
            let mut object = written_by("kubectl", "", fields, "2026-01-01T00:00:11Z");
            object["spec"] = live;
            assert_eq!(edited_since(&object, &wanted, since), edit, "{object}");
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
