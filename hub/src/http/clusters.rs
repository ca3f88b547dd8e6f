//! Registered clusters: reading, labels, revocation, removal, and the tokens by which they join.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use bellwether_api::{
    API_VERSION,
    call::{Item, ItemList, JoinMaterial, JoinTokenRequest, LabelRequest, ListMeta, RevokeRequest},
    cluster::ClusterSpec,
    fleet::MetricsDefaults,
    fleet_hook::FleetEvent,
    validate::{is_dns_label, metrics_address},
};
use bellwether_hub_core::{
    authorize::{Kind, Verb},
    fleet_hooks::Happened,
};
use bellwether_store::{
    Tx,
    clusters::{self, Cluster, ClusterPatch, ClusterState},
};
use serde_json::json;

use super::{
    auth::Caller,
    extract::{JsonBody, OptionalJsonBody, Path, Query},
    items::Scene,
    paging::{ListQuery, cursor},
    problem::{ApiError, ApiResult},
    reason::reason,
};
use crate::{
    app::App,
    fleet_hooks,
    grpc::enrol::{JoinError, NewJoinToken, create_join_token},
};

const DEFAULT_TTL: Duration = Duration::from_secs(3_600);
const MAX_TTL: Duration = Duration::from_secs(86_400);

/// Lists clusters, by name.
#[utoipa::path(get, path = "/clusters", params(ListQuery), tag = "clusters", responses(
    (status = 200, description = "one page", body = ref("#/components/schemas/ItemList"))))]
pub async fn list_clusters(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> ApiResult<Json<ItemList>> {
    caller.may(Verb::List, Kind::Cluster, None)?;
    let scene = Scene::load(&app).await?;
    let selector = query.selector()?;
    let after = query.after()?.map(|(_, name)| name);
    let limit = usize::try_from(query.limit()).unwrap_or(usize::MAX);
    let mut found = scene.clusters.iter().filter(|cluster| {
        selector.matches(&cluster.labels)
            && after.as_ref().is_none_or(|after| cluster.name > *after)
    });
    let items: Vec<Item> = found
        .by_ref()
        .take(limit)
        .map(|one| scene.cluster(one))
        .collect();
    let more = found.next().is_some();
    let continue_ = items
        .last()
        .filter(|_| more)
        .map(|item| cursor("", &item.metadata.name));
    Ok(Json(ItemList {
        api_version: API_VERSION.to_owned(),
        kind: "ClusterList".to_owned(),
        metadata: ListMeta { continue_ },
        items,
    }))
}

async fn find(app: &App, name: &str) -> ApiResult<Cluster> {
    clusters::get(&app.store, name)
        .await?
        .ok_or_else(|| ApiError::not_found(format!("there is no cluster {name:?}")))
}

async fn shown(app: &App, name: &str) -> ApiResult<Json<Item>> {
    let cluster = find(app, name).await?;
    Ok(Json(Scene::load(app).await?.cluster(&cluster)))
}

/// Reads one cluster.
#[utoipa::path(get, path = "/clusters/{name}", params(("name" = String, Path)), tag = "clusters",
    responses((status = 200, description = "the cluster", body = ref("#/components/schemas/Item")),
    (status = 404, description = "there is none", body = ref("#/components/schemas/Problem"))))]
pub async fn get_cluster(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(name): Path<String>,
) -> ApiResult<Json<Item>> {
    caller.may(Verb::Get, Kind::Cluster, None)?;
    shown(&app, &name).await
}

/// Sets and removes labels.
#[utoipa::path(patch, path = "/clusters/{name}/labels", params(("name" = String, Path)),
    tag = "clusters", request_body = ref("#/components/schemas/LabelRequest"),
    responses((status = 200, description = "the cluster", body = ref("#/components/schemas/Item"))))]
pub async fn label_cluster(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(name): Path<String>,
    JsonBody(request): JsonBody<LabelRequest>,
) -> ApiResult<Json<Item>> {
    caller.may(Verb::Apply, Kind::Cluster, None)?;
    let cluster = find(&app, &name).await?;
    let mut labels = cluster.labels;
    for (key, value) in request.labels {
        match value {
            Some(value) => labels.insert(key, value),
            None => labels.remove(&key),
        };
    }
    require_labels(&labels)?;
    let patch = ClusterPatch {
        labels: Some(labels),
        ..ClusterPatch::default()
    };
    let mut tx = app.store.begin().await?;
    clusters::update(&mut tx, &name, &patch, Some(cluster.resource_version)).await?;
    tx.commit().await?;
    app.pokes.plan.notify_one();
    shown(&app, &name).await
}

fn require_labels(labels: &BTreeMap<String, String>) -> ApiResult<()> {
    let fits = |text: &str, max: usize| {
        text.len() <= max
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/'))
    };
    for (key, value) in labels {
        if key.is_empty() || !fits(key, 317) || !fits(value, 63) || value.contains('/') {
            return Err(ApiError::bad_request(format!("{key}={value} is no label")));
        }
    }
    Ok(())
}

fn require_address(address: &str) -> ApiResult<()> {
    metrics_address(address)
        .map_err(|why| ApiError::bad_request(format!("metricsAddress {address:?}: {why}")))
}

/// Takes a cluster's identity away and cuts its stream. It stays in the list until deleted; a new
/// join token gives it its place back. The body may be left out.
#[utoipa::path(post, path = "/clusters/{name}/revoke", params(("name" = String, Path)),
    tag = "clusters", request_body = ref("#/components/schemas/RevokeRequest"),
    responses((status = 200, description = "the cluster", body = ref("#/components/schemas/Item"))))]
pub async fn revoke_cluster(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(name): Path<String>,
    OptionalJsonBody(request): OptionalJsonBody<RevokeRequest>,
) -> ApiResult<Json<Item>> {
    caller.may(Verb::Delete, Kind::Cluster, None)?;
    let reason = reason(Some(&request.reason))?;
    let cluster = find(&app, &name).await?;
    let mut tx = app.store.begin().await?;
    clusters::revoke(&mut tx, cluster.id, app.clock.now()).await?;
    clusters::note_revocation(&mut tx, cluster.id, &caller.principal.name, reason).await?;
    note_detached(&app, &mut tx, &cluster, reason).await?;
    tx.commit().await?;
    app.sessions.cut(cluster.id);
    app.pokes.plan.notify_one();
    tracing::info!(
        cluster.id = %cluster.id, cluster.name = %name, principal = %caller.principal.name,
        reason, "cluster revoked"
    );
    shown(&app, &name).await
}

/// Has hooks of fleets told that a cluster is detached, unless it was already, or never joined.
async fn note_detached(app: &App, tx: &mut Tx, cluster: &Cluster, reason: &str) -> ApiResult<()> {
    if cluster.state != ClusterState::Active {
        return Ok(());
    }
    let detached = Happened {
        event: FleetEvent::ClusterDetached,
        at: app.clock.now(),
        again: false,
        reason,
    };
    fleet_hooks::note(tx, cluster, detached).await?;
    Ok(())
}

/// Forgets a cluster. Nothing is deleted in it.
#[utoipa::path(delete, path = "/clusters/{name}", params(("name" = String, Path)), tag = "clusters",
    responses((status = 200, description = "what it was", body = ref("#/components/schemas/Item"))))]
pub async fn delete_cluster(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(name): Path<String>,
) -> ApiResult<Json<Item>> {
    caller.may(Verb::Delete, Kind::Cluster, None)?;
    let cluster = find(&app, &name).await?;
    let item = Scene::load(&app).await?.cluster(&cluster);
    let mut tx = app.store.begin().await?;
    // Revoked first, so that other hubs cut the stream as well.
    clusters::revoke(&mut tx, cluster.id, app.clock.now()).await?;
    note_detached(&app, &mut tx, &cluster, "").await?;
    clusters::delete(&mut tx, cluster.id).await?;
    tx.commit().await?;
    app.sessions.cut(cluster.id);
    app.pokes.plan.notify_one();
    tracing::info!(
        cluster.id = %cluster.id, cluster.name = %name, principal = %caller.principal.name,
        "cluster deleted"
    );
    Ok(Json(item))
}

/// Makes a token with which one cluster may enrol once.
#[utoipa::path(post, path = "/join-tokens", tag = "clusters",
    request_body = ref("#/components/schemas/JoinTokenRequest"), responses(
    (status = 201, description = "shown only now", body = ref("#/components/schemas/JoinMaterial"))))]
pub async fn create_token(
    State(app): State<Arc<App>>,
    caller: Caller,
    JsonBody(request): JsonBody<JoinTokenRequest>,
) -> ApiResult<(StatusCode, HeaderMap, Json<JoinMaterial>)> {
    caller.may(Verb::Apply, Kind::JoinToken, None)?;
    let name = request.cluster;
    if !is_dns_label(&name) {
        return Err(ApiError::bad_request(format!(
            "{name:?} is no name for a cluster: use lower-case letters, digits and '-', at most 63"
        )));
    }
    require_labels(&request.labels)?;
    if let Some(address) = &request.metrics_address {
        require_address(address)?;
    }
    let ttl = request.ttl.map_or(DEFAULT_TTL, |ttl| ttl.as_std());
    if ttl.is_zero() || ttl > MAX_TTL {
        return Err(ApiError::bad_request("ttl must lie between 1s and 24h"));
    }
    let new = NewJoinToken {
        cluster: name.clone(),
        labels: request.labels,
        ttl,
        uses: 1,
        by: caller.principal.name.clone(),
    };
    let material = create_join_token(&app, new)
        .await
        .map_err(|error| match error {
            JoinError::Store(error) => error.into(),
            JoinError::Announce(_) => ApiError::internal(&error),
        })?;
    if let Some(address) = request.metrics_address {
        // A cluster that is registered again keeps the rest of its settings.
        let known = find(&app, &name).await?;
        let known: ClusterSpec = serde_json::from_value(known.spec).unwrap_or_default();
        let spec = ClusterSpec {
            metrics: Some(MetricsDefaults {
                address,
                ..MetricsDefaults::default()
            }),
            ..known
        };
        let patch = ClusterPatch {
            spec: Some(json!(spec)),
            ..ClusterPatch::default()
        };
        let mut tx = app.store.begin().await?;
        clusters::update(&mut tx, &name, &patch, None).await?;
        tx.commit().await?;
    }
    app.pokes.plan.notify_one();
    let answer = JoinMaterial {
        cluster: name,
        token: material.token,
        ca_hash: material.ca_hash,
        addresses: material.addresses,
        expires_at: material.expires_at.to_string(),
    };
    Ok((StatusCode::CREATED, never_stored(), Json(answer)))
}

/// Headers of an answer that holds a secret.
pub fn never_stored() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(
        axum::http::header::CACHE_CONTROL,
        axum::http::HeaderValue::from_static("no-store"),
    );
    headers
}
