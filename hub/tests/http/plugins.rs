//! Renderers that the hub's operator registered, named by applications.

use reqwest::StatusCode;
use serde_json::json;

use crate::harness::{Hub, fleet};

fn application(plugin: &str) -> String {
    json!({
        "apiVersion": "bellwether.dev/v1alpha1", "kind": "Application",
        "metadata": {"name": "shop", "namespace": "default"},
        "spec": {"destination": {"fleet": "all"}, "components": [
            {"name": "web", "plugin": {"name": plugin, "params": {"image": "shop:1"}}},
        ]},
    })
    .to_string()
}

#[tokio::test]
async fn op2_a_renderer_that_is_not_registered_is_refused_with_those_that_are() {
    let program = concat!(
        "web-service=",
        env!("CARGO_MANIFEST_DIR"),
        "/../docs/examples/renderers/web-service"
    );
    let hub = Hub::start_with(&["--plugin", program]).await;
    let admin = hub.admin();
    admin.applied(&fleet("all")).await;
    let answer = admin.apply(&application("web-servise")).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    let error = &answer.body["errors"][0];
    assert_eq!(error["path"], "spec.components[0].plugin.name");
    assert_eq!(
        error["detail"],
        "no renderer \"web-servise\" is registered at this hub; registered: web-service"
    );
    assert_eq!(error["suggestion"], "web-service");
    let listed = admin.get("/api/v1/applications").await;
    assert_eq!(listed.body["items"], json!([]), "nothing was stored");
    admin.applied(&application("web-service")).await;
    hub.running.stop().await;
}
