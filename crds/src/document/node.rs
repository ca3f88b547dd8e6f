//! A document as a tree of values that know where they were written.

use std::{fmt, sync::Arc};

use serde_json::{Map, Value};

use super::path::{FieldPath, Segment};

/// A place in an input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
}

/// One value. Cloning shares the contents, so that anchors cost nothing.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) at: Position,
    pub(super) content: Arc<Content>,
}

#[derive(Debug)]
pub(super) enum Content {
    /// `written` is what an unquoted scalar looked like; absent where the value is that text.
    Scalar {
        value: Value,
        written: Option<Box<str>>,
    },
    Sequence(Vec<Node>),
    Mapping(Vec<Entry>),
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) at: Position,
    pub(super) value: Node,
}

impl Node {
    pub(super) fn to_value(&self) -> Value {
        match &*self.content {
            Content::Scalar { value, .. } => value.clone(),
            Content::Sequence(items) => items.iter().map(Self::to_value).collect(),
            Content::Mapping(entries) => {
                let entries = entries
                    .iter()
                    .map(|entry| (entry.key.clone(), entry.value.to_value()));
                Value::Object(entries.collect::<Map<_, _>>())
            }
        }
    }

    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        match &*self.content {
            Content::Mapping(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(
            &*self.content,
            Content::Scalar {
                value: Value::Null,
                ..
            }
        )
    }

    /// What an unquoted scalar looked like; absent where it is a text.
    pub(super) fn written(&self) -> Option<&str> {
        match &*self.content {
            Content::Scalar { written, .. } => written.as_deref(),
            _ => None,
        }
    }

    pub(super) fn as_str(&self) -> Option<&str> {
        match &*self.content {
            Content::Scalar { value, .. } => value.as_str(),
            _ => None,
        }
    }
}

/// Where a document came from: finds the position of each of its fields.
#[derive(Clone)]
pub struct Source {
    file: Arc<str>,
    root: Node,
}

impl Source {
    pub(super) fn new(file: &str, root: Node) -> Self {
        Self {
            file: Arc::from(file),
            root,
        }
    }

    /// Returns the input's name.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Returns where `path` is written; for a field that is not written, where the nearest object
    /// above it is.
    #[must_use]
    pub fn position(&self, path: &FieldPath) -> Position {
        let mut node = &self.root;
        let mut at = node.at;
        for segment in path.segments() {
            match (segment, &*node.content) {
                (Segment::Key(key), Content::Mapping(entries)) => {
                    let Some(entry) = entries.iter().find(|entry| entry.key == *key) else {
                        return at;
                    };
                    at = entry.at;
                    node = &entry.value;
                }
                (Segment::Index(index), Content::Sequence(items)) => {
                    let Some(item) = items.get(*index) else {
                        return at;
                    };
                    at = item.at;
                    node = item;
                }
                _ => return at,
            }
        }
        at
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}
