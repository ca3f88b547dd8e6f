//! Much of an application's objects goes only by somebody's word: when a release is made, and when a cluster is granted.

mod granting;
mod losses;

use std::collections::BTreeMap;

use bellwether_api::{bundle::BundleComponent, view::RunPhase};
use bellwether_hub_core::{
    addons::Fleets,
    allowance::Allowance,
    brake::{self, Loss, dropped_objects, is_uneven},
    bundle::components,
    placement::ClusterFacts,
    release::{Release, ReleaseContent},
};
use bellwether_store::releases;
use uuid::Uuid;

use super::{
    LoopError,
    application::{Known, Look},
    facts::{Wanted, holders},
    loaded::{Loaded, with_content},
    rendered::{self, Preparation, RenderedRelease, Sent},
};
use losses::{Getting, Group, Lost, alike, losses};

pub(super) use granting::check_grants;

/// Refuses a release that would take many objects away at once, from all clusters or from one. Gives by whose word
/// it does; absent = it takes none. It follows the newest release, and the one that succeeded last.
pub(super) async fn refuse_mass_loss(
    look: Look<'_>,
    known: &Known,
    (latest, last_succeeded): (&Loaded, Option<Uuid>),
    next: &ReleaseContent,
) -> Result<Option<Allowance>, LoopError> {
    let before = may_be_held(look, latest, last_succeeded).await?;
    let mends = mends(latest, &before, &known.wanted.prune_allowance());
    let word = refuse_mass_prune(look, &known.wanted, (&before, mends), next)?;
    let leaving = refuse_mass_leaving(look, known, (&before, mends), next).await?;
    Ok(word.or(leaving))
}

/// What clusters may hold: the newest release, and the last that succeeded.
async fn may_be_held(
    look: Look<'_>,
    latest: &Loaded,
    last_succeeded: Option<Uuid>,
) -> Result<Vec<Release>, LoopError> {
    let store = look.store;
    let mut before = vec![with_content(store, &latest.release).await?];
    if let Some(id) = last_succeeded.filter(|id| *id != latest.release.id)
        && let Some(stored) = releases::get(store, id).await?
    {
        before.push(with_content(store, &stored).await?);
    }
    Ok(before)
}

/// The release that the next one mends: the newest one, where it was made by the word that stands there and did not
/// succeed. What that word allowed is allowed to the next one too, which must not lose anything else by it.
fn mends<'a>(latest: &Loaded, before: &'a [Release], allowance: &Allowance) -> Option<&'a Release> {
    let used_for = format!("release {}", latest.release.revision);
    let failed = latest.run.status != RunPhase::Succeeded;
    let newest = before.iter().find(|one| one.id == latest.release.id);
    newest.filter(|_| failed && allowance.is_used_for(&used_for))
}

/// What clusters may hold, and the release that the next one mends.
type Before<'a> = (&'a [Release], Option<&'a Release>);

/// Refuses a release that would delete many of the application's objects at once. Gives by whose word it does;
/// absent = it takes none.
fn refuse_mass_prune(
    look: Look<'_>,
    wanted: &Wanted,
    (before, mends): Before<'_>,
    next: &ReleaseContent,
) -> Result<Option<Allowance>, LoopError> {
    let contents: Vec<&ReleaseContent> = before.iter().map(|one| &one.content).collect();
    let loss = dropped_objects(&contents, next);
    let nothing_more =
        mends.is_some_and(|mended| dropped_objects(&[&mended.content], next).leaving == 0);
    let allowance = wanted.prune_allowance();
    if nothing_more {
        return Ok(loss.is_braked(None).then_some(allowance));
    }
    if loss.is_braked(allowance.count()) {
        return Err(held_back(look, loss, None, &allowance));
    }
    Ok(loss.is_braked(None).then_some(allowance))
}

/// Refuses a release that would take many objects away from one cluster at once, whoever else keeps them:
/// because its values, its overrides or the destinations of components say so, by the labels and the Kubernetes
/// that it has now, or because nobody can read what it holds. Gives by whose word it does; absent = it takes none.
///
/// What clusters that are alike would get is made once, and what they hold is read once a bundle.
async fn refuse_mass_leaving(
    look: Look<'_>,
    known: &Known,
    (before, mends): Before<'_>,
    next: &ReleaseContent,
) -> Result<Option<Allowance>, LoopError> {
    if !is_uneven(next) && !before.iter().any(|one| is_uneven(&one.content)) {
        return Ok(None);
    }
    let rendered = match &known.sources.preparation {
        Preparation::Ready(prepared) => prepared.release.clone(),
        Preparation::Inline | Preparation::Held(_) => RenderedRelease::default(),
    };
    let sent = rendered::to_send(look, known, next, &rendered).await?;
    let holders = holders(look.store, look.application).await?;
    // Of those that cannot get it yet it is seen when they are granted.
    let placed = known.placement.clusters.iter();
    let getting = placed
        .filter(|cluster| !rendered.unrendered.contains_key(&cluster.id))
        .filter_map(|cluster| {
            let own = sent.get(&cluster.id);
            Some(Getting {
                cluster,
                held: *holders.get(&cluster.id)?,
                content: own.map_or(next, |sent| &*sent.content),
            })
        });
    let groups = alike(getting, look.world.fleets());
    let mended = Mended::of(look, mends, &groups).await?;
    let before = brake::Known::of(before);
    let losses = losses(look.store, &before, next, &groups, |one| mended.gets(one)).await?;
    word_for_all(look, &losses, known.wanted.prune_allowance())
}

/// Gives by whose word all that clusters lose goes; absent = it takes none. What one of many objects may lose without a
/// word must not hide that another is emptied.
fn word_for_all(
    look: Look<'_>,
    losses: &[Lost<'_, '_>],
    allowance: Allowance,
) -> Result<Option<Allowance>, LoopError> {
    let takes_a_word = losses.iter().any(|lost| lost.loss.is_braked(None));
    let unsaid = losses
        .iter()
        .filter(|lost| !lost.nothing_more && lost.loss.is_braked(allowance.count()));
    match unsaid.max_by_key(|lost| lost.loss.leaving) {
        Some(most) => {
            let cluster = most.group.clusters.first().copied();
            Err(held_back(look, most.loss, cluster, &allowance))
        }
        None => Ok(takes_a_word.then_some(allowance)),
    }
}

/// The release that the next one mends, and what clusters would get of it.
struct Mended<'a> {
    /// Absent = there is none.
    release: Option<&'a Release>,
    sent: BTreeMap<Uuid, Sent>,
    fleets: &'a Fleets,
}

impl<'a> Mended<'a> {
    async fn of(
        look: Look<'a>,
        release: Option<&'a Release>,
        groups: &[Group<'_>],
    ) -> Result<Self, LoopError> {
        let clusters = groups.iter().flat_map(|group| &group.clusters);
        let clusters: Vec<Uuid> = clusters.map(|cluster| cluster.id).collect();
        let sent = match release {
            Some(release) => {
                rendered::sent(look.sight(), release, &clusters, &BTreeMap::new()).await
            }
            None => Ok(BTreeMap::new()),
        };
        let sent = match sent {
            // Nothing is known of it where it is not rendered.
            Err(LoopError::Rendering { .. }) => BTreeMap::new(),
            sent => sent?,
        };
        Ok(Self {
            release,
            sent,
            fleets: look.world.fleets(),
        })
    }

    /// What a cluster would get of it; absent = nothing is known.
    fn gets(&self, cluster: &ClusterFacts) -> Option<Vec<BundleComponent>> {
        let release = self.release?;
        let content = match self.sent.get(&cluster.id) {
            Some(sent) => &*sent.content,
            None if release.content.is_rendered() => return None,
            None => &release.content,
        };
        components(content, cluster, self.fleets).ok()
    }
}

/// Says what a loss waits for; without a cluster it is over all of them.
fn held_back(
    look: Look<'_>,
    loss: Loss,
    cluster: Option<&ClusterFacts>,
    allowance: &Allowance,
) -> LoopError {
    let application = look.application.clone();
    let ask = Box::new(allowance.ask(loss.leaving));
    match cluster {
        Some(cluster) if loss == Loss::UNKNOWN => LoopError::HoldingUnknown {
            application,
            cluster: cluster.name.clone(),
            ask,
        },
        _ => LoopError::PruneHeld {
            application,
            dropped: loss.leaving,
            held: loss.holding,
            place: cluster.map_or_else(String::new, |one| format!(" in cluster {}", one.name)),
            ask,
        },
    }
}
