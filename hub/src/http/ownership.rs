//! Records that come from Git repositories or custom resources: who may write them, and how the
//! repositories stand.

use bellwether_api::{
    call::{Condition, Item, RepositoryStatus},
    repository::RepositorySpec,
};
use bellwether_hub_core::ownership::{Claim, Effect, Owner, Writer, may_be_deleted, may_write};
use bellwether_store::{
    Tx, ownership,
    records::{Change, Record, RecordKey},
    repositories,
};
use serde_json::{Value, json};

use super::problem::{ApiError, ApiResult};
use crate::app::App;

/// Refuses a write to what comes from elsewhere, and notes whose a record is now.
///
/// # Errors
/// 409 that says whose it is, or the database fails.
pub async fn check_write(
    tx: &mut Tx,
    key: &RecordKey,
    writer: Writer<'_>,
    change: Change,
) -> ApiResult<()> {
    let owner = ownership::owner_in(tx, key).await?;
    let effect = match change {
        Change::Created => Effect::Creates,
        Change::Configured => Effect::Changes,
        Change::Unchanged => Effect::Nothing,
    };
    let claim = may_write(writer, owner.as_ref(), effect)
        .map_err(|refusal| ApiError::conflict(format!("{}: {refusal}", said(key))))?;
    match (claim, writer) {
        (Claim::Stays, _) | (Claim::Takes, Writer::Person) => {}
        (Claim::Frees, _) => {
            ownership::free_of_custom_resource(tx, key).await?;
        }
        (Claim::Takes, Writer::Repository { name, .. }) => {
            ownership::free_of_custom_resource(tx, key).await?;
            repositories::own(tx, key, name).await?;
        }
        (Claim::Takes, Writer::CustomResource { .. }) => {
            ownership::own_by_custom_resource(tx, key).await?;
        }
    }
    Ok(())
}

/// Refuses to delete what comes from elsewhere.
///
/// # Errors
/// 409 that says whose it is, or the database fails.
pub async fn refuse_owned(app: &App, key: &RecordKey) -> ApiResult<()> {
    match ownership::owner(&app.store, key).await? {
        Some(owner) if !may_be_deleted(Some(&owner)) => Err(ApiError::conflict(format!(
            "{} {}",
            said(key),
            owner.deletion_hint()
        ))),
        _ => Ok(()),
    }
}

/// Says whose a record is, and whether that is gone.
pub fn show_owner(item: &mut Item, owner: Option<&Owner>) {
    item.metadata.managed_by = owner.map(|owner| owner.word().to_owned());
    if owner != Some(&Owner::CustomResource { missing: true }) {
        return;
    }
    let condition = Condition {
        kind: "CustomResourcePresent".to_owned(),
        status: "False".to_owned(),
        reason: "Missing".to_owned(),
        message: "the custom resource that it comes from is gone and was not deleted under the hub's \
                  eyes: nothing was deleted for that. Apply the custom resource again, or change or \
                  delete the record here"
            .to_owned(),
    };
    let status = item.status.get_or_insert_with(|| json!({}));
    match status.get_mut("conditions").and_then(Value::as_array_mut) {
        Some(conditions) => conditions.push(json!(condition)),
        None => status["conditions"] = json!([condition]),
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
