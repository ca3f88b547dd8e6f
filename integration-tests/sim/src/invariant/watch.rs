//! What may only rise, and what must be true of hub and agents together.

use std::collections::{BTreeMap, BTreeSet};

use bellwether_api::root::Root;
use bellwether_hub_core::run::ClusterPhase;
use uuid::Uuid;

use super::{bounds::bounds, broken::Broken, deletion::Deletions};
use crate::{
    agent::Agent,
    database::{ClusterRow, Database},
    scenario::unit_key,
};

/// Watches what may only rise, over the whole play.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    reports: BTreeMap<Uuid, (u64, u64)>,
    targets: BTreeMap<Uuid, (u64, u64)>,
    held: BTreeMap<Uuid, (u64, u64)>,
    /// What every cluster was to hold, by generation.
    roots: BTreeMap<Uuid, BTreeMap<u64, Root>>,
    /// The generation at which each agent's holdings were judged last.
    judged: BTreeMap<Uuid, u64>,
    /// How many events of each agent were judged.
    told: BTreeMap<Uuid, usize>,
    /// Attempts (cluster, run, attempt) that were under way when their cluster lost the application.
    lost: BTreeSet<(Uuid, Uuid, u32)>,
    deletions: Deletions,
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
            self.one_content(*cluster, row)?;
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
            self.committed(agent)?;
            granted(database, agent)?;
            self.told(database, agent)?;
        }
        self.deletions.look(database, agents)?;
        bounds(database, agents)?;
        self.concurrency(database, agents)?;
        proven(database, agents)
    }

    /// I17: a generation names one content and never another.
    fn one_content(&mut self, cluster: Uuid, row: &ClusterRow) -> Result<(), Broken> {
        let roots = self.roots.entry(cluster).or_default();
        let known = roots.entry(row.generation).or_insert(row.root);
        if *known == row.root {
            return Ok(());
        }
        let detail = format!("generation {} of {cluster} is two contents", row.generation);
        Err(Broken::new("I17-content", detail))
    }

    /// I20: events are kept once each, as they happened.
    fn told(&mut self, database: &Database, agent: &Agent) -> Result<(), Broken> {
        let Some(kept) = database.events.get(&agent.cluster) else {
            return Ok(());
        };
        if self.told.insert(agent.cluster, kept.len()) == Some(kept.len()) {
            return Ok(());
        }
        let wrong = kept.values().find(|event| {
            let place = usize::try_from(event.seq).unwrap_or(0).wrapping_sub(1);
            agent.happened.get(place) != Some(event)
        });
        wrong.map_or(Ok(()), |event| {
            let detail = format!("{}: event {} is another", agent.cluster, event.seq);
            Err(Broken::new("I20-events", detail))
        })
    }

    /// I19: what an agent holds was committed as a whole.
    fn committed(&mut self, agent: &Agent) -> Result<(), Broken> {
        let generation = agent.durable.generation;
        if self.judged.insert(agent.cluster, generation) == Some(generation) {
            return Ok(());
        }
        let roots = self.roots.get(&agent.cluster);
        let committed = roots.and_then(|roots| roots.get(&generation));
        let holds = agent.held_root();
        if generation == 0 || committed == Some(&holds) || agent.is_damaged() {
            return Ok(());
        }
        let detail = format!(
            "{} holds at generation {generation} what was never committed, known: {}",
            agent.cluster,
            committed.is_some()
        );
        Err(Broken::new("I19-held", detail))
    }

    /// I8, I14: no more clusters under way in a run's wave than the wave allows, as it really is.
    fn concurrency(&mut self, database: &Database, agents: &[Agent]) -> Result<(), Broken> {
        let mut under_way: BTreeMap<(Uuid, usize), Vec<Uuid>> = BTreeMap::new();
        for agent in agents {
            let track = agent.durable.track.as_ref();
            let Some(track) = track.filter(|track| !track.state.is_terminal()) else {
                continue;
            };
            // Who lost the application counts for nothing, though it still goes back, and though it has
            // the application again before it has heard of either.
            let attempt = (agent.cluster, track.spec.run, track.spec.attempt);
            let units = database.clusters.get(&agent.cluster).map(|row| &row.units);
            let wanted = units.and_then(|units| units.get(&unit_key()));
            if wanted.is_none_or(|(_, digest)| digest.is_none()) {
                self.lost.insert(attempt);
            }
            if self.lost.contains(&attempt) {
                continue;
            }
            let mut runs = database.runs.iter();
            let run = runs.find(|run| run.id == track.spec.run);
            let planned = run.and_then(|run| run.state.clusters.get(&agent.cluster));
            if let Some(wave) = planned.and_then(|planned| planned.wave) {
                let clusters = under_way.entry((track.spec.run, wave)).or_default();
                clusters.push(agent.cluster);
            }
        }
        for ((id, wave), clusters) in under_way {
            let Some(run) = database.runs.iter().find(|run| run.id == id) else {
                continue;
            };
            let allowed = run.plan.waves[wave].max_concurrent;
            if clusters.len() > usize::try_from(allowed).unwrap_or(usize::MAX) {
                let revision = run.revision;
                let detail = format!(
                    "{clusters:?} under way in wave {wave} of revision {revision}, {allowed} allowed"
                );
                return Err(Broken::new("I14-truth", detail));
            }
        }
        Ok(())
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
    let of = (agent.cluster, track.spec.run, track.spec.attempt);
    let from = (of.0, of.1, of.2, [0; 32]);
    let first = database.granted.range(from..).next();
    let known = first.is_some_and(|(cluster, run, attempt, _)| (*cluster, *run, *attempt) == of);
    if known {
        return Ok(());
    }
    Err(Broken::new(
        "I18-grant",
        format!("{} runs what nobody granted", agent.cluster),
    ))
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
