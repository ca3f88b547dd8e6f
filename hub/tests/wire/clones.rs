//! Copies of clusters, and clusters that are detached and come back.

use bellwether_hub_core::clones::{Presence, Presenter};
use bellwether_proto::wire::{Hello, hub_message::Message as Down};
use bellwether_store::clusters;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};
use tonic::{Code, Status};
use uuid::Uuid;

use crate::{
    agent::{Credentials, Held, Session, connect, enrol, joined},
    harness::{Hub, Site, eventually},
    statuses::SHOP,
};

async fn open(hub: &Hub, credentials: &Credentials, hello: Hello) -> Result<Session, Status> {
    let channel = connect(hub, Some(credentials)).await.unwrap();
    Session::open_with(channel, hello).await
}

async fn refusal(hub: &Hub, credentials: &Credentials, hello: Hello) -> Status {
    open(hub, credentials, hello).await.err().unwrap()
}

fn copy_of(held: &Held) -> Hello {
    Hello {
        cluster_uid: "another-cluster".to_owned(),
        ..held.hello()
    }
}

/// An agent process of that number.
fn process(held: &Held, number: u128) -> Hello {
    Hello {
        instance: Bytes::copy_from_slice(Uuid::from_u128(number).as_bytes()),
        ..held.hello()
    }
}

fn cloned(item: &Value) -> Option<&Value> {
    let conditions = item["status"]["conditions"].as_array()?;
    conditions.iter().find(|one| one["type"] == "Cloned")
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clusters_with_one_identity_get_nothing_until_one_is_registered_again() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let credentials = joined(&hub, "uat-1").await;
    let mut held = Held::default();
    let mut original = open(&hub, &credentials, process(&held, 1)).await.unwrap();
    let first = hub.write(credentials.cluster, &[(SHOP, Some(b"1"))]).await;
    original
        .catch_up(&mut held, first.unwrap().generation)
        .await;

    let refused = refusal(&hub, &credentials, copy_of(&held)).await;
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(refused.message().contains("copy"), "{refused}");
    assert_eq!(original.last_word().await.unwrap().code, "superseded");

    // Both are named, and neither is let in.
    let item = hub.get("clusters/uat-1").await;
    assert_eq!(item["status"]["condition"], "Cloned", "{item}");
    let said = cloned(&item).unwrap();
    assert_eq!(
        (&said["status"], &said["reason"]),
        (&json!("True"), &json!("AnotherCluster"))
    );
    let message = item["status"]["message"].as_str().unwrap();
    for word in [
        crate::agent::KUBE_UID,
        "another-cluster",
        "127.0.0.1",
        "register cluster uat-1",
    ] {
        assert!(message.contains(word), "{word}: {message}");
    }
    hub.write(credentials.cluster, &[(SHOP, Some(b"2"))]).await;
    for hello in [process(&held, 1), copy_of(&held)] {
        let refused = refusal(&hub, &credentials, hello).await;
        assert_eq!(refused.code(), Code::PermissionDenied);
        assert!(
            refused.message().contains("neither is granted"),
            "{refused}"
        );
    }
    let events = hub.get("events?cluster=uat-1").await;
    assert_eq!(events["items"][0]["reason"], "Cloned", "{events}");
    assert_eq!(
        events["items"].as_array().unwrap().len(),
        1,
        "told once: {events}"
    );

    // Somebody says which: it gets what was waiting, and the other one has nothing to show.
    let material = hub.token("uat-1").await;
    let (key, answer) = enrol(&hub, &material.token).await.unwrap();
    let again = Credentials::new(&key, &answer);
    assert_eq!(again.cluster, credentials.cluster);
    let mut session = open(&hub, &again, process(&held, 1)).await.unwrap();
    match session.hear().await.unwrap() {
        Some(Down::Delta(delta)) => {
            let keys: Vec<&str> = delta.changes.iter().map(|one| one.key.as_str()).collect();
            assert_eq!(keys, [SHOP]);
            assert!(
                delta.changes.iter().all(|one| !one.digest.is_empty()),
                "nothing is deleted"
            );
        }
        other => panic!("no delta but {other:?}"),
    }
    let item = hub.get("clusters/uat-1").await;
    assert_eq!(item["status"]["condition"], "Ready", "{item}");
    assert_eq!(cloned(&item), None);
    let former = refusal(&hub, &credentials, copy_of(&held)).await;
    assert!(former.message().contains("revoked"), "{former}");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_that_take_turns_are_both_kept_out() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let credentials = joined(&hub, "uat-1").await;
    let held = Held::default();
    let mut one = open(&hub, &credentials, process(&held, 1)).await.unwrap();
    let _two = open(&hub, &credentials, process(&held, 2)).await.unwrap();
    assert_eq!(one.last_word().await.unwrap().code, "superseded");
    let store = &hub.app().store;
    let known = async || {
        let cluster = clusters::by_id(store, credentials.cluster).await.unwrap();
        cluster.unwrap().presence.unwrap()
    };
    let met = known().await;
    assert_eq!(met.latest.instance, Uuid::from_u128(2));
    assert_eq!(
        met.former.as_ref().map(|one| one.instance),
        Some(Uuid::from_u128(1))
    );

    // They have taken turns for a while: the next one makes it certain.
    let earlier = Timestamp::now() - SignedDuration::from_mins(3);
    let turns = Presence {
        returns: 3,
        contested_since: Some(earlier),
        ..met.clone()
    };
    let recorded = clusters::record_presence(store, credentials.cluster, Some(&met), &turns).await;
    assert!(recorded.unwrap());
    let refused = refusal(&hub, &credentials, process(&held, 1)).await;
    assert_eq!(refused.code(), Code::PermissionDenied);
    for number in [1, 2] {
        let named = Uuid::from_u128(number).to_string();
        assert!(refused.message().contains(&named), "{named}: {refused}");
    }
    let item = hub.get("clusters/uat-1").await;
    assert_eq!(item["status"]["condition"], "Cloned", "{item}");
    assert_eq!(cloned(&item).unwrap()["reason"], "TwoAgents");
    let both = refusal(&hub, &credentials, process(&held, 2)).await;
    assert_eq!(both.code(), Code::PermissionDenied);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_starts_anew_is_let_in_however_often() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let credentials = joined(&hub, "uat-1").await;
    for number in 1..=8 {
        let hello = process(&Held::default(), number);
        open(&hub, &credentials, hello).await.unwrap();
    }
    let cluster = clusters::by_id(&hub.app().store, credentials.cluster).await;
    let cluster = cluster.unwrap().unwrap();
    assert_eq!(cluster.cloned, None);
    let latest = Presenter {
        instance: Uuid::from_u128(8),
        address: "127.0.0.1".to_owned(),
    };
    assert_eq!(cluster.presence.unwrap().latest, latest);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_detached_cluster_keeps_its_place_and_what_it_holds_until_it_is_attached_again() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let credentials = joined(&hub, "uat-1").await;
    let mut held = Held::default();
    let mut session = open(&hub, &credentials, held.hello()).await.unwrap();
    let written = hub.write(credentials.cluster, &[(SHOP, Some(b"1"))]).await;
    session
        .catch_up(&mut held, written.unwrap().generation)
        .await;

    let reason = json!({"reason": "moves to another network"});
    hub.ask(Method::POST, "clusters/uat-1/revoke", reason).await;
    assert_eq!(session.last_word().await.unwrap().code, "revoked");
    let item = hub.get("clusters/uat-1").await;
    assert_eq!(item["status"]["condition"], "Revoked", "{item}");
    let message = item["status"]["message"].as_str().unwrap();
    assert!(message.contains("moves to another network"), "{message}");
    let refused = refusal(&hub, &credentials, held.hello()).await;
    assert!(refused.message().contains("revoked"), "{refused}");
    assert!(held.units[SHOP].1.is_some(), "nothing was taken away");

    // The same cluster again: its place, its generation, and nothing sent anew.
    let again = joined(&hub, "uat-1").await;
    assert_eq!(again.cluster, credentials.cluster);
    let generation = held.generation;
    let mut session = open(&hub, &again, held.hello()).await.unwrap();
    let next = hub.write(again.cluster, &[("application/default/next", Some(b"1"))]);
    let next = next.await.unwrap().generation;
    match session.hear().await.unwrap() {
        Some(Down::Delta(delta)) => {
            assert_eq!((delta.from, delta.to), (generation, next));
            assert_eq!(delta.changes.len(), 1, "{delta:?}");
        }
        other => panic!("no delta but {other:?}"),
    }
    eventually("to be ready", async || {
        let item = hub.get("clusters/uat-1").await;
        (item["status"]["condition"] == "Ready").then_some(())
    })
    .await;
    hub.stop().await;
}
