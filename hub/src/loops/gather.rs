use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bellwether_api::{bundle::UnitKey, reference::NamespacedName};
use bellwether_store::{
    Store, StoreError,
    changes::{ChangedName, RecordChange, RecordTailer},
    clusters::ClusterState,
    planning,
    tailer::{StatusTailer, SyncTailer},
};
use jiff::Timestamp;
use tokio::time::Instant;
use uuid::Uuid;

use super::{alive::Alive, queue::Queue, world::World};

/// How often the hubs' leases are read where no stream changed; they last three times as long as
/// they are renewed.
const LEASES_EVERY: Duration = Duration::from_secs(1);

/// Finds out which applications something happened to, by reading only what changed.
pub(super) struct Gatherer {
    store: Store,
    started: Option<Timestamp>,
    records: RecordTailer,
    statuses: StatusTailer,
    links: SyncTailer,
    versions: BTreeMap<ChangedName, RecordChange>,
    /// Every application with a record, or with clusters that still hold it.
    known: BTreeSet<NamespacedName>,
    /// Each cluster's session and identity as last seen; generations do not matter here.
    connected: BTreeMap<Uuid, (u64, Option<Uuid>, bool)>,
    world: World,
    // What was noticed and is not followed up yet: the database may fail in between.
    all_is_stale: bool,
    stale_clusters: BTreeSet<String>,
    fleets_are_stale: bool,
    templates_are_stale: bool,
    /// What changed may concern every application, and none was told of it yet.
    concerns_all: bool,
    records_changed: bool,
    reconnected: BTreeSet<Uuid>,
    leases_read: Option<Instant>,
    /// Which hubs were alive at the last gathering.
    alive: Alive,
}

impl Gatherer {
    pub fn new(store: Store, started: Option<Timestamp>) -> Self {
        Self {
            started,
            records: RecordTailer::new(store.clone()),
            statuses: StatusTailer::new(store.clone()),
            links: SyncTailer::new(store.clone()),
            versions: BTreeMap::new(),
            known: BTreeSet::new(),
            connected: BTreeMap::new(),
            world: World::default(),
            all_is_stale: true,
            stale_clusters: BTreeSet::new(),
            fleets_are_stale: false,
            templates_are_stale: false,
            concerns_all: false,
            records_changed: false,
            reconnected: BTreeSet::new(),
            leases_read: None,
            alive: Alive::default(),
            store,
        }
    }

    /// What is known of clusters, fleets and metric templates since the last gathering.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Every application that there is.
    pub fn known(&self) -> &BTreeSet<NamespacedName> {
        &self.known
    }

    /// Puts the applications to look at into the queue. What was noticed before the database failed
    /// is in the queue, or is noticed again.
    pub async fn gather(&mut self, queue: &mut Queue, now: Timestamp) -> Result<(), StoreError> {
        let is_first = self.gather_records(queue).await?;
        self.refresh_world().await?;
        if std::mem::take(&mut self.records_changed) {
            self.world.forget_emptying();
        }
        // Not before the world is read: a look at the old one would be the last.
        if std::mem::take(&mut self.concerns_all) {
            for application in &self.known {
                queue.suggest(application);
            }
        }
        self.gather_links().await?;
        // Nobody writes that a hub is gone: its streams ended with its lease.
        let changed = self.alive.changed(self.world.leases(), now);
        self.reconnected.extend(self.world.streams_of(&changed));
        for key in self.statuses.poll_keys().await? {
            match key.parse() {
                // The first look gives whatever was ever reported.
                Ok(UnitKey::Application(application)) if is_first => queue.suggest(&application),
                Ok(UnitKey::Application(application)) => {
                    queue.tell(&application);
                    self.wake_waiters(&application, queue);
                }
                _ => {}
            }
        }
        for application in planning::with_pending_actions(&self.store).await? {
            queue.tell(&application);
        }
        if !self.reconnected.is_empty() {
            let clusters: Vec<Uuid> = self.reconnected.iter().copied().collect();
            for application in planning::concerning(&self.store, &clusters).await? {
                queue.suggest(&application);
                self.wake_waiters(&application, queue);
            }
            self.reconnected.clear();
        }
        Ok(())
    }

    /// Has those looked at that waited for an application to which something happened.
    fn wake_waiters(&self, application: &NamespacedName, queue: &mut Queue) {
        for waiter in self.world.waiters().of(application) {
            queue.suggest(&waiter);
        }
    }

    /// Reads which streams opened and ended, and which hubs are alive.
    async fn gather_links(&mut self) -> Result<(), StoreError> {
        let changes = self.links.poll().await?;
        self.world.take_links(&changes);
        for change in changes {
            let link = (change.epoch, change.replica, change.revoked);
            if self.connected.insert(change.cluster, link) != Some(link) {
                self.reconnected.insert(change.cluster);
                // It may be the first stream of a new hub.
                self.leases_read = None;
            }
        }
        if self
            .leases_read
            .is_none_or(|at| at.elapsed() >= LEASES_EVERY)
        {
            self.world.read_leases(&self.store).await?;
            self.leases_read = Some(Instant::now());
        }
        Ok(())
    }

    /// Reads which applications there are that have no record any more and that clusters still
    /// hold.
    pub async fn recount(&mut self) -> Result<(), StoreError> {
        self.world.forget_emptying();
        self.known = self
            .versions
            .iter()
            .filter(|((kind, ..), version)| kind == "Application" && !version.gone)
            .map(|((_, namespace, name), _)| named(namespace, name))
            .collect();
        for key in planning::held_applications(&self.store).await? {
            if let Ok(UnitKey::Application(application)) = key.parse() {
                self.known.insert(application);
            }
        }
        Ok(())
    }

    /// Follows up what changed of records; gives whether this is everything that there is.
    async fn gather_records(&mut self, queue: &mut Queue) -> Result<bool, StoreError> {
        let look = self.records.poll().await?;
        let mut changes: Vec<(ChangedName, Option<RecordChange>)> = look
            .changes
            .into_iter()
            .map(|(name, change)| (name, Some(change)))
            .collect();
        if look.complete {
            self.all_is_stale = true;
            let found: BTreeSet<&ChangedName> = changes.iter().map(|(name, _)| name).collect();
            // Another database, in which these never were.
            let lost: Vec<ChangedName> = self
                .versions
                .keys()
                .filter(|name| !found.contains(name))
                .cloned()
                .collect();
            changes.extend(lost.into_iter().map(|name| (name, None)));
        }
        for (name, now) in changes {
            let before = match &now {
                Some(now) => self.versions.insert(name.clone(), now.clone()),
                None => self.versions.remove(&name),
            };
            if before != now {
                self.records_changed = true;
                let versions = (before.as_ref(), now.as_ref());
                self.concerns_all |= self.take_change(&name, versions, look.complete, queue);
            } else if name.0 == "Cluster" {
                // Its agent says something new of it, which is no version of what users wrote.
                self.stale_clusters.insert(name.2);
            }
        }
        Ok(look.complete)
    }

    /// Follows one change up, from the version before to that of now; gives whether it may concern
    /// every application.
    fn take_change(
        &mut self,
        (kind, namespace, name): &ChangedName,
        (before, now): (Option<&RecordChange>, Option<&RecordChange>),
        is_first: bool,
        queue: &mut Queue,
    ) -> bool {
        match kind.as_str() {
            "Application" => {
                let application = named(namespace, name);
                if is_first {
                    queue.suggest(&application);
                } else {
                    queue.tell(&application);
                }
                self.wake_waiters(&application, queue);
                self.known.insert(application);
                false
            }
            "Rollout" => {
                for side in [before, now].into_iter().flatten() {
                    match &side.application {
                        Some(application) => queue.tell(&named(namespace, application)),
                        None => self
                            .known
                            .iter()
                            .filter(|one| one.namespace == *namespace)
                            .for_each(|one| queue.suggest(one)),
                    }
                }
                false
            }
            "Fleet" => {
                self.fleets_are_stale = true;
                true
            }
            "Repository" | "AlertProvider" => false,
            "MetricTemplate" => {
                self.templates_are_stale = true;
                true
            }
            "Secret" => {
                let uses = self.known.iter().filter(|one| one.namespace == *namespace);
                uses.for_each(|one| queue.suggest(one));
                false
            }
            "Push" => {
                if !is_first {
                    queue.tell(&named(namespace, name));
                }
                false
            }
            _ => {
                self.stale_clusters.insert(name.clone());
                placement_of(before) != placement_of(now)
            }
        }
    }

    async fn refresh_world(&mut self) -> Result<(), StoreError> {
        if self.all_is_stale {
            self.world = World::load(&self.store, self.started).await?;
            self.all_is_stale = false;
            self.fleets_are_stale = false;
            self.templates_are_stale = false;
            self.stale_clusters.clear();
            self.leases_read = Some(Instant::now());
            return Ok(());
        }
        if self.fleets_are_stale {
            self.world.read_fleets(&self.store).await?;
            self.fleets_are_stale = false;
        }
        if self.templates_are_stale {
            self.world.read_templates(&self.store).await?;
            self.templates_are_stale = false;
        }
        if !self.stale_clusters.is_empty() {
            self.world
                .read_clusters(&self.store, &self.stale_clusters)
                .await?;
            self.stale_clusters.clear();
        }
        Ok(())
    }
}

/// What of a cluster's version matters to who is placed where; absent = it is placed nowhere.
fn placement_of(change: Option<&RecordChange>) -> Option<u64> {
    change
        .filter(|change| !change.gone && change.state != Some(ClusterState::Revoked))
        .map(|change| change.resource_version)
}

fn named(namespace: &str, name: &str) -> NamespacedName {
    NamespacedName {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

#[cfg(test)]
#[path = "gather_tests.rs"]
mod tests;
