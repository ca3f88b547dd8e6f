//! Records as the API shows them, with what the hub knows now.

use std::collections::{BTreeMap, BTreeSet};

use bellwether_api::{
    API_VERSION,
    application::ApplicationSpec,
    call::{
        ADDONS_HEALTHY, ApplicationStatus, Condition, FleetAddon, FleetMember, FleetStatus, Item,
        ItemMeta, UnitView,
    },
    cluster::{ClusterCondition, ClusterStatus},
    fleet::FleetSpec,
    publish_version::marked,
    reference::NamespacedName,
    rollout::RolloutSpec,
    status::{Health, UnitStatus},
};
use bellwether_hub_core::{
    metrics_sources::is_unreachable,
    placement::{ClusterFacts, Standing, is_lost, is_member},
};
use bellwether_store::{
    Store, StoreError,
    clusters::{self, Cluster, ClusterState},
    desired,
    records::{self, Record, RecordKey, RecordKind},
    releases, renderings, repositories, status,
};
use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    ownership, placement::placement_conditions, problem::ApiResult, redact::redact, standing,
    unreleased::draft_condition,
};
use crate::{
    app::App,
    grpc::clock,
    loops::{RENDERING, addon_health, run_summaries, stays},
    scheduling::{Kinds, facts_of},
};

/// A connected cluster that was not heard from for longer is silent.
const FRESH_FOR: SignedDuration = SignedDuration::from_secs(45);

/// Clusters and fleets as they are at one moment, for whatever is shown with them.
pub struct Scene {
    /// The moment.
    pub now: Timestamp,
    /// Every cluster, by name.
    pub clusters: Vec<Cluster>,
    /// When each was last heard from, by the freshest source.
    heard: BTreeMap<Uuid, Timestamp>,
}

impl Scene {
    /// Reads them.
    ///
    /// # Errors
    /// The database fails.
    pub async fn load(app: &App) -> Result<Self, StoreError> {
        let clusters = clusters::list(&app.store).await?;
        let mut heard: BTreeMap<Uuid, Timestamp> = clusters
            .iter()
            .filter_map(|cluster| Some((cluster.id, cluster.connection.last_seen?)))
            .collect();
        // This hub's own streams know better than what is written now and then.
        for (id, liveness) in app.sessions.all() {
            heard.insert(id, liveness.last_beat);
        }
        Ok(Self {
            now: app.clock.now(),
            clusters,
            heard,
        })
    }

    /// Returns how a cluster is now, and why.
    pub fn condition(&self, cluster: &Cluster) -> (ClusterCondition, String) {
        let heard = self.heard.get(&cluster.id);
        let silent = |at: &Timestamp| self.now.duration_since(*at) > FRESH_FOR;
        match (cluster.state, heard) {
            (ClusterState::Revoked, _) => (ClusterCondition::Revoked, revoked(cluster)),
            (_, None) => (
                ClusterCondition::Pending,
                "its agent has never connected".to_owned(),
            ),
            (_, Some(at)) if silent(at) || !cluster.connection.is_open(self.now) => (
                ClusterCondition::Unknown,
                format!("not heard from since {at}"),
            ),
            (_, Some(_)) => match cluster.clock_ahead_ms {
                Some(ahead_ms) if clock::is_wrong(ahead_ms) => {
                    (ClusterCondition::ClockSkew, clock::sentence(ahead_ms))
                }
                _ => match cluster.metrics.as_ref().filter(|one| is_unreachable(one)) {
                    Some(metrics) => (
                        ClusterCondition::Degraded,
                        format!("its metrics do not answer: {}", metrics.message),
                    ),
                    None => (ClusterCondition::Ready, String::new()),
                },
            },
        }
    }

    /// Returns whether a cluster's metrics answer; of a cluster that is not heard nothing is known.
    pub fn metrics(&self, cluster: &Cluster) -> Option<Condition> {
        let known = cluster.metrics.clone()?;
        let (condition, _) = self.condition(cluster);
        Some(match condition {
            ClusterCondition::Ready | ClusterCondition::Degraded | ClusterCondition::ClockSkew => {
                known
            }
            _ => Condition {
                status: "Unknown".to_owned(),
                reason: "NotHeard".to_owned(),
                message: "the cluster is not heard".to_owned(),
                ..known
            },
        })
    }

    /// Returns when a cluster was last heard from (RFC 3339).
    pub fn last_seen(&self, cluster: &Cluster) -> Option<String> {
        self.heard.get(&cluster.id).map(ToString::to_string)
    }

    /// Returns what placement needs to know of clusters that may speak.
    pub fn facts(&self) -> Vec<ClusterFacts> {
        let mut kinds = Kinds::new();
        self.clusters
            .iter()
            .filter(|cluster| cluster.state != ClusterState::Revoked)
            .map(|cluster| facts_of(cluster, &mut kinds))
            .collect()
    }

    /// Returns where an application is that some clusters have and some are planned for.
    pub fn standing(
        &self,
        spec: &ApplicationSpec,
        holding: BTreeSet<Uuid>,
        planned: BTreeSet<Uuid>,
    ) -> Standing {
        let failover = spec.placement.as_ref();
        let failover = failover.and_then(|policy| policy.failover.as_ref());
        let mut standing = Standing {
            holding,
            planned,
            ..Standing::default()
        };
        for cluster in &self.clusters {
            let heard = self.heard.get(&cluster.id).copied();
            if is_lost(failover, heard, self.now) {
                standing.lost.insert(cluster.id);
            }
            if !cluster.connection.is_open(self.now) {
                standing.unheard.insert(cluster.id);
            }
        }
        standing
    }

    /// Shows a cluster.
    pub fn cluster(&self, cluster: &Cluster) -> Item {
        let (condition, message) = self.condition(cluster);
        let status = ClusterStatus {
            id: cluster.id,
            condition,
            message,
            last_seen: self.last_seen(cluster),
            agent_version: cluster.agent_version.clone(),
            kubernetes_version: cluster.kubernetes_version.clone(),
            certificate_expires: cluster.certificate_not_after.map(|at| at.to_string()),
            clock_ahead_seconds: cluster
                .clock_ahead_ms
                .filter(|_| condition == ClusterCondition::ClockSkew)
                .map(|ahead_ms| ahead_ms / 1_000),
            conditions: self.metrics(cluster).into_iter().collect(),
            nodes: cluster.nodes.clone(),
            cordon: cluster.cordon.clone(),
        };
        Item {
            api_version: API_VERSION.to_owned(),
            kind: "Cluster".to_owned(),
            metadata: ItemMeta {
                name: cluster.name.clone(),
                namespace: None,
                uid: Some(cluster.id),
                resource_version: Some(cluster.resource_version.to_string()),
                generation: Some(cluster.generation),
                labels: cluster.labels.clone(),
                annotations: cluster.annotations.clone(),
                creation_timestamp: Some(cluster.created_at.to_string()),
                managed_by: None,
            },
            spec: cluster.spec.clone(),
            status: Some(json!(status)),
        }
    }

    /// Counts the members of a Fleet.
    fn fleet(&self, record: &Record) -> FleetStatus {
        let spec: FleetSpec = read_spec(record).unwrap_or_default();
        let mut status = FleetStatus::default();
        let mut kinds = Kinds::new();
        for cluster in &self.clusters {
            if !is_member(&spec, &facts_of(cluster, &mut kinds)) {
                continue;
            }
            let (condition, _) = self.condition(cluster);
            match condition {
                ClusterCondition::Ready => status.ready += 1,
                ClusterCondition::Degraded
                | ClusterCondition::ClockSkew
                | ClusterCondition::Revoked => status.degraded += 1,
                ClusterCondition::Pending | ClusterCondition::Unknown => status.unknown += 1,
            }
            status.clusters += 1;
            status.members.push(FleetMember {
                name: cluster.name.clone(),
                condition,
                last_seen: self.last_seen(cluster),
            });
        }
        status
    }
}

/// Says whether a fleet's add-ons are healthy on all of its members; absent = it has none.
fn addons_healthy(addons: &[FleetAddon]) -> Option<Condition> {
    if addons.is_empty() {
        return None;
    }
    let well = addons.iter().all(|one| one.healthy == one.clusters);
    let words: Vec<String> = addons
        .iter()
        .map(|one| {
            format!(
                "{}: {} of {} clusters healthy",
                one.application, one.healthy, one.clusters
            )
        })
        .collect();
    Some(Condition {
        kind: ADDONS_HEALTHY.to_owned(),
        status: if well { "True" } else { "False" }.to_owned(),
        reason: if well { "Healthy" } else { "NotHealthy" }.to_owned(),
        message: words.join("; "),
    })
}

fn revoked(cluster: &Cluster) -> String {
    let by = match &cluster.revoked_by {
        Some(by) => format!(" by {by}"),
        None => String::new(),
    };
    let why = match cluster.revocation_reason.as_str() {
        "" => String::new(),
        reason => format!(" ({reason})"),
    };
    format!("its identity was taken away{by}{why}; register it again to give it a new one")
}

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
    item.metadata.managed_by = repositories::owner(&app.store, &record.key).await?;
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
    let status = application_status(app, scene, &name).await?;
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

/// Shows an application in every cluster that holds it or spoke of it.
///
/// # Errors
/// The database fails.
pub async fn units(
    store: &Store,
    scene: &Scene,
    name: &NamespacedName,
) -> Result<Vec<UnitView>, StoreError> {
    units_of(store, scene, &format!("application/{name}")).await
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
        let connected = matches!(
            condition,
            ClusterCondition::Ready | ClusterCondition::Degraded | ClusterCondition::ClockSkew
        );
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
