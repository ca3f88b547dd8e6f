//! An API server that keeps the objects of one namespace, and a source of one metric.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::sync::cluster::double::{Answer, Asked, client, refusal};

#[derive(Default)]
struct Kept {
    version: u64,
    objects: BTreeMap<String, Value>,
    asked: Vec<String>,
    loses_answer: bool,
    namespace_goes: bool,
    forbids: bool,
    unconverted: Option<String>,
    contents_fail: bool,
}

/// The server; clones are the same. Watches fail: who is woken by what is up to the test.
#[derive(Clone, Default)]
pub(super) struct Server(Arc<Mutex<Kept>>);

impl Server {
    pub(super) fn client(&self) -> kube::Client {
        let server = self.clone();
        client(move |asked| server.lock().answer(asked)).0
    }

    pub(super) fn put(&self, plural: &str, object: Value) {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let key = format!("{plural}/{name}");
        self.lock().store(&key, object);
    }

    pub(super) fn get(&self, plural: &str, name: &str) -> Value {
        let kept = self.lock();
        let found = kept.objects.get(&format!("{plural}/{name}"));
        found.cloned().unwrap_or_default()
    }

    /// Takes an object away, as somebody else does.
    pub(super) fn remove(&self, plural: &str, name: &str) {
        self.lock().objects.remove(&format!("{plural}/{name}"));
    }

    /// What was asked since the last call, watches and kinds left out.
    pub(super) fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().asked)
    }

    /// Has the next status written, and its answer lost.
    pub(super) fn lose_answer(&self) {
        self.lock().loses_answer = true;
    }

    /// Has the namespace deleted, and the agent's role in it gone before anything else: what it may still
    /// do it may do everywhere.
    pub(super) fn delete_namespace(&self) {
        let mut kept = self.lock();
        (kept.namespace_goes, kept.forbids) = (true, true);
    }

    /// Takes the agent's role away.
    pub(super) fn forbid(&self) {
        self.lock().forbids = true;
    }

    /// Cannot convert what is written of one object, as plural and name; absent = it can again.
    pub(super) fn cannot_convert(&self, object: Option<&str>) {
        self.lock().unconverted = object.map(str::to_owned);
    }

    /// Does not answer who asks for a stored content, or does again.
    pub(super) fn contents_fail(&self, fail: bool) {
        self.lock().contents_fail = fail;
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0
            .lock()
            .expect("no test panics while it holds the lock")
    }
}

impl Kept {
    fn answer(&mut self, asked: &Asked) -> Answer {
        let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
        if query.contains("watch=") || query.contains("limit=") {
            return refusal(StatusCode::INTERNAL_SERVER_ERROR, "no watches");
        }
        let Some((_, at)) = path.split_once("/namespaces/") else {
            return refusal(StatusCode::NOT_FOUND, "no such kind");
        };
        let Some(at) = at.strip_prefix("shop/") else {
            if at == "shop" {
                self.asked.push(format!("{} namespaces/shop", asked.method));
                let mut space = json!({"apiVersion": "v1", "kind": "Namespace",
                    "metadata": {"name": "shop"}});
                if self.namespace_goes {
                    space["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
                }
                return (StatusCode::OK, space);
            }
            if self.contents_fail && at.contains("/secrets/") {
                return refusal(StatusCode::INTERNAL_SERVER_ERROR, "it does not answer");
            }
            // The agent's own namespace holds nothing.
            return list(Vec::new());
        };
        let labels = selector(query);
        let mut said = format!("{} {at}", asked.method);
        if !labels.is_empty() {
            said = format!("{said}?{labels}");
        }
        self.asked.push(said);
        let key = at.strip_suffix("/status").unwrap_or(at);
        let everywhere = [Method::GET, Method::PATCH, Method::DELETE].contains(&asked.method)
            && at.starts_with("rollouttracks/")
            && key == at;
        if self.forbids && !everywhere {
            return refusal(StatusCode::FORBIDDEN, "no rights in namespace shop");
        }
        if asked.method == Method::PATCH && self.unconverted.as_deref() == Some(key) {
            let said = "conversion webhook for v1 failed: service \"conversion\" not found";
            return refusal(StatusCode::INTERNAL_SERVER_ERROR, said);
        }
        match (&asked.method, key.contains('/')) {
            (&Method::GET, false) => list(self.listed(key, &labels)),
            (&Method::GET, true) => match self.objects.get(key) {
                Some(found) => (StatusCode::OK, found.clone()),
                None => refusal(StatusCode::NOT_FOUND, "not found"),
            },
            (&Method::DELETE, _) => self.delete(key, &asked.body["preconditions"]["uid"]),
            (&Method::PATCH, _) if self.is_gone(key, asked) => {
                refusal(StatusCode::NOT_FOUND, "not found")
            }
            _ => {
                let written = self.write(key, asked);
                if at.ends_with("/status") && std::mem::take(&mut self.loses_answer) {
                    return refusal(StatusCode::INTERNAL_SERVER_ERROR, "the answer is lost");
                }
                written
            }
        }
    }

    fn listed(&self, plural: &str, labels: &str) -> Vec<Value> {
        let prefix = format!("{plural}/");
        let pairs = || labels.split(',').filter_map(|label| label.split_once('='));
        self.objects
            .iter()
            .filter(|(key, _)| key.starts_with(&prefix))
            .map(|(_, object)| object.clone())
            .filter(|object| {
                pairs().all(|(label, value)| object["metadata"]["labels"][label] == value)
            })
            .collect()
    }

    fn delete(&mut self, key: &str, uid: &Value) -> Answer {
        let Some(found) = self.objects.get(key).cloned() else {
            return refusal(StatusCode::NOT_FOUND, "not found");
        };
        if !uid.is_null() && found["metadata"]["uid"] != *uid {
            return refusal(StatusCode::CONFLICT, "another object has that name");
        }
        self.objects.remove(key);
        (StatusCode::OK, found)
    }

    /// A merge patch makes no object; an applied one does.
    fn is_gone(&self, key: &str, asked: &Asked) -> bool {
        !self.objects.contains_key(key) && asked.body.get("kind").is_none()
    }

    fn write(&mut self, key: &str, asked: &Asked) -> Answer {
        let before = self.objects.get(key).cloned().unwrap_or(json!({}));
        let sent = &asked.body["metadata"]["resourceVersion"];
        if asked.method == Method::PUT && *sent != before["metadata"]["resourceVersion"] {
            return refusal(StatusCode::CONFLICT, "it was written in between");
        }
        let mut object = before;
        merge(&mut object, &asked.body);
        (StatusCode::OK, self.store(key, object))
    }

    /// Stores an object as if its controller had done its work already.
    fn store(&mut self, key: &str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        object["metadata"]["uid"] = json!(format!("uid-{key}"));
        if key.starts_with("deployments/") {
            let replicas = object["spec"]["replicas"].clone();
            object["metadata"]["generation"] = json!(1);
            object["status"] = json!({"observedGeneration": 1, "replicas": replicas,
                "updatedReplicas": replicas, "readyReplicas": replicas,
                "availableReplicas": replicas});
        }
        self.objects.insert(key.to_owned(), object.clone());
        object
    }
}

fn list(items: Vec<Value>) -> Answer {
    let list = json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "1"},
        "items": items});
    (StatusCode::OK, list)
}

/// The label selector of a query; empty = none.
fn selector(query: &str) -> String {
    let coded = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("labelSelector="))
        .unwrap_or_default();
    [("%3D", "="), ("%2F", "/"), ("%2C", ",")]
        .into_iter()
        .fold(coded.to_owned(), |text, (code, plain)| {
            text.replace(code, plain)
        })
}

fn merge(object: &mut Value, patch: &Value) {
    match (object, patch) {
        (Value::Object(fields), Value::Object(patch)) => {
            for (field, value) in patch {
                if value.is_null() {
                    fields.remove(field);
                } else {
                    merge(fields.entry(field.clone()).or_insert(Value::Null), value);
                }
            }
        }
        (object, patch) => *object = patch.clone(),
    }
}

/// Starts a source that gives one answer to whatever it is asked; gives its address.
pub(super) async fn answering(answer: Value) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let body = answer.to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let body = body.clone();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
                     connection: close\r\n\r\n{body}",
                    body.len()
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    format!("http://{address}")
}
