//! Whether the metrics of a cluster answer: what its agent is to ask, and what came of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bellwether_api::{call::Condition, fleet::MetricsDefaults};
use bellwether_hub_core::metrics_sources::{SourceAnswer, condition, is_unreachable};
use bellwether_proto::wire;
use bellwether_store::{Store, clusters};
use uuid::Uuid;

use crate::telemetry::chain;

/// What one cluster's session has to do with the cluster's metrics.
#[derive(Debug)]
pub(super) struct MetricsLink(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Whether the agent asked where to ask; others would not understand.
    listens: bool,
    /// Absent = it is not known yet.
    wanted: Option<Arc<[MetricsDefaults]>>,
    told: bool,
    recorded: Option<Condition>,
}

impl MetricsLink {
    /// Begins with what was recorded last.
    pub(super) const fn new(recorded: Option<Condition>) -> Self {
        Self(Mutex::new(State {
            listens: false,
            wanted: None,
            told: false,
            recorded,
        }))
    }

    /// Says where the cluster's metrics are read; gives whether that is news.
    pub(super) fn aim(&self, wanted: &Arc<[MetricsDefaults]>) -> bool {
        let mut state = self.lock();
        if state.wanted.as_ref() == Some(wanted) {
            return false;
        }
        state.wanted = Some(Arc::clone(wanted));
        state.told = false;
        true
    }

    /// Takes what the agent is to be told now.
    pub(super) fn take(&self) -> Option<wire::MetricsSources> {
        let mut state = self.lock();
        if !state.listens || state.told {
            return None;
        }
        let sources = state.wanted.as_ref()?.iter().map(source_of).collect();
        state.told = true;
        Some(wire::MetricsSources { sources })
    }

    /// Takes in what the agent found; writes what people would see differently.
    pub(super) fn hear(&self, store: &Store, cluster: Uuid, report: wire::MetricsReport) {
        let mut state = self.lock();
        state.listens = true;
        if !report.asked {
            return;
        }
        let answers: Vec<SourceAnswer> = report.answers.into_iter().map(answer_of).collect();
        let found = condition(&answers);
        if found == state.recorded {
            return;
        }
        state.recorded.clone_from(&found);
        drop(state);
        if let Some(found) = found.as_ref().filter(|found| is_unreachable(found)) {
            let (reason, message) = (&found.reason, &found.message);
            tracing::warn!(cluster.id = %cluster, reason, message, "metrics do not answer");
        }
        let store = store.clone();
        tokio::spawn(async move {
            let recorded = clusters::record_metrics(&store, cluster, found.as_ref()).await;
            if let Err(error) = recorded {
                let error = chain(&error);
                tracing::warn!(cluster.id = %cluster, error, "what metrics answer was not recorded");
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn source_of(metrics: &MetricsDefaults) -> wire::MetricsSource {
    let secret = metrics.secret_ref.as_ref();
    wire::MetricsSource {
        address: metrics.address.clone(),
        secret: secret.map(|at| at.name.clone()).unwrap_or_default(),
        secret_key: secret.and_then(|at| at.key.clone()).unwrap_or_default(),
    }
}

fn answer_of(answer: wire::MetricsAnswer) -> SourceAnswer {
    SourceAnswer {
        address: answer.address,
        reason: answer.reason,
        message: answer.message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(addresses: &[&str]) -> Arc<[MetricsDefaults]> {
        let at = |address: &&str| MetricsDefaults {
            address: (*address).to_owned(),
            ..MetricsDefaults::default()
        };
        addresses.iter().map(at).collect()
    }

    #[test]
    fn an_agent_that_asked_is_told_once_and_again_when_it_changes() {
        let link = MetricsLink::new(None);
        let first = sources(&["http://a"]);
        assert!(link.aim(&first));
        assert!(link.take().is_none(), "an agent that would not understand");
        link.lock().listens = true;
        let told = link.take().expect("it asked");
        assert_eq!(told.sources[0].address, "http://a");
        assert!(link.take().is_none(), "once");
        assert!(!link.aim(&sources(&["http://a"])), "no news");
        assert!(link.take().is_none());
        assert!(link.aim(&sources(&[])));
        assert_eq!(link.take().map(|told| told.sources.len()), Some(0));
    }
}
