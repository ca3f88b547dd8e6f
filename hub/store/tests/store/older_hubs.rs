//! What a hub of an older version writes, beside one of this version, while hubs are upgraded.

use std::collections::BTreeMap;

use bellwether_api::sync_policy::{DeletionPolicies, DeletionPolicy};
use bellwether_store::{
    desired::{self, ClusterChange, Deletions},
    testing::TestDatabase,
};
use sqlx::{ConnectOptions as _, postgres::PgConnectOptions};

use crate::fixture::{KEY, blob, change, cluster};

#[tokio::test]
async fn one_that_knows_no_words_of_components_brings_a_unit_back_that_has_some() {
    let database = TestDatabase::create().await;
    let store = database.store().await;
    let id = cluster(&store, "one").await;
    let digest = blob(&store, b"1").await;
    let write = async |change: ClusterChange| {
        let mut tx = store.begin().await.unwrap();
        desired::write(&mut tx, &[change], Deletions::Braked)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    };
    write(change(id, KEY, Some(digest))).await;
    write(change(id, KEY, None)).await;
    let said = DeletionPolicies {
        application: DeletionPolicy::Delete,
        components: BTreeMap::from([("db".to_owned(), Some(DeletionPolicy::Orphan))]),
    };
    let mut tx = store.begin().await.unwrap();
    desired::say_deletion(&mut tx, &[id], KEY, &said)
        .await
        .unwrap();
    tx.commit().await.unwrap();

    let options: PgConnectOptions = database.url.parse().unwrap();
    sqlx::query("UPDATE desired SET digest = $1, deletion = NULL")
        .bind(digest.0.as_slice())
        .execute(&mut options.connect().await.unwrap())
        .await
        .unwrap();
    let found = desired::snapshot(&store, id).await.unwrap().unwrap();
    let unit = &found.units[0];
    assert_eq!((unit.digest, unit.deletion.as_ref()), (Some(digest), None));
}
