//! What policy engines found in clusters, counted by policy.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Policies of one cluster that are told; the rest is counted.
pub const MAX_POLICIES: usize = 200;

/// What the policy engines of one cluster found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Compliance {
    /// The policies, by name; at most 200, those that fail most before others.
    #[serde(default)]
    pub policies: Vec<PolicyCounts>,
    /// Policies that are left out.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: u32,
    /// Why not everything could be counted; empty = it was.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub problem: String,
}

/// What came of one policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyCounts {
    /// The policy: its name, or `Kind/name` of a constraint of Gatekeeper.
    pub policy: String,
    /// Who says so.
    pub source: PolicySource,
    /// How often each result was found.
    #[serde(flatten)]
    pub counts: ResultCounts,
}

/// Who counts.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum PolicySource {
    /// Results of `PolicyReport` and `ClusterPolicyReport` of `wgpolicyk8s.io`, as Kyverno writes them.
    PolicyReport,
    /// `status.totalViolations` of constraints of Gatekeeper.
    Gatekeeper,
}

/// How often each result was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResultCounts {
    /// It holds.
    #[serde(default)]
    pub pass: u64,
    /// It does not.
    #[serde(default)]
    pub fail: u64,
    /// It does not, and the policy only warns.
    #[serde(default)]
    pub warn: u64,
    /// It could not be judged.
    #[serde(default)]
    pub error: u64,
    /// It was not judged.
    #[serde(default)]
    pub skip: u64,
}

impl ResultCounts {
    /// Returns the counts of both.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            pass: self.pass.saturating_add(other.pass),
            fail: self.fail.saturating_add(other.fail),
            warn: self.warn.saturating_add(other.warn),
            error: self.error.saturating_add(other.error),
            skip: self.skip.saturating_add(other.skip),
        }
    }
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}
