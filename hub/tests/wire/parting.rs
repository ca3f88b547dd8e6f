//! Rollouts of workloads that somebody else delivers, deleted in the middle of a run.

use bellwether_api::{
    standing_grant::StandingGrant,
    status::{UnitOutcome, UnitStatus},
};
use bellwether_proto::wire::{self, Status, agent_message::Message as Up};
use bellwether_store::{Digest, blobs};
use reqwest::{Method, StatusCode};
use serde_json::json;
use uuid::Uuid;

use crate::{
    agent::{Held, Session, connect, joined},
    harness::{Hub, Site, eventually},
    statuses::status,
};

const KEY: &str = "rollout/default/web";

async fn apply(hub: &Hub) {
    let record = json!({
        "apiVersion": "bellwether.dev/v1alpha1", "kind": "Rollout",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "destination": {"clusters": ["uat-1"]},
            "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web",
                "namespace": "shop"},
            "strategy": {"canary": {"steps": [{"weight": 50}]}},
            "onDeletion": "Complete",
        },
    });
    hub.ask(Method::POST, "apply", record).await;
}

/// Says how the run stands in the cluster.
async fn report(session: &Session, sequence: u64, outcome: UnitOutcome) {
    let status = UnitStatus {
        run: Uuid::from_u128(7),
        ..status(outcome, Vec::new())
    };
    let unit = wire::UnitStatus {
        key: KEY.into(),
        sequence,
        detail_json: serde_json::to_vec(&status).unwrap().into(),
    };
    session.say(Up::Status(Status { units: vec![unit] })).await;
}

/// What the cluster is granted; absent = nothing, or not any more.
async fn granted(hub: &Hub, held: &Held) -> Option<StandingGrant> {
    let (_, digest) = held.units.get(KEY)?;
    let content = blobs::get(&hub.app().store, Digest((*digest)?)).await;
    Some(serde_json::from_slice(&content.unwrap()?).unwrap())
}

/// Takes what comes until the grant is as wanted; gives it.
async fn until(
    hub: &Hub,
    session: &mut Session,
    held: &mut Held,
    is_such: impl Fn(Option<&StandingGrant>) -> bool,
) -> Option<StandingGrant> {
    loop {
        let grant = granted(hub, held).await;
        if is_such(grant.as_ref()) {
            return grant;
        }
        let message = session.hear().await.unwrap().expect("the stream goes on");
        session.take(held, message).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_that_is_deleted_mid_run_goes_once_its_run_has_ended() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let credentials = joined(&hub, "uat-1").await;
    let channel = connect(&hub, Some(&credentials)).await.unwrap();
    let mut held = Held::default();
    let mut session = Session::open(channel, &held).await.unwrap();
    apply(&hub).await;
    until(&hub, &mut session, &mut held, |grant| grant.is_some()).await;
    report(&session, 1, UnitOutcome::Progressing).await;
    let store = &hub.app().store;
    eventually("the report", async || {
        let rows = bellwether_store::status::list_for_unit(store, KEY)
            .await
            .unwrap();
        (!rows.is_empty()).then_some(())
    })
    .await;

    let path = "namespaces/default/rollouts/web";
    let (code, answer) = hub.call(Method::DELETE, path, json!(null)).await;
    assert_eq!(code, StatusCode::OK, "{answer}");
    let grant = until(&hub, &mut session, &mut held, |grant| {
        grant.is_none_or(StandingGrant::ends)
    })
    .await
    .expect("it is not taken away mid-run");
    let command = grant.command.expect("a command");
    assert_eq!(
        (command.run, command.complete),
        (Uuid::from_u128(7), vec!["web".to_owned()])
    );
    report(&session, 2, UnitOutcome::Succeeded).await;
    until(&hub, &mut session, &mut held, |grant| grant.is_none()).await;
    assert_eq!(held.units[KEY].1, None, "a tombstone");
    hub.stop().await;
}
