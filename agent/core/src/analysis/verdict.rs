//! From samples to a verdict.

use bellwether_api::{
    analysis::{Analysis, AnalysisFailure, Metric, OnNoData, Range},
    duration::Dur,
    query_freshness::{self, MIN_SCRAPES, Read},
    status::{CheckResult, Verdict},
};
use jiff::Timestamp;

use super::{query::counts_requests, relative};

/// A declared window must span this many scrapes.
const SCRAPES_PER_WINDOW: i64 = 4;
/// How far a measurement may lie ahead of its source's clock, in milliseconds.
const MAX_AHEAD_MS: i64 = 1_000;
/// How far the source's clock may be from ours, in milliseconds.
const MAX_SKEW_MS: i64 = 30_000;

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
    /// How long before the answer the newest measurement in it was made, in milliseconds, by the
    /// source's own clock; below 0 = after it; absent = the source could not say.
    pub age_ms: Option<i64>,
    /// How far the source's clock is ahead of ours, in milliseconds; absent = it gave no time.
    pub skew_ms: Option<i64>,
    /// What is known of the series that a query of one's own reads; empty = nothing.
    pub read: Vec<Read>,
    /// What the old version showed over the same window; absent = it was not asked for.
    pub stable: Option<Box<Sample>>,
    /// Why the source could not answer; empty = it did.
    pub error: String,
}

/// One check: a verdict for the step, what it rests on and what it calls for.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckOutcome {
    /// The verdict over all metrics that decide.
    pub verdict: Verdict,
    /// What is to happen once failed checks reach the threshold: the strongest that a failed metric
    /// asks for; `None` unless the verdict is Fail.
    pub on_failure: Option<AnalysisFailure>,
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
    let range = metric.limits();
    let old = sample.and_then(|sample| sample.stable.as_deref());
    // Shown beside the value even where nothing is held against it.
    let beside = old.and_then(|old| judge(metric, analysis, Some(old)).ok());
    let stable = metric
        .relative
        .as_ref()
        .map(|relative| (relative, judge(metric, analysis, old)));
    let judged = judge(metric, analysis, sample).and_then(|value| match &stable {
        _ if !lies_in(&range, value) => Ok(false),
        None => Ok(true),
        Some((relative, Ok(stable))) => Ok(relative::allows(metric, relative, value, *stable)),
        Some((_, Err(reason))) => Err(format!("{reason} (of the old version)")),
    });
    let against = stable.map(|(relative, stable)| relative::limit(metric, relative, stable.ok()));
    let limits: Vec<String> = limit(&range).into_iter().chain(against).collect();
    let (verdict, reason) = match judged {
        Ok(true) => (Verdict::Pass, String::new()),
        Ok(false) => (Verdict::Fail, String::new()),
        Err(reason) => (Verdict::Unknown, reason),
    };
    CheckResult {
        metric: metric.key(),
        value: value.map(printed),
        stable: beside.map(printed),
        limit: limits.join(", "),
        verdict,
        reason,
        ignored: !metric.decides(),
        at: at.to_string(),
    }
}

/// Returns the value of a sample that may be compared with limits, or why it may not.
fn judge(metric: &Metric, analysis: &Analysis, sample: Option<&Sample>) -> Result<f64, String> {
    let Some(sample) = sample else {
        return Err("NoData: nothing was measured".to_owned());
    };
    if !sample.error.is_empty() {
        return Err(format!("SourceError: {}", sample.error));
    }
    is_timely(metric, sample)?;
    query_freshness::judge(&sample.read)?;
    has_enough(metric, analysis, sample)?;
    let Some(value) = sample.value else {
        return Err(format!("NoData: no value in {}", sample.window));
    };
    if !value.is_finite() {
        return Err(format!("NotANumber: the source answered {value}"));
    }
    Ok(value)
}

/// Whether the sample speaks of the window that was asked for.
fn is_timely(metric: &Metric, sample: &Sample) -> Result<(), String> {
    let span = |ms: i64| Dur::from_millis(ms.unsigned_abs());
    if let Some(skew) = sample.skew_ms.filter(|skew| skew.abs() > MAX_SKEW_MS) {
        let way = if skew > 0 { "ahead of" } else { "behind" };
        return Err(format!(
            "ClockSkew: the source's answer is {} {way} the agent's clock",
            span(skew)
        ));
    }
    let Some(age) = sample.age_ms else {
        return Ok(());
    };
    if age < -MAX_AHEAD_MS {
        return Err(format!(
            "FutureSample: the newest measurement lies {} ahead",
            span(age)
        ));
    }
    // What is scraped comes at least four times a window; other sources answer points of it.
    let oldest = match sample.scrapes {
        Some(_) => metric.window.as_millis() / 2,
        None => metric.window.as_millis(),
    };
    if age > oldest {
        return Err(format!(
            "StaleSample: the newest measurement is {} old; {} would do",
            span(age),
            span(oldest)
        ));
    }
    Ok(())
}

/// Whether the sample rests on enough scrapes and requests.
fn has_enough(metric: &Metric, analysis: &Analysis, sample: &Sample) -> Result<(), String> {
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
    // A share of nothing is no share, whatever number the source makes of it.
    if counts_requests(metric) && requests.is_some_and(|requests| requests <= 0.0) {
        return Err(format!("NoRequests: none in {}", sample.window));
    }
    Ok(())
}

fn lies_in(range: &Range, value: f64) -> bool {
    let above_min = range.min.as_ref().is_none_or(|min| value >= min.value());
    let below_max = range.max.as_ref().is_none_or(|max| value <= max.value());
    above_min && below_max
}

/// Judges a step: every metric of the plan that decides, folded. A failed one fails the check; one
/// without data holds it, fails it or is left out as `onNoData` says; when nothing is left the check
/// is Unknown; a plan without metrics is NothingConfigured. `sample_of` finds a sample by its
/// metric's [`Metric::key`].
#[must_use]
pub fn check<'a>(
    analysis: &Analysis,
    sample_of: impl Fn(&str) -> Option<&'a Sample>,
    at: Timestamp,
) -> CheckOutcome {
    if analysis.metrics.is_empty() {
        return CheckOutcome {
            verdict: Verdict::NothingConfigured,
            on_failure: None,
            results: Vec::new(),
        };
    }
    let (mut held, mut passed) = (false, false);
    let mut failed: Vec<AnalysisFailure> = Vec::new();
    let mut results = Vec::with_capacity(analysis.metrics.len());
    for metric in &analysis.metrics {
        let result = evaluate(metric, analysis, sample_of(&metric.key()), at);
        if let Some(action) = metric.acts(analysis).filter(|_| metric.decides()) {
            match result.verdict {
                Verdict::Pass => passed = true,
                Verdict::Fail => failed.push(action),
                _ => match metric.takes_no_data_for(analysis) {
                    OnNoData::Hold => held = true,
                    OnNoData::Fail => failed.push(action),
                    OnNoData::Ignore => {}
                },
            }
        }
        results.push(result);
    }
    let on_failure = if failed.contains(&AnalysisFailure::Rollback) {
        Some(AnalysisFailure::Rollback)
    } else {
        failed.first().copied()
    };
    let verdict = match (on_failure, held, passed) {
        (Some(_), ..) => Verdict::Fail,
        (_, true, _) | (.., false) => Verdict::Unknown,
        _ => Verdict::Pass,
    };
    CheckOutcome {
        verdict,
        on_failure,
        results,
    }
}

/// Tells whether a result fails its check: what is Unknown does where its metric's `onNoData` says so.
#[must_use]
pub fn fails(analysis: &Analysis, result: &CheckResult) -> bool {
    let fails_unknown = |metric: &Metric| {
        metric.key() == result.metric && metric.takes_no_data_for(analysis) == OnNoData::Fail
    };
    match result.verdict {
        Verdict::Fail => true,
        Verdict::Unknown => analysis.metrics.iter().any(fails_unknown),
        Verdict::Pass | Verdict::NothingConfigured | Verdict::Overridden => false,
    }
}

pub(super) fn printed(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn limit(range: &Range) -> Option<String> {
    match (&range.min, &range.max) {
        (Some(min), Some(max)) => Some(format!("{min} to {max}")),
        (Some(min), None) => Some(format!("≥ {min}")),
        (None, Some(max)) => Some(format!("≤ {max}")),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests;
