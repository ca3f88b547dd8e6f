use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bellwether_api::{bundle::UnitKey, reference::NamespacedName};
use bellwether_store::{
    Store, StoreError,
    planning::{self, RecordVersion},
    records,
    records::RecordKind,
    tailer::{StatusTailer, SyncTailer},
};
use jiff::Timestamp;
use uuid::Uuid;

use super::{LoopError, LoopState, application::process, facts::World, lease::Shards};
use crate::{app::App, clock::Clock};

/// The name of this loop in `/readyz`.
const NAME: &str = "plan";
/// How often the loop looks for changes that nobody told it of.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How often it looks at every application, whatever it was told. Everything that moves an
/// application is told of or has a time: the sweep only heals what should not happen.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Applications of a sweep that one turn looks at, after what it was told of: a sweep over
/// thousands must not keep a change waiting.
const SWEEP_BATCH: usize = 5;
/// How often one turn looks again at what it changed itself.
const PASSES: usize = 4;
/// How often the versions of records are compared when nobody says that one changed.
const VERSIONS_EVERY: Duration = Duration::from_secs(1);

/// Plans and moves every application on, until the hub stops.
pub(super) async fn run(app: Arc<App>) {
    let started = Some(app.clock.now());
    let mut planner = Planner::new(app.store.clone(), app.replica, app.clock, started);
    planner.deliver = Some(Arc::clone(&app));
    loop {
        let poked = tokio::select! {
            () = app.shutdown.cancelled() => return,
            () = app.pokes.plan.notified() => true,
            () = tokio::time::sleep(LOOK_EVERY) => false,
        };
        let now = app.clock.now();
        let report = planner.turn(now, poked).await;
        app.loops.set(
            NAME,
            LoopState {
                at: now,
                did: format!(
                    "looked at {} applications, changed {}; {} watched",
                    report.looked,
                    report.written,
                    planner.known.len()
                ),
                errors: report.errors.clone(),
            },
        );
    }
}

/// One turn over everything, from nothing.
pub(super) async fn once(store: &Store, replica: Uuid, now: Timestamp) -> Result<(), LoopError> {
    let mut planner = Planner::new(store.clone(), replica, Clock::begin(now), None);
    let mut first = None;
    planner.shards.renew(store, now).await?;
    planner.gather(now, true).await?;
    let world = World::load(store, now, None).await?;
    for application in std::mem::take(&mut planner.dirty) {
        let Some(fence) = planner.shards.fence(&application) else {
            continue;
        };
        if let Err(error) = process(store, &world, &fence, &application, now).await {
            first.get_or_insert(error);
        }
    }
    first.map_or(Ok(()), Err)
}

/// What one turn did.
#[derive(Clone, Debug, Default)]
struct Report {
    looked: usize,
    written: usize,
    errors: Vec<String>,
}

struct Planner {
    store: Store,
    /// Whom to tell of what was written, as soon as it is; absent = nobody delivers.
    deliver: Option<Arc<App>>,
    started: Option<Timestamp>,
    clock: Clock,
    shards: Shards,
    statuses: StatusTailer,
    links: SyncTailer,
    versions: BTreeSet<RecordVersion>,
    /// Every application with a record, or with clusters that still hold it.
    known: BTreeSet<NamespacedName>,
    dirty: BTreeSet<NamespacedName>,
    /// What is left of the last sweep.
    sweep: BTreeSet<NamespacedName>,
    /// Each cluster's session and identity as last seen; generations do not matter here.
    connected: BTreeMap<Uuid, (u64, Option<Uuid>, bool)>,
    wake: BTreeMap<NamespacedName, Timestamp>,
    /// Applications whose runs depend on which clusters are connected.
    active: BTreeSet<NamespacedName>,
    /// What is wrong with an application, until a look at it goes well.
    errors: BTreeMap<NamespacedName, String>,
    swept: Option<Timestamp>,
    compared: Option<Timestamp>,
}

impl Planner {
    fn new(store: Store, replica: Uuid, clock: Clock, started: Option<Timestamp>) -> Self {
        Self {
            statuses: StatusTailer::new(store.clone()),
            links: SyncTailer::new(store.clone()),
            store,
            deliver: None,
            started,
            clock,
            shards: Shards::new(replica, clock),
            versions: BTreeSet::new(),
            known: BTreeSet::new(),
            dirty: BTreeSet::new(),
            sweep: BTreeSet::new(),
            connected: BTreeMap::new(),
            wake: BTreeMap::new(),
            active: BTreeSet::new(),
            errors: BTreeMap::new(),
            swept: None,
            compared: None,
        }
    }

    async fn turn(&mut self, now: Timestamp, poked: bool) -> Report {
        let mut report = Report::default();
        if let Err(error) = self.prepare(now, poked).await {
            tracing::warn!(error = %LoopError::from(error).chain(), "planning waits");
            report.errors.push("the database cannot be read".to_owned());
            return report;
        }
        if self.dirty.is_empty() && self.sweep.is_empty() {
            report.errors = self.errors.values().cloned().collect();
            return report;
        }
        let world = match World::load(&self.store, now, self.started).await {
            Ok(world) => world,
            Err(error) => {
                tracing::warn!(error = %LoopError::from(error).chain(), "planning waits");
                report.errors.push("the database cannot be read".to_owned());
                return report;
            }
        };
        for _ in 0..PASSES {
            for application in std::mem::take(&mut self.dirty) {
                self.look(&world, application, &mut report).await;
            }
        }
        for _ in 0..SWEEP_BATCH {
            let Some(application) = self.sweep.pop_first() else {
                break;
            };
            self.look(&world, application, &mut report).await;
        }
        report.errors = self.errors.values().cloned().collect();
        report
    }

    async fn prepare(&mut self, now: Timestamp, poked: bool) -> Result<(), StoreError> {
        let gained = self.shards.renew(&self.store, now).await?;
        let sweep = gained || is_due(self.swept, now, SWEEP_EVERY);
        if sweep {
            self.swept = Some(now);
        }
        self.gather(
            now,
            sweep || poked || is_due(self.compared, now, VERSIONS_EVERY),
        )
        .await?;
        if gained {
            self.dirty.extend(self.known.iter().cloned());
        } else if sweep {
            self.sweep.extend(self.known.iter().cloned());
        }
        Ok(())
    }

    /// Collects which applications something happened to.
    async fn gather(&mut self, now: Timestamp, compare: bool) -> Result<(), StoreError> {
        if compare {
            self.compare_versions().await?;
            self.compared = Some(now);
        }
        for key in self.statuses.poll_keys().await? {
            if let Ok(UnitKey::Application(application)) = key.parse() {
                self.dirty.insert(application);
            }
        }
        let mut reconnected = false;
        for change in self.links.poll().await? {
            let link = (change.epoch, change.replica, change.revoked);
            reconnected |= self.connected.insert(change.cluster, link) != Some(link);
        }
        if reconnected {
            self.dirty.extend(self.active.iter().cloned());
        }
        self.dirty
            .extend(planning::with_pending_actions(&self.store).await?);
        let due: Vec<NamespacedName> = self
            .wake
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(application, _)| application.clone())
            .collect();
        for application in due {
            self.wake.remove(&application);
            self.dirty.insert(application);
        }
        Ok(())
    }

    async fn compare_versions(&mut self) -> Result<(), StoreError> {
        let versions = planning::record_versions(&self.store).await?;
        let moved: Vec<RecordVersion> = versions
            .symmetric_difference(&self.versions)
            .cloned()
            .collect();
        if moved.is_empty() {
            return Ok(());
        }
        self.known = versions
            .iter()
            .filter(|version| version.kind == "Application")
            .map(|version| NamespacedName {
                namespace: version.namespace.clone(),
                name: version.name.clone(),
            })
            .collect();
        for key in planning::held_applications(&self.store).await? {
            if let Ok(UnitKey::Application(application)) = key.parse() {
                self.known.insert(application);
            }
        }
        for version in moved {
            match version.kind.as_str() {
                "Application" => {
                    self.dirty.insert(NamespacedName {
                        namespace: version.namespace,
                        name: version.name,
                    });
                }
                "Rollout" => {
                    let own = self
                        .known
                        .iter()
                        .filter(|one| one.namespace == version.namespace);
                    self.dirty.extend(own.cloned());
                }
                // Clusters and fleets: who is placed where may have changed for anybody.
                _ => self.dirty.extend(self.known.iter().cloned()),
            }
        }
        self.versions = versions;
        Ok(())
    }

    async fn look(&mut self, world: &World, application: NamespacedName, report: &mut Report) {
        let now = self.clock.now();
        if let Err(error) = self.shards.renew(&self.store, now).await {
            tracing::debug!(error = %error, "leases were not renewed");
        }
        let Some(fence) = self.shards.fence(&application) else {
            self.errors.remove(&application);
            self.active.remove(&application);
            return;
        };
        report.looked += 1;
        match process(&self.store, world, &fence, &application, now).await {
            Ok(outcome) => {
                self.errors.remove(&application);
                if outcome.active {
                    self.active.insert(application.clone());
                } else {
                    self.active.remove(&application);
                }
                match outcome.wake_at {
                    Some(at) => self.wake.insert(application.clone(), at),
                    None => self.wake.remove(&application),
                };
                if outcome.changed {
                    report.written += 1;
                    if let Some(app) = &self.deliver {
                        app.pokes.deliver.notify_one();
                    }
                    // What was written may be what the next step waited for.
                    self.dirty.insert(application);
                }
            }
            Err(error) if error.is_routine() => {
                self.dirty.insert(application);
            }
            Err(error) => {
                let text = error.chain();
                if self
                    .errors
                    .insert(application.clone(), text.clone())
                    .as_ref()
                    != Some(&text)
                {
                    tracing::warn!(application = %application, error = %text, "planning failed");
                }
            }
        }
    }
}

fn is_due(last: Option<Timestamp>, now: Timestamp, every: Duration) -> bool {
    last.is_none_or(|last| now.duration_since(last).unsigned_abs() >= every)
}

/// Every application with a record.
pub(super) async fn applications(store: &Store) -> Result<Vec<records::Record>, StoreError> {
    records::list_all(store, RecordKind::Application).await
}
