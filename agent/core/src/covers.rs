//! Whether a live object carries what was rendered, although the API server has filled in defaults.

use bellwether_api::quantity::thousandths;
use serde_json::Value;

use crate::settled::TemplateVersion;

/// Tells whether every field of `rendered` stands in `live` with the same value. Lists must be
/// equally long and match item by item; fields that only `live` has are ignored; `null`, empty
/// objects and empty lists match an absent field; quantities match by value (`1000m` is `1`).
#[must_use]
pub fn covers(live: &Value, rendered: &Value) -> bool {
    match (live, rendered) {
        (Value::Object(live), Value::Object(rendered)) => {
            rendered.iter().all(|(key, wanted)| match live.get(key) {
                Some(value) => covers(value, wanted),
                None => is_empty(wanted),
            })
        }
        (Value::Array(live), Value::Array(rendered)) => {
            live.len() == rendered.len()
                && live
                    .iter()
                    .zip(rendered)
                    .all(|(live, rendered)| covers(live, rendered))
        }
        (live, rendered) => {
            live == rendered
                || (is_empty(live) && is_empty(rendered))
                || quantity(live).is_some_and(|value| Some(value) == quantity(rendered))
        }
    }
}

/// Tells which of two pod templates a live one carries.
#[must_use]
pub fn live_template(live: &Value, old: &Value, new: &Value) -> TemplateVersion {
    match (covers(live, old), covers(live, new)) {
        (false, false) => TemplateVersion::Other,
        (true, false) => TemplateVersion::Old,
        (false, true) => TemplateVersion::New,
        // One is part of the other; the fuller one is there, since what a server-side apply leaves
        // out is removed.
        (true, true) if covers(new, old) => TemplateVersion::New,
        (true, true) => TemplateVersion::Old,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// Reads a value that may be a Kubernetes quantity in thousandths; `None` for what is no quantity or too large.
fn quantity(value: &Value) -> Option<i128> {
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        _ => return None,
    };
    thousandths(&text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_of_the_api_server_do_not_matter() {
        let rendered = json!({"spec": {"containers": [{
            "name": "web", "image": "web:1", "resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}},
            "env": [], "securityContext": {}, "livenessProbe": null,
        }]}});
        let live = json!({"spec": {"containers": [{
            "name": "web", "image": "web:1", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
            "imagePullPolicy": "IfNotPresent", "terminationMessagePath": "/dev/termination-log",
        }], "dnsPolicy": "ClusterFirst"}});
        assert!(covers(&live, &rendered));
    }

    #[test]
    fn differences_matter() {
        let rendered = json!({"a": [1, {"b": "x"}], "c": true, "v": "1.10"});
        for live in [
            json!({"a": [1, {"b": "y"}], "c": true, "v": "1.10"}),
            json!({"a": [1, {"b": "x"}, 2], "c": true, "v": "1.10"}),
            json!({"a": [1, {"b": "x"}], "v": "1.10"}),
            json!({"a": [1, {"b": "x"}], "c": false, "v": "1.10"}),
            json!({"a": [1, {"b": "x"}], "c": true, "v": "1.11"}),
        ] {
            assert!(!covers(&live, &rendered), "{live}");
        }
    }

    #[test]
    fn the_template_that_is_there_is_found_even_when_one_is_part_of_the_other() {
        let small = json!({"labels": {"a": "1"}});
        let large = json!({"labels": {"a": "1", "b": "2"}});
        let other = json!({"labels": {"a": "3"}});
        for (live, old, new, expected) in [
            (&small, &small, &large, TemplateVersion::Old),
            (&large, &small, &large, TemplateVersion::New),
            (&large, &large, &small, TemplateVersion::Old),
            (&small, &large, &small, TemplateVersion::New),
            (&other, &small, &large, TemplateVersion::Other),
        ] {
            assert_eq!(
                live_template(live, old, new),
                expected,
                "{live} of {old} and {new}"
            );
        }
    }
}
