//! One real cluster whose gateway follows its routes only every two seconds, Traefik's default.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, Result, ensure};
use bellwether_api::view::RunPhase;
use bellwether_integration_tests::{
    agent_process::AgentProcess,
    cluster::Member,
    manifests::{METRICS, Shop},
    suite::Case,
    traffic::tally,
    wait::until,
    weights::{RunWatch, spans_in_force, weights_in_order},
};

use jiff::Timestamp;

use crate::{providers, scene::Scene};

/// They register the real cluster, or try to, in their own way.
pub const INSTALLATION: &[Case<Scene>] = &[
    (
        "agent_image_that_is_missing_is_named_with_the_way_out",
        "image",
        missing_image,
    ),
    (
        "agent_with_a_wrong_ca_or_token_says_so_with_the_way_out",
        "wrongjoin",
        wrong_join,
    ),
];

pub const UNDER_TRAFFIC: &[Case<Scene>] = &[(
    "good_canary_behind_a_gateway_with_its_default_throttle",
    "throttle",
    default_throttle,
)];

fn missing_image(scene: &Scene) -> Result<()> {
    let cluster = scene.lab.cluster("c1")?;
    let kubeconfig = cluster.kubeconfig.to_string_lossy();
    Member::connect(&cluster.kubeconfig)?.create_namespace(&scene.name)?;
    let answer = scene.cli.call(
        &[
            "register",
            "cluster",
            "c1",
            "--kubeconfig",
            &kubeconfig,
            "--namespaces",
            &scene.name,
            "--agent-image",
            "bellwether.local/agent:nobody-made-it",
            "--image-pull-policy",
            "Never",
        ],
        None,
    )?;
    ensure!(answer.code == 1, "{answer:?}");
    let sentence = answer.stderr.trim_end();
    ensure!(
        sentence.lines().count() == 1
            && sentence.contains("bellwether.local/agent:nobody-made-it is missing in the cluster")
            && sentence.contains("ErrImageNeverPull")
            && sentence.contains("--agent-image"),
        "{answer:?}"
    );
    Ok(())
}

fn wrong_join(scene: &Scene) -> Result<()> {
    let cluster = scene.lab.cluster("c1")?;
    let folder = scene.directory.join("wrong-join");
    let runtime = tokio::runtime::Runtime::new()?;
    let mut agent = runtime.block_on(AgentProcess::prepare(
        &scene.cli,
        cluster,
        "",
        &["default"],
        &folder,
    ))?;
    let token = folder.join("wrong-token");
    std::fs::write(&token, "a token of nobody")?;
    let right = agent.set("--hub-ca-hash", &"ab".repeat(32))?;
    says(&mut agent, "CA")?;
    agent.set("--hub-ca-hash", &right)?;
    agent.set("--token-file", &token.to_string_lossy())?;
    says(&mut agent, "join token")
}

/// Starts the agent and waits until it logs one line that says what is wrong and the way out.
fn says(agent: &mut AgentProcess, what: &str) -> Result<()> {
    agent.start()?;
    let line = until(Duration::from_secs(30), "the agent to say why", || {
        let text = agent.logged()?;
        let line = text
            .lines()
            .find(|line| line.contains(what) && line.contains("register"));
        Ok(line.map(str::to_owned))
    })
    .with_context(|| agent.logged().unwrap_or_default())?;
    println!("{line}");
    agent.stop()
}

/// The gateway reports a route as programmed up to two seconds before it uses it. A weight is only
/// judged when it counts as in force, and no pod goes that the gateway may still know.
fn default_throttle(scene: &Scene) -> Result<()> {
    let member = providers::registered(scene)?;
    let shop = Shop {
        waves: String::new(),
        // Long enough at each weight for the shares to be counted.
        analysis: METRICS.replace("interval: 2s", "interval: 6s"),
        ..scene.shop()
    };
    scene.install(&shop)?;
    let traffic = scene.traffic(&["c1"])?;
    scene.cli.apply(&shop.version("v2").documents())?;
    let watch = RunWatch::start(&scene.cli, "default", &scene.name)?;
    scene.ended(2, RunPhase::Succeeded)?;
    // The gateway may use what it knew for two seconds more.
    std::thread::sleep(Duration::from_secs(4));
    let seconds = traffic.stop()?;
    let looks = watch.stop();
    let all = tally(&seconds, None, 0, i64::MAX);
    let failed = seconds
        .iter()
        .filter(|second| !(200..300).contains(&second.status));
    let failed_at: BTreeSet<Timestamp> = failed
        .filter_map(|second| Timestamp::from_millisecond(second.t).ok())
        .collect();
    ensure!(
        all.total > 5_000 && all.failed == 0,
        "requests failed: {all:?}, in the seconds {failed_at:?}"
    );
    let weights = weights_in_order(&looks, "c1");
    ensure!(weights == [20, 40, 60], "weights: {weights:?}");
    for weight in [20, 40, 60] {
        let (mut requests, mut of_v2) = (0, 0);
        for span in spans_in_force(&looks, "c1") {
            if span.weight == weight {
                let counts = tally(&seconds, Some("c1"), span.from_ms, span.to_ms);
                requests += counts.total;
                of_v2 += counts.by_version.get("v2").copied().unwrap_or_default();
            }
        }
        ensure!(
            requests >= 1_000,
            "only {requests} requests were counted at weight {weight}"
        );
        let (wanted, got) = (u64::from(weight) * requests, of_v2 * 100);
        ensure!(
            wanted.abs_diff(got) <= 5 * requests,
            "{of_v2} of {requests} requests reached v2 at weight {weight}"
        );
    }
    scene.assert_restored(&member, &shop.version("v2"))
}
