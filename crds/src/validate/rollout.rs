//! Checks of a rollout's own fields.

use super::{
    adapted_copy, adopted, alerts, analysis,
    finding::{Finding, Findings, Validated},
    hooks, in_place, names, node_copy, strategy, traffic,
};
use crate::{
    document::{FieldPath, Kind, Object},
    duration::Dur,
    rollout::{PortRef, RolloutSpec, ServiceMetadata, ServiceRef, WorkloadRef},
};

/// A rollout that passed its checks.
#[derive(Clone, Debug)]
pub struct ValidatedRollout(Object<RolloutSpec>);

impl ValidatedRollout {
    /// Returns the rollout.
    #[must_use]
    pub fn into_inner(self) -> Object<RolloutSpec> {
        self.0
    }
}

/// Checks a rollout that stands alone. What its application renders is checked by
/// [`super::governed()`].
///
/// # Errors
///
/// Returns everything that is wrong with it.
pub fn rollout(object: Object<RolloutSpec>) -> Result<Validated<ValidatedRollout>, Vec<Finding>> {
    check(&object).into_validated(ValidatedRollout(object))
}

pub(super) fn check(object: &Object<RolloutSpec>) -> Findings {
    let mut findings = Findings::default();
    names::metadata(&mut findings, Kind::Rollout, &object.metadata);
    let path = FieldPath::spec();
    match (&object.spec.application, &object.spec.destination) {
        (Some(application), None) => {
            names::name(&mut findings, &path.key("application"), application);
        }
        (None, Some(destination)) => {
            adopted::check(&mut findings, &path, &object.spec, destination);
        }
        (Some(_), Some(_)) => findings.error(
            &path.key("destination"),
            "leave it out: the application says which clusters get the workload",
        ),
        (None, None) => findings.error(
            &path.key("application"),
            "a Rollout that stands alone names the application that renders its workload, or the \
             destination whose clusters have it already",
        ),
    }
    if let Some(component) = &object.spec.component {
        names::name(&mut findings, &path.key("component"), component);
    }
    spec(&mut findings, &path, &object.spec);
    findings
}

/// Checks a rollout that stands in a component.
pub(super) fn inline(findings: &mut Findings, path: &FieldPath, rollout: &RolloutSpec) {
    for (field, is_set) in [
        ("application", rollout.application.is_some()),
        ("component", rollout.component.is_some()),
        ("destination", rollout.destination.is_some()),
    ] {
        if is_set {
            findings.error(
                &path.key(field),
                "leave it out here: the rollout belongs to the component that it stands in",
            );
        }
    }
    spec(findings, path, rollout);
}

fn spec(findings: &mut Findings, path: &FieldPath, rollout: &RolloutSpec) {
    in_place::workload(findings, &path.key("workload"), rollout);
    adapted_copy::workload(findings, &path.key("workload"), rollout);
    workload(findings, &path.key("workload"), &rollout.workload);
    if let Some(service) = &rollout.service {
        service_ref(findings, &path.key("service"), service);
    } else if !rollout.traffic.is_empty() && !rollout.workload.keeps_revisions() {
        findings.error(
            &path.key("traffic"),
            "traffic is split behind a Service; set service to the one that clients use",
        );
    }
    strategy::check(findings, path, rollout);
    node_copy::check(findings, path, rollout);
    adapted_copy::check(findings, path, rollout);
    traffic::of_rollout(findings, &path.key("traffic"), rollout);
    traffic::revisions(findings, path, rollout);
    analysis::check(findings, &path.key("analysis"), rollout);
    hooks::check(findings, &path.key("hooks"), rollout);
    alerts::of_rollout(findings, path, rollout);
    let at_least_one_second = "use at least 1s";
    if rollout.progress_deadline < Dur::from_secs(1) {
        findings.error(&path.key("progressDeadline"), at_least_one_second);
    } else if rollout.progress_deadline <= rollout.analysis.interval {
        findings.warn(
            &path.key("progressDeadline"),
            "it is not longer than analysis.interval: a run may end before its first check",
        );
    }
    if rollout.history_limit == 0 {
        findings.error(&path.key("historyLimit"), "use at least 1");
    }
}

fn workload(findings: &mut Findings, path: &FieldPath, workload: &WorkloadRef) {
    names::name(findings, &path.key("name"), &workload.name);
    if let Some(namespace) = &workload.namespace {
        names::name(findings, &path.key("namespace"), namespace);
    }
}

fn service_ref(findings: &mut Findings, path: &FieldPath, service: &ServiceRef) {
    names::name(findings, &path.key("name"), &service.name);
    for (field, port) in [
        ("port", Some(&service.port)),
        ("targetPort", service.target_port.as_ref()),
    ] {
        let valid = match port {
            Some(PortRef::Number(number)) => *number > 0,
            Some(PortRef::Name(name)) => is_port_name(name),
            None => true,
        };
        if !valid {
            findings.error(
                &path.key(field),
                "a port is a number of 1 to 65535 or a port's name",
            );
        }
    }
    let protocol = service.app_protocol.as_ref();
    if protocol.is_some_and(|protocol| !names::is_label_key(protocol)) {
        findings.error(
            &path.key("appProtocol"),
            "a protocol is a name such as http, or one with a prefix such as kubernetes.io/h2c",
        );
    }
    if let Some(words) = &service.canary {
        service_metadata(findings, &path.key("canary"), words);
    }
}

/// What tells the run's own Service apart is not the user's to write.
fn service_metadata(findings: &mut Findings, path: &FieldPath, words: &ServiceMetadata) {
    let own =
        |key: &str| key.starts_with("bellwether.dev/") || key == "app.kubernetes.io/managed-by";
    for (field, words) in [
        ("labels", &words.labels),
        ("annotations", &words.annotations),
    ] {
        for (key, value) in words {
            let at = path.key(field).key(key);
            names::metadata_key(findings, &at, key);
            if field == "labels" {
                names::label_value(findings, &at, value);
            }
            if own(key) {
                findings.error(
                    &at,
                    "Bellwether says this of its own Services; leave it out",
                );
            }
        }
    }
}

/// IANA service names: at most 15 of `a-z`, `0-9` and `-`, with a letter among them.
fn is_port_name(name: &str) -> bool {
    names::is_dns_label(name)
        && name.len() <= 15
        && name.contains(|c: char| c.is_ascii_lowercase())
        && !name.contains("--")
}
