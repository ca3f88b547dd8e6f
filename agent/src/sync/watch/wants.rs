//! Which objects of a watch wake a unit.

use std::collections::BTreeSet;

use bellwether_agent_core::names::RUN_LABEL;
use kube::api::ObjectMeta;

/// The label of an EndpointSlice that names its Service.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// Which objects of a watch wake a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wants {
    /// Every one.
    Any,
    /// Those of these names.
    Names(BTreeSet<String>),
    /// Those that are chosen.
    Chosen(Chosen),
}

/// Some objects of a kind, by their names or by what they belong to: a ReplicaSet or pod to its
/// controller, an EndpointSlice to its Service, a Service to the run that made it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// Those of these names.
    pub names: BTreeSet<String>,
    /// Those that belong to these: names of controllers or Services, or labels of runs.
    pub of: BTreeSet<String>,
    /// Those that belong to nothing.
    pub unbound: bool,
}

impl Wants {
    /// What wakes for either reason.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Names(mut names), Self::Names(more)) => {
                names.extend(more);
                Self::Names(names)
            }
            (Self::Chosen(mut chosen), Self::Names(names))
            | (Self::Names(names), Self::Chosen(mut chosen)) => {
                chosen.names.extend(names);
                Self::Chosen(chosen)
            }
            (Self::Chosen(mut chosen), Self::Chosen(more)) => {
                chosen.names.extend(more.names);
                chosen.of.extend(more.of);
                chosen.unbound |= more.unbound;
                Self::Chosen(chosen)
            }
            _ => Self::Any,
        }
    }

    /// Tells whether an object wakes; `of` = what it belongs to.
    pub(super) fn sees(&self, name: &str, of: Option<&str>) -> bool {
        match self {
            Self::Any => true,
            Self::Names(names) => names.contains(name),
            Self::Chosen(chosen) => {
                chosen.names.contains(name)
                    || of.map_or(chosen.unbound, |of| chosen.of.contains(of))
            }
        }
    }

    /// The names that wake; absent = they do not count.
    pub(super) const fn names(&self) -> Option<&BTreeSet<String>> {
        match self {
            Self::Any => None,
            Self::Names(names) => Some(names),
            Self::Chosen(chosen) => Some(&chosen.names),
        }
    }

    pub(super) fn names_one(&self, name: &str) -> bool {
        self.names().is_some_and(|names| names.contains(name))
    }

    /// Tells whether objects are chosen, by what they belong to, that were not `before`.
    pub(super) fn chooses_beyond(&self, before: Option<&Self>) -> bool {
        let Self::Chosen(chosen) = self else {
            return false;
        };
        let nothing = Chosen::default();
        let before = match before {
            Some(Self::Chosen(before)) => before,
            _ => &nothing,
        };
        !chosen.of.is_subset(&before.of) || (chosen.unbound && !before.unbound)
    }
}

/// What an object belongs to; absent = to nothing that is known of its kind.
pub(super) fn owner(kind: &str, object: &ObjectMeta) -> Option<String> {
    let label = |name: &str| object.labels.as_ref()?.get(name).cloned();
    match kind {
        "Service" => label(RUN_LABEL),
        "EndpointSlice" => label(SERVICE_LABEL),
        _ => object
            .owner_references
            .iter()
            .flatten()
            .find(|owner| owner.controller == Some(true))
            .map(|owner| owner.name.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn chosen(names: &[&str], of: &[&str], unbound: bool) -> Wants {
        Wants::Chosen(Chosen {
            names: set(names),
            of: set(of),
            unbound,
        })
    }

    #[test]
    fn wants_add_up_and_any_is_any() {
        let names = |some: &[&str]| Wants::Names(set(some));
        assert_eq!(names(&["api"]).or(names(&["web"])), names(&["api", "web"]));
        assert_eq!(names(&["api"]).or(Wants::Any), Wants::Any);
        assert_eq!(Wants::Any.or(names(&["api"])), Wants::Any);
        assert_eq!(
            names(&["api"]).or(chosen(&["web"], &["run"], true)),
            chosen(&["api", "web"], &["run"], true)
        );
        assert_eq!(
            chosen(&["api"], &["one"], false).or(chosen(&[], &["two"], true)),
            chosen(&["api"], &["one", "two"], true)
        );
        assert_eq!(chosen(&[], &[], false).or(Wants::Any), Wants::Any);
    }

    #[test]
    fn what_belongs_to_others_wakes_nobody() {
        let wants = chosen(&["web"], &["run-1"], true);
        for (name, of, seen) in [
            ("web", None, true),
            ("web", Some("run-2"), true),
            ("other", None, true),
            ("other-canary", Some("run-2"), false),
            ("web-canary", Some("run-1"), true),
        ] {
            assert_eq!(wants.sees(name, of), seen, "{name} {of:?}");
        }
        assert!(!chosen(&["web"], &["run-1"], false).sees("other", None));
    }

    #[test]
    fn what_is_chosen_anew_is_noticed() {
        let one = chosen(&[], &["one"], false);
        assert!(one.chooses_beyond(None));
        assert!(one.chooses_beyond(Some(&Wants::Names(set(&["one"])))));
        assert!(!one.chooses_beyond(Some(&chosen(&[], &["one", "two"], false))));
        assert!(chosen(&[], &[], true).chooses_beyond(Some(&one)));
    }

    #[test]
    fn objects_belong_to_what_their_kind_says() {
        let object: ObjectMeta = serde_json::from_value(serde_json::json!({
            "name": "web-1", "labels": {RUN_LABEL: "run-1", SERVICE_LABEL: "web"},
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Other", "name": "other", "uid": "1"},
                {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "2",
                 "controller": true},
            ],
        }))
        .expect("metadata");
        let of = |kind| owner(kind, &object);
        assert_eq!(of("Service").as_deref(), Some("run-1"));
        assert_eq!(of("EndpointSlice").as_deref(), Some("web"));
        assert_eq!(of("ReplicaSet").as_deref(), Some("web"));
        assert_eq!(owner("ReplicaSet", &ObjectMeta::default()), None);
    }
}
