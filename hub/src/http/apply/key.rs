//! Which record a document is.

use bellwether_api::{call::ProblemItem, document::Document};
use bellwether_hub_core::authorize::Kind;
use bellwether_store::records::{RecordKey, RecordKind};

use super::super::{
    problem::{ApiError, ApiResult},
    redact::is_redacted,
};

pub(super) fn require_only(
    documents: &[Document],
    key: &RecordKey,
    namespace: &str,
) -> ApiResult<()> {
    let [document] = documents else {
        return Err(ApiError::bad_request(
            "the body must hold exactly one document",
        ));
    };
    let (kind, place, name) = key_of(document, namespace);
    let wanted = format!("{:?}", key.kind);
    if (&kind, &place, &name) != (&wanted, &key.namespace, &key.name) {
        return Err(ApiError::bad_request(format!(
            "the body is {kind} {place}/{name}; the address is {wanted} {}/{}",
            key.namespace, key.name
        )));
    }
    Ok(())
}

/// Returns kind, namespace (empty for global kinds) and name.
pub(super) fn key_of(document: &Document, default_namespace: &str) -> (String, String, String) {
    (
        document.kind().name().to_owned(),
        namespace_of(document, default_namespace),
        document.metadata().name.clone(),
    )
}

pub(super) const fn kind_of(document: &Document) -> Kind {
    match document {
        Document::Cluster(_) => Kind::Cluster,
        Document::Fleet(_) => Kind::Fleet,
        Document::Application(_) => Kind::Application,
        Document::Rollout(_) => Kind::Rollout,
        Document::MetricTemplate(_) => Kind::MetricTemplate,
        Document::Repository(_) => Kind::Repository,
    }
}

/// Names the record of a document; absent = clusters have none.
pub fn record_key(document: &Document, default_namespace: &str) -> Option<RecordKey> {
    let kind = match document {
        Document::Cluster(_) => return None,
        Document::Fleet(_) => RecordKind::Fleet,
        Document::Application(_) => RecordKind::Application,
        Document::Rollout(_) => RecordKind::Rollout,
        Document::MetricTemplate(_) => RecordKind::MetricTemplate,
        Document::Repository(_) => RecordKind::Repository,
    };
    Some(RecordKey {
        kind,
        namespace: namespace_of(document, default_namespace),
        name: document.metadata().name.clone(),
    })
}

/// Returns a document's namespace; empty for global kinds.
pub fn namespace_of(document: &Document, default_namespace: &str) -> String {
    if !document.kind().is_namespaced() {
        return String::new();
    }
    document
        .metadata()
        .namespace
        .clone()
        .unwrap_or_else(|| default_namespace.to_owned())
}

/// Refuses Secrets as the hub shows them.
///
/// # Errors
/// 422.
pub fn refuse_redacted(documents: &[Document]) -> ApiResult<()> {
    let bad: Vec<ProblemItem> = documents
        .iter()
        .filter(|document| is_redacted(&document.to_value()))
        .map(|document| ProblemItem {
            line: document.source().position(&bellwether_api::document::FieldPath::spec()).line,
            detail: format!(
                "{}/{} holds a Secret whose content is \"<redacted>\", as the hub shows it; put the \
                 content back before you apply",
                document.kind().name().to_lowercase(),
                document.metadata().name
            ),
            code: "Redacted".to_owned(),
            ..ProblemItem::default()
        })
        .collect();
    if bad.is_empty() {
        Ok(())
    } else {
        Err(ApiError::invalid(bad))
    }
}
