//! Add-ons of fleets.

use bellwether_api::{
    API_VERSION,
    call::{FleetAddon, FleetStatus, Item},
    fleet::FleetSpec,
    reference::{ApplicationRef, NamespacedName},
};
use http::Method;
use serde_json::json;

use crate::{
    args::{AddonCommand, Global},
    client::{Body, Client},
    failure::Code,
    kind::{Kind, segment},
    output::{note, print},
    render::list::grid,
};

/// Namespace of add-ons that name none.
const HOME: &str = "default";

/// Runs a sub-command of `addon`.
///
/// # Errors
/// What the hub refused.
pub async fn run(client: &Client, global: &Global, command: &AddonCommand) -> anyhow::Result<Code> {
    match command {
        AddonCommand::List { fleet } => list(client, fleet).await,
        AddonCommand::Enable {
            fleet,
            application,
            reason,
        } => {
            let wanted = named(global, application);
            let changed = change(client, fleet, reason, |spec| add(spec, &wanted)).await?;
            let word = if changed { "enabled" } else { "unchanged" };
            print(&format!("addon/{} {word} on fleet/{fleet}\n", wanted.name))?;
            Ok(Code::Done)
        }
        AddonCommand::Disable {
            fleet,
            application,
            reason,
        } => {
            let wanted = named(global, application);
            let changed = change(client, fleet, reason, |spec| remove(spec, &wanted)).await?;
            if !changed {
                note(&format!("fleet/{fleet} has no add-on {wanted}"));
            }
            let word = if changed { "disabled" } else { "unchanged" };
            print(&format!("addon/{} {word} on fleet/{fleet}\n", wanted.name))?;
            Ok(Code::Done)
        }
    }
}

async fn list(client: &Client, fleet: &str) -> anyhow::Result<Code> {
    let item: Item = client.get(&Kind::Fleet.path("", fleet)).await?;
    let status = item.status.unwrap_or_default();
    let status: FleetStatus = serde_json::from_value(status)?;
    if status.addons.is_empty() {
        note(&format!("fleet/{fleet} has no add-ons"));
        return Ok(Code::Done);
    }
    print(&table(&status.addons))?;
    Ok(Code::Done)
}

fn table(addons: &[FleetAddon]) -> String {
    let rows = addons.iter().map(|addon| {
        vec![
            addon.application.namespace.clone(),
            addon.application.name.clone(),
            format!("{}/{}", addon.healthy, addon.clusters),
        ]
    });
    grid(&["NAMESPACE", "APPLICATION", "HEALTHY"], rows)
}

/// Changes a fleet as it is now, or nothing; tells whether it did.
async fn change(
    client: &Client,
    fleet: &str,
    reason: &str,
    edit: impl Fn(&mut FleetSpec) -> bool,
) -> anyhow::Result<bool> {
    let path = Kind::Fleet.path("", fleet);
    let item: Item = client.get(&path).await?;
    let mut spec: FleetSpec = serde_json::from_value(item.spec)?;
    if !edit(&mut spec) {
        return Ok(false);
    }
    let document = json!({
        "apiVersion": API_VERSION, "kind": "Fleet", "spec": spec,
        "metadata": {
            "name": fleet, "labels": item.metadata.labels,
            "annotations": item.metadata.annotations,
            // Somebody else's change in between is not written over.
            "resourceVersion": item.metadata.resource_version,
        },
    });
    let path = format!("{path}?reason={}", segment(reason));
    let _: serde_json::Value = client
        .call(Method::PUT, &path, Body::json(&document)?)
        .await?;
    Ok(true)
}

/// Reads `name` or `namespace/name`.
fn named(global: &Global, text: &str) -> NamespacedName {
    let (namespace, name) = text
        .split_once('/')
        .unwrap_or((global.namespace.as_str(), text));
    NamespacedName {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

fn add(spec: &mut FleetSpec, wanted: &NamespacedName) -> bool {
    let is_there = spec.addons.iter().any(|one| one.within(HOME) == *wanted);
    if !is_there {
        spec.addons.push(ApplicationRef {
            name: wanted.name.clone(),
            namespace: Some(wanted.namespace.clone()).filter(|namespace| namespace != HOME),
        });
    }
    !is_there
}

fn remove(spec: &mut FleetSpec, wanted: &NamespacedName) -> bool {
    let before = spec.addons.len();
    spec.addons.retain(|one| one.within(HOME) != *wanted);
    spec.addons.len() < before
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(namespace: &str, name: &str) -> NamespacedName {
        NamespacedName {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    #[test]
    fn add_ons_come_once_and_go_whole() {
        let mut spec = FleetSpec::default();
        assert!(add(&mut spec, &app("infra", "mesh")));
        assert!(add(&mut spec, &app("default", "mesh")));
        assert!(!add(&mut spec, &app("default", "mesh")));
        assert_eq!(spec.addons[1].namespace, None);
        assert!(!remove(&mut spec, &app("other", "mesh")));
        assert!(remove(&mut spec, &app("default", "mesh")));
        assert_eq!(spec.addons.len(), 1);
    }

    #[test]
    fn the_list_shows_health() {
        let addons = [FleetAddon {
            application: app("infra", "mesh"),
            clusters: 5,
            healthy: 4,
        }];
        assert_eq!(
            table(&addons),
            "NAMESPACE   APPLICATION   HEALTHY\ninfra       mesh          4/5\n"
        );
    }
}
