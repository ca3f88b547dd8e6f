//! One application: a task that works towards its goal and says how far it is.

mod adopted;
mod adoption;
mod begin;
mod chart_hooks;
mod kept;
mod lane;
mod live_state;
mod memory;
mod order;
mod plain;
mod removal;
mod run;
mod sources;
mod status;
mod stuck;
mod wanted;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bellwether_api::{
    bundle::{Bundle, UnitKey},
    reference::{NamespacedName, ObjectRef},
    status::WaitReason,
    sync_record::SyncUnit,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) use adopted::is_known as was_seen_standing;

use adopted::Adopted;
use adoption::OriginalsError;

use super::{
    cluster::{ClusterError, SYNC_MANAGER},
    events::{self, News, RunOf},
    goal::{Goal, goal},
    keep::{Keeper, Wanted},
    shell::{FULL_PASS, Shell},
    watch::{Dirty, Poke, Wants, WatchKey},
};
use crate::{
    clock::wall,
    desired::{ContentError, StoreError},
    rollout::{Notes, Run, RunError},
    telemetry::Share,
};

/// Longest pause after a pass that failed.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// Why a pass did not come to its end; it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// The API server refused or did not answer.
    #[error("failed to work on the objects")]
    Cluster(#[from] ClusterError),
    /// What is remembered could not be written.
    #[error("failed to remember how far it is")]
    Store(#[from] StoreError),
    /// A bundle is not at hand.
    #[error("failed to read a bundle")]
    Content(#[from] ContentError),
    /// A run could not be driven.
    #[error("failed to drive a run")]
    Run(#[from] RunError),
    /// What was there before could not be kept.
    #[error("failed to take over what was there before")]
    Originals(#[from] OriginalsError),
}

impl PassError {
    /// Tells whether the API server said that the agent may not.
    fn is_forbidden(&self) -> bool {
        let (Self::Cluster(error) | Self::Run(RunError::Cluster(error))) = self else {
            return false;
        };
        error.lacks_rights()
    }
}

/// How a pass ended.
#[derive(Debug, Default)]
struct Pass {
    /// There is more to do at once.
    again: bool,
    /// When to look again although nothing woke the unit; absent = at the next full pass.
    wake_in: Option<Duration>,
    /// What is waited for.
    waiting_on: Vec<WaitReason>,
}

impl Pass {
    const fn again() -> Self {
        Self {
            again: true,
            wake_in: None,
            waiting_on: Vec::new(),
        }
    }
}

/// The task of one application, or of one Rollout of a workload that somebody else delivers.
pub struct Unit {
    shell: Arc<Shell>,
    key: String,
    /// What is known of a workload that somebody else delivers; absent = the unit is an application.
    adopted: Option<Adopted>,
    /// The application; of a Rollout without one the Rollout itself.
    application: NamespacedName,
    poke: Arc<Poke>,
    keeper: Keeper,
    bundles: BTreeMap<String, Arc<Bundle>>,
    runs: BTreeMap<String, Run>,
    /// What the runs want, as it was held last; absent = it is to be worked out anew.
    laid: Option<run::Laid>,
    opened: order::Opened,
    notes: Arc<Notes>,
    counted_runs: Share,
    dirty: Dirty,
    full_pass_at: Instant,
    plain_since: Option<Instant>,
    waiting_on: Vec<WaitReason>,
    warnings: Vec<String>,
    drifted: Vec<ObjectRef>,
    surplus: BTreeSet<ObjectRef>,
    /// What no release wants any more, and stays because it is protected.
    protected: Vec<String>,
    /// What is left because somebody writes the same field over and over.
    fights: Vec<String>,
    /// What was deleted, and is still there.
    leaving: Vec<String>,
    /// The bundle that runs here and whose predecessor's objects were parted with. Of one that ran before the agent
    /// began that is taken for granted until it is looked at. Absent = some are there.
    parted_with: Option<String>,
    /// What does not answer of the sources that its plans name, as it was told last.
    silent_sources: Vec<String>,
    /// What the API server did not allow in the last pass; absent = nothing.
    forbidden: Option<String>,
    /// The bundle that waits for rights of its ServiceAccounts; absent = none.
    awaiting: Option<begin::Awaiting>,
    namespace_known: Option<String>,
    tracks_removed: bool,
}

impl Unit {
    /// Makes the task of an application, or of a Rollout without one; `poke` wakes it.
    #[must_use]
    pub fn new(shell: Arc<Shell>, key: UnitKey, poke: Arc<Poke>) -> Self {
        let adopted = matches!(key, UnitKey::Rollout(_)).then(Adopted::default);
        let text = key.to_string();
        let (UnitKey::Application(application)
        | UnitKey::Command(application)
        | UnitKey::Rollout(application)) = key;
        let parted_with = shell
            .desired
            .unit(&text)
            .and_then(|unit| unit.applied_digest);
        Self {
            key: text,
            adopted,
            counted_runs: Share::of(shell.figures.runs.clone()),
            shell,
            application,
            notes: Notes::new(Arc::clone(&poke)),
            poke,
            keeper: Keeper::new(SYNC_MANAGER),
            bundles: BTreeMap::new(),
            runs: BTreeMap::new(),
            laid: None,
            opened: order::Opened::default(),
            dirty: Dirty::default(),
            full_pass_at: Instant::now() + FULL_PASS,
            plain_since: None,
            waiting_on: Vec::new(),
            warnings: Vec::new(),
            drifted: Vec::new(),
            surplus: BTreeSet::new(),
            protected: Vec::new(),
            fights: Vec::new(),
            leaving: Vec::new(),
            parted_with,
            silent_sources: Vec::new(),
            forbidden: None,
            awaiting: None,
            namespace_known: None,
            tracks_removed: false,
        }
    }

    /// Works until `shutdown`.
    pub async fn work(mut self, shutdown: CancellationToken) {
        let mut pause = Duration::from_millis(500);
        let shell = Arc::clone(&self.shell);
        shell.looked_at(&self.key);
        let mut webhook = shell.webhook.subscribe();
        let may_be_held = self.adopted.is_some();
        let mut takeovers = shell.desired.fence().subscribe();
        loop {
            let permit = tokio::select! {
                () = shutdown.cancelled() => return,
                permit = self.room(&shell) => permit,
            };
            let outcome = self.pass_and_publish().await;
            drop(permit);
            let wake_at = match outcome {
                Ok(pass) if pass.again => {
                    pause = Duration::from_millis(500);
                    continue;
                }
                Ok(pass) => {
                    pause = Duration::from_millis(500);
                    pass.wake_in.map_or(self.full_pass_at, |wait| {
                        self.full_pass_at.min(Instant::now() + wait)
                    })
                }
                Err(()) => {
                    pause = (pause * 2).min(MAX_PAUSE);
                    Instant::now() + pause
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.poke.woken() => {}
                // What is reported says whether the API server asks.
                Ok(()) = webhook.changed(), if may_be_held => {}
                // The sender lives as long as what is held.
                Ok(()) = takeovers.changed() => {}
                () = tokio::time::sleep_until(wake_at) => {}
            }
        }
    }

    async fn pass_and_publish(&mut self) -> Result<Pass, ()> {
        self.shell.figures.passes.inc();
        let fresh = self.poke.take();
        self.dirty.add(fresh);
        if Instant::now() >= self.full_pass_at {
            self.dirty.all = true;
            self.full_pass_at = Instant::now() + FULL_PASS;
        }
        let everything = self.dirty.all;
        let passed = self.pass().await;
        self.name_sources();
        let outcome = match passed {
            Ok(pass) => {
                if everything {
                    self.shell.looked_at(&self.key);
                }
                self.waiting_on.clone_from(&pass.waiting_on);
                self.forbidden = None;
                Ok(pass)
            }
            Err(error) => {
                self.shell.figures.failed_passes.inc();
                let message = crate::desired::chain(&error);
                tracing::warn!(
                    unit.key = self.key,
                    error = message,
                    "pass failed and is tried again"
                );
                self.forbidden = error.is_forbidden().then(|| message.clone());
                self.waiting_on = vec![wait("ClusterTrouble", message)];
                Err(())
            }
        };
        self.publish();
        outcome
    }

    async fn pass(&mut self) -> Result<Pass, PassError> {
        let Some(unit) = self.shell.desired.unit(&self.key) else {
            return Ok(Pass::default());
        };
        if let Some(newer) = self.shell.desired.fence().newer() {
            return Ok(self.yield_to(newer));
        }
        while let Some((of, news)) = self.notes.take() {
            self.tell(of, news, |_| {}).await?;
        }
        self.forget_bundles(&unit);
        self.heed_sources(&unit).await?;
        if self.adopted.is_some() {
            // On the heap: every unit's passes would need the stack of the deepest one.
            return Box::pin(self.pass_adopted(&unit)).await;
        }
        let goal = goal(&unit);
        if self.settle_hooks(&unit, &goal).await? {
            return Ok(Pass::again());
        }
        match goal {
            Goal::Nothing => {
                self.read_granted(&unit).await;
                self.listen(BTreeMap::new());
                Ok(Pass::default())
            }
            Goal::Remove => self.remove(&unit).await,
            Goal::Begin(digest) => self.begin(&unit, &digest).await,
            Goal::Apply(digest) => self.apply(&unit, &digest).await,
            Goal::Keep(digest) => self.hold(&unit, &digest).await,
            Goal::Return(digest) => self.go_back(&unit, &digest).await,
            Goal::Run {
                digest,
                previous,
                abort,
            } => Box::pin(self.drive(&unit, &digest, &previous, abort)).await,
        }
    }

    /// Leaves everything to a newer agent of this cluster. What is known here is old once this one takes
    /// over again.
    fn yield_to(&mut self, newer: u64) -> Pass {
        self.runs.clear();
        self.counted_runs.set(0);
        self.laid = None;
        self.opened = order::Opened::default();
        self.bundles.clear();
        self.plain_since = None;
        self.tracks_removed = false;
        self.namespace_known = None;
        self.keeper.forget();
        self.dirty.all = true;
        let why = format!(
            "a newer agent of this cluster has taken over (session epoch {newer}); this one writes \
             nothing"
        );
        Pass {
            waiting_on: vec![wait("NewerAgent", why)],
            ..Pass::default()
        }
    }

    /// Reads a bundle, once for as long as the unit names it.
    async fn bundle(&mut self, digest: &str) -> Result<Arc<Bundle>, ContentError> {
        if let Some(bundle) = self.bundles.get(digest) {
            return Ok(Arc::clone(bundle));
        }
        let mut bundle = self.shell.desired.bundle(digest).await?;
        self.bring_back(digest, &mut bundle).await?;
        let bundle = Arc::new(bundle);
        self.bundles.insert(digest.to_owned(), Arc::clone(&bundle));
        Ok(bundle)
    }

    fn forget_bundles(&mut self, unit: &SyncUnit) {
        let named = [&unit.digest, &unit.running_digest, &unit.applied_digest];
        self.bundles
            .retain(|digest, _| named.iter().any(|name| name.as_ref() == Some(digest)));
    }

    /// Changes what is remembered of the unit, and drops events that the hub has.
    async fn remember(&self, change: impl Fn(&mut SyncUnit)) -> Result<(), StoreError> {
        let acked = self.shell.reports.acked_event(&self.key);
        self.shell
            .desired
            .update(&self.key, |unit| {
                events::trim(unit, acked);
                change(unit);
            })
            .await
    }

    /// Remembers something that happened, together with `change`.
    async fn tell(
        &self,
        of: RunOf<'_>,
        news: News,
        change: impl Fn(&mut SyncUnit),
    ) -> Result<(), StoreError> {
        tracing::info!(
            unit.key = self.key, rollout.id = %of.run, reason = news.reason, "{}", news.message
        );
        let at = wall();
        self.remember(|unit| {
            change(unit);
            events::push(unit, of, at, &news);
        })
        .await
    }

    /// Sets which objects wake the unit: those of `wanted`, and whatever else `more` names.
    fn listen(&self, interests: BTreeMap<WatchKey, Wants>) {
        self.shell.watches.set(&self.key, interests, &self.poke);
        self.shell
            .figures
            .watches
            .set(i64::try_from(self.shell.watches.len()).unwrap_or(i64::MAX));
    }
}

fn interests<'a>(targets: impl Iterator<Item = &'a ObjectRef>) -> BTreeMap<WatchKey, Wants> {
    let mut names: BTreeMap<WatchKey, BTreeSet<String>> = BTreeMap::new();
    for target in targets {
        names
            .entry(WatchKey::of(target))
            .or_default()
            .insert(target.name.clone());
    }
    names
        .into_iter()
        .map(|(key, names)| (key, Wants::Names(names)))
        .collect()
}

fn targets(wanted: &[Wanted]) -> BTreeSet<ObjectRef> {
    wanted.iter().map(|want| want.target.clone()).collect()
}

fn run_of(bundle: &Bundle) -> RunOf<'_> {
    RunOf {
        run: bundle.run,
        attempt: bundle.attempt,
        alerts: &bundle.alerts,
    }
}

fn wait(reason: &str, message: impl Into<String>) -> WaitReason {
    WaitReason {
        reason: reason.to_owned(),
        message: message.into(),
        on: None,
        since: None,
        by_itself: None,
    }
}
