//! AlertProvider: where people are told of runs.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::status::Severity;

/// The entry of a secret that holds an address where a reference names no other.
pub const ADDRESS_KEY: &str = "address";

/// Where people are told of runs: the hub posts a message to it, once for each event.
///
/// Steps of a Rollout name it under `notify`, a Rollout and an Application under `alerts`, each in its own
/// namespace.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "bellwether.dev",
    version = "v1alpha1",
    kind = "AlertProvider",
    plural = "alertproviders",
    shortname = "bwalert",
    namespaced,
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AlertProviderSpec {
    /// What the message looks like; Webhook unless set.
    #[serde(rename = "type", default)]
    pub kind: AlertProviderKind,
    /// The address that messages are posted to, `https://…` or `http://…`: whoever knows it may post
    /// too, so that it stands in a secret that the hub keeps.
    pub address_ref: AddressRef,
}

/// What a message looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AlertProviderKind {
    /// The event's fields as JSON.
    #[default]
    Webhook,
    /// An incoming webhook of Slack, or of what takes the same (Mattermost, Rocket.Chat).
    Slack,
    /// A workflow of Microsoft Teams that takes an Adaptive Card.
    MsTeams,
    /// A robot of DingTalk.
    DingTalk,
    /// A robot of Feishu or Lark.
    Feishu,
}

/// Names an entry of a secret that the hub keeps, in the namespace of the provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AddressRef {
    /// The secret's name, as `bellwether secret set` has it.
    pub name: String,
    /// The key of the address; `address` unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl AddressRef {
    /// Returns the key that is meant.
    #[must_use]
    pub fn key(&self) -> &str {
        self.key.as_deref().unwrap_or(ADDRESS_KEY)
    }
}

/// Names an AlertProvider of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AlertRef {
    /// The provider's name.
    pub name: String,
}

/// Who is told of events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Alert {
    /// The AlertProvider.
    pub provider: AlertRef,
    /// The least severity of an event that is told; Error unless set.
    #[serde(default = "default_severity")]
    pub severity: Severity,
}

/// Returns who is told of an event of this severity, by name.
#[must_use]
pub fn told(alerts: &[Alert], severity: Severity) -> Vec<String> {
    let told = alerts.iter().filter(|alert| alert.severity <= severity);
    told.map(|alert| alert.provider.name.clone()).collect()
}

fn default_severity() -> Severity {
    Severity::Error
}
