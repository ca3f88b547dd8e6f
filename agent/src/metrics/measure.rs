//! One check of every metric of a plan.

mod reach;
mod subject;

use std::{sync::Arc, time::Duration};

use bellwether_agent_core::{
    analysis::{MetricQueries, MetricQueryError, QueryTarget, Sample, Side, filled, queries},
    machine::{MetricSample, Samples},
};
use bellwether_api::{
    analysis::{Aggregation, REQUEST_DURATION, REQUEST_SUCCESS_RATE},
    bundle::Bundle,
    metric_template::MetricSourceKind,
    number::{count_of, milliseconds_of},
    query_freshness::{Freshness, PART, Read},
    rollout::RolloutSpec,
};

use futures::future::Either;

pub use reach::OwnSource;
pub use subject::{Measurement, Subject};

use subject::{Asked, Remote, SecretAt, Source, source_of};

use super::{
    cloudwatch::CloudWatch,
    credentials::{Credentials, SecretError, SecretReader},
    datadog::Datadog,
    exchange::Exchange,
    http_json::HttpJson,
    probe::Probe,
    prometheus::Prometheus,
    source::{MetricProvider, QueryError, Question, Reading},
};
use crate::clock::Clock;

/// How much longer than for the new version's figure a check waits for one of the old version that decides
/// nothing.
const BESIDE_WITHIN: Duration = Duration::from_millis(250);

/// What measures; clones share connections.
#[derive(Clone)]
pub struct Meter {
    prometheus: Prometheus,
    datadog: Datadog,
    cloud_watch: CloudWatch,
    http: HttpJson,
    /// Asks the canary's pods.
    client: reqwest::Client,
    clock: Clock,
    secrets: Arc<dyn SecretReader>,
    /// The agent's own namespace.
    namespace: String,
}

impl Meter {
    /// Makes clients that tell the time by `clock`; nothing is dialled yet. `namespace` is the
    /// agent's own.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(
        secrets: Arc<dyn SecretReader>,
        namespace: &str,
        clock: Clock,
    ) -> Result<Self, reqwest::Error> {
        let client = super::http_client(|| {
            reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .pool_max_idle_per_host(0)
                .no_proxy()
        })?;
        let exchange = Exchange::new()?;
        Ok(Self {
            prometheus: Prometheus(exchange.clone()),
            datadog: Datadog(exchange.clone()),
            cloud_watch: CloudWatch(exchange.clone()),
            http: HttpJson(exchange),
            client,
            clock,
            secrets,
            namespace: namespace.to_owned(),
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
            .map(|asked| self.sample(asked, &measurement));
        let samples = futures::future::join_all(samples).await;
        Samples {
            check: measurement.request.check,
            at: measurement.at,
            metrics: measurement
                .asked
                .iter()
                .zip(samples)
                .map(|(asked, sample)| MetricSample {
                    metric: asked.metric.key(),
                    sample,
                })
                .collect(),
        }
    }

    async fn sample(&self, asked: &Asked, measurement: &Measurement) -> Sample {
        let remote = match &asked.source {
            Source::Probe => return probed(asked),
            Source::Nowhere(why) => return unknown(asked, why),
            Source::Remote(remote) => remote,
        };
        let credentials = match self
            .credentials(remote, &measurement.target.namespace)
            .await
        {
            Ok(credentials) => credentials,
            Err(error) => return unknown(asked, &error.to_string()),
        };
        let side = |side| {
            let target = QueryTarget {
                side,
                ..measurement.target.clone()
            };
            self.side(
                asked,
                remote,
                &credentials,
                target,
                measurement.min_requests,
            )
        };
        let both = asked.metric.relative.is_some();
        let for_people =
            measurement.side_by_side && tells_apart(asked, remote, &measurement.target);
        if !both && !for_people {
            return side(Side::Canary).await;
        }
        let (canary, stable) = if both {
            let (canary, stable) = tokio::join!(side(Side::Canary), side(Side::Stable));
            (canary, Some(stable))
        } else {
            beside(side(Side::Canary), side(Side::Stable)).await
        };
        Sample {
            stable: stable.map(Box::new),
            ..canary
        }
    }

    /// Reads the Secret that goes with a source, if there is one.
    async fn credentials(
        &self,
        remote: &Remote,
        workload_namespace: &str,
    ) -> Result<Credentials, SecretError> {
        let (namespace, secret) = match &remote.secret {
            None => return Ok(Credentials::default()),
            Some(SecretAt::Workload(secret)) => (workload_namespace, secret),
            Some(SecretAt::Agent(secret)) => (self.namespace.as_str(), secret),
        };
        let fields = self.secrets.read(namespace, &secret.name).await?;
        if let Some(key) = secret.key.as_ref().filter(|key| !fields.contains_key(*key)) {
            return Err(SecretError::NoKey {
                namespace: namespace.to_owned(),
                name: secret.name.clone(),
                key: key.clone(),
            });
        }
        Ok(Credentials::new(fields, secret.key.clone()))
    }

    fn provider(&self, kind: MetricSourceKind) -> &dyn MetricProvider {
        match kind {
            MetricSourceKind::Datadog => &self.datadog,
            MetricSourceKind::CloudWatch => &self.cloud_watch,
            MetricSourceKind::Http => &self.http,
            MetricSourceKind::Prometheus | MetricSourceKind::Probe => &self.prometheus,
        }
    }

    /// Measures one of the two versions.
    async fn side(
        &self,
        asked: &Asked,
        remote: &Remote,
        credentials: &Credentials,
        target: QueryTarget,
        min_requests: u32,
    ) -> Sample {
        let made = match asked_of(asked, remote, &target, min_requests) {
            Ok(made) => made,
            Err(error) => return unknown(asked, &error.to_string()),
        };
        let provider = self.provider(remote.kind);
        let read = async |query: &str| {
            provider
                .read(Question {
                    address: &remote.address,
                    query,
                    window: asked.window,
                    credentials,
                })
                .await
        };
        let read_optional = async |query: &Option<String>| match query {
            Some(query) => Ok(Some(read(query).await?)),
            None => Ok::<Option<Reading>, QueryError>(None),
        };
        let answers = tokio::try_join!(
            read(&made.value),
            read_optional(&made.requests),
            read_optional(&made.scrapes),
            read_optional(&made.age),
            self.series(made.freshness.as_ref(), asked, remote, credentials),
        );
        match answers {
            Ok((value, requests, scrapes, age, series)) => Sample {
                value: value.value,
                requests: requests.and_then(|requests| requests.value),
                scrapes: scrapes.map(|scrapes| scrapes.value.map_or(0, count_of)),
                window: asked.window,
                age_ms: age
                    .and_then(|age| age.value)
                    .map(milliseconds_of)
                    .or(value.age_ms),
                skew_ms: value.skew_ms,
                read: series,
                stable: None,
                error: String::new(),
            },
            Err(error) => unknown(asked, &credentials.hide(&crate::desired::chain(&error))),
        }
    }

    /// Finds out how fresh the series are that a query of one's own reads.
    async fn series(
        &self,
        freshness: Option<&Freshness>,
        asked: &Asked,
        remote: &Remote,
        credentials: &Credentials,
    ) -> Result<Vec<Read>, QueryError> {
        let Some(freshness) = freshness else {
            return Ok(Vec::new());
        };
        let question = Question {
            address: &remote.address,
            query: &freshness.query,
            window: asked.window,
            credentials,
        };
        let answer = self.prometheus.read_by(question, PART).await?;
        Ok(freshness.read(&answer, Some(asked.in_force)))
    }
}

/// What is asked of a source about one of the two versions.
fn asked_of(
    asked: &Asked,
    remote: &Remote,
    target: &QueryTarget,
    min_requests: u32,
) -> Result<MetricQueries, MetricQueryError> {
    let metric = &asked.metric;
    if remote.kind == MetricSourceKind::Prometheus {
        let wanted = metric.min_requests.unwrap_or(min_requests);
        return queries(metric, target, asked.window, wanted);
    }
    let value = filled(metric, remote.kind, target, asked.window)?;
    Ok(MetricQueries {
        value,
        requests: None,
        scrapes: None,
        age: None,
        freshness: None,
    })
}

/// Tells whether a metric's query is another one for the old version: a query that names neither shows the same
/// for both.
fn tells_apart(asked: &Asked, remote: &Remote, target: &QueryTarget) -> bool {
    let of = |side| {
        let target = QueryTarget {
            side,
            ..target.clone()
        };
        asked_of(asked, remote, &target, 0).map(|made| made.value)
    };
    of(Side::Canary) != of(Side::Stable)
}

/// Measures both versions at once, of which the second is for people alone: a check does not wait for it longer
/// than [`BESIDE_WITHIN`].
async fn beside(
    canary: impl Future<Output = Sample>,
    stable: impl Future<Output = Sample>,
) -> (Sample, Option<Sample>) {
    let (canary, stable) = (std::pin::pin!(canary), std::pin::pin!(stable));
    match futures::future::select(canary, stable).await {
        Either::Left((canary, stable)) => {
            let stable = tokio::time::timeout(BESIDE_WITHIN, stable).await;
            (canary, stable.ok())
        }
        Either::Right((stable, canary)) => (canary.await, Some(stable)),
    }
}

fn unknown(asked: &Asked, why: &str) -> Sample {
    Sample {
        window: asked.window,
        error: why.chars().take(200).collect(),
        ..Sample::default()
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
        window: asked.window,
        ..Sample::default()
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
mod tests;
