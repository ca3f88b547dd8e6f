//! When gateways use nothing of an earlier split any more.

use bellwether_api::{command::AbortCause, number::Weight};
use serde_json::json;

use super::{
    super::Stage,
    model::{Cluster, abort, in_step, plan},
};

fn steps() -> Cluster {
    Cluster::new(plan(json!({"steps": [
        {"weight": 20, "mirror": 50, "advance": "Auto"},
        {"weight": 60, "advance": "Auto"},
    ]})))
}

/// While a split that was written may not be carried yet, it never counts as in force.
fn assert_carried(cluster: &mut Cluster) {
    let mut after_mirror = false;
    while !cluster.state.is_terminal() {
        let before = cluster.state.split();
        let state = cluster.tick(5).next.clone();
        if state.split() != before {
            assert!(
                !state.split_is_in_force(),
                "just changed: {:?}",
                state.stage
            );
        } else if state.split_is_in_force() {
            assert_eq!(cluster.carried, state.weight, "{:?}", state.stage);
            after_mirror |= state.routed && state.mirror == Weight::ZERO;
        }
    }
    assert!(after_mirror);
    assert!(cluster.state.split_is_in_force(), "it is over");
}

#[test]
fn a_split_is_in_force_once_the_gateway_had_its_time() {
    let mut cluster = steps();
    assert_carried(&mut cluster);
    assert!(matches!(cluster.state.stage, Stage::Succeeded));
}

#[test]
fn what_goes_back_is_in_force_once_the_gateway_had_its_time() {
    let mut cluster = steps();
    cluster.until(in_step(1));
    abort(&mut cluster, AbortCause::Manual);
    assert_carried(&mut cluster);
    assert!(matches!(cluster.state.stage, Stage::Failed { .. }));
}
