//! From samples to a verdict.

use bellwether_api::{
    duration::Dur,
    rollout::{Analysis, Metric, OnNoData},
    status::{CheckResult, Verdict},
};
use jiff::Timestamp;

/// Scrapes below which a window says nothing.
const MIN_SCRAPES: u32 = 2;
/// A declared window must span this many scrapes.
const SCRAPES_PER_WINDOW: i64 = 4;

/// What was measured of one metric.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// The value; absent = the source had none.
    pub value: Option<f64>,
    /// Requests in the window; absent = the source could not say.
    pub requests: Option<f64>,
    /// Scrapes in the window; absent = the source does not scrape.
    pub scrapes: Option<u32>,
    /// The window that was measured ([`effective_window`]).
    pub window: Dur,
    /// Why the source could not answer; empty = it did.
    pub error: String,
}

/// One check: a verdict for the step and what it rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// The verdict over all metrics.
    pub verdict: Verdict,
    /// One result per metric, in the plan's order.
    pub results: Vec<CheckResult>,
}

/// Returns how far back a metric may look at `now`: its window, cut at the moment since which the
/// weight is in force.
#[must_use]
pub fn effective_window(window: Dur, in_force_since: Timestamp, now: Timestamp) -> Dur {
    let in_force = now.duration_since(in_force_since).as_millis();
    Dur::from_millis(u64::try_from(in_force.max(0)).unwrap_or(0)).min(window)
}

/// Judges one metric. `None` = no sample came. No data, too little data, NaN and infinity are
/// Unknown with a reason, whatever `onNoData` says; the limits are inclusive.
#[must_use]
pub fn evaluate(
    metric: &Metric,
    analysis: &Analysis,
    sample: Option<&Sample>,
    at: Timestamp,
) -> CheckResult {
    let value = sample
        .and_then(|sample| sample.value)
        .filter(|value| value.is_finite());
    let (verdict, reason) = match judge(metric, analysis, sample) {
        Ok(true) => (Verdict::Pass, String::new()),
        Ok(false) => (Verdict::Fail, String::new()),
        Err(reason) => (Verdict::Unknown, reason),
    };
    CheckResult {
        metric: metric.name.clone(),
        value: value.map(printed),
        limit: limit(metric),
        verdict,
        reason,
        at: at.to_string(),
    }
}

fn judge(metric: &Metric, analysis: &Analysis, sample: Option<&Sample>) -> Result<bool, String> {
    let Some(sample) = sample else {
        return Err("NoData: nothing was measured".to_owned());
    };
    if !sample.error.is_empty() {
        return Err(format!("SourceError: {}", sample.error));
    }
    if let Some(scrapes) = sample.scrapes {
        if scrapes < MIN_SCRAPES {
            return Err(format!(
                "TooFewScrapes: {scrapes} of at least {MIN_SCRAPES} in {}",
                sample.window
            ));
        }
        // So many scrapes lie at least this far apart, wherever the first one fell.
        let between = sample.window.as_millis() / (i64::from(scrapes) + 1);
        if between > metric.window.as_millis() / SCRAPES_PER_WINDOW {
            return Err(format!(
                "ScrapeTooSlow: a scrape every {} or more is more than a quarter of the window {}",
                Dur::from_millis(u64::try_from(between).unwrap_or(0)),
                metric.window
            ));
        }
    }
    let wanted = metric.min_requests.unwrap_or(analysis.min_requests);
    let requests = sample.requests.filter(|requests| requests.is_finite());
    if wanted > 0 && requests.is_none_or(|requests| requests < f64::from(wanted)) {
        let seen = requests.map_or_else(
            || "unknown".to_owned(),
            |requests| printed(requests.floor()),
        );
        return Err(format!(
            "TooFewRequests: {seen} of at least {wanted} in {}",
            sample.window
        ));
    }
    let Some(value) = sample.value else {
        return Err(format!("NoData: no value in {}", sample.window));
    };
    if !value.is_finite() {
        return Err(format!("NotANumber: the source answered {value}"));
    }
    let above_min = metric
        .range
        .min
        .as_ref()
        .is_none_or(|min| value >= min.value());
    let below_max = metric
        .range
        .max
        .as_ref()
        .is_none_or(|max| value <= max.value());
    Ok(above_min && below_max)
}

/// Judges a step: every metric of the plan, folded. A failed one fails the check; one without data
/// holds it, fails it or is left out as `onNoData` says; when nothing is left the check is Unknown;
/// a plan without metrics is NothingConfigured.
#[must_use]
pub fn check<'a>(
    analysis: &Analysis,
    sample_of: impl Fn(&str) -> Option<&'a Sample>,
    at: Timestamp,
) -> Check {
    if analysis.metrics.is_empty() {
        return Check {
            verdict: Verdict::NothingConfigured,
            results: Vec::new(),
        };
    }
    let (mut failed, mut held, mut passed) = (false, false, false);
    let mut results = Vec::with_capacity(analysis.metrics.len());
    for metric in &analysis.metrics {
        let result = evaluate(metric, analysis, sample_of(&metric.name), at);
        match result.verdict {
            Verdict::Pass => passed = true,
            Verdict::Fail => failed = true,
            _ => match metric.on_no_data.unwrap_or(analysis.on_no_data) {
                OnNoData::Hold => held = true,
                OnNoData::Fail => failed = true,
                OnNoData::Ignore => {}
            },
        }
        results.push(result);
    }
    let verdict = match (failed, held, passed) {
        (true, ..) => Verdict::Fail,
        (_, true, _) | (.., false) => Verdict::Unknown,
        _ => Verdict::Pass,
    };
    Check { verdict, results }
}

fn printed(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn limit(metric: &Metric) -> String {
    match (&metric.range.min, &metric.range.max) {
        (Some(min), Some(max)) => format!("{min} to {max}"),
        (Some(min), None) => format!("≥ {min}"),
        (None, Some(max)) => format!("≤ {max}"),
        (None, None) => String::new(),
    }
}

#[cfg(test)]
mod tests;
