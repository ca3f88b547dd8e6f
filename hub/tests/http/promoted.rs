//! The condition that says whether the newest release is the one that serves.

use serde_json::{Value, json};

use crate::harness::{Caller, Hub, application, eventually, fleet, rollout};

async fn promoted(caller: &Caller, kind: &str, name: &str) -> Option<Value> {
    let path = format!("/api/v1/namespaces/shop/{kind}/{name}");
    let item = caller.get(&path).await.body;
    let conditions = item["status"]["conditions"].as_array()?;
    let mut found = conditions.iter();
    found.find(|one| one["type"] == "Promoted").cloned()
}

#[tokio::test]
async fn a_rollout_says_whether_its_newest_release_is_promoted() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    hub.announce("eu-1", &json!({})).await;
    let shop = [
        fleet("all"),
        application("shop", "shop", "all", "web:1"),
        rollout("shop", "web", "shop"),
    ];
    admin.applied(&shop.join("---\n")).await;
    // Its agent never comes: nothing is known, and nothing is promoted.
    let condition = eventually("the release", async || {
        let found = promoted(&admin, "rollouts", "web").await?;
        (found["message"] == "0 of 1 clusters are done").then_some(found)
    })
    .await;
    assert_eq!(condition["status"], "Unknown", "{condition}");
    let reason = condition["reason"].as_str().unwrap_or_default();
    assert!(["Pending", "Progressing"].contains(&reason), "{condition}");
    assert_eq!(promoted(&admin, "applications", "shop").await, None);
    // So does one whose workload somebody else delivers.
    let adopted = rollout("shop", "other", "shop")
        .replace(
            "  application: shop\n",
            "  destination: {clusters: [eu-1]}\n",
        )
        .replace("name: web}\n", "name: other, namespace: default}\n");
    admin.applied(&adopted).await;
    let condition = eventually("the grant", async || {
        let found = promoted(&admin, "rollouts", "other").await?;
        (found["message"] == "0 of 1 clusters are done").then_some(found)
    })
    .await;
    assert_eq!(condition["status"], "Unknown", "{condition}");
    hub.running.stop().await;
}
