//! Parting with what a unit holds.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bellwether_agent_core::{apply_order::apply_stage, ownership::is_let_go, pruning::is_pruned};
use bellwether_api::{
    bundle::Bundle,
    chart_hook::HookSide,
    reference::ObjectRef,
    status::{Severity, WaitReason},
    sync_record::{HeldObject, SyncUnit},
};
use serde_json::Value;

use super::{Pass, PassError, RunOf, Unit, adoption::some_of, memory, order::Opened, run_of, wait};
use crate::{
    clock::wall,
    desired::{ContentError, chain, readable},
    rollout,
    sync::{
        cluster::reference,
        events::{self, News},
        parting::{Fate, Terms, part_with},
    },
};

/// How long until an object that something holds is looked at again.
pub(super) const TERMINATING_PAUSE: Duration = Duration::from_secs(2);

/// What became of objects that are not wanted any more.
#[derive(Debug, Default)]
struct Parted {
    fates: Vec<(ObjectRef, Fate)>,
    /// The application goes as a whole.
    goes: bool,
}

impl Parted {
    fn objects(&self, is: impl Fn(Fate) -> bool) -> Vec<ObjectRef> {
        let objects = self.fates.iter().filter(|(_, fate)| is(*fate));
        objects.map(|(object, _)| object.clone()).collect()
    }

    fn names(&self, is: impl Fn(Fate) -> bool) -> Vec<String> {
        let objects = self.objects(is);
        objects.iter().map(ToString::to_string).collect()
    }

    fn going(&self) -> Vec<String> {
        self.names(|fate| fate == Fate::Going)
    }

    fn is_over(&self, held: &HeldObject) -> bool {
        let stays = |fate: Fate| fate == Fate::Going || fate == Fate::Protected && !self.goes;
        self.fates
            .iter()
            .any(|(object, fate)| !stays(*fate) && held.is(object))
    }

    /// What people are told of objects that stay.
    fn news(&self) -> Vec<News> {
        let about = |severity, reason, object: &ObjectRef, what: &str| News {
            severity,
            reason,
            object: Some(object.clone()),
            message: format!("{object} {what}"),
        };
        let orphans = self.names(|fate| fate == Fate::Orphaned);
        let orphaned = (!orphans.is_empty()).then(|| {
            let message = format!(
                "left as they are, as sync.deletion says, and not held any more: {}",
                some_of(&orphans)
            );
            News::info("Orphaned", message)
        });
        self.fates
            .iter()
            .filter_map(|(object, fate)| match fate {
                Fate::Gone | Fate::Going | Fate::Orphaned => None,
                // While the application stays, its status says so.
                Fate::Protected if !self.goes => None,
                Fate::Protected => Some(about(
                    Severity::Warn,
                    "Protected",
                    object,
                    "bears the annotation bellwether.dev/protect: it is not deleted, and not held any \
                     more",
                )),
                Fate::LetGo { restored: true } => Some(about(
                    Severity::Info,
                    "LetGo",
                    object,
                    "was there before it was taken over: it has what it had then, and stays",
                )),
                Fate::LetGo { restored: false } => Some(about(
                    Severity::Warn,
                    "LetGo",
                    object,
                    "was not made by a release: it stays as it is now",
                )),
                Fate::Kept => Some(about(
                    Severity::Info,
                    "Kept",
                    object,
                    "asks by helm.sh/resource-policy to be kept: it stays as it is now",
                )),
                Fate::LeftAlone => Some(about(
                    Severity::Warn,
                    "LeftAlone",
                    object,
                    "was made anew by somebody else: it is not touched",
                )),
            })
            .chain(orphaned)
            .collect()
    }
}

impl Unit {
    /// Deletes every object of a unit whose tombstone has come, and then lets in what was granted
    /// meanwhile.
    pub(super) async fn remove(&mut self, unit: &SyncUnit) -> Result<Pass, PassError> {
        if !unit.removing {
            self.remember(memory::removing).await?;
            return Ok(Pass::again());
        }
        self.read_granted(unit).await;
        self.keeper.forget();
        let objects: Vec<ObjectRef> = unit.objects.iter().map(HeldObject::object).collect();
        self.listen(super::interests(objects.iter()));
        let of = RunOf {
            run: uuid::Uuid::nil(),
            attempt: 0,
            alerts: &[],
        };
        if let Some(pass) = self.hooks_at_removal(of, unit, HookSide::Before).await? {
            return Ok(pass);
        }
        // Before a namespace that the release brought, which they would hold.
        self.remove_tracks_of([&unit.applied_digest, &unit.digest])
            .await?;
        let terms = Terms {
            next: None,
            deletion: unit.deletion,
        };
        let parted = self.part_with_all(&unit.objects, terms).await?;
        self.tell_parted(of, &parted, None).await?;
        let going = parted.going();
        if !going.is_empty() {
            return Ok(Pass {
                waiting_on: vec![removal_wait(&going, unit.digest.is_some())],
                wake_in: Some(TERMINATING_PAUSE),
                ..Pass::default()
            });
        }
        if let Some(pass) = self.hooks_at_removal(of, unit, HookSide::After).await? {
            return Ok(pass);
        }
        self.part_with_left(of, unit).await?;
        let news = News::info("Removed", "nothing is held any more");
        self.tell(of, news, memory::removed).await?;
        // The namespace may have gone too, and a track of the same name is another run's.
        self.namespace_known = None;
        self.tracks_removed = false;
        // The same content may come again, and begins anew.
        self.opened = Opened::default();
        self.bundles.clear();
        self.leaving.clear();
        self.listen(BTreeMap::new());
        Ok(Pass::again())
    }

    /// Removes the tracks of runs that are remembered as over.
    pub(super) async fn close_runs(&mut self) -> Result<(), PassError> {
        let runs = std::mem::take(&mut self.runs);
        self.counted_runs.set(0);
        // A track that cannot be removed now is one that was left.
        self.tracks_removed = false;
        for run in runs.values() {
            run.close(&self.poke).await?;
        }
        Ok(())
    }

    /// Removes tracks that a process left behind which died, or failed, between remembering that their runs are
    /// over and removing them: one that stays would hold its namespace.
    /// Those of what was granted may be of a run that went back. Looked for once in the life of a process, and
    /// after each run.
    pub(super) async fn remove_tracks_of(
        &mut self,
        bundles: [&Option<String>; 2],
    ) -> Result<(), PassError> {
        if self.tracks_removed {
            return Ok(());
        }
        for digest in bundles.into_iter().flatten() {
            let Some(bundle) = readable(self.bundle(digest).await)? else {
                continue;
            };
            for rollout in &bundle.rollouts {
                let client = self.shell.cluster.client();
                rollout::remove_left_track(client, &bundle, rollout).await?;
            }
        }
        self.tracks_removed = true;
        Ok(())
    }

    /// Parts with what the held bundle does not want; returns what is still on its way.
    /// What was adopted by a release that was taken back is let go of also where nothing is pruned.
    pub(super) async fn part_with_surplus(
        &mut self,
        unit: &SyncUnit,
        bundle: &Bundle,
        wanted: &BTreeSet<ObjectRef>,
    ) -> Result<Vec<String>, PassError> {
        let terms = Terms {
            next: Some(bundle),
            deletion: bundle.sync.deletion,
        };
        let (parts, stays): (Vec<HeldObject>, Vec<HeldObject>) = unit
            .objects
            .iter()
            .filter(|held| !wanted.contains(&held.object()))
            .cloned()
            .partition(|held| goes(held, bundle));
        self.surplus = stays.iter().map(HeldObject::object).collect();
        let parted = self.part_with_all(&parts, terms).await?;
        self.protected = parted.names(|fate| fate == Fate::Protected);
        let protected = parted.objects(|fate| fate == Fate::Protected);
        self.surplus.extend(protected);
        let gone = parted.names(|fate| fate == Fate::Gone);
        let pruned = (!gone.is_empty()).then(|| {
            let message = format!("deleted what the release lacks: {}", some_of(&gone));
            News::info("Pruned", message)
        });
        self.tell_parted(run_of(bundle), &parted, pruned).await?;
        Ok(parted.going())
    }

    /// Parts with objects, users of others first: routes go before Services, and Services before what
    /// serves them.
    async fn part_with_all(
        &self,
        objects: &[HeldObject],
        terms: Terms<'_>,
    ) -> Result<Parted, PassError> {
        let mut ordered: Vec<&HeldObject> = objects.iter().collect();
        ordered.sort_by_key(|held| Reverse(apply_stage(&held.kind)));
        let mut originals = BTreeMap::new();
        let mut parted = Parted {
            goes: terms.next.is_none(),
            ..Parted::default()
        };
        for held in ordered {
            let before = self
                .original(held, terms.revision(), &mut originals)
                .await?;
            let fate = part_with(&self.shell.cluster, held, terms, before.as_ref()).await?;
            parted.fates.push((held.object(), fate));
        }
        Ok(parted)
    }

    /// An object that is let go of, as it was before it was adopted; absent = it is not known.
    async fn original(
        &self,
        held: &HeldObject,
        next: Option<u64>,
        read: &mut BTreeMap<String, Vec<Value>>,
    ) -> Result<Option<Value>, PassError> {
        let digest = held
            .adopted
            .as_ref()
            .and_then(|adoption| adoption.originals.as_ref())
            .filter(|_| is_let_go(held, next));
        let Some(digest) = digest else {
            return Ok(None);
        };
        if !read.contains_key(digest) {
            match self.shell.desired.originals(digest).await {
                Ok(originals) => {
                    read.insert(digest.clone(), originals);
                }
                // It may be readable the next time.
                Err(error @ ContentError::Kube(_)) => return Err(error.into()),
                Err(error) => {
                    tracing::warn!(unit.key = self.key, error = %chain(&error), "what was there before is lost");
                }
            }
        }
        let all = read.get(digest).into_iter().flatten();
        let mut same = all.filter(|one| reference(one).is_some_and(|object| held.is(&object)));
        Ok(same.next().cloned())
    }

    /// Forgets objects that are gone or stay behind, and says so.
    async fn tell_parted(
        &self,
        of: RunOf<'_>,
        parted: &Parted,
        more: Option<News>,
    ) -> Result<(), PassError> {
        let mut all = parted.news();
        all.extend(more);
        for news in &all {
            tracing::info!(
                unit.key = self.key,
                reason = news.reason,
                "{}",
                news.message
            );
        }
        let at = wall();
        self.remember(|unit| {
            unit.objects.retain(|held| !parted.is_over(held));
            for news in &all {
                events::push(unit, of, at, news);
            }
        })
        .await?;
        Ok(())
    }
}

/// Tells whether a bundle parts with what it does not want.
fn goes(held: &HeldObject, bundle: &Bundle) -> bool {
    is_pruned(held, bundle) || is_let_go(held, Some(bundle.revision))
}

/// Tells whether there is something that a bundle parts with.
pub(super) fn has_surplus(unit: &SyncUnit, bundle: &Bundle, wanted: &BTreeSet<ObjectRef>) -> bool {
    let surplus = |held: &HeldObject| !wanted.contains(&held.object()) && goes(held, bundle);
    unit.objects.iter().any(surplus)
}

fn removal_wait(going: &[String], granted: bool) -> WaitReason {
    let next = if granted {
        "; the release that is granted is installed after that"
    } else {
        ""
    };
    let message = format!(
        "{} objects are still there: {}{next}",
        going.len(),
        some_of(going)
    );
    wait("ObjectsTerminating", message)
}
