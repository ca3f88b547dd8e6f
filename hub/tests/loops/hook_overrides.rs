//! Overrides that mean objects which charts run at some moment, and no others.

use super::*;

async fn staged(overrides: Value) -> (Stage, Result<(), LoopError>) {
    let shelf = Shelf::with_chart();
    shelf.put("templates/migrate.yaml", MIGRATION);
    let stage = Stage::new(&shelf).await;
    stage
        .apply_components(json!([chart(|_| {})]), json!({}), overrides)
        .await;
    let settled = stage.settle().await;
    (stage, settled)
}

#[tokio::test]
async fn an_override_that_means_a_hook_alone_changes_it_where_it_holds() {
    let target = json!({"kind": "Job", "name": "migrate"});
    let (stage, settled) = staged(json!([
        {"name": "slow", "clusters": ["canary-1"], "patches": [
            {"target": target, "strategic": {"spec": {"template": {"spec": {"containers": [
                {"name": "migrate", "image": "migrate:{{ cluster.name }}"}]}}}}},
        ]},
        {"name": "none", "clusters": ["prod-1"], "remove": [target]},
    ]))
    .await;
    settled.expect("released");
    let (_, canary) = stage.fleet.bundle("canary-1").await.expect("a bundle");
    let hook = &canary.components[0].hooks[0].object;
    let container = &hook["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "migrate:canary-1");
    let (_, prod) = stage.fleet.bundle("prod-1").await.expect("a bundle");
    assert_eq!(prod.components[0].hooks, []);
    assert_eq!(
        canary.components[0].objects.len(),
        prod.components[0].objects.len()
    );
}

#[tokio::test]
async fn an_override_that_means_neither_object_nor_hook_is_refused() {
    let (_, settled) = staged(json!([
        {"name": "a", "remove": [{"kind": "Job", "name": "migrat"}]},
    ]))
    .await;
    let error = settled.expect_err("refused").chain();
    assert!(
        error.contains("overrides[0].remove[0]") && error.contains("is Job migrat"),
        "{error}"
    );
}
