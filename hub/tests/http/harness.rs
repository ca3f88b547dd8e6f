//! One hub on a database of its own, and whoever calls it.

use std::{path::PathBuf, time::Duration};

use bellwether_hub::{
    app::{self, Running},
    config::Config,
};
use bellwether_store::testing::TestDatabase;
use clap::Parser;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    config: Config,
}

/// A hub in this process.
pub struct Hub {
    pub running: Running,
    pub data_dir: PathBuf,
    _folder: tempfile::TempDir,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn detail(&self) -> &str {
        self.body["detail"].as_str().unwrap_or_default()
    }
}

/// Whoever calls.
#[derive(Clone)]
pub struct Caller {
    client: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl Hub {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// As [`Self::start`], with more flags.
    pub async fn start_with(flags: &[&str]) -> Self {
        let database = TestDatabase::create().await;
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("data");
        let own = [
            "hub",
            "--listen",
            "127.0.0.1:0",
            "--agent-listen",
            "127.0.0.1:0",
            "--data-dir",
            data_dir.to_str().unwrap(),
            "--database-url",
            &database.url,
        ];
        let config = Arguments::try_parse_from(own.iter().chain(flags))
            .unwrap()
            .config;
        Self {
            running: app::start(config).await.unwrap(),
            data_dir,
            _folder: folder,
        }
    }

    /// A caller with this token; `None` has none.
    pub fn caller(&self, token: Option<&str>) -> Caller {
        let client = reqwest::Client::builder()
            .tls_certs_only([])
            .build()
            .unwrap();
        Caller {
            client,
            base: format!("http://{}", self.running.http),
            token: token.map(str::to_owned),
        }
    }

    /// The administrator, by the token in the data folder.
    pub fn admin(&self) -> Caller {
        let token = std::fs::read_to_string(self.data_dir.join("token")).unwrap();
        self.caller(Some(&token))
    }

    /// The administrator, over the Unix socket.
    pub fn local(&self) -> Caller {
        let client = reqwest::Client::builder()
            .tls_certs_only([])
            .unix_socket(self.data_dir.join("hub.sock"))
            .build()
            .unwrap();
        Caller {
            client,
            base: "http://hub".to_owned(),
            token: None,
        }
    }

    /// Someone with a role in some namespaces.
    pub async fn someone(&self, name: &str, role: &str, namespaces: &[&str]) -> Caller {
        let request = json!({"name": name, "role": role, "namespaces": namespaces});
        let answer = self.admin().post("/api/v1/tokens", &request).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        self.caller(answer.body["token"].as_str())
    }

    /// Announces a cluster; its agent never comes.
    pub async fn announce(&self, name: &str, labels: &Value) {
        let request = json!({"cluster": name, "labels": labels});
        let answer = self.admin().post("/api/v1/join-tokens", &request).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    }
}

impl Caller {
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Answer {
            status,
            headers,
            body,
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    pub async fn apply(&self, documents: &str) -> Answer {
        self.apply_with("", documents).await
    }

    pub async fn apply_with(&self, query: &str, documents: &str) -> Answer {
        let request = self.request(Method::POST, &format!("/api/v1/apply{query}"));
        self.send(request.body(documents.to_owned())).await
    }

    /// Applies, and it must work.
    pub async fn applied(&self, documents: &str) -> Value {
        let answer = self.apply(documents).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer.body
    }
}

/// A fleet of everything.
pub fn fleet(name: &str) -> String {
    format!(
        "apiVersion: bellwether.dev/v1alpha1\nkind: Fleet\nmetadata: {{name: {name}}}\nspec: {{selector: {{}}}}\n"
    )
}

/// An application with a Deployment, a Secret, and two waves.
pub fn application(namespace: &str, name: &str, fleet: &str, image: &str) -> String {
    format!(
        "apiVersion: bellwether.dev/v1alpha1
kind: Application
metadata: {{name: {name}, namespace: {namespace}, labels: {{app: {name}}}}}
spec:
  destination: {{fleet: {fleet}}}
  components:
  - name: web
    manifests:
    - apiVersion: apps/v1
      kind: Deployment
      metadata: {{name: web}}
      spec:
        selector: {{matchLabels: {{app: web}}}}
        template:
          metadata: {{labels: {{app: web}}}}
          spec: {{containers: [{{name: web, image: \"{image}\"}}]}}
    - apiVersion: v1
      kind: Secret
      metadata: {{name: db}}
      stringData: {{password: hunter2}}
  waves:
  - {{name: canary, selector: {{matchLabels: {{tier: canary}}}}}}
  - {{name: rest}}
"
    )
}

/// A rollout of that application.
pub fn rollout(namespace: &str, name: &str, application: &str) -> String {
    format!(
        "apiVersion: bellwether.dev/v1alpha1
kind: Rollout
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  application: {application}
  workload: {{apiVersion: apps/v1, kind: Deployment, name: web}}
  strategy: {{canary: {{stepWeight: 10, maxWeight: 50}}}}
"
    )
}

/// Waits until `check` gives something.
pub async fn eventually<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(value) = check().await {
            return value;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "{what} did not happen in time"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
