//! DaemonSets with a copy beside them.

use bellwether_api::{command::AbortCause, number::Weight, status::FailureReason};
use jiff::SignedDuration;
use serde_json::json;

use super::{
    super::{Decision, Observations, PromotionPart, RunState, Stage, StepPart, decide},
    model::{Cluster, abort, failure, in_step, plan},
};

fn weights(nodes: u32) -> Cluster {
    Cluster::on_nodes(plan(json!({"weights": [20, 60]})), nodes)
}

fn scaling(state: &RunState) -> bool {
    matches!(
        &state.stage,
        Stage::Step {
            part: StepPart::Scaling,
            ..
        }
    )
}

fn unpinning(state: &RunState) -> bool {
    matches!(
        &state.stage,
        Stage::Promoting {
            part: PromotionPart::Unpinning
        }
    )
}

fn decided(cluster: &Cluster, seen: &Observations) -> Decision {
    decide(cluster.now, &cluster.grant, &cluster.state, seen)
}

fn reasons(decision: &Decision) -> Vec<&str> {
    let waits = decision.waiting_on.iter();
    waits.map(|wait| wait.reason.as_str()).collect()
}

/// Whatever is routed, somebody answers: a node's only pod may go, since the copy's is there.
fn finish_answered(cluster: &mut Cluster) {
    while !cluster.state.is_terminal() {
        cluster.tick(5);
        let seen = cluster.observe();
        assert!(
            !seen.apex_endpoints.ready.is_empty(),
            "{:?}",
            cluster.state.stage
        );
        assert!(
            cluster.route.weight == Weight::ZERO || !seen.canary_endpoints.ready.is_empty(),
            "{:?}",
            cluster.state.stage
        );
    }
}

#[test]
fn the_copy_is_on_every_node_whatever_its_share_and_the_workload_takes_over_from_it() {
    for nodes in [1, 3] {
        let mut cluster = weights(nodes);
        for (step, weight) in [(0, 20), (1, 60)] {
            cluster.until(in_step(step));
            assert_eq!(cluster.state.canary_pods, nodes);
            assert_eq!(
                cluster.pods("old"),
                (nodes, nodes),
                "the old version is whole"
            );
            assert_eq!(cluster.route.weight.percent(), weight);
        }
        finish_answered(&mut cluster);
        assert_eq!(cluster.state.stage, Stage::Succeeded);
        cluster.assert_clean("new");
    }
}

#[test]
fn no_weight_is_written_before_every_node_of_the_copy_is_ready() {
    let mut cluster = weights(3);
    cluster.canary_works = false;
    cluster.until(scaling);
    cluster.tick(5);
    let mut seen = cluster.observe();
    let held = |seen: &Observations, why: &str| {
        let decision = decided(&cluster, seen);
        assert!(scaling(&decision.next), "{:?}", decision.next.stage);
        assert!(
            reasons(&decision).contains(&why),
            "{:?}",
            decision.waiting_on
        );
    };
    let copy = seen.canary.as_mut().expect("a copy");
    (copy.ready, copy.available) = (2, 2);
    held(&seen, "PodsNotReady");
    let copy = seen.canary.as_mut().expect("a copy");
    // A fourth node takes a pod of the new template.
    (copy.replicas, copy.updated, copy.ready, copy.available) = (4, 4, 3, 3);
    held(&seen, "PodsNotReady");
    let copy = seen.canary.as_mut().expect("a copy");
    (copy.replicas, copy.updated, copy.ready, copy.available) = (0, 0, 0, 0);
    held(&seen, "CanaryNotScaled");
    let copy = seen.canary.as_mut().expect("a copy");
    // The template leaves nodes out: as many as it matches are enough.
    (copy.replicas, copy.updated, copy.ready, copy.available) = (2, 2, 2, 2);
    seen.canary_endpoints.ready = ["a", "b"].map(str::to_owned).into();
    let begun = decided(&cluster, &seen);
    assert!(!scaling(&begun.next), "{:?}", begun.waiting_on);
    assert_eq!(begun.next.canary_pods, 2);
}

#[test]
fn no_pod_of_the_workload_goes_before_the_copys_are_behind_its_service() {
    let mut cluster = weights(1);
    cluster.until(unpinning);
    let mut seen = cluster.observe();
    seen.services[0].pin = None;
    let both = seen.canary_endpoints.ready.clone();
    assert!(!both.is_empty());
    seen.apex_endpoints.ready = ["old-0".to_owned()].into();
    let held = decided(&cluster, &seen);
    assert!(unpinning(&held.next));
    assert!(
        reasons(&held).contains(&"EndpointsNotReady"),
        "{:?}",
        held.waiting_on
    );

    seen.apex_endpoints.ready.extend(both);
    let warms = decided(&cluster, &seen);
    assert!(unpinning(&warms.next), "the gateway has not heard of them");
    assert_eq!(reasons(&warms), ["Warming"]);
    let later = cluster.now + SignedDuration::from_secs(3);
    let goes = decide(later, &cluster.grant, &warms.next, &seen);
    assert!(!unpinning(&goes.next), "{:?}", goes.waiting_on);
    // One that was lost in between begins to count anew.
    seen.canary_endpoints.ready.insert("canary-9".to_owned());
    let lost = decide(later, &cluster.grant, &warms.next, &seen);
    assert_eq!((unpinning(&lost.next), lost.next.joined_at), (true, None));
}

#[test]
fn going_back_the_weight_is_taken_before_the_copy() {
    let mut cluster = weights(3);
    cluster.until(in_step(1));
    abort(&mut cluster, AbortCause::Manual);
    finish_answered(&mut cluster);
    assert_eq!(failure(&cluster), FailureReason::Manual);
    cluster.assert_clean("old");
}

#[test]
fn a_new_version_that_works_in_the_copy_alone_goes_back_node_by_node() {
    let mut spec = plan(json!({"weights": [20]}));
    spec.progress_deadline = bellwether_api::duration::Dur::from_secs(60);
    let mut cluster = Cluster::on_nodes(spec, 3);
    cluster.new_works = false;
    finish_answered(&mut cluster);
    assert_eq!(failure(&cluster), FailureReason::DeadlineExceeded);
    cluster.assert_clean("old");
}

#[test]
fn shares_by_pods_are_refused() {
    let mut spec = plan(json!({"weights": [20]}));
    spec.traffic = vec![serde_json::from_value(json!({"none": {}})).expect("a provider")];
    let mut cluster = Cluster::on_nodes(spec, 3);
    cluster.tick(1);
    assert_eq!(failure(&cluster), FailureReason::Refused);
    assert!(
        cluster
            .last()
            .summary
            .message
            .contains("a pod on each node")
    );
}
