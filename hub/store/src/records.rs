//! What users wrote: Fleet, Application, Rollout. Clusters have a table of their own.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::{PgExecutor, types::Json};
use uuid::Uuid;

use crate::{
    BlobCipher, Store, StoreError, Tx,
    blobs::{self, Secrecy},
    column::{from_name, ms, name_of, refuse_nul, signed, timestamp, unsigned},
    error::Doing,
};

/// The kinds that lie here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RecordKind {
    /// Global: its namespace is empty.
    Fleet,
    /// In a namespace.
    Application,
    /// In a namespace.
    Rollout,
}

/// Names one record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey {
    /// The kind.
    pub kind: RecordKind,
    /// The namespace; empty for a Fleet.
    pub namespace: String,
    /// The name.
    pub name: String,
}

/// What a user wrote, with its history.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its name.
    pub key: RecordKey,
    /// Never used twice, not even by a later record of the same name.
    pub uid: Uuid,
    /// Rises with every change of the spec, from 1.
    pub generation: u64,
    /// Changes with every write, over all kinds; for optimistic concurrency.
    pub resource_version: u64,
    /// For selection.
    pub labels: BTreeMap<String, String>,
    /// For whatever its user likes.
    pub annotations: BTreeMap<String, String>,
    /// The spec as JSON, defaults filled in.
    pub spec: Value,
    /// Whether the spec holds a Secret, and was sealed at rest.
    pub secrecy: Secrecy,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was written last.
    pub updated_at: Timestamp,
    /// Who made it.
    pub created_by: String,
}

/// A record as it shall be.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRecord {
    /// Its name.
    pub key: RecordKey,
    /// The uid that it gets if it does not exist yet.
    pub uid: Uuid,
    /// For selection.
    pub labels: BTreeMap<String, String>,
    /// For whatever its user likes.
    pub annotations: BTreeMap<String, String>,
    /// The spec as JSON, defaults filled in.
    pub spec: Value,
    /// Whether the spec holds a Secret; it is then sealed at rest.
    pub secrecy: Secrecy,
    /// Who applies it.
    pub by: String,
}

/// What applying did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// It did not exist.
    Created,
    /// It was something else.
    Configured,
    /// It was that already; nothing was written.
    Unchanged,
}

/// A record after it was applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// What was done.
    pub change: Change,
    /// The record as it is now.
    pub record: Record,
}

/// Why a record was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// It is not at the expected version.
    #[error("failed to write: it changed in the meantime (expected version {expected}, is {})",
            actual.map_or_else(|| "gone".to_owned(), |version| version.to_string()))]
    Conflict {
        /// The version that the caller saw.
        expected: u64,
        /// The version now; absent = it does not exist.
        actual: Option<u64>,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Which records to list.
#[derive(Clone, Debug)]
pub struct ListOptions {
    /// The kind.
    pub kind: RecordKind,
    /// Only this namespace; absent = all.
    pub namespace: Option<String>,
    /// Records at most; 0 = none.
    pub limit: u32,
    /// Only records behind this (namespace, name).
    pub after: Option<(String, String)>,
}

/// One page of records, by namespace and name.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// The records.
    pub records: Vec<Record>,
    /// Where the next page starts; absent = this is the last.
    pub next: Option<(String, String)>,
    /// A version that is not older than anything on the page. No cursor for changes: a lower one
    /// may be committed later.
    pub resource_version: u64,
}

const COLUMNS_OF_ONE: &str =
    "SELECT kind, namespace, name, uid, generation, resource_version, labels,
    annotations, spec, sealed_spec, created_at_ms, updated_at_ms, created_by
    FROM record WHERE kind = $1 AND namespace = $2 AND name = $3";
const COLUMNS_OF_ONE_LOCKED: &str =
    "SELECT kind, namespace, name, uid, generation, resource_version,
    labels, annotations, spec, sealed_spec, created_at_ms, updated_at_ms, created_by
    FROM record WHERE kind = $1 AND namespace = $2 AND name = $3 FOR UPDATE";

#[derive(sqlx::FromRow)]
struct RecordRow {
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
}

impl RecordRow {
    fn into_record(self, cipher: &BlobCipher) -> Result<Record, StoreError> {
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

/// The two spec columns of a record: in the clear, or sealed under the record's uid.
fn spec_columns(
    cipher: &BlobCipher,
    uid: Uuid,
    new: &NewRecord,
) -> Result<(Option<Json<Value>>, Option<Vec<u8>>), StoreError> {
    if new.secrecy == Secrecy::Plain {
        return Ok((Some(Json(new.spec.clone())), None));
    }
    let packed = blobs::pack(new.spec.to_string().as_bytes())?;
    Ok((
        None,
        Some(blobs::seal(cipher, "record.spec", uid.as_bytes(), packed)?),
    ))
}

/// Makes a record what it shall be. With `expected`, only if it is at that version now.
///
/// # Errors
/// [`WriteError::Conflict`] when it is at another version, or the database fails.
pub async fn apply(
    tx: &mut Tx,
    new: &NewRecord,
    expected: Option<u64>,
    now: Timestamp,
) -> Result<Applied, WriteError> {
    refuse_nul("record.spec", &new.spec)?;
    if let Some(current) = find(&mut *tx.inner, &tx.cipher, COLUMNS_OF_ONE_LOCKED, &new.key).await?
    {
        return configure(tx, current, new, expected, now).await;
    }
    if let Some(expected) = expected {
        return Err(WriteError::Conflict {
            expected,
            actual: None,
        });
    }
    if let Some(record) = insert(tx, new, now).await? {
        return Ok(Applied {
            change: Change::Created,
            record,
        });
    }
    // Another transaction made it in between, and is committed.
    match find(&mut *tx.inner, &tx.cipher, COLUMNS_OF_ONE_LOCKED, &new.key).await? {
        Some(current) => configure(tx, current, new, expected, now).await,
        None => Err(WriteError::Conflict {
            expected: 0,
            actual: None,
        }),
    }
}

async fn insert(
    tx: &mut Tx,
    new: &NewRecord,
    now: Timestamp,
) -> Result<Option<Record>, StoreError> {
    let (spec, sealed_spec) = spec_columns(&tx.cipher, new.uid, new)?;
    let row: Option<RecordRow> = sqlx::query_as(
        "INSERT INTO record (kind, namespace, name, uid, generation, labels, annotations, spec,
            sealed_spec, created_at_ms, updated_at_ms, created_by)
         VALUES ($1, $2, $3, $4, 1, $5, $6, $7, $8, $9, $9, $10)
         ON CONFLICT (kind, namespace, name) DO NOTHING RETURNING *",
    )
    .bind(name_of("record.kind", &new.key.kind)?)
    .bind(&new.key.namespace)
    .bind(&new.key.name)
    .bind(new.uid)
    .bind(Json(&new.labels))
    .bind(Json(&new.annotations))
    .bind(spec)
    .bind(sealed_spec)
    .bind(ms(now))
    .bind(&new.by)
    .fetch_optional(&mut *tx.inner)
    .await
    .doing("write a record")?;
    row.map(|row| row.into_record(&tx.cipher)).transpose()
}

async fn configure(
    tx: &mut Tx,
    current: Record,
    new: &NewRecord,
    expected: Option<u64>,
    now: Timestamp,
) -> Result<Applied, WriteError> {
    if let Some(expected) = expected
        && expected != current.resource_version
    {
        return Err(WriteError::Conflict {
            expected,
            actual: Some(current.resource_version),
        });
    }
    let same_spec = current.spec == new.spec;
    if same_spec
        && current.labels == new.labels
        && current.annotations == new.annotations
        && current.secrecy == new.secrecy
    {
        return Ok(Applied {
            change: Change::Unchanged,
            record: current,
        });
    }
    let (spec, sealed_spec) = spec_columns(&tx.cipher, current.uid, new)?;
    let row: RecordRow = sqlx::query_as(
        "UPDATE record SET generation = $4, resource_version = nextval('resource_version'),
            labels = $5, annotations = $6, spec = $7, sealed_spec = $8, updated_at_ms = $9
         WHERE kind = $1 AND namespace = $2 AND name = $3 RETURNING *",
    )
    .bind(name_of("record.kind", &new.key.kind)?)
    .bind(&new.key.namespace)
    .bind(&new.key.name)
    .bind(signed(
        "record.generation",
        current.generation + u64::from(!same_spec),
    )?)
    .bind(Json(&new.labels))
    .bind(Json(&new.annotations))
    .bind(spec)
    .bind(sealed_spec)
    .bind(ms(now))
    .fetch_one(&mut *tx.inner)
    .await
    .doing("write a record")?;
    Ok(Applied {
        change: Change::Configured,
        record: row.into_record(&tx.cipher)?,
    })
}

/// One record; absent when it does not exist.
///
/// # Errors
/// The database fails.
pub async fn get(store: &Store, key: &RecordKey) -> Result<Option<Record>, StoreError> {
    find(&store.pool, &store.cipher, COLUMNS_OF_ONE, key).await
}

/// One record, locked until the transaction ends; absent when it does not exist.
///
/// # Errors
/// The database fails.
pub async fn lock(tx: &mut Tx, key: &RecordKey) -> Result<Option<Record>, StoreError> {
    find(&mut *tx.inner, &tx.cipher, COLUMNS_OF_ONE_LOCKED, key).await
}

async fn find(
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
            sealed_spec, created_at_ms, updated_at_ms, created_by
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

/// Deletes a record and gives what it was; absent when it did not exist. With `expected`, only if
/// it is at that version now. Units in clusters are not touched: that takes tombstones.
///
/// # Errors
/// [`WriteError::Conflict`] when it is at another version, or the database fails.
pub async fn delete(
    tx: &mut Tx,
    key: &RecordKey,
    expected: Option<u64>,
) -> Result<Option<Record>, WriteError> {
    let Some(current) = lock(tx, key).await? else {
        return expected.map_or(Ok(None), |expected| {
            Err(WriteError::Conflict {
                expected,
                actual: None,
            })
        });
    };
    if let Some(expected) = expected
        && expected != current.resource_version
    {
        return Err(WriteError::Conflict {
            expected,
            actual: Some(current.resource_version),
        });
    }
    // Takes a version, so that a watcher's cursor moves past the deletion.
    sqlx::query(
        "WITH moved AS (SELECT nextval('resource_version'))
         DELETE FROM record USING moved WHERE kind = $1 AND namespace = $2 AND name = $3",
    )
    .bind(name_of("record.kind", &key.kind)?)
    .bind(&key.namespace)
    .bind(&key.name)
    .execute(&mut *tx.inner)
    .await
    .doing("delete a record")?;
    Ok(Some(current))
}
