//! Push webhooks: a sender who knows the secret says that a repository has changed, and the sources that
//! it concerns are looked at now. Nothing of what it says is believed beyond that.

mod rate;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use axum::{
    extract::{FromRequest as _, Request, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use bellwether_api::{
    application::ApplicationSpec, reference::NamespacedName, repository::RepositorySpec,
};
use bellwether_sources::{Push, PushError, Secret, verify_generic, verify_github, verify_gitlab};
use bellwether_store::{
    StoreError, pushes,
    records::{self, RecordKind},
    repositories,
};
use tokio::sync::{Semaphore, mpsc};

use super::{
    extract::{LimitedBody, Path},
    problem::{ApiError, ApiResult},
};
use crate::{
    app::App,
    clock::wall,
    rendering::{git_source, source_of},
    secrets::{self, SecretError},
    telemetry::chain,
};
use rate::Rate;

/// Pushes that wait to be followed up.
const QUEUE: usize = 256;
/// Requests that are read at the same time.
const AT_ONCE: usize = 8;
/// Requests a second that are looked at, whoever sends them; as many again at once after a pause.
const PER_SECOND: u32 = 20;

/// What bounds webhooks, and the pushes that wait to be followed up.
#[derive(Debug)]
pub struct Webhooks {
    rate: Mutex<Rate>,
    permits: Semaphore,
    queue: mpsc::Sender<Push>,
    waiting: tokio::sync::Mutex<mpsc::Receiver<Push>>,
}

impl Default for Webhooks {
    fn default() -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        Self {
            rate: Mutex::new(Rate::new(PER_SECOND)),
            permits: Semaphore::new(AT_ONCE),
            queue,
            waiting: tokio::sync::Mutex::new(waiting),
        }
    }
}

/// Who sends a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sender {
    /// GitHub, and Gitea and Forgejo, which do as it does.
    GitHub,
    GitLab,
    /// Anything that signs as Bellwether's own hooks do.
    Generic,
}

impl Sender {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "github" => Some(Self::GitHub),
            "gitlab" => Some(Self::GitLab),
            "generic" => Some(Self::Generic),
            _ => None,
        }
    }

    /// The header that proves who sent it.
    const fn header(self) -> &'static str {
        match self {
            Self::GitHub => "x-hub-signature-256",
            Self::GitLab => "x-gitlab-token",
            Self::Generic => "bellwether-signature",
        }
    }

    fn is_proven(self, secret: &Secret, signature: &str, body: &[u8], now_s: i64) -> bool {
        match self {
            Self::GitHub => verify_github(secret, signature, body),
            Self::GitLab => verify_gitlab(secret, signature),
            Self::Generic => verify_generic(secret, signature, body, now_s),
        }
        .is_ok()
    }

    fn push(self, headers: &HeaderMap, body: &[u8]) -> Result<Option<Push>, PushError> {
        match self {
            Self::GitHub => Push::from_github(text(headers, "x-github-event"), body),
            Self::GitLab => Push::from_gitlab(text(headers, "x-gitlab-event"), body),
            Self::Generic => Push::from_generic(body).map(Some),
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default()
}

/// Takes a webhook: 202 when it is believed and will be followed up.
pub async fn receive(
    State(app): State<Arc<App>>,
    Path(sender): Path<String>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, ApiError> {
    let Some(sender) = Sender::parse(&sender) else {
        return Err(ApiError::not_found(
            "webhooks are sent to github, gitlab or generic",
        ));
    };
    let Some(wanted) = &app.config.webhook_secret else {
        return Err(ApiError::not_found(
            "this hub takes no webhooks; start it with --webhook-secret NAMESPACE/NAME",
        ));
    };
    let signature = text(&headers, sender.header());
    if signature.is_empty() {
        return Err(not_believed());
    }
    if !app.webhooks.take_turn() {
        return Err(busy());
    }
    let Ok(_permit) = app.webhooks.permits.try_acquire() else {
        return Err(busy());
    };
    let LimitedBody(body) = LimitedBody::from_request(request, &()).await?;
    let proven = believed(&app, wanted, |secret| {
        sender.is_proven(secret, signature, &body, wall().as_second())
    });
    if !proven.await? {
        return Err(not_believed());
    }
    let push = sender
        .push(&headers, &body)
        .map_err(|error| ApiError::bad_request(error.to_string()))?;
    if let Some(push) = push {
        app.webhooks.queue.try_send(push).map_err(|_| busy())?;
    }
    Ok(StatusCode::ACCEPTED.into_response())
}

impl Webhooks {
    fn take_turn(&self) -> bool {
        let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        rate.take(Instant::now())
    }
}

/// Tells whether one of the secret's values proves a webhook: there are two while one is replaced.
async fn believed(
    app: &App,
    wanted: &NamespacedName,
    proves: impl Fn(&Secret) -> bool,
) -> ApiResult<bool> {
    let opened = match secrets::open(&app.store, &wanted.namespace, &wanted.name).await {
        Ok(opened) => opened,
        Err(SecretError::Store(error)) => return Err(error.into()),
        Err(error) => {
            // The sender is nobody yet, and is told nothing.
            tracing::warn!(error = %error.said(), "a webhook cannot be checked");
            return Ok(false);
        }
    };
    Ok(opened.values.values().any(|value| {
        let text = std::str::from_utf8(value.expose()).unwrap_or_default();
        // Files end with a line break that nobody means.
        proves(&Secret::new(text.trim_end_matches(['\r', '\n'])))
    }))
}

fn not_believed() -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "Unauthenticated", "")
}

fn busy() -> ApiError {
    ApiError::new(
        StatusCode::TOO_MANY_REQUESTS,
        "TooManyRequests",
        "too many webhooks at once; sources are looked at in their time all the same",
    )
}

/// Follows pushes up until the hub stops.
pub(super) fn spawn(app: &Arc<App>) {
    let own = Arc::clone(app);
    app.tasks.spawn(async move {
        let mut waiting = own.webhooks.waiting.lock().await;
        let mut pushes = Vec::new();
        while tokio::select! {
            () = own.shutdown.cancelled() => 0,
            received = waiting.recv_many(&mut pushes, QUEUE) => received,
        } > 0
        {
            if let Err(error) = follow(&own, &pushes).await {
                tracing::warn!(error = %chain(&error), "pushes were not followed up");
            }
            pushes.clear();
        }
    });
}

/// Has every source looked at that one of the pushes concerns.
async fn follow(app: &App, pushed: &[Push]) -> Result<(), StoreError> {
    let mut concerned = Vec::new();
    for record in records::list_all(&app.store, RecordKind::Application).await? {
        let Ok(spec) = serde_json::from_value::<ApplicationSpec>(record.spec) else {
            continue;
        };
        let name = NamespacedName {
            namespace: record.key.namespace,
            name: record.key.name,
        };
        for component in &spec.components {
            let source = source_of(component);
            if source.is_some_and(|source| pushed.iter().any(|push| push.concerns(&source))) {
                concerned.push((name.clone(), component.name.clone()));
            }
        }
    }
    let repositories = concerned_repositories(app, pushed).await?;
    repositories::note_push(&app.store, &repositories, app.clock.now()).await?;
    tracing::info!(
        pushes = pushed.len(),
        sources = concerned.len(),
        repositories = repositories.len(),
        "pushes received"
    );
    if !concerned.is_empty() {
        pushes::note(&app.store, &concerned, app.clock.now()).await?;
        app.pokes.plan.notify_one();
    }
    Ok(())
}

/// The repositories of records that one of the pushes concerns.
async fn concerned_repositories(app: &App, pushed: &[Push]) -> Result<Vec<String>, StoreError> {
    let records = records::list_all(&app.store, RecordKind::Repository).await?;
    let is_concerned = |spec: &RepositorySpec| {
        let source = git_source(&spec.git);
        source.is_some_and(|source| pushed.iter().any(|push| push.concerns(&source)))
    };
    Ok(records
        .into_iter()
        .filter(|record| {
            serde_json::from_value(record.spec.clone()).is_ok_and(|spec| is_concerned(&spec))
        })
        .map(|record| record.key.name)
        .collect())
}
