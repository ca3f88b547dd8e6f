//! Why a request failed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a request failed (RFC 9457).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// A URI of the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status' name.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// One sentence for people.
    pub detail: String,
    /// A CamelCase word for programs, such as `Invalid` or `Conflict`.
    pub code: String,
    /// The request's id, as in the hub's log.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub instance: String,
    /// Whether the same request may succeed later.
    #[serde(default)]
    pub retryable: bool,
    /// What exactly is wrong; empty = `detail` says it all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ProblemItem>,
}

/// One thing that is wrong with a document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProblemItem {
    /// The field, such as `spec.waves[1].selector`; empty = the whole document.
    pub path: String,
    /// The same as a JSON pointer into the document, such as `/spec/waves/1/selector`.
    pub pointer: String,
    /// The file, where a request has several; empty = the request's body.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub file: String,
    /// The line in the file, or in the request's body, from 1; 0 = unknown.
    #[serde(default)]
    pub line: u32,
    /// The column, from 1; 0 = unknown.
    #[serde(default)]
    pub column: u32,
    /// One sentence for people.
    pub detail: String,
    /// What was probably meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
    /// A CamelCase word for programs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub code: String,
}
