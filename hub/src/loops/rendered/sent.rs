use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use bellwether_api::application::Destination;
use bellwether_hub_core::{
    addons::Fleets,
    chart_hooks::runnable,
    components::is_placed,
    placement::ClusterFacts,
    recipe::{Recipe, RenderFacts, ValuesOverride, values_overrides},
    records::take,
    release::{Release, ReleaseContent},
    run::{ClusterSeen, Unrendered},
};
use bellwether_store::{
    Digest, Store,
    renderings::{self, FactsByComponent, ReleaseRecipe, Rendered},
};
use uuid::Uuid;

use super::{
    Sight,
    facts::{Facts, settled as settled_for},
    variants::other_variants,
};
use crate::{
    loops::{LoopError, loaded::with_content, world::Served},
    rendering::{Job, Renderings},
    telemetry::chain,
};

/// What one cluster is sent of a release that is rendered.
#[derive(Clone, Debug)]
pub struct Sent {
    pub facts: FactsByComponent,
    pub content: Arc<ReleaseContent>,
}

/// Says which clusters a release cannot be sent to, and asks for what is missing. Nothing of a
/// release that is written inline is missing.
pub async fn unrendered(
    sight: Sight<'_>,
    release: Uuid,
    clusters: &[ClusterSeen],
) -> Result<BTreeMap<Uuid, Unrendered>, LoopError> {
    let mut found = BTreeMap::new();
    let Some(renderings) = sight.renderings else {
        return Ok(found);
    };
    let recipes = renderings::recipes(sight.store, release).await?;
    if recipes.is_empty() {
        return Ok(found);
    }
    let version = match renderings.renderer_version().await {
        Ok(version) => version,
        Err(error) => {
            let why = Unrendered::Failed(chain(&error));
            return Ok(clusters.iter().map(|seen| (seen.id, why.clone())).collect());
        }
    };
    let settled = renderings::facts_of(sight.store, release).await?;
    let digests: Vec<Digest> = recipes.iter().map(|one| one.recipe).collect();
    let rendered = renderings::of_recipes(sight.store, &digests).await?;
    let mut known: Option<Vec<Recipe>> = None;
    let mut all_facts = Facts::new(version, cluster_values(&recipes));
    let destinations = destinations(&recipes);
    let mut unsettled: BTreeMap<Uuid, Vec<(String, Digest)>> = BTreeMap::new();
    for seen in clusters {
        let served = sight
            .world
            .served(seen.id)
            .zip(sight.world.cluster(seen.id));
        let here = sight.world.cluster(seen.id);
        for one in recipes
            .iter()
            .filter(|one| gets(&destinations, &one.component, here, sight.world.fleets()))
        {
            let facts = settled_for(settled.get(&seen.id), &one.component).map(Ok);
            let is_new = facts.is_none();
            let now = || {
                let (served, cluster) = served?;
                Some(all_facts.digest(served, cluster, &one.component))
            };
            let facts = match facts.or_else(now) {
                Some(Ok(facts)) => facts,
                Some(Err(why)) => {
                    let why = format!("component {:?}: {why}", one.component);
                    found.insert(seen.id, Unrendered::Failed(why));
                    continue;
                }
                None => {
                    found.entry(seen.id).or_insert(Unrendered::Pending);
                    continue;
                }
            };
            match rendered.get(&(one.recipe, facts)) {
                Some(Rendered::Content(content)) if is_new => {
                    let rendering = (one.component.clone(), *content);
                    unsettled.entry(seen.id).or_default().push(rendering);
                }
                Some(Rendered::Content(_)) => {}
                Some(Rendered::Failed(message)) => {
                    let why = format!("component {:?}: {message}", one.component);
                    found.insert(seen.id, Unrendered::Failed(why));
                }
                None => {
                    found.entry(seen.id).or_insert(Unrendered::Pending);
                    if known.is_none() {
                        known = Some(recipes_of(sight.store, release).await?);
                    }
                    let facts = served.and_then(|(served, cluster)| {
                        all_facts.of(served, cluster, &one.component).ok()
                    });
                    if let Some(facts) = facts {
                        let recipes = known.as_deref().unwrap_or_default();
                        ask(renderings, recipes, one.recipe, facts);
                    }
                }
            }
        }
    }
    for (cluster, why) in other_variants(sight, release, &unsettled).await? {
        found.entry(cluster).or_insert(Unrendered::Failed(why));
    }
    Ok(found)
}

/// The clusters that get components which not all get, by component.
fn destinations(recipes: &[ReleaseRecipe]) -> BTreeMap<String, Destination> {
    recipes
        .iter()
        .filter_map(|one| {
            let destination = serde_json::from_value(one.destination.clone()).ok()?;
            Some((one.component.clone(), destination))
        })
        .collect()
}

/// Tells whether a cluster gets a component; of one that is not known it is not ruled out.
fn gets(
    destinations: &BTreeMap<String, Destination>,
    component: &str,
    cluster: Option<&ClusterFacts>,
    fleets: &Fleets,
) -> bool {
    cluster.is_none_or(|cluster| is_placed(destinations.get(component), cluster, fleets))
}

/// The values that clusters have of their own, by component.
fn cluster_values(recipes: &[ReleaseRecipe]) -> BTreeMap<String, Vec<ValuesOverride>> {
    recipes
        .iter()
        .filter_map(|one| {
            let values: Vec<ValuesOverride> =
                serde_json::from_value(one.cluster_values.clone()).unwrap_or_default();
            (!values.is_empty()).then(|| (one.component.clone(), values))
        })
        .collect()
}

fn ask(renderings: &Renderings, recipes: &[Recipe], wanted: Digest, facts: RenderFacts) {
    let recipe = recipes
        .iter()
        .find(|recipe| Digest(recipe.digest()) == wanted);
    if let Some(recipe) = recipe {
        // Why it failed for the moment is logged; the cluster waits for it all the same.
        let _ = renderings.ask(Job::Render {
            recipe: Box::new(recipe.clone()),
            facts: Arc::new(facts),
        });
    }
}

async fn recipes_of(store: &Store, release: Uuid) -> Result<Vec<Recipe>, LoopError> {
    let Some(stored) = bellwether_store::releases::get(store, release).await? else {
        return Ok(Vec::new());
    };
    let content = with_content(store, &stored).await?.content;
    Ok(recipes_in(&content)
        .map(|(_, recipe)| recipe.clone())
        .collect())
}

fn recipes_in(content: &ReleaseContent) -> impl Iterator<Item = (&str, &Recipe)> {
    content.components.iter().filter_map(|component| {
        let from = component.rendered.as_ref()?;
        Some((component.name.as_str(), &from.recipe))
    })
}

/// What each of these clusters is sent of a release; empty = the same, for it is written inline.
/// `settled` says for which facts, where that is known; a cluster that goes back to the release gets
/// what it had of it.
pub async fn sent(
    sight: Sight<'_>,
    release: &Release,
    clusters: &[Uuid],
    settled: &BTreeMap<Uuid, FactsByComponent>,
) -> Result<BTreeMap<Uuid, Sent>, LoopError> {
    let mut found = BTreeMap::new();
    if !release.content.is_rendered() || clusters.is_empty() {
        return Ok(found);
    }
    let waits = |what: String| LoopError::Rendering {
        application: sight.application.clone(),
        what,
    };
    let Some(renderings) = sight.renderings else {
        return Err(waits("this hub renders nothing".to_owned()));
    };
    let version = renderings
        .renderer_version()
        .await
        .map_err(|error| waits(chain(&error)))?;
    let mut before = renderings::facts_of(sight.store, release.id).await?;
    before.extend(settled.clone());
    let recipes: Vec<(&str, &Recipe)> = recipes_in(&release.content).collect();
    let digests: Vec<Digest> = recipes
        .iter()
        .map(|(_, one)| Digest(one.digest()))
        .collect();
    let rendered = renderings::of_recipes(sight.store, &digests).await?;
    let mut contents: BTreeMap<FactsByComponent, Arc<ReleaseContent>> = BTreeMap::new();
    let mut all_facts = Facts::new(version, values_in_release(&release.content));
    let destinations: BTreeMap<String, Destination> = release
        .content
        .components
        .iter()
        .filter_map(|one| Some((one.name.clone(), one.destination.clone()?)))
        .collect();
    for id in clusters {
        let seen = sight.world.served(*id).zip(sight.world.cluster(*id));
        let (here, fleets) = (sight.world.cluster(*id), sight.world.fleets());
        let components = recipes
            .iter()
            .map(|(component, _)| *component)
            .filter(|component| gets(&destinations, component, here, fleets));
        let facts =
            facts_by_component(before.get(id), seen, components, &mut all_facts).map_err(&waits)?;
        let content = match contents.entry(facts.clone()) {
            Entry::Occupied(known) => Arc::clone(known.get()),
            Entry::Vacant(place) => {
                let (mut objects, mut hooks) = (BTreeMap::new(), BTreeMap::new());
                let mut rollouts = Vec::new();
                for ((component, recipe), digest) in recipes.iter().zip(&digests) {
                    let Some(own) = facts.get(*component) else {
                        continue;
                    };
                    let key = (*digest, *own);
                    if let Some(Rendered::Content(content)) = rendered.get(&key) {
                        let rendering = renderings.read(*content).await?;
                        let taken = take(&sight.application.name, component, &rendering.objects)
                            .map_err(|error| waits(error.to_string()))?;
                        rollouts.extend(taken.rollouts);
                        objects.insert((*component).to_owned(), taken.objects);
                        if recipe.hooks {
                            let run = runnable(&rendering.hooks)
                                .map_err(|error| waits(error.to_string()))?;
                            hooks.insert((*component).to_owned(), run);
                        }
                        continue;
                    }
                    let now = seen.and_then(|(served, cluster)| {
                        all_facts.of(served, cluster, component).ok()
                    });
                    if let Some(now) = now {
                        ask(renderings, std::slice::from_ref(*recipe), *digest, now);
                    }
                    return Err(waits(format!("component {component:?} is being rendered")));
                }
                let content = release.content.for_cluster(&objects, &rollouts);
                let content = content.map_err(|error| waits(error.to_string()))?;
                let content = Arc::new(content.with_hooks(hooks));
                Arc::clone(place.insert(content))
            }
        };
        found.insert(*id, Sent { facts, content });
    }
    Ok(found)
}

/// What a cluster's components are rendered for: as it was settled, else as the cluster is now.
fn facts_by_component<'a>(
    settled: Option<&FactsByComponent>,
    seen: Option<(&Arc<Served>, &ClusterFacts)>,
    components: impl Iterator<Item = &'a str>,
    all_facts: &mut Facts<'_>,
) -> Result<FactsByComponent, String> {
    components
        .map(|component| {
            let digest = match (settled_for(settled, component), seen) {
                (Some(known), _) => known,
                (None, Some((served, cluster))) => all_facts.digest(served, cluster, component)?,
                (None, None) => {
                    return Err("a cluster has not said which Kubernetes it runs".to_owned());
                }
            };
            Ok((component.to_owned(), digest))
        })
        .collect()
}

fn values_in_release(content: &ReleaseContent) -> BTreeMap<String, Vec<ValuesOverride>> {
    content
        .components
        .iter()
        .filter(|component| component.rendered.is_some())
        .map(|component| {
            let values = values_overrides(&content.overrides, &component.name);
            (component.name.clone(), values)
        })
        .filter(|(_, values)| !values.is_empty())
        .collect()
}
