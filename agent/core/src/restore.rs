//! How an object that was adopted gets back what it had before, and whom its fields belong to then.

use serde_json::{Map, Value, json};

use crate::{
    merge_patch::replacing,
    ownership::{entries, manager_of},
};

/// The merge patch that gives the fields that `manager` owns in `live` the values that they have in
/// `original`; fields that `original` does not have are taken away, and what others own stays.
/// Items of a list are owned one by one, but a merge patch replaces lists whole. `None` = every value
/// is as it was.
#[must_use]
pub fn restoring(live: &Value, original: &Value, manager: &str) -> Option<Value> {
    let mut patch = Map::new();
    let owned = entries(live)
        .filter(|entry| manager_of(entry) == manager && entry.get("subresource").is_none())
        .filter_map(|entry| entry.get("fieldsV1")?.as_object());
    for fields in owned {
        merge(&mut patch, changed(fields, live, Some(original)));
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

/// The fields of `fields` (in the form of `fieldsV1`) whose value in `live` is not the original one.
fn changed(
    fields: &Map<String, Value>,
    live: &Value,
    original: Option<&Value>,
) -> Map<String, Value> {
    let mut patch = Map::new();
    for (key, below) in fields {
        let Some((name, value)) = key
            .strip_prefix("f:")
            .and_then(|name| Some((name, live.get(name)?)))
        else {
            continue;
        };
        let before = original.and_then(|original| original.get(name));
        if let Some(wanted) = restored(below, value, before) {
            patch.insert(name.to_owned(), wanted);
        }
    }
    patch
}

fn restored(below: &Value, live: &Value, before: Option<&Value>) -> Option<Value> {
    if before == Some(live) {
        return None;
    }
    let parts = below
        .as_object()
        .filter(|below| below.keys().any(|key| key.starts_with("f:")));
    let comparable = live.is_object() && before.is_none_or(Value::is_object);
    let (Some(parts), true) = (parts, comparable) else {
        return Some(before.map_or(Value::Null, |before| replacing(live, before)));
    };
    let inner = changed(parts, live, before);
    // Nothing is left of an object that was not there: it goes as a whole.
    let emptied = before.is_none()
        && live
            .as_object()
            .is_some_and(|live| live.keys().all(|key| inner.get(key) == Some(&Value::Null)));
    if emptied {
        Some(Value::Null)
    } else {
        (!inner.is_empty()).then_some(Value::Object(inner))
    }
}

fn merge(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Object(held)), Value::Object(value)) => merge(held, value),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// The `managedFields` of `live` without `manager`, and with what others owned in `original`, as far
/// as that is known. `None` = `manager` owns nothing.
///
/// The API server takes an empty list for no change: a list of one empty entry clears them.
#[must_use]
pub fn handing_back(live: &Value, original: Option<&Value>, manager: &str) -> Option<Value> {
    if !entries(live).any(|entry| manager_of(entry) == manager) {
        return None;
    }
    let before: Vec<&Value> = original
        .into_iter()
        .flat_map(entries)
        .filter(|entry| manager_of(entry) != manager && entry.get("subresource").is_none())
        .collect();
    let mut after: Vec<Value> = entries(live)
        .filter(|entry| manager_of(entry) != manager)
        .filter(|entry| before.iter().all(|old| key(old) != key(entry)))
        .cloned()
        .collect();
    after.extend(before.into_iter().cloned());
    if after.is_empty() {
        after.push(json!({}));
    }
    Some(Value::Array(after))
}

fn key(entry: &Value) -> [Option<&Value>; 4] {
    ["manager", "operation", "apiVersion", "subresource"].map(|field| entry.get(field))
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: &str = "us";

    fn with(fields: &Value, object: &Value) -> Value {
        let mut object = object.clone();
        object["metadata"]["managedFields"] = json!([
            {"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:data": {"f:theirs": {}}}},
            {"manager": US, "operation": "Apply", "fieldsV1": fields},
        ]);
        object
    }

    #[test]
    fn only_what_we_own_gets_its_old_value() {
        for (what, fields, live, original, expected) in [
            (
                "unchanged",
                json!({"f:data": {"f:a": {}}}),
                json!({"data": {"a": "1", "theirs": "new"}}),
                json!({"data": {"a": "1", "theirs": "old"}}),
                None,
            ),
            (
                "changed and added keys of a map",
                json!({"f:data": {"f:a": {}, "f:b": {}}}),
                json!({"data": {"a": "2", "b": "2", "theirs": "new"}}),
                json!({"data": {"a": "1"}}),
                Some(json!({"data": {"a": "1", "b": null}})),
            ),
            (
                "a map that has one owner",
                json!({"f:spec": {"f:selector": {}}}),
                json!({"spec": {"selector": {"app": "web", "tier": "x"}}}),
                json!({"spec": {"selector": {"app": "old"}}}),
                Some(json!({"spec": {"selector": {"app": "old", "tier": null}}})),
            ),
            (
                "a list whose items have owners",
                json!({"f:spec": {"f:ports": {"k:{\"port\":80}": {".": {}, "f:port": {}}}}}),
                json!({"spec": {"ports": [{"port": 80}, {"port": 81}]}}),
                json!({"spec": {"ports": [{"port": 90}]}}),
                Some(json!({"spec": {"ports": [{"port": 90}]}})),
            ),
            (
                "an object that was not there, and one that others write to as well",
                json!({"f:spec": {"f:affinity": {"f:nodeAffinity": {"f:required": {}}}},
                       "f:metadata": {"f:labels": {"f:ours": {}}}}),
                json!({"spec": {"affinity": {"nodeAffinity": {"required": 1}}, "x": 1},
                       "metadata": {"labels": {"ours": "1", "theirs": "1"}}}),
                json!({"spec": {"x": 1}, "metadata": {}}),
                Some(json!({"spec": {"affinity": null}, "metadata": {"labels": {"ours": null}}})),
            ),
            (
                "fields that somebody has removed since",
                json!({"f:data": {"f:a": {}}}),
                json!({"data": {}}),
                json!({"data": {"a": "1"}}),
                None,
            ),
        ] {
            assert_eq!(
                restoring(&with(&fields, &live), &original, US),
                expected,
                "{what}"
            );
        }
    }

    #[test]
    fn fields_belong_to_whom_they_belonged_to() {
        let entry = |manager: &str, operation: &str, field: &str| json!({"manager": manager, "operation": operation, "fieldsV1": {field: {}}});
        let object = |entries: &[Value]| json!({"metadata": {"managedFields": entries}});
        let ours = [entry(US, "Apply", "f:a"), entry(US, "Update", "f:b")];
        let status =
            json!({"manager": "controller", "operation": "Update", "subresource": "status"});

        // Nobody else owns anything, and nothing is known of before.
        assert_eq!(handing_back(&object(&ours), None, US), Some(json!([{}])));
        // What kubectl owned before it lost a field to us, and who came since.
        let live = object(&[
            ours[0].clone(),
            entry("kubectl", "Update", "f:c"),
            entry("later", "Apply", "f:d"),
            status.clone(),
        ]);
        let original = object(&[entry("kubectl", "Update", "f:a"), status.clone()]);
        assert_eq!(
            handing_back(&live, Some(&original), US),
            Some(json!([
                entry("later", "Apply", "f:d"),
                status,
                entry("kubectl", "Update", "f:a"),
            ]))
        );
        // Done before.
        assert_eq!(handing_back(&original, Some(&original), US), None);
    }
}
