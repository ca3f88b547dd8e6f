//! How a new version is judged: metrics, their limits, and what their verdicts do.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    duration::Dur,
    metric_template::{MetricSourceKind, SecretKeyRef},
    number::Num,
};

/// Share of requests that are not answered 5xx, in percent.
pub const REQUEST_SUCCESS_RATE: &str = "request-success-rate";
/// Duration of requests, in milliseconds.
pub const REQUEST_DURATION: &str = "request-duration";

/// The metrics that need neither template nor query.
pub const METRIC_NAMES: [&str; 2] = [REQUEST_SUCCESS_RATE, REQUEST_DURATION];

/// Share of requests that are answered 404, in percent.
pub const NOT_FOUND_PERCENTAGE: &str = "not-found-percentage";
/// Share of requests that are answered 4xx, in percent.
pub const CLIENT_ERROR_PERCENTAGE: &str = "client-error-percentage";
/// Lines logged as error or worse, per minute over all pods.
pub const ERROR_LOG_RATE: &str = "error-log-rate";
/// Processor time of one pod on average, in thousandths of a core.
pub const CPU_USAGE: &str = "cpu-usage";
/// Memory in use by one pod on average, in MiB.
pub const MEMORY_USAGE: &str = "memory-usage";

/// The templates that every hub has. A MetricTemplate of the same name takes their place.
pub const BUILT_IN_TEMPLATES: [&str; 5] = [
    NOT_FOUND_PERCENTAGE,
    CLIENT_ERROR_PERCENTAGE,
    ERROR_LOG_RATE,
    CPU_USAGE,
    MEMORY_USAGE,
];

/// How the new version is judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Analysis {
    /// Takes the new version without any test: no canary, no checks, the workload's own rolling
    /// update.
    #[serde(default)]
    pub skip: bool,
    /// Time between checks; 60s unless set, at least 1s.
    #[serde(default = "default_interval")]
    pub interval: Dur,
    /// Acts when failed checks reach it; cumulative over the run; 1 unless set, 0 means 1.
    #[serde(default = "default_failure_threshold")]
    pub failure_threshold: u32,
    /// What happens when failed checks reach the threshold, or when a step makes no progress.
    #[serde(default)]
    pub on_failure: AnalysisFailure,
    /// What a metric without data means; Hold unless set.
    #[serde(default)]
    pub on_no_data: OnNoData,
    /// Requests that a window needs before it counts; 0 unless set.
    #[serde(default)]
    pub min_requests: u32,
    /// The metrics, all of which must pass; empty = readiness alone decides, with a warning.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Metric>,
}

fn default_interval() -> Dur {
    Dur::from_secs(60)
}

fn default_failure_threshold() -> u32 {
    1
}

impl Default for Analysis {
    fn default() -> Self {
        Self {
            skip: false,
            interval: default_interval(),
            failure_threshold: default_failure_threshold(),
            on_failure: AnalysisFailure::default(),
            on_no_data: OnNoData::default(),
            min_requests: 0,
            metrics: Vec::new(),
        }
    }
}

/// What a metric without data means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnNoData {
    /// The weight stays until data comes or `progressDeadline` ends the run.
    #[default]
    Hold,
    /// The check fails.
    Fail,
    /// The metric is left out of that check; if nothing is left, the check is Unknown.
    Ignore,
}

/// What happens when a run's checks fail once too often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AnalysisFailure {
    /// The run goes back.
    #[default]
    Rollback,
    /// The run stays where it is until a human decides.
    Pause,
}

/// What a failed metric does once failed checks reach `failureThreshold`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MetricOnFailure {
    /// The run goes back.
    Rollback,
    /// The run stays where it is until a human decides.
    Pause,
    /// Nothing: the metric is measured and shown, and decides nothing.
    Ignore,
}

impl From<AnalysisFailure> for MetricOnFailure {
    fn from(on_failure: AnalysisFailure) -> Self {
        match on_failure {
            AnalysisFailure::Rollback => Self::Rollback,
            AnalysisFailure::Pause => Self::Pause,
        }
    }
}

/// One metric with its limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metric {
    /// `request-success-rate` (percent) or `request-duration` (milliseconds), or a name of its own
    /// for a metric with `template` or `query`.
    pub name: String,
    /// The MetricTemplate that says where and how it is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<TemplateRef>,
    /// The query itself, in the language of `source.type`; placeholders as in a MetricTemplate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// Values of `{{ variables.NAME }}` in the query.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, String>,
    /// The limits, inclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<Range>,
    /// One limit as older records write it: the smallest `request-success-rate` that passes, the
    /// largest value of any other metric. Excludes `range`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<Num>,
    /// How much worse than the old version the new one may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relative: Option<Relative>,
    /// How far back the metric looks; 60s unless set. Cut where the weight last changed.
    #[serde(default = "default_window")]
    pub window: Dur,
    /// Requests that a window needs; absent = the analysis' own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_requests: Option<u32>,
    /// What no data means; absent = the analysis' own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_no_data: Option<OnNoData>,
    /// What a failure does; absent = the analysis' own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<MetricOnFailure>,
    /// Which statistic `request-duration` takes; P99 unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aggregation: Option<Aggregation>,
    /// Where the metric is read; absent = the template's, then the cluster's, then the fleet's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<MetricSource>,
}

fn default_window() -> Dur {
    Dur::from_secs(60)
}

impl Default for Metric {
    fn default() -> Self {
        Self {
            name: String::new(),
            template: None,
            query: None,
            variables: BTreeMap::new(),
            range: None,
            threshold: None,
            relative: None,
            window: default_window(),
            min_requests: None,
            on_no_data: None,
            on_failure: None,
            aggregation: None,
            source: None,
        }
    }
}

impl Metric {
    /// Returns what tells the metric from the others of its plan: its name, with the statistic where
    /// that is not the usual one (`request-duration/P50`).
    #[must_use]
    pub fn key(&self) -> String {
        match self.aggregation {
            None | Some(Aggregation::P99) => self.name.clone(),
            Some(statistic) => format!("{}/{statistic:?}", self.name),
        }
    }

    /// Returns the limits that hold, whether they were written as `range` or as `threshold`.
    #[must_use]
    pub fn limits(&self) -> Range {
        match &self.threshold {
            None => self.range.clone().unwrap_or_default(),
            Some(threshold) if self.name == REQUEST_SUCCESS_RATE => Range {
                min: Some(threshold.clone()),
                max: None,
            },
            Some(threshold) => Range {
                min: None,
                max: Some(threshold.clone()),
            },
        }
    }

    /// Returns what a failure of the metric does under `analysis`; `None` = nothing.
    #[must_use]
    pub fn acts(&self, analysis: &Analysis) -> Option<AnalysisFailure> {
        match self.on_failure {
            None => Some(analysis.on_failure),
            Some(MetricOnFailure::Rollback) => Some(AnalysisFailure::Rollback),
            Some(MetricOnFailure::Pause) => Some(AnalysisFailure::Pause),
            Some(MetricOnFailure::Ignore) => None,
        }
    }

    /// Returns what a check makes of it when the metric has no value.
    #[must_use]
    pub fn takes_no_data_for(&self, analysis: &Analysis) -> OnNoData {
        self.on_no_data.unwrap_or(analysis.on_no_data)
    }

    /// Tells whether the metric can pass or fail a check: it has a limit, and its failure means
    /// something.
    #[must_use]
    pub fn decides(&self) -> bool {
        self.on_failure != Some(MetricOnFailure::Ignore)
            && (!self.limits().is_open() || self.relative.is_some())
    }
}

/// Names a MetricTemplate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TemplateRef {
    /// The name.
    pub name: String,
    /// The namespace; absent = the Rollout's own, then `default`, then what is built in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// Limits that a value must lie in, both ends included; at least one is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Range {
    /// The smallest value that passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Num>,
    /// The largest value that passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Num>,
}

impl Range {
    /// Tells whether neither end is set.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.min.is_none() && self.max.is_none()
    }
}

/// A limit against what the old version shows over the same window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Relative {
    /// Percent by which the new version may be worse, inclusive; 0 = not at all.
    pub max: Num,
    /// Which way is better; Higher for `request-success-rate`, Lower for `request-duration`,
    /// required for every other metric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub better_when: Option<Better>,
}

/// Which way of a metric is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Better {
    /// Small values: durations, errors.
    Lower,
    /// Large values: successes, throughput.
    Higher,
}

impl Better {
    /// Which way is better of a metric that does not say so.
    #[must_use]
    pub fn of(metric: &str) -> Self {
        if metric == REQUEST_SUCCESS_RATE {
            Self::Higher
        } else {
            Self::Lower
        }
    }
}

/// A statistic over durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Aggregation {
    /// Median.
    P50,
    /// 90th percentile.
    P90,
    /// 95th percentile.
    P95,
    /// 99th percentile.
    P99,
    /// Mean.
    Avg,
}

/// Where a metric is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MetricSource {
    /// What answers.
    #[serde(rename = "type")]
    pub kind: MetricSourceKind,
    /// Base URL of the source; absent = the cluster's, then the fleet's (Prometheus only), and for
    /// Probe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// A Secret in the workload's namespace of the member cluster; absent = none. It is sent to
    /// `address` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKeyRef>,
}
