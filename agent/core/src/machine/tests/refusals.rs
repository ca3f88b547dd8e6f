//! What a run does not even begin with.

use bellwether_api::{number::Weight, status::FailureReason};
use serde_json::json;

use super::{
    super::{Observations, Overlay, RunState, ServiceView, Stage, decide},
    model::{Cluster, failure, plan, plan_of},
};
use crate::{provider::Split, settled::TemplateVersion};

fn refused(change: impl Fn(&mut Observations)) -> String {
    let cluster = Cluster::new(plan(json!({"stepWeight": 50})));
    let mut seen = cluster.observe();
    change(&mut seen);
    let decision = decide(cluster.now, &cluster.grant, &cluster.state, &seen);
    let Stage::Failed { failure } = &decision.next.stage else {
        panic!("not refused: {:?}", decision.next.stage);
    };
    assert_eq!(failure.reason, FailureReason::Refused);
    assert_eq!(
        decision.overlay,
        Overlay::none(TemplateVersion::Old),
        "nothing is changed"
    );
    failure.message.clone()
}

#[test]
fn what_stands_in_the_way_is_named() {
    let foreign = "Deployment/web-canary";
    assert!(refused(|seen| seen.foreign_objects = vec![foreign.into()]).contains(foreign));
    let message = refused(|seen| {
        seen.services.push(ServiceView {
            name: "all".into(),
            pin: None,
            unpinnable: "it also selects pods of api".into(),
        });
    });
    assert!(
        message.contains("Service/all") && message.contains("api"),
        "{message}"
    );
}

#[test]
fn what_the_routes_controller_lacks_is_named_before_anything_is_written() {
    let lacking = "traefik.io/gateway-controller, which serves it, cannot mirror requests";
    let message = refused(|seen| seen.routes[0].lacking = Some(lacking.into()));
    assert!(
        message.contains("HTTPRoute/web") && message.contains(lacking),
        "{message}"
    );
}

#[test]
fn a_controller_that_takes_a_route_over_in_the_middle_and_lacks_something_ends_the_run() {
    let mut cluster = Cluster::new(plan(json!({"weights": [20, 50], "mirror": true})));
    cluster.until(|state| state.mirror > Weight::ZERO);
    cluster.lacking = Some("it cannot mirror requests".into());
    cluster.finish();
    let Stage::Failed { failure } = &cluster.state.stage else {
        panic!("not ended: {:?}", cluster.state.stage);
    };
    assert_eq!(failure.reason, FailureReason::Refused);
    assert!(failure.message.contains("cannot mirror"), "{failure:?}");
    cluster.assert_clean("old");
}

#[test]
fn what_is_not_settled_is_waited_for_unchanged() {
    let cluster = Cluster::new(plan(json!({"stepWeight": 50})));
    let begin = |change: &dyn Fn(&mut Observations)| {
        let mut seen = cluster.observe();
        change(&mut seen);
        let decision = decide(cluster.now, &cluster.grant, &cluster.state, &seen);
        assert_eq!(decision.next.stage, Stage::Initializing);
        assert_eq!(decision.overlay, Overlay::none(TemplateVersion::Old));
        decision
            .waiting_on
            .iter()
            .map(|wait| wait.reason.clone())
            .collect::<Vec<_>>()
    };
    let workload = |seen: &mut Observations| seen.workload.clone().expect("a workload");
    assert_eq!(
        begin(&|seen| {
            let mut view = workload(seen);
            view.available = 4;
            seen.workload = Some(view);
        }),
        ["PodsNotAvailable"]
    );
    assert_eq!(
        begin(&|seen| {
            let mut view = workload(seen);
            view.paused = true;
            seen.workload = Some(view);
        }),
        ["WorkloadPaused"]
    );
    assert_eq!(begin(&|seen| seen.services.clear()), ["ServiceMissing"]);
    assert_eq!(
        begin(&|seen| seen.routes[0].weight = None),
        ["RouteUnclear"]
    );
    assert_eq!(begin(&|seen| seen.routes.clear()), ["RouteUnknown"]);
}

#[test]
fn a_workload_that_never_settles_fails_unchanged() {
    let mut cluster = Cluster::new(plan(json!({"stepWeight": 50})));
    cluster.old_works = false;
    cluster.kill_stable(4);
    cluster.finish();
    assert!(cluster.decisions.iter().all(|one| !one.overlay.paused));
}

#[test]
fn another_layout_of_the_state_is_refused() {
    let cluster = Cluster::new(plan(json!({"stepWeight": 50})));
    let mut value = cluster.state.to_value();
    for version in [0, 99] {
        value["version"] = json!(version);
        assert!(RunState::from_value(&value).is_err(), "layout {version}");
    }
}

/// As the layout before this one wrote it in the middle of a step.
#[test]
fn the_layout_before_is_read_as_it_was_meant() {
    let cluster = Cluster::new(plan(json!({"stepWeight": 50})));
    let old = json!({
        "version": 1, "run": cluster.grant.run, "attempt": 1,
        "startedAt": "2026-01-01T00:00:00Z", "enteredAt": "2026-01-01T00:01:00Z",
        "stage": {"at": "Step", "index": 0, "part": {
            "part": "Analysing", "since": "2026-01-01T00:00:30Z",
            "nextCheckAt": "2026-01-01T00:01:30Z", "checked": false}},
        "clock": {"spent": "PT0S", "runningSince": "2026-01-01T00:01:00Z"},
        "stable": {"hash": "old", "replicaSet": "web-old", "replicas": 5},
        "pinned": ["web"], "weight": 50, "canaryPods": 3, "routed": true,
    });
    let state = RunState::from_value(&old).expect("layout 1 is readable");
    assert_eq!(state.version, super::super::STATE_VERSION);
    let overlay = Overlay::of(&state);
    assert_eq!(overlay.split, Split::by_weight(state.weight));
    assert_eq!(
        (overlay.route_weight().percent(), overlay.replicas),
        (50, None)
    );
    assert_eq!(overlay.canary.map(|canary| canary.replicas), Some(3));
    let again = RunState::from_value(&state.to_value()).expect("this layout too");
    assert_eq!(again, state);
}

#[test]
fn a_split_that_nothing_could_carry_is_refused() {
    let form = json!({"abTest": {"iterations": 1, "match": [{"method": "GET"}]}});
    for strategy in [form, json!({"blueGreen": {"iterations": 1}})] {
        let mut spec = plan_of(strategy);
        spec.traffic.clear();
        let mut cluster = Cluster::new(spec);
        cluster.tick(5);
        assert_eq!(failure(&cluster), FailureReason::Refused);
    }
    let cluster = Cluster::new(plan_of(json!({"batch": {"steps": []}})));
    let decision = decide(
        cluster.now,
        &cluster.grant,
        &cluster.state,
        &cluster.observe(),
    );
    assert!(
        decision.next.is_terminal(),
        "what is not built does not run"
    );
}
