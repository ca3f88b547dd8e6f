use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Every value of an object that is no further structure, by its JSON pointer.
pub(super) type Leaves = BTreeMap<String, Value>;

pub(super) fn leaves(value: &Value) -> Leaves {
    let mut found = Leaves::new();
    gather(value, "", &mut found);
    found
}

fn gather(value: &Value, path: &str, found: &mut Leaves) {
    let mut inner = |key: &str, value: &Value| {
        let key = key.replace('~', "~0").replace('/', "~1");
        gather(value, &format!("{path}/{key}"), found);
    };
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            fields.iter().for_each(|(key, value)| inner(key, value));
        }
        Value::Array(items) if !items.is_empty() => {
            let items = items.iter().enumerate();
            items.for_each(|(index, value)| inner(&index.to_string(), value));
        }
        leaf => {
            found.insert(path.to_owned(), leaf.clone());
        }
    }
}

/// The values that are not the same on both sides: where, and what stands there.
pub(super) fn unlike<'a>(
    before: &'a Leaves,
    after: &'a Leaves,
) -> impl Iterator<Item = (&'a str, Option<&'a Value>, Option<&'a Value>)> {
    let paths: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    paths
        .into_iter()
        .map(|path| (path.as_str(), before.get(path), after.get(path)))
        .filter(|(_, old, new)| old != new)
}
