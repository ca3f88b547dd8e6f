//! Builds the tree of one document from the parser's events, within the limits.

use std::{collections::BTreeMap, sync::Arc};

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};
use serde_json::Value;

use super::{
    error::ErrorCode,
    limits::{MAX_ALIASES, MAX_DEPTH, MAX_EXPANDED_BYTES, MAX_EXPANDED_VALUES, MAX_VALUES},
    node::{Content, Entry, Node, Position},
    path::shorten,
    scalar,
    split::Chunk,
};

/// Something wrong with the text of a document.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) at: Position,
    pub(super) code: ErrorCode,
    pub(super) message: String,
}

/// A tree, and the faults that did not keep it from being built.
pub(super) struct Tree {
    pub(super) root: Node,
    pub(super) faults: Vec<Fault>,
}

/// Builds the tree of a document.
///
/// # Errors
///
/// Returns the fault that ends the reading: a syntax error or a limit.
pub(super) fn build(chunk: Chunk<'_>) -> Result<Tree, Fault> {
    let mut builder = Builder {
        parser: Parser::new_from_str(chunk.text),
        lines_before: chunk.first_line - 1,
        anchors: BTreeMap::new(),
        faults: Vec::new(),
        values: 0,
        aliases: 0,
        expanded_values: 0,
        expanded_bytes: 0,
    };
    let (root, _) = builder.value(0)?;
    builder.finish()?;
    Ok(Tree {
        root,
        faults: builder.faults,
    })
}

/// What a value would cost if an alias repeated it.
#[derive(Clone, Copy, Default)]
struct Cost {
    values: usize,
    bytes: usize,
    depth: usize,
}

impl Cost {
    fn around(&mut self, child: Self) {
        self.values += child.values;
        self.bytes += child.bytes;
        self.depth = self.depth.max(child.depth + 1);
    }
}

struct Builder<'a> {
    parser: Parser<'a, StrInput<'a>>,
    lines_before: u32,
    anchors: BTreeMap<usize, (Node, Cost)>,
    faults: Vec<Fault>,
    values: usize,
    aliases: usize,
    expanded_values: usize,
    expanded_bytes: usize,
}

impl<'a> Builder<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Position), Fault> {
        loop {
            match self.parser.next_event() {
                Some(Ok((event, span))) => match event {
                    Event::StreamStart | Event::DocumentStart(..) | Event::Comment(..) => {}
                    event => return Ok((event, self.position(&span))),
                },
                Some(Err(error)) => return Err(self.syntax(&error)),
                None => return Ok((Event::StreamEnd, Position::default())),
            }
        }
    }

    fn position(&self, span: &Span) -> Position {
        self.place(span.start.line(), span.start.col())
    }

    fn place(&self, line: usize, column: usize) -> Position {
        Position {
            line: u32::try_from(line)
                .unwrap_or(u32::MAX)
                .saturating_add(self.lines_before),
            column: u32::try_from(column + 1).unwrap_or(u32::MAX),
        }
    }

    fn syntax(&self, error: &ScanError) -> Fault {
        let at = self.place(error.marker().line(), error.marker().col());
        // The parser has a limit of its own, which flow collections reach while it looks ahead.
        if *error.kind() == ErrorKind::RecursionLimitExceeded {
            return too_deep(at);
        }
        Fault {
            at,
            code: ErrorCode::Syntax,
            message: shorten(&error.info()),
        }
    }

    /// Reads what follows the first value: nothing may.
    fn finish(&mut self) -> Result<(), Fault> {
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(()),
                (Event::DocumentEnd, _) => {}
                (_, at) => return Err(syntax_at(at, "text after the end of the document")),
            }
        }
    }

    fn value(&mut self, depth: usize) -> Result<(Node, Cost), Fault> {
        let (event, at) = self.next()?;
        self.value_of(event, at, depth)
    }

    fn value_of(
        &mut self,
        event: Event<'a>,
        at: Position,
        depth: usize,
    ) -> Result<(Node, Cost), Fault> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(limit_at(
                at,
                format!("more than {MAX_VALUES} values in one document"),
            ));
        }
        let (content, cost, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let content = self.scalar(&text, style, tag.as_deref(), at)?;
                (
                    content,
                    Cost {
                        values: 1,
                        bytes: text.len(),
                        depth: 0,
                    },
                    anchor,
                )
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.check_collection(depth, tag.as_deref(), "seq", at)?;
                let (content, cost) = self.sequence(depth)?;
                (content, cost, anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.check_collection(depth, tag.as_deref(), "map", at)?;
                let (content, cost) = self.mapping(depth)?;
                (content, cost, anchor)
            }
            Event::Alias(anchor) => return self.alias(anchor, at, depth),
            _ => return Err(syntax_at(at, "a value is missing")),
        };
        let node = Node {
            at,
            content: Arc::new(content),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), cost));
        }
        Ok((node, cost))
    }

    fn alias(&mut self, anchor: usize, at: Position, depth: usize) -> Result<(Node, Cost), Fault> {
        let Some((node, cost)) = self.anchors.get(&anchor) else {
            return Err(syntax_at(
                at,
                "an alias stands inside the value that it names",
            ));
        };
        let (mut node, cost) = (node.clone(), *cost);
        self.aliases += 1;
        self.expanded_values += cost.values;
        self.expanded_bytes += cost.bytes;
        let passed = if self.aliases > MAX_ALIASES {
            format!("more than {MAX_ALIASES} aliases in one document")
        } else if self.expanded_values > MAX_EXPANDED_VALUES {
            format!("aliases expand to more than {MAX_EXPANDED_VALUES} values")
        } else if self.expanded_bytes > MAX_EXPANDED_BYTES {
            format!(
                "aliases expand to more than {} KiB",
                MAX_EXPANDED_BYTES >> 10
            )
        } else if depth + cost.depth > MAX_DEPTH {
            return Err(too_deep(at));
        } else {
            node.at = at;
            return Ok((node, cost));
        };
        Err(limit_at(at, passed))
    }

    fn check_collection(
        &mut self,
        depth: usize,
        tag: Option<&Tag>,
        expected: &str,
        at: Position,
    ) -> Result<(), Fault> {
        if depth >= MAX_DEPTH {
            return Err(too_deep(at));
        }
        if let Some(tag) = tag
            && tag.core_suffix() != Some(expected)
        {
            self.refuse_tag(tag, at);
        }
        Ok(())
    }

    fn refuse_tag(&mut self, tag: &Tag, at: Position) {
        let tag = shorten(&tag.original());
        self.fault(
            at,
            ErrorCode::Syntax,
            format!("the tag {tag} is not supported here"),
        );
    }

    fn fault(&mut self, at: Position, code: ErrorCode, message: String) {
        self.faults.push(Fault { at, code, message });
    }

    fn sequence(&mut self, depth: usize) -> Result<(Content, Cost), Fault> {
        let mut items = Vec::new();
        let mut cost = Cost {
            values: 1,
            bytes: 0,
            depth: 1,
        };
        loop {
            let (event, at) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok((Content::Sequence(items), cost));
            }
            let (item, item_cost) = self.value_of(event, at, depth + 1)?;
            cost.around(item_cost);
            items.push(item);
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<(Content, Cost), Fault> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen: BTreeMap<String, Position> = BTreeMap::new();
        let mut merged = Vec::new();
        let mut cost = Cost {
            values: 1,
            bytes: 0,
            depth: 1,
        };
        loop {
            let (event, at) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let (key, is_merge) = self.key(event, at, depth)?;
            let (value, value_cost) = self.value(depth + 1)?;
            cost.around(value_cost);
            cost.bytes += key.len();
            if is_merge {
                merged.push(value);
            } else if let Some(first) = seen.get(&key) {
                let message = format!(
                    "the key {:?} stands here twice; the first is at {}:{}",
                    shorten(&key),
                    first.line,
                    first.column
                );
                self.fault(at, ErrorCode::Duplicate, message);
            } else {
                seen.insert(key.clone(), at);
                entries.push(Entry { key, at, value });
            }
        }
        for value in merged {
            self.merge(&value, &mut entries, &mut seen);
        }
        Ok((Content::Mapping(entries), cost))
    }

    /// Returns the key, and whether it is `<<`.
    fn key(
        &mut self,
        event: Event<'a>,
        at: Position,
        depth: usize,
    ) -> Result<(String, bool), Fault> {
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let is_merge = style == ScalarStyle::Plain && text == "<<";
                if text.is_empty() {
                    self.fault(at, ErrorCode::Syntax, "a key is empty".to_owned());
                }
                self.check_text(&text, at);
                if anchor != 0 {
                    let value = Value::from(&*text);
                    let content = Arc::new(Content::Scalar {
                        value,
                        written: None,
                    });
                    let cost = Cost {
                        values: 1,
                        bytes: text.len(),
                        depth: 0,
                    };
                    self.anchors.insert(anchor, (Node { at, content }, cost));
                }
                Ok((text.into_owned(), is_merge))
            }
            Event::Alias(anchor) => {
                let (node, _) = self.alias(anchor, at, depth)?;
                match node.as_str() {
                    Some(text) => Ok((text.to_owned(), false)),
                    None => Err(syntax_at(at, "a key must be a text")),
                }
            }
            _ => Err(syntax_at(at, "a key must be a text")),
        }
    }

    /// Adds the entries of `<<: *name` that are not written out.
    fn merge(
        &mut self,
        value: &Node,
        entries: &mut Vec<Entry>,
        seen: &mut BTreeMap<String, Position>,
    ) {
        match &*value.content {
            Content::Mapping(others) => {
                for other in others {
                    if !seen.contains_key(&other.key) {
                        seen.insert(other.key.clone(), other.at);
                        entries.push(other.clone());
                    }
                }
            }
            Content::Sequence(items)
                if items
                    .iter()
                    .all(|item| matches!(&*item.content, Content::Mapping(_))) =>
            {
                for item in items {
                    self.merge(item, entries, seen);
                }
            }
            _ => self.fault(
                value.at,
                ErrorCode::Syntax,
                "<< takes an object or a list of objects".to_owned(),
            ),
        }
    }

    fn check_text(&mut self, text: &str, at: Position) {
        // Postgres stores no NUL in text, and Kubernetes takes none in names or values.
        if text.contains('\0') {
            self.fault(
                at,
                ErrorCode::Syntax,
                "a text holds a NUL character".to_owned(),
            );
        }
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        tag: Option<&Tag>,
        at: Position,
    ) -> Result<Content, Fault> {
        self.check_text(text, at);
        let as_text = || Content::Scalar {
            value: Value::from(text),
            written: None,
        };
        let tag_name = tag.and_then(Tag::core_suffix);
        let plain = match (tag, tag_name) {
            (None, _) => style == ScalarStyle::Plain,
            (Some(_), Some("str")) => false,
            (Some(_), Some("int" | "float" | "bool" | "null")) => true,
            (Some(tag), _) => {
                self.refuse_tag(tag, at);
                false
            }
        };
        if !plain {
            return Ok(as_text());
        }
        let Ok(value) = scalar::resolve(text) else {
            let message = format!("{} is no number that JSON can carry", shorten(text));
            return Err(Fault {
                at,
                code: ErrorCode::Value,
                message,
            });
        };
        let agrees = match tag_name {
            Some("int") => value.is_i64() || value.is_u64(),
            Some("float") => value.is_number(),
            Some("bool") => value.is_boolean(),
            Some("null") => value.is_null(),
            _ => true,
        };
        if !agrees {
            let name = tag_name.unwrap_or_default();
            let message = format!("the value does not fit its tag !!{name}");
            self.fault(at, ErrorCode::Type, message);
        }
        let written = (!value.is_string()).then(|| Box::from(text));
        Ok(Content::Scalar { value, written })
    }
}

fn syntax_at(at: Position, message: &str) -> Fault {
    Fault {
        at,
        code: ErrorCode::Syntax,
        message: message.to_owned(),
    }
}

fn limit_at(at: Position, message: String) -> Fault {
    Fault {
        at,
        code: ErrorCode::Limit,
        message,
    }
}

fn too_deep(at: Position) -> Fault {
    limit_at(
        at,
        format!("more than {MAX_DEPTH} objects and lists inside each other"),
    )
}
