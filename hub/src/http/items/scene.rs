//! Clusters and fleets as they are at one moment.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::PoisonError,
};

use bellwether_api::{
    API_VERSION,
    application::ApplicationSpec,
    call::{ADDONS_HEALTHY, Condition, FleetAddon, FleetMember, FleetStatus, Item, ItemMeta},
    cluster::{ClusterCondition, ClusterStatus, DRIFT_SEEN, RIGHTS_COMPLETE},
    fleet::FleetSpec,
};
use bellwether_hub_core::{
    clones::way_out,
    flapping,
    metrics_sources::is_unreachable,
    placement::{ClusterFacts, Standing, is_lost, is_member},
};
use bellwether_store::{
    StoreError,
    clusters::{self, Cluster, ClusterState},
    fleet_hooks::{self, HookCall},
    records::Record,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use uuid::Uuid;

use super::read_spec;
use crate::{
    app::App,
    grpc::{clock, drift},
    http::hook_conditions,
    scheduling::{Kinds, facts_of},
};

/// A connected cluster that was not heard from for longer is silent.
const FRESH_FOR: SignedDuration = SignedDuration::from_secs(45);

/// Tells whether a cluster in this condition is heard.
const fn speaks(condition: ClusterCondition) -> bool {
    matches!(
        condition,
        ClusterCondition::Ready | ClusterCondition::Degraded | ClusterCondition::ClockSkew
    )
}

/// Clusters and fleets as they are at one moment, for whatever is shown with them.
pub struct Scene {
    /// The moment.
    pub now: Timestamp,
    /// Every cluster, by name.
    pub clusters: Vec<Cluster>,
    /// When each was last heard from, by the freshest source.
    heard: BTreeMap<Uuid, Timestamp>,
    /// Those that come and go, and are shown as not heard: how often they came back.
    flapping: BTreeMap<Uuid, usize>,
    /// What hooks of fleets were not told.
    untold: Vec<HookCall>,
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
        let mut scene = Self {
            now: app.clock.now(),
            clusters,
            heard,
            flapping: BTreeMap::new(),
            untold: fleet_hooks::unsettled(&app.store).await?,
        };
        scene.flapping = {
            let flapping = app.flapping.lock();
            let mut flapping = flapping.unwrap_or_else(PoisonError::into_inner);
            flapping.look(scene.now, scene.all_heard())
        };
        Ok(scene)
    }

    fn all_heard(&self) -> impl Iterator<Item = (Uuid, bool)> {
        let enrolled = self.clusters.iter();
        enrolled
            .filter(|cluster| self.heard.contains_key(&cluster.id))
            .map(|cluster| (cluster.id, self.is_heard(cluster)))
    }

    fn is_heard(&self, cluster: &Cluster) -> bool {
        let heard = self.heard.get(&cluster.id);
        let lately = heard.is_some_and(|at| self.now.duration_since(*at) <= FRESH_FOR);
        lately && cluster.connection.is_open(self.now)
    }

    /// Returns how a cluster is shown now, and why. One that comes and goes is shown as not heard until it
    /// stays.
    pub fn condition(&self, cluster: &Cluster) -> (ClusterCondition, String) {
        let (condition, message) = self.as_heard(cluster);
        match self.flapping.get(&cluster.id) {
            Some(returns) if speaks(condition) => {
                (ClusterCondition::Unknown, flapping::sentence(*returns))
            }
            _ => (condition, message),
        }
    }

    /// Tells whether a cluster can be spoken to now, however often it comes and goes.
    pub fn is_reachable(&self, cluster: &Cluster) -> bool {
        speaks(self.as_heard(cluster).0)
    }

    fn as_heard(&self, cluster: &Cluster) -> (ClusterCondition, String) {
        let enrolled = cluster.state == ClusterState::Active;
        if let Some(cloned) = cluster.cloned.as_ref().filter(|_| enrolled) {
            let message = format!("{}; {}", cloned.message, way_out(&cluster.name));
            return (ClusterCondition::Cloned, message);
        }
        let heard = self.heard.get(&cluster.id);
        match (cluster.state, heard) {
            (ClusterState::Revoked, _) => (ClusterCondition::Revoked, revoked(cluster)),
            (_, None) => (
                ClusterCondition::Pending,
                "its agent has never connected".to_owned(),
            ),
            (_, Some(at)) if !self.is_heard(cluster) => (
                ClusterCondition::Unknown,
                format!("not heard from since {at}"),
            ),
            (_, Some(_)) => match cluster.clock_ahead_ms {
                Some(ahead_ms) if clock::is_wrong(ahead_ms) => {
                    (ClusterCondition::ClockSkew, clock::sentence(ahead_ms))
                }
                _ => match fault(cluster) {
                    Some(message) => (ClusterCondition::Degraded, message),
                    None => (ClusterCondition::Ready, String::new()),
                },
            },
        }
    }

    /// Returns whether a cluster's metrics answer; of a cluster that is not heard nothing is known.
    pub fn metrics(&self, cluster: &Cluster) -> Option<Condition> {
        let known = cluster.metrics.clone()?;
        if self.is_reachable(cluster) {
            return Some(known);
        }
        Some(Condition {
            status: "Unknown".to_owned(),
            reason: "NotHeard".to_owned(),
            message: "the cluster is not heard".to_owned(),
            ..known
        })
    }

    /// Returns since when a cluster's objects were not looked at; of one that is not heard nothing is known.
    fn drift(&self, cluster: &Cluster) -> Option<Condition> {
        let since = cluster.drift_unseen_since?;
        let (status, reason, message) = match self.is_reachable(cluster) {
            true => ("False", "NotLooked", drift::sentence(since)),
            false => ("Unknown", "NotHeard", "the cluster is not heard".to_owned()),
        };
        Some(Condition {
            kind: DRIFT_SEEN.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message,
        })
    }

    /// Returns what else a human should know of a cluster.
    fn conditions(&self, cluster: &Cluster) -> Vec<Condition> {
        let untold = hook_conditions::of_cluster(&self.untold, cluster.id);
        let known = self.metrics(cluster).into_iter().chain(untold);
        known
            .chain(cluster.cloned.clone())
            .chain(rights(cluster))
            .chain(self.drift(cluster))
            .collect()
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
            conditions: self.conditions(cluster),
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
    pub(super) fn fleet(&self, record: &Record) -> FleetStatus {
        let spec: FleetSpec = read_spec(record).unwrap_or_default();
        let untold = hook_conditions::of_fleet(&self.untold, &record.key.name);
        let mut status = FleetStatus {
            conditions: untold.into_iter().collect(),
            ..FleetStatus::default()
        };
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
                | ClusterCondition::Cloned
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
pub(super) fn addons_healthy(addons: &[FleetAddon]) -> Option<Condition> {
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

/// What does not work in a cluster that is heard; absent = nothing is known to.
fn fault(cluster: &Cluster) -> Option<String> {
    let metrics = cluster.metrics.as_ref().filter(|one| is_unreachable(one));
    let metrics = metrics.map(|one| format!("its metrics do not answer: {}", one.message));
    metrics.or_else(|| cluster.drift_unseen_since.map(drift::sentence))
}

/// Says which rights the agent of a cluster lacks, and how it gets them; absent = it lacks none.
fn rights(cluster: &Cluster) -> Option<Condition> {
    let missing = &cluster.missing_rights;
    (!missing.is_empty()).then(|| Condition {
        kind: RIGHTS_COMPLETE.to_owned(),
        status: "False".to_owned(),
        reason: "RightsMissing".to_owned(),
        message: format!(
            "its agent {}; run `bellwether register cluster {}` again, with the flags that it was \
             registered with, every --impersonate among them",
            missing.join(", and "),
            cluster.name
        ),
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
