//! Records as custom resources: written by the way that everything applied goes, changed there alone,
//! deleted by a deletion and by nothing else.

mod api_server;
mod authority;
mod two_hubs;

use bellwether_hub_core::allowance::Spent;
use bellwether_store::{
    allowances,
    blobs::{self, Secrecy},
    clusters,
    desired::{self, ClusterChange, Deletions, UnitChange},
    records::{RecordKey, RecordKind},
    testing::TestDatabase,
};
use reqwest::StatusCode;
use serde_json::{Value, json};

use self::api_server::ApiServer;
use crate::harness::{Caller, Hub, application, eventually, fleet, rollout};

const WEB: &str = "/api/v1/namespaces/shop/applications/web";

struct Scene {
    cluster: ApiServer,
    database: TestDatabase,
    hub: Hub,
    folder: tempfile::TempDir,
}

impl Scene {
    async fn start() -> Self {
        let cluster = ApiServer::start().await;
        let database = TestDatabase::create().await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("kubeconfig"), cluster.kubeconfig()).unwrap();
        let hub = Self::hub(&database, &folder).await;
        Self {
            cluster,
            database,
            hub,
            folder,
        }
    }

    async fn hub(database: &TestDatabase, folder: &tempfile::TempDir) -> Hub {
        Self::hub_with(database, folder, &[]).await
    }

    async fn hub_with(database: &TestDatabase, folder: &tempfile::TempDir, more: &[&str]) -> Hub {
        let kubeconfig = folder.path().join("kubeconfig");
        // Hubs of one database share their keys.
        let keys = folder.path().join("pki");
        let flags = [
            "--custom-resources",
            "--kubeconfig",
            kubeconfig.to_str().unwrap(),
            "--pki-dir",
            keys.to_str().unwrap(),
        ];
        Hub::on(database, &[&flags, more].concat()).await
    }

    /// Stops the hub, does something without it, and starts another on its database.
    async fn without_hub(self, change: impl FnOnce(&ApiServer)) -> Self {
        let Self {
            cluster,
            database,
            hub,
            folder,
        } = self;
        hub.running.stop().await;
        change(&cluster);
        let hub = Self::hub(&database, &folder).await;
        Self {
            cluster,
            database,
            hub,
            folder,
        }
    }

    fn admin(&self) -> Caller {
        self.hub.admin()
    }

    /// What the hub wrote once it has nothing more to write; markers that it mirrors meanwhile are left out.
    async fn settled(&self, name: &str) -> Vec<String> {
        let others = || {
            let writes = self.cluster.writes().into_iter();
            let is_marker = |write: &String| write.contains("fleets//marker-");
            writes.filter(|write| !is_marker(write)).collect::<Vec<_>>()
        };
        let mut before = others();
        for turn in 0..20 {
            // Once another one is mirrored, all that was there before has been looked at.
            let marker = format!("marker-{name}-{turn}");
            self.cluster.apply("fleets", &fleet(&marker));
            self.says("fleets", ("", &marker), "Ready", "Stored").await;
            let now = others();
            if now == before {
                return now;
            }
            before = now;
        }
        panic!("the hub does not come to rest: {before:?}");
    }

    fn web(&self, kind: &str) -> Value {
        self.cluster.condition("applications", "shop", "web", kind)
    }

    /// Waits until a condition of an object has this reason, at its newest generation.
    async fn says(
        &self,
        plural: &str,
        (namespace, name): (&str, &str),
        kind: &str,
        reason: &str,
    ) -> Value {
        eventually(
            &format!("{plural}/{name} to be {kind} for {reason}"),
            async || {
                let object = self.cluster.object(plural, namespace, name)?;
                let condition = self.cluster.condition(plural, namespace, name, kind);
                let is_now =
                    object["status"]["observedGeneration"] == object["metadata"]["generation"];
                (is_now && condition["status"] == "True" && condition["reason"] == reason)
                    .then_some(condition)
            },
        )
        .await
    }
}

fn shop(image: &str) -> String {
    application("shop", "web", "all", image)
}

#[tokio::test]
async fn a_custom_resource_becomes_a_record_that_is_changed_there_alone() {
    let scene = Scene::start().await;
    // What it names comes later: it waits, and says for what.
    scene.cluster.apply("applications", &shop("web:1"));
    let stalled = scene
        .says("applications", ("shop", "web"), "Stalled", "Invalid")
        .await;
    let told = stalled["message"].as_str().unwrap();
    assert!(told.contains("spec.destination.fleet"), "{told}");
    scene.cluster.apply("fleets", &fleet("all"));
    scene.says("fleets", ("", "all"), "Ready", "Stored").await;
    // Without clusters it is on its way, and no more.
    scene
        .says("applications", ("shop", "web"), "Reconciling", "Pending")
        .await;
    assert_eq!(scene.web("Ready")["status"], "False");
    let held = scene.admin().get(WEB).await.body;
    assert_eq!(held["metadata"]["managedBy"], "CustomResource", "{held}");
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
    assert_eq!(record.updated_by, "custom-resource:kubectl");

    let refused = scene.admin().apply(&shop("web:2")).await;
    assert_eq!(refused.status, StatusCode::CONFLICT, "{refused:?}");
    assert!(refused.detail().contains("custom resource"), "{refused:?}");
    let refused = scene.admin().delete(WEB).await;
    assert_eq!(refused.status, StatusCode::CONFLICT, "{refused:?}");
    scene.admin().applied(&shop("web:1")).await;

    // What is wrong changes nothing, and is said with what was probably meant.
    let wrong = shop("web:3").replace("  waves:", "  wavs:");
    scene.cluster.apply("applications", &wrong);
    let stalled = scene
        .says("applications", ("shop", "web"), "Stalled", "Invalid")
        .await;
    let told = stalled["message"].as_str().unwrap();
    assert!(
        told.contains("spec.wavs") && told.contains("did you mean \"waves\""),
        "{told}"
    );
    assert!(
        scene
            .admin()
            .get(WEB)
            .await
            .body
            .to_string()
            .contains("web:1")
    );
    scene.cluster.apply("applications", &shop("web:3"));
    scene
        .says("applications", ("shop", "web"), "Reconciling", "Pending")
        .await;
    assert!(
        scene
            .admin()
            .get(WEB)
            .await
            .body
            .to_string()
            .contains("web:3")
    );
}

#[tokio::test]
async fn what_people_made_is_taken_over_as_the_custom_resource_says() {
    let scene = Scene::start().await;
    let text = [fleet("all"), shop("web:1")].join("---\n");
    scene.admin().applied(&text).await;
    scene.cluster.apply("fleets", &fleet("all"));
    scene.says("fleets", ("", "all"), "Ready", "Stored").await;
    scene.cluster.apply("applications", &shop("web:2"));
    let stalled = scene
        .says("applications", ("shop", "web"), "Stalled", "Conflict")
        .await;
    let told = stalled["message"].as_str().unwrap();
    assert!(told.contains("bellwether.dev/adopt: Always"), "{told}");
    assert!(scene.admin().get(WEB).await.body["metadata"]["managedBy"].is_null());
    let adopts = shop("web:2").replacen(
        "labels: {app: web}}",
        "labels: {app: web}, annotations: {bellwether.dev/adopt: Always}}",
        1,
    );
    scene.cluster.apply("applications", &adopts);
    scene
        .says("applications", ("shop", "web"), "Reconciling", "Pending")
        .await;
    let held = scene.admin().get(WEB).await.body;
    assert_eq!(held["metadata"]["managedBy"], "CustomResource");
    assert!(
        held["metadata"]["annotations"].is_null(),
        "it says nothing of the record: {held}"
    );
}

#[tokio::test]
async fn what_fits_only_together_is_taken_together() {
    let scene = Scene::start().await;
    // The fleet names its add-on, and the add-on the fleet.
    let with_addon = fleet("all").replace(
        "spec: {selector: {}}",
        "spec: {selector: {}, addons: [{name: web, namespace: shop}]}",
    );
    scene.cluster.apply("fleets", &with_addon);
    scene.cluster.apply("applications", &shop("web:1"));
    scene
        .says("applications", ("shop", "web"), "Reconciling", "Pending")
        .await;
    let held = scene.admin().get("/api/v1/fleets/all").await.body;
    assert_eq!(held["spec"]["addons"][0]["name"], "web", "{held}");
}

#[tokio::test]
async fn a_hub_that_is_started_again_writes_nothing() {
    let scene = Scene::start().await;
    scene.cluster.apply("fleets", &fleet("all"));
    scene.cluster.apply("applications", &shop("web:1"));
    scene
        .cluster
        .apply("rollouts", &rollout("shop", "web-plan", "web"));
    scene
        .says("rollouts", ("shop", "web-plan"), "Reconciling", "Pending")
        .await;
    scene
        .says("applications", ("shop", "web"), "Reconciling", "Pending")
        .await;
    let version = async |scene: &Scene| {
        let held = scene.admin().get(WEB).await.body;
        held["metadata"]["resourceVersion"].clone()
    };
    let before = (scene.settled("first").await, version(&scene).await);
    let scene = scene.without_hub(|_| {}).await;
    let after = (scene.settled("second").await, version(&scene).await);
    assert_eq!(after, before);
}

#[tokio::test]
async fn a_deletion_goes_behind_the_record_and_waits_for_who_uses_it() {
    let scene = Scene::start().await;
    scene.cluster.apply("fleets", &fleet("all"));
    scene.cluster.apply("applications", &shop("web:1"));
    scene
        .says("applications", ("shop", "web"), "Reconciling", "Pending")
        .await;
    // Somebody deletes while the hub is away: it finds that out.
    let scene = scene
        .without_hub(|cluster| cluster.delete("fleets", "", "all"))
        .await;
    let waits = scene
        .says("fleets", ("", "all"), "Stalled", "StillUsed")
        .await;
    assert!(
        waits["message"].as_str().unwrap().contains("shop/web"),
        "{waits}"
    );
    assert_eq!(
        scene.admin().get("/api/v1/fleets/all").await.status,
        StatusCode::OK
    );
    scene.cluster.delete("applications", "shop", "web");
    eventually("both to go", async || {
        let web = scene.cluster.object("applications", "shop", "web");
        let all = scene.cluster.object("fleets", "", "all");
        (web.is_none() && all.is_none()).then_some(())
    })
    .await;
    for path in [WEB, "/api/v1/fleets/all"] {
        assert_eq!(
            scene.admin().get(path).await.status,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
}

/// Lets every cluster have the application, and uses up what its annotation says.
async fn held_everywhere_by_a_used_word(scene: &Scene, value: &str) {
    let app = &scene.hub.running.app;
    let (store, now) = (&app.store, app.clock.now());
    let clusters = clusters::list(store).await.unwrap();
    let mut tx = store.begin().await.unwrap();
    let put = blobs::put(&mut tx, b"a bundle", Secrecy::Plain, now).await;
    let digest = put.unwrap();
    let unit = "application/shop/web".to_owned();
    let changes: Vec<ClusterChange> = clusters
        .iter()
        .map(|cluster| ClusterChange {
            cluster: cluster.id,
            changes: vec![UnitChange {
                key: unit.clone(),
                digest: Some(digest),
                origin: unit.clone(),
            }],
        })
        .collect();
    let written = desired::write(&mut tx, &changes, Deletions::Braked).await;
    written.unwrap();
    let key = RecordKey {
        kind: RecordKind::Application,
        namespace: "shop".to_owned(),
        name: "web".to_owned(),
    };
    let word = Spent {
        annotation: "bellwether.dev/allow-removal".to_owned(),
        value: value.to_owned(),
        used_for: "its removal from 2 clusters".to_owned(),
        covers: Vec::new(),
    };
    assert!(allowances::spend(&mut tx, &key, &word, now).await.unwrap());
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_word_that_was_used_before_deletes_no_custom_resource() {
    let scene = Scene::start().await;
    for cluster in ["eu-1", "eu-2", "eu-3"] {
        scene.hub.announce(cluster, &json!({})).await;
    }
    let allows = shop("web:1").replacen(
        "labels: {app: web}}",
        "labels: {app: web}, annotations: {bellwether.dev/allow-removal: '3'}}",
        1,
    );
    scene.cluster.apply("fleets", &fleet("all"));
    scene.cluster.apply("applications", &allows);
    scene
        .says("applications", ("shop", "web"), "Reconciling", "Pending")
        .await;
    held_everywhere_by_a_used_word(&scene, "3").await;
    scene.cluster.delete("applications", "shop", "web");
    let waits = scene
        .says("applications", ("shop", "web"), "Stalled", "Unconfirmed")
        .await;
    let told = waits["message"].as_str().unwrap();
    assert!(
        told.contains("it runs on 3 clusters")
            && told.contains("\"3\" was used by its removal from 2 clusters; write another"),
        "{told}"
    );
    assert_eq!(scene.admin().get(WEB).await.status, StatusCode::OK);
}

#[tokio::test]
async fn absence_deletes_nothing_and_is_told() {
    let scene = Scene::start().await;
    for name in ["kept", "lost"] {
        scene.cluster.apply("fleets", &fleet(name));
        scene.says("fleets", ("", name), "Ready", "Stored").await;
    }
    let orphan = fleet("kept").replace(
        "{name: kept}",
        "{name: kept, annotations: {bellwether.dev/record-deletion: Orphan}}",
    );
    scene.cluster.apply("fleets", &orphan);
    scene.cluster.delete("fleets", "", "kept");
    eventually("the orphan's custom resource to go", async || {
        scene
            .cluster
            .object("fleets", "", "kept")
            .is_none()
            .then_some(())
    })
    .await;
    let kept = scene.admin().get("/api/v1/fleets/kept").await;
    assert_eq!(kept.status, StatusCode::OK, "{kept:?}");
    assert!(kept.body["metadata"]["managedBy"].is_null(), "{kept:?}");

    let scene = scene
        .without_hub(|cluster| cluster.lose("fleets", "", "lost"))
        .await;
    let lost = eventually("the loss to be told", async || {
        let lost = scene.admin().get("/api/v1/fleets/lost").await.body;
        let conditions = lost["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        conditions
            .into_iter()
            .find(|one| one["type"] == "CustomResourcePresent")
    })
    .await;
    assert_eq!(lost["reason"], "Missing", "{lost}");
    // Nobody can change it where it came from: whoever does has it.
    scene
        .admin()
        .applied(&fleet("lost").replace("{}", "{matchLabels: {a: b}}"))
        .await;
    let lost = scene.admin().get("/api/v1/fleets/lost").await.body;
    assert!(lost["metadata"]["managedBy"].is_null(), "{lost}");
    let deleted = scene.admin().delete("/api/v1/fleets/lost").await;
    assert_eq!(deleted.status, StatusCode::OK, "{deleted:?}");
}
