//! What every unit's task shares.

use std::{sync::Arc, time::Duration};

use bellwether_api::duration::Dur;
use tokio::sync::Semaphore;

use super::{access::Access, cluster::Cluster, watch::Watches};
use crate::{desired::Desired, metrics::Meter, report::Reports, telemetry::Figures};

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
    /// What is counted.
    pub figures: Figures,
    /// How long a data plane may need after its controller said that a route is programmed.
    pub route_settle: Dur,
    /// Bounds the work at once.
    pub permits: Semaphore,
}

impl Shell {
    /// Puts the parts together.
    #[must_use]
    pub fn new(
        client: kube::Client,
        desired: Desired,
        reports: Reports,
        meter: Meter,
        figures: Figures,
        route_settle: Dur,
    ) -> Arc<Self> {
        let cluster = Arc::new(Cluster::new(client));
        Arc::new(Self {
            watches: Watches::new(Arc::clone(&cluster)),
            cluster,
            desired,
            reports,
            access: Access::default(),
            meter,
            figures,
            route_settle,
            permits: Semaphore::new(MAX_AT_ONCE),
        })
    }
}
