//! Private sources, against servers on this machine that want credentials.

use std::{
    collections::BTreeMap,
    process::Command,
    sync::{Arc, Mutex, OnceLock},
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, Uri, header},
};
use bellwether_api::reference::NamespacedName;
use bellwether_hub::loops::LoopError;
use bellwether_sources::{Settings, Sources};
use bellwether_store::{
    Store, pushes,
    secrets::{self, SecretValue},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    registry::{Registry, layer},
    rendering::{Shelf, Stage, chart},
    repository::Repository,
    ssh_server::SshServer,
};

/// What the servers want of the user `git`.
const PASSWORD: &str = "hunter2";
/// `git:hunter2`, as it is sent.
const BASIC: &str = "Basic Z2l0Omh1bnRlcjI=";

pub async fn set(store: &Store, name: &str, entries: &[(&str, &str)]) {
    let entries = entries
        .iter()
        .map(|(key, value)| {
            let value = SecretValue::new(value.as_bytes().to_vec());
            ((*key).to_owned(), value)
        })
        .collect::<BTreeMap<_, _>>();
    let mut tx = store.begin().await.expect("a transaction");
    secrets::set(
        &mut tx,
        &named(name),
        &entries,
        "ana",
        jiff::Timestamp::now(),
    )
    .await
    .expect("a secret");
    tx.commit().await.expect("a commit");
}

fn named(name: &str) -> NamespacedName {
    NamespacedName {
        namespace: "default".to_owned(),
        name: name.to_owned(),
    }
}

/// Sources that may ask this machine, also without TLS.
fn sources(folder: &TempDir) -> Box<Sources> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut settings = Settings::new(folder.path().to_owned());
    settings.addresses.allowed_networks = vec!["127.0.0.0/8".parse().expect("a network")];
    settings.addresses.plain_http_hosts = vec!["127.0.0.1".to_owned()];
    Box::new(Sources::open(settings).expect("sources"))
}

async fn serve(app: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}")
}

/// Everything that is logged.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// What all tests of this program log from now on: a subscriber of one thread alone would miss what
    /// another thread logged first.
    pub fn listen() -> Self {
        static LOG: OnceLock<Log> = OnceLock::new();
        let listen = || {
            let log = Self::default();
            let own = log.clone();
            tracing_subscriber::fmt()
                .with_max_level(tracing::Level::DEBUG)
                .with_writer(move || own.clone())
                .init();
            log
        };
        LOG.get_or_init(listen).clone()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no panic")).into_owned()
    }
}

pub fn is_said(result: Result<(), LoopError>, reason: &str) -> String {
    let said = result.expect_err("something is wrong").chain();
    assert!(said.contains(reason), "{reason}: {said}");
    assert!(
        !said.contains(PASSWORD) && !said.contains(&BASIC[6..]),
        "{said}"
    );
    said
}

fn map(version: u32) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata: {{version: \"{version}\"}}\n"
    )
}

#[tokio::test]
async fn a_private_repository_is_opened_with_a_secret_and_another_one_is_another_look() {
    let log = Log::listen();
    let repository = Repository::new();
    repository.write("objects/a.yaml", map(1));
    repository.commit("two");
    let (app, seen) = repository.app(Some(BASIC));
    let url = format!("{}/shop/.git", serve(app).await);
    let folder = tempfile::tempdir().expect("a directory");
    let mut stage = Stage::fetching(sources(&folder)).await;
    let store = stage.fleet.store.clone();
    stage
        .apply(
            json!({"name": "web", "git": {"url": url, "branch": "main", "path": "objects",
            "credentialsRef": {"name": "git"}}}),
        )
        .await;
    let version = async |stage: &Stage| {
        let object = stage.object("canary-1", "ConfigMap", "a").await;
        object["data"]["version"].clone()
    };

    is_said(stage.settle().await, "SecretNotFound");
    assert_eq!(seen.count(""), 0, "nobody is asked without it");
    set(&store, "git", &[("username", "git"), ("password", "wrong")]).await;
    is_said(stage.settle().await, "Unauthorised");
    set(&store, "git", &[("username", "git")]).await;
    is_said(stage.settle().await, "SecretInvalid");
    set(
        &store,
        "git",
        &[("username", "git"), ("password", PASSWORD)],
    )
    .await;
    stage.settle().await.expect("released");
    assert_eq!(version(&stage).await, "1");
    assert_eq!(stage.fleet.granted(1).await.len(), 2);
    stage.fleet.succeed_all().await;
    stage.settle().await.expect("done");

    // It is not opened any more: what there is stays, and that is said.
    set(&store, "git", &[("username", "git"), ("password", "wrong")]).await;
    repository.write("objects/a.yaml", map(2));
    repository.commit("three");
    is_said(stage.settle().await, "Unauthorised");
    let mut tx = store.begin().await.expect("a transaction");
    secrets::delete(&mut tx, &named("git")).await.expect("gone");
    tx.commit().await.expect("a commit");
    is_said(stage.settle().await, "SecretNotFound");
    assert_eq!(version(&stage).await, "1");
    assert!(stage.fleet.granted(2).await.is_empty());
    set(
        &store,
        "git",
        &[("username", "git"), ("password", PASSWORD)],
    )
    .await;
    stage.settle().await.expect("released");
    assert_eq!(version(&stage).await, "2", "no interval was waited for");

    assert_eq!(*seen.leaks.lock().expect("no panic"), Vec::<String>::new());
    let log = log.text();
    assert!(log.contains("source fetched"), "the log was listened to");
    assert!(
        !log.contains(PASSWORD) && !log.contains(&BASIC[6..]),
        "{log}"
    );
}

#[tokio::test]
async fn a_repository_behind_ssh_is_opened_with_a_key_at_a_known_host() {
    let repository = Repository::new();
    repository.write("objects/a.yaml", map(1));
    repository.commit("two");
    let server = SshServer::start().await;
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).expect("users");
    let user = user.expect("this user has a name").name;
    let path = repository.path();
    let url = format!("ssh://{user}@{}{}", server.address, path.display());
    let folder = tempfile::tempdir().expect("a directory");
    let stage = Stage::fetching(sources(&folder)).await;
    let store = stage.fleet.store.clone();
    let component = |more: Value| {
        let mut git = json!({"url": url, "branch": "main", "path": "objects",
            "credentialsRef": {"name": "key"}});
        git.as_object_mut()
            .expect("a map")
            .extend(more.as_object().expect("a map").clone());
        json!({"name": "web", "git": git})
    };
    let identity = server.read("client");
    set(&store, "key", &[("identity", &identity)]).await;
    stage.apply(component(json!({}))).await;
    let said = is_said(stage.settle().await, "SecretInvalid");
    assert!(said.contains("known_hosts"), "{said}");
    let hosts = json!({"knownHostsRef": {"name": "hosts"}});
    stage.apply(component(hosts)).await;
    is_said(stage.settle().await, "SecretNotFound");
    set(
        &store,
        "hosts",
        &[("known_hosts", &server.known("stranger.pub"))],
    )
    .await;
    is_said(stage.settle().await, "HostKeyUnknown");
    set(
        &store,
        "hosts",
        &[("known_hosts", &server.known("host.pub"))],
    )
    .await;
    stage.settle().await.expect("released");
    stage.object("canary-1", "ConfigMap", "a").await;
}

#[tokio::test]
async fn a_private_registry_is_opened_with_a_password() {
    let registry = Registry::start(true);
    let files = [layer(
        map(1),
        "application/yaml",
        &[("org.opencontainers.image.title", "a.yaml")],
    )];
    registry.push("shop", "v1", &files).await;
    let folder = tempfile::tempdir().expect("a directory");
    let stage = Stage::fetching(sources(&folder)).await;
    let store = stage.fleet.store.clone();
    stage
        .apply(
            json!({"name": "web", "oci": {"url": registry.url("shop"), "tag": "v1",
            "credentialsRef": {"name": "registry"}}}),
        )
        .await;
    set(
        &store,
        "registry",
        &[("username", "git"), ("password", "wrong")],
    )
    .await;
    is_said(stage.settle().await, "Unauthorised");
    set(
        &store,
        "registry",
        &[("username", "git"), ("password", PASSWORD)],
    )
    .await;
    stage.settle().await.expect("released");
    stage.object("canary-1", "ConfigMap", "a").await;
}

/// Paths with what was sent to authorise them.
type Requests = Arc<Mutex<Vec<(String, Option<String>)>>>;

#[derive(Clone)]
struct Charts {
    /// What is asked for, with what was sent along.
    seen: Requests,
    token: Option<&'static str>,
    index: String,
    archive: Vec<u8>,
}

async fn chart_file(
    State(charts): State<Charts>,
    uri: Uri,
    headers: HeaderMap,
) -> (StatusCode, Vec<u8>) {
    let sent = headers.get(header::AUTHORIZATION);
    let sent = sent.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let asked = (uri.path().to_owned(), sent.clone());
    charts.seen.lock().expect("no panic").push(asked);
    if charts.token.is_some() && sent.as_deref() != charts.token {
        return (StatusCode::UNAUTHORIZED, Vec::new());
    }
    match uri.path() {
        "/index.yaml" => (StatusCode::OK, charts.index.into_bytes()),
        "/web.tgz" => (StatusCode::OK, charts.archive),
        _ => (StatusCode::NOT_FOUND, Vec::new()),
    }
}

#[tokio::test]
async fn a_private_chart_repository_takes_a_token_that_no_other_host_gets() {
    let charts = concat!(env!("CARGO_MANIFEST_DIR"), "/../integration-tests/charts");
    let packed = Command::new("tar")
        .args(["--create", "--gzip", "--directory", charts, "web"])
        .output()
        .expect("tar");
    assert!(packed.status.success());
    let seen = Arc::default();
    let elsewhere = Charts {
        seen: Arc::clone(&seen),
        token: None,
        index: String::new(),
        archive: packed.stdout,
    };
    // Another name of this machine is another host.
    let archives = serve(Router::new().fallback(chart_file).with_state(elsewhere)).await;
    let repository = Charts {
        seen: Arc::default(),
        token: Some("Bearer hunter2"),
        index: format!(
            "apiVersion: v1\nentries:\n  web:\n  - {{name: web, version: 1.0.0, urls: ['{archives}/web.tgz']}}\n"
        ),
        archive: Vec::new(),
    };
    let asked = Arc::clone(&repository.seen);
    let url = serve(Router::new().fallback(chart_file).with_state(repository)).await;
    let folder = tempfile::tempdir().expect("a directory");
    let stage = Stage::fetching(sources(&folder)).await;
    let store = stage.fleet.store.clone();
    stage
        .apply(chart(|helm| {
            helm["repository"] = json!(url);
            helm["credentialsRef"] = json!({"name": "charts"});
        }))
        .await;
    set(&store, "charts", &[("bearerToken", "other")]).await;
    is_said(stage.settle().await, "Unauthorised");
    set(&store, "charts", &[("bearerToken", PASSWORD)]).await;
    stage.settle().await.expect("released");
    stage.object("canary-1", "Deployment", "web").await;
    let asked = asked.lock().expect("no panic").clone();
    assert!(asked.contains(&("/index.yaml".to_owned(), Some("Bearer hunter2".to_owned()))));
    let seen = seen.lock().expect("no panic").clone();
    assert!(!seen.is_empty());
    assert!(seen.iter().all(|(_, sent)| sent.is_none()), "{seen:?}");
}

#[tokio::test]
async fn a_push_is_another_look_and_none_is_one_for_others() {
    let shelf = Shelf::default();
    shelf.put("a.yaml", &map(1));
    let mut stage = Stage::new(&shelf).await;
    let store = stage.fleet.store.clone();
    let component =
        json!({"name": "web", "git": {"url": "https://git.example/a", "branch": "main"}});
    stage.apply_with(component, json!({"interval": "0s"})).await;
    stage.settle().await.expect("released");
    stage.fleet.succeed_all().await;
    stage.settle().await.expect("done");
    shelf.put("a.yaml", &map(2));
    stage.settle().await.expect("nobody looks");
    let note = async |component: &str| {
        let concerned = [(crate::fleet::shop(), component.to_owned())];
        pushes::note(&store, &concerned, jiff::Timestamp::now())
            .await
            .expect("noted");
    };
    note("other").await;
    stage.settle().await.expect("nobody looks");
    assert!(stage.fleet.granted(2).await.is_empty());
    note("web").await;
    stage.settle().await.expect("released");
    assert_eq!(stage.fleet.granted(2).await.len(), 2);
}
