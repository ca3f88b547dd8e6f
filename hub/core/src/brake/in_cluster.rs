//! What one cluster would lose with a release, of what it holds: others may keep the same objects.

use std::collections::BTreeSet;

use bellwether_api::bundle::{Bundle, BundleComponent};
use serde_json::Value;

use super::{Loss, prunes};
use crate::release::{Release, ReleaseContent};

/// Tells whether clusters may get different objects of a release.
#[must_use]
pub fn is_uneven(content: &ReleaseContent) -> bool {
    let mut components = content.components.iter();
    let mut overrides = content.overrides.iter();
    content.is_rendered()
        || components.any(|component| component.destination.is_some())
        || overrides.any(|one| !one.remove.is_empty())
}

/// What releases have in some cluster.
#[derive(Clone, Debug, Default)]
pub struct Known<'a> {
    /// Their digests: what a cluster holds of one of them it may have alone, rendered for it after the release was
    /// made.
    releases: BTreeSet<&'a str>,
    /// Their objects, by group, kind and name.
    objects: BTreeSet<(&'a str, &'a str, &'a str)>,
}

impl<'a> Known<'a> {
    /// What any of these releases has.
    #[must_use]
    pub fn of(releases: &'a [Release]) -> Self {
        let components = releases.iter().flat_map(|one| &one.content.components);
        let objects = components.flat_map(|component| &component.objects);
        Self {
            releases: releases.iter().map(|one| one.digest.as_str()).collect(),
            objects: objects.map(named).collect(),
        }
    }

    fn has(&self, held: &Bundle, object: &Value) -> bool {
        self.releases.contains(held.release.as_str()) || self.objects.contains(&named(object))
    }
}

fn named(object: &Value) -> (&str, &str, &str) {
    let (group, kind, _, name) = key(object);
    (group, kind, name)
}

/// As [`lost_objects`], of a bundle as it is stored; `held` is absent where it is not there. What nobody can read is
/// taken for [`Loss::UNKNOWN`]: absence deletes nothing.
#[must_use]
pub fn loss_in_cluster(
    held: Option<&[u8]>,
    before: &Known<'_>,
    next: &ReleaseContent,
    gets: &[BundleComponent],
) -> Loss {
    match held.map(serde_json::from_slice::<Bundle>) {
        Some(Ok(held)) => lost_objects(&held, before, next, gets),
        Some(Err(_)) | None => Loss::UNKNOWN,
    }
}

/// Tells whether what a cluster would lose by `next`, of which it would get `gets`, is nothing but what it would not have
/// got by the release before either (`before_gets`), which somebody allowed. Of what nobody can read it is not known.
#[must_use]
pub fn loses_nothing_more(
    held: Option<&[u8]>,
    before_gets: &[BundleComponent],
    next: &ReleaseContent,
    gets: &[BundleComponent],
) -> bool {
    let Some(Ok(mut held)) = held.map(serde_json::from_slice::<Bundle>) else {
        return false;
    };
    let stayed: BTreeSet<Key<'_>> = before_gets
        .iter()
        .flat_map(|one| &one.objects)
        .map(key)
        .collect();
    for component in &mut held.components {
        component
            .objects
            .retain(|object| stayed.contains(&key(object)));
    }
    let known = Known {
        releases: BTreeSet::from([held.release.as_str()]),
        objects: BTreeSet::new(),
    };
    lost_objects(&held, &known, next, gets).leaving == 0
}

/// Counts the objects that a cluster would lose of what it holds, if it got these components of `next`. Of a
/// release that is none of those before (`before`) it is only counted what one of these has: a cluster that holds
/// an older one loses the rest by a release that met the brake then.
#[must_use]
pub fn lost_objects(
    held: &Bundle,
    before: &Known<'_>,
    next: &ReleaseContent,
    gets: &[BundleComponent],
) -> Loss {
    let kept: BTreeSet<Key<'_>> = gets.iter().flat_map(|one| &one.objects).map(key).collect();
    let goes = held
        .components
        .iter()
        .filter(|one| prunes(next, &one.name, one.sync.as_ref()))
        .flat_map(|one| &one.objects)
        .filter(|object| before.has(held, object));
    Loss {
        leaving: goes.filter(|object| !kept.contains(&key(object))).count(),
        holding: held.components.iter().map(|one| one.objects.len()).sum(),
    }
}

/// Group, kind, namespace and name.
type Key<'a> = (&'a str, &'a str, &'a str, &'a str);

fn key(object: &Value) -> Key<'_> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    let group = text("/apiVersion")
        .and_then(|version| version.split_once('/'))
        .map_or("", |(group, _)| group);
    (
        group,
        text("/kind").unwrap_or_default(),
        text("/metadata/namespace").unwrap_or_default(),
        text("/metadata/name").unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use bellwether_api::{
        application::ApplicationSpec, bundle::BundleMode, fleet::FleetDefaults,
        reference::NamespacedName,
    };
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::{
        addons::Fleets,
        bundle::{BundleInput, build, components},
        placement::ClusterFacts,
        release::content,
    };

    /// A component `web` of one object and a component `items` of eight, with what `more` says of `items` and
    /// of the application.
    fn application(items: &Value, more: &Value) -> ReleaseContent {
        let map = |name: String| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
        let objects: Vec<Value> = (0..8).map(|number| map(format!("item-{number}"))).collect();
        let mut component = json!({"name": "items", "manifests": objects});
        let mut spec = json!({"destination": {"fleet": "all"}});
        for (into, from) in [(&mut component, items), (&mut spec, more)] {
            for (field, value) in from.as_object().expect("fields") {
                into[field] = value.clone();
            }
        }
        spec["components"] =
            json!([{"name": "web", "manifests": [map("web".to_owned())]}, component]);
        let spec: ApplicationSpec = serde_json::from_value(spec).expect("a spec");
        content("shop", &spec, &[]).expect("content")
    }

    fn cluster(tier: &str) -> ClusterFacts {
        ClusterFacts {
            id: Uuid::nil(),
            name: "c1".to_owned(),
            labels: BTreeMap::from([("tier".to_owned(), tier.to_owned())]),
            metrics: None,
            traffic: Vec::new(),
            scheduling: Arc::default(),
        }
    }

    fn release(content: &ReleaseContent) -> Release {
        Release {
            id: Uuid::nil(),
            revision: 1,
            digest: content.digest(),
            content: content.clone(),
        }
    }

    fn held(content: &ReleaseContent, cluster: &ClusterFacts) -> Bundle {
        let release = release(content);
        let input = BundleInput {
            application: &NamespacedName {
                namespace: "default".to_owned(),
                name: "shop".to_owned(),
            },
            release: &release,
            run: Uuid::nil(),
            attempt: 1,
            mode: BundleMode::Plain,
            returns: false,
            cluster,
            fleet: &FleetDefaults::default(),
            fleets: &Fleets::new(),
        };
        build(input).expect("a bundle").bundle
    }

    /// What the cluster loses of `before`, which it got as a member of tier `was`.
    fn loss(before: &ReleaseContent, was: &str, next: &ReleaseContent, is: &str) -> Loss {
        let gets = components(next, &cluster(is), &Fleets::new()).expect("components");
        let held = held(before, &cluster(was));
        let before = [release(before)];
        lost_objects(&held, &Known::of(&before), next, &gets)
    }

    #[test]
    fn what_a_cluster_holds_and_would_not_get_is_lost() {
        let none = json!({});
        let all = application(&none, &none);
        let in_big = json!({"destination": {"selector": {"matchLabels": {"tier": "big"}}}});
        let removed = json!({"overrides": [{"name": "less", "remove": [{"kind": "ConfigMap"}],
            "components": ["items"], "selector": {"matchLabels": {"tier": "small"}}}]});
        let few = application(&json!({"manifests": []}), &none);
        let keeping = json!({"destination": in_big["destination"], "sync": {"prune": false}});
        for (why, next, was, is, leaving) in [
            ("nothing changes", &all, "big", "big", 0),
            (
                "its component stays",
                &application(&in_big, &none),
                "big",
                "big",
                0,
            ),
            (
                "its component goes",
                &application(&in_big, &none),
                "big",
                "small",
                8,
            ),
            (
                "it is kept",
                &application(&keeping, &none),
                "big",
                "small",
                0,
            ),
            (
                "an override removes it",
                &application(&none, &removed),
                "big",
                "small",
                8,
            ),
            (
                "an override removes it elsewhere",
                &application(&none, &removed),
                "big",
                "big",
                0,
            ),
            ("the release lacks it", &few, "big", "big", 8),
        ] {
            let loss = loss(&all, was, next, is);
            assert_eq!((loss.leaving, loss.holding), (leaving, 9), "{why}");
        }
        // It was left out before, and the cluster was not there to lose it.
        let gets = components(&few, &cluster("big"), &Fleets::new()).expect("components");
        let late = held(&all, &cluster("big"));
        let before = [release(&few)];
        assert_eq!(
            lost_objects(&late, &Known::of(&before), &few, &gets).leaving,
            0
        );
        // The same release, and a label that the cluster has now.
        let same = application(&none, &removed);
        assert_eq!(loss(&same, "big", &same, "small").leaving, 8);
        assert_eq!(
            loss(&same, "small", &same, "big"),
            Loss {
                leaving: 0,
                holding: 1
            }
        );
    }

    #[test]
    fn what_a_cluster_was_rendered_alone_after_its_release_was_made_is_lost_too() {
        let none = json!({});
        let (all, few) = (
            application(&none, &none),
            application(&json!({"manifests": []}), &none),
        );
        // The release was made of what others get, which is less.
        let made = release(&few);
        let mut alone = held(&all, &cluster("late"));
        alone.release.clone_from(&made.digest);
        let gets = components(&few, &cluster("late"), &Fleets::new()).expect("components");
        let loss = |held: &Bundle| {
            let before = [made.clone()];
            lost_objects(held, &Known::of(&before), &few, &gets).leaving
        };
        assert_eq!(loss(&alone), 8);
        "an older one".clone_into(&mut alone.release);
        assert_eq!(
            loss(&alone),
            0,
            "the release that left it out met the brake"
        );
    }

    #[test]
    fn what_nobody_can_read_may_be_all_that_an_agent_holds() {
        let all = application(&json!({}), &json!({}));
        let gets = components(&all, &cluster("big"), &Fleets::new()).expect("components");
        let before = [release(&all)];
        let loss = |held: Option<&[u8]>| loss_in_cluster(held, &Known::of(&before), &all, &gets);
        for unreadable in [None, Some(&b"{}"[..]), Some(b"\xff")] {
            assert_eq!(loss(unreadable), Loss::UNKNOWN, "{unreadable:?}");
        }
        assert!(Loss::UNKNOWN.is_braked(Some(9_999)) && !Loss::UNKNOWN.is_braked(Some(10_000)));
        let readable = serde_json::to_vec(&held(&all, &cluster("big"))).expect("it serialises");
        assert_eq!(loss(Some(&readable)).leaving, 0);
    }

    #[test]
    fn a_fix_may_take_what_the_release_that_failed_was_allowed_to_take() {
        let none = json!({});
        let all = application(&none, &none);
        let few = application(&json!({"manifests": []}), &none);
        let gets = |content: &ReleaseContent| {
            components(content, &cluster("big"), &Fleets::new()).expect("components")
        };
        let held = serde_json::to_vec(&held(&all, &cluster("big"))).expect("it serialises");
        let more = |before: &ReleaseContent, next: &ReleaseContent| {
            !loses_nothing_more(Some(&held), &gets(before), next, &gets(next))
        };
        assert!(!more(&few, &few), "the same again");
        assert!(!more(&few, &all), "less");
        assert!(more(&all, &few), "what the one before left alone");
        assert!(!loses_nothing_more(None, &gets(&few), &few, &gets(&few)));
    }

    #[test]
    fn clusters_differ_by_components_and_removals_alone() {
        let none = json!({});
        let patched = json!({"overrides": [{"name": "all", "labels": {"a": "b"}}]});
        let removed = json!({"overrides": [{"name": "less", "remove": [{"kind": "Secret"}]}]});
        let placed = json!({"destination": {"clusters": ["c1"]}});
        for (content, uneven) in [
            (application(&none, &none), false),
            (application(&none, &patched), false),
            (application(&none, &removed), true),
            (application(&placed, &none), true),
        ] {
            assert_eq!(is_uneven(&content), uneven);
        }
    }
}
