//! Traffic providers beside the Gateway API, under measured traffic on the real cluster.

use std::time::Duration;

use anyhow::{Result, ensure};
use bellwether_api::{status::Phase, view::RunPhase};
use bellwether_integration_tests::{
    cluster::Member,
    fixture::cluster_view,
    manifests::{FLEET, Shop},
    request::answering_version,
    suite::Case,
    traffic::{Second, Traffic, full_rate, tally},
    wait::until,
    weights::now_ms,
};
use serde_json::{Value, json};

use crate::{
    contour, contour_gateway, created, helm_canary, ladder, mirrored,
    scene::{RUN_LIMIT, Scene},
};

pub const CASES: &[Case<Scene>] = &[
    (
        "provider_traefik_splits_routes_and_services_and_loses_no_request",
        "traefik",
        traefik,
    ),
    (
        "provider_nginx_splits_by_weight_header_and_cookie_and_loses_no_request",
        "nginx",
        nginx,
    ),
    (
        "provider_none_shares_traffic_by_pods_and_loses_no_request",
        "bypods",
        by_pods,
    ),
];

/// Alone: it takes every connection of the entry point that the others' requests come by.
pub const ALONE: &[Case<Scene>] = &[(
    "provider_traefik_splits_tcp_connections_by_weight",
    "tcp",
    connections,
)];

/// Requests a second to the only host of a test.
pub const RATE: u32 = full_rate(1);
/// Requests a second to each of two hosts, of connections of one kind, or through the stand-in for nginx, whose
/// every change starts its workers anew.
pub const EACH_RATE: u32 = 220;
/// Requests that are counted at least to measure a share.
const COUNTED: u64 = 1_000;
/// Percentage points by which a share of so many may differ from the weight.
const TOLERANCE: u64 = 5;

/// How many requests are counted: some data planes draw the version of each, and of so many a share is within
/// the tolerance of its weight by four standard deviations.
fn counted_at(weight: u8) -> u64 {
    let weight = u64::from(weight);
    let variance = weight * 100_u64.saturating_sub(weight);
    COUNTED.max(16 * variance / (TOLERANCE * TOLERANCE))
}

/// The stand-in for the NGINX ingress controller has not the histogram that request-duration reads.
const SUCCESS_RATE: &str = "{interval: 2s, failureThreshold: 2, metrics: [\
    {name: request-success-rate, range: {min: \"99\"}, window: 10s, minRequests: 20}]}";

/// What the agent may manage: the kinds that the tests of this cluster write.
const KINDS: &str =
    "Deployment,Service,HTTPRoute,HTTPProxy,Ingress,IngressRoute,IngressRouteTCP,TraefikService";

/// Registers the real cluster for every test under traffic, unless one of them has.
pub fn registered(scene: &Scene) -> Result<Member> {
    let cluster = scene.lab.cluster("c1")?;
    let member = Member::connect(&cluster.kubeconfig)?;
    let shown = scene.cli.json(&["get", "cluster", "c1"]);
    if shown.is_ok_and(|shown| shown["status"]["condition"] == "Ready") {
        return Ok(member);
    }
    let namespaces: Vec<&str> = [CASES, ALONE]
        .into_iter()
        .flatten()
        .map(|case| case.1)
        .chain([
            "throttle",
            contour::NAMESPACE,
            contour_gateway::USERS,
            contour_gateway::COPIES,
            created::NAMESPACE,
            helm_canary::NAMESPACE,
            ladder::NAMESPACE,
        ])
        .collect();
    for namespace in &namespaces {
        member.create_namespace(namespace)?;
    }
    scene.register_with(cluster, "canary", &namespaces, &["--kinds", KINDS])?;
    scene.cli.apply(FLEET)?;
    Ok(member)
}

/// Five pods on the real cluster, without waves.
pub fn shop(scene: &Scene) -> Shop {
    Shop {
        destination: "{clusters: [c1]}".into(),
        waves: String::new(),
        // The gateway waits up to 2 s between reloads, and has to hear of a pod that goes before it is gone.
        pre_stop_seconds: 5,
        ..scene.shop()
    }
}

/// Waits until the canary waits for a human at `weight`.
pub fn waits_at(scene: &Scene, weight: u8) -> Result<()> {
    let what = format!("c1 to wait at {weight} %");
    scene.wait_run(&scene.name, 2, RUN_LIMIT, &what, |view| {
        cluster_view(view, "c1").is_ok_and(|cluster| {
            cluster.tracks.iter().any(|track| {
                track.observed_weight.percent() == weight
                    && matches!(track.phase, Phase::Paused | Phase::WaitingPromotion)
            })
        })
    })?;
    Ok(())
}

/// Counts from now on, and fails unless v2 answers `weight` percent.
pub fn has_share(traffic: &Traffic, weight: u8) -> Result<()> {
    has_share_of(traffic, weight, |_| true)
}

/// Counts those that `counts` from now on, and fails unless v2 answers `weight` percent of them.
fn has_share_of(traffic: &Traffic, weight: u8, counts: fn(&Second) -> bool) -> Result<()> {
    let from_ms = now_ms();
    let counted = until(Duration::from_secs(60), "enough requests", || {
        let mut seconds = traffic.so_far()?;
        seconds.retain(counts);
        let counted = tally(&seconds, Some("c1"), from_ms, now_ms());
        Ok((counted.total >= counted_at(weight)).then_some(counted))
    })?;
    let of_v2 = counted.by_version.get("v2").copied().unwrap_or_default();
    let (wanted, got) = (u64::from(weight) * counted.total, of_v2 * 100);
    println!(
        "{of_v2} of {} requests reached v2 at {weight} %",
        counted.total
    );
    ensure!(
        wanted.abs_diff(got) <= TOLERANCE * counted.total,
        "{of_v2} of {} requests reached v2 at weight {weight}",
        counted.total
    );
    Ok(())
}

/// Stops the traffic once the gateway knows the end, and fails if any request was lost.
pub fn none_lost(traffic: Traffic) -> Result<()> {
    let all = tally(&traffic.stop()?, None, 0, i64::MAX);
    println!(
        "{} requests, {} failed, {} sent again",
        all.total, all.failed, all.resent
    );
    ensure!(
        all.total > 5_000 && all.failed == 0,
        "requests failed: {all:?}"
    );
    Ok(())
}

/// Tells whether requests were lost because the connection that was kept for them ended.
fn is_cut(second: &Second) -> bool {
    let ended = [
        "EOF",
        "closed idle connection",
        "reset by peer",
        "broken pipe",
    ];
    second.mode == "keepalive"
        && second.status == 0
        && ended.iter().any(|words| second.error.contains(words))
}

/// Asks ten times: each answer is of `version`.
pub fn all_answer(url: &str, shop: &Shop, header: (&str, &str), version: &str) -> Result<()> {
    for _ in 0..10 {
        let answered = answering_version(url, &shop.host(), &[header])?;
        ensure!(
            answered == version,
            "{header:?} was answered by {answered}, not {version}"
        );
    }
    Ok(())
}

fn traefik(scene: &Scene) -> Result<()> {
    let member = registered(scene)?;
    let base = shop(scene);
    let second_host = format!("weighted.{}", base.host());
    let route = |name: &str, host: &str, service: Value| {
        json!({
            "apiVersion": "traefik.io/v1alpha1", "kind": "IngressRoute",
            "metadata": {"name": name, "namespace": scene.name},
            "spec": {"entryPoints": ["web"], "routes": [
                {"kind": "Rule", "match": format!("Host(`{host}`)"), "services": [service]},
            ]},
        })
    };
    let service = json!({"name": "web", "port": 80});
    let shop = Shop {
        traffic: "[{traefik: {ingressRoute: web}}, {traefik: {service: weighted}}]".into(),
        routes: vec![
            route("web", &base.host(), service.clone()),
            json!({
                "apiVersion": "traefik.io/v1alpha1", "kind": "TraefikService",
                "metadata": {"name": "weighted", "namespace": scene.name},
                "spec": {"weighted": {"services": [service]}},
            }),
            route(
                "second",
                &second_host,
                json!({"kind": "TraefikService", "name": "weighted"}),
            ),
        ],
        strategy: "{canary: {steps: [{weight: 30}, {weight: 60, mirror: 50}]}}".into(),
        ..base
    };
    scene.install(&shop)?;
    let start = |host: &str, name: &str| {
        let file = scene.directory.join(format!("traffic-{name}.jsonl"));
        Traffic::start(&scene.lab, &["c1"], host, EACH_RATE, &file)
    };
    let first = start(&shop.host(), "traefik-route")?;
    let second = start(&second_host, "traefik-service")?;
    scene.cli.apply(&shop.version("v2").documents())?;
    for (weight, mirrors) in [(30, 0), (60, 2)] {
        waits_at(scene, weight)?;
        has_share(&first, weight)?;
        has_share(&second, weight)?;
        let services = member.list("traefik.io/v1alpha1", "TraefikService", &scene.name)?;
        ensure!(
            services.len() == 1 + mirrors,
            "at {weight} % there are {services:?}"
        );
        scene.cli.run(&["rollout", "approve", &scene.name])?;
    }
    scene.ended(2, RunPhase::Succeeded)?;
    let shop = mirrored::blue_green(scene, &member, &shop, &[&first, &second])?;
    // The gateway may use what it knew for two seconds more.
    std::thread::sleep(Duration::from_secs(4));
    none_lost(first)?;
    none_lost(second)?;
    let services = member.list("traefik.io/v1alpha1", "TraefikService", &scene.name)?;
    ensure!(services.len() == 1, "mirrors are left: {services:?}");
    scene.assert_restored(&member, &shop)
}

fn nginx(scene: &Scene) -> Result<()> {
    let member = registered(scene)?;
    let base = shop(scene);
    let shop = Shop {
        traffic: "[{nginx: {ingress: web}}]".into(),
        routes: vec![json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": {"name": "web", "namespace": scene.name},
            "spec": {"ingressClassName": "nginx", "rules": [{"host": base.host(), "http": {"paths": [
                {"path": "/", "pathType": "Prefix",
                 "backend": {"service": {"name": "web", "port": {"number": 80}}}},
            ]}}]},
        })],
        strategy: "{canary: {steps: [\
            {weight: 30, match: [{headers: [{name: x-user, exact: insider}]}]}, \
            {weight: 60, match: [{cookies: [{name: type, exact: insider}]}]}]}}"
            .into(),
        analysis: SUCCESS_RATE.into(),
        ..base
    };
    scene.install(&shop)?;
    let url = scene.lab.cluster("c1")?.nginx_url.clone();
    let file = scene.directory.join("traffic-nginx.jsonl");
    let traffic =
        Traffic::start_through("nginx", &scene.lab, &["c1"], &shop.host(), EACH_RATE, &file)?;
    scene.cli.apply(&shop.version("v2").documents())?;
    for (weight, header) in [
        (30, ("X-User", "insider")),
        (60, ("Cookie", "a=1; type=insider")),
    ] {
        waits_at(scene, weight)?;
        all_answer(&url, &shop, header, "v2")?;
        has_share(&traffic, weight)?;
        scene.cli.run(&["rollout", "approve", &scene.name])?;
    }
    scene.ended(2, RunPhase::Succeeded)?;
    std::thread::sleep(Duration::from_secs(1));
    none_lost(traffic)?;
    let left = member.get("networking.k8s.io/v1", "Ingress", &scene.name, "web-canary")?;
    ensure!(left.is_none(), "the canary Ingress is left: {left:?}");
    scene.assert_restored(&member, &shop.version("v2"))
}

/// An HTTPRoute leads to the Service and is no business of the run.
fn by_pods(scene: &Scene) -> Result<()> {
    let member = registered(scene)?;
    let shop = Shop {
        traffic: "[{none: {}}]".into(),
        extra_rollout: "  instances: {mode: FixedTotal}\n".into(),
        strategy: "{canary: {steps: [{weight: 40}, {weight: 80}, {weight: 100}]}}".into(),
        analysis: "{interval: 1s}".into(),
        ..shop(scene)
    };
    scene.install(&shop)?;
    let file = scene.directory.join("traffic-bypods.jsonl");
    let traffic = Traffic::start(&scene.lab, &["c1"], &shop.host(), RATE, &file)?;
    scene.cli.apply(&shop.version("v2").documents())?;
    for weight in [40, 80, 100] {
        waits_at(scene, weight)?;
        has_share(&traffic, weight)?;
        let service = scene.object(&member, "Service", "web")?;
        let selector = service.map(|service| service["spec"]["selector"].clone());
        ensure!(
            selector == Some(json!({"app": "web"})),
            "the Service is as written: {selector:?}"
        );
        scene.cli.run(&["rollout", "approve", &scene.name])?;
    }
    scene.ended(2, RunPhase::Succeeded)?;
    std::thread::sleep(Duration::from_secs(4));
    none_lost(traffic)?;
    scene.assert_restored(&member, &shop.version("v2"))
}

/// A connection stays with its version, so that those of one request each are counted for the shares. One
/// that is kept ends with its pod, with what is on its way on it: nothing else may be lost there.
fn connections(scene: &Scene) -> Result<()> {
    let member = registered(scene)?;
    let shop = Shop {
        traffic: "[{traefik: {ingressRouteTcp: web}}]".into(),
        routes: vec![json!({
            "apiVersion": "traefik.io/v1alpha1", "kind": "IngressRouteTCP",
            "metadata": {"name": "web", "namespace": scene.name},
            "spec": {"entryPoints": ["web"], "routes": [
                {"match": "HostSNI(`*`)", "services": [{"name": "web", "port": 80}]},
            ]},
        })],
        strategy: "{canary: {steps: [{weight: 30}, {weight: 60}]}}".into(),
        analysis: "{interval: 1s}".into(),
        ..shop(scene)
    };
    let single = |second: &Second| second.mode == "close";
    scene.install(&shop)?;
    let file = scene.directory.join("traffic-tcp.jsonl");
    let traffic = Traffic::start(&scene.lab, &["c1"], &shop.host(), 2 * EACH_RATE, &file)?;
    scene.cli.apply(&shop.version("v2").documents())?;
    for weight in [30, 60] {
        waits_at(scene, weight)?;
        has_share_of(&traffic, weight, single)?;
        scene.cli.run(&["rollout", "approve", &scene.name])?;
    }
    scene.ended(2, RunPhase::Succeeded)?;
    std::thread::sleep(Duration::from_secs(4));
    let ended_ms = now_ms();
    let seconds = traffic.stop()?;
    let (seconds, kept): (Vec<Second>, Vec<Second>) = seconds.into_iter().partition(single);
    kept_connections(&kept, ended_ms)?;
    let all = tally(&seconds, None, 0, i64::MAX);
    println!("{} connections, {} failed", all.total, all.failed);
    ensure!(
        all.total > 5_000 && all.failed == 0,
        "connections failed: {all:?}"
    );
    scene.assert_restored(&member, &shop.version("v2"))
}

/// Kept connections serve all the time, each for as long as its pod, and the new version in the end.
fn kept_connections(kept: &[Second], ended_ms: i64) -> Result<()> {
    let all = tally(kept, None, 0, i64::MAX);
    let answered: Vec<Second> = kept.iter().filter(|one| !is_cut(one)).cloned().collect();
    let other: Vec<&Second> = answered
        .iter()
        .filter(|second| !(200..300).contains(&second.status))
        .collect();
    println!(
        "{} requests on kept connections, {} lost with their pod",
        all.total, all.failed
    );
    ensure!(
        other.is_empty() && all.total > 5_000 && all.failed * 100 <= all.total,
        "lost by more than the end of their pod: {other:?} of {all:?}"
    );
    let last = tally(&answered, None, ended_ms - 2_000, i64::MAX);
    ensure!(
        last.total > 0 && last.by_version.keys().eq(["v2"]),
        "in the end: {last:?}"
    );
    Ok(())
}
