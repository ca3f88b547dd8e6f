//! Liveness, readiness, figures, and the API's own description.

use reqwest::{Method, StatusCode};

use crate::harness::Hub;

#[tokio::test]
async fn liveness_needs_no_database_and_readiness_does() {
    let hub = Hub::start().await;
    let anyone = hub.caller(None);
    assert_eq!(anyone.get("/livez").await.status, StatusCode::OK);
    let ready = anyone.get("/readyz").await;
    assert_eq!(
        (ready.status, &ready.body["ready"]),
        (StatusCode::OK, &true.into()),
        "{ready:?}"
    );
    let figures = anyone.get("/metrics").await;
    assert!(
        figures
            .body
            .as_str()
            .unwrap()
            .contains("bellwether_agent_sessions"),
        "{figures:?}"
    );
    hub.running.app.store.close().await;
    assert_eq!(anyone.get("/livez").await.status, StatusCode::OK);
    let unready = anyone.get("/readyz").await;
    assert_eq!(unready.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        unready.body["checks"]["database"]["ok"], false,
        "{unready:?}"
    );
    // A request that needs it is refused as one that may be repeated.
    let refused = hub.local().get("/api/v1/fleets").await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.body["retryable"], true);
    hub.running.stop().await;
}

#[tokio::test]
async fn every_described_path_is_served() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    let described = admin.get("/api/v1/openapi.json").await;
    assert_eq!(described.status, StatusCode::OK);
    let paths = described.body["paths"].as_object().unwrap();
    assert!(paths.len() > 20, "{}", paths.len());
    for (path, methods) in paths {
        for method in methods.as_object().unwrap().keys() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let real = path.replace(['{', '}'], "");
            let answer = admin.send(admin.request(method.clone(), &real)).await;
            let nothing = answer.detail() == "there is nothing at this address";
            assert!(!nothing, "{method} {path} is described and not served");
            assert_ne!(
                answer.status,
                StatusCode::METHOD_NOT_ALLOWED,
                "{method} {path}"
            );
            assert!(
                answer.status != StatusCode::INTERNAL_SERVER_ERROR,
                "{method} {path} {answer:?}"
            );
        }
    }
    hub.running.stop().await;
}

#[tokio::test]
async fn wrong_address_and_method_are_problems() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    let nothing = admin.get("/api/v1/nothing").await;
    assert_eq!(
        (nothing.status, &nothing.body["code"]),
        (StatusCode::NOT_FOUND, &"NotFound".into())
    );
    let wrong = admin.delete("/api/v1/apply").await;
    assert_eq!(wrong.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(wrong.body["code"], "MethodNotAllowed");
    hub.running.stop().await;
}
