use http::StatusCode;
use serde_json::{Value, json};

use crate::sync::{
    cluster::double::refusal,
    unit::chart_hooks::tests::{
        house::{House, bundle_of, config_map},
        server::Server,
    },
};

/// Only once: it is known from then on that the object cannot be converted.
#[tokio::test]
async fn what_cannot_be_converted_is_told_though_something_else_is_denied() {
    let server = Server::default();
    let unconverted = refusal(
        StatusCode::INTERNAL_SERVER_ERROR,
        "conversion webhook for v1 failed: service \"conversion\" not found",
    );
    let denied = refusal(StatusCode::FORBIDDEN, "it is denied here");
    server.lock().refused = [
        ("shop/configmaps/a".to_owned(), unconverted),
        ("shop/configmaps/b".to_owned(), denied),
    ]
    .into();
    let mut house = House::on(&server).await;
    let objects = ["a", "b"].map(|name| config_map(name, "1"));
    let content = bundle_of(1, 1, &[], &objects);
    let mut content: Value = serde_json::from_slice(&content).expect("JSON");
    content["mode"] = json!("Plain");
    house
        .install(&serde_json::to_vec(&content).expect("JSON"))
        .await;
    for _ in 0..3 {
        assert_eq!(house.work().await, Err(()), "one is denied");
        let told = house.events("NotConverted");
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("ConfigMap/shop/a"), "{told:?}");
    }
}
