//! What agents report of what policy engines found.

use std::time::{Duration, Instant};

use bellwether_api::compliance::{
    Compliance, MAX_POLICIES, PolicyCounts, PolicySource, ResultCounts,
};
use bellwether_proto::wire;
use bellwether_store::{Store, clusters};
use jiff::Timestamp;
use uuid::Uuid;

use super::properties::MAX_TEXT_BYTES;
use crate::telemetry::chain;

/// How often a report is taken in: agents of ours say less.
const EVERY: Duration = Duration::from_secs(10);
/// Bytes of what an agent may say of what it could not count.
const MAX_PROBLEM_BYTES: usize = 1_024;

/// What one session said of policies.
#[derive(Debug, Default)]
pub(super) struct ComplianceLink {
    heard: Option<Instant>,
}

impl ComplianceLink {
    /// Takes in what the agent counted.
    pub(super) fn hear(
        &mut self,
        store: &Store,
        cluster: Uuid,
        report: wire::ComplianceReport,
        now: Timestamp,
    ) {
        let too_often = self.heard.is_some_and(|heard| heard.elapsed() < EVERY);
        let Some(found) = found(report).filter(|_| !too_often) else {
            tracing::warn!(cluster.id = %cluster, too_often, "a report on policies was dropped");
            return;
        };
        self.heard = Some(Instant::now());
        let store = store.clone();
        tokio::spawn(async move {
            if let Err(error) = clusters::record_compliance(&store, cluster, &found, now).await {
                let error = chain(&error);
                tracing::warn!(cluster.id = %cluster, error, "a report on policies was not recorded");
            }
        });
    }
}

/// Reads a report; absent = no agent of ours would say that.
fn found(report: wire::ComplianceReport) -> Option<Compliance> {
    let too_much = report.policies.len() > MAX_POLICIES
        || report.problem.len() > MAX_PROBLEM_BYTES
        || report
            .policies
            .iter()
            .any(|one| one.policy.len() > MAX_TEXT_BYTES);
    if too_much {
        return None;
    }
    let policies = report.policies.into_iter().map(|one| {
        let source = match one.source.as_str() {
            "PolicyReport" => PolicySource::PolicyReport,
            "Gatekeeper" => PolicySource::Gatekeeper,
            _ => return None,
        };
        Some(PolicyCounts {
            policy: one.policy.replace('\0', "\u{fffd}"),
            source,
            counts: ResultCounts {
                pass: one.pass,
                fail: one.fail,
                warn: one.warn,
                error: one.error,
                skip: one.skip,
            },
        })
    });
    Some(Compliance {
        policies: policies.collect::<Option<_>>()?,
        more: report.more,
        problem: report.problem.replace('\0', "\u{fffd}"),
    })
}
