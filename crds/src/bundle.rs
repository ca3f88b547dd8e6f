//! What the hub sends to a cluster for one application: the content of a unit's blob.
//!
//! A bundle is immutable and content-addressed (SHA-256 over its canonical JSON). That a cluster's
//! desired state names a bundle *is* the grant: an agent never starts what it was not sent.

mod components;
mod limits;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use limits::{MAX_BUNDLE_OBJECTS, MAX_CONTENT_BYTES, MAX_PACKED_BYTES, TooLarge};

use crate::{
    alert_provider::Alert,
    application::{ComponentSync, SyncPolicy},
    chart_hook::ChartHook,
    duration::Dur,
    fleet::MetricsDefaults,
    health_rule::HealthRule,
    reference::NamespacedName,
    rollout::RolloutSpec,
    sync_policy::IgnoreRule,
};

/// Everything that one cluster needs of one release of one application.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bundle {
    /// The application.
    pub application: NamespacedName,
    /// Digest of the release (hex SHA-256).
    pub release: String,
    /// The release's number within its application, from 1.
    pub revision: u64,
    /// The run that brings the release to the fleet.
    pub run: Uuid,
    /// Which try of the run in this cluster, from 1; `retry` makes the next.
    pub attempt: u32,
    /// How the release replaces the one before.
    pub mode: BundleMode,
    /// Namespace for objects that name none.
    pub target_namespace: String,
    /// Whether the agent creates the target namespace.
    pub create_namespace: bool,
    /// The parts, in the order of the application.
    #[serde(with = "components")]
    pub components: Vec<BundleComponent>,
    /// The governed workloads; empty = the application has no Rollout.
    pub rollouts: Vec<BundleRollout>,
    /// How the objects are kept.
    pub sync: SyncPolicy,
    /// Where metrics are read in this cluster; absent = nowhere but by probe.
    pub metrics: Option<MetricsDefaults>,
    /// Who is told of what the agent says of the release; its rollouts say themselves whom they tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<Alert>,
    /// Whether the cluster gets back what it had before the run: that was let in then, and comes in the agent's own
    /// name now. An agent that does not know it asks for the rights of ServiceAccounts as for any release.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub returns: bool,
}

/// How a release replaces the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BundleMode {
    /// Governed workloads change by their Rollout. A workload that does not exist yet is installed.
    Rollout,
    /// Everything is applied at once: first install, late joiner, return to an earlier release.
    Plain,
}

/// The objects of one component.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BundleComponent {
    /// The component's name.
    pub name: String,
    /// Whole Kubernetes objects, namespaces filled in, in the order they were written.
    pub objects: Vec<serde_json::Value>,
    /// When objects of custom kinds are healthy; empty = by their conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub health: Vec<HealthRule>,
    /// Objects that are run at some moment instead of kept; they are none of `objects`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<ChartHook>,
    /// Components of this bundle that come first; empty = it waits for none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<String>,
    /// How its objects are kept, where that differs from the bundle's `sync`; absent = nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync: Option<ComponentSync>,
    /// The ServiceAccount in whose name its objects are applied; absent = in the agent's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<NamespacedName>,
}

impl Bundle {
    /// Returns how long a component of the bundle may take to be healthy once it is applied.
    #[must_use]
    pub fn timeout_of(&self, component: &BundleComponent) -> Dur {
        let own = component.sync.as_ref().and_then(|sync| sync.timeout);
        own.unwrap_or_else(|| self.sync.timeout())
    }

    /// Returns what of a component's objects is left to whoever else writes them.
    #[must_use]
    pub fn ignored_of<'a>(&'a self, component: &'a BundleComponent) -> &'a [IgnoreRule] {
        let own = component
            .sync
            .as_ref()
            .and_then(|sync| sync.ignore.as_ref());
        own.unwrap_or(&self.sync.ignore)
    }

    /// Returns the ServiceAccount in whose name the component of that name comes in; absent = in the agent's
    /// own.
    #[must_use]
    pub fn account_of(&self, component: &str) -> Option<&NamespacedName> {
        let mut components = self.components.iter();
        let component = components.find(|one| one.name == component)?;
        self.brought_in_by(component.service_account.as_ref())
    }

    /// Returns in whose name comes in what is of a ServiceAccount; absent = in the agent's own.
    #[must_use]
    pub fn brought_in_by<'a>(
        &self,
        account: Option<&'a NamespacedName>,
    ) -> Option<&'a NamespacedName> {
        account.filter(|_| !self.returns)
    }

    /// Tells whether objects of the component of that name are made anew where a field of them cannot be
    /// changed.
    #[must_use]
    pub fn forces(&self, component: &str) -> bool {
        let mut components = self.components.iter();
        let component = components.find(|one| one.name == component);
        let own = component.and_then(|one| one.sync.as_ref()?.force);
        own.unwrap_or(self.sync.force)
    }
}

/// One governed workload: its name and its plan, defaults filled in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BundleRollout {
    /// The Rollout's name; also the name of its RolloutTrack.
    pub name: String,
    /// The plan; `workload.namespace` and `traffic` are filled in.
    pub spec: RolloutSpec,
}

/// The kinds of units that a cluster's desired state consists of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UnitKey {
    /// `application/<namespace>/<name>`: a [`Bundle`].
    Application(NamespacedName),
    /// `command/<namespace>/<name>`: a [`crate::command::Command`] for the application's run.
    Command(NamespacedName),
    /// `rollout/<namespace>/<name>`: a [`crate::standing_grant::StandingGrant`].
    Rollout(NamespacedName),
}

impl std::fmt::Display for UnitKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Application(name) => write!(f, "application/{name}"),
            Self::Command(name) => write!(f, "command/{name}"),
            Self::Rollout(name) => write!(f, "rollout/{name}"),
        }
    }
}

/// A text that is no unit key.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("failed to read {text:?} as a unit key")]
pub struct ParseUnitKeyError {
    /// The text as it was given.
    pub text: String,
}

impl std::str::FromStr for UnitKey {
    type Err = ParseUnitKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = || ParseUnitKeyError {
            text: text.to_owned(),
        };
        let mut parts = text.splitn(3, '/');
        let (Some(kind), Some(namespace), Some(name)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(fail());
        };
        if namespace.is_empty() || name.is_empty() || name.contains('/') {
            return Err(fail());
        }
        let target = NamespacedName {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        match kind {
            "application" => Ok(Self::Application(target)),
            "command" => Ok(Self::Command(target)),
            "rollout" => Ok(Self::Rollout(target)),
            _ => Err(fail()),
        }
    }
}
