//! Server-sent events: every stream ends with the hub, with its token, and with its reader.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    http::{HeaderName, HeaderValue, StatusCode},
    response::{
        IntoResponse as _, Response,
        sse::{Event, Sse},
    },
};
use bellwether_api::{reference::NamespacedName, view::RunView};
use serde::Serialize;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::Instant,
};
use tokio_stream::wrappers::ReceiverStream;

use super::{
    auth::{Caller, principal_of},
    problem::{ApiError, ApiResult},
    runs::newest,
};
use crate::app::App;

/// Streams that are open at once at most.
static OPEN: std::sync::LazyLock<Arc<Semaphore>> =
    std::sync::LazyLock::new(|| Arc::new(Semaphore::new(256)));
/// How often a stream looks for changes.
pub const POLL: Duration = Duration::from_millis(300);
/// How often a silent stream says that it lives, and its token is looked at again.
const BOOKMARK: Duration = Duration::from_secs(15);
/// How long a reader may take nothing before it is dropped.
const STALL: Duration = Duration::from_secs(20);

/// Where the reader of a stream stands: the ids of its events say it.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// Events are counted, and nobody can come back to one.
    Counted(u64),
    /// In the middle of everything.
    Nowhere,
    /// Behind the change of this number.
    At(u64),
}

/// The writing end of one stream.
pub struct Writer {
    app: Arc<App>,
    caller: Caller,
    sender: mpsc::Sender<Result<Event, Infallible>>,
    place: Place,
    /// What is followed, in a word: a place in one stream is none in another.
    scope: String,
    bookmark_at: Instant,
    _permit: OwnedSemaphorePermit,
}

impl Writer {
    /// Opens a stream. The second value is the answer to the request.
    ///
    /// # Errors
    /// 429 when too many are open.
    pub fn open(app: Arc<App>, caller: Caller) -> ApiResult<(Self, Response)> {
        let permit = Arc::clone(&OPEN).try_acquire_owned().map_err(|_| {
            ApiError::new(
                StatusCode::TOO_MANY_REQUESTS,
                "TooManyWatches",
                "256 watches are open on this hub already; close some",
            )
        })?;
        let (sender, receiver) = mpsc::channel(64);
        let mut response = Sse::new(ReceiverStream::new(receiver)).into_response();
        // Proxies must not hold events back.
        response.headers_mut().insert(
            HeaderName::from_static("x-accel-buffering"),
            HeaderValue::from_static("no"),
        );
        let writer = Self {
            app,
            caller,
            sender,
            place: Place::Counted(0),
            scope: "run".to_owned(),
            bookmark_at: Instant::now() + BOOKMARK,
            _permit: permit,
        };
        Ok((writer, response))
    }

    /// Sends an event; tells whether the reader is still there.
    pub async fn send<T: Serialize>(&mut self, name: &str, data: &T) -> bool {
        let place = match &mut self.place {
            Place::Counted(sequence) => {
                *sequence += 1;
                format!("e{sequence}")
            }
            Place::Nowhere => "none".to_owned(),
            Place::At(number) => number.to_string(),
        };
        let id = format!("{}.{}.{place}", self.app.replica.simple(), self.scope);
        let Ok(data) = serde_json::to_string(data) else {
            return false;
        };
        let event = Event::default().id(id).event(name).data(data);
        let sent = tokio::time::timeout(STALL, self.sender.send(Ok(event))).await;
        matches!(sent, Ok(Ok(())))
    }

    /// Says what is followed, in a word without dots.
    pub fn follow(&mut self, scope: String) {
        self.scope = scope;
    }

    /// The events from now on belong to a start that is not over: there is nothing to resume.
    pub const fn stand_nowhere(&mut self) {
        self.place = Place::Nowhere;
    }

    /// Whoever has seen the events from now on has seen every change up to this number.
    pub const fn stand_at(&mut self, number: u64) {
        self.place = Place::At(number);
    }

    /// The number of the change that an event with this id stands for; absent = it is of another
    /// hub or an earlier process, or there is nothing to resume from.
    pub fn place_of(&self, id: &str) -> Option<u64> {
        let (stream, place) = id.rsplit_once('.')?;
        (stream == format!("{}.{}", self.app.replica.simple(), self.scope))
            .then(|| place.parse().ok())
            .flatten()
    }

    /// Waits until it is time to look again; tells whether to go on.
    pub async fn tick(&mut self) -> bool {
        self.wait(tokio::time::sleep(POLL)).await
    }

    /// Waits for `news`, and says meanwhile that the stream lives; tells whether to go on.
    pub async fn wait(&mut self, news: impl Future<Output = ()>) -> bool {
        tokio::select! {
            () = self.app.shutdown.cancelled() => return false,
            () = self.sender.closed() => return false,
            () = tokio::time::sleep_until(self.bookmark_at) => {}
            () = news => {}
        }
        if Instant::now() < self.bookmark_at {
            return true;
        }
        self.bookmark_at = Instant::now() + BOOKMARK;
        if let Some(hash) = &self.caller.token
            && let Ok(None) = principal_of(&self.app.store, hash).await
        {
            let problem = serde_json::json!({
                "status": 401, "code": "Unauthenticated", "detail": "the token was revoked",
            });
            self.send("error", &problem).await;
            return false;
        }
        let now = self.app.clock.now().to_string();
        self.send("bookmark", &serde_json::json!({"time": now}))
            .await
    }
}

/// Follows the newest run of an application.
///
/// # Errors
/// 429 when too many streams are open.
pub fn follow_run(
    app: Arc<App>,
    caller: Caller,
    application: NamespacedName,
) -> ApiResult<Response> {
    let (mut writer, response) = Writer::open(Arc::clone(&app), caller)?;
    let tasks = app.tasks.clone();
    tasks.spawn(async move {
        let mut last: Option<RunView> = None;
        loop {
            match newest(&app, &application).await {
                Ok(view) => {
                    let mut same = view.clone();
                    if let Some(last) = &last {
                        same.observed_at.clone_from(&last.observed_at);
                        if last.run.is_nil() && view.run.is_nil() {
                            same.created_at.clone_from(&last.created_at);
                        }
                    }
                    if last.as_ref() != Some(&same) {
                        if !writer.send("status", &view).await {
                            return;
                        }
                        last = Some(view);
                    }
                }
                // Deleted while it was followed.
                Err(error) if error.status() == StatusCode::NOT_FOUND && last.is_some() => {
                    writer.send("deleted", &application).await;
                    return;
                }
                // The database is away, or there is no run yet: the next look may know more.
                Err(_) => {}
            }
            if !writer.tick().await {
                return;
            }
        }
    });
    Ok(response)
}
