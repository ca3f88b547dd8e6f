//! Checks that fail since a metric has no value, where the plan says so.

use bellwether_api::{
    analysis::OnNoData,
    status::{FailureReason, Severity},
};

use super::{
    super::Stage,
    model::{Cluster, failure, in_step, linear, plan},
};

/// What a failed check says of a metric without a value.
const SAID: &str = "request-success-rate is no data (limit ≥ 99, NoData";

/// A run whose metric has no value from its first step on, and whose plan takes that for a failure.
fn without_data() -> Cluster {
    let mut cluster = Cluster::new(plan(linear()));
    cluster.grant.plan.analysis.on_no_data = OnNoData::Fail;
    cluster.until(in_step(0));
    cluster.metric = None;
    cluster
}

#[test]
fn a_check_that_fails_for_lack_of_data_says_so() {
    let mut cluster = without_data();
    let mut told = Vec::new();
    while !matches!(cluster.state.stage, Stage::RollingBack { .. }) {
        cluster.tick(5);
        let events = cluster.last().events.iter();
        let failed = events.filter(|event| event.reason == "CheckFailed");
        told.extend(failed.map(|event| (event.severity, event.message.clone())));
    }
    for (count, (severity, message)) in (1..).zip(&told) {
        assert_eq!(*severity, Severity::Warn);
        let begins = format!("failed check {count} of 2: {SAID}");
        assert!(message.starts_with(&begins), "{message}");
    }
    assert_eq!(told.len(), 2, "{told:?}");
    let Stage::RollingBack { failure: why, .. } = &cluster.state.stage else {
        panic!("it goes back");
    };
    assert_eq!(why.message, told[1].1);
    cluster.finish();
    assert_eq!(failure(&cluster), FailureReason::FailedChecks);
    cluster.assert_clean("old");
}
