//! Records that come from Git repositories: who may write them, and how the repositories stand.

use bellwether_api::{
    call::{Condition, RepositoryStatus},
    repository::RepositorySpec,
};
use bellwether_hub_core::repository::{Effect, Writer, may_write};
use bellwether_store::{
    Tx,
    records::{Change, Record, RecordKey},
    repositories,
};
use serde_json::{Value, json};

use super::problem::{ApiError, ApiResult};
use crate::app::App;

/// Refuses a write to what belongs to a repository, and notes what a repository writes as its own.
///
/// # Errors
/// 409 that says whose it is, or the database fails.
pub async fn check_write(
    tx: &mut Tx,
    key: &RecordKey,
    writer: Writer<'_>,
    change: Change,
) -> ApiResult<()> {
    let owner = repositories::owner_in(tx, key).await?;
    let effect = match change {
        Change::Created => Effect::Creates,
        Change::Configured => Effect::Changes,
        Change::Unchanged => Effect::Nothing,
    };
    may_write(writer, owner.as_deref(), effect)
        .map_err(|refusal| ApiError::conflict(format!("{}: {refusal}", said(key))))?;
    if let Writer::Repository { name, .. } = writer
        && owner.is_none()
    {
        repositories::own(tx, key, name).await?;
    }
    Ok(())
}

/// Refuses to delete what belongs to a repository.
///
/// # Errors
/// 409 that says whose it is, or the database fails.
pub async fn refuse_owned(app: &App, key: &RecordKey) -> ApiResult<()> {
    match repositories::owner(&app.store, key).await? {
        None => Ok(()),
        Some(repository) => Err(ApiError::conflict(format!(
            "{} comes from repository {repository}: take it out there, or delete the repository's \
             record first",
            said(key)
        ))),
    }
}

/// A record in words, as orphans are named: `Application/default/shop`.
pub fn said(key: &RecordKey) -> String {
    match key.namespace.as_str() {
        "" => format!("{:?}/{}", key.kind, key.name),
        namespace => format!("{:?}/{namespace}/{}", key.kind, key.name),
    }
}

/// Shows how a repository stands.
///
/// # Errors
/// The database fails.
pub async fn status(app: &App, record: &Record) -> ApiResult<Value> {
    let suspended = serde_json::from_value::<RepositorySpec>(record.spec.clone())
        .is_ok_and(|spec| spec.suspend);
    let synced = |status: &str, reason: &str, message: String| Condition {
        kind: "Synced".to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
    };
    let Some(state) = repositories::state(&app.store, &record.key.name).await? else {
        let condition = match suspended {
            true => synced("Unknown", "Suspended", "the hub does not look".to_owned()),
            false => synced(
                "Unknown",
                "Looking",
                "the hub has not looked yet".to_owned(),
            ),
        };
        let status = RepositoryStatus {
            conditions: vec![condition],
            ..RepositoryStatus::default()
        };
        return Ok(json!(status));
    };
    let condition = match (suspended, state.reason.as_str()) {
        (true, _) => synced("Unknown", "Suspended", "the hub looks no more".to_owned()),
        (false, "Synced") => synced("True", "Synced", state.message),
        (false, "Looking") => synced("Unknown", "Looking", state.message),
        (false, reason) => synced("False", reason, state.message),
    };
    let status = RepositoryStatus {
        revision: state.revision,
        synced_at: state.synced_at.map(|at| at.to_string()),
        looked_at: Some(state.looked_at.to_string()),
        orphans: state.orphans,
        conditions: vec![condition],
    };
    Ok(json!(status))
}
