//! What agents report of their clusters, and who closed one.

use bellwether_api::cluster::{Cordon, NodeProperties};
use sqlx::types::Json;
use uuid::Uuid;

use crate::{Store, StoreError, Tx, error::Doing};

/// What an agent reports of its cluster while its stream is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedProperties {
    /// The cluster's Kubernetes version.
    pub kubernetes_version: String,
    /// Group versions and kinds that it serves.
    pub capabilities: Vec<String>,
    /// What its agent counted of its nodes; absent = it may not.
    pub nodes: Option<NodeProperties>,
    /// What registering the cluster today would let the agent do and it may not, one sentence each.
    pub missing_rights: Vec<String>,
}

/// Records what an agent reports; of the same nothing is written.
///
/// # Errors
/// The database fails.
pub async fn record_properties(
    store: &Store,
    id: Uuid,
    reported: &ReportedProperties,
) -> Result<(), StoreError> {
    let clean = |text: &String| text.replace('\0', "\u{fffd}");
    let capabilities: Vec<String> = reported.capabilities.iter().map(clean).collect();
    let rights: Vec<String> = reported.missing_rights.iter().map(clean).collect();
    let nodes = reported.nodes.as_ref().map(|nodes| NodeProperties {
        regions: nodes.regions.iter().map(clean).collect(),
        zones: nodes.zones.iter().map(clean).collect(),
        ..nodes.clone()
    });
    sqlx::query(
        "UPDATE cluster SET kubernetes_version = $2, capabilities = $3, node_properties = $4,
            missing_rights = $5
         WHERE id = $1 AND state <> 'Revoked'
           AND (kubernetes_version, capabilities, node_properties, missing_rights)
               IS DISTINCT FROM ($2, $3, $4, $5)",
    )
    .bind(id)
    .bind(clean(&reported.kubernetes_version))
    .bind(capabilities)
    .bind(nodes.map(Json))
    .bind(rights)
    .execute(&store.pool)
    .await
    .doing("record what an agent reports of its cluster")?;
    Ok(())
}

/// Closes a cluster for what is placed anew, or opens it again with `None`. Tells whether there is
/// one.
///
/// # Errors
/// The database fails.
pub async fn set_cordon(
    tx: &mut Tx,
    id: Uuid,
    cordon: Option<&Cordon>,
) -> Result<bool, StoreError> {
    let written = sqlx::query(
        "UPDATE cluster SET cordon = $2, resource_version = nextval('resource_version')
         WHERE id = $1",
    )
    .bind(id)
    .bind(cordon.map(Json))
    .execute(&mut *tx.inner)
    .await
    .doing("cordon a cluster")?;
    Ok(written.rows_affected() > 0)
}
