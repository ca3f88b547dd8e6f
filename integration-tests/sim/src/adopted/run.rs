//! A run under way, and what is known of it.

use bellwether_agent_core::{
    adopted::Held,
    analysis::Sample,
    machine::{MetricSample, RunState, SampleRequest, Samples, Stage},
};
use bellwether_api::{
    bundle::BundleMode,
    command::{Abort, AbortCause, Command},
    duration::Dur,
    reference::ObjectRef,
    status::Verdict,
    track::RolloutTrackSpec,
};
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::site::{Site, image_of};
use crate::{
    invariant::Broken,
    scenario::{Quality, application},
};

/// The Rollout's name.
pub(super) const ROLLOUT: &str = "web";

/// A run under way.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub spec: RolloutTrackSpec,
    pub state: RunState,
    pub new: Value,
    pub old: Value,
    /// The route as its owner had it when the run began.
    pub route: Value,
}

impl Run {
    pub(super) fn image(&self) -> String {
        image_of(&self.new)
    }

    pub(super) const fn held(&self) -> Held<'_> {
        Held {
            rollout: ROLLOUT,
            new: &self.new,
            old: &self.old,
        }
    }

    /// The run ends where another template is wanted by now.
    pub(super) fn note_template(&mut self, site: &Site) {
        let changed = site.workload["spec"]["template"] != self.new;
        let back = matches!(
            self.state.stage,
            Stage::RollingBack { .. } | Stage::Failed { .. }
        );
        if changed && !back && self.spec.command.abort.is_none() {
            self.spec.command.abort = Some(Abort {
                cause: AbortCause::Superseded,
                by: "bellwether-agent".to_owned(),
                reason: String::new(),
            });
        }
    }
}

/// I9: nothing is promoted without a verdict that is true.
pub(super) fn proven(run: &Run, next: &RunState) -> Result<(), Broken> {
    let promotes = matches!(next.stage, Stage::Promoting { .. })
        && matches!(run.state.stage, Stage::Step { .. });
    let passed = next.verdicts.last().map(|verdict| verdict.verdict) == Some(Verdict::Pass);
    let image = run.image();
    if promotes && !(passed && Quality::of(&image) == Quality::Good) {
        let detail = format!("{image} was promoted on {:?}", next.verdicts);
        return Err(Broken::new("I9-proof", detail));
    }
    Ok(())
}

pub(super) fn measure(request: &SampleRequest, run: &Run, site: &Site, now: Timestamp) -> Samples {
    let good = Quality::of(&run.image()) == Quality::Good;
    let value = if good { 100.0 } else { 80.0 };
    let sample = Sample {
        value: Some(value),
        requests: Some(1_000.0),
        scrapes: Some(10),
        window: Dur::from_secs(20),
        ..Sample::default()
    };
    let answered = site.carried.percent() > 0;
    Samples {
        check: request.check,
        at: now,
        metrics: vec![MetricSample {
            metric: "request-success-rate".to_owned(),
            sample: if answered { sample } else { Sample::default() },
        }],
    }
}

/// The grant of a run, by its number.
pub(super) fn grant(number: u64, slow: bool) -> RolloutTrackSpec {
    let weights = if slow {
        json!([20, 40, 60])
    } else {
        json!([50])
    };
    let plan = serde_json::from_value(json!({
        "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "namespace": "shop"},
        "service": {"name": "web", "port": 80},
        "traffic": [{"gatewayApi": {"httpRoutes": ["web"]}}],
        "strategy": {"canary": {"weights": weights}},
        "progressDeadline": "60s",
        "drain": "1s",
        "analysis": {
            "interval": "3s", "failureThreshold": 2,
            "metrics": [{"name": "request-success-rate", "range": {"min": "99"}, "window": "20s"}],
        },
    }))
    .expect("the rollout is ours");
    let run = Uuid::from_u128(0x0AD0_0000 + u128::from(number));
    RolloutTrackSpec {
        application: application(),
        release: number.to_string(),
        revision: number,
        run,
        attempt: 1,
        generation: 1,
        mode: BundleMode::Rollout,
        workload: ObjectRef {
            api_version: "apps/v1".to_owned(),
            kind: "Deployment".to_owned(),
            namespace: Some("shop".to_owned()),
            name: "web".to_owned(),
        },
        plan,
        command: Command {
            run,
            attempt: 1,
            ..Command::default()
        },
        local: None,
    }
}
