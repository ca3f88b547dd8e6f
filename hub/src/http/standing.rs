//! Rollouts of workloads that the hub does not deliver: what their clusters say of them, and what is
//! said to their runs.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use bellwether_api::{
    call::{ActionFields, ActionRequest, ActionView, ApplicationStatus},
    reference::NamespacedName,
    rollout::RolloutSpec,
    standing_grant::StandingGrant,
    status::{Health, UnitStatus},
    strategy::Manual,
    view::RunView,
};
use bellwether_hub_core::{
    promoted::promoted,
    standing::{Said, StandingCluster, act as said_to, conditions, view},
};
use bellwether_store::{
    blobs,
    desired::{self, ClusterChange, Deletions},
    records::{self, Record, RecordKey, RecordKind},
    status,
};
use serde_json::json;
use uuid::Uuid;

use super::{
    items::Scene,
    problem::{ApiError, ApiResult},
};
use crate::{
    app::App,
    loops::{granting, write_grants},
};

/// The key of its units.
pub fn key_of(rollout: &NamespacedName) -> String {
    format!("rollout/{rollout}")
}

/// Finds the Rollout without an application of that name; absent = there is none.
///
/// # Errors
/// The database fails.
pub async fn find(app: &App, name: &NamespacedName) -> ApiResult<Option<Record>> {
    let key = RecordKey {
        kind: RecordKind::Rollout,
        namespace: name.namespace.clone(),
        name: name.name.clone(),
    };
    Ok(records::get(&app.store, &key).await?.filter(is_standing))
}

fn is_standing(record: &Record) -> bool {
    let spec: Option<RolloutSpec> = serde_json::from_value(record.spec.clone()).ok();
    spec.is_some_and(|spec| spec.application.is_none() && spec.destination.is_some())
}

fn name_of(record: &Record) -> NamespacedName {
    NamespacedName {
        namespace: record.key.namespace.clone(),
        name: record.key.name.clone(),
    }
}

/// Shows where its changes stand.
///
/// # Errors
/// The database fails.
pub async fn run_view(app: &App, scene: &Scene, record: &Record) -> ApiResult<RunView> {
    let name = name_of(record);
    let clusters = clusters(app, scene, &name).await?;
    let (by, at) = (&record.updated_by, record.updated_at);
    let stalled = super::health::trouble_of(app, &name);
    Ok(view(
        &name,
        by,
        at,
        &clusters,
        stalled.as_deref(),
        scene.now,
    ))
}

/// Shows it among others; absent = the record is no such Rollout.
///
/// # Errors
/// The database fails.
pub async fn status(
    app: &App,
    scene: &Scene,
    record: &Record,
) -> ApiResult<Option<ApplicationStatus>> {
    if record.key.kind != RecordKind::Rollout || !is_standing(record) {
        return Ok(None);
    }
    let view = run_view(app, scene, record).await?;
    let name = name_of(record);
    let stalled = super::health::trouble_of(app, &name);
    let mut conditions = conditions(&clusters(app, scene, &name).await?, stalled.as_deref());
    conditions.push(promoted(Some(view.state), 0, (view.done, view.total)));
    let clusters = view.waves.iter().flat_map(|wave| &wave.clusters);
    let health = clusters.map(|cluster| cluster.health).max();
    Ok(Some(ApplicationStatus {
        state: Some(view.state),
        health: health.unwrap_or(Health::Unknown),
        revision: 0,
        version: view.version,
        done: view.done,
        total: view.total,
        clusters: view.total,
        conditions,
    }))
}

async fn statuses(app: &App, name: &NamespacedName) -> ApiResult<BTreeMap<Uuid, UnitStatus>> {
    let rows = status::list_for_unit(&app.store, &key_of(name)).await?;
    let read =
        |row: status::StatusRow| Some((row.cluster, serde_json::from_value(row.detail).ok()?));
    Ok(rows.into_iter().filter_map(read).collect())
}

async fn clusters(
    app: &App,
    scene: &Scene,
    name: &NamespacedName,
) -> ApiResult<Vec<StandingCluster>> {
    let holders = desired::holders(&app.store, &key_of(name)).await?;
    let mut statuses = statuses(app, name).await?;
    let held = scene
        .clusters
        .iter()
        .filter(|cluster| holders.contains_key(&cluster.id));
    Ok(held
        .map(|cluster| StandingCluster {
            name: cluster.name.clone(),
            reachable: scene.is_reachable(cluster),
            last_heard: scene.last_seen(cluster).and_then(|at| at.parse().ok()),
            status: statuses.remove(&cluster.id),
        })
        .collect())
}

/// Says something to the runs that are under way, in one cluster or in all that it can concern.
///
/// # Errors
/// 422 when it names what does not exist, 409 when it would do nothing anywhere.
pub async fn act(
    app: &App,
    record: &Record,
    request: &ActionRequest,
    set: Option<Manual>,
    by: &str,
) -> ApiResult<ActionView> {
    let name = name_of(record);
    if request.wave.is_some() || request.expected_revision.is_some() {
        return Err(ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "NotOfARelease",
            "changes in clusters belong to no release: they have no waves and no revisions; name a \
             cluster, or none",
        ));
    }
    let said = Said {
        verb: request.verb,
        step: request.step,
        set,
        by,
        reason: &request.reason,
    };
    let mut tx = app.store.begin().await?;
    records::lock(&mut tx, &record.key)
        .await?
        .ok_or_else(|| ApiError::not_found("it was deleted a moment ago"))?;
    let holders = desired::holders(&app.store, &key_of(&name)).await?;
    let statuses = statuses(app, &name).await?;
    let scene = Scene::load(app).await?;
    let (mut sent, mut refused) = (Vec::new(), Vec::new());
    let mut changes: Vec<ClusterChange> = Vec::new();
    for cluster in &scene.clusters {
        let wanted = request
            .cluster
            .as_ref()
            .is_none_or(|one| *one == cluster.name);
        let Some(digest) = holders.get(&cluster.id).filter(|_| wanted) else {
            continue;
        };
        let Some(bytes) = blobs::get(&app.store, *digest).await? else {
            continue;
        };
        let granted: StandingGrant =
            serde_json::from_slice(&bytes).map_err(|error| ApiError::internal(&error))?;
        match said_to(&granted, statuses.get(&cluster.id), said) {
            Ok(next) => {
                let change = granting(&mut tx, app, cluster.id, &next).await;
                changes.push(change.map_err(|error| ApiError::internal(&error))?);
                sent.push(cluster.name.clone());
            }
            Err(refusal) => refused.push(format!("{}: {refusal}", cluster.name)),
        }
    }
    if sent.is_empty() {
        return Err(nothing(request, &refused));
    }
    write_grants(&mut tx, &name, &changes, Deletions::Braked)
        .await
        .map_err(|error| ApiError::internal(&error))?;
    tx.commit().await?;
    app.pokes.deliver.notify_one();
    tracing::info!(principal = %by, rollout = %name, action = ?request.verb, "command sent");
    Ok(answer(app, request, by, &sent))
}

fn nothing(request: &ActionRequest, refused: &[String]) -> ApiError {
    match (&request.cluster, refused) {
        (Some(cluster), []) => ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "NoSuchCluster",
            format!("cluster {cluster:?} does not hold this rollout"),
        ),
        (None, []) => ApiError::conflict("no cluster holds this rollout"),
        _ => ApiError::conflict(format!(
            "there is nothing to {}: {}",
            request.verb.word(),
            refused.join("; ")
        )),
    }
}

fn answer(app: &App, request: &ActionRequest, by: &str, sent: &[String]) -> ActionView {
    ActionView {
        id: Uuid::now_v7(),
        run: Uuid::nil(),
        revision: 0,
        request: ActionFields {
            verb: request.verb.word().to_owned(),
            wave: None,
            cluster: request.cluster.clone(),
            step: request.step,
            weight: request.weight,
            replicas: request.replicas,
            to_revision: None,
            reason: request.reason.clone(),
        },
        by: by.to_owned(),
        created_at: app.clock.now().to_string(),
        result: Some(json!({
            "outcome": "Sent",
            "message": format!("sent to {}", sent.join(", ")),
        })),
    }
}
