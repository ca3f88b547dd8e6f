//! Several hubs on one database, and hubs that stop.

use std::time::Duration;

use bellwether_api::status::UnitOutcome;
use bellwether_hub::app::{self, StartError};
use bellwether_proto::wire::hub_message::Message as Down;
use bellwether_store::{clusters, leases, status::list_for_cluster};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::{
    agent::{Held, Session, connect, joined},
    harness::{Site, eventually},
    statuses::{SHOP, say, status},
};

const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// What starting a hub and asking it for the time may take.
const MOMENT: SignedDuration = SignedDuration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn newer_session_on_another_hub_ends_the_older() {
    let mut site = Site::new().await;
    let (one, two) = (site.hub().await, site.hub().await);
    let credentials = joined(&one, "uat-1").await;
    let mut held = Held::default();
    let channel = connect(&one, Some(&credentials)).await.unwrap();
    let mut older = Session::open(channel, &held).await.unwrap();
    let channel = connect(&two, Some(&credentials)).await.unwrap();
    let mut newer = Session::open(channel, &held).await.unwrap();
    assert!(newer.welcome.epoch > older.welcome.epoch);
    assert_eq!(older.last_word().await.unwrap().code, "superseded");
    assert!(one.app().sessions.liveness(credentials.cluster).is_none());
    assert!(two.app().sessions.liveness(credentials.cluster).is_some());

    // What one hub writes the other delivers.
    let written = one
        .write(credentials.cluster, &[(SHOP, Some(b"x"))])
        .await
        .unwrap();
    newer.catch_up(&mut held, written.generation).await;
    let cluster = clusters::by_id(&one.app().store, credentials.cluster)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(cluster.connection.replica, Some(two.app().replica));
    assert!(cluster.connection.is_open(Timestamp::now()));
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn status_of_an_old_epoch_is_not_stored() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let credentials = joined(&hub, "uat-1").await;
    let channel = connect(&hub, Some(&credentials)).await.unwrap();
    let mut session = Session::open(channel, &Held::default()).await.unwrap();
    // A hub that this one does not hear of took the cluster over.
    let store = site.database.store().await;
    let opened = bellwether_store::sessions::OpenSession {
        cluster: credentials.cluster,
        seen_epoch: 0,
        agent_version: String::new(),
        kubernetes_version: String::new(),
        capabilities: Vec::new(),
    };
    bellwether_store::sessions::open(&store, &opened, uuid::Uuid::now_v7(), Timestamp::now())
        .await
        .unwrap()
        .unwrap();
    session
        .say(say(1, &status(UnitOutcome::Succeeded, vec![])))
        .await;
    assert_eq!(session.last_word().await.unwrap().code, "superseded");
    assert!(
        list_for_cluster(&store, credentials.cluster)
            .await
            .unwrap()
            .is_empty()
    );
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn epoch_rises_above_what_the_agent_has_seen() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let credentials = joined(&hub, "uat-1").await;
    let held = Held {
        epoch: 41,
        ..Held::default()
    };
    let channel = connect(&hub, Some(&credentials)).await.unwrap();
    let session = Session::open(channel, &held).await.unwrap();
    assert!(session.welcome.epoch > 41);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_hub_sends_agents_away_and_the_next_resumes_them() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let credentials = joined(&hub, "uat-1").await;
    let written = hub
        .write(credentials.cluster, &[(SHOP, Some(b"x"))])
        .await
        .unwrap();
    let mut held = Held::default();
    let channel = connect(&hub, Some(&credentials)).await.unwrap();
    let mut session = Session::open(channel, &held).await.unwrap();
    session.catch_up(&mut held, written.generation).await;
    let store = site.database.store().await;
    eventually("the acknowledgement", async || {
        let cluster = clusters::by_id(&store, credentials.cluster)
            .await
            .unwrap()
            .unwrap();
        (cluster.connection.acked_generation == written.generation).then_some(())
    })
    .await;
    let stopping = tokio::spawn(hub.stop());
    assert!(matches!(
        session.hear().await.unwrap(),
        Some(Down::Reconnect(_))
    ));
    assert!(
        session.hear().await.unwrap().is_none(),
        "the stream ends in order"
    );
    stopping.await.unwrap();

    let cluster = clusters::by_id(&store, credentials.cluster)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        cluster.connection.replica, None,
        "the end of the session is written"
    );
    assert!(cluster.connection.last_seen.is_some());
    assert_eq!(cluster.connection.acked_generation, written.generation);

    let next = site.hub().await;
    let channel = connect(&next, Some(&credentials)).await.unwrap();
    let mut session = Session::open(channel, &held).await.unwrap();
    session.beat(&held).await;
    assert!(
        matches!(session.hear().await.unwrap(), Some(Down::Beat(_))),
        "nothing to send"
    );
    eventually("liveness", async || {
        next.app().sessions.liveness(credentials.cluster)
    })
    .await;
    next.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_begins_at_what_was_saved_when_the_clock_was_set_back() {
    let mut site = Site::new().await;
    let store = site.database.store().await;
    let saved = Timestamp::now() + HOUR;
    let ttl = Duration::from_secs(15);
    leases::renew_replica(&store, Uuid::from_u128(1), saved, ttl)
        .await
        .unwrap();
    let hub = site.hub().await;
    let ahead = hub.app().clock.now().duration_since(saved);
    assert!((SignedDuration::ZERO..MOMENT).contains(&ahead), "{ahead}");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_goes_by_the_time_of_one_that_is_there() {
    let mut site = Site::new().await;
    let store = site.database.store().await;
    // The other hub started before the database's clock was set forward by an hour.
    let other = Uuid::from_u128(1);
    let its_time = || Timestamp::now() - HOUR;
    let ttl = Duration::from_secs(15);
    leases::renew_replica(&store, other, its_time(), ttl)
        .await
        .unwrap();
    let renewing = tokio::spawn(async move {
        let mut beats = tokio::time::interval(Duration::from_millis(500));
        loop {
            beats.tick().await;
            leases::renew_replica(&store, other, its_time(), ttl)
                .await
                .unwrap();
        }
    });
    let hub = site.hub().await;
    let behind = its_time().duration_since(hub.app().clock.now());
    assert!(behind.abs() < MOMENT, "{behind}");
    renewing.abort();
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_whose_clock_fell_behind_ends_and_goes_by_the_others_time_when_it_starts_again() {
    let mut site = Site::new().await;
    let store = site.database.store().await;
    let running = tokio::spawn(app::run(site.config(&[])));
    let (other, stood_still) = (Uuid::now_v7(), SignedDuration::from_secs(120));
    let its_time = async || {
        let leases = leases::replicas(&store).await.unwrap();
        let its = leases.into_iter().filter(|one| one.replica != other);
        its.map(|one| one.renewed_at).max()
    };
    let mut now = eventually("its lease", &its_time).await;
    // Its machine stood still for two minutes; that of the other hub did not.
    eventually("its end", async || {
        now = its_time().await.unwrap_or(now);
        let renewed = now + stood_still;
        leases::renew_replica(&store, other, renewed, Duration::from_secs(15))
            .await
            .unwrap();
        running.is_finished().then_some(())
    })
    .await;
    let ended = running.await.unwrap();
    assert!(matches!(ended, Err(StartError::Outpaced)), "{ended:?}");
    let again = site.hub().await;
    let gained = again.app().clock.now().duration_since(now);
    assert!(
        gained >= stood_still && gained < stood_still + MOMENT,
        "{gained}"
    );
    again.stop().await;
}
