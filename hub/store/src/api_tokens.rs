//! Who may call the HTTP API: principals and the hash of their token.

use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    Store, StoreError, Tx,
    column::{bytes32, ms, timestamp, timestamp_option},
    error::Doing,
};

/// A principal with its token's hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiToken {
    /// Names the token.
    pub id: Uuid,
    /// Names the principal; unique.
    pub name: String,
    /// What it may do, as the hub's `authorize` names it.
    pub role: String,
    /// Where it may do it; empty = everywhere.
    pub namespaces: Vec<String>,
    /// SHA-256 of the token's secret.
    pub hash: [u8; 32],
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// Since when it is refused; absent = it is good.
    pub revoked_at: Option<Timestamp>,
}

/// Why a token was not made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// A principal has that name.
    #[error("failed to make the token: a principal named {name:?} exists")]
    Exists {
        /// The name.
        name: String,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(sqlx::FromRow)]
struct TokenRow {
    id: Uuid,
    name: String,
    role: String,
    namespaces: Vec<String>,
    hash: Vec<u8>,
    created_at_ms: i64,
    created_by: String,
    revoked_at_ms: Option<i64>,
}

impl TokenRow {
    fn into_token(self) -> Result<ApiToken, StoreError> {
        Ok(ApiToken {
            id: self.id,
            name: self.name,
            role: self.role,
            namespaces: self.namespaces,
            hash: bytes32("api_token.hash", &self.hash)?,
            created_at: timestamp("api_token.created_at_ms", self.created_at_ms)?,
            created_by: self.created_by,
            revoked_at: timestamp_option("api_token.revoked_at_ms", self.revoked_at_ms)?,
        })
    }
}

/// Keeps a new token.
///
/// # Errors
/// [`CreateError::Exists`] when a principal has that name, or the database fails.
pub async fn create(tx: &mut Tx, token: &ApiToken) -> Result<(), CreateError> {
    let written = sqlx::query(
        "INSERT INTO api_token (id, name, role, namespaces, hash, created_at_ms, created_by)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (name) DO NOTHING",
    )
    .bind(token.id)
    .bind(&token.name)
    .bind(&token.role)
    .bind(&token.namespaces)
    .bind(token.hash.as_slice())
    .bind(ms(token.created_at))
    .bind(&token.created_by)
    .execute(&mut *tx.inner)
    .await
    .doing("write an API token")?;
    if written.rows_affected() == 0 {
        return Err(CreateError::Exists {
            name: token.name.clone(),
        });
    }
    Ok(())
}

/// The token of a hash, if it is good; absent when it is unknown or revoked.
///
/// # Errors
/// The database fails.
pub async fn by_hash(store: &Store, hash: &[u8; 32]) -> Result<Option<ApiToken>, StoreError> {
    let row: Option<TokenRow> =
        sqlx::query_as("SELECT * FROM api_token WHERE hash = $1 AND revoked_at_ms IS NULL")
            .bind(hash.as_slice())
            .fetch_optional(&store.pool)
            .await
            .doing("read an API token")?;
    row.map(TokenRow::into_token).transpose()
}

/// Every token, by name, revoked ones too.
///
/// # Errors
/// The database fails.
pub async fn list(store: &Store) -> Result<Vec<ApiToken>, StoreError> {
    let rows: Vec<TokenRow> = sqlx::query_as("SELECT * FROM api_token ORDER BY name COLLATE \"C\"")
        .fetch_all(&store.pool)
        .await
        .doing("list API tokens")?;
    rows.into_iter().map(TokenRow::into_token).collect()
}

/// Refuses a principal's token from now on; tells whether it was good until now.
///
/// # Errors
/// The database fails.
pub async fn revoke(tx: &mut Tx, name: &str, now: Timestamp) -> Result<bool, StoreError> {
    let revoked = sqlx::query(
        "UPDATE api_token SET revoked_at_ms = $2 WHERE name = $1 AND revoked_at_ms IS NULL",
    )
    .bind(name)
    .bind(ms(now))
    .execute(&mut *tx.inner)
    .await
    .doing("revoke an API token")?;
    Ok(revoked.rows_affected() > 0)
}
