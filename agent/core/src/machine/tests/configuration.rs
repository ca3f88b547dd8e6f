//! Runs whose release changes ConfigMaps or Secrets.

use bellwether_api::{
    analysis::AnalysisFailure,
    command::Verb,
    number::Weight,
    status::{FailureReason, Verdict},
};
use serde_json::json;

use super::{
    super::{Overlay, PromotionPart, RunState, Stage, StepPart},
    model::{Cluster, abort, plan},
};
use crate::settled::TemplateVersion;

fn gathers(stage: &Stage) -> bool {
    matches!(
        stage,
        Stage::Promoting {
            part: PromotionPart::Gathering { .. }
        }
    )
}

/// A run that waits for another one, with which it shares configuration.
fn waiting(on_failure: AnalysisFailure) -> Cluster {
    let mut spec = plan(json!({"weights": [50]}));
    spec.analysis.on_failure = on_failure;
    let mut cluster = Cluster::new(spec);
    cluster.extra.config_held_by = vec!["shop-api".into()];
    cluster.until(|state| gathers(&state.stage));
    cluster
}

#[test]
fn checks_that_fail_while_a_run_waits_for_others_take_it_back() {
    let mut cluster = waiting(AnalysisFailure::Rollback);
    let check = cluster.state.check;
    cluster.until(|state| state.check >= check + 3);
    assert!(
        gathers(&cluster.state.stage),
        "checks that pass hold nothing"
    );
    cluster.metric = Some(0.0);
    cluster.until(|state| state.failed_checks == 1);
    assert!(gathers(&cluster.state.stage), "one failure is borne");
    cluster.finish();
    assert!(
        matches!(&cluster.state.stage, Stage::Failed { failure }
            if failure.reason == FailureReason::FailedChecks),
        "{:?}",
        cluster.state.stage
    );
    cluster.assert_clean("old");
}

#[test]
fn checks_that_fail_while_a_run_waits_for_others_ask_a_human_where_the_plan_says_so() {
    let mut cluster = waiting(AnalysisFailure::Pause);
    cluster.metric = Some(0.0);
    let held = |state: &RunState| {
        matches!(
            state.stage,
            Stage::Step {
                part: StepPart::Held { .. },
                ..
            }
        )
    };
    cluster.until(held);
    assert_eq!(
        cluster.state.weight,
        Weight::clamped(50),
        "the weight stays"
    );
    cluster.metric = Some(100.0);
    cluster.extra.config_held_by.clear();
    cluster.queue(1, Verb::Resume, None);
    assert_eq!(cluster.finish(), &Stage::Succeeded);
}

/// Unknown never promotes, also when the others have come.
#[test]
fn a_run_that_waited_for_others_is_promoted_by_a_check_that_passed() {
    let mut cluster = waiting(AnalysisFailure::Rollback);
    cluster.metric = None;
    cluster.until(|state| {
        matches!(&state.stage, Stage::Promoting { part: PromotionPart::Gathering { judged: Some(at) } }
            if at.verdict == Verdict::Unknown)
    });
    cluster.extra.config_held_by.clear();
    for _ in 0..60 {
        cluster.tick(1);
    }
    assert!(gathers(&cluster.state.stage), "{:?}", cluster.state.stage);
    let waits = &cluster.decisions.last().expect("decisions").waiting_on;
    assert_eq!(waits[0].reason, "ChecksNotPassed", "{waits:?}");
    cluster.metric = Some(100.0);
    assert_eq!(cluster.finish(), &Stage::Succeeded);
    cluster.assert_clean("new");
}

/// As an agent saved it that made no checks there.
#[test]
fn a_state_without_checks_is_read() {
    let part: PromotionPart =
        serde_json::from_value(json!({"part": "Gathering"})).expect("it is still a part");
    assert_eq!(part, PromotionPart::Gathering { judged: None });
}

#[test]
fn runs_that_change_the_same_configuration_promote_together() {
    let mut cluster = Cluster::new(plan(json!({"weights": [50]})));
    cluster.extra.config_held_by = vec!["shop-api".into()];
    cluster.until(|state| gathers(&state.stage));
    // Longer than the deadline: whoever is waited for has one of its own.
    for _ in 0..400 {
        cluster.tick(1);
    }
    assert!(gathers(&cluster.state.stage), "{:?}", cluster.state.stage);
    let overlay = Overlay::of(&cluster.state);
    assert_eq!(overlay.template, TemplateVersion::Old);
    assert_eq!(overlay.split.weight, Weight::clamped(50));
    assert!(overlay.paused && overlay.pins.iter().all(|pin| pin.hash == "old"));
    let waits = &cluster.decisions.last().expect("decisions").waiting_on;
    assert_eq!(waits[0].reason, "ConfigShared");
    assert_eq!(waits[0].on.as_deref(), Some("shop-api"));

    cluster.extra.config_held_by.clear();
    assert_eq!(cluster.finish(), &Stage::Succeeded);
    cluster.assert_clean("new");
}

#[test]
fn a_run_that_waits_for_others_goes_back_with_them() {
    let mut cluster = Cluster::new(plan(json!({"weights": [50]})));
    cluster.extra.config_held_by = vec!["shop-api".into()];
    cluster.until(|state| gathers(&state.stage));
    abort(
        &mut cluster,
        bellwether_api::command::AbortCause::RollbackAll,
    );
    cluster.finish();
    cluster.assert_clean("old");
    let templates: Vec<TemplateVersion> = cluster
        .decisions
        .iter()
        .map(|decision| decision.overlay.template)
        .collect();
    assert!(!templates.contains(&TemplateVersion::New));
}

#[test]
fn a_run_is_not_over_while_its_copies_of_configuration_are_there() {
    for works in [true, false] {
        let mut cluster = Cluster::new(plan(json!({"weights": [50]})));
        cluster.extra.canary_config = true;
        cluster.metric = Some(if works { 100.0 } else { 0.0 });
        for _ in 0..600 {
            cluster.tick(1);
        }
        assert!(!cluster.state.is_terminal(), "{:?}", cluster.state.stage);
        let waits = &cluster.decisions.last().expect("decisions").waiting_on;
        assert_eq!(waits[0].reason, "CanaryThere", "{waits:?}");
        cluster.extra.canary_config = false;
        cluster.finish();
        cluster.assert_clean(if works { "new" } else { "old" });
    }
}
