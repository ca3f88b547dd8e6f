//! Jobs as tests: made under a name of their own, waited for, taken away.

use std::time::Duration;

use bellwether_agent_core::{
    hooks::HookOutcome,
    machine::HookRequest,
    names::{RUN_LABEL, cut},
};
use bellwether_api::{hooks::Hook, track::RolloutTrack};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::time::{sleep, timeout};

use super::{canary::owned, scene::Scene, views};
use crate::{
    desired::chain,
    sync::cluster::{ApplyMode, Cluster, ClusterError, ROLLOUT_MANAGER, reference},
};

/// How often a Job is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How much longer than its own deadline a Job is waited for.
const GRACE: Duration = Duration::from_secs(15);
/// Seconds after which the cluster itself removes a Job that the agent left.
const REMOVED_AFTER_S: u32 = 600;
/// How much of a reason is passed on, in characters.
const MAX_WHY: usize = 200;

/// A Job that answers a call. It belongs to the track, so that nothing outlives the run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TestJob {
    object: Value,
    owner: String,
    lasts: Duration,
}

impl TestJob {
    /// Makes up the Job of one call; `None` = the hook runs none. The same call always has the same
    /// name, so that an agent that takes the run up finds the Job of the one before.
    pub(super) fn of(
        hook: &Hook,
        request: &HookRequest,
        scene: &Scene,
        track: &RolloutTrack,
    ) -> Option<Self> {
        let job = hook.job.as_ref()?;
        let of = track.metadata.name.as_deref().unwrap_or_default();
        let deadline_s = hook.timeout.as_signed().as_secs().max(1);
        let mut template = job.template.clone();
        if let Some(spec) = template.get_mut("spec").and_then(Value::as_object_mut) {
            spec.entry("restartPolicy")
                .or_insert_with(|| json!("Never"));
        }
        let object = json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {
                "name": name_of(&scene.label, request, of),
                "namespace": scene.namespace,
                "labels": {RUN_LABEL: scene.label},
            },
            "spec": {
                "activeDeadlineSeconds": deadline_s,
                "backoffLimit": hook.retries,
                "ttlSecondsAfterFinished": REMOVED_AFTER_S,
                "template": template,
            },
        });
        Some(Self {
            object: owned(object, track),
            owner: track.metadata.uid.clone().unwrap_or_default(),
            lasts: Duration::from_secs(deadline_s.unsigned_abs()) + GRACE,
        })
    }

    /// Runs it to its end and takes it away.
    pub(super) async fn run(self, cluster: &Cluster) -> HookOutcome {
        let ended = timeout(self.lasts, self.end(cluster)).await;
        let outcome = match ended {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => failed(&chain(&error)),
            Err(_elapsed) => failed("its Job did not end in its time"),
        };
        if let Err(error) = self.remove(cluster).await {
            // It goes with the run at the latest.
            tracing::warn!(error = %chain(&error), "a hook's Job is not removed");
        }
        outcome
    }

    async fn end(&self, cluster: &Cluster) -> Result<HookOutcome, ClusterError> {
        let target = reference(&self.object).ok_or(ClusterError::Unnamed)?;
        match cluster.get(&target).await? {
            None => {
                cluster
                    .apply(ROLLOUT_MANAGER, &self.object, ApplyMode::Force)
                    .await?;
            }
            Some(live) if self.is_own(&live) => {}
            Some(_) => return Ok(failed(&format!("{target} exists and is not of this run"))),
        }
        loop {
            let Some(live) = cluster.get(&target).await? else {
                return Ok(failed("its Job was deleted"));
            };
            if let Some(outcome) = outcome_of(&live) {
                return Ok(outcome);
            }
            sleep(LOOK).await;
        }
    }

    async fn remove(&self, cluster: &Cluster) -> Result<(), ClusterError> {
        let target = reference(&self.object).ok_or(ClusterError::Unnamed)?;
        match cluster.get(&target).await? {
            Some(live) if self.is_own(&live) => {
                cluster.delete(&target, Some(&views::uid(&live))).await
            }
            _ => Ok(()),
        }
    }

    fn is_own(&self, live: &Value) -> bool {
        let owners = live
            .pointer("/metadata/ownerReferences")
            .and_then(Value::as_array);
        let mut owners = owners.into_iter().flatten();
        owners.any(|owner| owner["uid"] == self.owner.as_str())
    }
}

/// The name of the Job of a call by the track `of`. Rollouts of one release share the label of its run.
fn name_of(run: &str, request: &HookRequest, of: &str) -> String {
    let call = format!("{run} {of} {} {}", request.hook, request.call);
    let digest = hex::encode(&Sha256::digest(call.as_bytes())[..5]);
    cut(&format!("hook-{digest}-{}", request.hook))
}

/// How a Job ended; absent = it has not.
fn outcome_of(job: &Value) -> Option<HookOutcome> {
    let conditions = job.pointer("/status/conditions")?.as_array()?;
    conditions
        .iter()
        .filter(|condition| text(condition, "status") == "True")
        .find_map(|condition| match text(condition, "type") {
            "Complete" => Some(HookOutcome::Passed),
            "Failed" => Some(failed(&format!(
                "its Job failed: {}: {}",
                text(condition, "reason"),
                text(condition, "message")
            ))),
            _ => None,
        })
}

fn text<'a>(condition: &'a Value, field: &str) -> &'a str {
    condition
        .get(field)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn failed(why: &str) -> HookOutcome {
    HookOutcome::Failed {
        why: why.chars().take(MAX_WHY).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rollouts_of_one_release_have_jobs_of_their_own() {
        let request = |call| HookRequest {
            hook: "smoke".into(),
            call,
        };
        let name = |rollout: &str, call| name_of("run-1", &request(call), rollout);
        assert_eq!(name("web", 0), name("web", 0), "it is found again");
        let others = [name("api", 0), name("web", 1)];
        assert!(!others.contains(&name("web", 0)), "{others:?}");
    }

    #[test]
    fn a_job_passes_when_it_completes_and_fails_when_it_fails() {
        let job = |kind: &str, status: &str| {
            json!({"status": {"conditions": [
                {"type": kind, "status": status, "reason": "DeadlineExceeded", "message": "too long"},
            ]}})
        };
        assert_eq!(
            outcome_of(&job("Complete", "True")),
            Some(HookOutcome::Passed)
        );
        assert_eq!(outcome_of(&job("Complete", "False")), None);
        assert_eq!(outcome_of(&job("SuccessCriteriaMet", "True")), None);
        assert_eq!(outcome_of(&json!({})), None);
        let why = "its Job failed: DeadlineExceeded: too long".to_owned();
        assert_eq!(
            outcome_of(&job("Failed", "True")),
            Some(HookOutcome::Failed { why })
        );
    }
}
