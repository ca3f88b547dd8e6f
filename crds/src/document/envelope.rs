//! What every document has around its spec: kind and metadata.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::node::Source;
use crate::{
    alert_provider::AlertProviderSpec, application::ApplicationSpec, cluster::ClusterSpec,
    fleet::FleetSpec, metric_template::MetricTemplateSpec, repository::RepositorySpec,
    rollout::RolloutSpec,
};

/// The kinds that a user writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// A registered member cluster.
    Cluster,
    /// A set of clusters.
    Fleet,
    /// What runs where.
    Application,
    /// How one workload changes.
    Rollout,
    /// A query that many rollouts use.
    MetricTemplate,
    /// A Git repository of records.
    Repository,
    /// Where people are told of runs.
    AlertProvider,
}

impl Kind {
    /// Every kind, in the order in which they are applied.
    pub const ALL: [Self; 7] = [
        Self::Cluster,
        Self::Fleet,
        Self::MetricTemplate,
        Self::AlertProvider,
        Self::Application,
        Self::Rollout,
        Self::Repository,
    ];

    /// The kind as it stands in documents.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cluster => "Cluster",
            Self::Fleet => "Fleet",
            Self::Application => "Application",
            Self::Rollout => "Rollout",
            Self::MetricTemplate => "MetricTemplate",
            Self::Repository => "Repository",
            Self::AlertProvider => "AlertProvider",
        }
    }

    /// The kind as it stands in URLs.
    #[must_use]
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Cluster => "clusters",
            Self::Fleet => "fleets",
            Self::Application => "applications",
            Self::Rollout => "rollouts",
            Self::MetricTemplate => "metrictemplates",
            Self::Repository => "repositories",
            Self::AlertProvider => "alertproviders",
        }
    }

    /// Tells whether objects of the kind live in a namespace.
    #[must_use]
    pub const fn is_namespaced(self) -> bool {
        matches!(
            self,
            Self::Application | Self::Rollout | Self::MetricTemplate | Self::AlertProvider
        )
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What names and labels an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// The name, unique in its kind and namespace.
    pub name: String,
    /// The namespace; absent = the caller's default, and for kinds without namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Labels, by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations, by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The version that the writer saw; absent = whichever is current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
}

/// One object that a user wrote.
#[derive(Clone, Debug)]
pub struct Object<S> {
    /// What names and labels it.
    pub metadata: Metadata,
    /// What is wanted.
    pub spec: S,
    /// Where it was written.
    pub source: Source,
}

/// One document.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "an input has few documents, and each is read once"
)]
pub enum Document {
    /// A cluster's settings.
    Cluster(Object<ClusterSpec>),
    /// A fleet.
    Fleet(Object<FleetSpec>),
    /// An application.
    Application(Object<ApplicationSpec>),
    /// A rollout.
    Rollout(Object<RolloutSpec>),
    /// A metric template.
    MetricTemplate(Object<MetricTemplateSpec>),
    /// A repository of records.
    Repository(Object<RepositorySpec>),
    /// Where people are told of runs.
    AlertProvider(Object<AlertProviderSpec>),
}

impl Document {
    /// Returns the kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Cluster(_) => Kind::Cluster,
            Self::Fleet(_) => Kind::Fleet,
            Self::Application(_) => Kind::Application,
            Self::Rollout(_) => Kind::Rollout,
            Self::MetricTemplate(_) => Kind::MetricTemplate,
            Self::Repository(_) => Kind::Repository,
            Self::AlertProvider(_) => Kind::AlertProvider,
        }
    }

    /// Returns what names and labels the object.
    #[must_use]
    pub const fn metadata(&self) -> &Metadata {
        match self {
            Self::Cluster(object) => &object.metadata,
            Self::Fleet(object) => &object.metadata,
            Self::Application(object) => &object.metadata,
            Self::Rollout(object) => &object.metadata,
            Self::MetricTemplate(object) => &object.metadata,
            Self::Repository(object) => &object.metadata,
            Self::AlertProvider(object) => &object.metadata,
        }
    }

    /// Returns what names and labels the object, to fill in a namespace.
    pub const fn metadata_mut(&mut self) -> &mut Metadata {
        match self {
            Self::Cluster(object) => &mut object.metadata,
            Self::Fleet(object) => &mut object.metadata,
            Self::Application(object) => &mut object.metadata,
            Self::Rollout(object) => &mut object.metadata,
            Self::MetricTemplate(object) => &mut object.metadata,
            Self::Repository(object) => &mut object.metadata,
            Self::AlertProvider(object) => &mut object.metadata,
        }
    }

    /// Returns where the object was written.
    #[must_use]
    pub const fn source(&self) -> &Source {
        match self {
            Self::Cluster(object) => &object.source,
            Self::Fleet(object) => &object.source,
            Self::Application(object) => &object.source,
            Self::Rollout(object) => &object.source,
            Self::MetricTemplate(object) => &object.source,
            Self::Repository(object) => &object.source,
            Self::AlertProvider(object) => &object.source,
        }
    }

    /// Returns the object as a whole document again, defaults filled in.
    #[must_use]
    pub fn to_value(&self) -> serde_json::Value {
        let spec = match self {
            Self::Cluster(object) => serde_json::to_value(&object.spec),
            Self::Fleet(object) => serde_json::to_value(&object.spec),
            Self::Application(object) => serde_json::to_value(&object.spec),
            Self::Rollout(object) => serde_json::to_value(&object.spec),
            Self::MetricTemplate(object) => serde_json::to_value(&object.spec),
            Self::Repository(object) => serde_json::to_value(&object.spec),
            Self::AlertProvider(object) => serde_json::to_value(&object.spec),
        };
        serde_json::json!({
            "apiVersion": crate::API_VERSION,
            "kind": self.kind().name(),
            "metadata": self.metadata(),
            "spec": spec.expect("a spec has string keys only"),
        })
    }
}
