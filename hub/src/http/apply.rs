//! Applying documents: all of them or none.

mod key;
mod write;

use std::sync::Arc;

use axum::{Json, extract::State};
use bellwether_api::{
    call::{AppliedObject, ApplyResult},
    document::{Document, DocumentWarning, load},
    reference::NamespacedName,
    validate::DEFAULT_NAMESPACE,
};
use bellwether_hub_core::{authorize::Verb, ownership::Writer};
use bellwether_store::{Tx, records::RecordKey};
use serde::Deserialize;

use super::{
    alert_defaults, alert_providers,
    auth::Caller,
    cluster_traffic, dependencies,
    extract::{LimitedBody, Query},
    metric_templates, plugins,
    problem::{ApiError, ApiResult, problem_item},
    reason::reason,
    references, secrets, standing_check,
    unreleased::draft_wait,
};
use crate::app::App;
use key::{key_of, kind_of, require_only};
use write::write;

pub use key::{namespace_of, record_key, refuse_redacted};

/// How documents are applied.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ApplyQuery {
    /// Namespace of documents that name none; `default` unless given.
    pub namespace: Option<String>,
    /// `All` checks everything and stores nothing.
    pub dry_run: Option<String>,
    /// Why; kept with what changes and with the release that comes of it.
    pub reason: Option<String>,
}

impl ApplyQuery {
    /// Tells whether nothing is to be stored.
    ///
    /// # Errors
    /// 400 when the value is another than `All`.
    pub fn is_dry_run(&self) -> ApiResult<bool> {
        match self.dry_run.as_deref() {
            None => Ok(false),
            Some("All") => Ok(true),
            Some(other) => Err(ApiError::bad_request(format!(
                "dryRun is All or absent, not {other:?}"
            ))),
        }
    }
}

/// Applies a YAML or JSON body with any number of documents, all of them or none.
#[utoipa::path(
    post, path = "/apply", params(ApplyQuery), tag = "objects",
    request_body(content = String, content_type = "application/yaml"),
    responses(
        (status = 200, description = "what became of every document", body = ref("#/components/schemas/ApplyResult")),
        (status = 409, description = "something changed in the meantime", body = ref("#/components/schemas/Problem")),
        (status = 413, description = "the body is too large", body = ref("#/components/schemas/Problem")),
        (status = 422, description = "documents are wrong; nothing was stored", body = ref("#/components/schemas/Problem")),
    ),
)]
pub async fn apply(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(query): Query<ApplyQuery>,
    LimitedBody(body): LimitedBody,
) -> ApiResult<Json<ApplyResult>> {
    let dry_run = query.is_dry_run()?;
    let scope = Scope {
        namespace: query.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE),
        dry_run,
        reason: reason(query.reason.as_deref())?,
        writer: Writer::Person,
    };
    Ok(Json(
        apply_documents(&app, &caller, &body, &scope, None).await?,
    ))
}

/// What holds for all documents of one request.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// Namespace of documents that name none.
    pub namespace: &'a str,
    /// Whether everything is checked and nothing stored.
    pub dry_run: bool,
    /// Why; empty when nothing was said.
    pub reason: &'a str,
    /// Who writes.
    pub writer: Writer<'a>,
}

/// Applies documents. `only`, if given, is what the one document must be, with the version that it
/// must have now.
///
/// # Errors
/// 403, 409 or 422; nothing is stored then.
pub async fn apply_documents(
    app: &App,
    caller: &Caller,
    body: &[u8],
    scope: &Scope<'_>,
    only: Option<(&RecordKey, Option<u64>)>,
) -> ApiResult<ApplyResult> {
    let Written { tx, mut result, .. } = write_body(app, caller, body, scope, only).await?;
    if scope.dry_run {
        return Ok(result);
    }
    tx.commit().await?;
    app.pokes.plan.notify_one();
    result.warnings.extend(drafts(app, &result).await?);
    tracing::info!(
        principal = %caller.principal.name,
        objects = result.objects.len(),
        "documents applied"
    );
    Ok(result)
}

/// Documents that are written and checked, and not committed.
pub struct Written {
    /// The transaction that wrote them.
    pub tx: Tx,
    /// What was read.
    pub documents: Vec<Document>,
    /// What becomes of every document.
    pub result: ApplyResult,
}

/// Reads documents, writes them and checks them against everything else, as [`apply_documents`] does,
/// without committing.
///
/// # Errors
/// 403, 409 or 422.
pub async fn write_body(
    app: &App,
    caller: &Caller,
    body: &[u8],
    scope: &Scope<'_>,
    only: Option<(&RecordKey, Option<u64>)>,
) -> ApiResult<Written> {
    let default_namespace = scope.namespace;
    let loaded = load("", body)
        .map_err(|errors| ApiError::invalid(errors.iter().map(problem_item).collect()))?;
    let documents = loaded.documents;
    if let Some((key, _)) = only {
        require_only(&documents, key, default_namespace)?;
    }
    for document in &documents {
        let namespace = namespace_of(document, default_namespace);
        let place = Some(namespace.as_str()).filter(|name| !name.is_empty());
        caller.may(Verb::Apply, kind_of(document), place)?;
    }
    let unknown = plugins::unknown(app.renderings.plugins(), &documents);
    if !unknown.is_empty() {
        return Err(ApiError::invalid(unknown));
    }
    let missing = secrets::missing(app, &documents, default_namespace).await?;
    let mut tx = app.store.begin().await?;
    let mut result =
        write_documents(&mut tx, caller, &documents, &loaded.warnings, scope, only).await?;
    result.warnings.extend(missing);
    result.dry_run = scope.dry_run;
    Ok(Written {
        tx,
        documents,
        result,
    })
}

/// Writes documents and checks that they fit what the hub holds then. Whoever gets an error drops the
/// transaction.
///
/// # Errors
/// 403, 409 or 422.
pub async fn write_documents(
    tx: &mut Tx,
    caller: &Caller,
    documents: &[Document],
    warnings: &[DocumentWarning],
    scope: &Scope<'_>,
    only: Option<(&RecordKey, Option<u64>)>,
) -> ApiResult<ApplyResult> {
    let default_namespace = scope.namespace;
    refuse_redacted(documents)?;
    let mut result = ApplyResult {
        warnings: warnings
            .iter()
            .map(|warning| warning_text(&warning.path, &warning.message))
            .collect(),
        ..ApplyResult::default()
    };
    let mut order: Vec<usize> = (0..documents.len()).collect();
    // One order for everybody: two requests never wait for each other.
    order.sort_by_key(|at| key_of(&documents[*at], default_namespace));
    let mut written: Vec<(usize, AppliedObject)> = Vec::new();
    for at in order {
        let expected = only.and_then(|(_, expected)| expected);
        let object = write(tx, caller, &documents[at], scope, expected).await?;
        written.push((at, object));
    }
    written.sort_by_key(|(at, _)| *at);
    result.objects = written.into_iter().map(|(_, object)| object).collect();
    let mut checked = references::check(tx, documents, default_namespace).await?;
    metric_templates::check(tx, caller, documents, default_namespace, &mut checked).await?;
    alert_providers::check(tx, documents, default_namespace, &mut checked).await?;
    alert_defaults::check(tx, documents, default_namespace, &mut checked).await?;
    dependencies::check(tx, documents, default_namespace, &mut checked).await?;
    standing_check::check(tx, documents, default_namespace, &mut checked).await?;
    cluster_traffic::check(tx, documents, &mut checked).await?;
    if !checked.errors.is_empty() {
        return Err(ApiError::invalid(checked.errors));
    }
    result.warnings.extend(checked.warnings);
    result.warnings.dedup();
    Ok(result)
}

/// Says of every application that what was applied is stored as a draft.
async fn drafts(app: &App, result: &ApplyResult) -> ApiResult<Vec<String>> {
    let mut found = Vec::new();
    for object in &result.objects {
        if object.kind != "Application" {
            continue;
        }
        let name = NamespacedName {
            namespace: object.namespace.clone().unwrap_or_default(),
            name: object.name.clone(),
        };
        let wait = draft_wait(app, &name).await?;
        found.extend(wait.map(|wait| format!("application/{}: {}", name.name, wait.message)));
    }
    Ok(found)
}

fn warning_text(path: &str, message: &str) -> String {
    if path.is_empty() {
        message.to_owned()
    } else {
        format!("{path}: {message}")
    }
}
