//! Writing one document.

use bellwether_api::{
    call::{AppliedObject, ProblemItem},
    document::Document,
};
use bellwether_hub_core::release::is_secret;
use bellwether_store::{
    Tx,
    blobs::Secrecy,
    clusters::{self, ClusterPatch},
    records::{self, Change, NewRecord, RecordKey, RecordKind},
};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::{
    super::{
        auth::Caller,
        ownership,
        problem::{ApiError, ApiResult},
    },
    Scope,
    key::namespace_of,
};
use crate::clock::wall;

pub(super) async fn write(
    tx: &mut Tx,
    caller: &Caller,
    document: &Document,
    scope: &Scope<'_>,
    expected: Option<u64>,
) -> ApiResult<AppliedObject> {
    let expected = match (expected, &document.metadata().resource_version) {
        (Some(expected), _) => Some(expected),
        (None, None) => None,
        (None, Some(text)) => Some(text.parse().map_err(|_| {
            ApiError::conflict(format!(
                "metadata.resourceVersion {text:?} is none of this hub's"
            ))
        })?),
    };
    let (kind, spec) = match document {
        Document::Cluster(object) => {
            let spec = to_json(&object.spec)?;
            return write_cluster(tx, document, spec, expected).await;
        }
        Document::Fleet(object) => (RecordKind::Fleet, to_json(&object.spec)?),
        Document::Application(object) => (RecordKind::Application, to_json(&object.spec)?),
        Document::Rollout(object) => (RecordKind::Rollout, to_json(&object.spec)?),
        Document::MetricTemplate(object) => (RecordKind::MetricTemplate, to_json(&object.spec)?),
        Document::Repository(object) => (RecordKind::Repository, to_json(&object.spec)?),
    };
    let metadata = document.metadata();
    let new = NewRecord {
        key: RecordKey {
            kind,
            namespace: namespace_of(document, scope.namespace),
            name: metadata.name.clone(),
        },
        uid: Uuid::now_v7(),
        labels: metadata.labels.clone(),
        annotations: metadata.annotations.clone(),
        secrecy: if has_secret(&spec) {
            Secrecy::Secret
        } else {
            Secrecy::Plain
        },
        spec,
        by: caller.principal.name.clone(),
        reason: scope.reason.to_owned(),
    };
    let applied = records::apply(tx, &new, expected, wall()).await?;
    ownership::check_write(tx, &new.key, scope.writer, applied.change).await?;
    let record = applied.record;
    Ok(AppliedObject {
        kind: format!("{kind:?}"),
        namespace: Some(record.key.namespace).filter(|namespace| !namespace.is_empty()),
        name: record.key.name,
        result: change_word(applied.change).to_owned(),
        resource_version: record.resource_version.to_string(),
        generation: record.generation,
    })
}

const fn change_word(change: Change) -> &'static str {
    match change {
        Change::Created => "created",
        Change::Configured => "configured",
        Change::Unchanged => "unchanged",
    }
}

fn to_json<T: Serialize>(spec: &T) -> ApiResult<Value> {
    serde_json::to_value(spec).map_err(|error| ApiError::internal(&error))
}

fn has_secret(value: &Value) -> bool {
    is_secret(value)
        || match value {
            Value::Object(fields) => fields.values().any(has_secret),
            Value::Array(items) => items.iter().any(has_secret),
            _ => false,
        }
}

async fn write_cluster(
    tx: &mut Tx,
    document: &Document,
    spec: Value,
    expected: Option<u64>,
) -> ApiResult<AppliedObject> {
    let metadata = document.metadata();
    let before = clusters::get_in(tx, &metadata.name)
        .await?
        .map(|one| one.resource_version);
    let patch = ClusterPatch {
        labels: Some(metadata.labels.clone()),
        annotations: Some(metadata.annotations.clone()),
        spec: Some(spec),
    };
    let Some(cluster) = clusters::update(tx, &metadata.name, &patch, expected).await? else {
        return Err(ApiError::invalid(vec![ProblemItem {
            path: "metadata.name".to_owned(),
            pointer: "/metadata/name".to_owned(),
            line: document
                .source()
                .position(&bellwether_api::document::FieldPath::metadata("name"))
                .line,
            detail: format!(
                "there is no cluster {:?}; clusters come by `bellwether register cluster {}`",
                metadata.name, metadata.name
            ),
            code: "NotRegistered".to_owned(),
            ..ProblemItem::default()
        }]));
    };
    let unchanged = before == Some(cluster.resource_version);
    Ok(AppliedObject {
        kind: "Cluster".to_owned(),
        namespace: None,
        name: cluster.name,
        result: if unchanged { "unchanged" } else { "configured" }.to_owned(),
        resource_version: cluster.resource_version.to_string(),
        generation: cluster.generation,
    })
}
