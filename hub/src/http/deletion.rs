//! Deleting records: not what others use, and an application only with the number of its clusters.

use axum::http::StatusCode;
use bellwether_api::{application::ApplicationSpec, reference::NamespacedName};
use bellwether_store::records::{self, Record, RecordKey, RecordKind};
use serde::Deserialize;

use super::{
    auth::Caller,
    dependencies,
    items::{Scene, holders},
    keeping, metric_templates,
    problem::{ApiError, ApiResult},
};
use crate::app::App;

/// How a deletion is confirmed.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeleteQuery {
    /// Of an Application: how many clusters hold it (`status.clusters`). May be left out where at
    /// most one does.
    pub clusters: Option<usize>,
    /// Why; kept with what changes.
    pub reason: Option<String>,
}

/// Deleting an application takes it away from every cluster: whoever does says from how many.
///
/// # Errors
/// 428 when the number was not said and more than one cluster holds it, 409 when it is another.
pub async fn refuse_unconfirmed(
    app: &App,
    scene: &Scene,
    key: &RecordKey,
    confirmed: Option<usize>,
) -> ApiResult<()> {
    let name = NamespacedName {
        namespace: key.namespace.clone(),
        name: key.name.clone(),
    };
    let count = holders(&app.store, scene, &name).await?;
    match confirmed {
        Some(said) if said != count => Err(ApiError::conflict(format!(
            "application {:?} runs on {count} clusters, not on {said}; nothing was deleted",
            key.name
        ))),
        None if count > 1 => Err(ApiError::new(
            StatusCode::PRECONDITION_REQUIRED,
            "Unconfirmed",
            format!(
                "application {:?} runs on {count} clusters; say clusters={count} to take it away \
                 from all of them",
                key.name
            ),
        )),
        _ => Ok(()),
    }
}

/// What others use must not vanish under them.
///
/// # Errors
/// 409 with who uses it, or the database fails.
pub async fn refuse_in_use(app: &App, caller: &Caller, key: &RecordKey) -> ApiResult<()> {
    match key.kind {
        RecordKind::Fleet => refuse_used(app, &key.name).await,
        RecordKind::MetricTemplate => metric_templates::refuse_used(app, caller, key).await,
        RecordKind::Application => keeping::refuse_untold(app, key).await,
        RecordKind::Rollout | RecordKind::Repository | RecordKind::AlertProvider => Ok(()),
    }
}

/// Deletes a record, and tells the loops.
///
/// # Errors
/// 404 when it is gone, 409 when it is not at the `expected` version or others need it.
pub async fn remove(
    app: &App,
    caller: &Caller,
    key: &RecordKey,
    expected: Option<u64>,
    reason: &str,
) -> ApiResult<()> {
    let mut tx = app.store.begin().await?;
    if key.kind == RecordKind::Application {
        dependencies::refuse_used(&mut tx, key).await?;
    }
    let Some(deleted) = records::delete(&mut tx, key, expected).await? else {
        return Err(ApiError::not_found("somebody else deleted it a moment ago"));
    };
    if let Some(application) = application_of(&deleted) {
        records::note_removal(&mut tx, &application, &caller.principal.name, reason).await?;
    }
    tx.commit().await?;
    app.pokes.plan.notify_one();
    tracing::info!(
        principal = %caller.principal.name,
        kind = ?key.kind,
        namespace = %key.namespace,
        name = %key.name,
        reason,
        "object deleted"
    );
    Ok(())
}

/// The application whose Rollout a record is; absent = it is none.
fn application_of(record: &Record) -> Option<NamespacedName> {
    if record.key.kind != RecordKind::Rollout {
        return None;
    }
    let name = record.spec.get("application")?.as_str()?.to_owned();
    Some(NamespacedName {
        namespace: record.key.namespace.clone(),
        name,
    })
}

/// A fleet that applications name must not vanish under them.
async fn refuse_used(app: &App, fleet: &str) -> ApiResult<()> {
    let users: Vec<String> = records::list_all(&app.store, RecordKind::Application)
        .await?
        .into_iter()
        .filter(|record| {
            serde_json::from_value::<ApplicationSpec>(record.spec.clone())
                .is_ok_and(|spec| spec.fleets().any(|one| one == fleet))
        })
        .map(|record| format!("{}/{}", record.key.namespace, record.key.name))
        .collect();
    if users.is_empty() {
        return Ok(());
    }
    Err(ApiError::conflict(format!(
        "fleet {fleet:?} is the destination of {}; delete or change them first",
        users.join(", ")
    )))
}
