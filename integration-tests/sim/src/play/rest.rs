//! Whether everything has come to rest.

use std::collections::BTreeSet;

use bellwether_hub_core::{
    placement::{Removal, removal},
    run::{ClusterPhase, RunStatus},
};

use super::Play;
use crate::{
    agent::{Agent, is_unfinished},
    database::RunRow,
    scenario::unit_key,
};

impl Play {
    pub(super) fn is_at_rest(&self) -> bool {
        self.applied == self.scenario.applied.len()
            && self.run_is_at_rest()
            && self.network.is_quiet()
            && self.agents.iter().all(|agent| self.agent_is_at_rest(agent))
    }

    fn run_is_at_rest(&self) -> bool {
        let holders = self.database.holders(&unit_key());
        let newest = self.database.newest_run();
        let Some(wanted) = &self.database.application else {
            return newest.is_none() && holders.is_empty();
        };
        let placed = self.database.placed();
        let ids: BTreeSet<_> = placed.iter().map(|cluster| cluster.id).collect();
        let nobody_leaves = match removal(&holders, &ids, None) {
            Removal::Allowed(leaving) => leaving.is_empty(),
            Removal::Held { .. } => true,
        };
        let latest = self.database.releases.last();
        let is_made = placed.is_empty()
            || latest.is_some_and(|one| one.digest == wanted.digest())
            || self.database.stays_restored(wanted);
        nobody_leaves && is_made && newest.is_none_or(|run| self.is_settled(run))
    }

    fn is_settled(&self, run: &RunRow) -> bool {
        let succeeded = matches!(run.state.status, RunStatus::Succeeded { .. });
        let mut clusters = run.state.clusters.values();
        let open = clusters.any(|one| one.phase == ClusterPhase::Waiting || one.phase.takes_slot());
        let mut said = self.database.actions.iter();
        run.state.status.is_finished()
            && !(succeeded && open)
            && said.all(|row| row.answer.is_some() || row.run != run.id)
    }

    fn agent_is_at_rest(&self, agent: &Agent) -> bool {
        let row = &self.database.clusters[&agent.cluster];
        if row.units.is_empty() {
            // Nothing was ever granted here.
            return true;
        }
        let status = agent.status();
        let reported = match &status {
            // Only other applications are there, which say nothing.
            None => !row.units.contains_key(&unit_key()),
            Some(status) => {
                agent.is_heard()
                    && agent.reported() == Some(status)
                    && !is_unfinished(status.outcome)
            }
        };
        let image = &agent.member.image;
        // A stream that only its agent takes for open ends soon; what overtook its Welcome is sent again.
        let is_fed = agent.stream().is_some_and(|(hub, epoch)| {
            let hub = &self.hubs[hub];
            hub.serves(agent.cluster, epoch) && !hub.owes(agent.cluster, epoch)
        });
        is_fed
            && agent.durable.generation == row.generation
            && reported
            && !agent.durable.is_busy()
            && (agent.durable.applied_image.is_empty()
                || agent.member.runs(image) && !agent.member.lacks(image))
    }

    pub(super) fn unrest(&self) -> String {
        let run = self.database.newest_run();
        let agents: Vec<_> = self
            .agents
            .iter()
            .map(|agent| {
                let track = agent.durable.track.as_ref();
                let track =
                    track.map(|track| (&track.state.stage, track.state.clock, track.waits()));
                let outcome = agent.status().map(|one| one.outcome);
                let rests = self.agent_is_at_rest(agent);
                let member = (!rests).then_some(&agent.member);
                (
                    agent.cluster,
                    agent.is_heard(),
                    rests,
                    outcome,
                    track,
                    member,
                )
            })
            .collect();
        format!(
            "applied: {}, run at rest: {}, quiet: {}, revision {:?} is {:?}; agents: {agents:#?}",
            self.database.application.is_some(),
            self.run_is_at_rest(),
            self.network.is_quiet(),
            run.map(|run| run.revision),
            run.map(|run| &run.state),
        )
    }
}
