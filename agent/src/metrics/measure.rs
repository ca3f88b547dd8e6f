//! One check of every metric of a plan.

mod reach;

use std::{collections::BTreeSet, sync::Arc};

use bellwether_agent_core::{
    analysis::{
        MetricQueries, QueryTarget, Sample, SeriesSet, Side, effective_window, filled, queries,
    },
    machine::{MetricSample, SampleRequest, Samples},
};
use bellwether_api::{
    analysis::{Aggregation, METRIC_NAMES, Metric, REQUEST_DURATION, REQUEST_SUCCESS_RATE},
    bundle::Bundle,
    duration::Dur,
    metric_template::{MetricSourceKind, SecretKeyRef},
    rollout::RolloutSpec,
    traffic::Traffic,
};
use jiff::Timestamp;

use super::{
    cloudwatch::CloudWatch,
    credentials::{Credentials, SecretError, SecretReader},
    datadog::Datadog,
    exchange::Exchange,
    http_json::HttpJson,
    probe::{Probe, Window},
    prometheus::Prometheus,
    source::{MetricProvider, QueryError, Question, Reading},
};
use crate::clock::Clock;

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

/// Where one metric is read.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Probe,
    Remote(Remote),
    /// Nowhere, and why.
    Nowhere(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Remote {
    kind: MetricSourceKind,
    address: String,
    secret: Option<SecretAt>,
}

/// A Secret, and whose it is. What a plan names lies in the workload's namespace, so that who may
/// write plans reads no Secret of the agent's.
#[derive(Clone, Debug, PartialEq, Eq)]
enum SecretAt {
    Workload(SecretKeyRef),
    Agent(SecretKeyRef),
}

/// One check that is to be made.
#[derive(Debug)]
pub struct Measurement {
    request: SampleRequest,
    at: Timestamp,
    target: QueryTarget,
    min_requests: u32,
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
    /// The workload's namespace.
    pub namespace: &'a str,
    /// The user's own Deployment.
    pub workload: &'a str,
    /// The apex Service; empty = there is none.
    pub service: &'a str,
    /// The Service's port; absent = it cannot be told.
    pub port: Option<u16>,
    /// Where the canary's pods and its Service are reached; empty = there is no Service.
    pub canary_addresses: BTreeSet<String>,
    /// What probes; absent = nothing does.
    pub probe: Option<&'a Probe>,
    /// The old and the new revision of a workload that keeps them itself; absent = it does not.
    pub revisions: Option<[String; 2]>,
}

/// The object of the user by which the routes that are measured know the Service; empty = they know the
/// Service itself.
fn copied_name(traffic: &[Traffic], service: &str) -> String {
    let first = traffic.iter().find(|one| !one.routes().is_empty());
    first
        .and_then(|one| one.copied(service))
        .map_or_else(String::new, |copied| copied.name)
}

impl Measurement {
    /// Makes up what is to be measured at `now`.
    #[must_use]
    pub fn new(subject: &Subject<'_>, request: SampleRequest, now: Timestamp) -> Self {
        let gateway = subject
            .bundle
            .metrics
            .as_ref()
            .map(|metrics| metrics.gateway_series)
            .unwrap_or_default();
        let (series, route) = SeriesSet::of_traffic(&subject.plan.traffic, gateway);
        let batch = subject.plan.strategy.batch.as_ref();
        let target = QueryTarget {
            series,
            namespace: subject.namespace.to_owned(),
            workload: subject.workload.to_owned(),
            service: subject.service.to_owned(),
            port: subject.port,
            route,
            copied: copied_name(&subject.plan.traffic, subject.service),
            canary_addresses: subject.canary_addresses.clone(),
            side: if batch.is_some_and(|batch| !batch.splits()) {
                Side::Stable
            } else {
                Side::Canary
            },
            in_place: batch.is_some(),
            per_node: subject.plan.copies_daemon_set(),
            revisions: subject.revisions.clone(),
        };
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
            min_requests: subject.plan.analysis.min_requests,
            asked,
        }
    }
}

/// Decides where a metric is read: its own address with its own Secret, or the cluster's (or the
/// fleet's) with theirs; never one's address with another's Secret.
fn source_of(metric: &Metric, bundle: &Bundle) -> Source {
    let own = metric.source.as_ref();
    let kind = own.map_or(MetricSourceKind::Prometheus, |source| source.kind);
    if kind == MetricSourceKind::Probe {
        return Source::Probe;
    }
    if let Some(source) = own
        && let Some(address) = &source.address
    {
        return Source::Remote(Remote {
            kind,
            address: address.clone(),
            secret: source.secret_ref.clone().map(SecretAt::Workload),
        });
    }
    match &bundle.metrics {
        Some(metrics) if kind == MetricSourceKind::Prometheus => Source::Remote(Remote {
            kind,
            address: metrics.address.clone(),
            secret: metrics.secret_ref.clone().map(SecretAt::Agent),
        }),
        // Without any source the agent asks the pods itself, for what it can tell by that.
        None if own.is_none() && is_probed(metric) => Source::Probe,
        _ => Source::Nowhere(format!(
            "{kind:?} has no address: neither the metric nor the cluster nor the fleet gives one"
        )),
    }
}

/// Whether a probe can tell the metric: what a query or a template asks for is not in its answers,
/// whatever the metric is named.
fn is_probed(metric: &Metric) -> bool {
    metric.query.is_none()
        && metric.template.is_none()
        && METRIC_NAMES.contains(&metric.name.as_str())
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
        if asked.metric.relative.is_none() {
            return side(Side::Canary).await;
        }
        let (canary, stable) = tokio::join!(side(Side::Canary), side(Side::Stable));
        Sample {
            stable: Some(Box::new(stable)),
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
        let metric = &asked.metric;
        let wanted = metric.min_requests.unwrap_or(min_requests);
        let made = if remote.kind == MetricSourceKind::Prometheus {
            queries(metric, &target, asked.window, wanted)
        } else {
            filled(metric, remote.kind, &target, asked.window).map(|value| MetricQueries {
                value,
                requests: None,
                scrapes: None,
                age: None,
            })
        };
        let made = match made {
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
        );
        match answers {
            Ok((value, requests, scrapes, age)) => Sample {
                value: value.value,
                requests: requests.and_then(|requests| requests.value),
                scrapes: scrapes.map(|scrapes| scrapes.value.map_or(0, whole)),
                window: asked.window,
                age_ms: age
                    .and_then(|age| age.value)
                    .map(milliseconds)
                    .or(value.age_ms),
                skew_ms: value.skew_ms,
                stable: None,
                error: String::new(),
            },
            Err(error) => unknown(asked, &credentials.hide(&crate::desired::chain(&error))),
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

#[expect(
    clippy::cast_possible_truncation,
    reason = "a float cast saturates, which is what an age needs"
)]
fn milliseconds(seconds: f64) -> i64 {
    (seconds * 1_000.0).round() as i64
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
