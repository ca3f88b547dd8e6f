//! Notices desired state that was written, by whichever hub, and tells the sessions.

use std::{sync::Arc, time::Duration};

use bellwether_store::{
    desired,
    hints::{HintListener, Hinter},
    tailer::{SyncTailer, xmin_age_ms},
};
use tokio::time::{Instant, sleep};

use crate::{app::App, telemetry::chain};

/// The poll that everything rests on; hints only make it earlier.
const POLL: Duration = Duration::from_millis(250);
/// Least time between two looks.
const GAP: Duration = Duration::from_millis(5);
/// How often the age of the oldest transaction is read.
const AGE_INTERVAL: Duration = Duration::from_secs(5);
/// From this age on, targets are compared as well: the window of the tailer has grown too wide to
/// trust it alone.
const OLD: Duration = Duration::from_secs(10);

/// Runs until shutdown.
pub(super) async fn run(app: Arc<App>) {
    let hinter = Hinter::new();
    let mut hints = HintListener::new(app.store.clone());
    tokio::select! {
        () = hinter.run(&app.store) => {}
        () = follow(&app, &hinter, &mut hints) => {}
        () = app.shutdown.cancelled() => {}
    }
}

async fn follow(app: &App, hinter: &Hinter, hints: &mut HintListener) {
    let mut tailer = SyncTailer::new(app.store.clone());
    let mut age_read = Instant::now();
    loop {
        match tailer.poll().await {
            Ok(changes) => app.sessions.take_changes(&changes),
            Err(error) => {
                tracing::warn!(error = %chain(&error), "changed clusters could not be read");
            }
        }
        if age_read.elapsed() >= AGE_INTERVAL {
            age_read = Instant::now();
            look_at_age(app).await;
        }
        sleep(GAP).await;
        tokio::select! {
            () = sleep(POLL) => {}
            () = hints.wait() => {}
            () = app.pokes.deliver.notified() => hinter.hint(),
        }
    }
}

async fn look_at_age(app: &App) {
    let age_ms = match xmin_age_ms(&app.store).await {
        Ok(age_ms) => age_ms,
        Err(error) => {
            tracing::debug!(error = %chain(&error), "the oldest transaction could not be read");
            return;
        }
    };
    app.metrics
        .tailer_lag_ms
        .set(i64::try_from(age_ms).unwrap_or(i64::MAX));
    if Duration::from_millis(age_ms) < OLD {
        return;
    }
    tracing::warn!(
        age_ms,
        "a transaction has been open for long; targets are compared as well"
    );
    let clusters: Vec<_> = app
        .sessions
        .all()
        .into_iter()
        .map(|(cluster, _)| cluster)
        .collect();
    match desired::targets(&app.store, &clusters).await {
        Ok(targets) => {
            for (cluster, target) in targets {
                if let Some(slot) = app.sessions.slot(cluster) {
                    slot.aim(target.generation);
                }
            }
        }
        Err(error) => tracing::warn!(error = %chain(&error), "targets could not be read"),
    }
}
