use bellwether_api::{reference::NamespacedName, view::RunPhase};
use bellwether_hub_core::{
    plan::{Plan, PlanInput, freeze},
    release::{Change, ReleaseContent, content},
    run::{RunState, Supersession},
};
use bellwether_store::{
    Digest, Store,
    blobs::Secrecy,
    releases::{self, Created, NewRelease},
    runs::{self, NewRun, RunCluster},
};
use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use super::{
    LoopError,
    facts::{Wanted, World},
    lease::Fence,
    loaded::{Loaded, past, with_content},
    progress::{self, Turn},
};

/// What the records ask for beside the release that there is.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// Nothing.
    Nothing,
    /// Take the running release back: its Rollout was deleted.
    GoBack,
    /// A new release with this content and plan.
    Release {
        content: Box<ReleaseContent>,
        plan: Box<Plan>,
        previous: Option<Uuid>,
    },
}

/// Compares the records with the newest release.
pub(super) async fn compare(
    store: &Store,
    world: &World,
    application: &NamespacedName,
    wanted: &Wanted,
    latest: Option<&Loaded>,
) -> Result<Next, LoopError> {
    let content = content(&application.name, &wanted.spec, &wanted.rollouts)
        .and_then(|content| content.with_templates(&application.namespace, &world.templates))
        .map_err(|source| LoopError::Release {
            application: application.clone(),
            source: Box::new(source),
        })?;
    let digest = content.digest();
    if latest.is_some_and(|latest| latest.release.digest.to_string() == digest) {
        return Ok(Next::Nothing);
    }
    if let Some(latest) = latest {
        let old = with_content(store, &latest.release).await?.content;
        match old.change_to(&content) {
            Change::None => return Ok(Next::Nothing),
            Change::RolloutsRemoved => match latest.run.status {
                RunPhase::Succeeded => {}
                // What was taken back must not come again unguarded because its guard is gone.
                status if status.is_terminal() => return Ok(Next::Nothing),
                _ => return Ok(Next::GoBack),
            },
            Change::Content => {}
        }
    }
    let placement = world
        .place(&wanted.spec)
        .map_err(|source| LoopError::Place {
            application: application.clone(),
            source,
        })?;
    if placement.clusters.is_empty() {
        // Condition NoClusters: the release is made once there is somebody to have it.
        return Ok(Next::Nothing);
    }
    let past = past(store, application).await?;
    let plan = freeze(PlanInput {
        waves: &wanted.spec.waves,
        on_failure: wanted.spec.on_failure,
        clusters: &placement.clusters,
        fleet_max_concurrent: world.fleet_defaults(&wanted.spec).max_concurrent,
        install: !past.ever_ran,
        governed: !content.rollouts.is_empty(),
    })
    .map_err(|source| LoopError::Plan {
        application: application.clone(),
        source,
    })?;
    Ok(Next::Release {
        content: Box::new(content),
        plan: Box::new(plan),
        previous: past.last_succeeded,
    })
}

/// A release to make.
pub(super) struct Making<'a> {
    pub content: &'a ReleaseContent,
    pub plan: &'a Plan,
    pub previous: Option<Uuid>,
}

/// Makes the release and its run, and ends the run that it replaces, in one transaction.
pub(super) async fn make(
    store: &Store,
    fence: &Fence,
    application: &NamespacedName,
    wanted: &Wanted,
    making: &Making<'_>,
    replaced: Option<&Turn<'_>>,
) -> Result<Uuid, LoopError> {
    let now = Timestamp::now();
    let mut tx = fence.begin(store, now).await?;
    let corrupt = |source| LoopError::Corrupt {
        what: "release",
        application: application.clone(),
        source,
    };
    let digest: Digest = making
        .content
        .digest()
        .parse()
        .map_err(|_| LoopError::Conflict)?;
    let value = serde_json::to_value(making.content).map_err(corrupt)?;
    let bytes = serde_json::to_vec(&value).map_err(corrupt)?;
    let new = NewRelease {
        id: Uuid::now_v7(),
        application,
        digest,
        content: &bytes,
        secrecy: secrecy(making.content.has_secret()),
        by: &wanted.record.created_by,
        reason: "",
    };
    let release = match releases::create(&mut tx, &new, now).await? {
        Created::New(release) => release,
        // Another hub made it meanwhile.
        Created::Unchanged(_) => return Err(LoopError::Conflict),
    };
    let state = RunState::new(making.plan);
    let run = NewRun {
        id: Uuid::now_v7(),
        application: application.clone(),
        release: release.id,
        previous_release: making.previous,
        status: RunPhase::Pending,
        state: serde_json::to_value(&state).map_err(corrupt)?,
        plan: Uuid::now_v7(),
        plan_content: serde_json::to_value(making.plan).map_err(corrupt)?,
        clusters: clusters(making.plan, now),
    };
    if let Some(turn) = replaced {
        let supersession = Supersession::Release {
            revision: release.revision,
        };
        let decision = turn.decide(Some(supersession), &[]);
        progress::save(&mut tx, store, turn, &decision, now).await?;
    }
    runs::create(&mut tx, &run, now).await?;
    tx.commit().await?;
    tracing::info!(
        application = %application,
        release.revision = release.revision,
        rollout.id = %run.id,
        waves = making.plan.waves.len(),
        "release made"
    );
    Ok(run.id)
}

pub(super) const fn secrecy(has_secret: bool) -> Secrecy {
    if has_secret {
        Secrecy::Secret
    } else {
        Secrecy::Plain
    }
}

fn clusters(plan: &Plan, now: Timestamp) -> Vec<RunCluster> {
    let mut list = Vec::new();
    for (wave, planned) in plan.waves.iter().enumerate() {
        for (position, cluster) in planned.clusters.iter().enumerate() {
            list.push(RunCluster {
                cluster: cluster.id,
                cluster_name: cluster.name.clone(),
                wave: number(wave),
                position: number(position),
                status: bellwether_api::view::ClusterPhase::Queued,
                attempt: 0,
                state: Value::Null,
                granted_generation: None,
                updated_at: now,
            });
        }
    }
    list
}

pub(super) fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
