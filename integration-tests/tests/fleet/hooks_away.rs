//! Hooks that do not answer as they should.

use std::net::TcpListener;

use anyhow::{Result, ensure};
use bellwether_api::{status::FailureReason, view::RunPhase};
use bellwether_integration_tests::{
    hook_double::{ELSEWHERE, HookDouble},
    manifests::Shop,
    wait::until,
};
use serde_json::json;

use crate::{
    Case,
    hooks::{failure, hooks, told},
    scene::{RUN_LIMIT, Scene},
};

/// It is judged by requests that were lost.
pub const UNDER_TRAFFIC: &[Case] = &[(
    "hooks_that_redirect_and_hang_take_the_run_back_by_name",
    "hookaway",
    redirecting_and_hanging,
)];

/// Neither one's failure hides the other's, and the redirect is not followed.
fn redirecting_and_hanging(scene: &Scene) -> Result<()> {
    let double = HookDouble::start(&scene.lab.bridge_address)?;
    double.answers("/moved", 302);
    // Connections are taken by the kernel, and nobody reads from them.
    let silent = TcpListener::bind((scene.lab.bridge_address.as_str(), 0))?;
    let shop = Shop {
        strategy: "{canary: {weights: [50]}}".into(),
        pre_stop_seconds: 3,
        analysis: "{interval: 1s, failureThreshold: 3}".into(),
        extra_rollout: hooks(&[
            json!({"name": "moved", "url": double.url("/moved"), "timeout": "2s"}),
            json!({"name": "silent", "url": format!("http://{}/", silent.local_addr()?), "timeout": "2s"}),
        ]),
        ..scene.small_shop()
    };
    scene.install(&shop)?;
    let traffic = scene.traffic(&["c1"])?;
    scene.cli.apply(&shop.version("v2").documents())?;
    let said = [
        "hook moved: it answered 302, and redirects are not followed",
        "hook silent: it did not answer in 2s",
    ];
    let rollout = format!("rollout/{}", scene.name);
    until(RUN_LIMIT, "`why` to name both hooks", || {
        let why = scene.cli.run(&["why", &rollout])?;
        Ok(said.iter().all(|one| why.contains(one)).then_some(()))
    })?;
    let view = scene.ended(2, RunPhase::Failed)?;
    ensure!(
        failure(&view)? == (Some(FailureReason::FailedChecks), 3),
        "{view:?}"
    );
    for one in said {
        told(scene, one)?;
    }
    ensure!(
        double.calls(ELSEWHERE).is_empty(),
        "the redirect was followed"
    );
    ensure!(scene.weights_told(&view, "c1")?.contains(&50), "{view:?}");
    traffic.none_lost("v1")?;
    scene.assert_restored(&scene.member(0)?, &shop)
}
