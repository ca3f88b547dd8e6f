use std::{
    collections::{BTreeMap, HashMap, btree_map::Entry},
    sync::Arc,
};

use bellwether_hub_core::{
    chart_hooks::runnable,
    recipe::{Recipe, RenderFacts},
    records::take,
    release::{Release, ReleaseContent},
    run::{ClusterSeen, Unrendered},
};
use bellwether_store::{
    Digest, Store,
    renderings::{self, Rendered},
};
use uuid::Uuid;

use super::Sight;
use crate::{
    loops::{LoopError, loaded::with_content, world::Served},
    rendering::{Job, Renderings},
    telemetry::chain,
};

impl Served {
    /// What a rendering sees of such a cluster.
    pub fn facts(&self, renderer: &str) -> RenderFacts {
        RenderFacts {
            kubernetes_version: self.kubernetes_version.clone(),
            api_versions: self.api_versions.clone(),
            values: serde_json::Map::new(),
            renderer: renderer.to_owned(),
        }
    }
}

/// Digests of facts. Clusters that serve the same share one [`Served`], so that one digest is enough
/// for all of them.
pub struct FactsDigests<'a> {
    renderer: &'a str,
    known: HashMap<usize, Digest>,
}

impl<'a> FactsDigests<'a> {
    pub fn new(renderer: &'a str) -> Self {
        Self {
            renderer,
            known: HashMap::new(),
        }
    }

    pub fn of(&mut self, served: &Arc<Served>) -> Digest {
        let renderer = self.renderer;
        let place = Arc::as_ptr(served).addr();
        *self
            .known
            .entry(place)
            .or_insert_with(|| Digest(served.facts(renderer).digest()))
    }
}

/// What one cluster is sent of a release that is rendered.
#[derive(Clone, Debug)]
pub struct Sent {
    pub facts: Digest,
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
    let mut facts_digests = FactsDigests::new(version);
    for seen in clusters {
        let served = sight.world.served(seen.id);
        let facts = settled.get(&seen.id).copied();
        let Some(facts) = facts.or_else(|| served.map(|served| facts_digests.of(served))) else {
            found.insert(seen.id, Unrendered::Pending);
            continue;
        };
        for one in &recipes {
            match rendered.get(&(one.recipe, facts)) {
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
                    if let Some(served) = served {
                        let recipes = known.as_deref().unwrap_or_default();
                        ask(renderings, recipes, one.recipe, &served.facts(version));
                    }
                }
            }
        }
    }
    Ok(found)
}

fn ask(renderings: &Renderings, recipes: &[Recipe], wanted: Digest, facts: &RenderFacts) {
    let recipe = recipes
        .iter()
        .find(|recipe| Digest(recipe.digest()) == wanted);
    if let Some(recipe) = recipe {
        // Why it failed for the moment is logged; the cluster waits for it all the same.
        let _ = renderings.ask(Job::Render {
            recipe: Box::new(recipe.clone()),
            facts: Arc::new(facts.clone()),
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
    settled: &BTreeMap<Uuid, Digest>,
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
    before.extend(settled);
    let recipes: Vec<Recipe> = recipes_in(&release.content)
        .map(|(_, one)| one.clone())
        .collect();
    let digests: Vec<Digest> = recipes.iter().map(|one| Digest(one.digest())).collect();
    let rendered = renderings::of_recipes(sight.store, &digests).await?;
    let mut contents: BTreeMap<Digest, Arc<ReleaseContent>> = BTreeMap::new();
    let mut facts_digests = FactsDigests::new(version);
    for id in clusters {
        let served = sight.world.served(*id);
        let facts = before.get(id).copied();
        let facts = facts
            .or_else(|| served.map(|served| facts_digests.of(served)))
            .ok_or_else(|| waits("a cluster has not said which Kubernetes it runs".to_owned()))?;
        let content = match contents.entry(facts) {
            Entry::Occupied(known) => Arc::clone(known.get()),
            Entry::Vacant(place) => {
                let (mut objects, mut hooks) = (BTreeMap::new(), BTreeMap::new());
                for ((component, source), recipe) in recipes_in(&release.content).zip(&digests) {
                    let Some(Rendered::Content(content)) = rendered.get(&(*recipe, facts)) else {
                        if let Some(served) = served {
                            ask(renderings, &recipes, *recipe, &served.facts(version));
                        }
                        return Err(waits(format!("component {component:?} is being rendered")));
                    };
                    let rendering = renderings.read(*content).await?;
                    let taken = take(&sight.application.name, &rendering.objects)
                        .map_err(|error| waits(error.to_string()))?;
                    objects.insert(component.to_owned(), taken.objects);
                    if source.hooks {
                        let run =
                            runnable(&rendering.hooks).map_err(|error| waits(error.to_string()))?;
                        hooks.insert(component.to_owned(), run);
                    }
                }
                let content = release.content.for_cluster(&objects).with_hooks(hooks);
                let content = Arc::new(content);
                Arc::clone(place.insert(content))
            }
        };
        found.insert(*id, Sent { facts, content });
    }
    Ok(found)
}
