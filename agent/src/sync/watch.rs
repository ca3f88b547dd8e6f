//! One metadata watch per kind and namespace in use, shared by all units.
//!
//! Only names travel and nothing is cached: an event tells a unit which of its objects to look at
//! again. A watch lives at most 50 s, so that one that died silently is noticed.

mod poke;
mod wants;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bellwether_api::reference::ObjectRef;
use futures::StreamExt;
use kube::{
    api::ObjectMeta,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use tokio::task::JoinHandle;

use super::cluster::Cluster;

pub use poke::{Change, Dirty, Poke, is_after};
use wants::owner;
pub use wants::{Chosen, Wants};

/// Seconds after which the API server ends a watch and the agent opens the next.
const WATCH_SECONDS: u32 = 50;

/// What is watched.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WatchKey {
    /// Group and version.
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// The namespace; absent = cluster-scoped.
    pub namespace: Option<String>,
    /// The only name that is watched; absent = every object. Set for Secrets.
    pub name: Option<String>,
}

impl WatchKey {
    /// The watch that sees an object.
    #[must_use]
    pub fn of(object: &ObjectRef) -> Self {
        let by_name = object.api_version == "v1" && object.kind == "Secret";
        Self {
            api_version: object.api_version.clone(),
            kind: object.kind.clone(),
            namespace: object.namespace.clone(),
            name: by_name.then(|| object.name.clone()),
        }
    }

    /// The object of that name that the watch sees.
    fn object(&self, name: &str) -> ObjectRef {
        ObjectRef {
            api_version: self.api_version.clone(),
            kind: self.kind.clone(),
            namespace: self.namespace.clone(),
            name: name.to_owned(),
        }
    }
}

/// The watches in use.
pub struct Watches {
    cluster: Arc<Cluster>,
    entries: Arc<Mutex<BTreeMap<WatchKey, Entry>>>,
}

struct Entry {
    task: JoinHandle<()>,
    listeners: BTreeMap<String, Listener>,
}

#[derive(Clone)]
struct Listener {
    wants: Wants,
    poke: Arc<Poke>,
}

impl Listener {
    /// Has the unit look once more at what it did not listen to `before`. A watch that is open already
    /// tells nobody what happened between the unit's last look and now.
    fn catch_up(&self, key: &WatchKey, before: Option<&Wants>) {
        match (&self.wants, before) {
            (_, Some(Wants::Any)) => {}
            (Wants::Any, _) => self.poke.touch_kind(key.clone()),
            (wants, before) => {
                let names = wants.names().into_iter().flatten();
                for name in names.filter(|name| !before.is_some_and(|one| one.names_one(name))) {
                    self.poke.touch(key.object(name), None);
                }
                if wants.chooses_beyond(before) {
                    self.poke.touch_kind(key.clone());
                }
            }
        }
    }
}

type Entries = Arc<Mutex<BTreeMap<WatchKey, Entry>>>;

impl Watches {
    /// Starts with none.
    #[must_use]
    pub fn new(cluster: Arc<Cluster>) -> Self {
        Self {
            cluster,
            entries: Arc::default(),
        }
    }

    /// Sets everything that wakes `unit`; watches that nobody needs any more end.
    pub fn set(&self, unit: &str, interests: BTreeMap<WatchKey, Wants>, poke: &Arc<Poke>) {
        let mut entries = lock(&self.entries);
        entries.retain(|key, entry| {
            if !interests.contains_key(key) {
                entry.listeners.remove(unit);
            }
            if entry.listeners.is_empty() {
                entry.task.abort();
            }
            !entry.listeners.is_empty()
        });
        for (key, wants) in interests {
            let listener = Listener {
                wants,
                poke: Arc::clone(poke),
            };
            let open = entries.contains_key(&key);
            let entry = entries.entry(key.clone()).or_insert_with(|| Entry {
                task: tokio::spawn(watch(
                    Arc::clone(&self.cluster),
                    key.clone(),
                    Arc::clone(&self.entries),
                )),
                listeners: BTreeMap::new(),
            });
            let before = entry.listeners.get(unit).map(|known| &known.wants);
            if open {
                listener.catch_up(&key, before);
            }
            entry.listeners.insert(unit.to_owned(), listener);
        }
    }

    /// How many watches are open.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.entries).len()
    }

    /// Tells whether no watch is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        lock(&self.entries).is_empty()
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        for entry in lock(&self.entries).values() {
            entry.task.abort();
        }
    }
}

async fn watch(cluster: Arc<Cluster>, key: WatchKey, entries: Entries) {
    let mut pause = std::time::Duration::from_secs(1);
    let api = loop {
        match cluster
            .metadata_api(&key.api_version, &key.kind, key.namespace.as_deref())
            .await
        {
            Ok(api) => break api,
            Err(error) => {
                tracing::debug!(kind = key.kind, error = %error.answer(), "watch waits");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(std::time::Duration::from_secs(60));
            }
        }
    };
    let mut config = watcher::Config::default()
        .timeout(WATCH_SECONDS)
        .any_semantic();
    if let Some(name) = &key.name {
        config = config.fields(&format!("metadata.name={name}"));
    }
    let mut events = watcher(api, config).default_backoff().boxed();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(object) | Event::InitApply(object)) => {
                let version = object.metadata.resource_version.clone();
                touch(&entries, &key, object.metadata, version);
            }
            Ok(Event::Delete(object)) => touch(&entries, &key, object.metadata, None),
            Ok(Event::Init) => {}
            // Whatever was deleted while no watch was open shows only by its absence.
            Ok(Event::InitDone) => touch_all(&entries, &key),
            Err(error) => {
                tracing::debug!(kind = key.kind, error = %crate::desired::chain(&error), "watch failed and is opened again");
            }
        }
    }
}

/// Wakes whoever listens to an object; `version` absent = it is gone.
fn touch(entries: &Entries, key: &WatchKey, object: ObjectMeta, version: Option<String>) {
    let change = Change {
        version,
        of: owner(&key.kind, &object),
    };
    let target = ObjectRef {
        namespace: object.namespace,
        ..key.object(&object.name.unwrap_or_default())
    };
    let entries = lock(entries);
    for listener in entries
        .get(key)
        .into_iter()
        .flat_map(|entry| entry.listeners.values())
    {
        if listener.wants.sees(&target.name, change.of.as_deref()) {
            listener.poke.touch(target.clone(), Some(change.clone()));
        }
    }
}

fn touch_all(entries: &Entries, key: &WatchKey) {
    let entries = lock(entries);
    for listener in entries
        .get(key)
        .into_iter()
        .flat_map(|entry| entry.listeners.values())
    {
        for name in listener.wants.names().into_iter().flatten() {
            listener.poke.touch(key.object(name), None);
        }
        if !matches!(listener.wants, Wants::Names(_)) {
            listener.poke.touch_kind(key.clone());
        }
    }
}

fn lock(entries: &Mutex<BTreeMap<WatchKey, Entry>>) -> MutexGuard<'_, BTreeMap<WatchKey, Entry>> {
    entries.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod lost_place;
#[cfg(test)]
mod silent_peer;

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> WatchKey {
        WatchKey {
            api_version: "apps/v1".to_owned(),
            kind: "Deployment".to_owned(),
            namespace: Some("shop".to_owned()),
            name: None,
        }
    }

    fn names(names: &[&str]) -> Wants {
        Wants::Names(names.iter().map(|name| (*name).to_owned()).collect())
    }

    /// The names that are looked at when a unit listens to `now` after `before`; absent = it is not
    /// even woken.
    fn looked_at(now: Wants, before: Option<&Wants>) -> Option<Vec<String>> {
        let listener = Listener {
            wants: now,
            poke: Arc::default(),
        };
        listener.catch_up(&key(), before);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let woken = runtime.block_on(async {
            tokio::time::timeout(std::time::Duration::from_secs(1), listener.poke.woken()).await
        });
        woken.ok()?;
        let dirty = listener.poke.take();
        Some(dirty.objects.into_iter().map(|one| one.name).collect())
    }

    #[test]
    fn what_joins_an_open_watch_is_looked_at_once_more() {
        let both = names(&["api", "web"]);
        let said = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(looked_at(both.clone(), None), said(&["api", "web"]));
        assert_eq!(
            looked_at(both.clone(), Some(&names(&["web"]))),
            said(&["api"])
        );
        assert_eq!(looked_at(both.clone(), Some(&both)), None);
        assert_eq!(looked_at(Wants::Any, None), said(&[]));
        assert_eq!(looked_at(Wants::Any, Some(&both)), said(&[]));
        assert_eq!(looked_at(Wants::Any, Some(&Wants::Any)), None);
    }
}
