//! Whole runs.

use bellwether_api::{
    command::AbortCause,
    duration::Dur,
    number::Weight,
    status::{FailureReason, Phase, Verdict},
};
use jiff::Timestamp;
use serde_json::json;

use super::{
    super::{PromotionPart, RollbackPart, RunState, Stage, StepPart, decide},
    model::{Cluster, abort, failure, in_step, linear, manual, plan},
};
use crate::settled::TemplateVersion;

#[test]
fn a_healthy_version_passes_every_weight() {
    let mut cluster = Cluster::new(plan(linear()));
    assert_eq!(cluster.finish(), &Stage::Succeeded);
    assert_eq!(cluster.weights(), [0, 10, 20, 30, 40, 50, 0]);
    assert!(
        cluster
            .state
            .verdicts
            .iter()
            .all(|one| one.verdict == Verdict::Pass)
    );
    cluster.assert_clean("new");
    assert_eq!(cluster.last().summary.phase, Phase::Succeeded);
}

#[test]
fn the_last_weight_is_clamped() {
    let mut cluster = Cluster::new(plan(json!({"stepWeight": 20, "maxWeight": 50})));
    assert_eq!(cluster.finish(), &Stage::Succeeded);
    assert_eq!(cluster.weights(), [0, 20, 40, 50, 0]);
}

#[test]
fn traffic_returns_in_steps_when_the_plan_says_so() {
    let form = json!({"stepWeight": 50, "maxWeight": 50, "stepWeightPromotion": 20});
    let mut cluster = Cluster::new(plan(form));
    assert_eq!(cluster.finish(), &Stage::Succeeded);
    assert_eq!(cluster.weights(), [0, 50, 30, 10, 0]);
    cluster.assert_clean("new");
}

#[test]
fn a_plan_without_metrics_passes_on_readiness() {
    let mut plan = plan(linear());
    plan.analysis.metrics.clear();
    let mut cluster = Cluster::new(plan);
    assert_eq!(cluster.finish(), &Stage::Succeeded);
    let all = cluster
        .state
        .verdicts
        .iter()
        .all(|one| one.verdict == Verdict::NothingConfigured);
    assert!(all);
}

#[test]
fn failed_checks_hold_the_weight_and_then_go_back() {
    let mut cluster = Cluster::new(plan(linear()));
    cluster.until(in_step(1));
    cluster.metric = Some(50.0);
    cluster.finish();
    assert_eq!(failure(&cluster), FailureReason::FailedChecks);
    assert_eq!(cluster.weights(), [0, 10, 20, 0], "one failed check holds");
    assert_eq!(cluster.state.failed_checks, 2);
    cluster.assert_clean("old");
}

#[test]
fn failed_checks_add_up_over_steps() {
    let mut cluster = Cluster::new(plan(linear()));
    cluster.until(in_step(0));
    cluster.metric = Some(50.0);
    cluster.until(|state| state.failed_checks == 1);
    cluster.metric = Some(100.0);
    cluster.until(in_step(2));
    cluster.metric = Some(50.0);
    cluster.finish();
    assert_eq!(
        (failure(&cluster), cluster.state.verdicts.len()),
        (FailureReason::FailedChecks, 2)
    );
}

#[test]
fn unknown_checks_hold_until_the_deadline() {
    let mut cluster = Cluster::new(plan(linear()));
    cluster.metric = None;
    cluster.finish();
    assert_eq!(failure(&cluster), FailureReason::DeadlineExceeded);
    assert_eq!(cluster.weights(), [0, 10, 0]);
    assert_eq!(cluster.state.failed_checks, 0);
    cluster.assert_clean("old");
}

#[test]
fn pods_that_never_become_ready_meet_the_deadline() {
    let mut cluster = Cluster::new(plan(linear()));
    cluster.canary_works = false;
    let begun = cluster.now;
    cluster.finish();
    assert_eq!(failure(&cluster), FailureReason::DeadlineExceeded);
    assert_eq!(cluster.weights(), [0]);
    assert!(cluster.now.duration_since(begun).as_secs() < 360);
    cluster.assert_clean("old");
}

#[test]
fn a_promotion_that_gets_stuck_goes_back() {
    let mut cluster = Cluster::new(plan(linear()));
    cluster.new_works = false;
    cluster.until(|state| matches!(state.stage, Stage::RollingBack { .. }));
    assert!(
        matches!(
            &cluster.state.stage,
            Stage::RollingBack {
                part: RollbackPart::Unpinning | RollbackPart::Retemplating,
                ..
            }
        ),
        "{:?}",
        cluster.state.stage
    );
    assert_eq!(cluster.state.weight.percent(), 50, "the canary serves on");
    cluster.finish();
    assert_eq!(failure(&cluster), FailureReason::DeadlineExceeded);
    cluster.assert_clean("old");
}

#[test]
fn an_abort_is_obeyed_in_every_stage_and_sticks() {
    let reference = {
        let mut cluster = Cluster::new(plan(linear()));
        cluster.finish();
        cluster.decisions.len()
    };
    for ticks in 0..reference - 1 {
        let mut cluster = Cluster::new(plan(linear()));
        for _ in 0..ticks {
            cluster.tick(5);
        }
        let before = cluster.state.stage.clone();
        abort(&mut cluster, AbortCause::Manual);
        cluster.tick(5);
        cluster.grant.command.abort = None;
        cluster.finish();
        assert_eq!(
            failure(&cluster),
            FailureReason::Manual,
            "aborted in {before:?}"
        );
        cluster.assert_clean("old");
    }
}

#[test]
fn an_abort_while_promoting_brings_the_old_template_back_first() {
    let mut cluster = Cluster::new(plan(linear()));
    cluster.until(|state| {
        matches!(
            &state.stage,
            Stage::Promoting {
                part: PromotionPart::Updating
            }
        )
    });
    cluster.tick(5);
    abort(&mut cluster, AbortCause::Superseded);
    cluster.tick(5);
    assert_eq!(failure(&cluster), FailureReason::Superseded);
    assert_eq!(cluster.state.weight.percent(), 50);
    cluster.until(|state| {
        matches!(
            &state.stage,
            Stage::RollingBack {
                part: RollbackPart::Unloading,
                ..
            }
        )
    });
    cluster.finish();
    cluster.assert_clean("old");
}

#[test]
fn causes_of_an_end_are_told_apart() {
    for (cause, reason) in [
        (AbortCause::Manual, FailureReason::Manual),
        (AbortCause::Superseded, FailureReason::Superseded),
        (AbortCause::Deleted, FailureReason::Deleted),
        (AbortCause::RollbackAll, FailureReason::RollbackAll),
    ] {
        let mut cluster = Cluster::new(plan(linear()));
        cluster.until(in_step(1));
        abort(&mut cluster, cause);
        cluster.finish();
        assert_eq!(failure(&cluster), reason);
        cluster.assert_clean("old");
    }
}

#[test]
fn a_deletion_goes_back_unless_the_run_is_to_be_completed() {
    let mut cluster = Cluster::new(plan(linear()));
    cluster.until(in_step(1));
    cluster.extra.deleted = true;
    cluster.tick(5);
    assert_eq!(cluster.last().summary.phase, Phase::Terminating);
    cluster.finish();
    assert_eq!(cluster.last().summary.phase, Phase::Terminated);

    let mut spec = plan(manual(&[20, 60]));
    spec.on_deletion = bellwether_api::rollout::OnDeletion::Complete;
    let mut cluster = Cluster::new(spec);
    cluster.until(in_step(0));
    cluster.extra.deleted = true;
    assert_eq!(
        cluster.finish(),
        &Stage::Succeeded,
        "nobody is left who could approve"
    );
}

#[test]
fn windows_begin_when_the_weight_is_in_force() {
    let mut cluster = Cluster::new(plan(linear()));
    cluster.until(in_step(0));
    let Stage::Step {
        part: StepPart::Analysing { since, .. },
        ..
    } = cluster.state.stage
    else {
        panic!("analysing");
    };
    while cluster.last().sample.is_none() {
        cluster.tick(5);
    }
    assert_eq!(
        cluster.last().sample.as_ref().map(|one| one.in_force_since),
        Some(since)
    );
}

#[test]
fn a_step_with_a_time_stays_for_it_and_checks_go_on() {
    let mut spec = plan(json!({"steps": [{"weight": 20, "advance": "After", "after": "30m"}]}));
    spec.analysis.interval = Dur::from_secs(60);
    let mut cluster = Cluster::new(spec.clone());
    let begun = cluster.now;
    assert_eq!(
        cluster.finish(),
        &Stage::Succeeded,
        "the deadline of 5 minutes stood still"
    );
    assert!(cluster.now.duration_since(begun).as_secs() >= 1_800);
    assert!(cluster.state.check > 20, "{}", cluster.state.check);

    let mut cluster = Cluster::new(spec);
    cluster.until(|state| {
        matches!(
            state.stage,
            Stage::Step {
                part: StepPart::Gate { .. },
                ..
            }
        )
    });
    cluster.metric = Some(1.0);
    cluster.finish();
    assert_eq!(failure(&cluster), FailureReason::FailedChecks);
}

#[test]
fn a_longer_interval_than_the_deadline_is_no_lack_of_progress() {
    let mut spec = plan(linear());
    spec.analysis.interval = Dur::from_secs(900);
    let mut cluster = Cluster::new(spec);
    assert_eq!(cluster.finish(), &Stage::Succeeded);
}

#[test]
fn no_weight_rises_while_the_apex_service_has_canary_addresses() {
    let (cluster, until) = warming();
    let clean = cluster.observe();
    let mut mixed = clean.clone();
    mixed
        .apex_endpoints
        .not_ready
        .extend(clean.canary_endpoints.ready.clone());
    let held = decide(until, &cluster.grant, &cluster.state, &mixed);
    assert_eq!(held.next.weight, Weight::ZERO);
    assert_eq!(held.waiting_on[0].reason, "EndpointsOverlap");
    let risen = decide(until, &cluster.grant, &cluster.state, &clean);
    assert_eq!(risen.next.weight.percent(), 10);
}

#[test]
fn no_route_names_pods_that_a_gateway_may_not_know_yet() {
    let (cluster, until) = warming();
    let seen = cluster.observe();
    let settle = seen.route_settle.as_signed();
    assert_eq!(until, cluster.state.entered_at + settle);
    let early = decide(until - settle / 2, &cluster.grant, &cluster.state, &seen);
    assert!(early.next.weight == Weight::ZERO && early.overlay.split.is_none());
    assert_eq!(early.waiting_on[0].reason, "Warming");
    assert_eq!(early.wake_at, Some(until));
    // Pods that are not ready any more are waited for, and then warmed up anew.
    let mut lost = seen.clone();
    lost.canary_endpoints.ready.clear();
    let lost = decide(until, &cluster.grant, &cluster.state, &lost);
    assert_eq!(lost.next.weight, Weight::ZERO);
    let again = decide(until, &cluster.grant, &lost.next, &seen);
    assert_eq!(again.next.weight, Weight::ZERO);
    let risen = decide(until + settle, &cluster.grant, &again.next, &seen);
    assert_eq!(risen.next.weight.percent(), 10);
}

/// A run whose canary is ready and gets nothing yet, with the time at which it may.
fn warming() -> (Cluster, Timestamp) {
    let mut cluster = Cluster::new(plan(linear()));
    let until_of = |state: &RunState| match state.stage {
        Stage::Step {
            part: StepPart::Warming { until },
            ..
        } => Some(until),
        _ => None,
    };
    cluster.until(|state| until_of(state).is_some());
    let until = until_of(&cluster.state).expect("it warms up");
    (cluster, until)
}

#[test]
fn an_update_that_has_not_begun_is_not_taken_for_a_finished_one() {
    let mut cluster = Cluster::new(plan(linear()));
    cluster.until(|state| {
        matches!(
            &state.stage,
            Stage::Promoting {
                part: PromotionPart::Unpinning
            }
        )
    });
    let mut seen = cluster.observe();
    cluster.until(|state| {
        matches!(
            &state.stage,
            Stage::Promoting {
                part: PromotionPart::Updating
            }
        )
    });
    seen.services[0].pin = None;
    if let Some(workload) = &mut seen.workload {
        workload.template = TemplateVersion::New;
    }
    let decision = decide(cluster.now, &cluster.grant, &cluster.state, &seen);
    assert_eq!(
        decision.next.stage,
        Stage::Promoting {
            part: PromotionPart::Updating
        }
    );
    assert_eq!(decision.waiting_on[0].reason, "NotUpdated");
}

#[test]
fn canary_pods_are_stopped_before_services_are_released() {
    for metric in [100.0, 1.0] {
        let mut cluster = Cluster::new(plan(linear()));
        cluster.metric = Some(metric);
        cluster.until(|state| {
            matches!(
                state.stage,
                Stage::Promoting {
                    part: PromotionPart::Shrinking { .. }
                } | Stage::RollingBack {
                    part: RollbackPart::Shrinking,
                    ..
                }
            )
        });
        let overlay = super::super::Overlay::of(&cluster.state);
        assert_eq!(overlay.canary.map(|canary| canary.replicas), Some(0));
        assert!(!overlay.pins.is_empty() && overlay.paused);
        let mut there = cluster.observe();
        if let Some(canary) = &mut there.canary {
            (canary.replicas, canary.ready, canary.updated) = (0, 1, 1);
        }
        let held = decide(cluster.now, &cluster.grant, &cluster.state, &there);
        assert_eq!(held.next.stage, cluster.state.stage);
        assert_eq!(held.waiting_on[0].reason, "CanaryPodsThere");
        cluster.finish();
    }
}
