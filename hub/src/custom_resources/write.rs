//! Making records of custom resources, by the way that everything applied goes.

use bellwether_api::{application::AdoptPolicy, document::load, validate::DEFAULT_NAMESPACE};
use bellwether_hub_core::{authorize::Principal, ownership::Writer};
use serde_json::Value;

use crate::{
    app::App,
    http::{self, ApiError, Caller, Scope},
    loops::{Fence, LoopError},
};

/// Why nothing was written.
pub(super) enum WriteFailure {
    /// The documents are refused.
    Refused(ApiError),
    /// Another time it may work.
    Failed(String),
}

impl From<LoopError> for WriteFailure {
    fn from(error: LoopError) -> Self {
        Self::Failed(error.chain())
    }
}

impl From<ApiError> for WriteFailure {
    fn from(error: ApiError) -> Self {
        match error.status().is_client_error() {
            true => Self::Refused(error),
            false => Self::Failed(error.text()),
        }
    }
}

/// Whoever a custom resource speaks for: the cluster's own access rules say who may write one.
pub(super) fn caller(author: String) -> Caller {
    Caller {
        principal: Principal::local_admin(author),
        token: None,
    }
}

/// Documents of custom resources with what holds for all of them.
pub(super) struct Batch<'a> {
    /// What their users wrote.
    pub documents: &'a [Value],
    /// Who did.
    pub author: String,
    /// Why, as records keep it.
    pub reason: String,
    /// Whether they take over what came from elsewhere.
    pub adopt: AdoptPolicy,
}

/// Writes records, all of them or none; gives their generations, in order.
pub(super) async fn write(
    app: &App,
    fence: &Fence,
    batch: Batch<'_>,
) -> Result<Vec<u64>, WriteFailure> {
    let loaded = load("", &body(batch.documents)).map_err(http::unreadable)?;
    let mut tx = fence.begin(&app.store, fence.now()).await?;
    let scope = Scope {
        // Custom resources of namespaced kinds always have one of their own.
        namespace: DEFAULT_NAMESPACE,
        dry_run: false,
        reason: &batch.reason,
        writer: Writer::CustomResource { adopt: batch.adopt },
    };
    let result = http::write_documents(
        &mut tx,
        &caller(batch.author),
        &loaded.documents,
        &loaded.warnings,
        &scope,
        None,
    )
    .await?;
    tx.commit().await.map_err(ApiError::from)?;
    if result.objects.iter().any(|one| one.result != "unchanged") {
        app.pokes.plan.notify_one();
    }
    Ok(result.objects.iter().map(|one| one.generation).collect())
}

/// Documents as one input.
pub(super) fn body(documents: &[Value]) -> Vec<u8> {
    let texts: Vec<String> = documents.iter().map(Value::to_string).collect();
    texts.join("\n---\n").into_bytes()
}
