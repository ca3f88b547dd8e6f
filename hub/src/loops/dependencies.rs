//! What the clusters of an application wait for before they are granted its release.

use std::collections::{BTreeMap, BTreeSet};

use bellwether_api::{
    application::ApplicationSpec, call::FleetAddon, fleet::FleetSpec, reference::NamespacedName,
};
use bellwether_hub_core::{
    addons::{comes_first, of_fleet},
    dependencies::{Dependency, Edges, awaited, healthy},
    placement::{PlacementError, is_member},
    run::ClusterSeen,
};
use bellwether_store::{
    Store,
    records::{self, RecordKey, RecordKind},
};
use jiff::Timestamp;
use uuid::Uuid;

use super::{
    LoopError,
    facts::{holders, read, statuses},
    loaded::planned_clusters,
    rendered::Sight,
    start::number,
    world::World,
};

/// Says of every cluster which applications must be healthy before the release is sent to it: those
/// that the application depends on and, where it is not yet, the add-ons of the cluster's fleets.
pub(super) async fn mark(
    sight: Sight<'_>,
    now: Timestamp,
    spec: &ApplicationSpec,
    clusters: &mut [ClusterSeen],
) -> Result<(), LoopError> {
    let home = &sight.application.namespace;
    let own: BTreeSet<NamespacedName> =
        spec.depends_on.iter().map(|one| one.within(home)).collect();
    let addons = addons(sight, clusters).await?;
    let mut all = own.clone();
    all.extend(addons.values().flatten().cloned());
    // Before they are looked at: what happens from here on wakes the application.
    sight.world.waiters().set(sight.application, all.clone());
    for name in all {
        let placed = placed(sight, now, &name).await?;
        let dependency = Dependency {
            application: &name,
            placed: placed.as_deref(),
        };
        for seen in clusters.iter_mut().filter(|seen| seen.member) {
            let concerns = own.contains(&name)
                || addons
                    .get(&seen.id)
                    .is_some_and(|here| here.contains(&name));
            if concerns {
                seen.awaits.extend(awaited(now, dependency, seen.id));
            }
        }
    }
    Ok(())
}

/// Says of every add-on of a fleet on how many members it is known to be healthy.
///
/// # Errors
/// The database fails, or what it holds cannot be read.
pub async fn addon_health(
    store: &Store,
    fleet: &FleetSpec,
    now: Timestamp,
) -> Result<Vec<FleetAddon>, LoopError> {
    let mut found = Vec::new();
    if fleet.addons.is_empty() {
        return Ok(found);
    }
    let world = World::load(store, None).await?;
    let members: BTreeSet<Uuid> = world
        .ids()
        .into_iter()
        .filter(|id| world.cluster(*id).is_some_and(|one| is_member(fleet, one)))
        .collect();
    for application in of_fleet(fleet) {
        let sight = Sight {
            store,
            renderings: None,
            world: &world,
            application: &application,
        };
        let mut seen = placed(sight, now, &application).await?.unwrap_or_default();
        seen.retain(|one| members.contains(&one.id));
        found.push(FleetAddon {
            clusters: number(members.len()),
            healthy: number(healthy(now, &seen)),
            application,
        });
    }
    Ok(found)
}

/// The add-ons that come first in clusters that do not have the application yet.
async fn addons(
    sight: Sight<'_>,
    clusters: &[ClusterSeen],
) -> Result<BTreeMap<Uuid, BTreeSet<NamespacedName>>, LoopError> {
    let world = sight.world;
    let joining = clusters
        .iter()
        .filter(|seen| seen.member && seen.desired.is_none());
    let found: BTreeMap<Uuid, BTreeSet<NamespacedName>> = joining
        .filter_map(|seen| Some((seen.id, world.addons_of(seen.id)?)))
        .filter(|(_, addons)| !addons.is_empty())
        .collect();
    if found.is_empty() {
        return Ok(found);
    }
    let edges = edges(sight.store, world.addons()).await?;
    if comes_first(sight.application, world.fleets(), &edges) {
        return Ok(BTreeMap::new());
    }
    Ok(found)
}

/// What these applications wait for, and what that waits for, and so on.
async fn edges(store: &Store, of: BTreeSet<NamespacedName>) -> Result<Edges, LoopError> {
    let mut edges = Edges::new();
    let mut open: Vec<NamespacedName> = of.into_iter().collect();
    while let Some(name) = open.pop() {
        if edges.contains_key(&name) {
            continue;
        }
        let spec = application(store, &name).await?;
        let after = spec.map_or_else(Vec::new, |spec| spec.depends_on);
        let after: Vec<NamespacedName> = after
            .iter()
            .map(|one| one.within(&name.namespace))
            .collect();
        open.extend(after.iter().cloned());
        edges.insert(name, after);
    }
    Ok(edges)
}

/// The clusters that an application is placed in, as it is seen there; absent = there is none.
async fn placed(
    sight: Sight<'_>,
    now: Timestamp,
    name: &NamespacedName,
) -> Result<Option<Vec<ClusterSeen>>, LoopError> {
    let Some(spec) = application(sight.store, name).await? else {
        return Ok(None);
    };
    // Where it cannot be placed nobody has it for sure.
    let holders = holders(sight.store, name).await?;
    let planned = match spec.placement {
        Some(_) => planned_clusters(sight.store, name).await?,
        None => BTreeSet::new(),
    };
    let standing = sight
        .world
        .standing(now, &spec, holders.keys().copied().collect(), planned);
    let members: BTreeSet<Uuid> = match sight.world.choose(name, &spec, &standing) {
        Ok(chosen) => {
            let clusters = chosen.placement.clusters.iter();
            clusters.map(|one| one.id).collect()
        }
        // It stays where it is.
        Err(PlacementError::UnreadFleet { .. }) => holders.keys().copied().collect(),
        Err(PlacementError::Empty | PlacementError::NoSuchFleet { .. }) => BTreeSet::new(),
    };
    let statuses = statuses(sight.store, name).await?;
    let mut seen = sight
        .world
        .seen(now, &members, std::iter::empty(), &holders, statuses);
    seen.retain(|one| one.member);
    Ok(Some(seen))
}

async fn application(
    store: &Store,
    name: &NamespacedName,
) -> Result<Option<ApplicationSpec>, LoopError> {
    let key = RecordKey {
        kind: RecordKind::Application,
        namespace: name.namespace.clone(),
        name: name.name.clone(),
    };
    match records::get(store, &key).await? {
        Some(record) => read("spec", name, record.spec).map(Some),
        None => Ok(None),
    }
}
