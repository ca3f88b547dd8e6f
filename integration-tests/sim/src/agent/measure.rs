//! What the agent measures and sees, and what a mutant makes of it.

use std::collections::BTreeSet;

use bellwether_agent_core::{
    analysis::Sample,
    machine::{MetricSample, Observations, Overlay, SampleRequest, Samples, Stage},
    provider::RouteObservation,
};
use bellwether_api::duration::Dur;
use jiff::Timestamp;

use super::{durable::Track, process::Agent};
use crate::{
    Mutant,
    count::Counts,
    scenario::{Quality, Theme},
};

impl Agent {
    /// Asks the cluster's Prometheus.
    pub(super) fn measure(
        &mut self,
        request: &SampleRequest,
        track: &Track,
        now: Timestamp,
        counts: &mut Counts,
    ) -> Samples {
        let quality = Quality::of(&track.new);
        let sample = if !self.metrics || !self.is_tested(track) {
            counts.one("fault/no-metrics");
            Sample::default()
        } else {
            if let Stage::Step { index, .. } = track.state.stage {
                let of = (track.spec.run, track.spec.attempt, index);
                self.measured.insert(of);
            }
            if quality == Quality::Failing {
                counts.one("fault/bad-metrics");
                sample_of(80.0)
            } else {
                sample_of(100.0)
            }
        };
        Samples {
            check: request.check,
            at: now,
            metrics: vec![MetricSample {
                metric: "request-success-rate".to_owned(),
                sample,
            }],
        }
    }
}

impl Agent {
    /// Tells whether the new version answers anything that could be measured.
    fn is_tested(&self, track: &Track) -> bool {
        if self.member.ordered.is_some() {
            return self.member.pods_of(&track.new).1 > 0;
        }
        let split = track.state.split();
        let tests_pods = split.is_none() && self.member.canary_ready() > 0;
        !self.member.carried.is_none() || tests_pods && self.theme == Theme::Requests
    }
}

/// What an agent sees whose guard was removed.
pub(super) fn pretend(seen: &mut Observations, track: &Track, mutant: Mutant) {
    match mutant {
        Mutant::SkipBatchReadiness => {
            let granted = track.state.in_place.as_ref().map_or(0, |run| run.granted);
            if let Some(view) = seen.in_place.as_mut().filter(|_| granted > 0) {
                let granted = granted + view.kept_new;
                view.updated = view.updated.max(granted);
                view.updated_available = view.updated_available.max(granted);
            }
        }
        Mutant::TrustWrittenRoute => {
            for route in &mut seen.routes {
                route.observation = RouteObservation::Programmed;
            }
        }
        Mutant::TrustOwnWrites => trust(seen, &Overlay::of(&track.state)),
        Mutant::LeaveCanary => {
            if let Some(canary) = &mut seen.canary {
                canary.unwritten = false;
            }
        }
        Mutant::ReplaceWhatRuns => {
            let begins = track.state.stage == Stage::Initializing;
            if let Some(workload) = seen.workload.as_mut().filter(|_| begins) {
                workload.available = 0;
            }
        }
        Mutant::PromoteUntaken => seen.untaken.clear(),
        Mutant::ShareUnannounced => {
            for route in &mut seen.routes {
                route.announces = false;
            }
        }
        Mutant::TakeReadyPods => {
            if let Some(workload) = &mut seen.workload {
                workload.update_takes = 0;
            }
        }
        Mutant::SkipReadiness => pretend_ready(seen),
        Mutant::PromoteOnUnknown => pretend_good(seen),
        Mutant::IgnoreRange => pretend_right(seen),
        _ => {}
    }
}

/// Takes everything for written.
fn trust(seen: &mut Observations, want: &Overlay) {
    if let Some(workload) = &mut seen.workload {
        workload.paused = want.paused;
    }
    for service in &mut seen.services {
        let pin = want.pins.iter().find(|pin| pin.service == service.name);
        service.pin = pin.map(|pin| pin.hash.clone());
    }
}

/// Takes every pod for ready.
fn pretend_ready(seen: &mut Observations) {
    if let Some(canary) = &mut seen.canary {
        canary.ready = canary.replicas;
        canary.available = canary.replicas;
        canary.observed_generation = canary.generation;
        let ready: BTreeSet<String> = (0..canary.replicas)
            .map(|number| format!("canary-{number}"))
            .collect();
        seen.canary_endpoints.ready = ready;
    }
}

/// Takes no answer for a good one.
fn pretend_good(seen: &mut Observations) {
    let metrics = seen.samples.iter_mut().flat_map(|one| &mut one.metrics);
    for metric in metrics.filter(|metric| metric.sample.value.is_none()) {
        metric.sample = sample_of(100.0);
    }
}

/// Takes every answer for a good one.
fn pretend_right(seen: &mut Observations) {
    let metrics = seen.samples.iter_mut().flat_map(|one| &mut one.metrics);
    for metric in metrics.filter(|metric| metric.sample.value.is_some()) {
        metric.sample = sample_of(100.0);
    }
}

fn sample_of(value: f64) -> Sample {
    Sample {
        value: Some(value),
        requests: Some(1_000.0),
        scrapes: Some(10),
        window: Dur::from_secs(20),
        ..Sample::default()
    }
}
