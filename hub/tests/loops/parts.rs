//! What is said to one cluster of a run, or while something of it still goes back.

use bellwether_api::{
    status::UnitOutcome,
    view::{ClusterPhase, RunPhase},
};
use bellwether_store::{actions::ActionType, records::RecordKind, releases};
use serde_json::json;

use crate::fleet::{Fleet, shop};

/// The image that a cluster shall run, and the attempt that it shall be.
async fn wanted(fleet: &Fleet, cluster: &str) -> (String, u32) {
    let (_, bundle) = fleet.bundle(cluster).await.expect("a bundle");
    let image = &bundle.components[0].objects[0]["spec"]["template"]["spec"]["containers"][0];
    let image = image["image"].as_str().expect("an image");
    (image.to_owned(), bundle.attempt)
}

async fn plan(fleet: &Fleet) {
    fleet.plan().await.expect("planned");
}

/// Version 2 is under way at canary-1, by a canary.
async fn second_under_way(prods: usize) -> Fleet {
    let mut fleet = Fleet::new(prods).await;
    let rollout = json!({
        "application": "shop",
        "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "service": {"name": "web", "port": 80}, "strategy": {"canary": {"weights": [20]}},
    });
    fleet
        .record(RecordKind::Rollout, "default", "web", rollout, &[])
        .await;
    fleet.install().await;
    fleet.apply("2").await;
    plan(&fleet).await;
    fleet.report("canary-1", UnitOutcome::Progressing).await;
    plan(&fleet).await;
    fleet
}

#[tokio::test]
async fn a_retry_waits_for_the_cluster_that_still_goes_back() {
    let mut fleet = second_under_way(1).await;
    fleet.report("canary-1", UnitOutcome::RollingBack).await;
    plan(&fleet).await;
    assert_eq!(fleet.view().await.state, RunPhase::Halted);
    let retry = fleet.act(ActionType::Retry).await;
    plan(&fleet).await;
    assert_eq!(
        fleet.answer(retry).await,
        (
            "Executed".to_owned(),
            "1 clusters go back first and are tried again then".to_owned()
        )
    );
    // Looked at again and again, it waits and says for what.
    for _ in 0..2 {
        plan(&fleet).await;
        let view = fleet.view().await;
        let cluster = &view.waves[0].clusters[0];
        assert_eq!(cluster.state, ClusterPhase::RollingBack);
        assert!(
            cluster.waiting_on[0].message.contains("tried again then"),
            "{cluster:#?}"
        );
        assert!(
            view.waiting_on
                .iter()
                .any(|wait| wait.message.contains("retry by ana")),
            "{view:#?}"
        );
        assert_ne!(view.state, RunPhase::Halted);
        assert_eq!(wanted(&fleet, "canary-1").await.1, 1);
    }
    fleet.report("canary-1", UnitOutcome::Failed).await;
    plan(&fleet).await;
    assert_eq!(wanted(&fleet, "canary-1").await, ("shop:2".to_owned(), 2));
    for _ in 0..2 {
        fleet.succeed_all().await;
        plan(&fleet).await;
    }
    assert_eq!(fleet.view().await.state, RunPhase::Succeeded);
}

/// Three versions have come in everywhere, one after the other.
async fn three_releases() -> Fleet {
    let mut fleet = Fleet::new(1).await;
    fleet.install().await;
    for version in ["2", "3"] {
        fleet.apply(version).await;
        for _ in 0..2 {
            plan(&fleet).await;
            fleet.succeed_all().await;
        }
        plan(&fleet).await;
        assert_eq!(fleet.view().await.state, RunPhase::Succeeded);
    }
    fleet
}

#[tokio::test]
async fn a_silent_cluster_gets_the_revision_that_was_named_and_that_is_kept_for_it() {
    let mut fleet = three_releases().await;
    fleet.lose("prod-1").await;
    fleet.wait(46).await;
    fleet.connect("canary-1").await;
    let undo = fleet.roll_back_on("prod-1", 1).await;
    plan(&fleet).await;
    assert_eq!(fleet.answer(undo).await.0, "Executed");
    assert_eq!(wanted(&fleet, "prod-1").await.0, "shop:3");
    let mut tx = fleet.store.begin().await.expect("a transaction");
    releases::sweep(&mut tx, &shop(), 1).await.expect("swept");
    tx.commit().await.expect("a commit");
    fleet.connect("prod-1").await;
    plan(&fleet).await;
    assert_eq!(wanted(&fleet, "prod-1").await.0, "shop:1");
}

#[tokio::test]
async fn one_cluster_is_taken_to_the_revision_that_is_named() {
    let mut fleet = three_releases().await;
    for (to, part) in [
        (9, "there is no revision 9; kept are 3, 2, 1"),
        (3, "revision 3 is what the run brings in"),
    ] {
        let refused = fleet.roll_back_on("prod-1", to).await;
        plan(&fleet).await;
        let (outcome, message) = fleet.answer(refused).await;
        assert_eq!(outcome, "Refused", "{message}");
        assert!(message.starts_with(part), "{message}");
    }
    let undo = fleet.roll_back_on("prod-1", 1).await;
    plan(&fleet).await;
    assert_eq!(
        fleet.answer(undo).await,
        (
            "Executed".to_owned(),
            "1 clusters go back to revision 1".to_owned()
        )
    );
    assert_eq!(wanted(&fleet, "prod-1").await.0, "shop:1");
    assert_eq!(wanted(&fleet, "canary-1").await.0, "shop:3");
    fleet.report("prod-1", UnitOutcome::Succeeded).await;
    plan(&fleet).await;
    let view = fleet.view().await;
    assert_eq!(view.revision, 3, "no release is made of it");
    assert_eq!(view.waves[1].clusters[0].reason, "RolledBack");
    fleet.act_on(ActionType::Retry, "prod-1").await;
    plan(&fleet).await;
    assert_eq!(wanted(&fleet, "prod-1").await.0, "shop:3");
}

#[tokio::test]
async fn a_cluster_of_an_ended_run_is_put_away_and_a_retry_goes_on_without_it() {
    let mut fleet = second_under_way(1).await;
    let early = fleet.act_on(ActionType::Finish, "canary-1").await;
    plan(&fleet).await;
    let (outcome, message) = fleet.answer(early).await;
    assert_eq!(outcome, "Refused");
    assert!(message.contains("skip --cluster"), "{message}");
    fleet.act(ActionType::Abort).await;
    plan(&fleet).await;
    fleet.report("canary-1", UnitOutcome::Failed).await;
    plan(&fleet).await;
    assert_eq!(fleet.view().await.state, RunPhase::Aborted);
    let away = fleet.act_on(ActionType::Finish, "canary-1").await;
    plan(&fleet).await;
    assert_eq!(fleet.answer(away).await.0, "Executed");
    let retry = fleet.act(ActionType::Retry).await;
    plan(&fleet).await;
    let (outcome, message) = fleet.answer(retry).await;
    assert_eq!(outcome, "Executed", "{message}");
    assert_eq!(wanted(&fleet, "prod-1").await.0, "shop:2");
    assert_eq!(wanted(&fleet, "canary-1").await.1, 1, "it stays put away");
}
