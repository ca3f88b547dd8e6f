//! An autoscaler of the workload.

use bellwether_agent_core::autoscaling::AutoscalerView;

use super::Member;

/// Seconds between two of its looks.
const PERIOD: i64 = 7;

/// An autoscaler of the workload, and the load that it sees.
#[derive(Clone, Debug)]
pub struct Scaler {
    /// The fewest pods.
    pub min: u32,
    /// The most pods.
    pub max: u32,
    /// Pods that carry all the traffic.
    pub load: u32,
    /// Whether it averages over the canary's pods too, as those do that go by the Pods' selector.
    pub counts_canary: bool,
}

impl Scaler {
    pub(super) fn view(&self) -> AutoscalerView {
        AutoscalerView {
            kind: "HorizontalPodAutoscaler".to_owned(),
            name: "web".to_owned(),
            min: self.min,
            max: self.max,
        }
    }
}

impl Member {
    pub(super) fn scale(&mut self) {
        let Some(scaler) = &self.scaler else { return };
        if self.image.is_empty() || self.clock % PERIOD != 0 {
            return;
        }
        let rest = u32::from(self.carried.weight.rest().percent());
        let wanted = if scaler.counts_canary {
            scaler.load
        } else {
            (scaler.load * rest).div_ceil(100)
        };
        let wanted = wanted.clamp(scaler.min, scaler.max);
        self.resize(wanted);
    }

    /// Gives the workload another size. Tells whether it had one.
    pub(super) fn resize(&mut self, replicas: u32) -> bool {
        let changes = self.replicas != replicas;
        if changes {
            self.replicas = replicas;
            self.generation += 1;
            self.excuse();
        }
        changes
    }
}
