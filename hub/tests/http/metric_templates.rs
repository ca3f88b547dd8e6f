//! Metric templates: kept like every record, found by the metrics that name them, frozen into
//! releases.

use bellwether_store::releases;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{Hub, application, eventually, fleet, rollout};

fn template(namespace: &str, name: &str, query: &str) -> String {
    format!(
        "apiVersion: bellwether.dev/v1alpha1
kind: MetricTemplate
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  address: http://prometheus:9090
  query: '{query}'
"
    )
}

/// A rollout whose one metric reads this template.
fn reading(namespace: &str, template: &str) -> String {
    format!(
        "{}  analysis: {{metrics: [{{name: mine, template: {template}, range: {{max: \"1\"}}}}]}}\n",
        rollout(namespace, "web-plan", "web")
    )
}

fn shop(rollout: &str) -> String {
    [
        fleet("all"),
        application("shop", "web", "all", "web:1"),
        rollout.to_owned(),
    ]
    .join("---\n")
}

#[tokio::test]
async fn templates_are_records_like_others() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    let text = template("shop", "errors", "sum(errors)");
    let applied = admin.applied(&text).await;
    assert_eq!(applied["objects"][0]["kind"], "MetricTemplate");
    assert_eq!(applied["objects"][0]["result"], "created");
    let again = admin.applied(&text).await;
    assert_eq!(again["objects"][0]["result"], "unchanged");
    let path = "/api/v1/namespaces/shop/metrictemplates";
    let one = admin.get(&format!("{path}/errors")).await;
    assert_eq!(one.body["kind"], "MetricTemplate", "{one:?}");
    assert_eq!(one.body["spec"]["query"], "sum(errors)");
    assert_eq!(one.body["spec"]["type"], "Prometheus");
    let list = admin.get(path).await;
    assert_eq!(list.body["items"].as_array().unwrap().len(), 1);
    let all = admin.get("/api/v1/metrictemplates").await;
    assert_eq!(all.body["kind"], "MetricTemplateList");
    let broken = admin.apply(&template("shop", "errors", "sum(errors")).await;
    assert_eq!(broken.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(broken.body["errors"][0]["path"], "spec.query", "{broken:?}");
    let other = hub.someone("eve", "Editor", &["bank"]).await;
    assert_eq!(other.apply(&text).await.status, StatusCode::FORBIDDEN);
    assert_eq!(
        other.get(&format!("{path}/errors")).await.status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        admin.delete(&format!("{path}/errors")).await.status,
        StatusCode::OK
    );
    assert_eq!(
        admin.get(&format!("{path}/errors")).await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn a_missing_template_is_refused_by_name() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    let missing = admin.apply(&shop(&reading("shop", "{name: erors}"))).await;
    assert_eq!(
        missing.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "{missing:?}"
    );
    let error = &missing.body["errors"][0];
    assert_eq!(error["path"], "spec.analysis.metrics[0].template");
    assert_eq!(
        error["detail"],
        "there is no metric template \"erors\" in namespace \"shop\" or namespace \"default\", and \
         none is built in by that name"
    );
    assert_eq!(
        admin.get("/api/v1/fleets/all").await.status,
        StatusCode::NOT_FOUND,
        "nothing was stored"
    );
    let away = admin
        .apply(&shop(&reading("shop", "{name: errors, namespace: bank}")))
        .await;
    assert!(
        away.body["errors"][0]["detail"]
            .as_str()
            .unwrap()
            .contains("cannot be used here"),
        "{away:?}"
    );
    admin
        .applied(&shop(&reading("shop", "{name: cpu-usage}")))
        .await;
    admin
        .applied(&template("default", "errors", "sum(errors)"))
        .await;
    admin
        .applied(&shop(&reading("shop", "{name: errors}")))
        .await;
}

/// Which source a template of everybody means is known to the hub alone.
#[tokio::test]
async fn requests_that_nobody_counts_are_refused_by_their_field() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    let page = "apiVersion: bellwether.dev/v1alpha1
kind: MetricTemplate
metadata: {name: orders, namespace: default}
spec: {type: Http, address: 'http://stats', query: '/orders#/mean'}
";
    admin.applied(page).await;
    let counted = |own: &str| {
        shop(&format!(
            "{}  analysis: {{minRequests: 20, metrics: [{{name: mine, template: {{name: orders}}, \
             range: {{max: \"1\"}}{own}}}]}}\n",
            rollout("shop", "web-plan", "web")
        ))
    };
    let refused = admin.apply(&counted("")).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let error = &refused.body["errors"][0];
    assert_eq!(error["path"], "spec.analysis.metrics[0].minRequests");
    let why = error["detail"].as_str().unwrap();
    assert!(why.ends_with("set minRequests: 0 on this metric"), "{why}");
    admin.applied(&counted(", minRequests: 0")).await;
    // A template that stops counting does not fit those that count on it.
    admin
        .applied(&template("shop", "errors", "sum(errors)"))
        .await;
    let counts = counted("").replace("name: orders", "name: errors");
    admin.applied(&counts).await;
    let turned = page
        .replace("name: orders", "name: errors")
        .replace("namespace: default", "namespace: shop");
    let unfit = admin.apply(&turned).await;
    assert_eq!(unfit.status, StatusCode::UNPROCESSABLE_ENTITY);
    let why = unfit.body["errors"][0]["detail"].as_str().unwrap();
    assert!(
        why.contains("rollout/web-plan would no longer fit"),
        "{why}"
    );
}

#[tokio::test]
async fn a_template_in_use_neither_goes_nor_stops_fitting() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    let all = [
        shop(&reading("shop", "{name: errors}")),
        template("shop", "errors", "sum(errors)"),
    ]
    .join("---\n");
    admin.applied(&all).await;
    let path = "/api/v1/namespaces/shop/metrictemplates/errors";
    let refused = admin.delete(path).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert!(
        refused
            .detail()
            .contains("rollout/web-plan in namespace shop"),
        "{refused:?}"
    );
    let unfit = admin
        .apply(&template(
            "shop",
            "errors",
            "sum(errors{team=\"{{ variables.team }}\"})",
        ))
        .await;
    assert_eq!(unfit.status, StatusCode::UNPROCESSABLE_ENTITY, "{unfit:?}");
    assert!(
        unfit.body["errors"][0]["detail"]
            .as_str()
            .unwrap()
            .contains("rollout/web-plan would no longer fit"),
        "{unfit:?}"
    );
    admin.applied(&rollout("shop", "web-plan", "web")).await;
    assert_eq!(admin.delete(path).await.status, StatusCode::OK);
}

/// Who may change everybody's templates need not be told whose metrics they are.
#[tokio::test]
async fn records_that_the_caller_may_not_read_are_only_counted() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    let all = [
        shop(&reading("shop", "{name: errors}")),
        template("default", "errors", "sum(errors)"),
    ]
    .join("---\n");
    admin.applied(&all).await;
    let unfit = template(
        "default",
        "errors",
        "sum(errors{team=\"{{ variables.team }}\"})",
    );
    let path = "/api/v1/namespaces/default/metrictemplates/errors";
    let counted = "1 record of namespaces that you may not read";
    let named = "rollout/web-plan";
    for (namespaces, says, hides) in [
        (&["default"][..], counted, named),
        (&["default", "shop"][..], named, counted),
    ] {
        let name = format!("ed-{}", namespaces.len());
        let ed = hub.someone(&name, "Editor", namespaces).await;
        let refused = ed.delete(path).await;
        assert_eq!(refused.status, StatusCode::CONFLICT, "{refused:?}");
        let refused_to_change = ed.apply(&unfit).await;
        assert_eq!(refused_to_change.status, StatusCode::UNPROCESSABLE_ENTITY);
        for answer in [refused, refused_to_change] {
            let said = answer.body.to_string();
            assert!(said.contains(says) && !said.contains(hides), "{said}");
            assert!(says == named || !said.contains("shop"), "{said}");
        }
    }
}

/// What a template says is written into the release; a change of it makes the next one, and the
/// release before stays as it was.
#[tokio::test]
async fn releases_hold_what_the_template_said() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    hub.announce("eu-1", &json!({"tier": "canary"})).await;
    let all = [
        shop(&reading("shop", "{name: errors}")),
        template("shop", "errors", "sum(errors)"),
    ]
    .join("---\n");
    admin.applied(&all).await;
    assert_eq!(queries(&hub, 1).await, [json!("sum(errors)")]);
    admin
        .applied(&template("shop", "errors", "sum(failures)"))
        .await;
    assert_eq!(queries(&hub, 2).await, [json!("sum(failures)")]);
    assert_eq!(queries(&hub, 1).await, [json!("sum(errors)")]);
}

/// The queries in the stored content of a release, once it is made.
async fn queries(hub: &Hub, revision: u64) -> Vec<Value> {
    let store = &hub.running.app.store;
    let name = bellwether_api::reference::NamespacedName {
        namespace: "shop".into(),
        name: "web".into(),
    };
    let release = eventually("the release", async || {
        let releases = releases::list(store, &name, 10).await.unwrap();
        releases.into_iter().find(|one| one.revision == revision)
    })
    .await;
    let content = releases::content(store, &release).await.unwrap();
    let content: Value = serde_json::from_slice(&content).unwrap();
    content["rollouts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rollout| rollout["spec"]["analysis"]["metrics"][0]["query"].clone())
        .collect()
}
