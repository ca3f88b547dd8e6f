//! Gateways that have to know the canary's Service before a route gives it anything.

use bellwether_api::{number::Weight, rollout::RolloutSpec, status::FailureReason};
use jiff::Timestamp;
use serde_json::json;

use super::{
    super::{Stage, StepPart},
    model::{Cluster, failure, in_step, linear, plan},
};
use crate::provider::Split;

fn contour() -> RolloutSpec {
    let mut spec = plan(linear());
    spec.traffic =
        serde_json::from_value(json!([{"contour": {"httpProxy": "web"}}])).expect("traffic");
    spec
}

/// The route names the canary and gives it nothing.
fn only_names(split: &Split) -> bool {
    split.is_none() && split.announced
}

/// Ticks until the run is over, and asserts that no route names a Service that is not there; returns
/// each split that the routes had, with the time at which it came.
fn splits(cluster: &mut Cluster) -> Vec<(Timestamp, Split)> {
    let mut splits = vec![(cluster.now, cluster.route.clone())];
    for _ in 0..2_000 {
        if cluster.state.is_terminal() {
            return splits;
        }
        cluster.tick(1);
        let named = cluster.route.announced || !cluster.route.is_none();
        assert!(
            !named || cluster.observe().canary_service,
            "a route names a Service that is gone: {:?}",
            cluster.state.stage
        );
        if splits
            .last()
            .is_some_and(|(_, last)| *last != cluster.route)
        {
            splits.push((cluster.now, cluster.route.clone()));
        }
    }
    panic!("not over: {:?}", cluster.state.stage);
}

/// An HTTPRoute that is served by Contour.
fn served_by_contour() -> Cluster {
    let mut cluster = Cluster::new(plan(linear()));
    cluster.announces = true;
    cluster
}

#[test]
fn a_canary_is_named_before_its_first_share_and_after_its_last() {
    named_around_its_shares(&mut Cluster::new(contour()));
    named_around_its_shares(&mut served_by_contour());
}

fn named_around_its_shares(cluster: &mut Cluster) {
    let splits = splits(cluster);
    assert_eq!(cluster.state.stage, Stage::Succeeded);
    let weights: Vec<u8> = splits
        .iter()
        .map(|(_, split)| split.weight.percent())
        .collect();
    assert_eq!(weights, [0, 0, 10, 20, 30, 40, 50, 0, 0]);
    assert_eq!(
        splits.first().map(|(_, split)| split),
        Some(&Split::default())
    );
    assert!(only_names(&splits[1].1), "{:?}", splits[1]);
    assert!(only_names(&splits[7].1), "{:?}", splits[7]);
    assert_eq!(splits[8].1, Split::default());
    let settle = cluster.observe().route_settle.as_signed();
    for (named, next) in [(1, 2), (7, 8)] {
        let stood = splits[next].0.duration_since(splits[named].0);
        assert!(stood >= settle, "gateways had {stood:#} to learn of it");
    }
}

#[test]
fn what_was_named_early_is_taken_out_late_whoever_serves_the_route_by_then() {
    let mut cluster = served_by_contour();
    cluster.until(in_step(1));
    cluster.announces = false;
    let splits = splits(&mut cluster);
    assert_eq!(cluster.state.stage, Stage::Succeeded);
    assert!(only_names(&splits[splits.len() - 2].1), "{splits:?}");
    assert_eq!(splits[splits.len() - 1].1, Split::default());
}

#[test]
fn who_comes_to_serve_the_route_in_the_middle_changes_nothing() {
    let mut cluster = Cluster::new(plan(linear()));
    cluster.until(in_step(1));
    cluster.announces = true;
    let splits = splits(&mut cluster);
    assert_eq!(cluster.state.stage, Stage::Succeeded);
    assert!(
        splits.iter().all(|(_, split)| !split.announced),
        "{splits:?}"
    );
}

#[test]
fn nothing_is_given_before_the_gateway_says_that_it_knows_the_name() {
    nothing_before_its_word(Cluster::new(contour()));
    nothing_before_its_word(served_by_contour());
}

fn nothing_before_its_word(mut cluster: Cluster) {
    cluster.route_works = false;
    let announcing = |stage: &Stage| {
        matches!(
            stage,
            Stage::Step {
                part: StepPart::Announcing,
                ..
            }
        )
    };
    cluster.until(|state| announcing(&state.stage));
    for _ in 0..20 {
        cluster.tick(5);
        assert!(
            announcing(&cluster.state.stage),
            "{:?}",
            cluster.state.stage
        );
    }
    assert!(only_names(&cluster.route));
    let waits = &cluster.last().waiting_on;
    assert_eq!(waits[0].reason, "RouteNotProgrammed", "{waits:?}");
    // It goes back without a share ever having been given.
    cluster.until(|state| matches!(state.stage, Stage::RollingBack { .. }));
    cluster.route_works = true;
    let after = splits(&mut cluster);
    assert!(after.iter().all(|(_, split)| split.weight == Weight::ZERO));
    assert_eq!(failure(&cluster), FailureReason::DeadlineExceeded);
    cluster.assert_clean("old");
}

#[test]
fn a_name_that_somebody_takes_out_is_written_and_learned_anew() {
    let mut cluster = Cluster::new(contour());
    let warms = |stage: &Stage| {
        matches!(
            stage,
            Stage::Step {
                part: StepPart::Warming { .. },
                ..
            }
        )
    };
    cluster.until(|state| warms(&state.stage));
    cluster.route = Split::default();
    cluster.tick(1);
    assert!(
        matches!(
            cluster.state.stage,
            Stage::Step {
                part: StepPart::Announcing,
                ..
            }
        ),
        "{:?}",
        cluster.state.stage
    );
    assert!(only_names(&cluster.route));
    assert_eq!(cluster.finish(), &Stage::Succeeded);
}

#[test]
fn a_failing_canary_is_named_until_its_last_request_has_ended() {
    let mut cluster = Cluster::new(contour());
    cluster.until(in_step(1));
    cluster.metric = Some(0.0);
    cluster.until(|state| matches!(state.stage, Stage::RollingBack { .. }));
    let after = splits(&mut cluster);
    let weights: Vec<u8> = after
        .iter()
        .map(|(_, split)| split.weight.percent())
        .collect();
    assert_eq!(weights.last(), Some(&0));
    let named = after.iter().position(|(_, split)| only_names(split));
    assert_eq!(named, Some(after.len() - 2), "{after:?}");
    cluster.assert_clean("old");
}
