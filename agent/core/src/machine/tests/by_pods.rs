//! Both versions behind one Service, without a router.

use bellwether_api::{
    command::AbortCause, rollout::RolloutSpec, strategy::InstancesMode, traffic::Traffic,
};
use jiff::SignedDuration;
use serde_json::json;

use super::{
    super::{RunState, Stage, StepPart, decide},
    model::{Cluster, abort, plan},
};

fn without_router(canary: serde_json::Value) -> RolloutSpec {
    let mut spec = plan(canary);
    spec.instances.mode = InstancesMode::FixedTotal;
    let none: Traffic = serde_json::from_value(json!({"none": {}})).expect("a provider");
    spec.traffic = vec![none];
    spec
}

fn analysing(index: u32) -> impl Fn(&RunState) -> bool {
    move |state| matches!(&state.stage, Stage::Step { index: at, part: StepPart::Analysing { .. } } if *at == index)
}

fn never_pinned(cluster: &Cluster) -> bool {
    let mut overlays = cluster.decisions.iter().map(|one| &one.overlay);
    overlays.all(|overlay| overlay.pins.is_empty())
}

/// 5 pods: the share is there before the first check, and no Service is pinned to a version.
#[test]
fn the_share_of_pods_is_the_share_of_traffic_before_it_is_judged() {
    let mut cluster = Cluster::new(without_router(json!({"weights": [10, 40, 100]})));
    for (index, (canary, stable, share)) in (0..).zip([(1, 4, 20), (2, 3, 40), (5, 0, 100)]) {
        cluster.until(analysing(index));
        assert_eq!(cluster.pods("old"), (stable, stable), "at step {index}");
        assert_eq!(cluster.state.canary_pods, canary);
        cluster.tick(1);
        let observed = cluster.last().summary.observed_weight.percent();
        assert_eq!(observed, share, "at step {index}");
    }
    assert_eq!(cluster.finish(), &Stage::Succeeded);
    assert!(never_pinned(&cluster));
    cluster.assert_clean("new");
}

#[test]
fn a_service_without_the_canarys_pods_holds_the_run() {
    let mut cluster = Cluster::new(without_router(json!({"weights": [20]})));
    cluster.until(|state| {
        matches!(
            &state.stage,
            Stage::Step {
                part: StepPart::Warming { .. },
                ..
            }
        )
    });
    let mut seen = cluster.observe();
    seen.apex_endpoints.ready.clear();
    let later = cluster.now + SignedDuration::from_secs(60);
    let held = decide(later, &cluster.grant, &cluster.state, &seen);
    let reasons: Vec<&str> = held
        .waiting_on
        .iter()
        .map(|wait| wait.reason.as_str())
        .collect();
    assert!(reasons.contains(&"EndpointsNotReady"), "{reasons:?}");
    assert!(
        matches!(
            held.next.stage,
            Stage::Step {
                part: StepPart::Routing,
                ..
            }
        ),
        "{:?}",
        held.next.stage
    );
}

#[test]
fn going_back_the_old_version_is_whole_before_the_canarys_pods_go() {
    let mut cluster = Cluster::new(without_router(json!({"weights": [20, 60, 80]})));
    cluster.until(analysing(1));
    abort(&mut cluster, AbortCause::Manual);
    while !cluster.state.is_terminal() {
        cluster.tick(1);
        let canary = cluster.last().overlay.canary.map_or(0, |one| one.replicas);
        let (_, ready) = cluster.pods("old");
        assert!(
            canary > 0 || ready == 5,
            "{ready} old pods are left to serve alone"
        );
    }
    assert!(matches!(cluster.state.stage, Stage::Failed { .. }));
    assert!(never_pinned(&cluster));
    cluster.assert_clean("old");
}
