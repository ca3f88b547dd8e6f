//! Fields that are left to whoever else writes them.
//!
//! A field that we applied cannot just be left out of the next apply: if nobody else owns it, the API
//! server takes it away. So of what is left to others, what somebody else owns is left out, and what we
//! alone own is applied as it is.

use bellwether_api::sync_policy::IgnoreRule;
use serde_json::{Map, Value};

use crate::{
    live_state::{is_keyed, is_same, is_whole, join, keys_of, own_of_item},
    ownership::{entries, manager_of},
};

/// What stays to others while a run looks after an object.
const FREE_IN_RUN: [&str; 3] = [
    "/metadata/labels",
    "/metadata/annotations",
    "/spec/replicas",
];

/// What of one object is left to others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ignored {
    pointers: Vec<Vec<String>>,
    managers: Vec<String>,
}

impl Ignored {
    /// Collects what the rules say of an object that names its namespace, if it has one.
    #[must_use]
    pub fn of(rules: &[IgnoreRule], object: &Value) -> Self {
        let mut ignored = Self::default();
        for rule in rules.iter().filter(|rule| rule.target.is(object, "")) {
            let pointers = rule.json_pointers.iter();
            ignored.pointers.extend(pointers.map(|one| steps(one)));
            ignored.managers.extend(rule.managers.iter().cloned());
        }
        ignored
    }

    /// Tells whether nothing is left to others.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pointers.is_empty() && self.managers.is_empty()
    }

    /// What is left to others while a run looks after the object: labels, annotations and the number of
    /// pods, if named by pointers.
    #[must_use]
    pub fn within_run(&self) -> Self {
        let free: Vec<Vec<String>> = FREE_IN_RUN.iter().map(|one| steps(one)).collect();
        let is_free = |pointer: &&Vec<String>| free.iter().any(|free| pointer.starts_with(free));
        Self {
            pointers: self.pointers.iter().filter(is_free).cloned().collect(),
            managers: Vec::new(),
        }
    }

    /// What is applied of `wanted` over `live`; `own` begins the names of our field managers. The version
    /// of `live` is named where one of its values is applied that is not the wanted one.
    #[must_use]
    pub fn applied(&self, wanted: &Value, live: &Value, own: &str) -> Value {
        let mut applied = wanted.clone();
        let theirs = fields(live, |manager| {
            self.managers.iter().any(|one| one == manager)
        });
        if !self.managers.is_empty() {
            applied = parts_but(&applied, live, &theirs);
        }
        let (ours, others) = (
            fields(live, |manager| manager.starts_with(own)),
            fields(live, |manager| !manager.starts_with(own)),
        );
        let mut takes_live = false;
        for pointer in &self.pointers {
            let mut look = Look {
                takes_live: &mut takes_live,
            };
            look.leave(
                &mut applied,
                Some(live),
                Some(&ours),
                Some(&others),
                pointer,
            );
        }
        if takes_live && let Some(version) = live.pointer("/metadata/resourceVersion") {
            applied["metadata"]["resourceVersion"] = version.clone();
        }
        applied
    }

    /// What a release writes, with the live values of what is left to others: there it says nothing that
    /// could be changed.
    #[must_use]
    pub fn with_live(&self, written: &Value, live: &Value) -> Value {
        let mut object = written.clone();
        for pointer in self.pointers.iter().map(|steps| pointer_of(steps)) {
            if let (Some(value), Some(live)) =
                (object.pointer_mut(&pointer), live.pointer(&pointer))
            {
                value.clone_from(live);
            }
        }
        if !self.managers.is_empty() {
            let theirs = fields(live, |manager| {
                self.managers.iter().any(|one| one == manager)
            });
            lay(&mut object, live, &theirs);
        }
        object
    }
}

fn pointer_of(steps: &[String]) -> String {
    let escaped = |step: &String| step.replace('~', "~0").replace('/', "~1");
    steps
        .iter()
        .map(|step| format!("/{}", escaped(step)))
        .collect()
}

fn steps(pointer: &str) -> Vec<String> {
    let steps = pointer.split('/').skip(1);
    steps
        .map(|step| step.replace("~1", "/").replace("~0", "~"))
        .collect()
}

/// Every field that some managers own, in the form of `fieldsV1`. Those of the status are no matter.
fn fields(live: &Value, has: impl Fn(&str) -> bool) -> Value {
    let mut joined = Map::new();
    let owned = entries(live)
        .filter(|entry| has(manager_of(entry)))
        .filter(|entry| entry.get("subresource").and_then(Value::as_str) != Some("status"))
        .filter_map(|entry| entry.get("fieldsV1")?.as_object());
    for fields in owned {
        join(&mut joined, fields);
    }
    Value::Object(joined)
}

fn below<'a>(owned: Option<&'a Value>, key: &str) -> Option<&'a Value> {
    owned?.get(format!("f:{key}"))
}

/// Tells whether a node of `fieldsV1` says that something is owned.
fn is_owned(owned: Option<&Value>) -> bool {
    owned.is_some()
}

struct Look<'a> {
    takes_live: &'a mut bool,
}

impl Look<'_> {
    /// Leaves what a pointer means below `wanted` to others.
    fn leave(
        &mut self,
        wanted: &mut Value,
        live: Option<&Value>,
        ours: Option<&Value>,
        others: Option<&Value>,
        pointer: &[String],
    ) {
        let Some((step, rest)) = pointer.split_first() else {
            return;
        };
        match wanted {
            Value::Object(fields) => {
                let Some(field) = fields.get_mut(step) else {
                    return;
                };
                let live = live.and_then(|live| live.get(step));
                let (ours, others) = (below(ours, step), below(others, step));
                if !rest.is_empty() {
                    self.leave(field, live, ours, others, rest);
                    return;
                }
                match self.left(field, live, ours, others) {
                    Some(left) => *field = left,
                    None => {
                        fields.remove(step);
                    }
                }
            }
            Value::Array(items) => {
                let Ok(index) = step.parse::<usize>() else {
                    return;
                };
                self.leave_in_item(items, index, (live, ours, others), rest);
            }
            _ => {}
        }
    }

    fn leave_in_item(
        &mut self,
        items: &mut Vec<Value>,
        index: usize,
        (live, ours, others): (Option<&Value>, Option<&Value>, Option<&Value>),
        rest: &[String],
    ) {
        let Some(item) = items.get_mut(index) else {
            return;
        };
        let keys = item_keys(ours, others);
        let all = live.and_then(Value::as_array);
        if keys.is_empty() {
            // The list has one owner: what is left to others in it is applied as it is.
            let live = all.and_then(|all| all.get(index));
            self.copy(item, live, rest);
            return;
        }
        let live = all.and_then(|all| all.iter().find(|live| is_same(&keys, live, item)));
        let of = |owned: Option<&Value>| owned.and_then(|owned| own_of_item(owned, item)).cloned();
        let (ours, others) = (of(ours), of(others));
        if rest.is_empty() {
            match self.left(item, live, ours.as_ref(), others.as_ref()) {
                Some(left) => *item = left,
                None => {
                    items.remove(index);
                }
            }
        } else {
            self.leave(item, live, ours.as_ref(), others.as_ref(), rest);
        }
    }

    /// Takes what is live at a pointer below `wanted`; what does not exist stays as it is wanted.
    fn copy(&mut self, wanted: &mut Value, live: Option<&Value>, pointer: &[String]) {
        let path = pointer_of(pointer);
        let live = live.and_then(|live| live.pointer(&path));
        if let (Some(wanted), Some(live)) = (wanted.pointer_mut(&path), live) {
            *wanted = self.taken(wanted, live);
        }
    }

    /// What is applied of a value that is left to others; `None` = nothing.
    fn left(
        &mut self,
        wanted: &Value,
        live: Option<&Value>,
        ours: Option<&Value>,
        others: Option<&Value>,
    ) -> Option<Value> {
        let live = live?;
        if !is_owned(others) {
            // Nobody else has it: it stays as it is.
            return is_owned(ours).then(|| self.taken(wanted, live));
        }
        match (wanted, live) {
            (Value::Object(wanted), Value::Object(live)) if !others.is_some_and(is_whole) => {
                let parts = wanted.iter().filter_map(|(key, wanted)| {
                    let (ours, others) = (below(ours, key), below(others, key));
                    let left = self.left(wanted, live.get(key), ours, others)?;
                    Some((key.clone(), left))
                });
                let parts: Map<String, Value> = parts.collect();
                (!parts.is_empty()).then_some(Value::Object(parts))
            }
            (Value::Array(wanted), Value::Array(live)) if others.is_some_and(is_keyed) => {
                let keys = item_keys(ours, others);
                let items: Vec<Value> = wanted
                    .iter()
                    .filter_map(|item| self.left_of_item(item, live, &keys, (ours, others)))
                    .collect();
                (!items.is_empty()).then_some(Value::Array(items))
            }
            _ => None,
        }
    }

    fn left_of_item(
        &mut self,
        item: &Value,
        live: &[Value],
        keys: &[String],
        (ours, others): (Option<&Value>, Option<&Value>),
    ) -> Option<Value> {
        let live = live.iter().find(|live| is_same(keys, live, item))?;
        let of = |owned: Option<&Value>| owned.and_then(|owned| own_of_item(owned, item)).cloned();
        let (ours, others) = (of(ours), of(others));
        let left = self.left(item, Some(live), ours.as_ref(), others.as_ref())?;
        named(left, live, keys)
    }

    /// What is live of a value that nobody else owns.
    fn taken(&mut self, wanted: &Value, live: &Value) -> Value {
        *self.takes_live |= wanted != live;
        live.clone()
    }
}

/// What is applied of an item of a list: what tells it apart is part of it, as long as anything else is.
fn named(item: Value, live: &Value, keys: &[String]) -> Option<Value> {
    let Value::Object(mut parts) = item else {
        return Some(item);
    };
    if parts.keys().all(|part| keys.contains(part)) {
        return None;
    }
    for key in keys {
        if let Some(value) = live.get(key) {
            parts.insert(key.clone(), value.clone());
        }
    }
    Some(Value::Object(parts))
}

/// The fields that tell the items of a list apart; empty = the list is owned as a whole.
fn item_keys(ours: Option<&Value>, others: Option<&Value>) -> Vec<String> {
    let mut keys: Vec<String> = [ours, others]
        .into_iter()
        .flatten()
        .flat_map(keys_of)
        .collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// What is left of a value without what `theirs` owns.
fn but(wanted: &Value, live: Option<&Value>, theirs: Option<&Value>) -> Option<Value> {
    let (Some(theirs), Some(live)) = (theirs, live) else {
        return Some(wanted.clone());
    };
    match (wanted, live) {
        (Value::Object(_), Value::Object(_)) if !is_whole(theirs) => {
            let left = parts_but(wanted, live, theirs);
            let is_empty = left.as_object().is_some_and(Map::is_empty);
            (!is_empty).then_some(left)
        }
        (Value::Array(wanted), Value::Array(live)) if is_keyed(theirs) => {
            let keys = keys_of(theirs);
            let items: Vec<Value> = wanted
                .iter()
                .filter_map(|item| {
                    let live = live.iter().find(|live| is_same(&keys, live, item));
                    let (Some(live), Some(theirs)) = (live, own_of_item(theirs, item)) else {
                        return Some(item.clone());
                    };
                    named(parts_but(item, live, theirs), live, &keys)
                })
                .collect();
            (!items.is_empty()).then_some(Value::Array(items))
        }
        _ => None,
    }
}

/// Puts what `theirs` owns of the live object into the written one, where that has it.
fn lay(written: &mut Value, live: &Value, theirs: &Value) {
    match (written, live) {
        (Value::Object(written), Value::Object(live)) if !is_whole(theirs) => {
            for (key, value) in written {
                if let (Some(live), Some(theirs)) = (live.get(key), below(Some(theirs), key)) {
                    lay(value, live, theirs);
                }
            }
        }
        (Value::Array(written), Value::Array(live)) if is_keyed(theirs) => {
            let keys = keys_of(theirs);
            for item in written {
                let live = live.iter().find(|live| is_same(&keys, live, item));
                if let (Some(live), Some(theirs)) = (live, own_of_item(theirs, item)) {
                    lay(item, live, theirs);
                }
            }
        }
        (written, live) => written.clone_from(live),
    }
}

fn parts_but(wanted: &Value, live: &Value, theirs: &Value) -> Value {
    let Some(wanted) = wanted.as_object() else {
        return wanted.clone();
    };
    let parts = wanted.iter().filter_map(|(key, value)| {
        let left = but(value, live.get(key), below(Some(theirs), key))?;
        Some((key.clone(), left))
    });
    Value::Object(parts.collect())
}

#[cfg(test)]
mod tests;
