//! Runs of a workload that somebody else delivers.

use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

use bellwether_agent_core::{
    adopted::{Held, Sight, decision_view},
    config_stamp::AsFound,
    settled::DeploymentView,
};
use bellwether_api::{
    command::{AbortCause, Command},
    reference::ObjectRef,
    rollout::OnDeletion,
    standing_grant::StandingGrant,
    status::{FailureReason, TrackSummary},
    sync_record::SyncUnit,
};

use super::super::run::{hand_on_checks, marks_template};
use super::{Pass, PassError, Unit, memory};
use crate::{
    clock::wall,
    rollout::{self, Live, Reading, Run, Tick, Versions},
    sync::{
        cluster::{Cluster, ClusterError, reference},
        events::{self, News},
        watch::Dirty,
    },
};

impl Unit {
    /// Drives the run that is under way.
    pub(super) async fn drive_adopted(
        &mut self,
        unit: &SyncUnit,
        grant: Option<&StandingGrant>,
        digest: &str,
        previous: &str,
    ) -> Result<Pass, PassError> {
        let versions = Versions {
            new: self.bundle(digest).await?,
            old: self.bundle(previous).await?,
            found: AsFound::default(),
        };
        self.open_runs(unit, &versions, None).await?;
        let Some((name, mut run)) = self.runs.pop_first() else {
            // The templates are the same after all: there is nothing to bring in.
            self.remember(|unit| unit.running_digest = None).await?;
            return Ok(Pass::again());
        };
        self.listen(run.interests());
        let handed_back = run.is_over();
        let driven = Box::pin(self.decide_adopted(grant, &versions, &mut run)).await;
        self.runs.insert(name, run);
        self.take_over_events().await?;
        let over = self.runs.values().all(Run::is_over);
        if !driven? {
            return Ok(Pass {
                wake_in: self.next_wake(),
                ..Pass::default()
            });
        }
        // What a run held is let go of once more before it counts as over.
        if over && handed_back {
            self.finish_adopted(grant, digest, &versions).await?;
        }
        Ok(Pass::again())
    }

    /// Makes the cluster what the run wants and decides on what is live then; gives whether there is
    /// more to do at once.
    async fn decide_adopted(
        &mut self,
        grant: Option<&StandingGrant>,
        versions: &Versions,
        run: &mut Run,
    ) -> Result<bool, PassError> {
        let cluster = Arc::clone(&self.shell.cluster);
        let dirty = std::mem::take(&mut self.dirty);
        run.note(&dirty, None);
        let mut live = Box::pin(look(run, &cluster, versions)).await?;
        let end = ending(grant, versions, run, &live);
        run.refresh(&versions.new, command(grant, versions).as_ref(), end)
            .await?;
        let mut users = as_users(run, versions, &live);
        let laying = Box::pin(run.lay(&cluster, &users, &live, &dirty)).await?;
        if laying.wrote {
            live = Box::pin(look(run, &cluster, versions)).await?;
            users = as_users(run, versions, &live);
        }
        let workload = run.scene.workload.clone();
        self.note_workload(&workload, live.workload.as_ref());
        if run.is_over() {
            run.hand_back(&cluster, &versions.old, &live).await?;
            return Ok(true);
        }
        let tick = self.tick(versions, &users, run, &live, &laying.carried);
        let tick = Box::pin(tick).await?;
        let now = self.shell.clock.now();
        run.clear_the_way(&cluster, &live, now).await?;
        Ok(tick == Tick::Moved || laying.wrote)
    }

    async fn tick(
        &self,
        versions: &Versions,
        users: &Versions,
        run: &mut Run,
        live: &Live,
        carried: &BTreeSet<ObjectRef>,
    ) -> Result<Tick, PassError> {
        let (mut live, mut carried) = (Cow::Borrowed(live), Cow::Borrowed(carried));
        let workload = match run.shown_in_place(versions, &live) {
            Some(shown) => {
                if let Some(object) = shown.object {
                    live.to_mut().workload = Some(object);
                }
                if shown.is_as_wanted {
                    carried.to_mut().insert(run.scene.workload.clone());
                }
                Some(shown.view)
            }
            None => view_of(run, versions, &live),
        };
        // Whatever is live may be written: that is what the plan was given for.
        let delivered: BTreeSet<ObjectRef> = live
            .services
            .iter()
            .chain(live.routes.iter().flatten())
            .filter_map(reference)
            .collect();
        let seen = rollout::Seen {
            workload,
            bundle: &users.new,
            edited: &BTreeSet::new(),
            delivered: &delivered,
            applied: &carried,
            config_held_by: &[],
            untaken: "",
            clock: self.shell.clock,
            cluster: &self.shell.cluster,
            hooks: &self.shell.hooks,
            notes: &self.notes,
            meter: &self.shell.meter,
            poke: &self.poke,
            route_settle: self.shell.route_settle,
        };
        self.shell.figures.decisions.inc();
        let tick = run.decide(&live, seen, self.shell.clock.now()).await?;
        hand_on_checks(&self.shell, &self.key, run);
        Ok(tick)
    }

    /// Remembers how the run ended, and only then removes its track.
    async fn finish_adopted(
        &mut self,
        grant: Option<&StandingGrant>,
        digest: &str,
        versions: &Versions,
    ) -> Result<(), PassError> {
        let Some(run) = self.runs.values().next() else {
            return Ok(());
        };
        let summaries: Vec<TrackSummary> = run.summary().cloned().into_iter().collect();
        let failure = run.failure();
        let retries = grant.map_or(0, |grant| grant.retries);
        let marked: BTreeSet<String> = failure
            .iter()
            .filter(|(reason, _)| marks(*reason))
            .map(|_| memory::failed_name(&versions.new.release, retries))
            .collect();
        let why = failure
            .as_ref()
            .map(|(reason, message)| format!("{reason:?}: {message}"));
        let revision = versions.new.revision;
        let news = match &why {
            None => News::info("Succeeded", format!("change {revision} runs")),
            Some(why) => News::error(
                "Failed",
                format!(
                    "change {revision} was not brought in: {why}; the pods of the version before \
                     stay, and the workload stays held until its template changes or the change \
                     is retried"
                ),
            ),
        };
        let ended = memory::Ended {
            summaries: &summaries,
            failure: why.as_deref(),
            marked: &marked,
        };
        let (of, at) = (run.of, wall());
        self.remember(|unit| {
            memory::over(unit, digest, &ended);
            events::push(unit, of, at, &news);
        })
        .await?;
        self.dirty = Dirty::default();
        self.close_runs().await
    }
}

/// Reads everything that a decision looks at.
async fn look(run: &Run, cluster: &Cluster, versions: &Versions) -> Result<Live, ClusterError> {
    let mut live = run.look(&Reading::new(cluster)).await?;
    if let (Some(adapter), Some(workload)) = (&run.scene.adapter, &live.workload) {
        let before = Some(&*versions.old);
        live.recorded = rollout::recorded(cluster, workload, adapter, before).await?;
    }
    Ok(live)
}

/// A Deployment as a decision is to see it.
fn view_of(run: &Run, versions: &Versions, live: &Live) -> Option<DeploymentView> {
    let [new, old] = run.templates(versions);
    let held = Held {
        rollout: &run.rollout.name,
        new: &new,
        old: &old,
    };
    live.workload.as_ref().map(|object| {
        let sight = Sight::of(object, &live.replica_sets);
        decision_view(&sight, held, &run.overlay(), rollout::workload_view(object))
    })
}

fn as_users(run: &Run, versions: &Versions, live: &Live) -> Versions {
    Versions {
        new: rollout::as_users(&run.scene, &versions.new, live),
        old: rollout::as_users(&run.scene, &versions.old, live),
        found: AsFound::default(),
    }
}

/// What is commanded to this run.
fn command(grant: Option<&StandingGrant>, versions: &Versions) -> Option<Command> {
    let grant = grant?;
    let mut command = grant
        .command
        .clone()
        .filter(|command| command.run == versions.new.run)
        .unwrap_or_default();
    command.run = versions.new.run;
    command.attempt = versions.new.attempt;
    command.suspend |= grant.spec.suspend;
    // Changes are counted here alone; whoever said it named the run.
    for queued in &mut command.queue {
        queued.revision = versions.new.revision;
    }
    Some(command)
}

/// Why a run is ended early: its Rollout is gone, or another template is wanted by now.
fn ending(
    grant: Option<&StandingGrant>,
    versions: &Versions,
    run: &Run,
    live: &Live,
) -> Option<AbortCause> {
    let same_workload = grant.is_some_and(|grant| {
        let workload = super::workload_of(&grant.spec.workload);
        workload == run.scene.workload
    });
    if !same_workload {
        return Some(AbortCause::Deleted);
    }
    // The plan that the run began by says what its Rollout's end means.
    let plan = versions.new.rollouts.first().map(|one| &one.spec);
    let completes = plan.is_some_and(|plan| plan.on_deletion == OnDeletion::Complete);
    if grant.is_some_and(StandingGrant::ends) && !completes {
        return Some(AbortCause::Deleted);
    }
    let [new, _] = run.templates(versions);
    let changed = live
        .workload
        .as_ref()
        .and_then(|workload| workload.pointer("/spec/template"))
        .is_some_and(|template| *template != new);
    (changed && !run.goes_back()).then_some(AbortCause::Superseded)
}

/// Tells whether a failed change is not tried again by itself. What the plan refuses would be
/// refused for ever.
fn marks(reason: FailureReason) -> bool {
    marks_template(reason) || reason == FailureReason::Refused
}
