//! Whether what applications wait for, and what fleets have as add-ons, is there, and nobody waits for
//! each other.

use bellwether_api::{
    application::ApplicationSpec,
    call::ProblemItem,
    document::{Document, FieldPath, closest},
    fleet::FleetSpec,
    reference::{ApplicationRef, NamespacedName},
};
use bellwether_hub_core::{
    addons::{self, HOME},
    dependencies::{Edges, cycle},
};
use bellwether_store::{
    StoreError, Tx,
    records::{self, RecordKey, RecordKind},
};

use super::{
    apply::namespace_of,
    problem::{ApiError, ApiResult},
    references::{Checked, finding, specs},
};

/// Checks every application and fleet that was written, together with what they name.
///
/// # Errors
/// The database fails.
pub(super) async fn check(
    tx: &mut Tx,
    documents: &[Document],
    default_namespace: &str,
    checked: &mut Checked,
) -> Result<(), StoreError> {
    let names_some = |document: &Document| match document {
        Document::Application(object) => !object.spec.depends_on.is_empty(),
        Document::Fleet(object) => !object.spec.addons.is_empty(),
        _ => false,
    };
    if !documents.iter().any(names_some) {
        return Ok(());
    }
    // Two requests must not make a circle, each with its half of it.
    records::lock_dependencies(tx).await?;
    let mut edges = Edges::new();
    for document in documents {
        let home = namespace_of(document, default_namespace);
        match document {
            Document::Application(object) => {
                let path = FieldPath::spec().key("dependsOn");
                let list = &object.spec.depends_on;
                refuse_unknown(tx, document, (&path, &home, list), checked).await?;
                let name = NamespacedName {
                    namespace: home,
                    name: object.metadata.name.clone(),
                };
                read_edges(tx, &name, &mut edges).await?;
                if let Some(circle) = cycle(&name, &edges) {
                    let second = &circle[1];
                    let index = list
                        .iter()
                        .position(|one| one.within(&name.namespace) == *second);
                    let names: Vec<String> = circle.iter().map(ToString::to_string).collect();
                    checked.errors.push(finding(
                        document.source(),
                        path.index(index.unwrap_or_default()),
                        format!("applications wait for each other: {}", names.join(" → ")),
                        None,
                    ));
                }
            }
            Document::Fleet(object) => {
                let path = FieldPath::spec().key("addons");
                let list = &object.spec.addons;
                refuse_unknown(tx, document, (&path, HOME, list), checked).await?;
            }
            _ => {}
        }
    }
    Ok(())
}

async fn refuse_unknown(
    tx: &mut Tx,
    document: &Document,
    (path, home, list): (&FieldPath, &str, &[ApplicationRef]),
    checked: &mut Checked,
) -> Result<(), StoreError> {
    for (index, one) in list.iter().enumerate() {
        let whole = one.within(home);
        if records::get_in(tx, &key(&whole)).await?.is_some() {
            continue;
        }
        let known =
            specs::<ApplicationSpec>(tx, RecordKind::Application, Some(&whole.namespace)).await?;
        let names = known.iter().map(|(key, _)| key.name.as_str());
        let error: ProblemItem = finding(
            document.source(),
            path.index(index),
            format!(
                "there is no application {:?} in namespace {:?}",
                whole.name, whole.namespace
            ),
            closest(&whole.name, names),
        );
        checked.errors.push(error);
    }
    Ok(())
}

/// Reads what an application waits for, and what that waits for, as far as it is not known.
async fn read_edges(
    tx: &mut Tx,
    from: &NamespacedName,
    edges: &mut Edges,
) -> Result<(), StoreError> {
    let mut open = vec![from.clone()];
    while let Some(name) = open.pop() {
        if edges.contains_key(&name) {
            continue;
        }
        let spec = records::get_in(tx, &key(&name)).await?;
        let spec: Option<ApplicationSpec> =
            spec.and_then(|record| serde_json::from_value(record.spec).ok());
        let after = spec.map_or_else(Vec::new, |spec| spec.depends_on);
        let after: Vec<NamespacedName> = after
            .iter()
            .map(|one| one.within(&name.namespace))
            .collect();
        open.extend(after.iter().cloned());
        edges.insert(name, after);
    }
    Ok(())
}

/// Refuses to delete an application that others wait for, or that a fleet has as an add-on.
///
/// # Errors
/// 409 with the names of some of them.
pub(super) async fn refuse_used(tx: &mut Tx, application: &RecordKey) -> ApiResult<()> {
    records::lock_dependencies(tx).await?;
    let name = NamespacedName {
        namespace: application.namespace.clone(),
        name: application.name.clone(),
    };
    let mut users = Vec::new();
    for (key, spec) in specs::<FleetSpec>(tx, RecordKind::Fleet, None).await? {
        if addons::has(&spec, &name) {
            users.push(format!("fleet {} has it as an add-on", key.name));
        }
    }
    for (key, spec) in specs::<ApplicationSpec>(tx, RecordKind::Application, None).await? {
        let after = spec.depends_on.iter();
        if after
            .map(|one| one.within(&key.namespace))
            .any(|one| one == name)
        {
            users.push(format!(
                "application {}/{} depends on it",
                key.namespace, key.name
            ));
        }
    }
    let more = users.len().saturating_sub(5);
    users.truncate(5);
    if more > 0 {
        users.push(format!("and {more} more"));
    }
    if users.is_empty() {
        return Ok(());
    }
    Err(ApiError::conflict(format!(
        "application {:?} is needed: {}; nothing was deleted",
        name.name,
        users.join("; ")
    )))
}

fn key(name: &NamespacedName) -> RecordKey {
    RecordKey {
        kind: RecordKind::Application,
        namespace: name.namespace.clone(),
        name: name.name.clone(),
    }
}
