//! Certificates that end, are renewed or taken away.

use std::time::Duration;

use bellwether_store::clusters;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;
use tonic::Code;

use crate::{
    agent::{Credentials, Held, Session, connect, joined, renew, request},
    harness::{Hub, Site},
};

/// A certificate of a cluster with the validity given.
fn forge(hub: &Hub, cluster: uuid::Uuid, from: Timestamp, until: Timestamp) -> Credentials {
    let (key, csr) = request();
    let issued = hub
        .app()
        .pki
        .issue_between(&csr, cluster, from, until)
        .unwrap();
    Credentials::issued(&key, &issued, cluster)
}

#[tokio::test(flavor = "multi_thread")]
async fn certificate_that_ended_yesterday_renews_and_does_nothing_else() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let now = Timestamp::now();
    let cluster = joined(&hub, "uat-1").await.cluster;
    let day = SignedDuration::from_hours(24);
    let ended = forge(&hub, cluster, now - day * 2, now - day);
    let channel = connect(&hub, Some(&ended)).await.unwrap();

    let refused = Session::open(channel.clone(), &Held::default())
        .await
        .err()
        .unwrap();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert!(refused.message().contains("ended at"), "{refused}");

    let (key, answer) = renew(channel).await.unwrap();
    let renewed = Credentials::new(&key, &answer);
    assert_eq!(renewed.cluster, cluster);
    assert!((answer.hub_time_ms - now.as_millisecond()).abs() < 60_000);
    let channel = connect(&hub, Some(&renewed)).await.unwrap();
    Session::open(channel, &Held::default()).await.unwrap();
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificate_that_ended_long_ago_is_refused() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let cluster = joined(&hub, "uat-1").await.cluster;
    let now = Timestamp::now();
    let day = SignedDuration::from_hours(24);
    let ended = forge(&hub, cluster, now - day * 40, now - day * 31);
    let renewed = match connect(&hub, Some(&ended)).await {
        Err(_) => None,
        Ok(channel) => renew(channel).await.ok(),
    };
    assert!(renewed.is_none());
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stream_and_connection_end_with_the_certificate() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let cluster = joined(&hub, "uat-1").await.cluster;
    let now = Timestamp::now();
    let short = forge(&hub, cluster, now, now + SignedDuration::from_secs(3));
    let channel = connect(&hub, Some(&short)).await.unwrap();
    let mut session = Session::open(channel.clone(), &Held::default())
        .await
        .unwrap();

    assert_eq!(session.last_word().await.unwrap().code, "certificate-ended");
    let ended_at = Timestamp::now();
    assert!(
        ended_at >= now + SignedDuration::from_secs(2),
        "not before its time"
    );
    assert!(
        ended_at < now + SignedDuration::from_secs(6),
        "soon after its time"
    );
    // The connection goes too, so that not even a renewal works on it for ever.
    let deadline = Instant::now() + Duration::from_secs(5);
    while renew(channel.clone()).await.is_ok() {
        assert!(
            Instant::now() < deadline,
            "the connection outlives the certificate"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn renewal_keeps_the_session_and_hands_over() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let first = joined(&hub, "uat-1").await;
    let mut held = Held::default();
    let channel = connect(&hub, Some(&first)).await.unwrap();
    let mut session = Session::open(channel.clone(), &held).await.unwrap();
    let (key, answer) = renew(channel).await.unwrap();
    let second = Credentials::new(&key, &answer);

    // The former certificate is good until it ends: work under way goes on.
    let written = hub
        .write(first.cluster, &[("application/default/shop", Some(b"1"))])
        .await;
    session
        .catch_up(&mut held, written.unwrap().generation)
        .await;

    let channel = connect(&hub, Some(&second)).await.unwrap();
    let mut successor = Session::open(channel, &held).await.unwrap();
    assert!(successor.welcome.epoch > session.welcome.epoch);
    assert_eq!(session.last_word().await.unwrap().code, "superseded");
    let written = hub
        .write(first.cluster, &[("application/default/shop", Some(b"2"))])
        .await;
    successor
        .catch_up(&mut held, written.unwrap().generation)
        .await;
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn revoked_cluster_is_cut_within_5_s() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    // A revocation that another process writes: nobody tells this hub.
    let credentials = joined(&hub, "uat-1").await;
    let channel = connect(&hub, Some(&credentials)).await.unwrap();
    let mut session = Session::open(channel.clone(), &Held::default())
        .await
        .unwrap();

    let store = site.database.store().await;
    let mut tx = store.begin().await.unwrap();
    clusters::revoke(&mut tx, credentials.cluster, Timestamp::now())
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let revoked_at = Instant::now();
    assert_eq!(session.last_word().await.unwrap().code, "revoked");
    assert!(revoked_at.elapsed() < Duration::from_secs(5));

    let refused = match connect(&hub, Some(&credentials)).await {
        Err(_) => return,
        Ok(channel) => Session::open(channel, &Held::default())
            .await
            .err()
            .unwrap(),
    };
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(refused.message().contains("revoked"), "{refused}");
    assert!(renew(channel).await.is_err(), "neither does it renew");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_cluster_is_cut_too() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let credentials = joined(&hub, "uat-1").await;
    let channel = connect(&hub, Some(&credentials)).await.unwrap();
    let mut session = Session::open(channel, &Held::default()).await.unwrap();
    let mut tx = hub.app().store.begin().await.unwrap();
    clusters::delete(&mut tx, credentials.cluster)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let deleted_at = Instant::now();
    session.last_word().await.unwrap();
    assert!(deleted_at.elapsed() < Duration::from_secs(5));
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_authorities_are_trusted_while_they_change() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let before = joined(&hub, "uat-1").await;
    let pki = hub.app().pki.clone();
    let former_hash = pki.ca_hash();
    pki.prepare_rotation(Timestamp::now()).unwrap();
    assert_eq!(pki.trusted_ca_der().len(), 2);
    assert_eq!(
        pki.ca_hash(),
        former_hash,
        "the former one signs until the next is promoted"
    );
    pki.promote_rotation(Timestamp::now()).unwrap();
    assert_ne!(pki.ca_hash(), former_hash);

    let channel = connect(&hub, Some(&before)).await.unwrap();
    Session::open(channel.clone(), &Held::default())
        .await
        .unwrap();
    let (key, answer) = renew(channel).await.unwrap();
    assert_eq!(answer.trusted_ca_der.len(), 2);
    let after = Credentials::new(&key, &answer);
    let channel = connect(&hub, Some(&after)).await.unwrap();
    Session::open(channel, &Held::default()).await.unwrap();
    hub.stop().await;
}
