//! Values of fields that a user left out and that a type cannot fill in by itself.
//!
//! What serde fills in is always written out again; the rest is filled in here, so that two
//! spellings of one plan have one digest.

use crate::{
    analysis::{Aggregation, Better, Metric, MetricOnFailure, REQUEST_DURATION},
    number::{IntOrPercent, Weight},
    rollout::RolloutSpec,
    strategy::{Advance, BlueGreen, Canary, Strategy},
};

impl RolloutSpec {
    /// Returns the plan with every default written out: `namespace` is the target namespace of
    /// the workload. Fields that fall back to the fleet (`traffic`, a metric's `source`) stay as
    /// they are. Filling in twice changes nothing.
    #[must_use]
    pub fn with_defaults(mut self, namespace: &str) -> Self {
        self.workload
            .namespace
            .get_or_insert_with(|| namespace.to_owned());
        self.strategy = self.strategy.with_defaults();
        // 0 reads as 1: nothing fails before its first check.
        self.analysis.failure_threshold = self.analysis.failure_threshold.max(1);
        let (min_requests, on_no_data) = (self.analysis.min_requests, self.analysis.on_no_data);
        let on_failure = MetricOnFailure::from(self.analysis.on_failure);
        for metric in &mut self.analysis.metrics {
            metric.min_requests.get_or_insert(min_requests);
            metric.on_no_data.get_or_insert(on_no_data);
            metric.on_failure.get_or_insert(on_failure);
            fill_aggregation(metric);
            if let Some(relative) = &mut metric.relative {
                relative.better_when.get_or_insert(Better::of(&metric.name));
            }
        }
        self
    }
}

impl Strategy {
    /// Returns the strategy with every default written out.
    #[must_use]
    pub fn with_defaults(mut self) -> Self {
        // Redundant where it agrees, refused where it does not.
        self.kind = None;
        self.canary = self.canary.map(Canary::with_defaults);
        self.blue_green = self.blue_green.map(BlueGreen::with_defaults);
        self
    }
}

impl BlueGreen {
    /// Returns the strategy with every default written out.
    #[must_use]
    pub fn with_defaults(mut self) -> Self {
        self.replicas.get_or_insert(IntOrPercent::Percent(100));
        self
    }
}

impl Canary {
    /// Returns the weights with every default written out.
    #[must_use]
    pub fn with_defaults(mut self) -> Self {
        if self.step_weight.is_some() {
            self.max_weight.get_or_insert(Weight::FULL);
        }
        let explicit = !self.steps.is_empty() || self.manual.is_some();
        let form = if explicit {
            Advance::Manual
        } else {
            Advance::Auto
        };
        let advance = *self.advance.get_or_insert(form);
        for step in &mut self.steps {
            step.advance.get_or_insert(advance);
        }
        self
    }
}

fn fill_aggregation(metric: &mut Metric) {
    if metric.name == REQUEST_DURATION {
        metric.aggregation.get_or_insert(Aggregation::P99);
    }
}
