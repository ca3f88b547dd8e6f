//! Whether every metric finds the template that it names.

use std::collections::BTreeSet;

use bellwether_api::{
    analysis::Analysis,
    application::ApplicationSpec,
    call::ProblemItem,
    document::{Document, FieldPath, Source},
    metric_template::MetricTemplateSpec,
    reference::NamespacedName,
    rollout::RolloutSpec,
};
use bellwether_hub_core::{
    authorize::{Kind, Verb},
    release::{Templates, fill, find},
};
use bellwether_store::{
    StoreError, Tx,
    records::{RecordKey, RecordKind},
};

use super::{
    apply::namespace_of,
    auth::Caller,
    problem::{ApiError, ApiResult},
    references::{Checked, finding, specs},
};
use crate::app::App;

/// How one rollout is judged, with where that stands.
struct Judged<'a> {
    /// `Kind/name`, for people.
    who: String,
    namespace: &'a str,
    path: FieldPath,
    analysis: &'a Analysis,
}

impl Judged<'_> {
    /// Whether a caller may know that there is such a record.
    fn is_known_to(&self, caller: &Caller) -> bool {
        let may = caller.may(Verb::Get, Kind::Rollout, Some(self.namespace));
        may.is_ok()
    }
}

/// Checks the metrics of written rollouts and, where a template is written, those of every rollout
/// that the hub holds.
///
/// # Errors
/// The database fails.
pub(super) async fn check(
    tx: &mut Tx,
    caller: &Caller,
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
        let held = Held {
            templates: &templates,
            written: &written,
            source: template.source(),
        };
        check_held(tx, caller, &held, checked).await?;
    }
    Ok(())
}

/// What records that were not written are checked against.
struct Held<'a> {
    templates: &'a Templates,
    written: &'a BTreeSet<(RecordKind, NamespacedName)>,
    /// Where a template was written.
    source: &'a Source,
}

/// Checks what the hub holds against templates that were just written. What the caller may not read
/// is counted, and not named.
async fn check_held(
    tx: &mut Tx,
    caller: &Caller,
    against: &Held<'_>,
    checked: &mut Checked,
) -> Result<(), StoreError> {
    let is_new = |kind, key: &RecordKey| {
        let name = NamespacedName {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
        };
        !against.written.contains(&(kind, name))
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
    let source = against.source;
    let mut unknown = 0;
    for judged in held {
        let mut errors = errors_of(&judged, against.templates, |path, message, _| {
            let message = format!("{} would no longer fit: {path}: {message}", judged.who);
            finding(source, FieldPath::spec(), message, None)
        })
        .peekable();
        if errors.peek().is_some() && !judged.is_known_to(caller) {
            unknown += 1;
        } else {
            checked.errors.extend(errors);
        }
    }
    if unknown > 0 {
        let message = format!("{} would no longer fit", counted(unknown));
        let error = finding(source, FieldPath::spec(), message, None);
        checked.errors.push(error);
    }
    Ok(())
}

/// Says how many records there are of which a caller is told no more.
fn counted(records: usize) -> String {
    let plural = if records == 1 { "" } else { "s" };
    format!("{records} record{plural} of namespaces that you may not read")
}

fn of_rollout<'a>(name: &str, namespace: &'a str, spec: &'a RolloutSpec) -> Judged<'a> {
    Judged {
        who: format!("rollout/{name}"),
        namespace,
        path: FieldPath::spec(),
        analysis: &spec.analysis,
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
                analysis: &rollout.analysis,
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
    let min_requests = judged.analysis.min_requests;
    for (index, metric) in judged.analysis.metrics.iter().enumerate() {
        if let Err(error) = fill(metric, min_requests, judged.namespace, templates) {
            let path = metrics.index(index).key(error.field());
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
/// 409 with who uses it, as far as the caller may know, or the database fails.
pub(super) async fn refuse_used(app: &App, caller: &Caller, key: &RecordKey) -> ApiResult<()> {
    let mut tx = app.store.begin().await?;
    let templates = templates(&mut tx).await?;
    let rollouts = specs::<RolloutSpec>(&mut tx, RecordKind::Rollout, None).await?;
    let applications = specs::<ApplicationSpec>(&mut tx, RecordKind::Application, None).await?;
    let uses = |judged: &Judged<'_>| {
        judged.analysis.metrics.iter().any(|metric| {
            let found = metric
                .template
                .as_ref()
                .and_then(|wanted| find(wanted, judged.namespace, &templates).ok()?);
            found.is_some_and(|(name, _)| name.namespace == key.namespace && name.name == key.name)
        })
    };
    let mut unknown = BTreeSet::new();
    let mut users = BTreeSet::new();
    let all = rollouts
        .iter()
        .map(|(key, spec)| of_rollout(&key.name, &key.namespace, spec))
        .chain(
            applications
                .iter()
                .flat_map(|(key, spec)| of_application(&key.name, &key.namespace, spec)),
        )
        .filter(uses);
    for judged in all {
        let user = format!("{} in namespace {}", judged.who, judged.namespace);
        let known = judged.is_known_to(caller);
        let of = if known { &mut users } else { &mut unknown };
        of.insert(user);
    }
    if users.is_empty() && unknown.is_empty() {
        return Ok(());
    }
    let more = (!unknown.is_empty()).then(|| counted(unknown.len()));
    let users: Vec<String> = users.into_iter().chain(more).collect();
    Err(ApiError::conflict(format!(
        "metric template {:?} is used by {}; delete or change them first",
        key.name,
        users.join(", ")
    )))
}
