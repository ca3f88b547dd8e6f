//! What was rendered of fetched sources, and for which clusters.

use std::collections::{BTreeMap, BTreeSet};

use bellwether_api::reference::NamespacedName;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use uuid::Uuid;

use crate::{
    Digest, Store, StoreError, Tx,
    blobs::{self, Secrecy},
    column::{digest, ms},
    error::Doing,
};

/// What a recipe gives for clusters of equal facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rendered {
    /// Digest of the blob with the rendering.
    Content(Digest),
    /// Why it cannot be rendered, whenever it is tried.
    Failed(String),
}

/// Names a rendering: digests of its recipe and of the facts.
pub type RenderingKey = (Digest, Digest);

/// One recipe of a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseRecipe {
    /// The component.
    pub component: String,
    /// Digest of the recipe.
    pub recipe: Digest,
    /// Digest of the fetched files that it is made of; absent = a program makes it.
    pub artifact: Option<Digest>,
    /// Which of the application's clusters get the component, as JSON; null = all of them.
    pub destination: serde_json::Value,
    /// Values that some clusters have of their own, as JSON; an empty list = none has.
    pub cluster_values: serde_json::Value,
    /// Versions of the values of secrets that it is made with; empty = none.
    pub secret_values: Vec<Uuid>,
}

/// The facts for which the components of one cluster are rendered, by component. Facts under an empty
/// name are those of every component.
pub type FactsByComponent = BTreeMap<String, Digest>;

/// What these recipes were rendered as, for whichever facts.
///
/// # Errors
/// The database fails.
pub async fn of_recipes(
    store: &Store,
    recipes: &[Digest],
) -> Result<BTreeMap<RenderingKey, Rendered>, StoreError> {
    type Row = (Vec<u8>, Vec<u8>, Option<Vec<u8>>, Option<String>);
    let keys: Vec<&[u8]> = recipes.iter().map(|recipe| recipe.0.as_slice()).collect();
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT recipe, facts, content, failure FROM rendering WHERE recipe = ANY($1)",
    )
    .bind(keys)
    .fetch_all(&store.pool)
    .await
    .doing("read renderings")?;
    rows.into_iter()
        .map(|(recipe, facts, content, failure)| {
            let rendered = match (content, failure) {
                (Some(content), _) => Rendered::Content(digest("rendering.content", &content)?),
                (None, failure) => Rendered::Failed(failure.unwrap_or_default()),
            };
            let key = (
                digest("rendering.recipe", &recipe)?,
                digest("rendering.facts", &facts)?,
            );
            Ok((key, rendered))
        })
        .collect()
}

/// What people should know of a rendering.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Remark {
    /// One word that stays what it is.
    pub kind: String,
    /// What it is about.
    pub message: String,
}

/// A rendering to keep.
#[derive(Clone, Copy, Debug)]
pub struct NewRendering<'a> {
    /// JSON.
    pub content: &'a [u8],
    /// Whether it holds a Secret.
    pub secrecy: Secrecy,
    /// What people should know of it.
    pub remarks: &'a [Remark],
}

/// Keeps a rendering, or why there is none. The first one stays: what is rendered twice may differ.
///
/// # Errors
/// The database fails.
pub async fn keep(
    tx: &mut Tx,
    key: RenderingKey,
    rendered: Result<NewRendering<'_>, &str>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let remarks = rendered.map_or(&[][..], |rendering| rendering.remarks);
    let (content, failure) = match rendered {
        Ok(rendering) => {
            let blob = blobs::put(tx, rendering.content, rendering.secrecy, now).await?;
            (Some(blob.0.to_vec()), None)
        }
        Err(failure) => (None, Some(failure.replace('\0', "\u{fffd}"))),
    };
    sqlx::query(
        "INSERT INTO rendering (recipe, facts, content, failure, remarks, created_at_ms)
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (recipe, facts) DO NOTHING",
    )
    .bind(key.0.0.as_slice())
    .bind(key.1.0.as_slice())
    .bind(content)
    .bind(failure)
    .bind(Json(remarks))
    .bind(ms(now))
    .execute(&mut *tx.inner)
    .await
    .doing("write a rendering")?;
    Ok(())
}

/// What people should know of the renderings of an application's latest release.
///
/// # Errors
/// The database fails.
pub async fn remarks(
    store: &Store,
    application: &NamespacedName,
) -> Result<BTreeSet<Remark>, StoreError> {
    let rows: Vec<Json<Vec<Remark>>> = sqlx::query_scalar(
        "SELECT g.remarks FROM rendering g JOIN release_recipe r ON r.recipe = g.recipe
         WHERE g.remarks <> '[]' AND r.release = (SELECT id FROM release
             WHERE namespace = $1 AND application = $2 ORDER BY revision DESC LIMIT 1)",
    )
    .bind(&application.namespace)
    .bind(&application.name)
    .fetch_all(&store.pool)
    .await
    .doing("read remarks on renderings")?;
    Ok(rows.into_iter().flat_map(|row| row.0).collect())
}

/// Notes the recipes of a release, which keep its renderings and artifacts.
///
/// # Errors
/// The database fails.
pub async fn note_recipes(
    tx: &mut Tx,
    release: Uuid,
    recipes: &[ReleaseRecipe],
) -> Result<(), StoreError> {
    for one in recipes {
        sqlx::query(
            "INSERT INTO release_recipe (release, component, recipe, artifact, destination,
                cluster_values, secret_values)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(release)
        .bind(&one.component)
        .bind(one.recipe.0.as_slice())
        .bind(one.artifact.as_ref().map(|artifact| artifact.0.as_slice()))
        .bind(Json(&one.destination))
        .bind(Json(&one.cluster_values))
        .bind(&one.secret_values)
        .execute(&mut *tx.inner)
        .await
        .doing("write a recipe of a release")?;
    }
    Ok(())
}

/// The recipes of a release; empty = nothing of it is rendered.
///
/// # Errors
/// The database fails.
pub async fn recipes(store: &Store, release: Uuid) -> Result<Vec<ReleaseRecipe>, StoreError> {
    type Row = (
        String,
        Vec<u8>,
        Option<Vec<u8>>,
        Json<serde_json::Value>,
        Json<serde_json::Value>,
        Vec<Uuid>,
    );
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT component, recipe, artifact, destination, cluster_values, secret_values
         FROM release_recipe WHERE release = $1 ORDER BY component",
    )
    .bind(release)
    .fetch_all(&store.pool)
    .await
    .doing("read the recipes of a release")?;
    rows.into_iter()
        .map(
            |(component, recipe, artifact, destination, cluster_values, secret_values)| {
                Ok(ReleaseRecipe {
                    component,
                    recipe: digest("release_recipe.recipe", &recipe)?,
                    artifact: artifact
                        .map(|artifact| digest("release_recipe.artifact", &artifact))
                        .transpose()?,
                    destination: destination.0,
                    cluster_values: cluster_values.0,
                    secret_values,
                })
            },
        )
        .collect()
}

/// Notes for which facts clusters are sent a release; what was noted before stays.
///
/// # Errors
/// The database fails.
pub async fn note_facts(
    tx: &mut Tx,
    release: Uuid,
    facts: &BTreeMap<Uuid, FactsByComponent>,
) -> Result<(), StoreError> {
    let (mut clusters, mut components, mut digests) = (Vec::new(), Vec::new(), Vec::new());
    for (cluster, facts) in facts {
        for (component, digest) in facts {
            clusters.push(*cluster);
            components.push(component.as_str());
            digests.push(digest.0.to_vec());
        }
    }
    sqlx::query(
        "INSERT INTO release_facts (release, cluster, component, facts)
         SELECT $1, one.cluster, one.component, one.facts
         FROM unnest($2::uuid[], $3::text[], $4::bytea[]) one (cluster, component, facts)
         ON CONFLICT (release, cluster, component) DO NOTHING",
    )
    .bind(release)
    .bind(clusters)
    .bind(components)
    .bind(digests)
    .execute(&mut *tx.inner)
    .await
    .doing("write the facts of a grant")?;
    Ok(())
}

/// The facts for which clusters were sent a release, by cluster.
///
/// # Errors
/// The database fails.
pub async fn facts_of(
    store: &Store,
    release: Uuid,
) -> Result<BTreeMap<Uuid, FactsByComponent>, StoreError> {
    let rows: Vec<(Uuid, String, Vec<u8>)> =
        sqlx::query_as("SELECT cluster, component, facts FROM release_facts WHERE release = $1")
            .bind(release)
            .fetch_all(&store.pool)
            .await
            .doing("read the facts of grants")?;
    let mut found: BTreeMap<Uuid, FactsByComponent> = BTreeMap::new();
    for (cluster, component, facts) in rows {
        let facts = digest("release_facts.facts", &facts)?;
        found.entry(cluster).or_default().insert(component, facts);
    }
    Ok(found)
}

/// Deletes renderings and artifacts that no release names, no source was last fetched as, and that
/// are older than `before`; pins of applications that are gone as well. Gives the number of
/// renderings.
///
/// # Errors
/// The database fails.
pub async fn sweep(store: &Store, before: Timestamp) -> Result<u64, StoreError> {
    sqlx::query(
        "DELETE FROM source_pin p WHERE NOT EXISTS (SELECT FROM record r
            WHERE r.kind = 'Application' AND r.namespace = p.namespace AND r.name = p.application)",
    )
    .execute(&store.pool)
    .await
    .doing("delete pins of applications that are gone")?;
    sqlx::query(
        "DELETE FROM source_push p WHERE NOT EXISTS (SELECT FROM record r
            WHERE r.kind = 'Application' AND r.namespace = p.namespace AND r.name = p.application)",
    )
    .execute(&store.pool)
    .await
    .doing("delete pushes of applications that are gone")?;
    let deleted = sqlx::query(
        "DELETE FROM rendering g WHERE g.created_at_ms < $1
         AND NOT EXISTS (SELECT FROM release_recipe r WHERE r.recipe = g.recipe)",
    )
    .bind(ms(before))
    .execute(&store.pool)
    .await
    .doing("delete renderings that nothing names")?;
    sqlx::query(
        "DELETE FROM artifact a WHERE a.created_at_ms < $1
         AND NOT EXISTS (SELECT FROM release_recipe r WHERE r.artifact = a.digest)
         AND NOT EXISTS (SELECT FROM source_pin p WHERE p.artifact = a.digest)",
    )
    .bind(ms(before))
    .execute(&store.pool)
    .await
    .doing("delete artifacts that nothing names")?;
    Ok(deleted.rows_affected())
}
