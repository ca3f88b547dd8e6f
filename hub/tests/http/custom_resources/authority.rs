//! The API server goes on asking while the hub's authority changes.

use std::{
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{ApiServer, Scene};
use crate::harness::{eventually, fleet};

/// Asks as the API server is configured to at this moment; gives what it was answered.
async fn ask(webhook: &Value) -> Result<Value, reqwest::Error> {
    let client = &webhook["clientConfig"];
    let bundle = STANDARD
        .decode(client["caBundle"].as_str().unwrap())
        .unwrap();
    let client_of_api_server = reqwest::Client::builder()
        .tls_certs_only(reqwest::Certificate::from_pem_bundle(&bundle)?)
        .timeout(Duration::from_secs(5))
        .build()?;
    let object: Value = serde_saphyr::from_str(&fleet("asked")).unwrap();
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {"uid": "u", "kind": {"kind": "Fleet"}, "operation": "CREATE", "object": object},
    });
    let url = client["url"].as_str().unwrap();
    let answer = client_of_api_server.post(url).json(&review).send().await?;
    answer.error_for_status()?.json().await
}

/// Asks again and again until it is told to stop; gives how often, and what went wrong.
async fn keep_asking(
    cluster: Arc<ApiServer>,
    asked: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
) -> Vec<String> {
    let mut failures = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        match ask(&cluster.webhook()).await {
            Ok(answer) if answer["response"]["allowed"] == true => {}
            Ok(answer) => failures.push(answer.to_string()),
            Err(error) => failures.push(format!("{error:?}")),
        }
        asked.fetch_add(1, Ordering::SeqCst);
    }
    failures
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_question_fails_while_the_authority_changes() {
    let Scene {
        cluster,
        database,
        hub,
        folder,
    } = Scene::start().await;
    hub.running.stop().await;
    let cluster = Arc::new(cluster);
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = port.local_addr().unwrap().to_string();
    drop(port);
    let flags = [
        "--admission-listen",
        &address,
        "--admission-address",
        &address,
        "--admission-failure-policy",
        "fail",
    ];
    let hub = Scene::hub_with(&database, &folder, &flags).await;
    let pki = &hub.running.app.pki;
    let first = eventually("the API server to be told", async || {
        let webhook = cluster.webhook();
        (webhook["failurePolicy"] == "Fail").then_some(webhook)
    })
    .await;
    let (asked, stop) = (Arc::default(), Arc::new(AtomicBool::new(false)));
    let asking = tokio::spawn(keep_asking(
        Arc::clone(&cluster),
        Arc::clone(&asked),
        Arc::clone(&stop),
    ));
    let more_questions = async || {
        let before = asked.load(Ordering::SeqCst);
        eventually("more questions", async || {
            (asked.load(Ordering::SeqCst) > before + 5).then_some(())
        })
        .await;
    };
    more_questions().await;
    // Both at once: the next CA signs before the API server was told of it.
    let now = bellwether_hub::clock::wall();
    pki.prepare_rotation(now).unwrap();
    pki.promote_rotation(now).unwrap();
    more_questions().await;
    let second = eventually("the API server to be told of the next", async || {
        let webhook = cluster.webhook();
        (webhook != first).then_some(webhook)
    })
    .await;
    more_questions().await;
    assert!(ask(&first).await.is_ok(), "the former CA signs meanwhile");
    pki.refresh(now + Duration::from_secs(300)).unwrap();
    more_questions().await;
    let (first, second) = (ask(&first).await, ask(&second).await);
    assert!(first.is_err() && second.is_ok(), "{first:?} {second:?}");
    std::fs::remove_file(folder.path().join("pki/ca-old.pem")).unwrap();
    pki.refresh(now + Duration::from_secs(300)).unwrap();
    more_questions().await;
    stop.store(true, Ordering::SeqCst);
    assert_eq!(asking.await.unwrap(), Vec::<String>::new());
}
