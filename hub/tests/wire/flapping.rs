//! Agents that come and go.

use serde_json::Value;

use crate::{
    agent::{Held, Session, connect, joined},
    harness::{Hub, Site, eventually},
    statuses::SHOP,
};

async fn shown_as(hub: &Hub, condition: &str) -> Value {
    eventually(&format!("uat-1 shown as {condition}"), async || {
        let item = hub.get("clusters/uat-1").await;
        (item["status"]["condition"] == condition).then_some(item)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_comes_and_goes_is_shown_as_not_heard_and_gets_its_grants() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let credentials = joined(&hub, "uat-1").await;
    let mut held = Held::default();
    for _ in 0..3 {
        let channel = connect(&hub, Some(&credentials)).await.unwrap();
        let session = Session::open(channel, &held).await.unwrap();
        shown_as(&hub, "Ready").await;
        drop(session);
        let item = shown_as(&hub, "Unknown").await;
        let message = item["status"]["message"].as_str().unwrap();
        assert!(message.starts_with("not heard"), "{message}");
    }
    let channel = connect(&hub, Some(&credentials)).await.unwrap();
    let mut session = Session::open(channel, &held).await.unwrap();
    let item = eventually("the reason", async || {
        let item = hub.get("clusters/uat-1").await;
        let message = item["status"]["message"].as_str()?.to_owned();
        message.contains("comes and goes").then_some(item)
    })
    .await;
    assert_eq!(item["status"]["condition"], "Unknown", "{item}");
    // What is shown stops nothing: what it is granted comes.
    let written = hub.write(credentials.cluster, &[(SHOP, Some(b"1"))]).await;
    session
        .catch_up(&mut held, written.unwrap().generation)
        .await;
    hub.stop().await;
}
