use serde_json::{Map, Value, json};

use super::{Fields, label_of, load, put};

/// Flagger's types and ours.
const TYPES: [(&str, &str); 8] = [
    ("confirm-rollout", "ConfirmRollout"),
    ("pre-rollout", "PreRollout"),
    ("rollout", "Rollout"),
    ("confirm-traffic-increase", "ConfirmTrafficIncrease"),
    ("confirm-promotion", "ConfirmPromotion"),
    ("post-rollout", "PostRollout"),
    ("rollback", "Rollback"),
    ("event", "Event"),
];

/// Reads the webhooks of a Canary.
pub(super) fn translate(analysis: &Fields<'_>) -> Vec<Value> {
    let items = analysis.items("webhooks");
    items.into_iter().map(one).collect()
}

fn one(fields: Fields<'_>) -> Value {
    let mut hook = Map::new();
    let name = label_of(fields.text("name").unwrap_or_default());
    hook.insert("name".to_owned(), json!(name));
    let wanted = fields.text("type").unwrap_or("rollout");
    let kind = TYPES.iter().find(|(theirs, _)| *theirs == wanted);
    match kind {
        Some((_, ours)) => {
            hook.insert("type".to_owned(), json!(ours));
        }
        None => fields.refuse("type", format!("there is no type {wanted:?}")),
    }
    if fields.flag("disableTLS") {
        fields.refuse("disableTLS", "certificates are always verified");
    }
    let mute = fields.flag("muteAlert");
    put(&mut hook, "muteAlert", mute.then_some(true));
    match fields.text("url") {
        Some(url) => {
            hook.insert("url".to_owned(), json!(url));
            put(&mut hook, "timeout", fields.text("timeout"));
            put(&mut hook, "retries", fields.count("retries"));
            let metadata = fields.text_map("metadata");
            put(
                &mut hook,
                "metadata",
                (!metadata.is_empty()).then_some(metadata),
            );
        }
        None if wanted == "rollout" => {
            for key in ["timeout", "retries"] {
                if fields.is_set(key) {
                    fields.note(key, "the agent makes the load itself: nothing is called");
                }
            }
            if let Some(load) = load::translate(&fields) {
                hook.insert("load".to_owned(), load);
            }
        }
        None => fields.refuse("url", "say where it is posted to"),
    }
    fields.done();
    Value::Object(hook)
}
