//! What others had changed in an object of a release, so that a rollback can bring it back.

use serde_json::{Map, Value};

use crate::{
    covers::covers,
    ownership::{entries, manager_of},
};

/// Field managers of the agent's own begin so.
const OWN: &str = "bellwether-";

/// An object of a release as it was, where that is not what the release says.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveState {
    /// What the release says, with the values that others had given its fields.
    pub object: Value,
    /// The fields that differ, such as `spec.replicas`.
    pub fields: Vec<String>,
}

/// Compares what a release says of an object with the live one. Only fields that the release writes
/// count, and of those only what the agent does not own any more: a value that the agent wrote
/// itself is nobody's change. `None` = there is nothing to bring back.
///
/// `sized_by_others` = an autoscaler sets `spec.replicas`, which is nobody's change either.
#[must_use]
pub fn live_state(written: &Value, live: &Value, sized_by_others: bool) -> Option<LiveState> {
    let owned = owned_fields(live)?;
    let mut changed = Changed {
        fields: Vec::new(),
        sized_by_others,
    };
    let mut object = written.clone();
    for (key, value) in object.as_object_mut()? {
        if matches!(key.as_str(), "apiVersion" | "kind" | "status") {
            continue;
        }
        let own = owned.get(format!("f:{key}"));
        let is = live.get(key).unwrap_or(&Value::Null);
        if key == "metadata" {
            for part in ["labels", "annotations"] {
                let own = own.and_then(|own| own.get(format!("f:{part}")));
                if let (Some(value), Some(is)) = (value.get_mut(part), is.get(part)) {
                    *value = changed.merged(value, is, own, &format!("metadata.{part}"));
                }
            }
        } else {
            *value = changed.merged(value, is, own, key);
        }
    }
    (!changed.fields.is_empty()).then_some(LiveState {
        object,
        fields: changed.fields,
    })
}

/// Every field that the agent owns, in the form of `fieldsV1`; `None` = nothing, or it is not known.
fn owned_fields(live: &Value) -> Option<Value> {
    let mut owned = Map::new();
    let own = entries(live)
        .filter(|entry| manager_of(entry).starts_with(OWN))
        .filter_map(|entry| entry.get("fieldsV1")?.as_object());
    for fields in own {
        join(&mut owned, fields);
    }
    (!owned.is_empty()).then_some(Value::Object(owned))
}

pub(crate) fn join(into: &mut Map<String, Value>, from: &Map<String, Value>) {
    for (key, value) in from {
        match (into.get_mut(key), value) {
            (Some(Value::Object(held)), Value::Object(value)) => join(held, value),
            (Some(_), _) => {}
            (None, value) => {
                into.insert(key.clone(), value.clone());
            }
        }
    }
}

struct Changed {
    fields: Vec<String>,
    sized_by_others: bool,
}

impl Changed {
    /// What is written, with what others changed of it.
    fn merged(&mut self, written: &Value, live: &Value, own: Option<&Value>, path: &str) -> Value {
        let sized = self.sized_by_others && path == "spec.replicas";
        if sized || covers(live, written) || own.is_some_and(is_whole) {
            return written.clone();
        }
        match (written, live) {
            (Value::Object(written), Value::Object(live)) => {
                Value::Object(self.merged_fields(written, live, own, path))
            }
            (Value::Array(written), Value::Array(live)) if own.is_some_and(is_keyed) => {
                Value::Array(self.merged_items(written, live, own, path))
            }
            _ if own.is_some() => written.clone(),
            _ => {
                self.fields.push(path.to_owned());
                live.clone()
            }
        }
    }

    fn merged_fields(
        &mut self,
        written: &Map<String, Value>,
        live: &Map<String, Value>,
        own: Option<&Value>,
        path: &str,
    ) -> Map<String, Value> {
        let mut merged = Map::new();
        for (key, value) in written {
            let own = own.and_then(|own| own.get(format!("f:{key}")));
            let path = format!("{path}.{key}");
            let value = match live.get(key) {
                Some(live) => self.merged(value, live, own, &path),
                // Empty values are not kept by the API server.
                None if own.is_some() || covers(&Value::Null, value) => value.clone(),
                None => {
                    self.fields.push(path);
                    continue;
                }
            };
            merged.insert(key.clone(), value);
        }
        merged
    }

    /// Items of a list that are owned one by one, told apart by their keys.
    fn merged_items(
        &mut self,
        written: &[Value],
        live: &[Value],
        own: Option<&Value>,
        path: &str,
    ) -> Vec<Value> {
        let keys = own.map(keys_of).unwrap_or_default();
        let mut merged = Vec::new();
        for item in written {
            let own = own.and_then(|own| own_of_item(own, item));
            let path = format!("{path}[{}]", name_of(item));
            match live.iter().find(|live| is_same(&keys, live, item)) {
                Some(live) => merged.push(self.merged(item, live, own, &path)),
                None if own.is_some() => merged.push(item.clone()),
                None => self.fields.push(path),
            }
        }
        merged
    }
}

/// Whether a value is owned as a whole.
pub(crate) fn is_whole(own: &Value) -> bool {
    own.as_object().is_some_and(Map::is_empty)
}

pub(crate) fn is_keyed(own: &Value) -> bool {
    own.as_object()
        .is_some_and(|own| own.keys().any(|key| key.starts_with("k:")))
}

/// The fields that tell the items of a list apart.
pub(crate) fn keys_of(own: &Value) -> Vec<String> {
    let known = own.as_object().into_iter().flat_map(Map::keys);
    let mut keys: Vec<String> = known
        .filter_map(|key| item_key(key))
        .flat_map(|key| key.into_iter().map(|(name, _)| name))
        .collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn item_key(key: &str) -> Option<Map<String, Value>> {
    serde_json::from_str(key.strip_prefix("k:")?).ok()
}

/// What is owned of an item. What it leaves out of its key is a default of the API server.
pub(crate) fn own_of_item<'a>(own: &'a Value, item: &Value) -> Option<&'a Value> {
    let mut known = own.as_object()?.iter();
    let found = known.find(|(key, _)| {
        item_key(key).is_some_and(|key| {
            key.iter()
                .all(|(name, value)| item.get(name).is_none_or(|is| is == value))
        })
    });
    found.map(|(_, own)| own)
}

pub(crate) fn is_same(keys: &[String], live: &Value, item: &Value) -> bool {
    keys.iter()
        .all(|key| item.get(key).is_none_or(|is| live.get(key) == Some(is)))
}

fn name_of(item: &Value) -> String {
    let name = item.get("name").or_else(|| item.get("containerPort"));
    match name {
        Some(Value::String(name)) => name.clone(),
        Some(other) => other.to_string(),
        None => "…".to_owned(),
    }
}

#[cfg(test)]
mod tests;
