//! PromQL over the gateway's own series for the canary Service.

use bellwether_api::{
    duration::Dur,
    rollout::{Aggregation, Metric},
};

/// Share of requests that are not answered 5xx, in percent.
pub const REQUEST_SUCCESS_RATE: &str = "request-success-rate";
/// Duration of requests, in milliseconds.
pub const REQUEST_DURATION: &str = "request-duration";

/// The names of one gateway's series.
struct Series {
    requests: &'static str,
    duration_bucket: &'static str,
    duration_sum: &'static str,
    duration_count: &'static str,
    service_label: &'static str,
    code_label: &'static str,
    /// What turns the series' unit into milliseconds.
    to_milliseconds: u32,
}

/// Traefik: a backend of a Gateway API route is labelled
/// `<namespace>-<service>-http-<port>@kubernetesgateway`.
const TRAEFIK: Series = Series {
    requests: "traefik_service_requests_total",
    duration_bucket: "traefik_service_request_duration_seconds_bucket",
    duration_sum: "traefik_service_request_duration_seconds_sum",
    duration_count: "traefik_service_request_duration_seconds_count",
    service_label: "service",
    code_label: "code",
    to_milliseconds: 1_000,
};

/// The Service whose requests are measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryTarget {
    /// Its namespace.
    pub namespace: String,
    /// Its name: the canary Service.
    pub service: String,
    /// Its port's number.
    pub port: u16,
}

/// The queries of one metric; each gives one number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricQueries {
    /// The metric's value.
    pub value: String,
    /// Requests in the window.
    pub requests: String,
    /// Scrapes in the window of the series that was scraped most.
    pub scrapes: String,
}

/// Builds the queries of a metric over `window`; `None` when the metric's name is not a built-in.
#[must_use]
pub fn queries(metric: &Metric, target: &QueryTarget, window: Dur) -> Option<MetricQueries> {
    let series = TRAEFIK;
    let range = format!("{}ms", window.as_millis().max(1));
    let label = series.service_label;
    let service = format!("{label}=\"{}\"", traefik_service(target));
    let rate = |name: &str, more: &str| format!("sum(rate({name}{{{service}{more}}}[{range}]))");
    let value = match metric.name.as_str() {
        REQUEST_SUCCESS_RATE => {
            let not_failed = format!(",{}!~\"5..\"", series.code_label);
            let (passed, all) = (
                rate(series.requests, &not_failed),
                rate(series.requests, ""),
            );
            // When every request failed there is no series that did not: that is 0, not nothing.
            format!("100 * ({passed} or vector(0)) / {all}")
        }
        REQUEST_DURATION => duration(metric, &series, &service, &range, &rate),
        _ => return None,
    };
    let requests = series.requests;
    Some(MetricQueries {
        value,
        requests: format!("sum(increase({requests}{{{service}}}[{range}]))"),
        scrapes: format!("max(count_over_time({requests}{{{service}}}[{range}]))"),
    })
}

fn duration(
    metric: &Metric,
    series: &Series,
    service: &str,
    range: &str,
    rate: &dyn Fn(&str, &str) -> String,
) -> String {
    let quantile = match metric.aggregation.unwrap_or(Aggregation::P99) {
        Aggregation::P50 => "0.5",
        Aggregation::P90 => "0.9",
        Aggregation::P95 => "0.95",
        Aggregation::P99 => "0.99",
        Aggregation::Avg => {
            let (sum, count) = (
                rate(series.duration_sum, ""),
                rate(series.duration_count, ""),
            );
            return format!("{} * {sum} / {count}", series.to_milliseconds);
        }
    };
    let bucket = series.duration_bucket;
    format!(
        "{} * histogram_quantile({quantile}, sum by (le) (rate({bucket}{{{service}}}[{range}])))",
        series.to_milliseconds
    )
}

/// Traefik joins the runs of letters and digits with `-`.
fn traefik_service(target: &QueryTarget) -> String {
    let name = format!(
        "{}-{}-http-{}",
        target.namespace, target.service, target.port
    );
    let parts: Vec<_> = name
        .split(|c: char| !c.is_alphanumeric())
        .filter(|part| !part.is_empty())
        .collect();
    format!("{}@kubernetesgateway", parts.join("-"))
}

#[cfg(test)]
mod tests {
    use bellwether_api::rollout::Range;

    use super::*;

    fn metric(name: &str, aggregation: Option<Aggregation>) -> Metric {
        Metric {
            name: name.to_owned(),
            range: Range::default(),
            window: Dur::from_secs(60),
            min_requests: None,
            on_no_data: None,
            aggregation,
            source: None,
        }
    }

    fn target() -> QueryTarget {
        QueryTarget {
            namespace: "shop".into(),
            service: "web-canary".into(),
            port: 80,
        }
    }

    #[test]
    fn success_rate_of_the_gateways_own_series() {
        let queries = queries(
            &metric(REQUEST_SUCCESS_RATE, None),
            &target(),
            Dur::from_secs(30),
        )
        .expect("a built-in metric");
        insta::assert_debug_snapshot!(queries, @r#"
        MetricQueries {
            value: "100 * (sum(rate(traefik_service_requests_total{service=\"shop-web-canary-http-80@kubernetesgateway\",code!~\"5..\"}[30000ms])) or vector(0)) / sum(rate(traefik_service_requests_total{service=\"shop-web-canary-http-80@kubernetesgateway\"}[30000ms]))",
            requests: "sum(increase(traefik_service_requests_total{service=\"shop-web-canary-http-80@kubernetesgateway\"}[30000ms]))",
            scrapes: "max(count_over_time(traefik_service_requests_total{service=\"shop-web-canary-http-80@kubernetesgateway\"}[30000ms]))",
        }
        "#);
    }

    #[test]
    fn duration_takes_the_aggregation_in_milliseconds() {
        let value = |aggregation| {
            queries(
                &metric(REQUEST_DURATION, aggregation),
                &target(),
                Dur::from_secs(60),
            )
            .expect("a built-in metric")
            .value
        };
        let p99 = "1000 * histogram_quantile(0.99, sum by (le) (rate(traefik_service_request_duration_seconds_bucket{service=\"shop-web-canary-http-80@kubernetesgateway\"}[60000ms])))";
        assert_eq!(value(None), p99);
        assert_eq!(value(Some(Aggregation::P50)), p99.replace("0.99", "0.5"));
        assert!(value(Some(Aggregation::Avg)).contains("seconds_sum{"));
        assert!(
            value(Some(Aggregation::Avg))
                .contains("/ sum(rate(traefik_service_request_duration_seconds_count{")
        );
    }

    #[test]
    fn unknown_metrics_have_no_query() {
        assert_eq!(
            queries(&metric("errors", None), &target(), Dur::from_secs(60)),
            None
        );
    }
}
