//! Checks of who is told of runs.

use std::collections::BTreeSet;

use super::{finding::Findings, names};
use crate::{
    alert_provider::{Alert, AlertProviderSpec, AlertRef},
    document::{FieldPath, Kind, Object},
    rollout::RolloutSpec,
    secret::is_key,
};

/// Providers that one step, Rollout, application or fleet names at most: so many messages an event may make.
pub(crate) const MAX_PROVIDERS: usize = 4;

pub(super) fn provider(object: &Object<AlertProviderSpec>) -> Findings {
    let mut findings = Findings::default();
    names::metadata(&mut findings, Kind::AlertProvider, &object.metadata);
    let (address, path) = (
        &object.spec.address_ref,
        FieldPath::spec().key("addressRef"),
    );
    names::name(&mut findings, &path.key("name"), &address.name);
    if let Some(key) = address.key.as_deref().filter(|key| !is_key(key)) {
        findings.error(
            &path.key("key"),
            format!("{key:?} is no key; it has 1 to 253 letters, digits, '-', '_' or '.'"),
        );
    }
    findings
}

/// Checks whom a Rollout and its steps name.
pub(super) fn of_rollout(findings: &mut Findings, path: &FieldPath, rollout: &RolloutSpec) {
    let strategy = path.key("strategy");
    let canary = rollout.strategy.canary.iter().flat_map(|one| &one.steps);
    let batch = rollout.strategy.batch.iter().flat_map(|one| &one.steps);
    for (index, step) in canary.enumerate() {
        let at = strategy
            .key("canary")
            .key("steps")
            .index(index)
            .key("notify");
        list(findings, &at, step.notify.iter().map(|one| (one, None)));
    }
    for (index, step) in batch.enumerate() {
        let at = strategy
            .key("batch")
            .key("steps")
            .index(index)
            .key("notify");
        list(findings, &at, step.notify.iter().map(|one| (one, None)));
    }
    alerts(findings, &path.key("alerts"), &rollout.alerts);
}

/// Checks whom a Rollout or an application, or a fleet in their place, names.
pub(super) fn alerts(findings: &mut Findings, path: &FieldPath, alerts: &[Alert]) {
    let named = alerts.iter();
    let named = named.map(|alert| (&alert.provider, Some("provider")));
    list(findings, path, named);
}

fn list<'a>(
    findings: &mut Findings,
    path: &FieldPath,
    named: impl Iterator<Item = (&'a AlertRef, Option<&'static str>)>,
) {
    let mut seen = BTreeSet::new();
    let mut count = 0;
    for (index, (wanted, key)) in named.enumerate() {
        let at = path.index(index);
        let at = key.map_or(at.clone(), |key| at.key(key)).key("name");
        names::name(findings, &at, &wanted.name);
        if !seen.insert(&wanted.name) {
            findings.error(&at, format!("{:?} is named twice", wanted.name));
        }
        count = index + 1;
    }
    if count > MAX_PROVIDERS {
        findings.error(path, format!("name at most {MAX_PROVIDERS}"));
    }
}
