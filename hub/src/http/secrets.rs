//! Secrets that the hub keeps: written, listed and deleted; no answer holds a value.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State, http::StatusCode};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bellwether_api::{
    alert_provider::AlertProviderSpec,
    application::ApplicationSpec,
    call::{SecretList, SecretRequest, SecretView},
    document::Document,
    fleet::FleetSpec,
    reference::NamespacedName,
    repository::RepositorySpec,
    secret::{SourceSecrets, is_key, named_by},
    validate::{DEFAULT_NAMESPACE, is_dns_label},
};
use bellwether_hub_core::authorize::{Kind, Verb};
use bellwether_store::{
    records::{Change, RecordKind},
    secrets::{self, SecretInfo, SecretValue},
};
use serde::Deserialize;

use super::{
    apply::namespace_of,
    auth::Caller,
    extract::{LimitedBody, Path, Query},
    problem::{ApiError, ApiResult},
    references::specs,
};
use crate::{app::App, secrets::find};

/// Bytes of all values of a secret at most, as in Kubernetes.
const MAX_BYTES: usize = 1 << 20;
/// Entries of a secret at most.
const MAX_ENTRIES: usize = 256;

fn shown(info: &SecretInfo, result: Option<Change>) -> SecretView {
    let word = |change| match change {
        Change::Created => "created",
        Change::Configured => "configured",
        Change::Unchanged => "unchanged",
    };
    SecretView {
        namespace: info.name.namespace.clone(),
        name: info.name.name.clone(),
        keys: info.keys.keys().cloned().collect(),
        changed_at: info.changed_at.to_string(),
        changed_by: info.changed_by.clone(),
        result: result.map(|change| word(change).to_owned()),
    }
}

/// Lists secrets of every namespace that the caller may see, without their values.
#[utoipa::path(get, path = "/secrets", tag = "secrets", responses(
    (status = 200, description = "names and keys", body = ref("#/components/schemas/SecretList"))))]
pub async fn all_secrets(
    State(app): State<Arc<App>>,
    caller: Caller,
) -> ApiResult<Json<SecretList>> {
    // Whoever is bound to namespaces sees those.
    if caller.principal.namespaces.is_empty() {
        caller.may(Verb::List, Kind::Secret, None)?;
    }
    let known = secrets::list(&app.store, None).await?;
    let seen = |info: &&SecretInfo| {
        let namespace = Some(info.name.namespace.as_str());
        caller.may(Verb::List, Kind::Secret, namespace).is_ok()
    };
    let items = known.iter().filter(seen).map(|info| shown(info, None));
    Ok(Json(SecretList {
        items: items.collect(),
    }))
}

/// Lists the secrets of a namespace, without their values.
#[utoipa::path(get, path = "/namespaces/{namespace}/secrets", tag = "secrets",
    params(("namespace" = String, Path)), responses(
    (status = 200, description = "names and keys", body = ref("#/components/schemas/SecretList"))))]
pub async fn list_secrets(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(namespace): Path<String>,
) -> ApiResult<Json<SecretList>> {
    caller.may(Verb::List, Kind::Secret, Some(&namespace))?;
    let known = secrets::list(&app.store, Some(&namespace)).await?;
    Ok(Json(SecretList {
        items: known.iter().map(|info| shown(info, None)).collect(),
    }))
}

/// Makes a secret hold exactly these entries. They are not shown again.
#[utoipa::path(put, path = "/namespaces/{namespace}/secrets/{name}", tag = "secrets",
    params(("namespace" = String, Path), ("name" = String, Path)),
    request_body = ref("#/components/schemas/SecretRequest"), responses(
    (status = 200, description = "written, or the same as before", body = ref("#/components/schemas/SecretView")),
    (status = 400, description = "entries that cannot be kept", body = ref("#/components/schemas/Problem"))))]
pub async fn put_secret(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((namespace, name)): Path<(String, String)>,
    LimitedBody(body): LimitedBody,
) -> ApiResult<Json<SecretView>> {
    caller.may(Verb::Apply, Kind::Secret, Some(&namespace))?;
    for (what, text) in [("namespace", &namespace), ("name", &name)] {
        if !is_dns_label(text) {
            return Err(ApiError::bad_request(format!(
                "{text:?} is no {what}; use a-z, 0-9 and -, with a letter or digit at both ends"
            )));
        }
    }
    let entries = read(&body)?;
    let wanted = NamespacedName { namespace, name };
    let by = &caller.principal.name;
    let mut tx = app.store.begin().await?;
    let change = secrets::set(&mut tx, &wanted, &entries, by, app.clock.now()).await?;
    tx.commit().await?;
    app.pokes.plan.notify_one();
    tracing::info!(principal = %by, secret = %wanted, ?change, "secret written");
    let known = secrets::list(&app.store, Some(&wanted.namespace)).await?;
    let info = known
        .iter()
        .find(|one| one.name == wanted)
        .ok_or_else(|| ApiError::not_found("somebody deleted the secret a moment ago"))?;
    Ok(Json(shown(info, Some(change))))
}

/// Reads entries. What is wrong with a body is said without a word of it.
fn read(body: &[u8]) -> ApiResult<BTreeMap<String, SecretValue>> {
    let expected = "the body is {\"entries\": {KEY: VALUE IN BASE64, …}}";
    let request: SecretRequest =
        serde_json::from_slice(body).map_err(|_| ApiError::bad_request(expected))?;
    if request.entries.is_empty() {
        return Err(ApiError::bad_request("a secret has at least one entry"));
    }
    if request.entries.len() > MAX_ENTRIES {
        let message = format!("a secret has at most {MAX_ENTRIES} entries");
        return Err(ApiError::bad_request(message));
    }
    let mut bytes = 0;
    let mut entries = BTreeMap::new();
    for (key, value) in request.entries {
        if !is_key(&key) {
            return Err(ApiError::bad_request(format!(
                "{key:?} is no key; it has 1 to 253 letters, digits, '-', '_' or '.'"
            )));
        }
        let value = STANDARD
            .decode(value)
            .map_err(|_| ApiError::bad_request(format!("the value of {key:?} is no base64")))?;
        bytes += value.len();
        entries.insert(key, SecretValue::new(value));
    }
    if bytes > MAX_BYTES {
        return Err(ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "TooLarge",
            format!("the values have {bytes} bytes; at most {MAX_BYTES} (1 MiB) are kept"),
        ));
    }
    Ok(entries)
}

/// How a secret is deleted.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeleteSecretQuery {
    /// Whether it is deleted although something names it.
    #[serde(default)]
    pub force: bool,
}

/// Deletes a secret with every value that it ever had.
#[utoipa::path(delete, path = "/namespaces/{namespace}/secrets/{name}", tag = "secrets",
    params(DeleteSecretQuery, ("namespace" = String, Path), ("name" = String, Path)), responses(
    (status = 200, description = "it is gone", body = ref("#/components/schemas/SecretView")),
    (status = 404, description = "there is none", body = ref("#/components/schemas/Problem")),
    (status = 409, description = "it is named; by whom is said", body = ref("#/components/schemas/Problem"))))]
pub async fn delete_secret(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(query): Query<DeleteSecretQuery>,
    Path((namespace, name)): Path<(String, String)>,
) -> ApiResult<Json<SecretView>> {
    caller.may(Verb::Delete, Kind::Secret, Some(&namespace))?;
    let wanted = NamespacedName { namespace, name };
    let known = secrets::list(&app.store, Some(&wanted.namespace)).await?;
    let missing = || {
        ApiError::not_found(format!(
            "there is no secret {:?} in namespace {:?}",
            wanted.name, wanted.namespace
        ))
    };
    let info = known
        .iter()
        .find(|one| one.name == wanted)
        .ok_or_else(missing)?;
    let users = users(&app, &wanted).await?;
    if !users.is_empty() && !query.force {
        return Err(ApiError::conflict(format!(
            "secret {:?} is named by {}; change them first, or delete it all the same by --force",
            wanted.name,
            users.join(", ")
        )));
    }
    let mut tx = app.store.begin().await?;
    let deleted = secrets::delete(&mut tx, &wanted).await?;
    tx.commit().await?;
    if !deleted {
        return Err(missing());
    }
    app.pokes.plan.notify_one();
    tracing::info!(principal = %caller.principal.name, secret = %wanted, "secret deleted");
    Ok(Json(shown(info, None)))
}

/// Says which secrets documents name that are not there.
///
/// # Errors
/// The database fails.
pub(super) async fn missing(
    app: &App,
    documents: &[Document],
    default_namespace: &str,
) -> ApiResult<Vec<String>> {
    let mut said = Vec::new();
    for document in documents {
        let named = match document {
            Document::Application(object) => named_by(&object.spec),
            Document::AlertProvider(object) => [object.spec.address_ref.name.clone()].into(),
            Document::Fleet(object) => {
                said.extend(missing_of_fleet(app, &object.metadata.name, &object.spec).await?);
                continue;
            }
            _ => continue,
        };
        if named.is_empty() {
            continue;
        }
        let namespace = namespace_of(document, default_namespace);
        let known = secrets::list(&app.store, Some(&namespace)).await?;
        let missing = named.iter().filter(|name| find(&known, name).is_none());
        said.extend(missing.map(|name| {
            format!(
                "{}/{} waits for a secret: run: bellwether secret set {name} -n {namespace}",
                document.kind().name().to_lowercase(),
                document.metadata().name
            )
        }));
    }
    Ok(said)
}

/// Says which secrets the hooks of a fleet wait for.
async fn missing_of_fleet(app: &App, name: &str, spec: &FleetSpec) -> ApiResult<Vec<String>> {
    let mut said = Vec::new();
    for hook in &spec.hooks {
        let wanted = &hook.hmac_secret_ref;
        let namespace = wanted.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
        let known = secrets::list(&app.store, Some(namespace)).await?;
        if find(&known, &wanted.name).is_none() {
            said.push(format!(
                "fleet/{name} waits for a secret: run: bellwether secret set {} -n {namespace}",
                wanted.name
            ));
        }
    }
    Ok(said)
}

/// Who names a secret: applications of its namespace, repositories of records, hooks of fleets, and the
/// hub itself.
async fn users(app: &App, wanted: &NamespacedName) -> ApiResult<Vec<String>> {
    let mut tx = app.store.begin().await?;
    let namespace = Some(wanted.namespace.as_str());
    let applications =
        specs::<ApplicationSpec>(&mut tx, RecordKind::Application, namespace).await?;
    let mut users: Vec<String> = applications
        .iter()
        .filter(|(_, spec)| named_by(spec).contains(&wanted.name))
        .map(|(key, _)| format!("application/{}", key.name))
        .collect();
    let repositories = specs::<RepositorySpec>(&mut tx, RecordKind::Repository, None).await?;
    let names_it = |spec: &RepositorySpec| {
        let namespace = spec.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
        namespace == wanted.namespace
            && SourceSecrets::of_git(&spec.git)
                .names()
                .any(|name| name == wanted.name)
    };
    let repositories = repositories.iter().filter(|(_, spec)| names_it(spec));
    users.extend(repositories.map(|(key, _)| format!("repository/{}", key.name)));
    let fleets = specs::<FleetSpec>(&mut tx, RecordKind::Fleet, None).await?;
    let hooks_name_it = |spec: &FleetSpec| {
        spec.hooks.iter().any(|hook| {
            let at = &hook.hmac_secret_ref;
            let namespace = at.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
            (namespace, at.name.as_str()) == (&wanted.namespace, &wanted.name)
        })
    };
    let fleets = fleets.iter().filter(|(_, spec)| hooks_name_it(spec));
    users.extend(fleets.map(|(key, _)| format!("fleet/{}", key.name)));
    let kind = RecordKind::AlertProvider;
    let providers = specs::<AlertProviderSpec>(&mut tx, kind, namespace).await?;
    let providers = providers
        .iter()
        .filter(|(_, spec)| spec.address_ref.name == wanted.name);
    users.extend(providers.map(|(key, _)| format!("alertprovider/{}", key.name)));
    if app.config.webhook_secret.as_ref() == Some(wanted) {
        users.push("the hub's --webhook-secret".to_owned());
    }
    Ok(users)
}
