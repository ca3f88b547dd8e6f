use bellwether_api::{
    bundle::BundleMode,
    command::{AbortCause, Verb},
    number::{IntOrPercent, Weight},
    status::UnitOutcome,
    strategy::Manual,
    view::{ClusterPhase, RunPhase, WavePhase},
};
use bellwether_store::{
    actions::{self, ActionType},
    events::{self, EventFilter, Order},
    records::RecordKind,
};

use crate::fleet::{Fleet, shop};

#[tokio::test]
async fn a_release_goes_through_the_fleet_in_waves() {
    let mut fleet = Fleet::new(2).await;
    fleet.install().await;
    let (_, installed) = fleet.bundle("prod-2").await.expect("a bundle");
    assert_eq!((installed.mode, installed.revision), (BundleMode::Plain, 1));
    assert_eq!(
        installed.components[0].objects[0]["metadata"]["namespace"],
        "default"
    );
    assert_eq!(fleet.view().await.state, RunPhase::Succeeded);

    fleet.apply("2").await;
    fleet.plan().await.expect("planned");
    assert_eq!(fleet.granted(2).await, ["canary-1"]);
    let view = fleet.view().await;
    assert_eq!(
        (view.revision, view.from_revision, view.version.as_str()),
        (2, Some(1), "2")
    );
    assert_eq!(
        (view.state, view.done, view.total),
        (RunPhase::Progressing, 0, 3)
    );
    assert_eq!(view.waves[0].clusters[0].state, ClusterPhase::Granted);
    assert!(!view.waiting_on.is_empty());

    fleet.report("canary-1", UnitOutcome::Progressing).await;
    fleet.plan().await.expect("planned");
    assert_eq!(fleet.granted(2).await, ["canary-1"]);
    fleet.report("canary-1", UnitOutcome::Succeeded).await;
    fleet.plan().await.expect("planned");
    assert_eq!(
        fleet.granted(2).await,
        ["canary-1", "prod-1"],
        "one at a time"
    );
    fleet.report("prod-1", UnitOutcome::Succeeded).await;
    fleet.plan().await.expect("planned");
    fleet.report("prod-2", UnitOutcome::Succeeded).await;
    fleet.plan().await.expect("planned");

    let view = fleet.view().await;
    assert_eq!(
        (view.state, view.done, view.percent),
        (RunPhase::Succeeded, 3, 100)
    );
    assert!(
        view.waves
            .iter()
            .all(|wave| wave.state == WavePhase::Passed)
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
    let reasons: Vec<&str> = told
        .iter()
        .filter(|row| row.event.run == view.run)
        .map(|row| row.event.reason.as_str())
        .collect();
    assert_eq!(
        reasons,
        [
            "WaveStarted",
            "ClusterGranted",
            "ClusterSucceeded",
            "WavePassed",
            "WaveStarted",
            "ClusterGranted",
            "ClusterSucceeded",
            "ClusterGranted",
            "ClusterSucceeded",
            "WavePassed",
            "Succeeded",
        ]
    );
}

#[tokio::test]
async fn one_look_makes_a_release_and_grants_it() {
    let mut fleet = Fleet::new(1).await;
    fleet.apply("1").await;
    fleet.look().await.expect("planned");
    assert_eq!(
        fleet.granted(1).await,
        ["canary-1", "prod-1"],
        "a first install needs no waves"
    );
    fleet.install().await;
    fleet.apply("2").await;
    fleet.look().await.expect("planned");
    assert_eq!(fleet.granted(2).await, ["canary-1"]);
    let view = fleet.view().await;
    assert_eq!((view.revision, view.state), (2, RunPhase::Progressing));
    // A cluster that is told to go back first is granted nothing in the same breath.
    fleet.report("canary-1", UnitOutcome::RollingBack).await;
    fleet.apply("3").await;
    fleet.look().await.expect("planned");
    assert!(fleet.command("canary-1").await.is_some());
    assert_eq!(fleet.granted(3).await, [] as [&str; 0]);
}

#[tokio::test]
async fn applying_the_same_again_releases_nothing() {
    let mut fleet = Fleet::new(1).await;
    fleet.install().await;
    fleet.apply("1").await;
    fleet.plan().await.expect("planned");
    assert_eq!(fleet.view().await.revision, 1);
}

#[tokio::test]
async fn a_failure_halts_until_somebody_retries() {
    let mut fleet = Fleet::new(1).await;
    fleet.install().await;
    fleet.apply("2").await;
    fleet.plan().await.expect("planned");
    fleet.report("canary-1", UnitOutcome::RollingBack).await;
    fleet.plan().await.expect("planned");
    fleet.report("canary-1", UnitOutcome::Failed).await;
    fleet.plan().await.expect("planned");
    assert_eq!(fleet.view().await.state, RunPhase::Halted);
    assert_eq!(fleet.granted(2).await, ["canary-1"]);

    let action = fleet.act(ActionType::Retry).await;
    fleet.plan().await.expect("planned");
    let answered = actions::get(&fleet.store, action)
        .await
        .expect("an action")
        .expect("an action");
    assert_eq!(answered.result.expect("a result")["outcome"], "Executed");
    assert_eq!(
        fleet.bundle("canary-1").await.expect("a bundle").1.attempt,
        2
    );
    fleet.report("canary-1", UnitOutcome::Succeeded).await;
    fleet.plan().await.expect("planned");
    assert_eq!(fleet.granted(2).await, ["canary-1", "prod-1"]);
}

#[tokio::test]
async fn a_newer_release_supersedes_the_one_under_way() {
    let mut fleet = Fleet::new(1).await;
    fleet.install().await;
    fleet.apply("2").await;
    fleet.plan().await.expect("planned");
    let (_, second) = fleet.bundle("canary-1").await.expect("a bundle");
    fleet.report("canary-1", UnitOutcome::RollingBack).await;
    fleet.apply("3").await;
    fleet.plan().await.expect("planned");
    let command = fleet.command("canary-1").await.expect("a command");
    assert_eq!(command.run, second.run);
    assert_eq!(
        command.abort.expect("an abort").cause,
        AbortCause::Superseded
    );
    assert_eq!(
        fleet.granted(3).await,
        [] as [&str; 0],
        "it returns to stable first"
    );
    fleet.report("canary-1", UnitOutcome::Failed).await;
    fleet.plan().await.expect("planned");
    assert_eq!(fleet.granted(3).await, ["canary-1"]);
}

#[tokio::test]
async fn an_unreachable_cluster_is_not_granted_and_a_late_one_catches_up() {
    let mut fleet = Fleet::new(1).await;
    fleet.install().await;
    fleet.lose("canary-1").await;
    fleet.apply("2").await;
    fleet.plan().await.expect("planned");
    assert_eq!(fleet.granted(2).await, [] as [&str; 0]);
    fleet.wait(46).await;
    fleet.plan().await.expect("planned");
    let view = fleet.view().await;
    assert_eq!(view.waves[0].clusters[0].state, ClusterPhase::Unreachable);
    assert_eq!(view.waiting_on[0].reason, "ClusterUnreachable");
    fleet.connect("canary-1").await;
    fleet.plan().await.expect("planned");
    assert_eq!(fleet.granted(2).await, ["canary-1"]);
}

#[tokio::test]
async fn a_joiner_gets_the_release_that_runs() {
    let mut fleet = Fleet::new(1).await;
    fleet.install().await;
    fleet.join("prod-9", "prod").await;
    fleet.plan().await.expect("planned");
    let (_, bundle) = fleet.bundle("prod-9").await.expect("a bundle");
    assert_eq!((bundle.mode, bundle.revision), (BundleMode::Plain, 1));
    fleet.report("prod-9", UnitOutcome::Succeeded).await;
    fleet.plan().await.expect("planned");
    let view = fleet.view().await;
    assert_eq!(
        (view.state, view.done, view.total),
        (RunPhase::Succeeded, 3, 3)
    );
}

#[tokio::test]
async fn an_action_without_effect_says_so() {
    let mut fleet = Fleet::new(1).await;
    fleet.install().await;
    let action = fleet.act(ActionType::Approve).await;
    fleet.plan().await.expect("planned");
    let answered = actions::get(&fleet.store, action)
        .await
        .expect("an action")
        .expect("an action");
    assert_eq!(answered.result.expect("a result")["outcome"], "Stale");
}

#[tokio::test]
async fn a_weight_set_by_hand_reaches_the_cluster_under_way() {
    let mut fleet = Fleet::new(1).await;
    fleet.install().await;
    let spec = |canary: serde_json::Value| {
        serde_json::json!({
            "application": "shop",
            "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "service": {"name": "web", "port": 80}, "strategy": {"canary": canary},
        })
    };
    let manual = Manual {
        weight: Weight::clamped(30),
        replicas: Some(IntOrPercent::Int(2)),
    };
    let canaries = [
        (serde_json::json!({"weights": [20]}), "Refused"),
        (serde_json::json!({"manual": {"weight": 5}}), "Executed"),
    ];
    for (canary, outcome) in canaries {
        fleet
            .record(
                RecordKind::Rollout,
                "default",
                "shop-web",
                spec(canary),
                &[],
            )
            .await;
        fleet.apply("2").await;
        fleet.plan().await.expect("planned");
        fleet.report("canary-1", UnitOutcome::Progressing).await;
        let action = fleet.set_weight(manual).await;
        fleet.plan().await.expect("planned");
        let answered = actions::get(&fleet.store, action)
            .await
            .expect("an action")
            .expect("an action");
        let result = answered.result.expect("a result");
        assert_eq!(result["outcome"], outcome, "{result}");
        // What replaces it waits until this one has gone back.
        if outcome == "Refused" {
            assert!(
                result["message"]
                    .as_str()
                    .is_some_and(|text| text.contains("strategy.canary.manual")),
                "{result}"
            );
            fleet.report("canary-1", UnitOutcome::Failed).await;
        }
    }
    let command = fleet.command("canary-1").await.expect("a command");
    assert_eq!(
        (command.queue[0].verb, command.queue[0].set),
        (Verb::SetWeight, Some(manual))
    );
    assert!(fleet.command("prod-1").await.is_none(), "it waits its turn");
}

#[tokio::test]
async fn overlapping_waves_release_nothing_and_are_named() {
    let mut fleet = Fleet::new(1).await;
    fleet.install().await;
    let spec = serde_json::json!({
        "destination": {"fleet": "quickstart"},
        "components": [{"name": "web", "manifests": []}],
        "waves": [{"name": "a", "selector": {}}, {"name": "b", "clusters": ["prod-1"]}],
    });
    fleet
        .record(
            bellwether_store::records::RecordKind::Application,
            "default",
            "shop",
            spec,
            &[],
        )
        .await;
    let error = fleet.plan().await.expect_err("an overlap");
    assert_eq!(
        error.chain(),
        "failed to plan default/shop: failed to plan: cluster prod-1 is in waves \"a\" and \"b\""
    );
    assert_eq!(fleet.view().await.revision, 1);
}

#[tokio::test]
async fn an_action_on_a_run_that_was_replaced_is_answered_too() {
    let mut fleet = Fleet::new(1).await;
    fleet.install().await;
    fleet.apply("2").await;
    fleet.plan().await.expect("planned");
    fleet.apply("3").await;
    // Said to revision 2 in the moment in which 3 takes its place.
    let action = fleet.act(ActionType::Suspend).await;
    fleet.plan().await.expect("planned");
    assert_eq!(fleet.view().await.revision, 3);
    let answered = actions::get(&fleet.store, action)
        .await
        .expect("an action")
        .expect("an action");
    assert_eq!(answered.result.expect("a result")["outcome"], "Stale");
}
