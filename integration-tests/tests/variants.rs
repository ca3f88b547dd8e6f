//! The tests on other clusters than fleet's: control-plane clusters whose agents are processes with
//! the token of the ServiceAccount that `register cluster` made, and one real cluster whose gateway
//! keeps Traefik's default throttle, and that has further data planes.

#[path = "variants/accounts.rs"]
mod accounts;
#[path = "variants/adapted_copies.rs"]
mod adapted_copies;
#[path = "variants/adapted_kinds.rs"]
mod adapted_kinds;
#[path = "variants/adapters.rs"]
mod adapters;
#[path = "variants/apisix.rs"]
mod apisix;
#[path = "variants/at_rest.rs"]
mod at_rest;
#[path = "variants/brakes.rs"]
mod brakes;
#[path = "variants/chart_definitions.rs"]
mod chart_definitions;
#[path = "variants/clone_set.rs"]
mod clone_set;
#[path = "variants/comings_and_goings.rs"]
mod comings_and_goings;
#[path = "variants/contour.rs"]
mod contour;
#[path = "variants/contour_gateway.rs"]
mod contour_gateway;
#[path = "variants/created.rs"]
mod created;
#[path = "variants/custom_resources.rs"]
mod custom_resources;
#[path = "variants/daemon_set.rs"]
mod daemon_set;
#[path = "variants/detached_mid_run.rs"]
mod detached_mid_run;
#[path = "variants/divided.rs"]
mod divided;
#[path = "variants/every_provider.rs"]
mod every_provider;
#[path = "variants/every_source.rs"]
mod every_source;
#[path = "variants/exact_overrides.rs"]
mod exact_overrides;
#[path = "variants/fencing.rs"]
mod fencing;
#[path = "variants/gates.rs"]
mod gates;
#[path = "variants/golden.rs"]
mod golden;
#[path = "variants/gone.rs"]
mod gone;
#[path = "variants/helm_canary.rs"]
mod helm_canary;
#[path = "variants/hosting.rs"]
mod hosting;
#[path = "variants/killed.rs"]
mod killed;
#[path = "variants/ladder.rs"]
mod ladder;
#[path = "variants/large.rs"]
mod large;
#[path = "variants/matrix.rs"]
mod matrix;
#[path = "variants/members.rs"]
mod members;
#[path = "variants/mirrored.rs"]
mod mirrored;
#[path = "variants/one_chart.rs"]
mod one_chart;
#[path = "variants/order.rs"]
mod order;
#[path = "variants/overrides.rs"]
mod overrides;
#[path = "variants/own_ways.rs"]
mod own_ways;
#[path = "variants/page.rs"]
mod page;
#[path = "variants/parcel.rs"]
mod parcel;
#[path = "variants/placed.rs"]
mod placed;
#[path = "variants/placed_by_page.rs"]
mod placed_by_page;
#[path = "variants/policies.rs"]
mod policies;
#[path = "variants/policy_bundle.rs"]
mod policy_bundle;
#[path = "variants/provider_controllers.rs"]
mod provider_controllers;
#[path = "variants/provider_objects.rs"]
mod provider_objects;
#[path = "variants/provider_shares.rs"]
mod provider_shares;
#[path = "variants/providers.rs"]
mod providers;
#[path = "variants/provisioned.rs"]
mod provisioned;
#[path = "variants/pruning.rs"]
mod pruning;
#[path = "variants/real.rs"]
mod real;
#[path = "variants/records.rs"]
mod records;
#[path = "variants/refused.rs"]
mod refused;
#[path = "fleet/scene.rs"]
#[expect(
    dead_code,
    reason = "shared with the tests of fleet, which use all of it"
)]
mod scene;
#[path = "variants/sources.rs"]
mod sources;
#[path = "variants/stage.rs"]
mod stage;
#[path = "variants/strategy_pages.rs"]
mod strategy_pages;
#[path = "variants/sync.rs"]
mod sync;
#[path = "variants/third_party.rs"]
mod third_party;
#[path = "variants/unconverted.rs"]
mod unconverted;
#[path = "variants/undone.rs"]
mod undone;
#[path = "variants/unseen.rs"]
mod unseen;
#[path = "variants/waves.rs"]
mod waves;

use std::{path::Path, process::ExitCode};

use anyhow::Result;
use bellwether_integration_tests::{
    fixture::Fixture,
    lab::Lab,
    suite::{self, Case},
};
use libtest_mimic::Arguments;
use scene::Scene;
use stage::Members;

const LAB: &str = "test";
const REAL_DIRECTORY: &str = "/var/lib/bellwether-test-variants-real";
const DIRECTORY: &str = "/var/lib/bellwether-test-variants";
/// Control-plane clusters: one for the first wave, seven for the second, in three regions.
const CONTROL_PLANE: usize = stage::REGIONS.len();
/// Definitions of the kinds that traffic providers write, in every cluster.
const DEFINITIONS: &str = "apisix,app-mesh,contour,gateway-experimental,gloo,istio,knative,kruise,kuma,\
                           kyverno,linkerd,policy-reports,traefik";

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let together = [
        members::TOGETHER,
        accounts::TOGETHER,
        adapted_copies::CASES,
        adapters::CASES,
        apisix::TOGETHER,
        brakes::CASES,
        chart_definitions::TOGETHER,
        clone_set::CASES,
        divided::TOGETHER,
        every_provider::TOGETHER,
        every_source::TOGETHER,
        exact_overrides::TOGETHER,
        gates::TOGETHER,
        large::CASES,
        matrix::TOGETHER,
        one_chart::TOGETHER,
        order::TOGETHER,
        overrides::TOGETHER,
        own_ways::TOGETHER,
        records::TOGETHER,
        refused::TOGETHER,
        sources::TOGETHER,
        provisioned::TOGETHER,
        pruning::TOGETHER,
        strategy_pages::TOGETHER,
        sync::TOGETHER,
        third_party::TOGETHER,
        unconverted::CASES,
        undone::TOGETHER,
        waves::TOGETHER,
    ]
    .concat();
    let real = [real::INSTALLATION, golden::CASES].concat();
    let under_traffic = [
        real::UNDER_TRAFFIC,
        contour::CASES,
        contour_gateway::CASES,
        created::CASES,
        helm_canary::CASES,
        ladder::CASES,
        providers::CASES,
    ]
    .concat();
    let alone = [
        members::ALONE,
        daemon_set::ALONE,
        order::ALONE,
        placed::ALONE,
        placed_by_page::ALONE,
        policies::ALONE,
        policy_bundle::ALONE,
        comings_and_goings::ALONE,
        detached_mid_run::ALONE,
        custom_resources::ALONE,
        hosting::ALONE,
        fencing::ALONE,
        at_rest::ALONE,
        killed::ALONE,
        gone::ALONE,
        unseen::ALONE,
    ]
    .concat();
    let cases = Cases {
        real: &real,
        under_traffic: &under_traffic,
        takes_traffic: providers::ALONE,
        together: &together,
        alone: &alone,
    };
    if arguments.list {
        let mut trials = suite::trials(cases.real, None);
        trials.extend(suite::trials(cases.under_traffic, None));
        trials.extend(suite::trials(cases.takes_traffic, None));
        trials.extend(suite::trials(cases.together, None));
        trials.extend(suite::trials(cases.alone, None));
        return libtest_mimic::run(&arguments, trials).exit_code();
    }
    let passed = run(&arguments, &cases);
    if std::env::var_os("BELLWETHER_KEEP_LAB").is_none()
        && let Err(error) = Lab::down(LAB)
    {
        eprintln!("failed to stop the lab: {error:?}");
        return ExitCode::FAILURE;
    }
    match passed {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("failed to set the scene: {error:?}");
            ExitCode::FAILURE
        }
    }
}

struct Cases<'a> {
    /// On the real cluster, one by one, before it is registered for the others.
    real: &'a [Case<Scene>],
    /// On the real cluster, two beside each other.
    under_traffic: &'a [Case<Scene>],
    /// On the real cluster, one by one, after them.
    takes_traffic: &'a [Case<Scene>],
    /// On the control-plane clusters, beside each other.
    together: &'a [Case<Members>],
    /// On the control-plane clusters, one by one: they stop agents, or change what all applications meet.
    alone: &'a [Case<Members>],
}

/// The real cluster and the control-plane ones are two labs, one after the other: eight API servers take a core of the
/// two that the generator, the gateways and the pods need.
fn run(arguments: &Arguments, cases: &Cases<'_>) -> Result<bool> {
    for directory in [REAL_DIRECTORY, DIRECTORY] {
        suite::clear(LAB, Path::new(directory))?;
    }
    let mut passed = Ok(true);
    if suite::wants(
        arguments,
        &[cases.real, cases.under_traffic, cases.takes_traffic].concat(),
    ) {
        passed = on_the_real_cluster(arguments, cases);
    }
    if suite::wants(arguments, &[cases.together, cases.alone].concat()) {
        let others = on_control_planes(arguments, cases)?;
        passed = passed.map(|passed| passed && others);
    }
    passed
}

fn on_the_real_cluster(arguments: &Arguments, cases: &Cases<'_>) -> Result<bool> {
    let scene = scene(REAL_DIRECTORY, 1, 0)?;
    let mut passed = suite::run(&at_once(arguments, 1), cases.real, &scene);
    let by_traffic = [cases.under_traffic, cases.takes_traffic].concat();
    if suite::wants(arguments, &by_traffic) {
        providers::registered(&scene)?;
        passed &= suite::run(&at_once(arguments, 2), cases.under_traffic, &scene);
        passed &= suite::run(&at_once(arguments, 1), cases.takes_traffic, &scene);
    }
    Ok(passed)
}

fn on_control_planes(arguments: &Arguments, cases: &Cases<'_>) -> Result<bool> {
    let scene = scene(DIRECTORY, 0, CONTROL_PLANE)?;
    let members = [cases.together, cases.alone].concat();
    let namespaces: Vec<&str> = members.iter().map(|case| case.1).collect();
    let members = Members::register(&scene, &namespaces)?;
    let mut passed = suite::run(&at_once(arguments, 4), cases.together, &members);
    passed &= suite::run(&at_once(arguments, 1), cases.alone, &members);
    Ok(passed)
}

/// The arguments with so many tests beside each other, or fewer where fewer are asked for.
fn at_once(arguments: &Arguments, threads: usize) -> Arguments {
    let threads = arguments
        .test_threads
        .map_or(threads, |asked| asked.min(threads));
    Arguments {
        test_threads: Some(threads),
        ..arguments.clone()
    }
}

/// A lab of so many clusters, in place of any that there is, with a hub beside it.
fn scene(directory: &str, real: usize, control_plane: usize) -> Result<Scene> {
    let directory = Path::new(directory);
    Lab::down(LAB)?;
    let mut settings = vec!["--traefik-throttle", "2s", "--crds", DEFINITIONS];
    if real > 0 {
        settings.extend(["--nginx", "--contour"]);
    }
    let lab = Lab::up_with(LAB, real, control_plane, &settings)?;
    let mut flags = custom_resources::hub_flags(&lab, directory)?;
    flags.extend(every_source::hub_flags()?);
    let fixture = Fixture::around_with(lab, directory, &flags)?;
    Ok(Scene::new(fixture))
}
