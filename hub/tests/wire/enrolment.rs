//! Join tokens and what a certificate says.

use std::time::Duration;

use bellwether_hub::pki::ClusterIdentity;
use bellwether_store::clusters::{self, ClusterState};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, SanType};
use reqwest::Method;
use serde_json::{Value, json};
use tonic::Code;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::{
    agent::{
        Credentials, Held, KUBE_UID, Session, connect, connect_by, enrol, enrol_as, joined, renew,
        request, request_with,
    },
    harness::{Site, eventually},
};

#[tokio::test(flavor = "multi_thread")]
async fn token_is_good_once() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let material = hub.token("uat-1").await;
    assert_eq!(material.ca_hash, hub.app().pki.ca_hash());
    assert_eq!(material.addresses, [hub.address()]);

    let (_, certificate) = enrol(&hub, &material.token).await.unwrap();
    assert_eq!(certificate.cluster_name, "uat-1");
    let cluster = clusters::get(&hub.app().store, "uat-1")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(cluster.state, ClusterState::Active);
    assert_eq!(cluster.kube_uid.as_deref(), Some(KUBE_UID));
    assert_eq!(cluster.id.to_string(), certificate.cluster_id);

    let again = enrol(&hub, &material.token).await.unwrap_err();
    assert_eq!(again.code(), Code::AlreadyExists);
    assert!(again.message().contains("used already"), "{again}");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_given_again_to_the_same_key_alone() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let material = hub.token("uat-1").await;
    let (key, csr) = request();
    let (key, first) = enrol_as(&hub, &material.token, KUBE_UID, (key, csr.clone()))
        .await
        .unwrap();
    let former = Credentials::new(&key, &first);

    // The agent never read that, and asks again with the key that it kept.
    let (key, second) = enrol_as(&hub, &material.token, KUBE_UID, (key, csr.clone()))
        .await
        .unwrap();
    assert_eq!(second.cluster_id, first.cluster_id);
    assert_ne!(second.chain_der, first.chain_der);
    let again = Credentials::new(&key, &second);
    let channel = connect(&hub, Some(&again)).await.unwrap();
    Session::open(channel, &Held::default()).await.unwrap();
    assert!(
        !refused(&hub, &former).await,
        "a repeat takes nothing from its own key"
    );

    let other = enrol(&hub, &material.token).await.unwrap_err();
    assert_eq!(other.code(), Code::AlreadyExists, "another key is a reuse");
    let elsewhere = enrol_as(&hub, &material.token, "another-cluster", (key, csr.clone()))
        .await
        .unwrap_err();
    assert_eq!(elsewhere.code(), Code::AlreadyExists, "so is a copy");

    // A repeat gives a revoked cluster nothing back.
    let store = &hub.app().store;
    let mut tx = store.begin().await.unwrap();
    clusters::revoke(&mut tx, again.cluster, jiff::Timestamp::now())
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let (key, _) = request();
    let late = enrol_as(&hub, &material.token, KUBE_UID, (key, csr))
        .await
        .unwrap_err();
    assert_eq!(late.code(), Code::AlreadyExists);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_agents_race_for_one_token() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let material = hub.token("uat-1").await;
    let tries = (0..8).map(|_| enrol(&hub, &material.token));
    let results = futures::future::join_all(tries).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_and_wrong_tokens_are_told_apart() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let expired = hub.token_with("uat-1", Duration::ZERO, 1).await;
    let refused = enrol(&hub, &expired.token).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("expired at"), "{refused}");

    let refused = enrol(&hub, "bwj_nobody-made-this").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert!(refused.message().contains("unknown"), "{refused}");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_in_the_request_are_ignored() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let victim = joined(&hub, "prod-1").await;

    let mut params = CertificateParams::default();
    let stolen = format!("spiffe://bellwether.local/cluster/{}", victim.cluster);
    params.subject_alt_names = vec![
        SanType::URI(stolen.as_str().try_into().unwrap()),
        SanType::DnsName("hub.bellwether.internal".try_into().unwrap()),
    ];
    params
        .distinguished_name
        .push(DnType::CommonName, victim.cluster.to_string());
    params
        .distinguished_name
        .push(DnType::OrganizationName, "system:masters");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let material = hub.token("uat-1").await;
    let asked = request_with(params);
    let (_, answer) = enrol_as(&hub, &material.token, KUBE_UID, asked)
        .await
        .unwrap();

    let own: uuid::Uuid = answer.cluster_id.parse().unwrap();
    assert_ne!(own, victim.cluster);
    let der = &answer.chain_der[0];
    let identity = ClusterIdentity::parse(der, "bellwether.local").unwrap();
    assert_eq!(identity.cluster, own);
    let (_, certificate) = X509Certificate::from_der(der).unwrap();
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    let uri = format!("spiffe://bellwether.local/cluster/{own}");
    assert_eq!(names.value.general_names, [GeneralName::URI(&uri)]);
    assert_eq!(certificate.subject().to_string(), format!("CN={own}"));
    assert!(!certificate.is_ca());
    let usage = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificate_of_one_cluster_does_not_speak_for_another() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let (ours, theirs) = (joined(&hub, "uat-1").await, joined(&hub, "prod-1").await);
    let secret = b"only for prod-1".as_slice();
    hub.write(
        theirs.cluster,
        &[("application/default/shop", Some(secret))],
    )
    .await;
    let written = hub
        .write(ours.cluster, &[("application/default/blog", Some(b"b"))])
        .await;

    let mut held = Held::default();
    let mut session = Session::open(connect(&hub, Some(&ours)).await.unwrap(), &held)
        .await
        .unwrap();
    assert_eq!(session.welcome.cluster_name, "uat-1");
    session
        .catch_up(&mut held, written.unwrap().generation)
        .await;
    assert_eq!(
        held.units.keys().collect::<Vec<_>>(),
        ["application/default/blog"]
    );

    // Knowing a digest is no right to its content.
    let range = bellwether_proto::wire::BlobRange {
        digest: bytes::Bytes::copy_from_slice(crate::harness::digest(secret).as_bytes()),
        offset: 0,
    };
    let want = bellwether_proto::wire::Want { blobs: vec![range] };
    session
        .say(bellwether_proto::wire::agent_message::Message::Want(want))
        .await;
    assert_eq!(session.last_word().await.unwrap().code, "unknown-content");

    // A certificate with the other's name that this hub did not sign does not even connect.
    let forger = bellwether_hub::pki::Pki::open(
        bellwether_hub::pki::PkiOptions {
            dir: site.path().join("forger"),
            trust_domain: "bellwether.local".to_owned(),
            certificate_lifetime: Duration::from_secs(3600),
            server_names: Vec::new(),
        },
        jiff::Timestamp::now(),
    )
    .unwrap();
    let (key, csr) = request();
    let forged = forger
        .issue(&csr, theirs.cluster, jiff::Timestamp::now())
        .unwrap();
    let forged = Credentials::issued(&key, &forged, theirs.cluster);
    assert!(refused(&hub, &forged).await);
    hub.stop().await;
}

/// Tells whether a certificate opens no session: the handshake or the first call fails.
async fn refused(hub: &crate::harness::Hub, credentials: &Credentials) -> bool {
    match connect(hub, Some(credentials)).await {
        Err(_) => true,
        Ok(channel) => Session::open(channel, &Held::default()).await.is_err(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_enrolment_works_without_a_certificate() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let channel = connect(&hub, None).await.unwrap();
    let session = Session::open(channel.clone(), &Held::default())
        .await
        .err()
        .unwrap();
    assert_eq!(session.code(), Code::Unauthenticated);
    assert_eq!(
        renew(channel.clone()).await.unwrap_err().code(),
        Code::Unauthenticated
    );
    let mut link = bellwether_proto::wire::link_client::LinkClient::new(channel);
    let bulk = link.bulk(tokio_stream::empty()).await.err().unwrap();
    assert_eq!(bulk.code(), Code::Unauthenticated);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn older_tls_is_refused() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    assert!(
        connect_by(&hub, None, &rustls::version::TLS12)
            .await
            .is_err()
    );
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_token_rebinds_the_cluster_and_ends_its_former_certificate() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let former = joined(&hub, "uat-1").await;
    let channel = connect(&hub, Some(&former)).await.unwrap();
    let mut session = Session::open(channel, &Held::default()).await.unwrap();

    let again = joined(&hub, "uat-1").await;
    assert_eq!(again.cluster, former.cluster, "the cluster keeps its id");
    assert_eq!(session.last_word().await.unwrap().code, "superseded");
    assert!(
        refused(&hub, &former).await,
        "the former certificate is refused"
    );
    let channel = connect(&hub, Some(&again)).await.unwrap();
    Session::open(channel, &Held::default()).await.unwrap();
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_wrong_is_seen_at_the_cluster_until_it_is_right() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let credentials = joined(&hub, "uat-1").await;
    let channel = connect(&hub, Some(&credentials)).await.unwrap();
    let held = Held::default();
    let mut hello = held.hello();
    hello.agent_time_ms += 3_600_000;
    let session = Session::open_with(channel, hello).await.unwrap();
    let recorded = async || {
        let cluster = clusters::get(&hub.app().store, "uat-1").await;
        cluster.unwrap().unwrap().clock_ahead_ms
    };
    let ahead_ms = eventually("the hour", async || recorded().await).await;
    assert!((3_540_000..=3_660_000).contains(&ahead_ms), "{ahead_ms}");

    let beat = bellwether_proto::wire::Beat {
        root: bytes::Bytes::copy_from_slice(held.root().as_bytes()),
        agent_time_ms: jiff::Timestamp::now().as_millisecond(),
        ..bellwether_proto::wire::Beat::default()
    };
    session
        .say(bellwether_proto::wire::agent_message::Message::Beat(beat))
        .await;
    eventually("a clock that is right", async || {
        recorded().await.filter(|ahead_ms| ahead_ms.abs() < 60_000)
    })
    .await;
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_in_which_drift_is_not_looked_for_is_shown_so_until_it_is() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let credentials = joined(&hub, "uat-1").await;
    let channel = connect(&hub, Some(&credentials)).await.unwrap();
    let held = Held::default();
    let session = Session::open(channel, &held).await.unwrap();
    let beat = async |age_minutes: u64| {
        let beat = bellwether_proto::wire::Beat {
            root: bytes::Bytes::copy_from_slice(held.root().as_bytes()),
            drift_age_ms: age_minutes * 60_000,
            ..bellwether_proto::wire::Beat::default()
        };
        let message = bellwether_proto::wire::agent_message::Message::Beat(beat);
        session.say(message).await;
    };
    let shown = async || {
        let (_, cluster) = hub.call(Method::GET, "clusters/uat-1", Value::Null).await;
        cluster["status"].clone()
    };
    let condition = |status: &Value| {
        let all = status["conditions"].as_array().into_iter().flatten();
        let mut drift = all.filter(|one| one["type"] == "DriftSeen");
        drift.next().cloned()
    };
    beat(40).await;
    let status = eventually("that nobody looks", async || {
        let status = shown().await;
        (status["condition"] == "Degraded").then_some(status)
    })
    .await;
    let told = condition(&status).unwrap();
    assert_eq!(
        (&told["status"], &told["reason"]),
        (&json!("False"), &json!("NotLooked"))
    );
    let message = status["message"].as_str().unwrap();
    assert!(
        message.contains("has not looked at everything that it holds since 2"),
        "{message}"
    );
    beat(1).await;
    eventually("that it is looked at", async || {
        let status = shown().await;
        (status["condition"] == "Ready" && condition(&status).is_none()).then_some(())
    })
    .await;
    hub.stop().await;
}
