//! Strategic merge patches, as an API server applies them to the kinds of Kubernetes itself: items of a
//! list are found by the key that their kind says.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::Deserialize;
use serde_json::{Map, Value};

/// Says what becomes of a map, or of an item of a list.
const DIRECTIVE: &str = "$patch";
/// Says which keys of a map stay.
const RETAIN: &str = "$retainKeys";

/// How fields of the kinds of Kubernetes are merged. The renderer's tests make the file, and hold it
/// against Kubernetes.
static TABLE: LazyLock<Table> = LazyLock::new(|| {
    serde_json::from_str(include_str!("strategic/merge_keys.json")).expect("the table is tested")
});

#[derive(Debug, Deserialize)]
struct Table {
    /// Types by `apiVersion/kind`.
    kinds: BTreeMap<String, String>,
    types: BTreeMap<String, Fields>,
}

/// The fields of a type that are not simply merged (maps) or replaced (all else).
type Fields = BTreeMap<String, Field>;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Field {
    /// The field's type, or that of a list's items; empty = nothing in it is special.
    #[serde(rename = "type")]
    of: String,
    /// What tells items of a list apart; empty = they are no maps.
    key: String,
    /// `merge` or `replace`; empty = as any other.
    strategy: String,
}

/// Why a patch does not fit an object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StrategicError {
    /// Nothing says how its lists are merged.
    #[error(
        "{kind} is no kind of Kubernetes itself, so that nothing says how its lists are merged; use \
         merge or jsonPatch"
    )]
    NoSchema {
        /// `apiVersion/kind`.
        kind: String,
    },
    /// An item of a list cannot be told from others.
    #[error("{at}: an item needs {key}, which tells it from others")]
    NoKey {
        /// Where, as a JSON pointer.
        at: String,
        /// The key.
        key: String,
    },
    /// Items of a list are not what the kind says.
    #[error("{at}: the items of this list are not all maps, or not all words")]
    Items {
        /// Where, as a JSON pointer.
        at: String,
    },
    /// Something with `$` that is not known here.
    #[error(
        "{at}: {what} is not supported; use $patch: delete, $patch: replace or $retainKeys, or write a jsonPatch"
    )]
    Directive {
        /// Where, as a JSON pointer.
        at: String,
        /// What.
        what: String,
    },
    /// A map sets what it does not retain.
    #[error("{at}: {key} is set and not among $retainKeys")]
    NotRetained {
        /// Where, as a JSON pointer.
        at: String,
        /// The key that is set.
        key: String,
    },
}

/// Tells whether objects of a kind can be patched.
#[must_use]
pub fn knows(api_version: &str, kind: &str) -> bool {
    TABLE.kinds.contains_key(&format!("{api_version}/{kind}"))
}

/// Checks what can be checked of a patch without an object.
///
/// # Errors
/// It has directives that are not known, or one for the object itself.
pub fn check(patch: &Map<String, Value>) -> Result<(), StrategicError> {
    if patch.contains_key(DIRECTIVE) {
        return Err(StrategicError::Directive {
            at: "/".to_owned(),
            what: "$patch of a whole object".to_owned(),
        });
    }
    check_map("", patch)
}

fn check_map(at: &str, patch: &Map<String, Value>) -> Result<(), StrategicError> {
    for (key, value) in patch {
        let here = format!("{at}/{key}");
        let is_known = match key.as_str() {
            DIRECTIVE => ["delete", "replace", "merge"]
                .iter()
                .any(|one| value == one),
            RETAIN => value
                .as_array()
                .is_some_and(|keys| keys.iter().all(Value::is_string)),
            other => !other.starts_with('$'),
        };
        if !is_known {
            let what = match value.as_str() {
                Some(text) => format!("{key}: {text}"),
                None => key.clone(),
            };
            return Err(StrategicError::Directive { at: here, what });
        }
        check_value(&here, value)?;
    }
    Ok(())
}

fn check_value(at: &str, value: &Value) -> Result<(), StrategicError> {
    match value {
        Value::Object(map) => check_map(at, map),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(index, item)| check_value(&format!("{at}/{index}"), item)),
        _ => Ok(()),
    }
}

/// Applies a patch to an object.
///
/// # Errors
/// Its kind is not known, or the patch does not fit it; the object may then be changed in part.
pub fn merge(object: &mut Value, patch: &Map<String, Value>) -> Result<(), StrategicError> {
    check(patch)?;
    let text = |field: &str| {
        let found = object.get(field).and_then(Value::as_str);
        found.unwrap_or_default().to_owned()
    };
    let kind = format!("{}/{}", text("apiVersion"), text("kind"));
    let Some(of) = TABLE.kinds.get(&kind) else {
        return Err(StrategicError::NoSchema { kind });
    };
    if let Some(object) = object.as_object_mut() {
        merge_map("", object, patch, of)?;
    }
    Ok(())
}

fn field<'a>(of: &str, key: &str) -> &'a Field {
    static PLAIN: LazyLock<Field> = LazyLock::new(Field::default);
    let fields = TABLE.types.get(of);
    fields.and_then(|one| one.get(key)).unwrap_or(&PLAIN)
}

fn merge_map(
    at: &str,
    original: &mut Map<String, Value>,
    patch: &Map<String, Value>,
    of: &str,
) -> Result<(), StrategicError> {
    match patch.get(DIRECTIVE).and_then(Value::as_str) {
        Some("replace") => {
            *original = without_directives(patch);
            return Ok(());
        }
        Some("delete") => {
            original.clear();
            return Ok(());
        }
        _ => {}
    }
    retain(at, original, patch)?;
    for (key, wanted) in patch {
        if key.starts_with('$') {
            continue;
        }
        let here = format!("{at}/{key}");
        let field = field(of, key);
        match (original.get_mut(key), wanted) {
            (_, Value::Null) => {
                original.remove(key);
            }
            (Some(Value::Object(held)), Value::Object(over)) if field.strategy != "replace" => {
                merge_map(&here, held, over, &field.of)?;
            }
            (Some(Value::Array(held)), Value::Array(over)) if field.strategy == "merge" => {
                merge_list(&here, held, over, field)?;
            }
            (Some(Value::Array(held)), Value::Array(over)) => held.clone_from(over),
            _ => match clean(wanted) {
                Some(value) => {
                    original.insert(key.clone(), value);
                }
                None => {
                    original.remove(key);
                }
            },
        }
    }
    Ok(())
}

fn retain(
    at: &str,
    original: &mut Map<String, Value>,
    patch: &Map<String, Value>,
) -> Result<(), StrategicError> {
    let Some(kept) = patch.get(RETAIN).and_then(Value::as_array) else {
        return Ok(());
    };
    let is_kept = |key: &str| kept.iter().any(|one| one == key);
    let set = patch
        .iter()
        .filter(|(key, value)| !key.starts_with('$') && !value.is_null());
    for (key, _) in set {
        if !is_kept(key) {
            return Err(StrategicError::NotRetained {
                at: at.to_owned(),
                key: key.clone(),
            });
        }
    }
    original.retain(|key, _| is_kept(key));
    Ok(())
}

fn merge_list(
    at: &str,
    original: &mut Vec<Value>,
    patch: &[Value],
    field: &Field,
) -> Result<(), StrategicError> {
    let all = || original.iter().chain(patch);
    let maps = all().filter(|one| one.is_object()).count();
    if maps != 0 && (maps != all().count() || field.key.is_empty()) {
        return Err(StrategicError::Items { at: at.to_owned() });
    }
    if maps == 0 {
        let mut merged = original.clone();
        for item in patch {
            if !merged.contains(item) {
                merged.push(item.clone());
            }
        }
        *original = ordered(merged, patch, original, |one| Some(one.clone()));
        return Ok(());
    }
    let key = |item: &Value| item.get(&field.key).cloned();
    let mut held: Vec<Value> = original.clone();
    let mut wanted: Vec<Value> = Vec::new();
    let mut replaces = false;
    for (index, item) in patch.iter().enumerate() {
        let directive = item.get(DIRECTIVE).and_then(Value::as_str);
        if directive == Some("replace") {
            replaces = true;
            continue;
        }
        let Some(name) = key(item) else {
            return Err(StrategicError::NoKey {
                at: format!("{at}/{index}"),
                key: field.key.clone(),
            });
        };
        match directive {
            Some("delete") => held.retain(|one| key(one).as_ref() != Some(&name)),
            Some(other) => {
                return Err(StrategicError::Directive {
                    at: format!("{at}/{index}"),
                    what: format!("$patch: {other} of an item"),
                });
            }
            None => wanted.push(item.clone()),
        }
    }
    if replaces {
        *original = wanted.iter().filter_map(clean).collect();
        return Ok(());
    }
    let before = held.clone();
    for item in &wanted {
        let name = key(item);
        let there = held.iter_mut().find(|one| key(one) == name);
        match (there.and_then(Value::as_object_mut), item.as_object()) {
            (Some(there), Some(item)) => merge_map(at, there, item, &field.of)?,
            _ => held.extend(clean(item)),
        }
    }
    let keyed = |one: &Value| one.get(&field.key).cloned();
    *original = ordered(held, &wanted, &before, keyed);
    Ok(())
}

/// Orders a merged list as Kubernetes does: items of the patch in its order, all others in theirs, each of
/// which stands before the first item of the patch that it stood before.
fn ordered(
    merged: Vec<Value>,
    patch: &[Value],
    before: &[Value],
    name: impl Fn(&Value) -> Option<Value>,
) -> Vec<Value> {
    let place = |list: &[Value], item: &Value| {
        let wanted = name(item);
        list.iter().position(|one| name(one) == wanted)
    };
    let (mut own, others): (Vec<Value>, Vec<Value>) = merged
        .into_iter()
        .partition(|item| place(patch, item).is_some());
    own.sort_by_key(|item| place(patch, item));
    let mut others = others.into_iter().peekable();
    let mut out = Vec::new();
    for item in own {
        while let Some(other) = others.peek() {
            let (left, right) = (place(before, other), place(before, &item));
            if left.zip(right).is_none_or(|(left, right)| left >= right) {
                break;
            }
            out.extend(others.next());
        }
        out.push(item);
    }
    out.extend(others);
    out
}

/// A value as it is added where nothing was; absent = it is to be deleted.
fn clean(value: &Value) -> Option<Value> {
    match value {
        Value::Object(map) if map.contains_key(DIRECTIVE) => None,
        Value::Object(map) => Some(Value::Object(without_directives(map))),
        Value::Array(items) => Some(items.iter().filter_map(clean).collect()),
        other => Some(other.clone()),
    }
}

fn without_directives(map: &Map<String, Value>) -> Map<String, Value> {
    map.iter()
        .filter(|(key, value)| !key.starts_with('$') && !value.is_null())
        .filter_map(|(key, value)| Some((key.clone(), clean(value)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Deserialize)]
    struct Case {
        name: String,
        object: Value,
        patch: Map<String, Value>,
        expected: Value,
    }

    /// The renderer's tests hold the same cases against Kubernetes' own implementation.
    #[test]
    fn merges_as_kubernetes_does() {
        let cases: Vec<Case> =
            serde_json::from_str(include_str!("strategic/cases.json")).expect("cases");
        assert!(cases.len() >= 10);
        for case in cases {
            let mut object = case.object;
            merge(&mut object, &case.patch)
                .unwrap_or_else(|error| panic!("{}: {error}", case.name));
            assert_eq!(object, case.expected, "{}", case.name);
        }
    }

    #[test]
    fn what_cannot_be_merged_is_named() {
        let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {
            "strategy": {"type": "RollingUpdate"},
            "template": {"spec": {"containers": [{"name": "web"}]}}}});
        let containers =
            |list: Value| json!({"spec": {"template": {"spec": {"containers": list}}}});
        for (patch, said) in [
            (
                containers(json!([{"image": "a"}])),
                "/spec/template/spec/containers/0: an item needs name",
            ),
            (
                containers(json!(["web"])),
                "/spec/template/spec/containers: the items of this list are not all maps",
            ),
            (
                containers(json!([{"name": "web", "$patch": "merge"}])),
                "/spec/template/spec/containers/0: $patch: merge of an item is not supported",
            ),
            (
                json!({"spec": {"$setElementOrder/x": []}}),
                "/spec/$setElementOrder/x: $setElementOrder/x is not supported",
            ),
            (json!({"spec": {"$patch": "drop"}}), "$patch: drop"),
            (json!({"$patch": "delete"}), "$patch of a whole object"),
            (
                json!({"spec": {"strategy": {"$retainKeys": ["type"], "rollingUpdate": {}}}}),
                "/spec/strategy: rollingUpdate is set and not among $retainKeys",
            ),
        ] {
            let mut object = deployment.clone();
            let patch = patch.as_object().expect("a map");
            let error = merge(&mut object, patch).expect_err("refused").to_string();
            assert!(error.contains(said), "{error}");
        }
        let mut widget = json!({"apiVersion": "shop.example/v1", "kind": "Widget"});
        let error = merge(&mut widget, &Map::new()).expect_err("refused");
        assert!(
            error
                .to_string()
                .contains("shop.example/v1/Widget is no kind")
        );
    }

    #[test]
    fn kinds_of_kubernetes_are_known() {
        for (version, kind) in [
            ("v1", "Pod"),
            ("apps/v1", "StatefulSet"),
            ("policy/v1", "PodDisruptionBudget"),
            ("rbac.authorization.k8s.io/v1", "ClusterRole"),
        ] {
            assert!(knows(version, kind), "{kind}");
        }
        assert!(!knows("gateway.networking.k8s.io/v1", "HTTPRoute"));
    }
}
