use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
};

use bellwether_api::application::Component;
use bellwether_hub_core::{
    chart_hooks::runnable,
    components::is_placed,
    placement::ClusterFacts,
    recipe::{RenderFacts, Rendering},
    records::{Found, take},
};
use bellwether_store::{
    Digest,
    renderings::{self, FactsByComponent, Rendered, RenderingKey},
};
use jiff::Timestamp;
use uuid::Uuid;

use super::{
    Held, Preparation, Says, Sight, Sources,
    assemble::assemble,
    facts::Facts,
    pinned::{Source, pinned},
};
use crate::{
    loops::{LoopError, world::Served},
    rendering::{Job, Renderings},
    telemetry::chain,
};

/// Clusters that are told apart by nothing that a rendering sees.
pub(super) struct Class {
    /// By component.
    facts: BTreeMap<String, Arc<RenderFacts>>,
    pub(super) clusters: Vec<Uuid>,
    /// One of them, for people.
    name: String,
}

/// The clusters by what a rendering sees of them, and those that cannot have it, with why.
pub(super) struct Classes {
    pub(super) classes: BTreeMap<FactsByComponent, Class>,
    pub(super) misfits: BTreeMap<Uuid, String>,
    /// The components that no cluster gets now.
    unplaced: BTreeSet<String>,
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
    sources.preparation = match collect(sight, renderings, &pinned, &classes).await? {
        Ok(collected) => assemble(wanted, pinned, classes, collected, clusters),
        Err(held) => Preparation::Held(held),
    };
    Ok(sources)
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
        unplaced: unplaced(sight, clusters, sources),
    };
    for (id, name) in clusters {
        let Some(cluster) = sight.world.cluster(*id) else {
            continue;
        };
        let names = sources.iter().filter(|source| {
            let destination = source.component.destination.as_ref();
            let name = source.component.name.as_str();
            found.unplaced.contains(name) || is_placed(destination, cluster, sight.world.fleets())
        });
        let here: Vec<&str> = names.map(|source| source.component.name.as_str()).collect();
        let class = match sight.world.served(*id) {
            Some(served) => found.of(name, &here, &mut all_facts, (served, cluster)),
            // Who gets nothing that is rendered need not have said what it serves.
            None if here.is_empty() => Ok(found.plain(name)),
            None => continue,
        };
        match class {
            Ok(class) => class.clusters.push(*id),
            Err(why) => {
                found.misfits.insert(*id, why);
            }
        }
    }
    found.or_held(first)
}

/// The components that no cluster gets now. They are rendered all the same, for whoever comes, so that
/// a release is checked as a whole.
fn unplaced(
    sight: Sight<'_>,
    clusters: &[(Uuid, String)],
    sources: &[Source<'_>],
) -> BTreeSet<String> {
    let fleets = sight.world.fleets();
    let gets = |source: &&Source<'_>| {
        let destination = source.component.destination.as_ref();
        let mut known = clusters
            .iter()
            .filter_map(|(id, _)| sight.world.cluster(*id));
        !known.any(|cluster| is_placed(destination, cluster, fleets))
    };
    let unplaced = sources.iter().filter(gets);
    unplaced
        .map(|source| source.component.name.clone())
        .collect()
}

impl Classes {
    /// The class of a cluster that gets these components.
    fn of(
        &mut self,
        name: &str,
        components: &[&str],
        all_facts: &mut Facts<'_>,
        (served, cluster): (&Arc<Served>, &ClusterFacts),
    ) -> Result<&mut Class, String> {
        let mut digests = FactsByComponent::new();
        for component in components {
            let digest = all_facts.digest(served, cluster, component)?;
            digests.insert((*component).to_owned(), digest);
        }
        match self.classes.entry(digests) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(place) => {
                let facts = components.iter().map(|component| {
                    let facts = all_facts.of(served, cluster, component)?;
                    Ok(((*component).to_owned(), Arc::new(facts)))
                });
                Ok(place.insert(Class {
                    facts: facts.collect::<Result<_, String>>()?,
                    clusters: Vec::new(),
                    name: name.to_owned(),
                }))
            }
        }
    }

    /// The class of clusters that get nothing that is rendered.
    fn plain(&mut self, name: &str) -> &mut Class {
        let class = self.classes.entry(FactsByComponent::new());
        class.or_insert_with(|| Class {
            facts: BTreeMap::new(),
            clusters: Vec::new(),
            name: name.to_owned(),
        })
    }

    /// Why there is nobody to render for, if so.
    fn or_held(self, first: String) -> Result<Self, Held> {
        if self.classes.is_empty() {
            return Err(self.unheard(&first));
        }
        Ok(self)
    }

    /// Why a component cannot be rendered for anybody.
    fn unheard(&self, component: &str) -> Held {
        match self.misfits.values().next() {
            Some(why) => Held::Failed {
                component: component.to_owned(),
                message: why.clone(),
            },
            None => Held::Pending(
                "no cluster of the destination has said yet which Kubernetes it runs".to_owned(),
            ),
        }
    }
}

/// What the recipes gave, by class: objects by component, or why there are none.
pub(super) type Collected = BTreeMap<FactsByComponent, Result<BTreeMap<String, Found>, Held>>;

async fn collect(
    sight: Sight<'_>,
    renderings: &Renderings,
    sources: &[Source<'_>],
    known: &Classes,
) -> Result<Result<Collected, Held>, LoopError> {
    let classes = &known.classes;
    let recipes: Vec<Digest> = sources.iter().map(|source| source.recipe).collect();
    let rendered = renderings::of_recipes(sight.store, &recipes).await?;
    if let Some(held) = missing(renderings, sources, classes, &rendered) {
        return Ok(Err(held));
    }
    let mut collected = Collected::new();
    let mut spared = BTreeMap::new();
    for (facts, class) in classes {
        let mut components = BTreeMap::new();
        let mut failed = None;
        for source in sources {
            let name = &source.component.name;
            let because = |message: String| Held::Failed {
                component: name.clone(),
                message: format!("for {}: {message}", class.name),
            };
            let Some(own) = facts.get(name) else {
                continue;
            };
            let outcome = match rendered.get(&(source.recipe, *own)) {
                Some(Rendered::Content(content)) => {
                    let rendering: Arc<Rendering> = renderings.read(*content).await?;
                    found_in(&sight.application.name, source, &rendering).map_err(because)
                }
                Some(Rendered::Failed(message)) => Err(because(message.clone())),
                None => continue,
            };
            match outcome {
                Ok(found) => {
                    components.insert(name.clone(), found);
                }
                // These clusters do not get it.
                Err(held) if known.unplaced.contains(name) => {
                    spared.insert(name.clone(), held);
                }
                Err(held) => failed = Some(held),
            }
        }
        collected.insert(facts.clone(), failed.map_or(Ok(components), Err));
    }
    Ok(match nobody_has(sources, (known, &spared), &collected) {
        Some(held) => Err(held),
        None => Ok(collected),
    })
}

/// What a rendering holds of a component, with the hooks that are run.
fn found_in(
    application: &str,
    source: &Source<'_>,
    rendering: &Rendering,
) -> Result<Found, String> {
    let mut found = take(application, &source.component.name, &rendering.objects)
        .map_err(|error| error.to_string())?;
    if source.from.recipe.hooks {
        let run = runnable(&rendering.hooks).map_err(|error| error.to_string())?;
        found.hooks = run.into_iter().map(|hook| hook.object).collect();
    }
    Ok(found)
}

/// One cluster that cannot have it is no reason for the others; all that get a component are.
/// `spared` says why there is nothing of components that no cluster gets now.
fn nobody_has(
    sources: &[Source<'_>],
    (known, spared): (&Classes, &BTreeMap<String, Held>),
    collected: &Collected,
) -> Option<Held> {
    sources.iter().find_map(|source| {
        let name = &source.component.name;
        let mut failure = None;
        for (_, found) in collected
            .iter()
            .filter(|(facts, _)| facts.contains_key(name))
        {
            match found {
                Ok(found) if found.contains_key(name) => return None,
                Ok(_) => failure = failure.or_else(|| spared.get(name).cloned()),
                Err(held) => failure = failure.or_else(|| Some(held.clone())),
            }
        }
        Some(failure.unwrap_or_else(|| known.unheard(name)))
    })
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
            let Some(own) = facts.get(name) else {
                continue;
            };
            if rendered.contains_key(&(source.recipe, *own)) {
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
