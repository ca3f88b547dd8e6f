//! What an agent leaves alone, and what stays when it lets go.

mod deletion;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::overrides::Target;

pub use deletion::{DeletionPolicies, deletion_of};

/// Annotation of a live object: with the value `true` the object is never deleted, whatever a release
/// or the deletion of its application says.
pub const PROTECT: &str = "bellwether.dev/protect";

/// Kinds that hold data, or that take other objects with them, each with its API group.
pub const PRECIOUS: [(&str, &str); 4] = [
    ("", "Namespace"),
    ("", "PersistentVolume"),
    ("", "PersistentVolumeClaim"),
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
];

/// Tells whether objects of a kind hold data or take other objects with them.
#[must_use]
pub fn is_precious(api_version: &str, kind: &str) -> bool {
    PRECIOUS.contains(&(group_of(api_version), kind))
}

/// Returns the group of an `apiVersion`; empty = core.
#[must_use]
pub fn group_of(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// What becomes of the objects when the application is deleted, or leaves the cluster.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
pub enum DeletionPolicy {
    /// They are deleted.
    #[default]
    Delete,
    /// They stay as they are, and belong to nobody.
    Orphan,
    /// Namespaces, CustomResourceDefinitions, PersistentVolumes and PersistentVolumeClaims stay; the
    /// others are deleted.
    SelectivelyOrphan,
}

impl DeletionPolicy {
    /// Tells whether it is what holds where nothing is written.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Tells whether an object of this kind stays.
    #[must_use]
    pub fn keeps(self, api_version: &str, kind: &str) -> bool {
        match self {
            Self::Delete => false,
            Self::Orphan => true,
            Self::SelectivelyOrphan => is_precious(api_version, kind),
        }
    }
}

/// Fields of some objects that are left to whoever else writes them: once an object exists, they are
/// neither applied nor counted as drift. A new object begins with what is written. At least one of
/// `jsonPointers` and `managers` is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IgnoreRule {
    /// The objects.
    pub target: Target,
    /// The fields as JSON pointers, such as `/spec/replicas`, with everything below them. An item of a
    /// list is written by its index in the manifest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub json_pointers: Vec<String>,
    /// Field managers whose fields are left to them, as `metadata.managedFields` names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub managers: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_when_an_application_goes() {
        use DeletionPolicy::{Delete, Orphan, SelectivelyOrphan};
        for (api_version, kind, selectively) in [
            ("v1", "PersistentVolumeClaim", true),
            ("v1", "Namespace", true),
            ("apiextensions.k8s.io/v1", "CustomResourceDefinition", true),
            ("v1", "ConfigMap", false),
            ("apps/v1", "StatefulSet", false),
            // Another group's kind of that name holds nothing that we know of.
            ("example.com/v1", "Namespace", false),
        ] {
            assert!(!Delete.keeps(api_version, kind), "{kind}");
            assert!(Orphan.keeps(api_version, kind), "{kind}");
            assert_eq!(
                SelectivelyOrphan.keeps(api_version, kind),
                selectively,
                "{kind}"
            );
        }
    }

    #[test]
    fn what_was_written_before_there_were_these_fields_is_the_same_text() {
        let policy = crate::application::SyncPolicy::default();
        let text = serde_json::to_string(&policy).expect("it serialises");
        assert_eq!(
            text,
            r#"{"prune":true,"drift":"Correct","adopt":"IfIdentical"}"#
        );
    }
}
