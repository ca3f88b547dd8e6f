use bellwether_api::{
    command::Command, fleet::FleetDefaults, reference::NamespacedName, rollout::RolloutSpec,
    standing_grant::StandingGrant,
};

use crate::{
    cluster_defaults::defaults_in,
    placement::ClusterFacts,
    release::{TemplateError, Templates, fill},
};

/// What a grant is made from.
#[derive(Clone, Copy, Debug)]
pub struct GrantInput<'a> {
    /// The Rollout.
    pub rollout: &'a NamespacedName,
    /// Its record's spec.
    pub spec: &'a RolloutSpec,
    /// The cluster.
    pub cluster: &'a ClusterFacts,
    /// Defaults of the destination's fleet; empty without a fleet.
    pub fleet: &'a FleetDefaults,
    /// Every metric template.
    pub templates: &'a Templates,
    /// What the cluster is granted now; absent = nothing.
    pub before: Option<&'a StandingGrant>,
}

/// Makes what a cluster is granted: the plan with its defaults, and whatever was commanded there.
///
/// # Errors
/// A metric names a template that is missing or does not fit.
pub fn grant(input: GrantInput<'_>) -> Result<StandingGrant, TemplateError> {
    let mut spec = input.spec.clone();
    // Where it goes is the hub's matter: a cluster more changes nothing for the others.
    spec.destination = None;
    let defaults = defaults_in(input.cluster, input.fleet);
    defaults.fill(&mut spec);
    let (namespace, templates) = (&input.rollout.namespace, input.templates);
    for metric in &mut spec.analysis.metrics {
        *metric = fill(metric, spec.analysis.min_requests, namespace, templates)?;
    }
    Ok(StandingGrant {
        rollout: input.rollout.clone(),
        spec,
        metrics: defaults.metrics.clone(),
        retries: input.before.map_or(0, |before| before.retries),
        command: input.before.and_then(command_of),
    })
}

/// What stays commanded. A Rollout that is there again waits for humans again.
fn command_of(before: &StandingGrant) -> Option<Command> {
    let mut command = before.command.clone()?;
    command.complete.clear();
    Some(command)
}
