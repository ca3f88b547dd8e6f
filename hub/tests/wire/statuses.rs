//! Statuses and samples on their way up.

use bellwether_api::{
    reference::NamespacedName,
    status::{Health, RunEvent, Severity, UnitOutcome, UnitStatus},
};
use bellwether_proto::wire::{
    self, BulkMessage, Sample, Samples, Status, agent_message::Message as Up, bulk_message,
    hub_message::Message as Down, link_client::LinkClient,
};
use bellwether_store::{
    events::{self, EventFilter, Order},
    status::list_for_cluster,
};
use reqwest::{Method, StatusCode};
use serde_json::json;
use uuid::Uuid;

use crate::{
    agent::{Held, Session, connect, joined},
    harness::{Site, eventually},
};

pub const SHOP: &str = "application/default/shop";

pub fn status(outcome: UnitOutcome, events: Vec<RunEvent>) -> UnitStatus {
    UnitStatus {
        application: NamespacedName {
            namespace: "default".into(),
            name: "shop".into(),
        },
        digest: "d".into(),
        generation: 1,
        run: Uuid::nil(),
        attempt: 1,
        release: "r".into(),
        outcome,
        reason: String::new(),
        applied_release: None,
        health: Health::Healthy,
        objects: Vec::new(),
        object_count: 0,
        rollouts: Vec::new(),
        waiting_on: Vec::new(),
        events,
        executed: Vec::new(),
        orphans: Vec::new(),
        warnings: Vec::new(),
    }
}

pub fn event(seq: u64) -> RunEvent {
    RunEvent {
        notify: Vec::new(),
        seq,
        at: "2026-01-01T00:00:00Z".into(),
        run: Uuid::nil(),
        attempt: 1,
        severity: Severity::Info,
        reason: "Stepped".into(),
        object: None,
        message: format!("step {seq}"),
    }
}

pub fn say(sequence: u64, status: &UnitStatus) -> Up {
    let detail_json = serde_json::to_vec(status).unwrap().into();
    let unit = wire::UnitStatus {
        key: SHOP.into(),
        sequence,
        detail_json,
    };
    Up::Status(Status { units: vec![unit] })
}

async fn next_ack(session: &mut Session) -> wire::StatusAcked {
    loop {
        if let Down::StatusAck(ack) = session.hear().await.unwrap().expect("the stream goes on") {
            return ack.units.into_iter().next_back().unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn status_is_confirmed_once_it_is_committed() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let credentials = joined(&hub, "uat-1").await;
    let channel = connect(&hub, Some(&credentials)).await.unwrap();
    let mut session = Session::open(channel, &Held::default()).await.unwrap();
    let liveness = hub.app().sessions.liveness(credentials.cluster).unwrap();
    assert!(liveness.last_beat >= liveness.connected_since);

    let progressing = status(UnitOutcome::Progressing, vec![event(1), event(2)]);
    session.say(say(1, &progressing)).await;
    let ack = next_ack(&mut session).await;
    assert_eq!(
        (ack.key.as_str(), ack.sequence, ack.event_sequence),
        (SHOP, 1, 2)
    );
    let store = &hub.app().store;
    let rows = list_for_cluster(store, credentials.cluster).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].detail["outcome"], "Progressing");

    // A repeat and a late one change nothing; the events are there once.
    let succeeded = status(UnitOutcome::Succeeded, vec![event(2), event(3)]);
    session.say(say(3, &succeeded)).await;
    session.say(say(3, &succeeded)).await;
    session.say(say(2, &progressing)).await;
    eventually("the newest status", async || {
        let rows = list_for_cluster(store, credentials.cluster).await.unwrap();
        (rows[0].sequence == 3).then_some(())
    })
    .await;
    session.say(say(1, &progressing)).await;
    next_ack(&mut session).await;
    let rows = list_for_cluster(store, credentials.cluster).await.unwrap();
    assert_eq!(
        (rows[0].sequence, rows[0].detail["outcome"].as_str()),
        (3, Some("Succeeded"))
    );
    let kept = events::list(store, &EventFilter::All, Order::Oldest, None, 100)
        .await
        .unwrap();
    assert_eq!(
        kept.iter().map(|row| row.event.seq).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_status_is_dropped_and_confirmed() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let credentials = joined(&hub, "uat-1").await;
    let channel = connect(&hub, Some(&credentials)).await.unwrap();
    let mut session = Session::open(channel, &Held::default()).await.unwrap();
    let unit = wire::UnitStatus {
        key: "application/other/name".into(),
        sequence: 1,
        detail_json: serde_json::to_vec(&status(UnitOutcome::Failed, vec![]))
            .unwrap()
            .into(),
    };
    session.say(Up::Status(Status { units: vec![unit] })).await;
    assert_eq!(next_ack(&mut session).await.key, "application/other/name");
    assert!(
        list_for_cluster(&hub.app().store, credentials.cluster)
            .await
            .unwrap()
            .is_empty()
    );
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_are_kept_and_shown_with_limit_and_verdict() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let credentials = joined(&hub, "uat-1").await;
    joined(&hub, "uat-2").await;
    let channel = connect(&hub, Some(&credentials)).await.unwrap();
    let sample = |second: i64, metric: &str, value| Sample {
        key: SHOP.into(),
        rollout: "web".into(),
        run: Uuid::nil().to_string(),
        attempt: 1,
        step: 1,
        weight: 40,
        at_ms: 1_000 * second,
        metric: metric.into(),
        value,
        stable: value.map(|value: f64| value - 0.5),
        limit: "≥ 99".into(),
        verdict: if value.is_some() { "Pass" } else { "NoData" }.into(),
    };
    let samples = vec![
        sample(3, "successes", Some(99.5)),
        sample(1, "successes", None),
        sample(2, "durations", Some(7.0)),
    ];
    let message = bulk_message::Message::Samples(Samples {
        samples: samples.clone(),
    });
    let stream = tokio_stream::iter([BulkMessage {
        message: Some(message),
    }]);
    let mut acks = LinkClient::new(channel)
        .bulk(stream)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(acks.message().await.unwrap().unwrap().received, 3);
    let kept = hub.app().sessions.samples().of(credentials.cluster, SHOP);
    assert_eq!(kept, samples);
    let application = json!({
        "apiVersion": "bellwether.dev/v1alpha1", "kind": "Application",
        "metadata": {"name": "shop", "namespace": "default"},
        "spec": {"destination": {"clusters": ["uat-1"]}, "components": [{"name": "web", "manifests": [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}}]}]},
    });
    hub.ask(Method::POST, "apply", application).await;
    let path = "rollouts/default/shop/measurements";
    let all = hub.get(path).await;
    let seen: Vec<(&str, &str)> = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["at"].as_str().unwrap(), one["metric"].as_str().unwrap()))
        .collect();
    assert_eq!(
        seen,
        [
            ("1970-01-01T00:00:01Z", "successes"),
            ("1970-01-01T00:00:02Z", "durations"),
            ("1970-01-01T00:00:03Z", "successes"),
        ]
    );
    let newest = hub
        .get(&format!("{path}?cluster=uat-1&metric=successes&limit=1"))
        .await;
    assert_eq!(
        newest["items"],
        json!([{
            "at": "1970-01-01T00:00:03Z", "cluster": "uat-1", "rollout": "web", "run": Uuid::nil(),
            "attempt": 1, "step": 1, "weight": 40, "metric": "successes", "value": 99.5, "stable": 99.0,
            "limit": "≥ 99", "verdict": "Pass",
        }])
    );
    assert!(
        all["items"][0].get("value").is_none(),
        "no data is no zero: {all}"
    );
    let other = hub.get(&format!("{path}?cluster=uat-2")).await;
    assert_eq!(other["items"], json!([]));
    let (code, _) = hub
        .call(Method::GET, &format!("{path}?cluster=nowhere"), json!(null))
        .await;
    assert_eq!(code, StatusCode::NOT_FOUND);
    hub.stop().await;
}
