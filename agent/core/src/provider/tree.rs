//! Reading and writing fields of objects without types.

use serde_json::{Map, Value, json};

/// The text of a field; empty when it is none.
pub(super) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or("")
}

/// The items at a pointer; empty when there is no list.
pub(super) fn items<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The list at a pointer, to change it.
pub(super) fn items_mut<'a>(value: &'a mut Value, pointer: &str) -> Option<&'a mut Vec<Value>> {
    value.pointer_mut(pointer).and_then(Value::as_array_mut)
}

/// Adds an item to a list field, which is made where it is missing.
pub(super) fn push(value: &mut Value, key: &str, item: Value) {
    match value.get_mut(key).and_then(Value::as_array_mut) {
        Some(list) => list.push(item),
        None => value[key] = json!([item]),
    }
}

/// The object field `key`, which is made where it is missing.
pub(super) fn object<'a>(value: &'a mut Value, key: &str) -> Option<&'a mut Map<String, Value>> {
    if !value.get(key).is_some_and(Value::is_object) {
        value[key] = json!({});
    }
    value.get_mut(key).and_then(Value::as_object_mut)
}

/// Takes a field away.
pub(super) fn remove(value: &mut Value, key: &str) {
    if let Some(fields) = value.as_object_mut() {
        fields.remove(key);
    }
}

/// The namespace of an object; empty when it names none.
pub(super) fn namespace_of(object: &Value) -> &str {
    object
        .get("metadata")
        .map_or("", |meta| text(meta, "namespace"))
}
