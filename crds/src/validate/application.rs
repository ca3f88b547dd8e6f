//! Checks of applications.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    alerts, dependencies,
    finding::{Finding, Findings, Validated},
    governed, manifests, names, overrides, placement, publish_version, rollout, sources, sync,
    waves,
};
use crate::{
    application::{ApplicationSpec, Component, Destination},
    document::{FieldPath, Kind, Object},
};

/// An application that passed its checks.
#[derive(Clone, Debug)]
pub struct ValidatedApplication(Object<ApplicationSpec>);

impl ValidatedApplication {
    /// Returns the application.
    #[must_use]
    pub fn into_inner(self) -> Object<ApplicationSpec> {
        self.0
    }
}

/// Checks an application with everything that stands in it.
///
/// # Errors
///
/// Returns everything that is wrong with it.
pub fn application(
    object: Object<ApplicationSpec>,
) -> Result<Validated<ValidatedApplication>, Vec<Finding>> {
    check(&object).into_validated(ValidatedApplication(object))
}

pub(super) fn check(object: &Object<ApplicationSpec>) -> Findings {
    let mut findings = Findings::default();
    names::metadata(&mut findings, Kind::Application, &object.metadata);
    publish_version::check(&mut findings, object);
    dependencies::of_application(&mut findings, &object.metadata, &object.spec);
    check_spec(&mut findings, &object.spec, None);
    findings
}

/// Checks an application whose components were rendered: its spec, with the objects in place of
/// their sources. `hooks` are objects beside those, which are run at some moment, by component.
#[must_use]
pub fn rendered(spec: &ApplicationSpec, hooks: &BTreeMap<String, Vec<Value>>) -> Findings {
    let mut findings = Findings::default();
    check_spec(&mut findings, spec, Some(hooks));
    findings
}

/// `hooks` are there where the application was rendered.
fn check_spec(
    findings: &mut Findings,
    spec: &ApplicationSpec,
    hooks: Option<&BTreeMap<String, Vec<Value>>>,
) {
    let path = FieldPath::spec();
    destination(findings, &path.key("destination"), &spec.destination);
    if let Some(policy) = &spec.placement {
        placement::policy(findings, &path.key("placement"), policy);
    }
    if let Some(namespace) = &spec.target_namespace {
        names::name(findings, &path.key("targetNamespace"), namespace);
    }
    if let Some(account) = &spec.service_account {
        names::service_account(findings, &path.key("serviceAccount"), account);
    }
    if spec.history_limit == 0 {
        findings.error(&path.key("historyLimit"), "use at least 1");
    }
    waves::waves(findings, &path.key("waves"), &spec.waves);
    alerts::alerts(findings, &path.key("alerts"), &spec.alerts);
    components(findings, &path.key("components"), spec);
    dependencies::of_components(findings, &path.key("components"), spec);
    sources::interval(findings, &path, spec);
    sync::ignore(findings, &path, spec);
    sync::timeouts(findings, &path, spec);
    manifests::check(findings, spec);
    overrides::check(findings, &path.key("overrides"), spec, hooks);
    inline_rollouts(findings, &path.key("components"), spec);
}

pub(super) fn destination(findings: &mut Findings, path: &FieldPath, destination: &Destination) {
    let Destination {
        fleet,
        selector,
        clusters,
    } = destination;
    if fleet.is_none() && selector.is_none() && clusters.is_empty() {
        findings.error(path, "set at least one of fleet, selector, clusters");
    }
    if let Some(fleet) = fleet {
        names::name(findings, &path.key("fleet"), fleet);
    }
    if let Some(selector) = selector {
        names::selector(findings, &path.key("selector"), selector);
    }
    names::cluster_list(findings, &path.key("clusters"), clusters);
}

fn components(findings: &mut Findings, path: &FieldPath, spec: &ApplicationSpec) {
    if spec.components.is_empty() {
        findings.error(path, "an application has at least one component");
    }
    let mut seen = BTreeMap::new();
    for (index, component) in spec.components.iter().enumerate() {
        let at = path.index(index);
        names::name(findings, &at.key("name"), &component.name);
        if let Some(first) = seen.insert(component.name.as_str(), index) {
            findings.error(
                &at.key("name"),
                format!(
                    "two components are named {:?}; the first is components[{first}]",
                    component.name
                ),
            );
        }
        one_component(findings, &at, component);
    }
}

fn one_component(findings: &mut Findings, path: &FieldPath, component: &Component) {
    if let Some(namespace) = &component.target_namespace {
        names::name(findings, &path.key("targetNamespace"), namespace);
    }
    if let Some(account) = &component.service_account {
        names::service_account(findings, &path.key("serviceAccount"), account);
    }
    if let Some(here) = &component.destination {
        destination(findings, &path.key("destination"), here);
    }
    for (index, one) in component.overrides.iter().enumerate() {
        if !one.components.is_empty() {
            findings.error(
                &path.key("overrides").index(index).key("components"),
                "an override of a component concerns this component alone; leave it out",
            );
        }
    }
    sources::source(findings, path, component);
    sync::health(findings, &path.key("health"), component);
}

fn inline_rollouts(findings: &mut Findings, path: &FieldPath, spec: &ApplicationSpec) {
    let mut governed_names = BTreeSet::new();
    for (index, component) in spec.components.iter().enumerate() {
        let Some(plan) = &component.rollout else {
            continue;
        };
        let at = path.index(index).key("rollout");
        rollout::inline(findings, &at, plan);
        governed::check(findings, &at, plan, spec, Some(&component.name));
        if !governed_names.insert((
            plan.workload.namespace.as_deref(),
            plan.workload.name.as_str(),
        )) {
            findings.error(
                &at.key("workload"),
                format!(
                    "two rollouts govern {} {}",
                    plan.workload.kind, plan.workload.name
                ),
            );
        }
    }
}
