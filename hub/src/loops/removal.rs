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
    emptying::Leaving,
    facts::{Wanted, holders, wanted as read_wanted},
    progress::{self, Contents, Turn},
    world::World,
};

pub use bellwether_api::custom_resource::ALLOW_REMOVAL;

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
        world, application, ..
    } = look;
    let allowance = wanted.allowance(ALLOW_REMOVAL);
    if allowance.is_some_and(|allowed| clusters.len() <= allowed) {
        return Ok(());
    }
    for cluster in clusters.iter().copied() {
        let found = world
            .emptying()
            .of(cluster, || leaving_one(look, cluster))
            .await?;
        let others = found.applications.iter().filter(|one| *one != application);
        let loss = Loss {
            leaving: 1 + others.count(),
            holding: found.holding,
        };
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

/// Finds out which applications leave a cluster that nobody allowed to.
async fn leaving_one(look: Look<'_>, cluster: Uuid) -> Result<Leaving, LoopError> {
    let held = desired::applications_of(look.store, &[cluster]).await?;
    let keys = held.into_values().next().unwrap_or_default();
    let mut found = Leaving {
        holding: keys.len(),
        ..Leaving::default()
    };
    for key in &keys {
        let Ok(UnitKey::Application(application)) = key.parse() else {
            continue;
        };
        // One that was deleted goes by somebody's word, and one that cannot be placed stays.
        let Some(wanted) = read_wanted(look.store, &application).await? else {
            continue;
        };
        let holding = holders(look.store, &application).await?.into_keys();
        let standing =
            look.world
                .standing(look.now, &wanted.spec, holding.collect(), BTreeSet::new());
        let leaves = look
            .world
            .choose(&application, &wanted.spec, &standing)
            .is_ok_and(|chosen| chosen.loses(cluster));
        let is_allowed = wanted
            .allowance(ALLOW_REMOVAL)
            .is_some_and(|allowed| allowed >= 1);
        if leaves && !is_allowed {
            found.applications.insert(application);
        }
    }
    Ok(found)
}

/// Writes the tombstones of clusters that left. What they hold goes by what the application says now: a
/// cluster that leaves gets no release any more that would tell it.
pub(super) async fn take_away(
    look: Look<'_>,
    wanted: &Wanted,
    clusters: &[Uuid],
) -> Result<(), LoopError> {
    let application = look.application;
    let mut tx = look.fence.begin(look.store, look.fence.now()).await?;
    tombstones(&mut tx, application, clusters, Deletions::Braked).await?;
    let key = format!("application/{application}");
    desired::say_deletion(&mut tx, clusters, &key, wanted.spec.sync.deletion).await?;
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
