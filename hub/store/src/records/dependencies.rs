//! What keeps two transactions from making applications wait for each other.

use crate::{StoreError, Tx, error::Doing};

/// The lock of whoever says what waits for what; of no meaning but that nobody else has it.
const LOCK: i64 = 0x6465_7065_6e64_734f;

/// Waits until no other transaction says what applications wait for; released with the transaction.
///
/// # Errors
/// The database fails.
pub async fn lock_dependencies(tx: &mut Tx) -> Result<(), StoreError> {
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(LOCK)
        .execute(&mut *tx.inner)
        .await
        .doing("wait for others who say what applications depend on")?;
    Ok(())
}
