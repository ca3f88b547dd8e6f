//! Tokens, certificates and what they open.

use std::collections::BTreeMap;

use bellwether_store::{
    api_tokens::{self, ApiToken},
    certificates::{self, Certificate},
    clusters::{self, ClusterState},
    join_tokens::{self, JoinToken, UseError},
    sessions,
    tailer::SyncTailer,
    testing::{self, TestDatabase},
};
use uuid::Uuid;

use crate::fixture::{at, cluster, open};

const KEY: [u8; 32] = [7; 32];
const OTHER_KEY: [u8; 32] = [8; 32];

fn token(hash: u8) -> JoinToken {
    JoinToken {
        id: Uuid::now_v7(),
        hash: [hash; 32],
        cluster_name: "eu-1".to_owned(),
        labels: BTreeMap::from([("region".to_owned(), "eu".to_owned())]),
        expires_at: at(3600),
        max_uses: 1,
        uses: 0,
        created_at: at(0),
        created_by: "alice".to_owned(),
    }
}

#[tokio::test]
async fn a_join_token_is_used_once_and_in_time() {
    let store = testing::store().await;
    let mut tx = store.begin().await.unwrap();
    for hash in [1, 2] {
        join_tokens::create(&mut tx, &token(hash)).await.unwrap();
    }
    let unknown = join_tokens::use_once(&mut tx, &[9; 32], &KEY, at(1)).await;
    assert!(matches!(unknown, Err(UseError::Unknown)));
    let used = join_tokens::use_once(&mut tx, &[1; 32], &KEY, at(1))
        .await
        .unwrap();
    assert!(!used.repeated);
    let used = used.token;
    assert_eq!((used.cluster_name.as_str(), used.uses), ("eu-1", 1));
    assert_eq!(used.labels, token(1).labels);
    let again = join_tokens::use_once(&mut tx, &[1; 32], &OTHER_KEY, at(1)).await;
    assert!(matches!(again, Err(UseError::Used)));
    let late = join_tokens::use_once(&mut tx, &[2; 32], &KEY, at(3600)).await;
    assert!(matches!(late, Err(UseError::Expired { expired_at }) if expired_at == at(3600)));
    tx.commit().await.unwrap();
    assert_eq!(join_tokens::list(&store).await.unwrap().len(), 2);
    let mut tx = store.begin().await.unwrap();
    assert!(join_tokens::delete(&mut tx, used.id).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(join_tokens::sweep(&store, at(9999)).await.unwrap(), 1);
}

#[tokio::test]
async fn an_expired_join_token_is_swept_and_a_fresh_one_stays() {
    let store = testing::store().await;
    let mut tx = store.begin().await.unwrap();
    for (hash, expires) in [(1, 100), (2, 200)] {
        let token = JoinToken {
            expires_at: at(expires),
            ..token(hash)
        };
        join_tokens::create(&mut tx, &token).await.unwrap();
    }
    tx.commit().await.unwrap();
    assert_eq!(join_tokens::sweep(&store, at(150)).await.unwrap(), 1);
    let mut tx = store.begin().await.unwrap();
    let swept = join_tokens::use_once(&mut tx, &[1; 32], &KEY, at(300)).await;
    assert!(matches!(swept, Err(UseError::Unknown)));
    let kept = join_tokens::use_once(&mut tx, &[2; 32], &KEY, at(300)).await;
    assert!(matches!(kept, Err(UseError::Expired { .. })));
}

#[tokio::test]
async fn the_key_that_used_a_token_may_repeat_itself() {
    let store = testing::store().await;
    let mut tx = store.begin().await.unwrap();
    for hash in [1, 2] {
        join_tokens::create(&mut tx, &token(hash)).await.unwrap();
    }
    join_tokens::use_once(&mut tx, &[1; 32], &KEY, at(1))
        .await
        .unwrap();
    for _ in 0..2 {
        let again = join_tokens::use_once(&mut tx, &[1; 32], &KEY, at(2))
            .await
            .unwrap();
        assert!(again.repeated);
        assert_eq!(again.token.uses, 1, "it costs no use");
    }
    let other = join_tokens::use_once(&mut tx, &[1; 32], &OTHER_KEY, at(2)).await;
    assert!(matches!(other, Err(UseError::Used)));
    let late = join_tokens::use_once(&mut tx, &[1; 32], &KEY, at(3600)).await;
    assert!(matches!(late, Err(UseError::Expired { .. })));
    // Whoever joined since is the cluster now.
    join_tokens::use_once(&mut tx, &[2; 32], &OTHER_KEY, at(3))
        .await
        .unwrap();
    let former = join_tokens::use_once(&mut tx, &[1; 32], &KEY, at(4)).await;
    assert!(matches!(former, Err(UseError::Used)));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_one_uses_the_token() {
    let database = TestDatabase::create().await;
    let store = database.store().await;
    let mut tx = store.begin().await.unwrap();
    join_tokens::create(&mut tx, &token(1)).await.unwrap();
    tx.commit().await.unwrap();
    let mut tasks = Vec::new();
    for number in 0..12 {
        let store = store.clone();
        tasks.push(tokio::spawn(async move {
            let mut tx = store.begin().await.unwrap();
            let used = join_tokens::use_once(&mut tx, &[1; 32], &[number; 32], at(1)).await;
            tx.commit().await.unwrap();
            match used {
                Ok(_) => 1,
                Err(UseError::Used) => 0,
                Err(other) => panic!("{other:?}"),
            }
        }));
    }
    let mut used = 0;
    for task in tasks {
        used += task.await.unwrap();
    }
    assert_eq!(used, 1);
}

#[tokio::test]
async fn an_enrolment_that_fails_gives_the_token_back() {
    let store = testing::store().await;
    let mut tx = store.begin().await.unwrap();
    join_tokens::create(&mut tx, &token(1)).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = store.begin().await.unwrap();
    join_tokens::use_once(&mut tx, &[1; 32], &KEY, at(1))
        .await
        .unwrap();
    tx.rollback().await.unwrap();
    let mut tx = store.begin().await.unwrap();
    join_tokens::use_once(&mut tx, &[1; 32], &KEY, at(1))
        .await
        .unwrap();
}

#[tokio::test]
async fn an_api_token_is_good_until_it_is_revoked() {
    let store = testing::store().await;
    let token = ApiToken {
        id: Uuid::now_v7(),
        name: "ci".to_owned(),
        role: "Editor".to_owned(),
        namespaces: vec!["shop".to_owned()],
        hash: [3; 32],
        created_at: at(0),
        created_by: "alice".to_owned(),
        revoked_at: None,
    };
    let mut tx = store.begin().await.unwrap();
    api_tokens::create(&mut tx, &token).await.unwrap();
    let twice = ApiToken {
        id: Uuid::now_v7(),
        hash: [4; 32],
        ..token.clone()
    };
    let refused = api_tokens::create(&mut tx, &twice).await;
    assert!(matches!(
        refused,
        Err(api_tokens::CreateError::Exists { .. })
    ));
    tx.commit().await.unwrap();
    assert_eq!(
        api_tokens::by_hash(&store, &[3; 32]).await.unwrap(),
        Some(token)
    );
    let mut tx = store.begin().await.unwrap();
    assert!(api_tokens::revoke(&mut tx, "ci", at(5)).await.unwrap());
    assert!(!api_tokens::revoke(&mut tx, "ci", at(6)).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(api_tokens::by_hash(&store, &[3; 32]).await.unwrap(), None);
    assert_eq!(
        api_tokens::list(&store).await.unwrap()[0].revoked_at,
        Some(at(5))
    );
}

#[tokio::test]
async fn revoking_a_cluster_ends_its_certificates_and_streams() {
    let store = testing::store().await;
    let id = cluster(&store, "eu-1").await;
    let certificate = Certificate {
        serial: "0a1b".to_owned(),
        cluster: id,
        issued_at: at(0),
        not_after: at(86_400),
        revoked_at: None,
    };
    let mut tx = store.begin().await.unwrap();
    clusters::activate(&mut tx, id, "kube-uid", at(0))
        .await
        .unwrap();
    certificates::insert(&mut tx, &certificate).await.unwrap();
    tx.commit().await.unwrap();
    let active = clusters::by_id(&store, id).await.unwrap().unwrap();
    assert_eq!(
        (active.state, active.registered_at),
        (ClusterState::Active, Some(at(0)))
    );
    assert_eq!(active.certificate_not_after, Some(at(86_400)));
    assert_eq!(active.kube_uid.as_deref(), Some("kube-uid"));
    assert_eq!(
        certificates::get(&store, "0a1b").await.unwrap(),
        Some(certificate)
    );

    let session = open(&store, id, Uuid::new_v4()).await;
    let mut tailer = SyncTailer::new(store.clone());
    tailer.poll().await.unwrap();
    let mut tx = store.begin().await.unwrap();
    assert!(clusters::revoke(&mut tx, id, at(10)).await.unwrap());
    assert!(!clusters::revoke(&mut tx, id, at(11)).await.unwrap());
    tx.commit().await.unwrap();
    let told = tailer.poll().await.unwrap();
    assert!(told[0].revoked && told[0].epoch > session.epoch && told[0].replica.is_none());
    let revoked_at = certificates::get(&store, "0a1b")
        .await
        .unwrap()
        .unwrap()
        .revoked_at;
    assert_eq!(revoked_at, Some(at(10)));
    let again = sessions::OpenSession {
        cluster: id,
        seen_epoch: session.epoch,
        agent_version: String::new(),
        kubernetes_version: String::new(),
        capabilities: Vec::new(),
    };
    assert_eq!(
        sessions::open(&store, &again, Uuid::new_v4(), at(12))
            .await
            .unwrap(),
        None
    );
    let other = cluster(&store, "eu-2").await;
    let gone = Uuid::from_u128(1);
    let mut refused = vec![gone, id];
    refused.sort();
    assert_eq!(
        clusters::refused_among(&store, &[other, id, gone])
            .await
            .unwrap(),
        refused
    );

    // A new token gives it its place back.
    let mut tx = store.begin().await.unwrap();
    clusters::activate(&mut tx, id, "kube-uid", at(20))
        .await
        .unwrap();
    assert!(
        !certificates::revoke(&mut tx, "0a1b", at(20)).await.unwrap(),
        "it is revoked already"
    );
    tx.commit().await.unwrap();
    assert!(
        sessions::open(&store, &again, Uuid::new_v4(), at(21))
            .await
            .unwrap()
            .is_some()
    );
    assert_eq!(certificates::sweep(&store, at(86_401)).await.unwrap(), 1);
}
