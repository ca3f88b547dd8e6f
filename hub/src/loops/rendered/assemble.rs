use std::collections::{BTreeMap, BTreeSet};

use bellwether_hub_core::{recipe::union, records::Found, release::RolloutRecord, run::Unrendered};
use bellwether_store::renderings::ReleaseRecipe;
use uuid::Uuid;

use super::{
    Held, Preparation, Prepared, RenderedRelease, Says,
    pinned::Source,
    prepare::{Classes, Collected},
};

/// Puts together what was rendered: a release of every object that some cluster gets.
pub fn assemble(
    wanted: Says<'_>,
    sources: Vec<Source<'_>>,
    known: Classes,
    collected: Collected,
    clusters: &[(Uuid, String)],
) -> Preparation {
    let mut release = RenderedRelease::default();
    let Classes {
        classes, misfits, ..
    } = known;
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
    let rollouts = rendered_rollouts(&good);
    let mut spec = wanted.spec.clone();
    let mut hooks = BTreeMap::new();
    for component in &mut spec.components {
        if component.rendered_source().is_none() {
            continue;
        }
        let lists = good
            .iter()
            .filter_map(|found| found.get(&component.name))
            .map(|found| found.objects.as_slice());
        component.manifests = Some(union(lists));
        let lists = good
            .iter()
            .filter_map(|found| found.get(&component.name))
            .map(|found| found.hooks.as_slice());
        hooks.insert(component.name.clone(), union(lists));
        (component.helm, component.git) = (None, None);
        (component.oci, component.kustomize) = (None, None);
        component.plugin = None;
    }
    let mut from = BTreeMap::new();
    for source in sources {
        let component = source.component.name.clone();
        release.recipes.push(ReleaseRecipe {
            component: component.clone(),
            recipe: source.recipe,
            artifact: source.artifact,
            destination: serde_json::to_value(&source.component.destination)
                .expect("types of the API always serialise"),
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

/// The Rollouts that components render, each once; the same everywhere, or by what their clusters are.
fn rendered_rollouts(renderings: &[&BTreeMap<String, Found>]) -> Vec<RolloutRecord> {
    let mut rollouts: Vec<RolloutRecord> = Vec::new();
    for found in renderings.iter().flat_map(|one| one.values()) {
        for rollout in &found.rollouts {
            if !rollouts.contains(rollout) {
                rollouts.push(rollout.clone());
            }
        }
    }
    rollouts
}
