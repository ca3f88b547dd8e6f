//! Two hubs on one database, both pointed at the cluster.

use bellwether_hub::app::App;
use bellwether_store::leases;

use super::Scene;
use crate::harness::{Hub, eventually, fleet};

fn mirrors(app: &App) -> bool {
    let state = app.loops.all().remove("custom-resources");
    state.is_some_and(|state| state.did.starts_with("mirrors"))
}

async fn version(hub: &Hub, name: &str) -> String {
    let held = hub.admin().get(&format!("/api/v1/fleets/{name}")).await;
    assert_eq!(held.body["metadata"]["managedBy"], "CustomResource");
    held.body["metadata"]["resourceVersion"].to_string()
}

#[tokio::test]
async fn of_two_hubs_one_mirrors_and_the_other_takes_over_when_it_is_killed() {
    let scene = Scene::start().await;
    scene.cluster.apply("fleets", &fleet("one"));
    scene.says("fleets", ("", "one"), "Ready", "Stored").await;
    let heir = Scene::hub(&scene.database, &scene.folder).await;
    let (dead, app) = (&scene.hub.running.app, &heir.running.app);
    eventually("the second to say that the first mirrors", async || {
        let state = app.loops.all().remove("custom-resources")?;
        (state.did == "another hub mirrors").then_some(())
    })
    .await;
    scene.cluster.apply("fleets", &fleet("two"));
    scene.says("fleets", ("", "two"), "Ready", "Stored").await;
    assert!(mirrors(dead) && !mirrors(app));
    let before = [version(&heir, "one").await, version(&heir, "two").await];
    // Its leases are not given back, as by a process that is killed.
    dead.shutdown.cancel();
    scene.cluster.apply("fleets", &fleet("three"));
    eventually("the first to count as gone", async || {
        let live = leases::live_replicas(&app.store, app.clock.now()).await;
        (!live.unwrap().contains(&dead.replica)).then_some(())
    })
    .await;
    scene.says("fleets", ("", "three"), "Ready", "Stored").await;
    assert!(mirrors(app));
    // Nothing was written twice, and nothing deleted.
    let writes = scene.cluster.writes();
    for name in ["one", "two", "three"] {
        for what in ["patch", "status"] {
            let write = format!("{what} fleets//{name}");
            let count = writes.iter().filter(|one| **one == write).count();
            assert_eq!(count, 1, "{write}: {writes:?}");
        }
        version(&heir, name).await;
    }
    let after = [version(&heir, "one").await, version(&heir, "two").await];
    assert_eq!(after, before);
}
