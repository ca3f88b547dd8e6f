//! Sends messages about events to whom Rollouts name: take → send → note. A message that is taken counts as
//! sent: whichever hub dies then, nobody sends it a second time.

mod send;

use std::{sync::Arc, time::Duration};

use bellwether_api::{alert_provider::AlertProviderSpec, reference::NamespacedName};
use bellwether_hub_core::alert::{Delivery, Notice, body, pause_after};
use bellwether_store::{
    StoreError,
    alerts::{self, AlertOutcome, DueAlert},
    records::{self, RecordKey, RecordKind},
};
use tokio::task::JoinSet;

use super::{LoopError, LoopState};
use crate::{app::App, clock::Clock, secrets, telemetry::chain};
use send::Sender;

/// The name of this loop in `/readyz`.
const NAME: &str = "alerts";
/// How often it looks for messages that are due.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Providers that are told at the same time.
const AT_ONCE: u32 = 16;
/// Messages of one provider in one turn: the others have theirs too.
const MAX_OF_ONE: usize = 50;

/// Sends what is due, until the hub stops.
pub(super) async fn run(app: Arc<App>) {
    let networks = app.config.source_networks.clone();
    let sender = match Sender::new(networks) {
        Ok(sender) => Arc::new(sender),
        Err(error) => {
            tracing::error!(error = %chain(&error), "no alert can be sent: TLS cannot be set up");
            return;
        }
    };
    loop {
        let ended = match send_due(&app, &sender).await {
            Ok(count) => Ok(format!("sent {count} alerts")),
            Err(error) => Err(LoopError::from(error)),
        };
        app.loops.set(NAME, LoopState::of(app.clock.now(), ended));
        tokio::select! {
            () = app.shutdown.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Sends to every provider what it has due, one message after the other; to different ones at the same
/// time. Gives how many were sent.
async fn send_due(app: &Arc<App>, sender: &Arc<Sender>) -> Result<usize, StoreError> {
    let mut turns = JoinSet::new();
    for provider in alerts::due(&app.store, app.clock.now(), AT_ONCE).await? {
        let (app, sender) = (Arc::clone(app), Arc::clone(sender));
        turns.spawn(async move { send_to(&app, &sender, &provider).await });
    }
    let (mut sent, mut failure) = (0, None);
    // To their end, whatever one of them met: what is on its way when its turn is given up is never sent again.
    while let Some(turn) = turns.join_next().await {
        match turn {
            Ok(Ok(count)) => sent += count,
            Ok(Err(error)) => failure = Some(error),
            Err(error) => tracing::error!(%error, "sending alerts died"),
        }
    }
    failure.map_or(Ok(sent), Err)
}

async fn send_to(
    app: &App,
    sender: &Sender,
    provider: &NamespacedName,
) -> Result<usize, StoreError> {
    let mut sent = 0;
    for _ in 0..MAX_OF_ONE {
        let Some(alert) = alerts::take(&app.store, provider, app.clock.now()).await? else {
            break;
        };
        let delivery = deliver(app, sender, &alert).await;
        let outcome = outcome(delivery, alert.attempt, app.clock);
        alerts::note(&app.store, &alert, &outcome, app.clock.now()).await?;
        match outcome {
            AlertOutcome::Sent => sent += 1,
            AlertOutcome::Again { why, .. }
            | AlertOutcome::Failed { why }
            | AlertOutcome::Unknown { why } => {
                tracing::warn!(
                    provider = %provider,
                    event.id = alert.event.id,
                    attempt = alert.attempt,
                    why,
                    "an alert was not sent"
                );
                // Whoever does not answer is not asked by every message of this turn.
                break;
            }
        }
    }
    Ok(sent)
}

async fn deliver(app: &App, sender: &Sender, alert: &DueAlert) -> Delivery {
    let key = RecordKey {
        kind: RecordKind::AlertProvider,
        namespace: alert.provider.namespace.clone(),
        name: alert.provider.name.clone(),
    };
    let again = |why: String| Delivery::Again { why };
    let spec = match records::get(&app.store, &key).await {
        Ok(record) => {
            record.and_then(|record| serde_json::from_value::<AlertProviderSpec>(record.spec).ok())
        }
        Err(error) => return again(chain(&error)),
    };
    let Some(spec) = spec else {
        return again(format!("there is no alert provider {:?}", key.name));
    };
    let (namespace, wanted) = (&key.namespace, &spec.address_ref);
    let address = match secrets::entry(&app.store, namespace, &wanted.name, wanted.key()).await {
        Ok(address) => address,
        Err(error) => return again(error.said()),
    };
    let event = &alert.event;
    let notice = Notice {
        id: event.id,
        cluster: &event.cluster_name,
        unit: &event.key,
        event: &event.event,
    };
    sender
        .post(spec.kind, &address, &body(spec.kind, &notice))
        .await
}

fn outcome(delivery: Delivery, attempt: u32, clock: Clock) -> AlertOutcome {
    match delivery {
        Delivery::Sent => AlertOutcome::Sent,
        Delivery::Refused { why } => AlertOutcome::Failed { why },
        Delivery::Unknown { why } => AlertOutcome::Unknown { why },
        Delivery::Again { why } => match pause_after(attempt) {
            Some(pause) => AlertOutcome::Again {
                at: clock.now().saturating_add(pause).unwrap_or(clock.now()),
                why,
            },
            None => AlertOutcome::Failed { why },
        },
    }
}
