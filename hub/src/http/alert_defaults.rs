//! Whether anybody is told where applications and rollouts leave that to their fleet.

use bellwether_api::{
    application::ApplicationSpec,
    document::{Document, closest},
    fleet::FleetSpec,
};
use bellwether_store::{
    StoreError, Tx,
    records::{self, RecordKey, RecordKind},
};

use super::{alert_providers, apply::namespace_of, references::Checked};

/// Says where a fleet's `alerts` reach nobody: no namespace has an alert provider of the name, or that of
/// an application or a Rollout which names nobody itself has none.
///
/// # Errors
/// The database fails.
pub(super) async fn check(
    tx: &mut Tx,
    documents: &[Document],
    default_namespace: &str,
    checked: &mut Checked,
) -> Result<(), StoreError> {
    for document in documents {
        if let Document::Fleet(object) = document {
            let (name, spec) = (&object.metadata.name, &object.spec);
            checked.warnings.extend(unknown(tx, name, spec).await?);
        } else if let Some(fleet) = left_to(tx, document, default_namespace).await? {
            let namespace = namespace_of(document, default_namespace);
            let warnings = untold(tx, &title(document), &fleet, &namespace).await?;
            checked.warnings.extend(warnings);
        }
    }
    Ok(())
}

fn named(fleet: &FleetSpec) -> impl Iterator<Item = &String> {
    fleet
        .defaults
        .alerts
        .iter()
        .map(|alert| &alert.provider.name)
}

/// What a fleet names and no namespace has.
async fn unknown(tx: &mut Tx, name: &str, spec: &FleetSpec) -> Result<Vec<String>, StoreError> {
    if spec.defaults.alerts.is_empty() {
        return Ok(Vec::new());
    }
    let known = alert_providers::names(tx, None).await?;
    let unknown = named(spec).filter(|wanted| !known.contains(*wanted));
    let warnings = unknown.map(|wanted| {
        let meant = closest(wanted, known.iter().map(String::as_str))
            .map_or_else(String::new, |meant| format!("; did you mean {meant:?}?"));
        format!(
            "fleet/{name}: no namespace has an alert provider {wanted:?}: nobody is told{meant}"
        )
    });
    Ok(warnings.collect())
}

/// What a fleet names and the namespace of those who leave it to the fleet lacks.
async fn untold(
    tx: &mut Tx,
    title: &str,
    fleet: &str,
    namespace: &str,
) -> Result<Vec<String>, StoreError> {
    let key = RecordKey {
        kind: RecordKind::Fleet,
        namespace: String::new(),
        name: fleet.to_owned(),
    };
    let Some(record) = records::get_in(tx, &key).await? else {
        return Ok(Vec::new());
    };
    let Ok(spec) = serde_json::from_value::<FleetSpec>(record.spec) else {
        return Ok(Vec::new());
    };
    if spec.defaults.alerts.is_empty() {
        return Ok(Vec::new());
    }
    let known = alert_providers::names(tx, Some(namespace)).await?;
    let lacking = named(&spec).filter(|wanted| !known.contains(*wanted));
    let warnings = lacking.map(|wanted| {
        format!(
            "{title} leaves alerts to fleet {fleet:?}, which names alert provider {wanted:?}, and \
             namespace {namespace:?} has none of that name: nobody is told"
        )
    });
    Ok(warnings.collect())
}

fn title(document: &Document) -> String {
    match document {
        Document::Application(object) => format!("application/{}", object.metadata.name),
        Document::Rollout(object) => format!("rollout/{}", object.metadata.name),
        other => other.kind().to_string(),
    }
}

/// The fleet to which a document leaves who is told; absent = it says so itself, or no fleet is named.
async fn left_to(
    tx: &mut Tx,
    document: &Document,
    default_namespace: &str,
) -> Result<Option<String>, StoreError> {
    let destination = match document {
        Document::Application(object) => {
            let leaves = object.spec.alerts.is_empty();
            leaves.then(|| object.spec.destination.clone())
        }
        Document::Rollout(object) if object.spec.alerts.is_empty() => {
            match &object.spec.application {
                None => object.spec.destination.clone(),
                Some(application) => {
                    let key = RecordKey {
                        kind: RecordKind::Application,
                        namespace: namespace_of(document, default_namespace),
                        name: application.clone(),
                    };
                    let record = records::get_in(tx, &key).await?;
                    let spec = record.and_then(|one| serde_json::from_value(one.spec).ok());
                    spec.filter(|spec: &ApplicationSpec| spec.alerts.is_empty())
                        .map(|spec| spec.destination)
                }
            }
        }
        _ => None,
    };
    Ok(destination.and_then(|destination| destination.fleet))
}
