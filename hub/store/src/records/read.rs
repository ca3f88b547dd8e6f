//! Reading records.

use std::collections::BTreeMap;

use bellwether_api::reference::NamespacedName;
use serde_json::Value;
use sqlx::{PgExecutor, types::Json};
use uuid::Uuid;

use super::{ListOptions, Page, Record, RecordKey, RecordKind};
use crate::{
    BlobCipher, Store, StoreError, Tx,
    blobs::{self, Secrecy},
    column::{from_name, name_of, timestamp, unsigned},
    error::Doing,
};

const COLUMNS_OF_ONE: &str =
    "SELECT kind, namespace, name, uid, generation, resource_version, labels,
    annotations, spec, sealed_spec, created_at_ms, updated_at_ms, created_by,
    updated_by, reason
    FROM record WHERE kind = $1 AND namespace = $2 AND name = $3";
pub(super) const COLUMNS_OF_ONE_LOCKED: &str =
    "SELECT kind, namespace, name, uid, generation, resource_version,
    labels, annotations, spec, sealed_spec, created_at_ms, updated_at_ms, created_by,
    updated_by, reason
    FROM record WHERE kind = $1 AND namespace = $2 AND name = $3 FOR UPDATE";

#[derive(sqlx::FromRow)]
pub(super) struct RecordRow {
    kind: String,
    namespace: String,
    name: String,
    uid: Uuid,
    generation: i64,
    resource_version: i64,
    labels: Json<BTreeMap<String, String>>,
    annotations: Json<BTreeMap<String, String>>,
    spec: Option<Value>,
    sealed_spec: Option<Vec<u8>>,
    created_at_ms: i64,
    updated_at_ms: i64,
    created_by: String,
    updated_by: String,
    reason: String,
}

impl RecordRow {
    pub(super) fn into_record(self, cipher: &BlobCipher) -> Result<Record, StoreError> {
        let (spec, secrecy) = match (self.spec, self.sealed_spec) {
            (Some(spec), _) => (spec, Secrecy::Plain),
            (None, Some(sealed)) => (open_spec(cipher, self.uid, &sealed)?, Secrecy::Secret),
            (None, None) => {
                return Err(StoreError::Corrupt {
                    what: "record.spec",
                    detail: "there is none".to_owned(),
                });
            }
        };
        Ok(Record {
            key: RecordKey {
                kind: from_name("record.kind", self.kind)?,
                namespace: self.namespace,
                name: self.name,
            },
            uid: self.uid,
            generation: unsigned("record.generation", self.generation)?,
            resource_version: unsigned("record.resource_version", self.resource_version)?,
            labels: self.labels.0,
            annotations: self.annotations.0,
            spec,
            secrecy,
            created_at: timestamp("record.created_at_ms", self.created_at_ms)?,
            updated_at: timestamp("record.updated_at_ms", self.updated_at_ms)?,
            created_by: self.created_by,
            updated_by: self.updated_by,
            reason: self.reason,
        })
    }
}

fn open_spec(cipher: &BlobCipher, uid: Uuid, sealed: &[u8]) -> Result<Value, StoreError> {
    let packed = blobs::open(cipher, "record.spec", uid.as_bytes(), sealed)?;
    serde_json::from_slice(&blobs::unpack(&packed)?).map_err(|error| StoreError::Corrupt {
        what: "record.spec",
        detail: error.to_string(),
    })
}

/// One record; absent when it does not exist.
///
/// # Errors
/// The database fails.
pub async fn get(store: &Store, key: &RecordKey) -> Result<Option<Record>, StoreError> {
    find(&store.pool, &store.cipher, COLUMNS_OF_ONE, key).await
}

/// One record as the transaction sees it; absent when it does not exist.
///
/// # Errors
/// The database fails.
pub async fn get_in(tx: &mut Tx, key: &RecordKey) -> Result<Option<Record>, StoreError> {
    find(&mut *tx.inner, &tx.cipher, COLUMNS_OF_ONE, key).await
}

/// One record, locked until the transaction ends; absent when it does not exist.
///
/// # Errors
/// The database fails.
pub async fn lock(tx: &mut Tx, key: &RecordKey) -> Result<Option<Record>, StoreError> {
    find(&mut *tx.inner, &tx.cipher, COLUMNS_OF_ONE_LOCKED, key).await
}

pub(super) async fn find(
    executor: impl PgExecutor<'_>,
    cipher: &BlobCipher,
    statement: &'static str,
    key: &RecordKey,
) -> Result<Option<Record>, StoreError> {
    let row: Option<RecordRow> = sqlx::query_as(statement)
        .bind(name_of("record.kind", &key.kind)?)
        .bind(&key.namespace)
        .bind(&key.name)
        .fetch_optional(executor)
        .await
        .doing("read a record")?;
    row.map(|row| row.into_record(cipher)).transpose()
}

/// One page of the records of a kind.
///
/// # Errors
/// The database fails.
pub async fn list(store: &Store, options: &ListOptions) -> Result<Page, StoreError> {
    let mut tx = store.begin().await?;
    list_in(&mut tx, options).await
}

/// One page of the records of a kind as the transaction sees them.
///
/// # Errors
/// The database fails.
pub async fn list_in(tx: &mut Tx, options: &ListOptions) -> Result<Page, StoreError> {
    // Read first: what is written afterwards has a higher version, and may or may not be listed.
    let version: i64 = sqlx::query_scalar("SELECT last_value FROM resource_version")
        .fetch_one(&mut *tx.inner)
        .await
        .doing("read the resource version")?;
    let (after_namespace, after_name) = options.after.clone().unzip();
    let rows: Vec<RecordRow> = sqlx::query_as(
        "SELECT kind, namespace, name, uid, generation, resource_version, labels, annotations, spec,
            sealed_spec, created_at_ms, updated_at_ms, created_by,
    updated_by, reason
         FROM record WHERE kind = $1 AND ($2::text IS NULL OR namespace = $2)
           AND ($3::text IS NULL OR (namespace, name) > ($3, $4::text))
         ORDER BY namespace, name LIMIT $5",
    )
    .bind(name_of("record.kind", &options.kind)?)
    .bind(&options.namespace)
    .bind(after_namespace)
    .bind(after_name)
    .bind(i64::from(options.limit) + 1)
    .fetch_all(&mut *tx.inner)
    .await
    .doing("list records")?;
    let mut records = rows
        .into_iter()
        .map(|row| row.into_record(&tx.cipher))
        .collect::<Result<Vec<_>, _>>()?;
    let limit = usize::try_from(options.limit).unwrap_or(usize::MAX);
    let more = records.len() > limit;
    records.truncate(limit);
    let next = records
        .last()
        .filter(|_| more)
        .map(|record| (record.key.namespace.clone(), record.key.name.clone()));
    Ok(Page {
        records,
        next,
        resource_version: unsigned("resource_version", version)?,
    })
}

/// The Rollouts that name an application, and those of its namespace whose specs are sealed and
/// must be opened to tell, by name.
///
/// # Errors
/// The database fails.
pub async fn rollouts_of(
    store: &Store,
    application: &NamespacedName,
) -> Result<Vec<Record>, StoreError> {
    rollouts_from(&store.pool, &store.cipher, application).await
}

/// As [`rollouts_of`], as the transaction sees them.
///
/// # Errors
/// The database fails.
pub async fn rollouts_of_in(
    tx: &mut Tx,
    application: &NamespacedName,
) -> Result<Vec<Record>, StoreError> {
    rollouts_from(&mut *tx.inner, &tx.cipher, application).await
}

/// The Rollouts without an application, as the transaction sees them, by name.
///
/// # Errors
/// The database fails.
pub async fn standing_in(tx: &mut Tx) -> Result<Vec<Record>, StoreError> {
    let rows: Vec<RecordRow> = sqlx::query_as(
        "SELECT kind, namespace, name, uid, generation, resource_version, labels, annotations, spec,
            sealed_spec, created_at_ms, updated_at_ms, created_by, updated_by, reason
         FROM record WHERE kind = 'Rollout' AND spec ->> 'application' IS NULL
           AND spec ? 'destination' ORDER BY namespace, name",
    )
    .fetch_all(&mut *tx.inner)
    .await
    .doing("list the rollouts without an application")?;
    rows.into_iter()
        .map(|row| row.into_record(&tx.cipher))
        .collect()
}

async fn rollouts_from(
    executor: impl PgExecutor<'_>,
    cipher: &BlobCipher,
    application: &NamespacedName,
) -> Result<Vec<Record>, StoreError> {
    let rows: Vec<RecordRow> = sqlx::query_as(
        "SELECT kind, namespace, name, uid, generation, resource_version, labels, annotations, spec,
            sealed_spec, created_at_ms, updated_at_ms, created_by, updated_by, reason
         FROM record WHERE kind = 'Rollout' AND namespace = $1
           AND (spec ->> 'application' = $2 OR spec ->> 'application' IS NULL) ORDER BY name",
    )
    .bind(&application.namespace)
    .bind(&application.name)
    .fetch_all(executor)
    .await
    .doing("list an application's rollouts")?;
    rows.into_iter()
        .map(|row| row.into_record(cipher))
        .collect()
}

/// Every record of a kind, by namespace and name.
///
/// # Errors
/// The database fails.
pub async fn list_all(store: &Store, kind: RecordKind) -> Result<Vec<Record>, StoreError> {
    let options = ListOptions {
        kind,
        namespace: None,
        limit: u32::MAX,
        after: None,
    };
    Ok(list(store, &options).await?.records)
}
