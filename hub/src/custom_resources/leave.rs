//! Taking away the records of custom resources that are deleted, as the API would.

use bellwether_api::reference::NamespacedName;
use bellwether_hub_core::custom_resource::{author, deletion};
use bellwether_store::{
    allowances, ownership,
    records::{self, RecordKey, RecordKind},
};
use serde_json::Value;

use super::write::{WriteFailure, caller};
use crate::{
    app::App,
    http::{self, ApiError, Scene},
    loops::Fence,
};

/// What became of a deletion.
pub(super) enum Left {
    /// The record is gone.
    Gone,
    /// It waits, for this reason.
    Waits {
        /// A CamelCase word.
        reason: &'static str,
        /// A sentence that says what to do.
        message: String,
    },
}

/// Deletes the record of a custom resource that is being deleted, if nobody needs it.
pub(super) async fn delete(
    app: &App,
    fence: &Fence,
    key: &RecordKey,
    object: &Value,
) -> Result<Left, WriteFailure> {
    let found = records::get(&app.store, key)
        .await
        .map_err(ApiError::from)?;
    let Some(record) = found else {
        return Ok(Left::Gone);
    };
    if key.kind == RecordKind::Application {
        let scene = Scene::load(app).await.map_err(ApiError::from)?;
        let name = NamespacedName {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
        };
        let holders = http::holders(&app.store, &scene, &name).await;
        let spent = allowances::spent(&app.store, key).await;
        let spent = spent.map_err(ApiError::from)?;
        if let Err(message) = deletion(object, holders.map_err(ApiError::from)?, &spent) {
            return Ok(Left::Waits {
                reason: "Unconfirmed",
                message,
            });
        }
    }
    let caller = caller(author(object));
    // The record was read before: whoever mirrors after this hub has not written it since.
    fence.begin(&app.store, fence.now()).await?;
    let removed = match http::refuse_in_use(app, &caller, key).await {
        Ok(()) => {
            let reason = "its custom resource was deleted";
            http::remove(app, &caller, key, Some(record.resource_version), reason).await
        }
        Err(error) => Err(error),
    };
    match removed {
        Ok(()) => Ok(Left::Gone),
        Err(error) if error.status() == http::StatusCode::NOT_FOUND => Ok(Left::Gone),
        Err(error) if error.status() == http::StatusCode::CONFLICT => Ok(Left::Waits {
            reason: "StillUsed",
            message: error.text(),
        }),
        Err(error) => Err(error.into()),
    }
}

/// Leaves the record to whoever changes it next.
pub(super) async fn let_go(app: &App, fence: &Fence, key: &RecordKey) -> Result<(), WriteFailure> {
    let mut tx = fence.begin(&app.store, fence.now()).await?;
    let freed = ownership::free_of_custom_resource(&mut tx, key).await;
    freed.map_err(ApiError::from)?;
    tx.commit().await.map_err(ApiError::from)?;
    tracing::info!(
        record = http::said(key),
        "its custom resource lets go of it"
    );
    Ok(())
}

/// Notes that a custom resource is gone without having been deleted under the hub's eyes.
pub(super) async fn missing(app: &App, fence: &Fence, key: &RecordKey) -> Result<(), WriteFailure> {
    let now = fence.now();
    let mut tx = fence.begin(&app.store, now).await?;
    let noted = ownership::note_missing(&mut tx, key, now).await;
    let is_news = noted.map_err(ApiError::from)?;
    tx.commit().await.map_err(ApiError::from)?;
    if is_news {
        tracing::warn!(
            record = http::said(key),
            "its custom resource is gone and was not deleted under the hub's eyes; nothing is deleted \
             for that: apply it again, or change or delete the record"
        );
    }
    Ok(())
}
