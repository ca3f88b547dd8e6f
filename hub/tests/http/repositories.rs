//! Git repositories of records: applied whole or not at all, changed there alone, pruned by somebody's
//! word. The repositories are real ones behind Git's own server.

#[path = "../../sources/tests/servers/repository.rs"]
#[expect(dead_code, reason = "the tests of sources use more of it")]
mod repository;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bellwether_hub_core::fleet_hooks::signature;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use self::repository::Repository;
use crate::harness::{Answer, Caller, Hub, application, eventually, fleet, rollout};

/// A hub, a repository of records, and the server between them.
struct Scene {
    hub: Hub,
    admin: Caller,
    repository: Repository,
    url: String,
    server: JoinHandle<()>,
    looks: std::cell::Cell<u32>,
    /// More fields of `git`.
    git: &'static str,
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Scene {
    async fn start() -> Self {
        Self::start_with(None, "").await
    }

    /// A server that wants this authorization, and more fields of `git`.
    async fn start_with(authorization: Option<&str>, git: &'static str) -> Self {
        let repository = Repository::new();
        repository.git(&["rm", "-r", "--quiet", "deploy"]);
        let (app, _) = repository.app(authorization);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        let hub = Hub::start_with(&[
            "--source-networks",
            "127.0.0.0/8",
            "--source-plain-http-hosts",
            "127.0.0.1",
            "--webhook-secret",
            "ops/push",
        ])
        .await;
        Self {
            admin: hub.admin(),
            hub,
            repository,
            url: format!("http://{address}/shop/.git"),
            server,
            looks: std::cell::Cell::new(0),
            git,
        }
    }

    /// Commits files under `records/`; `None` takes one away. Gives the commit.
    fn commit(&self, files: &[(&str, Option<&str>)]) -> String {
        for (path, content) in files {
            let path = format!("records/{path}");
            match content {
                Some(content) => self.repository.write(&path, content),
                None => {
                    self.repository.git(&["rm", "--quiet", &path]);
                }
            }
        }
        self.repository.commit("records")
    }

    /// Has the hub look now: a record of which anything changed is looked at without waiting for its interval.
    async fn look(&self, more: &str) {
        self.looks.set(self.looks.get() + 1);
        let text = format!(
            "apiVersion: bellwether.dev/v1alpha1\nkind: Repository\n\
             metadata: {{name: platform, annotations: {{look: '{}'}}}}\n\
             spec: {{git: {{url: '{}', branch: main, path: records{}}}, interval: 600s{more}}}\n",
            self.looks.get(),
            self.url,
            self.git
        );
        self.admin.applied(&text).await;
    }

    /// Waits until the repository's condition is this reason and its revision that commit.
    async fn stands(&self, reason: &str, revision: Option<&str>) -> Value {
        eventually(&format!("to stand at {reason}"), async || {
            let item = self.admin.get("/api/v1/repositories/platform").await.body;
            let status = item["status"].clone();
            let is_now = status["conditions"][0]["reason"] == reason
                && status["revision"].as_str() == revision;
            is_now.then_some(status)
        })
        .await
    }

    /// Waits until a look is refused with this text, while the records are what `revision` says.
    async fn is_refused(&self, revision: &str, text: &str) -> String {
        eventually(&format!("a refusal with {text}"), async || {
            let status = self.stands("Invalid", Some(revision)).await;
            let message = status["conditions"][0]["message"].as_str().unwrap();
            message.contains(text).then(|| message.to_owned())
        })
        .await
    }

    async fn shop(&self) -> Answer {
        self.admin
            .get("/api/v1/namespaces/shop/applications/web")
            .await
    }
}

fn shop(image: &str) -> String {
    application("shop", "web", "all", image)
}

#[tokio::test]
async fn records_are_what_the_repository_says_and_are_changed_there_alone() {
    let scene = Scene::start().await;
    let plan = rollout("shop", "web-plan", "web");
    let first = scene.commit(&[
        ("fleet.yaml", Some(&fleet("all"))),
        ("shop/web.yaml", Some(&shop("web:1"))),
        ("shop/plan.yml", Some(&plan)),
        ("README.md", Some("no record")),
    ]);
    scene.look("").await;
    let status = scene.stands("Synced", Some(&first)).await;
    assert_eq!(status["conditions"][0]["status"], "True", "{status}");
    let held = scene.shop().await.body;
    assert_eq!(held["metadata"]["managedBy"], "platform", "{held}");
    assert_eq!(held["spec"]["destination"]["fleet"], "all");

    // Nobody else changes or deletes it, and applying what is there already does no harm.
    let refused = scene.admin.apply(&shop("web:2")).await;
    assert_eq!(refused.status, StatusCode::CONFLICT, "{refused:?}");
    assert!(
        refused.detail().contains("comes from repository platform"),
        "{refused:?}"
    );
    scene.admin.applied(&shop("web:1")).await;
    let refused = scene
        .admin
        .delete("/api/v1/namespaces/shop/applications/web")
        .await;
    assert_eq!(refused.status, StatusCode::CONFLICT, "{refused:?}");

    // The next commit changes it, and says who did.
    let second = scene.commit(&[("shop/web.yaml", Some(&shop("web:2")))]);
    scene.look("").await;
    scene.stands("Synced", Some(&second)).await;
    let held = scene.shop().await.body;
    assert!(held.to_string().contains("web:2"), "{held}");
    let record = bellwether_store::records::get(
        &scene.hub.running.app.store,
        &bellwether_store::records::RecordKey {
            kind: bellwether_store::records::RecordKind::Application,
            namespace: "shop".into(),
            name: "web".into(),
        },
    )
    .await
    .unwrap()
    .unwrap();
    assert_eq!(record.updated_by, "repository:platform");
    assert!(record.reason.contains(&second), "{}", record.reason);

    // Without the repository it is anybody's.
    let deleted = scene.admin.delete("/api/v1/repositories/platform").await;
    assert_eq!(deleted.status, StatusCode::OK, "{deleted:?}");
    let answer = scene.admin.apply(&shop("web:3")).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert!(scene.shop().await.body["metadata"]["managedBy"].is_null());
}

#[tokio::test]
async fn one_wrong_document_changes_nothing_and_is_named_with_its_line() {
    let scene = Scene::start().await;
    let good = scene.commit(&[
        ("fleet.yaml", Some(&fleet("all"))),
        ("web.yaml", Some(&shop("web:1"))),
    ]);
    scene.look("").await;
    scene.stands("Synced", Some(&good)).await;

    let wrong = fleet("all").replace("selector", "selectr");
    scene.commit(&[
        ("web.yaml", Some(&shop("web:2"))),
        ("fleet.yaml", Some(&wrong)),
    ]);
    scene.look("").await;
    let message = scene.is_refused(&good, "fleet.yaml:4").await;
    assert!(message.contains("selector"), "the nearest field: {message}");
    let held = scene.shop().await.body.to_string();
    assert!(held.contains("web:1") && !held.contains("web:2"), "{held}");

    // What does not fit the hub is as wrong as what cannot be read.
    let lost = shop("web:2").replace("fleet: all", "fleet: al");
    scene.commit(&[
        ("fleet.yaml", Some(&fleet("all"))),
        ("web.yaml", Some(&lost)),
    ]);
    scene.look("").await;
    let message = scene.is_refused(&good, "spec.destination.fleet").await;
    assert!(message.contains("web.yaml:"), "{message}");

    // Neither clusters nor other repositories come from one; an empty folder is no wish.
    let cluster =
        "apiVersion: bellwether.dev/v1alpha1\nkind: Cluster\nmetadata: {name: c1}\nspec: {}\n";
    scene.commit(&[
        ("web.yaml", Some(&shop("web:2"))),
        ("c.yaml", Some(cluster)),
    ]);
    scene.look("").await;
    let message = scene.is_refused(&good, "register cluster").await;
    assert!(message.contains("c.yaml"), "{message}");
    scene.commit(&[
        ("web.yaml", None),
        ("c.yaml", None),
        ("fleet.yaml", None),
        ("x.txt", Some("x")),
    ]);
    scene.look(", prune: true").await;
    scene.is_refused(&good, "no document").await;
    assert_eq!(scene.shop().await.status, StatusCode::OK);
}

#[tokio::test]
async fn records_that_came_from_elsewhere_are_taken_over_as_the_repository_says() {
    let scene = Scene::start().await;
    let text = [fleet("all"), shop("web:1")].join("---\n");
    scene.admin.applied(&text).await;
    let other = scene.commit(&[
        ("fleet.yaml", Some(&fleet("all"))),
        ("web.yaml", Some(&shop("web:2"))),
    ]);
    scene.look("").await;
    let status = scene.stands("Conflict", None).await;
    let message = status["conditions"][0]["message"].as_str().unwrap();
    assert!(
        message.contains("Application/shop/web") && message.contains("adopt"),
        "{message}"
    );
    let fleet_item = scene.admin.get("/api/v1/fleets/all").await.body;
    assert!(
        fleet_item["metadata"]["managedBy"].is_null(),
        "nothing was half taken over: {fleet_item}"
    );
    scene.look(", adopt: Always").await;
    scene.stands("Synced", Some(&other)).await;
    let held = scene.shop().await.body;
    assert!(held.to_string().contains("web:2"), "{held}");
    assert_eq!(held["metadata"]["managedBy"], "platform");
}

#[tokio::test]
async fn what_is_gone_there_stays_unless_somebody_said_so() {
    let scene = Scene::start().await;
    let names = ["a", "b", "c", "d", "e"];
    let texts: Vec<(String, String)> = names
        .iter()
        .map(|name| {
            (
                format!("{name}.yaml"),
                application("shop", name, "all", "web:1"),
            )
        })
        .collect();
    let fleet_text = fleet("all");
    let mut files: Vec<(&str, Option<&str>)> = texts
        .iter()
        .map(|(path, text)| (path.as_str(), Some(text.as_str())))
        .collect();
    files.push(("fleet.yaml", Some(&fleet_text)));
    let all = scene.commit(&files);
    scene.look("").await;
    scene.stands("Synced", Some(&all)).await;
    let is_there = |name: &str| {
        let path = format!("/api/v1/namespaces/shop/applications/{name}");
        let admin = scene.admin.clone();
        async move { admin.get(&path).await.status == StatusCode::OK }
    };

    let fewer = scene.commit(&[("a.yaml", None)]);
    scene.look("").await;
    let status = scene.stands("Synced", Some(&fewer)).await;
    assert_eq!(status["orphans"], json!(["Application/shop/a"]));
    assert!(is_there("a").await, "without prune nothing goes");

    scene.look(", prune: true").await;
    eventually("a to go", async || (!is_there("a").await).then_some(())).await;

    // Two of five is more than a fifth.
    let many = scene.commit(&[("b.yaml", None), ("c.yaml", None)]);
    scene.look(", prune: true").await;
    let status = scene.stands("RemovalBraked", Some(&many)).await;
    assert!(is_there("b").await && is_there("c").await);
    let message = status["conditions"][0]["message"].as_str().unwrap();
    assert!(
        message.contains("bellwether.dev/allow-removal: \"2\""),
        "{message}"
    );
    let text = format!(
        "apiVersion: bellwether.dev/v1alpha1\nkind: Repository\n\
         metadata: {{name: platform, annotations: {{bellwether.dev/allow-removal: '2'}}}}\n\
         spec: {{git: {{url: '{}', branch: main, path: records}}, interval: 10m, prune: true}}\n",
        scene.url
    );
    scene.admin.applied(&text).await;
    eventually("b and c to go", async || {
        (!is_there("b").await && !is_there("c").await).then_some(())
    })
    .await;
    let status = scene.stands("Synced", Some(&many)).await;
    assert!(status["orphans"].is_null(), "{status}");
    assert!(is_there("d").await && is_there("e").await);

    // The word was used: the same one allows nothing that goes later.
    let last = scene.commit(&[("d.yaml", None), ("e.yaml", None)]);
    scene.admin.applied(&text.replace("10m", "11m")).await;
    let status = scene.stands("RemovalBraked", Some(&last)).await;
    let message = status["conditions"][0]["message"].as_str().unwrap();
    assert!(
        message.contains("\"2\" was used by the removal of 2 records; write another"),
        "{message}"
    );
    assert!(is_there("d").await && is_there("e").await);
}

#[tokio::test]
async fn a_private_repository_is_opened_with_a_secret_of_its_namespace() {
    // The user git with the password hunter2.
    let authorization = Some("Basic Z2l0Omh1bnRlcjI=");
    let scene = Scene::start_with(authorization, ", credentialsRef: {name: records}").await;
    let commit = scene.commit(&[("fleet.yaml", Some(&fleet("all")))]);
    scene.look(", namespace: ops").await;
    let status = scene.stands("SecretNotFound", None).await;
    let told = status["conditions"][0]["message"].to_string();
    assert!(
        told.contains("bellwether secret set records -n ops"),
        "{told}"
    );
    let path = "/api/v1/namespaces/ops/secrets/records";
    let set = async |password: &str| {
        let request = scene.admin.request(reqwest::Method::PUT, path);
        let entries = json!({"username": "Z2l0", "password": password});
        let answer = scene
            .admin
            .send(request.json(&json!({"entries": entries})))
            .await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    };
    set("d3Jvbmc=").await;
    scene.look(", namespace: ops").await;
    scene.stands("Unauthorised", None).await;
    set("aHVudGVyMg==").await;
    scene.look(", namespace: ops").await;
    let status = scene.stands("Synced", Some(&commit)).await;
    assert!(!status.to_string().contains("hunter2"), "{status}");
    let refused = scene.admin.delete(path).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert!(
        refused.detail().contains("repository/platform"),
        "{refused:?}"
    );
}

/// Says to the hub that a branch of a repository was pushed, as anybody who knows the secret does.
async fn push(admin: &Caller, url: &str, branch: &str) {
    const SECRET: &str = "hunter2-correct-horse";
    let put = admin.request(Method::PUT, "/api/v1/namespaces/ops/secrets/push");
    let entries = json!({"entries": {"push": STANDARD.encode(SECRET)}});
    let answer = admin.send(put.json(&entries)).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let body = json!({"url": url, "branch": branch}).to_string();
    let signed = signature(
        SECRET.as_bytes(),
        bellwether_hub::clock::wall(),
        body.as_bytes(),
    );
    let request = admin.request(Method::POST, "/api/v1/webhooks/generic");
    let request = request.header("bellwether-signature", signed).body(body);
    let answer = admin.send(request).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
}

#[tokio::test]
async fn a_push_wakes_the_repository_that_it_concerns() {
    let scene = Scene::start().await;
    let first = scene.commit(&[("fleet.yaml", Some(&fleet("all")))]);
    // The next look of its own is ten minutes away.
    scene.look("").await;
    scene.stands("Synced", Some(&first)).await;
    let second = scene.commit(&[("web.yaml", Some(&shop("web:1")))]);
    push(&scene.admin, &scene.url, "other").await;
    push(&scene.admin, &scene.url, "main").await;
    scene.stands("Synced", Some(&second)).await;
    assert_eq!(scene.shop().await.status, StatusCode::OK);
}
