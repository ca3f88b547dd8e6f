//! What the hub sends to a cluster for a Rollout whose workload it does not deliver.

use serde::{Deserialize, Serialize};

use crate::{
    command::Command, fleet::MetricsDefaults, reference::NamespacedName, rollout::RolloutSpec,
};

/// The content of a unit `rollout/<namespace>/<name>`: the standing permission to bring in, by this
/// plan, whatever template somebody gives to the workload in the cluster itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StandingGrant {
    /// The Rollout.
    pub rollout: NamespacedName,
    /// The plan, defaults filled in; it is pinned when a run begins.
    pub spec: RolloutSpec,
    /// Where metrics are read in this cluster; absent = nowhere but by probe.
    pub metrics: Option<MetricsDefaults>,
    /// Rises with every `retry`: a template that failed before is then tried again.
    #[serde(default)]
    pub retries: u64,
    /// What is commanded to the run that it names; absent = nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Command>,
}

impl StandingGrant {
    /// Tells whether its Rollout was deleted and the run under way is all that it still permits.
    #[must_use]
    pub fn ends(&self) -> bool {
        let command = self.command.as_ref();
        command.is_some_and(|command| !command.complete.is_empty())
    }
}
