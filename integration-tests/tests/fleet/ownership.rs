//! What is not ours: objects that were there before, or that somebody made under a recorded name.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bellwether_api::view::RunPhase;
use bellwether_integration_tests::{cluster::Member, manifests::Shop, wait::until};
use serde_json::{Value, json};

use crate::{Case, scene::Scene};

pub const CASES: &[Case] = &[
    (
        "adopted_object_survives_a_release_that_is_rolled_back",
        "adopted",
        adopted,
    ),
    (
        "object_made_anew_by_hand_survives_a_delete",
        "remade",
        remade,
    ),
    (
        "grant_in_the_middle_of_a_removal_installs",
        "regrant",
        granted_again,
    ),
    (
        "service_that_selects_a_stateful_set_too_is_refused_by_name",
        "shared",
        shared_service,
    ),
];

/// The documents of an application that also has a ConfigMap `settings`.
fn with_settings(shop: &Shop, data: &Value) -> String {
    let settings = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "settings", "namespace": shop.name}, "data": data});
    shop.documents().replacen(
        "    manifests:\n",
        &format!("    manifests:\n    - {settings}\n"),
        1,
    )
}

fn make_settings(scene: &Scene, member: &Member, data: &Value) -> Result<()> {
    member.create(&json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "settings", "namespace": scene.name}, "data": data}))
}

fn settings(scene: &Scene, member: &Member) -> Result<Value> {
    scene
        .object(member, "ConfigMap", "settings")?
        .context("ConfigMap settings is gone")
}

fn adopted(scene: &Scene) -> Result<()> {
    let shop = Shop {
        strategy: "{canary: {steps: [{weight: 20}, {weight: 60}]}}".into(),
        ..scene.small_shop()
    };
    scene.install(&shop)?;
    let member = scene.member(0)?;
    let theirs = json!({"mode": "theirs", "kept": "yes"});
    make_settings(scene, &member, &theirs)?;
    let before = settings(scene, &member)?;

    let next = Shop {
        extra: "  sync: {adopt: Always}\n".into(),
        ..shop.version("v2")
    };
    let ours = json!({"mode": "ours", "added": "1"});
    scene.cli.apply(&with_settings(&next, &ours))?;
    scene.at_weight(2, 20)?;
    let taken = settings(scene, &member)?;
    ensure!(
        taken["data"] == json!({"mode": "ours", "kept": "yes", "added": "1"}),
        "the release takes it over: {taken}"
    );
    scene
        .cli
        .run(&["rollout", "abort", &scene.name, "--reason", "not this one"])?;
    scene.ended(2, RunPhase::Aborted)?;
    let after = until(
        Duration::from_secs(30),
        "the ConfigMap to be let go of",
        || {
            let live = settings(scene, &member)?;
            let managers = live["metadata"]["managedFields"].to_string();
            Ok((!managers.contains("bellwether")).then_some(live))
        },
    )?;
    ensure!(after["data"] == theirs, "it has what it had: {after}");
    ensure!(
        after["metadata"]["uid"] == before["metadata"]["uid"],
        "it was never deleted"
    );
    let owners = |object: &Value| -> Vec<Value> {
        let entries = object["metadata"]["managedFields"].as_array();
        let entries = entries.into_iter().flatten();
        entries
            .map(|entry| json!([entry["manager"], entry["fieldsV1"]]))
            .collect()
    };
    ensure!(
        owners(&after) == owners(&before),
        "its fields belong to whom they belonged to: {after}"
    );
    let rollout = format!("rollout/{}", scene.name);
    until(Duration::from_secs(20), "the event", || {
        let events = scene.cli.run(&["events", &rollout])?;
        Ok((events.contains("Adopted") && events.contains("LetGo")).then_some(()))
    })?;
    scene.assert_restored(&member, &shop)
}

fn remade(scene: &Scene) -> Result<()> {
    let shop = Shop {
        extra: "  sync: {drift: \"Off\"}\n".into(),
        ..scene.small_shop()
    };
    scene
        .cli
        .apply(&with_settings(&shop, &json!({"mode": "ours"})))?;
    scene.ended(1, RunPhase::Succeeded)?;
    let member = scene.member(0)?;
    member.delete("v1", "ConfigMap", &scene.name, "settings")?;
    make_settings(scene, &member, &json!({"mode": "by hand"}))?;
    let by_hand = settings(scene, &member)?;
    scene
        .cli
        .run(&["delete", "application", &scene.name, "-y"])?;
    until(Duration::from_secs(60), "the removal to end", || {
        Ok(held_objects(scene, &member)?
            .is_none_or(|held| held.is_empty())
            .then_some(()))
    })?;
    for kind in ["Deployment", "Service", "HTTPRoute"] {
        ensure!(
            scene.object(&member, kind, "web")?.is_none(),
            "{kind} is left"
        );
    }
    let left = settings(scene, &member)?;
    ensure!(left == by_hand, "it was touched: {left}");
    Ok(())
}

/// What the agent's records hold of the test's application; `None` = they do not know it.
fn held_objects(scene: &Scene, member: &Member) -> Result<Option<Vec<Value>>> {
    let key = format!("application/default/{}", scene.name);
    let records = member.list("bellwether.dev/v1alpha1", "SyncRecord", "bellwether-system")?;
    let units = records
        .iter()
        .filter_map(|record| record["spec"]["units"].as_array())
        .flatten();
    let mut of_test = units.filter(|unit| unit["key"] == key.as_str());
    Ok(of_test
        .next()
        .map(|unit| unit["objects"].as_array().cloned().unwrap_or_default()))
}

fn granted_again(scene: &Scene) -> Result<()> {
    let shop = scene.small_shop();
    scene
        .cli
        .apply(&with_settings(&shop, &json!({"mode": "one"})))?;
    scene.ended(1, RunPhase::Succeeded)?;
    let member = scene.member(0)?;
    let hold = |finalizers: Value| {
        let patch = json!({"metadata": {"finalizers": finalizers}});
        member.patch("v1", "ConfigMap", &scene.name, "settings", &patch)
    };
    hold(json!(["example.com/hold"]))?;
    let first = settings(scene, &member)?["metadata"]["uid"].clone();
    scene
        .cli
        .run(&["delete", "application", &scene.name, "-y"])?;
    until(Duration::from_secs(60), "the removal to be held", || {
        let going = !settings(scene, &member)?["metadata"]["deletionTimestamp"].is_null();
        let gone = scene.object(&member, "Deployment", "web")?.is_none();
        Ok((going && gone).then_some(()))
    })?;

    scene
        .cli
        .apply(&with_settings(&shop.version("v2"), &json!({"mode": "two"})))?;
    // The hub counts revisions anew, or goes on, depending on whether it has swept the old ones.
    let waiting = until(
        Duration::from_secs(60),
        "the run to wait for the removal",
        || {
            let Ok(view) = scene.run(&scene.name) else {
                return Ok(None);
            };
            let text = serde_json::to_string(&view)?;
            Ok(text.contains("ObjectsTerminating").then_some(view))
        },
    )?;
    ensure!(
        scene.object(&member, "Deployment", "web")?.is_none(),
        "nothing is installed into a removal"
    );
    hold(Value::Null)?;
    scene.ended(waiting.revision, RunPhase::Succeeded)?;
    let live = settings(scene, &member)?;
    ensure!(
        live["data"]["mode"] == "two" && live["metadata"]["uid"] != first,
        "it is installed anew: {live}"
    );
    scene.assert_restored(&member, &shop.version("v2"))
}

fn shared_service(scene: &Scene) -> Result<()> {
    let shop = scene.small_shop();
    scene.install(&shop)?;
    let member = scene.member(0)?;
    let labels = json!({"app": "web", "part": "store"});
    member.create(&json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": "store", "namespace": scene.name},
        "spec": {
            "replicas": 1, "serviceName": "web", "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {
                "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "store", "image": "bellwether.local/demo:v1",
                    "imagePullPolicy": "Never"}]}},
        },
    }))?;
    scene.cli.apply(&shop.version("v2").documents())?;
    let view = scene.ended(2, RunPhase::Failed)?;
    let text = serde_json::to_string(&view)?;
    ensure!(
        text.contains("Service/web") && text.contains("StatefulSet/store"),
        "the refusal names the Service and the workload: {text}"
    );
    let service = scene
        .object(&member, "Service", "web")?
        .context("the Service")?;
    ensure!(
        service["spec"]["selector"] == json!({"app": "web"}),
        "it still serves both: {service}"
    );
    scene.assert_restored(&member, &shop)?;
    member.delete("apps/v1", "StatefulSet", &scene.name, "store")
}
