//! Hooks: what is asked of, or told to, others in the course of a run.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{application::ApprovalGate, duration::Dur, metric_template::SecretKeyRef};

/// What is asked of, or told to, somebody at one point of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hook {
    /// When it is called and what its answer means; Rollout unless set.
    #[serde(rename = "type", default)]
    pub kind: HookKind,
    /// A name, unique in the Rollout.
    pub name: String,
    /// Where the hook is posted to, `http` or `https`. Exactly one of `url`, `approval`,
    /// `load` and `job`; a Rollout hook with none of them is a load with its defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Humans who open the gate by `rollout approve`, in each cluster, without any server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalGate>,
    /// Requests that the agent itself makes while a weight is judged, so that there is something to
    /// measure; Rollout hooks alone. Their answers decide nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
    /// A Job that the agent runs in the workload's namespace: it passes when the Job completes;
    /// PreRollout and Rollout hooks alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobTarget>,
    /// How long one call may take; 10s unless set.
    #[serde(default = "default_timeout")]
    pub timeout: Dur,
    /// Calls that follow a failed one at once; 0 unless set.
    #[serde(default)]
    pub retries: u32,
    /// Passed on as it stands.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Posts `metadata.data` verbatim instead of the envelope.
    #[serde(default)]
    pub raw_body: bool,
    /// After which ends a PostRollout hook is called; Always unless set.
    #[serde(default)]
    pub when: HookWhen,
    /// The key that signs the body; absent = it is not signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hmac_secret_ref: Option<SecretKeyRef>,
    /// The bearer token that is sent; absent = none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_secret_ref: Option<SecretKeyRef>,
    /// The authority that alone is trusted, by a call and by a load over `https`; absent = those of the
    /// system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretKeyRef>,
    /// Whether a failure of the hook raises no alert.
    #[serde(default)]
    pub mute_alert: bool,
}

impl Hook {
    /// Returns the load that the hook makes; `None` = it asks or tells somebody.
    #[must_use]
    pub fn load(&self) -> Option<Load> {
        let none = self.url.is_none() && self.approval.is_none() && self.job.is_none();
        let by_default = none && self.kind == HookKind::Rollout;
        self.load.clone().or_else(|| by_default.then(Load::default))
    }

    /// Tells whether its answer decides anything of the run.
    #[must_use]
    pub fn decides(&self) -> bool {
        self.kind.decides() && self.load().is_none()
    }
}

/// A Job that is run as a test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JobTarget {
    /// The template of its pods: `spec` as in a Pod, and `metadata.annotations`. `restartPolicy` is
    /// Never unless set; labels are refused, since a Service may select them.
    #[schemars(schema_with = "template_schema")]
    pub template: serde_json::Value,
}

fn template_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// Requests that the agent makes while a weight is judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Load {
    /// How long it lasts at each weight; absent = until the weight is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Dur>,
    /// Requests a second, over all connections; 10 unless set.
    #[serde(default = "default_rate")]
    pub rate: u32,
    /// Connections at once; 2 unless set.
    #[serde(default = "default_concurrency")]
    pub concurrency: u32,
    /// What is requested, `http` or `https`; absent = `/` of the canary's Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The method; GET unless set. Nothing is sent as a body.
    #[serde(default = "default_method")]
    pub method: String,
    /// Headers of every request. Over `https`, `Host` is also whom the server's certificate has to be for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The protocol; HTTP1 unless set.
    #[serde(default)]
    pub protocol: LoadProtocol,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            duration: None,
            rate: default_rate(),
            concurrency: default_concurrency(),
            url: None,
            method: default_method(),
            headers: BTreeMap::new(),
            protocol: LoadProtocol::default(),
        }
    }
}

fn default_rate() -> u32 {
    10
}

fn default_concurrency() -> u32 {
    2
}

fn default_method() -> String {
    "GET".to_owned()
}

/// How requests are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LoadProtocol {
    /// HTTP/1.1 with keep-alive; over `https` it alone is offered by ALPN.
    #[default]
    #[serde(rename = "HTTP1")]
    Http1,
    /// HTTP/2; over `https` it alone is offered by ALPN, and over `http` it is spoken with prior knowledge
    /// (h2c).
    #[serde(rename = "HTTP2")]
    Http2,
}

fn default_timeout() -> Dur {
    Dur::from_secs(10)
}

/// When a hook is called and what its answer means.
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
pub enum HookKind {
    /// Before the canary's pods are made, until it passes; no failure counts.
    ConfirmRollout,
    /// Once before the first weight; a failure is a failed check.
    PreRollout,
    /// At every check, before the metrics; a failure is a failed check.
    #[default]
    Rollout,
    /// Before every rise of the weight, until it passes; no failure counts.
    ConfirmTrafficIncrease,
    /// Before the promotion, until it passes; no failure counts.
    ConfirmPromotion,
    /// After the run ended; its answer is only noted.
    PostRollout,
    /// At every check: a pass takes the run back.
    Rollback,
    /// With every event of the run; its answer is only noted.
    Event,
}

impl HookKind {
    /// Tells whether it holds a gate that stays closed until it passes.
    #[must_use]
    pub const fn holds_a_gate(self) -> bool {
        matches!(
            self,
            Self::ConfirmRollout | Self::ConfirmTrafficIncrease | Self::ConfirmPromotion
        )
    }

    /// Tells whether its answer decides anything of the run.
    #[must_use]
    pub const fn decides(self) -> bool {
        !matches!(self, Self::PostRollout | Self::Event)
    }
}

/// After which ends a PostRollout hook is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HookWhen {
    /// After each.
    #[default]
    Always,
    /// After a success alone.
    Succeeded,
    /// After a failure alone.
    Failed,
}
