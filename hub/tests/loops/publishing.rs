//! Which changes of an application roll, and what its clusters run.

use std::collections::BTreeMap;

use bellwether_api::{command::AbortCause, publish_version::ALIAS, status::UnitOutcome};
use bellwether_hub::loops::{Comparing, Contents, Proposed};
use bellwether_store::{actions::ActionType, pins, records::RecordKind, releases};
use serde_json::json;
use uuid::Uuid;

use crate::fleet::{Fleet, shop};

/// Applies an image under a version, and lets the hubs plan.
async fn publish(fleet: &Fleet, image: &str, version: Option<&str>) {
    let annotations: Vec<(&str, &str)> = version
        .map(|version| (ALIAS, version))
        .into_iter()
        .collect();
    let everywhere = json!({"fleet": "quickstart"});
    fleet.apply_to(image, everywhere, &annotations).await;
    fleet.plan().await.expect("planned");
}

/// Lets every wave succeed.
async fn finish(fleet: &mut Fleet) {
    for _ in 0..2 {
        fleet.succeed_all().await;
        fleet.plan().await.expect("planned");
    }
}

async fn image(fleet: &Fleet, cluster: &str) -> String {
    let (_, bundle) = fleet.bundle(cluster).await.expect("a bundle");
    let image = &bundle.components[0].objects[0]["spec"]["template"]["spec"]["containers"][0];
    image["image"].as_str().expect("an image").to_owned()
}

#[tokio::test]
async fn a_change_under_the_published_version_waits_and_another_version_rolls() {
    let mut fleet = Fleet::new(1).await;
    publish(&fleet, "1", Some("v1")).await;
    finish(&mut fleet).await;
    publish(&fleet, "2", Some("v1")).await;
    assert_eq!(fleet.view().await.revision, 1, "it is a draft");
    assert_eq!(image(&fleet, "canary-1").await, "shop:1");
    publish(&fleet, "2", Some("v2")).await;
    assert_eq!(fleet.view().await.revision, 2);
    assert_eq!(image(&fleet, "canary-1").await, "shop:2");
    finish(&mut fleet).await;
    // Without a version every change rolls.
    publish(&fleet, "3", None).await;
    assert_eq!(fleet.view().await.revision, 3);
    finish(&mut fleet).await;
    // Another version alone is a new revision too.
    publish(&fleet, "3", Some("v3")).await;
    assert_eq!(fleet.view().await.revision, 4);
}

#[tokio::test]
async fn what_was_rolled_back_is_not_published_again_by_a_draft() {
    let mut fleet = Fleet::new(1).await;
    publish(&fleet, "1", Some("v1")).await;
    finish(&mut fleet).await;
    publish(&fleet, "2", Some("v2")).await;
    finish(&mut fleet).await;
    publish(&fleet, "3", Some("v2")).await;
    let action = fleet.roll_back(None).await;
    fleet.plan().await.expect("planned");
    let answer = fleet.answer(action).await;
    assert_eq!(answer.1, "revision 3 restores revision 1");
    finish(&mut fleet).await;
    publish(&fleet, "4", Some("v2")).await;
    let view = fleet.view().await;
    assert_eq!(
        (view.revision, view.restores),
        (3, Some(1)),
        "v2 was published"
    );
    assert_eq!(image(&fleet, "prod-1").await, "shop:1");
    publish(&fleet, "4", Some("v3")).await;
    assert_eq!(fleet.view().await.revision, 4);
    assert_eq!(image(&fleet, "canary-1").await, "shop:4");
}

#[tokio::test]
async fn a_draft_keeps_no_run_from_going_back() {
    let mut fleet = Fleet::new(1).await;
    let rollout = json!({
        "application": "shop",
        "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "service": {"name": "web", "port": 80}, "strategy": {"canary": {"weights": [20]}},
    });
    fleet
        .record(RecordKind::Rollout, "default", "web", rollout, &[])
        .await;
    publish(&fleet, "1", Some("v1")).await;
    finish(&mut fleet).await;
    publish(&fleet, "2", Some("v2")).await;
    fleet.report("canary-1", UnitOutcome::Progressing).await;
    fleet.delete_record(RecordKind::Rollout, "web").await;
    fleet.plan().await.expect("planned");
    let command = fleet.command("canary-1").await.expect("a command");
    let cause = command.abort.map(|abort| abort.cause);
    assert_eq!(cause, Some(AbortCause::Deleted));
    assert_eq!(fleet.view().await.revision, 2);
}

/// The image that each cluster runs, or why that is not known.
async fn running(fleet: &Fleet) -> BTreeMap<String, String> {
    let application = shop();
    let comparing = Comparing::load(&fleet.store, None, &application, fleet.now())
        .await
        .expect("loaded");
    let ids: Vec<Uuid> = fleet.clusters.values().map(|one| one.id).collect();
    let mut found: Contents = comparing.running(&ids).await.expect("known");
    let named = fleet.clusters.iter().filter_map(|(name, cluster)| {
        let said = match found.remove(&cluster.id)? {
            Ok(content) => content.components[0].objects[0]["spec"]["template"]["spec"]
                ["containers"][0]["image"]
                .to_string(),
            Err(why) => why,
        };
        Some((name.clone(), said))
    });
    named.collect()
}

#[tokio::test]
async fn what_clusters_run_is_what_their_agents_said() {
    let mut fleet = Fleet::new(1).await;
    assert_eq!(running(&fleet).await, BTreeMap::new(), "nobody has it");
    fleet.apply("1").await;
    fleet.plan().await.expect("planned");
    assert_eq!(
        running(&fleet).await["canary-1"],
        "its agent has not said yet what runs there"
    );
    finish(&mut fleet).await;
    fleet.apply("2").await;
    fleet.plan().await.expect("planned");
    fleet.report("canary-1", UnitOutcome::Progressing).await;
    assert_eq!(running(&fleet).await["canary-1"], "\"shop:1\"");
    fleet.report("canary-1", UnitOutcome::Succeeded).await;
    let both = running(&fleet).await;
    assert_eq!(
        (both["canary-1"].as_str(), both["prod-1"].as_str()),
        ("\"shop:2\"", "\"shop:1\"")
    );
}

#[tokio::test]
async fn a_comparison_fetches_no_source() {
    let fleet = Fleet::new(0).await;
    fleet.apply("1").await;
    let application = shop();
    let comparing = Comparing::load(&fleet.store, None, &application, fleet.now())
        .await
        .expect("loaded");
    let spec = serde_json::from_value(json!({
        "destination": {"fleet": "quickstart"},
        "components": [{"name": "web", "oci": {"url": "oci://registry.example/web", "tag": "1"}}],
    }))
    .expect("a spec");
    let proposed = Proposed {
        spec,
        rollouts: Vec::new(),
    };
    let clusters = comparing.placed(&proposed.spec).await.expect("placed");
    let refused = comparing.proposed(&proposed, &clusters).await;
    let text = refused.expect_err("it is not there").chain();
    assert!(text.contains("was not fetched yet"), "{text}");
    let pins = pins::list(&fleet.store, &application).await.expect("pins");
    assert!(pins.is_empty());
}

/// The revisions that are kept where one is enough.
async fn kept(fleet: &Fleet) -> Vec<u64> {
    let mut tx = fleet.store.begin().await.expect("a transaction");
    releases::sweep(&mut tx, &shop(), 1).await.expect("swept");
    tx.commit().await.expect("a commit");
    let left = releases::list(&fleet.store, &shop(), 9).await;
    let left = left.expect("releases");
    left.into_iter().map(|release| release.revision).collect()
}

#[tokio::test]
async fn a_cluster_can_go_back_to_what_it_had_whatever_the_limit_says() {
    let mut fleet = Fleet::new(1).await;
    fleet.install().await;
    fleet.lose("prod-1").await;
    // While prod-1 is away, others come and go.
    for version in ["2", "3", "4"] {
        fleet.wait(46).await;
        fleet.connect("canary-1").await;
        fleet.apply(version).await;
        fleet.plan().await.expect("planned");
        fleet.report("canary-1", UnitOutcome::Succeeded).await;
        fleet.plan().await.expect("planned");
    }
    // It runs revision 1, and the others may go back to revision 3, which they had.
    assert_eq!(kept(&fleet).await, [4, 3, 1]);
    fleet.connect("prod-1").await;
    fleet.plan().await.expect("planned");
    fleet.report("prod-1", UnitOutcome::Succeeded).await;
    fleet.plan().await.expect("planned");
    assert_eq!(image(&fleet, "prod-1").await, "shop:4", "it caught up");
    // It may go back to revision 1.
    assert_eq!(kept(&fleet).await, [4, 3, 1]);
    fleet.act_on(ActionType::Rollback, "prod-1").await;
    fleet.plan().await.expect("its release is kept");
    assert_eq!(image(&fleet, "prod-1").await, "shop:1");
}

/// Applies an image with `sync`, and lets the hubs plan.
async fn synced(fleet: &Fleet, image: &str, suspend: bool) {
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"template": {"spec": {"containers": [
            {"name": "web", "image": format!("shop:{image}")},
        ]}}},
    });
    let spec = json!({
        "destination": {"fleet": "quickstart"}, "sync": {"suspend": suspend},
        "components": [{"name": "web", "manifests": [deployment]}],
        "waves": [
            {"name": "canary", "selector": {"matchLabels": {"tier": "canary"}}},
            {"name": "rest", "maxConcurrent": 1},
        ],
    });
    fleet
        .record(RecordKind::Application, "default", "shop", spec, &[])
        .await;
    fleet.plan().await.expect("planned");
}

#[tokio::test]
async fn nothing_is_released_while_sync_is_suspended_and_what_runs_goes_on() {
    let mut fleet = Fleet::new(1).await;
    synced(&fleet, "1", false).await;
    synced(&fleet, "2", true).await;
    // The run under way goes on.
    finish(&mut fleet).await;
    let view = fleet.view().await;
    assert_eq!((view.revision, view.done), (1, 2));
    assert_eq!(image(&fleet, "prod-1").await, "shop:1");
    synced(&fleet, "2", false).await;
    assert_eq!(fleet.view().await.revision, 2);
    finish(&mut fleet).await;
    assert_eq!(image(&fleet, "prod-1").await, "shop:2");
}

#[tokio::test]
async fn a_suspended_application_is_rolled_back_and_stays_so_when_it_is_let_in_again() {
    let mut fleet = Fleet::new(1).await;
    synced(&fleet, "1", false).await;
    finish(&mut fleet).await;
    synced(&fleet, "2", false).await;
    finish(&mut fleet).await;
    synced(&fleet, "2", true).await;
    fleet.roll_back(None).await;
    fleet.plan().await.expect("planned");
    finish(&mut fleet).await;
    assert_eq!(image(&fleet, "prod-1").await, "shop:1");
    synced(&fleet, "2", false).await;
    let view = fleet.view().await;
    assert_eq!(
        (view.revision, view.restores),
        (3, Some(1)),
        "what was taken back is what it was"
    );
    synced(&fleet, "3", false).await;
    assert_eq!(fleet.view().await.revision, 4);
}

#[tokio::test]
async fn an_application_that_is_suspended_from_the_start_is_not_released() {
    let fleet = Fleet::new(1).await;
    synced(&fleet, "1", true).await;
    assert!(fleet.bundle("canary-1").await.is_none());
    synced(&fleet, "1", false).await;
    assert_eq!(image(&fleet, "canary-1").await, "shop:1");
}

#[tokio::test]
async fn whom_an_application_names_goes_before_its_fleet_in_what_clusters_get() {
    let fleet = Fleet::new(1).await;
    let alerts = |name: &str| json!([{"provider": {"name": name}, "severity": "Warn"}]);
    let everyone = json!({"selector": {}, "defaults": {"alerts": alerts("ops")}});
    fleet
        .record(RecordKind::Fleet, "", "quickstart", everyone, &[])
        .await;
    let named = async |own: serde_json::Value, data: &str| {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"},
            "data": {"a": data}});
        let spec = json!({
            "destination": {"fleet": "quickstart"}, "alerts": own,
            "components": [{"name": "web", "manifests": [map]}],
            "waves": [{"name": "all", "maxConcurrent": "100%"}],
        });
        fleet
            .record(RecordKind::Application, "default", "shop", spec, &[])
            .await;
        fleet.plan().await.expect("planned");
        let (_, bundle) = fleet.bundle("canary-1").await.expect("a bundle");
        let named = bundle
            .alerts
            .iter()
            .map(|alert| alert.provider.name.clone());
        named.collect::<Vec<String>>()
    };
    assert_eq!(named(json!([]), "1").await, ["ops"]);
    assert_eq!(named(alerts("team"), "2").await, ["team"]);
}
