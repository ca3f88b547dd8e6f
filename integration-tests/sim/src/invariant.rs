//! What must hold after every event.

use std::collections::BTreeMap;

use bellwether_agent_core::machine::{Decision, RunState, Stage};
use bellwether_api::{status::Verdict, track::RolloutTrackSpec};
use bellwether_hub_core::run::ClusterPhase;
use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    agent::Agent,
    database::Database,
    member::{Member, REPLICAS},
    scenario::Quality,
};

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {detail}")]
pub struct Broken {
    /// The rule's short name.
    pub rule: &'static str,
    /// What broke it.
    pub detail: String,
}

impl Broken {
    /// Names a rule and what broke it.
    #[must_use]
    pub const fn new(rule: &'static str, detail: String) -> Self {
        Self { rule, detail }
    }
}

/// One decision of one agent, against what is true in its cluster.
#[derive(Clone, Copy, Debug)]
pub struct Edge<'a> {
    /// When.
    pub now: Timestamp,
    /// The grant and what was commanded.
    pub spec: &'a RolloutTrackSpec,
    /// The state before.
    pub before: &'a RunState,
    /// The decision.
    pub decision: &'a Decision,
}

impl Edge<'_> {
    /// Judges the decision; `image` is the version under test.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn check(&self, member: &Member, image: &str) -> Result<(), Broken> {
        self.ends_stay(image)?;
        self.steps_one_by_one()?;
        self.promotes_on_proof(image)?;
        self.no_promotion_after_abort()?;
        self.traffic_has_pods(member)?;
        self.explains_itself()
    }

    fn next(&self) -> &RunState {
        &self.decision.next
    }

    fn ends_stay(&self, image: &str) -> Result<(), Broken> {
        if self.before.is_terminal() && self.next().stage != self.before.stage {
            return Err(Broken::new(
                "I10-terminal",
                format!("{image}: {:?}", self.next().stage),
            ));
        }
        Ok(())
    }

    fn steps_one_by_one(&self) -> Result<(), Broken> {
        if let (Stage::Step { index: from, .. }, Stage::Step { index: to, .. }) =
            (&self.before.stage, &self.next().stage)
            && *to != *from
            && *to != from + 1
        {
            return Err(Broken::new(
                "I10-steps",
                format!("from step {from} to step {to}"),
            ));
        }
        Ok(())
    }

    /// A step is left, and a version promoted, only on a recorded verdict that is true.
    fn promotes_on_proof(&self, image: &str) -> Result<(), Broken> {
        let Stage::Step { index, .. } = self.before.stage else {
            return Ok(());
        };
        let left = match self.next().stage {
            Stage::Step { index: now, .. } => now != index,
            Stage::Promoting { .. } => true,
            _ => false,
        };
        if !left {
            return Ok(());
        }
        let verdict = self
            .next()
            .verdicts
            .iter()
            .rev()
            .find(|verdict| verdict.step == index);
        let proven = match verdict.map(|verdict| verdict.verdict) {
            Some(Verdict::Pass) => Quality::of(image) == Quality::Good,
            Some(Verdict::Overridden) => true,
            _ => false,
        };
        if proven {
            return Ok(());
        }
        Err(Broken::new(
            "I9-proof",
            format!("{image} left step {index} on {verdict:?}"),
        ))
    }

    fn no_promotion_after_abort(&self) -> Result<(), Broken> {
        let command = &self.spec.command;
        let aborted = command.run == self.spec.run
            && command.attempt == self.spec.attempt
            && command.abort.is_some();
        let starts = matches!(self.next().stage, Stage::Promoting { .. })
            && !matches!(self.before.stage, Stage::Promoting { .. });
        if aborted && starts {
            return Err(Broken::new(
                "I11-abort",
                "promoted although it was aborted".to_owned(),
            ));
        }
        Ok(())
    }

    fn traffic_has_pods(&self, member: &Member) -> Result<(), Broken> {
        let weight = self.next().weight;
        let needed = (REPLICAS * u32::from(weight.percent())).div_ceil(100);
        if weight > self.before.weight && member.canary_ready() < needed {
            let detail = format!(
                "weight {weight} needs {needed} ready canary pods, there are {}",
                member.canary_ready()
            );
            return Err(Broken::new("I2-readiness", detail));
        }
        Ok(())
    }

    fn explains_itself(&self) -> Result<(), Broken> {
        if self.decision.waiting_on.is_empty() && !self.next().is_terminal() {
            let detail = format!("{:?} waits for nothing", self.next().stage);
            return Err(Broken::new("waiting-on", detail));
        }
        Ok(())
    }
}

/// Watches what may only rise, over the whole play.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    reports: BTreeMap<Uuid, (u64, u64)>,
    targets: BTreeMap<Uuid, (u64, u64)>,
    held: BTreeMap<Uuid, (u64, u64)>,
}

impl Watch {
    /// Looks at everything after an event.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn look(&mut self, database: &Database, agents: &[Agent]) -> Result<(), Broken> {
        for (cluster, row) in &database.statuses {
            let now = (row.epoch, row.sequence);
            rises("I20-status", &mut self.reports, *cluster, now)?;
        }
        for (cluster, row) in &database.clusters {
            rises(
                "I17-target",
                &mut self.targets,
                *cluster,
                (row.epoch, row.generation),
            )?;
        }
        for agent in agents {
            let now = (agent.durable.epoch, agent.durable.generation);
            rises("I17-held", &mut self.held, agent.cluster, now)?;
            granted(database, agent)?;
            kept(agent)?;
        }
        concurrency(database, agents)?;
        proven(database, agents)
    }
}

fn rises(
    rule: &'static str,
    last: &mut BTreeMap<Uuid, (u64, u64)>,
    cluster: Uuid,
    now: (u64, u64),
) -> Result<(), Broken> {
    let before = last.insert(cluster, now);
    match before {
        Some(before) if now.0 < before.0 || now.0 == before.0 && now.1 < before.1 => Err(
            Broken::new(rule, format!("{cluster}: {before:?} became {now:?}")),
        ),
        _ => Ok(()),
    }
}

/// I18: a run in a cluster has a committed grant.
fn granted(database: &Database, agent: &Agent) -> Result<(), Broken> {
    let Some(track) = &agent.durable.track else {
        return Ok(());
    };
    let known = database.granted.iter().any(|(cluster, run, attempt, _)| {
        *cluster == agent.cluster && *run == track.spec.run && *attempt == track.spec.attempt
    });
    if known {
        return Ok(());
    }
    Err(Broken::new(
        "I18-grant",
        format!("{} runs what nobody granted", agent.cluster),
    ))
}

/// I22: nothing goes without a tombstone, of which this play has none.
fn kept(agent: &Agent) -> Result<(), Broken> {
    let had = !agent.durable.applied_image.is_empty();
    if had && agent.member.image.is_empty() {
        return Err(Broken::new(
            "I22-deleted",
            format!("{} lost its workload", agent.cluster),
        ));
    }
    Ok(())
}

/// I8, I14: no more clusters under way in a run's wave than the wave allows, as it really is.
fn concurrency(database: &Database, agents: &[Agent]) -> Result<(), Broken> {
    let mut under_way: BTreeMap<(Uuid, usize), u32> = BTreeMap::new();
    for agent in agents {
        let Some(track) = agent
            .durable
            .track
            .as_ref()
            .filter(|track| !track.state.is_terminal())
        else {
            continue;
        };
        let Some(run) = database.runs.iter().find(|run| run.id == track.spec.run) else {
            continue;
        };
        if let Some(wave) = run
            .state
            .clusters
            .get(&agent.cluster)
            .and_then(|one| one.wave)
        {
            *under_way.entry((run.id, wave)).or_default() += 1;
        }
    }
    for ((id, wave), count) in under_way {
        let Some(run) = database.runs.iter().find(|run| run.id == id) else {
            continue;
        };
        let allowed = run.plan.waves[wave].max_concurrent;
        if count > allowed {
            let detail = format!("{count} under way in wave {wave}, {allowed} allowed");
            return Err(Broken::new("I14-truth", detail));
        }
    }
    Ok(())
}

/// I16: what the hub counts as succeeded did succeed.
fn proven(database: &Database, agents: &[Agent]) -> Result<(), Broken> {
    for run in &database.runs {
        for (id, cluster) in &run.state.clusters {
            if !matches!(cluster.phase, ClusterPhase::Succeeded { .. }) {
                continue;
            }
            let finished = agents.iter().any(|agent| {
                agent.cluster == *id && agent.durable.finished.contains(&(run.id, cluster.attempt))
            });
            if !finished {
                let detail = format!(
                    "revision {} never succeeded on {}",
                    run.revision, cluster.name
                );
                return Err(Broken::new("I16-truth", detail));
            }
        }
    }
    Ok(())
}

/// What must hold once everything has come to rest.
///
/// # Errors
/// The first rule that is broken.
pub fn at_rest(database: &Database, agents: &[Agent]) -> Result<(), Broken> {
    for agent in agents {
        let row = &database.clusters[&agent.cluster];
        if row.units != agent.durable.units || row.root != agent.root() {
            return Err(Broken::new(
                "I21-resume",
                format!("{} holds something else", agent.cluster),
            ));
        }
        let stored = database.statuses.get(&agent.cluster).map(|row| &row.status);
        if stored != agent.status().as_ref() {
            return Err(Broken::new(
                "I20-latest",
                format!("{} is shown otherwise", agent.cluster),
            ));
        }
        // An install that was ended by a human was never finished as a whole.
        let applied = &agent.durable.applied_image;
        let runs = applied.is_empty() || agent.member.runs(applied);
        if !agent.member.is_clean() || !runs {
            let detail = format!("{}: {:?} {:?}", agent.cluster, agent.member, agent.durable);
            return Err(Broken::new("I7-restored", detail));
        }
    }
    Ok(())
}
