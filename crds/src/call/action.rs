//! What humans say to runs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A human's word on a run; stored, and never changed afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ActionRequest {
    /// What to do.
    #[serde(rename = "type")]
    pub verb: ActionVerb,
    /// Only this wave; absent = the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wave: Option<String>,
    /// Only this cluster; absent = every cluster that it can concern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The step that was seen, from 0; absent = whichever is current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    /// The revision that was seen; another one is a conflict. Absent = whichever is current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_revision: Option<u64>,
    /// Why; may be empty.
    #[serde(default)]
    pub reason: String,
}

/// What a human may say to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ActionVerb {
    /// Opens a waiting gate.
    Approve,
    /// Skips all remaining steps.
    Promote,
    /// Stops it where it is.
    Suspend,
    /// Lets it go on.
    Resume,
    /// Skips one step or one cluster.
    Skip,
    /// Leaves the run: everything goes back to what was before.
    Abort,
    /// Tries again what failed.
    Retry,
}

impl ActionVerb {
    /// Returns the word of the API.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Promote => "promote",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::Skip => "skip",
            Self::Abort => "abort",
            Self::Retry => "retry",
        }
    }
}

/// A human's word on a run as it was stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActionView {
    /// Its id.
    pub id: Uuid,
    /// The run that was meant.
    pub run: Uuid,
    /// The revision of that run.
    pub revision: u64,
    /// What was said.
    #[serde(flatten)]
    pub request: ActionFields,
    /// Who said it.
    pub by: String,
    /// When (RFC 3339).
    pub created_at: String,
    /// What became of it; absent = it is not answered yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<serde_json::Value>,
}

/// The fields of an [`ActionRequest`] as they were stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActionFields {
    /// What was said.
    #[serde(rename = "type")]
    pub verb: String,
    /// The wave; absent = the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wave: Option<String>,
    /// The cluster; absent = every cluster that it can concern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The step; absent = whichever was current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    /// Why; may be empty.
    #[serde(default)]
    pub reason: String,
}
