//! Whether what a cluster's checks will be read from answers at all.

use bellwether_agent_core::analysis::{QueryTarget, SeriesSet, Side, filled};
use bellwether_api::{
    analysis::Metric,
    bundle::Bundle,
    duration::Dur,
    fleet::GatewaySeries,
    metric_template::{MetricSourceKind, SecretKeyRef},
    rollout::RolloutSpec,
};
use bellwether_proto::wire::{MetricsAnswer, MetricsSource};

use super::{
    Meter, QueryError, Question, Remote, SecretAt, Source, source_of, subject::own_remote,
};
use crate::metrics::own::Silence;

/// Every Prometheus answers this, whatever it scrapes.
const ALWAYS: &str = "vector(1)";
/// Characters of an answer's message.
const MAX_MESSAGE_CHARS: usize = 300;
/// How far back a source is asked whose query does not say so itself.
const WINDOW: Dur = Dur::from_secs(60);

/// How CloudWatch refuses keys, with status 400.
const AWS_REFUSALS: [&str; 4] = [
    "ExpiredToken",
    "IncompleteSignature",
    "MissingAuthenticationToken",
    "UnrecognizedClient",
];

/// A source that a metric names itself, or its template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnSource {
    remote: Remote,
    /// The workload's namespace, where its Secret lies.
    namespace: String,
    /// What it is asked.
    query: String,
    /// Which metric of which rollout reads there, for people; several may.
    who: String,
}

impl OwnSource {
    /// The sources that the metrics of a rollout's plan name, each once. `namespace` is the workload's,
    /// unless the plan says another.
    #[must_use]
    pub fn of_plan(rollout: &str, plan: &RolloutSpec, namespace: &str) -> Vec<Self> {
        let namespace = plan.workload.namespace.as_deref().unwrap_or(namespace);
        let mut found: Vec<Self> = Vec::new();
        for metric in &plan.analysis.metrics {
            let source = own_remote(metric).and_then(|remote| {
                Some(Self {
                    query: question(metric, remote.kind, plan, namespace)?,
                    remote,
                    namespace: namespace.to_owned(),
                    who: format!("metric {} of rollout {rollout}", metric.key()),
                })
            });
            if let Some(source) = source
                && found.iter().all(|other| other.key() != source.key())
            {
                found.push(source);
            }
        }
        found
    }

    /// What tells it from other sources, whoever reads there: its Secret is that of a namespace.
    pub(in crate::metrics) fn key(&self) -> String {
        let secret_in = self.remote.secret.as_ref().map(|_| &self.namespace);
        format!("{:?} {secret_in:?} {:?}", self.remote, self.query)
    }

    pub(in crate::metrics) const fn kind(&self) -> MetricSourceKind {
        self.remote.kind
    }

    /// Says which source it is, who reads there, and why that does not answer.
    pub(in crate::metrics) fn sentence(&self, why: &str) -> String {
        format!("{} ({}): {why}", self.remote.address, self.who)
    }
}

/// What is asked to see whether a source is there: of a Prometheus what all of them know, of others
/// what the metric would ask of the old version, which is there in any case; `None` = it cannot be
/// filled in, which a check says.
fn question(
    metric: &Metric,
    kind: MetricSourceKind,
    plan: &RolloutSpec,
    namespace: &str,
) -> Option<String> {
    if kind == MetricSourceKind::Prometheus {
        return Some(ALWAYS.to_owned());
    }
    let (series, route) = SeriesSet::of_traffic(&plan.traffic, GatewaySeries::default());
    let service = plan.service.as_ref().map(|service| service.name.clone());
    let target = QueryTarget {
        series,
        namespace: namespace.to_owned(),
        workload: plan.workload.name.clone(),
        service: service.unwrap_or_default(),
        port: None,
        route,
        copied: String::new(),
        canary_addresses: std::collections::BTreeSet::new(),
        side: Side::Stable,
        in_place: false,
        per_node: false,
        revisions: None,
    };
    filled(metric, kind, &target, metric.window).ok()
}

impl Meter {
    /// Asks the source that the cluster or its fleet names, if a plan of `bundle` reads there, so
    /// that a wrong address or Secret shows before a check needs it. Returns why there is no answer;
    /// `None` = there is one, or nobody reads there.
    pub async fn unreachable(&self, bundle: &Bundle) -> Option<String> {
        let plans = bundle.rollouts.iter().map(|rollout| &rollout.spec);
        let remote = plans
            .flat_map(|plan| &plan.analysis.metrics)
            .find_map(|metric| of_cluster(metric, bundle))?;
        let tried = self.silent(&remote, &bundle.target_namespace, ALWAYS);
        tried.await.map(|silence| silence.message)
    }

    /// Asks a source that a plan names; `None` = somebody answers there.
    pub(in crate::metrics) async fn silence(&self, source: &OwnSource) -> Option<Silence> {
        let tried = self.silent(&source.remote, &source.namespace, &source.query);
        tried.await
    }

    /// Asks one source of the cluster; nothing of its Secret is in the answer.
    pub async fn try_source(&self, source: &MetricsSource) -> MetricsAnswer {
        let silence = self
            .silent(&remote_of(source), &self.namespace, ALWAYS)
            .await;
        MetricsAnswer {
            address: source.address.clone(),
            reason: silence
                .as_ref()
                .map(|one| one.reason.to_owned())
                .unwrap_or_default(),
            message: silence.map(|one| one.message).unwrap_or_default(),
        }
    }

    /// Asks one source, with its Secret; `None` = it is there.
    async fn silent(&self, remote: &Remote, namespace: &str, query: &str) -> Option<Silence> {
        let silence = |reason: &'static str, message: String| Silence {
            reason,
            message: message.chars().take(MAX_MESSAGE_CHARS).collect(),
        };
        let credentials = match self.credentials(remote, namespace).await {
            Ok(credentials) => credentials,
            Err(error) => return Some(silence("NoSecret", error.to_string())),
        };
        let question = Question {
            address: &remote.address,
            query,
            window: WINDOW,
            credentials: &credentials,
        };
        let is_prometheus = remote.kind == MetricSourceKind::Prometheus;
        match self.provider(remote.kind).read(question).await {
            Ok(reading) if is_prometheus && reading.value.is_none() => Some(silence(
                "NoPrometheus",
                format!("it has no value of {ALWAYS}, as every Prometheus has"),
            )),
            Ok(_) => None,
            Err(error) if !is_prometheus && is_an_answer(&error) => None,
            Err(error) => {
                let why = credentials.hide(&crate::desired::chain(&error));
                Some(silence(reason_of(&error, remote.kind), why))
            }
        }
    }
}

/// Whether somebody answered who knows what was asked of it, though it has nothing that could be judged:
/// of a version that is not there yet many have nothing.
fn is_an_answer(error: &QueryError) -> bool {
    match error {
        QueryError::Status { .. } => !refuses_keys(error),
        QueryError::TooLarge { .. } | QueryError::Refused(_) | QueryError::Ambiguous(_) => true,
        _ => false,
    }
}

fn remote_of(source: &MetricsSource) -> Remote {
    let named = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let secret = named(&source.secret).map(|name| SecretKeyRef {
        name,
        key: named(&source.secret_key),
    });
    Remote {
        kind: MetricSourceKind::Prometheus,
        address: source.address.clone(),
        secret: secret.map(SecretAt::Agent),
    }
}

/// Whether a source does not take who asks for somebody who may.
fn refuses_keys(error: &QueryError) -> bool {
    let QueryError::Status { status, words } = error else {
        return matches!(error, QueryError::NoCredential { .. });
    };
    matches!(status, 401 | 403) || AWS_REFUSALS.iter().any(|refusal| words.contains(refusal))
}

/// A word for why a source gives no answer.
fn reason_of(error: &QueryError, kind: MetricSourceKind) -> &'static str {
    match error {
        QueryError::Address { .. } => "BadAddress",
        QueryError::Tls(_) => "BadAuthority",
        QueryError::Unreachable(_) => "Unreachable",
        error if refuses_keys(error) => "Unauthorized",
        QueryError::Redirected(_) => "Redirected",
        _ => match kind {
            MetricSourceKind::Prometheus | MetricSourceKind::Probe => "NoPrometheus",
            MetricSourceKind::Datadog => "NoDatadog",
            MetricSourceKind::CloudWatch => "NoCloudWatch",
            MetricSourceKind::Http => "NoJson",
        },
    }
}

/// The source of a metric that names none of its own.
fn of_cluster(metric: &Metric, bundle: &Bundle) -> Option<Remote> {
    let own = metric.source.as_ref().and_then(|own| own.address.as_ref());
    match source_of(metric, bundle) {
        Source::Remote(remote) if own.is_none() => Some(remote),
        _ => None,
    }
}
