//! Compares a tree with a kind's schema: every unknown field, missing field and wrong value at
//! once, each with its position.

use serde_json::{Map, Value};

use super::{
    error::{DocumentError, ErrorCode},
    node::{Content, Entry, Node, Position},
    path::{FieldPath, Segment, shorten},
    suggest,
};
use crate::{duration, number};

/// Objects of which exactly one field may be set.
const UNIONS: [&str; 4] = ["strategy", "traffic", "before", "after"];

/// Fields of unions that stand beside the one that is chosen.
const BESIDE_UNIONS: [&str; 4] = ["create", "namespace", "rules", "type"];

/// Checks one document against one schema.
pub(super) struct Walk<'a> {
    file: &'a str,
    root: &'a Value,
    path: FieldPath,
    errors: Vec<DocumentError>,
    max_errors: usize,
}

impl<'a> Walk<'a> {
    /// Starts a walk whose tree stands at `path`; it stops after `max_errors`.
    pub(super) fn new(
        file: &'a str,
        schema: &'a Value,
        path: FieldPath,
        max_errors: usize,
    ) -> Self {
        Self {
            file,
            root: schema,
            path,
            errors: Vec::new(),
            max_errors,
        }
    }

    /// Returns the value, without fields that are null, for the kind's own deserializer.
    ///
    /// # Errors
    ///
    /// Returns every error found.
    pub(super) fn run(mut self, node: &Node) -> Result<Value, Vec<DocumentError>> {
        let value = self.value(self.root, node);
        if self.errors.is_empty() {
            Ok(value)
        } else {
            Err(self.errors)
        }
    }

    fn error(&mut self, at: Position, code: ErrorCode, message: String, meant: Option<String>) {
        if self.errors.len() < self.max_errors {
            let error = DocumentError::at(self.file, at, &self.path, code, message);
            self.errors.push(error.suggest(meant));
        }
    }

    fn value(&mut self, schema: &'a Value, node: &Node) -> Value {
        if schema.get("x-kubernetes-int-or-string").is_some() {
            return self.int_or_string(schema, node);
        }
        match schema.get("type").and_then(Value::as_str) {
            Some("object") => self.object(schema, node),
            Some("array") => self.array(schema, node),
            Some("string") => self.string(schema, node),
            Some("integer") => self.integer(schema, node),
            Some("boolean") => self.boolean(node),
            _ => node.to_value(),
        }
    }

    fn wrong_type(&mut self, node: &Node, expected: &str) -> Value {
        let (found, quoted) = describe(node);
        let advice = if expected == "a string" {
            quoted
        } else {
            String::new()
        };
        let message = format!("expected {expected}, found {found}{advice}");
        self.error(node.at, ErrorCode::Type, message, None);
        Value::Null
    }

    fn object(&mut self, schema: &'a Value, node: &Node) -> Value {
        let Content::Mapping(entries) = &*node.content else {
            return self.wrong_type(node, "an object");
        };
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            return self.fields(schema, properties, node, entries);
        }
        match schema
            .get("additionalProperties")
            .filter(|inner| inner.is_object())
        {
            Some(inner) => self.map(inner, entries),
            None => node.to_value(),
        }
    }

    fn map(&mut self, inner: &'a Value, entries: &[Entry]) -> Value {
        let mut out = Map::new();
        for entry in entries {
            self.path.push(Segment::Key(entry.key.clone()));
            out.insert(entry.key.clone(), self.value(inner, &entry.value));
            self.path.pop();
        }
        Value::Object(out)
    }

    fn fields(
        &mut self,
        schema: &'a Value,
        properties: &'a Map<String, Value>,
        node: &Node,
        entries: &[Entry],
    ) -> Value {
        let mut out = Map::new();
        for entry in entries {
            self.path.push(Segment::Key(entry.key.clone()));
            match properties.get(&entry.key) {
                None => self.unknown_field(entry, properties),
                // What is null was left out, as for an API server.
                Some(_) if entry.value.is_null() => {}
                Some(inner) => {
                    let value = self.value(inner, &entry.value);
                    out.insert(entry.key.clone(), value);
                }
            }
            self.path.pop();
        }
        self.check_required(schema, node, &out, entries);
        self.check_union(properties, node, entries);
        Value::Object(out)
    }

    fn unknown_field(&mut self, entry: &Entry, properties: &Map<String, Value>) {
        if let Some(why) = suggest::elsewhere(self.path.parent_key(), &entry.key) {
            self.error(entry.at, ErrorCode::UnknownField, why.to_owned(), None);
            return;
        }
        let root = self.root;
        let exists = |path: &str| schema_has(root, path);
        let meant = suggest::field(&entry.key, properties.keys().map(String::as_str), exists);
        self.error(
            entry.at,
            ErrorCode::UnknownField,
            "unknown field".to_owned(),
            meant,
        );
    }

    fn check_required(
        &mut self,
        schema: &Value,
        node: &Node,
        out: &Map<String, Value>,
        entries: &[Entry],
    ) {
        let required = schema.get("required").and_then(Value::as_array);
        for name in required.into_iter().flatten().filter_map(Value::as_str) {
            if out.contains_key(name) {
                continue;
            }
            let written = entries.iter().find(|entry| entry.key == name);
            let at = written.map_or(node.at, |entry| entry.at);
            self.path.push(Segment::Key(name.to_owned()));
            self.error(
                at,
                ErrorCode::Required,
                "required field is missing".to_owned(),
                None,
            );
            self.path.pop();
        }
    }

    fn check_union(&mut self, properties: &Map<String, Value>, node: &Node, entries: &[Entry]) {
        if !UNIONS.contains(&self.path.last_key()) {
            return;
        }
        let chosen = |key: &str| !BESIDE_UNIONS.contains(&key);
        let set: Vec<&Entry> = entries
            .iter()
            .filter(|entry| !entry.value.is_null() && chosen(&entry.key))
            .collect();
        let known: Vec<&str> = properties
            .keys()
            .map(String::as_str)
            .filter(|key| chosen(key))
            .collect();
        let known = known.join(", ");
        match set.as_slice() {
            [_] => {}
            [] => {
                let message = format!("exactly one must be set of: {known}");
                self.error(node.at, ErrorCode::Invalid, message, None);
            }
            [_, second, ..] => {
                let names: Vec<String> = set.iter().map(|entry| shorten(&entry.key)).collect();
                let message = format!("exactly one may be set, found {}", names.join(" and "));
                self.error(second.at, ErrorCode::Invalid, message, None);
            }
        }
    }

    fn array(&mut self, schema: &'a Value, node: &Node) -> Value {
        let Content::Sequence(items) = &*node.content else {
            return self.wrong_type(node, "a list");
        };
        let any = &Value::Null;
        let inner = schema.get("items").unwrap_or(any);
        let mut out = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            self.path.push(Segment::Index(index));
            out.push(self.value(inner, item));
            self.path.pop();
        }
        Value::Array(out)
    }

    fn string(&mut self, schema: &Value, node: &Node) -> Value {
        let word = || node.written().filter(|word| is_word_of(schema, word));
        let Some(text) = node.as_str().or_else(word) else {
            let is_duration = schema
                .get("pattern")
                .is_some_and(|p| p == duration::PATTERN);
            let expected = if is_duration {
                "a duration such as 90s or 1h30m"
            } else {
                "a string"
            };
            return self.wrong_type(node, expected);
        };
        if let Some(allowed) = schema.get("enum").and_then(Value::as_array) {
            let allowed: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
            if !allowed.contains(&text) {
                let meant = suggest::closest(text, allowed.iter().copied()).map(str::to_owned);
                let message = format!(
                    "unknown value {:?}; use one of {}",
                    shorten(text),
                    allowed.join(", ")
                );
                self.error(node.at, ErrorCode::Value, message, meant);
            }
        } else {
            self.pattern(schema, text, node.at);
        }
        Value::from(text)
    }

    /// Checks the patterns of our own types by those types' own readers.
    fn pattern(&mut self, schema: &Value, text: &str, at: Position) {
        let problem = match schema.get("pattern").and_then(Value::as_str) {
            Some(duration::PATTERN) if text.parse::<duration::Dur>().is_err() => {
                "is no duration; write it like \"90s\" or \"1h30m\""
            }
            Some(number::NUM_PATTERN) if text.parse::<number::Num>().is_err() => {
                "is no decimal number; write it like \"99\" or \"0.5\""
            }
            Some(number::INT_OR_PERCENT_PATTERN)
                if text.parse::<number::IntOrPercent>().is_err() =>
            {
                "is neither a count nor a percentage; write 3 or \"25%\""
            }
            _ => return,
        };
        self.error(
            at,
            ErrorCode::Value,
            format!("{:?} {problem}", shorten(text)),
            None,
        );
    }

    fn integer(&mut self, schema: &Value, node: &Node) -> Value {
        let Content::Scalar {
            value: Value::Number(number),
            ..
        } = &*node.content
        else {
            return self.wrong_type(node, "an integer");
        };
        if number.is_f64() {
            return self.wrong_type(node, "an integer");
        }
        self.bounds(schema, number, node.at);
        Value::Number(number.clone())
    }

    fn bounds(&mut self, schema: &Value, number: &serde_json::Number, at: Position) {
        let value = number.as_i128().unwrap_or_default();
        let bound = |name: &str| schema.get(name).and_then(Value::as_i64).map(i128::from);
        let message = match (bound("minimum"), bound("maximum")) {
            (Some(minimum), _) if value < minimum => {
                format!("{value} is below {minimum}, the smallest allowed value")
            }
            (_, Some(maximum)) if value > maximum => {
                format!("{value} is above {maximum}, the largest allowed value")
            }
            _ => return,
        };
        self.error(at, ErrorCode::Value, message, None);
    }

    fn boolean(&mut self, node: &Node) -> Value {
        match &*node.content {
            Content::Scalar {
                value: value @ Value::Bool(_),
                ..
            } => value.clone(),
            _ => self.wrong_type(node, "true or false"),
        }
    }

    fn int_or_string(&mut self, schema: &Value, node: &Node) -> Value {
        match &*node.content {
            Content::Scalar {
                value: Value::String(text),
                ..
            } => {
                self.pattern(schema, text, node.at);
                Value::from(text.as_str())
            }
            Content::Scalar {
                value: Value::Number(number),
                ..
            } if !number.is_f64() => {
                self.bounds(schema, number, node.at);
                Value::Number(number.clone())
            }
            _ => self.wrong_type(node, "an integer or a string"),
        }
    }
}

/// Names what stands at `node`, and how to write it as a text.
/// Tells whether a schema names the word: `pick: N` is no boolean, although YAML has it so.
fn is_word_of(schema: &Value, word: &str) -> bool {
    let words = schema.get("enum").and_then(Value::as_array);
    words.is_some_and(|words| words.iter().any(|one| one == word))
}

fn describe(node: &Node) -> (String, String) {
    let Content::Scalar { value, written } = &*node.content else {
        let what = match &*node.content {
            Content::Sequence(_) => "a list",
            _ => "an object",
        };
        return (what.to_owned(), String::new());
    };
    let written = shorten(written.as_deref().unwrap_or_default());
    let quoted = format!("; write it in quotes: {written:?}");
    match value {
        Value::Null => ("nothing".to_owned(), String::new()),
        Value::Bool(_) => (format!("the boolean {written}"), quoted),
        Value::Number(_) => (format!("the number {written}"), quoted),
        _ => ("a string".to_owned(), String::new()),
    }
}

/// Tells whether a schema has the field `path`, dots between its parts.
fn schema_has(schema: &Value, path: &str) -> bool {
    let mut schema = Some(schema);
    for part in path.split('.') {
        schema = schema.and_then(|schema| schema.get("properties")?.get(part));
    }
    schema.is_some()
}
