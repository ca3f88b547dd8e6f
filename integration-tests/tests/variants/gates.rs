//! The example of docs/waves.md: every kind of gate between waves, each closed first.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use bellwether_api::{
    status::Verdict,
    view::{ClusterPhase, GateView, RunPhase, RunView, WavePhase},
};
use bellwether_integration_tests::{
    hook_double::HookDouble, process::workspace_binary, prometheus::Prometheus, suite::Case,
    wait::until,
};

use crate::{
    page::{example, fitted},
    stage::{Afterwards, LIMIT, Members},
};

pub const TOGETHER: &[Case<Members>] = &[(
    "sc_x4_gates_ask_prometheus_and_a_server_count_verdicts_and_wait_for_a_window",
    "gated",
    gates,
)];

/// Environments of the clusters, in their order.
const ENVIRONMENTS: [&str; 8] = ["sit", "uat", "uat", "prod", "prod", "prod", "prod", "prod"];
/// The waves, by their index.
const SIT: usize = 0;
const UAT: usize = 1;
const PROD_CANARY: usize = 2;
const PROD: usize = 3;
/// What the checks in the clusters ask for, of the canary, and what the fleet's gate does.
const WAITING: &str = "orders_waiting{app=\"svc-canary\"}";
const FAILED: &str = "orders_failed_total";
/// What the external gate asks.
const FROZEN: &str = "/frozen?app=svc";

struct Servers {
    prometheus: Prometheus,
    changes: HookDouble,
}

/// The page's example with the addresses of the test's servers, and with seconds for minutes.
fn documents(members: &Members, servers: &Servers, version: &str) -> Result<String> {
    let name = members.name.as_str();
    let text = example("waves.md", "kind: Application")?;
    fitted(
        &text,
        &[
            (
                "{name: svc, namespace: default}",
                &format!("{{name: {name}, namespace: default}}"),
            ),
            ("targetNamespace: svc", &format!("targetNamespace: {name}")),
            ("{key: env,", "{key: gated,"),
            ("{env: ", "{gated: "),
            ("soak: 10m", "soak: 1s"),
            ("soak: 1h", "soak: 1s"),
            ("window: 5m", "window: 5s"),
            ("interval: 30s", "interval: 1s"),
            ("maxConcurrent: 25%", "maxConcurrent: 100%"),
            // Once in four years, for a minute.
            (
                "schedule: \"0 9 * * MON-THU\", timeZone: Europe/Berlin, duration: 6h",
                "schedule: \"0 0 29 2 *\", timeZone: Europe/Berlin, duration: 1m",
            ),
            (
                "https://change.example/frozen?app=svc",
                &servers.changes.url(FROZEN),
            ),
            ("http://prometheus.example:9090", servers.prometheus.url()),
            (
                "registry.example/svc:1.4.2",
                &format!("bellwether.local/demo:{version}"),
            ),
        ],
    )
}

fn gates(members: &Members) -> Result<()> {
    let label = |change: &str| {
        for (cluster, environment) in members.names().into_iter().zip(ENVIRONMENTS) {
            let change = change.replace("ENV", environment);
            members.cli.run(&["label", "cluster", cluster, &change])?;
        }
        anyhow::Ok(())
    };
    label("gated=ENV")?;
    let _unlabelled = Afterwards::of(|| label("gated-"));
    let host = members.lab.bridge_address.as_str();
    let servers = Servers {
        prometheus: Prometheus::start(host)?,
        changes: HookDouble::start(host)?,
    };
    members.cli.apply(&documents(members, &servers, "v1")?)?;
    members.wait_ended(&members.name, 1, RunPhase::Succeeded, LIMIT)?;

    servers.prometheus.raise(FAILED, 3.0);
    servers.prometheus.show(WAITING, 3.0);
    servers.changes.answers(FROZEN, 503);
    members.cli.apply(&documents(members, &servers, "v2")?)?;
    external(members, &servers)?;
    verdicts_of_uat(members, &servers)?;
    metric_and_approvals(members, &servers)?;
    quorum(members)?;
    window(members)?;
    let run = members.wait_ended(&members.name, 2, RunPhase::Succeeded, LIMIT)?;
    let open = |wave: usize| run.waves[wave].gates.iter().all(|gate| gate.passed);
    ensure!((SIT..=PROD).all(open), "{run:#?}");
    runs(members, SIT..=PROD, "v2")
}

/// The gate of a kind of the second release, and its run; absent = there is none yet.
fn gate(members: &Members, wave: usize, kind: &str) -> Result<Option<(GateView, RunView)>> {
    let run = members.run(&members.name)?;
    if run.revision != 2 {
        return Ok(None);
    }
    let mut gates = run.waves.get(wave).into_iter().flat_map(|wave| &wave.gates);
    let found = gates.find(|gate| gate.kind == kind).cloned();
    Ok(found.map(|gate| (gate, run)))
}

/// Waits until a gate is as it should be; gives it, and its run.
fn wait_gate(
    members: &Members,
    wave: usize,
    kind: &str,
    wanted: impl Fn(&GateView) -> bool,
) -> Result<(GateView, RunView)> {
    let mut last = None;
    until(LIMIT, &format!("the gate {kind}"), || {
        let found = gate(members, wave, kind)?;
        last = found.as_ref().map(|(gate, _)| gate.clone());
        Ok(found.filter(|(gate, _)| wanted(gate)))
    })
    .with_context(|| format!("last {last:?}"))
}

/// Waits until a gate is closed and says this.
fn wait_closed(members: &Members, wave: usize, kind: &str, words: &str) -> Result<RunView> {
    let says = |gate: &GateView| !gate.passed && gate.detail.contains(words);
    let found = wait_gate(members, wave, kind, says);
    found
        .map(|(_, run)| run)
        .with_context(|| format!("closed, and saying {words:?}"))
}

fn wait_open(members: &Members, wave: usize, kind: &str) -> Result<()> {
    let found = wait_gate(members, wave, kind, |gate| gate.passed);
    found.map(|_| ()).context("open")
}

/// Fails unless the clusters of these waves run the version.
fn runs(members: &Members, waves: std::ops::RangeInclusive<usize>, version: &str) -> Result<()> {
    let run = members.run(&members.name)?;
    for cluster in run.waves[waves].iter().flat_map(|wave| &wave.clusters) {
        let live = members.read(&cluster.name, "Deployment", "svc")?;
        let live = live.with_context(|| format!("svc in {}", cluster.name))?;
        let image = live["spec"]["template"]["spec"]["containers"][0]["image"].as_str();
        ensure!(
            image.is_some_and(|image| image.ends_with(version)),
            "{} runs {image:?}, not {version}",
            cluster.name
        );
    }
    Ok(())
}

/// The server says no, and then, when nobody knows how many orders wait, yes.
fn external(members: &Members, servers: &Servers) -> Result<()> {
    let run = wait_closed(members, UAT, "external", "503")?;
    ensure!(run.waves[SIT].state == WavePhase::Passed, "{run:#?}");
    ensure!(run.waves[UAT].state == WavePhase::Waiting, "{run:#?}");
    runs(members, UAT..=PROD, "v1")?;
    servers.prometheus.hide(WAITING)?;
    servers.changes.answers(FROZEN, 200);
    wait_open(members, UAT, "external")
}

/// In the first cluster a human goes past checks that have nothing to go by; in the second they pass.
fn verdicts_of_uat(members: &Members, servers: &Servers) -> Result<()> {
    let first = until(LIMIT, "a check of uat that knows nothing", || {
        let run = members.run(&members.name)?;
        let found = run.waves[UAT].clusters.iter().find(|cluster| {
            let mut checks = cluster.tracks.iter().flat_map(|track| &track.checks);
            checks.any(|check| check.verdict == Verdict::Unknown)
        });
        Ok(found.map(|cluster| cluster.name.clone()))
    })?;
    let promote = ["rollout", "promote", &members.name, "--cluster", &first];
    members.cli.run(&promote)?;
    until(LIMIT, "the promoted cluster to succeed", || {
        let run = members.run(&members.name)?;
        let mut clusters = run.waves[UAT].clusters.iter();
        let done = clusters
            .any(|cluster| cluster.name == first && cluster.state == ClusterPhase::Succeeded);
        Ok(done.then_some(()))
    })?;
    servers.prometheus.show(WAITING, 3.0);
    wait_closed(members, UAT, "verdicts", "1 of 2").map(|_| ())
}

/// Too many orders fail over the whole fleet, and then none; two people approve.
fn metric_and_approvals(members: &Members, servers: &Servers) -> Result<()> {
    wait_closed(members, UAT, "metric", "at most 0.5, it is ")?;
    wait_closed(members, UAT, "approval", "0 of 2")?;
    servers.prometheus.raise(FAILED, 0.0);
    let people = ["qa", "release-manager"];
    let revoke = || {
        for who in people {
            members.cli.run(&["token", "revoke", who])?;
        }
        anyhow::Ok(())
    };
    let _revoked = Afterwards::of(revoke);
    for (who, given) in people.into_iter().zip(["1 of 2", "2 of 2"]) {
        let token = ["token", "create", who, "--role", "editor"];
        let token = members.cli.run(&token)?;
        let url = members.hub.lock().expect("no panic while held").url();
        let approved = Command::new(workspace_binary("bellwether")?)
            .args(["--hub", &url, "--token", token.trim()])
            .args(["rollout", "approve", &members.name, "--wave", "uat"])
            .output()?;
        ensure!(approved.status.success(), "{who}: {approved:?}");
        if given == "1 of 2" {
            wait_closed(members, UAT, "approval", given)?;
        }
    }
    wait_open(members, UAT, "approval")?;
    wait_open(members, UAT, "metric")
}

/// One of two clusters is too few, until a human says otherwise, for this release alone.
fn quorum(members: &Members) -> Result<()> {
    let run = wait_closed(members, UAT, "verdicts", "1 of 2")?;
    ensure!(run.waves[PROD_CANARY].started_at.is_none(), "{run:#?}");
    runs(members, PROD_CANARY..=PROD, "v1")?;
    let promote = ["rollout", "promote", &members.name, "--wave", "uat"];
    let reason = ["--reason", "seen by hand"];
    members.cli.run(&[&promote[..], &reason].concat())?;
    wait_open(members, UAT, "verdicts")
}

/// A window that is closed holds the wave, and says until when.
fn window(members: &Members) -> Result<()> {
    // The 29th of February begins in Berlin an hour before it does in UTC.
    let until_when = "-02-28T23:00:00Z";
    let run = wait_closed(members, PROD_CANARY, "window", until_when)?;
    ensure!(run.waves[PROD_CANARY].started_at.is_none(), "{run:#?}");
    let why = members.cli.run(&["why", &members.name])?;
    ensure!(why.contains(until_when), "{why}");
    runs(members, PROD_CANARY..=PROD, "v1")?;
    let promote = ["rollout", "promote", &members.name, "--wave", "prod-canary"];
    members.cli.run(&promote)?;
    wait_open(members, PROD_CANARY, "verdicts")
}
