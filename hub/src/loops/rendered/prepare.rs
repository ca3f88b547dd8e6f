use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
};

use bellwether_api::application::{ApplicationSpec, Component};
use bellwether_hub_core::{
    chart_hooks::runnable,
    recipe::{
        Recipe, RecipeKind, RenderFacts, RenderedFrom, Rendering, ValuesOverride, source_digest,
        union, values_overrides,
    },
    records::{Found, take},
    release::RolloutRecord,
    run::Unrendered,
};
use bellwether_store::{
    Digest, pins,
    renderings::{self, FactsByComponent, ReleaseRecipe, Rendered, RenderingKey},
};
use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use super::{
    Held, Preparation, Prepared, RenderedRelease, Says, Sight, Sources,
    asking::{Asking, secrets_of},
    facts::Facts,
};
use crate::{
    loops::LoopError,
    rendering::{Job, Renderings, source_of},
    secrets,
    telemetry::chain,
};

/// Clusters that are told apart by nothing that a rendering sees.
struct Class {
    /// By component.
    facts: BTreeMap<String, Arc<RenderFacts>>,
    clusters: Vec<Uuid>,
    /// One of them, for people.
    name: String,
}

/// The clusters by what a rendering sees of them, and those that cannot have it, with why.
struct Classes {
    classes: BTreeMap<FactsByComponent, Class>,
    misfits: BTreeMap<Uuid, String>,
}

/// A component with what it is rendered from.
struct Source<'a> {
    component: &'a Component,
    /// What some clusters have of their own.
    values: Vec<ValuesOverride>,
    from: RenderedFrom,
    artifact: Digest,
    recipe: Digest,
    secret_values: Vec<Uuid>,
}

/// Puts objects in place of sources, as far as they are there. Without `now` no source is looked at.
pub async fn prepare(
    sight: Sight<'_>,
    now: Option<Timestamp>,
    wanted: Says<'_>,
    clusters: &[(Uuid, String)],
) -> Result<Sources, LoopError> {
    let mut sources = Sources {
        preparation: Preparation::Inline,
        complaint: None,
        wake_at: None,
    };
    let spec = wanted.spec;
    let rendered: Vec<&Component> = spec
        .components
        .iter()
        .filter(|component| component.rendered_source().is_some())
        .collect();
    if rendered.is_empty() {
        return Ok(sources);
    }
    let Some(renderings) = sight.renderings else {
        let what = "this hub renders nothing".to_owned();
        sources.preparation = Preparation::Held(Held::Pending(what));
        return Ok(sources);
    };
    let pinned = match pinned((sight, now), renderings, spec, &rendered, &mut sources).await? {
        Ok(pinned) => pinned,
        Err(held) => {
            sources.preparation = Preparation::Held(held);
            return Ok(sources);
        }
    };
    let classes = match classes(sight, renderings, clusters, &pinned).await {
        Ok(classes) => classes,
        Err(held) => {
            sources.preparation = Preparation::Held(held);
            return Ok(sources);
        }
    };
    sources.preparation = match collect(sight, renderings, &pinned, &classes.classes).await? {
        Ok(collected) => assemble(wanted, pinned, classes, collected, clusters),
        Err(held) => Preparation::Held(held),
    };
    Ok(sources)
}

/// What every source was fetched as; asks for what is missing or due.
async fn pinned<'a>(
    (sight, now): (Sight<'_>, Option<Timestamp>),
    renderings: &Renderings,
    spec: &ApplicationSpec,
    components: &[&'a Component],
    sources: &mut Sources,
) -> Result<Result<Vec<Source<'a>>, Held>, LoopError> {
    let pins = pins::list(sight.store, sight.application).await?;
    let secrets = secrets_of(sight, spec).await?;
    let namespace = &sight.application.namespace;
    let mut found = Vec::new();
    for component in components {
        let (Some(source), Some(wanted)) = (source_digest(component), source_of(component)) else {
            continue;
        };
        let source = Digest(source);
        let pin = pins.get(&component.name).filter(|pin| pin.source == source);
        let asking = Asking {
            component,
            source,
            pin,
            secrets: &secrets,
        };
        let again_at = now.and_then(|now| asking.ask(sight, now, renderings, spec, wanted));
        sources.wake_at = sources.wake_at.into_iter().chain(again_at).min();
        let failed = |message: &str| Held::Failed {
            component: component.name.clone(),
            message: message.to_owned(),
        };
        let Some(pin) = pin else {
            let what = format!(
                "the source of component {:?} is being fetched",
                component.name
            );
            return Ok(Err(Held::Pending(what)));
        };
        let Some(fetched) = &pin.fetched else {
            return Ok(Err(failed(&pin.failure)));
        };
        if !pin.failure.is_empty() {
            sources.complaint = Some(failed(&pin.failure));
        }
        let artifact = format!("sha256:{}", fetched.artifact);
        let name = &sight.application.name;
        if let Some(mut recipe) = Recipe::of(name, spec, component, &artifact) {
            recipe.values_from = match secrets::pin(namespace, component, &secrets) {
                Ok(values) => values,
                Err(error) => return Ok(Err(failed(&error.said()))),
            };
            let values = match recipe.kind {
                RecipeKind::Helm => values_overrides(&spec.overrides, &component.name),
                RecipeKind::Kustomize | RecipeKind::Manifests => Vec::new(),
            };
            found.push(Source {
                secret_values: recipe.values_from.iter().map(|one| one.version).collect(),
                component,
                values,
                artifact: fetched.artifact,
                recipe: Digest(recipe.digest()),
                from: RenderedFrom {
                    revision: fetched.revision.clone(),
                    recipe,
                },
            });
        }
    }
    Ok(Ok(found))
}

/// Groups the clusters by what a rendering sees of them. Those that said nothing are left out.
async fn classes(
    sight: Sight<'_>,
    renderings: &Renderings,
    clusters: &[(Uuid, String)],
    sources: &[Source<'_>],
) -> Result<Classes, Held> {
    let first = sources.first().map(|source| source.component.name.clone());
    let first = first.unwrap_or_default();
    let version = renderings.renderer_version().await;
    let version = version.map_err(|error| Held::Failed {
        component: first.clone(),
        message: chain(&error),
    })?;
    let values = sources.iter().filter(|source| !source.values.is_empty());
    let values = values.map(|source| (source.component.name.clone(), source.values.clone()));
    let mut all_facts = Facts::new(version, values.collect());
    let mut found = Classes {
        classes: BTreeMap::new(),
        misfits: BTreeMap::new(),
    };
    for (id, name) in clusters {
        let Some((served, cluster)) = sight.world.served(*id).zip(sight.world.cluster(*id)) else {
            continue;
        };
        let components = || sources.iter().map(|source| &source.component.name);
        let digests: Result<FactsByComponent, String> = components()
            .map(|component| {
                let digest = all_facts.digest(served, cluster, component);
                digest.map(|digest| (component.clone(), digest))
            })
            .collect();
        let class = digests.and_then(|digests| match found.classes.entry(digests) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(place) => {
                let facts = components().map(|component| {
                    let facts = all_facts.of(served, cluster, component)?;
                    Ok((component.clone(), Arc::new(facts)))
                });
                Ok(place.insert(Class {
                    facts: facts.collect::<Result<_, String>>()?,
                    clusters: Vec::new(),
                    name: name.clone(),
                }))
            }
        });
        match class {
            Ok(class) => class.clusters.push(*id),
            Err(why) => {
                found.misfits.insert(*id, why);
            }
        }
    }
    found.or_held(first)
}

impl Classes {
    /// Why there is nobody to render for, if so.
    fn or_held(self, first: String) -> Result<Self, Held> {
        match (self.classes.is_empty(), self.misfits.values().next()) {
            (false, _) => Ok(self),
            (true, Some(why)) => Err(Held::Failed {
                component: first,
                message: why.clone(),
            }),
            (true, None) => {
                let what = "no cluster of the destination has said yet which Kubernetes it runs";
                Err(Held::Pending(what.to_owned()))
            }
        }
    }
}

/// What the recipes gave, by class: objects by component, or why there are none.
type Collected = BTreeMap<FactsByComponent, Result<BTreeMap<String, Found>, Held>>;

async fn collect(
    sight: Sight<'_>,
    renderings: &Renderings,
    sources: &[Source<'_>],
    classes: &BTreeMap<FactsByComponent, Class>,
) -> Result<Result<Collected, Held>, LoopError> {
    let recipes: Vec<Digest> = sources.iter().map(|source| source.recipe).collect();
    let rendered = renderings::of_recipes(sight.store, &recipes).await?;
    if let Some(held) = missing(renderings, sources, classes, &rendered) {
        return Ok(Err(held));
    }
    let mut collected = Collected::new();
    for (facts, class) in classes {
        let mut components = BTreeMap::new();
        let mut failed = None;
        for source in sources {
            let name = &source.component.name;
            let because = |message: String| Held::Failed {
                component: name.clone(),
                message: format!("for {}: {message}", class.name),
            };
            match rendered.get(&(source.recipe, facts[name])) {
                Some(Rendered::Content(content)) => {
                    let rendering: Arc<Rendering> = renderings.read(*content).await?;
                    match taken(sight, source, &rendering) {
                        Ok(found) => {
                            components.insert(name.clone(), found);
                        }
                        Err(message) => failed = Some(because(message)),
                    }
                }
                Some(Rendered::Failed(message)) => failed = Some(because(message.clone())),
                None => {}
            }
        }
        collected.insert(facts.clone(), failed.map_or(Ok(components), Err));
    }
    // One cluster that cannot have it is no reason for the others; all of them are.
    if let Some(Err(held)) = collected
        .values()
        .find(|_| collected.values().all(Result::is_err))
    {
        return Ok(Err(held.clone()));
    }
    Ok(Ok(collected))
}

/// Asks for every rendering that is not there; absent = all are.
fn missing(
    renderings: &Renderings,
    sources: &[Source<'_>],
    classes: &BTreeMap<FactsByComponent, Class>,
    rendered: &BTreeMap<RenderingKey, Rendered>,
) -> Option<Held> {
    let mut held = None;
    for (facts, class) in classes {
        for source in sources {
            let name = &source.component.name;
            if rendered.contains_key(&(source.recipe, facts[name])) {
                continue;
            }
            let failed = renderings.ask(Job::Render {
                recipe: Box::new(source.from.recipe.clone()),
                facts: Arc::clone(&class.facts[name]),
            });
            let component = name.clone();
            let found = match failed {
                Some(message) => Held::Failed { component, message },
                None => Held::Pending(format!(
                    "component {component:?} is being rendered for {} clusters as {}",
                    class.clusters.len(),
                    class.name
                )),
            };
            held.get_or_insert(found);
        }
    }
    held
}

fn assemble(
    wanted: Says<'_>,
    sources: Vec<Source<'_>>,
    known: Classes,
    collected: Collected,
    clusters: &[(Uuid, String)],
) -> Preparation {
    let mut release = RenderedRelease::default();
    let Classes { classes, misfits } = known;
    let heard: BTreeSet<Uuid> = classes
        .values()
        .flat_map(|class| class.clusters.iter().copied())
        .chain(misfits.keys().copied())
        .collect();
    for (id, _) in clusters.iter().filter(|(id, _)| !heard.contains(id)) {
        release.unrendered.insert(*id, Unrendered::Pending);
    }
    let misfits = misfits.into_iter();
    release
        .unrendered
        .extend(misfits.map(|(id, why)| (id, Unrendered::Failed(why))));
    let mut good: Vec<&BTreeMap<String, Found>> = Vec::new();
    for (facts, found) in &collected {
        match found {
            Ok(found) => good.push(found),
            Err(Held::Pending(why)) | Err(Held::Failed { message: why, .. }) => {
                for id in classes.get(facts).iter().flat_map(|class| &class.clusters) {
                    release
                        .unrendered
                        .insert(*id, Unrendered::Failed(why.clone()));
                }
            }
        }
    }
    let rollouts = match same_rollouts(&good) {
        Ok(rollouts) => rollouts,
        Err(held) => return Preparation::Held(held),
    };
    let mut spec = wanted.spec.clone();
    let mut hooks = BTreeMap::new();
    for component in &mut spec.components {
        if component.rendered_source().is_none() {
            continue;
        }
        let found = || good.iter().filter_map(|found| found.get(&component.name));
        let objects: Vec<Value> = union(found().map(|found| found.objects.as_slice()));
        let run = union(found().map(|found| found.hooks.as_slice()));
        hooks.insert(component.name.clone(), run);
        component.manifests = Some(objects);
        (component.helm, component.git) = (None, None);
        (component.oci, component.kustomize) = (None, None);
    }
    let mut from = BTreeMap::new();
    for source in sources {
        let component = source.component.name.clone();
        release.recipes.push(ReleaseRecipe {
            component: component.clone(),
            recipe: source.recipe,
            artifact: source.artifact,
            cluster_values: serde_json::to_value(&source.values)
                .expect("types of the API always serialise"),
            secret_values: source.secret_values,
        });
        from.insert(component, source.from);
    }
    Preparation::Ready(Box::new(Prepared {
        spec,
        rollouts: wanted.rollouts.iter().cloned().chain(rollouts).collect(),
        from,
        hooks,
        release,
    }))
}

/// What a rendering holds, with the hooks that are run.
fn taken(sight: Sight<'_>, source: &Source<'_>, rendering: &Rendering) -> Result<Found, String> {
    let mut found =
        take(&sight.application.name, &rendering.objects).map_err(|error| error.to_string())?;
    if source.from.recipe.hooks {
        let run = runnable(&rendering.hooks).map_err(|error| error.to_string())?;
        found.hooks = run.into_iter().map(|hook| hook.object).collect();
    }
    Ok(found)
}

/// The Rollouts that components render, which must be the same for every cluster: one release has
/// one plan.
fn same_rollouts(renderings: &[&BTreeMap<String, Found>]) -> Result<Vec<RolloutRecord>, Held> {
    let of = |found: &BTreeMap<String, Found>| -> Vec<RolloutRecord> {
        found
            .values()
            .flat_map(|found| found.rollouts.iter().cloned())
            .collect()
    };
    let Some(first) = renderings.first() else {
        return Ok(Vec::new());
    };
    for other in &renderings[1..] {
        if of(other) != of(first) {
            return Err(Held::Failed {
                component: first.keys().next().cloned().unwrap_or_default(),
                message: "it renders other Rollouts for some clusters than for others, which is \
                          not supported by this version of Bellwether"
                    .to_owned(),
            });
        }
    }
    Ok(of(first))
}
