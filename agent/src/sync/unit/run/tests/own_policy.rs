//! What a component says of its objects itself, whatever its application says.

use bellwether_api::{application::ComponentSync, sync_policy::IgnoreRule};

use super::{
    order::{FIRST, ordered},
    *,
};

fn rule(pointer: &str) -> IgnoreRule {
    serde_json::from_value(json!({"target": {"kind": "StatefulSet"}, "jsonPointers": [pointer]}))
        .expect("a rule")
}

/// The database as it is wanted: whether its number of pods is left to whoever changed it, and whether
/// the release may make it anew.
async fn wanted(own: Option<ComponentSync>, force: bool) -> (bool, bool) {
    let house = House::ordered().await;
    let mut bundle = Bundle::clone(&ordered("v2"));
    bundle.sync.ignore = vec![rule("/spec/replicas")];
    bundle.sync.force = force;
    let mut components = bundle.components.iter_mut();
    let database = components.find(|one| one.name == FIRST);
    database.expect("the database").sync = own;
    let all = house.unit.wanted(&bundle).await.expect("wanted");
    let database = all.iter().find(|one| one.target.name == FIRST);
    let database = database.expect("the database");
    let live = json!({"metadata": {"managedFields": [{"manager": "kubectl", "operation": "Update",
        "apiVersion": "apps/v1", "fieldsV1": {"f:spec": {"f:replicas": {}}}}]}, "spec": {"replicas": 7}});
    let applied = database.over(&live, "bellwether-");
    let is_left = applied.pointer("/spec/replicas").is_none();
    (is_left, bundle.forces(FIRST))
}

#[tokio::test(start_paused = true)]
async fn a_component_says_itself_what_is_left_to_others_and_what_is_made_anew() {
    assert_eq!(wanted(None, true).await, (true, true), "as the application");
    let own = ComponentSync {
        force: Some(false),
        ignore: Some(Vec::new()),
        ..ComponentSync::default()
    };
    assert_eq!(wanted(Some(own), true).await, (false, false));
    let own = ComponentSync {
        force: Some(true),
        ignore: Some(vec![rule("/metadata/labels")]),
        ..ComponentSync::default()
    };
    assert_eq!(
        wanted(Some(own), false).await,
        (false, true),
        "its rules stand in the place of all of the application's"
    );
}
