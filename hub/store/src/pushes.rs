//! Pushes: what a webhook said may have changed.

use bellwether_api::reference::NamespacedName;
use jiff::Timestamp;

use crate::{Store, StoreError, column::ms, error::Doing};

/// Notes that the sources of these components may have changed: the next look at them is now.
///
/// # Errors
/// The database fails.
pub async fn note(
    store: &Store,
    sources: &[(NamespacedName, String)],
    now: Timestamp,
) -> Result<(), StoreError> {
    let part = |of: fn(&(NamespacedName, String)) -> &String| -> Vec<&str> {
        sources.iter().map(|source| of(source).as_str()).collect()
    };
    sqlx::query(
        "INSERT INTO source_push (namespace, application, component, pushed_at_ms)
         SELECT DISTINCT one.namespace, one.application, one.component, $4
         FROM unnest($1::text[], $2::text[], $3::text[]) one (namespace, application, component)
         ORDER BY 1, 2, 3
         ON CONFLICT (namespace, application, component) DO UPDATE
         SET pushed_at_ms = greatest(source_push.pushed_at_ms, excluded.pushed_at_ms)",
    )
    .bind(part(|(application, _)| &application.namespace))
    .bind(part(|(application, _)| &application.name))
    .bind(part(|(_, component)| component))
    .bind(ms(now))
    .execute(&store.pool)
    .await
    .doing("note a push")?;
    Ok(())
}
