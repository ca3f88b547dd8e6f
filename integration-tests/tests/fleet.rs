//! The tests on real clusters: one hub, three clusters with real pods, agents as the pods that
//! `register cluster` installed. Tests under full traffic run one by one, so that two cores carry it;
//! tests that take a part down run alone, last.

#[path = "fleet/canary.rs"]
mod canary;
#[path = "fleet/control.rs"]
mod control;
#[path = "fleet/deletion.rs"]
mod deletion;
#[path = "fleet/failures.rs"]
mod failures;
#[path = "fleet/outages.rs"]
mod outages;
#[path = "fleet/ownership.rs"]
mod ownership;
#[path = "fleet/scene.rs"]
mod scene;
#[path = "fleet/sync.rs"]
mod sync;

use std::{path::PathBuf, process::ExitCode};

use bellwether_integration_tests::{demo::teardown, fixture::Fixture, lab::Lab};
use libtest_mimic::{Arguments, Failed, Trial};

type Test = fn(&scene::Scene) -> anyhow::Result<()>;

/// A test, and the name of its application and namespace.
pub type Case = (&'static str, &'static str, Test);

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    let together = [
        canary::CASES,
        failures::CASES,
        deletion::CASES,
        control::CASES,
        sync::CASES,
        ownership::CASES,
    ]
    .concat();
    let alone = [canary::UNDER_TRAFFIC, outages::CASES].concat();
    let all = || together.iter().chain(&alone).copied();
    if arguments.list {
        let trials = all().map(|case| trial(case, None)).collect();
        return libtest_mimic::run(&arguments, trials).exit_code();
    }
    let namespaces: Vec<&str> = all().map(|case| case.1).collect();
    let directory = PathBuf::from("/var/lib/bellwether-test");
    if let Err(error) = clear(&directory) {
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
    arguments.test_threads = arguments.test_threads.or(Some(3));
    let first = run(&arguments, &together, &scene);
    arguments.test_threads = Some(1);
    let second = run(&arguments, &alone, &scene);
    drop(scene);
    if std::env::var_os("BELLWETHER_KEEP_LAB").is_none()
        && let Err(error) = Lab::down("test")
    {
        eprintln!("failed to stop the lab: {error:?}");
        return ExitCode::FAILURE;
    }
    if first && second {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Takes away the clusters, Postgres and files of a run that was killed.
fn clear(directory: &std::path::Path) -> anyhow::Result<()> {
    teardown::stop_recorded(&directory.join("hub/hub.pid"), "bellwether-hub")?;
    teardown::stop_recorded(&directory.join("hub/postgres/postmaster.pid"), "postgres")?;
    Lab::down("test")?;
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn run(arguments: &Arguments, cases: &[Case], scene: &scene::Scene) -> bool {
    let trials = cases
        .iter()
        .map(|case| trial(*case, Some(scene.clone())))
        .collect();
    !libtest_mimic::run(arguments, trials).has_failed()
}

fn trial((name, namespace, test): Case, scene: Option<scene::Scene>) -> Trial {
    Trial::test(name, move || {
        let scene = scene.ok_or("tests were only listed")?;
        scene.case(namespace, test).map_err(|error| {
            let said = without_backtrace(&format!("{error:?}"));
            eprintln!("-- {name}: {said}");
            Failed::from(said)
        })
    })
}

/// Cuts off the stack, which says nothing about a cluster.
fn without_backtrace(text: &str) -> String {
    text.split("\nStack backtrace:")
        .next()
        .unwrap_or(text)
        .to_owned()
}
