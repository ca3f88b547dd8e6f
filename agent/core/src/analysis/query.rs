//! The queries of one metric.

use bellwether_api::{
    analysis::{
        Aggregation, CLIENT_ERROR_PERCENTAGE, CPU_USAGE, ERROR_LOG_RATE, MEMORY_USAGE, Metric,
        NOT_FOUND_PERCENTAGE, REQUEST_DURATION, REQUEST_SUCCESS_RATE,
    },
    duration::Dur,
    metric_template::MetricSourceKind,
    query_freshness::Freshness,
    query_template::{self, Placeholders, QueryError, promql_literal, regex_literal},
};

use super::series::{QueryTarget, Series, series_of};

/// The queries of one metric against a Prometheus; each gives one number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricQueries {
    /// The metric's value.
    pub value: String,
    /// Requests in the window; absent = the metric does not depend on them.
    pub requests: Option<String>,
    /// Scrapes in the window of the series that was scraped most; absent = its series are not
    /// known.
    pub scrapes: Option<String>,
    /// Age in seconds of the newest scrape; absent = its series are not known.
    pub age: Option<String>,
    /// What tells how fresh the series are that a query of one's own reads; absent = it reads none,
    /// or the metric is built in.
    pub freshness: Option<Freshness>,
}

/// Why a metric cannot be asked for.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MetricQueryError {
    /// Nothing is known by that name.
    #[error("failed to find a query: {name} is no built-in metric or template")]
    NotBuiltIn {
        /// The name.
        name: String,
    },
    /// The versions cannot be told apart.
    #[error("failed to make a query: the run has no Service whose requests could be measured")]
    NoService,
    /// The metric's own query cannot be filled in.
    #[error(transparent)]
    Query(#[from] QueryError),
}

/// Tells whether a metric without a single request says nothing, whatever number it shows.
#[must_use]
pub fn counts_requests(metric: &Metric) -> bool {
    matches!(
        built_in(metric),
        Some(
            REQUEST_SUCCESS_RATE
                | REQUEST_DURATION
                | NOT_FOUND_PERCENTAGE
                | CLIENT_ERROR_PERCENTAGE
        )
    )
}

/// The built-in metric or template that a metric stands for; `None` = it has its own query.
fn built_in(metric: &Metric) -> Option<&str> {
    if metric.query.is_some() {
        return None;
    }
    Some(
        metric
            .template
            .as_ref()
            .map_or(metric.name.as_str(), |template| template.name.as_str()),
    )
}

/// Builds the queries of a metric over `window` against a Prometheus. `min_requests` is what the
/// metric asks for: above 0, requests are counted for a metric with its own query too.
///
/// # Errors
/// The metric is not known, cannot be filled in, or nothing tells the two versions apart.
pub fn queries(
    metric: &Metric,
    target: &QueryTarget,
    window: Dur,
    min_requests: u32,
) -> Result<MetricQueries, MetricQueryError> {
    let range = format!("{}ms", window.as_millis().max(1));
    let requests = |wanted: bool| {
        let series = series_of(target).filter(|_| wanted);
        series.map(|series| requests_of(&series, &range))
    };
    let Some(name) = built_in(metric) else {
        let value = filled(metric, MetricSourceKind::Prometheus, target, window)?;
        let freshness = Freshness::of(&value, metric.window)?;
        return Ok(MetricQueries {
            value,
            requests: requests(min_requests > 0),
            scrapes: None,
            age: None,
            freshness,
        });
    };
    let pods = pods_of(target);
    let (value, scraped) = match name {
        ERROR_LOG_RATE => error_logs(&pods, &range),
        CPU_USAGE => {
            let series = format!("container_cpu_usage_seconds_total{{{pods},container!=\"\"}}");
            (
                format!("1000 * avg(sum by (pod) (rate({series}[{range}])))"),
                series,
            )
        }
        MEMORY_USAGE => {
            let series = format!("container_memory_working_set_bytes{{{pods},container!=\"\"}}");
            (format!("avg(sum by (pod) ({series})) / 1048576"), series)
        }
        _ => return of_requests(name, metric, target, &range),
    };
    Ok(MetricQueries {
        value,
        requests: requests(min_requests > 0),
        scrapes: Some(format!("max(count_over_time({scraped}[{range}]))")),
        age: Some(age_of(&scraped)),
        freshness: None,
    })
}

/// The metrics that are made of the provider's own series.
fn of_requests(
    name: &str,
    metric: &Metric,
    target: &QueryTarget,
    range: &str,
) -> Result<MetricQueries, MetricQueryError> {
    let value: &dyn Fn(&Series) -> String = match name {
        REQUEST_SUCCESS_RATE => &|series| share(series, series.frame.succeeded, range),
        NOT_FOUND_PERCENTAGE => {
            &|series| share(series, &format!("{}=\"404\"", series.frame.code), range)
        }
        CLIENT_ERROR_PERCENTAGE => {
            &|series| share(series, &format!("{}=~\"4..\"", series.frame.code), range)
        }
        REQUEST_DURATION => &|series| duration(metric, series, range),
        _ => {
            return Err(MetricQueryError::NotBuiltIn {
                name: name.to_owned(),
            });
        }
    };
    let series = series_of(target).ok_or(MetricQueryError::NoService)?;
    let scraped = format!("{}{{{}}}", series.frame.requests, series.matchers);
    Ok(MetricQueries {
        value: value(&series),
        requests: Some(requests_of(&series, range)),
        scrapes: Some(format!("max(count_over_time({scraped}[{range}]))")),
        age: Some(age_of(&scraped)),
        freshness: None,
    })
}

/// Fills in the query of a metric that has its own.
///
/// # Errors
/// It cannot be filled in, or there is none.
pub fn filled(
    metric: &Metric,
    kind: MetricSourceKind,
    target: &QueryTarget,
    window: Dur,
) -> Result<String, MetricQueryError> {
    let query = metric
        .query
        .as_ref()
        .ok_or_else(|| MetricQueryError::NotBuiltIn {
            name: metric.name.clone(),
        })?;
    let milliseconds = window.as_millis().max(1);
    let interval = if milliseconds % 1_000 == 0 {
        format!("{}s", milliseconds / 1_000)
    } else {
        format!("{milliseconds}ms")
    };
    let values = Placeholders {
        namespace: target.namespace.clone(),
        target: target.deployment(),
        service: target.backend(),
        ingress: target.route.clone(),
        route: target.route.clone(),
        interval,
        variables: metric.variables.clone(),
    };
    Ok(query_template::fill(kind, query, &values)?)
}

fn requests_of(series: &Series, range: &str) -> String {
    format!(
        "sum(increase({}{{{}}}[{range}]))",
        series.frame.requests, series.matchers
    )
}

/// Age of the newest scrape by the server's own clock: no skew of ours counts.
fn age_of(selector: &str) -> String {
    format!("time() - max(timestamp({selector}))")
}

/// The share in percent of requests that `wanted` matches.
fn share(series: &Series, wanted: &str, range: &str) -> String {
    let rate = |more: &str| {
        format!(
            "sum(rate({}{{{}{more}}}[{range}]))",
            series.frame.requests, series.matchers
        )
    };
    let (part, all) = (rate(&format!(",{wanted}")), rate(""));
    // When no request is of that kind there is no such series: that is 0, not nothing.
    format!("100 * ({part} or vector(0)) / {all}")
}

fn duration(metric: &Metric, series: &Series, range: &str) -> String {
    let name = series.frame.duration;
    let matchers = format!("{}{}", series.matchers, series.frame.duration_matchers);
    let scale = if series.frame.to_milliseconds == 1 {
        String::new()
    } else {
        format!("{} * ", series.frame.to_milliseconds)
    };
    let quantile = match metric.aggregation.unwrap_or(Aggregation::P99) {
        Aggregation::P50 => "0.5",
        Aggregation::P90 => "0.9",
        Aggregation::P95 => "0.95",
        Aggregation::P99 => "0.99",
        Aggregation::Avg => {
            return format!(
                "{scale}sum(rate({name}_sum{{{matchers}}}[{range}])) / sum(rate({name}_count{{{matchers}}}[{range}]))"
            );
        }
    };
    format!(
        "{scale}histogram_quantile({quantile}, sum by (le) (rate({name}_bucket{{{matchers}}}[{range}])))"
    )
}

/// The pods of the measured workload, as the kubelet and log collectors label them.
fn pods_of(target: &QueryTarget) -> String {
    format!(
        "namespace=\"{}\",pod=~\"{}-[0-9a-z]+{}\"",
        promql_literal(&target.namespace),
        promql_literal(&regex_literal(&target.deployment())),
        if target.per_node { "" } else { "-[0-9a-z]+" }
    )
}

/// Log lines of level error and above, per minute. Without any line nothing is known of the pods'
/// logs; with lines of other levels alone it is 0.
fn error_logs(pods: &str, range: &str) -> (String, String) {
    let all = format!("log_messages_total{{{pods}}}");
    let errors = format!(
        "log_messages_total{{{pods},level=~\"(?i:error|critical|fatal|alert|emerg.*|panic)\"}}"
    );
    (
        format!("60 * (sum(rate({errors}[{range}])) or 0 * sum(rate({all}[{range}])))"),
        all,
    )
}

#[cfg(test)]
mod tests;
