//! Objects that were there before us: recorded as such before anything is written to them.

use std::collections::BTreeSet;

use bellwether_agent_core::{
    config_stamp::{self, AsFound, keeps_pods},
    ownership::{ReleaseRef, is_held},
};
use bellwether_api::{
    bundle::Bundle,
    reference::ObjectRef,
    status::Severity,
    sync_record::{HeldObject, SyncUnit},
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;

use super::{PassError, Unit, memory, run_of};
use crate::{
    clock::wall,
    desired::{CommitBlob, MAX_PACKED_BYTES, digest_of, pack},
    rollout::{self, Used},
    sync::{
        cluster::{SYNC_MANAGER, reference},
        events::{self, News},
        keep::{Care, Wanted},
    },
};

/// Objects that are looked at, at once.
const LOOKED_AT_ONCE: usize = 8;
/// Objects that are named in one event.
pub(super) const MAX_NAMED: usize = 10;

/// Why objects cannot be taken over.
#[derive(Debug, thiserror::Error)]
pub enum OriginalsError {
    /// They could not be written down.
    #[error("failed to write down what was there before")]
    Json(#[from] serde_json::Error),
    /// They could not be packed.
    #[error("failed to pack what was there before")]
    Pack(#[from] std::io::Error),
    /// They are too many to be given back what they had.
    #[error(
        "failed to take over {count} objects that exist already: what they had is {packed_bytes} \
         bytes when packed, and at most {MAX_PACKED_BYTES} can be kept to give it back; take them \
         over by smaller releases"
    )]
    TooLarge {
        /// How many objects.
        count: usize,
        /// Their size.
        packed_bytes: usize,
    },
}

impl Unit {
    /// The governed workloads that a bundle finds there, with pods of which nobody is to be restarted, beside
    /// those that were found before.
    pub(super) async fn find_workloads(
        &self,
        unit: &SyncUnit,
        bundle: &Bundle,
    ) -> Result<AsFound, PassError> {
        let mut found = AsFound::of(unit);
        for used in rollout::using_configuration(bundle) {
            let is_ours = |held: &HeldObject| held.is(&used.workload) && held.uid.is_some();
            if unit.objects.iter().any(is_ours) {
                continue;
            }
            let live = self.shell.cluster.get(&used.workload).await?;
            if live.as_ref().is_some_and(config_stamp::has_none) {
                found.add(used.workload, used.digest);
            }
        }
        Ok(found)
    }

    /// Records that a release takes over objects which are there already, and what they are like. Workloads
    /// of `found` keep their pods where all that they use is `unchanged`.
    pub(super) async fn adopt(
        &self,
        bundle: &Bundle,
        live: &[Value],
        found: &AsFound,
        unchanged: &BTreeSet<ObjectRef>,
    ) -> Result<(), PassError> {
        if live.is_empty() {
            return Ok(());
        }
        let kept = keeping_pods(bundle, live, found, unchanged);
        let originals = pack_originals(live)?;
        let digest = hex::encode(originals.digest);
        let names: Vec<String> = live.iter().filter_map(reference).map(shown).collect();
        let news = News::info(
            "Adopted",
            format!("took over what was there already: {}", some_of(&names)),
        );
        let (of, at) = (run_of(bundle), wall());
        self.shell
            .desired
            .update_naming(&self.key, &originals, |unit| {
                memory::adopt(unit, live, release_of(bundle), &digest);
                memory::keep_pods(unit, &kept);
                events::push(unit, of, at, &news);
            })
            .await?;
        Ok(())
    }

    /// Adopts what has come since the bundle was admitted: an object that this agent never wrote to
    /// and somebody else has made meanwhile.
    pub(super) async fn adopt_late(
        &self,
        bundle: &Bundle,
        wanted: &[Wanted],
    ) -> Result<(), PassError> {
        let Some(unit) = self.shell.desired.unit(&self.key) else {
            return Ok(());
        };
        let unknown = unknown(&unit, wanted);
        let looks = unknown.iter().map(|held| async move {
            let live = self.shell.cluster.get(&held.object()).await?;
            Ok::<_, PassError>(live.filter(|live| !is_held(held, live, SYNC_MANAGER)))
        });
        let looks: Vec<_> = looks.collect();
        let foreign: Vec<Option<Value>> = stream::iter(looks)
            .buffered(LOOKED_AT_ONCE)
            .try_collect()
            .await?;
        let foreign: Vec<Value> = foreign.into_iter().flatten().collect();
        let (found, unchanged) = (AsFound::default(), BTreeSet::new());
        self.adopt(bundle, &foreign, &found, &unchanged).await
    }

    /// Records the uids of what was written.
    pub(super) async fn record_written(&mut self, bundle: &Bundle) -> Result<(), PassError> {
        let written = self.keeper.written();
        let Some(mut unit) = self.shell.desired.unit(&self.key) else {
            return Ok(());
        };
        let before = unit.objects.clone();
        let release = release_of(bundle);
        memory::note_written(&mut unit, written, release);
        if unit.objects != before {
            let (of, at) = (run_of(bundle), wall());
            self.remember(|unit| {
                for object in memory::note_written(unit, written, release) {
                    let message = format!(
                        "{object} was made anew by somebody else; it is held, and not deleted \
                         while no release with it has run"
                    );
                    let news = News {
                        severity: Severity::Warn,
                        reason: "Adopted",
                        object: Some(object),
                        message,
                    };
                    events::push(unit, of, at, &news);
                }
            })
            .await?;
        }
        self.keeper.recorded();
        Ok(())
    }
}

/// The workloads among `live` whose pods stay, with the digest with which they are taken over.
fn keeping_pods(
    bundle: &Bundle,
    live: &[Value],
    found: &AsFound,
    unchanged: &BTreeSet<ObjectRef>,
) -> Vec<(ObjectRef, String)> {
    let adopted: BTreeSet<ObjectRef> = live.iter().filter_map(reference).collect();
    let stays = |used: &Used| {
        adopted.contains(&used.workload)
            && found.digest(&used.workload) == Some(&used.digest)
            && keeps_pods(&used.configuration, unchanged)
    };
    rollout::using_configuration(bundle)
        .into_iter()
        .filter(stays)
        .map(|used| (used.workload, used.digest))
        .collect()
}

/// Records of wanted objects that nothing was written to yet, as far as is known.
fn unknown(unit: &SyncUnit, wanted: &[Wanted]) -> Vec<HeldObject> {
    let known: BTreeSet<ObjectRef> = unit
        .objects
        .iter()
        .filter(|held| held.uid.is_some())
        .map(HeldObject::object)
        .collect();
    wanted
        .iter()
        .filter(|want| want.care != Care::Frozen && !known.contains(&want.target))
        .map(|want| HeldObject::from(want.target.clone()))
        .collect()
}

fn release_of(bundle: &Bundle) -> ReleaseRef<'_> {
    ReleaseRef {
        release: &bundle.release,
        revision: bundle.revision,
    }
}

/// Packs objects as they are now, without their status, which nobody can give back.
pub(super) fn pack_originals(live: &[Value]) -> Result<CommitBlob, OriginalsError> {
    let mut originals = live.to_vec();
    for fields in originals.iter_mut().filter_map(Value::as_object_mut) {
        fields.remove("status");
    }
    let content = serde_json::to_vec(&originals)?;
    let zstd = pack(&content)?;
    if zstd.len() > MAX_PACKED_BYTES {
        return Err(OriginalsError::TooLarge {
            count: live.len(),
            packed_bytes: zstd.len(),
        });
    }
    Ok(CommitBlob {
        digest: digest_of(&content),
        zstd,
    })
}

fn shown(object: ObjectRef) -> String {
    object.to_string()
}

/// The first names, and how many more there are.
pub(super) fn some_of(names: &[String]) -> String {
    let mut text = names[..names.len().min(MAX_NAMED)].join(", ");
    if names.len() > MAX_NAMED {
        text.push_str(&format!(" and {} more", names.len() - MAX_NAMED));
    }
    text
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde_json::json;

    use super::*;

    fn config_map(name: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "status": {"x": 1},
            "metadata": {"name": name, "namespace": "shop", "uid": name}})
    }

    #[test]
    fn objects_are_kept_as_they_were_without_status() {
        let packed = pack_originals(&[config_map("a")]).unwrap();
        let content = zstd::stream::decode_all(packed.zstd.as_slice()).unwrap();
        assert_eq!(digest_of(&content), packed.digest);
        let kept: Vec<Value> = serde_json::from_slice(&content).unwrap();
        assert_eq!(kept[0]["metadata"]["uid"], "a");
        assert!(kept[0].get("status").is_none());
    }

    #[test]
    fn only_workloads_that_are_taken_over_with_what_they_use_keep_their_pods() {
        let bundle: Bundle = serde_json::from_value(json!({
            "application": {"namespace": "default", "name": "shop"},
            "release": "r", "revision": 1, "run": uuid::Uuid::nil(), "attempt": 1,
            "mode": "Plain", "targetNamespace": "shop", "createNamespace": true,
            "components": [{"name": "web", "objects": [
                {"apiVersion": "apps/v1", "kind": "Deployment",
                 "metadata": {"name": "web", "namespace": "shop"},
                 "spec": {"template": {"spec": {"containers": [{"name": "web",
                     "envFrom": [{"configMapRef": {"name": "env"}}]}]}}}},
                config_map("env"), config_map("unused"),
            ]}],
            "rollouts": [{"name": "shop-web", "spec": {
                "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                "strategy": {"canary": {"stepWeight": 50}},
            }}],
            "sync": {}, "metrics": null,
        }))
        .unwrap();
        let live = bundle.components[0].objects.clone();
        let names: Vec<ObjectRef> = live.iter().filter_map(reference).collect();
        let used = rollout::using_configuration(&bundle).remove(0);
        let found = |digest: &str| {
            let mut found = AsFound::default();
            found.add(used.workload.clone(), digest.to_owned());
            found
        };
        let (right, other) = (found(&used.digest), found("another"));
        for (live, found, unchanged, stays) in [
            (&live[..], &right, &names[1..2], true),
            (&live, &right, &names[..], true),
            (&live, &right, &names[2..], false),
            (&live, &right, &[], false),
            (&live[1..], &right, &names[1..2], false),
            (&live, &other, &names[1..2], false),
            (&live, &AsFound::default(), &names[1..2], false),
        ] {
            let unchanged = unchanged.iter().cloned().collect();
            let keeping = keeping_pods(&bundle, live, found, &unchanged);
            let expected = stays.then(|| (used.workload.clone(), used.digest.clone()));
            assert_eq!(keeping, Vec::from_iter(expected), "{unchanged:?}");
        }
    }

    #[test]
    fn more_than_can_be_kept_is_not_taken_over() {
        let mut large = config_map("a");
        let mut state = 1_u64;
        let noise: String = (0..2 * MAX_PACKED_BYTES)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                char::from(b' ' + u8::try_from((state >> 33) % 90).unwrap())
            })
            .collect();
        large["data"] = json!({"noise": noise});
        let error = pack_originals(&[large]).unwrap_err();
        assert!(
            matches!(error, OriginalsError::TooLarge { count: 1, .. }),
            "{error}"
        );
    }

    #[test]
    fn only_objects_that_were_never_written_are_looked_at() {
        let wanted = |name| Wanted::new(config_map(name)).unwrap();
        let mut unit: SyncUnit = serde_json::from_value(json!({
            "key": "application/default/shop", "generation": 1, "digest": "d",
            "objects": [
                {"apiVersion": "v1", "kind": "ConfigMap", "namespace": "shop", "name": "known", "uid": "u"},
                {"apiVersion": "v1", "kind": "ConfigMap", "namespace": "shop", "name": "new"},
            ],
        }))
        .unwrap();
        let mut frozen = wanted("frozen");
        frozen.care = Care::Frozen;
        let all = [wanted("known"), wanted("new"), wanted("unrecorded"), frozen];
        let names = |unit: &SyncUnit| -> Vec<String> {
            unknown(unit, &all)
                .into_iter()
                .map(|held| held.name)
                .collect()
        };
        assert_eq!(names(&unit), ["new", "unrecorded"]);
        unit.objects.clear();
        assert_eq!(names(&unit), ["known", "new", "unrecorded"]);
    }
}
