//! The time as the database tells it.

use bellwether_hub_core::clock::Reading;
use uuid::Uuid;

use crate::{
    Store, StoreError,
    column::{timestamp, timestamp_option},
    error::Doing,
};

/// Reads the database's wall clock and the instants that hubs saved.
///
/// # Errors
/// The database fails.
pub async fn read(store: &Store) -> Result<Reading, StoreError> {
    let renewed: Vec<(Uuid, i64)> =
        sqlx::query_as("SELECT replica, renewed_at_ms FROM replica_lease")
            .fetch_all(&store.pool)
            .await
            .doing("read the hubs' leases")?;
    let (database, saved): (i64, Option<i64>) = sqlx::query_as(
        "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint,
            greatest((SELECT max(updated_at_ms) FROM run),
                     (SELECT max(last_seen_at_ms) FROM cluster_sync),
                     (SELECT max(received_at_ms) FROM status),
                     (SELECT max(renewed_at_ms) FROM replica_lease))",
    )
    .fetch_one(&store.pool)
    .await
    .doing("read the time")?;
    Ok(Reading {
        database: timestamp("clock_timestamp()", database)?,
        saved: timestamp_option("the latest instant that was saved", saved)?,
        renewed: renewed
            .into_iter()
            .map(|(hub, at)| Ok((hub, timestamp("replica_lease.renewed_at_ms", at)?)))
            .collect::<Result<_, StoreError>>()?,
    })
}
