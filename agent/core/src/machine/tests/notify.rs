//! Who is told of a step, and how often.

use bellwether_api::{
    command::Verb,
    status::{PAUSED_AFTER_FAILURE, Severity},
};
use serde_json::json;

use super::model::{Cluster, plan};

/// What was told to anybody: reason, severity and whom.
fn told(cluster: &Cluster) -> Vec<(&'static str, Severity, Vec<String>)> {
    let events = cluster.decisions.iter().flat_map(|one| &one.events);
    events
        .filter(|event| !event.notify.is_empty())
        .map(|event| (event.reason, event.severity, event.notify.clone()))
        .collect()
}

fn to(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_step_is_told_once_when_it_begins_and_once_when_it_waits() {
    let mut cluster = Cluster::new(plan(json!({"steps": [
        {"weight": 10, "advance": "Auto"},
        {"name": "half", "weight": 50, "notify": [{"name": "team"}, {"name": "boss"}]},
        {"weight": 80},
    ]})));
    for id in 1..=2 {
        cluster.until(|state| state.step() == Some(id));
        for _ in 0..6 {
            // Another process goes on from what is saved.
            cluster.restart();
            for _ in 0..10 {
                cluster.tick(5);
            }
        }
        cluster.queue(id.into(), Verb::Approve, None);
    }
    cluster.finish();
    let both = to(&["boss", "team"]);
    assert_eq!(
        told(&cluster),
        [
            ("StepBegins", Severity::Info, both.clone()),
            ("WaitsForHuman", Severity::Warn, both),
        ]
    );
    let mut events = cluster.decisions.iter().flat_map(|one| &one.events);
    let begins = events.find(|event| event.reason == "StepBegins");
    let begins = begins.expect("it was told");
    assert_eq!(begins.message, "step 1 (half) of 3 begins");
}

#[test]
fn a_step_that_waits_again_for_another_reason_is_told_again() {
    let steps = json!([{"weight": 50, "notify": [{"name": "team"}]}]);
    let mut plan = plan(json!({"steps": steps}));
    plan.analysis.on_failure = bellwether_api::analysis::AnalysisFailure::Pause;
    let mut cluster = Cluster::new(plan);
    let waits = |cluster: &mut Cluster, reason: &str| {
        for _ in 0..200 {
            let decision = cluster.tick(5);
            if decision.waiting_on.iter().any(|wait| wait.reason == reason) {
                return;
            }
        }
        panic!("it never waits for {reason}");
    };
    waits(&mut cluster, "Approval");
    cluster.metric = Some(1.0);
    waits(&mut cluster, PAUSED_AFTER_FAILURE);
    let reasons: Vec<&str> = told(&cluster).iter().map(|(reason, ..)| *reason).collect();
    assert_eq!(reasons, ["StepBegins", "WaitsForHuman", "WaitsForHuman"]);
}

#[test]
fn alerts_are_told_from_their_severity_on() {
    let mut plan = plan(json!({"weights": [20]}));
    plan.alerts = serde_json::from_value(json!([
        {"provider": {"name": "pager"}},
        {"provider": {"name": "log"}, "severity": "Info"},
    ]))
    .expect("alerts");
    let mut good = Cluster::new(plan.clone());
    good.finish();
    let all = told(&good);
    assert!(
        all.iter().all(|(.., whom)| *whom == to(&["log"])),
        "{all:?}"
    );
    assert!(all.iter().any(|(reason, ..)| *reason == "Succeeded"));
    let mut bad = Cluster::new(plan);
    bad.metric = Some(1.0);
    bad.finish();
    let failures: Vec<_> = told(&bad)
        .into_iter()
        .filter(|(.., whom)| whom.contains(&"pager".to_owned()))
        .collect();
    assert!(
        failures
            .iter()
            .all(|(_, severity, _)| *severity == Severity::Error)
    );
    let failed = failures.iter().filter(|(reason, ..)| *reason == "Failed");
    assert_eq!(failed.count(), 1);
}

#[test]
fn nobody_is_told_where_nobody_is_named() {
    let mut cluster = Cluster::new(plan(json!({"steps": [{"weight": 20}]})));
    cluster.until(|state| state.step() == Some(0));
    for _ in 0..20 {
        cluster.tick(5);
    }
    assert_eq!(told(&cluster), []);
    assert_eq!(cluster.state.told, None);
}
