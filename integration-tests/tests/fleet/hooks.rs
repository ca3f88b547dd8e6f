//! Hooks: what they are told, and what their answers do to a run.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bellwether_api::{
    status::{FailureReason, Phase},
    view::{RunPhase, RunView},
};
use bellwether_integration_tests::{
    fixture::{AGENT_IMAGE, cluster_view},
    hook_double::HookDouble,
    manifests::Shop,
    traffic::tally,
    wait::until,
    weights::{RunWatch, weights_in_order},
};
use serde_json::{Value, json};

use crate::{
    Case,
    scene::{RUN_LIMIT, Scene},
};

/// One by one: each is judged by requests that were lost.
pub const UNDER_TRAFFIC: &[Case] = &[
    (
        "sc_f3_failing_acceptance_test_gives_no_traffic",
        "acceptance",
        failing_acceptance,
    ),
    (
        "sc_a2_hook_failing_from_weight_40_takes_the_run_back",
        "hookfails",
        failing_from_40,
    ),
];

pub const CASES: &[Case] = &[
    (
        "sc_a3_gates_hold_and_a_rollback_hook_takes_back",
        "gates",
        gates,
    ),
    (
        "hooks_without_a_server_approve_test_and_load",
        "serverless",
        serverless,
    ),
];

/// What DingTalk's robots take.
const DINGTALK: &str = r#"{"msgtype":"text","text":{"content":"deploy success"}}"#;

fn double(scene: &Scene) -> Result<HookDouble> {
    HookDouble::start(&scene.lab.bridge_address)
}

/// The field `hooks` of a Rollout.
pub fn hooks(hooks: &[Value]) -> String {
    format!("  hooks: {}\n", json!(hooks))
}

/// Why the run failed in `c1`, and how many checks failed there.
pub fn failure(view: &RunView) -> Result<(Option<FailureReason>, u32)> {
    let track = cluster_view(view, "c1")?
        .tracks
        .first()
        .context("a track")?;
    Ok((track.failure, track.failed_checks))
}

/// Waits until a path was called `count` times.
fn called(double: &HookDouble, path: &str, count: usize) -> Result<()> {
    until(RUN_LIMIT, &format!("{count} calls of {path}"), || {
        Ok((double.calls(path).len() >= count).then_some(()))
    })
}

/// Waits until the hub has an event whose text holds `text`, and counts those.
pub fn told(scene: &Scene, text: &str) -> Result<usize> {
    let rollout = format!("rollout/{}", scene.name);
    until(
        Duration::from_secs(60),
        &format!("an event {text:?}"),
        || {
            let events = scene.cli.run(&["events", &rollout])?;
            let count = events.lines().filter(|line| line.contains(text)).count();
            Ok((count > 0).then_some(count))
        },
    )
}

fn failing_acceptance(scene: &Scene) -> Result<()> {
    let double = double(scene)?;
    double.answers("/acceptance", 500);
    let metadata = json!({"type": "bash", "cmd": "curl -fs http://web-canary/"});
    let shop = Shop {
        analysis: "{interval: 1s, failureThreshold: 3}".into(),
        extra_rollout: hooks(&[json!({
            "type": "PreRollout", "name": "acceptance", "url": double.url("/acceptance"),
            "timeout": "10s", "metadata": metadata,
        })]),
        ..scene.small_shop()
    };
    scene.install(&shop)?;
    ensure!(
        double.calls("/acceptance").is_empty(),
        "a first install has no run"
    );
    let traffic = scene.traffic(&["c1"])?;
    scene.cli.apply(&shop.version("v2").documents())?;
    let watch = RunWatch::start(&scene.cli, "default", &scene.name)?;
    let view = scene.ended(2, RunPhase::Failed)?;
    let seconds = traffic.stop()?;
    let weights = weights_in_order(&watch.stop(), "c1");
    ensure!(weights.is_empty(), "weights: {weights:?}");
    ensure!(
        failure(&view)? == (Some(FailureReason::FailedChecks), 3),
        "{view:?}"
    );
    let all = tally(&seconds, None, 0, i64::MAX);
    ensure!(all.total > 0 && all.failed == 0, "{:?}", all.failures);
    ensure!(!all.by_version.contains_key("v2"), "{:?}", all.by_version);
    let calls = double.calls("/acceptance");
    ensure!(calls.len() == 3, "{} calls", calls.len());
    let mut said = calls[0].json()?;
    let checksum = said["checksum"].take();
    ensure!(
        checksum.as_str().is_some_and(|sum| !sum.is_empty()),
        "{checksum}"
    );
    let expected = json!({
        "name": format!("{}-web", scene.name), "namespace": scene.name, "phase": "Progressing",
        "checksum": null, "metadata": metadata, "cluster": "c1",
        "application": format!("default/{}", scene.name), "revision": 2,
    });
    ensure!(said == expected, "{said}");
    let events = told(scene, "hook acceptance: it answered 500")?;
    ensure!(events >= 3, "the failed checks name the hook");
    scene.assert_restored(&scene.member(0)?, &shop)
}

fn failing_from_40(scene: &Scene) -> Result<()> {
    let double = double(scene)?;
    // One call a weight: the first at 20 %, the second at 40 %.
    double.answers_from("/test", 2, 500);
    let shop = Shop {
        replicas: 4,
        pre_stop_seconds: 3,
        analysis: "{interval: 1s, failureThreshold: 5}".into(),
        extra_rollout: hooks(&[
            json!({"name": "test", "url": double.url("/test"), "timeout": "10s"}),
            json!({"type": "PostRollout", "name": "bad", "when": "Failed", "url": double.url("/bad")}),
            json!({"type": "PostRollout", "name": "good", "when": "Succeeded", "url": double.url("/good")}),
        ]),
        ..scene.small_shop()
    };
    scene.install(&shop)?;
    let traffic = scene.traffic(&["c1"])?;
    scene.cli.apply(&shop.version("v2").documents())?;
    let watch = RunWatch::start(&scene.cli, "default", &scene.name)?;
    let view = scene.ended(2, RunPhase::Failed)?;
    ensure!(
        failure(&view)? == (Some(FailureReason::FailedChecks), 5),
        "{view:?}"
    );
    called(&double, "/bad", 1)?;
    told(scene, "hook bad passed")?;
    let seconds = traffic.stop()?;
    let weights = weights_in_order(&watch.stop(), "c1");
    ensure!(weights == [20, 40], "weights: {weights:?}");
    let all = tally(&seconds, None, 0, i64::MAX);
    ensure!(all.total > 0 && all.failed == 0, "{:?}", all.failures);
    ensure!(
        double.calls("/test").len() == 6,
        "{:?}",
        double.calls("/test")
    );
    let bad = double.calls("/bad");
    ensure!(
        bad.len() == 1 && double.calls("/good").is_empty(),
        "{bad:?}"
    );
    ensure!(bad[0].json()?["phase"] == "Failed", "{bad:?}");
    let member = scene.member(0)?;
    let old = member.pod_uids(&scene.name, "bellwether.local/demo:v1")?;
    ensure!(old.len() == 4, "{} pods", old.len());
    scene.assert_restored(&member, &shop)
}

fn gates(scene: &Scene) -> Result<()> {
    let double = double(scene)?;
    for path in ["/confirm", "/promote", "/rollback"] {
        double.answers(path, 403);
    }
    let hook = |kind: &str, name: &str| json!({"type": kind, "name": name, "url": double.url(&format!("/{name}")), "timeout": "30s"});
    let mut promote = hook("ConfirmPromotion", "promote");
    promote["authSecretRef"] = json!({"name": "tester", "key": "token"});
    promote["hmacSecretRef"] = json!({"name": "tester", "key": "hmac"});
    let mut done = hook("PostRollout", "done");
    done["rawBody"] = true.into();
    done["metadata"] = json!({"data": DINGTALK});
    let shop = Shop {
        strategy: "{canary: {weights: [50]}}".into(),
        extra_rollout: hooks(&[
            hook("ConfirmRollout", "confirm"),
            hook("Rollout", "test"),
            promote,
            hook("Rollback", "rollback"),
            hook("Event", "event"),
            done,
        ]),
        ..scene.small_shop()
    };
    let member = scene.member(0)?;
    member.create(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tester", "namespace": scene.name},
        "stringData": {"token": "s3cret-token", "hmac": "s3cret-key"},
    }))?;
    scene.install(&shop)?;
    scene.cli.apply(&shop.version("v2").documents())?;

    let view = scene.in_phase(2, Phase::Waiting)?;
    called(&double, "/confirm", 3)?;
    let waits = &cluster_view(&view, "c1")?.tracks[0].waiting_on;
    ensure!(
        waits
            .iter()
            .any(|wait| wait.on.as_deref() == Some("hook/confirm")),
        "{waits:?}"
    );
    ensure!(
        scene.object(&member, "Deployment", "web-canary")?.is_none(),
        "there is no canary while the gate is closed"
    );
    double.answers("/confirm", 200);

    scene.in_phase(2, Phase::WaitingPromotion)?;
    called(&double, "/promote", 2)?;
    let checks = double.calls("/test").len();
    called(&double, "/test", checks + 3)?;
    let view = scene.in_phase(2, Phase::WaitingPromotion)?;
    let track = &cluster_view(&view, "c1")?.tracks[0];
    ensure!(
        (track.observed_weight.percent(), track.failed_checks) == (50, 0),
        "{track:?}"
    );
    let asked = &double.calls("/promote")[0];
    let header = |name: &str| asked.headers.get(name).cloned().unwrap_or_default();
    ensure!(
        header("authorization") == "Bearer s3cret-token",
        "{asked:?}"
    );
    ensure!(
        header("bellwether-signature").starts_with("t="),
        "{asked:?}"
    );
    ensure!(asked.json()?["phase"] == "WaitingPromotion", "{asked:?}");
    double.answers("/promote", 200);
    scene.ended(2, RunPhase::Succeeded)?;

    called(&double, "/done", 1)?;
    told(scene, "hook done passed")?;
    let done = double.calls("/done");
    ensure!(done.len() == 1 && done[0].body == DINGTALK, "{done:?}");
    let succeeded = "runs the new version";
    until(RUN_LIMIT, "the event of the end to be told", || {
        let told = double.calls("/event");
        Ok(told
            .iter()
            .any(|call| call.body.contains(succeeded))
            .then_some(()))
    })?;
    for call in double.calls("/event") {
        let told = call.json()?;
        for field in ["name", "namespace", "phase", "message", "type", "timestamp"] {
            ensure!(!told[field].is_null(), "{field} of {told}");
        }
    }
    rolled_back(scene, &double, &shop)
}

/// A pass of the rollback hook ends a run that waits before its first step, one that is checked under its
/// weight, and one that waits before its promotion.
fn rolled_back(scene: &Scene, double: &HookDouble, shop: &Shop) -> Result<()> {
    let patient = Shop {
        // Its check fails for as long as the test may take.
        analysis: "{interval: 1s, failureThreshold: 1000}".into(),
        ..shop.clone()
    };
    for (revision, version, confirm, test, phase) in [
        (3, "v1", 403, 200, Phase::Waiting),
        (4, "v3", 200, 200, Phase::WaitingPromotion),
        (5, "v4", 200, 500, Phase::Progressing),
    ] {
        double.answers("/confirm", confirm);
        double.answers("/test", test);
        double.answers("/promote", 403);
        double.answers("/rollback", 403);
        scene.cli.apply(&patient.version(version).documents())?;
        if phase == Phase::Progressing {
            scene.at_weight(revision, 50)?;
        }
        scene.in_phase(revision, phase)?;
        double.answers("/rollback", 200);
        let view = scene.ended(revision, RunPhase::Failed)?;
        ensure!(
            failure(&view)?.0 == Some(FailureReason::HookRollback),
            "{view:?}"
        );
        scene.assert_restored(&scene.member(0)?, &shop.version("v2"))?;
    }
    called(double, "/done", 4)
}

/// An approval, a Job and a load: none of them needs a server.
fn serverless(scene: &Scene) -> Result<()> {
    let double = double(scene)?;
    let shop = |arguments: &str| Shop {
        strategy: "{canary: {weights: [50]}}".into(),
        extra_rollout: hooks(&[
            json!({"type": "ConfirmRollout", "name": "start", "approval": {}}),
            json!({"type": "PreRollout", "name": "conformance", "timeout": "60s", "job": {"template": {
                "spec": {"containers": [{
                    "name": "test", "image": AGENT_IMAGE, "imagePullPolicy": "Never",
                    "args": [arguments],
                }]},
            }}}),
            json!({"name": "load", "load": {"rate": 20, "url": double.url("/load")}}),
        ]),
        ..scene.small_shop()
    };
    let member = scene.member(0)?;
    let jobs = || member.list("batch/v1", "Job", &scene.name);
    scene.install(&shop("--help"))?;
    scene.cli.apply(&shop("--help").version("v2").documents())?;
    scene.in_phase(2, Phase::Waiting)?;
    ensure!(jobs()?.is_empty(), "no test before the approval");
    scene.cli.run(&["rollout", "approve", &scene.name])?;
    scene.ended(2, RunPhase::Succeeded)?;
    told(scene, "hook conformance passed")?;
    let requests = double.calls("/load").len();
    ensure!(requests > 0, "no load was made");
    until(RUN_LIMIT, "the Job to be removed", || {
        Ok(jobs()?.is_empty().then_some(()))
    })?;

    let failing = shop("--no-such-flag");
    scene.cli.apply(&failing.version("v1").documents())?;
    scene.in_phase(3, Phase::Waiting)?;
    scene.cli.run(&["rollout", "approve", &scene.name])?;
    let view = scene.ended(3, RunPhase::Failed)?;
    ensure!(
        failure(&view)?.0 == Some(FailureReason::FailedChecks),
        "{view:?}"
    );
    told(scene, "hook conformance: its Job failed")?;
    ensure!(
        double.calls("/load").len() == requests,
        "load without a weight"
    );
    scene.assert_restored(&member, &failing.version("v2"))?;
    until(RUN_LIMIT, "the failed Job to be removed", || {
        Ok(jobs()?.is_empty().then_some(()))
    })
}
