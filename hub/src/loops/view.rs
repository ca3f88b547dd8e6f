use bellwether_api::{
    call::{ActionFields, ActionView},
    fleet::FleetDefaults,
    reference::NamespacedName,
    view::{RunSummary, RunView},
};
use bellwether_hub_core::{
    run::{ClusterPhase, RunState},
    view::{ViewInput, build, version},
};
use bellwether_store::{
    Store,
    actions::{self, Action},
    releases,
    runs::{self, Run},
};
use jiff::Timestamp;
use uuid::Uuid;

use crate::rendering::Renderings;

use super::{
    LoopError, dependencies,
    facts::{Wanted, holders, read, statuses, wanted},
    loaded::{Loaded, with_content},
    progress::Turn,
    rendered::{self, Sight},
    start::number,
    world::World,
};

/// Actions of one run that a history shows.
const MAX_ACTIONS: u32 = 50;

/// Shows a run of an application: the named one, or its newest. Absent when there is none.
/// `renderings` tells which clusters have no objects yet; absent = of none it is known.
///
/// # Errors
/// The database fails, or what it holds cannot be read.
pub async fn run_view(
    store: &Store,
    renderings: Option<&Renderings>,
    application: &NamespacedName,
    run: Option<Uuid>,
    now: Timestamp,
) -> Result<Option<RunView>, LoopError> {
    let newest = Loaded::latest(store, application).await?;
    let loaded = match run {
        Some(id) if newest.as_ref().is_none_or(|newest| newest.run.id != id) => {
            Loaded::by_id(store, application, id).await?
        }
        _ => newest,
    };
    let Some(loaded) = loaded.filter(|loaded| loaded.run.application == *application) else {
        return Ok(None);
    };
    let world = World::load(store, None).await?;
    let members = world.ids();
    let holders = holders(store, application).await?;
    let statuses = statuses(store, application).await?;
    let wanted = wanted(store, application).await?;
    let suspended_by_spec = wanted.as_ref().is_some_and(Wanted::is_suspended);
    let release = with_content(store, &loaded.release).await?;
    let from = match loaded.run.previous_release {
        Some(id) => match releases::get(store, id).await? {
            Some(stored) => Some(with_content(store, &stored).await?),
            None => None,
        },
        None => None,
    };
    let mut clusters = world.seen(now, &members, loaded.concerned(), &holders, statuses);
    let sight = Sight {
        store,
        renderings,
        world: &world,
        application,
    };
    if release.content.is_rendered() {
        rendered::mark(sight, &loaded, &mut clusters).await?;
    }
    if let Some(wanted) = &wanted {
        dependencies::mark(sight, now, &wanted.spec, &mut clusters).await?;
    }
    let turn = Turn {
        now,
        renderings,
        application,
        world: &world,
        fleet: FleetDefaults::default(),
        clusters: clusters.into(),
        loaded,
        joiners: Vec::new(),
        suspended_by_spec,
        completes: Vec::new(),
        readings: Vec::new(),
    };
    Ok(Some(build(&ViewInput {
        application,
        release: &release,
        from: from.as_ref(),
        run: turn.input(),
        by: &turn.loaded.release.created_by,
        reason: &turn.loaded.release.reason,
        restores: turn.loaded.release.restores.map(|one| one.revision),
        created_at: turn.loaded.run.created_at,
        sequence: turn.loaded.run.version,
    })))
}

/// Lists an application's runs, newest first, at most `limit`.
///
/// # Errors
/// The database fails, or what it holds cannot be read.
pub async fn run_summaries(
    store: &Store,
    application: &NamespacedName,
    limit: u32,
) -> Result<Vec<RunSummary>, LoopError> {
    let mut list = Vec::new();
    for run in runs::history(store, application, limit).await? {
        list.extend(summary(store, application, run).await?);
    }
    Ok(list)
}

async fn summary(
    store: &Store,
    application: &NamespacedName,
    run: Run,
) -> Result<Option<RunSummary>, LoopError> {
    let Some(release) = releases::get(store, run.release).await? else {
        return Ok(None);
    };
    let content = with_content(store, &release).await?.content;
    let state: RunState = read("run", application, run.state)?;
    let said = actions::recent(store, run.id, MAX_ACTIONS).await?;
    let said = said.into_iter().map(|action| {
        let cluster = action.said.cluster.map(|id| {
            let known = state.clusters.get(&id);
            known.map_or_else(|| id.to_string(), |cluster| cluster.name.clone())
        });
        action_view(action, release.revision, cluster)
    });
    let done = state
        .clusters
        .values()
        .filter(|cluster| matches!(cluster.phase, ClusterPhase::Succeeded { .. }))
        .count();
    Ok(Some(RunSummary {
        run: run.id,
        revision: release.revision,
        release: release.digest.to_string(),
        version: version(&content),
        restores: release.restores.map(|one| one.revision),
        state: run.status,
        actions: said.collect(),
        done: number(done),
        total: number(state.clusters.len()),
        by: release.created_by,
        reason: release.reason,
        created_at: run.created_at.to_string(),
        finished_at: run.finished_at.map(|at| at.to_string()),
    }))
}

/// Shows what somebody said to a run; `cluster` is the name of the cluster that was meant.
#[must_use]
pub fn action_view(action: Action, revision: u64, cluster: Option<String>) -> ActionView {
    ActionView {
        id: action.said.id,
        run: action.said.run,
        revision,
        request: ActionFields {
            verb: format!("{:?}", action.said.action).to_lowercase(),
            wave: action.said.wave,
            cluster,
            step: action.said.step,
            weight: action.said.set.map(|set| set.weight),
            replicas: action.said.set.and_then(|set| set.replicas),
            to_revision: action.said.to_revision,
            reason: action.said.reason,
        },
        by: action.said.by,
        created_at: action.created_at.to_string(),
        result: action.result,
    }
}
