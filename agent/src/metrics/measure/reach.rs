//! Whether what a cluster's checks will be read from answers at all.

use bellwether_api::{analysis::Metric, bundle::Bundle, duration::Dur};

use super::{Meter, Question, Remote, Source, source_of};

/// Every Prometheus answers this, whatever it scrapes.
const ALWAYS: &str = "vector(1)";

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

/// The source of a metric that names none of its own.
fn of_cluster(metric: &Metric, bundle: &Bundle) -> Option<Remote> {
    let own = metric.source.as_ref().and_then(|own| own.address.as_ref());
    match source_of(metric, bundle) {
        Source::Remote(remote) if own.is_none() => Some(remote),
        _ => None,
    }
}
