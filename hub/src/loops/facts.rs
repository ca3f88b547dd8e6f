use std::collections::{BTreeMap, BTreeSet};

use bellwether_api::{
    application::ApplicationSpec,
    cluster::ClusterSpec,
    fleet::{FleetDefaults, FleetSpec},
    reference::NamespacedName,
    rollout::RolloutSpec,
    status::UnitStatus,
};
use bellwether_hub_core::{
    placement::{ClusterFacts, Placement, PlacementError, place},
    release::{RolloutRecord, Templates},
    run::ClusterSeen,
};
use bellwether_store::{
    Digest, Store, StoreError,
    clusters::{self, Cluster, ClusterState},
    desired,
    records::{self, ListOptions, Record, RecordKey, RecordKind},
    status,
};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::LoopError;

/// Records of one kind that are read at once.
const PAGE: u32 = 500;

/// What one turn knows of clusters and fleets, read once for all applications.
#[derive(Clone, Debug, Default)]
pub(super) struct World {
    /// Every cluster that may speak.
    pub clusters: Vec<ClusterFacts>,
    /// How each is connected.
    links: BTreeMap<Uuid, (bool, Option<Timestamp>)>,
    fleets: BTreeMap<String, FleetSpec>,
    /// Every metric template.
    pub templates: Templates,
}

impl World {
    /// Reads clusters and fleets. Before `started + FRESH_FOR` nobody counts as silent: this hub
    /// may simply not have been there to hear.
    pub async fn load(
        store: &Store,
        now: Timestamp,
        started: Option<Timestamp>,
    ) -> Result<Self, StoreError> {
        let mut world = Self::default();
        for cluster in clusters::list(store).await? {
            if cluster.state == ClusterState::Revoked {
                continue;
            }
            let connection = &cluster.connection;
            let heard = match (connection.last_seen, started) {
                (Some(seen), Some(started)) => Some(seen.max(started.min(now))),
                (seen, _) => seen,
            };
            world
                .links
                .insert(cluster.id, (connection.is_open(now), heard));
            world.clusters.push(facts_of(cluster));
        }
        for record in records::list_all(store, RecordKind::Fleet).await? {
            match serde_json::from_value(record.spec) {
                Ok(spec) => {
                    world.fleets.insert(record.key.name, spec);
                }
                // Whoever names it is told that there is no such fleet.
                Err(error) => {
                    tracing::error!(fleet = %record.key.name, error = %error, "fleet is unreadable");
                }
            }
        }
        for record in records::list_all(store, RecordKind::MetricTemplate).await? {
            let name = NamespacedName {
                namespace: record.key.namespace,
                name: record.key.name,
            };
            match serde_json::from_value(record.spec) {
                Ok(spec) => {
                    world.templates.insert(name, spec);
                }
                // Whoever names it is told that there is no such template.
                Err(error) => {
                    tracing::error!(template = %name, error = %error, "metric template is unreadable");
                }
            }
        }
        Ok(world)
    }

    pub fn cluster(&self, id: Uuid) -> Option<&ClusterFacts> {
        self.clusters.iter().find(|cluster| cluster.id == id)
    }

    pub fn place(&self, spec: &ApplicationSpec) -> Result<Placement, PlacementError> {
        place(&spec.destination, self.fleet(spec), &self.clusters)
    }

    pub fn fleet_defaults(&self, spec: &ApplicationSpec) -> FleetDefaults {
        self.fleet(spec)
            .map(|fleet| fleet.defaults.clone())
            .unwrap_or_default()
    }

    fn fleet(&self, spec: &ApplicationSpec) -> Option<&FleetSpec> {
        spec.destination
            .fleet
            .as_ref()
            .and_then(|name| self.fleets.get(name))
    }

    /// What is known of every cluster now, with respect to one application.
    pub fn seen(
        &self,
        members: &BTreeSet<Uuid>,
        holders: &BTreeMap<Uuid, Digest>,
        mut statuses: BTreeMap<Uuid, UnitStatus>,
    ) -> Vec<ClusterSeen> {
        self.links
            .iter()
            .map(|(id, (connected, last_heard))| ClusterSeen {
                id: *id,
                member: members.contains(id),
                connected: *connected,
                last_heard: *last_heard,
                desired: holders.get(id).map(ToString::to_string),
                status: statuses.remove(id),
            })
            .collect()
    }
}

fn facts_of(cluster: Cluster) -> ClusterFacts {
    let spec: ClusterSpec = serde_json::from_value(cluster.spec).unwrap_or_default();
    ClusterFacts {
        id: cluster.id,
        name: cluster.name,
        labels: cluster.labels,
        metrics: spec.metrics,
    }
}

/// An application with the Rollout records that name it.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub record: Record,
    pub spec: ApplicationSpec,
    pub rollouts: Vec<RolloutRecord>,
}

impl Wanted {
    /// Tells whether a Rollout of the application says `suspend: true`.
    pub fn is_suspended(&self) -> bool {
        self.rollouts.iter().any(|rollout| rollout.spec.suspend)
            || self.spec.components.iter().any(|component| {
                component
                    .rollout
                    .as_ref()
                    .is_some_and(|rollout| rollout.suspend)
            })
    }
}

/// Reads an application and its rollouts; absent when it was deleted.
pub(super) async fn wanted(
    store: &Store,
    application: &NamespacedName,
) -> Result<Option<Wanted>, LoopError> {
    let key = RecordKey {
        kind: RecordKind::Application,
        namespace: application.namespace.clone(),
        name: application.name.clone(),
    };
    let Some(record) = records::get(store, &key).await? else {
        return Ok(None);
    };
    let spec = read("spec", application, record.spec.clone())?;
    let mut rollouts = Vec::new();
    let mut after = None;
    loop {
        let options = ListOptions {
            kind: RecordKind::Rollout,
            namespace: Some(application.namespace.clone()),
            limit: PAGE,
            after,
        };
        let page = records::list(store, &options).await?;
        for record in page.records {
            let spec: RolloutSpec = read("rollout", application, record.spec)?;
            if spec.application.as_deref() == Some(application.name.as_str()) {
                rollouts.push(RolloutRecord {
                    name: record.key.name,
                    spec,
                });
            }
        }
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    Ok(Some(Wanted {
        record,
        spec,
        rollouts,
    }))
}

/// The latest report of every cluster on an application. A report that cannot be read proves
/// nothing and is left out.
pub(super) async fn statuses(
    store: &Store,
    application: &NamespacedName,
) -> Result<BTreeMap<Uuid, UnitStatus>, StoreError> {
    let rows = status::list_for_application(store, application).await?;
    let mut statuses = BTreeMap::new();
    for row in rows {
        match serde_json::from_value(row.detail) {
            Ok(status) => {
                statuses.insert(row.cluster, status);
            }
            Err(error) => {
                tracing::warn!(cluster.id = %row.cluster, error = %error, "status is unreadable");
            }
        }
    }
    Ok(statuses)
}

/// The clusters that shall hold the application now, with the bundle's digest.
pub(super) async fn holders(
    store: &Store,
    application: &NamespacedName,
) -> Result<BTreeMap<Uuid, Digest>, StoreError> {
    desired::holders(store, &format!("application/{application}")).await
}

pub(super) fn read<T: DeserializeOwned>(
    what: &'static str,
    application: &NamespacedName,
    value: serde_json::Value,
) -> Result<T, LoopError> {
    serde_json::from_value(value).map_err(|source| LoopError::Corrupt {
        what,
        application: application.clone(),
        source,
    })
}
