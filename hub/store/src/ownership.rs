//! Whose records are: which came from Git repositories, and which from custom resources.

use bellwether_hub_core::ownership::Owner;
use jiff::Timestamp;
use sqlx::PgExecutor;

use crate::{
    Store, StoreError, Tx,
    column::{from_name, ms, name_of},
    error::Doing,
    records::{RecordKey, RecordKind},
};

/// A repository whose own record was deleted owns nothing any more.
const OWNER: &str = "SELECT repository, false FROM repository_record owned
    WHERE kind = $1 AND namespace = $2 AND name = $3
    AND EXISTS (SELECT FROM record WHERE record.kind = 'Repository' AND record.name = owned.repository)
    UNION ALL SELECT NULL, missing_since_ms IS NOT NULL FROM custom_resource_record
    WHERE kind = $1 AND namespace = $2 AND name = $3";

/// Where a record comes from; absent = from people.
///
/// # Errors
/// The database fails.
pub async fn owner_in(tx: &mut Tx, key: &RecordKey) -> Result<Option<Owner>, StoreError> {
    find(&mut *tx.inner, key).await
}

/// As [`owner_in`], without a transaction.
///
/// # Errors
/// The database fails.
pub async fn owner(store: &Store, key: &RecordKey) -> Result<Option<Owner>, StoreError> {
    find(&store.pool, key).await
}

async fn find(executor: impl PgExecutor<'_>, key: &RecordKey) -> Result<Option<Owner>, StoreError> {
    let row: Option<(Option<String>, bool)> = sqlx::query_as(OWNER)
        .bind(name_of("record.kind", &key.kind)?)
        .bind(&key.namespace)
        .bind(&key.name)
        .fetch_optional(executor)
        .await
        .doing("read whose a record is")?;
    Ok(row.map(|(repository, missing)| match repository {
        Some(name) => Owner::Repository(name),
        None => Owner::CustomResource { missing },
    }))
}

/// Notes that a record came from the custom resource of its name, and that this is there.
///
/// # Errors
/// The database fails.
pub async fn own_by_custom_resource(tx: &mut Tx, key: &RecordKey) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO custom_resource_record (kind, namespace, name) VALUES ($1, $2, $3)
         ON CONFLICT (kind, namespace, name) DO UPDATE SET missing_since_ms = NULL",
    )
    .bind(name_of("record.kind", &key.kind)?)
    .bind(&key.namespace)
    .bind(&key.name)
    .execute(&mut *tx.inner)
    .await
    .doing("note whose a record is")?;
    Ok(())
}

/// Notes that a record is no custom resource's any more; gives whether it was one's.
///
/// # Errors
/// The database fails.
pub async fn free_of_custom_resource(tx: &mut Tx, key: &RecordKey) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "DELETE FROM custom_resource_record WHERE kind = $1 AND namespace = $2 AND name = $3",
    )
    .bind(name_of("record.kind", &key.kind)?)
    .bind(&key.namespace)
    .bind(&key.name)
    .execute(&mut *tx.inner)
    .await
    .doing("let go of a record")?;
    Ok(done.rows_affected() > 0)
}

/// Notes that the custom resource of a record is gone, since `now`; gives whether that is news.
///
/// # Errors
/// The database fails.
pub async fn note_missing(
    tx: &mut Tx,
    key: &RecordKey,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE custom_resource_record SET missing_since_ms = $4
         WHERE kind = $1 AND namespace = $2 AND name = $3 AND missing_since_ms IS NULL",
    )
    .bind(name_of("record.kind", &key.kind)?)
    .bind(&key.namespace)
    .bind(&key.name)
    .bind(ms(now))
    .execute(&mut *tx.inner)
    .await
    .doing("note that a custom resource is gone")?;
    Ok(done.rows_affected() > 0)
}

/// The records of a kind that came from custom resources, by namespace and name.
///
/// # Errors
/// The database fails.
pub async fn of_custom_resources(
    store: &Store,
    kind: RecordKind,
) -> Result<Vec<RecordKey>, StoreError> {
    let rows: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT kind, namespace, name FROM custom_resource_record WHERE kind = $1
         ORDER BY namespace, name",
    )
    .bind(name_of("record.kind", &kind)?)
    .fetch_all(&store.pool)
    .await
    .doing("list the records of custom resources")?;
    rows.into_iter()
        .map(|(kind, namespace, name)| {
            Ok(RecordKey {
                kind: from_name("record.kind", kind)?,
                namespace,
                name,
            })
        })
        .collect()
}
