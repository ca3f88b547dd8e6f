//! A split on a route that somebody else writes.

use serde_json::{Value, json};

use crate::{
    effective::GovernedRoute,
    merge_patch::{difference, merged},
    provider::{RenderError, Split, render},
};

/// Annotation on a route that carries a run's split: what was written, and what takes it back, as two
/// merge patches.
pub const SPLIT_ANNOTATION: &str = "bellwether.dev/split";

/// Why a split cannot lie on a route.
pub type Unlayable = RenderError;

/// A route with a run's split on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Laid {
    /// The route as its owner wants it.
    pub users: Value,
    /// The merge patch that makes the live one what the run wants; absent = it is that already.
    pub patch: Option<Value>,
}

/// Lays a split on a live route.
///
/// # Errors
/// The route cannot carry the split; it may still carry one of before.
pub fn laid(route: &GovernedRoute, live: &Value, split: &Split) -> Result<Laid, Unlayable> {
    let users = without_split(route, live);
    let mut wanted = render(route.provider, &users, &route.names, split)?;
    if let (Some(written), Some(restore)) =
        (difference(&users, &wanted), difference(&wanted, &users))
    {
        let note = json!({"written": written, "restore": restore}).to_string();
        wanted["metadata"]["annotations"][SPLIT_ANNOTATION] = json!(note);
    }
    let patch = difference(live, &wanted);
    Ok(Laid { users, patch })
}

/// A live route as its owner wants it: without a split of ours, if it carries one. Whoever applied the
/// route meanwhile has put their own back already.
#[must_use]
pub fn without_split(route: &GovernedRoute, live: &Value) -> Value {
    let mut users = live.clone();
    let note = users
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut)
        .and_then(|annotations| annotations.remove(SPLIT_ANNOTATION));
    let Some(note) = note else {
        return users;
    };
    let is_empty = users
        .pointer("/metadata/annotations")
        .and_then(Value::as_object)
        .is_some_and(serde_json::Map::is_empty);
    if is_empty && let Some(metadata) = users["metadata"].as_object_mut() {
        metadata.remove("annotations");
    }
    let note = note
        .as_str()
        .and_then(|note| serde_json::from_str::<Value>(note).ok());
    let (Some(written), Some(restore)) = (
        note.as_ref().and_then(|note| note.get("written")),
        note.as_ref().and_then(|note| note.get("restore")),
    ) else {
        return users;
    };
    let is_ours = merged(&users, written) == users || names_canary(&users, &route.names.canary);
    if is_ours {
        merged(&users, restore)
    } else {
        users
    }
}

fn names_canary(value: &Value, canary: &str) -> bool {
    match value {
        Value::String(text) => text == canary,
        Value::Array(items) => items.iter().any(|item| names_canary(item, canary)),
        Value::Object(fields) => fields.values().any(|field| names_canary(field, canary)),
        _ => false,
    }
}
