//! Tells hooks of fleets what was written for them, until they have it.

use std::{sync::Arc, time::Duration};

use bellwether_api::{
    fleet::FleetSpec,
    fleet_hook::FleetHook,
    status::{RunEvent, Severity},
    validate::DEFAULT_NAMESPACE,
};
use bellwether_hub_core::fleet_hooks::{AfterFailure, after_failure, signature};
use bellwether_store::{
    StoreError, events,
    fleet_hooks::{self, CallState, HookCall},
    records::{self, RecordKey, RecordKind},
};
use futures::{StreamExt as _, stream::FuturesUnordered};
use jiff::{SignedDuration, Timestamp};
use reqwest::{Client, redirect::Policy};
use uuid::Uuid;

use super::{
    LoopError, LoopState,
    readings::{Elsewhere, unreachable},
};
use crate::{app::App, clock::wall, secrets};

/// The name of this loop in `/readyz`.
const NAME: &str = "fleet-hooks";
/// How often it looks whether there is something to tell.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Calls that are tried at the same time.
const AT_ONCE: u32 = 8;
/// How long nobody else tries a call that a hub has taken: longer than any call may take.
const CLAIMED_FOR: SignedDuration = SignedDuration::from_secs(120);
/// Carries the signature, as with hooks of rollouts.
const SIGNATURE_HEADER: &str = "bellwether-signature";
/// Carries what is the same at every try.
const IDEMPOTENCY_HEADER: &str = "idempotency-key";

/// Tells what there is to tell, until the hub stops.
pub(super) async fn run(app: Arc<App>) {
    let client = Client::builder()
        .redirect(Policy::none())
        .connect_timeout(Duration::from_secs(5))
        .dns_resolver(Arc::new(Elsewhere))
        .build();
    let client = match client {
        Ok(client) => client,
        Err(error) => {
            tracing::error!(%error, "hooks of fleets cannot be called by this hub");
            let at = app.clock.now();
            let errors = vec![error.to_string()];
            let did = String::new();
            app.loops.set(NAME, LoopState { at, did, errors });
            return;
        }
    };
    loop {
        let ended = match tell_all(&app, &client).await {
            Ok(count) => Ok(format!("called {count} hooks")),
            Err(error) => Err(LoopError::from(error)),
        };
        app.loops.set(NAME, LoopState::of(app.clock.now(), ended));
        tokio::select! {
            () = app.shutdown.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

async fn tell_all(app: &App, client: &Client) -> Result<usize, StoreError> {
    let now = app.clock.now();
    let until = now.saturating_add(CLAIMED_FOR).unwrap_or(Timestamp::MAX);
    let claimed = fleet_hooks::claim(&app.store, now, until, AT_ONCE).await?;
    let count = claimed.len();
    let mut calls: FuturesUnordered<_> =
        claimed.iter().map(|call| tell(app, client, call)).collect();
    let mut ended = Ok(count);
    while let Some(told) = calls.next().await {
        if let Err(error) = told {
            ended = Err(error);
        }
    }
    ended
}

/// How one try ended.
enum Told {
    Delivered,
    /// It may go better another time.
    Failed(String),
    /// Nobody is there to be told.
    Nobody,
}

async fn tell(app: &App, client: &Client, call: &HookCall) -> Result<(), StoreError> {
    let told = match hook_of(app, call).await? {
        // What it says of the spec is for the log alone.
        Err(error) => {
            tracing::error!(fleet = call.fleet, %error, "fleet is unreadable");
            Told::Failed("the fleet cannot be read by this version of the hub".to_owned())
        }
        Ok(None) => Told::Nobody,
        Ok(Some(hook)) => match post(app, client, &hook, call).await {
            Ok(()) => Told::Delivered,
            Err(why) => Told::Failed(why),
        },
    };
    let now = app.clock.now();
    let (state, next_at, why) = match told {
        Told::Delivered => (CallState::Delivered, now, String::new()),
        Told::Nobody => (
            CallState::GivenUp,
            now,
            "the fleet has no such hook any more".to_owned(),
        ),
        Told::Failed(why) => match after_failure(call.created_at, call.tries, now) {
            AfterFailure::TryAt(at) => (CallState::Waiting, at, why),
            AfterFailure::GiveUp => (CallState::GivenUp, now, why),
        },
    };
    let mut tx = app.store.begin().await?;
    if !fleet_hooks::finish(&mut tx, call, state, &why, next_at, now).await? {
        return Ok(());
    }
    if let Some(mut event) = event(call, state, &why, now) {
        let key = format!("hook/{}/{}", call.fleet, call.hook);
        event.seq = events::highest(&mut tx, call.cluster, &key).await? + 1;
        events::insert(&mut tx, call.cluster, &key, &[event], now).await?;
    }
    tx.commit().await
}

/// The hook as the fleet has it now, so that a wrong address or secret can be put right; absent = it has none of that
/// name. A fleet that a newer hub wrote may be none that this one can read.
async fn hook_of(
    app: &App,
    call: &HookCall,
) -> Result<Result<Option<FleetHook>, serde_json::Error>, StoreError> {
    let key = RecordKey {
        kind: RecordKind::Fleet,
        namespace: String::new(),
        name: call.fleet.clone(),
    };
    let record = records::get(&app.store, &key).await?;
    let Some(record) = record else {
        return Ok(Ok(None));
    };
    let spec = serde_json::from_value::<FleetSpec>(record.spec);
    Ok(spec.map(|spec| spec.hooks.into_iter().find(|hook| hook.name == call.hook)))
}

/// Posts once; an error is a sentence without an address or a word of the secret.
async fn post(app: &App, client: &Client, hook: &FleetHook, call: &HookCall) -> Result<(), String> {
    let wanted = &hook.hmac_secret_ref;
    let namespace = wanted.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
    let key = secrets::token(&app.store, namespace, &wanted.entry())
        .await
        .map_err(|error| error.said())?;
    let body = call.body.as_bytes().to_vec();
    let signature = signature(key.expose().as_bytes(), wall(), &body);
    let request = client
        .post(&hook.url)
        .timeout(hook.timeout.as_std())
        .header("content-type", "application/json")
        .header(SIGNATURE_HEADER, signature)
        .header(IDEMPOTENCY_HEADER, call.id.to_string())
        .body(body);
    let answer = request.send().await.map_err(|error| unreachable(&error))?;
    match answer.status().as_u16() {
        200..=202 => Ok(()),
        other => Err(format!("it answered {other}")),
    }
}

/// What is told to people: that a call has ended, and the first time that one failed.
fn event(call: &HookCall, state: CallState, why: &str, now: Timestamp) -> Option<RunEvent> {
    let to = format!("hook {} of fleet {}", call.hook, call.fleet);
    let what = format!("{:?} of cluster {}", call.event, call.cluster_name);
    let (severity, reason, message) = match state {
        CallState::Delivered => (
            Severity::Info,
            "HookDelivered",
            format!("{to} was told {what}"),
        ),
        CallState::Waiting if call.tries == 1 => (
            Severity::Warn,
            "HookFailed",
            format!("{to} could not be told {what}: {why}; it is tried again"),
        ),
        CallState::Waiting => return None,
        CallState::GivenUp => (
            Severity::Error,
            "HookGivenUp",
            format!(
                "{to} was not told {what}: {why}; tried {} times",
                call.tries
            ),
        ),
    };
    Some(RunEvent {
        seq: 0,
        at: now.to_string(),
        run: Uuid::nil(),
        attempt: 0,
        severity,
        reason: reason.to_owned(),
        object: None,
        message,
        notify: Vec::new(),
    })
}
