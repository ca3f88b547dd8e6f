//! Deleting an application is confirmed with the number of its clusters.

use axum::http::StatusCode;
use bellwether_api::reference::NamespacedName;
use bellwether_store::records::RecordKey;
use serde::Deserialize;

use super::{
    items::{Scene, holders},
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
