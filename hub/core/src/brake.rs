//! How much may be taken away at once without somebody's word.
//!
//! A typo in a selector, a label or a folder must not empty a cluster. Deleting an application by
//! name is such a word; the annotations of an Application are the other.

mod in_cluster;

use std::collections::BTreeSet;

use bellwether_api::{application::ComponentSync, bundle::MAX_BUNDLE_OBJECTS};
use serde_json::Value;

pub use in_cluster::{Known, is_uneven, loses_nothing_more, loss_in_cluster, lost_objects};

use crate::release::{ReleaseComponent, ReleaseContent};

/// What may go at once, whatever its share.
pub const FREE: usize = 5;

/// How much of something would go at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// How many would go.
    pub leaving: usize,
    /// How many there are before.
    pub holding: usize,
}

impl Loss {
    /// Of whom nobody can tell what they hold: as much as an agent may hold of one application.
    pub const UNKNOWN: Self = Self {
        leaving: MAX_BUNDLE_OBJECTS,
        holding: MAX_BUNDLE_OBJECTS,
    };

    /// Tells whether it takes a word: more than max(5, 20 %) would go, and `allowance`, where there
    /// is one, does not cover all of it.
    #[must_use]
    pub fn is_braked(self, allowance: Option<usize>) -> bool {
        let budget = FREE.max(self.holding / 5);
        self.leaving > budget && allowance.is_none_or(|allowed| self.leaving > allowed)
    }
}

/// Counts the objects that `next` lacks of what clusters may hold: everything in `before`.
#[must_use]
pub fn dropped_objects(before: &[&ReleaseContent], next: &ReleaseContent) -> Loss {
    let all = |_: &ReleaseComponent| true;
    let held: BTreeSet<ObjectKey<'_>> = before
        .iter()
        .flat_map(|content| keys(content, all))
        .collect();
    let goes: BTreeSet<ObjectKey<'_>> = before
        .iter()
        .flat_map(|content| keys(content, |one| prunes(next, &one.name, one.sync.as_ref())))
        .collect();
    let kept: BTreeSet<ObjectKey<'_>> = keys(next, all).collect();
    Loss {
        leaving: goes.difference(&kept).count(),
        holding: held.len(),
    }
}

/// Tells whether what a component of that name made goes once `next` lacks it: as the component says there,
/// else as it said last (`sync`), else as the application says.
fn prunes(next: &ReleaseContent, component: &str, sync: Option<&ComponentSync>) -> bool {
    let own = |sync: Option<&ComponentSync>| sync.and_then(|sync| sync.prune);
    let now = next.components.iter().find(|one| one.name == component);
    match now {
        Some(now) => own(now.sync.as_ref()).unwrap_or(next.sync.prune),
        None => own(sync) != Some(false) && next.sync.prune,
    }
}

/// Group, kind, namespace and name. The version of a group is none of an object's identity.
type ObjectKey<'a> = (&'a str, &'a str, &'a str, &'a str);

/// The objects of those components that `of` lets through.
fn keys(
    content: &ReleaseContent,
    of: impl Fn(&ReleaseComponent) -> bool,
) -> impl Iterator<Item = ObjectKey<'_>> {
    let components = content
        .components
        .iter()
        .filter(move |component| of(component));
    components.flat_map(move |component| {
        let home = component
            .target_namespace
            .as_deref()
            .unwrap_or(&content.target_namespace);
        // What an override removes anywhere counts as gone: it leaves the clusters that have it.
        let stays = move |object: &&Value| {
            !content.overrides.iter().any(|one| {
                one.concerns(&component.name)
                    && one.remove.iter().any(|target| target.is(object, home))
            })
        };
        component.objects.iter().filter(stays).map(move |object| {
            let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
            let group = text("/apiVersion")
                .and_then(|version| version.split_once('/'))
                .map_or("", |(group, _)| group);
            (
                group,
                text("/kind").unwrap_or_default(),
                text("/metadata/namespace")
                    .filter(|written| !written.is_empty())
                    .unwrap_or(home),
                text("/metadata/name").unwrap_or_default(),
            )
        })
    })
}

#[cfg(test)]
mod tests {
    use bellwether_api::application::{ComponentSync, SyncPolicy};
    use serde_json::json;

    use super::{Loss, dropped_objects};
    use crate::release::{ReleaseComponent, ReleaseContent};

    fn content(home: &str, names: std::ops::Range<usize>) -> ReleaseContent {
        let object = |number: usize| {
            json!({"apiVersion": "v1", "kind": "ConfigMap",
                   "metadata": {"name": format!("item-{number}")}})
        };
        ReleaseContent {
            target_namespace: home.to_owned(),
            create_namespace: true,
            service_account: None,
            components: vec![ReleaseComponent {
                name: "web".to_owned(),
                target_namespace: None,
                service_account: None,
                objects: names.map(object).collect(),
                rendered: None,
                health: Vec::new(),
                hooks: Vec::new(),
                destination: None,
                sync: None,
                depends_on: Vec::new(),
            }],
            rollouts: Vec::new(),
            sync: SyncPolicy::default(),
            overrides: Vec::new(),
            publish_version: None,
            division: None,
        }
    }

    #[test]
    fn more_than_five_and_a_fifth_takes_a_word() {
        let loss = |leaving, holding| Loss { leaving, holding };
        for (leaving, holding, allowance, braked) in [
            (5, 5, None, false),
            (6, 6, None, true),
            (6, 30, None, false),
            (7, 30, None, true),
            (7, 30, Some(6), true),
            (7, 30, Some(7), false),
            (0, 0, None, false),
        ] {
            assert_eq!(
                loss(leaving, holding).is_braked(allowance),
                braked,
                "{leaving} of {holding} with {allowance:?}"
            );
        }
    }

    #[test]
    fn what_a_component_keeps_is_no_loss() {
        let keeping = |mut content: ReleaseContent, prune: Option<bool>| {
            content.components[0].sync = Some(ComponentSync {
                prune,
                ..ComponentSync::default()
            });
            content
        };
        let loss = |before: &ReleaseContent, next: &ReleaseContent| {
            dropped_objects(&[before], next).leaving
        };
        let ten = content("shop", 0..10);
        assert_eq!(loss(&ten, &keeping(content("shop", 0..1), Some(false))), 0);
        assert_eq!(loss(&ten, &keeping(content("shop", 0..1), None)), 9);
        let mut off = content("shop", 0..1);
        off.sync.prune = false;
        assert_eq!(loss(&ten, &off), 0);
        assert_eq!(loss(&ten, &keeping(off, Some(true))), 9);
        // The component is gone: what it said last counts.
        let mut gone = content("shop", 0..1);
        gone.components[0].name = "other".to_owned();
        assert_eq!(loss(&ten, &gone), 9);
        assert_eq!(loss(&keeping(ten, Some(false)), &gone), 0);
    }

    #[test]
    fn objects_are_told_apart_by_group_kind_namespace_and_name() {
        let (ten, four) = (content("shop", 0..10), content("shop", 0..4));
        let loss = |leaving, holding| Loss { leaving, holding };
        assert_eq!(dropped_objects(&[&ten], &four), loss(6, 10));
        assert_eq!(dropped_objects(&[&four], &ten), loss(0, 4));
        // What an older release holds counts once.
        assert_eq!(dropped_objects(&[&four, &ten], &four), loss(6, 10));
        // Another namespace is another object.
        assert_eq!(
            dropped_objects(&[&four], &content("other", 0..4)),
            loss(4, 4)
        );
        // Another version of its group is the same object.
        let mut newer = content("shop", 0..4);
        let mut older = newer.clone();
        older.components[0].objects[0]["apiVersion"] = "example.com/v1beta1".into();
        newer.components[0].objects[0]["apiVersion"] = "example.com/v1".into();
        assert_eq!(dropped_objects(&[&older], &newer), loss(0, 4));
    }
}
