//! The tests on real clusters: one hub, three clusters with real pods, agents as the pods that
//! `register cluster` installed. Tests under full traffic in one cluster run two at a time, so that two cores
//! carry it; tests with traffic in more of them, and those that take a part down, run alone, last.

#[path = "fleet/ab_test.rs"]
mod ab_test;
#[path = "fleet/adopted.rs"]
mod adopted;
#[path = "fleet/autoscaling.rs"]
mod autoscaling;
#[path = "fleet/batch_traffic.rs"]
mod batch_traffic;
#[path = "fleet/batches.rs"]
mod batches;
#[path = "fleet/blue_green.rs"]
mod blue_green;
#[path = "fleet/by_hand.rs"]
mod by_hand;
#[path = "fleet/canary.rs"]
mod canary;
#[path = "fleet/charts.rs"]
mod charts;
#[path = "fleet/command_tests.rs"]
mod command_tests;
#[path = "fleet/configuration.rs"]
mod configuration;
#[path = "fleet/control.rs"]
mod control;
#[path = "fleet/daemon_set.rs"]
mod daemon_set;
#[path = "fleet/deletion.rs"]
mod deletion;
#[path = "fleet/failures.rs"]
mod failures;
#[path = "fleet/flagger.rs"]
mod flagger;
#[path = "fleet/foreign.rs"]
mod foreign;
#[path = "fleet/foreign_sets.rs"]
mod foreign_sets;
#[path = "fleet/hooks.rs"]
mod hooks;
#[path = "fleet/hooks_away.rs"]
mod hooks_away;
#[path = "fleet/lacking.rs"]
mod lacking;
#[path = "fleet/live_state.rs"]
mod live_state;
#[path = "fleet/loads.rs"]
mod loads;
#[path = "fleet/metrics_address.rs"]
mod metrics_address;
#[path = "fleet/not_found.rs"]
mod not_found;
#[path = "fleet/outages.rs"]
mod outages;
#[path = "fleet/ownership.rs"]
mod ownership;
#[path = "fleet/promotion.rs"]
mod promotion;
#[path = "fleet/quickstart.rs"]
mod quickstart;
#[path = "fleet/replaced.rs"]
mod replaced;
#[path = "fleet/rollback.rs"]
mod rollback;
#[path = "fleet/scene.rs"]
mod scene;
#[path = "fleet/strategies.rs"]
mod strategies;
#[path = "fleet/sync.rs"]
mod sync;
#[path = "fleet/taken_over.rs"]
mod taken_over;
#[path = "fleet/two_hubs.rs"]
mod two_hubs;
#[path = "fleet/webhook.rs"]
mod webhook;

use std::{path::PathBuf, process::ExitCode};

use bellwether_integration_tests::{fixture::Fixture, lab::Lab, suite};
use libtest_mimic::Arguments;

/// A test, and the name of its application and namespace.
pub type Case = suite::Case<scene::Scene>;

/// Tests that run together, and how many of them at a time; these stages come one after the other.
fn stages() -> [(usize, Vec<Case>); 4] {
    let together = [
        adopted::CASES,
        canary::CASES,
        charts::CASES,
        failures::CASES,
        control::CASES,
        deletion::CASES,
        by_hand::CASES,
        strategies::CASES,
        batches::CASES,
        sync::CASES,
        ownership::CASES,
        replaced::CASES,
        rollback::CASES,
        hooks::CASES,
        loads::CASES,
        command_tests::CASES,
        configuration::CASES,
        autoscaling::CASES,
    ]
    .concat();
    let under_traffic = [
        adopted::UNDER_TRAFFIC,
        foreign_sets::UNDER_TRAFFIC,
        webhook::UNDER_TRAFFIC,
        failures::UNDER_TRAFFIC,
        deletion::UNDER_TRAFFIC,
        control::UNDER_TRAFFIC,
        autoscaling::UNDER_TRAFFIC,
        lacking::UNDER_TRAFFIC,
        not_found::UNDER_TRAFFIC,
        promotion::UNDER_TRAFFIC,
        strategies::UNDER_TRAFFIC,
        blue_green::UNDER_TRAFFIC,
        ab_test::UNDER_TRAFFIC,
        batch_traffic::UNDER_TRAFFIC,
        daemon_set::UNDER_TRAFFIC,
        hooks::UNDER_TRAFFIC,
        hooks_away::UNDER_TRAFFIC,
        flagger::UNDER_TRAFFIC,
    ]
    .concat();
    // They end the agent of a cluster, whose webhook tests above need.
    let agents_end = [
        failures::AGENT_ENDS,
        configuration::AGENT_ENDS,
        live_state::AGENT_ENDS,
        taken_over::AGENT_ENDS,
    ]
    .concat();
    let alone = [
        canary::UNDER_TRAFFIC,
        quickstart::UNDER_TRAFFIC,
        rollback::UNDER_TRAFFIC,
        failures::ALONE,
        two_hubs::ALONE,
        metrics_address::ALONE,
        outages::CASES,
        webhook::ALONE,
    ]
    .concat();
    [
        (4, together),
        (2, under_traffic),
        (2, agents_end),
        (1, alone),
    ]
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    let stages = stages();
    let all: Vec<Case> = stages
        .iter()
        .flat_map(|(_, cases)| cases)
        .copied()
        .collect();
    if arguments.list {
        return libtest_mimic::run(&arguments, suite::trials(&all, None)).exit_code();
    }
    let namespaces: Vec<&str> = all.iter().map(|case| case.1).collect();
    let directory = PathBuf::from("/var/lib/bellwether-test");
    if let Err(error) = suite::clear("test", &directory) {
        eprintln!("failed to clear what an earlier run left: {error:?}");
        return ExitCode::FAILURE;
    }
    let fixture = match Fixture::start("test", &directory, &namespaces) {
        Ok(fixture) => fixture,
        Err(error) => {
            eprintln!("failed to set the scene: {error:?}");
            return ExitCode::FAILURE;
        }
    };
    let scene = scene::Scene::new(fixture);
    let asked = arguments.test_threads;
    let mut passed = true;
    for (threads, cases) in &stages {
        arguments.test_threads = Some(asked.map_or(*threads, |asked| asked.min(*threads)));
        passed &= suite::run(&arguments, cases, &scene);
    }
    drop(scene);
    if std::env::var_os("BELLWETHER_KEEP_LAB").is_none()
        && let Err(error) = Lab::down("test")
    {
        eprintln!("failed to stop the lab: {error:?}");
        return ExitCode::FAILURE;
    }
    if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
