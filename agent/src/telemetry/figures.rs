//! What the agent counts and measures.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// Upper bounds of what is counted of late checks, in seconds: a tenth of the shortest interval, which
/// is 1 s, and its multiples.
const LATENESS_BOUNDS_S: [f64; 8] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// How late checks began, in seconds.
#[derive(Clone, Debug)]
pub struct Lateness(pub Histogram);

impl Default for Lateness {
    fn default() -> Self {
        Self(Histogram::new(LATENESS_BOUNDS_S))
    }
}

/// One unit's part of a gauge that counts what all of them have; it goes with the unit.
#[derive(Debug, Default)]
pub struct Share {
    gauge: Gauge,
    counted: i64,
}

impl Share {
    /// Takes part in `gauge`, with nothing yet.
    #[must_use]
    pub const fn of(gauge: Gauge) -> Self {
        Self { gauge, counted: 0 }
    }

    /// Sets what this part has.
    pub fn set(&mut self, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.gauge.inc_by(count - self.counted);
        self.counted = count;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// The agent's figures; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Passes over a unit.
    pub passes: Counter,
    /// Passes that ended in an error and are tried again.
    pub failed_passes: Counter,
    /// Objects that were written back after somebody changed them.
    pub drift_corrected: Counter,
    /// Decisions of runs.
    pub decisions: Counter,
    /// Checks of metrics.
    pub checks: Counter,
    /// How late checks began.
    pub check_lateness: Lateness,
    /// Requests to the cluster's API server, watches included.
    pub api_requests: Counter,
    /// Units that the hub wants here.
    pub units: Gauge,
    /// Runs under way.
    pub runs: Gauge,
    /// Open watches.
    pub watches: Gauge,
    /// 1 while the stream to the hub is open.
    pub hub_connected: Gauge,
    /// Seconds since every object was last looked at.
    pub drift_age_seconds: Gauge<f64, AtomicU64>,
}

impl Figures {
    /// Writes all figures in the Prometheus text format.
    #[must_use]
    pub fn text(&self) -> String {
        let mut registry = Registry::with_prefix("bellwether_agent");
        registry.register("passes", "Passes over a unit", self.passes.clone());
        registry.register(
            "failed_passes",
            "Passes tried again",
            self.failed_passes.clone(),
        );
        registry.register(
            "drift_corrected",
            "Objects written back",
            self.drift_corrected.clone(),
        );
        registry.register("decisions", "Decisions of runs", self.decisions.clone());
        registry.register("checks", "Checks of metrics", self.checks.clone());
        registry.register(
            "check_lateness_seconds",
            "How late checks began",
            self.check_lateness.0.clone(),
        );
        registry.register(
            "api_requests",
            "Requests to the cluster's API server",
            self.api_requests.clone(),
        );
        registry.register("units", "Units that the hub wants here", self.units.clone());
        registry.register("runs", "Runs under way", self.runs.clone());
        registry.register("watches", "Open watches", self.watches.clone());
        registry.register(
            "hub_connected",
            "Stream to the hub",
            self.hub_connected.clone(),
        );
        registry.register(
            "drift_age_seconds",
            "Seconds since every object was last looked at",
            self.drift_age_seconds.clone(),
        );
        let mut text = String::new();
        if let Err(error) = encode(&mut text, &registry) {
            tracing::warn!(%error, "figures cannot be written");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_with_their_values() {
        let figures = Figures::default();
        figures.passes.inc_by(3);
        figures.units.set(2);
        let text = figures.text();
        assert!(text.contains("bellwether_agent_passes_total 3\n"), "{text}");
        assert!(text.contains("bellwether_agent_units 2\n"), "{text}");
    }

    #[test]
    fn shares_of_a_gauge_add_up_and_go_with_their_unit() {
        let figures = Figures::default();
        let mut one = Share::of(figures.runs.clone());
        let mut other = Share::of(figures.runs.clone());
        one.set(3);
        other.set(2);
        other.set(1);
        assert_eq!(figures.runs.get(), 4);
        drop(one);
        assert_eq!(figures.runs.get(), 1);
    }
}
