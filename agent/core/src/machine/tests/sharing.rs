//! Both versions share a fixed number of pods.

use bellwether_api::{
    command::AbortCause, number::Weight, rollout::RolloutSpec, status::FailureReason,
    strategy::InstancesMode,
};
use serde_json::json;

use super::{
    super::{RunState, Stage, StepPart, decide},
    model::{Cluster, abort, failure, plan},
};

fn fixed(canary: serde_json::Value) -> RolloutSpec {
    let mut spec = plan(canary);
    spec.instances.mode = InstancesMode::FixedTotal;
    spec
}

fn of_four(canary: serde_json::Value) -> Cluster {
    let mut cluster = Cluster::new(fixed(canary));
    cluster.resize(4);
    cluster
}

fn analysing(index: u32) -> impl Fn(&RunState) -> bool {
    super::model::in_step(index)
}

/// 4 pods in steps of 20 %: 1, 2, 3, 4, 4 of the new version beside 3, 2, 1, 1, 0 of the old one.
#[test]
fn the_old_version_shrinks_as_the_canary_grows() {
    let mut cluster = of_four(json!({"stepWeight": 20}));
    let table = [(20, 1, 3), (40, 2, 2), (60, 3, 1), (80, 4, 1), (100, 4, 0)];
    for (index, (weight, canary, stable)) in (0..).zip(table) {
        cluster.until(analysing(index));
        for _ in 0..3 {
            cluster.tick(1);
        }
        assert_eq!(cluster.state.weight.percent(), weight);
        assert_eq!(cluster.state.canary_pods, canary, "canary at {weight} %");
        assert_eq!(
            cluster.pods("old"),
            (stable, stable),
            "old version at {weight} %"
        );
    }
    assert_eq!(cluster.finish(), &Stage::Succeeded);
    assert_eq!(cluster.weights(), [0, 20, 40, 60, 80, 100, 0]);
    cluster.assert_clean("new");
}

/// What a human wants of both versions together counts until there is less of the old one for our sake.
#[test]
fn a_total_follows_whoever_scales_before_it_is_shared() {
    for (scaled, canary, stable) in [(8, 4, 4), (2, 1, 1)] {
        let mut cluster = of_four(json!({"weights": [50]}));
        cluster.until(|state| matches!(state.stage, Stage::Step { .. }));
        cluster.resize(scaled);
        cluster.until(analysing(0));
        for _ in 0..3 {
            cluster.tick(1);
        }
        assert_eq!(cluster.state.canary_pods, canary, "of {scaled}");
        assert_eq!(cluster.pods("old"), (stable, stable), "of {scaled}");
    }
    // Once it is shared, fewer pods are those that the canary has taken.
    let mut cluster = of_four(json!({"weights": [50, 75]}));
    cluster.until(analysing(1));
    assert_eq!(
        cluster.state.stable.as_ref().map(|stable| stable.replicas),
        Some(4)
    );
}

/// Somebody scales between the decision to share and its first write: that is not written over their
/// count, and decided anew.
#[test]
fn whoever_scales_before_the_first_share_is_written_is_followed() {
    for (scaled, share) in [(7, 5), (3, 1)] {
        let mut cluster = of_four(json!({"weights": [50]}));
        cluster.until(analysing(0));
        let first = cluster.last().overlay.clone();
        assert_eq!((first.replicas, first.replicas_over), (Some(2), Some(4)));
        let mut seen = cluster.observe();
        let live = seen.workload.as_mut().expect("it is there");
        (live.replicas, live.total, live.ready, live.available) = (scaled, scaled, scaled, scaled);
        let next = decide(cluster.now, &cluster.grant, &cluster.state, &seen);
        let overlay = next.overlay;
        assert_eq!(overlay.replicas_over, Some(scaled));
        assert_eq!(next.next.stable.map(|stable| stable.replicas), Some(scaled));
        // The canary has the 2 pods that it had.
        assert_eq!(overlay.replicas, Some(share), "of {scaled}");
    }
}

/// Once it is known to be written, a count is whatever the run says.
#[test]
fn a_share_that_was_written_is_no_humans_count() {
    let mut cluster = of_four(json!({"weights": [50]}));
    cluster.until(analysing(0));
    assert!(cluster.state.first_share.is_some());
    let mut seen = cluster.observe();
    seen.workload.as_mut().expect("it is there").replicas = 2;
    let next = decide(cluster.now, &cluster.grant, &cluster.state, &seen).next;
    assert_eq!(next.first_share, None);
    assert_eq!(next.stable.map(|stable| stable.replicas), Some(4));
}

#[test]
fn no_pod_goes_before_the_weight_that_frees_it_is_in_force() {
    let mut cluster = of_four(json!({"weights": [50]}));
    cluster.until(|state| {
        matches!(
            &state.stage,
            Stage::Step {
                part: StepPart::Settling { .. },
                ..
            }
        )
    });
    assert_eq!(
        (cluster.pods("old"), cluster.state.canary_pods),
        ((4, 4), 2)
    );
    cluster.until(analysing(0));
    cluster.tick(1);
    cluster.tick(1);
    assert_eq!(cluster.pods("old"), (2, 2));
}

#[test]
fn a_rollback_grows_the_old_version_before_the_weight_falls() {
    let mut cluster = of_four(json!({"weights": [50, 100]}));
    cluster.until(analysing(1));
    cluster.tick(1);
    cluster.tick(1);
    assert_eq!(cluster.pods("old"), (0, 0));
    cluster.old_works = false;
    abort(&mut cluster, AbortCause::Manual);
    for _ in 0..10 {
        cluster.tick(1);
        assert_eq!(
            cluster.state.weight,
            Weight::FULL,
            "nobody else could answer"
        );
        assert_eq!(cluster.last().overlay.replicas, None);
    }
    cluster.old_works = true;
    cluster.finish();
    assert_eq!(failure(&cluster), FailureReason::Manual);
    cluster.assert_clean("old");
}

#[test]
fn a_lost_canary_gives_the_old_version_its_pods_back() {
    let mut cluster = of_four(json!({"weights": [50]}));
    cluster.until(analysing(0));
    cluster.tick(1);
    cluster.tick(1);
    cluster.kill_canary();
    cluster.canary_works = false;
    cluster.tick(1);
    assert!(cluster.state.split().is_none());
    cluster.tick(1);
    assert_eq!(cluster.pods("old"), (4, 4));
}

#[test]
fn a_total_above_what_is_written_grows_the_canary_alone() {
    let mut spec = fixed(json!({"weights": [50]}));
    spec.instances.max_replicas = Some(6);
    let mut cluster = Cluster::new(spec);
    cluster.resize(4);
    cluster.until(analysing(0));
    cluster.tick(1);
    cluster.tick(1);
    assert_eq!(
        (cluster.pods("old"), cluster.state.canary_pods),
        ((3, 3), 3)
    );
    assert_eq!(cluster.finish(), &Stage::Succeeded);
    cluster.assert_clean("new");
}

/// Who asks past the route is answered, whatever becomes of the run.
fn finish_answering(cluster: &mut Cluster) {
    while !cluster.state.is_terminal() {
        cluster.tick(1);
        assert!(
            cluster.direct_answers(),
            "{:?}: {:?}",
            cluster.state.stage,
            cluster.direct
        );
    }
}

#[test]
fn services_beside_the_route_select_both_versions_while_the_old_one_has_no_pods() {
    let mut cluster = of_four(json!({"weights": [50, 100]}));
    cluster.direct = Some(None);
    finish_answering(&mut cluster);
    assert!(matches!(cluster.state.stage, Stage::Succeeded));
    let none_left = |one: &super::super::Decision| one.overlay.replicas == Some(0);
    let without: Vec<_> = cluster
        .decisions
        .iter()
        .filter(|one| none_left(one))
        .collect();
    assert!(!without.is_empty());
    let pinned = |one: &&super::super::Decision| {
        let mut pins = one.overlay.pins.iter();
        pins.any(|pin| pin.service == "web-direct")
    };
    assert!(!without.iter().any(pinned));
}

#[test]
fn a_run_that_goes_back_from_all_traffic_answers_who_asks_past_the_route() {
    let mut cluster = of_four(json!({"steps": [{"weight": 100}]}));
    cluster.direct = Some(None);
    cluster.until(|state| state.stable_pods == Some(0));
    for _ in 0..3 {
        cluster.tick(1);
        assert!(cluster.direct_answers());
    }
    abort(&mut cluster, AbortCause::Manual);
    finish_answering(&mut cluster);
    cluster.assert_clean("old");
    assert_eq!(cluster.direct, Some(None));
}

#[test]
fn a_weight_that_falls_from_all_pins_once_the_old_version_has_its_pods() {
    let mut cluster = of_four(json!({"steps": [
        {"weight": 100, "advance": "Auto"}, {"weight": 50, "advance": "Auto"},
    ]}));
    cluster.direct = Some(None);
    cluster.until(analysing(1));
    assert_eq!(cluster.direct, Some(Some("old".into())), "pinned again");
    finish_answering(&mut cluster);
    cluster.assert_clean("new");
}
