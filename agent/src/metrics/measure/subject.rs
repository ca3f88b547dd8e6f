//! What one check asks: of which pods, where each metric is read, and over which window.

use std::{collections::BTreeSet, time::Duration};

use bellwether_agent_core::{
    analysis::{QueryTarget, SeriesSet, Side, effective_window},
    machine::SampleRequest,
};
use bellwether_api::{
    analysis::{METRIC_NAMES, Metric},
    bundle::Bundle,
    duration::Dur,
    metric_template::{MetricSourceKind, SecretKeyRef},
    rollout::RolloutSpec,
    traffic::Traffic,
};
use jiff::Timestamp;

use super::super::probe::{Probe, Window};

/// Where one metric is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Probe,
    Remote(Remote),
    /// Nowhere, and why.
    Nowhere(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remote {
    pub(super) kind: MetricSourceKind,
    pub(super) address: String,
    pub(super) secret: Option<SecretAt>,
}

/// A Secret, and whose it is. What a plan names lies in the workload's namespace, so that who may
/// write plans reads no Secret of the agent's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SecretAt {
    Workload(SecretKeyRef),
    Agent(SecretKeyRef),
}

/// One check that is to be made.
#[derive(Debug)]
pub struct Measurement {
    pub(super) request: SampleRequest,
    pub(super) at: Timestamp,
    pub(super) target: QueryTarget,
    pub(super) min_requests: u32,
    /// Whether both versions are measured for people to see, also where no limit compares them.
    pub(super) side_by_side: bool,
    pub(super) asked: Vec<Asked>,
}

#[derive(Debug)]
pub(super) struct Asked {
    pub(super) metric: Metric,
    pub(super) source: Source,
    pub(super) window: Dur,
    /// For how long the weight has been in force.
    pub(super) in_force: Dur,
    /// What the probe has seen in the window; absent = it does not run.
    pub(super) probed: Option<Window>,
}

/// What a check is made on.
#[derive(Debug)]
pub struct Subject<'a> {
    /// The bundle, which says where metrics are read.
    pub bundle: &'a Bundle,
    /// The plan.
    pub plan: &'a RolloutSpec,
    /// The workload's namespace.
    pub namespace: &'a str,
    /// The user's own Deployment.
    pub workload: &'a str,
    /// The apex Service; empty = there is none.
    pub service: &'a str,
    /// The Service's port; absent = it cannot be told.
    pub port: Option<u16>,
    /// Where the canary's pods and its Service are reached; empty = there is no Service.
    pub canary_addresses: BTreeSet<String>,
    /// What probes; absent = nothing does.
    pub probe: Option<&'a Probe>,
    /// The old and the new revision of a workload that keeps them itself; absent = it does not.
    pub revisions: Option<[String; 2]>,
}

/// The object of the user by which the routes that are measured know the Service; empty = they know the
/// Service itself.
fn copied_name(traffic: &[Traffic], service: &str) -> String {
    let first = traffic.iter().find(|one| !one.routes().is_empty());
    first
        .and_then(|one| one.copied(service))
        .map_or_else(String::new, |copied| copied.name)
}

impl Measurement {
    /// Makes up what is to be measured at `now`.
    #[must_use]
    pub fn new(subject: &Subject<'_>, request: SampleRequest, now: Timestamp) -> Self {
        let gateway = subject
            .bundle
            .metrics
            .as_ref()
            .map(|metrics| metrics.gateway_series)
            .unwrap_or_default();
        let (series, route) = SeriesSet::of_traffic(&subject.plan.traffic, gateway);
        let batch = subject.plan.strategy.batch.as_ref();
        let target = QueryTarget {
            series,
            namespace: subject.namespace.to_owned(),
            workload: subject.workload.to_owned(),
            service: subject.service.to_owned(),
            port: subject.port,
            route,
            copied: copied_name(&subject.plan.traffic, subject.service),
            canary_addresses: subject.canary_addresses.clone(),
            side: if batch.is_some_and(|batch| !batch.splits()) {
                Side::Stable
            } else {
                Side::Canary
            },
            in_place: batch.is_some(),
            per_node: subject.plan.copies_daemon_set() || subject.plan.copy_adapter().is_some(),
            revisions: subject.revisions.clone(),
        };
        // As a window that is longer than any weight has been in force.
        let in_force = effective_window(Dur::from(Duration::MAX), request.in_force_since, now);
        let asked = subject
            .plan
            .analysis
            .metrics
            .iter()
            .map(|metric| {
                let source = source_of(metric, subject.bundle);
                let window = effective_window(metric.window, request.in_force_since, now);
                let probed = match (&source, subject.probe) {
                    (Source::Probe, Some(probe)) => Some(probe.window(now - window.as_signed())),
                    _ => None,
                };
                Asked {
                    metric: metric.clone(),
                    source,
                    window,
                    in_force,
                    probed,
                }
            })
            .collect();
        Self {
            request,
            at: now,
            target,
            min_requests: subject.plan.analysis.min_requests,
            side_by_side: subject.plan.strategy.ab_test.is_some(),
            asked,
        }
    }
}

/// Decides where a metric is read: its own address with its own Secret, or the cluster's (or the
/// fleet's) with theirs; never one's address with another's Secret.
pub(super) fn source_of(metric: &Metric, bundle: &Bundle) -> Source {
    let own = metric.source.as_ref();
    let kind = own.map_or(MetricSourceKind::Prometheus, |source| source.kind);
    if kind == MetricSourceKind::Probe {
        return Source::Probe;
    }
    if let Some(remote) = own_remote(metric) {
        return Source::Remote(remote);
    }
    match &bundle.metrics {
        Some(metrics) if kind == MetricSourceKind::Prometheus => Source::Remote(Remote {
            kind,
            address: metrics.address.clone(),
            secret: metrics.secret_ref.clone().map(SecretAt::Agent),
        }),
        // Without any source the agent asks the pods itself, for what it can tell by that.
        None if own.is_none() && is_probed(metric) => Source::Probe,
        _ => Source::Nowhere(format!(
            "{kind:?} has no address: neither the metric nor the cluster nor the fleet gives one"
        )),
    }
}

/// The source that a metric names itself, or its template; `None` = it names none.
pub(super) fn own_remote(metric: &Metric) -> Option<Remote> {
    let source = metric.source.as_ref()?;
    let address = source.address.as_ref();
    let address = address.filter(|_| source.kind != MetricSourceKind::Probe)?;
    Some(Remote {
        kind: source.kind,
        address: address.clone(),
        secret: source.secret_ref.clone().map(SecretAt::Workload),
    })
}

/// Whether a probe can tell the metric: what a query or a template asks for is not in its answers,
/// whatever the metric is named.
fn is_probed(metric: &Metric) -> bool {
    metric.query.is_none()
        && metric.template.is_none()
        && METRIC_NAMES.contains(&metric.name.as_str())
}
