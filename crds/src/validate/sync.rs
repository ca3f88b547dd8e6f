//! Checks of what agents leave alone, and of what tells health.

use std::collections::BTreeMap;

use super::{
    finding::Findings,
    manifests::{Manifest, manifests_of},
};
use crate::{
    application::{ApplicationSpec, Component},
    document::{FieldPath, closest},
    health_rule::HealthExpression,
    overrides::{IDENTITY, Target},
    sync_policy::IgnoreRule,
};

/// Kinds whose health is known, each with its group.
const KNOWN_HEALTH: [(&str, &str); 19] = [
    ("", "PersistentVolume"),
    ("", "PersistentVolumeClaim"),
    ("", "Namespace"),
    ("", "Pod"),
    ("", "ReplicationController"),
    ("", "Service"),
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
    ("apiregistration.k8s.io", "APIService"),
    ("apps", "DaemonSet"),
    ("apps", "Deployment"),
    ("apps", "ReplicaSet"),
    ("apps", "StatefulSet"),
    ("autoscaling", "HorizontalPodAutoscaler"),
    ("batch", "CronJob"),
    ("batch", "Job"),
    ("gateway.networking.k8s.io", "GRPCRoute"),
    ("gateway.networking.k8s.io", "HTTPRoute"),
    ("networking.k8s.io", "Ingress"),
    ("policy", "PodDisruptionBudget"),
];
/// Field managers of the agent's own begin so.
const OWN_MANAGERS: &str = "bellwether-";
/// What may be left to others of a workload that a Rollout changes.
const FREE_OF_GOVERNED: [&str; 3] = [
    "/metadata/labels",
    "/metadata/annotations",
    "/spec/replicas",
];

/// Checks when objects of a component are healthy.
pub(super) fn health(findings: &mut Findings, path: &FieldPath, component: &Component) {
    let mut seen = BTreeMap::new();
    for (index, rule) in component.health.iter().enumerate() {
        let at = path.index(index);
        if rule.kind.is_empty() {
            findings.error(&at.key("kind"), "name a kind");
        }
        if KNOWN_HEALTH.contains(&(rule.group.as_str(), rule.kind.as_str())) {
            findings.error(
                &at.key("kind"),
                format!(
                    "the health of {} is known; rules are for custom kinds",
                    rule.kind
                ),
            );
        }
        if let Some(first) = seen.insert((&rule.group, &rule.kind), index) {
            findings.error(
                &at,
                format!(
                    "two rules are for {}; the first is health[{first}]",
                    rule.kind
                ),
            );
        }
        if let Err(error) = HealthExpression::read(&rule.cel) {
            findings.error(&at.key("cel"), error.to_string());
        }
    }
}

/// Checks how long components may take to be healthy.
pub(super) fn timeouts(findings: &mut Findings, path: &FieldPath, spec: &ApplicationSpec) {
    let of_components = spec
        .components
        .iter()
        .enumerate()
        .filter_map(|(index, one)| {
            let timeout = one.sync.as_ref()?.timeout?;
            Some((path.key("components").index(index), timeout))
        });
    let of_all = spec.sync.timeout.map(|timeout| (path.clone(), timeout));
    for (at, timeout) in of_all.into_iter().chain(of_components) {
        let at = at.key("sync").key("timeout");
        match timeout.as_millis() {
            ..1_000 => findings.error(&at, "nothing is healthy so soon; use at least 1s"),
            86_400_001.. => findings.error(&at, "use at most 24h"),
            _ => {}
        }
    }
}

/// The objects that rules may mean.
struct Among<'a> {
    manifests: Vec<Manifest<'a>>,
    /// Whose they are, as people read it.
    of: String,
    /// What a source renders is known once it is rendered, and checked again then.
    all_known: bool,
}

/// Checks what is left to others, by the application and by components.
pub(super) fn ignore(findings: &mut Findings, path: &FieldPath, spec: &ApplicationSpec) {
    let is_known = |component: &Component| component.rendered_source().is_none();
    let all = Among {
        manifests: manifests_of(spec),
        of: "the application".to_owned(),
        all_known: spec.components.iter().all(is_known),
    };
    let at = path.key("sync").key("ignore");
    rules(findings, &at, &spec.sync.ignore, &all);
    for (index, component) in spec.components.iter().enumerate() {
        let own = component.sync.as_ref();
        let Some(own) = own.and_then(|sync| sync.ignore.as_ref()) else {
            continue;
        };
        let manifests = all.manifests.iter();
        let of_it = manifests.filter(|one| one.component == component.name);
        let among = Among {
            manifests: of_it.cloned().collect(),
            of: format!("component {:?}", component.name),
            all_known: is_known(component),
        };
        let at = path.key("components").index(index);
        rules(findings, &at.key("sync").key("ignore"), own, &among);
    }
}

fn rules(findings: &mut Findings, path: &FieldPath, rules: &[IgnoreRule], among: &Among<'_>) {
    for (index, rule) in rules.iter().enumerate() {
        let at = path.index(index);
        target(findings, &at.key("target"), &rule.target, among);
        if rule.json_pointers.is_empty() && rule.managers.is_empty() {
            findings.error(&at, "say what is left alone: set jsonPointers or managers");
        }
        for (index, one) in rule.json_pointers.iter().enumerate() {
            pointer(findings, &at.key("jsonPointers").index(index), one);
        }
        for (index, manager) in rule.managers.iter().enumerate() {
            let at = at.key("managers").index(index);
            if manager.is_empty() {
                findings.error(&at, "a name is empty");
            } else if manager.starts_with(OWN_MANAGERS) {
                findings.error(
                    &at,
                    format!("{manager:?} is the agent itself; name whoever else writes"),
                );
            }
        }
    }
}

/// A target that means nothing is a typo, and would be of no use in silence.
fn target(
    findings: &mut Findings,
    path: &FieldPath,
    target: &Target,
    Among {
        manifests,
        of,
        all_known,
    }: &Among<'_>,
) {
    if target.kind.is_empty() {
        findings.error(&path.key("kind"), "a target names a kind");
        return;
    }
    let is_there = manifests
        .iter()
        .any(|manifest| target.is(manifest.object, manifest.namespace));
    if is_there || !*all_known {
        return;
    }
    let of_kind = |manifest: &&Manifest<'_>| manifest.kind == target.kind;
    let names = manifests.iter().filter(of_kind).map(|one| one.name);
    let kinds = manifests.iter().map(|manifest| manifest.kind);
    let meant = match target.name.as_deref() {
        Some(name) if manifests.iter().any(|one| of_kind(&one)) => closest(name, names),
        _ => closest(&target.kind, kinds),
    };
    findings.error_with(
        path,
        format!("no object of {of} is {}", target.label()),
        meant.map(str::to_owned),
    );
}

fn pointer(findings: &mut Findings, path: &FieldPath, pointer: &str) {
    if !pointer.starts_with('/') {
        findings.error_with(
            path,
            format!("{pointer:?} is no JSON pointer; one begins with /"),
            Some(format!("/{}", pointer.replace('.', "/"))),
        );
    } else if pointer == "/metadata" || IDENTITY.contains(&pointer) {
        findings.error(
            path,
            "apiVersion, kind, name and namespace make an object the one that it is",
        );
    } else if is_below(pointer, "/status") {
        findings.error(path, "status is never applied, nor is a change of it drift");
    }
}

/// Checks that nothing is left to others which a Rollout needs to change the workload.
pub(super) fn governed(
    findings: &mut Findings,
    path: &FieldPath,
    spec: &ApplicationSpec,
    workload: &Manifest<'_>,
) {
    let mut components = spec.components.iter().enumerate();
    let component = components.find(|(_, one)| one.name == workload.component);
    let own = component.and_then(|(index, one)| {
        let own = one.sync.as_ref()?.ignore.as_ref()?;
        Some((format!("components[{index}].sync.ignore"), own))
    });
    let (field, rules) = own.unwrap_or_else(|| ("sync.ignore".to_owned(), &spec.sync.ignore));
    let concerned = rules
        .iter()
        .enumerate()
        .filter(|(_, rule)| rule.target.is(workload.object, workload.namespace));
    for (index, rule) in concerned {
        let is_free =
            |pointer: &&String| FREE_OF_GOVERNED.iter().any(|free| is_below(pointer, free));
        if let Some(pointer) = rule.json_pointers.iter().find(|one| !is_free(one)) {
            findings.error(
                path,
                format!(
                    "{field}[{index}] leaves {pointer} to others, which the rollout changes; of a \
                     governed workload leave only {}",
                    FREE_OF_GOVERNED.join(", ")
                ),
            );
        }
        if !rule.managers.is_empty() {
            findings.error(
                path,
                format!(
                    "{field}[{index}] leaves whole field managers their fields, which is not \
                     supported of a workload that a Rollout governs; use jsonPointers"
                ),
            );
        }
    }
}

/// Tells whether a pointer means a field or something within it.
fn is_below(pointer: &str, field: &str) -> bool {
    pointer
        .strip_prefix(field)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
