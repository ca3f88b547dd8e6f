//! Secrets that the hub keeps: written by people, opened by the hub, never read back.
//!
//! Every value is sealed by itself, under its namespace, secret, key and version: one that is moved to
//! another place in the database does not open there.

use std::{collections::BTreeMap, fmt};

use bellwether_api::reference::NamespacedName;
use jiff::Timestamp;
use sqlx::PgExecutor;
use uuid::Uuid;

use crate::{
    BlobCipher, Store, StoreError, Tx, blobs,
    column::{ms, timestamp},
    error::Doing,
    records::Change,
};

/// What is said of a sealed value that cannot be opened.
const COLUMN: &str = "secret_value.sealed";

/// A value that never shows in debug output.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(Vec<u8>);

impl SecretValue {
    /// Keeps a value.
    #[must_use]
    pub const fn new(value: Vec<u8>) -> Self {
        Self(value)
    }

    /// The value, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A secret without its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretInfo {
    /// Its namespace at the hub and its name.
    pub name: NamespacedName,
    /// Another one with every change of a value or a key.
    pub revision: Uuid,
    /// Its keys, each with the version of its value.
    pub keys: BTreeMap<String, Uuid>,
    /// When it was written last.
    pub changed_at: Timestamp,
    /// Who did.
    pub changed_by: String,
}

/// A secret with its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSecret {
    /// What it is without them.
    pub info: SecretInfo,
    /// The values by key.
    pub values: BTreeMap<String, SecretValue>,
}

#[derive(sqlx::FromRow)]
struct SecretRow {
    namespace: String,
    name: String,
    revision: Uuid,
    changed_at_ms: i64,
    changed_by: String,
}

#[derive(sqlx::FromRow)]
struct ValueRow {
    version: Uuid,
    namespace: String,
    name: String,
    key: String,
    sealed: Vec<u8>,
}

impl ValueRow {
    fn open(&self, cipher: &BlobCipher) -> Result<SecretValue, StoreError> {
        let label = label(&self.namespace, &self.name, &self.key, self.version);
        blobs::open(cipher, COLUMN, &label, &self.sealed).map(SecretValue)
    }
}

/// Makes a secret hold exactly these entries. A value that stays what it was keeps its version; one that
/// is replaced is kept while a release names it.
///
/// # Errors
/// The database or the cipher fails.
pub async fn set(
    tx: &mut Tx,
    name: &NamespacedName,
    entries: &BTreeMap<String, SecretValue>,
    by: &str,
    now: Timestamp,
) -> Result<Change, StoreError> {
    // The row is locked from here on: two writers come one after the other.
    let created: bool = sqlx::query_scalar(
        "INSERT INTO secret (namespace, name, revision, changed_at_ms, changed_by)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (namespace, name) DO UPDATE SET name = excluded.name
         RETURNING revision = $3",
    )
    .bind(&name.namespace)
    .bind(&name.name)
    .bind(Uuid::new_v4())
    .bind(ms(now))
    .bind(by)
    .fetch_one(&mut *tx.inner)
    .await
    .doing("write a secret")?;
    let before = current(&mut *tx.inner, name).await?;
    let stays = |row: &ValueRow| {
        let wanted = entries.get(&row.key);
        // What another key sealed cannot be compared: it is replaced.
        wanted.is_some_and(|wanted| row.open(&tx.cipher).ok().as_ref() == Some(wanted))
    };
    let (same, replaced): (Vec<_>, Vec<_>) = before.into_iter().partition(stays);
    let retired: Vec<Uuid> = replaced.iter().map(|row| row.version).collect();
    if !created && retired.is_empty() && same.len() == entries.len() {
        return Ok(Change::Unchanged);
    }
    sqlx::query("UPDATE secret_value SET retired_at_ms = $2 WHERE version = ANY($1)")
        .bind(retired)
        .bind(ms(now))
        .execute(&mut *tx.inner)
        .await
        .doing("replace values of a secret")?;
    for (key, value) in entries {
        if !same.iter().any(|row| row.key == *key) {
            insert(tx, name, key, value).await?;
        }
    }
    if created {
        return Ok(Change::Created);
    }
    sqlx::query(
        "UPDATE secret SET revision = $3, changed_at_ms = $4, changed_by = $5
         WHERE namespace = $1 AND name = $2",
    )
    .bind(&name.namespace)
    .bind(&name.name)
    .bind(Uuid::new_v4())
    .bind(ms(now))
    .bind(by)
    .execute(&mut *tx.inner)
    .await
    .doing("write a secret")?;
    Ok(Change::Configured)
}

async fn insert(
    tx: &mut Tx,
    name: &NamespacedName,
    key: &str,
    value: &SecretValue,
) -> Result<(), StoreError> {
    let version = Uuid::new_v4();
    let label = label(&name.namespace, &name.name, key, version);
    let sealed = blobs::seal(&tx.cipher, COLUMN, &label, value.0.clone())?;
    sqlx::query(
        "INSERT INTO secret_value (version, namespace, name, key, sealed)
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(version)
    .bind(&name.namespace)
    .bind(&name.name)
    .bind(key)
    .bind(sealed)
    .execute(&mut *tx.inner)
    .await
    .doing("write a value of a secret")?;
    Ok(())
}

/// The secrets of a namespace, or of all, by name, without their values.
///
/// # Errors
/// The database fails.
pub async fn list(store: &Store, namespace: Option<&str>) -> Result<Vec<SecretInfo>, StoreError> {
    let rows: Vec<SecretRow> = sqlx::query_as(
        "SELECT namespace, name, revision, changed_at_ms, changed_by FROM secret
         WHERE $1::text IS NULL OR namespace = $1 ORDER BY namespace, name",
    )
    .bind(namespace)
    .fetch_all(&store.pool)
    .await
    .doing("list secrets")?;
    let keys: Vec<(String, String, String, Uuid)> = sqlx::query_as(
        "SELECT namespace, name, key, version FROM secret_value
         WHERE retired_at_ms IS NULL AND ($1::text IS NULL OR namespace = $1)",
    )
    .bind(namespace)
    .fetch_all(&store.pool)
    .await
    .doing("list the keys of secrets")?;
    let mut by_name: BTreeMap<NamespacedName, BTreeMap<String, Uuid>> = BTreeMap::new();
    for (namespace, name, key, version) in keys {
        let keys = by_name.entry(NamespacedName { namespace, name });
        keys.or_default().insert(key, version);
    }
    rows.into_iter()
        .map(|row| info(row, |name| by_name.remove(name).unwrap_or_default()))
        .collect()
}

/// One secret with its values; absent when there is none.
///
/// # Errors
/// The database fails, or a value cannot be opened: another key sealed it.
pub async fn open(store: &Store, name: &NamespacedName) -> Result<Option<OpenSecret>, StoreError> {
    let row: Option<SecretRow> = sqlx::query_as(
        "SELECT namespace, name, revision, changed_at_ms, changed_by FROM secret
         WHERE namespace = $1 AND name = $2",
    )
    .bind(&name.namespace)
    .bind(&name.name)
    .fetch_optional(&store.pool)
    .await
    .doing("read a secret")?;
    let Some(row) = row else {
        return Ok(None);
    };
    let rows = current(&store.pool, name).await?;
    let keys = rows.iter().map(|row| (row.key.clone(), row.version));
    let info = info(row, |_| keys.collect())?;
    let values = rows
        .iter()
        .map(|row| Ok((row.key.clone(), row.open(&store.cipher)?)))
        .collect::<Result<_, StoreError>>()?;
    Ok(Some(OpenSecret { info, values }))
}

/// A value by its version, whether it was replaced or not; absent when it is gone.
///
/// # Errors
/// The database fails, or the value cannot be opened: another key sealed it.
pub async fn value(store: &Store, version: Uuid) -> Result<Option<SecretValue>, StoreError> {
    let row: Option<ValueRow> = sqlx::query_as(
        "SELECT version, namespace, name, key, sealed FROM secret_value WHERE version = $1",
    )
    .bind(version)
    .fetch_optional(&store.pool)
    .await
    .doing("read a value of a secret")?;
    row.map(|row| row.open(&store.cipher)).transpose()
}

/// Deletes a secret with every value that it ever had; tells whether there was one.
///
/// # Errors
/// The database fails.
pub async fn delete(tx: &mut Tx, name: &NamespacedName) -> Result<bool, StoreError> {
    let deleted = sqlx::query("DELETE FROM secret WHERE namespace = $1 AND name = $2")
        .bind(&name.namespace)
        .bind(&name.name)
        .execute(&mut *tx.inner)
        .await
        .doing("delete a secret")?;
    Ok(deleted.rows_affected() > 0)
}

/// Deletes values that were replaced before `before` and that no release names. Gives their number.
///
/// # Errors
/// The database fails.
pub async fn sweep(store: &Store, before: Timestamp) -> Result<u64, StoreError> {
    let deleted = sqlx::query(
        "DELETE FROM secret_value v WHERE v.retired_at_ms < $1
         AND NOT EXISTS (SELECT FROM release_recipe r WHERE v.version = ANY(r.secret_values))",
    )
    .bind(ms(before))
    .execute(&store.pool)
    .await
    .doing("delete values of secrets that nothing names")?;
    Ok(deleted.rows_affected())
}

async fn current(
    executor: impl PgExecutor<'_>,
    name: &NamespacedName,
) -> Result<Vec<ValueRow>, StoreError> {
    sqlx::query_as(
        "SELECT version, namespace, name, key, sealed FROM secret_value
         WHERE namespace = $1 AND name = $2 AND retired_at_ms IS NULL ORDER BY key",
    )
    .bind(&name.namespace)
    .bind(&name.name)
    .fetch_all(executor)
    .await
    .doing("read values of a secret")
}

fn info(
    row: SecretRow,
    keys: impl FnOnce(&NamespacedName) -> BTreeMap<String, Uuid>,
) -> Result<SecretInfo, StoreError> {
    let name = NamespacedName {
        namespace: row.namespace,
        name: row.name,
    };
    Ok(SecretInfo {
        keys: keys(&name),
        name,
        revision: row.revision,
        changed_at: timestamp("secret.changed_at_ms", row.changed_at_ms)?,
        changed_by: row.changed_by,
    })
}

/// What a value is sealed under; each part with its length, so that no two places have the same.
fn label(namespace: &str, name: &str, key: &str, version: Uuid) -> Vec<u8> {
    let mut label = b"secret".to_vec();
    for part in [namespace.as_bytes(), name.as_bytes(), key.as_bytes()] {
        label.extend((part.len() as u64).to_be_bytes());
        label.extend(part);
    }
    label.extend(version.as_bytes());
    label
}
