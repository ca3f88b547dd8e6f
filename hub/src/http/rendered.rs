use std::collections::BTreeMap;

use bellwether_api::{application::ApplicationSpec, reference::NamespacedName, secret::named_by};
use bellwether_hub_core::{
    recipe::{Recipe, source_digest},
    release::{Change, ReleaseContent, RolloutRecord, content},
};
use bellwether_store::{
    Digest, pins,
    releases::{self, Release},
    renderings, secrets,
};

use super::problem::ApiResult;
use crate::{app::App, secrets::pin};

/// Tells whether the components of an application are rendered.
pub fn is_rendered(spec: &ApplicationSpec) -> bool {
    spec.components
        .iter()
        .any(|component| component.rendered_source().is_some())
}

/// Tells whether a release is what the records say now, as far as that can be told without
/// rendering: its sources as they were fetched, and everything that is written.
///
/// # Errors
/// The database fails.
pub async fn is_released(
    app: &App,
    application: &NamespacedName,
    spec: &ApplicationSpec,
    rollouts: &[RolloutRecord],
    released: &Release,
) -> ApiResult<bool> {
    let pins = pins::list(&app.store, application).await?;
    let secrets = if named_by(spec).is_empty() {
        Vec::new()
    } else {
        secrets::list(&app.store, Some(&application.namespace)).await?
    };
    let recipes: BTreeMap<String, Digest> = renderings::recipes(&app.store, released.id)
        .await?
        .into_iter()
        .map(|one| (one.component, one.recipe))
        .collect();
    for component in &spec.components {
        let made_of = match (&component.plugin, source_digest(component)) {
            (Some(source), _) => app
                .renderings
                .plugins()
                .pin(source)
                .ok()
                .map(|pin| pin.digest),
            (None, Some(source)) => pins
                .get(&component.name)
                .filter(|pin| pin.source == Digest(source))
                .and_then(|pin| pin.fetched.as_ref())
                .map(|fetched| format!("sha256:{}", fetched.artifact)),
            (None, None) => continue,
        };
        let recipe = made_of.and_then(|artifact| {
            let mut recipe = Recipe::of(&application.name, spec, component, &artifact)?;
            // A secret that is missing is none of a release.
            recipe.values_from = pin(&application.namespace, component, &secrets).ok()?;
            Some(recipe)
        });
        let same = recipe
            .is_some_and(|recipe| recipes.get(&component.name) == Some(&Digest(recipe.digest())));
        if !same {
            return Ok(false);
        }
    }
    let bytes = releases::content(&app.store, released).await?;
    let Ok(old) = serde_json::from_slice::<ReleaseContent>(&bytes) else {
        return Ok(true);
    };
    let mut filled = spec.clone();
    let mut from = BTreeMap::new();
    for component in &mut filled.components {
        let Some(known) = old.components.iter().find(|one| one.name == component.name) else {
            continue;
        };
        if component.rendered_source().is_none() {
            continue;
        }
        component.manifests = Some(known.objects.clone());
        if let Some(rendered) = &known.rendered {
            from.insert(component.name.clone(), rendered.clone());
        }
    }
    let policy = spec.placement.as_ref();
    let asked = policy.and_then(|policy| policy.division.as_ref());
    // What makes no release is said by the loop that tries.
    Ok(content(&application.name, &filled, rollouts)
        .map(|wanted| wanted.with_rendered(from).divided_as(&old, asked))
        .map(|wanted| old.change_to(&wanted) != Change::Content)
        .unwrap_or(true))
}
