//! How the runs of a bundle end.

use std::collections::{BTreeMap, BTreeSet};

use bellwether_agent_core::config_stamp::AsFound;
use bellwether_api::{
    bundle::Bundle,
    reference::ObjectRef,
    status::{FailureReason, Phase, TrackSummary},
};

use crate::{
    rollout::{self, Run, Versions},
    sync::{
        events::News,
        unit::{Pass, PassError, Unit, chart_hooks::has_hooks_after, memory, run_of},
    },
};

impl Unit {
    /// Tells whether the namespaces of all runs go away. Nothing can be created there any more, and
    /// a track that is kept until everything is as it was would keep its namespace for ever.
    pub(super) async fn namespaces_end(&self) -> Result<bool, PassError> {
        for run in self.runs.values() {
            let namespace = ObjectRef {
                api_version: "v1".to_owned(),
                kind: "Namespace".to_owned(),
                namespace: None,
                name: run.scene.namespace.clone(),
            };
            let live = self.shell.cluster.get(&namespace).await?;
            if live.is_some_and(|live| !rollout::is_deleting(&live)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Lets go of runs in namespaces that go away: they have failed, and nothing is written back.
    pub(super) async fn let_go_of_runs(
        &mut self,
        digest: &str,
        previous: &str,
    ) -> Result<Pass, PassError> {
        let versions = Versions {
            new: self.bundle(digest).await?,
            old: self.bundle(previous).await?,
            // Nothing is written any more.
            found: AsFound::default(),
        };
        let why = "the namespace is being deleted".to_owned();
        let failure = Some((FailureReason::TargetGone, why));
        self.finish(digest, &versions, &BTreeSet::new(), failure)
            .await?;
        Ok(Pass::again())
    }

    /// Remembers how the runs ended, and only then removes their tracks.
    pub(super) async fn finish_runs(
        &mut self,
        digest: &str,
        versions: &Versions,
        objects: &BTreeSet<ObjectRef>,
    ) -> Result<(), PassError> {
        let failure = self.failure();
        self.finish(digest, versions, objects, failure).await
    }

    async fn finish(
        &mut self,
        digest: &str,
        versions: &Versions,
        objects: &BTreeSet<ObjectRef>,
        failure: Option<(FailureReason, String)>,
    ) -> Result<(), PassError> {
        let summaries: Vec<TrackSummary> = self
            .runs
            .values()
            .filter_map(|run| run.summary().cloned())
            .map(|summary| match &failure {
                Some(_) => TrackSummary {
                    phase: Phase::Failed,
                    ..summary
                },
                None => summary,
            })
            .collect();
        let marked: BTreeSet<String> = self
            .runs
            .values()
            .filter(|run| {
                run.failure()
                    .is_some_and(|(reason, _)| marks_template(reason))
            })
            .filter_map(|run| versions.digest_of(&run.rollout))
            .collect();
        let why = failure
            .as_ref()
            .map(|(reason, message)| format!("{reason:?}: {message}"));
        let hooks_follow = failure.is_none() && self.hooks_follow(digest, &versions.new);
        let news = match &failure {
            None if hooks_follow => News::info(
                "RolloutEnded",
                format!("revision {} is in; its hooks follow", versions.new.revision),
            ),
            None => News::info(
                "Succeeded",
                format!("revision {} runs", versions.new.revision),
            ),
            Some((reason, message)) => News::error(
                "Failed",
                format!(
                    "revision {} was taken back: {reason:?}: {message}",
                    versions.new.revision
                ),
            ),
        };
        self.tell(run_of(&versions.new), news, |unit| {
            if hooks_follow && memory::runs_over_but_hooks(unit, digest, &summaries) {
                return;
            }
            memory::runs_over(unit, digest, objects, &summaries, &marked, why.as_deref());
        })
        .await?;
        self.laid = None;
        self.close_runs().await
    }

    /// Tells whether hooks of a bundle's charts run now that its runs have brought it in.
    fn hooks_follow(&self, digest: &str, bundle: &Bundle) -> bool {
        let unit = self.shell.desired.unit(&self.key);
        unit.is_some_and(|unit| has_hooks_after(&unit, digest, bundle))
    }

    /// Why the runs failed: the first that failed by itself, not because of another.
    fn failure(&self) -> Option<(FailureReason, String)> {
        let failures: BTreeMap<bool, (FailureReason, String)> = self
            .runs
            .values()
            .filter_map(Run::failure)
            .map(|failure| (failure.0 == FailureReason::RollbackAll, failure))
            .collect();
        failures.into_values().next()
    }
}

/// Tells whether a failure is the template's own fault, so that it is not tried again by itself.
pub(in crate::sync::unit) fn marks_template(reason: FailureReason) -> bool {
    matches!(
        reason,
        FailureReason::FailedChecks
            | FailureReason::DeadlineExceeded
            | FailureReason::Manual
            | FailureReason::HookRollback
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn superseded_templates_may_come_again() {
        assert!(marks_template(FailureReason::FailedChecks));
        assert!(marks_template(FailureReason::Manual));
        assert!(!marks_template(FailureReason::Superseded));
        assert!(!marks_template(FailureReason::RollbackAll));
        assert!(!marks_template(FailureReason::TargetGone));
    }
}
