//! Hooks of a fleet: who is told that a member came or went.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{duration::Dur, secret::HubSecretKeyRef};

/// An address that the hub tells when a member of the fleet is registered or detached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FleetHook {
    /// Its name within the fleet.
    pub name: String,
    /// Where the hub posts to, as the hub reaches it.
    pub url: String,
    /// What it is told; empty = everything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<FleetEvent>,
    /// The secret of the hub that every call is signed with.
    pub hmac_secret_ref: FleetSecretRef,
    /// How long one call may take; 10s unless set.
    #[serde(default = "default_timeout")]
    pub timeout: Dur,
}

impl FleetHook {
    /// Tells whether the hook is told of `event`.
    #[must_use]
    pub fn hears(&self, event: FleetEvent) -> bool {
        self.events.is_empty() || self.events.contains(&event)
    }
}

/// What the hooks of a fleet are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FleetEvent {
    /// A member got an identity: for the first time, or again.
    ClusterRegistered,
    /// A member's identity was taken away, or the cluster was deleted.
    ClusterDetached,
}

/// Names an entry of a secret that the hub keeps. Fleets have no namespace, secrets do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FleetSecretRef {
    /// The secret's name, as `bellwether secret set` has it.
    pub name: String,
    /// The key of the entry.
    pub key: String,
    /// The secret's namespace; `default` unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

impl FleetSecretRef {
    /// Returns the entry without its namespace.
    #[must_use]
    pub fn entry(&self) -> HubSecretKeyRef {
        HubSecretKeyRef {
            name: self.name.clone(),
            key: Some(self.key.clone()),
        }
    }
}

fn default_timeout() -> Dur {
    Dur::from_secs(10)
}
