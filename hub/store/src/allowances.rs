//! Which annotations were used that allow much to go at once: each counts once, until it is written anew.

use std::collections::BTreeMap;

use bellwether_hub_core::allowance::Spent;
use jiff::Timestamp;
use sqlx::PgExecutor;

use crate::{
    Store, StoreError, Tx,
    column::{ms, name_of},
    error::Doing,
    records::{Record, RecordKey},
};

/// What was used of a record's annotations and stands there still.
///
/// # Errors
/// The database fails.
pub async fn spent(store: &Store, key: &RecordKey) -> Result<Vec<Spent>, StoreError> {
    read(&store.pool, key).await
}

/// What was used of a record's annotations, as the transaction sees it.
///
/// # Errors
/// The database fails.
pub async fn spent_in(tx: &mut Tx, key: &RecordKey) -> Result<Vec<Spent>, StoreError> {
    read(&mut *tx.inner, key).await
}

async fn read(executor: impl PgExecutor<'_>, key: &RecordKey) -> Result<Vec<Spent>, StoreError> {
    let rows: Vec<(String, String, String, Vec<String>)> = sqlx::query_as(
        "SELECT annotation, value, used_for, covers FROM spent_allowance
         WHERE kind = $1 AND namespace = $2 AND name = $3 ORDER BY annotation",
    )
    .bind(name_of("record.kind", &key.kind)?)
    .bind(&key.namespace)
    .bind(&key.name)
    .fetch_all(executor)
    .await
    .doing("read which allowances were used")?;
    let spent = |(annotation, value, used_for, covers)| Spent {
        annotation,
        value,
        used_for,
        covers,
    };
    Ok(rows.into_iter().map(spent).collect())
}

/// Notes that a word of a record was used, in the transaction that uses it. False = the record says something
/// else by now, or the word was used meanwhile: whatever it was to allow must not be written.
///
/// # Errors
/// The database fails.
pub async fn spend(
    tx: &mut Tx,
    key: &RecordKey,
    spent: &Spent,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "INSERT INTO spent_allowance AS held
            (kind, namespace, name, annotation, value, used_for, covers, spent_at_ms)
         SELECT kind, namespace, name, $4, $5, $6, $7, $8 FROM record
         WHERE kind = $1 AND namespace = $2 AND name = $3 AND annotations ->> $4 = $5
         ON CONFLICT (kind, namespace, name, annotation) DO UPDATE
         SET value = excluded.value, used_for = excluded.used_for, covers = excluded.covers,
             spent_at_ms = excluded.spent_at_ms
         WHERE held.value <> excluded.value",
    )
    .bind(name_of("record.kind", &key.kind)?)
    .bind(&key.namespace)
    .bind(&key.name)
    .bind(&spent.annotation)
    .bind(&spent.value)
    .bind(&spent.used_for)
    .bind(&spent.covers)
    .bind(ms(now))
    .execute(&mut *tx.inner)
    .await
    .doing("note that an allowance was used")?;
    Ok(done.rows_affected() == 1)
}

/// Notes that a word which was used is used for something else now, which loses no more by it. False = it is used for
/// something else already, or was written anew: whatever it was to allow must not be written.
///
/// # Errors
/// The database fails.
pub async fn pass_on(
    tx: &mut Tx,
    key: &RecordKey,
    spent: &Spent,
    used_for: &str,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE spent_allowance SET used_for = $6
         WHERE kind = $1 AND namespace = $2 AND name = $3 AND annotation = $4 AND used_for = $5",
    )
    .bind(name_of("record.kind", &key.kind)?)
    .bind(&key.namespace)
    .bind(&key.name)
    .bind(&spent.annotation)
    .bind(&spent.used_for)
    .bind(used_for)
    .execute(&mut *tx.inner)
    .await
    .doing("note what an allowance is used for now")?;
    Ok(done.rows_affected() == 1)
}

/// Keeps of what may still go by a word that was used only `covers`.
///
/// # Errors
/// The database fails.
pub async fn cover(
    tx: &mut Tx,
    key: &RecordKey,
    annotation: &str,
    covers: &[String],
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE spent_allowance SET covers = $5
         WHERE kind = $1 AND namespace = $2 AND name = $3 AND annotation = $4",
    )
    .bind(name_of("record.kind", &key.kind)?)
    .bind(&key.namespace)
    .bind(&key.name)
    .bind(annotation)
    .bind(covers)
    .execute(&mut *tx.inner)
    .await
    .doing("note what may still go by an allowance")?;
    Ok(())
}

/// Forgets what was used of annotations that are written anew.
pub(crate) async fn renew(
    tx: &mut Tx,
    before: &Record,
    after: &BTreeMap<String, String>,
) -> Result<(), StoreError> {
    let written = before
        .annotations
        .keys()
        .chain(after.keys())
        .filter(|name| before.annotations.get(*name) != after.get(*name));
    let written: Vec<String> = written.cloned().collect();
    if written.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "DELETE FROM spent_allowance
         WHERE kind = $1 AND namespace = $2 AND name = $3 AND annotation = ANY($4)",
    )
    .bind(name_of("record.kind", &before.key.kind)?)
    .bind(&before.key.namespace)
    .bind(&before.key.name)
    .bind(&written)
    .execute(&mut *tx.inner)
    .await
    .doing("forget which allowances were used")?;
    Ok(())
}
