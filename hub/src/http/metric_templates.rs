//! Whether every metric finds the template that it names.

use std::collections::BTreeSet;

use bellwether_api::{
    analysis::Metric,
    application::ApplicationSpec,
    call::ProblemItem,
    document::{Document, FieldPath, Source},
    metric_template::MetricTemplateSpec,
    reference::NamespacedName,
    rollout::RolloutSpec,
};
use bellwether_hub_core::release::{Templates, fill, find};
use bellwether_store::{
    StoreError, Tx,
    records::{RecordKey, RecordKind},
};

use super::{
    apply::namespace_of,
    problem::{ApiError, ApiResult},
    references::{Checked, finding, specs},
};
use crate::app::App;

/// Metrics of one rollout, with where they stand.
struct Judged<'a> {
    /// `Kind/name`, for people.
    who: String,
    namespace: &'a str,
    path: FieldPath,
    metrics: &'a [Metric],
}

/// Checks the metrics of written rollouts and, where a template is written, those of every rollout
/// that the hub holds.
///
/// # Errors
/// The database fails.
pub(super) async fn check(
    tx: &mut Tx,
    documents: &[Document],
    default_namespace: &str,
    checked: &mut Checked,
) -> Result<(), StoreError> {
    let templates = templates(tx).await?;
    let mut written: BTreeSet<(RecordKind, NamespacedName)> = BTreeSet::new();
    for document in documents {
        let namespace = namespace_of(document, default_namespace);
        let name = NamespacedName {
            namespace: namespace.clone(),
            name: document.metadata().name.clone(),
        };
        let judged = match document {
            Document::Rollout(object) => {
                written.insert((RecordKind::Rollout, name));
                vec![of_rollout(&object.metadata.name, &namespace, &object.spec)]
            }
            Document::Application(object) => {
                written.insert((RecordKind::Application, name));
                of_application(&object.metadata.name, &namespace, &object.spec)
            }
            _ => continue,
        };
        for judged in judged {
            errors_of(&judged, &templates, |path, message, meant| {
                finding(document.source(), path, message, meant)
            })
            .for_each(|error| checked.errors.push(error));
        }
    }
    let template = documents
        .iter()
        .find(|document| matches!(document, Document::MetricTemplate(_)));
    if let Some(template) = template {
        check_held(tx, &templates, &written, template.source(), checked).await?;
    }
    Ok(())
}

/// Checks what the hub holds against templates that were just written.
async fn check_held(
    tx: &mut Tx,
    templates: &Templates,
    written: &BTreeSet<(RecordKind, NamespacedName)>,
    source: &Source,
    checked: &mut Checked,
) -> Result<(), StoreError> {
    let is_new = |kind, key: &RecordKey| {
        let name = NamespacedName {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
        };
        !written.contains(&(kind, name))
    };
    let rollouts = specs::<RolloutSpec>(tx, RecordKind::Rollout, None).await?;
    let applications = specs::<ApplicationSpec>(tx, RecordKind::Application, None).await?;
    let held = rollouts
        .iter()
        .filter(|(key, _)| is_new(RecordKind::Rollout, key))
        .map(|(key, spec)| of_rollout(&key.name, &key.namespace, spec))
        .chain(
            applications
                .iter()
                .filter(|(key, _)| is_new(RecordKind::Application, key))
                .flat_map(|(key, spec)| of_application(&key.name, &key.namespace, spec)),
        );
    for judged in held {
        errors_of(&judged, templates, |path, message, _| {
            let message = format!("{} would no longer fit: {path}: {message}", judged.who);
            finding(source, FieldPath::spec(), message, None)
        })
        .for_each(|error| checked.errors.push(error));
    }
    Ok(())
}

fn of_rollout<'a>(name: &str, namespace: &'a str, spec: &'a RolloutSpec) -> Judged<'a> {
    Judged {
        who: format!("rollout/{name}"),
        namespace,
        path: FieldPath::spec(),
        metrics: &spec.analysis.metrics,
    }
}

fn of_application<'a>(
    name: &str,
    namespace: &'a str,
    spec: &'a ApplicationSpec,
) -> Vec<Judged<'a>> {
    let components = spec.components.iter().enumerate();
    components
        .filter_map(|(index, component)| {
            let rollout = component.rollout.as_ref()?;
            let path = FieldPath::spec().key("components").index(index);
            Some(Judged {
                who: format!("application/{name}"),
                namespace,
                path: path.key("rollout"),
                metrics: &rollout.analysis.metrics,
            })
        })
        .collect()
}

fn errors_of(
    judged: &Judged<'_>,
    templates: &Templates,
    problem: impl Fn(FieldPath, String, Option<&str>) -> ProblemItem,
) -> impl Iterator<Item = ProblemItem> {
    let metrics = judged.path.key("analysis").key("metrics");
    let mut errors = Vec::new();
    for (index, metric) in judged.metrics.iter().enumerate() {
        if let Err(error) = fill(metric, judged.namespace, templates) {
            let path = metrics.index(index).key("template");
            errors.push(problem(path, error.to_string(), error.meant()));
        }
    }
    errors.into_iter()
}

async fn templates(tx: &mut Tx) -> Result<Templates, StoreError> {
    let specs = specs::<MetricTemplateSpec>(tx, RecordKind::MetricTemplate, None).await?;
    Ok(specs
        .into_iter()
        .map(|(key, spec)| {
            let name = NamespacedName {
                namespace: key.namespace,
                name: key.name,
            };
            (name, spec)
        })
        .collect())
}

/// A template that metrics are read by must not vanish under them.
///
/// # Errors
/// 409 with who uses it, or the database fails.
pub(super) async fn refuse_used(app: &App, key: &RecordKey) -> ApiResult<()> {
    let mut tx = app.store.begin().await?;
    let templates = templates(&mut tx).await?;
    let rollouts = specs::<RolloutSpec>(&mut tx, RecordKind::Rollout, None).await?;
    let applications = specs::<ApplicationSpec>(&mut tx, RecordKind::Application, None).await?;
    let uses = |judged: &Judged<'_>| {
        judged.metrics.iter().any(|metric| {
            let found = metric
                .template
                .as_ref()
                .and_then(|wanted| find(wanted, judged.namespace, &templates).ok()?);
            found.is_some_and(|(name, _)| name.namespace == key.namespace && name.name == key.name)
        })
    };
    let users: BTreeSet<String> = rollouts
        .iter()
        .map(|(key, spec)| of_rollout(&key.name, &key.namespace, spec))
        .chain(
            applications
                .iter()
                .flat_map(|(key, spec)| of_application(&key.name, &key.namespace, spec)),
        )
        .filter(uses)
        .map(|judged| format!("{} in namespace {}", judged.who, judged.namespace))
        .collect();
    if users.is_empty() {
        return Ok(());
    }
    let users: Vec<String> = users.into_iter().collect();
    Err(ApiError::conflict(format!(
        "metric template {:?} is used by {}; delete or change them first",
        key.name,
        users.join(", ")
    )))
}
