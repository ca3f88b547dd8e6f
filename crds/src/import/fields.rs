//! Reading an object of another system so that no field of it goes unseen.

use std::cell::RefCell;

use serde_json::{Map, Value};

use super::problems::Problems;
use crate::{
    document::{FieldPath, closest},
    number::IntOrPercent,
};

/// Writes a field that is there.
pub(super) fn put(target: &mut Map<String, Value>, key: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        target.insert(key.to_owned(), value.into());
    }
}

/// The fields of one object. Whatever nobody asked for is said by [`Fields::done`].
pub(super) struct Fields<'a> {
    problems: &'a Problems,
    path: FieldPath,
    map: Option<&'a Map<String, Value>>,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Fields<'a> {
    pub fn of(problems: &'a Problems, path: FieldPath, value: Option<&'a Value>) -> Self {
        let map = value.and_then(Value::as_object);
        if map.is_none() && value.is_some_and(|value| !value.is_null()) {
            problems.add(path.to_string(), "it is no object");
        }
        Self {
            problems,
            path,
            map,
            asked: RefCell::default(),
        }
    }

    /// The value of a field; null is none.
    pub fn get(&self, key: &'static str) -> Option<&'a Value> {
        self.asked.borrow_mut().push(key);
        let value = self.map.and_then(|map| map.get(key));
        value.filter(|value| !value.is_null())
    }

    fn read<T>(
        &self,
        key: &'static str,
        what: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.get(key)?;
        let found = read(value);
        if found.is_none() {
            self.refuse(key, format!("{value} is no {what}"));
        }
        found
    }

    pub fn text(&self, key: &'static str) -> Option<&'a str> {
        let found = self.read(key, "text", Value::as_str);
        found.filter(|text| !text.is_empty())
    }

    pub fn count(&self, key: &'static str) -> Option<u64> {
        self.read(key, "whole number", Value::as_u64)
    }

    pub fn flag(&self, key: &'static str) -> bool {
        self.read(key, "true or false", Value::as_bool)
            .unwrap_or(false)
    }

    /// A number as a decimal text; texts that hold one are numbers as well.
    pub fn decimal(&self, key: &'static str) -> Option<String> {
        self.read(key, "number", |value| match value {
            Value::Number(number) => Some(number.to_string()),
            Value::String(text) => text.parse::<f64>().is_ok().then(|| text.clone()),
            _ => None,
        })
    }

    pub fn object(&self, key: &'static str) -> Option<Self> {
        let value = self.get(key)?;
        Some(Self::of(self.problems, self.path.key(key), Some(value)))
    }

    /// An object under a name that is the user's own.
    pub fn below(&self, key: &str, name: &str, value: &'a Value) -> Self {
        Self::of(self.problems, self.path.key(key).key(name), Some(value))
    }

    /// The items of a list of objects.
    pub fn items(&self, key: &'static str) -> Vec<Self> {
        let items = self.read(key, "list", Value::as_array);
        let items = items.into_iter().flatten().enumerate();
        items
            .map(|(index, item)| {
                Self::of(self.problems, self.path.key(key).index(index), Some(item))
            })
            .collect()
    }

    pub fn texts(&self, key: &'static str) -> Vec<String> {
        let list = self.read(key, "list of texts", |value| {
            let items = value.as_array()?;
            let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
            texts.collect::<Option<Vec<String>>>()
        });
        list.unwrap_or_default()
    }

    /// A map of texts; empty = none.
    pub fn text_map(&self, key: &'static str) -> Map<String, Value> {
        let map = self.read(key, "map of texts", |value| {
            let map = value.as_object()?;
            map.values().all(Value::is_string).then(|| map.clone())
        });
        map.unwrap_or_default()
    }

    /// A whole number or a text, as ports are.
    pub fn port(&self, key: &'static str) -> Option<Value> {
        self.read(key, "port", |value| {
            let is_port = value.is_u64() || value.as_str().is_some_and(|text| !text.is_empty());
            is_port.then(|| value.clone())
        })
    }

    /// A number of pods or a share of them, such as `25%`.
    pub fn pods(&self, key: &'static str) -> Option<IntOrPercent> {
        self.read(key, "number of pods and no share of them", |value| {
            serde_json::from_value(value.clone()).ok()
        })
    }

    pub fn is_set(&self, key: &'static str) -> bool {
        match self.get(key) {
            None | Some(Value::Bool(false)) => false,
            Some(Value::Array(items)) => !items.is_empty(),
            Some(Value::Object(fields)) => !fields.is_empty(),
            Some(Value::String(text)) => !text.is_empty(),
            Some(_) => true,
        }
    }

    /// Refuses fields where they are set.
    pub fn without(&self, keys: &[&'static str], why: &str) {
        for key in keys {
            if self.is_set(key) {
                self.refuse(key, why);
            }
        }
    }

    pub fn refuse(&self, key: &str, why: impl Into<String>) {
        self.problems.add(self.path.key(key).to_string(), why);
    }

    pub fn note(&self, key: &str, why: impl Into<String>) {
        self.problems.note(self.path.key(key).to_string(), why);
    }

    /// Refuses this object itself.
    pub fn refuse_all(&self, why: impl Into<String>) {
        self.problems.add(self.path.to_string(), why);
    }

    /// Refuses every field that nobody asked for.
    pub fn done(self) {
        let asked = self.asked.into_inner();
        for key in self.map.into_iter().flat_map(Map::keys) {
            if asked.contains(&key.as_str()) {
                continue;
            }
            let near = closest(key, asked.iter().copied());
            let meant = near.map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
            let message = format!("it has no counterpart{meant}");
            self.problems.add(self.path.key(key).to_string(), message);
        }
    }
}
