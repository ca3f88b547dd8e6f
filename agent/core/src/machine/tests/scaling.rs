//! Workloads that an autoscaler sizes.

use bellwether_api::{
    command::AbortCause,
    number::Weight,
    rollout::{Autoscaler, AutoscalerKind},
    status::FailureReason,
    strategy::InstancesMode,
};
use serde_json::json;

use super::{
    super::{Overlay, RollbackPart, Stage},
    model::{Cluster, abort, failure, in_step, plan},
};
use crate::autoscaling::AutoscalerView;

fn autoscaler(min: u32, max: u32) -> AutoscalerView {
    AutoscalerView {
        kind: "HorizontalPodAutoscaler".into(),
        name: "web".into(),
        min,
        max,
    }
}

/// A workload of five pods with an autoscaler.
fn of_five(canary: serde_json::Value, min: u32, max: u32) -> Cluster {
    let mut cluster = Cluster::new(plan(canary));
    cluster.extra.autoscalers = vec![autoscaler(min, max)];
    cluster
}

#[test]
fn a_canary_is_sized_for_all_the_traffic_whatever_is_left_of_the_workload() {
    let mut cluster = of_five(json!({"weights": [20, 60, 100]}), 1, 20);
    cluster.until(in_step(0));
    assert_eq!(cluster.state.canary_pods, 1);
    // The workload loses pods as its traffic leaves.
    cluster.replicas = 4;
    cluster.until(in_step(1));
    assert_eq!(cluster.state.canary_pods, 3, "60 % of five");
    cluster.replicas = 2;
    cluster.until(in_step(2));
    assert_eq!(cluster.state.canary_pods, 5, "all of five");
    cluster.finish();
    cluster.assert_clean("new");
    assert_eq!(cluster.weights(), [0, 20, 60, 100, 0]);
}

#[test]
fn a_canary_grows_with_the_load() {
    let mut cluster = of_five(json!({"weights": [50], "advance": "Manual"}), 1, 8);
    cluster.until(in_step(0));
    assert_eq!(cluster.state.canary_pods, 3, "half of five");
    cluster.replicas = 8;
    for _ in 0..5 {
        cluster.tick(1);
    }
    assert_eq!(cluster.state.canary_pods, 4, "half of eight");
}

#[test]
fn neither_version_has_fewer_pods_than_the_minimum() {
    let mut cluster = of_five(json!({"steps": [{"weight": 20, "replicas": 1}]}), 3, 10);
    cluster.until(in_step(0));
    assert_eq!(cluster.state.canary_pods, 3);
}

#[test]
fn the_workload_has_its_pods_before_it_gets_its_traffic_back() {
    for works in [true, false] {
        let mut cluster = of_five(json!({"weights": [20, 80]}), 1, 20);
        cluster.until(in_step(1));
        cluster.replicas = 2;
        cluster.tick(1);
        cluster.metric = Some(if works { 100.0 } else { 0.0 });
        let back = |state: &super::super::RunState| {
            let unloads = matches!(
                &state.stage,
                Stage::RollingBack {
                    part: RollbackPart::Unloading,
                    ..
                }
            );
            unloads || matches!(state.stage, Stage::Promoting { .. })
        };
        cluster.until(back);
        let from = cluster.decisions.len();
        // Whoever lowers it again is met again.
        cluster.replicas = 2;
        cluster.finish();
        for decision in &cluster.decisions[from..] {
            let least = Overlay::of(&decision.next).least_replicas;
            assert!(least.is_none_or(|pods| pods == 5), "{least:?}");
        }
        cluster.assert_clean(if works { "new" } else { "old" });
        assert_eq!(cluster.replicas, 5);
        assert!(
            cluster.never_overloaded,
            "a version had more than it can carry"
        );
    }
}

#[test]
fn a_workload_that_stayed_whole_gets_its_traffic_back_at_once() {
    let mut cluster = of_five(json!({"weights": [20, 60]}), 1, 20);
    cluster.until(in_step(1));
    abort(&mut cluster, AbortCause::Manual);
    cluster.tick(1);
    assert_eq!(cluster.state.weight, Weight::ZERO);
    cluster.finish();
    cluster.assert_clean("old");
}

#[test]
fn a_load_that_fell_does_not_hold_the_run() {
    let mut cluster = of_five(json!({"weights": [20, 40, 60]}), 1, 20);
    cluster.until(in_step(0));
    cluster.replicas = 2;
    cluster.finish();
    cluster.assert_clean("new");
}

#[test]
fn what_matches_take_may_be_everything() {
    let steps = json!([{"weight": 0, "replicas": 5, "advance": "Manual",
        "match": [{"headers": [{"name": "x-user", "exact": "insider"}]}]}]);
    let mut cluster = of_five(json!({"steps": steps}), 1, 20);
    cluster.until(in_step(0));
    assert!(
        !cluster.state.matches.is_empty(),
        "{:?}",
        cluster.state.stage
    );
    // Its requests are gone, and so are its pods.
    cluster.replicas = 2;
    cluster.tick(1);
    abort(&mut cluster, AbortCause::Manual);
    cluster.tick(1);
    assert_eq!(cluster.replicas, 5, "its pods come before its requests");
    cluster.finish();
    cluster.assert_clean("old");
}

#[test]
fn autoscalers_that_cannot_be_driven_beside_refuse_the_run_by_name() {
    let refused = |change: &dyn Fn(&mut Cluster)| {
        let mut cluster = of_five(json!({"weights": [50]}), 1, 10);
        change(&mut cluster);
        cluster.finish();
        assert_eq!(failure(&cluster), FailureReason::Refused);
        cluster.assert_clean("old");
        let Stage::Failed { failure } = &cluster.state.stage else {
            unreachable!("it failed");
        };
        failure.message.clone()
    };
    let message = refused(&|cluster| {
        let other = AutoscalerView {
            kind: "ScaledObject".into(),
            ..autoscaler(1, 5)
        };
        cluster.extra.autoscalers.push(other);
    });
    assert!(
        message.contains("HorizontalPodAutoscaler/web and ScaledObject/web"),
        "{message}"
    );
    let message = refused(&|cluster| {
        cluster.grant.plan.instances.mode = InstancesMode::FixedTotal;
    });
    assert!(message.contains("HorizontalPodAutoscaler/web"), "{message}");
    let message = refused(&|cluster| {
        cluster.grant.plan.instances.autoscaler = Some(Autoscaler {
            kind: AutoscalerKind::ScaledObject,
            name: "web".into(),
        });
    });
    assert!(message.contains("ScaledObject/web"), "{message}");
    let message = refused(&|cluster| {
        *cluster = of_five(json!({"manual": {"weight": 90}}), 1, 10);
    });
    assert!(message.contains("canary.manual"), "{message}");
}

#[test]
fn sizes_are_the_same_whoever_delivers_the_workload() {
    for delivered_by_others in [false, true] {
        let mut cluster = of_five(json!({"weights": [20, 80]}), 2, 20);
        cluster.extra.delivered_by_others = delivered_by_others;
        cluster.until(in_step(0));
        assert_eq!(cluster.state.canary_pods, 2, "the autoscaler's minimum");
        cluster.until(in_step(1));
        cluster.replicas = 2;
        cluster.tick(1);
        assert_eq!(cluster.state.canary_pods, 4, "80 % of five");
        abort(&mut cluster, AbortCause::Manual);
        cluster.tick(1);
        assert_eq!(cluster.replicas, 5, "its pods come before its requests");
        cluster.finish();
        cluster.assert_clean("old");
        assert!(cluster.never_overloaded);
    }
}
