//! One-time tokens by which a cluster enrols. Only their hash is kept.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sqlx::types::Json;
use uuid::Uuid;

use crate::{
    Store, StoreError, Tx,
    column::{ms, small, small_unsigned, timestamp},
    error::Doing,
};

/// A token, without the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinToken {
    /// Names it to people.
    pub id: Uuid,
    /// SHA-256 of the token's secret.
    pub hash: [u8; 32],
    /// The only cluster that it may enrol.
    pub cluster_name: String,
    /// Labels that the cluster gets.
    pub labels: BTreeMap<String, String>,
    /// From then on it is refused.
    pub expires_at: Timestamp,
    /// How often it may be used; 1 unless somebody asked for more.
    pub max_uses: u32,
    /// How often it was used.
    pub uses: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: String,
}

/// Why a token was refused.
#[derive(Debug, thiserror::Error)]
pub enum UseError {
    /// Nobody made such a token, or it was deleted.
    #[error("failed to use the join token: it is unknown; register the cluster again for another")]
    Unknown,
    /// It was used as often as it may be.
    #[error(
        "failed to use the join token: it was used already; register the cluster again for another"
    )]
    Used,
    /// Its time is over.
    #[error(
        "failed to use the join token: it expired at {expired_at}; register the cluster again for \
         another"
    )]
    Expired {
        /// Since when.
        expired_at: Timestamp,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(sqlx::FromRow)]
struct TokenRow {
    id: Uuid,
    hash: Vec<u8>,
    cluster_name: String,
    labels: Json<BTreeMap<String, String>>,
    expires_at_ms: i64,
    max_uses: i32,
    uses: i32,
    created_at_ms: i64,
    created_by: String,
    used_by_key: Option<Vec<u8>>,
}

impl TokenRow {
    fn into_token(self) -> Result<JoinToken, StoreError> {
        Ok(JoinToken {
            id: self.id,
            hash: crate::column::bytes32("join_token.hash", &self.hash)?,
            cluster_name: self.cluster_name,
            labels: self.labels.0,
            expires_at: timestamp("join_token.expires_at_ms", self.expires_at_ms)?,
            max_uses: small_unsigned("join_token.max_uses", self.max_uses)?,
            uses: small_unsigned("join_token.uses", self.uses)?,
            created_at: timestamp("join_token.created_at_ms", self.created_at_ms)?,
            created_by: self.created_by,
        })
    }
}

/// Keeps a new token. `uses` is taken as 0.
///
/// # Errors
/// The database fails.
pub async fn create(tx: &mut Tx, token: &JoinToken) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO join_token (id, hash, cluster_name, labels, expires_at_ms, max_uses,
            created_at_ms, created_by) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(token.id)
    .bind(token.hash.as_slice())
    .bind(&token.cluster_name)
    .bind(Json(&token.labels))
    .bind(ms(token.expires_at))
    .bind(small("join_token.max_uses", token.max_uses)?)
    .bind(ms(token.created_at))
    .bind(&token.created_by)
    .execute(&mut *tx.inner)
    .await
    .doing("write a join token")?;
    Ok(())
}

/// A token that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    /// The token, with this use counted.
    pub token: JoinToken,
    /// Whether the same key had used it before: its holder lost the answer and asks again.
    pub repeated: bool,
}

/// Uses a token, in the transaction that enrols its cluster. Of many keys at the same moment only
/// as many succeed as the token has uses; the key that used it last may repeat itself until the
/// token expires, or until another token of its cluster is used.
///
/// # Errors
/// [`UseError`] says why the token is refused.
pub async fn use_once(
    tx: &mut Tx,
    hash: &[u8; 32],
    key: &[u8; 32],
    now: Timestamp,
) -> Result<Used, UseError> {
    let row: Option<TokenRow> =
        sqlx::query_as("SELECT * FROM join_token WHERE hash = $1 FOR UPDATE")
            .bind(hash.as_slice())
            .fetch_optional(&mut *tx.inner)
            .await
            .doing("read a join token")?;
    let row = row.ok_or(UseError::Unknown)?;
    let repeated = row.used_by_key.as_deref() == Some(key.as_slice());
    let token = row.into_token()?;
    if token.uses >= token.max_uses && !repeated {
        return Err(UseError::Used);
    }
    if token.expires_at <= now {
        return Err(UseError::Expired {
            expired_at: token.expires_at,
        });
    }
    if repeated {
        return Ok(Used { token, repeated });
    }
    let used: TokenRow = sqlx::query_as(
        "UPDATE join_token SET uses = uses + 1, used_by_key = $2 WHERE id = $1 RETURNING *",
    )
    .bind(token.id)
    .bind(key.as_slice())
    .fetch_one(&mut *tx.inner)
    .await
    .doing("use a join token")?;
    sqlx::query("UPDATE join_token SET used_by_key = NULL WHERE cluster_name = $1 AND id <> $2")
        .bind(&token.cluster_name)
        .bind(token.id)
        .execute(&mut *tx.inner)
        .await
        .doing("forget the keys of earlier join tokens")?;
    Ok(Used {
        token: used.into_token()?,
        repeated,
    })
}

/// Every token, newest first.
///
/// # Errors
/// The database fails.
pub async fn list(store: &Store) -> Result<Vec<JoinToken>, StoreError> {
    let rows: Vec<TokenRow> =
        sqlx::query_as("SELECT * FROM join_token ORDER BY created_at_ms DESC, id")
            .fetch_all(&store.pool)
            .await
            .doing("list join tokens")?;
    rows.into_iter().map(TokenRow::into_token).collect()
}

/// Deletes a token; tells whether it existed.
///
/// # Errors
/// The database fails.
pub async fn delete(tx: &mut Tx, id: Uuid) -> Result<bool, StoreError> {
    let deleted = sqlx::query("DELETE FROM join_token WHERE id = $1")
        .bind(id)
        .execute(&mut *tx.inner)
        .await
        .doing("delete a join token")?;
    Ok(deleted.rows_affected() > 0)
}

/// Deletes tokens that expired before `before`; gives their number.
///
/// # Errors
/// The database fails.
pub async fn sweep(store: &Store, before: Timestamp) -> Result<u64, StoreError> {
    let deleted = sqlx::query("DELETE FROM join_token WHERE expires_at_ms < $1")
        .bind(ms(before))
        .execute(&store.pool)
        .await
        .doing("delete expired join tokens")?;
    Ok(deleted.rows_affected())
}
