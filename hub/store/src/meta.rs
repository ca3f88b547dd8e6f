//! The installation: one row.

use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    Store, StoreError, Tx,
    column::{ms, timestamp, unsigned},
    error::Doing,
};

/// What is true of the whole installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubMeta {
    /// Tells this installation from every other.
    pub installation: Uuid,
    /// Orders generations across restores: higher is newer, whatever the generation. Never 0.
    pub incarnation: u64,
    /// The trust domain of every identity.
    pub trust_domain: String,
    /// When it was first started.
    pub created_at: Timestamp,
}

#[derive(sqlx::FromRow)]
struct MetaRow {
    installation: Uuid,
    incarnation: i64,
    trust_domain: String,
    created_at_ms: i64,
}

/// Reads the installation's row, making it at the first start. The first incarnation is the time,
/// so that a database made anew is newer than the lost one.
///
/// # Errors
/// The database fails.
pub async fn ensure(
    store: &Store,
    installation: Uuid,
    trust_domain: &str,
    now: Timestamp,
) -> Result<HubMeta, StoreError> {
    sqlx::query(
        "INSERT INTO hub_meta (installation, incarnation, trust_domain, created_at_ms)
         VALUES ($1, greatest($2, 1), $3, $2) ON CONFLICT DO NOTHING",
    )
    .bind(installation)
    .bind(ms(now))
    .bind(trust_domain)
    .execute(&store.pool)
    .await
    .doing("write the installation's row")?;
    let row: MetaRow = sqlx::query_as(
        "SELECT installation, incarnation, trust_domain, created_at_ms FROM hub_meta",
    )
    .fetch_one(&store.pool)
    .await
    .doing("read the installation's row")?;
    Ok(HubMeta {
        installation: row.installation,
        incarnation: unsigned("hub_meta.incarnation", row.incarnation)?,
        trust_domain: row.trust_domain,
        created_at: timestamp("hub_meta.created_at_ms", row.created_at_ms)?,
    })
}

/// The incarnation as it is now.
///
/// # Errors
/// The database fails, or [`ensure`] was never called.
pub async fn incarnation(store: &Store) -> Result<u64, StoreError> {
    let incarnation: i64 = sqlx::query_scalar("SELECT incarnation FROM hub_meta")
        .fetch_one(&store.pool)
        .await
        .doing("read the incarnation")?;
    unsigned("hub_meta.incarnation", incarnation)
}

/// Starts a new incarnation, after a restore or a failover that may have lost commits.
///
/// # Errors
/// The database fails, or [`ensure`] was never called.
pub async fn bump_incarnation(tx: &mut Tx, now: Timestamp) -> Result<u64, StoreError> {
    let incarnation: i64 = sqlx::query_scalar(
        "UPDATE hub_meta SET incarnation = greatest(incarnation + 1, $1) RETURNING incarnation",
    )
    .bind(ms(now))
    .fetch_one(&mut *tx.inner)
    .await
    .doing("start a new incarnation")?;
    unsigned("hub_meta.incarnation", incarnation)
}
