//! What the runs of a bundle want the cluster to hold.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bellwether_api::{application::DriftPolicy, bundle::Bundle, reference::ObjectRef};
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    desired::chain,
    rollout::{self, Reading, Run, Versions},
    sync::{
        keep::{CONVERSION_PAUSE, Care, FirstLook, Kept, Wanted},
        unit::{PassError, Unit, interests, targets},
        watch::Dirty,
    },
};

/// Objects that are named of those that were not taken.
const MAX_NAMED: usize = 5;

/// What the runs want of the user's objects, as it was held last.
pub(in crate::sync::unit) struct Laid {
    /// Digests of the bundles that the runs bring in and began from.
    pub(super) of: [String; 2],
    pub(super) wanted: Vec<Wanted>,
    pub(super) targets: BTreeSet<ObjectRef>,
    /// Those that the cluster has as they are wanted.
    pub(super) applied: BTreeSet<ObjectRef>,
    /// Nothing of it was refused.
    pub(super) held: bool,
    /// Those that the cluster has not taken, and what it says; empty = none.
    pub(super) untaken: String,
    /// When it is held anew although nothing says that it changed; absent = never.
    look_at: Option<Instant>,
    /// Whatever a Service may select besides is listened to.
    neighbours: bool,
}

impl Laid {
    /// Whether the cluster took all of it.
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// The objects.
    pub fn wanted(&self) -> &[Wanted] {
        &self.wanted
    }

    /// How long until it is held anew although nothing says that it changed; absent = never.
    pub(super) fn look_in(&self) -> Option<Duration> {
        let now = Instant::now();
        self.look_at.map(|at| at.saturating_duration_since(now))
    }
}

impl Unit {
    /// Tells every run what has changed, so that only those decide whom it concerns.
    pub(super) async fn note_changes(&mut self) -> Result<(), PassError> {
        let dirty = &self.dirty;
        if dirty.is_empty() {
            return Ok(());
        }
        // Which runs a Service concerns is in its selector, which no watch of names tells.
        let services: BTreeSet<&String> = dirty
            .objects
            .iter()
            .filter(|object| object.kind == "Service" && object.api_version == "v1")
            .filter(|object| {
                let change = dirty.changes.get(*object);
                change.is_none_or(|change| change.of.is_none())
            })
            .filter_map(|object| object.namespace.as_ref())
            .collect();
        let cluster = Arc::clone(&self.shell.cluster);
        let reading = Reading::new(&cluster);
        for run in self.runs.values_mut() {
            let namespace = &run.scene.namespace;
            let all: Option<Arc<Vec<Value>>> = match services.get(namespace) {
                Some(_) => Some(reading.list("v1", "Service", namespace).await?),
                None => None,
            };
            run.note(dirty, all.as_ref().map(|all| all.as_slice()));
        }
        Ok(())
    }

    /// Makes the cluster hold what the runs want, unless it does and nothing says otherwise. Gives what
    /// was refused.
    pub(super) async fn hold_runs(
        &mut self,
        versions: &Versions,
        of: [String; 2],
    ) -> Result<Result<(), PassError>, PassError> {
        if self.is_held() {
            self.dirty = Dirty::default();
            return Ok(Ok(()));
        }
        let last = self.laid.take();
        let was_refused = last.as_ref().is_some_and(|laid| !laid.held);
        let wanted = match last {
            Some(laid) => laid.wanted,
            None => self.run_objects(versions).await?,
        };
        let held = self.hold_run_objects(versions, &wanted).await;
        if was_refused && held.is_ok() {
            // Any of them may have waited for what was refused.
            self.runs.values_mut().for_each(Run::mark_due);
        }
        let applied = wanted.iter().filter(|want| self.keeper.holds(want));
        let applied: BTreeSet<ObjectRef> = applied.map(|want| want.target.clone()).collect();
        let look_in = held.as_ref().ok().copied().flatten();
        self.laid = Some(Laid {
            of,
            targets: targets(&wanted),
            untaken: held
                .as_ref()
                .map_or_else(|error| untaken(&wanted, &applied, error), |_| String::new()),
            look_at: look_in.map(|wait| Instant::now() + wait),
            applied,
            wanted,
            held: held.is_ok(),
            neighbours: self.runs.values().any(Run::waits_on_neighbours),
        });
        Ok(held.map(|_| ()))
    }

    fn is_held(&self) -> bool {
        let Some(laid) = self.laid.as_ref().filter(|laid| laid.held) else {
            return false;
        };
        let concerns = |object: &ObjectRef| {
            laid.targets.contains(object) || self.runs.values().any(|run| run.is_named(object))
        };
        let is_due = laid.look_in().is_some_and(|wait| wait.is_zero());
        !is_due && !self.dirty.all && !self.dirty.objects.iter().any(concerns)
    }

    /// Listens to whatever a Service may select besides, as long as a run waits for it to go.
    pub(super) fn listen_to_neighbours(&mut self) {
        let neighbours = self.runs.values().any(Run::waits_on_neighbours);
        let Some(laid) = &mut self.laid else { return };
        if std::mem::replace(&mut laid.neighbours, neighbours) != neighbours {
            let targets = laid.targets.clone();
            self.listen_with_runs(targets.iter());
        }
    }

    /// Listens to objects, and to whatever wakes the runs.
    pub(in crate::sync::unit) fn listen_with_runs<'a>(
        &self,
        targets: impl Iterator<Item = &'a ObjectRef>,
    ) {
        let mut listened = interests(targets);
        for (key, wants) in self.runs.values().flat_map(Run::interests) {
            let wants = match listened.remove(&key) {
                Some(known) => known.or(wants),
                None => wants,
            };
            listened.insert(key, wants);
        }
        self.listen(listened);
    }

    /// What the runs want the user's objects to look like.
    pub(super) async fn run_objects(
        &mut self,
        versions: &Versions,
    ) -> Result<Vec<Wanted>, PassError> {
        let (base, other) = self.base_of_runs(versions);
        let mut wanted = self.wanted(base).await?;
        if !self.runs_go_back() {
            // Deletions wait for the promotion: what only the old release has is held as it was.
            let named = targets(&wanted);
            let kept = self.wanted(other).await?;
            wanted.extend(
                kept.into_iter()
                    .filter(|want| !named.contains(&want.target)),
            );
            rollout::hold_config(self.runs.values(), &mut wanted);
            self.hold_order(&versions.new, &mut wanted);
        }
        for run in self.runs.values() {
            rollout::overlaid(run, versions, &mut wanted);
        }
        Ok(wanted)
    }

    fn runs_go_back(&self) -> bool {
        self.runs.values().any(Run::goes_back)
    }

    /// The release whose objects are held, and the other one.
    fn base_of_runs<'a>(&self, versions: &'a Versions) -> (&'a Arc<Bundle>, &'a Arc<Bundle>) {
        if self.runs_go_back() {
            (&versions.old, &versions.new)
        } else {
            (&versions.new, &versions.old)
        }
    }

    /// Applies what the runs want the cluster to look like, canaries included. Gives when to look again
    /// although nothing says that anything changed; absent = never.
    pub(super) async fn hold_run_objects(
        &mut self,
        versions: &Versions,
        wanted: &[Wanted],
    ) -> Result<Option<Duration>, PassError> {
        let drift = versions.new.sync.drift;
        let policy = if drift == DriftPolicy::Correct {
            drift
        } else {
            DriftPolicy::Off
        };
        let bundle = Arc::clone(self.base_of_runs(versions).0);
        let dirty = self.dirty.clone();
        // A route that names what could not be made would lose requests; the others go on.
        let mut refused = None;
        let mut held_back = BTreeSet::new();
        for run in self.runs.values_mut() {
            let held = run
                .hold_own_routes(&self.shell.cluster, versions, &dirty)
                .await;
            if let Err(error) = held {
                held_back.extend(run.scene.routes.iter().map(|route| route.target.clone()));
                refused.get_or_insert(error);
            }
        }
        let wanted = but_frozen(wanted, &held_back);
        let wanted = routes_first(wanted, self.runs.values());
        self.keeper.set_goes_back(self.runs_go_back());
        let kept = match self.keep(&bundle, &wanted, policy, FirstLook::Apply).await {
            // What was to be adopted, or is as it was applied last: it is looked at once it can be read.
            Err(PassError::Cluster(error))
                if error.is_conversion()
                    && self.runs_go_back()
                    && self.holds_cared_for(&wanted) =>
            {
                Kept {
                    look_in: Some(CONVERSION_PAUSE),
                    ..Kept::default()
                }
            }
            kept => kept?,
        };
        if !kept.corrected.is_empty() {
            self.tell_drift(&bundle, &kept.corrected).await?;
        }
        for run in self.runs.values_mut() {
            run.hold_canary(&self.shell.cluster, versions, &dirty)
                .await?;
        }
        refused.map_or(Ok(kept.look_in), |error| Err(error.into()))
    }

    /// Tells whether the cluster took what runs look after, workloads and routes, as it is wanted.
    fn holds_cared_for(&self, wanted: &[Wanted]) -> bool {
        let mut cared_for = wanted.iter().filter(|want| want.care == Care::Run);
        cared_for.all(|want| self.keeper.holds(want))
    }

    /// By rollout, those that test configuration which it changes too and do not promote yet.
    pub(super) fn config_holders(&self) -> BTreeMap<String, Vec<String>> {
        if self.runs.values().all(|run| run.scene.config.is_empty()) {
            return BTreeMap::new();
        }
        let holders = |run: &Run| {
            let others = self.runs.iter().filter(|(name, other)| {
                **name != run.rollout.name && !other.promotes() && run.shares_config_with(other)
            });
            others.map(|(name, _)| name.clone()).collect()
        };
        let all = self.runs.iter();
        all.map(|(name, run)| (name.clone(), holders(run)))
            .collect()
    }
}

/// Which objects the cluster has not taken, and why; empty = it has all of them.
fn untaken(wanted: &[Wanted], applied: &BTreeSet<ObjectRef>, error: &PassError) -> String {
    let is_missing = |want: &&Wanted| want.care != Care::Frozen && !applied.contains(&want.target);
    let missing = wanted.iter().filter(is_missing);
    let mut names: Vec<String> = missing.map(|want| want.target.to_string()).collect();
    if names.is_empty() {
        return String::new();
    }
    let more = names.len().saturating_sub(MAX_NAMED);
    names.truncate(MAX_NAMED);
    if more > 0 {
        names.push(format!("{more} more"));
    }
    format!(
        "the API server has not taken {}: {}",
        names.join(", "),
        chain(error)
    )
}

/// Puts the routes of runs that go back before everything else: whatever the API server is too busy for,
/// refuses or does not answer keeps no requests at a version that failed. What is wanted of a route
/// depends on nothing else that is written.
fn routes_first<'a, 'r>(
    wanted: Cow<'a, [Wanted]>,
    runs: impl Iterator<Item = &'r Run>,
) -> Cow<'a, [Wanted]> {
    let returning = runs.filter(|run| run.goes_back());
    let routes: Vec<_> = returning.flat_map(|run| &run.scene.routes).collect();
    if routes.is_empty() {
        return wanted;
    }
    let mut wanted = wanted.into_owned();
    wanted.sort_by_key(|want| !routes.iter().any(|route| route.is(&want.object)));
    Cow::Owned(wanted)
}

/// What is wanted, with nothing written of the objects that are held back.
fn but_frozen<'a>(wanted: &'a [Wanted], held_back: &BTreeSet<ObjectRef>) -> Cow<'a, [Wanted]> {
    if held_back.is_empty() {
        return Cow::Borrowed(wanted);
    }
    let freeze = |want: &Wanted| Wanted {
        care: if held_back.contains(&want.target) {
            Care::Frozen
        } else {
            want.care
        },
        ..want.clone()
    };
    wanted.iter().map(freeze).collect()
}
