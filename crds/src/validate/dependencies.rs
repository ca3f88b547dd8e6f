//! Checks of what comes before what: between components, and between applications as far as one
//! document tells.

use std::collections::{BTreeMap, BTreeSet};

use super::{finding::Findings, names};
use crate::{
    application::ApplicationSpec,
    document::{FieldPath, Metadata, closest},
    reference::ApplicationRef,
};

/// Namespace of what names none.
const HOME: &str = "default";

/// Checks a list of applications: names, none twice. `home` is the namespace of those that name none.
pub(super) fn applications(
    findings: &mut Findings,
    path: &FieldPath,
    home: &str,
    list: &[ApplicationRef],
) {
    let mut seen = BTreeMap::new();
    for (index, one) in list.iter().enumerate() {
        let at = path.index(index);
        names::name(findings, &at.key("name"), &one.name);
        if let Some(namespace) = &one.namespace {
            names::name(findings, &at.key("namespace"), namespace);
        }
        let whole = one.within(home);
        if let Some(first) = seen.insert(whole.clone(), index) {
            findings.error(&at, format!("{whole} stands twice; the first is [{first}]"));
        }
    }
}

/// Checks what an application depends on, as far as it tells itself.
pub(super) fn of_application(findings: &mut Findings, metadata: &Metadata, spec: &ApplicationSpec) {
    let path = FieldPath::spec().key("dependsOn");
    let home = metadata.namespace.as_deref().unwrap_or(HOME);
    applications(findings, &path, home, &spec.depends_on);
    for (index, one) in spec.depends_on.iter().enumerate() {
        let whole = one.within(home);
        if whole.name == metadata.name && whole.namespace == home {
            findings.error(&path.index(index), "an application cannot wait for itself");
        }
    }
}

/// Checks the order of an application's components.
pub(super) fn of_components(findings: &mut Findings, path: &FieldPath, spec: &ApplicationSpec) {
    let known = || spec.components.iter().map(|known| known.name.as_str());
    for (index, component) in spec.components.iter().enumerate() {
        let at = path.index(index).key("dependsOn");
        let mut seen = BTreeSet::new();
        for (place, wanted) in component.depends_on.iter().enumerate() {
            let at = at.index(place);
            if *wanted == component.name {
                findings.error(&at, "a component cannot wait for itself");
            } else if !known().any(|name| name == wanted) {
                findings.error_with(
                    &at,
                    format!("the application has no component {wanted:?}"),
                    closest(wanted, known()).map(str::to_owned),
                );
            } else if !seen.insert(wanted) {
                findings.error(&at, format!("{wanted:?} stands twice"));
            }
        }
    }
    if let Some((index, cycle)) = component_cycle(spec) {
        findings.error(
            &path.index(index).key("dependsOn"),
            format!("components wait for each other: {}", cycle.join(" → ")),
        );
    }
}

/// Finds components that wait for each other: where the first of them stands, and their names, the
/// first once more at the end. One that waits for itself is none of these.
fn component_cycle(spec: &ApplicationSpec) -> Option<(usize, Vec<&str>)> {
    let after: BTreeMap<&str, &[String]> = spec
        .components
        .iter()
        .map(|one| (one.name.as_str(), one.depends_on.as_slice()))
        .collect();
    // What waits for nobody that is left is taken away until all that is left waits for each other.
    let mut left: BTreeSet<&str> = after.keys().copied().collect();
    while let Some(free) = left.iter().copied().find(|name| {
        let mut others = after[name].iter().filter(|one| one.as_str() != *name);
        !others.any(|one| left.contains(one.as_str()))
    }) {
        left.remove(free);
    }
    let first = spec
        .components
        .iter()
        .map(|one| one.name.as_str())
        .find(|name| left.contains(name))?;
    let mut path = vec![first];
    loop {
        let last = path[path.len() - 1];
        let next = after[last]
            .iter()
            .map(String::as_str)
            .find(|one| *one != last && left.contains(one))?;
        if let Some(begins) = path.iter().position(|one| *one == next) {
            path.drain(..begins);
            path.push(next);
            let index = spec.components.iter().position(|one| one.name == path[0])?;
            return Some((index, path));
        }
        path.push(next);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(components: &Value) -> ApplicationSpec {
        serde_json::from_value(json!({
            "destination": {"clusters": ["c1"]}, "components": components,
        }))
        .expect("a spec")
    }

    fn found(components: &Value) -> Vec<(String, String)> {
        let mut findings = Findings::default();
        let path = FieldPath::spec().key("components");
        of_components(&mut findings, &path, &spec(components));
        let all = findings.errors.into_iter();
        all.map(|one| (one.path.to_string(), one.message)).collect()
    }

    #[test]
    fn order_without_a_circle_is_fine() {
        let diamond = json!([
            {"name": "a"}, {"name": "b", "dependsOn": ["a"]}, {"name": "c", "dependsOn": ["a"]},
            {"name": "d", "dependsOn": ["b", "c"]},
        ]);
        assert_eq!(found(&diamond), []);
    }

    #[test]
    fn circles_are_named_with_their_path() {
        let circle = json!([
            {"name": "x"}, {"name": "w", "dependsOn": ["a"]},
            {"name": "a", "dependsOn": ["b"]}, {"name": "b", "dependsOn": ["x", "c"]},
            {"name": "c", "dependsOn": ["a"]},
        ]);
        assert_eq!(
            found(&circle),
            [(
                "spec.components[2].dependsOn".to_owned(),
                "components wait for each other: a → b → c → a".to_owned()
            )]
        );
    }

    #[test]
    fn names_that_mean_nobody_are_named() {
        let wrong = json!([
            {"name": "db"}, {"name": "web", "dependsOn": ["dp", "web", "db", "db"]},
        ]);
        let messages: Vec<String> = found(&wrong).into_iter().map(|one| one.1).collect();
        assert_eq!(
            messages,
            [
                "the application has no component \"dp\"",
                "a component cannot wait for itself",
                "\"db\" stands twice",
            ]
        );
    }

    #[test]
    fn an_application_does_not_wait_for_itself() {
        let spec: ApplicationSpec = serde_json::from_value(json!({
            "destination": {"clusters": ["c1"]}, "components": [{"name": "a"}],
            "dependsOn": [{"name": "db"}, {"name": "shop", "namespace": "shop"}, {"name": "shop"},
                          {"name": "db", "namespace": "shop"}],
        }))
        .expect("a spec");
        let metadata = Metadata {
            name: "shop".to_owned(),
            namespace: Some("shop".to_owned()),
            ..Metadata::default()
        };
        let mut findings = Findings::default();
        of_application(&mut findings, &metadata, &spec);
        let messages: Vec<String> = findings.errors.into_iter().map(|one| one.message).collect();
        assert_eq!(
            messages,
            [
                "shop/shop stands twice; the first is [1]",
                "shop/db stands twice; the first is [0]",
                "an application cannot wait for itself",
                "an application cannot wait for itself",
            ]
        );
    }
}
