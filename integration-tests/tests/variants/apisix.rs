//! A chart that was written for Flagger and APISIX, whose route's weights are read from an API server.
//! The cluster has the definition and no controller: the test plays it.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use bellwether_api::view::RunPhase;
use bellwether_integration_tests::{
    chart_repository::ChartRepository, cluster::Member, hook_double::HookDouble, suite::Case,
};
use serde_json::{Value, json};

use crate::stage::{LIMIT, Members};

pub const TOGETHER: &[Case<Members>] = &[(
    "sc_f1_chart_for_apisix_moves_the_weights_of_its_route_and_leaves_it_as_written",
    "apisix",
    chart_for_apisix,
)];

const API_VERSION: &str = "apisix.apache.org/v2";
/// The name of route and Service.
const NAME: &str = "stable-app";

/// The application: whatever version of the chart is newest, looked for every ten seconds.
fn documents(members: &Members, url: &str, double: &HookDouble) -> String {
    let values = json!({
        "apisixRoute": {"enabled": true, "host": "app.example"},
        "canary": {
            "enabled": true,
            "provider": "apisix",
            "analysis": {"interval": "2s", "threshold": 10, "maxWeight": 50, "stepWeight": 10},
            // Nothing measures requests where there are none.
            "metrics": false,
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
            "destination": {"clusters": [members.names()[0]]},
            "targetNamespace": members.name,
            "sync": {"interval": "10s"},
            "components": [{"name": "app", "helm": {
                "repository": url, "chart": "app", "version": "~0.1", "releaseName": "stable",
                "values": values,
            }}],
        },
    });
    application.to_string()
}

fn chart_for_apisix(members: &Members) -> Result<()> {
    let double = HookDouble::start("127.0.0.1")?;
    let mut repository = ChartRepository::start()?;
    repository.publish("app", "0.1.1", &[])?;
    let cluster = members.names()[0];
    let member = members.cluster(cluster)?;
    members
        .cli
        .apply(&documents(members, &repository.url(), &double))?;
    members.wait_ended(&members.name, 1, RunPhase::Succeeded, LIMIT)?;
    let route = |what: &str| {
        let found = member.get(API_VERSION, "ApisixRoute", &members.name, NAME)?;
        found.with_context(|| format!("the ApisixRoute {what}"))
    };
    let before = route("of the chart")?;

    let over = AtomicBool::new(false);
    let shares = std::thread::scope(|scope| {
        let controller = scope.spawn(|| play(member, &members.name, &over));
        let outcome = second_version(members, &mut repository);
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
        after["spec"].to_string() == before["spec"].to_string(),
        "not what the chart says: {}",
        after["spec"]
    );
    ensure!(
        double.calls("/acceptance").len() == 1,
        "one acceptance test"
    );
    ensure!(!double.calls("/load").is_empty(), "no load was made");
    promoted(members, cluster)
}

/// Publishes the next version and waits until it is promoted.
fn second_version(members: &Members, repository: &mut ChartRepository) -> Result<()> {
    let values = include_str!("../../charts/app/values.yaml").replace("tag: v1", "tag: v2");
    repository.publish("app", "0.1.2", &[("values.yaml", &values)])?;
    members.wait_run(&members.name, 2, LIMIT, "the new tag to be seen", |_| true)?;
    members.wait_ended(&members.name, 2, RunPhase::Succeeded, LIMIT)?;
    Ok(())
}

fn promoted(members: &Members, cluster: &str) -> Result<()> {
    let live = members.read(cluster, "Deployment", "app")?.context("app")?;
    let image = &live["spec"]["template"]["spec"]["containers"][0]["image"];
    ensure!(image == "bellwether.local/demo:v2", "{live}");
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
fn play(member: &Member, namespace: &str, over: &AtomicBool) -> Result<Vec<Option<u64>>> {
    let mut shares = Vec::new();
    loop {
        // What was written before the end is looked at once more.
        let last = over.load(Ordering::Relaxed);
        if let Some(route) = member.get(API_VERSION, "ApisixRoute", namespace, NAME)? {
            let generation = &route["metadata"]["generation"];
            let told = route.pointer("/status/conditions/0/observedGeneration");
            if told != Some(generation) {
                let share = share(&route)?;
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
