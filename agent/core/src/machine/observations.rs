//! What the shell has seen of the cluster when it asks for a decision.

use std::collections::BTreeSet;

use bellwether_api::{duration::Dur, number::Weight};
use jiff::Timestamp;

use super::overlay::{InPlaceWant, RevisionsWant};
use crate::{
    autoscaling::AutoscalerView,
    hooks::HookOutcome,
    provider::{RouteObservation, Split},
    settled::{DeploymentView, ReplicaSetView},
};

/// Everything that a decision may look at. What is not known is absent, and then nothing rises.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observations {
    /// Whether all of this was read after the shell's own last write, from synced caches or from
    /// the API server. `false` holds the run as it is.
    pub fresh: bool,
    /// The user's workload; absent = it does not exist.
    pub workload: Option<DeploymentView>,
    /// What else is known of a workload that is updated in place; absent = it is none, or does not
    /// exist.
    pub in_place: Option<InPlaceView>,
    /// What else is known of a workload that keeps revisions; absent = it does not, or does not exist.
    pub revisions: Option<RevisionsView>,
    /// Versions of the workload: ReplicaSets whose controller it is, or its ControllerRevisions.
    pub replica_sets: Vec<ReplicaSetView>,
    /// The copy of this run and attempt; absent = it does not exist.
    pub canary: Option<CanaryView>,
    /// Pods of a copy that was deleted with its pods, which still run; 0 where a copy goes after them.
    pub canary_pods_left: u32,
    /// Whether the canary Service of this run and attempt exists.
    pub canary_service: bool,
    /// The apex Service and every other Service of the namespace whose own selector (without a pin
    /// of ours) matches the labels of canary pods.
    pub services: Vec<ServiceView>,
    /// Addresses in the apex Service's EndpointSlices.
    pub apex_endpoints: Endpoints,
    /// Addresses in the canary Service's EndpointSlices.
    pub canary_endpoints: Endpoints,
    /// One entry for each route that the plan names, found or not.
    pub routes: Vec<RouteView>,
    /// Whether somebody else delivers the workload, so that its size is nobody's here.
    pub delivered_by_others: bool,
    /// HorizontalPodAutoscalers and ScaledObjects that target the workload, without those that a
    /// ScaledObject makes.
    pub autoscalers: Vec<AutoscalerView>,
    /// Objects of the names that the run needs which are not this run's, as `Kind/name`.
    pub foreign_objects: Vec<String>,
    /// Whether copies of configuration that this run made exist.
    pub canary_config: bool,
    /// Rollouts of the same release that test configuration which this one changes too, and that do
    /// not promote yet.
    pub config_held_by: Vec<String>,
    /// Objects of the release that the API server has not taken, and what it says; empty = it has
    /// all that is to be there by now.
    pub untaken: String,
    /// Fields of the run's objects that a human changed, as `Kind/name: what`.
    pub foreign_edits: Vec<String>,
    /// The Rollout goes away: the track carries a deletion timestamp.
    pub deleted: bool,
    /// The namespace goes away: objects can no longer be created.
    pub namespace_terminating: bool,
    /// The answer to the last [`super::SampleRequest`].
    pub samples: Option<Samples>,
    /// Answers to [`super::HookRequest`]s.
    pub hooks: Vec<HookAnswer>,
    /// How long the data plane needs after the route's status says that it is programmed
    /// ([`crate::provider::SETTLE`] unless configured).
    pub route_settle: Dur,
}

/// A workload that is updated in place. Its counts stand in [`Observations::workload`] too, whose
/// `revision` is that of its template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InPlaceView {
    /// What it was applied with; absent = it is not known to have been applied.
    pub written: Option<InPlaceWant>,
    /// Pods that its controller keeps from the template; absent = it does not say.
    pub partition: Option<u32>,
    /// Pods of the template's revision.
    pub updated: u32,
    /// Those of them that are available.
    pub updated_available: u32,
    /// Those of them that the partition would keep back, where it is an ordinal: they were let go before
    /// it rose, and stay as they are.
    pub kept_new: u32,
    /// What the revision label says on pods of the template's revision; empty = there is no such pod.
    pub label: String,
    /// Why new pods do not become ready, such as `ErrImagePull: …`; empty = nothing is known.
    pub trouble: String,
}

/// A workload that keeps revisions of its template and shares requests between them. Its generations
/// stand in [`Observations::workload`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RevisionsView {
    /// What it was applied with; absent = it is not known to have been applied.
    pub written: Option<RevisionsWant>,
    /// The revision of the newest template that its controller has seen; empty = there is none.
    pub created: String,
    /// Whether that one can serve; `false` also while nobody knows.
    pub is_ready: bool,
    /// Why that one cannot serve, as its controller says for certain; empty = nothing is known.
    pub trouble: String,
    /// Whether the newest revision has every request.
    pub has_all: bool,
}

/// The copy of the workload. Of a DaemonSet's, nodes are counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CanaryView {
    /// `spec.replicas`.
    pub replicas: u32,
    /// `metadata.generation`.
    pub generation: i64,
    /// `status.observedGeneration`; 0 = none.
    pub observed_generation: i64,
    /// `status.updatedReplicas`.
    pub updated: u32,
    /// `status.readyReplicas`.
    pub ready: u32,
    /// `status.availableReplicas`.
    pub available: u32,
    /// Why pods do not become ready, such as `ErrImagePull: …`; empty = nothing is known.
    pub trouble: String,
    /// What the revision label says on its pods, where an adapter names one; empty = there are none, or
    /// their labels are not looked at.
    pub labels: BTreeSet<String>,
    /// Whether it carries a deletion timestamp.
    pub deleting: bool,
    /// Whether it is not known to be written as the run wants it: its pods may be of a version that
    /// somebody else wrote.
    pub unwritten: bool,
}

/// A Service that would select canary pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceView {
    /// The name.
    pub name: String,
    /// The `pod-template-hash`, or what the revision label says, that its selector carries now; absent = none.
    pub pin: Option<String>,
    /// Why it cannot be pinned (not delivered by the hub, selects pods of other workloads too);
    /// empty = it can.
    pub unpinnable: String,
}

/// Addresses of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// Ready and not terminating.
    pub ready: BTreeSet<String>,
    /// The others.
    pub not_ready: BTreeSet<String>,
}

impl Endpoints {
    /// Tells whether any address stands in both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.all()
            .any(|address| other.ready.contains(address) || other.not_ready.contains(address))
    }

    fn all(&self) -> impl Iterator<Item = &String> {
        self.ready.iter().chain(&self.not_ready)
    }

    /// Counts ready addresses.
    #[must_use]
    pub fn ready_count(&self) -> u32 {
        u32::try_from(self.ready.len()).unwrap_or(u32::MAX)
    }
}

/// A route that splits traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteView {
    /// `Kind/name`.
    pub name: String,
    /// The API server says that there is no such route, so that it gives nobody anything.
    pub is_missing: bool,
    /// The canary's share in its rules; absent = missing, or its rules disagree.
    pub weight: Option<Weight>,
    /// The split that it carries as it was written; absent = it carries another, or it is not known.
    pub split: Option<Split>,
    /// What its status says.
    pub observation: RouteObservation,
    /// What the plan asks of it that whatever serves it cannot do; absent = nothing is known to be.
    pub lacking: Option<String>,
    /// Whether whatever serves it has to know the canary's Service before it gives that anything.
    pub announces: bool,
}

/// The answer to one [`super::HookRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookAnswer {
    /// The hook's name.
    pub hook: String,
    /// The request's number; another number is ignored.
    pub call: u64,
    /// How the call ended.
    pub outcome: HookOutcome,
}

/// The answer to one [`super::SampleRequest`].
#[derive(Clone, Debug, PartialEq)]
pub struct Samples {
    /// The request's number; another number is ignored.
    pub check: u64,
    /// When it was measured.
    pub at: Timestamp,
    /// One per metric of the plan; one that is missing counts as no data.
    pub metrics: Vec<MetricSample>,
}

/// One measured metric.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricSample {
    /// The metric's name.
    pub metric: String,
    /// What was measured.
    pub sample: crate::analysis::Sample,
}
