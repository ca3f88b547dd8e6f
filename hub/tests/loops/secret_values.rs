//! Charts whose values stand in secrets of the hub, with the real renderer.

use bellwether_store::{BlobCipher, Store, StoreOptions, blobs, releases};
use serde_json::{Value, json};

use crate::{
    private::{Log, is_said, set},
    rendering::{Shelf, Stage, chart},
};

/// A chart whose values stand in the secret `web`, shown in a ConfigMap and a Secret.
fn with_values(shelf: &Shelf) -> Value {
    shelf.put(
        "templates/db.yaml",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: db}\n\
         stringData: {password: {{ .Values.db.password | quote }}}\n",
    );
    chart(|helm| {
        helm["values"] = json!({"db": {"user": "shop"}});
        helm["valuesFrom"] = json!([{"kind": "Secret", "name": "web"},
            {"kind": "Secret", "name": "web", "key": "more.yaml"}]);
    })
}

async fn password(stage: &Stage, cluster: &str) -> Value {
    stage.object(cluster, "Secret", "db").await["stringData"]["password"].clone()
}

#[tokio::test]
async fn values_of_secrets_reach_a_chart_and_another_value_is_another_release() {
    let shelf = Shelf::with_chart();
    let mut stage = Stage::new(&shelf).await;
    let store = stage.fleet.store.clone();
    stage.apply(with_values(&shelf)).await;
    is_said(stage.settle().await, "SecretNotFound");
    let values = "replicaCount: 4\ndb: {user: nobody, password: first-hunter2}\n";
    set(&store, "web", &[("values.yaml", values)]).await;
    let said = is_said(stage.settle().await, "SecretNotFound");
    assert!(said.contains("more.yaml"), "{said}");
    let more = ("more.yaml", "replicaCount: 6\n");
    set(&store, "web", &[("values.yaml", values), more]).await;
    stage.settle().await.expect("released");
    assert_eq!(password(&stage, "canary-1").await, "first-hunter2");
    let deployment = stage.object("canary-1", "Deployment", "web").await;
    assert_eq!(
        deployment["spec"]["replicas"], 6,
        "later ones lie over earlier ones"
    );
    stage.fleet.succeed_all().await;
    stage.settle().await.expect("done");

    // Another entry of the same secret is no change of what is named.
    let unused = ("unused", "x");
    set(&store, "web", &[("values.yaml", values), more, unused]).await;
    stage.settle().await.expect("nothing to do");
    assert!(stage.fleet.granted(2).await.is_empty());
    let values = values.replace("first", "second");
    set(&store, "web", &[("values.yaml", &values), more]).await;
    stage.settle().await.expect("released");
    assert_eq!(stage.fleet.granted(2).await.len(), 2);
    assert_eq!(password(&stage, "prod-1").await, "second-hunter2");
    stage.fleet.succeed_all().await;
    stage.settle().await.expect("done");

    // Who goes back gets what it was, also where it was never rendered for such a cluster.
    stage
        .fleet
        .connect_as("prod-1", "v1.31.4", &["apps/v1", "v1"])
        .await;
    stage.fleet.join("prod-2", "prod").await;
    stage
        .fleet
        .connect_as("prod-2", "v1.30.0", &["apps/v1", "v1"])
        .await;
    stage.settle().await.expect("joined");
    stage.fleet.roll_back(Some(1)).await;
    stage.settle().await.expect("restored");
    for cluster in ["canary-1", "prod-1", "prod-2"] {
        assert_eq!(
            password(&stage, cluster).await,
            "first-hunter2",
            "{cluster}"
        );
    }
    // It stays until somebody says something else, and another value is that.
    stage.fleet.succeed_all().await;
    stage.settle().await.expect("stays");
    assert_eq!(password(&stage, "canary-1").await, "first-hunter2");
    let values = values.replace("second", "third");
    set(&store, "web", &[("values.yaml", &values), more]).await;
    stage.settle().await.expect("released");
    assert_eq!(password(&stage, "canary-1").await, "third-hunter2");
}

#[tokio::test]
async fn no_release_and_no_failure_shows_a_value() {
    let log = Log::listen();
    let shelf = Shelf::with_chart();
    let mut stage = Stage::new(&shelf).await;
    let store = stage.fleet.store.clone();
    let more = ("more.yaml", "{}");
    set(&store, "web", &[("values.yaml", "hunter2 is no map"), more]).await;
    let component = with_values(&shelf);
    // What a chart shows in the open is sealed at the hub all the same.
    shelf.put(
        "templates/db.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: db}\n\
         data: {password: {{ .Values.db.password | quote }}}\n",
    );
    stage.apply(component).await;
    is_said(stage.settle().await, "SecretInvalid");
    let values = ("values.yaml", "db: {password: hunter2}\n");
    set(&store, "web", &[values, more]).await;
    stage.settle().await.expect("released");
    stage.fleet.succeed_all().await;
    stage.settle().await.expect("done");
    let map = stage.object("canary-1", "ConfigMap", "db").await;
    assert_eq!(map["data"]["password"], "hunter2");
    let other = BlobCipher::from_key(&[9; 32]);
    let other = Store::connect(StoreOptions::new(&stage.fleet.database.url), other)
        .await
        .expect("the database");
    let (bundle, _) = stage.fleet.bundle("canary-1").await.expect("a bundle");
    blobs::get(&other, bundle).await.expect_err("it is sealed");
    let release = releases::list(&other, &crate::fleet::shop(), 1)
        .await
        .expect("releases")
        .remove(0);
    releases::content(&other, &release)
        .await
        .expect_err("it is sealed");
    releases::content(&store, &release)
        .await
        .expect("its own key opens it");

    shelf.put(
        "templates/refusal.yaml",
        "{{ fail (printf \"%s is no good password\" .Values.db.password) }}\n",
    );
    let mut component = with_values(&shelf);
    component["helm"]["version"] = json!("~1.0");
    stage.apply(component).await;
    let said = is_said(stage.settle().await, "*** is no good password");
    assert!(said.contains("templates/refusal.yaml"), "{said}");
    let view = stage.fleet.view_with(&stage.renderings).await;
    let shown = serde_json::to_string(&view).expect("JSON");
    assert!(!shown.contains("hunter2"), "{shown}");
    let log = log.text();
    assert!(!log.contains("hunter2"), "{log}");
}
