use std::collections::BTreeMap;

use bellwether_api::{
    command::AbortCause,
    status::UnitOutcome,
    sync_policy::{DeletionPolicies, DeletionPolicy},
    view::RunPhase,
};
use bellwether_hub::loops::{LoopError, run_summaries};
use bellwether_store::{
    actions::ActionType,
    desired,
    events::{self, EventFilter, Order},
    records::RecordKind,
    releases, runs,
};
use serde_json::{Value, json};

use crate::fleet::{Fleet, shop};

#[tokio::test]
async fn deleting_an_application_takes_it_away_everywhere() {
    let mut fleet = Fleet::new(2).await;
    fleet.install().await;
    fleet.apply("2").await;
    fleet.plan().await.expect("planned");
    fleet.delete().await;
    fleet.plan().await.expect("planned");
    for key in ["application/default/shop", "command/default/shop"] {
        let holders = desired::holders(&fleet.store, key).await.expect("holders");
        assert!(holders.is_empty(), "{key}");
    }
    assert!(
        runs::latest(&fleet.store, &shop())
            .await
            .expect("an answer")
            .is_none()
    );
    fleet.apply("1").await;
    fleet.plan().await.expect("planned");
    assert_eq!(fleet.granted(1).await.len(), 3, "it starts anew");
    let run = fleet.view().await.run;
    let told = events::list(
        &fleet.store,
        &EventFilter::Run(run),
        Order::Oldest,
        None,
        100,
    )
    .await
    .expect("events");
    let granted = told
        .iter()
        .filter(|row| row.event.reason == "ClusterGranted");
    assert_eq!(granted.count(), 3, "the old one's numbers hide nothing");
}

/// Applied again and changed before its agents have said that the former one is gone.
#[tokio::test]
async fn no_cluster_goes_back_to_a_release_of_the_application_that_was_deleted_before() {
    let mut fleet = Fleet::new(2).await;
    fleet.install().await;
    fleet.delete().await;
    fleet.plan().await.expect("planned");
    for image in ["2", "3"] {
        fleet.apply(image).await;
        fleet.plan().await.expect("planned");
    }
    let name = fleet.granted(2).await.first().cloned().expect("a grant");
    fleet.report(&name, UnitOutcome::Succeeded).await;
    fleet.plan().await.expect("planned");
    let action = fleet.act_on(ActionType::Rollback, &name).await;
    fleet.plan().await.expect("planned");
    let (outcome, message) = fleet.answer(action).await;
    assert_eq!(outcome, "Stale", "{message}");
    assert!(
        message.contains("nothing ran there before this release"),
        "{message}"
    );
}

#[tokio::test]
async fn a_shrinking_destination_meets_the_brake() {
    let mut fleet = Fleet::new(4).await;
    fleet.install().await;
    let few = json!({"clusters": ["canary-1", "prod-1"]});
    fleet.apply_to("1", few.clone(), &[]).await;
    let error = fleet.plan().await.expect_err("the brake");
    assert!(
        matches!(
            error,
            LoopError::RemovalHeld {
                leaving: 3,
                holding: 5,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(fleet.granted(1).await.len(), 5, "nobody loses anything");
    fleet
        .apply_to("1", few, &[("bellwether.dev/allow-removal", "3")])
        .await;
    fleet.plan().await.expect("planned");
    assert_eq!(fleet.granted(1).await, ["canary-1", "prod-1"]);
    assert_eq!(fleet.view().await.revision, 1, "the release is the same");
}

/// Applies an application of two objects that says what becomes of them.
async fn apply_keeping(fleet: &Fleet, clusters: &[&str], deletion: &str) {
    let object = |name| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
            "data": {"deletion": deletion}})
    };
    let spec = json!({
        "destination": {"clusters": clusters}, "sync": {"deletion": deletion},
        "components": [{"name": "items", "manifests": [object("a"), object("b")]}],
        "waves": [{"name": "all", "maxConcurrent": "100%"}],
    });
    let kind = RecordKind::Application;
    fleet.record(kind, "default", "shop", spec, &[]).await;
}

/// What a cluster is told of the application: whether it is a tombstone, and what becomes of the objects.
async fn told(fleet: &Fleet, cluster: &str) -> (bool, Option<DeletionPolicy>) {
    let (is_gone, said) = told_by_component(fleet, cluster).await;
    (is_gone, said.map(|said| said.application))
}

async fn told_by_component(fleet: &Fleet, cluster: &str) -> (bool, Option<DeletionPolicies>) {
    let cluster = fleet.clusters[cluster].id;
    let snapshot = desired::snapshot(&fleet.store, cluster).await;
    let snapshot = snapshot.expect("an answer").expect("a cluster");
    let mut units = snapshot.units.into_iter();
    let unit = units.find(|unit| unit.key == "application/default/shop");
    let unit = unit.expect("it had the application");
    (unit.digest.is_none(), unit.deletion)
}

#[tokio::test]
async fn a_cluster_that_leaves_in_the_change_that_says_orphan_leaves_its_objects() {
    let mut fleet = Fleet::new(2).await;
    let (all, some) = (["canary-1", "prod-1", "prod-2"], ["canary-1", "prod-1"]);
    apply_keeping(&fleet, &all, "Delete").await;
    fleet.plan().await.expect("planned");
    fleet.succeed_all().await;
    assert_eq!(told(&fleet, "prod-2").await, (false, None));

    apply_keeping(&fleet, &some, "Orphan").await;
    fleet.plan().await.expect("planned");
    let orphans = Some(DeletionPolicy::Orphan);
    assert_eq!(told(&fleet, "prod-2").await, (true, orphans));
    // Who stays is told by its release.
    assert_eq!(told(&fleet, "prod-1").await, (false, None));
    let (_, bundle) = fleet.bundle("prod-1").await.expect("a bundle");
    assert_eq!(bundle.sync.deletion, DeletionPolicy::Orphan);

    // It comes back, and what was said when it left is said no more.
    fleet.succeed_all().await;
    apply_keeping(&fleet, &all, "Orphan").await;
    fleet.plan().await.expect("planned");
    assert_eq!(told(&fleet, "prod-2").await, (false, None));
    fleet.succeed_all().await;
    apply_keeping(&fleet, &some, "Delete").await;
    fleet.plan().await.expect("planned");
    let deletes = Some(DeletionPolicy::Delete);
    assert_eq!(told(&fleet, "prod-2").await, (true, deletes));
}

#[tokio::test]
async fn a_cluster_that_leaves_goes_by_the_word_of_a_component_that_it_never_heard() {
    let mut fleet = Fleet::new(2).await;
    let apply = async |fleet: &Fleet, clusters: &[&str], own: Value| {
        let component = |name: &str, sync: Value| {
            let manifest =
                json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
            json!({"name": name, "sync": sync, "manifests": [manifest]})
        };
        let spec = json!({
            "destination": {"clusters": clusters},
            "components": [component("db", own), component("web", json!({}))],
            "waves": [{"name": "all", "maxConcurrent": "100%"}],
        });
        let kind = RecordKind::Application;
        fleet.record(kind, "default", "shop", spec, &[]).await;
    };
    let (all, some) = (["canary-1", "prod-1", "prod-2"], ["canary-1", "prod-1"]);
    apply(&fleet, &all, json!({})).await;
    fleet.plan().await.expect("planned");
    fleet.succeed_all().await;
    apply(&fleet, &some, json!({"deletion": "Orphan"})).await;
    fleet.plan().await.expect("planned");
    let (is_gone, said) = told_by_component(&fleet, "prod-2").await;
    let said = said.expect("a word");
    assert!(is_gone);
    assert_eq!(said.application, DeletionPolicy::Delete);
    let orphan = Some(DeletionPolicy::Orphan);
    let expected = [("db".to_owned(), orphan), ("web".to_owned(), None)];
    assert_eq!(said.components, BTreeMap::from(expected));
}

#[tokio::test]
async fn one_that_left_is_gone_from_the_run() {
    let mut fleet = Fleet::new(2).await;
    fleet.install().await;
    fleet.apply("2").await;
    fleet.plan().await.expect("planned");
    fleet
        .apply_to("2", json!({"clusters": ["prod-1", "prod-2"]}), &[])
        .await;
    fleet.plan().await.expect("planned");
    assert!(fleet.bundle("canary-1").await.is_none());
    assert_eq!(
        fleet.granted(2).await,
        ["prod-1"],
        "the run goes on without it"
    );
    fleet.report("prod-1", UnitOutcome::Succeeded).await;
    fleet.plan().await.expect("planned");
    assert_eq!(fleet.granted(2).await, ["prod-1", "prod-2"]);
    assert_eq!(
        releases::list(&fleet.store, &shop(), 9)
            .await
            .expect("releases")
            .len(),
        2
    );
}

/// The Rollout of the application, by which the run waits for humans.
fn guard(on_deletion: &str) -> serde_json::Value {
    json!({
        "application": "shop",
        "onDeletion": on_deletion,
        "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "strategy": {"canary": {"steps": [{"weight": 20}]}},
    })
}

#[tokio::test]
async fn a_deleted_rollout_that_completes_lets_the_run_go_on() {
    let mut fleet = Fleet::new(2).await;
    fleet
        .record(
            RecordKind::Rollout,
            "default",
            "web",
            guard("Complete"),
            &[],
        )
        .await;
    fleet.install().await;
    fleet.apply("2").await;
    fleet.plan().await.expect("planned");
    fleet.report("canary-1", UnitOutcome::Progressing).await;
    fleet.delete_record(RecordKind::Rollout, "web").await;
    fleet.plan().await.expect("planned");
    let told = fleet.command("canary-1").await.expect("a command");
    assert_eq!(told.complete, ["web"]);
    assert_eq!(told.abort, None);
    for name in ["canary-1", "prod-1", "prod-2"] {
        assert_eq!(fleet.view().await.revision, 2, "{name} is still to come");
        fleet.report(name, UnitOutcome::Succeeded).await;
        fleet.plan().await.expect("planned");
    }
    let view = fleet.view().await;
    assert_eq!(view.revision, 3, "what follows has no Rollout");
    let (_, bundle) = fleet.bundle("canary-1").await.expect("a bundle");
    assert!(bundle.rollouts.is_empty());
    let history = run_summaries(&fleet.store, &shop(), 9).await.expect("runs");
    assert_eq!(history[1].state, RunPhase::Succeeded, "{history:?}");
    assert_eq!(
        (history[1].by.as_str(), history[0].by.as_str()),
        ("ana", "eve")
    );
    assert_eq!(history[0].reason, "no longer needed");
}

#[tokio::test]
async fn a_deleted_rollout_that_does_not_complete_ends_the_run() {
    let mut fleet = Fleet::new(2).await;
    fleet
        .record(
            RecordKind::Rollout,
            "default",
            "web",
            guard("Rollback"),
            &[],
        )
        .await;
    fleet.install().await;
    fleet.apply("2").await;
    fleet.plan().await.expect("planned");
    fleet.report("canary-1", UnitOutcome::Progressing).await;
    fleet.delete_record(RecordKind::Rollout, "web").await;
    fleet.plan().await.expect("planned");
    let told = fleet.command("canary-1").await.expect("a command");
    assert_eq!(
        told.abort.map(|abort| abort.cause),
        Some(AbortCause::Deleted)
    );
    assert!(told.complete.is_empty());
}

#[tokio::test]
async fn a_cluster_that_lost_a_label_keeps_what_it_holds() {
    let fleet = Fleet::new(4).await;
    let names: Vec<_> = (0..6).map(|number| format!("app-{number}")).collect();
    let both = json!({"clusters": ["prod-1", "prod-2"]});
    for name in &names {
        fleet.apply_named(name, both.clone(), 1, &[]).await;
    }
    fleet.plan().await.expect("planned");
    // Each leaves one of two clusters, which is one's right; all of them at once is not.
    let elsewhere = json!({"clusters": ["prod-2"]});
    for name in &names {
        fleet.apply_named(name, elsewhere.clone(), 1, &[]).await;
    }
    let error = fleet.plan().await.expect_err("the brake");
    assert!(
        matches!(
            error,
            LoopError::ClusterEmptied {
                leaving: 6,
                holding: 6,
                ..
            }
        ),
        "{error}"
    );
    for name in &names {
        assert_eq!(fleet.holders(name).await, ["prod-1", "prod-2"], "{name}");
    }
    let allowed = [("bellwether.dev/allow-removal", "1")];
    for name in &names {
        fleet
            .apply_named(name, elsewhere.clone(), 1, &allowed)
            .await;
    }
    fleet.plan().await.expect("planned");
    for name in &names {
        assert_eq!(fleet.holders(name).await, ["prod-2"], "{name}");
    }
}

#[tokio::test]
async fn a_release_that_drops_many_objects_waits() {
    let fleet = Fleet::new(1).await;
    let everywhere = json!({"fleet": "quickstart"});
    fleet.apply_named("shop", everywhere.clone(), 10, &[]).await;
    fleet.plan().await.expect("planned");
    fleet.apply_named("shop", everywhere.clone(), 4, &[]).await;
    let error = fleet.plan().await.expect_err("the brake");
    assert!(
        matches!(
            error,
            LoopError::PruneHeld {
                dropped: 6,
                held: 10,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(fleet.view().await.revision, 1, "no release is made");
    let allowed = [("bellwether.dev/allow-prune", "6")];
    fleet.apply_named("shop", everywhere, 4, &allowed).await;
    fleet.plan().await.expect("planned");
    assert_eq!(fleet.view().await.revision, 2);
}
