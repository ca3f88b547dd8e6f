use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use bellwether_api::{
    application::{ApplicationSpec, Destination},
    fleet::{FleetDefaults, FleetSpec},
    placement::Pick,
    reference::NamespacedName,
    status::UnitStatus,
};
use bellwether_hub_core::{
    addons::{self, Fleets, Unread},
    placement::{
        Choice, Chosen, ClusterFacts, Placement, PlacementError, Standing, is_lost, place,
    },
    release::Templates,
    run::ClusterSeen,
};
use bellwether_store::{
    Digest, Store, StoreError,
    clusters::{self, Cluster, ClusterState},
    leases::{self, ReplicaLease},
    records::{self, RecordKind},
    tailer::SyncChange,
};
use jiff::Timestamp;
use uuid::Uuid;

use super::{emptying::Emptying, metrics_places::MetricsPlaces, waiters::Waiters};
use crate::scheduling::{Kinds, facts_of};

/// What is known of clusters, fleets and metric templates. Cheap to clone: a look keeps the one that it began with.
#[derive(Clone, Debug, Default)]
pub(super) struct World {
    clusters: Arc<Clusters>,
    links: Arc<HashMap<Uuid, Link>>,
    leases: Arc<BTreeMap<Uuid, ReplicaLease>>,
    fleets: Arc<BTreeMap<String, FleetSpec>>,
    unread: Arc<Unread>,
    templates: Arc<Templates>,
    emptying: Arc<Emptying>,
    waiters: Arc<Waiters>,
    /// Since when this hub hears agents; absent = it does not matter.
    started: Option<Timestamp>,
}

/// Every cluster that may speak.
#[derive(Clone, Debug, Default)]
struct Clusters {
    /// By name.
    list: Arc<[ClusterFacts]>,
    places: HashMap<Uuid, usize>,
    /// What each said of its Kubernetes; equal ones are one.
    served: HashMap<Uuid, Arc<Served>>,
}

/// What a cluster said of its Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Served {
    pub kubernetes_version: String,
    /// Sorted.
    pub api_versions: Vec<String>,
}

/// How a cluster is connected, as it was last written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Link {
    replica: Option<Uuid>,
    last_seen: Option<Timestamp>,
}

impl Clusters {
    fn new(mut list: Vec<ClusterFacts>) -> Self {
        list.sort_by(|a, b| a.name.cmp(&b.name));
        let places = list
            .iter()
            .enumerate()
            .map(|(place, cluster)| (cluster.id, place))
            .collect();
        Self {
            list: list.into(),
            places,
            served: HashMap::new(),
        }
    }
}

impl Clusters {
    /// Takes in what clusters said of their Kubernetes, over what was known.
    fn serve(&mut self, kept: HashMap<Uuid, Arc<Served>>, new: Vec<(Uuid, Served)>) {
        let mut same: BTreeMap<Served, Arc<Served>> = kept
            .values()
            .map(|served| ((**served).clone(), Arc::clone(served)))
            .collect();
        self.served = kept;
        for (id, served) in new {
            let shared = same
                .entry(served)
                .or_insert_with_key(|served| Arc::new(served.clone()));
            self.served.insert(id, Arc::clone(shared));
        }
        let places = &self.places;
        self.served.retain(|id, _| places.contains_key(id));
    }
}

impl World {
    /// Reads everything. Until `started` plus the time in which a cluster counts as silent nobody
    /// does: this hub may simply not have been there to hear.
    pub async fn load(store: &Store, started: Option<Timestamp>) -> Result<Self, StoreError> {
        let mut world = Self {
            started,
            ..Self::default()
        };
        world.take_clusters(None, clusters::list(store).await?);
        world.read_fleets(store).await?;
        world.read_templates(store).await?;
        world.read_leases(store).await?;
        Ok(world)
    }

    /// Reads these clusters anew.
    pub async fn read_clusters(
        &mut self,
        store: &Store,
        names: &BTreeSet<String>,
    ) -> Result<(), StoreError> {
        let list: Vec<String> = names.iter().cloned().collect();
        let found = clusters::named(store, &list).await?;
        self.take_clusters(Some(names), found);
        Ok(())
    }

    /// Takes in what was read of the clusters with these names; absent = of all that there are.
    fn take_clusters(&mut self, names: Option<&BTreeSet<String>>, found: Vec<Cluster>) {
        let mut list = Vec::new();
        let mut served = Vec::new();
        match names {
            Some(names) => list.extend(
                self.clusters
                    .list
                    .iter()
                    .filter(|cluster| !names.contains(&cluster.name))
                    .cloned(),
            ),
            None => self.links = Arc::default(),
        }
        let links = Arc::make_mut(&mut self.links);
        let of = |cluster: &ClusterFacts| Arc::clone(&cluster.scheduling.properties.api_kinds);
        let mut kinds: Kinds = list.iter().map(of).collect();
        for cluster in found {
            if cluster.state == ClusterState::Revoked {
                continue;
            }
            let link = Link {
                replica: cluster.connection.replica,
                last_seen: cluster.connection.last_seen,
            };
            links.insert(cluster.id, link);
            served.extend(served_by(&cluster).map(|served| (cluster.id, served)));
            list.push(facts_of(&cluster, &mut kinds));
        }
        let kept = match names {
            Some(_) => self.clusters.served.clone(),
            None => HashMap::new(),
        };
        let mut clusters = Clusters::new(list);
        clusters.serve(kept, served);
        self.clusters = Arc::new(clusters);
        let places = &self.clusters.places;
        links.retain(|id, _| places.contains_key(id));
    }

    /// Takes in which streams opened and ended.
    pub fn take_links(&mut self, changes: &[SyncChange]) {
        for change in changes {
            let link = Link {
                replica: change.replica,
                last_seen: change.last_seen,
            };
            let known = self.links.get(&change.cluster);
            if self.clusters.places.contains_key(&change.cluster) && known != Some(&link) {
                Arc::make_mut(&mut self.links).insert(change.cluster, link);
            }
        }
    }

    /// Reads which hubs are alive.
    pub async fn read_leases(&mut self, store: &Store) -> Result<(), StoreError> {
        let leases = leases::replicas(store).await?;
        self.leases = Arc::new(
            leases
                .into_iter()
                .map(|lease| (lease.replica, lease))
                .collect(),
        );
        Ok(())
    }

    /// What clusters would lose, as far as somebody found it out.
    pub fn emptying(&self) -> &Emptying {
        &self.emptying
    }

    /// Has what clusters would lose found out anew.
    pub fn forget_emptying(&mut self) {
        self.emptying = Arc::default();
    }

    /// The hubs' leases as they were read last.
    pub fn leases(&self) -> &BTreeMap<Uuid, ReplicaLease> {
        &self.leases
    }

    /// The clusters whose streams are at one of these hubs.
    pub fn streams_of<'a>(&'a self, hubs: &'a BTreeSet<Uuid>) -> impl Iterator<Item = Uuid> + 'a {
        self.links
            .iter()
            .filter(|(_, link)| link.replica.is_some_and(|replica| hubs.contains(&replica)))
            .map(|(id, _)| *id)
    }

    /// Reads the fleets.
    pub async fn read_fleets(&mut self, store: &Store) -> Result<(), StoreError> {
        let records = records::list_all(store, RecordKind::Fleet).await?;
        let specs = records.into_iter().map(|one| (one.key.name, one.spec));
        // Whoever names it is told that there is no such fleet.
        let (fleets, unread) = addons::read(specs, |fleet, error| {
            tracing::error!(fleet, %error, "fleet is unreadable");
        });
        self.fleets = Arc::new(fleets);
        self.unread = Arc::new(unread);
        Ok(())
    }

    /// Reads the metric templates.
    pub async fn read_templates(&mut self, store: &Store) -> Result<(), StoreError> {
        let mut templates = Templates::default();
        for record in records::list_all(store, RecordKind::MetricTemplate).await? {
            let name = NamespacedName {
                namespace: record.key.namespace,
                name: record.key.name,
            };
            match serde_json::from_value(record.spec) {
                Ok(spec) => {
                    templates.insert(name, spec);
                }
                // Whoever names it is told that there is no such template.
                Err(error) => {
                    tracing::error!(template = %name, error = %error, "metric template is unreadable");
                }
            }
        }
        self.templates = Arc::new(templates);
        Ok(())
    }

    /// Every metric template.
    pub fn templates(&self) -> &Templates {
        &self.templates
    }

    /// The identities of every cluster that may speak.
    pub fn ids(&self) -> BTreeSet<Uuid> {
        self.clusters.places.keys().copied().collect()
    }

    pub fn cluster(&self, id: Uuid) -> Option<&ClusterFacts> {
        let place = self.clusters.places.get(&id)?;
        self.clusters.list.get(*place)
    }

    /// What a cluster said of its Kubernetes; absent = nothing yet.
    pub fn served(&self, id: Uuid) -> Option<&Arc<Served>> {
        self.clusters.served.get(&id)
    }

    /// Where the metrics of every cluster are read.
    pub fn metrics_places(&self) -> MetricsPlaces {
        MetricsPlaces {
            clusters: Arc::clone(&self.clusters.list),
            fleets: Arc::clone(&self.fleets),
        }
    }

    /// Chooses the clusters of an application that is in these clusters now.
    pub fn choose(
        &self,
        application: &NamespacedName,
        spec: &ApplicationSpec,
        standing: &Standing,
    ) -> Result<Chosen, PlacementError> {
        let choice = Choice {
            destination: &spec.destination,
            policy: spec.placement.as_ref(),
            fleet: self.fleet(&spec.destination),
            clusters: &self.clusters.list,
            standing,
        };
        self.unread.has_none(application)?;
        addons::choose(application, choice, &self.fleets)
    }

    /// Where an application is now. What a policy does not ask for is not looked for.
    pub fn standing(
        &self,
        now: Timestamp,
        spec: &ApplicationSpec,
        holding: BTreeSet<Uuid>,
        planned: BTreeSet<Uuid>,
    ) -> Standing {
        let mut standing = Standing {
            holding,
            planned,
            ..Standing::default()
        };
        let policy = spec.placement.as_ref();
        let Some(policy) = policy.filter(|policy| policy.pick == Pick::N) else {
            return standing;
        };
        for (id, link) in self.links.iter() {
            let lease = link.replica.and_then(|replica| self.leases.get(&replica));
            let heard = self.last_heard(*link, lease, now);
            if is_lost(policy.failover.as_ref(), heard, now) {
                standing.lost.insert(*id);
            }
            if lease.is_none_or(|lease| lease.expires_at <= now) {
                standing.unheard.insert(*id);
            }
        }
        standing
    }

    /// Every fleet, by name.
    pub fn fleets(&self) -> &Fleets {
        &self.fleets
    }

    /// The add-ons of all fleets.
    pub fn addons(&self) -> BTreeSet<NamespacedName> {
        addons::all(&self.fleets)
    }

    /// The add-ons of every fleet that has a cluster; absent = there is no such cluster.
    pub fn addons_of(&self, cluster: Uuid) -> Option<BTreeSet<NamespacedName>> {
        Some(addons::of_cluster(&self.fleets, self.cluster(cluster)?))
    }

    /// Which applications wait for which.
    pub fn waiters(&self) -> &Waiters {
        &self.waiters
    }

    pub fn place_at(&self, destination: &Destination) -> Result<Placement, PlacementError> {
        place(destination, self.fleet(destination), &self.clusters.list)
    }

    pub fn fleet_defaults(&self, spec: &ApplicationSpec) -> FleetDefaults {
        self.defaults_at(&spec.destination)
            .with_alerts(&spec.alerts)
    }

    pub fn defaults_at(&self, destination: &Destination) -> FleetDefaults {
        self.fleet(destination)
            .map(|fleet| fleet.defaults.clone())
            .unwrap_or_default()
    }

    fn fleet(&self, destination: &Destination) -> Option<&FleetSpec> {
        destination
            .fleet
            .as_ref()
            .and_then(|name| self.fleets.get(name))
    }

    /// What is known now of the clusters that have to do with one application: its members, those
    /// of its plan, those that hold it and those that spoke of it. What the others do is nothing
    /// to it.
    pub fn seen(
        &self,
        now: Timestamp,
        members: &BTreeSet<Uuid>,
        planned: impl Iterator<Item = Uuid>,
        holders: &BTreeMap<Uuid, Digest>,
        mut statuses: BTreeMap<Uuid, UnitStatus>,
    ) -> Vec<ClusterSeen> {
        let mut ids = members.clone();
        ids.extend(planned);
        ids.extend(holders.keys());
        ids.extend(statuses.keys());
        ids.into_iter()
            .filter_map(|id| Some((id, self.links.get(&id)?)))
            .map(|(id, link)| {
                let lease = link.replica.and_then(|replica| self.leases.get(&replica));
                ClusterSeen {
                    id,
                    member: members.contains(&id),
                    connected: lease.is_some_and(|lease| lease.expires_at > now),
                    last_heard: self.last_heard(*link, lease, now),
                    desired: holders.get(&id).map(ToString::to_string),
                    status: statuses.remove(&id),
                    unrendered: None,
                    awaits: Vec::new(),
                    is_forgotten: false,
                }
            })
            .collect()
    }

    /// Beats are not written: while a stream is open, its hub's lease is the sign of life.
    fn last_heard(
        &self,
        link: Link,
        lease: Option<&ReplicaLease>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let seen = link.last_seen.max(lease.map(|lease| lease.renewed_at))?;
        Some(match self.started {
            Some(started) => seen.max(started.min(now)),
            None => seen,
        })
    }
}

fn served_by(cluster: &Cluster) -> Option<Served> {
    let mut api_versions = cluster.capabilities.clone();
    api_versions.sort();
    let kubernetes_version = cluster.kubernetes_version.clone();
    kubernetes_version
        .filter(|version| !version.is_empty())
        .map(|kubernetes_version| Served {
            kubernetes_version,
            api_versions,
        })
}
