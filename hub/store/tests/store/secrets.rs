//! What holds a Secret is sealed at rest, wherever it lies.

use std::os::unix::fs::PermissionsExt as _;

use bellwether_store::{
    BlobCipher, CipherError, Digest, Store, StoreError, StoreOptions,
    blobs::{self, Secrecy},
    records::{self, Change, NewRecord, RecordKind},
    testing::{self, TestDatabase},
};
use serde_json::json;
use sqlx::{ConnectOptions as _, PgConnection, postgres::PgConnectOptions};

use crate::fixture::{at, new_record};

/// Long and plain, so that neither packing nor chance hides it.
const SECRET: &str = "hunter2-correct-horse-battery-staple";

async fn raw(database: &TestDatabase) -> PgConnection {
    database
        .url
        .parse::<PgConnectOptions>()
        .unwrap()
        .connect()
        .await
        .unwrap()
}

async fn put(store: &Store, content: &str, secrecy: Secrecy) -> Digest {
    let mut tx = store.begin().await.unwrap();
    let digest = blobs::put(&mut tx, content.as_bytes(), secrecy, at(0))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    digest
}

/// Every byte of the table, unpacked where it unpacks.
async fn stored(database: &TestDatabase) -> Vec<u8> {
    let rows: Vec<Vec<u8>> = sqlx::query_scalar("SELECT bytes FROM blob")
        .fetch_all(&mut raw(database).await)
        .await
        .unwrap();
    let unpack = |row: Vec<u8>| zstd::stream::decode_all(row.as_slice()).unwrap_or(row);
    rows.into_iter().flat_map(unpack).collect()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn a_secret_blob_is_sealed_at_rest() {
    let database = TestDatabase::create().await;
    let store = database.store().await;
    let plain = put(&store, "nothing to hide in this one", Secrecy::Plain).await;
    let sealed = put(&store, SECRET, Secrecy::Secret).await;
    let table = stored(&database).await;
    assert!(
        holds(&table, "nothing to hide"),
        "the search finds what lies in the clear"
    );
    assert!(!holds(&table, SECRET));
    assert_eq!(
        blobs::get(&store, sealed).await.unwrap().unwrap(),
        SECRET.as_bytes()
    );
    let packed = blobs::get_packed_many(&store, &[sealed, plain, Digest([0; 32])])
        .await
        .unwrap();
    assert_eq!(packed.len(), 2);
    let travels = packed.iter().find(|blob| blob.digest == sealed).unwrap();
    assert_eq!(travels.size_bytes, u64::try_from(SECRET.len()).unwrap());
    assert_eq!(
        zstd::decode_all(travels.zstd.as_slice()).unwrap(),
        SECRET.as_bytes()
    );
    assert_eq!(blobs::get(&store, Digest([0; 32])).await.unwrap(), None);
}

#[tokio::test]
async fn a_content_that_turns_out_secret_is_sealed_afterwards() {
    let database = TestDatabase::create().await;
    let store = database.store().await;
    let digest = put(&store, SECRET, Secrecy::Plain).await;
    assert!(holds(&stored(&database).await, SECRET));
    assert_eq!(put(&store, SECRET, Secrecy::Secret).await, digest);
    assert!(!holds(&stored(&database).await, SECRET));
    put(&store, SECRET, Secrecy::Plain).await;
    assert!(
        !holds(&stored(&database).await, SECRET),
        "it never goes back"
    );
    assert_eq!(
        blobs::get(&store, digest).await.unwrap().unwrap(),
        SECRET.as_bytes()
    );
}

#[tokio::test]
async fn a_tampered_or_foreign_blob_is_refused() {
    let database = TestDatabase::create().await;
    let store = database.store().await;
    let digest = put(&store, SECRET, Secrecy::Secret).await;
    let other_key = BlobCipher::from_key(&[8; 32]);
    let other = Store::connect(StoreOptions::new(&database.url), other_key)
        .await
        .unwrap();
    let refused = blobs::get(&other, digest).await;
    assert!(matches!(
        refused,
        Err(StoreError::Cipher {
            source: CipherError::Open,
            ..
        })
    ));
    sqlx::query("UPDATE blob SET bytes = set_byte(bytes, 20, get_byte(bytes, 20) # 1)")
        .execute(&mut raw(&database).await)
        .await
        .unwrap();
    let refused = blobs::get(&store, digest).await;
    assert!(matches!(refused, Err(StoreError::Cipher { .. })));
}

#[tokio::test]
async fn a_record_with_a_secret_is_sealed_at_rest() {
    let database = TestDatabase::create().await;
    let store = database.store().await;
    let spec = json!({"components": [{"manifests": [{"kind": "Secret", "data": SECRET}]}]});
    let new = NewRecord {
        secrecy: Secrecy::Secret,
        ..new_record(RecordKind::Application, "shop", spec.clone())
    };
    let mut tx = store.begin().await.unwrap();
    records::apply(&mut tx, &new, None, at(0)).await.unwrap();
    let again = records::apply(&mut tx, &new, None, at(1)).await.unwrap();
    assert_eq!(again.change, Change::Unchanged, "sealing is no change");
    tx.commit().await.unwrap();
    assert_eq!(
        records::get(&store, &new.key).await.unwrap().unwrap().spec,
        spec
    );
    let text: String = sqlx::query_scalar("SELECT string_agg(r::text, '') FROM record r")
        .fetch_one(&mut raw(&database).await)
        .await
        .unwrap();
    assert!(!text.contains(SECRET));
    assert!(!text.contains(&hex::encode(SECRET)));
}

#[tokio::test]
async fn only_blobs_that_nothing_names_are_swept() {
    let store = testing::store().await;
    let cluster = crate::fixture::cluster(&store, "one").await;
    let named = put(&store, "named", Secrecy::Plain).await;
    let unnamed = put(&store, "unnamed", Secrecy::Plain).await;
    let change = crate::fixture::change(cluster, "a", Some(named));
    let braked = bellwether_store::desired::Deletions::Braked;
    bellwether_store::desired::fan_out(&store, vec![change], braked)
        .await
        .unwrap();
    assert_eq!(
        blobs::sweep(&store, at(0), 10).await.unwrap(),
        0,
        "they are too young"
    );
    assert_eq!(blobs::sweep(&store, at(1), 10).await.unwrap(), 1);
    assert!(blobs::get(&store, named).await.unwrap().is_some());
    assert_eq!(blobs::get(&store, unnamed).await.unwrap(), None);
    let unknown = crate::fixture::change(cluster, "a", Some(unnamed));
    let refused = bellwether_store::desired::fan_out(&store, vec![unknown], braked).await;
    assert!(matches!(
        refused,
        Err(bellwether_store::desired::WriteError::UnknownBlob)
    ));
}

#[test]
fn a_key_file_is_made_once_and_kept_private() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("blob.key");
    BlobCipher::from_key_file(&path).unwrap();
    let made = std::fs::read(&path).unwrap();
    assert_eq!(made.len(), 32);
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    BlobCipher::from_key_file(&path).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), made);
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        1,
        "no draft is left"
    );

    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let error = BlobCipher::from_key_file(&path).err().unwrap();
    assert!(error.to_string().contains("chmod 600"), "{error}");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&path, b"short").unwrap();
    let error = BlobCipher::from_key_file(&path).err().unwrap();
    assert!(matches!(error, CipherError::KeyLength { length: 5, .. }));
}
