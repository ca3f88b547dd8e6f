//! Things that most tests need.

use bellwether_api::{
    reference::NamespacedName,
    status::{RunEvent, Severity},
    view::{ClusterPhase, RunPhase},
};
use bellwether_store::{
    Digest, Store,
    blobs::{self, Secrecy},
    clusters::{self, NewCluster},
    desired::{ClusterChange, UnitChange},
    records::{self, NewRecord, RecordKey, RecordKind},
    releases::{self, Created, NewRelease, Release},
    runs::{self, NewRun, RunCluster},
    sessions::{self, OpenSession, Session},
};
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

pub fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

pub fn app() -> NamespacedName {
    NamespacedName {
        namespace: "default".to_owned(),
        name: "shop".to_owned(),
    }
}

pub const KEY: &str = "application/default/shop";

pub async fn cluster(store: &Store, name: &str) -> Uuid {
    let id = Uuid::new_v4();
    let new = NewCluster {
        id,
        name: name.to_owned(),
        labels: [("tier".to_owned(), "canary".to_owned())].into(),
        annotations: Default::default(),
        spec: json!({}),
        by: "alice".to_owned(),
    };
    let mut tx = store.begin().await.unwrap();
    clusters::create(&mut tx, &new, at(0)).await.unwrap();
    tx.commit().await.unwrap();
    id
}

pub async fn open(store: &Store, cluster: Uuid, replica: Uuid) -> Session {
    let session = OpenSession {
        cluster,
        seen_epoch: 0,
        agent_version: "0.1.0".to_owned(),
        kubernetes_version: "v1.33.1".to_owned(),
        capabilities: vec![
            "apps/v1".to_owned(),
            "gateway.networking.k8s.io/v1".to_owned(),
        ],
    };
    sessions::open(store, &session, replica, at(0))
        .await
        .unwrap()
        .unwrap()
}

pub async fn blob(store: &Store, content: &[u8]) -> Digest {
    let mut tx = store.begin().await.unwrap();
    let digest = blobs::put(&mut tx, content, Secrecy::Plain, at(0))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    digest
}

pub fn change(cluster: Uuid, key: &str, digest: Option<Digest>) -> ClusterChange {
    let unit = UnitChange {
        key: key.to_owned(),
        digest,
        origin: "test".to_owned(),
    };
    ClusterChange {
        cluster,
        changes: vec![unit],
    }
}

pub fn new_record(kind: RecordKind, name: &str, spec: Value) -> NewRecord {
    let namespace = if kind == RecordKind::Fleet {
        ""
    } else {
        "default"
    };
    NewRecord {
        key: RecordKey {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        },
        uid: Uuid::new_v4(),
        labels: Default::default(),
        annotations: Default::default(),
        spec,
        secrecy: Secrecy::Plain,
        by: "alice".to_owned(),
        reason: String::new(),
    }
}

pub async fn application(store: &Store) {
    let mut tx = store.begin().await.unwrap();
    let new = new_record(RecordKind::Application, "shop", json!({"components": []}));
    records::apply(&mut tx, &new, None, at(0)).await.unwrap();
    tx.commit().await.unwrap();
}

pub async fn release(store: &Store, content: &str) -> Release {
    let mut tx = store.begin().await.unwrap();
    let new = NewRelease {
        id: Uuid::now_v7(),
        application: &app(),
        digest: Digest::of(content.as_bytes()),
        content: content.as_bytes(),
        secrecy: Secrecy::Plain,
        by: "alice",
        reason: "",
        restores: None,
    };
    let created = releases::create(&mut tx, &new, at(0)).await.unwrap();
    tx.commit().await.unwrap();
    match created {
        Created::New(release) | Created::Unchanged(release) => release,
    }
}

pub fn run_cluster(cluster: Uuid, name: &str, wave: u32) -> RunCluster {
    RunCluster {
        cluster,
        cluster_name: name.to_owned(),
        wave,
        position: 0,
        status: ClusterPhase::Queued,
        attempt: 0,
        state: json!({}),
        granted_generation: None,
        updated_at: at(0),
    }
}

pub async fn run(store: &Store, release: &Release, clusters: Vec<RunCluster>) -> Uuid {
    let id = Uuid::now_v7();
    let new = NewRun {
        id,
        application: app(),
        release: release.id,
        previous_release: None,
        status: RunPhase::Pending,
        state: json!({"step": 0}),
        plan: Uuid::now_v7(),
        plan_content: json!({"waves": ["canary", "rest"]}),
        clusters,
    };
    let mut tx = store.begin().await.unwrap();
    runs::create(&mut tx, &new, at(0)).await.unwrap();
    tx.commit().await.unwrap();
    id
}

pub fn event(seq: u64, run: Uuid) -> RunEvent {
    RunEvent {
        notify: Vec::new(),
        seq,
        at: at(0).to_string(),
        run,
        attempt: 1,
        severity: Severity::Info,
        reason: "StepStarted".to_owned(),
        object: None,
        message: format!("event {seq}"),
    }
}
