//! Releases of which the API server does not take an object.

use bellwether_api::{number::Weight, status::FailureReason};

use super::{
    super::Stage,
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
