//! A small API server: as much of one as the hub asks for custom resources.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};
use tokio::{sync::Notify, task::JoinHandle};

/// Where the API server keeps whom it asks.
const CONFIGURATION: &str =
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/bellwether-records";

/// Plural, namespace (empty = none) and name.
type Key = (String, String, String);

#[derive(Default)]
struct Inner {
    objects: BTreeMap<Key, Value>,
    version: u64,
    /// What happened: the version, the plural, the event.
    log: Vec<(u64, String, Value)>,
    writes: Vec<String>,
    webhooks: Value,
}

#[derive(Default)]
struct Shared {
    inner: Mutex<Inner>,
    news: Notify,
}

/// A running server.
pub struct ApiServer {
    shared: Arc<Shared>,
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ApiServer {
    pub async fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let base = "/apis/bellwether.dev/v1alpha1";
        let app = Router::new()
            .route(&format!("{base}/{{plural}}"), get(list))
            .route(
                &format!("{base}/{{plural}}/{{name}}"),
                axum::routing::patch(patch_global),
            )
            .route(
                &format!("{base}/{{plural}}/{{name}}/status"),
                axum::routing::put(status_global),
            )
            .route(
                &format!("{base}/namespaces/{{namespace}}/{{plural}}/{{name}}"),
                axum::routing::patch(patch_namespaced),
            )
            .route(
                &format!("{base}/namespaces/{{namespace}}/{{plural}}/{{name}}/status"),
                axum::routing::put(status_namespaced),
            )
            .route(CONFIGURATION, get(configuration).put(configure))
            .fallback(async || refused(StatusCode::NOT_FOUND))
            .with_state(Arc::clone(&shared));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            shared,
            address,
            task,
        }
    }

    pub fn kubeconfig(&self) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n\
             clusters: [{{name: c, cluster: {{server: 'http://{}'}}}}]\nusers: [{{name: u, user: {{}}}}]\n",
            self.address
        )
    }

    /// Makes or changes an object as `kubectl apply` would.
    pub fn apply(&self, plural: &str, text: &str) {
        let mut object: Value = serde_saphyr::from_str(text).unwrap();
        let key = key_of(plural, &object);
        let mut inner = self.shared.inner.lock().unwrap();
        let before = inner.objects.get(&key).cloned();
        let generation = before
            .as_ref()
            .map_or(0, |one| one["metadata"]["generation"].as_u64().unwrap());
        let changed = before
            .as_ref()
            .is_none_or(|one| one["spec"] != object["spec"]);
        object["metadata"]["generation"] = json!(generation + u64::from(changed));
        object["metadata"]["managedFields"] =
            json!([{"manager": "kubectl", "time": "2026-01-01T00:00:00Z", "operation": "Apply"}]);
        if let Some(before) = before {
            object["metadata"]["finalizers"] = before["metadata"]["finalizers"].clone();
            object["status"] = before["status"].clone();
        }
        inner.store(key, object);
        drop(inner);
        self.shared.news.notify_waiters();
    }

    /// Deletes an object as `kubectl delete` would: it stays while it has a finalizer.
    pub fn delete(&self, plural: &str, namespace: &str, name: &str) {
        let mut inner = self.shared.inner.lock().unwrap();
        let key = (plural.to_owned(), namespace.to_owned(), name.to_owned());
        let mut object = inner.objects[&key].clone();
        object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        inner.store(key, object);
        drop(inner);
        self.shared.news.notify_waiters();
    }

    /// Has an object vanish, whatever holds it.
    pub fn lose(&self, plural: &str, namespace: &str, name: &str) {
        let mut inner = self.shared.inner.lock().unwrap();
        let key = (plural.to_owned(), namespace.to_owned(), name.to_owned());
        let mut object = inner.objects[&key].clone();
        object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        object["metadata"]["finalizers"] = json!([]);
        inner.store(key, object);
        drop(inner);
        self.shared.news.notify_waiters();
    }

    pub fn object(&self, plural: &str, namespace: &str, name: &str) -> Option<Value> {
        let key = (plural.to_owned(), namespace.to_owned(), name.to_owned());
        self.shared.inner.lock().unwrap().objects.get(&key).cloned()
    }

    /// A condition of an object; null = it has none of that type.
    pub fn condition(&self, plural: &str, namespace: &str, name: &str, kind: &str) -> Value {
        let object = self.object(plural, namespace, name).unwrap_or_default();
        let conditions = object["status"]["conditions"].as_array().cloned();
        let found = conditions
            .into_iter()
            .flatten()
            .find(|one| one["type"] == kind);
        found.unwrap_or_default()
    }

    /// Whom the API server asks, as the hub has configured it; null = nobody yet.
    pub fn webhook(&self) -> Value {
        self.shared.inner.lock().unwrap().webhooks[0].clone()
    }

    /// What the hub wrote, in order.
    pub fn writes(&self) -> Vec<String> {
        self.shared.inner.lock().unwrap().writes.clone()
    }
}

fn key_of(plural: &str, object: &Value) -> Key {
    let text = |field: &str| {
        object["metadata"][field]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    (plural.to_owned(), text("namespace"), text("name"))
}

impl Inner {
    /// Stores an object under a new version, or deletes it where nothing holds it any more.
    fn store(&mut self, key: Key, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let is_held = object["metadata"]["finalizers"]
            .as_array()
            .is_some_and(|all| !all.is_empty());
        let is_gone = !object["metadata"]["deletionTimestamp"].is_null() && !is_held;
        let word = match (is_gone, self.objects.contains_key(&key)) {
            (true, _) => "DELETED",
            (false, true) => "MODIFIED",
            (false, false) => "ADDED",
        };
        let event = json!({"type": word, "object": object});
        self.log.push((self.version, key.0.clone(), event));
        if is_gone {
            self.objects.remove(&key);
        } else {
            self.objects.insert(key, object.clone());
        }
        object
    }
}

fn refused(code: StatusCode) -> Response {
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code.as_u16(),
        "reason": code.canonical_reason(), "message": "refused",
    });
    (code, Json(status)).into_response()
}

async fn list(
    State(shared): State<Arc<Shared>>,
    Path(plural): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    if query.contains_key("watch") {
        let from = query
            .get("resourceVersion")
            .and_then(|text| text.parse().ok());
        let stream = futures::stream::unfold((shared, plural, from.unwrap_or(0)), follow);
        return Body::from_stream(stream).into_response();
    }
    let inner = shared.inner.lock().unwrap();
    let items: Vec<&Value> = inner
        .objects
        .iter()
        .filter(|(key, _)| key.0 == plural)
        .map(|(_, one)| one)
        .collect();
    Json(json!({
        "apiVersion": "bellwether.dev/v1alpha1", "kind": "List",
        "metadata": {"resourceVersion": inner.version.to_string()}, "items": items,
    }))
    .into_response()
}

type Follower = (Arc<Shared>, String, u64);

async fn follow(
    (shared, plural, from): Follower,
) -> Option<(Result<Bytes, std::io::Error>, Follower)> {
    loop {
        let mut notified = std::pin::pin!(shared.news.notified());
        notified.as_mut().enable();
        let next = {
            let inner = shared.inner.lock().unwrap();
            inner
                .log
                .iter()
                .find(|(version, of, _)| *version > from && *of == plural)
                .cloned()
        };
        if let Some((version, _, event)) = next {
            let line = Bytes::from(format!("{event}\n"));
            return Some((Ok(line), (Arc::clone(&shared), plural, version)));
        }
        notified.await;
    }
}

/// Changes an object that the hub saw at the version that it names.
fn write(
    shared: &Shared,
    key: Key,
    seen: &Value,
    what: &str,
    change: impl FnOnce(&mut Value),
) -> Response {
    let mut inner = shared.inner.lock().unwrap();
    let Some(mut object) = inner.objects.get(&key).cloned() else {
        return refused(StatusCode::NOT_FOUND);
    };
    if object["metadata"]["resourceVersion"] != seen["metadata"]["resourceVersion"] {
        return refused(StatusCode::CONFLICT);
    }
    change(&mut object);
    inner
        .writes
        .push(format!("{what} {}/{}/{}", key.0, key.1, key.2));
    let stored = inner.store(key, object);
    drop(inner);
    shared.news.notify_waiters();
    Json(stored).into_response()
}

fn patch(shared: &Shared, key: Key, body: &Value) -> Response {
    write(shared, key, body, "patch", |object| {
        object["metadata"]["finalizers"] = body["metadata"]["finalizers"].clone();
    })
}

fn status(shared: &Shared, key: Key, body: &Value) -> Response {
    write(shared, key, body, "status", |object| {
        object["status"] = body["status"].clone()
    })
}

fn read(body: &Bytes) -> Value {
    serde_json::from_slice(body).unwrap()
}

async fn patch_global(
    State(shared): State<Arc<Shared>>,
    Path((plural, name)): Path<(String, String)>,
    body: Bytes,
) -> Response {
    patch(&shared, (plural, String::new(), name), &read(&body))
}

async fn status_global(
    State(shared): State<Arc<Shared>>,
    Path((plural, name)): Path<(String, String)>,
    body: Bytes,
) -> Response {
    status(&shared, (plural, String::new(), name), &read(&body))
}

async fn patch_namespaced(
    State(shared): State<Arc<Shared>>,
    Path((namespace, plural, name)): Path<(String, String, String)>,
    body: Bytes,
) -> Response {
    patch(&shared, (plural, namespace, name), &read(&body))
}

async fn status_namespaced(
    State(shared): State<Arc<Shared>>,
    Path((namespace, plural, name)): Path<(String, String, String)>,
    body: Bytes,
) -> Response {
    status(&shared, (plural, namespace, name), &read(&body))
}

async fn configuration(State(shared): State<Arc<Shared>>) -> Response {
    let webhooks = shared.inner.lock().unwrap().webhooks.clone();
    Json(json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "bellwether-records"}, "webhooks": webhooks,
    }))
    .into_response()
}

async fn configure(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let configuration = read(&body);
    shared.inner.lock().unwrap().webhooks = configuration["webhooks"].clone();
    Json(configuration).into_response()
}
