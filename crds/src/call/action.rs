//! What humans say to runs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    number::{IntOrPercent, Weight},
    strategy::Manual,
};

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
    /// The share of traffic that `setweight` sets; every other verb has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<Weight>,
    /// The canary's pods that `setweight` sets; absent = the share of traffic, rounded up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<IntOrPercent>,
    /// The revision that `rollback` goes back to; absent = the last one that succeeded, or what the
    /// wave or cluster had before. Every other verb has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_revision: Option<u64>,
    /// Why; may be empty.
    #[serde(default)]
    pub reason: String,
}

/// A field of an [`ActionRequest`] that is missing, or that its verb does not have.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{path}: {message}")]
pub struct ActionFieldError {
    /// The field.
    pub path: &'static str,
    /// What is wrong with it, and what is right.
    pub message: String,
}

impl ActionRequest {
    /// Returns what `setweight` sets; absent for every other verb.
    ///
    /// # Errors
    /// [`ActionFieldError`] names the weight that `setweight` lacks, or the field that another verb
    /// does not have.
    pub fn set(&self) -> Result<Option<Manual>, ActionFieldError> {
        let refuse = |path, message| Err(ActionFieldError { path, message });
        if self.verb == ActionVerb::SetWeight {
            return match self.weight {
                Some(weight) => Ok(Some(Manual {
                    weight,
                    replicas: self.replicas,
                })),
                None => refuse(
                    "weight",
                    "setweight needs the share of traffic, 0 to 100".to_owned(),
                ),
            };
        }
        let given = [
            ("weight", self.weight.is_some()),
            ("replicas", self.replicas.is_some()),
        ];
        match given.into_iter().find(|(_, is_given)| *is_given) {
            Some((path, _)) => refuse(
                path,
                format!("{} sets none; use setweight", self.verb.word()),
            ),
            None => Ok(None),
        }
    }
}

impl ActionRequest {
    /// Returns the revision that `rollback` names; absent = it names none, or the verb is another.
    ///
    /// # Errors
    /// [`ActionFieldError`] names the field that the verb does not have.
    pub fn goes_back_to(&self) -> Result<Option<u64>, ActionFieldError> {
        let refuse = |path, message| Err(ActionFieldError { path, message });
        match (self.verb, self.to_revision) {
            (ActionVerb::Rollback, Some(0)) => {
                refuse("toRevision", "revisions are numbered from 1".to_owned())
            }
            (ActionVerb::Rollback, to) => Ok(to),
            (verb, Some(_)) => refuse(
                "toRevision",
                format!("{} goes to no revision; use rollback", verb.word()),
            ),
            (_, None) => Ok(None),
        }
    }
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
    /// Lets it go on: what was suspended, or else what paused after a failure.
    Resume,
    /// Skips one step or one cluster.
    Skip,
    /// Leaves the run: everything goes back to what was before.
    Abort,
    /// Tries again what failed.
    Retry,
    /// Sets weight and pods of canaries that are driven by hand.
    SetWeight,
    /// Goes back to an earlier release, or takes one wave or cluster back to what it had.
    Rollback,
    /// Puts an ended run away, or a wave or cluster of it, with whatever it left behind.
    Finish,
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
            Self::SetWeight => "setweight",
            Self::Rollback => "rollback",
            Self::Finish => "finish",
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
    /// The share of traffic that was set; absent for every verb but `setweight`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<Weight>,
    /// The canary's pods that were set; absent = the share of traffic, rounded up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<IntOrPercent>,
    /// The revision to go back to; absent = the last one that succeeded, or the verb is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_revision: Option<u64>,
    /// Why; may be empty.
    #[serde(default)]
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn set(body: Value) -> Result<Option<Manual>, String> {
        let request: ActionRequest =
            serde_json::from_value(body).map_err(|error| error.to_string())?;
        request.set().map_err(|error| error.to_string())
    }

    #[test]
    fn a_weight_is_needed_to_set_one_and_refused_beside_any_other_verb() {
        let manual = |weight, replicas| {
            Ok(Some(Manual {
                weight: Weight::clamped(weight),
                replicas,
            }))
        };
        let cases = [
            (json!({"type": "setweight", "weight": 0}), manual(0, None)),
            (
                json!({"type": "setweight", "weight": 30, "replicas": "20%"}),
                manual(30, Some(IntOrPercent::Percent(20))),
            ),
            (
                json!({"type": "setweight", "weight": 30, "replicas": 2}),
                manual(30, Some(IntOrPercent::Int(2))),
            ),
            (json!({"type": "skip"}), Ok(None)),
            (
                json!({"type": "setweight", "replicas": 2}),
                Err("weight: setweight needs the share of traffic, 0 to 100".to_owned()),
            ),
            (
                json!({"type": "approve", "weight": 30}),
                Err("weight: approve sets none; use setweight".to_owned()),
            ),
            (
                json!({"type": "skip", "replicas": 2}),
                Err("replicas: skip sets none; use setweight".to_owned()),
            ),
            (
                json!({"type": "setweight", "weight": 101}),
                Err("101 is no weight; use 0 to 100".to_owned()),
            ),
        ];
        for (body, expected) in cases {
            assert_eq!(set(body.clone()), expected, "{body}");
        }
    }

    #[test]
    fn only_a_rollback_names_a_revision() {
        let read = |body: Value| {
            let request: ActionRequest = serde_json::from_value(body).expect("a request");
            request
                .goes_back_to()
                .map_err(|error| error.path.to_owned())
        };
        for (body, expected) in [
            (json!({"type": "rollback"}), Ok(None)),
            (json!({"type": "rollback", "toRevision": 3}), Ok(Some(3))),
            (json!({"type": "rollback", "cluster": "c1"}), Ok(None)),
            (json!({"type": "finish"}), Ok(None)),
            (
                json!({"type": "rollback", "toRevision": 0}),
                Err("toRevision".to_owned()),
            ),
            (
                json!({"type": "rollback", "toRevision": 3, "wave": "rest"}),
                Ok(Some(3)),
            ),
            (
                json!({"type": "rollback", "toRevision": 3, "cluster": "c1"}),
                Ok(Some(3)),
            ),
            (
                json!({"type": "abort", "toRevision": 3}),
                Err("toRevision".to_owned()),
            ),
            (json!({"type": "finish", "wave": "rest"}), Ok(None)),
            (json!({"type": "finish", "cluster": "c1"}), Ok(None)),
        ] {
            assert_eq!(read(body.clone()), expected, "{body}");
        }
    }
}
