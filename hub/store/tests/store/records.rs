//! Records and clusters: optimistic concurrency, pages, and what users may change.

use std::collections::BTreeMap;

use bellwether_store::{
    StoreError,
    clusters::{self, ClusterPatch, ClusterState},
    meta,
    records::{self, Change, ListOptions, NewRecord, RecordKind, WriteError},
    testing::{self, TestDatabase},
};
use serde_json::json;
use uuid::Uuid;

use crate::fixture::{app, at, cluster, new_record, open};

#[tokio::test]
async fn applying_creates_configures_or_changes_nothing() {
    let store = testing::store().await;
    let mut tx = store.begin().await.unwrap();
    let new = new_record(RecordKind::Fleet, "prod", json!({"clusters": ["a"]}));
    let created = records::apply(&mut tx, &new, None, at(0)).await.unwrap();
    assert_eq!(
        (created.change, created.record.generation),
        (Change::Created, 1)
    );
    let again = records::apply(&mut tx, &new, None, at(1)).await.unwrap();
    assert_eq!(again.change, Change::Unchanged);
    assert_eq!(again.record, created.record);
    let labelled = NewRecord {
        labels: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
        ..new.clone()
    };
    let labelled = records::apply(&mut tx, &labelled, None, at(2))
        .await
        .unwrap();
    assert_eq!(
        (labelled.change, labelled.record.generation),
        (Change::Configured, 1)
    );
    let changed = NewRecord {
        spec: json!({"clusters": ["b"]}),
        uid: Uuid::new_v4(),
        ..new.clone()
    };
    let changed = records::apply(&mut tx, &changed, None, at(3))
        .await
        .unwrap();
    assert_eq!(
        (changed.change, changed.record.generation),
        (Change::Configured, 2)
    );
    assert_eq!(changed.record.uid, created.record.uid);
    assert_eq!(
        (changed.record.created_at, changed.record.updated_at),
        (at(0), at(3))
    );
    tx.commit().await.unwrap();
    assert_eq!(
        records::get(&store, &new.key).await.unwrap(),
        Some(changed.record)
    );
}

#[tokio::test]
async fn a_write_on_an_old_version_is_refused() {
    let store = testing::store().await;
    let mut tx = store.begin().await.unwrap();
    let new = new_record(RecordKind::Rollout, "web", json!({"a": 1}));
    let missing = records::apply(&mut tx, &new, Some(3), at(0)).await;
    assert!(matches!(
        missing,
        Err(WriteError::Conflict {
            expected: 3,
            actual: None
        })
    ));
    let seen = records::apply(&mut tx, &new, None, at(0))
        .await
        .unwrap()
        .record
        .resource_version;
    let next = NewRecord {
        spec: json!({"a": 2}),
        ..new.clone()
    };
    let now = records::apply(&mut tx, &next, Some(seen), at(1))
        .await
        .unwrap()
        .record;
    let late = records::apply(&mut tx, &new, Some(seen), at(2)).await;
    assert!(matches!(
        late,
        Err(WriteError::Conflict {
            actual: Some(_),
            ..
        })
    ));
    let late = records::delete(&mut tx, &new.key, Some(seen)).await;
    assert!(matches!(late, Err(WriteError::Conflict { .. })));
    let deleted = records::delete(&mut tx, &new.key, Some(now.resource_version))
        .await
        .unwrap();
    assert_eq!(deleted, Some(now));
    assert_eq!(
        records::delete(&mut tx, &new.key, None).await.unwrap(),
        None
    );
    assert_eq!(records::lock(&mut tx, &new.key).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_writers_on_one_version_one_wins() {
    let database = TestDatabase::create().await;
    let store = database.store().await;
    let new = new_record(RecordKind::Fleet, "prod", json!({"n": 0}));
    let mut tx = store.begin().await.unwrap();
    let seen = records::apply(&mut tx, &new, None, at(0))
        .await
        .unwrap()
        .record
        .resource_version;
    tx.commit().await.unwrap();
    let mut tasks = Vec::new();
    for number in 1..=8 {
        let (store, new) = (
            store.clone(),
            NewRecord {
                spec: json!({"n": number}),
                ..new.clone()
            },
        );
        tasks.push(tokio::spawn(async move {
            let mut tx = store.begin().await.unwrap();
            let applied = records::apply(&mut tx, &new, Some(seen), at(1)).await;
            tx.commit().await.unwrap();
            applied.is_ok()
        }));
    }
    let mut won = 0;
    for task in tasks {
        won += u32::from(task.await.unwrap());
    }
    assert_eq!(won, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_creators_of_one_record_both_succeed() {
    let store = testing::store().await;
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let store = store.clone();
        tasks.push(tokio::spawn(async move {
            let new = new_record(RecordKind::Fleet, "prod", json!({"n": 0}));
            let mut tx = store.begin().await.unwrap();
            let applied = records::apply(&mut tx, &new, None, at(1)).await.unwrap();
            tx.commit().await.unwrap();
            applied.change
        }));
    }
    let mut created = 0;
    for task in tasks {
        created += u32::from(task.await.unwrap() == Change::Created);
    }
    assert_eq!(created, 1);
}

#[tokio::test]
async fn pages_give_every_record_once() {
    let store = testing::store().await;
    let mut tx = store.begin().await.unwrap();
    for name in ["e", "b", "d", "a", "c"] {
        let new = new_record(RecordKind::Application, name, json!({}));
        records::apply(&mut tx, &new, None, at(0)).await.unwrap();
    }
    let fleet = new_record(RecordKind::Fleet, "other", json!({}));
    records::apply(&mut tx, &fleet, None, at(0)).await.unwrap();
    tx.commit().await.unwrap();
    let mut after = None;
    let mut names = Vec::new();
    loop {
        let options = ListOptions {
            kind: RecordKind::Application,
            namespace: Some("default".to_owned()),
            limit: 2,
            after,
        };
        let page = records::list(&store, &options).await.unwrap();
        assert!(
            page.records
                .iter()
                .all(|record| record.resource_version <= page.resource_version)
        );
        names.extend(page.records.into_iter().map(|record| record.key.name));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(names, ["a", "b", "c", "d", "e"]);
    let elsewhere = ListOptions {
        kind: RecordKind::Application,
        namespace: Some("elsewhere".to_owned()),
        limit: 2,
        after: None,
    };
    assert_eq!(records::list(&store, &elsewhere).await.unwrap().records, []);
    assert_eq!(
        records::list_all(&store, RecordKind::Fleet)
            .await
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn a_nul_character_is_refused_before_the_database() {
    let store = testing::store().await;
    let mut tx = store.begin().await.unwrap();
    let new = new_record(RecordKind::Fleet, "prod", json!({"a": ["b\u{0}"]}));
    let refused = records::apply(&mut tx, &new, None, at(0)).await;
    assert!(matches!(
        refused,
        Err(WriteError::Store(StoreError::Unstorable { .. }))
    ));
}

#[tokio::test]
async fn a_cluster_is_announced_changed_and_deleted() {
    let store = testing::store().await;
    let id = cluster(&store, "eu-1").await;
    let announced = clusters::get(&store, "eu-1").await.unwrap().unwrap();
    assert_eq!((announced.id, announced.state), (id, ClusterState::Pending));
    assert!(!announced.connection.is_open(at(0)));
    assert_eq!(announced.connection.last_seen, None);

    let mut tx = store.begin().await.unwrap();
    let same = ClusterPatch {
        labels: Some(announced.labels.clone()),
        ..Default::default()
    };
    let unchanged = clusters::update(&mut tx, "eu-1", &same, None)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(unchanged.resource_version, announced.resource_version);
    let patch = ClusterPatch {
        labels: Some(BTreeMap::new()),
        spec: Some(json!({"metrics": {"prometheus": {"address": "http://p"}}})),
        annotations: None,
    };
    let seen = Some(announced.resource_version);
    let changed = clusters::update(&mut tx, "eu-1", &patch, seen)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((changed.generation, changed.labels.len()), (2, 0));
    let late = clusters::update(&mut tx, "eu-1", &patch, seen).await;
    assert!(matches!(late, Err(WriteError::Conflict { .. })));
    assert_eq!(
        clusters::update(&mut tx, "no", &patch, None).await.unwrap(),
        None
    );
    tx.commit().await.unwrap();

    open(&store, id, Uuid::new_v4()).await;
    let connected = clusters::by_id(&store, id).await.unwrap().unwrap();
    assert_eq!(connected.kubernetes_version.as_deref(), Some("v1.33.1"));
    assert_eq!(connected.capabilities.len(), 2);
    assert_eq!(clusters::list(&store).await.unwrap(), [connected]);

    let mut tx = store.begin().await.unwrap();
    assert!(clusters::delete(&mut tx, id).await.unwrap());
    assert!(!clusters::delete(&mut tx, id).await.unwrap());
    assert_eq!(clusters::list_in(&mut tx).await.unwrap(), []);
}

#[tokio::test]
async fn the_incarnation_only_rises() {
    let store = testing::store().await;
    let first = meta::ensure(&store, Uuid::new_v4(), "bellwether.local", at(0))
        .await
        .unwrap();
    let again = meta::ensure(&store, Uuid::new_v4(), "other", at(9))
        .await
        .unwrap();
    assert_eq!(first, again, "the first start decides");
    let mut tx = store.begin().await.unwrap();
    let bumped = meta::bump_incarnation(&mut tx, at(-100)).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(bumped, first.incarnation + 1, "whatever the clock says");
    assert_eq!(meta::incarnation(&store).await.unwrap(), bumped);
    store.ping().await.unwrap();
}

#[tokio::test]
async fn a_record_knows_who_wrote_it_last_and_why() {
    let store = testing::store().await;
    let made = new_record(RecordKind::Application, "shop", json!({"components": []}));
    let changed = NewRecord {
        spec: json!({"components": [{"name": "web"}]}),
        by: "bob".to_owned(),
        reason: "adds web".to_owned(),
        ..made.clone()
    };
    let again = NewRecord {
        by: "eve".to_owned(),
        reason: "nothing".to_owned(),
        ..changed.clone()
    };
    let mut tx = store.begin().await.unwrap();
    for new in [&made, &changed, &again] {
        records::apply(&mut tx, new, None, at(1)).await.unwrap();
    }
    tx.commit().await.unwrap();
    let record = records::get(&store, &made.key).await.unwrap().unwrap();
    assert_eq!(record.created_by, "alice");
    assert_eq!(
        (record.updated_by.as_str(), record.reason.as_str()),
        ("bob", "adds web"),
        "whoever changes nothing wrote nothing"
    );
    assert_eq!(records::last_removal(&store, &app()).await.unwrap(), None);
    let mut tx = store.begin().await.unwrap();
    for (by, reason) in [("bob", ""), ("eve", "no canary needed")] {
        records::note_removal(&mut tx, &app(), by, reason)
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
    let removal = records::last_removal(&store, &app())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (removal.by.as_str(), removal.reason.as_str()),
        ("eve", "no canary needed")
    );
    assert!(removal.resource_version > record.resource_version);
    let mut tx = store.begin().await.unwrap();
    records::forget_removals(&mut tx, &app()).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(records::last_removal(&store, &app()).await.unwrap(), None);
}
