use bellwether_api::{application::ApplicationSpec, view::RunPhase};
use bellwether_hub_core::{
    allowance::Allowance,
    cluster_defaults::misfits_of_release,
    overrides::try_clusters,
    placement::Placement,
    plan::{DrivenByHand, Plan, PlanInput, freeze, with_queries},
    release::{Change, Release, ReleaseContent, content},
    run::{Grant, GrantRelease, RunState, Supersession},
};
use bellwether_store::{
    Digest, Tx,
    blobs::Secrecy,
    releases::{self, Created, NewRelease, NewRestores, Release as StoredRelease},
    renderings,
    runs::{self, FIRST_VERSION, NewRun, Run, RunCluster},
};
use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use super::{
    LoopError,
    application::{Known, Look, Outcome},
    division,
    loaded::{Loaded, past, with_content},
    progress::{self, Contents, Turn},
    prune_brake::refuse_mass_loss,
    published::waits_as_draft,
    removal::spend_for,
    rendered::{self, Preparation, RenderedRelease},
    rollback::{self, Restored},
    size::refuse_too_large,
};

/// What the records ask for beside the release that there is.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// Nothing.
    Nothing,
    /// Take the running release back: its Rollout was deleted.
    GoBack,
    /// Finish the running release: these Rollouts of it were deleted and say so.
    Complete(Vec<String>),
    /// A new release with this content and plan.
    Release {
        content: Box<ReleaseContent>,
        plan: Box<Plan>,
        previous: Option<Uuid>,
        /// What allows it to take much away; absent = it takes no word.
        word: Option<Allowance>,
    },
}

/// Compares the records with the newest release.
pub(super) async fn compare(
    look: Look<'_>,
    known: &Known,
    latest: Option<&Loaded>,
) -> Result<Next, LoopError> {
    let Look {
        store,
        world,
        application,
        ..
    } = look;
    let Known {
        wanted, placement, ..
    } = known;
    if let Some(latest) = latest
        && rollback::stays(store, &latest.release, &wanted.spec).await?
    {
        return Ok(Next::Nothing);
    }
    let suspended = wanted.spec.sync.suspend;
    let (spec, rollouts) = match &known.sources.preparation {
        Preparation::Inline => (&wanted.spec, &wanted.rollouts),
        Preparation::Ready(prepared) => (&prepared.spec, &prepared.rollouts),
        // Without clusters there is nobody to render for, and sources that are not looked at come to nothing.
        Preparation::Held(_) if suspended || placement.clusters.is_empty() => {
            return Ok(Next::Nothing);
        }
        Preparation::Held(held) => return Err(held.error(application)),
    };
    let content = content(&application.name, spec, rollouts)
        .and_then(|content| content.with_templates(&application.namespace, world.templates()))
        .map_err(|source| LoopError::Release {
            application: application.clone(),
            source: Box::new(source),
        })?;
    let content = match &known.sources.preparation {
        Preparation::Ready(prepared) => content.with_rendered(prepared.from.clone()),
        Preparation::Inline | Preparation::Held(_) => content,
    };
    let content = division::divided(look, known, latest, content).await?;
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
                _ => {
                    let completes = old.completes_without(&content);
                    return Ok(if completes.is_empty() {
                        Next::GoBack
                    } else {
                        Next::Complete(completes)
                    });
                }
            },
            // Whoever joins gets what was proven: what failed, or is under way, does not begin anew for them.
            Change::VariantsAdded if latest.run.status != RunPhase::Succeeded => {
                return Ok(Next::Nothing);
            }
            Change::Content | Change::VariantsAdded => {}
        }
        // Who gets how many follows from the clusters: nobody has to publish that.
        let redivided = content.is_redivided(&old);
        if !redivided && waits_as_draft(store, spec, &latest.release, &old).await? {
            return Ok(Next::Nothing);
        }
    }
    if suspended {
        return Ok(Next::Nothing);
    }
    rendered::refuse_rendered(look, known)?;
    if placement.clusters.is_empty() {
        // Condition NoClusters: the release is made once there is somebody to have it.
        return Ok(Next::Nothing);
    }
    refuse_misfit(look, spec, placement)?;
    refuse_traffic(look, spec, placement, &content)?;
    refuse_too_large(look, known, &content).await?;
    let past = past(store, application, latest).await?;
    let word = match latest {
        Some(latest) => {
            refuse_mass_loss(look, known, (latest, past.last_succeeded), &content).await?
        }
        None => None,
    };
    let may_lose = word.as_ref().map_or(0, Allowance::said);
    let plan = planned(look, known, &content, (!past.ever_ran, may_lose))?;
    Ok(Next::Release {
        content: Box::new(content),
        plan: Box::new(plan),
        previous: past.last_succeeded,
        word,
    })
}

/// Freezes the plan by which a release goes through the fleet: whether it is the first, and how many objects somebody
/// allowed one cluster to lose by it.
fn planned(
    look: Look<'_>,
    known: &Known,
    content: &ReleaseContent,
    (install, may_lose): (bool, usize),
) -> Result<Plan, LoopError> {
    let Look {
        world, application, ..
    } = look;
    let Known {
        wanted, placement, ..
    } = known;
    let waves = with_queries(
        &application.name,
        &application.namespace,
        &wanted.spec,
        &world.fleet_defaults(&wanted.spec),
        world.templates(),
    )
    .map_err(|source| LoopError::Gate {
        application: application.clone(),
        source,
    })?;
    freeze(PlanInput {
        waves: &waves,
        on_failure: wanted.spec.on_failure,
        clusters: &placement.clusters,
        fleet_max_concurrent: world.fleet_defaults(&wanted.spec).max_concurrent,
        install,
        governed: !content.rollouts.is_empty(),
        by_hand: &driven_by_hand(content),
        may_lose,
    })
    .map_err(|source| LoopError::Plan {
        application: application.clone(),
        source,
    })
}

fn driven_by_hand(content: &ReleaseContent) -> Vec<DrivenByHand> {
    let rollouts = content.rollouts.iter();
    rollouts
        .filter_map(|rollout| DrivenByHand::of(&rollout.name, &rollout.spec))
        .collect()
}

/// Refuses a release whose overrides do not fit every cluster that gets it: none would be half of it.
fn refuse_misfit(
    look: Look<'_>,
    spec: &ApplicationSpec,
    placement: &Placement,
) -> Result<(), LoopError> {
    for tried in try_clusters(spec, &placement.clusters) {
        if let Err((cluster, source)) = tried {
            return Err(LoopError::Override {
                application: look.application.clone(),
                cluster: cluster.id,
                name: cluster.name.clone(),
                source: Box::new(source),
            });
        }
    }
    Ok(())
}

/// Refuses a release whose rollouts ask what the default provider of a cluster that gets it cannot do. What is
/// written is told when it is applied; what is rendered, and what joined since, is seen here.
fn refuse_traffic(
    look: Look<'_>,
    spec: &ApplicationSpec,
    placement: &Placement,
    content: &ReleaseContent,
) -> Result<(), LoopError> {
    let clusters = &placement.clusters;
    let fleet = look.world.fleet_defaults(spec);
    let default = match clusters.iter().any(|one| one.traffic.is_empty()) {
        true => fleet.traffic.as_slice(),
        false => &[],
    };
    let found = misfits_of_release(content, default, clusters, look.world.fleets());
    let Some((rollout, message)) = found.into_iter().next() else {
        return Ok(());
    };
    Err(LoopError::Traffic {
        application: look.application.clone(),
        rollout: rollout.to_owned(),
        message,
    })
}

/// A release to make.
pub(super) struct Making {
    pub content: ReleaseContent,
    pub plan: Plan,
    pub previous: Option<Uuid>,
    /// Set when a human asked for it; absent = it is what the records say.
    pub restored: Option<Restored>,
    /// What is rendered of it.
    pub rendered: RenderedRelease,
    /// What allows it to take much away; absent = it takes no word.
    pub word: Option<Allowance>,
}

/// Makes the release and its run, ends the run that it replaces and writes the first grants, in one
/// transaction.
pub(super) async fn make(
    look: Look<'_>,
    known: &Known,
    making: Making,
    replaced: Option<&Turn<'_>>,
) -> Result<Outcome, LoopError> {
    let sent = rendered::to_send(look, known, &making.content, &making.rendered).await?;
    let now = look.fence.now();
    let mut tx = look.fence.begin(look.store, now).await?;
    let release = create_release(&mut tx, look, known, &making, now).await?;
    let used_for = format!("release {}", release.revision);
    if let Some(word) = &making.word {
        spend_for(&mut tx, &known.wanted.record.key, word, used_for, now).await?;
    }
    // Commands for the clusters of the run that ends come first: what follows from them is seen at
    // the next look.
    let mut settled = true;
    if let Some(turn) = replaced {
        let supersession = Supersession::Release {
            revision: release.revision,
        };
        let mut decision = turn.decide(Some(supersession), &[]);
        if let Some(restored) = &making.restored {
            rollback::tell(&mut tx, restored, &mut decision, now).await?;
        }
        settled = decision.commands.is_empty() && decision.grants.is_empty();
        let contents = Contents::read(look.store, turn, &decision).await?;
        progress::save(&mut tx, turn, &contents, &decision, now).await?;
    }
    let turn = create_run(&mut tx, look, known, &making, &release, now).await?;
    let decision = turn.decide(None, &[]);
    let own = |grant: &Grant| grant.release == GrantRelease::This;
    let mut wake_at = None;
    if settled && decision.grants.iter().all(own) {
        let own = Release {
            id: release.id,
            revision: release.revision,
            digest: release.digest.to_string(),
            content: making.content,
        };
        let contents = Contents::own(own, sent.as_ref().clone());
        progress::save(&mut tx, &turn, &contents, &decision, now).await?;
        wake_at = decision.wake_at;
    }
    tx.commit().await?;
    tracing::info!(
        application = %look.application,
        release.revision = release.revision,
        rollout.id = %turn.loaded.run.id,
        waves = making.plan.waves.len(),
        "release made"
    );
    Ok(Outcome {
        changed: true,
        wake_at,
        held: None,
    })
}

async fn create_release(
    tx: &mut Tx,
    look: Look<'_>,
    known: &Known,
    making: &Making,
    now: Timestamp,
) -> Result<StoredRelease, LoopError> {
    let corrupt = |source| LoopError::Corrupt {
        what: "release",
        application: look.application.clone(),
        source,
    };
    let digest: Digest = making
        .content
        .digest()
        .parse()
        .map_err(|_| LoopError::Conflict)?;
    let value = serde_json::to_value(&making.content).map_err(corrupt)?;
    let bytes = serde_json::to_vec(&value).map_err(corrupt)?;
    let author = &known.wanted.author;
    let (by, reason) = match &making.restored {
        Some(Restored { action, .. }) => (&action.said.by, &action.said.reason),
        None => (&author.by, &author.reason),
    };
    let instead_of = match &making.restored {
        Some(restored) => serde_json::to_vec(&restored.instead_of).map_err(corrupt)?,
        None => Vec::new(),
    };
    let new = NewRelease {
        id: Uuid::now_v7(),
        application: look.application,
        digest,
        content: &bytes,
        secrecy: secrecy(making.content.has_secret()),
        by,
        reason,
        restores: making.restored.as_ref().map(|restored| NewRestores {
            revision: restored.revision,
            instead_of: &instead_of,
            secrecy: secrecy(restored.instead_of.has_secret()),
        }),
    };
    match releases::create(tx, &new, now).await? {
        Created::New(release) => {
            let rendered = &making.rendered;
            renderings::note_recipes(tx, release.id, &rendered.recipes).await?;
            renderings::note_facts(tx, release.id, &rendered.facts).await?;
            Ok(release)
        }
        // Another hub made it meanwhile.
        Created::Unchanged(_) => Err(LoopError::Conflict),
    }
}

/// Makes the run of a release, and gives what the first decision on it is made from.
async fn create_run<'a>(
    tx: &mut Tx,
    look: Look<'a>,
    known: &Known,
    making: &Making,
    release: &StoredRelease,
    now: Timestamp,
) -> Result<Turn<'a>, LoopError> {
    let corrupt = |source| LoopError::Corrupt {
        what: "run",
        application: look.application.clone(),
        source,
    };
    let state = RunState::new(&making.plan);
    let new = NewRun {
        id: Uuid::now_v7(),
        application: look.application.clone(),
        release: release.id,
        previous_release: making.previous,
        status: RunPhase::Pending,
        state: serde_json::to_value(&state).map_err(corrupt)?,
        plan: Uuid::now_v7(),
        plan_content: serde_json::to_value(&making.plan).map_err(corrupt)?,
        clusters: clusters(&making.plan, now),
    };
    runs::create(tx, &new, now).await?;
    let run = Run {
        id: new.id,
        application: new.application,
        release: new.release,
        previous_release: new.previous_release,
        plan: new.plan,
        status: new.status,
        state: new.state,
        version: FIRST_VERSION,
        created_at: now,
        updated_at: now,
        finished_at: None,
    };
    let mut clusters_seen = known.clusters.to_vec();
    rendered::set(&mut clusters_seen, making.rendered.unrendered.clone());
    Ok(Turn {
        now: look.now,
        renderings: look.renderings,
        application: look.application,
        world: look.world,
        fleet: look.world.fleet_defaults(&known.wanted.spec),
        loaded: Loaded {
            run,
            plan: making.plan.clone(),
            state,
            release: release.clone(),
        },
        clusters: clusters_seen.into(),
        joiners: Vec::new(),
        suspended_by_spec: known.wanted.is_suspended(),
        completes: Vec::new(),
        readings: Vec::new(),
    })
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
