//! Secrets that the hub keeps: sealed at rest, and never another's.

use std::collections::BTreeMap;

use bellwether_api::reference::NamespacedName;
use bellwether_store::{
    BlobCipher, CipherError, Store, StoreError, StoreOptions,
    changes::RecordTailer,
    records::Change,
    secrets::{self, SecretValue},
    testing::{self, TestDatabase},
};
use sqlx::{ConnectOptions as _, PgConnection, postgres::PgConnectOptions};

use crate::fixture::at;

/// Long and plain, so that chance does not hide it.
const VALUE: &str = "hunter2-correct-horse-battery-staple";

fn git() -> NamespacedName {
    NamespacedName {
        namespace: "default".to_owned(),
        name: "git".to_owned(),
    }
}

async fn set(store: &Store, entries: &[(&str, &str)], second: i64) -> Change {
    let entries = entries
        .iter()
        .map(|(key, value)| {
            let value = SecretValue::new(value.as_bytes().to_vec());
            ((*key).to_owned(), value)
        })
        .collect();
    let mut tx = store.begin().await.unwrap();
    let change = secrets::set(&mut tx, &git(), &entries, "ana", at(second))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    change
}

async fn raw(database: &TestDatabase) -> PgConnection {
    let options: PgConnectOptions = database.url.parse().unwrap();
    options.connect().await.unwrap()
}

async fn values(store: &Store) -> BTreeMap<String, String> {
    let opened = secrets::open(store, &git()).await.unwrap().unwrap();
    let text = |value: &SecretValue| String::from_utf8(value.expose().to_vec()).unwrap();
    opened
        .values
        .iter()
        .map(|(key, value)| (key.clone(), text(value)))
        .collect()
}

#[tokio::test]
async fn no_table_holds_a_value_in_the_clear() {
    let database = TestDatabase::create().await;
    let store = database.store().await;
    set(&store, &[("username", "git"), ("password", VALUE)], 0).await;
    set(
        &store,
        &[("username", "git"), ("password", "another-one-than-before")],
        1,
    )
    .await;
    let mut connection = raw(&database).await;
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let mut seen = 0;
    for table in tables {
        let statement = format!("SELECT coalesce(string_agg(t::text, ' '), '') FROM \"{table}\" t");
        let text: String = sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
            .fetch_one(&mut connection)
            .await
            .unwrap();
        seen += text.matches("password").count();
        for value in [VALUE, "another-one-than-before"] {
            let hex = hex::encode(value);
            assert!(!text.contains(value) && !text.contains(&hex), "{table}");
        }
    }
    assert_eq!(seen, 2, "the search finds what lies in the clear: the keys");
    assert_eq!(values(&store).await["password"], "another-one-than-before");
}

#[tokio::test]
async fn a_value_that_stays_keeps_its_version_and_a_replaced_one_is_kept_until_it_is_swept() {
    let store = testing::store().await;
    assert_eq!(
        set(&store, &[("a", "1"), ("b", "2")], 0).await,
        Change::Created
    );
    let before = secrets::open(&store, &git()).await.unwrap().unwrap().info;
    assert_eq!(
        set(&store, &[("a", "1"), ("b", "2")], 1).await,
        Change::Unchanged
    );
    let same = secrets::open(&store, &git()).await.unwrap().unwrap().info;
    assert_eq!(same, before, "writing the same changes nothing");

    assert_eq!(
        set(&store, &[("a", "1"), ("b", "3")], 2).await,
        Change::Configured
    );
    let after = secrets::open(&store, &git()).await.unwrap().unwrap().info;
    assert_eq!(after.keys["a"], before.keys["a"]);
    assert_ne!(after.keys["b"], before.keys["b"]);
    assert_ne!(after.revision, before.revision);
    let replaced = before.keys["b"];
    let found = secrets::value(&store, replaced).await.unwrap().unwrap();
    assert_eq!(found.expose(), b"2");
    assert_eq!(secrets::sweep(&store, at(2)).await.unwrap(), 0, "too young");
    assert_eq!(secrets::sweep(&store, at(3)).await.unwrap(), 1);
    assert_eq!(secrets::value(&store, replaced).await.unwrap(), None);

    assert_eq!(set(&store, &[("b", "3")], 4).await, Change::Configured);
    let left: Vec<String> = values(&store).await.into_keys().collect();
    assert_eq!(left, ["b"], "a secret holds exactly what was written last");
}

#[tokio::test]
async fn a_deleted_secret_takes_every_value_away() {
    let store = testing::store().await;
    set(&store, &[("a", "1")], 0).await;
    let version = secrets::list(&store, None).await.unwrap()[0].keys["a"];
    set(&store, &[("a", "2")], 1).await;
    let mut tx = store.begin().await.unwrap();
    assert!(secrets::delete(&mut tx, &git()).await.unwrap());
    assert!(!secrets::delete(&mut tx, &git()).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(secrets::value(&store, version).await.unwrap(), None);
    assert!(
        secrets::list(&store, Some("default"))
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(secrets::open(&store, &git()).await.unwrap(), None);
}

#[tokio::test]
async fn a_value_opens_with_its_key_and_in_its_place_alone() {
    let database = TestDatabase::create().await;
    let store = database.store().await;
    set(&store, &[("a", VALUE), ("b", "2")], 0).await;
    let other = BlobCipher::from_key(&[8; 32]);
    let other = Store::connect(StoreOptions::new(&database.url), other)
        .await
        .unwrap();
    let is_refused = |opened: Result<_, StoreError>| {
        let error: Option<StoreError> = opened.map(|_: Option<secrets::OpenSecret>| ()).err();
        matches!(
            error,
            Some(StoreError::Cipher {
                source: CipherError::Open,
                ..
            })
        )
    };
    assert!(is_refused(secrets::open(&other, &git()).await));
    assert_eq!(
        secrets::list(&other, None).await.unwrap().len(),
        1,
        "names need no key"
    );

    sqlx::query(
        "UPDATE secret_value v SET sealed = (SELECT sealed FROM secret_value WHERE key = 'a')
         WHERE key = 'b'",
    )
    .execute(&mut raw(&database).await)
    .await
    .unwrap();
    assert!(
        is_refused(secrets::open(&store, &git()).await),
        "a is not b"
    );
}

#[tokio::test]
async fn whoever_follows_records_hears_of_secrets() {
    let store = testing::store().await;
    let mut tailer = RecordTailer::new(store.clone());
    tailer.poll().await.unwrap();
    let name = ("Secret".to_owned(), "default".to_owned(), "git".to_owned());
    set(&store, &[("a", "1")], 0).await;
    let first = tailer.poll().await.unwrap().changes[&name].clone();
    assert!(!first.gone);
    set(&store, &[("a", "1")], 1).await;
    assert!(
        tailer.poll().await.unwrap().changes.is_empty(),
        "nothing changed"
    );
    set(&store, &[("a", "2")], 2).await;
    let second = tailer.poll().await.unwrap().changes[&name].clone();
    assert_ne!(second.resource_version, first.resource_version);
    let mut tx = store.begin().await.unwrap();
    secrets::delete(&mut tx, &git()).await.unwrap();
    tx.commit().await.unwrap();
    assert!(tailer.poll().await.unwrap().changes[&name].gone);
}

#[test]
fn a_value_does_not_show() {
    let value = SecretValue::new(VALUE.as_bytes().to_vec());
    assert_eq!(format!("{value:?}"), "***");
}
