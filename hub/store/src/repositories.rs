//! Git repositories of records: what they were last read as, and which records came from them.

use jiff::Timestamp;

use crate::{
    Store, StoreError, Tx,
    column::{from_name, ms, name_of, signed, timestamp, unsigned},
    error::Doing,
    records::RecordKey,
};

/// How a repository stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryState {
    /// The version of the record that was looked for.
    pub record_version: u64,
    /// When the last look began.
    pub looked_at: Timestamp,
    /// What the records are in step with; absent = nothing was ever applied.
    pub revision: Option<String>,
    /// Since when they are; absent = nothing was ever applied.
    pub synced_at: Option<Timestamp>,
    /// One word for how the last look ended.
    pub reason: String,
    /// What there is to say of it; empty = nothing.
    pub message: String,
    /// Records that came from here and are gone here, as `Kind/namespace/name`.
    pub orphans: Vec<String>,
}

/// The right to write what one look finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The repository.
    pub name: String,
    /// When the look began; a later look takes the right away.
    pub looked_at: Timestamp,
}

/// What a look came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What the records are in step with since now; absent = they are what they were.
    pub revision: Option<String>,
    /// One word.
    pub reason: String,
    /// What there is to say; empty = nothing.
    pub message: String,
    /// Records that came from here and are gone here; absent = as before.
    pub orphans: Option<Vec<String>>,
}

/// Begins a look at a repository whose record is at `record_version` unless one began after `due`, whichever hub began it, and
/// nobody said since that the repository has changed.
/// Absent = it is not time yet.
///
/// # Errors
/// The database fails.
pub async fn claim(
    store: &Store,
    name: &str,
    record_version: u64,
    due: Timestamp,
    now: Timestamp,
) -> Result<Option<Claim>, StoreError> {
    let row: Option<(i64,)> = sqlx::query_as(
        "INSERT INTO repository_state AS held (name, record_version, looked_at_ms, reason, message)
         VALUES ($1, $2, $4, 'Looking', '')
         ON CONFLICT (name) DO UPDATE SET record_version = $2, looked_at_ms = $4
         WHERE held.record_version <> $2 OR held.looked_at_ms <= $3
            OR held.pushed_at_ms >= held.looked_at_ms
         RETURNING looked_at_ms",
    )
    .bind(name)
    .bind(signed("repository_state.record_version", record_version)?)
    .bind(ms(due))
    .bind(ms(now))
    .fetch_optional(&store.pool)
    .await
    .doing("begin a look at a repository")?;
    row.map(|(at,)| {
        Ok(Claim {
            name: name.to_owned(),
            looked_at: timestamp("repository_state.looked_at_ms", at)?,
        })
    })
    .transpose()
}

/// Notes that repositories may have changed: the next look at them is now. One that was never looked at is
/// looked at anyway.
///
/// # Errors
/// The database fails.
pub async fn note_push(store: &Store, names: &[String], now: Timestamp) -> Result<(), StoreError> {
    sqlx::query("UPDATE repository_state SET pushed_at_ms = $2 WHERE name = ANY($1)")
        .bind(names)
        .bind(ms(now))
        .execute(&store.pool)
        .await
        .doing("note a push to a repository")?;
    Ok(())
}

/// Holds a claim until the transaction ends; false = a later look took it.
///
/// # Errors
/// The database fails.
pub async fn hold(tx: &mut Tx, claim: &Claim) -> Result<bool, StoreError> {
    let held: Option<i64> =
        sqlx::query_scalar("SELECT looked_at_ms FROM repository_state WHERE name = $1 FOR UPDATE")
            .bind(&claim.name)
            .fetch_optional(&mut *tx.inner)
            .await
            .doing("hold a repository")?;
    Ok(held == Some(ms(claim.looked_at)))
}

/// Writes what a look came to; the claim must be held.
///
/// # Errors
/// The database fails.
pub async fn finish(
    tx: &mut Tx,
    claim: &Claim,
    outcome: &Outcome,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE repository_state SET reason = $2, message = $3,
            revision = COALESCE($4, revision),
            synced_at_ms = CASE WHEN $4 IS NULL THEN synced_at_ms ELSE $5 END,
            orphans = COALESCE($6, orphans)
         WHERE name = $1",
    )
    .bind(&claim.name)
    .bind(&outcome.reason)
    .bind(&outcome.message)
    .bind(&outcome.revision)
    .bind(ms(now))
    .bind(&outcome.orphans)
    .execute(&mut *tx.inner)
    .await
    .doing("write the state of a repository")?;
    Ok(())
}

/// How a repository stands; absent = nobody ever looked.
///
/// # Errors
/// The database fails.
pub async fn state(store: &Store, name: &str) -> Result<Option<RepositoryState>, StoreError> {
    type Row = (
        i64,
        i64,
        Option<String>,
        Option<i64>,
        String,
        String,
        Vec<String>,
    );
    let row: Option<Row> = sqlx::query_as(
        "SELECT record_version, looked_at_ms, revision, synced_at_ms, reason, message, orphans
         FROM repository_state WHERE name = $1",
    )
    .bind(name)
    .fetch_optional(&store.pool)
    .await
    .doing("read the state of a repository")?;
    row.map(
        |(version, looked, revision, synced, reason, message, orphans)| {
            Ok(RepositoryState {
                record_version: unsigned("repository_state.record_version", version)?,
                looked_at: timestamp("repository_state.looked_at_ms", looked)?,
                revision,
                synced_at: synced
                    .map(|at| timestamp("repository_state.synced_at_ms", at))
                    .transpose()?,
                reason,
                message,
                orphans,
            })
        },
    )
    .transpose()
}

/// Notes that a record came from a repository.
///
/// # Errors
/// The database fails.
pub async fn own(tx: &mut Tx, key: &RecordKey, repository: &str) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO repository_record (kind, namespace, name, repository) VALUES ($1, $2, $3, $4)
         ON CONFLICT (kind, namespace, name) DO UPDATE SET repository = $4",
    )
    .bind(name_of("record.kind", &key.kind)?)
    .bind(&key.namespace)
    .bind(&key.name)
    .bind(repository)
    .execute(&mut *tx.inner)
    .await
    .doing("note whose a record is")?;
    Ok(())
}

/// The records that came from a repository, by kind, namespace and name.
///
/// # Errors
/// The database fails.
pub async fn records_of(tx: &mut Tx, repository: &str) -> Result<Vec<RecordKey>, StoreError> {
    let rows: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT kind, namespace, name FROM repository_record WHERE repository = $1
         ORDER BY kind, namespace, name",
    )
    .bind(repository)
    .fetch_all(&mut *tx.inner)
    .await
    .doing("list the records of a repository")?;
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

/// Lets go of what came from repositories that are there no more: it belongs to nobody then.
///
/// # Errors
/// The database fails.
pub async fn forget_deleted(store: &Store) -> Result<(), StoreError> {
    for statement in [
        "DELETE FROM repository_record one WHERE NOT EXISTS
            (SELECT FROM record WHERE kind = 'Repository' AND name = one.repository)",
        "DELETE FROM repository_state one WHERE NOT EXISTS
            (SELECT FROM record WHERE kind = 'Repository' AND name = one.name)",
    ] {
        sqlx::query(statement)
            .execute(&store.pool)
            .await
            .doing("forget repositories that were deleted")?;
    }
    Ok(())
}
