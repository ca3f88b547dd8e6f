//! Hooks that post a command to a tester: the lab's runs it, and its end is the answer.

use anyhow::{Context as _, Result, ensure};
use bellwether_api::{status::FailureReason, view::RunPhase};
use bellwether_integration_tests::{fixture::cluster_view, manifests::Shop, tester::Tester};
use serde_json::json;

use crate::{
    Case,
    hooks::{hooks, told},
    scene::Scene,
};

pub const CASES: &[Case] = &[(
    "hooks_go_by_the_end_of_commands_that_a_tester_runs",
    "commands",
    commands,
)];

/// The same command passes while v1 answers users, and fails once v2 does.
fn commands(scene: &Scene) -> Result<()> {
    let tester = Tester::start(&scene.lab)?;
    let answers = format!(
        "curl -fsS --max-time 3 -H 'Host: {}' {}/",
        scene.shop().host(),
        scene.lab.cluster("c1")?.gateway_url
    );
    let bash = |cmd: String| json!({"type": "bash", "cmd": cmd});
    let shop = Shop {
        strategy: "{canary: {weights: [50]}}".into(),
        analysis: "{interval: 1s, failureThreshold: 2}".into(),
        extra_rollout: hooks(&[
            json!({"type": "PreRollout", "name": "acceptance", "url": tester.url, "timeout": "5s",
                "metadata": bash(format!("{answers} | grep '\"v1\"'"))}),
            json!({"name": "smoke", "url": tester.url, "timeout": "5s",
                "metadata": bash(format!("{answers} | grep '\"version\"'"))}),
        ]),
        ..scene.small_shop()
    };
    scene.install(&shop)?;
    scene.cli.apply(&shop.version("v2").documents())?;
    scene.ended(2, RunPhase::Succeeded)?;
    told(scene, "hook acceptance passed")?;
    told(scene, "hook smoke passed")?;

    scene.cli.apply(&shop.version("v1").documents())?;
    let view = scene.ended(3, RunPhase::Failed)?;
    let tracks = &cluster_view(&view, "c1")?.tracks;
    let track = tracks.first().context("a track")?;
    ensure!(
        (track.failure, track.failed_checks) == (Some(FailureReason::FailedChecks), 2),
        "{track:?}"
    );
    told(scene, "hook acceptance: it answered 500")?;
    scene.assert_restored(&scene.member(0)?, &shop.version("v2"))
}
