//! The loop: one hub of all mirrors at a time.

use std::{sync::Arc, time::Duration};

use bellwether_store::{
    leases::{self, shard_of},
    records::RecordKind,
};
use futures::StreamExt as _;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{configuration::Keeper, host::Host, session::Session};
use crate::{
    app::App,
    http::{Feed, Followed},
    loops::{Fence, LoopError, LoopState},
    telemetry::chain,
};

/// The name of this loop in `/readyz`, and of its shard.
const NAME: &str = "custom-resources";
/// How often the lease is looked at, and what waits for time is.
const TICK: Duration = Duration::from_secs(1);
/// How often everything that is refused or could not be done is tried again, whatever happened.
const RETRY_EVERY: Duration = Duration::from_secs(15);
/// How long after the start of a hub agents may need to come back to it.
const YOUNG_FOR: Duration = Duration::from_secs(45);

/// Changes of these have statuses written anew.
const FOLLOWED: [Followed; 6] = [
    Followed::Record(RecordKind::Fleet),
    Followed::Record(RecordKind::MetricTemplate),
    Followed::Record(RecordKind::AlertProvider),
    Followed::Record(RecordKind::Application),
    Followed::Record(RecordKind::Rollout),
    Followed::Record(RecordKind::Repository),
];

/// Mirrors while this hub holds the lease of the shard, until it stops.
pub(super) async fn run(app: Arc<App>, host: Host) {
    let started = Instant::now();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = app.shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        match lead(&app).await {
            Ok(Some(fence)) => mirror(&app, &host, fence, started).await,
            Ok(None) => note(&app, "another hub mirrors", Vec::new()),
            Err(error) => note(&app, "", vec![error.chain()]),
        }
    }
}

/// The right to mirror; absent = another hub has it.
async fn lead(app: &App) -> Result<Option<Fence>, LoopError> {
    let now = app.clock.now();
    let lease = leases::held(&app.store, app.replica, shard_of(NAME), now).await?;
    Ok(lease.map(|lease| Fence::of(app.replica, app.clock, lease)))
}

fn note(app: &App, did: &str, errors: Vec<String>) {
    let (at, did) = (app.clock.now(), did.to_owned());
    app.loops.set(NAME, LoopState { at, did, errors });
}

/// Mirrors until the lease is lost or the hub stops.
async fn mirror(app: &Arc<App>, host: &Host, fence: Fence, started: Instant) {
    let mut session = Session::new(app, host, fence);
    let mut told = host.watch();
    let mut reader = Feed::join(app, &FOLLOWED);
    let mut keeper = Keeper::default();
    let mut read = None;
    let mut tried = Instant::now();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = app.shutdown.cancelled() => return,
            news = told.next() => match news {
                Some((kind, Ok(event))) => session.take(kind, event).await,
                Some((kind, Err(error))) => session.broke(kind, chain(&error)),
                None => return,
            },
            () = reader.news() => {
                read = session.hear(&reader, read);
            }
            _ = ticks.tick() => {
                match lead(app).await {
                    Ok(Some(_)) => {}
                    // What is under way is fenced; what comes is another hub's.
                    Ok(None) => return,
                    Err(error) => {
                        note(app, "", vec![error.chain()]);
                        continue;
                    }
                }
                keeper.turn(app, host).await;
                let is_due = tried.elapsed() >= RETRY_EVERY;
                if is_due || session.has_heard() {
                    tried = Instant::now();
                    session.retry(is_due);
                }
            }
        }
        let is_young = started.elapsed() < YOUNG_FOR;
        session.work(is_young).await;
        let mut errors = session.errors();
        errors.extend(keeper.trouble());
        note(app, &session.did(), errors);
    }
}
