use bellwether_api::application::Component;
use bellwether_hub_core::recipe::{Recipe, SecretValues};
use bellwether_store::{
    Store,
    secrets::{self, SecretInfo},
};
use serde_json::{Map, Value};

use super::{Hidden, SecretError, find, no_key, not_found, of_store};

/// Pins the values of secrets that a component is rendered with. `known` are the secrets of its
/// namespace.
///
/// # Errors
/// A secret or a key is not there.
pub fn pin(
    namespace: &str,
    component: &Component,
    known: &[SecretInfo],
) -> Result<Vec<SecretValues>, SecretError> {
    let wanted = component.helm.iter().flat_map(|helm| &helm.values_from);
    wanted
        .map(|from| {
            let info = find(known, &from.name).ok_or_else(|| not_found(namespace, &from.name))?;
            let version = info
                .keys
                .get(from.key())
                .ok_or_else(|| no_key(info, from.key()))?;
            Ok(SecretValues {
                secret: from.name.clone(),
                key: from.key().to_owned(),
                version: *version,
            })
        })
        .collect()
}

/// A recipe with the values that secrets hold, and what hides them again.
#[derive(Debug)]
pub struct Filled {
    /// The recipe, as the renderer takes it; it is stored nowhere.
    pub recipe: Recipe,
    /// Takes the values out of texts.
    pub hidden: Hidden,
}

/// Opens the values that a recipe is rendered with.
///
/// # Errors
/// One is gone, cannot be opened, or is no map in YAML; or the database fails.
pub async fn fill(store: &Store, recipe: &Recipe) -> Result<Filled, SecretError> {
    let mut found: Vec<Map<String, Value>> = Vec::new();
    for from in &recipe.values_from {
        let value = secrets::value(store, from.version)
            .await
            .map_err(|error| of_store(&from.secret, error))?
            .ok_or_else(|| SecretError::Gone {
                name: from.secret.clone(),
                key: from.key.clone(),
            })?;
        let text = std::str::from_utf8(value.expose()).unwrap_or("-");
        // The reader's own words would show a part of it.
        let Ok(Value::Object(map)) = serde_saphyr::from_str(text) else {
            return Err(SecretError::Value {
                name: from.secret.clone(),
                key: from.key.clone(),
                expected: "map of values in YAML",
            });
        };
        found.push(map);
    }
    Ok(Filled {
        recipe: recipe.with_secret_values(&found),
        hidden: Hidden::of(&found),
    })
}
