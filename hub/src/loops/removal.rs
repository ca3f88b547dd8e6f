use std::collections::{BTreeMap, BTreeSet};

use bellwether_api::{bundle::UnitKey, reference::NamespacedName};
use bellwether_hub_core::{
    brake::Loss,
    placement::{Removal, removal},
    run::Supersession,
};
use bellwether_store::{
    Digest, Tx,
    desired::{self, ClusterChange, Deletions, UnitChange},
    records, releases, status,
};
use uuid::Uuid;

use super::{
    LoopError,
    application::Look,
    facts::{Wanted, wanted as read_wanted},
    progress::{self, Contents, Turn},
    world::World,
};

/// Annotation of an Application that allows taking it away from so many clusters at once.
pub(super) const ALLOW_REMOVAL: &str = "bellwether.dev/allow-removal";
/// Annotation of an Application that allows a release to delete so many of its objects at once.
const ALLOW_PRUNE: &str = "bellwether.dev/allow-prune";

impl Wanted {
    /// How many of its objects somebody allowed to delete at once; absent = nobody said.
    pub(super) fn prune_allowance(&self) -> Option<usize> {
        self.allowance(ALLOW_PRUNE)
    }

    fn allowance(&self, annotation: &str) -> Option<usize> {
        let count = self.record.annotations.get(annotation)?;
        count.trim().parse().ok()
    }
}

/// Decides who loses the application because its destination shrank.
pub(super) fn leaving(
    world: &World,
    wanted: &Wanted,
    placed: &BTreeSet<Uuid>,
    holders: &BTreeMap<Uuid, Digest>,
) -> Removal {
    // A cluster that may not speak any more is told nothing, and counts for nothing here.
    let holding: BTreeSet<Uuid> = holders
        .keys()
        .copied()
        .filter(|id| world.cluster(*id).is_some())
        .collect();
    removal(&holding, placed, wanted.allowance(ALLOW_REMOVAL))
}

/// Refuses to take the application away from `clusters` where one of them would lose many
/// applications at the same time, each for a reason of its own: a cluster that lost a label.
pub(super) async fn refuse_emptying(
    look: Look<'_>,
    wanted: &Wanted,
    clusters: &[Uuid],
) -> Result<(), LoopError> {
    let Look {
        store,
        world,
        application,
        ..
    } = look;
    let is_allowed = |wanted: &Wanted, leaving: usize| {
        wanted
            .allowance(ALLOW_REMOVAL)
            .is_some_and(|allowed| leaving <= allowed)
    };
    if is_allowed(wanted, clusters.len()) {
        return Ok(());
    }
    for (cluster, keys) in desired::applications_of(store, clusters).await? {
        let mut loss = Loss {
            leaving: 1,
            holding: keys.len(),
        };
        for key in &keys {
            let Ok(UnitKey::Application(other)) = key.parse() else {
                continue;
            };
            // One that was deleted goes by somebody's word, and one that cannot be placed stays.
            if other == *application {
                continue;
            }
            let Some(other) = read_wanted(store, &other).await? else {
                continue;
            };
            let leaves = world
                .place(&other.spec)
                .is_ok_and(|placed| placed.clusters.iter().all(|one| one.id != cluster));
            loss.leaving += usize::from(leaves && !is_allowed(&other, 1));
        }
        if loss.is_braked(None) {
            return Err(LoopError::ClusterEmptied {
                application: application.clone(),
                cluster: world
                    .cluster(cluster)
                    .map_or_else(|| cluster.to_string(), |facts| facts.name.clone()),
                leaving: loss.leaving,
                holding: loss.holding,
                clusters: clusters.len(),
            });
        }
    }
    Ok(())
}

/// Writes the tombstones of clusters that left.
pub(super) async fn take_away(look: Look<'_>, clusters: &[Uuid]) -> Result<(), LoopError> {
    let application = look.application;
    let mut tx = look.fence.begin(look.store, look.fence.now()).await?;
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
    look: Look<'_>,
    holders: &BTreeMap<Uuid, Digest>,
    turn: Option<&Turn<'_>>,
) -> Result<(), LoopError> {
    let application = look.application;
    let mut ending = None;
    if let Some(turn) = turn
        && !turn.loaded.state.status.is_finished()
    {
        let decision = turn.decide(Some(Supersession::ApplicationDeleted), &[]);
        let contents = Contents::read(look.store, turn, &decision).await?;
        ending = Some((turn, decision, contents));
    }
    let now = look.fence.now();
    let mut tx = look.fence.begin(look.store, now).await?;
    if let Some((turn, decision, contents)) = &ending {
        progress::save(&mut tx, turn, contents, decision, now).await?;
    }
    let clusters: Vec<Uuid> = holders.keys().copied().collect();
    tombstones(&mut tx, application, &clusters, Deletions::Allowed).await?;
    releases::sweep(&mut tx, application, 0).await?;
    records::forget_removals(&mut tx, application).await?;
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
