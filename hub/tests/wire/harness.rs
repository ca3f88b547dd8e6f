//! Hubs on databases of their own.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use bellwether_hub::{
    app::{self, App, Running},
    config::Config,
    grpc::enrol::{JoinMaterial, NewJoinToken, create_join_token},
};
use bellwether_store::{
    Digest,
    blobs::{self, Secrecy},
    desired::{self, ClusterChange, Deletions, UnitChange, Written},
    testing::TestDatabase,
};
use clap::Parser;
use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use uuid::Uuid;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    config: Config,
}

/// A database, a folder of keys, and hubs on them.
pub struct Site {
    pub database: TestDatabase,
    folder: tempfile::TempDir,
    hubs: u32,
}

impl Site {
    pub async fn new() -> Self {
        let database = TestDatabase::create().await;
        Self {
            database,
            folder: tempfile::tempdir().unwrap(),
            hubs: 0,
        }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub async fn hub(&mut self) -> Hub {
        self.hub_with(&[]).await
    }

    /// Starts one more hub on the same database, with further flags.
    pub async fn hub_with(&mut self, flags: &[&str]) -> Hub {
        let config = self.config(flags);
        // Without the loops, which take away units of applications that nobody declared.
        Hub {
            running: app::start_serving(config).await.unwrap(),
        }
    }

    /// What one more hub on the same database is started with.
    pub fn config(&mut self, flags: &[&str]) -> Config {
        self.hubs += 1;
        let data_dir = self.path().join(format!("hub-{}", self.hubs));
        let pki_dir = self.path().join("pki");
        let mut arguments = vec!["hub", "--listen", "127.0.0.1:0"];
        arguments.extend(["--agent-listen", "127.0.0.1:0"]);
        arguments.extend(["--data-dir", data_dir.to_str().unwrap()]);
        arguments.extend(["--pki-dir", pki_dir.to_str().unwrap()]);
        arguments.extend(["--database-url", &self.database.url]);
        arguments.extend(flags);
        Arguments::try_parse_from(arguments).unwrap().config
    }
}

pub struct Hub {
    pub running: Running,
}

impl Hub {
    pub fn app(&self) -> &Arc<App> {
        &self.running.app
    }

    pub fn address(&self) -> String {
        self.running.agents.to_string()
    }

    pub async fn token(&self, cluster: &str) -> JoinMaterial {
        self.token_with(cluster, Duration::from_secs(900), 1).await
    }

    pub async fn token_with(&self, cluster: &str, ttl: Duration, uses: u32) -> JoinMaterial {
        let new = NewJoinToken {
            cluster: cluster.to_owned(),
            labels: BTreeMap::new(),
            ttl,
            uses,
            by: "tests".to_owned(),
        };
        create_join_token(self.app(), new).await.unwrap()
    }

    /// Writes units of one cluster: key and content, no content = tombstone.
    pub async fn write(&self, cluster: Uuid, units: &[(&str, Option<&[u8]>)]) -> Option<Written> {
        let store = &self.app().store;
        let mut tx = store.begin().await.unwrap();
        let contents: BTreeSet<&[u8]> = units.iter().filter_map(|(_, content)| *content).collect();
        for content in contents {
            blobs::put(&mut tx, content, Secrecy::Plain, Timestamp::now())
                .await
                .unwrap();
        }
        let change = |(key, content): &(&str, Option<&[u8]>)| UnitChange {
            key: (*key).to_owned(),
            digest: content.map(digest),
            origin: "tests".to_owned(),
        };
        let changes = units.iter().map(change).collect();
        let change = ClusterChange { cluster, changes };
        let written = desired::write(&mut tx, &[change], Deletions::Allowed)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        self.app().pokes.deliver.notify_one();
        written.into_iter().next()
    }

    /// Asks the API below `/api/v1` as its administrator.
    pub async fn ask(&self, method: Method, path: &str, body: Value) -> Value {
        let (status, answer) = self.call(method, path, body).await;
        assert!(status.is_success(), "{path}: {status}: {answer}");
        answer
    }

    /// As [`Self::ask`], also where it is refused.
    pub async fn call(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        let token = std::fs::read_to_string(self.app().config.data_dir.join("token")).unwrap();
        let client = reqwest::Client::builder().tls_certs_only([]);
        let url = format!("http://{}/api/v1/{path}", self.running.http);
        let request = client.build().unwrap().request(method, url);
        let request = request.bearer_auth(token);
        let request = match body {
            Value::Null => request,
            body => request.json(&body),
        };
        let answer = request.send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    pub async fn get(&self, path: &str) -> Value {
        self.ask(Method::GET, path, Value::Null).await
    }

    pub async fn stop(self) {
        self.running.stop().await;
    }
}

/// The digest of a content.
pub fn digest(content: &[u8]) -> Digest {
    Digest::of(content)
}

/// Waits until `check` gives something.
pub async fn eventually<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(15);
    loop {
        if let Some(value) = check().await {
            return value;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "{what} did not happen in time"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
