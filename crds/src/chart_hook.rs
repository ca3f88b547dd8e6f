//! Objects that a chart wants run at some moment instead of kept, and how far an agent is with them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::sync_record::HeldObject;

/// An object that is run at the moments that its chart names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChartHook {
    /// The whole object, namespace filled in.
    pub object: Value,
    /// When it is run; never empty.
    pub moments: Vec<HookMoment>,
    /// Lower ones run first.
    #[serde(default)]
    pub weight: i64,
    /// When its object is deleted; empty = before the next one is made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delete: Vec<HookDeletion>,
}

/// A moment at which hooks run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HookMoment {
    /// Before the objects of an application that has not run in the cluster yet.
    PreInstall,
    /// After they are healthy.
    PostInstall,
    /// Before the objects of a later release.
    PreUpgrade,
    /// After they are healthy.
    PostUpgrade,
    /// Before the objects of an earlier release.
    PreRollback,
    /// After they are healthy.
    PostRollback,
    /// Before the objects of an application are deleted.
    PreDelete,
    /// After they are gone.
    PostDelete,
}

impl HookMoment {
    /// Every moment.
    pub const ALL: [Self; 8] = [
        Self::PreInstall,
        Self::PostInstall,
        Self::PreUpgrade,
        Self::PostUpgrade,
        Self::PreRollback,
        Self::PostRollback,
        Self::PreDelete,
        Self::PostDelete,
    ];

    /// Returns the moment as Helm writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PreInstall => "pre-install",
            Self::PostInstall => "post-install",
            Self::PreUpgrade => "pre-upgrade",
            Self::PostUpgrade => "post-upgrade",
            Self::PreRollback => "pre-rollback",
            Self::PostRollback => "post-rollback",
            Self::PreDelete => "pre-delete",
            Self::PostDelete => "post-delete",
        }
    }
}

/// When a hook's object is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HookDeletion {
    /// Before the next one of its name is made.
    BeforeHookCreation,
    /// As soon as it has ended well.
    HookSucceeded,
    /// As soon as it has failed.
    HookFailed,
}

impl HookDeletion {
    /// Every word.
    pub const ALL: [Self; 3] = [
        Self::BeforeHookCreation,
        Self::HookSucceeded,
        Self::HookFailed,
    ];

    /// Returns the word as Helm writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BeforeHookCreation => "before-hook-creation",
            Self::HookSucceeded => "hook-succeeded",
            Self::HookFailed => "hook-failed",
        }
    }
}

/// What happens to an application while its hooks run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HookOccasion {
    /// It has not run in the cluster yet.
    Install,
    /// A later release comes in.
    Upgrade,
    /// The hub brings an earlier release back.
    Rollback,
    /// It is taken away.
    Delete,
}

/// On which side of the objects a hook runs.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum HookSide {
    /// Before anything of the release is applied, or deleted.
    Before,
    /// When the release is healthy, or gone.
    After,
}

/// What an agent remembers of the chart hooks of one unit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChartHookRecord {
    /// The hooks of the bundle that came last; absent = none had any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<ChartHookRun>,
    /// Objects that hooks which ended have left, oldest first; at most [`MAX_LEFT`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<LeftHookObject>,
}

/// Objects of ended hooks that are remembered, a unit.
pub const MAX_LEFT: usize = 100;

impl ChartHookRecord {
    /// Tells whether nothing is remembered.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.run.is_none() && self.left.is_empty()
    }

    /// Tells whether a hook of this bundle has failed.
    #[must_use]
    pub fn has_failed(&self, bundle: &str) -> bool {
        self.of(bundle)
            .is_some_and(|run| run.end == HookEnd::Failed)
    }

    /// Tells whether a hook of this bundle has failed before anything else of it was applied.
    #[must_use]
    pub fn stopped(&self, bundle: &str) -> bool {
        self.of(bundle)
            .is_some_and(|run| run.end == HookEnd::Failed && run.side == HookSide::Before)
    }

    /// The hooks of this bundle; absent = none of them has begun.
    #[must_use]
    pub fn of(&self, bundle: &str) -> Option<&ChartHookRun> {
        self.run.as_ref().filter(|run| run.bundle == bundle)
    }
}

/// How far the hooks of one bundle are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChartHookRun {
    /// Digest of the bundle.
    pub bundle: String,
    /// What happens to the application.
    pub occasion: HookOccasion,
    /// The side that is under way, or was last.
    pub side: HookSide,
    /// How many hooks of that side have ended well, in their order.
    #[serde(default)]
    pub done: u32,
    /// The hook that is under way; absent = the next one has not begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub under_way: Option<HookUnderWay>,
    /// What became of that side.
    #[serde(default)]
    pub end: HookEnd,
    /// Why one has failed; empty otherwise.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// What became of the hooks of one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HookEnd {
    /// Some have not ended.
    #[default]
    UnderWay,
    /// All have ended well.
    Passed,
    /// One has failed, and no other was begun.
    Failed,
}

/// A hook that has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HookUnderWay {
    /// Its object. Without a uid it is not known to have been made.
    pub object: HeldObject,
    /// The mark that the object bears: whose it is, and of which moment.
    pub mark: String,
    /// When it began, in milliseconds of the agent's steady time since the Unix epoch.
    pub began_at_ms: i64,
}

/// An object that a hook which ended has left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LeftHookObject {
    /// The object, with its uid.
    pub object: HeldObject,
    /// Whether its chart wants it deleted now.
    #[serde(default)]
    pub delete: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_that_are_stored() {
        for moment in HookMoment::ALL {
            let stored = serde_json::to_value(moment).expect("a text");
            assert_eq!(stored, moment.as_str());
        }
        for word in HookDeletion::ALL {
            let stored = serde_json::to_value(word).expect("a text");
            assert_eq!(stored, word.as_str());
        }
    }
}
