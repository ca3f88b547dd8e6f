//! Checks: measured when they are due, whatever else is under way.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bellwether_agent_core::machine::{
    Decision, PromotionPart, SampleRequest, Samples, Stage, StepPart,
};
use jiff::Timestamp;

use super::{LastLook, Run};
use crate::{
    clock::Clock,
    metrics::{Measurement, Subject},
    rollout::{asking::Asking, observe::Seen},
};

/// A check that is being made, or that begins by itself once it is due.
pub(super) struct Measuring {
    request: SampleRequest,
    asking: Asking<Made>,
}

struct Made {
    samples: Samples,
    /// How late it began; absent = it was not due before.
    late: Option<Duration>,
}

/// Where the canary's pods and its Service are reached, as was seen last: a check that begins by itself
/// goes by what is known then.
#[derive(Clone, Default)]
pub(super) struct Addresses(Arc<Mutex<BTreeSet<String>>>);

impl Addresses {
    pub(super) fn note(&self, seen: BTreeSet<String>) {
        *self.lock() = seen;
    }

    fn known(&self) -> BTreeSet<String> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Run {
    /// Lets the probe ask the canary's ready pods, where the plan measures by probe.
    pub(super) fn aim(&mut self, look: &LastLook, seen: &Seen<'_>) {
        let tested = !self.state.split().is_none()
            || matches!(
                self.state.stage,
                Stage::Step {
                    part: StepPart::Analysing { .. } | StepPart::Gate { .. },
                    ..
                }
            );
        let wanted = tested && seen.meter.probes(&self.rollout.spec, seen.bundle);
        if !wanted {
            self.probe = None;
            return;
        }
        let Some(port) = look.ports.container else {
            return;
        };
        let targets: BTreeSet<String> = look
            .observations
            .canary_endpoints
            .ready
            .iter()
            .map(|address| host_port(address, port))
            .collect();
        self.probe
            .get_or_insert_with(|| Arc::new(seen.meter.probe()))
            .aim(targets);
    }

    /// Starts the check that is asked for, and has the one that is planned begin by itself: checks of
    /// one run never wait until a pass over others is done. A check that is neither is broken off, and
    /// its answer is of no use any more.
    pub(super) fn measure(&mut self, decision: &Decision, look: &LastLook, seen: &Seen<'_>) {
        let wanted = match (&decision.sample, &decision.planned) {
            (Some(request), _) => Some((request, self.check_due_at())),
            (None, Some(planned)) => Some((&planned.request, Some(planned.due))),
            (None, None) => None,
        };
        let Some((request, due)) = wanted else {
            self.measuring = None;
            self.samples = None;
            return;
        };
        let answered = self
            .samples
            .as_ref()
            .is_some_and(|samples| samples.check == request.check);
        if answered || self.is_measuring(request.check) {
            return;
        }
        self.measuring = Some(Measuring {
            request: request.clone(),
            asking: Asking::start(seen.poke, self.check(request.clone(), due, look, seen)),
        });
    }

    /// One check: what it needs is its own, so that it runs beside everything else.
    fn check(
        &self,
        request: SampleRequest,
        due: Option<Timestamp>,
        look: &LastLook,
        seen: &Seen<'_>,
    ) -> impl Future<Output = Made> + Send + 'static {
        let (meter, clock) = (seen.meter.clone(), seen.clock);
        let (bundle, rollout) = (Arc::clone(seen.bundle), Arc::clone(&self.rollout));
        let (scene, probe) = (&self.scene, self.probe.clone());
        let (namespace, workload) = (scene.namespace.clone(), scene.workload.name.clone());
        let service = scene.service.as_ref().map(|service| service.name.clone());
        let port = look.ports.service;
        let addresses = self.canary_addresses.clone();
        let revisions = self.state.revisions.as_ref();
        let revisions = revisions.and_then(|run| Some([run.old.clone(), run.new.clone()?]));
        async move {
            let late = match due {
                Some(due) => Some(wait_until(due, clock).await),
                None => None,
            };
            let subject = Subject {
                bundle: &bundle,
                plan: &rollout.spec,
                namespace: &namespace,
                workload: &workload,
                service: service.as_deref().unwrap_or_default(),
                port,
                canary_addresses: addresses.known(),
                probe: probe.as_deref(),
                revisions,
            };
            let measurement = Measurement::new(&subject, request, clock.now());
            Made {
                samples: meter.measure(measurement).await,
                late,
            }
        }
    }

    /// When the check that is asked for was due; absent = the step had not come to its checks before.
    const fn check_due_at(&self) -> Option<Timestamp> {
        match &self.state.stage {
            Stage::Step {
                part:
                    StepPart::Analysing { next_check_at, .. } | StepPart::Gate { next_check_at, .. },
                ..
            } => Some(*next_check_at),
            Stage::Promoting {
                part: PromotionPart::Gathering { judged: Some(at) },
            } => Some(at.next_check_at),
            _ => None,
        }
    }

    /// Tells whether a check is being made, or begins by itself.
    pub(super) fn is_measuring(&self, check: u64) -> bool {
        self.measuring
            .as_ref()
            .is_some_and(|measuring| measuring.request.check == check)
    }

    /// Tells whether the answer of a check is there.
    pub(super) fn is_measured(&self) -> bool {
        self.measuring
            .as_ref()
            .is_some_and(|measuring| measuring.asking.has_ended())
    }

    /// Takes in the answer that came.
    pub(super) fn collect_samples(&mut self) {
        if !self.is_measured() {
            return;
        }
        let Some(measuring) = self.measuring.take() else {
            return;
        };
        match measuring.asking.take() {
            Ok(made) => {
                self.samples = Some(made.samples);
                self.lateness = made.late;
            }
            Err(error) => {
                tracing::error!(rollout.id = %self.of.run, %error, "a measurement died");
            }
        }
    }
}

/// Waits until `due`. Gives how much later it is then.
async fn wait_until(due: Timestamp, clock: Clock) -> Duration {
    loop {
        let left = due.duration_since(clock.now());
        match Duration::try_from(left) {
            Ok(left) if left > Duration::ZERO => tokio::time::sleep(left).await,
            _ => return Duration::try_from(-left).unwrap_or_default(),
        }
    }
}

fn host_port(address: &str, port: u16) -> String {
    if address.contains(':') {
        format!("[{address}]:{port}")
    } else {
        format!("{address}:{port}")
    }
}
