use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use bellwether_api::reference::NamespacedName;
use bellwether_store::{Store, StoreError, records, records::RecordKind};
use jiff::Timestamp;
use tokio::{
    task::{self, JoinError, JoinSet},
    time::{Instant, sleep_until},
};
use uuid::Uuid;

use super::{
    LoopError, LoopState,
    application::{Look, Outcome, process},
    gather::Gatherer,
    lease::{Fence, Shards},
    metrics_places::MetricsPlaces,
    queue::Queue,
    readings::Readings,
    world::World,
};
use crate::{app::App, clock::Clock, rendering::Renderings};

/// The name of this loop in `/readyz`.
const NAME: &str = "plan";
/// How often the loop looks for changes that nobody told it of.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How often it looks at every application, whatever it was told. Everything that moves an
/// application is told of or has a time: the sweep only heals what should not happen.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Applications that are looked at at the same time; each takes one connection to the database.
const AT_ONCE: usize = 4;
/// Pause before an application is looked at again that the database failed on.
const RETRY: Duration = Duration::from_secs(1);

/// Plans and moves every application on, until the hub stops.
pub(super) async fn run(app: Arc<App>) {
    let started = Some(app.clock.now());
    let mut planner = Planner::new(app.store.clone(), app.replica, app.clock, started);
    planner.deliver = Some(Arc::clone(&app));
    match Readings::new(app.clock, Some(app.store.clone())) {
        Ok(readings) => planner.readings = Some(Arc::new(readings)),
        Err(error) => tracing::error!(%error, "gates that need an answer are not asked"),
    }
    let mut look_at = Instant::now();
    loop {
        let done = tokio::select! {
            () = app.shutdown.cancelled() => break,
            Some(done) = planner.looks.join_next_with_id() => Some(done),
            () = app.pokes.plan.notified() => None,
            () = sleep_until(look_at) => None,
        };
        match done {
            Some(done) => planner.take(done),
            None => {
                planner.turn(app.clock.now()).await;
                app.loops.set(NAME, planner.state());
                look_at = Instant::now() + LOOK_EVERY;
            }
        }
        planner.dispatch();
    }
    // What was begun is short, and is better ended than broken off.
    while planner.looks.join_next().await.is_some() {}
}

/// One turn over everything, from nothing.
pub(super) async fn once(
    store: &Store,
    renderings: Option<&Renderings>,
    replica: Uuid,
    now: Timestamp,
) -> Result<(), LoopError> {
    let mut planner = Planner::new(store.clone(), replica, Clock::begin(now), None);
    let mut first = None;
    planner.shards.renew(store, now).await?;
    planner.gather(now).await?;
    planner.gatherer.recount().await?;
    for application in planner.gatherer.known() {
        planner.queue.suggest(application);
    }
    while let Some(application) = planner.queue.next() {
        let Some(fence) = planner.shards.fence(&application) else {
            continue;
        };
        let look = Look {
            renderings,
            store,
            world: planner.gatherer.world(),
            fence: &fence,
            application: &application,
            now,
            readings: None,
        };
        if let Some(error) = process(look)
            .await
            .map_or_else(Some, |outcome| outcome.held)
        {
            first.get_or_insert(error);
        }
    }
    first.map_or(Ok(()), Err)
}

/// What was done since it was last said.
#[derive(Clone, Debug, Default)]
struct Report {
    looked: usize,
    written: usize,
    error: Option<&'static str>,
}

type Looked = Result<Outcome, LoopError>;

struct Planner {
    store: Store,
    /// Whom to tell of what was written, as soon as it is; absent = nobody delivers.
    deliver: Option<Arc<App>>,
    /// Who asks gates that need an answer; absent = nobody does.
    readings: Option<Arc<Readings>>,
    clock: Clock,
    shards: Shards,
    gatherer: Gatherer,
    queue: Queue,
    looks: JoinSet<Looked>,
    looked_at: HashMap<task::Id, NamespacedName>,
    wake: BTreeMap<NamespacedName, Timestamp>,
    /// What is wrong with an application, until a look at it goes well.
    errors: BTreeMap<NamespacedName, String>,
    swept: Option<Timestamp>,
    /// What the sessions were told of.
    places: Option<MetricsPlaces>,
    report: Report,
}

impl Planner {
    fn new(store: Store, replica: Uuid, clock: Clock, started: Option<Timestamp>) -> Self {
        Self {
            gatherer: Gatherer::new(store.clone(), started),
            store,
            deliver: None,
            readings: None,
            clock,
            shards: Shards::new(replica, clock),
            queue: Queue::default(),
            looks: JoinSet::new(),
            looked_at: HashMap::new(),
            wake: BTreeMap::new(),
            errors: BTreeMap::new(),
            swept: None,
            places: None,
            report: Report::default(),
        }
    }

    /// Finds out what is to be looked at.
    async fn turn(&mut self, now: Timestamp) {
        self.report.error = None;
        if let Err(error) = self.prepare(now).await {
            tracing::warn!(error = %LoopError::from(error).chain(), "planning waits");
            self.report.error = Some("the database cannot be read");
        }
    }

    async fn prepare(&mut self, now: Timestamp) -> Result<(), StoreError> {
        let gained = self.shards.renew(&self.store, now).await?;
        self.gather(now).await?;
        let sweep = self
            .swept
            .is_none_or(|last| now.duration_since(last).unsigned_abs() >= SWEEP_EVERY);
        if sweep || gained {
            self.gatherer.recount().await?;
        }
        if gained {
            for application in self.gatherer.known() {
                self.queue.suggest(application);
            }
        }
        if sweep {
            self.swept = Some(now);
            for application in self.gatherer.known() {
                self.queue.sweep(application);
            }
        }
        Ok(())
    }

    async fn gather(&mut self, now: Timestamp) -> Result<(), StoreError> {
        let due: Vec<NamespacedName> = self
            .wake
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(application, _)| application.clone())
            .collect();
        for application in due {
            self.wake.remove(&application);
            self.queue.tell(&application);
        }
        self.gatherer.gather(&mut self.queue, now).await?;
        self.tell_metrics_places();
        Ok(())
    }

    /// Tells the sessions of this hub where the metrics of their clusters are read.
    fn tell_metrics_places(&mut self) {
        let now = self.gatherer.world().metrics_places();
        if let Some(app) = &self.deliver
            && !self.places.as_ref().is_some_and(|told| told.is(&now))
        {
            app.sessions.aim_metrics(now.sources());
            self.places = Some(now);
        }
    }

    /// Begins as many looks as may be under way.
    fn dispatch(&mut self) {
        while self.queue.running() < AT_ONCE
            && let Some(application) = self.queue.next()
        {
            let Some(fence) = self.shards.fence(&application) else {
                self.queue.done(&application);
                self.errors.remove(&application);
                self.wake.remove(&application);
                continue;
            };
            self.report.looked += 1;
            let look = look(
                self.store.clone(),
                self.gatherer.world().clone(),
                fence,
                application.clone(),
                self.deliver.clone(),
                self.readings.clone(),
            );
            let id = self.looks.spawn(look).id();
            self.looked_at.insert(id, application);
        }
    }

    /// Takes in what a look came to.
    fn take(&mut self, done: Result<(task::Id, Looked), JoinError>) {
        let id = done.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let Some(application) = self.looked_at.remove(&id) else {
            return;
        };
        self.queue.done(&application);
        match done {
            Ok((_, Ok(outcome))) => self.take_outcome(application, outcome),
            Ok((_, Err(error))) => self.take_error(application, &error),
            // A defect in one application's look must not end the others'.
            Err(error) => {
                tracing::error!(application = %application, error = %error, "a look broke off");
                let text = format!("failed to look at {application}: see the hub's log");
                self.errors.insert(application, text);
            }
        }
    }

    fn take_outcome(&mut self, application: NamespacedName, outcome: Outcome) {
        match outcome.wake_at {
            Some(at) => self.wake.insert(application.clone(), at),
            None => self.wake.remove(&application),
        };
        if outcome.changed {
            self.report.written += 1;
            // What was written may be what the next step waited for.
            self.queue.suggest(&application);
        }
        match outcome.held {
            // What went on all the same has its time already.
            Some(error) => self.take_error(application, &error),
            None => {
                self.errors.remove(&application);
            }
        }
    }

    fn take_error(&mut self, application: NamespacedName, error: &LoopError) {
        let now = self.clock.now();
        if error.is_routine() {
            // What changed is gathered, and whose the shard is now is read, before it is tried again.
            if matches!(error, LoopError::Fenced) {
                self.shards.forget();
            }
            self.wake.insert(application, now);
            return;
        }
        if let LoopError::Store(source) = error
            && source.is_transient()
        {
            self.wake.insert(application.clone(), now + RETRY);
        }
        if let Some(after) = error.retry_after()
            && let Ok(at) = now.saturating_add(after)
        {
            let wake = self.wake.entry(application.clone()).or_insert(at);
            *wake = at.min(*wake);
        }
        let text = error.chain();
        if matches!(error, LoopError::Rendering { .. }) {
            tracing::debug!(application = %application, "{text}");
            self.errors.insert(application, text);
            return;
        }
        let known = self.errors.insert(application.clone(), text.clone());
        if known.as_ref() != Some(&text) {
            tracing::warn!(application = %application, error = %text, "planning failed");
        }
    }

    /// What was done since the last call.
    fn state(&mut self) -> LoopState {
        let Report {
            looked,
            written,
            error,
        } = std::mem::take(&mut self.report);
        let errors = error
            .map(str::to_owned)
            .into_iter()
            .chain(self.errors.values().cloned());
        LoopState {
            at: self.clock.now(),
            did: format!(
                "looked at {looked} applications, changed {written}; {} watched",
                self.gatherer.known().len()
            ),
            errors: errors.collect(),
        }
    }
}

async fn look(
    store: Store,
    world: World,
    fence: Fence,
    application: NamespacedName,
    deliver: Option<Arc<App>>,
    readings: Option<Arc<Readings>>,
) -> Looked {
    let look = Look {
        renderings: deliver.as_deref().map(|app| &*app.renderings),
        store: &store,
        world: &world,
        fence: &fence,
        application: &application,
        now: fence.now(),
        readings: readings.as_ref(),
    };
    let outcome = process(look).await?;
    if outcome.changed
        && let Some(app) = deliver
    {
        app.pokes.deliver.notify_one();
    }
    Ok(outcome)
}

/// Every application with a record.
pub(super) async fn applications(store: &Store) -> Result<Vec<records::Record>, StoreError> {
    records::list_all(store, RecordKind::Application).await
}
