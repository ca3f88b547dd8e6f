//! Kinds that an adapter tells of, with a copy beside the workload.

use bellwether_api::{rollout::RolloutSpec, status::FailureReason};
use serde_json::{Value, json};

use super::{
    super::{PromotionPart, Stage, decide},
    model::{Cluster, failure, plan},
};
use crate::autoscaling::AutoscalerView;

fn adapted(canary: Value, adapter: Value) -> RolloutSpec {
    let mut spec = plan(canary);
    let adapter = serde_json::from_value(adapter).expect("an adapter");
    spec.workload.adapter = Some(adapter);
    spec
}

fn simple(canary: Value) -> RolloutSpec {
    adapted(
        canary,
        json!({"paused": "/spec/paused", "revisionLabel": "version"}),
    )
}

#[test]
fn a_run_goes_through_as_that_of_a_deployment() {
    let mut cluster = Cluster::new(simple(json!({"weights": [20, 60]})));
    cluster.until(|state| state.is_terminal());
    assert_eq!(cluster.state.stage, Stage::Succeeded);
    cluster.assert_clean("new");
}

#[test]
fn nothing_is_updated_before_the_copys_pods_are_behind_the_users_service() {
    let mut cluster = Cluster::new(simple(json!({"weights": [20]})));
    let unpinning = |stage: &Stage| {
        matches!(
            stage,
            Stage::Promoting {
                part: PromotionPart::Unpinning
            }
        )
    };
    cluster.until(|state| unpinning(&state.stage));
    let mut seen = cluster.observe();
    seen.services[0].pin = None;
    seen.apex_endpoints.ready = ["old-0".to_owned()].into();
    let held = decide(cluster.now, &cluster.grant, &cluster.state, &seen);
    assert!(unpinning(&held.next.stage), "{:?}", held.next.stage);
    assert_eq!(held.waiting_on[0].reason, "EndpointsNotReady");
}

#[test]
fn what_would_take_pods_from_the_workload_is_refused() {
    let by_pods = || {
        let mut spec = simple(json!({"weights": [20]}));
        spec.traffic = vec![serde_json::from_value(json!({"none": {}})).expect("a provider")];
        spec
    };
    let shared = || {
        let mut spec = simple(json!({"weights": [20]}));
        spec.instances = serde_json::from_value(json!({"mode": "FixedTotal"})).expect("instances");
        spec
    };
    for spec in [by_pods(), shared()] {
        let mut cluster = Cluster::new(spec);
        cluster.tick(1);
        assert_eq!(failure(&cluster), FailureReason::Refused);
        let message = &cluster.last().summary.message;
        assert!(message.contains("nobody knows"), "{message}");
    }
}

#[test]
fn an_autoscaler_of_a_size_that_is_written_back_refuses_the_run() {
    let begun = |replicas: &str| {
        let adapter =
            json!({"paused": "/spec/paused", "revisionLabel": "version", "replicas": replicas});
        let mut cluster = Cluster::new(adapted(json!({"weights": [20]}), adapter));
        cluster.extra.autoscalers = vec![AutoscalerView {
            kind: "HorizontalPodAutoscaler".into(),
            name: "web".into(),
            min: 1,
            max: 9,
        }];
        cluster.tick(1);
        cluster
    };
    let elsewhere = begun("/spec/size/nodes");
    assert_eq!(failure(&elsewhere), FailureReason::Refused);
    let message = &elsewhere.last().summary.message;
    assert!(message.contains("/spec/size/nodes"), "{message}");
    assert!(!begun("/spec/replicas").state.is_terminal());
}

#[test]
fn a_copy_whose_pods_carry_the_label_of_the_old_version_goes_at_once() {
    let mut cluster = Cluster::new(simple(json!({"weights": [20]})));
    cluster.until(|state| matches!(state.stage, Stage::Step { .. }));
    cluster.until(|state| state.canary_pods > 0);
    let mut seen = cluster.observe();
    let copy = seen.canary.as_mut().expect("a copy");
    copy.labels = ["other".to_owned()].into();
    let goes_on = decide(cluster.now, &cluster.grant, &cluster.state, &seen);
    assert!(matches!(goes_on.next.stage, Stage::Step { .. }));
    let copy = seen.canary.as_mut().expect("a copy");
    copy.labels = ["old".to_owned()].into();
    (copy.ready, copy.available) = (0, 0);
    let ends = decide(cluster.now, &cluster.grant, &cluster.state, &seen);
    assert!(matches!(ends.next.stage, Stage::RollingBack { .. }));
    let wanted = ends.overlay.canary.map(|want| want.replicas);
    assert_eq!(wanted, Some(0), "it goes before its pods are ready");
    let message = &ends.summary.message;
    assert!(message.contains("revisionLabel"), "{message}");
}

#[test]
fn services_are_released_once_the_pods_of_a_deleted_copy_are_gone() {
    let mut cluster = Cluster::new(simple(json!({"weights": [20]})));
    let shrinks = |stage: &Stage| {
        matches!(
            stage,
            Stage::Promoting {
                part: PromotionPart::Shrinking { .. }
            }
        )
    };
    cluster.until(|state| shrinks(&state.stage));
    let mut seen = cluster.observe();
    seen.canary = None;
    seen.canary_endpoints.ready.clear();
    seen.canary_pods_left = 1;
    let waits = decide(cluster.now, &cluster.grant, &cluster.state, &seen);
    assert!(shrinks(&waits.next.stage), "{:?}", waits.next.stage);
    assert!(waits.wake_at.is_some(), "nobody tells of its pods");
    seen.canary_pods_left = 0;
    let goes_on = decide(cluster.now, &cluster.grant, &cluster.state, &seen);
    assert!(!shrinks(&goes_on.next.stage));
}

#[test]
fn what_is_not_counted_does_not_count_as_broken() {
    let cluster = Cluster::new(simple(json!({"weights": [20]})));
    let mut seen = cluster.observe();
    seen.workload.as_mut().expect("a workload").available = 0;
    let broken = decide(cluster.now, &cluster.grant, &cluster.state, &seen);
    assert!(broken.next.broken_since.is_some());
    let workload = seen.workload.as_mut().expect("a workload");
    workload.unread = "/status/live".to_owned();
    let unknown = decide(cluster.now, &cluster.grant, &cluster.state, &seen);
    assert_eq!(unknown.next.broken_since, None);
    assert_eq!(unknown.waiting_on[0].reason, "CountsUnknown");
}
