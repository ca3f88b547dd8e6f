use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bellwether_api::{
    application::{ApplicationSpec, Component},
    duration::Dur,
};
use bellwether_hub_core::{
    recipe::{Recipe, RenderFacts, RenderedFrom, Rendering, source_digest, union},
    records::{Found, take},
    release::RolloutRecord,
    run::Unrendered,
};
use bellwether_sources::Source as FetchedFrom;
use bellwether_store::{
    Digest,
    pins::{self, SourcePin},
    renderings::{self, ReleaseRecipe, Rendered, RenderingKey},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use uuid::Uuid;

use super::{FactsDigests, Held, Preparation, Prepared, RenderedRelease, Sources};
use crate::{
    loops::{LoopError, application::Look, facts::Wanted},
    rendering::{Job, Renderings, is_content, source_of},
    telemetry::chain,
};

/// How long a source that could not be fetched is left alone.
const RETRY_AFTER: SignedDuration = SignedDuration::from_secs(60);

/// Clusters that are told apart by nothing that a rendering sees.
struct Class {
    facts: Arc<RenderFacts>,
    clusters: Vec<Uuid>,
    /// One of them, for people.
    name: String,
}

/// A component with what it is rendered from.
struct Source<'a> {
    component: &'a Component,
    from: RenderedFrom,
    artifact: Digest,
    recipe: Digest,
}

/// Puts objects in place of sources, as far as they are there.
pub async fn prepare(
    look: Look<'_>,
    wanted: &Wanted,
    clusters: &[(Uuid, String)],
) -> Result<Sources, LoopError> {
    let mut sources = Sources {
        preparation: Preparation::Inline,
        complaint: None,
        wake_at: None,
    };
    let spec = &wanted.spec;
    let rendered: Vec<&Component> = spec
        .components
        .iter()
        .filter(|component| component.rendered_source().is_some())
        .collect();
    if rendered.is_empty() {
        return Ok(sources);
    }
    let Some(renderings) = look.renderings else {
        let what = "this hub renders nothing".to_owned();
        sources.preparation = Preparation::Held(Held::Pending(what));
        return Ok(sources);
    };
    let pinned = match pinned(look, renderings, spec, &rendered, &mut sources).await? {
        Ok(pinned) => pinned,
        Err(held) => {
            sources.preparation = Preparation::Held(held);
            return Ok(sources);
        }
    };
    let first = &rendered[0].name;
    let classes = match classes(look, renderings, clusters, first).await {
        Ok(classes) => classes,
        Err(held) => {
            sources.preparation = Preparation::Held(held);
            return Ok(sources);
        }
    };
    sources.preparation = match collect(look, renderings, &pinned, &classes).await? {
        Ok(collected) => assemble(wanted, pinned, classes, collected, clusters),
        Err(held) => Preparation::Held(held),
    };
    Ok(sources)
}

/// What every source was fetched as; asks for what is missing or due.
async fn pinned<'a>(
    look: Look<'_>,
    renderings: &Renderings,
    spec: &ApplicationSpec,
    components: &[&'a Component],
    sources: &mut Sources,
) -> Result<Result<Vec<Source<'a>>, Held>, LoopError> {
    let pins = pins::list(look.store, look.application).await?;
    let mut found = Vec::new();
    for component in components {
        let (Some(source), Some(wanted)) = (source_digest(component), source_of(component)) else {
            continue;
        };
        let source = Digest(source);
        let pin = pins.get(&component.name).filter(|pin| pin.source == source);
        let own = component.sync.as_ref().and_then(|sync| sync.interval);
        let interval = own.unwrap_or(spec.sync.interval);
        let due = due(interval, &wanted, pin);
        if let Some(at) = due {
            if at <= look.now {
                renderings.ask(Job::Fetch {
                    application: look.application.clone(),
                    component: component.name.clone(),
                    source,
                    wanted,
                });
            } else {
                let earliest = sources.wake_at.map_or(at, |earlier| earlier.min(at));
                sources.wake_at = Some(earliest);
            }
        }
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
        let name = &look.application.name;
        if let Some(recipe) = Recipe::of(name, spec, component, &artifact) {
            found.push(Source {
                component,
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

/// When a source is to be looked at; absent = never again as it is written.
fn due(interval: Dur, wanted: &FetchedFrom, pin: Option<&SourcePin>) -> Option<Timestamp> {
    let Some(pin) = pin else {
        return Some(Timestamp::MIN);
    };
    let interval = interval.as_signed();
    let after = if !pin.failure.is_empty() && pin.fetched.is_none() {
        RETRY_AFTER
    } else if interval.is_zero() || is_content(wanted) {
        return None;
    } else {
        interval
    };
    pin.checked_at.saturating_add(after).ok()
}

/// Groups the clusters by what a rendering sees of them. Those that said nothing are left out.
/// `first` is the component that fails where nothing can be rendered.
async fn classes(
    look: Look<'_>,
    renderings: &Renderings,
    clusters: &[(Uuid, String)],
    first: &str,
) -> Result<BTreeMap<Digest, Class>, Held> {
    let version = renderings
        .renderer_version()
        .await
        .map_err(|error| Held::Failed {
            component: first.to_owned(),
            message: chain(&error),
        })?;
    let mut classes: BTreeMap<Digest, Class> = BTreeMap::new();
    let mut digests = FactsDigests::new(version);
    for (id, name) in clusters {
        let Some(served) = look.world.served(*id) else {
            continue;
        };
        let class = classes.entry(digests.of(served)).or_insert_with(|| Class {
            facts: Arc::new(served.facts(version)),
            clusters: Vec::new(),
            name: name.clone(),
        });
        class.clusters.push(*id);
    }
    if classes.is_empty() {
        let what = "no cluster of the destination has said yet which Kubernetes it runs";
        return Err(Held::Pending(what.to_owned()));
    }
    Ok(classes)
}

/// What the recipes gave, by class: objects by component, or why there are none.
type Collected = BTreeMap<Digest, Result<BTreeMap<String, Found>, Held>>;

async fn collect(
    look: Look<'_>,
    renderings: &Renderings,
    sources: &[Source<'_>],
    classes: &BTreeMap<Digest, Class>,
) -> Result<Result<Collected, Held>, LoopError> {
    let recipes: Vec<Digest> = sources.iter().map(|source| source.recipe).collect();
    let rendered = renderings::of_recipes(look.store, &recipes).await?;
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
            match rendered.get(&(source.recipe, *facts)) {
                Some(Rendered::Content(content)) => {
                    let rendering: Arc<Rendering> = renderings.read(*content).await?;
                    match take(&look.application.name, &rendering.objects) {
                        Ok(found) => {
                            components.insert(name.clone(), found);
                        }
                        Err(error) => failed = Some(because(error.to_string())),
                    }
                }
                Some(Rendered::Failed(message)) => failed = Some(because(message.clone())),
                None => {}
            }
        }
        collected.insert(*facts, failed.map_or(Ok(components), Err));
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
    classes: &BTreeMap<Digest, Class>,
    rendered: &BTreeMap<RenderingKey, Rendered>,
) -> Option<Held> {
    let mut held = None;
    for (facts, class) in classes {
        for source in sources {
            if rendered.contains_key(&(source.recipe, *facts)) {
                continue;
            }
            let failed = renderings.ask(Job::Render {
                recipe: Box::new(source.from.recipe.clone()),
                facts: Arc::clone(&class.facts),
            });
            let component = source.component.name.clone();
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
    wanted: &Wanted,
    sources: Vec<Source<'_>>,
    classes: BTreeMap<Digest, Class>,
    collected: Collected,
    clusters: &[(Uuid, String)],
) -> Preparation {
    let mut release = RenderedRelease::default();
    let heard: BTreeSet<Uuid> = classes
        .values()
        .flat_map(|class| class.clusters.iter().copied())
        .collect();
    for (id, _) in clusters.iter().filter(|(id, _)| !heard.contains(id)) {
        release.unrendered.insert(*id, Unrendered::Pending);
    }
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
    for component in &mut spec.components {
        if component.rendered_source().is_none() {
            continue;
        }
        let lists = good
            .iter()
            .filter_map(|found| found.get(&component.name))
            .map(|found| found.objects.as_slice());
        let objects: Vec<Value> = union(lists);
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
        });
        from.insert(component, source.from);
    }
    Preparation::Ready(Box::new(Prepared {
        spec,
        rollouts: wanted.rollouts.iter().cloned().chain(rollouts).collect(),
        from,
        release,
    }))
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
