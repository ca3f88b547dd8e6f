//! Whether the metrics of a cluster answer its agent.

use std::{collections::BTreeMap, sync::Arc};

use bellwether_api::{call::Condition, cluster::ClusterSpec, fleet::MetricsDefaults};
use bellwether_proto::wire::{
    MetricsAnswer, MetricsReport, MetricsSource, agent_message::Message as Up,
    hub_message::Message as Down,
};
use bellwether_store::{
    blobs::Secrecy,
    clusters::{self, ClusterPatch},
    records::{self, NewRecord, RecordKey, RecordKind},
};
use serde_json::json;
use uuid::Uuid;

use crate::{
    agent::{Held, Session, connect, joined},
    harness::{Hub, Site, eventually},
};

fn source(address: &str, secret: &str) -> MetricsSource {
    MetricsSource {
        address: address.to_owned(),
        secret: secret.to_owned(),
        secret_key: String::new(),
    }
}

/// The next word on where to ask.
async fn told(session: &mut Session) -> Vec<MetricsSource> {
    loop {
        match session.hear().await.unwrap() {
            Some(Down::Metrics(told)) => return told.sources,
            Some(_) => {}
            None => panic!("the stream ended"),
        }
    }
}

/// Sets the cluster's own address; absent = it has none.
async fn set_address(hub: &Hub, name: &str, address: Option<&str>) {
    let spec = ClusterSpec {
        traffic: Vec::new(),
        taints: Vec::new(),
        metrics: address.map(|address| MetricsDefaults {
            address: address.to_owned(),
            ..MetricsDefaults::default()
        }),
    };
    let patch = ClusterPatch {
        spec: Some(json!(spec)),
        ..ClusterPatch::default()
    };
    let mut tx = hub.app().store.begin().await.unwrap();
    clusters::update(&mut tx, name, &patch, None).await.unwrap();
    tx.commit().await.unwrap();
    hub.app().pokes.plan.notify_one();
}

/// Sets the fleet with its address; absent = it names none.
async fn set_fleet(hub: &Hub, address: Option<&str>) {
    let key = RecordKey {
        kind: RecordKind::Fleet,
        namespace: String::new(),
        name: "all".to_owned(),
    };
    let metrics = address.map(
        |address| json!({"metrics": {"address": address, "secretRef": {"name": "prometheus"}}}),
    );
    let new = NewRecord {
        key,
        uid: Uuid::now_v7(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        spec: json!({"clusters": ["eu-1"], "defaults": metrics.unwrap_or_else(|| json!({}))}),
        secrecy: Secrecy::Plain,
        by: "tests".to_owned(),
        reason: String::new(),
    };
    let mut tx = hub.app().store.begin().await.unwrap();
    records::apply(&mut tx, &new, None, hub.app().clock.now())
        .await
        .unwrap();
    tx.commit().await.unwrap();
    hub.app().pokes.plan.notify_one();
}

async fn recorded(hub: &Hub, cluster: Uuid) -> Option<Condition> {
    let found = clusters::by_id(&hub.app().store, cluster).await;
    found.unwrap().unwrap().metrics
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_are_told_where_to_ask_and_what_they_find_is_shown() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    bellwether_hub::loops::spawn(Arc::clone(hub.app()));
    let credentials = joined(&hub, "eu-1").await;
    let cluster = credentials.cluster;
    set_fleet(&hub, Some("http://fleet:9090")).await;
    let channel = connect(&hub, Some(&credentials)).await.unwrap();
    let mut session = Session::open(channel, &Held::default()).await.unwrap();
    session.say(Up::Metrics(MetricsReport::default())).await;
    // What was known when the session opened may be older than the fleet.
    let fleet = [source("http://fleet:9090", "prometheus")];
    while told(&mut session).await != fleet {}
    set_address(&hub, "eu-1", Some("http://own:9090")).await;
    assert_eq!(told(&mut session).await, [source("http://own:9090", "")]);
    assert_eq!(recorded(&hub, cluster).await, None, "nobody asked yet");

    let answer = |reason: &str, message: &str| {
        Up::Metrics(MetricsReport {
            asked: true,
            answers: vec![MetricsAnswer {
                address: "http://own:9090".to_owned(),
                reason: reason.to_owned(),
                message: message.to_owned(),
            }],
        })
    };
    session
        .say(answer("Unreachable", "failed to reach it"))
        .await;
    let bad = eventually("the silence", async || {
        recorded(&hub, cluster)
            .await
            .filter(|one| one.status == "False")
    })
    .await;
    assert_eq!(
        (bad.kind.as_str(), bad.reason.as_str(), bad.message.as_str()),
        (
            "MetricsReachable",
            "Unreachable",
            "http://own:9090: failed to reach it"
        )
    );
    session.say(answer("", "")).await;
    eventually("the answer", async || {
        recorded(&hub, cluster)
            .await
            .filter(|one| one.status == "True")
    })
    .await;

    set_fleet(&hub, None).await;
    set_address(&hub, "eu-1", None).await;
    while !told(&mut session).await.is_empty() {}
    session
        .say(Up::Metrics(MetricsReport {
            asked: true,
            answers: Vec::new(),
        }))
        .await;
    eventually("nothing to ask", async || {
        recorded(&hub, cluster).await.is_none().then_some(())
    })
    .await;
    hub.stop().await;
}
