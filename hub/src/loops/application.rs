use std::collections::{BTreeMap, BTreeSet};

use bellwether_api::reference::NamespacedName;
use bellwether_hub_core::{
    placement::Removal,
    plan::PlannedCluster,
    run::{RunStatus, Supersession},
};
use bellwether_store::{Digest, Store, actions};
use jiff::Timestamp;
use uuid::Uuid;

use super::{
    LoopError,
    facts::{Wanted, World, holders, statuses, wanted},
    lease::Fence,
    loaded::Loaded,
    progress::{self, Turn},
    removal,
    start::{self, Making, Next},
};

/// What one look at an application came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Whether something was written, so that looking again may do more.
    pub changed: bool,
    /// Whether its run is unfinished, or waits for clusters that are away.
    pub active: bool,
    /// When time alone may change something.
    pub wake_at: Option<Timestamp>,
}

/// Looks at one application: releases what its records say, moves its run on, takes it away from
/// clusters that left.
pub(super) async fn process(
    store: &Store,
    world: &World,
    fence: &Fence,
    application: &NamespacedName,
    now: Timestamp,
) -> Result<Outcome, LoopError> {
    let latest = Loaded::latest(store, application).await?;
    let holders = holders(store, application).await?;
    let Some(wanted) = wanted(store, application).await? else {
        return delete(store, world, fence, application, &holders, latest, now).await;
    };
    let members = match world.place(&wanted.spec) {
        Ok(placement) => placement.clusters,
        Err(source) => {
            // Whoever has it keeps it while its destination says nothing.
            let application = application.clone();
            return Err(LoopError::Place {
                application,
                source,
            });
        }
    };
    let placed: BTreeSet<Uuid> = members.iter().map(|cluster| cluster.id).collect();
    let (kept, held) = shrink(store, world, fence, application, &wanted, &placed, &holders).await?;
    let members: Vec<PlannedCluster> = members
        .into_iter()
        .map(|cluster| PlannedCluster {
            name: cluster.name,
            id: cluster.id,
        })
        .collect();
    let outcome = advance(
        store,
        world,
        fence,
        application,
        &wanted,
        latest,
        &members,
        &kept,
        &holders,
        now,
    )
    .await?;
    held.map_or(Ok(outcome), Err)
}

/// Takes the application away from clusters that left, under the brake. Returns who counts as a
/// member, and what the brake says.
async fn shrink(
    store: &Store,
    world: &World,
    fence: &Fence,
    application: &NamespacedName,
    wanted: &Wanted,
    placed: &BTreeSet<Uuid>,
    holders: &BTreeMap<Uuid, Digest>,
) -> Result<(BTreeSet<Uuid>, Option<LoopError>), LoopError> {
    match removal::leaving(world, wanted, placed, holders) {
        Removal::Allowed(clusters) => {
            if !clusters.is_empty() {
                removal::take_away(store, fence, application, &clusters).await?;
            }
            Ok((placed.clone(), None))
        }
        Removal::Held { leaving, holding } => {
            let kept = placed
                .union(&holders.keys().copied().collect())
                .copied()
                .collect();
            let application = application.clone();
            Ok((
                kept,
                Some(LoopError::RemovalHeld {
                    application,
                    leaving,
                    holding,
                }),
            ))
        }
    }
}

#[expect(
    clippy::too_many_arguments,
    reason = "what one look has read, handed on once"
)]
async fn advance(
    store: &Store,
    world: &World,
    fence: &Fence,
    application: &NamespacedName,
    wanted: &Wanted,
    latest: Option<Loaded>,
    placed: &[PlannedCluster],
    members: &BTreeSet<Uuid>,
    holders: &BTreeMap<Uuid, Digest>,
    now: Timestamp,
) -> Result<Outcome, LoopError> {
    let next = start::compare(store, world, application, wanted, latest.as_ref()).await;
    let turn = match latest {
        Some(loaded) => Some(
            turn(
                store,
                world,
                application,
                wanted,
                loaded,
                placed,
                members,
                holders,
                now,
            )
            .await?,
        ),
        None => None,
    };
    match next {
        Ok(Next::Release {
            content,
            plan,
            previous,
        }) => {
            let making = Making {
                content: &content,
                plan: &plan,
                previous,
            };
            start::make(store, fence, application, wanted, &making, turn.as_ref()).await?;
            Ok(Outcome {
                changed: true,
                active: true,
                wake_at: None,
            })
        }
        Ok(Next::GoBack) => {
            progress_run(store, fence, turn, Some(Supersession::RolloutDeleted)).await
        }
        Ok(Next::Nothing) => progress_run(store, fence, turn, None).await,
        Err(error) => {
            // What is wrong with the new records must not stop what the old ones started.
            progress_run(store, fence, turn, None).await?;
            Err(error)
        }
    }
}

#[expect(
    clippy::too_many_arguments,
    reason = "what one look has read, handed on once"
)]
async fn turn<'a>(
    store: &Store,
    world: &'a World,
    application: &'a NamespacedName,
    wanted: &Wanted,
    loaded: Loaded,
    placed: &[PlannedCluster],
    members: &BTreeSet<Uuid>,
    holders: &BTreeMap<Uuid, Digest>,
    now: Timestamp,
) -> Result<Turn<'a>, LoopError> {
    let planned: BTreeSet<Uuid> = loaded
        .plan
        .clusters()
        .map(|(_, cluster)| cluster.id)
        .chain(loaded.plan.left_out.iter().map(|cluster| cluster.id))
        .collect();
    let joiners = placed
        .iter()
        .filter(|cluster| !planned.contains(&cluster.id))
        .cloned()
        .collect();
    let statuses = statuses(store, application).await?;
    Ok(Turn {
        now,
        application,
        world,
        fleet: world.fleet_defaults(&wanted.spec),
        clusters: world.seen(members, holders, statuses),
        loaded,
        joiners,
        suspended_by_spec: wanted.is_suspended(),
    })
}

/// Decides on the run and saves what came of it.
async fn progress_run(
    store: &Store,
    fence: &Fence,
    turn: Option<Turn<'_>>,
    supersession: Option<Supersession>,
) -> Result<Outcome, LoopError> {
    let Some(turn) = turn else {
        return Ok(Outcome::default());
    };
    progress::answer_older(store, fence, &turn).await?;
    let pending = progress::pending(&actions::pending(store, turn.loaded.run.id).await?);
    let decision = turn.decide(supersession, &pending);
    let changed = decision.is_change(&turn.loaded.state);
    if changed {
        let now = fence.now();
        let mut tx = fence.begin(store, now).await?;
        progress::save(&mut tx, store, &turn, &decision, now).await?;
        tx.commit().await?;
    } else {
        progress::keep_phase(store, fence, &turn, &decision).await?;
    }
    let active = !matches!(decision.next.status, RunStatus::Superseded { .. });
    Ok(Outcome {
        changed,
        active,
        wake_at: decision.wake_at,
    })
}

async fn delete(
    store: &Store,
    world: &World,
    fence: &Fence,
    application: &NamespacedName,
    holders: &BTreeMap<Uuid, Digest>,
    latest: Option<Loaded>,
    now: Timestamp,
) -> Result<Outcome, LoopError> {
    if latest.is_none() && holders.is_empty() {
        return Ok(Outcome::default());
    }
    let turn = latest.map(|loaded| Turn {
        now,
        application,
        world,
        fleet: bellwether_api::fleet::FleetDefaults::default(),
        loaded,
        clusters: Vec::new(),
        joiners: Vec::new(),
        suspended_by_spec: false,
    });
    removal::delete(store, fence, application, holders, turn.as_ref()).await?;
    Ok(Outcome {
        changed: true,
        active: false,
        wake_at: None,
    })
}
