use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bellwether_api::{reference::NamespacedName, status::UnitStatus};
use bellwether_hub_core::{
    placement::{Chosen, Placement, Removal, runs},
    plan::PlannedCluster,
    run::{ClusterSeen, Decision, Supersession, asked},
};
use bellwether_store::{
    Digest, Store,
    actions::{self, Action},
    releases,
};
use jiff::Timestamp;
use uuid::Uuid;

use crate::rendering::Renderings;

use super::{
    LoopError, dependencies,
    facts::{Wanted, holders, statuses, wanted},
    lease::Fence,
    loaded::Loaded,
    progress::{self, Contents, Turn},
    prune_brake::check_grants,
    readings::Readings,
    removal,
    rendered::{self, Preparation, RenderedRelease, Says, Sources, WorkedOut},
    rollback,
    start::{self, Making, Next},
    world::World,
};

/// What one look at an application came to.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Whether something was written that clusters or people see.
    pub changed: bool,
    /// When time alone may change something.
    pub wake_at: Option<Timestamp>,
    /// What is wrong with what the records say now, while what is under way went on; absent =
    /// nothing is.
    pub held: Option<LoopError>,
}

/// One look at one application: what it is looked at with.
#[derive(Clone, Copy)]
pub(super) struct Look<'a> {
    pub store: &'a Store,
    /// Where objects are rendered; absent = nowhere.
    pub renderings: Option<&'a Renderings>,
    pub world: &'a World,
    pub fence: &'a Fence,
    pub application: &'a NamespacedName,
    pub now: Timestamp,
    /// Who asks gates that need an answer; absent = nobody does, and they wait.
    pub readings: Option<&'a Arc<Readings>>,
}

/// What an application's records, clusters and reports say at this look.
pub(super) struct Known {
    pub wanted: Wanted,
    pub placement: Placement,
    /// What is known of every cluster that has to do with it.
    pub clusters: Arc<[ClusterSeen]>,
    pub sources: Sources,
    /// What clusters would be sent, as it was worked out last at this look.
    pub worked_out: WorkedOut,
}

/// Looks at one application: releases what its records say, moves its run on, takes it away from
/// clusters that left.
pub(super) async fn process(look: Look<'_>) -> Result<Outcome, LoopError> {
    let Look {
        store, application, ..
    } = look;
    let latest = Loaded::latest(store, application).await?;
    let holders = holders(store, application).await?;
    let Some(wanted) = wanted(store, application).await? else {
        look.world.waiters().set(application, BTreeSet::default());
        return delete(look, &holders, latest).await;
    };
    let holding = holders.keys().copied().collect();
    let planned = latest.iter().flat_map(Loaded::concerned).collect();
    let standing = look
        .world
        .standing(look.now, &wanted.spec, holding, planned);
    let chosen = match look.world.choose(application, &wanted.spec, &standing) {
        Ok(chosen) => chosen,
        Err(source) => {
            // Whoever has it keeps it while its destination says nothing.
            let application = application.clone();
            return Err(LoopError::Place {
                application,
                source,
            });
        }
    };
    let statuses = statuses(store, application).await?;
    let kept = releases::digests(store, application).await?;
    let placed = Placed {
        chosen: &chosen,
        holders: &holders,
        statuses: &statuses,
        kept: &kept,
    };
    let (members, held) = shrink(look, &wanted, placed).await?;
    let placement = chosen.placement;
    let concerned = latest.iter().flat_map(Loaded::concerned);
    let mut clusters = look
        .world
        .seen(look.now, &members, concerned, &holders, statuses);
    clusters.iter_mut().for_each(|seen| seen.note_kept(&kept));
    let is_rendered = |latest: &&Loaded| {
        let mut components = wanted.spec.components.iter();
        latest.plan.rollback || components.any(|one| one.rendered_source().is_some())
    };
    if let Some(latest) = latest.as_ref().filter(is_rendered) {
        rendered::mark(look.sight(), latest, &mut clusters).await?;
    }
    dependencies::mark(look.sight(), look.now, &wanted.spec, &mut clusters).await?;
    let placed: Vec<(Uuid, String)> = placement
        .clusters
        .iter()
        .map(|cluster| (cluster.id, cluster.name.clone()))
        .collect();
    let says = Says {
        spec: &wanted.spec,
        rollouts: &wanted.rollouts,
    };
    let looks_at = (!wanted.spec.sync.suspend).then_some(look.now);
    let known = Known {
        sources: rendered::prepare(look.sight(), looks_at, says, &placed).await?,
        wanted,
        placement,
        clusters: clusters.into(),
        worked_out: WorkedOut::default(),
    };
    let outcome = advance(look, &known, latest).await?;
    let complaint = || {
        let complaint = known.sources.complaint.as_ref();
        complaint.map(|complaint| complaint.error(look.application))
    };
    let wakes = [outcome.wake_at, known.sources.wake_at];
    Ok(Outcome {
        held: outcome.held.or(held).or_else(complaint),
        wake_at: wakes.into_iter().flatten().min(),
        changed: outcome.changed,
    })
}

/// Where an application is to be, and where it is.
#[derive(Clone, Copy)]
struct Placed<'a> {
    chosen: &'a Chosen,
    /// What each cluster is to hold of it.
    holders: &'a BTreeMap<Uuid, Digest>,
    statuses: &'a BTreeMap<Uuid, UnitStatus>,
    /// The digests of the releases that it keeps.
    kept: &'a BTreeSet<String>,
}

/// Takes the application away from clusters that left, under the brake. Returns who counts as a
/// member, and what the brake says.
async fn shrink(
    look: Look<'_>,
    wanted: &Wanted,
    Placed {
        chosen,
        holders,
        statuses,
        kept,
    }: Placed<'_>,
) -> Result<(BTreeSet<Uuid>, Option<LoopError>), LoopError> {
    let clusters = chosen.placement.clusters.iter();
    let mut placed: BTreeSet<Uuid> = clusters.map(|cluster| cluster.id).collect();
    let moving = chosen.moving();
    let runs_well = |id: &Uuid| {
        let (holds, status) = (holders.get(id), statuses.get(id));
        holds.is_some_and(|holds| status.is_some_and(|one| runs(one, &holds.to_string(), kept)))
    };
    // Whoever takes it runs it before the cluster that it moves from loses it.
    if !placed.iter().all(runs_well) {
        placed.extend(moving.iter().filter(|id| holders.contains_key(id)));
    }
    let (removal, word) = removal::leaving(look.world, wanted, &placed, holders);
    let held = match removal {
        Removal::Allowed(clusters) if clusters.is_empty() => return Ok((placed, None)),
        Removal::Allowed(clusters) => {
            let others: Vec<Uuid> = clusters
                .iter()
                .copied()
                .filter(|id| !moving.contains(id))
                .collect();
            let emptying = match word {
                // Whose word covers all of it may empty a cluster too.
                Some(_) => Ok(None),
                None => removal::refuse_emptying(look, wanted, &others).await,
            };
            match emptying {
                Ok(emptying) => {
                    let word = word.or(emptying);
                    removal::take_away(look, wanted, &clusters, word.as_ref()).await?;
                    return Ok((placed, None));
                }
                Err(held @ LoopError::ClusterEmptied { .. }) => held,
                Err(error) => return Err(error),
            }
        }
        Removal::Held { leaving, holding } => LoopError::RemovalHeld {
            application: look.application.clone(),
            leaving,
            holding,
            ask: Box::new(wanted.removal_allowance().ask(leaving)),
        },
    };
    // Whoever has it keeps it.
    let kept = placed
        .union(&holders.keys().copied().collect())
        .copied()
        .collect();
    Ok((kept, Some(held)))
}

async fn advance(
    look: Look<'_>,
    known: &Known,
    latest: Option<Loaded>,
) -> Result<Outcome, LoopError> {
    let said = actions::unanswered(look.store, look.application).await?;
    let latest = match latest {
        Some(latest) => match rollback::asked(&said, latest.run.id) {
            Some(action) => return rollback::answer(look, known, latest, action).await,
            None => Some(latest),
        },
        None => None,
    };
    let next = start::compare(look, known, latest.as_ref()).await;
    let turn = latest.map(|loaded| turn(look, known, loaded));
    match next {
        Ok(Next::Release {
            content,
            plan,
            previous,
            word,
        }) => {
            let rendered = match &known.sources.preparation {
                Preparation::Ready(prepared) => prepared.release.clone(),
                Preparation::Inline | Preparation::Held(_) => RenderedRelease::default(),
            };
            let making = Making {
                content: *content,
                plan: *plan,
                previous,
                restored: None,
                rendered,
                word,
            };
            start::make(look, known, making, turn.as_ref()).await
        }
        Ok(Next::GoBack) => {
            progress_run(look, known, turn, Some(Supersession::RolloutDeleted), said).await
        }
        Ok(Next::Complete(completes)) => {
            let turn = turn.map(|turn| Turn { completes, ..turn });
            progress_run(look, known, turn, None, said).await
        }
        Ok(Next::Nothing) => progress_run(look, known, turn, None, said).await,
        Err(error) => {
            // What is wrong with the new records must not stop what the old ones started.
            let outcome = progress_run(look, known, turn, None, said).await?;
            Ok(Outcome {
                held: Some(error),
                ..outcome
            })
        }
    }
}

pub(super) fn turn<'a>(look: Look<'a>, known: &Known, loaded: Loaded) -> Turn<'a> {
    let planned: BTreeSet<Uuid> = loaded.planned().collect();
    let joiners = known
        .placement
        .clusters
        .iter()
        .filter(|cluster| !planned.contains(&cluster.id))
        .map(|cluster| PlannedCluster {
            name: cluster.name.clone(),
            id: cluster.id,
        })
        .collect();
    let readings = look.readings.map_or_else(Vec::new, |readings| {
        let asked = asked(&loaded.plan, &loaded.state);
        readings.of(loaded.run.id, &look.application.namespace, &asked)
    });
    Turn {
        now: look.now,
        renderings: look.renderings,
        application: look.application,
        world: look.world,
        fleet: look.world.fleet_defaults(&known.wanted.spec),
        clusters: Arc::clone(&known.clusters),
        readings,
        loaded,
        joiners,
        suspended_by_spec: known.wanted.is_suspended(),
        completes: Vec::new(),
    }
}

/// Decides on the run and saves what came of it.
async fn progress_run(
    look: Look<'_>,
    known: &Known,
    turn: Option<Turn<'_>>,
    supersession: Option<Supersession>,
    said: Vec<Action>,
) -> Result<Outcome, LoopError> {
    let Some(mut turn) = turn else {
        return Ok(Outcome::default());
    };
    let (own, older): (Vec<_>, Vec<_>) = said
        .into_iter()
        .partition(|action| action.said.run == turn.loaded.run.id);
    progress::answer_older(look, &turn, &older).await?;
    let mut pending = progress::pending(&own);
    rollback::find_named(look, &turn, &own, &mut pending).await?;
    let mut held = None;
    let (decision, changed) = loop {
        let decision = turn.decide(supersession, &pending);
        match save(look, &known.wanted, &turn, &decision).await {
            Ok(Saved::Done { changed }) => break (decision, changed),
            // Nor must one that would lose too much: it waits, and they go on.
            Ok(Saved::Braked(losing)) => held = turn.hold(losing).or(held),
            // A cluster that joins and does not fit must not stop the others.
            Err(error) if turn.leaves_out(&error) => held = Some(error),
            Err(error) => return Err(error),
        }
    };
    Ok(Outcome {
        changed,
        wake_at: decision.wake_at,
        held,
    })
}

/// What became of a decision.
enum Saved {
    /// It is saved; whether there was anything to save.
    Done { changed: bool },
    /// It is not: these clusters would lose much that nobody allowed.
    Braked(BTreeMap<Uuid, LoopError>),
}

/// Saves a decision, unless a cluster that it grants would lose much by it.
async fn save(
    look: Look<'_>,
    wanted: &Wanted,
    turn: &Turn<'_>,
    decision: &Decision,
) -> Result<Saved, LoopError> {
    if !decision.is_change(&turn.loaded.state) {
        progress::keep_phase(look, turn, decision).await?;
        return Ok(Saved::Done { changed: false });
    }
    let contents = Contents::read(look.store, turn, decision).await?;
    let braked = check_grants(look, wanted, turn, decision, &contents).await?;
    if !braked.held.is_empty() {
        return Ok(Saved::Braked(braked.held));
    }
    let now = look.fence.now();
    let mut tx = look.fence.begin(look.store, now).await?;
    if let Some(word) = &braked.word {
        removal::spend(&mut tx, &wanted.record.key, word, now).await?;
    }
    progress::save(&mut tx, turn, &contents, decision, now).await?;
    tx.commit().await?;
    Ok(Saved::Done { changed: true })
}

async fn delete(
    look: Look<'_>,
    holders: &BTreeMap<Uuid, Digest>,
    latest: Option<Loaded>,
) -> Result<Outcome, LoopError> {
    if latest.is_none() && holders.is_empty() {
        return Ok(Outcome::default());
    }
    let turn = latest.map(|loaded| Turn {
        now: look.now,
        renderings: look.renderings,
        application: look.application,
        world: look.world,
        fleet: bellwether_api::fleet::FleetDefaults::default(),
        loaded,
        clusters: Arc::new([]),
        joiners: Vec::new(),
        suspended_by_spec: false,
        completes: Vec::new(),
        readings: Vec::new(),
    });
    removal::delete(look, holders, turn.as_ref()).await?;
    Ok(Outcome {
        changed: true,
        ..Outcome::default()
    })
}
