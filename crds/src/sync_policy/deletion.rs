//! What becomes of objects when their application goes: what their component says, else the application.

use std::{collections::BTreeMap, fmt};

use super::DeletionPolicy;
use crate::{
    application::{ApplicationSpec, ComponentSync},
    bundle::Bundle,
};

/// What becomes of an object of a component that says `own` (absent = nothing) in an application that says
/// `application`, when the application goes.
#[must_use]
pub fn deletion_of(own: Option<DeletionPolicy>, application: DeletionPolicy) -> DeletionPolicy {
    own.unwrap_or(application)
}

/// What an application says of its objects' end, and each of its components.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeletionPolicies {
    /// What the application says.
    pub application: DeletionPolicy,
    /// What each of its components says, by name; `None` = it goes by the application.
    pub components: BTreeMap<String, Option<DeletionPolicy>>,
}

impl DeletionPolicies {
    /// Reads what an application says.
    #[must_use]
    pub fn of_application(spec: &ApplicationSpec) -> Self {
        let components = spec.components.iter();
        let said = components.map(|one| (one.name.clone(), own(one.sync.as_ref())));
        Self {
            application: spec.sync.deletion,
            components: said.collect(),
        }
    }

    /// Reads what a bundle says. Components that go to other clusters are not in it.
    #[must_use]
    pub fn of_bundle(bundle: &Bundle) -> Self {
        let components = bundle.components.iter();
        let said = components.map(|one| (one.name.clone(), own(one.sync.as_ref())));
        Self {
            application: bundle.sync.deletion,
            components: said.collect(),
        }
    }

    /// What a record keeps of an object once this was heard: what its component says of its own. Of a
    /// component that is not named here, and of an object of which none is known, it stays `noted`.
    #[must_use]
    pub fn heard(
        &self,
        component: Option<&str>,
        noted: Option<DeletionPolicy>,
    ) -> Option<DeletionPolicy> {
        let own = component.and_then(|name| self.components.get(name));
        own.copied().unwrap_or(noted)
    }

    /// Tells whether anything stays.
    #[must_use]
    pub fn keep_any(&self) -> bool {
        let mut own = self.components.values().flatten();
        self.application != DeletionPolicy::Delete
            || own.any(|policy| *policy != DeletionPolicy::Delete)
    }

    /// Tells whether at least as much stays as `wanted` says. What a component that is wanted no more made
    /// may be another's by now, and stays as the one of those that keeps most says.
    #[must_use]
    pub fn keep_all_of(&self, wanted: &Self) -> bool {
        let new = wanted.components.keys();
        let new = new.filter(|name| self.of(name).is_none());
        let most_of_new = new.filter_map(|name| wanted.of(name)).map(keeps).max();
        let enough = |name: &String| {
            let known = self.of(name).map_or(0, keeps);
            let wanted = wanted.of(name).map(keeps).or(most_of_new);
            known >= wanted.unwrap_or_default()
        };
        keeps(self.application) >= keeps(wanted.application) && self.components.keys().all(enough)
    }

    /// What becomes of what a component made; `None` = there is no such component.
    fn of(&self, component: &str) -> Option<DeletionPolicy> {
        let own = self.components.get(component)?;
        Some(deletion_of(*own, self.application))
    }
}

impl fmt::Display for DeletionPolicies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = self.components.iter().filter_map(|(name, own)| {
            let policy = own.filter(|policy| *policy != DeletionPolicy::Delete)?;
            Some(format!("sync.deletion: {policy:?} of component {name:?}"))
        });
        let all = (self.application != DeletionPolicy::Delete)
            .then(|| format!("sync.deletion: {:?}", self.application));
        let said: Vec<String> = all.into_iter().chain(own).collect();
        f.write_str(&said.join(", "))
    }
}

fn own(sync: Option<&ComponentSync>) -> Option<DeletionPolicy> {
    sync?.deletion
}

/// How much stays, in order.
const fn keeps(policy: DeletionPolicy) -> u8 {
    match policy {
        DeletionPolicy::Delete => 0,
        DeletionPolicy::SelectivelyOrphan => 1,
        DeletionPolicy::Orphan => 2,
    }
}

#[cfg(test)]
mod tests {
    use DeletionPolicy::{Delete, Orphan, SelectivelyOrphan};

    use super::*;

    fn says(
        application: DeletionPolicy,
        components: &[(&str, Option<DeletionPolicy>)],
    ) -> DeletionPolicies {
        let components = components.iter();
        DeletionPolicies {
            application,
            components: components
                .map(|(name, own)| ((*name).to_owned(), *own))
                .collect(),
        }
    }

    #[test]
    fn a_record_keeps_the_word_of_an_objects_component() {
        let said = says(Delete, &[("db", Some(Orphan)), ("web", None)]);
        for (component, noted, kept) in [
            (Some("db"), None, Some(Orphan)),
            (Some("db"), Some(Delete), Some(Orphan)),
            (Some("web"), Some(Orphan), None),
            // It said so last, and is gone.
            (Some("gone"), Some(Orphan), Some(Orphan)),
            (None, Some(Orphan), Some(Orphan)),
        ] {
            assert_eq!(said.heard(component, noted), kept, "{component:?}");
        }
    }

    #[test]
    fn what_is_known_keeps_at_least_what_is_wanted() {
        let plain = says(Delete, &[("db", None)]);
        let db = says(Delete, &[("db", Some(Orphan))]);
        let all = says(Orphan, &[("db", None)]);
        let some = says(Delete, &[("db", Some(SelectivelyOrphan))]);
        let renamed = says(Delete, &[("data", Some(Orphan))]);
        for (known, wanted, enough) in [
            (&plain, &plain, true),
            (&plain, &db, false),
            (&db, &plain, true),
            (&some, &db, false),
            (&db, &some, true),
            (&all, &db, true),
            (&db, &all, false),
            (&plain, &renamed, false),
            (&db, &renamed, true),
        ] {
            assert_eq!(known.keep_all_of(wanted), enough, "{known} for {wanted}");
        }
        assert!(!plain.keep_any() && db.keep_any() && all.keep_any());
        assert_eq!(db.to_string(), "sync.deletion: Orphan of component \"db\"");
    }
}
