//! Whole runs of every strategy.

use bellwether_api::{
    analysis::{AnalysisFailure, MetricOnFailure},
    command::{AbortCause, CommandOutcome, Verb},
    number::{IntOrPercent, Weight},
    rollout::{OnDeletion, RolloutSpec},
    status::{FailureReason, PAUSED_AFTER_FAILURE, Phase, Verdict},
    strategy::Manual,
};
use serde_json::json;

use super::{
    super::{PromotionPart, RunState, Stage, StepPart, decide},
    model::{Cluster, abort, failure, linear, manual, plan, plan_of},
};
use crate::provider::Split;

/// What the routes carried, without repetitions.
fn splits(cluster: &Cluster) -> Vec<(u8, usize, u8)> {
    let mut splits: Vec<_> = cluster
        .decisions
        .iter()
        .map(|one| {
            let Split {
                weight,
                matches,
                mirror,
                ..
            } = &one.overlay.split;
            (weight.percent(), matches.len(), mirror.percent())
        })
        .collect();
    splits.dedup();
    splits
}

fn wanted_pods(cluster: &Cluster) -> Vec<u32> {
    let mut pods: Vec<_> = cluster
        .decisions
        .iter()
        .map(|one| one.overlay.canary.map_or(0, |canary| canary.replicas))
        .collect();
    pods.dedup();
    pods
}

fn ab() -> RolloutSpec {
    plan_of(json!({"abTest": {"iterations": 3, "match": [
        {"headers": [{"name": "user-agent", "regex": ".*Firefox.*"}]},
        {"cookies": [{"name": "type", "exact": "insider"}]}]}}))
}

fn green(more: serde_json::Value) -> RolloutSpec {
    let mut form = json!({"iterations": 3});
    for (key, value) in more.as_object().into_iter().flatten() {
        form[key] = value.clone();
    }
    plan_of(json!({"blueGreen": form}))
}

fn at_gate(state: &RunState) -> bool {
    matches!(
        &state.stage,
        Stage::Step {
            part: StepPart::Gate { .. },
            ..
        }
    )
}

fn is_held(state: &RunState) -> bool {
    matches!(
        &state.stage,
        Stage::Step {
            part: StepPart::Held { .. },
            ..
        }
    )
}

#[test]
fn an_ab_test_routes_matches_alone_and_promotes_after_its_iterations() {
    let mut cluster = Cluster::new(ab());
    assert_eq!(cluster.finish(), &Stage::Succeeded);
    assert_eq!(splits(&cluster), [(0, 0, 0), (0, 2, 0), (0, 0, 0)]);
    assert_eq!(
        wanted_pods(&cluster),
        [0, 5, 0],
        "what matches may be everything"
    );
    let mut seen: Vec<_> = cluster
        .decisions
        .iter()
        .map(|one| {
            (
                one.summary.current.iteration,
                one.summary.current.iterations,
            )
        })
        .filter(|(_, of)| *of > 0)
        .collect();
    seen.dedup();
    assert_eq!(seen, [(0, 3), (1, 3), (2, 3)]);
    let updating = |one: &super::super::Decision| {
        matches!(
            &one.next.stage,
            Stage::Promoting {
                part: PromotionPart::Updating
            }
        )
    };
    let all_matched = cluster
        .decisions
        .iter()
        .filter(|one| updating(one))
        .all(|one| one.overlay.split.matches.len() == 2);
    assert!(
        all_matched,
        "its users stay on it while the workload is updated"
    );
    cluster.assert_clean("new");
}

#[test]
fn an_ab_test_takes_one_check_per_interval() {
    let mut spec = ab();
    spec.analysis.metrics.clear();
    let mut cluster = Cluster::new(spec);
    let analysing = |state: &RunState| {
        matches!(
            &state.stage,
            Stage::Step {
                part: StepPart::Analysing { .. },
                ..
            }
        )
    };
    cluster.until(analysing);
    let begun = cluster.now;
    cluster.until(|state| matches!(state.stage, Stage::Promoting { .. }));
    let spent = cluster.now.duration_since(begun).as_secs();
    assert!(
        (60..75).contains(&spent),
        "three checks of 20 s took {spent} s"
    );
}

#[test]
fn a_failing_ab_test_gives_its_users_back_at_once() {
    let mut cluster = Cluster::new(ab());
    cluster.until(|state| !state.matches.is_empty());
    cluster.metric = Some(1.0);
    cluster.until(|state| matches!(state.stage, Stage::RollingBack { .. }));
    assert!(cluster.state.split().is_none());
    cluster.finish();
    assert_eq!(failure(&cluster), FailureReason::FailedChecks);
    cluster.assert_clean("old");
}

#[test]
fn a_lost_canary_loses_matches_and_mirrors_too() {
    let mirrored = green(json!({"analysisTraffic": "Mirror"}));
    for spec in [ab(), mirrored] {
        let mut cluster = Cluster::new(spec);
        cluster.until(|state| !state.split().is_none());
        cluster.until(|state| {
            matches!(
                &state.stage,
                Stage::Step {
                    part: StepPart::Analysing { .. },
                    ..
                }
            )
        });
        cluster.kill_canary();
        assert!(cluster.tick(5).overlay.split.is_none());
        assert_eq!(cluster.finish(), &Stage::Succeeded);
    }
}

#[test]
fn the_observed_weight_is_that_of_the_route_and_not_the_one_that_was_written() {
    let mut cluster = Cluster::new(plan(linear()));
    cluster.until(|state| {
        matches!(
            &state.stage,
            Stage::Step {
                part: StepPart::Analysing { .. },
                ..
            }
        )
    });
    let mut seen = cluster.observe();
    seen.routes[0].weight = Some(Weight::ZERO);
    let decision = decide(cluster.now, &cluster.grant, &cluster.state, &seen);
    assert!(decision.summary.weight > Weight::ZERO);
    assert_eq!(decision.summary.observed_weight, Weight::ZERO);
}

#[test]
fn a_route_that_lost_its_matches_is_not_judged() {
    let mut cluster = Cluster::new(ab());
    cluster.until(|state| {
        matches!(
            &state.stage,
            Stage::Step {
                part: StepPart::Analysing { .. },
                ..
            }
        )
    });
    let mut seen = cluster.observe();
    seen.routes[0].split = None;
    let held = decide(cluster.now, &cluster.grant, &cluster.state, &seen);
    assert_eq!(held.next.stage, cluster.state.stage);
    assert_eq!(held.waiting_on[0].reason, "RouteNotWritten");
    assert!(held.sample.is_none());
}

#[test]
fn green_takes_everything_at_full_size_from_the_first_check_on() {
    let mut cluster = Cluster::new(green(json!({})));
    assert_eq!(cluster.finish(), &Stage::Succeeded);
    assert_eq!(cluster.weights(), [0, 100, 0]);
    assert_eq!(wanted_pods(&cluster), [0, 5, 0]);
    let checked = cluster.state.verdicts.len();
    assert_eq!(
        (checked, cluster.state.verdicts[0].verdict),
        (1, Verdict::Pass)
    );
    cluster.assert_clean("new");
}

#[test]
fn green_without_traffic_is_switched_to_after_its_checks() {
    let mut cluster = Cluster::new(green(json!({"analysisTraffic": "None"})));
    cluster.until(|state| state.step() == Some(1));
    let (last, before) = cluster.decisions.split_last().expect("decisions");
    assert_eq!(last.next.step(), Some(1));
    let reached = before.iter().any(|one| !one.overlay.split.is_none());
    assert!(!reached, "nobody reached it before");
    let passed: u32 = cluster
        .decisions
        .iter()
        .map(|one| one.summary.current.iteration)
        .max()
        .expect("decisions");
    assert_eq!(passed, 2, "the third check leaves the step");
    assert_eq!(cluster.finish(), &Stage::Succeeded);
    assert_eq!(cluster.weights(), [0, 100, 0]);
    cluster.assert_clean("new");
}

#[test]
fn green_can_be_checked_by_a_mirror() {
    let mut cluster = Cluster::new(green(json!({"analysisTraffic": "Mirror"})));
    assert_eq!(cluster.finish(), &Stage::Succeeded);
    assert_eq!(
        splits(&cluster),
        [(0, 0, 0), (0, 0, 100), (100, 0, 0), (0, 0, 0)]
    );
}

#[test]
fn blue_stands_by_untouched_and_takes_everything_back_at_once() {
    let mut cluster = Cluster::new(green(json!({"standby": "10m"})));
    cluster.until(at_gate);
    for _ in 0..40 {
        cluster.tick(5);
        assert_eq!(cluster.pods("old"), (5, 5));
        assert_eq!(cluster.last().waiting_on[0].reason, "Standby");
        assert!(cluster.last().summary.current.standby_until.is_some());
    }
    let mut aborted = Cluster::new(green(json!({"standby": "10m"})));
    aborted.until(at_gate);
    abort(&mut aborted, AbortCause::Manual);
    let decision = aborted.tick(5);
    assert!(decision.overlay.split.is_none(), "in the same decision");
    aborted.finish();
    aborted.assert_clean("old");

    let begun = cluster.now;
    assert_eq!(cluster.finish(), &Stage::Succeeded);
    let left = cluster.now.duration_since(begun).as_secs();
    assert!(
        left >= 395,
        "ten minutes, of which 200 s were waited: {left}"
    );
    cluster.assert_clean("new");
}

#[test]
fn a_failing_metric_ends_the_standby() {
    let mut cluster = Cluster::new(green(json!({"standby": "10m"})));
    cluster.until(at_gate);
    cluster.metric = Some(1.0);
    cluster.finish();
    assert_eq!(failure(&cluster), FailureReason::FailedChecks);
    cluster.assert_clean("old");
}

#[test]
fn promote_ends_the_standby() {
    let mut cluster = Cluster::new(green(json!({"standby": "10h"})));
    cluster.until(at_gate);
    let phase = cluster.last().summary.phase;
    assert_eq!(phase, Phase::Paused, "no human is awaited");
    cluster.queue(1, Verb::Promote, None);
    assert_eq!(cluster.finish(), &Stage::Succeeded);
}

#[test]
fn one_mirrored_check_comes_before_the_first_weight() {
    let mut cluster = Cluster::new(plan(
        json!({"stepWeight": 20, "maxWeight": 40, "mirror": true}),
    ));
    assert_eq!(cluster.finish(), &Stage::Succeeded);
    assert_eq!(
        splits(&cluster),
        [(0, 0, 0), (0, 0, 20), (20, 0, 0), (40, 0, 0), (0, 0, 0)]
    );
    assert_eq!(cluster.state.verdicts.len(), 3);
}

#[test]
fn matches_go_to_the_canary_beside_every_weight() {
    let form = json!({"weights": [20, 50], "match": [{"method": "GET"}]});
    let mut cluster = Cluster::new(plan(form));
    assert_eq!(cluster.finish(), &Stage::Succeeded);
    assert_eq!(
        splits(&cluster),
        [(0, 0, 0), (20, 1, 0), (50, 1, 0), (0, 0, 0)]
    );
    assert_eq!(
        wanted_pods(&cluster),
        [0, 1, 3, 0],
        "sizes follow the weight"
    );
}

#[test]
fn steps_set_weight_and_pods_apart() {
    let form = json!({"advance": "Auto", "steps": [
        {"weight": 5, "replicas": "20%"}, {"weight": 5, "replicas": 4},
        {"weight": 60, "replicas": 2}, {"weight": 90}]});
    let mut cluster = Cluster::new(plan(form));
    assert_eq!(cluster.finish(), &Stage::Succeeded);
    assert_eq!(cluster.weights(), [0, 5, 60, 90, 0]);
    assert_eq!(wanted_pods(&cluster), [0, 1, 4, 2, 5, 0]);
}

/// Fewer pods for more traffic: the pods go once the weight that they are for is in force.
#[test]
fn pods_of_a_split_in_force_stay_until_another_is_in_force() {
    let form = json!({"advance": "Auto", "steps": [
        {"weight": 20, "replicas": 5}, {"weight": 20, "replicas": 1}]});
    let mut cluster = Cluster::new(plan(form));
    cluster.until(|state| state.step() == Some(1));
    while let Stage::Step {
        index: 1,
        part: StepPart::Scaling | StepPart::Routing | StepPart::Settling { .. },
    } = cluster.state.stage
    {
        assert_eq!(cluster.state.canary_pods, 5);
        cluster.tick(1);
    }
    cluster.tick(1);
    assert_eq!(cluster.state.canary_pods, 1);
}

#[test]
fn a_step_may_route_matches_before_any_weight() {
    let form = json!({"steps": [
        {"weight": 0, "match": [{"method": "GET"}], "replicas": 2, "advance": "Auto"},
        {"weight": 50}]});
    let mut cluster = Cluster::new(plan(form));
    cluster.until(at_gate);
    assert_eq!(splits(&cluster), [(0, 0, 0), (0, 1, 0), (50, 0, 0)]);
    cluster.queue(1, Verb::Approve, None);
    assert_eq!(cluster.finish(), &Stage::Succeeded);
}

fn set(weight: u8, replicas: Option<u32>) -> Manual {
    Manual {
        weight: Weight::new(weight).expect("a weight"),
        replicas: replicas.map(IntOrPercent::Int),
    }
}

#[test]
fn a_human_sets_weight_and_pods_and_exactly_that_stays() {
    let mut cluster = Cluster::new(plan(json!({"manual": {"weight": 0}})));
    cluster.until(at_gate);
    assert_eq!(
        (cluster.weights(), wanted_pods(&cluster)),
        (vec![0], vec![0])
    );
    cluster.set_weight(1, set(30, Some(2)));
    cluster.tick(5);
    cluster.until(at_gate);
    for _ in 0..500 {
        cluster.tick(5);
    }
    let overlay = &cluster.last().overlay;
    let pods = overlay.canary.map(|canary| canary.replicas);
    assert_eq!((overlay.route_weight().percent(), pods), (30, Some(2)));
    cluster.set_weight(2, set(10, None));
    cluster.tick(5);
    assert_eq!(
        cluster.state.canary_pods, 2,
        "until the route gives it less"
    );
    cluster.until(at_gate);
    cluster.tick(5);
    assert_eq!(cluster.state.canary_pods, 1);
    cluster.queue(3, Verb::Promote, None);
    assert_eq!(cluster.finish(), &Stage::Succeeded);
    assert_eq!(cluster.weights(), [0, 30, 10, 0]);
    let all = cluster.state.executed.iter();
    assert!(
        all.clone()
            .all(|one| one.outcome == CommandOutcome::Executed)
    );
}

#[test]
fn a_failing_metric_counts_while_a_human_drives() {
    let mut cluster = Cluster::new(plan(json!({"manual": {"weight": 20}})));
    cluster.until(at_gate);
    cluster.metric = Some(1.0);
    cluster.finish();
    assert_eq!(failure(&cluster), FailureReason::FailedChecks);
}

#[test]
fn weights_are_not_set_by_hand_where_the_plan_sets_them() {
    let mut cluster = Cluster::new(plan(manual(&[20])));
    cluster.until(at_gate);
    cluster.set_weight(1, set(90, None));
    cluster.queue(2, Verb::SetWeight, None);
    cluster.tick(5);
    let outcomes: Vec<_> = cluster
        .state
        .executed
        .iter()
        .map(|one| one.outcome)
        .collect();
    assert_eq!(outcomes, [CommandOutcome::Stale; 2]);
    assert_eq!(cluster.state.weight.percent(), 20);
}

#[test]
fn a_skipped_analysis_is_a_plain_update() {
    let mut spec = plan(linear());
    spec.analysis.skip = true;
    let mut cluster = Cluster::new(spec);
    cluster.metric = Some(1.0);
    assert_eq!(cluster.finish(), &Stage::Succeeded);
    assert_eq!(
        (cluster.weights(), wanted_pods(&cluster)),
        (vec![0], vec![0])
    );
    let skipped = |verdict: &super::super::StepVerdict| {
        verdict.verdict == Verdict::Overridden && verdict.by == "analysis.skip"
    };
    assert!(cluster.state.verdicts.iter().all(skipped));
    cluster.assert_clean("new");
}

fn pausing() -> RolloutSpec {
    let mut spec = plan(linear());
    spec.analysis.on_failure = AnalysisFailure::Pause;
    spec
}

#[test]
fn a_run_that_pauses_on_failure_asks_a_human() {
    let mut cluster = Cluster::new(pausing());
    cluster.until(|state| state.weight.percent() == 20);
    cluster.metric = Some(1.0);
    cluster.until(is_held);
    for _ in 0..500 {
        cluster.tick(5);
    }
    assert!(is_held(&cluster.state), "the deadline stands still");
    let decision = cluster.last();
    assert_eq!(
        (decision.summary.phase, decision.wake_at),
        (Phase::Paused, None)
    );
    assert_eq!(decision.waiting_on[0].reason, PAUSED_AFTER_FAILURE);
    for verb in ["resume", "skip", "promote", "abort"] {
        assert!(
            decision.waiting_on[0].message.contains(verb),
            "{verb}: {:?}",
            decision.waiting_on
        );
    }
    assert_eq!(cluster.state.weight.percent(), 20);
    cluster.queue(1, Verb::Resume, None);
    cluster.metric = Some(100.0);
    assert_eq!(cluster.finish(), &Stage::Succeeded);
    let verdicts = cluster.state.verdicts.iter();
    assert!(
        verdicts.clone().all(|one| one.verdict == Verdict::Pass),
        "resume passes nothing unchecked"
    );

    for verb in [Verb::Promote, Verb::Skip, Verb::Approve] {
        let mut cluster = Cluster::new(pausing());
        cluster.metric = Some(1.0);
        cluster.until(is_held);
        cluster.queue(1, verb, None);
        cluster.metric = Some(100.0);
        assert_eq!(cluster.finish(), &Stage::Succeeded, "{verb:?}");
    }
    let mut cluster = Cluster::new(pausing());
    cluster.metric = Some(1.0);
    cluster.until(is_held);
    abort(&mut cluster, AbortCause::Manual);
    cluster.finish();
    assert_eq!(failure(&cluster), FailureReason::Manual);
    cluster.assert_clean("old");
}

#[test]
fn a_run_that_is_resumed_and_fails_again_pauses_again() {
    let mut cluster = Cluster::new(pausing());
    cluster.metric = Some(1.0);
    cluster.until(is_held);
    let held_at = cluster.state.weight;
    cluster.queue(1, Verb::Resume, None);
    cluster.tick(5);
    assert!(!is_held(&cluster.state));
    cluster.until(is_held);
    assert_eq!(cluster.state.weight, held_at, "nothing passed in between");
}

#[test]
fn resume_opens_no_gate() {
    let mut cluster = Cluster::new(plan(manual(&[20])));
    cluster.queue(1, Verb::Resume, None);
    cluster.until(at_gate);
    cluster.queue(2, Verb::Resume, None);
    cluster.tick(5);
    assert!(at_gate(&cluster.state));
    let outcomes: Vec<_> = cluster
        .state
        .executed
        .iter()
        .map(|one| (one.id, one.outcome))
        .collect();
    assert_eq!(
        outcomes,
        [(1, CommandOutcome::Stale), (2, CommandOutcome::Stale)]
    );
}

#[test]
fn nobody_is_asked_once_the_rollout_is_deleted() {
    let mut spec = pausing();
    spec.on_deletion = OnDeletion::Complete;
    let mut cluster = Cluster::new(spec);
    cluster.metric = Some(1.0);
    cluster.until(is_held);
    cluster.extra.deleted = true;
    cluster.finish();
    assert_eq!(failure(&cluster), FailureReason::FailedChecks);
    cluster.assert_clean("old");
}

#[test]
fn a_metric_that_asks_for_a_human_pauses_a_run_that_would_go_back() {
    let mut spec = pausing();
    spec.analysis.on_failure = AnalysisFailure::Rollback;
    spec.analysis.metrics[0].on_failure = Some(MetricOnFailure::Pause);
    let mut cluster = Cluster::new(spec);
    cluster.until(|state| state.weight.percent() == 20);
    cluster.metric = Some(1.0);
    cluster.until(is_held);
    assert_eq!(cluster.state.weight.percent(), 20);
    abort(&mut cluster, AbortCause::Manual);
    cluster.finish();
    cluster.assert_clean("old");
}

#[test]
fn the_deadline_of_a_step_pauses_too_and_a_stuck_promotion_goes_back() {
    let mut cluster = Cluster::new(pausing());
    cluster.canary_works = false;
    cluster.until(is_held);
    cluster.canary_works = true;
    cluster.queue(1, Verb::Approve, None);
    cluster.new_works = false;
    cluster.finish();
    assert_eq!(failure(&cluster), FailureReason::DeadlineExceeded);
    cluster.assert_clean("old");
}

#[test]
fn a_paused_run_gives_no_weight_back_to_a_canary_that_was_lost() {
    let mut cluster = Cluster::new(pausing());
    cluster.until(|state| state.weight.percent() == 20);
    cluster.metric = Some(1.0);
    cluster.until(is_held);
    cluster.kill_canary();
    cluster.tick(5);
    for _ in 0..20 {
        cluster.tick(5);
    }
    assert!(is_held(&cluster.state) && cluster.state.split().is_none());
    cluster.metric = Some(100.0);
    cluster.queue(1, Verb::Approve, None);
    assert_eq!(cluster.finish(), &Stage::Succeeded);
}

#[test]
fn users_are_drawn_anew_with_the_weight_and_only_then() {
    let mut spec = plan(json!({"weights": [20, 50, 100]}));
    let affinity = json!({"cookieName": "release", "maxAge": "1h"});
    spec.session_affinity = serde_json::from_value(affinity).ok();
    let mut cluster = Cluster::new(spec);
    assert_eq!(cluster.finish(), &Stage::Succeeded);
    let mut drawn: Vec<_> = cluster
        .decisions
        .iter()
        .map(|one| {
            let affinity = one.overlay.split.affinity.as_ref();
            let token = affinity.map(|affinity| affinity.token.clone());
            (one.overlay.route_weight().percent(), token)
        })
        .collect();
    drawn.dedup();
    let weights: Vec<_> = drawn.iter().map(|(weight, _)| *weight).collect();
    assert_eq!(weights, [0, 20, 50, 100, 0]);
    let kept: Vec<_> = drawn
        .iter()
        .filter_map(|(_, token)| token.as_ref())
        .collect();
    assert_eq!(
        kept.len(),
        2,
        "with all or nothing there is nothing to draw"
    );
    assert_ne!(kept[0], kept[1]);
    let affinity = cluster
        .decisions
        .iter()
        .find_map(|one| one.overlay.split.affinity.clone());
    let affinity = affinity.expect("an affinity");
    assert_eq!(
        (affinity.cookie_name.as_str(), affinity.max_age_s),
        ("release", 3_600)
    );
}
