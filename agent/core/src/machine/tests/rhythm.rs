//! When checks are due, and which decisions only count them.

use bellwether_api::duration::Dur;
use jiff::Timestamp;

use super::{
    super::{Decision, RunState, SampleRequest, Samples, Stage, StepPart, decide},
    model::{Cluster, manual, plan},
};
use crate::{analysis::Sample, machine::MetricSample};

/// A run that is checked at a gate that nobody opens.
fn at_gate() -> Cluster {
    let mut cluster = Cluster::new(plan(manual(&[50])));
    cluster.until(|state| due_of(state).is_some());
    cluster
}

fn due_of(state: &RunState) -> Option<Timestamp> {
    match &state.stage {
        Stage::Step {
            part: StepPart::Gate { next_check_at, .. },
            ..
        } => Some(*next_check_at),
        _ => None,
    }
}

/// Decides at `now`, with the answer of the check that is due.
fn answered(cluster: &Cluster, now: Timestamp, value: f64) -> Decision {
    let mut seen = cluster.observe();
    let metrics = &cluster.grant.plan.analysis.metrics;
    seen.samples = Some(Samples {
        check: cluster.state.check,
        at: now,
        metrics: metrics
            .iter()
            .map(|metric| MetricSample {
                metric: metric.key(),
                sample: Sample {
                    value: Some(value),
                    requests: Some(1_000.0),
                    window: Dur::from_secs(20),
                    ..Sample::default()
                },
            })
            .collect(),
    });
    decide(now, &cluster.grant, &cluster.state, &seen)
}

#[test]
fn checks_keep_their_rhythm_however_long_their_answers_take() {
    let cluster = at_gate();
    let due = due_of(&cluster.state).expect("a gate");
    let seconds = |count| jiff::SignedDuration::from_secs(count);
    for (late, next) in [(0, 20), (3, 20), (19, 20), (20, 40), (50, 70)] {
        let decision = answered(&cluster, due + seconds(late), 100.0);
        assert_eq!(
            due_of(&decision.next),
            Some(due + seconds(next)),
            "answered {late} s after it was due"
        );
    }
}

#[test]
fn the_next_check_is_planned_until_it_is_due() {
    let cluster = at_gate();
    let due = due_of(&cluster.state).expect("a gate");
    let at = |now| {
        let seen = cluster.observe();
        decide(now, &cluster.grant, &cluster.state, &seen)
    };
    let before = at(due - jiff::SignedDuration::from_secs(5));
    let planned = before.planned.expect("it is planned");
    assert_eq!(
        (planned.due, planned.request.check),
        (due, cluster.state.check)
    );
    assert_eq!(before.sample, None);
    let then = at(due);
    assert_eq!(then.planned, None);
    let asked = then.sample.map(|SampleRequest { check, .. }| check);
    assert_eq!(
        asked,
        Some(cluster.state.check),
        "the same one is asked for"
    );
}

#[test]
fn a_check_that_passes_only_counts_and_one_too_many_that_fails_does_not() {
    let mut cluster = at_gate();
    let due = due_of(&cluster.state).expect("a gate");
    let passed = answered(&cluster, due, 100.0);
    assert!(passed.only_counts(&cluster.state, true));
    assert!(
        !passed.only_counts(&cluster.state, false),
        "drift is corrected now"
    );
    cluster.grant.plan.analysis.failure_threshold = 1;
    let failed = answered(&cluster, due, 50.0);
    assert!(matches!(failed.next.stage, Stage::RollingBack { .. }));
    assert!(!failed.only_counts(&cluster.state, true));
}

#[test]
fn whatever_a_human_says_or_pods_do_is_more_than_counting() {
    let cluster = at_gate();
    let due = due_of(&cluster.state).expect("a gate");
    let now = due - jiff::SignedDuration::from_secs(1);
    let mut lost = cluster.observe();
    lost.canary_endpoints.ready.clear();
    let decision = decide(now, &cluster.grant, &cluster.state, &lost);
    assert!(!decision.only_counts(&cluster.state, true));
    let mut grant = cluster.grant.clone();
    grant.command.suspend = true;
    let seen = cluster.observe();
    let decision = decide(now, &grant, &cluster.state, &seen);
    assert_eq!(decision.planned, None, "nothing is measured meanwhile");
    assert!(
        decision.only_counts(&cluster.state, true),
        "it stays as it is"
    );
}
