//! What must hold once everything has come to rest.

use super::broken::Broken;
use crate::{agent::Agent, database::Database, scenario::unit_key};

/// Judges everything at rest.
///
/// # Errors
/// The first rule that is broken.
pub fn at_rest(database: &Database, agents: &[Agent]) -> Result<(), Broken> {
    for agent in agents {
        let row = &database.clusters[&agent.cluster];
        if row.units != agent.durable.units || row.root != agent.durable.root() {
            return Err(Broken::new(
                "I21-resume",
                format!(
                    "{} holds something else at {}: {:?} was sent, it has {:?}",
                    agent.cluster, row.generation, row.units, agent.durable.units
                ),
            ));
        }
        let stored = database.statuses.get(&agent.cluster).map(|row| &row.status);
        if stored != agent.status().as_ref() {
            return Err(Broken::new(
                "I20-latest",
                format!("{} is shown otherwise", agent.cluster),
            ));
        }
        every_event_came(database, agent)?;
        // An install that was ended by a human was never finished as a whole.
        let applied = &agent.durable.applied_image;
        let runs = applied.is_empty() || agent.member.runs(applied);
        let gone = row
            .units
            .get(&unit_key())
            .is_some_and(|(_, digest)| digest.is_none());
        let right = if gone {
            agent.member.image.is_empty()
        } else {
            runs
        };
        let member = &agent.member;
        let mixed = !member.image.is_empty()
            && (member.config != member.image || member.lacks(&member.image));
        if mixed && !applied.is_empty() {
            let detail = format!(
                "{}: pods of {} beside configuration of {} and the shard of {:?}",
                agent.cluster, member.image, member.config, member.shard
            );
            return Err(Broken::new("I19-mix", detail));
        }
        if !agent.member.is_clean() || !right {
            let detail = format!("{}: {:?} {:?}", agent.cluster, agent.member, agent.durable);
            return Err(Broken::new("I7-restored", detail));
        }
    }
    Ok(())
}

/// What happened is kept at the hub, but for what was dropped before it could be told.
fn every_event_came(database: &Database, agent: &Agent) -> Result<(), Broken> {
    let kept = database.events.get(&agent.cluster);
    let missing = agent.happened.iter().find(|event| {
        let came = kept.is_some_and(|kept| kept.contains_key(&event.seq));
        !came && !agent.dropped.contains(&event.seq)
    });
    missing.map_or(Ok(()), |event| {
        let detail = format!("{}: event {} never came", agent.cluster, event.seq);
        Err(Broken::new("I20-events", detail))
    })
}
