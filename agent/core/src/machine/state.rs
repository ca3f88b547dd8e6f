//! What is kept of a run between two decisions.

use std::collections::BTreeSet;

use bellwether_api::{
    command::ExecutedCommand,
    matching::Match,
    number::Weight,
    status::CheckResult,
    strategy::{Manual, SessionAffinity},
    track::RolloutTrackSpec,
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    by_revision::Revisions,
    first_share::FirstShare,
    hook_memory::HookMemory,
    notify::Told,
    stage::{PromotionPart, RollbackPart, Stage, StepPart, StepVerdict},
};
use crate::{
    autoscaling::Scaled,
    provider::{Affinity, Split},
    settled::Settled,
};

/// The layout that this program writes. It reads older ones too: layout 1 knows weights alone, layout
/// 2 no run in place, layout 3 none that splits traffic, layout 4 no workload that keeps revisions, layout
/// 5 no canary that is announced, layout 6 none that replaces what was not available.
pub const STATE_VERSION: u32 = 7;
const OLDEST_READABLE: u32 = 1;
/// Answers to one-shot commands that are kept.
pub const MAX_EXECUTED: usize = 32;

/// One run, as it is persisted in the status of its RolloutTrack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunState {
    /// The layout; [`STATE_VERSION`].
    pub version: u32,
    /// The run.
    pub run: Uuid,
    /// The attempt.
    pub attempt: u32,
    /// When the run began here.
    pub started_at: Timestamp,
    /// Where it stands.
    pub stage: Stage,
    /// Since when it stands there.
    pub entered_at: Timestamp,
    /// How long it has gone without progress.
    pub clock: Clock,
    /// Since when the old version is seen without all of its pods, before anything was changed; absent = it
    /// has them, or nobody looks any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken_since: Option<Timestamp>,
    /// The furthest point reached; only a new one is progress.
    #[serde(default)]
    pub furthest: u64,
    /// The old version: its ReplicaSet's hash, to which Services are pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<Settled>,
    /// Services that would select canary pods, sorted.
    #[serde(default)]
    pub pinned: Vec<String>,
    /// Those of them that select both versions, because the old one has no pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub released: Vec<String>,
    /// The weight that the route is to carry.
    #[serde(default)]
    pub weight: Weight,
    /// Requests that the route is to give to the canary whatever the weight.
    #[serde(default, rename = "match", skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<Match>,
    /// The share of the other requests that the route is to send to the canary too.
    #[serde(default)]
    pub mirror: Weight,
    /// How users are kept on a version; absent = not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<SessionAffinity>,
    /// Canary pods that are wanted.
    #[serde(default)]
    pub canary_pods: u32,
    /// Canary pods that serve what the route carries or will: they stay until it carries something
    /// else.
    #[serde(default)]
    pub serving_pods: u32,
    /// The weight that was last seen in force.
    #[serde(default)]
    pub weight_in_force: Weight,
    /// Pods of the user's workload while both versions share a fixed total; absent = as the user
    /// wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable_pods: Option<u32>,
    /// What `stable_pods` is first written over; absent = it was written, or there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_share: Option<FirstShare>,
    /// The sizes of both versions while an autoscaler is at work; absent = none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaled: Option<Scaled>,
    /// Weight and pods that a human set; absent = those of the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_hand: Option<Manual>,
    /// How far a run in place is; absent = it is none, or nothing was changed yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_place: Option<InPlace>,
    /// The revisions of a workload that keeps them itself; absent = it does not, or nothing was changed
    /// yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revisions: Option<Revisions>,
    /// Since when the apex Service has the copy's pods too while a DaemonSet is about to be updated;
    /// absent = it has not, or nobody waits for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joined_at: Option<Timestamp>,
    /// Whether a route that gives the canary anything was ever written.
    #[serde(default)]
    pub routed: bool,
    /// Whether a route that names the canary and gives it nothing was ever written.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub announced: bool,
    /// Failed checks so far; never falls.
    #[serde(default)]
    pub failed_checks: u32,
    /// The number of the check that is due or was done last.
    #[serde(default)]
    pub check: u64,
    /// The last check of every metric.
    #[serde(default)]
    pub checks: Vec<CheckResult>,
    /// What was told of the step under way; absent = nothing, or nobody wants to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Told>,
    /// Why each step was left, in the order of steps.
    #[serde(default)]
    pub verdicts: Vec<StepVerdict>,
    /// How far the plan's hooks are.
    #[serde(default)]
    pub hooks: HookMemory,
    /// The hub's one-shot commands that were answered.
    #[serde(default)]
    pub hub: Answered,
    /// The local one-shot commands that were answered.
    #[serde(default)]
    pub local: Answered,
    /// The newest [`MAX_EXECUTED`] answers, oldest first.
    #[serde(default)]
    pub executed: Vec<ExecutedCommand>,
}

impl RunState {
    /// Starts the run that `grant` names.
    #[must_use]
    pub fn new(grant: &RolloutTrackSpec, now: Timestamp) -> Self {
        Self {
            version: STATE_VERSION,
            run: grant.run,
            attempt: grant.attempt,
            started_at: now,
            stage: Stage::Initializing,
            entered_at: now,
            clock: Clock {
                spent: SignedDuration::ZERO,
                running_since: Some(now),
            },
            broken_since: None,
            furthest: 0,
            stable: None,
            pinned: Vec::new(),
            released: Vec::new(),
            weight: Weight::ZERO,
            matches: Vec::new(),
            mirror: Weight::ZERO,
            affinity: None,
            canary_pods: 0,
            serving_pods: 0,
            weight_in_force: Weight::ZERO,
            stable_pods: None,
            first_share: None,
            scaled: None,
            by_hand: None,
            in_place: None,
            revisions: None,
            joined_at: None,
            routed: false,
            announced: false,
            failed_checks: 0,
            check: 0,
            checks: Vec::new(),
            told: None,
            verdicts: Vec::new(),
            hooks: HookMemory::default(),
            hub: Answered::default(),
            local: Answered::default(),
            executed: Vec::new(),
        }
    }

    /// Reads a state from the status of a RolloutTrack.
    ///
    /// # Errors
    /// Fails when the value has a layout that this program does not know.
    pub fn from_value(value: &serde_json::Value) -> Result<Self, ReadStateError> {
        let version = value.get("version").and_then(serde_json::Value::as_u64);
        let readable = u64::from(OLDEST_READABLE)..=u64::from(STATE_VERSION);
        if !version.is_some_and(|version| readable.contains(&version)) {
            return Err(ReadStateError::Version { found: version });
        }
        let state: Self = serde_json::from_value(value.clone()).map_err(ReadStateError::Layout)?;
        Ok(Self {
            version: STATE_VERSION,
            ..state
        })
    }

    /// Writes the state for the status of a RolloutTrack.
    #[must_use]
    pub fn to_value(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("a state has string keys and no NaN")
    }

    /// What the routes are to carry.
    #[must_use]
    pub fn split(&self) -> Split {
        let draws = self.weight > Weight::ZERO && self.weight < Weight::FULL;
        let affinity = self.affinity.as_ref().filter(|_| draws);
        Split {
            weight: self.weight,
            matches: self.matches.clone(),
            mirror: self.mirror,
            affinity: affinity.map(|affinity| Affinity {
                cookie_name: affinity.cookie_name.clone(),
                stable_cookie_name: affinity.stable_cookie_name.clone(),
                max_age_s: affinity.max_age.as_signed().as_secs().unsigned_abs(),
                token: token(self.run, self.attempt, self.weight),
            }),
            announced: self.announces(),
        }
    }

    /// Tells whether routes name the canary that they give nothing yet, or nothing any more: its
    /// Service exists as long.
    fn announces(&self) -> bool {
        let names = match &self.stage {
            Stage::Step { part, .. } => {
                matches!(part, StepPart::Announcing | StepPart::Warming { .. })
            }
            Stage::Promoting { part } => matches!(part, PromotionPart::Shifting { .. }),
            Stage::RollingBack { part, .. } => {
                let unloads = matches!(
                    part,
                    RollbackPart::Unloading | RollbackPart::Settling { .. }
                );
                unloads && self.canary_pods > 0
            }
            _ => false,
        };
        self.announced && names
    }

    /// The pin that a Service is to carry where Services are pinned to `hash`; `None` = none.
    #[must_use]
    pub(super) fn pin_of<'a>(&self, service: &str, hash: Option<&'a str>) -> Option<&'a str> {
        let stable = self.stable.as_ref().map(|stable| stable.hash.as_str());
        let released = hash == stable && self.released.iter().any(|one| one == service);
        hash.filter(|_| !released)
    }

    /// Tells whether a route other than the user's own was ever written.
    pub(super) const fn wrote_routes(&self) -> bool {
        self.routed || self.announced
    }

    /// Takes every request from the canary, mirrored ones too.
    pub(super) fn unroute(&mut self) {
        self.weight = Weight::ZERO;
        self.matches.clear();
        self.mirror = Weight::ZERO;
    }

    /// Tells whether the run is over.
    #[must_use]
    pub const fn is_terminal(&self) -> bool {
        matches!(self.stage, Stage::Succeeded | Stage::Failed { .. })
    }

    /// Tells which step is under way, from 0; `None` before the first.
    #[must_use]
    pub fn step(&self) -> Option<u32> {
        match &self.stage {
            Stage::Step { index, .. } => Some(*index),
            _ => self.verdicts.last().map(|verdict| verdict.step),
        }
    }
}

/// How far a run in place is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InPlace {
    /// The revision of the old version, in the kind's own words.
    pub old: String,
    /// Pods of both versions together.
    pub total: u32,
    /// Pods that may run the new version; never falls while there are as many pods.
    pub granted: u32,
    /// How both versions are told apart in Services; absent = the plan splits no traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apart: Option<Apart>,
}

/// How requests find one version of a workload that is updated in place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Apart {
    /// What the revision label says on pods of the old version.
    pub old: String,
    /// What it says on pods of the new version, by which the run's own Service selects; absent = no
    /// such pod has been needed and seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
    /// Which pods the user's Service selects.
    pub apex: Apex,
    /// The partition on the way back that keeps one pod of the new version for as long as requests
    /// may come to it.
    #[serde(default)]
    pub keeps_one: u32,
}

/// Which pods the user's Service selects during an update in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "selects", rename_all_fields = "camelCase")]
pub enum Apex {
    /// Every pod, as the user wrote it.
    All,
    /// Those of the old version alone.
    Old,
    /// Every pod again, which data planes have to learn.
    Opening {
        /// When they know; absent = the Service is not known to be so yet.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
    },
}

/// A state that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadStateError {
    /// Written by another version of the agent.
    #[error(
        "failed to read the run's state: layout {found:?} is none of {OLDEST_READABLE} to \
         {STATE_VERSION}"
    )]
    Version {
        /// The layout that was found; `None` when there is none.
        found: Option<u64>,
    },
    /// Fields are missing or of another type.
    #[error("failed to read the run's state")]
    Layout(#[source] serde_json::Error),
}

/// Names a weight of a run, so that users are drawn anew when it changes and only then.
fn token(run: Uuid, attempt: u32, weight: Weight) -> String {
    let run = run.simple().to_string();
    // The first half of an id is its time, which runs of one minute share.
    format!("{}-{attempt}-{weight}", &run[16..])
}

/// Time without progress. It stands still while a human or a planned time is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Clock {
    /// What was spent before `running_since`.
    pub spent: SignedDuration,
    /// Since when it runs; absent = it stands still.
    pub running_since: Option<Timestamp>,
}

impl Clock {
    /// Returns the time without progress at `now`; never negative.
    #[must_use]
    pub fn elapsed(&self, now: Timestamp) -> SignedDuration {
        let running = self.running_since.map_or(SignedDuration::ZERO, |since| {
            now.duration_since(since).max(SignedDuration::ZERO)
        });
        self.spent.saturating_add(running)
    }

    /// Starts anew at `now`, because there was progress.
    pub fn reset(&mut self, now: Timestamp) {
        *self = Self {
            spent: SignedDuration::ZERO,
            running_since: self.running_since.map(|_| now),
        };
    }

    /// Lets it run or stand still from `now` on.
    pub fn run(&mut self, runs: bool, now: Timestamp) {
        if runs != self.running_since.is_some() {
            *self = Self {
                spent: self.elapsed(now),
                running_since: runs.then_some(now),
            };
        }
    }
}

/// One-shot commands of one source that were answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answered {
    /// Every id up to this one.
    pub floor: u64,
    /// Ids above `floor`.
    pub ids: BTreeSet<u64>,
}

impl Answered {
    /// Tells whether the command was answered.
    #[must_use]
    pub fn contains(&self, id: u64) -> bool {
        id <= self.floor || self.ids.contains(&id)
    }

    /// Remembers an answer.
    pub fn insert(&mut self, id: u64) {
        self.ids.insert(id);
        while self.ids.len() > MAX_EXECUTED {
            if let Some(lowest) = self.ids.pop_first() {
                self.floor = self.floor.max(lowest);
            }
        }
    }
}
