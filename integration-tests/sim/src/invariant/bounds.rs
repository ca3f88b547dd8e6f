//! I27: whatever is kept, is kept within its declared bound.

use bellwether_agent_core::machine::MAX_EXECUTED;
use bellwether_api::command::MAX_QUEUED;

use super::broken::Broken;
use crate::{
    agent::{Agent, MAX_EVENTS},
    database::Database,
};

/// Judges every queue and memory.
///
/// # Errors
/// The first that is longer than it may be.
pub fn bounds(database: &Database, agents: &[Agent]) -> Result<(), Broken> {
    for agent in agents {
        within("events of an agent", agent.waiting_events(), MAX_EVENTS)?;
        let Some(track) = &agent.durable.track else {
            continue;
        };
        let state = &track.state;
        within("answers to commands", state.executed.len(), MAX_EXECUTED)?;
        within("answered commands", state.hub.ids.len(), MAX_EXECUTED)?;
        within("results of a check", state.checks.len(), 16)?;
        within("verdicts", state.verdicts.len(), 16)?;
    }
    if let Some(run) = database.newest_run() {
        for cluster in run.state.clusters.values() {
            within("commands for a cluster", cluster.queue.len(), MAX_QUEUED)?;
        }
        within("answered actions", run.state.answered.len(), 64)?;
    }
    Ok(())
}

fn within(what: &str, count: usize, bound: usize) -> Result<(), Broken> {
    if count <= bound {
        return Ok(());
    }
    let detail = format!("{count} {what} are kept, {bound} at most should be");
    Err(Broken::new("I27-bounds", detail))
}
