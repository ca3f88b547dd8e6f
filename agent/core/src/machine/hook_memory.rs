//! What is kept of a run's hooks between two decisions.

use std::collections::{BTreeMap, BTreeSet};

use bellwether_api::hooks::HookKind;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::hooks::HookOutcome;

/// How far a run's hooks are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HookMemory {
    /// The calls of each kind; a kind that was never called has none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rounds: BTreeMap<HookKind, Round>,
    /// What each hook answered last, by its name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub answers: BTreeMap<String, HookOutcome>,
    /// The step that a human let go on while its hooks were still to be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved: Option<Approved>,
    /// Who approved, by the hook that wants approvals.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub approvals: BTreeMap<String, Approvals>,
    /// Whether the hooks after the end were named: they are called at most once.
    #[serde(default)]
    pub told: bool,
}

impl HookMemory {
    /// Returns the calls of a kind.
    #[must_use]
    pub fn round(&self, kind: HookKind) -> Round {
        self.rounds.get(&kind).cloned().unwrap_or_default()
    }
}

/// The calls of all hooks of one kind, which are made together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Round {
    /// The number of the calls that are due or under way.
    pub call: u64,
    /// Not before then; absent = at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// What every hook of the kind passed for: the step that was to begin, 0 before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passed_for: Option<u32>,
}

/// The approvals of one gate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Approvals {
    /// What they are for: the step that is to begin, 0 before the first.
    pub occasion: u32,
    /// Who gave them, each once.
    pub by: BTreeSet<String>,
}

/// An approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Approved {
    /// The step, from 0.
    pub step: u32,
    /// Who approved, and why.
    pub by: String,
}
