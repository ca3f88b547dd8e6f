//! Going back to an earlier release.

use bellwether_api::{
    bundle::BundleMode, command::AbortCause, status::UnitOutcome, view::RunPhase,
};
use bellwether_hub::loops::run_summaries;
use bellwether_store::{
    actions::ActionType,
    blobs,
    events::{self, EventFilter, Order},
    records::RecordKind,
};
use jiff::Timestamp;
use serde_json::json;

use crate::fleet::{Fleet, shop};

/// The image that a cluster shall run.
async fn image(fleet: &Fleet, cluster: &str) -> String {
    let (_, bundle) = fleet.bundle(cluster).await.expect("a bundle");
    let image = &bundle.components[0].objects[0]["spec"]["template"]["spec"]["containers"][0];
    image["image"].as_str().expect("an image").to_owned()
}

/// v1 succeeded, v2 was aborted, v3 is under way at canary-1 and a human stopped it.
async fn third_under_way() -> Fleet {
    let mut fleet = Fleet::new(2).await;
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
    fleet.plan().await.expect("planned");
    fleet.report("canary-1", UnitOutcome::Progressing).await;
    fleet.act(ActionType::Abort).await;
    fleet.plan().await.expect("planned");
    fleet.report("canary-1", UnitOutcome::Failed).await;
    fleet.plan().await.expect("planned");
    assert_eq!(fleet.view().await.state, RunPhase::Aborted);
    fleet.apply("3").await;
    fleet.plan().await.expect("planned");
    fleet.report("canary-1", UnitOutcome::Progressing).await;
    fleet.act(ActionType::Suspend).await;
    fleet.plan().await.expect("planned");
    assert_eq!(fleet.view().await.state, RunPhase::Suspended);
    fleet
}

#[tokio::test]
async fn a_rollback_lands_on_the_last_release_that_succeeded() {
    let mut fleet = third_under_way().await;
    let action = fleet.roll_back(None).await;
    fleet.plan().await.expect("planned");
    assert_eq!(
        fleet.answer(action).await,
        (
            "Executed".to_owned(),
            "revision 4 restores revision 1".to_owned()
        )
    );
    let view = fleet.view().await;
    assert_eq!((view.revision, view.restores), (4, Some(1)));
    assert_eq!((view.by.as_str(), view.reason.as_str()), ("ana", "because"));
    assert_eq!(view.state, RunPhase::Progressing, "nothing suspends it");
    // Where the third is under way it ends first; the others have the restored one at once.
    let command = fleet.command("canary-1").await.expect("a command");
    assert_eq!(
        command.abort.map(|abort| abort.cause),
        Some(AbortCause::Superseded)
    );
    assert!(!command.suspend, "going back is never stopped");
    assert_eq!(fleet.granted(4).await, ["prod-1", "prod-2"]);
    fleet.report("canary-1", UnitOutcome::Failed).await;
    fleet.plan().await.expect("planned");
    assert_eq!(fleet.granted(4).await, ["canary-1", "prod-1", "prod-2"]);
    for cluster in ["canary-1", "prod-1", "prod-2"] {
        assert_eq!(image(&fleet, cluster).await, "shop:1");
        let (_, bundle) = fleet.bundle(cluster).await.expect("a bundle");
        assert_eq!(bundle.mode, BundleMode::Plain);
    }
    fleet.succeed_all().await;
    fleet.plan().await.expect("planned");
    assert_eq!(fleet.view().await.state, RunPhase::Succeeded);

    let history = run_summaries(&fleet.store, &shop(), 9).await.expect("runs");
    let told: Vec<_> = history
        .iter()
        .map(|run| (run.revision, run.restores, run.state))
        .collect();
    assert_eq!(
        told,
        [
            (4, Some(1), RunPhase::Succeeded),
            (3, None, RunPhase::Superseded),
            (2, None, RunPhase::Aborted),
            (1, None, RunPhase::Succeeded),
        ]
    );
    let told = events::list(
        &fleet.store,
        &EventFilter::Application(shop()),
        Order::Oldest,
        None,
        100,
    )
    .await
    .expect("events");
    let rolled_back = told
        .iter()
        .find(|row| row.event.reason == "RolledBack")
        .expect("an event");
    assert_eq!(
        rolled_back.event.message,
        "by ana (because): revision 4 restores revision 1"
    );
}

#[tokio::test]
async fn what_was_rolled_back_stays_so_until_the_application_changes() {
    let mut fleet = third_under_way().await;
    fleet.report("canary-1", UnitOutcome::Failed).await;
    fleet.roll_back(None).await;
    fleet.plan().await.expect("planned");
    fleet.succeed_all().await;
    fleet.plan().await.expect("planned");
    // The record says v3 still; so it does when it is applied as it was, and with other waves.
    fleet.apply("3").await;
    let only = json!({"clusters": ["canary-1", "prod-1", "prod-2"]});
    fleet.apply_to("3", only, &[]).await;
    fleet.plan().await.expect("planned");
    assert_eq!(fleet.view().await.revision, 4);
    // What says it stays is kept as long as the release is.
    let later = Timestamp::now() + jiff::SignedDuration::from_hours(9);
    blobs::sweep(&fleet.store, later, 1_000)
        .await
        .expect("swept");
    fleet.plan().await.expect("planned");
    assert_eq!(fleet.view().await.revision, 4);
    fleet.apply("4").await;
    fleet.plan().await.expect("planned");
    let view = fleet.view().await;
    assert_eq!((view.revision, view.restores), (5, None));
    assert_eq!(image(&fleet, "canary-1").await, "shop:4");
    assert_eq!(image(&fleet, "prod-1").await, "shop:1", "waves as ever");
}

#[tokio::test]
async fn undo_goes_to_the_named_revision_and_says_why_it_cannot() {
    let mut fleet = Fleet::new(1).await;
    fleet.install().await;
    for version in ["2", "3"] {
        fleet.apply(version).await;
        for _ in 0..2 {
            fleet.plan().await.expect("planned");
            fleet.succeed_all().await;
        }
        fleet.plan().await.expect("planned");
        assert_eq!(fleet.view().await.state, RunPhase::Succeeded);
    }
    for (to, outcome, part) in [
        (
            Some(9),
            "Refused",
            "there is no revision 9; kept are 3, 2, 1",
        ),
        (
            Some(3),
            "Refused",
            "revision 3 is what revision 3 was already",
        ),
        (Some(1), "Executed", "revision 4 restores revision 1"),
    ] {
        let action = fleet.roll_back(to).await;
        fleet.plan().await.expect("planned");
        assert_eq!(
            fleet.answer(action).await,
            (outcome.to_owned(), part.to_owned())
        );
    }
    assert_eq!(image(&fleet, "prod-1").await, "shop:1");
    fleet.succeed_all().await;
    fleet.plan().await.expect("planned");
    // Nothing before it ever succeeded, and what was left is no way back.
    let action = fleet.roll_back(None).await;
    fleet.plan().await.expect("planned");
    let (outcome, message) = fleet.answer(action).await;
    assert_eq!(outcome, "Refused", "{message}");
    // Whoever wants what was left again names it.
    fleet.roll_back(Some(3)).await;
    fleet.plan().await.expect("planned");
    assert_eq!(image(&fleet, "prod-1").await, "shop:3");
    assert_eq!(fleet.view().await.restores, Some(3));
}

#[tokio::test]
async fn a_cluster_that_is_away_catches_up_with_the_restored_release() {
    let mut fleet = third_under_way().await;
    fleet.report("canary-1", UnitOutcome::Failed).await;
    fleet.lose("prod-2").await;
    fleet.wait(46).await;
    fleet.connect("canary-1").await;
    fleet.connect("prod-1").await;
    fleet.roll_back(None).await;
    fleet.plan().await.expect("planned");
    assert_eq!(fleet.granted(4).await, ["canary-1", "prod-1"]);
    for cluster in ["canary-1", "prod-1"] {
        fleet.report(cluster, UnitOutcome::Succeeded).await;
    }
    fleet.plan().await.expect("planned");
    assert_eq!(fleet.view().await.state, RunPhase::Succeeded);
    fleet.connect("prod-2").await;
    fleet.plan().await.expect("planned");
    assert_eq!(fleet.granted(4).await, ["canary-1", "prod-1", "prod-2"]);
}

#[tokio::test]
async fn one_cluster_is_taken_back_alone() {
    let mut fleet = Fleet::new(1).await;
    fleet.install().await;
    fleet.apply("2").await;
    for _ in 0..2 {
        fleet.plan().await.expect("planned");
        fleet.succeed_all().await;
    }
    fleet.plan().await.expect("planned");
    let action = fleet.act_on(ActionType::Rollback, "prod-1").await;
    fleet.plan().await.expect("planned");
    assert_eq!(fleet.answer(action).await.0, "Executed");
    assert_eq!(image(&fleet, "prod-1").await, "shop:1");
    assert_eq!(image(&fleet, "canary-1").await, "shop:2");
    fleet.report("prod-1", UnitOutcome::Succeeded).await;
    fleet.plan().await.expect("planned");
    assert_eq!(fleet.view().await.revision, 2, "no release is made of it");
}

#[tokio::test]
async fn an_ended_run_is_put_away_once() {
    let mut fleet = third_under_way().await;
    let early = fleet.act(ActionType::Finish).await;
    fleet.plan().await.expect("planned");
    assert_eq!(fleet.answer(early).await.0, "Refused");
    fleet.act(ActionType::Abort).await;
    fleet.plan().await.expect("planned");
    fleet.report("canary-1", UnitOutcome::Failed).await;
    fleet.plan().await.expect("planned");
    let done = fleet.act(ActionType::Finish).await;
    fleet.plan().await.expect("planned");
    assert_eq!(fleet.answer(done).await.0, "Executed");
    let retry = fleet.act(ActionType::Retry).await;
    fleet.plan().await.expect("planned");
    assert_eq!(fleet.answer(retry).await.0, "Stale");
    let history = run_summaries(&fleet.store, &shop(), 9).await.expect("runs");
    assert_eq!(history.len(), 3, "its history stays");
}
