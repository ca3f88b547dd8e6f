//! The certificates that the hub gave to agents.

use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    Store, StoreError, Tx,
    column::{ms, timestamp, timestamp_option},
    error::Doing,
};

/// One certificate, without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The serial number in lower-case hex.
    pub serial: String,
    /// Whose it is.
    pub cluster: Uuid,
    /// When it was made.
    pub issued_at: Timestamp,
    /// When it ends.
    pub not_after: Timestamp,
    /// Since when it is refused; absent = it is good.
    pub revoked_at: Option<Timestamp>,
}

#[derive(sqlx::FromRow)]
struct CertificateRow {
    serial: String,
    cluster: Uuid,
    issued_at_ms: i64,
    not_after_ms: i64,
    revoked_at_ms: Option<i64>,
}

/// Keeps a new certificate and makes its end the cluster's.
///
/// # Errors
/// The database fails, or the serial number exists.
pub async fn insert(tx: &mut Tx, certificate: &Certificate) -> Result<(), StoreError> {
    sqlx::query(
        "WITH told AS (UPDATE cluster SET certificate_not_after_ms = $4 WHERE id = $2)
         INSERT INTO certificate (serial, cluster, issued_at_ms, not_after_ms)
         VALUES ($1, $2, $3, $4)",
    )
    .bind(&certificate.serial)
    .bind(certificate.cluster)
    .bind(ms(certificate.issued_at))
    .bind(ms(certificate.not_after))
    .execute(&mut *tx.inner)
    .await
    .doing("write a certificate")?;
    Ok(())
}

/// The certificate of a serial number; absent when the hub never gave it, or forgot it.
///
/// # Errors
/// The database fails.
pub async fn get(store: &Store, serial: &str) -> Result<Option<Certificate>, StoreError> {
    let row: Option<CertificateRow> = sqlx::query_as("SELECT * FROM certificate WHERE serial = $1")
        .bind(serial)
        .fetch_optional(&store.pool)
        .await
        .doing("read a certificate")?;
    row.map(|row| {
        Ok(Certificate {
            serial: row.serial,
            cluster: row.cluster,
            issued_at: timestamp("certificate.issued_at_ms", row.issued_at_ms)?,
            not_after: timestamp("certificate.not_after_ms", row.not_after_ms)?,
            revoked_at: timestamp_option("certificate.revoked_at_ms", row.revoked_at_ms)?,
        })
    })
    .transpose()
}

/// Refuses one certificate from now on; tells whether it was good until now.
///
/// # Errors
/// The database fails.
pub async fn revoke(tx: &mut Tx, serial: &str, now: Timestamp) -> Result<bool, StoreError> {
    let revoked = sqlx::query(
        "UPDATE certificate SET revoked_at_ms = $2 WHERE serial = $1 AND revoked_at_ms IS NULL",
    )
    .bind(serial)
    .bind(ms(now))
    .execute(&mut *tx.inner)
    .await
    .doing("revoke a certificate")?;
    Ok(revoked.rows_affected() > 0)
}

/// Forgets the certificates that ended before `before`; gives their number. Keep at least as long
/// as an expired certificate may be renewed.
///
/// # Errors
/// The database fails.
pub async fn sweep(store: &Store, before: Timestamp) -> Result<u64, StoreError> {
    let deleted = sqlx::query("DELETE FROM certificate WHERE not_after_ms < $1")
        .bind(ms(before))
        .execute(&store.pool)
        .await
        .doing("delete ended certificates")?;
    Ok(deleted.rows_affected())
}
