//! Checks of fleets and clusters.

use super::{
    alerts, analysis, dependencies,
    finding::{Finding, Findings, Validated},
    fleet_hooks, hooks, names, placement, traffic, waves,
};
use crate::{
    cluster::ClusterSpec,
    document::{FieldPath, Kind, Object},
    fleet::{FleetSpec, MetricsDefaults},
    metric_template::MetricSourceKind,
};

/// A fleet that passed its checks.
#[derive(Clone, Debug)]
pub struct ValidatedFleet(Object<FleetSpec>);

impl ValidatedFleet {
    /// Returns the fleet.
    #[must_use]
    pub fn into_inner(self) -> Object<FleetSpec> {
        self.0
    }
}

/// A cluster's settings that passed their checks.
#[derive(Clone, Debug)]
pub struct ValidatedCluster(Object<ClusterSpec>);

impl ValidatedCluster {
    /// Returns the cluster's settings.
    #[must_use]
    pub fn into_inner(self) -> Object<ClusterSpec> {
        self.0
    }
}

/// Checks a fleet.
///
/// # Errors
///
/// Returns everything that is wrong with it.
pub fn fleet(object: Object<FleetSpec>) -> Result<Validated<ValidatedFleet>, Vec<Finding>> {
    check_fleet(&object).into_validated(ValidatedFleet(object))
}

/// Checks a cluster's settings.
///
/// # Errors
///
/// Returns everything that is wrong with them.
pub fn cluster(object: Object<ClusterSpec>) -> Result<Validated<ValidatedCluster>, Vec<Finding>> {
    check_cluster(&object).into_validated(ValidatedCluster(object))
}

pub(super) fn check_fleet(object: &Object<FleetSpec>) -> Findings {
    let mut findings = Findings::default();
    names::metadata(&mut findings, Kind::Fleet, &object.metadata);
    let (spec, path) = (&object.spec, FieldPath::spec());
    names::cluster_list(&mut findings, &path.key("clusters"), &spec.clusters);
    if let Some(selector) = &spec.selector {
        names::selector(&mut findings, &path.key("selector"), selector);
    }
    if spec.clusters.is_empty() && spec.selector.is_none() {
        findings.warn(
            &path,
            "neither clusters nor selector is set: the fleet has no members",
        );
    }
    let defaults = path.key("defaults");
    traffic::defaults(
        &mut findings,
        &defaults.key("traffic"),
        &spec.defaults.traffic,
        "fleet",
    );
    metrics(
        &mut findings,
        &defaults.key("metrics"),
        spec.defaults.metrics.as_ref(),
    );
    if let Some(load) = &spec.defaults.load_generator {
        hooks::load_settings(&mut findings, &defaults.key("loadGenerator"), load);
    }
    alerts::alerts(
        &mut findings,
        &defaults.key("alerts"),
        &spec.defaults.alerts,
    );
    let concurrency = spec.defaults.max_concurrent;
    waves::concurrency(&mut findings, &defaults.key("maxConcurrent"), concurrency);
    dependencies::applications(&mut findings, &path.key("addons"), "default", &spec.addons);
    fleet_hooks::hooks(&mut findings, &path.key("hooks"), &spec.hooks);
    findings
}

pub(super) fn check_cluster(object: &Object<ClusterSpec>) -> Findings {
    let mut findings = Findings::default();
    names::metadata(&mut findings, Kind::Cluster, &object.metadata);
    let path = FieldPath::spec().key("metrics");
    metrics(&mut findings, &path, object.spec.metrics.as_ref());
    traffic::defaults(
        &mut findings,
        &FieldPath::spec().key("traffic"),
        &object.spec.traffic,
        "cluster",
    );
    placement::taints(
        &mut findings,
        &FieldPath::spec().key("taints"),
        &object.spec.taints,
    );
    findings
}

fn metrics(findings: &mut Findings, path: &FieldPath, metrics: Option<&MetricsDefaults>) {
    if let Some(metrics) = metrics {
        http_address(findings, &path.key("address"), &metrics.address);
        if let Some(secret) = &metrics.secret_ref {
            let at = path.key("secretRef");
            analysis::secret_ref(findings, &at, MetricSourceKind::Prometheus, secret);
        }
    }
}

/// Checks an address of a Prometheus: `http(s)://host…`, without a password in it.
pub(super) fn http_address(findings: &mut Findings, path: &FieldPath, address: &str) {
    if let Err(why) = metrics_address(address) {
        findings.error(path, why);
    }
}

/// Checks an address of a Prometheus, as it stands outside of a document.
///
/// # Errors
///
/// Returns what is wrong with it.
pub fn metrics_address(address: &str) -> Result<(), &'static str> {
    let rest = address
        .strip_prefix("http://")
        .or_else(|| address.strip_prefix("https://"));
    let authority = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    match authority {
        None => Err("an address starts with http:// or https://"),
        Some("") => Err("the address names no host"),
        Some(authority) if authority.contains('@') => Err("an address carries no user or password"),
        Some(_) if address.contains(char::is_whitespace) => Err("an address holds no spaces"),
        Some(authority) if !has_port(authority) => Err("a port is a number from 1 to 65535"),
        Some(_) => Ok(()),
    }
}

/// Tells whether what stands where a port does is one, or nothing stands there.
fn has_port(authority: &str) -> bool {
    match authority.rsplit_once(':') {
        // The colons of an IPv6 address stand in brackets.
        Some((_, port)) if !port.ends_with(']') => port.parse::<u16>().is_ok_and(|port| port > 0),
        _ => true,
    }
}
