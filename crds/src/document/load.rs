//! From bytes to checked documents.

use std::{borrow::Cow, collections::BTreeMap, sync::LazyLock};

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{
    envelope::{Document, Kind, Metadata, Object},
    error::{DocumentError, DocumentWarning, ErrorCode},
    limits::{MAX_DOCUMENT_BYTES, MAX_DOCUMENTS, MAX_ERRORS, MAX_INPUT_BYTES},
    node::{Content, Node, Position, Source},
    path::{FieldPath, shorten},
    split::{Chunk, split},
    suggest, tree,
    walk::Walk,
};
use crate::{schema::spec_schema, validate};

/// Documents that passed every check that needs nothing but themselves.
#[derive(Debug)]
pub struct Loaded {
    /// The documents, in the order in which they were written.
    pub documents: Vec<Document>,
    /// What a human should know; it stops nothing.
    pub warnings: Vec<DocumentWarning>,
}

/// Reads and validates an input: YAML with any number of documents, or JSON.
///
/// `file` names the input in messages.
///
/// # Errors
///
/// Returns everything that is wrong with the input, in the order of its lines, at most
/// [`MAX_ERRORS`]; nothing of such an input may be applied.
pub fn load(file: &str, input: &[u8]) -> Result<Loaded, Vec<DocumentError>> {
    let documents = parse(file, input)?;
    let warnings = validate::documents(&documents)?;
    Ok(Loaded {
        documents,
        warnings,
    })
}

/// Reads an input without the checks that need more than one field. For callers that fill in
/// fields before they call [`validate::documents`].
///
/// # Errors
///
/// As for [`load`].
pub fn parse(file: &str, input: &[u8]) -> Result<Vec<Document>, Vec<DocumentError>> {
    let text = text_of(file, input).map_err(|error| vec![error])?;
    let text = escape_json(text);
    let mut documents = Vec::new();
    let mut errors: Vec<DocumentError> = Vec::new();
    for (index, chunk) in split(&text).enumerate() {
        if index >= MAX_DOCUMENTS {
            let message = format!("more than {MAX_DOCUMENTS} documents in one input");
            errors.push(error_at(file, chunk, ErrorCode::Limit, message));
            break;
        }
        match document(file, chunk, MAX_ERRORS.saturating_sub(errors.len())) {
            Ok(document) => documents.push(document),
            Err(found) => errors.extend(found),
        }
        if errors.len() >= MAX_ERRORS {
            break;
        }
    }
    if errors.is_empty() && documents.is_empty() {
        errors.push(DocumentError::whole(
            file,
            ErrorCode::Syntax,
            "there is no document",
        ));
    }
    errors.extend(duplicates(&documents));
    if errors.is_empty() {
        Ok(documents)
    } else {
        Err(in_order(file, errors))
    }
}

/// Reads an input as plain values, whatever their kinds: Kubernetes objects that shall become
/// manifests of a component, for instance. Scalars and limits are those of [`parse`]; empty
/// documents are left out.
///
/// # Errors
///
/// Returns every document that cannot be read.
pub fn values(file: &str, input: &[u8]) -> Result<Vec<Value>, Vec<DocumentError>> {
    let text = text_of(file, input).map_err(|error| vec![error])?;
    let text = escape_json(text);
    let (mut values, mut errors) = (Vec::new(), Vec::new());
    for chunk in split(&text).take(MAX_DOCUMENTS) {
        let of_fault = |fault: tree::Fault| {
            DocumentError::at(
                file,
                fault.at,
                &FieldPath::default(),
                fault.code,
                fault.message,
            )
        };
        match tree::build(chunk) {
            Ok(tree) => {
                errors.extend(tree.faults.into_iter().map(of_fault));
                values.push(tree.root.to_value());
            }
            Err(fault) => errors.push(of_fault(fault)),
        }
    }
    values.retain(|value| !value.is_null());
    if errors.is_empty() {
        Ok(values)
    } else {
        Err(in_order(file, errors))
    }
}

/// Sorts errors by position and cuts them at the limit.
pub(crate) fn in_order(file: &str, mut errors: Vec<DocumentError>) -> Vec<DocumentError> {
    errors.sort_by(|a, b| (a.line, a.column, &a.path).cmp(&(b.line, b.column, &b.path)));
    if errors.len() >= MAX_ERRORS {
        errors.truncate(MAX_ERRORS - 1);
        let message = format!("there are more errors than the {MAX_ERRORS} that are shown");
        errors.push(DocumentError::whole(file, ErrorCode::Limit, message));
    }
    errors
}

fn text_of<'a>(file: &str, input: &'a [u8]) -> Result<&'a str, DocumentError> {
    let whole = |code, message: String| DocumentError::whole(file, code, message);
    if input.len() > MAX_INPUT_BYTES {
        let message = format!(
            "the input has {} bytes; at most {MAX_INPUT_BYTES} (4 MiB) are read",
            input.len()
        );
        return Err(whole(ErrorCode::Limit, message));
    }
    let text = std::str::from_utf8(input).map_err(|error| {
        let message = format!("the input is not UTF-8 text (byte {})", error.valid_up_to());
        whole(ErrorCode::Syntax, message)
    })?;
    if let Some(at) = text.find('\0') {
        let message = format!("the input holds a NUL character (byte {at})");
        return Err(whole(ErrorCode::Syntax, message));
    }
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// Writes as escapes what JSON allows in its strings and YAML does not allow anywhere.
fn escape_json(text: &str) -> Cow<'_, str> {
    let is_forbidden = |c: char| matches!(c, '\u{7f}'..='\u{84}' | '\u{86}'..='\u{9f}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}');
    let is_json = || serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    if !text.contains(is_forbidden) || !is_json() {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 64);
    for c in text.chars() {
        if is_forbidden(c) {
            escaped.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
}

fn error_at(file: &str, chunk: Chunk<'_>, code: ErrorCode, message: String) -> DocumentError {
    let at = Position {
        line: chunk.first_line,
        column: 1,
    };
    DocumentError::at(file, at, &FieldPath::default(), code, message)
}

fn document(
    file: &str,
    chunk: Chunk<'_>,
    max_errors: usize,
) -> Result<Document, Vec<DocumentError>> {
    if chunk.text.len() > MAX_DOCUMENT_BYTES {
        let message = format!(
            "the document has {} bytes; at most {MAX_DOCUMENT_BYTES} (1 MiB) are read",
            chunk.text.len()
        );
        return Err(vec![error_at(file, chunk, ErrorCode::Limit, message)]);
    }
    let of_fault = |fault: tree::Fault| {
        DocumentError::at(
            file,
            fault.at,
            &FieldPath::default(),
            fault.code,
            fault.message,
        )
    };
    let tree = tree::build(chunk).map_err(|fault| vec![of_fault(fault)])?;
    let mut errors: Vec<DocumentError> = tree.faults.into_iter().map(of_fault).collect();
    match typed(file, tree.root, max_errors) {
        Ok(document) if errors.is_empty() => Ok(document),
        Ok(_) => Err(errors),
        Err(found) => {
            errors.extend(found);
            Err(errors)
        }
    }
}

/// The fields around a spec; what a server sets is accepted and ignored, so that the output of
/// `get -o yaml` can be applied again.
static ENVELOPE: LazyLock<Value> = LazyLock::new(|| {
    let texts = json!({"type": "object", "additionalProperties": {"type": "string"}});
    json!({
        "type": "object",
        "required": ["apiVersion", "kind", "metadata"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {"type": "string"},
                    "namespace": {"type": "string"},
                    "labels": texts,
                    "annotations": texts,
                    "resourceVersion": {"type": "string"},
                    "uid": {},
                    "generation": {},
                    "creationTimestamp": {},
                    "managedFields": {},
                    "managedBy": {},
                },
            },
            "spec": {},
            "status": {},
        },
    })
});

fn typed(file: &str, root: Node, max_errors: usize) -> Result<Document, Vec<DocumentError>> {
    if !matches!(&*root.content, Content::Mapping(_)) {
        let message = "expected an object with apiVersion, kind, metadata and spec";
        let path = FieldPath::default();
        return Err(vec![DocumentError::at(
            file,
            root.at,
            &path,
            ErrorCode::Type,
            message,
        )]);
    }
    let kind = kind_of(file, &root)?;
    let envelope = Walk::new(file, &ENVELOPE, FieldPath::default(), max_errors).run(&root);
    let spec = spec_of(file, kind, &root, max_errors);
    let (envelope, spec) = match (envelope, spec) {
        (Ok(envelope), Ok(spec)) => (envelope, spec),
        (envelope, spec) => {
            let mut errors = envelope.err().unwrap_or_default();
            errors.extend(spec.err().unwrap_or_default());
            return Err(errors);
        }
    };
    let metadata = envelope.get("metadata").cloned().unwrap_or_default();
    let source = Source::new(file, root);
    Ok(match kind {
        Kind::Cluster => Document::Cluster(object(source, metadata, spec)?),
        Kind::Fleet => Document::Fleet(object(source, metadata, spec)?),
        Kind::Application => Document::Application(object(source, metadata, spec)?),
        Kind::Rollout => Document::Rollout(object(source, metadata, spec)?),
        Kind::MetricTemplate => Document::MetricTemplate(object(source, metadata, spec)?),
        Kind::Repository => Document::Repository(object(source, metadata, spec)?),
        Kind::AlertProvider => Document::AlertProvider(object(source, metadata, spec)?),
    })
}

fn spec_of(
    file: &str,
    kind: Kind,
    root: &Node,
    max_errors: usize,
) -> Result<Value, Vec<DocumentError>> {
    let schema = spec_schema(kind);
    let spec = root.entry("spec").filter(|entry| !entry.value.is_null());
    if let Some(entry) = spec {
        return Walk::new(file, schema, FieldPath::spec(), max_errors).run(&entry.value);
    }
    let required = schema.get("required").and_then(Value::as_array);
    if required.is_none_or(Vec::is_empty) {
        return Ok(json!({}));
    }
    let message = "required field is missing";
    let path = FieldPath::spec();
    Err(vec![DocumentError::at(
        file,
        root.at,
        &path,
        ErrorCode::Required,
        message,
    )])
}

/// Makes the typed object. The walk has checked everything before; what fails here is where schema
/// and type disagree, and is said rather than hidden.
fn object<S: DeserializeOwned>(
    source: Source,
    metadata: Value,
    spec: Value,
) -> Result<Object<S>, Vec<DocumentError>> {
    let fail = |path: FieldPath, error: &serde_json::Error| {
        let at = source.position(&path);
        let message = error.to_string();
        vec![DocumentError::at(
            source.file(),
            at,
            &path,
            ErrorCode::Type,
            message,
        )]
    };
    let metadata: Metadata = serde_json::from_value(metadata)
        .map_err(|error| fail(FieldPath::default().key("metadata"), &error))?;
    let spec: S = serde_json::from_value(spec).map_err(|error| fail(FieldPath::spec(), &error))?;
    Ok(Object {
        metadata,
        spec,
        source,
    })
}

fn kind_of(file: &str, root: &Node) -> Result<Kind, Vec<DocumentError>> {
    let mut errors = Vec::new();
    let mut text = |field: &str| {
        let path = FieldPath::default().key(field);
        let entry = root.entry(field).filter(|entry| !entry.value.is_null());
        let error = match entry {
            None => (root.at, ErrorCode::Required, "required field is missing"),
            Some(entry) => match entry.value.as_str() {
                Some(text) => return Some((entry.at, text)),
                None => (entry.value.at, ErrorCode::Type, "expected a string"),
            },
        };
        errors.push(DocumentError::at(file, error.0, &path, error.1, error.2));
        None
    };
    let (version, name) = (text("apiVersion"), text("kind"));
    let (Some((version_at, version)), Some((name_at, name))) = (version, name) else {
        return Err(errors);
    };
    let unknown = |at, field: &str, message: String, meant: Option<&str>| {
        let path = FieldPath::default().key(field);
        DocumentError::at(file, at, &path, ErrorCode::UnknownKind, message)
            .suggest(meant.map(str::to_owned))
    };
    let ours = version.split('/').next() == Some(crate::GROUP);
    let kind = Kind::from_name(name);
    if version != crate::API_VERSION {
        let near = suggest::closest(version, [crate::API_VERSION]);
        if !ours && kind.is_none() && near.is_none() {
            let message = format!(
                "{} of {} is no kind of Bellwether; objects for member clusters stand under \
                 components[].manifests of an Application",
                shorten(name),
                shorten(version)
            );
            return Err(vec![unknown(name_at, "kind", message, None)]);
        }
        let message = format!("unknown version {:?}", shorten(version));
        let meant = near.or_else(|| (ours || kind.is_some()).then_some(crate::API_VERSION));
        errors.push(unknown(version_at, "apiVersion", message, meant));
    }
    match kind {
        Some(kind) if errors.is_empty() => Ok(kind),
        Some(_) => Err(errors),
        None => {
            let names = Kind::ALL.map(Kind::name);
            let meant = suggest::closest(name, names);
            let message = format!(
                "unknown kind {:?}; use one of {}",
                shorten(name),
                names.join(", ")
            );
            errors.push(unknown(name_at, "kind", message, meant));
            Err(errors)
        }
    }
}

fn duplicates(documents: &[Document]) -> Vec<DocumentError> {
    let mut seen: BTreeMap<(Kind, Option<&str>, &str), Position> = BTreeMap::new();
    let mut errors = Vec::new();
    for document in documents {
        let metadata = document.metadata();
        let path = FieldPath::metadata("name");
        let at = document.source().position(&path);
        let key = (
            document.kind(),
            metadata.namespace.as_deref(),
            metadata.name.as_str(),
        );
        match seen.get(&key) {
            None => {
                seen.insert(key, at);
            }
            Some(first) => {
                let message = format!(
                    "{} {:?} stands twice in this input; the first is at {}:{}",
                    document.kind(),
                    shorten(&metadata.name),
                    first.line,
                    first.column
                );
                let file = document.source().file();
                errors.push(DocumentError::at(
                    file,
                    at,
                    &path,
                    ErrorCode::Duplicate,
                    message,
                ));
            }
        }
    }
    errors
}
