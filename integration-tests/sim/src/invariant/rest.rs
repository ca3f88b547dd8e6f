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
        let kept = database.events.get(&agent.cluster).map_or(0, Vec::len);
        if kept != agent.happened.len() {
            let detail = format!(
                "{}: {kept} of {} events were kept",
                agent.cluster,
                agent.happened.len()
            );
            return Err(Broken::new("I20-events", detail));
        }
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
        if !agent.member.is_clean() || !right {
            let detail = format!("{}: {:?} {:?}", agent.cluster, agent.member, agent.durable);
            return Err(Broken::new("I7-restored", detail));
        }
    }
    Ok(())
}
