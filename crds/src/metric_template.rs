//! MetricTemplate: a query that many Rollouts use.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A query that many Rollouts use, with where it is read.
///
/// A Rollout names it under `analysis.metrics[].template`. The hub writes what it says into every
/// release that is made while it says so.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "bellwether.dev",
    version = "v1alpha1",
    kind = "MetricTemplate",
    plural = "metrictemplates",
    shortname = "bwmt",
    namespaced,
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MetricTemplateSpec {
    /// What answers; Prometheus unless set.
    #[serde(rename = "type", default)]
    pub kind: MetricSourceKind,
    /// Base URL of the source, as agents reach it; absent = the cluster's, then the fleet's
    /// (Prometheus only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// A Secret in the workload's namespace of the member cluster; absent = none. It is sent to
    /// `address` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKeyRef>,
    /// The query, in the language of `type`. `{{ namespace }}`, `{{ target }}`, `{{ service }}`,
    /// `{{ ingress }}`, `{{ route }}`, `{{ interval }}` and `{{ variables.NAME }}` are filled in,
    /// each escaped for that language.
    pub query: String,
}

/// What answers a metric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MetricSourceKind {
    /// A Prometheus, or what speaks its HTTP API; the query is PromQL that gives one series.
    #[default]
    Prometheus,
    /// The agent itself: at most 10 bounded requests a second to ready canary pods.
    Probe,
    /// The Datadog metrics API; the query is one of its own, such as `avg:system.cpu.user{*}`.
    Datadog,
    /// Amazon CloudWatch; the query is a JSON list of MetricDataQueries, one of which returns data.
    CloudWatch,
    /// Any server that answers JSON; the query is a path with a JSON pointer as its fragment, such
    /// as `/stats?service={{ service }}#/errors/percent`.
    Http,
}

/// Names a Secret of a member cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretKeyRef {
    /// The Secret's name.
    pub name: String,
    /// The key that holds a bearer token; absent = the keys that the source knows: `token`, or
    /// `username` and `password`; `api-key` and `application-key` for Datadog; `access-key-id`,
    /// `secret-access-key` and `session-token` for CloudWatch; and `ca.crt` for any of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}
