//! What every unit's task shares.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bellwether_api::duration::Dur;
use tokio::{sync::Semaphore, time::Instant};

use super::{access::Access, cluster::Cluster, watch::Watches};
use crate::{
    clock::Clock,
    desired::Desired,
    hooks::HookCaller,
    link::bulk::SampleOutbox,
    metrics::{KubeSecrets, Meter, OwnSources},
    report::Reports,
    telemetry::Figures,
    webhook,
};

/// Units that are worked on at once.
const MAX_AT_ONCE: usize = 4;
/// How often every object is looked at again although no watch said anything.
pub const FULL_PASS: Duration = Duration::from_secs(300);
/// How long a plain update may take until its objects are healthy.
pub const PLAIN_DEADLINE: Duration = Duration::from_secs(600);

/// What every unit's task shares.
pub struct Shell {
    /// The member cluster.
    pub cluster: Arc<Cluster>,
    /// What the hub wants, and what the agent remembers.
    pub desired: Desired,
    /// Where statuses go.
    pub reports: Reports,
    /// What the agent may do.
    pub access: Access,
    /// What wakes units.
    pub watches: Watches,
    /// What measures canaries.
    pub meter: Meter,
    /// Whether the sources answer that plans name themselves.
    pub own_sources: OwnSources,
    /// What calls hooks.
    pub hooks: HookCaller,
    /// The time by which runs are decided.
    pub clock: Clock,
    /// What is counted.
    pub figures: Figures,
    /// How long a data plane may need after its controller said that a route is programmed.
    pub route_settle: Dur,
    /// Metric samples for people.
    pub samples: SampleOutbox,
    /// Whether the API server asks before it takes writes to workloads of others.
    pub webhook: webhook::Status,
    /// Bounds the work at once.
    pub permits: Semaphore,
    looked_at: Mutex<BTreeMap<String, Instant>>,
}

impl Shell {
    /// Puts the parts together.
    #[must_use]
    pub fn new(
        client: kube::Client,
        desired: Desired,
        reports: Reports,
        meter: Meter,
        clock: Clock,
        figures: Figures,
        route_settle: Dur,
    ) -> Arc<Self> {
        let hooks = HookCaller::new(Arc::new(KubeSecrets(client.clone())));
        let cluster = Arc::new(Cluster::fenced(client, desired.fence()));
        Arc::new(Self {
            watches: Watches::new(Arc::clone(&cluster)),
            cluster,
            desired,
            reports,
            access: Access::default(),
            meter,
            own_sources: OwnSources::default(),
            hooks,
            clock,
            figures,
            route_settle,
            samples: SampleOutbox::default(),
            webhook: webhook::Status::default(),
            permits: Semaphore::new(MAX_AT_ONCE),
            looked_at: Mutex::default(),
        })
    }

    /// Notes that every object of a unit was looked at.
    pub fn looked_at(&self, unit: &str) {
        self.lock().insert(unit.to_owned(), Instant::now());
    }

    /// Milliseconds since every object of every unit was last looked at; 0 = there are no units.
    #[must_use]
    pub fn drift_age_ms(&self) -> u64 {
        let age = self
            .lock()
            .values()
            .map(Instant::elapsed)
            .max()
            .unwrap_or_default();
        self.figures.drift_age_seconds.set(age.as_secs_f64());
        u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Instant>> {
        self.looked_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
