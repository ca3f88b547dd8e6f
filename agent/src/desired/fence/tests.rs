use serde_json::json;

use super::*;
use crate::desired::{
    Commit, CommitError, PlanError, StoreError,
    double::{Death, SYSTEM, Server},
};

const KEY: &str = "application/default/shop";

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

/// What an agent's watch tells it: what stands there now.
async fn tell(server: &Server, agent: &Desired) {
    let api: Api<SyncRecord> = Api::namespaced(server.client(), SYSTEM);
    // Watches end at once here; what is listed before is what counts.
    let _ = follow(&api, &agent.inner.fence).await;
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
        // The newer one takes over, or fails at that. An answer that is lost is looked up.
        let newer = server.agent().await;
        server.dies(death);
        let entered = newer.enter_epoch(7).await;
        let stands = death != Some(Death::BeforeTheWrite);
        assert_eq!(entered.is_ok(), stands, "{death:?}");
        assert_eq!(newer.fence().newer(), None, "{death:?}");
        server.dies(None);
        assert_eq!(server.epoch(), if stands { 7 } else { 6 }, "{death:?}");
        // The older one lost the hub: nobody but the cluster tells it.
        tell(&server, &older).await;
        assert_eq!(older.fence().newer(), stands.then_some(7), "{death:?}");
        let written = remembers(&older, "older").await;
        assert_eq!(written.is_err(), stands, "{death:?}");
        // Another process goes on where the newer one died, with the next session.
        let next = server.agent().await;
        next.enter_epoch(8).await.expect("it is the highest");
        assert_eq!(next.fence().newer(), None);
        tell(&server, &older).await;
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
    tell(&server, &older).await;
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
    tell(&server, &newer).await;
    assert_eq!(newer.fence().newer(), Some(8));
}
