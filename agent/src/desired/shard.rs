//! The shards of what is held, and how they are read and written.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicBool, Ordering},
};

use bellwether_api::{
    root::Root,
    sync_record::{SyncRecord, SyncRecordSpec, SyncUnit},
};
use kube::{
    Api, ResourceExt,
    api::{ListParams, PostParams},
};
use sha2::{Digest, Sha256};

use super::{
    Held,
    fence::EPOCH_ANNOTATION,
    packed::{PackedError, has_many, packed, unpack},
    plan::new_unit,
};

/// How many shards there are; a change would lose track of units.
const SHARDS: usize = 16;

/// Why what is held could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else wrote the same record.
    #[error("failed to write {name}: somebody else has written it")]
    Conflict {
        /// The record's name.
        name: String,
    },
    /// Another agent of this cluster has a newer session: this one writes nothing.
    #[error("failed to write what is held: a newer agent of this cluster has taken over")]
    NewerAgent,
    /// The cluster dropped what it does not know.
    #[error(
        "failed to write {name}: the cluster's definition of SyncRecord is older than the agent; \
         install the definitions of this version"
    )]
    OldDefinition {
        /// The record's name.
        name: String,
    },
    /// What a unit remembers of its objects cannot be read.
    #[error("failed to read the objects of {key} in {name}")]
    Unreadable {
        /// The record's name.
        name: String,
        /// The unit's key.
        key: String,
        /// Why.
        #[source]
        source: PackedError,
    },
    /// The API server does not answer, or refuses.
    #[error("failed to reach the cluster's API server")]
    Kube(#[from] kube::Error),
}

/// Everything that is held.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Records {
    pub(super) incarnation: u64,
    pub(super) generation: u64,
    pub(super) epoch: u64,
    shards: Vec<Shard>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Shard {
    /// Absent = the record does not exist yet.
    resource_version: Option<String>,
    units: BTreeMap<String, SyncUnit>,
}

impl Records {
    pub(super) fn empty() -> Self {
        Self {
            shards: vec![Shard::default(); SHARDS],
            ..Self::default()
        }
    }

    pub(super) fn held(&self) -> Held {
        Held {
            incarnation: self.incarnation,
            generation: self.generation,
            root: *self.root().as_bytes(),
            epoch: self.epoch,
        }
    }

    /// The root over live units; orphans are not the hub's and stay out.
    pub(super) fn root(&self) -> Root {
        let mut root = Root::EMPTY;
        for (key, unit) in self.shards.iter().flat_map(|shard| &shard.units) {
            if let (Some(digest), false) = (live_digest(unit), unit.orphan) {
                root.add(key, &digest);
            }
        }
        root
    }

    pub(super) fn unit(&self, key: &str) -> Option<&SyncUnit> {
        self.shards[shard_of(key)].units.get(key)
    }

    pub(super) fn unit_mut(&mut self, key: &str) -> Option<&mut SyncUnit> {
        self.shards[shard_of(key)].units.get_mut(key)
    }

    pub(super) fn put(&mut self, unit: SyncUnit) {
        self.shards[shard_of(&unit.key)]
            .units
            .insert(unit.key.clone(), unit);
    }

    pub(super) fn units(&self) -> BTreeMap<String, SyncUnit> {
        self.shards
            .iter()
            .flat_map(|shard| {
                shard
                    .units
                    .iter()
                    .map(|(key, unit)| (key.clone(), unit.clone()))
            })
            .collect()
    }

    /// The other units of the record that holds a unit.
    pub(super) fn units_beside(&self, key: &str) -> Vec<SyncUnit> {
        let units = self.shards[shard_of(key)].units.values();
        units.filter(|unit| unit.key != key).cloned().collect()
    }

    pub(super) fn units_under(&self, prefix: &str) -> Vec<SyncUnit> {
        let mut found: Vec<SyncUnit> = self
            .shards
            .iter()
            .flat_map(|shard| shard.units.range(prefix.to_owned()..))
            .filter(|(key, _)| key.starts_with(prefix))
            .map(|(_, unit)| unit.clone())
            .collect();
        found.sort_by(|one, other| one.key.cmp(&other.key));
        found
    }

    pub(super) fn units_mut(&mut self) -> impl Iterator<Item = &mut SyncUnit> {
        self.shards
            .iter_mut()
            .flat_map(|shard| shard.units.values_mut())
    }

    /// Every digest whose blob is needed.
    pub(super) fn named_digests(&self) -> BTreeSet<[u8; 32]> {
        self.shards
            .iter()
            .flat_map(|shard| shard.units.values())
            .flat_map(named_by)
            .filter_map(|digest| digest_bytes(digest))
            .collect()
    }
}

fn named_by(unit: &SyncUnit) -> impl Iterator<Item = &String> {
    let originals = unit
        .objects
        .iter()
        .filter_map(|held| held.adopted.as_ref()?.originals.as_ref());
    [&unit.digest, &unit.running_digest, &unit.applied_digest]
        .into_iter()
        .flatten()
        .chain(originals)
        .chain(unit.live_states.iter().map(|state| &state.objects))
}

fn live_digest(unit: &SyncUnit) -> Option<[u8; 32]> {
    unit.digest.as_deref().and_then(digest_bytes)
}

/// Reads 64 hex digits; absent when they are not.
pub(super) fn digest_bytes(text: &str) -> Option<[u8; 32]> {
    hex::decode(text).ok()?.try_into().ok()
}

fn shard_of(key: &str) -> usize {
    usize::from(Sha256::digest(key.as_bytes())[0]) % SHARDS
}

pub(super) fn record_name(index: usize) -> String {
    format!("bellwether-sync-{index:02}")
}

/// The record that holds a unit.
pub(super) fn record_name_of(key: &str) -> String {
    record_name(shard_of(key))
}

/// The SyncRecords of the agent's namespace.
pub(super) struct ShardStore {
    api: Api<SyncRecord>,
    /// The cluster's definition is known to keep packed objects.
    packs: AtomicBool,
}

impl ShardStore {
    pub(super) fn new(client: kube::Client, namespace: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            packs: AtomicBool::new(false),
        }
    }

    pub(super) async fn load(&self) -> Result<Records, StoreError> {
        let mut records = Records::empty();
        for record in self.api.list(&ListParams::default()).await?.items {
            let name = record.name_any();
            let Some(index) = (0..SHARDS).find(|index| record_name(*index) == name) else {
                continue;
            };
            if index == 0 {
                records.incarnation = record.spec.incarnation;
                records.generation = record.spec.generation;
                records.epoch = record.spec.epoch;
            }
            let shard = &mut records.shards[index];
            shard.resource_version = record.metadata.resource_version;
            for mut unit in record.spec.units {
                let key = unit.key.clone();
                if let Err(source) = unpack(&mut unit) {
                    return Err(StoreError::Unreadable { name, key, source });
                }
                shard.units.insert(key, unit);
            }
        }
        Ok(records)
    }

    /// Writes what differs between `before` and `after`, shard 0 last, since it carries the
    /// generation; `after` takes the new resource versions.
    pub(super) async fn save(
        &self,
        before: &Records,
        after: &mut Records,
    ) -> Result<(), StoreError> {
        let generation_moved = (before.incarnation, before.generation, before.epoch)
            != (after.incarnation, after.generation, after.epoch);
        for index in (0..SHARDS).rev() {
            let changed = before.shards[index].units != after.shards[index].units;
            if changed || (index == 0 && generation_moved) {
                self.save_shard(index, after).await?;
            }
        }
        Ok(())
    }

    /// Tells whether the cluster's definition keeps packed objects. Tried without writing anything: an
    /// older definition would drop them.
    pub(super) async fn packs(&self) -> Result<bool, StoreError> {
        if self.packs.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let unit = SyncUnit {
            packed_objects: Some("probe".to_owned()),
            ..new_unit("probe")
        };
        let units = vec![unit];
        let probe = SyncRecordSpec {
            units: units.clone(),
            ..SyncRecordSpec::default()
        };
        let probe = SyncRecord::new("bellwether-sync-probe", probe);
        let params = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let answer = self.api.create(&params, &probe).await?;
        let packs = answer.spec.units == units;
        self.packs.store(packs, Ordering::Relaxed);
        Ok(packs)
    }

    async fn save_shard(&self, index: usize, after: &mut Records) -> Result<(), StoreError> {
        let name = record_name(index);
        let held = &after.shards[index].units;
        let packs = held.values().any(has_many) && self.packs().await?;
        let units: BTreeMap<String, SyncUnit> = held
            .iter()
            .map(|(key, unit)| {
                let unit = if packs { packed(unit) } else { unit.clone() };
                (key.clone(), unit)
            })
            .collect();
        let spec = SyncRecordSpec {
            incarnation: if index == 0 { after.incarnation } else { 0 },
            generation: if index == 0 { after.generation } else { 0 },
            epoch: if index == 0 { after.epoch } else { 0 },
            units: units.values().cloned().collect(),
        };
        let mut record = SyncRecord::new(&name, spec);
        record
            .metadata
            .resource_version
            .clone_from(&after.shards[index].resource_version);
        if index == 0 {
            let epoch = (EPOCH_ANNOTATION.to_owned(), after.epoch.to_string());
            record.metadata.annotations = Some([epoch].into());
        }
        let params = PostParams::default();
        let written = if record.metadata.resource_version.is_some() {
            self.api.replace(&name, &params, &record).await
        } else {
            self.api.create(&params, &record).await
        };
        match written {
            Ok(record) => {
                after.shards[index].resource_version = record.metadata.resource_version;
                // Whose an object is must be durable before it is written to.
                if remembers(&record.spec.units, &units) {
                    Ok(())
                } else {
                    Err(StoreError::OldDefinition { name })
                }
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
                Err(StoreError::Conflict { name })
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Tells whether a stored record has everything of `units` that keeps what is not ours from being
/// deleted, and hooks from running twice.
fn remembers(stored: &[SyncUnit], units: &BTreeMap<String, SyncUnit>) -> bool {
    stored.len() == units.len()
        && stored.iter().all(|stored| {
            units.get(&stored.key).is_some_and(|unit| {
                let kept = (&stored.objects, &stored.packed_objects);
                (kept, stored.removing, &stored.chart_hooks)
                    == (
                        (&unit.objects, &unit.packed_objects),
                        unit.removing,
                        &unit.chart_hooks,
                    )
            })
        })
}

#[cfg(test)]
mod tests {
    use bellwether_api::{
        reference::ObjectRef,
        sync_record::{Adoption, HeldObject},
    };
    use serde_json::json;

    use super::*;

    fn adopting() -> SyncUnit {
        let unit = json!({"key": "application/default/shop", "generation": 1, "digest": null});
        let mut unit: SyncUnit = serde_json::from_value(unit).expect("a unit needs no more");
        let object = ObjectRef {
            api_version: "v1".to_owned(),
            kind: "Service".to_owned(),
            namespace: Some("shop".to_owned()),
            name: "web".to_owned(),
        };
        unit.objects = vec![HeldObject {
            uid: Some("a".to_owned()),
            adopted: Some(Adoption {
                release: "r".to_owned(),
                revision: 2,
                settled: false,
                originals: Some("ab".repeat(32)),
                as_found: None,
            }),
            ..HeldObject::from(object)
        }];
        unit
    }

    #[test]
    fn what_was_there_before_is_kept_as_long_as_it_is_named() {
        let mut records = Records::empty();
        records.put(adopting());
        assert_eq!(records.named_digests(), BTreeSet::from([[0xab; 32]]));
    }

    #[test]
    fn a_definition_that_drops_fields_is_noticed() {
        let unit = adopting();
        let units = BTreeMap::from([(unit.key.clone(), unit.clone())]);
        assert!(remembers(std::slice::from_ref(&unit), &units));
        let mut dropped = unit.clone();
        dropped.objects[0].adopted = None;
        assert!(!remembers(&[dropped], &units));
        let removing = SyncUnit {
            removing: true,
            ..unit.clone()
        };
        let units = BTreeMap::from([(unit.key.clone(), removing)]);
        assert!(!remembers(&[unit], &units));
    }
}
