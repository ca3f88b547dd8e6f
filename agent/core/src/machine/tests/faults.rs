//! What goes wrong around a run.

use bellwether_api::{command::AbortCause, number::Weight, status::FailureReason};
use serde_json::json;

use super::{
    super::{PromotionPart, Stage, StepPart, decide},
    model::{Cluster, abort, failure, in_step, linear, manual, plan},
};
use crate::provider::Split;

/// Somebody gives the canary requests by hand before the run does: its pods wait for the gateway.
#[test]
fn requests_that_a_human_gave_the_canary_are_taken_back_before_its_pods_go() {
    let mut cluster = Cluster::new(plan(manual(&[50])));
    cluster.until(|state| state.canary_pods > 0);
    assert!(!cluster.state.routed);
    cluster.route = Split::by_weight(Weight::clamped(17));
    cluster.route_works = false;
    abort(&mut cluster, AbortCause::Manual);
    for _ in 0..10 {
        cluster.tick(1);
        let overlay = &cluster.last().overlay;
        assert!(overlay.split.is_none() && overlay.canary.is_some());
        assert!(overlay.canary.is_some_and(|canary| canary.replicas > 0));
    }
    cluster.route_works = true;
    cluster.finish();
    cluster.assert_clean("old");
}

/// Whatever pods there are, they may be of another version than the one that is tested.
#[test]
fn a_canary_that_could_not_be_written_back_gets_no_requests() {
    let mut cluster = Cluster::new(plan(manual(&[50])));
    cluster.until(|state| state.canary_pods > 0);
    cluster.canary_is_foreign = true;
    for _ in 0..20 {
        cluster.tick(1);
        assert_eq!(cluster.state.weight, Weight::ZERO);
    }
    let waits = &cluster.last().waiting_on;
    assert!(waits.iter().any(|wait| wait.reason == "CanaryNotWritten"));
    cluster.canary_is_foreign = false;
    cluster.until(in_step(0));
    assert_eq!(cluster.state.weight.percent(), 50);
}

#[test]
fn killed_canary_pods_lose_their_traffic_at_once() {
    let mut cluster = Cluster::new(plan(linear()));
    cluster.until(in_step(1));
    cluster.kill_canary();
    cluster.canary_works = false;
    let decision = cluster.tick(5);
    assert!(decision.overlay.split.is_none());
    assert!(matches!(
        decision.next.stage,
        Stage::Step {
            index: 1,
            part: StepPart::Scaling
        }
    ));
    cluster.tick(5);
    assert_eq!(cluster.state.weight, Weight::ZERO);
    cluster.canary_works = true;
    assert_eq!(cluster.finish(), &Stage::Succeeded);
    assert_eq!(cluster.weights(), [0, 10, 20, 0, 20, 30, 40, 50, 0]);
}

#[test]
fn a_canary_that_keeps_dying_meets_the_deadline() {
    let mut cluster = Cluster::new(plan(linear()));
    for _ in 0..400 {
        cluster.until(|state| in_step(0)(state) || state.is_terminal());
        if cluster.state.is_terminal() {
            break;
        }
        cluster.kill_canary();
        cluster.tick(5);
    }
    assert_eq!(failure(&cluster), FailureReason::DeadlineExceeded);
}

#[test]
fn the_weight_falls_only_as_the_old_version_can_take_it() {
    let mut cluster = Cluster::new(plan(linear()));
    cluster.until(in_step(4));
    cluster.old_works = false;
    cluster.kill_stable(3);
    abort(&mut cluster, AbortCause::Manual);
    cluster.tick(5);
    assert_eq!(
        cluster.state.weight.percent(),
        40,
        "three of five carry 60 %"
    );
    cluster.old_works = true;
    cluster.finish();
    cluster.assert_clean("old");

    let mut cluster = Cluster::new(plan(linear()));
    cluster.until(in_step(4));
    cluster.old_works = false;
    cluster.kill_stable(3);
    abort(&mut cluster, AbortCause::Manual);
    cluster.finish();
    assert_eq!(
        cluster.state.weight,
        Weight::ZERO,
        "the deadline bounds the wait"
    );
}

#[test]
fn a_route_that_is_not_programmed_is_not_judged() {
    let mut cluster = Cluster::new(plan(linear()));
    cluster.route_works = false;
    cluster.until(|state| {
        matches!(
            state.stage,
            Stage::Step {
                part: StepPart::Routing,
                ..
            }
        )
    });
    for _ in 0..20 {
        cluster.tick(5);
        assert!(cluster.last().sample.is_none());
    }
    assert_eq!(cluster.last().waiting_on[0].reason, "RouteNotProgrammed");
    cluster.route_works = true;
    assert_eq!(cluster.finish(), &Stage::Succeeded);
}

#[test]
fn a_missing_workload_ends_the_run() {
    let mut cluster = Cluster::new(plan(linear()));
    cluster.until(in_step(1));
    cluster.workload_exists = false;
    cluster.finish();
    assert_eq!(failure(&cluster), FailureReason::TargetGone);
    assert_eq!(cluster.state.weight, Weight::ZERO);
}

/// Ticks until a run is over whose Rollout was deleted, and whose workload goes with or without its
/// route.
fn ticks_to_the_end(cluster: &mut Cluster, with_route: bool) -> usize {
    cluster.workload_exists = false;
    cluster.route_exists = !with_route;
    let before = cluster.decisions.len();
    cluster.finish();
    assert!(cluster.state.split().is_none());
    cluster.decisions.len() - before
}

/// A run that is ended with nothing in its way; what its drain lasts included.
const AT_ONCE: usize = 40;

#[test]
fn a_run_whose_rollout_and_workload_are_deleted_ends_at_once() {
    let promoting = |state: &super::super::RunState| {
        matches!(
            state.stage,
            Stage::Promoting {
                part: PromotionPart::Updating
            }
        )
    };
    for with_route in [false, true] {
        for after in 0..12 {
            for promotes in [false, true] {
                let mut cluster = Cluster::new(plan(linear()));
                if promotes {
                    cluster.until(promoting);
                } else {
                    cluster.until(in_step(1));
                }
                abort(&mut cluster, AbortCause::Deleted);
                for _ in 0..after {
                    cluster.tick(5);
                }
                let ticks = ticks_to_the_end(&mut cluster, with_route);
                assert!(ticks <= AT_ONCE, "{after} {promotes}: {ticks}");
            }
        }
    }
}

#[test]
fn a_run_that_goes_back_already_ends_when_everything_is_deleted() {
    for cause in [AbortCause::Manual, AbortCause::Superseded] {
        let mut cluster = Cluster::new(plan(linear()));
        cluster.until(in_step(2));
        cluster.old_works = false;
        cluster.kill_stable(1);
        abort(&mut cluster, cause);
        cluster.tick(5);
        assert!(!cluster.state.split().is_none(), "it waits for old pods");
        cluster.extra.deleted = true;
        let ticks = ticks_to_the_end(&mut cluster, true);
        assert!(ticks <= AT_ONCE, "{cause:?}: {ticks}");
    }
}

/// Nobody may have looked for longer than the plan allows: a route that is written only then still
/// counts as carried until its gateway says otherwise.
#[test]
fn an_overdue_run_that_is_deleted_waits_for_the_route_that_it_has_just_written() {
    let mut cluster = Cluster::new(plan(linear()));
    cluster.until(in_step(1));
    cluster.old_works = false;
    cluster.kill_stable(1);
    abort(&mut cluster, AbortCause::Manual);
    cluster.tick(5);
    assert!(!cluster.state.split().is_none(), "it waits for old pods");
    cluster.route_works = false;
    abort(&mut cluster, AbortCause::Deleted);
    cluster.tick(10_000);
    for _ in 0..20 {
        let overlay = &cluster.tick(1).overlay;
        assert!(overlay.split.is_none());
        assert!(overlay.canary.is_some_and(|canary| canary.replicas > 0));
    }
    cluster.old_works = true;
    cluster.route_works = true;
    cluster.finish();
}

#[test]
fn a_terminating_namespace_is_let_go() {
    let mut cluster = Cluster::new(plan(linear()));
    cluster.until(in_step(1));
    cluster.extra.namespace_terminating = true;
    assert!(cluster.tick(5).next.is_terminal());
}

#[test]
fn a_foreign_edit_holds_but_a_dead_canary_loses_its_weight() {
    let mut cluster = Cluster::new(plan(linear()));
    cluster.until(in_step(1));
    cluster.extra.foreign_edits = vec!["HTTPRoute/web: weights".into()];
    for _ in 0..200 {
        let decision = cluster.tick(5);
        assert!(!decision.correct_drift);
        assert_eq!(decision.waiting_on[0].reason, "ForeignEdit");
    }
    assert_eq!(cluster.state.weight.percent(), 20);
    cluster.kill_canary();
    assert!(cluster.tick(5).overlay.split.is_none());
    cluster.extra.foreign_edits.clear();
    assert_eq!(cluster.finish(), &Stage::Succeeded);
}

#[test]
fn an_abort_restores_what_a_human_edited() {
    let mut cluster = Cluster::new(plan(linear()));
    cluster.until(in_step(1));
    cluster.extra.foreign_edits = vec!["HTTPRoute/web: weights".into()];
    cluster.tick(5);
    abort(&mut cluster, AbortCause::Manual);
    assert!(cluster.tick(5).correct_drift);
}

#[test]
fn stale_observations_hold_everything() {
    let mut cluster = Cluster::new(plan(linear()));
    cluster.until(in_step(0));
    cluster.fresh = false;
    let held = cluster.state.clone();
    for _ in 0..200 {
        cluster.tick(5);
    }
    assert_eq!(cluster.state, held);
    assert_eq!(cluster.last().waiting_on[0].reason, "NotFresh");
}

#[test]
fn a_workload_that_is_made_again_gets_its_pods_before_the_weight_falls() {
    let mut cluster = Cluster::new(plan(linear()));
    cluster.until(in_step(2));
    cluster.workload_exists = false;
    cluster.tick(5);
    cluster.workload_exists = true;
    cluster.finish();
    assert_eq!(failure(&cluster), FailureReason::TargetGone);
    cluster.assert_clean("old");

    let mut cluster = Cluster::new(plan(linear()));
    cluster.until(in_step(2));
    let mut remade = cluster.observe();
    remade.replica_sets.clear();
    let decision = decide(cluster.now, &cluster.grant, &cluster.state, &remade);
    assert_eq!(
        (decision.overlay.paused, decision.next.weight.percent()),
        (false, 30)
    );
    assert!(decision.overlay.pins.is_empty());
}

#[test]
fn a_new_version_that_dies_while_traffic_returns_shares_it_with_the_canary_again() {
    let form = json!({"stepWeight": 50, "maxWeight": 50, "stepWeightPromotion": 20});
    let mut cluster = Cluster::new(plan(form));
    cluster.until(|state| {
        matches!(
            &state.stage,
            Stage::Promoting {
                part: PromotionPart::Shifting { .. }
            }
        ) && state.weight.percent() == 30
    });
    cluster.new_works = false;
    cluster.kill_stable(0);
    let decision = cluster.tick(5);
    assert_eq!(
        decision.next.stage,
        Stage::Promoting {
            part: PromotionPart::Updating
        }
    );
    assert!(decision.overlay.pins.is_empty());
    assert_eq!(
        decision.next.weight.percent(),
        30,
        "nothing more goes to nobody"
    );
    cluster.new_works = true;
    assert_eq!(cluster.finish(), &Stage::Succeeded);
    cluster.assert_clean("new");
}
