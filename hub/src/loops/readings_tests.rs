use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    http::{HeaderMap, HeaderValue, StatusCode, header::AUTHORIZATION},
    routing::any,
};
use bellwether_api::{query_freshness::PART, reference::NamespacedName};
use bellwether_hub_core::run::{AskedGate, Reading, ReadingOutcome};
use bellwether_store::{
    Store,
    secrets::{SecretValue, set},
};
use serde_json::json;
use uuid::Uuid;

use super::Readings;
use crate::clock::{Clock, wall};

/// A server that answers this to everything; gives its address.
async fn server(status: u16, body: &'static str) -> String {
    prometheus(status, body, NOTHING).await
}

/// What is answered where no series matches.
const NOTHING: &str = r#"{"status": "success", "data": {"resultType": "vector", "result": []}}"#;

/// A server that answers `body` to everything but to the question how fresh the series behind a query are; gives its
/// address.
async fn prometheus(status: u16, body: &'static str, freshness: &'static str) -> String {
    let status = StatusCode::from_u16(status).expect("a status");
    let answer = move |asked: String| async move {
        match asked.contains(PART) {
            true => (StatusCode::OK, freshness),
            false => (status, body),
        }
    };
    let router = Router::new().fallback(any(answer));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

async fn answered(gate: serde_json::Value) -> ReadingOutcome {
    answered_with(gate, None).await
}

async fn answered_with(gate: serde_json::Value, store: Option<Store>) -> ReadingOutcome {
    // As the hub does when it starts; the second to do so changes nothing.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let gate = serde_json::from_value(gate).expect("a gate");
    let readings = Arc::new(Readings::new(Clock::begin(wall()), store).expect("a client"));
    let asked = [AskedGate {
        wave: 1,
        after: true,
        index: 0,
        gate: &gate,
    }];
    let run = Uuid::from_u128(7);
    assert_eq!(
        readings.of(run, "default", &asked),
        [],
        "nothing was answered yet"
    );
    loop {
        if let Some(Reading {
            wave,
            after,
            index,
            outcome,
            ..
        }) = readings.of(run, "default", &asked).into_iter().next()
        {
            assert_eq!((wave, after, index), (1, true, 0));
            return outcome;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn an_address_answers_by_its_status() {
    for (status, passes) in [
        (200, true),
        (202, true),
        (204, false),
        (302, false),
        (500, false),
    ] {
        let url = server(status, "").await;
        let outcome = answered(json!({"external": {"url": url}})).await;
        let passed = matches!(outcome, ReadingOutcome::Passed { .. });
        assert_eq!(passed, passes, "{status}: {outcome:?}");
        assert_eq!(passes, !matches!(outcome, ReadingOutcome::Failed { .. }));
    }
}

#[tokio::test]
async fn who_does_not_answer_says_nothing() {
    let outcome = answered(json!({"external": {"url": "http://127.0.0.1:1/secret?token=x"}})).await;
    let ReadingOutcome::Unknown { why } = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(why, "it cannot be reached");
    // A name of the host itself is none.
    let outcome = answered(json!({"external": {"url": "http://localhost:1"}})).await;
    assert!(
        matches!(outcome, ReadingOutcome::Unknown { .. }),
        "{outcome:?}"
    );
}

/// A server that answers to this token alone.
async fn private_server(body: &'static str) -> String {
    let answer = move |headers: HeaderMap| async move {
        let sent = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        if sent == Some(b"Bearer hunter2") {
            (StatusCode::OK, body)
        } else {
            (StatusCode::UNAUTHORIZED, "hunter2 is what you did not send")
        }
    };
    let router = Router::new().fallback(any(answer));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

#[tokio::test]
async fn a_token_of_the_hub_is_sent_and_a_missing_one_opens_nothing() {
    let store = bellwether_store::testing::store().await;
    let name = NamespacedName {
        namespace: "default".to_owned(),
        name: "ask".to_owned(),
    };
    let entries = [("token", "hunter2\n"), ("other", "hunter3")]
        .map(|(key, value)| (key.to_owned(), SecretValue::new(value.into())));
    let mut tx = store.begin().await.expect("a transaction");
    set(&mut tx, &name, &entries.into(), "ana", wall())
        .await
        .expect("a secret");
    tx.commit().await.expect("a commit");

    let body = r#"{"status": "success", "data": {"resultType": "vector", "result": [
        {"metric": {}, "value": [1, "99"]}]}}"#;
    let url = private_server(body).await;
    let external =
        |secret: serde_json::Value| json!({"external": {"url": url, "secretRef": secret}});
    let metric = json!({"metric": {"address": url, "query": "up", "range": {"min": "99"},
        "secretRef": {"name": "ask"}}});
    for (gate, expected, said) in [
        (external(json!({"name": "ask"})), "Passed", ""),
        (metric, "Passed", ""),
        (
            external(json!({"name": "ask", "key": "other"})),
            "Failed",
            "401",
        ),
        (
            external(json!({"name": "aks"})),
            "Unknown",
            "SecretNotFound",
        ),
        (
            external(json!({"name": "ask", "key": "tokne"})),
            "Unknown",
            "has no key",
        ),
    ] {
        let outcome = format!(
            "{:?}",
            answered_with(gate.clone(), Some(store.clone())).await
        );
        assert!(
            outcome.starts_with(expected) && outcome.contains(said),
            "{gate}: {outcome}"
        );
        assert!(!outcome.contains("hunter"), "{outcome}");
    }
}

#[tokio::test]
async fn only_one_number_within_the_limits_opens() {
    let vector = |values: &str| -> &'static str {
        let series: Vec<String> = values
            .split_whitespace()
            .map(|value| format!(r#"{{"metric": {{}}, "value": [1, "{value}"]}}"#))
            .collect();
        format!(
            r#"{{"status": "success", "data": {{"resultType": "vector", "result": [{}]}}}}"#,
            series.join(",")
        )
        .leak()
    };
    for (body, expected) in [
        (vector("99.5"), "Passed"),
        (vector("98"), "Failed"),
        (vector(""), "Unknown"),
        (vector("99.5 99.6"), "Unknown"),
        (vector("NaN"), "Unknown"),
        (vector("+Inf"), "Unknown"),
        (
            r#"{"status": "success", "data": {"resultType": "scalar", "result": [1, "99"]}}"#,
            "Passed",
        ),
        (r#"{"status": "error", "error": "parse error"}"#, "Unknown"),
        ("<html>", "Unknown"),
    ] {
        let address = server(200, body).await;
        let gate = json!({"metric": {"address": address, "query": "up", "range": {"min": "99"}}});
        let outcome = answered(gate).await;
        assert!(
            format!("{outcome:?}").starts_with(expected),
            "{body}: {outcome:?}"
        );
    }
}

#[tokio::test]
async fn an_old_value_is_none() {
    let parts = |parts: &[(&str, f64)]| -> &'static str {
        let series: Vec<_> = parts
            .iter()
            .map(|(part, value)| json!({"metric": {PART: part}, "value": [1, value.to_string()]}))
            .collect();
        json!({"status": "success", "data": {"resultType": "vector", "result": series}})
            .to_string()
            .leak()
    };
    let value = r#"{"status": "success", "data": {"resultType": "scalar", "result": [1, "99"]}}"#;
    for (query, freshness, expected, said) in [
        ("orders", parts(&[("age-0", 5.0)]), "Passed", ""),
        (
            "orders",
            parts(&[("age-0", 290.0)]),
            "Unknown",
            "StaleSample: the newest measurement of orders is 4m50s old",
        ),
        (
            "rate(orders[1m])",
            parts(&[("age-0", 5.0), ("scrapes-0", 1.0)]),
            "Unknown",
            "TooFewScrapes",
        ),
        // What matches nothing is not old, and what reads no series is not asked about.
        ("orders or vector(99)", NOTHING, "Passed", ""),
        ("vector(99)", "<html>", "Passed", ""),
        // Whether it is fresh is not known.
        ("orders", "<html>", "Unknown", "no result of a query"),
    ] {
        let address = prometheus(200, value, freshness).await;
        let gate = json!({"metric": {"address": address, "query": query, "range": {"min": "99"}}});
        let outcome = format!("{:?}", answered(gate).await);
        assert!(
            outcome.starts_with(expected) && outcome.contains(said),
            "{query}: {outcome}"
        );
    }
}
