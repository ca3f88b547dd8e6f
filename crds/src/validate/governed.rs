//! Checks of a rollout against what its application renders.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    adapted_copy::{self, SIZED_ELSEWHERE},
    finding::Findings,
    in_place,
    manifests::{DEFAULT_NAMESPACE, Manifest, manifests_of, namespace_of},
    node_copy, routes, sync,
};
use crate::{
    adapted_copy::AUTOSCALED_SIZE,
    application::ApplicationSpec,
    document::{FieldPath, closest},
    rollout::{RolloutSpec, ServiceRef},
    strategy::{Autoscaler, Batch, InstancesMode},
};

/// Checks a rollout that stands alone against its application: paths are the rollout's.
#[must_use]
pub fn governed(rollout: &RolloutSpec, application: &ApplicationSpec) -> Findings {
    let mut findings = Findings::default();
    let path = FieldPath::spec();
    let component = rollout.component.as_deref();
    check(&mut findings, &path, rollout, application, component);
    findings
}

/// Checks a rollout against an application; `component` is the one that must render the workload,
/// absent = any.
pub(super) fn check(
    findings: &mut Findings,
    path: &FieldPath,
    rollout: &RolloutSpec,
    application: &ApplicationSpec,
    component: Option<&str>,
) {
    let known = |name: &str| {
        application
            .components
            .iter()
            .any(|known| known.name == name)
    };
    if let Some(name) = component
        && !known(name)
    {
        let names = application
            .components
            .iter()
            .map(|known| known.name.as_str());
        let meant = closest(name, names).map(str::to_owned);
        let message = format!("the application has no component {name:?}");
        findings.error_with(&path.key("component"), message, meant);
        return;
    }
    // What is not rendered yet is checked once it is.
    if application
        .components
        .iter()
        .any(|known| known.rendered_source().is_some())
    {
        return;
    }
    let manifests = manifests_of(application);
    let Some(workload) = find_workload(findings, path, rollout, &manifests, application, component)
    else {
        return;
    };
    autoscalers(findings, path, rollout, workload, &manifests);
    fixed_total(findings, &path.key("instances"), rollout, workload);
    in_place::governed(findings, &path.key("workload"), rollout, workload);
    node_copy::governed(findings, &path.key("workload"), rollout, workload);
    let at = path.key("workload");
    adapted_copy::governed(findings, &at, rollout, workload, &manifests);
    sync::governed(findings, &path.key("workload"), application, workload);
    if let Some(service) = &rollout.service {
        let at = path.key("service");
        apex(findings, &at, service, workload, &manifests);
        routes::check(
            findings,
            &path.key("traffic"),
            rollout,
            service,
            workload.namespace,
            &manifests,
        );
    }
}

fn find_workload<'a, 'm>(
    findings: &mut Findings,
    path: &FieldPath,
    rollout: &RolloutSpec,
    manifests: &'m [Manifest<'a>],
    application: &ApplicationSpec,
    component: Option<&str>,
) -> Option<&'m Manifest<'a>> {
    let wanted = &rollout.workload;
    let group = wanted
        .api_version
        .split_once('/')
        .map_or("", |(group, _)| group);
    let fallback = component
        .and_then(|name| {
            application
                .components
                .iter()
                .find(|known| known.name == name)
        })
        .map(|component| namespace_of(application, component))
        .or(application.target_namespace.as_deref())
        .unwrap_or(DEFAULT_NAMESPACE);
    let namespace = wanted.namespace.as_deref().unwrap_or(fallback);
    let in_scope = |manifest: &&Manifest<'_>| {
        component.is_none_or(|component| manifest.component == component)
    };
    let found = manifests
        .iter()
        .filter(in_scope)
        .find(|manifest| manifest.is(group, &wanted.kind, namespace, &wanted.name));
    if found.is_none() {
        let same_kind = manifests
            .iter()
            .filter(in_scope)
            .filter(|manifest| manifest.kind == wanted.kind);
        let names: Vec<&str> = same_kind.map(|manifest| manifest.name).collect();
        let meant = closest(&wanted.name, names).filter(|name| *name != wanted.name);
        let place = component.map_or_else(
            || "the application".to_owned(),
            |name| format!("component {name:?}"),
        );
        let message = format!(
            "{} {namespace}/{} is not among the manifests of {place}",
            wanted.kind, wanted.name
        );
        let at = path.key("workload").key("name");
        findings.error_with(&at, message, meant.map(str::to_owned));
    }
    found
}

/// Finds what scales the workload, and what that forbids.
fn autoscalers(
    findings: &mut Findings,
    path: &FieldPath,
    rollout: &RolloutSpec,
    workload: &Manifest<'_>,
    manifests: &[Manifest<'_>],
) {
    let instances = path.key("instances");
    let found: Vec<&Manifest<'_>> = manifests
        .iter()
        .filter(|manifest| scales(manifest, workload))
        .collect();
    let wanted = rollout.instances.autoscaler.as_ref();
    for manifest in &found {
        let named = |wanted: &Autoscaler| {
            (wanted.kind.name(), wanted.name.as_str()) == (manifest.kind, manifest.name)
        };
        if wanted.is_some_and(|wanted| !named(wanted)) {
            let message = format!(
                "{} {} is scaled by {} {}; name that one, or leave it out",
                workload.kind, workload.name, manifest.kind, manifest.name
            );
            findings.error(&instances.key("autoscaler"), message);
        }
        if rollout.instances.mode == InstancesMode::FixedTotal {
            let message = format!(
                "{} {} scales {} {}, whose pods FixedTotal would take; use Surge",
                manifest.kind, manifest.name, workload.kind, workload.name
            );
            findings.error(&instances.key("mode"), message);
        }
    }
    let batch = rollout.strategy.batch.as_ref();
    if let (Some(scaler), true) = (found.first(), batch.is_some_and(Batch::splits)) {
        let message = format!(
            "{} {} scales {} {}, and may take away the new pods to which a weight or match sends \
             requests; let steps say replicas alone",
            scaler.kind, scaler.name, workload.kind, workload.name
        );
        let steps = path.key("strategy").key("batch").key("steps");
        findings.error(&steps, message);
    }
    if let (Some(scaler), Some(adapter)) = (found.first(), rollout.copy_adapter())
        && adapter.replicas != AUTOSCALED_SIZE
    {
        let message = format!(
            "{} {} scales {} {}, whose size stands in {}; {SIZED_ELSEWHERE}",
            scaler.kind, scaler.name, workload.kind, workload.name, adapter.replicas
        );
        findings.error(
            &path.key("workload").key("adapter").key("replicas"),
            message,
        );
    }
    if let [one, other, ..] = found[..] {
        let message = format!(
            "{} {} and {} {} both scale {} {}; leave one",
            one.kind, one.name, other.kind, other.name, workload.kind, workload.name
        );
        findings.error(&path.key("workload"), message);
    }
}

fn scales(manifest: &Manifest<'_>, workload: &Manifest<'_>) -> bool {
    let scaler = matches!(
        (manifest.group(), manifest.kind),
        ("autoscaling", "HorizontalPodAutoscaler") | ("keda.sh", "ScaledObject")
    );
    let target = |field: &str| {
        manifest
            .at(&format!("/spec/scaleTargetRef/{field}"))
            .and_then(Value::as_str)
    };
    scaler
        && manifest.namespace == workload.namespace
        && target("kind").unwrap_or("Deployment") == workload.kind
        && target("name") == Some(workload.name)
}

/// A fixed total shrinks the workload for a while: what it shrinks from, and comes back to, must be
/// written down.
fn fixed_total(
    findings: &mut Findings,
    path: &FieldPath,
    rollout: &RolloutSpec,
    workload: &Manifest<'_>,
) {
    if rollout.instances.mode != InstancesMode::FixedTotal {
        return;
    }
    let name = workload.name;
    let Some(replicas) = workload.at("/spec/replicas").and_then(Value::as_u64) else {
        let message = format!(
            "FixedTotal shrinks {} {name} and gives it its size back, which its manifest does not \
             say; set spec.replicas there, or use Surge",
            workload.kind
        );
        findings.error(&path.key("mode"), message);
        return;
    };
    if rollout
        .instances
        .max_replicas
        .is_some_and(|max| u64::from(max) < replicas)
    {
        let message = format!(
            "{} {name} has {replicas} replicas: fewer in all would take pods from the version that \
             serves",
            workload.kind
        );
        findings.error(&path.key("maxReplicas"), message);
    }
}

/// Checks that the apex Service can be pinned to one version: its selector must be ours to extend.
///
/// A headless Service has a selector and can be pinned, but clients that resolve pods by DNS keep
/// the addresses that they have; it is accepted with a warning.
fn apex(
    findings: &mut Findings,
    path: &FieldPath,
    service: &ServiceRef,
    workload: &Manifest<'_>,
    manifests: &[Manifest<'_>],
) {
    let name = &service.name;
    let Some(found) = manifests
        .iter()
        .find(|manifest| manifest.is("", "Service", workload.namespace, name))
    else {
        let names: Vec<&str> = manifests
            .iter()
            .filter(|manifest| manifest.kind == "Service")
            .map(|manifest| manifest.name)
            .collect();
        let meant = closest(name, names)
            .filter(|meant| meant != name)
            .map(str::to_owned);
        let message = format!(
            "Service {}/{name} is not among the application's manifests",
            workload.namespace
        );
        findings.error_with(&path.key("name"), message, meant);
        return;
    };
    if found.at("/spec/type").and_then(Value::as_str) == Some("ExternalName") {
        findings.error(
            path,
            format!("Service {name} cannot be pinned to one version: it is of type ExternalName"),
        );
        return;
    }
    if found.at("/spec/clusterIP").and_then(Value::as_str) == Some("None") {
        findings.warn(
            path,
            format!(
                "Service {name} is headless: clients that resolve pods by DNS are not moved by \
                 weights"
            ),
        );
    }
    selector(findings, path, found, workload);
    port(findings, &path.key("port"), service, found);
    if let Some(misled) = service.misled_by(found.object, Some(workload.object)) {
        findings.error(&path.key(misled.field), misled.message);
    }
}

fn selector(
    findings: &mut Findings,
    path: &FieldPath,
    service: &Manifest<'_>,
    workload: &Manifest<'_>,
) {
    let selector = texts(service.at("/spec/selector"));
    if selector.is_empty() {
        findings.error(
            path,
            format!(
                "Service {} cannot be pinned to one version: it has no selector",
                service.name
            ),
        );
        return;
    }
    let labels = texts(workload.at("/spec/template/metadata/labels"));
    for (key, value) in selector {
        if labels.get(key) == Some(&value) {
            continue;
        }
        findings.error(
            path,
            format!(
                "Service {} does not select the pods of {} {}: its selector wants {key}={value}",
                service.name, workload.kind, workload.name
            ),
        );
    }
}

fn texts(value: Option<&Value>) -> BTreeMap<&str, &str> {
    let entries = value.and_then(Value::as_object);
    entries
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
        .collect()
}

fn port(findings: &mut Findings, path: &FieldPath, service: &ServiceRef, found: &Manifest<'_>) {
    let ports = found.at("/spec/ports").and_then(Value::as_array);
    if ports
        .into_iter()
        .flatten()
        .any(|port| service.is_port(port))
    {
        return;
    }
    let known: Vec<String> = ports
        .into_iter()
        .flatten()
        .filter_map(|port| {
            let number = port.get("port")?.as_u64()?;
            let name = port.get("name").and_then(Value::as_str);
            Some(name.map_or_else(|| number.to_string(), |name| format!("{number} ({name})")))
        })
        .collect();
    let wanted = &service.port;
    let known = if known.is_empty() {
        "none".to_owned()
    } else {
        known.join(", ")
    };
    findings.error(
        path,
        format!(
            "Service {} has no port {wanted}; it has {known}",
            service.name
        ),
    );
}
