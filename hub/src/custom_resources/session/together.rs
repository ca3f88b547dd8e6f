//! Custom resources that fit the hub's records only with each other: an API server takes one object at a
//! time, while a Rollout and its application may have to change at once, and a fleet names its add-on as
//! the add-on names the fleet.

use std::collections::{BTreeMap, BTreeSet};

use bellwether_store::records::RecordKey;
use serde_json::Value;

use super::{Outcome, Session, Standing};
use crate::custom_resources::{
    cache::rank,
    write::{self, Batch},
};

/// Documents that are tried together at most.
const MAX: usize = 256;

impl Session<'_> {
    /// Tries what was refused alone together: what stands in one namespace, then with what stands in none.
    pub(super) async fn write_together(&mut self) {
        let mut groups: BTreeMap<(String, String), BTreeSet<RecordKey>> = BTreeMap::new();
        for (key, outcome) in self.outcomes.iter().filter(|(_, one)| one.may_fit) {
            let group = (key.namespace.clone(), format!("{:?}", outcome.adopt));
            groups.entry(group).or_default().insert(key.clone());
        }
        let all = groups.clone();
        for ((namespace, adopt), keys) in groups {
            self.write_group(&keys).await;
            let global = all.get(&(String::new(), adopt));
            if let Some(more) = global.filter(|_| !namespace.is_empty()) {
                self.write_group(&keys.union(more).cloned().collect()).await;
            }
        }
    }

    async fn write_group(&mut self, keys: &BTreeSet<RecordKey>) {
        // Others may have taken some of them along.
        let waits = |key: &&RecordKey| self.outcomes.get(*key).is_some_and(|one| one.may_fit);
        let mut keys: Vec<&RecordKey> = keys.iter().filter(waits).collect();
        keys.sort_by_key(|key| rank(key.kind));
        let waiting: Vec<&Outcome> = keys
            .iter()
            .filter_map(|key| self.outcomes.get(*key))
            .collect();
        if !(2..=MAX).contains(&waiting.len()) {
            return;
        }
        let documents: Vec<Value> = waiting.iter().map(|one| one.document.clone()).collect();
        let batch = Batch {
            documents: &documents,
            author: "custom-resource".to_owned(),
            reason: "custom resources that fit only together".to_owned(),
            adopt: waiting[0].adopt,
        };
        // Each has said already what keeps it from being written alone.
        let Ok(generations) = write::write(self.app, &self.fence, batch).await else {
            return;
        };
        for (key, record) in keys.into_iter().zip(generations) {
            if let Some(outcome) = self.outcomes.get_mut(key) {
                outcome.standing = Standing::Written { record };
                outcome.may_fit = false;
            }
            self.untold.insert(key.clone());
        }
    }
}
