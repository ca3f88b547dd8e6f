//! What custom resources need of the API: the check of a document that is to be stored elsewhere, and
//! records with whether what they say has begun.

use bellwether_api::{
    document::{DocumentError, load},
    reference::NamespacedName,
    rollout::RolloutSpec,
};
use bellwether_store::records::{self, Record, RecordKey, RecordKind};
use serde_json::Value;

use super::{
    Scene,
    apply::{Scope, refuse_redacted, write_documents},
    auth::Caller,
    items::show,
    problem::{ApiError, ApiResult, problem_item},
    secrets,
    unreleased::unreleased,
};
use crate::app::App;

/// Says what is wrong with documents that cannot be read, as `apply` does.
pub fn unreadable(errors: Vec<DocumentError>) -> ApiError {
    ApiError::invalid(errors.iter().map(problem_item).collect())
}

/// Checks one document as `apply` does, and stores nothing. What does not fit other records is a warning:
/// these may be about to come, or to change.
///
/// # Errors
/// 422 where the document itself is wrong, 409 where the record comes from elsewhere.
pub async fn check_document(
    app: &App,
    caller: &Caller,
    body: &[u8],
    scope: &Scope<'_>,
) -> ApiResult<Vec<String>> {
    let loaded = load("", body).map_err(unreadable)?;
    refuse_redacted(&loaded.documents)?;
    let mut said = secrets::missing(app, &loaded.documents, scope.namespace).await?;
    let mut tx = app.store.begin().await?;
    let (documents, warnings) = (&loaded.documents, &loaded.warnings);
    match write_documents(&mut tx, caller, documents, warnings, scope, None).await {
        Ok(result) => said.extend(result.warnings),
        Err(error) if error.status() == super::StatusCode::UNPROCESSABLE_ENTITY => {
            let waits = error.text();
            said.extend(
                waits
                    .lines()
                    .map(|line| format!("it waits until this fits: {line}")),
            );
        }
        Err(error) => return Err(error),
    }
    Ok(said)
}

/// A record as the status of its custom resource speaks of it.
pub struct Mirrored {
    /// The generation of the record.
    pub generation: u64,
    /// What the API shows; null = nothing.
    pub status: Value,
    /// Whether what the record says is no release yet.
    pub pending: bool,
}

/// Shows a record; absent = there is none, or it changed while it was looked at.
///
/// # Errors
/// The database fails.
pub async fn show_mirrored(
    app: &App,
    scene: &Scene,
    key: &RecordKey,
) -> ApiResult<Option<Mirrored>> {
    let Some(record) = records::get(&app.store, key).await? else {
        return Ok(None);
    };
    // First: a status that is read afterwards speaks of that release, if there is one.
    let pending = match application_of(&record) {
        Some(name) => unreleased(app, &name).await?.is_some_and(|one| !one.draft),
        None => false,
    };
    let Some(record) = records::get(&app.store, key)
        .await?
        .filter(|one| one.generation == record.generation)
    else {
        return Ok(None);
    };
    let item = show(app, scene, &record).await?;
    Ok(Some(Mirrored {
        generation: record.generation,
        status: item.status.unwrap_or_default(),
        pending,
    }))
}

/// The application whose release a record is part of; absent = of none's.
fn application_of(record: &Record) -> Option<NamespacedName> {
    let name = match record.key.kind {
        RecordKind::Application => record.key.name.clone(),
        RecordKind::Rollout => {
            let spec: RolloutSpec = serde_json::from_value(record.spec.clone()).ok()?;
            spec.application?
        }
        RecordKind::Fleet
        | RecordKind::MetricTemplate
        | RecordKind::AlertProvider
        | RecordKind::Repository => return None,
    };
    Some(NamespacedName {
        namespace: record.key.namespace.clone(),
        name,
    })
}
