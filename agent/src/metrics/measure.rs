//! One check of every metric of a plan.

use bellwether_agent_core::{
    analysis::{QueryTarget, Sample, effective_window, queries},
    machine::{MetricSample, SampleRequest, Samples},
};
use bellwether_api::{
    bundle::Bundle,
    duration::Dur,
    rollout::{Aggregation, Metric, MetricSourceKind, RolloutSpec},
};
use jiff::Timestamp;

use super::{
    probe::{Probe, Window},
    prometheus::Prometheus,
};
use crate::clock::Clock;

/// The built-in metric that the probe answers in percent.
const REQUEST_SUCCESS_RATE: &str = "request-success-rate";
/// The built-in metric that the probe answers in milliseconds.
const REQUEST_DURATION: &str = "request-duration";

/// What measures; clones share connections.
#[derive(Clone, Debug)]
pub struct Meter {
    prometheus: Prometheus,
    client: reqwest::Client,
    clock: Clock,
}

/// Where one metric is read.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Prometheus(String),
    Probe,
}

/// One check that is to be made.
#[derive(Debug)]
pub struct Measurement {
    request: SampleRequest,
    at: Timestamp,
    target: Option<QueryTarget>,
    asked: Vec<Asked>,
}

#[derive(Debug)]
struct Asked {
    metric: Metric,
    source: Source,
    window: Dur,
    /// What the probe has seen in the window; absent = it does not run.
    probed: Option<Window>,
}

/// What a check is made on.
#[derive(Debug)]
pub struct Subject<'a> {
    /// The bundle, which says where metrics are read.
    pub bundle: &'a Bundle,
    /// The plan.
    pub plan: &'a RolloutSpec,
    /// The canary Service's namespace.
    pub namespace: &'a str,
    /// The canary Service; empty = there is none.
    pub service: &'a str,
    /// The Service's port; absent = it cannot be told.
    pub port: Option<u16>,
    /// What probes; absent = nothing does.
    pub probe: Option<&'a Probe>,
}

impl Measurement {
    /// Makes up what is to be measured at `now`.
    #[must_use]
    pub fn new(subject: &Subject<'_>, request: SampleRequest, now: Timestamp) -> Self {
        let target = subject
            .port
            .filter(|_| !subject.service.is_empty())
            .map(|port| QueryTarget {
                namespace: subject.namespace.to_owned(),
                service: subject.service.to_owned(),
                port,
            });
        let asked = subject
            .plan
            .analysis
            .metrics
            .iter()
            .map(|metric| {
                let source = source_of(metric, subject.bundle);
                let window = effective_window(metric.window, request.in_force_since, now);
                let probed = match (&source, subject.probe) {
                    (Source::Probe, Some(probe)) => Some(probe.window(now - window.as_signed())),
                    _ => None,
                };
                Asked {
                    metric: metric.clone(),
                    source,
                    window,
                    probed,
                }
            })
            .collect();
        Self {
            request,
            at: now,
            target,
            asked,
        }
    }
}

fn source_of(metric: &Metric, bundle: &Bundle) -> Source {
    let default = bundle
        .metrics
        .as_ref()
        .map(|metrics| metrics.address.clone());
    let address = match &metric.source {
        Some(source) if source.kind == MetricSourceKind::Probe => None,
        Some(source) => source.address.clone().or(default),
        None => default,
    };
    address.map_or(Source::Probe, Source::Prometheus)
}

impl Meter {
    /// Makes clients that tell the time by `clock`; nothing is dialled yet.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(clock: Clock) -> Result<Self, reqwest::Error> {
        let client = super::http_client(|| {
            reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .pool_max_idle_per_host(0)
                .no_proxy()
        })?;
        Ok(Self {
            prometheus: Prometheus::new()?,
            client,
            clock,
        })
    }

    /// Tells whether a plan measures anything by probe.
    #[must_use]
    pub fn probes(&self, plan: &RolloutSpec, bundle: &Bundle) -> bool {
        plan.analysis
            .metrics
            .iter()
            .any(|metric| source_of(metric, bundle) == Source::Probe)
    }

    /// Starts a probe without targets.
    #[must_use]
    pub fn probe(&self) -> Probe {
        Probe::start(self.client.clone(), self.clock)
    }

    /// Makes a check. It always answers: what could not be measured says why.
    pub async fn measure(&self, measurement: Measurement) -> Samples {
        let samples = measurement
            .asked
            .iter()
            .map(|asked| self.sample(asked, measurement.target.as_ref()));
        let samples = futures::future::join_all(samples).await;
        Samples {
            check: measurement.request.check,
            at: measurement.at,
            metrics: measurement
                .asked
                .iter()
                .zip(samples)
                .map(|(asked, sample)| MetricSample {
                    metric: asked.metric.name.clone(),
                    sample,
                })
                .collect(),
        }
    }

    async fn sample(&self, asked: &Asked, target: Option<&QueryTarget>) -> Sample {
        match (&asked.source, target) {
            (Source::Probe, _) => probed(asked),
            (Source::Prometheus(_), None) => unknown(
                asked,
                "the run has no canary Service whose requests could be measured",
            ),
            (Source::Prometheus(address), Some(target)) => {
                self.queried(asked, address, target).await
            }
        }
    }

    async fn queried(&self, asked: &Asked, address: &str, target: &QueryTarget) -> Sample {
        let Some(queries) = queries(&asked.metric, target, asked.window) else {
            return unknown(
                asked,
                &format!("{} is no built-in metric", asked.metric.name),
            );
        };
        let answers = tokio::try_join!(
            self.prometheus.instant(address, &queries.value),
            self.prometheus.instant(address, &queries.requests),
            self.prometheus.instant(address, &queries.scrapes),
        );
        match answers {
            Ok((value, requests, scrapes)) => Sample {
                value,
                requests,
                scrapes: Some(scrapes.map_or(0, whole)),
                window: asked.window,
                error: String::new(),
            },
            Err(error) => unknown(asked, &crate::desired::chain(&error)),
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float cast saturates, which is what a count of scrapes needs"
)]
fn whole(count: f64) -> u32 {
    count.round() as u32
}

fn unknown(asked: &Asked, why: &str) -> Sample {
    Sample {
        value: None,
        requests: None,
        scrapes: None,
        window: asked.window,
        error: why.chars().take(200).collect(),
    }
}

fn probed(asked: &Asked) -> Sample {
    let Some(window) = &asked.probed else {
        return unknown(asked, "the probe has not asked any canary pod yet");
    };
    let value = match asked.metric.name.as_str() {
        REQUEST_SUCCESS_RATE => window.success_percent,
        REQUEST_DURATION => statistic(
            &window.durations_ms,
            asked.metric.aggregation.unwrap_or(Aggregation::P99),
        ),
        other => return unknown(asked, &format!("the probe does not measure {other}")),
    };
    Sample {
        value,
        requests: Some(f64::from(window.requests)),
        scrapes: None,
        window: asked.window,
        error: String::new(),
    }
}

/// A statistic of rising values, by nearest rank; absent = there are none.
fn statistic(rising: &[f64], aggregation: Aggregation) -> Option<f64> {
    let percent = match aggregation {
        Aggregation::P50 => 50,
        Aggregation::P90 => 90,
        Aggregation::P95 => 95,
        Aggregation::P99 => 99,
        Aggregation::Avg => {
            let count = u32::try_from(rising.len())
                .ok()
                .filter(|count| *count > 0)?;
            return Some(rising.iter().sum::<f64>() / f64::from(count));
        }
    };
    let rank = (rising.len() * percent).div_ceil(100).max(1);
    rising.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistic_takes_the_nearest_rank() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!(statistic(&values, Aggregation::P50), Some(100.0));
        assert_eq!(statistic(&values, Aggregation::P99), Some(198.0));
        assert_eq!(statistic(&values, Aggregation::Avg), Some(100.5));
        assert_eq!(statistic(&[7.0], Aggregation::P99), Some(7.0));
        assert_eq!(statistic(&[], Aggregation::P99), None);
        assert_eq!(statistic(&[], Aggregation::Avg), None);
    }
}
