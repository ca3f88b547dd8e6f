//! How a new version is brought in: strategies, their steps, and how many pods each version gets.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    alert_provider::AlertRef,
    duration::Dur,
    matching::Match,
    number::{IntOrPercent, Weight},
};

/// Exactly one strategy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Strategy {
    /// Names the strategy once more; must agree with the one that is set.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<StrategyKind>,
    /// A growing share of traffic moves to a copy that runs the new version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// Matching requests go to a copy that runs the new version, all others stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ab_test: Option<AbTest>,
    /// A copy of full size takes all traffic at once; the old version stands by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blue_green: Option<BlueGreen>,
    /// The workload is updated in place, some pods at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<Batch>,
}

/// The strategies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StrategyKind {
    /// A growing share of traffic.
    #[default]
    Canary,
    /// Requests by what they carry.
    AbTest,
    /// All traffic at once.
    BlueGreen,
    /// In place.
    Batch,
}

impl Strategy {
    /// Tells which strategy is set; `None` when none is, or more than one.
    #[must_use]
    pub fn set(&self) -> Option<StrategyKind> {
        let set = [
            (StrategyKind::Canary, self.canary.is_some()),
            (StrategyKind::AbTest, self.ab_test.is_some()),
            (StrategyKind::BlueGreen, self.blue_green.is_some()),
            (StrategyKind::Batch, self.batch.is_some()),
        ];
        let mut set = set.iter().filter(|(_, is_set)| *is_set);
        match (set.next(), set.next()) {
            (Some((kind, _)), None) => Some(*kind),
            _ => None,
        }
    }
}

/// The weights of a canary: exactly one of `stepWeight`, `weights`, `steps`, `manual`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Canary {
    /// The increment of the linear form, at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_weight: Option<Weight>,
    /// Where the linear form ends, the last step clamped to it; 100 unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_weight: Option<Weight>,
    /// The weights one by one, strictly rising.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weights: Vec<Weight>,
    /// Explicit steps; they wait for a human unless `advance` says otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// Weight and pods as a human sets them: these to begin with, then those of each SetWeight
    /// command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manual: Option<Manual>,
    /// Increment by which traffic returns to the promoted workload; absent = in one go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_weight_promotion: Option<Weight>,
    /// Overrides how steps advance: explicit steps are Manual, the linear forms Auto.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advance: Option<Advance>,
    /// Requests that go to the canary whatever the weight, from the first step on; any item
    /// suffices. All others go by weight.
    #[serde(rename = "match", default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<Match>,
    /// Begins with one check of mirrored requests, as many as the first weight will take; their
    /// answers reach nobody.
    #[serde(default)]
    pub mirror: bool,
}

/// One explicit step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Step {
    /// A name for people; absent = its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The share of traffic.
    pub weight: Weight,
    /// The canary's pods; absent = the share of traffic, rounded up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<IntOrPercent>,
    /// Requests that go to the canary whatever the weight while this step lasts; absent = those of
    /// the canary.
    #[serde(rename = "match", default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<Match>,
    /// The share of the other requests that is also sent to the canary, whose answers reach nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<Weight>,
    /// How the step is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advance: Option<Advance>,
    /// How long `advance: After` stays on the step after its checks pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Dur>,
    /// AlertProviders that are told when the step begins and when it waits for a human; empty = none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notify: Vec<AlertRef>,
}

/// Weight and pods that a human sets, as absolute values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manual {
    /// The share of traffic to begin with; 0 unless set.
    #[serde(default)]
    pub weight: Weight,
    /// The canary's pods; absent = the share of traffic, rounded up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<IntOrPercent>,
}

impl fmt::Display for Manual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.replicas {
            Some(replicas) => write!(f, "{} %, {replicas} pods", self.weight),
            None => write!(f, "{} %", self.weight),
        }
    }
}

/// How a step is left once its checks pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Advance {
    /// At once.
    Auto,
    /// When a human approves.
    Manual,
    /// After a set time.
    After,
}

/// Matching requests go to the new version for a number of checks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AbTest {
    /// Checks that must pass, at least 1.
    pub iterations: u32,
    /// Requests that go to the new version, all of them; any item suffices.
    #[serde(rename = "match")]
    pub matches: Vec<Match>,
}

/// All traffic goes to the new version at once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BlueGreen {
    /// Checks that must pass, at least 1.
    pub iterations: u32,
    /// Which traffic the new version gets while it is checked.
    #[serde(default)]
    pub analysis_traffic: AnalysisTraffic,
    /// How long the old version is kept untouched after the checks passed and all traffic is on the
    /// new one; 0s unless set.
    #[serde(default)]
    pub standby: Dur,
    /// Pods of the new version; absent = as many as the old one has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<IntOrPercent>,
}

/// Which traffic the new version gets while it is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AnalysisTraffic {
    /// All of it, from the first check on.
    #[default]
    All,
    /// None of the users'; it is switched over once the checks passed.
    None,
    /// A copy of every request, whose answers reach nobody; it is switched over once the checks
    /// passed.
    Mirror,
}

/// Pods are updated in place, some at a time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Batch {
    /// The steps.
    pub steps: Vec<BatchStep>,
}

impl Batch {
    /// Tells whether any step says where requests go, so that a route is needed.
    #[must_use]
    pub fn splits(&self) -> bool {
        self.steps.iter().any(BatchStep::splits)
    }
}

/// One step of an update in place.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BatchStep {
    /// A name for people; absent = its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Pods of the new version after this step, those of earlier steps among them; a share is rounded
    /// up. Absent = the share that `weight` is of the traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<IntOrPercent>,
    /// The share of traffic. Absent = the share of pods, or none beside a `match`: what matches alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<Weight>,
    /// Requests that go to the new version whatever the weight; any item suffices.
    #[serde(rename = "match", default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<Match>,
    /// How the step is left; Manual unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advance: Option<Advance>,
    /// How long `advance: After` stays on the step after its checks pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Dur>,
    /// AlertProviders that are told when the step begins and when it waits for a human; empty = none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notify: Vec<AlertRef>,
}

impl BatchStep {
    /// Tells whether the step says where requests go; `false` = they go by pods.
    #[must_use]
    pub const fn splits(&self) -> bool {
        self.weight.is_some() || !self.matches.is_empty()
    }

    /// Pods of the new version after this step; `None` = nothing says how many.
    #[must_use]
    pub fn pods(&self) -> Option<IntOrPercent> {
        let share = self.weight.filter(|weight| *weight > Weight::ZERO);
        let share = share.map(|weight| IntOrPercent::Percent(weight.percent().into()));
        self.replicas.or(share)
    }

    /// Tells whether the step takes every pod, however many they are.
    #[must_use]
    pub fn takes_all(&self) -> bool {
        matches!(self.pods(), Some(IntOrPercent::Percent(100..)))
    }
}

/// How many pods each version gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Instances {
    /// Where the canary's pods come from.
    #[serde(default)]
    pub mode: InstancesMode,
    /// Canary pods while the weight is above 0; 1 unless set.
    #[serde(default = "default_min_replicas")]
    pub min_replicas: u32,
    /// Pods of both versions together, for FixedTotal alone; absent = as many as the workload wants
    /// when the run begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_replicas: Option<u32>,
    /// The share of a batch's new pods that must be ready before it counts, for InPlace alone; 100%
    /// unless set. It is rounded up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_threshold: Option<IntOrPercent>,
    /// What scales the workload; absent = whatever names it as its target, if anything does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaler: Option<Autoscaler>,
}

/// What scales a workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Autoscaler {
    /// The kind.
    pub kind: AutoscalerKind,
    /// The name, in the workload's namespace.
    pub name: String,
}

/// A kind of autoscaler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AutoscalerKind {
    /// Of `autoscaling/v2`.
    HorizontalPodAutoscaler,
    /// Of KEDA.
    ScaledObject,
}

impl AutoscalerKind {
    /// The kind's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HorizontalPodAutoscaler => "HorizontalPodAutoscaler",
            Self::ScaledObject => "ScaledObject",
        }
    }
}

fn default_min_replicas() -> u32 {
    1
}

impl Default for Instances {
    fn default() -> Self {
        Self {
            mode: InstancesMode::default(),
            min_replicas: default_min_replicas(),
            max_replicas: None,
            ready_threshold: None,
            autoscaler: None,
        }
    }
}

/// Where the canary's pods come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum InstancesMode {
    /// Beside the user's workload, which stays whole.
    #[default]
    Surge,
    /// From the user's workload, which shrinks as the canary grows.
    FixedTotal,
    /// From the user's workload, whose pods are updated; what `strategy.batch` does, and nothing else.
    InPlace,
}

/// Keeps a user on the version that answered first, for as long as the weight stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionAffinity {
    /// The cookie of users of the new version.
    pub cookie_name: String,
    /// How long the cookies live; 24h unless set.
    #[serde(default = "default_max_age")]
    pub max_age: Dur,
    /// The cookie of users of the old version; absent = the same cookie with another value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable_cookie_name: Option<String>,
}

fn default_max_age() -> Dur {
    Dur::from_secs(24 * 60 * 60)
}
