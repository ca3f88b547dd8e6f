//! The planning loop: load and decide, then save, if nobody was faster.

use std::collections::BTreeSet;

use bellwether_hub_core::{
    check::Checker,
    placement::{ClusterFacts, Removal, removal},
    plan::{Plan, PlanInput, PlannedCluster, freeze},
    release::ReleaseContent,
    run::{
        ClusterPhase, ClusterSeen, Decision, Input, PendingAction, RunFacts, RunStatus,
        Supersession,
    },
};
use jiff::Timestamp;
use uuid::Uuid;

use super::{
    pretend,
    process::Hub,
    rendering,
    restore::{Restore, asked, is_of_all, restore},
    write,
};
use crate::{
    Mutant,
    count::Counts,
    database::{Database, RunRow},
    invariant::{Broken, Soaks},
    scenario::{Scenario, unit_key},
};

/// What judges decisions.
#[derive(Clone, Debug, Default)]
pub struct Judges {
    /// Judges them by what the hub saw.
    pub checker: Checker,
    /// Judges them by the time that really passed.
    pub soaks: Soaks,
}

/// Which state of the database a decision was made on: runs that were ever made, the newest run
/// and its version.
type Base = (u64, Option<(Uuid, u64)>);

/// A decision that was made and not saved yet.
#[derive(Debug)]
pub(super) struct Prepared {
    truth: Timestamp,
    now: Timestamp,
    base: Base,
    seen: Seen,
    goal: Goal,
    decision: Option<Decision>,
    mutant: Mutant,
}

/// A release to make.
#[derive(Debug)]
pub(super) struct Making {
    pub content: ReleaseContent,
    pub plan: Plan,
    /// The revision that succeeded before.
    pub previous: Option<u64>,
}

/// What a decision on a run is made from.
#[derive(Debug, Default)]
struct Seen {
    clusters: Vec<ClusterSeen>,
    joiners: Vec<PlannedCluster>,
    actions: Vec<PendingAction>,
    supersession: Option<Supersession>,
}

/// What is done beside the decision.
#[derive(Debug)]
enum Goal {
    /// The application was deleted: these clusters lose it.
    Delete(BTreeSet<Uuid>),
    /// It is kept.
    Keep {
        /// Clusters that left and lose it.
        leaving: Vec<Uuid>,
        /// A release to make.
        release: Option<Box<Making>>,
        /// That a human wants an earlier release again: comes before what the records ask for.
        restore: Option<Box<Restore>>,
    },
}

fn base(database: &Database) -> Base {
    let newest = database.newest_run();
    (database.made, newest.map(|run| (run.id, run.version)))
}

impl Hub {
    /// Loads and decides. The answer lies ready until [`Self::commit`]; a crash in between loses it.
    pub fn prepare(
        &mut self,
        database: &Database,
        scenario: &Scenario,
        truth: Timestamp,
        mutant: Mutant,
        counts: &mut Counts,
    ) {
        let Some(now) = self.time(truth, mutant).filter(|_| self.prepared.is_none()) else {
            return;
        };
        let holders = database.holders(&unit_key());
        let newest = database.newest_run();
        let (seen, goal) = if let Some(wanted) = &database.application {
            let placed = database.placed();
            let ids: BTreeSet<Uuid> = placed.iter().map(|cluster| cluster.id).collect();
            let allowance = (mutant == Mutant::IgnoreTombstoneBudget).then_some(usize::MAX);
            let (members, leaving) = match removal(&holders, &ids, allowance) {
                Removal::Allowed(leaving) => (ids, leaving),
                Removal::Held { .. } => {
                    counts.one("brake/clusters");
                    (ids.union(&holders).copied().collect(), Vec::new())
                }
            };
            let release = release(database, scenario, wanted, &placed);
            let restore = asked(database).map(|row| {
                let (unreleased, previous) = (release.is_some(), past(database).1);
                let answer = restore(database, wanted, &placed, unreleased, previous, row);
                Box::new(answer)
            });
            let restores = restore.as_ref().is_some_and(|one| one.making.is_some());
            let release = release.filter(|_| restore.is_none());
            let seen = Seen {
                clusters: self.seen(database, scenario, &members, now),
                joiners: joiners(newest, &placed),
                actions: pending(database, newest),
                supersession: (release.is_some() || restores).then(|| Supersession::Release {
                    revision: database.releases.len() as u64 + 1,
                }),
            };
            if seen.clusters.iter().any(|one| one.unrendered.is_some()) {
                counts.one("hub/unrendered");
            }
            let goal = Goal::Keep {
                leaving,
                release: release.map(Box::new),
                restore,
            };
            (seen, goal)
        } else if newest.is_none() && holders.is_empty() {
            return;
        } else {
            let seen = Seen {
                supersession: Some(Supersession::ApplicationDeleted),
                ..Seen::default()
            };
            (seen, Goal::Delete(holders))
        };
        let over =
            |run: &&RunRow| !(matches!(goal, Goal::Delete(_)) && run.state.status.is_finished());
        let decision = newest.filter(over).map(|run| {
            let plan = pretend::plan(&run.plan, mutant);
            let clusters = pretend::clusters(&seen.clusters, run, now, mutant);
            let input = Input {
                plan: &plan,
                clusters: &clusters,
                ..input(run, now, &seen)
            };
            pretend::decision(&input, mutant)
        });
        self.prepared = Some(Prepared {
            truth,
            now,
            base: base(database),
            seen,
            goal,
            decision,
            mutant,
        });
    }

    /// Sends what was decided before it is saved, as no hub does.
    ///
    /// # Errors
    /// It grants what is not there.
    pub fn send_early(&mut self, database: &mut Database) -> Result<(), Broken> {
        let run = database.newest_run().cloned();
        if let (Some(run), Some(prepared)) = (run, &self.prepared)
            && prepared.mutant == Mutant::SendBeforeCommit
            && let Some(decision) = &prepared.decision
            && prepared.base == base(database)
        {
            let known = database.granted.clone();
            write::send(database, &run, decision)?;
            database.granted = known;
        }
        Ok(())
    }

    /// Saves what was decided, if nobody was faster.
    ///
    /// # Errors
    /// The decision breaks a rule.
    pub fn commit(
        &mut self,
        database: &mut Database,
        judges: &mut Judges,
        counts: &mut Counts,
    ) -> Result<(), Broken> {
        let Some(prepared) = self.prepared.take() else {
            return Ok(());
        };
        if self.dies("crash/hub/commit-before", counts) {
            return Ok(());
        }
        let same_run = base(database).1.map(|(id, _)| id) == prepared.base.1.map(|(id, _)| id);
        let blind = same_run && prepared.mutant == Mutant::IgnoreRunVersion;
        if base(database) != prepared.base && !blind {
            counts.one("fault/save-conflict");
            return Ok(());
        }
        if let Goal::Keep { leaving, .. } = &prepared.goal
            && !leaving.is_empty()
        {
            // A transaction of its own: what follows may be lost.
            write::take_away(database, leaving);
            counts.many("sync/taken-away", leaving.len() as u64);
            if self.dies("crash/hub/taken-away-after", counts) {
                return Ok(());
            }
        }
        if let (Some(decision), Some(run)) = (&prepared.decision, database.runs.last().cloned())
            && decision.is_change(&run.state)
        {
            let input = input(&run, prepared.now, &prepared.seen);
            let judged = judges.checker.observe(&input, decision);
            judged.map_err(|violation| Broken::new(violation.rule, violation.detail))?;
            let states = (&run.state, &decision.next);
            let times = (prepared.truth, database.resumed);
            judges.soaks.observe(run.id, &run.plan, states, times)?;
            write::save(database, &run, decision, prepared.now)?;
        }
        match prepared.goal {
            Goal::Delete(holders) => {
                write::delete(database, &holders);
                counts.one("hub/Deleted");
                self.dies("crash/hub/deleted-after", counts);
            }
            Goal::Keep {
                release, restore, ..
            } => {
                let restored = restore.as_ref().and_then(|one| one.making.as_ref());
                let restores = restored.map(|(_, revision)| *revision);
                let making = match restore.map(|one| *one) {
                    Some(one) => {
                        write::answer(database, &one.answer);
                        one.making.map(|(making, _)| making)
                    }
                    None => release.map(|making| *making),
                };
                if let Some(making) = making {
                    let newest = database.newest_run();
                    let replaced = newest.is_some_and(|run| {
                        matches!(run.state.status, RunStatus::Superseded { .. })
                    });
                    if replaced {
                        counts.one("fault/release-mid-run");
                    }
                    write::start(database, making, restores, prepared.now);
                }
                self.dies("crash/hub/commit-after", counts);
            }
        }
        Ok(())
    }

    fn seen(
        &self,
        database: &Database,
        scenario: &Scenario,
        members: &BTreeSet<Uuid>,
        now: Timestamp,
    ) -> Vec<ClusterSeen> {
        let key = unit_key();
        let kept = database
            .releases
            .iter()
            .map(|one| one.digest.clone())
            .collect();
        // Nobody counts as silent whom this hub was not there to hear.
        let started = self.started().map(|started| started.min(now));
        database
            .clusters
            .iter()
            .map(|(id, row)| {
                let (connected, heard) = database.link(*id, now);
                let unit = row.units.get(&key).and_then(|(_, digest)| *digest);
                let mut seen = ClusterSeen {
                    id: *id,
                    member: members.contains(id),
                    connected,
                    last_heard: heard.map(|heard| started.map_or(heard, |at| heard.max(at))),
                    desired: unit.map(|digest| digest.to_string()),
                    status: database.statuses.get(id).map(|row| row.status.clone()),
                    unrendered: rendering::unrendered(database, scenario, *id, now),
                    awaits: Vec::new(),
                    is_forgotten: false,
                };
                seen.note_kept(&kept);
                seen
            })
            .collect()
    }
}

/// The release that the application asks for, if it is another than the newest.
fn release(
    database: &Database,
    scenario: &Scenario,
    wanted: &ReleaseContent,
    placed: &[ClusterFacts],
) -> Option<Making> {
    let current = database.releases.last();
    let same = current.is_some_and(|release| release.content.digest() == wanted.digest());
    if same || placed.is_empty() || database.stays_restored(wanted) {
        return None;
    }
    let (install, previous) = past(database);
    let plan = freeze(PlanInput {
        waves: &scenario.waves,
        on_failure: Some(scenario.on_failure),
        clusters: placed,
        fleet_max_concurrent: None,
        install,
        governed: !wanted.rollouts.is_empty(),
        by_hand: &[],
        may_lose: 0,
    });
    let plan = plan.expect("the waves are ours");
    Some(Making {
        content: wanted.clone(),
        plan,
        previous,
    })
}

/// Clusters that the newest run's plan does not have.
fn joiners(newest: Option<&RunRow>, placed: &[ClusterFacts]) -> Vec<PlannedCluster> {
    let Some(run) = newest else {
        return Vec::new();
    };
    let waves = run.plan.clusters().map(|(_, cluster)| cluster.id);
    let left_out = run.plan.left_out.iter().map(|cluster| cluster.id);
    let planned: BTreeSet<Uuid> = waves.chain(left_out).collect();
    placed
        .iter()
        .filter(|cluster| !planned.contains(&cluster.id))
        .map(|cluster| PlannedCluster {
            name: cluster.name.clone(),
            id: cluster.id,
        })
        .collect()
}

fn pending(database: &Database, newest: Option<&RunRow>) -> Vec<PendingAction> {
    let Some(run) = newest else {
        return Vec::new();
    };
    let own = database.actions.iter().filter(|row| row.run == run.id);
    own.filter(|row| row.answer.is_none() && !is_of_all(&row.action))
        .map(|row| row.action.clone())
        .collect()
}

fn input<'a>(run: &'a RunRow, now: Timestamp, seen: &'a Seen) -> Input<'a> {
    Input {
        now,
        run: RunFacts {
            id: run.id,
            revision: run.revision,
            has_previous: run.previous.is_some(),
        },
        plan: &run.plan,
        state: &run.state,
        clusters: &seen.clusters,
        joiners: &seen.joiners,
        actions: &seen.actions,
        suspended_by_spec: false,
        completes: &[],
        readings: &[],
        supersession: seen.supersession,
    }
}

/// Whether the next release is the first, and the revision of the last that succeeded.
fn past(database: &Database) -> (bool, Option<u64>) {
    let ran = database.runs.iter().any(|run| {
        run.state.clusters.values().any(|cluster| {
            matches!(cluster.phase, ClusterPhase::Succeeded { .. }) || cluster.previous.is_some()
        })
    });
    let succeeded = database
        .runs
        .iter()
        .rev()
        .find(|run| matches!(run.state.status, RunStatus::Succeeded { .. }))
        .map(|run| run.revision);
    (!ran, succeeded)
}
