//! Releases: immutable, numbered within their application.

use std::collections::BTreeSet;

use bellwether_api::reference::NamespacedName;
use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    Digest, Store, StoreError, Tx,
    blobs::{self, Secrecy},
    column::{digest, ms, signed, timestamp, unsigned},
    error::Doing,
};

/// One release, without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Names it everywhere.
    pub id: Uuid,
    /// The application.
    pub application: NamespacedName,
    /// Its number within the application, from 1, without gaps.
    pub revision: u64,
    /// Digest of the release, as bundles name it.
    pub digest: Digest,
    /// Digest of the blob with the content.
    pub content: Digest,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// Why; empty when nothing was said.
    pub reason: String,
    /// Set when it restores an earlier release.
    pub restores: Option<Restores>,
}

/// That a release restores an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restores {
    /// The revision.
    pub revision: u64,
    /// Digest of the blob with what the application's record said meanwhile.
    pub instead_of: Digest,
}

/// That a release to make restores an earlier one.
#[derive(Clone, Debug)]
pub struct NewRestores<'a> {
    /// The revision.
    pub revision: u64,
    /// What the application's record says meanwhile: JSON.
    pub instead_of: &'a [u8],
    /// Whether that holds a Secret; it is then sealed at rest.
    pub secrecy: Secrecy,
}

/// A release to make.
#[derive(Clone, Debug)]
pub struct NewRelease<'a> {
    /// Its id.
    pub id: Uuid,
    /// The application, which must be recorded.
    pub application: &'a NamespacedName,
    /// Digest of the release.
    pub digest: Digest,
    /// The content: JSON, canonical.
    pub content: &'a [u8],
    /// Whether the content holds a Secret; it is then sealed at rest.
    pub secrecy: Secrecy,
    /// Who makes it.
    pub by: &'a str,
    /// Why; empty when nothing was said.
    pub reason: &'a str,
    /// Set when it restores an earlier release; it is then made even if it equals the latest.
    pub restores: Option<NewRestores<'a>>,
}

/// What making a release did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// It is new.
    New(Release),
    /// The application's latest release has that digest already: nothing was made.
    Unchanged(Release),
}

/// Why a release was not made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The application is not recorded.
    #[error("failed to release {application}: there is no such application")]
    UnknownApplication {
        /// The application.
        application: NamespacedName,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(sqlx::FromRow)]
struct ReleaseRow {
    id: Uuid,
    namespace: String,
    application: String,
    revision: i64,
    digest: Vec<u8>,
    content: Vec<u8>,
    created_at_ms: i64,
    created_by: String,
    reason: String,
    restores: Option<i64>,
    instead_of: Option<Vec<u8>>,
}

impl ReleaseRow {
    fn into_release(self) -> Result<Release, StoreError> {
        Ok(Release {
            restores: restores(self.restores, self.instead_of.as_deref())?,
            id: self.id,
            application: NamespacedName {
                namespace: self.namespace,
                name: self.application,
            },
            revision: unsigned("release.revision", self.revision)?,
            digest: digest("release.digest", &self.digest)?,
            content: digest("release.content", &self.content)?,
            created_at: timestamp("release.created_at_ms", self.created_at_ms)?,
            created_by: self.created_by,
            reason: self.reason,
        })
    }
}

pub(crate) fn restores(
    revision: Option<i64>,
    instead_of: Option<&[u8]>,
) -> Result<Option<Restores>, StoreError> {
    let (Some(revision), Some(instead_of)) = (revision, instead_of) else {
        return Ok(None);
    };
    Ok(Some(Restores {
        revision: unsigned("release.restores", revision)?,
        instead_of: digest("release.instead_of", instead_of)?,
    }))
}

/// Makes the next release of an application, under the lock of its record: two hubs never make the
/// same one twice.
///
/// # Errors
/// [`CreateError::UnknownApplication`], or the database fails.
pub async fn create(
    tx: &mut Tx,
    new: &NewRelease<'_>,
    now: Timestamp,
) -> Result<Created, CreateError> {
    let recorded = sqlx::query(
        "SELECT FROM record WHERE kind = 'Application' AND namespace = $1 AND name = $2 FOR UPDATE",
    )
    .bind(&new.application.namespace)
    .bind(&new.application.name)
    .fetch_optional(&mut *tx.inner)
    .await
    .doing("lock an application")?;
    if recorded.is_none() {
        return Err(CreateError::UnknownApplication {
            application: new.application.clone(),
        });
    }
    let latest: Option<ReleaseRow> = sqlx::query_as(LATEST)
        .bind(&new.application.namespace)
        .bind(&new.application.name)
        .fetch_optional(&mut *tx.inner)
        .await
        .doing("read the latest release")?;
    let latest = latest.map(ReleaseRow::into_release).transpose()?;
    let revision = match latest {
        Some(latest) if latest.digest == new.digest && new.restores.is_none() => {
            return Ok(Created::Unchanged(latest));
        }
        Some(latest) => latest.revision + 1,
        None => 1,
    };
    let content = blobs::put(tx, new.content, new.secrecy, now).await?;
    let (restores, instead_of) = match &new.restores {
        Some(restores) => {
            let blob = blobs::put(tx, restores.instead_of, restores.secrecy, now).await?;
            let revision = signed("release.restores", restores.revision)?;
            (Some(revision), Some(blob.0.to_vec()))
        }
        None => (None, None),
    };
    let row: ReleaseRow = sqlx::query_as(
        "INSERT INTO release (id, namespace, application, revision, digest, content, created_at_ms,
            created_by, reason, restores, instead_of)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING *",
    )
    .bind(new.id)
    .bind(&new.application.namespace)
    .bind(&new.application.name)
    .bind(signed("release.revision", revision)?)
    .bind(new.digest.0.as_slice())
    .bind(content.0.as_slice())
    .bind(ms(now))
    .bind(new.by)
    .bind(new.reason)
    .bind(restores)
    .bind(instead_of)
    .fetch_one(&mut *tx.inner)
    .await
    .doing("write a release")?;
    Ok(Created::New(row.into_release()?))
}

const LATEST: &str = "SELECT * FROM release WHERE namespace = $1 AND application = $2
    ORDER BY revision DESC LIMIT 1";

/// One release; absent when there is none.
///
/// # Errors
/// The database fails.
pub async fn get(store: &Store, id: Uuid) -> Result<Option<Release>, StoreError> {
    let row: Option<ReleaseRow> = sqlx::query_as("SELECT * FROM release WHERE id = $1")
        .bind(id)
        .fetch_optional(&store.pool)
        .await
        .doing("read a release")?;
    row.map(ReleaseRow::into_release).transpose()
}

/// One release by its number; absent when there is none.
///
/// # Errors
/// The database fails.
pub async fn by_revision(
    store: &Store,
    application: &NamespacedName,
    revision: u64,
) -> Result<Option<Release>, StoreError> {
    let row: Option<ReleaseRow> = sqlx::query_as(
        "SELECT * FROM release WHERE namespace = $1 AND application = $2 AND revision = $3",
    )
    .bind(&application.namespace)
    .bind(&application.name)
    .bind(i64::try_from(revision).unwrap_or(i64::MAX))
    .fetch_optional(&store.pool)
    .await
    .doing("read a release")?;
    row.map(ReleaseRow::into_release).transpose()
}

/// The latest release of an application; absent when it has none.
///
/// # Errors
/// The database fails.
pub async fn latest(
    store: &Store,
    application: &NamespacedName,
) -> Result<Option<Release>, StoreError> {
    let row: Option<ReleaseRow> = sqlx::query_as(LATEST)
        .bind(&application.namespace)
        .bind(&application.name)
        .fetch_optional(&store.pool)
        .await
        .doing("read the latest release")?;
    row.map(ReleaseRow::into_release).transpose()
}

/// The releases of an application, newest first, at most `limit`.
///
/// # Errors
/// The database fails.
pub async fn list(
    store: &Store,
    application: &NamespacedName,
    limit: u32,
) -> Result<Vec<Release>, StoreError> {
    let rows: Vec<ReleaseRow> = sqlx::query_as(
        "SELECT * FROM release WHERE namespace = $1 AND application = $2
         ORDER BY revision DESC LIMIT $3",
    )
    .bind(&application.namespace)
    .bind(&application.name)
    .bind(i64::from(limit))
    .fetch_all(&store.pool)
    .await
    .doing("list releases")?;
    rows.into_iter().map(ReleaseRow::into_release).collect()
}

/// The digests of an application's releases; empty = it has none.
///
/// # Errors
/// The database fails.
pub async fn digests(
    store: &Store,
    application: &NamespacedName,
) -> Result<BTreeSet<String>, StoreError> {
    let digests: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT encode(digest, 'hex') FROM release WHERE namespace = $1 AND application = $2",
    )
    .bind(&application.namespace)
    .bind(&application.name)
    .fetch_all(&store.pool)
    .await
    .doing("list the digests of releases")?;
    Ok(digests.into_iter().collect())
}

/// The content of a release, as it was given.
///
/// # Errors
/// The database fails, or the content is gone or cannot be opened.
pub async fn content(store: &Store, release: &Release) -> Result<Vec<u8>, StoreError> {
    blobs::get(store, release.content)
        .await?
        .ok_or_else(|| StoreError::Corrupt {
            what: "release.content",
            detail: format!("blob {} is not stored", release.content),
        })
}

/// What the application's record said when it was restored, as it was given.
///
/// # Errors
/// The database fails, or the content is gone or cannot be opened.
pub async fn instead_of(store: &Store, restores: &Restores) -> Result<Vec<u8>, StoreError> {
    blobs::get(store, restores.instead_of)
        .await?
        .ok_or_else(|| StoreError::Corrupt {
            what: "release.instead_of",
            detail: format!("blob {} is not stored", restores.instead_of),
        })
}

/// Forgets the history of an application but for its `keep` latest releases, the last one that
/// succeeded, those that clusters run or had before the newest run, to which they may go back, and
/// whatever an unfinished run needs: releases, with their runs, plans and actions. Where none is kept,
/// only what an unfinished run needs is. Gives the number of releases.
///
/// # Errors
/// The database fails.
pub async fn sweep(
    tx: &mut Tx,
    application: &NamespacedName,
    keep: u32,
) -> Result<u64, StoreError> {
    tx.allow_history_deletion().await?;
    let doomed: Vec<Uuid> = sqlx::query_scalar(
        "SELECT id FROM release r WHERE namespace = $1 AND application = $2
           AND id NOT IN (SELECT id FROM release WHERE namespace = $1 AND application = $2
                          ORDER BY revision DESC LIMIT $3)
           AND NOT EXISTS (SELECT FROM run WHERE finished_at_ms IS NULL
                           AND (run.release = r.id OR run.previous_release = r.id))
           AND NOT ($3 > 0 AND id IS NOT DISTINCT FROM (
               SELECT s.id FROM release s JOIN run ON run.release = s.id
               WHERE s.namespace = $1 AND s.application = $2 AND run.status = 'Succeeded'
               ORDER BY s.revision DESC LIMIT 1))
           AND NOT ($3 > 0 AND encode(digest, 'hex') IN (
               SELECT detail->>'appliedRelease' FROM status
               WHERE key = 'application/' || $1 || '/' || $2
                 AND detail->>'appliedRelease' IS NOT NULL
               UNION ALL
               SELECT named.digest FROM jsonb_each((
                   SELECT run.state->'clusters' FROM run JOIN release s ON run.release = s.id
                   WHERE s.namespace = $1 AND s.application = $2
                   ORDER BY s.revision DESC LIMIT 1)) AS cluster,
                   LATERAL (VALUES (cluster.value->>'previous'), (cluster.value->>'takeBackTo'))
                       AS named(digest)
               WHERE named.digest IS NOT NULL)
             AND NOT EXISTS (SELECT FROM release newer
               WHERE newer.namespace = $1 AND newer.application = $2
                 AND newer.digest = r.digest AND newer.revision > r.revision))",
    )
    .bind(&application.namespace)
    .bind(&application.name)
    .bind(i64::from(keep))
    .fetch_all(&mut *tx.inner)
    .await
    .doing("look for old releases")?;
    sqlx::query("DELETE FROM run WHERE release = ANY($1)")
        .bind(&doomed)
        .execute(&mut *tx.inner)
        .await
        .doing("delete old runs")?;
    let deleted = sqlx::query("DELETE FROM release WHERE id = ANY($1)")
        .bind(&doomed)
        .execute(&mut *tx.inner)
        .await
        .doing("delete old releases")?;
    Ok(deleted.rows_affected())
}
