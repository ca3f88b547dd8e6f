//! What the sources of components were fetched as.

use std::collections::BTreeMap;

use bellwether_api::reference::NamespacedName;
use jiff::Timestamp;

use crate::{
    Digest, Store, StoreError, Tx,
    blobs::{self, Secrecy},
    column::{digest, ms, timestamp, timestamp_option},
    error::Doing,
};

/// What the source of a component was last fetched as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourcePin {
    /// Digest of the source as it was written.
    pub source: Digest,
    /// What was fetched; absent = nothing ever.
    pub fetched: Option<Fetched>,
    /// When the last look at it began.
    pub checked_at: Timestamp,
    /// With which revisions of which secrets it was looked at, as [`SourceKey`] has it.
    pub credentials: String,
    /// When a push last said that it may have changed; absent = none did.
    pub pushed_at: Option<Timestamp>,
    /// Why the last look failed; empty = it did not.
    pub failure: String,
}

/// Something that was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// As people read it: a version, a commit.
    pub revision: String,
    /// Digest of the files.
    pub artifact: Digest,
}

/// One component's source, for writing.
#[derive(Clone, Copy, Debug)]
pub struct SourceKey<'a> {
    /// The application.
    pub application: &'a NamespacedName,
    /// The component.
    pub component: &'a str,
    /// Digest of the source as it is written.
    pub source: Digest,
    /// Revisions of the secrets that it is looked at with, in a text of the caller's; empty = none.
    pub credentials: &'a str,
}

#[derive(sqlx::FromRow)]
struct PinRow {
    component: String,
    source: Vec<u8>,
    revision: Option<String>,
    artifact: Option<Vec<u8>>,
    checked_at_ms: i64,
    failure: String,
    credentials: String,
    pushed_at_ms: Option<i64>,
}

/// What the sources of an application were last fetched as, by component.
///
/// # Errors
/// The database fails.
pub async fn list(
    store: &Store,
    application: &NamespacedName,
) -> Result<BTreeMap<String, SourcePin>, StoreError> {
    let rows: Vec<PinRow> = sqlx::query_as(
        "SELECT p.component, p.source, p.revision, p.artifact, p.checked_at_ms, p.failure,
            p.credentials, q.pushed_at_ms
         FROM source_pin p LEFT JOIN source_push q USING (namespace, application, component)
         WHERE p.namespace = $1 AND p.application = $2",
    )
    .bind(&application.namespace)
    .bind(&application.name)
    .fetch_all(&store.pool)
    .await
    .doing("read what sources were fetched as")?;
    rows.into_iter()
        .map(|row| {
            let fetched = match (row.revision, row.artifact) {
                (Some(revision), Some(artifact)) => Some(Fetched {
                    revision,
                    artifact: digest("source_pin.artifact", &artifact)?,
                }),
                _ => None,
            };
            let pin = SourcePin {
                source: digest("source_pin.source", &row.source)?,
                fetched,
                checked_at: timestamp("source_pin.checked_at_ms", row.checked_at_ms)?,
                failure: row.failure,
                credentials: row.credentials,
                pushed_at: timestamp_option("source_push.pushed_at_ms", row.pushed_at_ms)?,
            };
            Ok((row.component, pin))
        })
        .collect()
}

/// Keeps what a source was fetched as, with its files. `files` is JSON.
///
/// # Errors
/// The database fails.
pub async fn write(
    tx: &mut Tx,
    key: &SourceKey<'_>,
    fetched: &Fetched,
    files: &[u8],
    now: Timestamp,
) -> Result<(), StoreError> {
    // Files of a private source may hold anything.
    let content = blobs::put(tx, files, Secrecy::Secret, now).await?;
    sqlx::query(
        "INSERT INTO artifact (digest, content, created_at_ms) VALUES ($1, $2, $3)
         ON CONFLICT (digest) DO NOTHING",
    )
    .bind(fetched.artifact.0.as_slice())
    .bind(content.0.as_slice())
    .bind(ms(now))
    .execute(&mut *tx.inner)
    .await
    .doing("write an artifact")?;
    sqlx::query(
        "INSERT INTO source_pin (namespace, application, component, source, revision, artifact,
            checked_at_ms, failure, credentials)
         VALUES ($1, $2, $3, $4, $5, $6, $7, '', $8)
         ON CONFLICT (namespace, application, component) DO UPDATE
         SET source = excluded.source, revision = excluded.revision, artifact = excluded.artifact,
             checked_at_ms = excluded.checked_at_ms, failure = '',
             credentials = excluded.credentials",
    )
    .bind(&key.application.namespace)
    .bind(&key.application.name)
    .bind(key.component)
    .bind(key.source.0.as_slice())
    .bind(&fetched.revision)
    .bind(fetched.artifact.0.as_slice())
    .bind(ms(now))
    .bind(key.credentials)
    .execute(&mut *tx.inner)
    .await
    .doing("write what a source was fetched as")?;
    Ok(())
}

/// Keeps why a source could not be fetched. What the same source was fetched as before stays.
///
/// # Errors
/// The database fails.
pub async fn note_failure(
    store: &Store,
    key: &SourceKey<'_>,
    failure: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO source_pin (namespace, application, component, source, checked_at_ms, failure,
            credentials)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (namespace, application, component) DO UPDATE
         SET revision = CASE WHEN source_pin.source = excluded.source THEN source_pin.revision END,
             artifact = CASE WHEN source_pin.source = excluded.source THEN source_pin.artifact END,
             source = excluded.source, checked_at_ms = excluded.checked_at_ms,
             failure = excluded.failure, credentials = excluded.credentials",
    )
    .bind(&key.application.namespace)
    .bind(&key.application.name)
    .bind(key.component)
    .bind(key.source.0.as_slice())
    .bind(ms(now))
    .bind(failure.replace('\0', "\u{fffd}"))
    .bind(key.credentials)
    .execute(&store.pool)
    .await
    .doing("write why a source could not be fetched")?;
    Ok(())
}

/// Notes that a source still is what it was fetched as.
///
/// # Errors
/// The database fails.
pub async fn note_same(
    store: &Store,
    key: &SourceKey<'_>,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE source_pin SET checked_at_ms = $5, failure = '', credentials = $6
         WHERE namespace = $1 AND application = $2 AND component = $3 AND source = $4
           AND artifact IS NOT NULL",
    )
    .bind(&key.application.namespace)
    .bind(&key.application.name)
    .bind(key.component)
    .bind(key.source.0.as_slice())
    .bind(ms(now))
    .bind(key.credentials)
    .execute(&store.pool)
    .await
    .doing("write that a source is the same")?;
    Ok(())
}

/// The files of an artifact, as [`write()`] was given them; absent when they are not kept.
///
/// # Errors
/// The database fails.
pub async fn artifact(store: &Store, artifact: Digest) -> Result<Option<Vec<u8>>, StoreError> {
    let found: Option<Vec<u8>> =
        sqlx::query_scalar("SELECT content FROM artifact WHERE digest = $1")
            .bind(artifact.0.as_slice())
            .fetch_optional(&store.pool)
            .await
            .doing("read an artifact")?;
    match found {
        Some(content) => blobs::get(store, digest("artifact.content", &content)?).await,
        None => Ok(None),
    }
}
