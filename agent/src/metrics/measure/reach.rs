//! Whether what a cluster's checks will be read from answers at all.

use bellwether_api::{
    analysis::Metric,
    bundle::Bundle,
    duration::Dur,
    metric_template::{MetricSourceKind, SecretKeyRef},
};
use bellwether_proto::wire::{MetricsAnswer, MetricsSource};

use super::{Meter, QueryError, Question, Remote, SecretAt, Source, source_of};

/// Every Prometheus answers this, whatever it scrapes.
const ALWAYS: &str = "vector(1)";
/// Characters of an answer's message.
const MAX_MESSAGE_CHARS: usize = 300;

impl Meter {
    /// Asks the source that the cluster or its fleet names, if a plan of `bundle` reads there, so
    /// that a wrong address or Secret shows before a check needs it. Returns why there is no answer;
    /// `None` = there is one, or nobody reads there.
    pub async fn unreachable(&self, bundle: &Bundle) -> Option<String> {
        let plans = bundle.rollouts.iter().map(|rollout| &rollout.spec);
        let remote = plans
            .flat_map(|plan| &plan.analysis.metrics)
            .find_map(|metric| of_cluster(metric, bundle))?;
        let credentials = match self.credentials(&remote, &bundle.target_namespace).await {
            Ok(credentials) => credentials,
            Err(error) => return Some(error.to_string()),
        };
        let question = Question {
            address: &remote.address,
            query: ALWAYS,
            window: Dur::from_secs(60),
            credentials: &credentials,
        };
        let error = self.provider(remote.kind).read(question).await.err()?;
        Some(credentials.hide(&crate::desired::chain(&error)))
    }
}

impl Meter {
    /// Asks one source of the cluster; nothing of its Secret is in the answer.
    pub async fn try_source(&self, source: &MetricsSource) -> MetricsAnswer {
        let answer = |reason: &str, message: String| MetricsAnswer {
            address: source.address.clone(),
            reason: reason.to_owned(),
            message: message.chars().take(MAX_MESSAGE_CHARS).collect(),
        };
        let remote = remote_of(source);
        let credentials = match self.credentials(&remote, &self.namespace).await {
            Ok(credentials) => credentials,
            Err(error) => return answer("NoSecret", error.to_string()),
        };
        let question = Question {
            address: &remote.address,
            query: ALWAYS,
            window: Dur::from_secs(60),
            credentials: &credentials,
        };
        match self.provider(remote.kind).read(question).await {
            Ok(reading) if reading.value.is_some() => answer("", String::new()),
            Ok(_) => answer(
                "NoPrometheus",
                format!("it has no value of {ALWAYS}, as every Prometheus has"),
            ),
            Err(error) => {
                let why = credentials.hide(&crate::desired::chain(&error));
                answer(reason_of(&error), why)
            }
        }
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

/// A word for why a source gives no answer.
const fn reason_of(error: &QueryError) -> &'static str {
    match error {
        QueryError::Address { .. } => "BadAddress",
        QueryError::Tls(_) => "BadAuthority",
        QueryError::Unreachable(_) => "Unreachable",
        QueryError::Status {
            status: 401 | 403, ..
        }
        | QueryError::NoCredential { .. } => "Unauthorized",
        QueryError::Redirected(_) => "Redirected",
        _ => "NoPrometheus",
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
