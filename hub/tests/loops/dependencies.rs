//! Applications that wait for others, and add-ons that come before all of them.

use bellwether_api::{
    reference::NamespacedName,
    status::UnitOutcome,
    view::{ClusterPhase, RunPhase, RunView},
};
use bellwether_hub::loops::{addon_health, run_view};
use bellwether_store::records::RecordKind;
use serde_json::{Value, json};

use crate::fleet::Fleet;

fn app(name: &str) -> NamespacedName {
    NamespacedName {
        namespace: "default".to_owned(),
        name: name.to_owned(),
    }
}

/// Writes an application of one ConfigMap.
async fn write(fleet: &Fleet, name: &str, destination: Value, after: &[&str], value: &str) {
    let after: Vec<Value> = after.iter().map(|name| json!({"name": name})).collect();
    let spec = json!({
        "destination": destination,
        "dependsOn": after,
        "components": [{"name": "items", "manifests": [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
             "data": {"value": value}},
        ]}],
        "waves": [{"name": "all", "maxConcurrent": "100%"}],
    });
    fleet
        .record(RecordKind::Application, "default", name, spec, &[])
        .await;
}

fn everywhere() -> Value {
    json!({"fleet": "quickstart"})
}

async fn view(fleet: &Fleet, name: &str) -> RunView {
    run_view(&fleet.store, None, &app(name), None, fleet.now())
        .await
        .expect("an answer")
        .expect("a view")
}

async fn succeed(fleet: &mut Fleet, name: &str, clusters: &[&str]) {
    for cluster in clusters {
        fleet
            .report_of(&app(name), cluster, UnitOutcome::Succeeded)
            .await;
    }
    fleet.plan().await.expect("planned");
}

#[tokio::test]
async fn an_application_comes_into_a_cluster_once_another_is_healthy_there() {
    let mut fleet = Fleet::new(2).await;
    write(&fleet, "web", everywhere(), &["db"], "1").await;
    write(&fleet, "db", everywhere(), &[], "1").await;
    fleet.plan().await.expect("planned");
    assert_eq!(fleet.holders("db").await, ["canary-1", "prod-1", "prod-2"]);
    assert_eq!(fleet.holders("web").await, [""; 0]);

    succeed(&mut fleet, "db", &["canary-1", "prod-2"]).await;
    assert_eq!(fleet.holders("web").await, ["canary-1", "prod-2"]);
    let shown = view(&fleet, "web").await;
    let messages: Vec<&str> = shown
        .waiting_on
        .iter()
        .filter(|wait| wait.reason == "DependsOn")
        .map(|wait| wait.message.as_str())
        .collect();
    assert_eq!(
        messages,
        [
            "waiting for application default/db: 2 of 3 clusters healthy",
            "prod-1 waits for application default/db: the agent has not reported on it yet",
        ]
    );
    let waiting = &shown.waves[0].clusters;
    let waiting = waiting.iter().find(|one| one.name == "prod-1");
    let waiting = waiting.expect("it is shown");
    assert_eq!(
        (waiting.state, waiting.waiting_on[0].reason.as_str()),
        (ClusterPhase::Queued, "DependsOn")
    );

    succeed(&mut fleet, "db", &["prod-1"]).await;
    assert_eq!(fleet.holders("web").await.len(), 3);
    succeed(&mut fleet, "web", &["canary-1", "prod-1", "prod-2"]).await;
    assert_eq!(view(&fleet, "web").await.state, RunPhase::Succeeded);

    // Whoever is under way again holds up the next release, and nothing that runs.
    write(&fleet, "db", everywhere(), &[], "2").await;
    fleet.plan().await.expect("planned");
    let revision = async |fleet: &Fleet, cluster: &str| {
        let (_, bundle) = fleet
            .bundle_of(&app("web"), cluster)
            .await
            .expect("a bundle");
        bundle.revision
    };
    write(&fleet, "web", everywhere(), &["db"], "2").await;
    fleet.plan().await.expect("planned");
    for cluster in ["canary-1", "prod-1", "prod-2"] {
        assert_eq!(revision(&fleet, cluster).await, 1, "{cluster}");
    }
    fleet
        .report_of(&app("db"), "prod-1", UnitOutcome::Failed)
        .await;
    succeed(&mut fleet, "db", &["prod-2"]).await;
    assert_eq!(revision(&fleet, "prod-2").await, 2);
    assert_eq!(
        revision(&fleet, "prod-1").await,
        1,
        "a failed release lets nobody go on"
    );
}

#[tokio::test]
async fn what_is_placed_elsewhere_is_waited_for_there() {
    let mut fleet = Fleet::new(2).await;
    let prods = json!({"selector": {"matchLabels": {"tier": "prod"}}});
    write(&fleet, "db", prods, &[], "1").await;
    write(
        &fleet,
        "web",
        json!({"clusters": ["canary-1"]}),
        &["db"],
        "1",
    )
    .await;
    fleet.plan().await.expect("planned");
    succeed(&mut fleet, "db", &["prod-1"]).await;
    assert_eq!(fleet.holders("web").await, [""; 0]);
    let shown = view(&fleet, "web").await;
    assert_eq!(
        shown.waiting_on[0].message,
        "waiting for application default/db: 1 of 2 clusters healthy"
    );
    succeed(&mut fleet, "db", &["prod-2"]).await;
    assert_eq!(fleet.holders("web").await, ["canary-1"]);
}

#[tokio::test]
async fn nothing_is_taken_for_granted_of_what_is_not_there() {
    let fleet = Fleet::new(1).await;
    write(&fleet, "web", everywhere(), &["gone"], "1").await;
    fleet.plan().await.expect("planned");
    assert_eq!(fleet.holders("web").await, [""; 0]);
    let shown = view(&fleet, "web").await;
    assert!(
        shown
            .waiting_on
            .iter()
            .any(|wait| wait.message.ends_with("there is no such application")),
        "{:?}",
        shown.waiting_on
    );
}

async fn addons(fleet: &Fleet, names: &[&str]) {
    let addons: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
    let spec = json!({"selector": {"matchLabels": {"tier": "prod"}}, "addons": addons});
    fleet
        .record(RecordKind::Fleet, "", "prods", spec, &[])
        .await;
}

#[tokio::test]
async fn members_get_add_ons_and_a_late_joiner_gets_them_first() {
    let mut fleet = Fleet::new(2).await;
    let canary = json!({"clusters": ["canary-1"]});
    write(&fleet, "agent", canary.clone(), &["certs"], "1").await;
    write(&fleet, "certs", everywhere(), &[], "1").await;
    write(&fleet, "web", everywhere(), &[], "1").await;
    fleet.plan().await.expect("planned");
    let all = ["canary-1", "prod-1", "prod-2"];
    succeed(&mut fleet, "certs", &all).await;
    succeed(&mut fleet, "web", &all).await;
    succeed(&mut fleet, "agent", &["canary-1"]).await;
    assert_eq!(fleet.holders("agent").await, ["canary-1"]);

    // Becoming an add-on brings it to every member, as late joiners, and holds up nothing that is
    // there already.
    addons(&fleet, &["agent"]).await;
    fleet.plan().await.expect("planned");
    assert_eq!(fleet.holders("agent").await, ["canary-1", "prod-1"]);
    write(&fleet, "web", everywhere(), &[], "2").await;
    fleet.plan().await.expect("planned");
    for cluster in all {
        let (_, bundle) = fleet
            .bundle_of(&app("web"), cluster)
            .await
            .expect("a bundle");
        assert_eq!(bundle.revision, 2, "{cluster}");
    }
    let spec =
        json!({"selector": {"matchLabels": {"tier": "prod"}}, "addons": [{"name": "agent"}]});
    let spec = serde_json::from_value(spec).expect("a fleet");
    succeed(&mut fleet, "agent", &["prod-1"]).await;
    let health = addon_health(&fleet.store, &spec, fleet.now())
        .await
        .expect("an answer");
    assert_eq!((health[0].healthy, health[0].clusters), (1, 2));
    assert_eq!(fleet.holders("agent").await, all);
    succeed(&mut fleet, "agent", &["prod-2"]).await;
    succeed(&mut fleet, "web", &all).await;

    // Who joins late gets what the add-on waits for, the add-on, and then the others.
    fleet.join("prod-3", "prod").await;
    fleet.plan().await.expect("planned");
    let has =
        async |fleet: &Fleet, name: &str| fleet.holders(name).await.contains(&"prod-3".to_owned());
    assert!(has(&fleet, "certs").await);
    assert!(!has(&fleet, "agent").await && !has(&fleet, "web").await);
    succeed(&mut fleet, "certs", &["prod-3"]).await;
    assert!(has(&fleet, "agent").await && !has(&fleet, "web").await);
    succeed(&mut fleet, "agent", &["prod-3"]).await;
    assert!(has(&fleet, "web").await);

    // Taking it off the fleet takes it away, under the brake: three of four clusters at once.
    addons(&fleet, &[]).await;
    fleet.plan().await.expect_err("the brake holds");
    assert_eq!(fleet.holders("agent").await.len(), 4);
}

/// As one that a newer hub wrote.
#[tokio::test]
async fn add_ons_of_a_fleet_that_cannot_be_read_stay_where_they_are() {
    let mut fleet = Fleet::new(2).await;
    write(&fleet, "agent", json!({"clusters": ["canary-1"]}), &[], "1").await;
    addons(&fleet, &["agent"]).await;
    fleet.plan().await.expect("planned");
    let all = ["canary-1", "prod-1", "prod-2"];
    succeed(&mut fleet, "agent", &all).await;
    assert_eq!(fleet.holders("agent").await, all);

    let spec = json!({"selector": "of a newer hub", "addons": [{"name": "agent"}]});
    fleet
        .record(RecordKind::Fleet, "", "prods", spec, &[])
        .await;
    write(&fleet, "web", everywhere(), &[], "1").await;
    let held = fleet.plan().await.expect_err("its members are not known");
    let said = held.chain();
    assert!(said.contains("fleet \"prods\" cannot be read"), "{said}");
    assert_eq!(fleet.holders("agent").await, all);
    // Nobody else is held up.
    assert_ne!(fleet.holders("web").await, [""; 0]);

    addons(&fleet, &["agent"]).await;
    fleet.plan().await.expect("planned");
    assert_eq!(fleet.holders("agent").await, all);
}

#[tokio::test]
async fn a_component_goes_where_it_is_placed_and_leaves_under_the_brake() {
    let mut fleet = Fleet::new(2).await;
    let map =
        |name: String| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
    let apply = async |fleet: &Fleet, tier: &str, annotations: &[(&str, &str)]| {
        let items: Vec<Value> = (0..8).map(|number| map(format!("item-{number}"))).collect();
        let spec = json!({
            "destination": {"fleet": "quickstart"},
            "components": [
                {"name": "web", "manifests": [map("web".to_owned())], "dependsOn": ["items"]},
                {"name": "items", "manifests": items,
                 "destination": {"selector": {"matchLabels": {"tier": tier}}}},
            ],
            "waves": [{"name": "all", "maxConcurrent": "100%"}],
        });
        fleet
            .record(
                RecordKind::Application,
                "default",
                "shop",
                spec,
                annotations,
            )
            .await;
    };
    let parts = async |fleet: &Fleet, cluster: &str| {
        let (_, bundle) = fleet.bundle(cluster).await.expect("a bundle");
        let parts = bundle.components.into_iter();
        let parts = parts.map(|one| (one.name, one.depends_on.len()));
        (bundle.revision, parts.collect::<Vec<_>>())
    };
    let whole = || vec![("web".to_owned(), 1), ("items".to_owned(), 0)];
    let alone = || vec![("web".to_owned(), 0)];

    apply(&fleet, "prod", &[]).await;
    fleet.plan().await.expect("planned");
    assert_eq!(parts(&fleet, "prod-1").await, (1, whole()));
    assert_eq!(parts(&fleet, "canary-1").await, (1, alone()));
    fleet.succeed_all().await;
    fleet.plan().await.expect("planned");

    apply(&fleet, "canary", &[]).await;
    let held = fleet.plan().await.expect_err("the brake holds");
    assert!(held.to_string().contains("8 of its 9 objects"), "{held}");
    assert_eq!(parts(&fleet, "prod-1").await, (1, whole()));
    apply(&fleet, "canary", &[("bellwether.dev/allow-prune", "8")]).await;
    fleet.plan().await.expect("planned");
    assert_eq!(parts(&fleet, "prod-1").await, (2, alone()));
    assert_eq!(parts(&fleet, "canary-1").await, (2, whole()));
}
