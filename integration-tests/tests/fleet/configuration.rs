//! Releases that change ConfigMaps and Secrets.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, ensure};
use bellwether_api::view::RunPhase;
use bellwether_integration_tests::{
    cluster::Member,
    manifests::Shop,
    traffic::tally,
    wait::until,
    weights::{RunWatch, now_ms, spans, weights_in_order},
};

use crate::{Case, scene::Scene, strategies::ask};

/// It ends an agent, and counts lost requests.
pub const AGENT_ENDS: &[Case] = &[(
    "sc_k1_config_only_change_rolls_as_a_canary",
    "config",
    config_only_change,
)];

pub const CASES: &[Case] = &[
    (
        "sc_k1_config_only_change_that_is_aborted_leaves_the_old_content",
        "configback",
        config_aborted,
    ),
    (
        "configuration_that_is_not_tracked_is_applied_at_once",
        "configfree",
        config_not_tracked,
    ),
];

/// Pods of the user's workload, none of the canary's.
const STABLE: &str = "app=web,!bellwether.dev/run";

fn with_version(shop: &Shop, version: &str) -> Shop {
    Shop {
        config: vec![("DEMO_VERSION".into(), version.into())],
        ..shop.clone()
    }
}

fn uids(member: &Member, namespace: &str) -> Result<BTreeSet<String>> {
    let pods = member.pods(namespace, STABLE)?;
    Ok(pods
        .into_iter()
        .filter_map(|pod| pod.metadata.uid)
        .collect())
}

/// What the ConfigMap and the Secret of one name hold.
fn held(scene: &Scene, member: &Member, name: &str) -> Result<[Option<String>; 2]> {
    let value = |kind: &str, key: &str| -> Result<Option<String>> {
        let object = scene.object(member, kind, name)?;
        Ok(object.and_then(|object| Some(object["data"][key].as_str()?.to_owned())))
    };
    Ok([
        value("ConfigMap", "DEMO_VERSION")?,
        value("Secret", "SECRET_DEMO_VERSION")?,
    ])
}

/// Base64, as a Secret has it.
fn encoded(version: &str) -> &'static str {
    match version {
        "one" => "b25l",
        "two" => "dHdv",
        _ => "",
    }
}

fn both(version: &str) -> [Option<String>; 2] {
    [Some(version.to_owned()), Some(encoded(version).to_owned())]
}

fn config_only_change(scene: &Scene) -> Result<()> {
    let base = Shop {
        strategy: "{canary: {weights: [20, 60]}}".into(),
        analysis: "{interval: 6s}".into(),
        pre_stop_seconds: 3,
        ..scene.small_shop()
    };
    let (one, two) = (with_version(&base, "one"), with_version(&base, "two"));
    scene.install(&one)?;
    let member = scene.member(0)?;
    let before = uids(&member, &scene.name)?;
    let traffic = scene.traffic(&["c1"])?;
    let started_ms = now_ms();
    scene.cli.apply(&two.documents())?;
    let watch = RunWatch::start(&scene.cli, "default", &scene.name)?;
    scene.at_weight(2, 20)?;
    ensure!(
        held(scene, &member, "web-canary")? == both("two"),
        "canary pods use copies with the new content"
    );
    ensure!(
        held(scene, &member, "web")? == both("one"),
        "the user's objects keep the old content until the promotion"
    );
    ensure!(
        uids(&member, &scene.name)? == before,
        "the stable pods changed before the promotion"
    );
    // An agent that starts anew knows no more than what is saved.
    scene.kill_agent(&member)?;
    scene.at_weight(2, 60)?;
    ensure!(
        held(scene, &member, "web")? == both("one"),
        "a restarted agent gives the new content to nobody else"
    );
    ensure!(
        uids(&member, &scene.name)? == before,
        "the stable pods changed before the promotion"
    );
    scene.ended(2, RunPhase::Succeeded)?;
    let ended_ms = now_ms();
    let seconds = traffic.stop()?;
    let looks = watch.stop();
    let weights = weights_in_order(&looks, "c1");
    ensure!(weights == [20, 60], "weights: {weights:?}");
    for span in spans(&looks, "c1") {
        if !(20..=60).contains(&span.weight) {
            continue;
        }
        let counts = tally(&seconds, Some("c1"), span.from_ms, span.to_ms);
        let share = counts.share_percent("two");
        ensure!(
            counts.total < 200 || (share - f64::from(span.weight)).abs() <= 5.0,
            "{share:.1} % answered with the new content at weight {}",
            span.weight
        );
    }
    let all = tally(&seconds, Some("c1"), started_ms, ended_ms);
    ensure!(all.failed == 0, "lost requests: {:?}", all.failures);
    ensure!(
        all.by_version.contains_key("one") && all.by_version.contains_key("two"),
        "{all:?}"
    );
    ensure!(held(scene, &member, "web")? == both("two"));
    // The last ones still stop.
    until(Duration::from_secs(60), "the old pods to be gone", || {
        let left = !uids(&member, &scene.name)?.is_disjoint(&before);
        Ok((!left).then_some(()))
    })?;
    copies_are_gone(scene, &member)?;
    scene.assert_restored(&member, &two)
}

fn config_aborted(scene: &Scene) -> Result<()> {
    let base = Shop {
        strategy: "{canary: {steps: [{weight: 50}]}}".into(),
        ..scene.small_shop()
    };
    let (one, two) = (with_version(&base, "one"), with_version(&base, "two"));
    scene.install(&one)?;
    let member = scene.member(0)?;
    let before = uids(&member, &scene.name)?;
    scene.cli.apply(&two.documents())?;
    scene.at_weight(2, 50)?;
    // Whatever replaces a stable pod now reads the user's own objects.
    let killed = member.kill_pods(&scene.name, STABLE)?;
    ensure!(killed == 3, "{killed} pods were killed");
    until(Duration::from_secs(60), "other stable pods", || {
        let now = uids(&member, &scene.name)?;
        Ok((now.len() == 3 && now.is_disjoint(&before)).then_some(()))
    })?;
    scene
        .cli
        .run(&["rollout", "abort", &scene.name, "--reason", "not yet"])?;
    scene.ended(2, RunPhase::Aborted)?;
    ensure!(held(scene, &member, "web")? == both("one"));
    copies_are_gone(scene, &member)?;
    for _ in 0..20 {
        let answered = ask(scene, &[])?;
        ensure!(answered == "one", "{answered} answered after the rollback");
    }
    scene.assert_restored(&member, &one)
}

fn config_not_tracked(scene: &Scene) -> Result<()> {
    let base = Shop {
        extra_rollout: "  trigger: {trackConfig: false}\n".into(),
        ..scene.small_shop()
    };
    let (one, two) = (with_version(&base, "one"), with_version(&base, "two"));
    scene.install(&one)?;
    let member = scene.member(0)?;
    let before = uids(&member, &scene.name)?;
    scene.cli.apply(&two.documents())?;
    scene.ended(2, RunPhase::Succeeded)?;
    ensure!(held(scene, &member, "web")? == both("two"));
    ensure!(uids(&member, &scene.name)? == before, "pods were replaced");
    let live = scene
        .object(&member, "Deployment", "web")?
        .context("it is there")?;
    ensure!(
        live.pointer("/spec/template/metadata/annotations")
            .is_none(),
        "nothing is stamped: {live}"
    );
    Ok(())
}

fn copies_are_gone(scene: &Scene, member: &Member) -> Result<()> {
    until(Duration::from_secs(30), "the copies to be gone", || {
        Ok((held(scene, member, "web-canary")? == [None, None]).then_some(()))
    })
}
