//! What others had changed of the release that runs: kept when another one comes in, and brought
//! back with the release.

use std::collections::BTreeSet;

use bellwether_agent_core::{
    ignored::Ignored,
    live_state::{LiveState, live_state},
};
use bellwether_api::{
    application::DriftPolicy,
    bundle::Bundle,
    status::Severity,
    sync_policy::IgnoreRule,
    sync_record::{KeptLiveState, SyncUnit},
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;

use super::{
    PassError, Unit,
    adoption::{OriginalsError, pack_originals, some_of},
    memory, run_of,
};
use crate::{
    clock::wall,
    desired::{CommitBlob, ContentError, chain},
    sync::{
        cluster::reference,
        events::{self, News},
    },
};

/// Objects that are looked at, at once.
const LOOKED_AT_ONCE: usize = 8;
/// Fields that are named.
const MAX_FIELDS: usize = 20;

impl Unit {
    /// Keeps what others changed of the bundle that runs, before `next` writes over it. Under
    /// `drift: Correct` nothing of that kind lasts, so that only what was brought back is kept on.
    pub(super) async fn keep_live_state(
        &mut self,
        applied: &str,
        next: &Bundle,
    ) -> Result<(), PassError> {
        let written = self.shell.desired.bundle(applied).await?;
        let held = self.bundle(applied).await?;
        let unit = self.shell.desired.unit(&self.key);
        let known = unit.as_ref().and_then(|unit| {
            let mut known = unit.live_states.iter();
            known.find(|one| one.release == written.release)
        });
        let looks = held.components.iter().flat_map(|component| {
            let own = component.sync.as_ref().and_then(|sync| sync.drift);
            let drift = own.unwrap_or(written.sync.drift);
            let (objects, ignored) = (component.objects.iter(), written.ignored_of(component));
            objects.map(move |object| (object, drift, ignored))
        });
        let looks: Vec<_> = looks
            .map(|(object, drift, ignored)| self.changed(object, drift, ignored))
            .collect();
        let looked: Vec<Option<LiveState>> = stream::iter(looks)
            .buffered(LOOKED_AT_ONCE)
            .try_collect()
            .await?;
        let (changed, fields) = differing(&written, &held, looked, known);
        let kept = match kept(applied, &written, &changed, fields) {
            Ok(kept) => kept,
            Err(error) => {
                let why = format!("a rollback will not bring back what others changed: {error}");
                let news = News {
                    severity: Severity::Warn,
                    ..News::info("LiveStateNotKept", why)
                };
                self.tell(run_of(next), news, |_| {}).await?;
                None
            }
        };
        if known == kept.as_ref().map(|(kept, _)| kept) {
            return Ok(());
        }
        self.remember_live_state(&written, next, kept).await?;
        // It is another one with what was kept.
        self.bundles.remove(applied);
        Ok(())
    }

    async fn remember_live_state(
        &self,
        written: &Bundle,
        next: &Bundle,
        kept: Option<(KeptLiveState, CommitBlob)>,
    ) -> Result<(), PassError> {
        let release = &written.release;
        let Some((kept, content)) = kept else {
            self.remember(|unit| memory::keep_live_state(unit, release, None))
                .await?;
            return Ok(());
        };
        let message = format!(
            "before revision {} came in, others had changed what revision {} says: {}; a rollback \
             to it brings that back",
            next.revision,
            written.revision,
            some_of(&kept.fields)
        );
        let news = News {
            severity: Severity::Warn,
            ..News::info("LiveStateKept", message)
        };
        let (of, at) = (run_of(next), wall());
        self.shell
            .desired
            .update_naming(&self.key, &content, |unit| {
                memory::keep_live_state(unit, release, Some(&kept));
                events::push(unit, of, at, &news);
            })
            .await?;
        Ok(())
    }

    /// What others changed of an object; `None` = nothing that is kept.
    async fn changed(
        &self,
        object: &Value,
        drift: DriftPolicy,
        ignored: &[IgnoreRule],
    ) -> Result<Option<LiveState>, PassError> {
        // What a Secret holds stays where it is.
        let Some(target) = reference(object)
            .filter(|target| drift != DriftPolicy::Correct && target.kind != "Secret")
        else {
            return Ok(None);
        };
        let Some(live) = self.shell.cluster.get(&target).await? else {
            return Ok(None);
        };
        let has_size = object.pointer("/spec/replicas").is_some();
        let sized_by_others = has_size && self.shell.cluster.is_autoscaled(&target).await?;
        let ignored = Ignored::of(ignored, object);
        // What is left to others is nobody's change.
        let object = ignored.with_live(object, &live);
        Ok(live_state(&object, &live, sized_by_others))
    }

    /// Puts what was kept of a release back into the bundle that brings it.
    pub(super) async fn bring_back(
        &self,
        digest: &str,
        bundle: &mut Bundle,
    ) -> Result<(), ContentError> {
        let Some(unit) = self.shell.desired.unit(&self.key) else {
            return Ok(());
        };
        let Some(kept) = memory::live_state_of(&unit, digest, bundle) else {
            return Ok(());
        };
        match self.shell.desired.originals(&kept.objects).await {
            Ok(objects) => replace(bundle, &objects),
            // It may be readable the next time.
            Err(error @ ContentError::Kube(_)) => return Err(error),
            Err(error) => {
                tracing::warn!(
                    unit.key = self.key, error = %chain(&error), "what others had changed is lost"
                );
            }
        }
        Ok(())
    }

    /// Says that what runs is not what its release says, and where.
    pub(super) fn brought_back(&self, unit: &SyncUnit) -> Option<String> {
        let applied = unit.applied_digest.as_ref()?;
        let kept = memory::live_state_of(unit, applied, self.bundles.get(applied)?)?;
        Some(format!(
            "others had changed what this release says, and that is kept: {}",
            some_of(&kept.fields)
        ))
    }
}

fn objects(bundle: &Bundle) -> impl Iterator<Item = &Value> {
    bundle
        .components
        .iter()
        .flat_map(|component| &component.objects)
}

/// The objects that are not as `written`, because others changed them now or because of what is
/// `known` of before, which `held` has; and their fields.
fn differing(
    written: &Bundle,
    held: &Bundle,
    looked: Vec<Option<LiveState>>,
    known: Option<&KeptLiveState>,
) -> (Vec<Value>, BTreeSet<String>) {
    let mut changed = Vec::new();
    let mut fields = BTreeSet::new();
    for ((written, held), state) in objects(written).zip(objects(held)).zip(looked) {
        let was_brought_back = held != written;
        if was_brought_back {
            fields.extend(known.into_iter().flat_map(|known| known.fields.clone()));
        }
        if let Some(state) = state {
            let at = reference(written).map(|object| object.to_string());
            let at = at.unwrap_or_default();
            fields.extend(state.fields.iter().map(|field| format!("{at} {field}")));
            changed.push(state.object);
        } else if was_brought_back {
            changed.push(held.clone());
        }
    }
    (changed, fields)
}

/// What is to be kept, and its content; `None` = there is nothing.
fn kept(
    applied: &str,
    written: &Bundle,
    changed: &[Value],
    fields: BTreeSet<String>,
) -> Result<Option<(KeptLiveState, CommitBlob)>, OriginalsError> {
    if changed.is_empty() {
        return Ok(None);
    }
    let content = pack_originals(changed)?;
    let kept = KeptLiveState {
        release: written.release.clone(),
        bundle: applied.to_owned(),
        objects: hex::encode(content.digest),
        fields: fields.into_iter().take(MAX_FIELDS).collect(),
    };
    Ok(Some((kept, content)))
}

/// Puts objects into the place of those of the same names.
fn replace(bundle: &mut Bundle, objects: &[Value]) {
    let all = bundle.components.iter_mut();
    for object in all.flat_map(|component| &mut component.objects) {
        let Some(target) = reference(object) else {
            continue;
        };
        let mut same = objects.iter();
        if let Some(kept) = same.find(|kept| reference(kept).as_ref() == Some(&target)) {
            object.clone_from(kept);
        }
    }
}
