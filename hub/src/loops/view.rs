use bellwether_api::{
    fleet::FleetDefaults,
    reference::NamespacedName,
    view::{RunSummary, RunView},
};
use bellwether_hub_core::{
    run::{ClusterPhase, RunState},
    view::{ViewInput, build, version},
};
use bellwether_store::{
    Store, releases,
    runs::{self, Run},
};
use jiff::Timestamp;
use uuid::Uuid;

use super::{
    LoopError,
    facts::{holders, read, statuses, wanted},
    loaded::{Loaded, with_content},
    progress::Turn,
    start::number,
    world::World,
};

/// Shows a run of an application: the named one, or its newest. Absent when there is none.
///
/// # Errors
/// The database fails, or what it holds cannot be read.
pub async fn run_view(
    store: &Store,
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
    let suspended_by_spec = wanted(store, application)
        .await?
        .is_some_and(|wanted| wanted.is_suspended());
    let release = with_content(store, &loaded.release).await?;
    let from = match loaded.run.previous_release {
        Some(id) => match releases::get(store, id).await? {
            Some(stored) => Some(with_content(store, &stored).await?),
            None => None,
        },
        None => None,
    };
    let turn = Turn {
        now,
        application,
        world: &world,
        fleet: FleetDefaults::default(),
        clusters: world
            .seen(now, &members, loaded.concerned(), &holders, statuses)
            .into(),
        loaded,
        joiners: Vec::new(),
        suspended_by_spec,
        completes: Vec::new(),
    };
    Ok(Some(build(&ViewInput {
        application,
        release: &release,
        from: from.as_ref(),
        run: turn.input(),
        by: &turn.loaded.release.created_by,
        reason: &turn.loaded.release.reason,
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
    let done = state
        .clusters
        .values()
        .filter(|cluster| matches!(cluster.phase, ClusterPhase::Succeeded { .. }))
        .count();
    Ok(Some(RunSummary {
        run: run.id,
        revision: release.revision,
        version: version(&content),
        state: run.status,
        done: number(done),
        total: number(state.clusters.len()),
        by: release.created_by,
        reason: release.reason,
        created_at: run.created_at.to_string(),
        finished_at: run.finished_at.map(|at| at.to_string()),
    }))
}
