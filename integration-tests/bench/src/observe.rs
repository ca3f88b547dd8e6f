//! Watches objects of a member's API server and says when each change was seen.

use std::time::Instant;

use futures::StreamExt as _;
use jiff::Timestamp;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, WatchEvent, WatchParams},
    core::GroupVersionKind,
};
use serde_json::Value;
use tokio::{sync::mpsc, task::JoinHandle};

/// How long one watch request lasts before it is made anew, in seconds.
const WATCH_SECONDS: u32 = 280;

/// One object as it was seen.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its name.
    pub name: String,
    /// The object; null = it was deleted.
    pub object: Value,
    /// By the monotonic clock.
    pub at: Instant,
    /// By the wall clock.
    pub wall: Timestamp,
}

/// A running watch; ends when it is dropped.
#[derive(Debug)]
pub struct Watch {
    seen: mpsc::UnboundedReceiver<Seen>,
    task: JoinHandle<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watch {
    /// Watches one kind in one namespace; what exists already comes first.
    pub fn start(client: &Client, api_version: &str, kind: &str, namespace: &str) -> Self {
        let api = dynamic(client, api_version, kind, namespace);
        let (sender, seen) = mpsc::unbounded_channel();
        Self {
            seen,
            task: tokio::spawn(follow(api, sender)),
        }
    }

    /// The next change; `None` once the watch has ended.
    pub async fn next(&mut self) -> Option<Seen> {
        self.seen.recv().await
    }
}

/// Objects of one kind in one namespace, whatever their shape.
pub fn dynamic(
    client: &Client,
    api_version: &str,
    kind: &str,
    namespace: &str,
) -> Api<DynamicObject> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    Api::namespaced_with(client.clone(), namespace, &resource)
}

async fn follow(api: Api<DynamicObject>, sender: mpsc::UnboundedSender<Seen>) {
    loop {
        let parameters = WatchParams::default().timeout(WATCH_SECONDS);
        match api.watch(&parameters, "0").await {
            Ok(events) => {
                let mut events = std::pin::pin!(events);
                while let Some(Ok(event)) = events.next().await {
                    if let Some(seen) = seen(event)
                        && sender.send(seen).is_err()
                    {
                        return;
                    }
                }
            }
            Err(error) => {
                eprintln!("a watch was refused: {error}");
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
        }
    }
}

fn seen(event: WatchEvent<DynamicObject>) -> Option<Seen> {
    let (at, wall) = (Instant::now(), Timestamp::now());
    let (object, exists) = match event {
        WatchEvent::Added(object) | WatchEvent::Modified(object) => (object, true),
        WatchEvent::Deleted(object) => (object, false),
        WatchEvent::Bookmark(_) | WatchEvent::Error(_) => return None,
    };
    let name = object.metadata.name.clone()?;
    let object = if exists {
        serde_json::to_value(object).ok()?
    } else {
        Value::Null
    };
    Some(Seen {
        name,
        object,
        at,
        wall,
    })
}
