//! Whether everybody who is to be told of runs is known, and what became of the messages.

use std::collections::BTreeSet;

use bellwether_api::{
    alert_provider::{Alert, AlertProviderSpec, AlertRef},
    document::{Document, FieldPath, closest},
    reference::NamespacedName,
    rollout::RolloutSpec,
};
use bellwether_store::{
    StoreError, Tx,
    alerts::{self, AlertCounts},
    records::{Record, RecordKind},
};
use serde_json::{Value, json};

use super::{
    apply::namespace_of,
    problem::ApiResult,
    references::{Checked, finding, specs},
};
use crate::app::App;

/// Checks that written applications and rollouts name alert providers of their namespace.
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
        let named = named_by(document);
        if named.is_empty() {
            continue;
        }
        let namespace = namespace_of(document, default_namespace);
        let known = names(tx, Some(&namespace)).await?;
        for (path, wanted) in named {
            if known.contains(&wanted.name) {
                continue;
            }
            let message = format!(
                "there is no alert provider {:?} in namespace {namespace:?}",
                wanted.name
            );
            let meant = closest(&wanted.name, known.iter().map(String::as_str));
            let error = finding(document.source(), path.key("name"), message, meant);
            checked.errors.push(error);
        }
    }
    Ok(())
}

/// Names of the alert providers of a namespace; of all namespaces, where none is given.
///
/// # Errors
/// The database fails.
pub(super) async fn names(
    tx: &mut Tx,
    namespace: Option<&str>,
) -> Result<BTreeSet<String>, StoreError> {
    let kind = RecordKind::AlertProvider;
    let known = specs::<AlertProviderSpec>(tx, kind, namespace).await?;
    Ok(known.into_iter().map(|(key, _)| key.name).collect())
}

/// Whom a document and its rollouts name, each with its place.
fn named_by(document: &Document) -> Vec<(FieldPath, &AlertRef)> {
    match document {
        Document::Rollout(object) => named(&FieldPath::spec(), &object.spec),
        Document::Application(object) => {
            let components = object.spec.components.iter().enumerate();
            let rollouts = components.filter_map(|(index, component)| {
                let path = FieldPath::spec().key("components").index(index);
                Some((path.key("rollout"), component.rollout.as_ref()?))
            });
            let own = alerts_at(&FieldPath::spec(), &object.spec.alerts);
            own.into_iter()
                .chain(rollouts.flat_map(|(path, spec)| named(&path, spec)))
                .collect()
        }
        _ => Vec::new(),
    }
}

fn named<'a>(path: &FieldPath, rollout: &'a RolloutSpec) -> Vec<(FieldPath, &'a AlertRef)> {
    let strategy = path.key("strategy");
    let steps = |kind: &str| strategy.key(kind).key("steps");
    let canary = rollout.strategy.canary.iter().flat_map(|one| &one.steps);
    let canary = canary.map(|step| &step.notify).enumerate();
    let batch = rollout.strategy.batch.iter().flat_map(|one| &one.steps);
    let batch = batch.map(|step| &step.notify).enumerate();
    let of_steps = canary
        .map(|(index, notify)| (steps("canary").index(index), notify))
        .chain(batch.map(|(index, notify)| (steps("batch").index(index), notify)));
    let of_steps = of_steps.flat_map(|(at, notify)| {
        let at = at.key("notify");
        let named = notify.iter().enumerate();
        named.map(move |(index, one)| (at.index(index), one))
    });
    of_steps.chain(alerts_at(path, &rollout.alerts)).collect()
}

fn alerts_at<'a>(path: &FieldPath, alerts: &'a [Alert]) -> Vec<(FieldPath, &'a AlertRef)> {
    let alerts = alerts.iter().enumerate();
    let alerts = alerts.map(|(index, alert)| {
        let at = path.key("alerts").index(index).key("provider");
        (at, &alert.provider)
    });
    alerts.collect()
}

/// What became of the messages of a provider.
///
/// # Errors
/// The database fails.
pub(super) async fn status(app: &App, record: &Record) -> ApiResult<Value> {
    let name = NamespacedName {
        namespace: record.key.namespace.clone(),
        name: record.key.name.clone(),
    };
    Ok(shown(&alerts::counts(&app.store, &name).await?))
}

fn shown(counts: &AlertCounts) -> Value {
    json!({
        "sent": counts.sent,
        "waiting": counts.waiting,
        "failed": counts.failed,
        "unknown": counts.unknown,
        "lastSentAt": counts.last_sent.map(|at| at.to_string()),
        "lastError": counts.last_error,
    })
}
