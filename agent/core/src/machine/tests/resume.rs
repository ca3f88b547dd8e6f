//! Runs that one process of the agent leaves to the next.

use bellwether_api::status::FailureReason;
use jiff::SignedDuration;

use super::{
    super::{RunState, Stage, StepPart},
    model::{Cluster, failure, in_step, linear, plan},
};

const HOUR: i64 = 3_600;

/// The agent is dead for so long, and its successor takes the run up.
fn die_for(cluster: &mut Cluster, seconds: i64) {
    cluster.now += SignedDuration::from_secs(seconds);
    cluster.state = cluster
        .state
        .clone()
        .taken_up(cluster.grant.plan.progress_deadline, cluster.now);
}

/// A cluster whose canary waits for its pods, after `waited` of the 300 s it may.
fn waiting(waited: i64) -> Cluster {
    let mut cluster = Cluster::new(plan(linear()));
    cluster.canary_works = false;
    cluster.until(|state| {
        matches!(
            state.stage,
            Stage::Step {
                part: StepPart::Scaling,
                ..
            }
        )
    });
    let until = cluster.now + SignedDuration::from_secs(waited);
    while cluster.now < until {
        cluster.tick(5);
    }
    cluster
}

#[test]
fn a_long_outage_ends_no_run_before_its_successor_has_looked() {
    for (waited, dead, pods_come, ends) in [
        // (seconds waited, seconds dead, whether the pods came meanwhile, seconds until it fails)
        (10, HOUR, true, None),
        (280, HOUR, true, None),
        (10, HOUR, false, Some(75)),
        (280, HOUR, false, Some(75)),
        // Time that is told of nobody's absence counts as it did.
        (10, 60, false, Some(230)),
        (200, 5, false, Some(95)),
    ] {
        let mut cluster = waiting(waited);
        die_for(&mut cluster, dead);
        cluster.canary_works = pods_come;
        let taken_up = cluster.now;
        cluster.tick(5);
        let name = format!("waited {waited} s, dead for {dead} s, pods come: {pods_come}");
        assert!(
            matches!(cluster.state.stage, Stage::Step { .. }),
            "{name}: {:?}",
            cluster.state.stage
        );
        match ends {
            None => assert_eq!(cluster.finish(), &Stage::Succeeded, "{name}"),
            Some(seconds) => {
                cluster.until(|state| matches!(state.stage, Stage::RollingBack { .. }));
                let lasted = cluster.now.duration_since(taken_up).as_secs();
                assert!(
                    (seconds - 5..=seconds + 10).contains(&lasted),
                    "{name}: {lasted}"
                );
                assert_eq!(failure(&cluster), FailureReason::DeadlineExceeded, "{name}");
            }
        }
    }
}

#[test]
fn a_run_that_dies_again_and_again_still_meets_its_deadline() {
    let mut cluster = waiting(10);
    for _ in 0..4 {
        die_for(&mut cluster, HOUR);
        for _ in 0..16 {
            cluster.tick(5);
        }
    }
    assert_eq!(failure(&cluster), FailureReason::DeadlineExceeded);
}

#[test]
fn time_that_stands_still_is_left_alone() {
    let mut cluster = waiting(10);
    cluster.state.clock.run(false, cluster.now);
    let before = cluster.state.clone();
    die_for(&mut cluster, HOUR);
    assert_eq!(cluster.state, before);
}

#[test]
fn the_latest_instant_lies_in_the_past_and_follows_the_run() {
    let mut cluster = Cluster::new(plan(linear()));
    let mut before = cluster.state.latest_instant();
    assert_eq!(before, cluster.now);
    cluster.until(in_step(1));
    while !cluster.state.is_terminal() {
        let decided_at = cluster.now;
        let state: &RunState = &cluster.tick(5).next;
        let latest = state.latest_instant();
        assert!(
            before <= latest && latest <= decided_at,
            "{latest} at {decided_at}"
        );
        before = latest;
    }
}
