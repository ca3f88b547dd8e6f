//! Releases of which the API server does not take an object.

use bellwether_api::{command::Verb, number::Weight, status::FailureReason};
use serde_json::json;

use super::{
    super::{Overlay, PromotionPart, Stage, StepPart},
    by_revision_model::Workload,
    model::{Cluster, failure, in_step, linear, plan},
};
use crate::settled::TemplateVersion;

const UNTAKEN: &str =
    "the API server has not taken Shard/shop/a: its conversion webhook is not there";

/// Nothing that a release brings in may be missing when its version is promoted: the deadline ends it.
#[test]
fn what_the_api_server_does_not_take_keeps_a_run_from_its_steps_until_the_deadline() {
    let mut cluster = Cluster::new(plan(linear()));
    cluster.extra.untaken = UNTAKEN.to_owned();
    cluster.until(|state| matches!(state.stage, Stage::Step { .. }));
    for _ in 0..20 {
        cluster.tick(5);
        assert_eq!(cluster.last().waiting_on[0].reason, "ObjectNotTaken");
        assert_eq!(cluster.state.weight, Weight::ZERO);
    }
    cluster.finish();
    let Stage::Failed { failure } = &cluster.state.stage else {
        panic!("{:?}", cluster.state.stage);
    };
    assert_eq!(failure.reason, FailureReason::DeadlineExceeded);
    assert!(failure.message.contains("Shard/shop/a"), "{failure:?}");
    cluster.assert_clean("old");
}

#[test]
fn a_run_goes_on_once_the_api_server_has_taken_everything() {
    let mut cluster = Cluster::new(plan(linear()));
    cluster.until(in_step(1));
    cluster.extra.untaken = UNTAKEN.to_owned();
    for _ in 0..40 {
        cluster.tick(5);
    }
    assert!(
        cluster.state.weight.percent() <= 20,
        "the step under way ends, and no other begins"
    );
    cluster.extra.untaken.clear();
    assert_eq!(cluster.finish(), &Stage::Succeeded);
}

/// Also where every step has passed, and while a human promotes.
#[test]
fn no_version_is_promoted_while_an_object_of_its_release_is_missing() {
    let mut cluster = Cluster::new(plan(linear()));
    cluster.until(in_step(4));
    cluster.extra.untaken = UNTAKEN.to_owned();
    for _ in 0..50 {
        cluster.tick(1);
    }
    let template = cluster.last().overlay.template;
    assert_eq!(template, TemplateVersion::Old);
    cluster.finish();
    assert_eq!(failure(&cluster), FailureReason::DeadlineExceeded);
    cluster.assert_clean("old");
}

/// The share of a revision is held until everything is there: with its steps over it would have all.
#[test]
fn no_revision_takes_every_request_while_an_object_of_its_release_is_missing() {
    let at_twenty = || {
        let mut workload = Workload::new(&json!({"weights": [20]}));
        workload.until(|state| state.weight == Weight::clamped(20));
        workload.untaken = UNTAKEN.to_owned();
        workload
    };
    let gathers = |workload: &Workload| {
        let part = |stage: &Stage| match stage {
            Stage::Promoting { part } => Some(matches!(part, PromotionPart::Gathering { .. })),
            _ => None,
        };
        part(&workload.state.stage)
    };
    let mut workload = at_twenty();
    for _ in 0..40 {
        workload.tick(5);
        assert!(workload.share() <= 20, "{:?}", workload.state.stage);
    }
    assert_eq!(gathers(&workload), Some(true));
    let waits = &workload.decisions.last().expect("a decision").waiting_on;
    assert_eq!(waits[0].reason, "ObjectNotTaken");
    workload.untaken.clear();
    assert_eq!(workload.finish(), &Stage::Succeeded);
    workload.assert_clean(TemplateVersion::New);

    // Its checks go on, and act.
    let mut workload = at_twenty();
    while gathers(&workload).is_none() {
        workload.tick(5);
    }
    workload.metric = Some(0.0);
    workload.until(|state| matches!(state.stage, Stage::RollingBack { .. }));
    let Stage::RollingBack { failure, .. } = &workload.state.stage else {
        panic!("{:?}", workload.state.stage);
    };
    assert_eq!(failure.reason, FailureReason::FailedChecks);
    workload.finish();
    workload.assert_clean(TemplateVersion::Old);

    // A human promotes from the first step, and the deadline ends it.
    let mut workload = Workload::new(&json!({"weights": [20], "advance": "Manual"}));
    workload.until(|state| {
        let Stage::Step { part, .. } = &state.stage else {
            return false;
        };
        matches!(part, StepPart::Gate { .. })
    });
    workload.untaken = UNTAKEN.to_owned();
    workload.queue(1, Verb::Promote, None);
    while !workload.state.is_terminal() {
        workload.tick(5);
        assert!(workload.share() <= 20, "{:?}", workload.state.stage);
    }
    workload.tick(1);
    let Stage::Failed { failure } = &workload.state.stage else {
        panic!("{:?}", workload.state.stage);
    };
    assert_eq!(failure.reason, FailureReason::DeadlineExceeded);
    workload.assert_clean(TemplateVersion::Old);
}

/// Also over an old version that is not available, of either kind.
#[test]
fn nothing_is_replaced_while_an_object_of_the_release_is_missing() {
    let mut cluster = Cluster::new(plan(linear()));
    cluster.old_works = false;
    cluster.kill_stable(0);
    cluster.extra.untaken = UNTAKEN.to_owned();
    cluster.queue(1, Verb::Promote, None);
    for _ in 0..20 {
        cluster.tick(5);
        assert_eq!(cluster.last().overlay, Overlay::none(TemplateVersion::Old));
    }
    let part = PromotionPart::Replacing { begun: false };
    assert_eq!(cluster.state.stage, Stage::Promoting { part });
    assert_eq!(cluster.last().waiting_on[0].reason, "ObjectNotTaken");
    cluster.extra.untaken.clear();
    assert_eq!(cluster.finish(), &Stage::Succeeded);
    cluster.assert_clean("new");

    let mut workload = Workload::new(&json!({"weights": [20]}));
    workload.old_works = false;
    workload.untaken = UNTAKEN.to_owned();
    workload.queue(1, Verb::Promote, None);
    for _ in 0..20 {
        workload.tick(5);
        assert_eq!(workload.template, TemplateVersion::Old);
    }
    workload.untaken.clear();
    assert_eq!(workload.finish(), &Stage::Succeeded);
}
