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
}
