//! JSON merge patches (RFC 7386).

use serde_json::{Map, Value};

/// The merge patch that makes `live` the same as `wanted`. A merge patch keeps what it does not
/// name, so that everything to be removed is named as null. Lists are replaced whole.
#[must_use]
pub fn replacing(live: &Value, wanted: &Value) -> Value {
    let (Value::Object(live), Value::Object(wanted)) = (live, wanted) else {
        return wanted.clone();
    };
    let mut patch: Map<String, Value> = live
        .keys()
        .filter(|key| !wanted.contains_key(*key))
        .map(|key| (key.clone(), Value::Null))
        .collect();
    for (key, value) in wanted {
        patch.insert(
            key.clone(),
            replacing(live.get(key).unwrap_or(&Value::Null), value),
        );
    }
    Value::Object(patch)
}

/// The smallest merge patch that makes `live` the same as `wanted`: only what differs is named, so
/// that whatever else somebody writes meanwhile stays. Absent = they are the same.
#[must_use]
pub fn difference(live: &Value, wanted: &Value) -> Option<Value> {
    if live == wanted {
        return None;
    }
    let (Value::Object(live), Value::Object(wanted)) = (live, wanted) else {
        return Some(wanted.clone());
    };
    let mut patch: Map<String, Value> = live
        .keys()
        .filter(|key| !wanted.contains_key(*key))
        .map(|key| (key.clone(), Value::Null))
        .collect();
    for (key, value) in wanted {
        let change = match live.get(key) {
            Some(live) => difference(live, value),
            None => Some(value.clone()),
        };
        if let Some(change) = change {
            patch.insert(key.clone(), change);
        }
    }
    Some(Value::Object(patch))
}

/// What a merge patch makes of `target`.
#[must_use]
pub fn merged(target: &Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else {
        return patch.clone();
    };
    let mut merged_into = target.as_object().cloned().unwrap_or_default();
    for (key, value) in patch {
        if value.is_null() {
            merged_into.remove(key);
        } else {
            let before = merged_into.remove(key).unwrap_or(Value::Null);
            merged_into.insert(key.clone(), merged(&before, value));
        }
    }
    Value::Object(merged_into)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_wanted_is_named_as_null() {
        let live = json!({"a": {"x": 1, "y": 2}, "list": [1, 2], "gone": true});
        let wanted = json!({"a": {"x": 1}, "list": [2], "new": "n"});
        assert_eq!(
            replacing(&live, &wanted),
            json!({"a": {"x": 1, "y": null}, "list": [2], "gone": null, "new": "n"})
        );
    }

    #[test]
    fn a_difference_names_what_differs_and_nothing_else() {
        let live = json!({"a": {"x": 1, "y": 2}, "list": [1, 2], "gone": true, "same": {"z": 1}});
        let wanted = json!({"a": {"x": 1}, "list": [2], "new": "n", "same": {"z": 1}});
        let patch = difference(&live, &wanted).expect("they differ");
        assert_eq!(
            patch,
            json!({"a": {"y": null}, "list": [2], "gone": null, "new": "n"})
        );
        assert_eq!(merged(&live, &patch), wanted);
        assert_eq!(difference(&wanted, &wanted), None);
        let back = difference(&wanted, &live).expect("they differ");
        assert_eq!(merged(&wanted, &back), live);
    }
}
