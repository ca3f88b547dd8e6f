use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::*;
use crate::{
    desired::{Commit, CommitError, PlanError, StoreError},
    sync::cluster::double::{Answer, Asked, client, refusal},
};

const SYSTEM: &str = "bellwether-system";
const KEY: &str = "application/default/shop";

/// When an agent dies, or its API server's answer is lost, at its next write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    BeforeTheWrite,
    AfterTheWrite,
}

#[derive(Default)]
struct Kept {
    records: BTreeMap<String, Value>,
    version: u64,
    death: Option<Death>,
}

/// An API server that keeps SyncRecords by compare-and-set.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<Kept>>);

impl Server {
    fn client(&self) -> kube::Client {
        let server = self.clone();
        client(move |asked| server.0.lock().expect("no test panics here").answer(asked)).0
    }

    async fn agent(&self) -> Desired {
        let loaded = Desired::load(self.client(), SYSTEM).await;
        loaded.expect("what is held can be read")
    }

    fn dies(&self, death: Option<Death>) {
        self.0.lock().expect("no test panics here").death = death;
    }

    fn epoch(&self) -> u64 {
        let kept = self.0.lock().expect("no test panics here");
        kept.records
            .get("bellwether-sync-00")
            .map_or(0, |record| record["spec"]["epoch"].as_u64().unwrap_or(0))
    }

    /// What an agent's watch tells it: what stands there now.
    async fn tell(&self, agent: &Desired) {
        let api: Api<SyncRecord> = Api::namespaced(self.client(), SYSTEM);
        // Watches end at once here; what is listed before is what counts.
        let _ = follow(&api, &agent.inner.fence).await;
    }
}

impl Kept {
    fn answer(&mut self, asked: &Asked) -> Answer {
        let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
        if query.contains("watch=") {
            return refusal(StatusCode::INTERNAL_SERVER_ERROR, "no watches");
        }
        let Some((_, name)) = path.split_once("/syncrecords") else {
            let read = asked.method == Method::GET;
            let answer = if read {
                list(Vec::new())
            } else {
                asked.body.clone()
            };
            return (StatusCode::OK, answer);
        };
        if asked.method == Method::GET {
            return (
                StatusCode::OK,
                list(self.records.values().cloned().collect()),
            );
        }
        match self.death {
            Some(Death::BeforeTheWrite) => {
                refusal(StatusCode::INTERNAL_SERVER_ERROR, "it is not made")
            }
            Some(Death::AfterTheWrite) => {
                let _ = self.write(name.trim_start_matches('/'), asked);
                refusal(StatusCode::INTERNAL_SERVER_ERROR, "its answer is lost")
            }
            None => self.write(name.trim_start_matches('/'), asked),
        }
    }

    fn write(&mut self, name: &str, asked: &Asked) -> Answer {
        let mut record = asked.body.clone();
        let named = record["metadata"]["name"]
            .as_str()
            .unwrap_or(name)
            .to_owned();
        let before = self.records.get(&named);
        let stands = before.map_or(
            &Value::Null,
            |before| &before["metadata"]["resourceVersion"],
        );
        if record["metadata"]["resourceVersion"] != *stands {
            return refusal(StatusCode::CONFLICT, "it was written in between");
        }
        self.version += 1;
        record["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.records.insert(named, record.clone());
        (StatusCode::OK, record)
    }
}

fn list(items: Vec<Value>) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "1"},
        "items": items})
}

/// Gives an agent something to remember: a unit without a content.
async fn give(agent: &Desired, epoch: u64) {
    let mut root = bellwether_api::root::Root::EMPTY;
    let bundle = json!({
        "application": {"namespace": "default", "name": "shop"}, "release": "r", "revision": 1,
        "run": uuid::Uuid::nil(), "attempt": 1, "mode": "Rollout", "targetNamespace": "shop",
        "createNamespace": false, "components": [], "rollouts": [], "sync": {}, "metrics": null,
    });
    let bytes = bundle.to_string().into_bytes();
    let digest = crate::desired::digest_of(&bytes);
    root.add(KEY, &digest);
    let commit = Commit {
        incarnation: 1,
        epoch,
        snapshot: true,
        to: 1,
        root: *root.as_bytes(),
        changes: vec![crate::desired::Change {
            key: KEY.to_owned(),
            generation: 1,
            digest: Some(digest),
            deletion: None,
        }],
        blobs: vec![crate::desired::CommitBlob {
            digest,
            zstd: crate::desired::pack(&bytes).expect("it can be packed"),
        }],
    };
    agent.commit(commit).await.expect("it is taken");
}

async fn remembers(agent: &Desired, reason: &str) -> Result<(), StoreError> {
    agent
        .update(KEY, |unit| reason.clone_into(&mut unit.reason))
        .await
}

#[tokio::test]
async fn an_older_agent_writes_nothing_once_a_newer_session_stands_in_the_cluster() {
    for death in [
        None,
        Some(Death::BeforeTheWrite),
        Some(Death::AfterTheWrite),
    ] {
        let server = Server::default();
        let older = server.agent().await;
        older.enter_epoch(6).await.expect("nobody was here before");
        give(&older, 6).await;
        assert_eq!(
            server.epoch(),
            6,
            "it is durable before anything is acted on"
        );
        // The newer one takes over, and dies at that.
        let newer = server.agent().await;
        server.dies(death);
        let entered = newer.enter_epoch(7).await;
        assert_eq!(entered.is_err(), death.is_some(), "{death:?}");
        server.dies(None);
        let stands = death != Some(Death::BeforeTheWrite);
        assert_eq!(server.epoch(), if stands { 7 } else { 6 }, "{death:?}");
        // The older one lost the hub: nobody but the cluster tells it.
        server.tell(&older).await;
        assert_eq!(older.fence().newer(), stands.then_some(7), "{death:?}");
        let written = remembers(&older, "older").await;
        assert_eq!(written.is_err(), stands, "{death:?}");
        // Another process goes on where the newer one died, with the next session.
        let next = server.agent().await;
        next.enter_epoch(8).await.expect("it is the highest");
        assert_eq!(next.fence().newer(), None);
        server.tell(&older).await;
        assert_eq!(older.fence().newer(), Some(8), "{death:?}");
        let refused = remembers(&older, "older").await;
        assert!(
            matches!(refused, Err(StoreError::NewerAgent)),
            "{death:?}: {refused:?}"
        );
        remembers(&next, "next").await.expect("it writes");
    }
}

#[tokio::test]
async fn one_that_was_not_told_learns_it_from_the_first_write_that_does_not_fit() {
    let server = Server::default();
    let older = server.agent().await;
    older.enter_epoch(6).await.expect("nobody was here before");
    give(&older, 6).await;
    let newer = server.agent().await;
    newer.enter_epoch(7).await.expect("it is higher");
    remembers(&newer, "newer").await.expect("it writes");
    // Its watch is late. What it writes over was written by the newer one.
    let refused = remembers(&older, "older").await;
    assert!(
        matches!(refused, Err(StoreError::NewerAgent)),
        "{refused:?}"
    );
    assert_eq!(older.fence().newer(), Some(7));
}

#[tokio::test]
async fn whoever_takes_over_again_knows_what_was_written_meanwhile() {
    let server = Server::default();
    let older = server.agent().await;
    older.enter_epoch(6).await.expect("nobody was here before");
    give(&older, 6).await;
    let newer = server.agent().await;
    newer.enter_epoch(7).await.expect("it is higher");
    remembers(&newer, "by the newer one")
        .await
        .expect("it writes");
    server.tell(&older).await;
    let lower = older.enter_epoch(6).await;
    assert!(
        matches!(
            lower,
            Err(CommitError::Plan(PlanError::LowerEpoch {
                held: 7,
                given: 6
            }))
        ),
        "{lower:?}"
    );
    older.enter_epoch(8).await.expect("it is the highest");
    assert_eq!(older.fence().newer(), None);
    let unit = older.unit(KEY).expect("the unit");
    assert_eq!(unit.reason, "by the newer one");
    remembers(&older, "older").await.expect("it writes again");
    server.tell(&newer).await;
    assert_eq!(newer.fence().newer(), Some(8));
}
