use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bellwether_api::{reference::NamespacedName, secret::SourceSecrets};
use bellwether_hub_core::recipe::{Recipe, RenderFacts, Rendering};
use bellwether_sources::SourceRequest;
use bellwether_store::{Digest, Store, StoreError, blobs, renderings::RenderingKey};
use tokio::sync::{Notify, mpsc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Fetch, FetchError, Fetched, Plugins, Renderer, work};
use crate::clock::Clock;

/// Jobs that wait; whoever finds the queue full asks again at the next look.
const QUEUE: usize = 1_024;
/// Jobs at the same time, in all.
const AT_ONCE: usize = 4;
/// How long something that failed for reasons of the moment is left alone.
const RETRY_AFTER: Duration = Duration::from_secs(30);
/// Failures of the moment that are remembered.
const MAX_FAILURES: usize = 1_000;
/// Renderings that are kept at hand, so that a look needs not read them again.
const MAX_AT_HAND: usize = 256;
/// Bytes of those, in all.
const MAX_AT_HAND_BYTES: usize = 64 << 20;

/// Something to do beside the loops.
#[derive(Clone, Debug)]
pub enum Job {
    /// Fetch the source of a component.
    Fetch {
        /// The application.
        application: NamespacedName,
        /// The component.
        component: String,
        /// Digest of the source as it is written.
        source: Digest,
        /// The source.
        wanted: Box<bellwether_sources::Source>,
        /// What it is opened with.
        secrets: SourceSecrets,
    },
    /// Render a recipe.
    Render {
        /// The recipe.
        recipe: Box<Recipe>,
        /// For which clusters.
        facts: Arc<RenderFacts>,
    },
}

/// Names a job: the same is not done twice at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum JobKey {
    Fetch(NamespacedName, String, Digest),
    Render(RenderingKey),
}

impl Job {
    pub(super) fn key(&self) -> JobKey {
        match self {
            Self::Fetch {
                application,
                component,
                source,
                ..
            } => JobKey::Fetch(application.clone(), component.clone(), *source),
            Self::Render { recipe, facts } => {
                JobKey::Render((Digest(recipe.digest()), Digest(facts.digest())))
            }
        }
    }
}

/// Fetches and renders beside the loops.
pub struct Renderings {
    pub(super) store: Store,
    pub(super) clock: Clock,
    pub(super) renderer: Renderer,
    pub(super) fetch: Box<dyn Fetch>,
    queue: mpsc::Sender<Job>,
    jobs: tokio::sync::Mutex<mpsc::Receiver<Job>>,
    state: Mutex<State>,
    /// Rung whenever a job has ended.
    pub(super) ended: Notify,
}

#[derive(Default)]
struct State {
    under_way: BTreeSet<JobKey>,
    failures: BTreeMap<JobKey, (Instant, String)>,
    at_hand: BTreeMap<Digest, (usize, Arc<Rendering>)>,
    /// Oldest first.
    order: VecDeque<Digest>,
    bytes: usize,
}

impl Renderings {
    /// Makes one that does nothing until [`Renderings::spawn`].
    #[must_use]
    pub fn new(store: Store, clock: Clock, renderer: Renderer, fetch: Box<dyn Fetch>) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE);
        Self {
            store,
            clock,
            renderer,
            fetch,
            queue,
            jobs: tokio::sync::Mutex::new(jobs),
            state: Mutex::default(),
            ended: Notify::new(),
        }
    }

    /// Starts doing what is asked for, until `shutdown`; rings `poke` after each job.
    pub fn spawn(
        self: &Arc<Self>,
        tasks: &TaskTracker,
        shutdown: &CancellationToken,
        poke: impl Fn() + Clone + Send + Sync + 'static,
    ) {
        for _ in 0..AT_ONCE {
            let (own, shutdown, poke) = (Arc::clone(self), shutdown.clone(), poke.clone());
            tasks.spawn(async move {
                while let Some(job) = tokio::select! {
                    () = shutdown.cancelled() => None,
                    job = own.next() => job,
                } {
                    // A process that renders is killed when this is dropped.
                    tokio::select! {
                        () = shutdown.cancelled() => return,
                        () = own.work(job) => poke(),
                    }
                }
            });
        }
    }

    /// Looks at a source at once, without the queue.
    ///
    /// # Errors
    /// It cannot be fetched, with a reason.
    pub async fn look(&self, request: &SourceRequest) -> Result<Fetched, FetchError> {
        self.fetch.fetch(request).await
    }

    /// Does what waits, and returns once nothing is under way: for tests without a hub.
    pub async fn run_dry(&self) {
        loop {
            let job = self.jobs.lock().await.try_recv();
            match job {
                Ok(job) => self.work(job).await,
                Err(_) => return,
            }
        }
    }

    async fn next(&self) -> Option<Job> {
        self.jobs.lock().await.recv().await
    }

    async fn work(&self, job: Job) {
        let key = job.key();
        let result = work::work(self, job).await;
        let mut state = self.state();
        state.under_way.remove(&key);
        match result {
            Ok(()) => {
                state.failures.remove(&key);
            }
            Err(message) => {
                tracing::warn!(error = %message, "fetching or rendering failed for now");
                if state.failures.len() >= MAX_FAILURES {
                    state.failures.pop_first();
                }
                state.failures.insert(key, (Instant::now(), message));
            }
        }
        drop(state);
        self.ended.notify_waiters();
    }

    /// Has a job done, unless it is under way or failed a moment ago. Returns why it failed, if it
    /// did.
    pub fn ask(&self, job: Job) -> Option<String> {
        let key = job.key();
        let mut state = self.state();
        if let Some((at, message)) = state.failures.get(&key) {
            let message = message.clone();
            if at.elapsed() < RETRY_AFTER {
                return Some(message);
            }
        }
        if state.under_way.contains(&key) {
            return None;
        }
        if self.queue.try_send(job).is_ok() {
            state.under_way.insert(key);
        }
        None
    }

    /// The programs that the operator registered.
    #[must_use]
    pub fn plugins(&self) -> &Plugins {
        self.renderer.plugins()
    }

    /// The program that renders, by its version.
    ///
    /// # Errors
    /// It cannot be started.
    pub async fn renderer_version(&self) -> Result<&str, super::RenderError> {
        self.renderer.version().await
    }

    /// Reads a rendering.
    ///
    /// # Errors
    /// The database fails, or the rendering is gone.
    pub async fn read(&self, content: Digest) -> Result<Arc<Rendering>, StoreError> {
        if let Some((_, known)) = self.state().at_hand.get(&content) {
            return Ok(Arc::clone(known));
        }
        let corrupt = |detail: String| StoreError::Corrupt {
            what: "rendering.content",
            detail,
        };
        let bytes = blobs::get(&self.store, content)
            .await?
            .ok_or_else(|| corrupt(format!("blob {content} is not stored")))?;
        let rendering: Rendering =
            serde_json::from_slice(&bytes).map_err(|error| corrupt(error.to_string()))?;
        let rendering = Arc::new(rendering);
        self.state()
            .keep(content, bytes.len(), Arc::clone(&rendering));
        Ok(rendering)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn keep(&mut self, content: Digest, bytes: usize, rendering: Arc<Rendering>) {
        if bytes > MAX_AT_HAND_BYTES || self.at_hand.insert(content, (bytes, rendering)).is_some() {
            return;
        }
        self.order.push_back(content);
        self.bytes += bytes;
        while self.order.len() > MAX_AT_HAND || self.bytes > MAX_AT_HAND_BYTES {
            let Some(oldest) = self.order.pop_front() else {
                return;
            };
            if let Some((bytes, _)) = self.at_hand.remove(&oldest) {
                self.bytes = self.bytes.saturating_sub(bytes);
            }
        }
    }
}
