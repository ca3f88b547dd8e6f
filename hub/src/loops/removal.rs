use std::collections::{BTreeMap, BTreeSet};

use bellwether_api::reference::NamespacedName;
use bellwether_hub_core::{
    placement::{Removal, removal},
    run::Supersession,
};
use bellwether_store::{
    Digest, Store, Tx,
    desired::{self, ClusterChange, Deletions, UnitChange},
    releases, status,
};
use uuid::Uuid;

use super::{
    LoopError,
    facts::{Wanted, World},
    lease::Fence,
    progress::{self, Turn},
};

/// Annotation of an Application that allows taking it away from so many clusters at once.
const ALLOW_REMOVAL: &str = "bellwether.dev/allow-removal";

/// Decides who loses the application because its destination shrank.
pub(super) fn leaving(
    world: &World,
    wanted: &Wanted,
    placed: &BTreeSet<Uuid>,
    holders: &BTreeMap<Uuid, Digest>,
) -> Removal {
    let allowance = wanted
        .record
        .annotations
        .get(ALLOW_REMOVAL)
        .and_then(|count| count.trim().parse::<usize>().ok());
    // A cluster that may not speak any more is told nothing, and counts for nothing here.
    let holding: BTreeSet<Uuid> = holders
        .keys()
        .copied()
        .filter(|id| world.cluster(*id).is_some())
        .collect();
    removal(&holding, placed, allowance)
}

/// Writes the tombstones of clusters that left.
pub(super) async fn take_away(
    store: &Store,
    fence: &Fence,
    application: &NamespacedName,
    clusters: &[Uuid],
) -> Result<(), LoopError> {
    let mut tx = fence.begin(store, fence.now()).await?;
    tombstones(&mut tx, application, clusters, Deletions::Braked).await?;
    tx.commit().await?;
    tracing::info!(
        application = %application,
        clusters = clusters.len(),
        "taken away from clusters that left the destination"
    );
    Ok(())
}

/// Takes a deleted application away from everywhere and forgets its history, so that an
/// application of that name starts anew. Deleting it was the allowance.
pub(super) async fn delete(
    store: &Store,
    fence: &Fence,
    application: &NamespacedName,
    holders: &BTreeMap<Uuid, Digest>,
    turn: Option<&Turn<'_>>,
) -> Result<(), LoopError> {
    let now = fence.now();
    let mut tx = fence.begin(store, now).await?;
    if let Some(turn) = turn
        && !turn.loaded.state.status.is_finished()
    {
        let decision = turn.decide(Some(Supersession::ApplicationDeleted), &[]);
        progress::save(&mut tx, store, turn, &decision, now).await?;
    }
    let clusters: Vec<Uuid> = holders.keys().copied().collect();
    tombstones(&mut tx, application, &clusters, Deletions::Allowed).await?;
    releases::sweep(&mut tx, application, 0).await?;
    if clusters.is_empty() {
        status::forget(&mut tx, &format!("application/{application}")).await?;
    }
    tx.commit().await?;
    tracing::info!(application = %application, clusters = clusters.len(), "application deleted");
    Ok(())
}

async fn tombstones(
    tx: &mut Tx,
    application: &NamespacedName,
    clusters: &[Uuid],
    deletions: Deletions,
) -> Result<(), LoopError> {
    let change = |key: &str| UnitChange {
        key: format!("{key}/{application}"),
        digest: None,
        origin: format!("application/{application}"),
    };
    let changes: Vec<ClusterChange> = clusters
        .iter()
        .map(|cluster| ClusterChange {
            cluster: *cluster,
            changes: vec![change("application"), change("command")],
        })
        .collect();
    for batch in changes.chunks(desired::BATCH) {
        desired::write(tx, batch, deletions)
            .await
            .map_err(|source| LoopError::Desired {
                application: application.clone(),
                source,
            })?;
    }
    Ok(())
}
