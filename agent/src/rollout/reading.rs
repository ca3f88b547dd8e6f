//! What the runs of one pass read of a whole namespace, once for all of them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bellwether_api::reference::ObjectRef;
use serde_json::Value;
use tokio::time::Instant;

use crate::sync::cluster::{Cluster, ClusterError};

/// How long what was read is shared: a pass over many runs takes a while, and each of them decides on
/// what is there then.
const SHARED_FOR: Duration = Duration::from_secs(1);

/// Reads of one pass. Make it after the pass has written what the runs want: no run decides on what
/// was read before its own last write.
pub struct Reading<'a> {
    /// The member cluster.
    pub cluster: &'a Cluster,
    /// By kind and namespace.
    lists: Known<(String, String), Arc<Vec<Value>>>,
    /// By name.
    spaces: Known<String, Option<Value>>,
}

/// What was read, by what it was asked by.
type Known<K, T> = Mutex<BTreeMap<K, Shared<T>>>;

struct Shared<T> {
    read_at: Instant,
    found: T,
}

impl<'a> Reading<'a> {
    /// Has read nothing yet.
    #[must_use]
    pub fn new(cluster: &'a Cluster) -> Self {
        Self {
            cluster,
            lists: Mutex::default(),
            spaces: Mutex::default(),
        }
    }

    /// All objects of a kind in a namespace; empty when the kind is not served.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn list(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
    ) -> Result<Arc<Vec<Value>>, ClusterError> {
        let key = (kind.to_owned(), namespace.to_owned());
        if let Some(found) = shared(&self.lists, &key) {
            return Ok(found);
        }
        let read_at = Instant::now();
        let listed = self.cluster.list(api_version, kind, Some(namespace), None);
        let found = Arc::new(listed.await?);
        share(&self.lists, key, read_at, &found);
        Ok(found)
    }

    /// A namespace; absent = it does not exist.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn namespace(&self, name: &str) -> Result<Option<Value>, ClusterError> {
        let key = name.to_owned();
        if let Some(found) = shared(&self.spaces, &key) {
            return Ok(found);
        }
        let target = ObjectRef {
            api_version: "v1".to_owned(),
            kind: "Namespace".to_owned(),
            namespace: None,
            name: key.clone(),
        };
        let read_at = Instant::now();
        let found = self.cluster.get(&target).await?;
        share(&self.spaces, key, read_at, &found);
        Ok(found)
    }
}

fn shared<K: Ord, T: Clone>(kept: &Known<K, T>, key: &K) -> Option<T> {
    let kept = lock(kept);
    let known = kept.get(key)?;
    (known.read_at.elapsed() < SHARED_FOR).then(|| known.found.clone())
}

fn share<K: Ord, T: Clone>(kept: &Known<K, T>, key: K, read_at: Instant, found: &T) {
    let found = found.clone();
    lock(kept).insert(key, Shared { read_at, found });
}

fn lock<T>(kept: &Mutex<T>) -> MutexGuard<'_, T> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}
