//! An API server of a few lines: it knows some kinds, and a test says what it answers.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use kube::{Client, client::Body};
use serde_json::{Value, json};

/// Status and body of an answer.
pub(crate) type Answer = (StatusCode, Value);

/// What was asked: method, path with query, body, and in whose name.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) body: Value,
    /// The user in whose name it was asked; absent = in the agent's own.
    pub(crate) user: Option<String>,
}

/// Every request but those about kinds, oldest first.
pub(crate) type Log = Arc<Mutex<Vec<Asked>>>;

/// A client of a server that answers as `answer` says.
pub(crate) fn client(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> (Client, Log) {
    let log = Log::default();
    let (seen, answer) = (Arc::clone(&log), Arc::new(answer));
    let service = tower::service_fn(move |request: Request<Body>| {
        let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect_bytes().await?;
            let user = parts.headers.get("impersonate-user");
            let asked = Asked {
                user: user.map(|user| String::from_utf8_lossy(user.as_bytes()).into_owned()),
                method: parts.method,
                path: parts.uri.to_string(),
                body: serde_json::from_slice(&body).unwrap_or_default(),
            };
            let (code, body) = match kinds(parts.uri.path()) {
                Some(known) => (StatusCode::OK, known),
                None => {
                    let answered = answer(&asked);
                    seen.lock().expect("no test panics here").push(asked);
                    answered
                }
            };
            let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
            *response.status_mut() = code;
            Ok::<_, kube::Error>(response)
        }
    });
    (Client::new(service, "default"), log)
}

/// A refusal in the API server's own form.
pub(crate) fn refusal(code: StatusCode, message: &str) -> Answer {
    let reason = code.canonical_reason().unwrap_or_default().replace(' ', "");
    (
        code,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message,
            "reason": reason, "code": code.as_u16()}),
    )
}

/// Discovery of the kinds that there are.
fn kinds(path: &str) -> Option<Value> {
    let (group, resources) = match path {
        "/api/v1" => (
            "v1",
            [
                ("secrets", "Secret"),
                ("configmaps", "ConfigMap"),
                ("namespaces", "Namespace"),
                ("pods", "Pod"),
                ("services", "Service"),
            ]
            .as_slice(),
        ),
        "/apis/apps/v1" => (
            "apps/v1",
            [
                ("deployments", "Deployment"),
                ("replicasets", "ReplicaSet"),
                ("statefulsets", "StatefulSet"),
                ("daemonsets", "DaemonSet"),
                ("controllerrevisions", "ControllerRevision"),
            ]
            .as_slice(),
        ),
        "/apis/batch/v1" => ("batch/v1", [("jobs", "Job")].as_slice()),
        "/apis/gateway.networking.k8s.io/v1" => (
            "gateway.networking.k8s.io/v1",
            [("httproutes", "HTTPRoute")].as_slice(),
        ),
        "/apis/discovery.k8s.io/v1" => (
            "discovery.k8s.io/v1",
            [("endpointslices", "EndpointSlice")].as_slice(),
        ),
        "/apis/apiextensions.k8s.io/v1" => (
            "apiextensions.k8s.io/v1",
            [("customresourcedefinitions", "CustomResourceDefinition")].as_slice(),
        ),
        "/apis/example.dev/v1" => ("example.dev/v1", [("rings", "Ring")].as_slice()),
        "/apis/autoscaling/v2" => (
            "autoscaling/v2",
            [("horizontalpodautoscalers", "HorizontalPodAutoscaler")].as_slice(),
        ),
        _ => return None,
    };
    let resources: Vec<Value> = resources
        .iter()
        .map(|(name, kind)| {
            json!({"name": name, "singularName": "", "namespaced": !["Namespace", "CustomResourceDefinition"].contains(kind),
                "kind": kind, "verbs": ["get", "list", "watch", "patch", "delete"]})
        })
        .collect();
    Some(json!({"kind": "APIResourceList", "groupVersion": group, "resources": resources}))
}
