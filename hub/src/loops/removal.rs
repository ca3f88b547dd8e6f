use std::collections::{BTreeMap, BTreeSet};

use bellwether_api::{
    bundle::UnitKey, custom_resource::ALLOW_REMOVAL, reference::NamespacedName,
    sync_policy::DeletionPolicies,
};
use bellwether_hub_core::{
    allowance::{Allowance, Spent},
    brake::Loss,
    placement::{Removal, removal},
    run::Supersession,
};
use bellwether_store::{
    Digest, StoreError, Tx, allowances,
    desired::{self, ClusterChange, Deletions, UnitChange},
    records::{self, Record, RecordKey},
    releases, status,
};
use jiff::Timestamp;
use uuid::Uuid;

use super::{
    LoopError,
    application::Look,
    emptying::Leaving,
    facts::{Wanted, holders, wanted as read_wanted},
    progress::{self, Contents, Turn},
    world::World,
};

/// Annotation of an Application that allows a release to delete so many of its objects at once.
const ALLOW_PRUNE: &str = "bellwether.dev/allow-prune";

/// Tells whether an annotation allows much to go at once.
pub(super) fn is_allowance(annotation: &str) -> bool {
    [ALLOW_REMOVAL, ALLOW_PRUNE].contains(&annotation)
}

impl Wanted {
    /// What somebody allowed of its objects to go at once.
    pub(super) fn prune_allowance(&self) -> Allowance {
        self.allowance(ALLOW_PRUNE)
    }

    /// What somebody allowed of its clusters to lose it at once.
    pub(super) fn removal_allowance(&self) -> Allowance {
        self.allowance(ALLOW_REMOVAL)
    }

    fn allowance(&self, annotation: &'static str) -> Allowance {
        let said = self.record.annotations.get(annotation);
        Allowance::read(annotation, said.map(String::as_str), &self.spent)
    }
}

/// What somebody allowed to lose what a record brings, as the transaction sees it: clusters that lose a Rollout,
/// or records that leave a Repository.
pub(crate) async fn removal_allowance(
    tx: &mut Tx,
    record: &Record,
) -> Result<Allowance, StoreError> {
    let said = record.annotations.get(ALLOW_REMOVAL);
    let spent = match said {
        Some(_) => allowances::spent_in(tx, &record.key).await?,
        None => Vec::new(),
    };
    Ok(Allowance::read(
        ALLOW_REMOVAL,
        said.map(String::as_str),
        &spent,
    ))
}

/// Notes in the transaction that takes something away by a word that the word was used.
///
/// # Errors
/// [`LoopError::Conflict`] where the word does not stand there any more, or was used meanwhile.
pub(super) async fn spend(
    tx: &mut Tx,
    key: &RecordKey,
    spent: &Spent,
    now: Timestamp,
) -> Result<(), LoopError> {
    match allowances::spend(tx, key, spent, now).await? {
        true => Ok(()),
        false => Err(LoopError::Conflict),
    }
}

/// Notes by whose word a release takes much away: it is used up, or passed on by a release that failed and loses no less.
///
/// # Errors
/// As [`spend`].
pub(super) async fn spend_for(
    tx: &mut Tx,
    key: &RecordKey,
    word: &Allowance,
    used_for: String,
    now: Timestamp,
) -> Result<(), LoopError> {
    let done = match (word.spent(), word.spend(used_for.clone())) {
        (Some(spent), _) => allowances::pass_on(tx, key, spent, &used_for).await?,
        (None, Some(spent)) => allowances::spend(tx, key, &spent, now).await?,
        (None, None) => true,
    };
    match done {
        true => Ok(()),
        false => Err(LoopError::Conflict),
    }
}

/// Decides who loses the application because its destination shrank, and by whose word; absent = it takes none.
pub(super) fn leaving(
    world: &World,
    wanted: &Wanted,
    placed: &BTreeSet<Uuid>,
    holders: &BTreeMap<Uuid, Digest>,
) -> (Removal, Option<Spent>) {
    // A cluster that may not speak any more is told nothing, and counts for nothing here.
    let holding: BTreeSet<Uuid> = holders
        .keys()
        .copied()
        .filter(|id| world.cluster(*id).is_some())
        .collect();
    removal_by(&holding, placed, &wanted.removal_allowance())
}

/// Refuses to take the application away from `clusters` where one of them would lose many
/// applications at the same time, each for a reason of its own: a cluster that lost a label. Gives by whose
/// word it goes; absent = it takes none.
pub(super) async fn refuse_emptying(
    look: Look<'_>,
    wanted: &Wanted,
    clusters: &[Uuid],
) -> Result<Option<Spent>, LoopError> {
    let Look {
        world, application, ..
    } = look;
    let allowance = wanted.removal_allowance();
    if !clusters.is_empty()
        && allowance
            .count()
            .is_some_and(|count| clusters.len() <= count)
    {
        // It is not counted among those that leave a cluster: that is what its word is used for.
        return Ok(allowance.spend(left(clusters.len())));
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
                ask: Box::new(allowance.ask(clusters.len())),
            });
        }
    }
    Ok(None)
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
        let allowed = wanted.removal_allowance().count();
        if leaves && allowed.is_none_or(|allowed| allowed < 1) {
            found.applications.insert(application);
        }
    }
    Ok(found)
}

/// Decides who loses something that has a brake, and by whose word; absent = it takes none.
pub(super) fn removal_by(
    holding: &BTreeSet<Uuid>,
    placed: &BTreeSet<Uuid>,
    allowance: &Allowance,
) -> (Removal, Option<Spent>) {
    let found = removal(holding, placed, allowance.count());
    let word = match (&found, removal(holding, placed, None)) {
        (Removal::Allowed(leaving), Removal::Held { .. }) => allowance.spend(left(leaving.len())),
        _ => None,
    };
    (found, word)
}

/// What a word allowed by which clusters lost something.
fn left(clusters: usize) -> String {
    match clusters {
        1 => "its removal from 1 cluster".to_owned(),
        count => format!("its removal from {count} clusters"),
    }
}

/// Writes the tombstones of clusters that left. What they hold goes by what the application and its components say
/// now: a cluster that leaves gets no release any more that would tell it. `word` is what allows it; absent = it takes
/// none.
pub(super) async fn take_away(
    look: Look<'_>,
    wanted: &Wanted,
    clusters: &[Uuid],
    word: Option<&Spent>,
) -> Result<(), LoopError> {
    let application = look.application;
    let now = look.fence.now();
    let mut tx = look.fence.begin(look.store, now).await?;
    if let Some(word) = word {
        spend(&mut tx, &wanted.record.key, word, now).await?;
    }
    tombstones(&mut tx, application, clusters, Deletions::Braked).await?;
    let key = format!("application/{application}");
    let said = DeletionPolicies::of_application(&wanted.spec);
    desired::say_deletion(&mut tx, clusters, &key, &said).await?;
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
