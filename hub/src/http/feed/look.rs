use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bellwether_api::{bundle::UnitKey, call::Item, reference::NamespacedName};
use bellwether_store::{
    Store, StoreError,
    changes::{RecordTailer, RunTailer},
    records::{self, RecordKey, RecordKind},
    tailer::{StatusTailer, SyncTailer},
};
use tokio::time::Instant;
use uuid::Uuid;

use super::{Followed, Look};
use crate::{
    app::App,
    http::{
        items::{Scene, show},
        problem::ApiResult,
    },
};

/// How often clusters and fleets are looked at for what time alone changes: who fell silent.
const CLUSTERS_EVERY: Duration = Duration::from_secs(1);
/// How often every application is looked at, after clusters or fleets changed.
const ALL_AFTER_CHANGE: Duration = Duration::from_secs(2);
/// How often every application is looked at in any case: for what keeps a loop from its work.
const ALL_EVERY: Duration = Duration::from_secs(15);

const APPLICATION: Followed = Followed::Record(RecordKind::Application);
const ROLLOUT: Followed = Followed::Record(RecordKind::Rollout);

/// Reads what changed of the objects that are followed.
pub(super) struct Looker {
    records: RecordTailer,
    runs: RunTailer,
    statuses: StatusTailer,
    links: SyncTailer,
    /// Each cluster's session and identity as last seen; generations are not shown.
    connected: BTreeMap<Uuid, (u64, Option<Uuid>, bool)>,
    // What was noticed and is not read yet: the database may fail in between.
    applications: BTreeSet<NamespacedName>,
    rollouts: BTreeSet<NamespacedName>,
    clusters_changed: bool,
    /// Kinds that were read as a whole.
    read: BTreeSet<Followed>,
    clusters_at: Option<Instant>,
    all_at: Option<Instant>,
}

impl Looker {
    pub fn new(store: Store) -> Self {
        Self {
            records: RecordTailer::new(store.clone()),
            runs: RunTailer::new(store.clone()),
            statuses: StatusTailer::new(store.clone()),
            links: SyncTailer::new(store),
            connected: BTreeMap::new(),
            applications: BTreeSet::new(),
            rollouts: BTreeSet::new(),
            clusters_changed: false,
            read: BTreeSet::new(),
            clusters_at: None,
            all_at: None,
        }
    }

    /// Reads what changed of the kinds that are wanted; absent = nothing can have.
    pub async fn look(&mut self, app: &App, wanted: &[Followed]) -> ApiResult<Option<Look>> {
        self.notice().await?;
        let elapsed = |at: Option<Instant>| at.map_or(Duration::MAX, |at| at.elapsed());
        let unread: Vec<Followed> = wanted
            .iter()
            .copied()
            .filter(|kind| !self.read.contains(kind))
            .collect();
        let clusters_due = elapsed(self.clusters_at) >= CLUSTERS_EVERY;
        let all_due = elapsed(self.all_at) >= ALL_EVERY
            || self.clusters_changed && elapsed(self.all_at) >= ALL_AFTER_CHANGE;
        let is_idle = self.applications.is_empty() && self.rollouts.is_empty();
        if is_idle && unread.is_empty() && !clusters_due && !all_due && !self.clusters_changed {
            return Ok(None);
        }
        let scene = Scene::load(app).await?;
        let mut look = Look::default();
        for kind in wanted {
            let of_records = matches!(*kind, APPLICATION | ROLLOUT);
            if !of_records || all_due || unread.contains(kind) {
                look.whole.push((*kind, whole(app, &scene, *kind).await?));
            }
        }
        if !all_due {
            self.read_single(app, &scene, wanted, &mut look).await?;
        }
        let now = Instant::now();
        self.clusters_at = Some(now);
        if all_due {
            self.all_at = Some(now);
            self.clusters_changed = false;
        }
        self.applications.clear();
        self.rollouts.clear();
        self.read.extend(wanted);
        Ok(Some(look))
    }

    /// Finds out what changed.
    async fn notice(&mut self) -> Result<(), StoreError> {
        for ((kind, namespace, name), _) in self.records.poll().await?.changes {
            let name = NamespacedName { namespace, name };
            match kind.as_str() {
                "Application" => {
                    self.applications.insert(name);
                }
                "Rollout" => {
                    self.rollouts.insert(name);
                }
                // Nobody follows them.
                "Secret" | "Push" => {}
                _ => self.clusters_changed = true,
            }
        }
        self.applications.extend(self.runs.poll().await?);
        for key in self.statuses.poll_keys().await? {
            match key.parse() {
                Ok(UnitKey::Application(application)) => {
                    self.applications.insert(application);
                }
                Ok(UnitKey::Rollout(rollout)) => {
                    self.rollouts.insert(rollout);
                }
                _ => {}
            }
        }
        for change in self.links.poll().await? {
            let link = (change.epoch, change.replica, change.revoked);
            self.clusters_changed |= self.connected.insert(change.cluster, link) != Some(link);
        }
        Ok(())
    }

    async fn read_single(
        &self,
        app: &App,
        scene: &Scene,
        wanted: &[Followed],
        look: &mut Look,
    ) -> ApiResult<()> {
        let mut rollouts = self.rollouts.clone();
        for application in &self.applications {
            if wanted.contains(&APPLICATION) {
                let item = one(app, scene, RecordKind::Application, application).await?;
                look.single.push((key(APPLICATION, application), item));
            }
            if wanted.contains(&ROLLOUT) {
                // A Rollout shows how its application is.
                let own = records::rollouts_of(&app.store, application).await?;
                rollouts.extend(own.into_iter().map(|record| NamespacedName {
                    namespace: record.key.namespace,
                    name: record.key.name,
                }));
            }
        }
        if wanted.contains(&ROLLOUT) {
            for rollout in &rollouts {
                let item = one(app, scene, RecordKind::Rollout, rollout).await?;
                look.single.push((key(ROLLOUT, rollout), item));
            }
        }
        Ok(())
    }
}

fn key(kind: Followed, name: &NamespacedName) -> super::Key {
    (kind, name.namespace.clone(), name.name.clone())
}

async fn one(
    app: &App,
    scene: &Scene,
    kind: RecordKind,
    name: &NamespacedName,
) -> ApiResult<Option<Item>> {
    let key = RecordKey {
        kind,
        namespace: name.namespace.clone(),
        name: name.name.clone(),
    };
    Ok(match records::get(&app.store, &key).await? {
        Some(record) => Some(show(app, scene, &record).await?),
        None => None,
    })
}

async fn whole(app: &App, scene: &Scene, kind: Followed) -> ApiResult<Vec<Item>> {
    let Followed::Record(kind) = kind else {
        let clusters = scene.clusters.iter();
        return Ok(clusters.map(|cluster| scene.cluster(cluster)).collect());
    };
    let mut items = Vec::new();
    for record in records::list_all(&app.store, kind).await? {
        items.push(show(app, scene, &record).await?);
    }
    Ok(items)
}
