//! What a run does not even begin with.

use bellwether_api::status::FailureReason;
use serde_json::json;

use super::{
    super::{Observations, Overlay, RunState, ServiceView, Stage, decide},
    model::{Cluster, plan},
};
use crate::settled::TemplateVersion;

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
    let autoscaler = "HorizontalPodAutoscaler/web";
    assert!(refused(|seen| seen.autoscalers = vec![autoscaler.into()]).contains(autoscaler));
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
    value["version"] = json!(99);
    assert!(RunState::from_value(&value).is_err());
}
