//! The field that holds pods back, wherever a kind keeps it.

use bellwether_api::workload_adapter::WorkloadAdapter;
use serde_json::{Value, json};

const ON_DELETE: &str = "OnDelete";

/// What the field says now; absent = nothing, or the kind has no such field.
pub(crate) fn of<'a>(object: &'a Value, adapter: &WorkloadAdapter) -> Option<&'a Value> {
    object.pointer(adapter.partition.as_deref()?)
}

/// What the field says while it keeps `held` pods from the template; absent = every pod, those too that
/// come while it stands.
pub(crate) fn value(adapter: &WorkloadAdapter, replicas: u32, held: Option<u32>) -> Value {
    if adapter.by_node {
        return json!(ON_DELETE);
    }
    match held {
        Some(held) => json!(held),
        None if adapter.holds_later_pods => json!(i32::MAX),
        None => json!(replicas),
    }
}

/// Tells whether the field keeps every pod of a workload of that size from its template.
pub(crate) fn holding(adapter: &WorkloadAdapter, replicas: u32, field: Option<&Value>) -> bool {
    if adapter.by_node {
        return field == Some(&json!(ON_DELETE));
    }
    field.is_some_and(|field| {
        field == "100%"
            || field
                .as_u64()
                .is_some_and(|held| held > 0 && held >= u64::from(replicas))
    })
}

/// Tells whether the field keeps no pod back.
pub(crate) fn frees(adapter: &WorkloadAdapter, field: Option<&Value>) -> bool {
    let Some(field) = field.filter(|field| !field.is_null()) else {
        return true;
    };
    if adapter.by_node {
        return field != ON_DELETE;
    }
    field == 0 || field == "0" || field == "0%"
}

/// How many of the objects that a JSON pointer leads through are not there.
pub(super) fn missing_parents(object: &Value, pointer: &str) -> usize {
    let parents = parents(pointer);
    parents
        .iter()
        .filter(|parent| !object.pointer(parent).is_some_and(Value::is_object))
        .count()
}

/// The pointers to what a pointer leads through, outermost first.
fn parents(pointer: &str) -> Vec<&str> {
    let ends = pointer.match_indices('/').map(|(at, _)| at).skip(1);
    ends.map(|end| &pointer[..end]).collect()
}

/// The merge patch that sets what a JSON pointer points to.
pub(super) fn patch_of(pointer: &str, value: Value) -> Value {
    pointer
        .split('/')
        .skip(1)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .fold(value, |inner, key| json!({key: inner}))
}

/// The merge patch that takes a field away, with as many of the objects around it, at most, as were made
/// for it and hold nothing else.
pub(super) fn removal(object: &Value, pointer: &str, made: usize) -> Value {
    let mut target = pointer;
    for parent in parents(pointer).into_iter().rev().take(made) {
        let alone = object
            .pointer(parent)
            .and_then(Value::as_object)
            .is_some_and(|fields| fields.len() == 1);
        if !alone {
            break;
        }
        target = parent;
    }
    patch_of(target, Value::Null)
}

/// Sets what a JSON pointer points to, and the objects on the way there.
pub fn set(object: &mut Value, pointer: &str, value: Value) {
    let mut at = object;
    for key in pointer.split('/').skip(1) {
        if !at.is_object() {
            *at = json!({});
        }
        at = &mut at[key];
    }
    *at = value;
}
