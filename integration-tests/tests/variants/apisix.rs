//! A chart that was written for Flagger and APISIX, over two environments: continuous integration commits the
//! next tag, the first cluster takes it plainly, and in the second the weights of the chart's route are read
//! from the API server. There is the definition and no controller of APISIX: the test plays it, and what its
//! data plane counts.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use bellwether_api::view::{RunPhase, RunView};
use bellwether_integration_tests::{
    chart_repository::ChartRepository, cluster::Member, fixture::cluster_view,
    git_server::GitServer, hook_double::HookDouble, prometheus::Prometheus, suite::Case,
    wait::until,
};
use serde_json::{Value, json};

use crate::{
    scene::are_told_in_order,
    stage::{LIMIT, Members},
};

pub const TOGETHER: &[Case<Members>] = &[(
    "sc_f1_chart_for_apisix_moves_the_weights_of_its_route_and_leaves_it_as_written",
    "apisix",
    chart_for_apisix,
)];

const GROUP: &str = "apisix.apache.org";
const API_VERSION: &str = "apisix.apache.org/v2";
/// The name of route and Service.
const NAME: &str = "stable-app";
/// What continuous integration calls its images: the commits that they are built of.
const TAGS: [&str; 2] = [
    "5f0c1e6b7a2d4938c1b0a9e8d7f6c5b4a3928170",
    "9b8a7c6d5e4f30211203f4e5d6c7b8a9c0d1e2f3",
];

/// Whom the release names beside the clusters.
struct Servers {
    charts: ChartRepository,
    double: HookDouble,
    prometheus: Prometheus,
}

/// The release file that continuous integration writes: the chart, and which image of it.
fn release(members: &Members, servers: &Servers, tag: &str) -> String {
    let double = &servers.double;
    let (dev, prod) = (members.names()[1], members.names()[0]);
    let values = json!({
        "image": {"tag": tag},
        "apisixRoute": {"enabled": true, "host": "app.example"},
        "canary": {
            "enabled": true,
            "provider": "apisix",
            "analysis": {"interval": "2s", "threshold": 60, "maxWeight": 50, "stepWeight": 10},
            "metricsServer": servers.prometheus.url(),
            "acceptanceTest": {"enabled": true, "url": double.url("/acceptance")},
            "loadTest": {
                "enabled": true,
                "cmd": format!("hey -z 2m -q 5 -c 2 {}", double.url("/load")),
            },
        },
    });
    let application = json!({
        "apiVersion": "bellwether.dev/v1alpha1", "kind": "Application",
        "metadata": {"name": members.name, "namespace": "default"},
        "spec": {
            "destination": {"clusters": [dev, prod]},
            "targetNamespace": members.name,
            "components": [{"name": "app", "helm": {
                "repository": servers.charts.url(), "chart": "app", "version": "0.1.1", "releaseName": "stable",
                "values": values,
            }}],
            "overrides": [{"name": "dev", "clusters": [dev], "components": ["app"],
                "values": {"canary": {"enabled": false}, "apisixRoute": {"enabled": false}}}],
            "waves": [{"name": "dev", "clusters": [dev]}, {"name": "prod", "clusters": [prod]}],
        },
    });
    application.to_string()
}

/// The hub looks at the release files every ten seconds.
fn repository(members: &Members, git: &GitServer) -> String {
    let repository = json!({
        "apiVersion": "bellwether.dev/v1alpha1", "kind": "Repository",
        "metadata": {"name": members.name},
        "spec": {"git": {"url": git.url(), "branch": "main", "path": "releases"}, "interval": "10s"},
    });
    repository.to_string()
}

fn chart_for_apisix(members: &Members) -> Result<()> {
    let mut servers = Servers {
        charts: ChartRepository::start()?,
        double: HookDouble::start("127.0.0.1")?,
        prometheus: Prometheus::start("127.0.0.1")?,
    };
    servers.charts.publish("app", "0.1.1", &[])?;
    let (servers, double) = (&servers, &servers.double);
    let git = GitServer::start()?;
    let commit = |tag: &str| {
        git.write("releases/app.yaml", &release(members, servers, tag))?;
        git.commit(tag)
    };
    let prod = members.names()[0];
    let member = members.cluster(prod)?;
    members.allow(member, &[(GROUP.to_owned(), "apisixroutes".to_owned())])?;
    commit(TAGS[0])?;
    members.cli.apply(&repository(members, &git))?;
    ended(members, 1)?;
    let route = |what: &str| {
        let found = member.get(API_VERSION, "ApisixRoute", &members.name, NAME)?;
        found.with_context(|| format!("the ApisixRoute {what}"))
    };
    let before = route("of the chart")?;

    let over = AtomicBool::new(false);
    let shares = std::thread::scope(|scope| {
        let controller = scope.spawn(|| play(member, &members.name, double, &over));
        let outcome = commit(TAGS[1]).and_then(|commit| {
            first_window(members, &servers.prometheus)?;
            second_version(members, &commit)
        });
        over.store(true, Ordering::Relaxed);
        let played = controller.join().expect("the controller does not panic");
        outcome.and(played)
    })?;
    let mut wanted = vec![None];
    wanted.extend([10, 20, 30, 40, 50].map(Some));
    wanted.push(None);
    ensure!(shares == wanted, "the route's shares: {shares:?}");
    let after = route("stays")?;
    ensure!(
        after["spec"] == before["spec"],
        "not what the chart says: {}",
        after["spec"]
    );
    ensure!(
        double.calls("/acceptance").len() == 1,
        "one acceptance test"
    );
    ensure!(!double.calls("/load").is_empty(), "no load was made");
    promoted(members, prod)?;
    // Whoever holds the record alone takes it away.
    let gone = ["delete", "repository", members.name.as_str(), "-y"];
    members.cli.run(&gone).map(|_| ())
}

/// Nothing is counted yet in the window of the first weight: that fails the check, as with Flagger, and the
/// requests of the canary are counted from then on.
fn first_window(members: &Members, prometheus: &Prometheus) -> Result<()> {
    let prod = members.names()[0];
    let mut told = Vec::new();
    until(LIMIT, "a check of the first weight to fail", || {
        let run = members.run(&members.name)?;
        told = members.events_of(&run)?;
        let is_told = told.iter().any(|one| one["reason"] == "CheckFailed");
        Ok((run.revision == 2 && is_told).then_some(()))
    })
    .with_context(|| format!("{told:#?}"))?;
    let canary = members.wait_object(prod, "Service", &format!("{NAME}-canary"))?;
    let node = canary["spec"]["clusterIP"].as_str().context("an address")?;
    let labels = format!("route=\"{}_{NAME}_app\",node=\"{node}\"", members.name);
    prometheus.raise(
        &format!("apisix_http_status{{{labels},code=\"200\"}}"),
        20.0,
    );
    for bound in ["100", "+Inf"] {
        let bucket = format!("{labels},type=\"request\",le=\"{bound}\"");
        prometheus.raise(&format!("apisix_http_latency_bucket{{{bucket}}}"), 20.0);
    }
    Ok(())
}

/// New revision, the first weight and its empty window, the other weights, the promotion: as Flagger tells it.
fn told_in_order(members: &Members, run: &RunView) -> Result<()> {
    let rest = [20, 30, 40, 50].map(|weight| format!("{weight} %"));
    let mut expected = vec![
        ("ClusterGranted", members.names()[0]),
        ("Started", ""),
        ("WeightInForce", "10 %"),
        ("CheckFailed", "request-success-rate is no data"),
    ];
    expected.extend(rest.iter().map(|rest| ("WeightInForce", rest.as_str())));
    expected.extend([("Promoting", ""), ("Succeeded", "")]);
    are_told_in_order(&members.events_of(run)?, &expected)
}

/// Waits until a commit is promoted: the environment without canaries first, then by its Canary.
fn second_version(members: &Members, commit: &str) -> Result<()> {
    let (dev, prod) = (members.names()[1], members.names()[0]);
    let run = ended(members, 2)?;
    ensure!(run.by == format!("repository:{}", members.name), "{run:?}");
    ensure!(
        cluster_view(&run, dev)?.tracks.is_empty(),
        "a plain release: {run:?}"
    );
    ensure!(
        cluster_view(&run, prod)?.tracks.len() == 1,
        "its Canary: {run:?}"
    );
    told_in_order(members, &run)?;
    let arguments = ["get", "repository", members.name.as_str()];
    let shown = members.cli.json(&arguments)?;
    ensure!(shown["status"]["revision"] == commit, "{shown}");
    runs_second_version(members, dev)
}

/// Waits until the run of a revision has succeeded.
fn ended(members: &Members, revision: u64) -> Result<RunView> {
    let name = members.name.as_str();
    let ended = members.wait_ended(name, revision, RunPhase::Succeeded, LIMIT);
    ended.with_context(|| {
        let told = ["repository", "application"].map(|kind| members.cli.json(&["get", kind, name]));
        format!("{told:?}")
    })
}

fn runs_second_version(members: &Members, cluster: &str) -> Result<()> {
    let live = members.read(cluster, "Deployment", "app")?.context("app")?;
    let image = &live["spec"]["template"]["spec"]["containers"][0]["image"];
    let expected = format!("bellwether.local/demo:{}", TAGS[1]);
    ensure!(*image == expected, "{cluster}: {live}");
    Ok(())
}

fn promoted(members: &Members, cluster: &str) -> Result<()> {
    runs_second_version(members, cluster)?;
    let service = members.read(cluster, "Service", NAME)?.context(NAME)?;
    ensure!(
        service["spec"]["selector"] == json!({"app": "app"}),
        "{service}"
    );
    for (kind, name) in [
        ("Deployment", "app-canary"),
        ("Service", "stable-app-canary"),
        ("Deployment", "app-primary"),
        ("Service", "stable-app-primary"),
    ] {
        let left = members.read(cluster, kind, name)?;
        ensure!(left.is_none(), "{kind} {name} is there: {left:?}");
    }
    Ok(())
}

/// Says of each generation of the route that it is in force, as the controller of APISIX does, until it
/// is over; returns which shares the canary had one after the other, `None` = the route did not name it.
fn play(
    member: &Member,
    namespace: &str,
    double: &HookDouble,
    over: &AtomicBool,
) -> Result<Vec<Option<u64>>> {
    let mut shares = Vec::new();
    loop {
        // What was written before the end is looked at once more.
        let last = over.load(Ordering::Relaxed);
        if let Some(route) = member.get(API_VERSION, "ApisixRoute", namespace, NAME)? {
            let generation = &route["metadata"]["generation"];
            let told = route.pointer("/status/conditions/0/observedGeneration");
            if told != Some(generation) {
                let share = share(&route)?;
                ensure!(
                    share.is_none() || double.calls("/acceptance").len() == 1,
                    "{share:?} % before the acceptance test"
                );
                if shares.last() != Some(&share) {
                    shares.push(share);
                }
                let status = json!({"status": {"conditions": [{
                    "type": "ResourcesAvailable", "status": "True",
                    "reason": "ResourcesSynced", "message": "Sync Successfully",
                    "observedGeneration": generation,
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }]}});
                member.patch_status(API_VERSION, "ApisixRoute", namespace, NAME, &status)?;
            }
        }
        if last {
            return Ok(shares);
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The canary's share of its route in percent.
fn share(route: &Value) -> Result<Option<u64>> {
    let backends = route.pointer("/spec/http/0/backends");
    let backends = backends.and_then(Value::as_array).context("backends")?;
    let weight = |backend: &Value| backend["weight"].as_u64().unwrap_or(100);
    let all: u64 = backends.iter().map(weight).sum();
    let mut canary = backends
        .iter()
        .filter(|backend| backend["serviceName"] == format!("{NAME}-canary"));
    Ok(canary.next().map(|backend| weight(backend) * 100 / all))
}
