//! Applying and deleting records.

use jiff::Timestamp;
use serde_json::Value;
use sqlx::types::Json;
use uuid::Uuid;

use super::{
    Applied, Change, NewRecord, Record, RecordKey, WriteError, lock,
    read::{COLUMNS_OF_ONE_LOCKED, RecordRow, find},
};
use crate::{
    BlobCipher, StoreError, Tx, allowances,
    blobs::{self, Secrecy},
    column::{ms, name_of, refuse_nul, signed},
    error::Doing,
};

type SpecColumns = (Option<Json<Value>>, Option<Vec<u8>>);

/// The two spec columns of a record: in the clear, or sealed under the record's uid.
fn spec_columns(
    cipher: &BlobCipher,
    uid: Uuid,
    new: &NewRecord,
) -> Result<SpecColumns, StoreError> {
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
            sealed_spec, created_at_ms, updated_at_ms, created_by, updated_by, reason)
         VALUES ($1, $2, $3, $4, 1, $5, $6, $7, $8, $9, $9, $10, $10, $11)
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
    .bind(&new.reason)
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
    allowances::renew(tx, &current, &new.annotations).await?;
    let (spec, sealed_spec) = spec_columns(&tx.cipher, current.uid, new)?;
    let row: RecordRow = sqlx::query_as(
        "UPDATE record SET generation = $4, resource_version = nextval('resource_version'),
            labels = $5, annotations = $6, spec = $7, sealed_spec = $8, updated_at_ms = $9,
            updated_by = $10, reason = $11
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
    .bind(&new.by)
    .bind(&new.reason)
    .fetch_one(&mut *tx.inner)
    .await
    .doing("write a record")?;
    Ok(Applied {
        change: Change::Configured,
        record: row.into_record(&tx.cipher)?,
    })
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
