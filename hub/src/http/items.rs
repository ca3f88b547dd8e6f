//! Records as the API shows them, with what the hub knows now.

mod scene;

use std::collections::BTreeMap;

use bellwether_api::{
    API_VERSION,
    application::ApplicationSpec,
    call::{ApplicationStatus, Condition, Item, ItemMeta, UnitView},
    fleet::FleetSpec,
    publish_version::marked,
    reference::NamespacedName,
    rollout::RolloutSpec,
    status::{Health, UnitStatus},
};
use bellwether_hub_core::promoted::promoted;
use bellwether_store::{
    Store, StoreError,
    clusters::{Cluster, ClusterState},
    desired,
    records::{self, Record, RecordKey, RecordKind},
    releases, renderings, status,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    alert_providers, ownership, placement::placement_conditions, problem::ApiResult,
    redact::redact, standing, unreleased::draft_condition,
};
use crate::{
    app::App,
    loops::{RENDERING, addon_health, run_summaries, stays},
};

use scene::addons_healthy;

pub use scene::Scene;

fn read_spec<T: DeserializeOwned>(record: &Record) -> Option<T> {
    serde_json::from_value(record.spec.clone()).ok()
}

fn item(record: &Record, status: Value) -> Item {
    let mut spec = record.spec.clone();
    redact(&mut spec);
    Item {
        api_version: API_VERSION.to_owned(),
        kind: format!("{:?}", record.key.kind),
        metadata: ItemMeta {
            name: record.key.name.clone(),
            namespace: Some(record.key.namespace.clone()).filter(|name| !name.is_empty()),
            uid: Some(record.uid),
            resource_version: Some(record.resource_version.to_string()),
            generation: Some(record.generation),
            labels: record.labels.clone(),
            annotations: record.annotations.clone(),
            creation_timestamp: Some(record.created_at.to_string()),
            managed_by: None,
        },
        spec,
        status: Some(status).filter(|status| !status.is_null()),
    }
}

/// Shows any record.
///
/// # Errors
/// The database fails.
pub async fn show(app: &App, scene: &Scene, record: &Record) -> ApiResult<Item> {
    let mut item = with_status(app, scene, record).await?;
    let owner = bellwether_store::ownership::owner(&app.store, &record.key).await?;
    ownership::show_owner(&mut item, owner.as_ref());
    Ok(item)
}

async fn with_status(app: &App, scene: &Scene, record: &Record) -> ApiResult<Item> {
    let application = match record.key.kind {
        RecordKind::Fleet => {
            let mut status = scene.fleet(record);
            let spec: FleetSpec = read_spec(record).unwrap_or_default();
            status.addons = addon_health(&app.store, &spec, scene.now).await?;
            status.conditions.extend(addons_healthy(&status.addons));
            return Ok(item(record, json!(status)));
        }
        RecordKind::Application => Some(record.key.name.clone()),
        RecordKind::MetricTemplate => None,
        RecordKind::AlertProvider => {
            return Ok(item(record, alert_providers::status(app, record).await?));
        }
        RecordKind::Repository => return Ok(item(record, ownership::status(app, record).await?)),
        RecordKind::Rollout => read_spec::<RolloutSpec>(record).and_then(|spec| spec.application),
    };
    let Some(name) = application else {
        let status = standing::status(app, scene, record).await?;
        return Ok(item(
            record,
            status.map_or(Value::Null, |status| json!(status)),
        ));
    };
    let name = NamespacedName {
        namespace: record.key.namespace.clone(),
        name,
    };
    let mut status = application_status(app, scene, &name).await?;
    if record.key.kind == RecordKind::Rollout {
        let clusters = (status.done, status.total);
        let condition = promoted(status.state, status.revision, clusters);
        status.conditions.push(condition);
    }
    Ok(item(record, json!(status)))
}

async fn application_status(
    app: &App,
    scene: &Scene,
    name: &NamespacedName,
) -> ApiResult<ApplicationStatus> {
    let run = run_summaries(&app.store, name, 1).await?.pop();
    let units = units(&app.store, scene, name).await?;
    let health = units
        .iter()
        .map(|unit| unit.health)
        .max()
        .unwrap_or(Health::Unknown);
    let total = run.as_ref().map_or(0, |run| run.total);
    Ok(ApplicationStatus {
        state: run.as_ref().map(|run| run.state),
        health,
        revision: run.as_ref().map_or(0, |run| run.revision),
        version: run
            .as_ref()
            .map(|run| run.version.clone())
            .unwrap_or_default(),
        done: run.as_ref().map_or(0, |run| run.done),
        total,
        clusters: u32::try_from(holders(&app.store, scene, name).await?).unwrap_or(u32::MAX),
        conditions: conditions(app, scene, name).await?,
    })
}

/// Counts the clusters that hold an application and may speak.
///
/// # Errors
/// The database fails.
pub async fn holders(
    store: &Store,
    scene: &Scene,
    name: &NamespacedName,
) -> Result<usize, StoreError> {
    let held = desired::holders(store, &format!("application/{name}")).await?;
    let counts = |cluster: &&Cluster| {
        cluster.state != ClusterState::Revoked && held.contains_key(&cluster.id)
    };
    Ok(scene.clusters.iter().filter(counts).count())
}

async fn conditions(app: &App, scene: &Scene, name: &NamespacedName) -> ApiResult<Vec<Condition>> {
    let Some(spec) = application_spec(&app.store, name).await? else {
        return Ok(Vec::new());
    };
    let condition = |kind: &str, message: String| Condition {
        kind: kind.to_owned(),
        status: "True".to_owned(),
        reason: kind.to_owned(),
        message,
    };
    if let Some(trouble) = super::health::trouble_of(app, name) {
        let word = if trouble.starts_with(RENDERING) {
            "Rendering"
        } else {
            "Stalled"
        };
        return Ok(vec![condition(word, trouble)]);
    }
    let mut found = Vec::new();
    for remark in renderings::remarks(&app.store, name).await? {
        found.push(condition(&remark.kind, remark.message));
    }
    if let Some(message) = rolled_back(&app.store, name, &spec).await? {
        found.push(condition("RolledBack", message));
    }
    found.extend(draft_condition(app, name, &spec).await?);
    found.extend(placement_conditions(app, scene, name, &spec).await?);
    Ok(found)
}

/// Says that an earlier release runs in spite of what the record says; absent = it does not.
async fn rolled_back(
    store: &Store,
    name: &NamespacedName,
    spec: &ApplicationSpec,
) -> ApiResult<Option<String>> {
    let Some(latest) = releases::latest(store, name).await? else {
        return Ok(None);
    };
    let Some(restores) = &latest.restores else {
        return Ok(None);
    };
    if !stays(store, &latest, spec).await? {
        return Ok(None);
    }
    let why = match latest.reason.as_str() {
        "" => String::new(),
        reason => format!(" ({reason})"),
    };
    Ok(Some(format!(
        "revision {}, which restores revision {}, runs instead of what this record says: rolled \
         back by {}{why}; it stays until the record's components change",
        latest.revision, restores.revision, latest.created_by
    )))
}

/// Reads an application's spec; absent when there is none.
///
/// # Errors
/// The database fails.
pub async fn application_spec(
    store: &Store,
    name: &NamespacedName,
) -> Result<Option<ApplicationSpec>, StoreError> {
    let key = RecordKey {
        kind: RecordKind::Application,
        namespace: name.namespace.clone(),
        name: name.name.clone(),
    };
    let record = records::get(store, &key).await?;
    Ok(record.and_then(|record| Some(marked(read_spec(&record)?, &record.annotations))))
}

/// The key of an application's unit.
pub fn application_key(name: &NamespacedName) -> String {
    format!("application/{name}")
}

/// Shows an application in every cluster that holds it or spoke of it.
///
/// # Errors
/// The database fails.
pub async fn units(
    store: &Store,
    scene: &Scene,
    name: &NamespacedName,
) -> Result<Vec<UnitView>, StoreError> {
    units_of(store, scene, &application_key(name)).await
}

/// Shows a unit in every cluster that holds it or spoke of it.
///
/// # Errors
/// The database fails.
pub async fn units_of(
    store: &Store,
    scene: &Scene,
    key: &str,
) -> Result<Vec<UnitView>, StoreError> {
    let holders = desired::holders(store, key).await?;
    let mut statuses: BTreeMap<Uuid, UnitStatus> = status::list_for_unit(store, key)
        .await?
        .into_iter()
        .filter_map(|row| Some((row.cluster, serde_json::from_value(row.detail).ok()?)))
        .collect();
    let mut units = Vec::new();
    for cluster in &scene.clusters {
        let status = statuses.remove(&cluster.id);
        if status.is_none() && !holders.contains_key(&cluster.id) {
            continue;
        }
        let (condition, _) = scene.condition(cluster);
        let connected = scene.is_reachable(cluster);
        let health = match &status {
            _ if !connected => Health::Unknown,
            Some(status) => status.health,
            None => Health::Progressing,
        };
        units.push(UnitView {
            cluster: cluster.name.clone(),
            condition,
            last_seen: scene.last_seen(cluster),
            health,
            status,
        });
    }
    Ok(units)
}
