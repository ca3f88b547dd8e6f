//! Against real HTTP servers that answer as the sources do.

mod freshness;
mod reach;
mod side_by_side;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use bellwether_agent_core::{analysis::check, machine::SampleRequest};
use bellwether_api::{
    analysis::{Analysis, Better, Metric, MetricSource, Range, Relative},
    bundle::BundleMode,
    fleet::MetricsDefaults,
    metric_template::SecretKeyRef,
    reference::NamespacedName,
    status::Verdict,
};
use futures::future::BoxFuture;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use crate::clock::wall;

const TOKEN: &str = "s3cret-t0ken";

/// A server that answers every request by its text, and remembers what was asked.
struct Double {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Double {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Double {
    /// `answer` gives status and body, and maybe a header line.
    async fn new(answer: impl Fn(&str) -> (u16, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("it is bound"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (Arc::clone(&asked), Arc::new(answer));
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                tokio::spawn(async move {
                    let Some(request) = read_request(&mut stream).await else {
                        return;
                    };
                    seen.lock()
                        .expect("no test panics here")
                        .push(request.clone());
                    let (status, body) = answer(&request);
                    let head = format!(
                        "HTTP/1.1 {status} -\r\ncontent-length: {}\r\nlocation: http://127.0.0.1:1/\r\nconnection: close\r\n\r\n",
                        body.len()
                    );
                    let _ = stream.write_all(head.as_bytes()).await;
                    let _ = stream.write_all(body.as_bytes()).await;
                });
            }
        });
        Self {
            address,
            asked,
            task,
        }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no test panics here").clone()
    }

    /// What was asked since this was last called.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().expect("no test panics here"))
    }
}

async fn read_request(stream: &mut tokio::net::TcpStream) -> Option<String> {
    let mut text = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let read = stream
            .read(&mut chunk)
            .await
            .ok()
            .filter(|read| *read > 0)?;
        text.extend_from_slice(&chunk[..read]);
        let so_far = String::from_utf8_lossy(&text).into_owned();
        let Some((head, body)) = so_far.split_once("\r\n\r\n") else {
            continue;
        };
        let length: usize = head
            .to_lowercase()
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
            .unwrap_or(0);
        if body.len() >= length {
            return Some(so_far);
        }
    }
}

/// Secrets by `namespace/name`.
#[derive(Default)]
struct Secrets(BTreeMap<String, BTreeMap<String, Vec<u8>>>);

impl Secrets {
    fn with(mut self, at: &str, fields: &[(&str, &str)]) -> Self {
        let fields = fields
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()))
            .collect();
        self.0.insert(at.to_owned(), fields);
        self
    }
}

impl SecretReader for Secrets {
    fn read<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<BTreeMap<String, Vec<u8>>, SecretError>> {
        let found = self.0.get(&format!("{namespace}/{name}")).cloned();
        let missing = SecretError::Missing {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        Box::pin(async move { found.ok_or(missing) })
    }
}

fn meter(secrets: Secrets) -> Meter {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Meter::new(Arc::new(secrets), "bellwether", Clock::begin(None)).expect("TLS can be set up")
}

fn bundle(metrics: Option<MetricsDefaults>) -> Bundle {
    Bundle {
        application: NamespacedName {
            namespace: "default".into(),
            name: "shop".into(),
        },
        release: "0".repeat(64),
        revision: 1,
        run: uuid::Uuid::nil(),
        attempt: 1,
        mode: BundleMode::Rollout,
        target_namespace: "shop".into(),
        create_namespace: false,
        components: Vec::new(),
        rollouts: Vec::new(),
        sync: bellwether_api::application::SyncPolicy::default(),
        metrics,
        alerts: Vec::new(),
        returns: false,
    }
}

fn plan(metric: Metric) -> RolloutSpec {
    let mut plan: RolloutSpec = serde_json::from_value(json!({
        "service": {"name": "web", "port": 80},
        "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "strategy": {"canary": {"stepWeight": 10}},
        "traffic": [{"gatewayApi": {"httpRoutes": ["web"]}}],
    }))
    .expect("a plan");
    plan.analysis = Analysis {
        metrics: vec![metric],
        ..Analysis::default()
    };
    plan
}

/// Measures one metric in the middle of a step.
async fn measure(meter: &Meter, plan: &RolloutSpec, bundle: &Bundle) -> Sample {
    let now = wall();
    let subject = Subject {
        bundle,
        plan,
        namespace: "shop",
        workload: "web",
        service: "web",
        port: Some(80),
        canary_addresses: std::collections::BTreeSet::new(),
        probe: None,
        revisions: None,
    };
    let request = SampleRequest {
        check: 7,
        in_force_since: now - jiff::SignedDuration::from_secs(600),
    };
    let samples = meter
        .measure(Measurement::new(&subject, request, now))
        .await;
    assert_eq!(samples.check, 7);
    samples.metrics[0].sample.clone()
}

fn asks(kind: MetricSourceKind, address: &str, query: &str, secret: Option<&str>) -> Metric {
    Metric {
        name: "mine".into(),
        query: Some(query.to_owned()),
        range: Some(Range {
            min: None,
            max: Some("5".parse().expect("a number")),
        }),
        source: Some(MetricSource {
            kind,
            address: Some(address.to_owned()),
            secret_ref: secret.map(|name| SecretKeyRef {
                name: name.to_owned(),
                key: None,
            }),
        }),
        ..Metric::default()
    }
}

fn vector(value: &str) -> String {
    let now = wall().as_second();
    json!({"status": "success", "data": {"resultType": "vector", "result": [
        {"metric": {}, "value": [now, value]}]}})
    .to_string()
}

fn verdict(plan: &RolloutSpec, sample: &Sample) -> Verdict {
    check(&plan.analysis, |_| Some(sample), wall()).verdict
}

#[tokio::test]
async fn prometheus_is_asked_by_form_with_the_plans_own_credentials() {
    let double = Double::new(|_| (200, vector("4.5"))).await;
    let secrets = Secrets::default()
        .with("shop/bearer", &[("token", TOKEN)])
        .with("shop/basic", &[("username", "ana"), ("password", TOKEN)]);
    let meter = meter(secrets);
    for (secret, header) in [
        (None, None),
        (
            Some("bearer"),
            Some(format!("authorization: Bearer {TOKEN}")),
        ),
        (
            Some("basic"),
            Some("authorization: Basic YW5hOnMzY3JldC10MGtlbg==".to_owned()),
        ),
    ] {
        let metric = asks(
            MetricSourceKind::Prometheus,
            &double.address,
            "sum(x{ns=\"{{ namespace }}\"})",
            secret,
        );
        let plan = plan(metric);
        let sample = measure(&meter, &plan, &bundle(None)).await;
        assert_eq!(sample.value, Some(4.5), "{}", sample.error);
        assert_eq!(verdict(&plan, &sample), Verdict::Pass);
        let asked = double.take();
        let value = "query=sum%28x%7Bns%3D%22shop%22%7D%29";
        let asked = asked.iter().find(|asked| asked.contains(value));
        let asked = asked.expect("it was asked");
        assert!(asked.starts_with("POST /api/v1/query HTTP/1.1"), "{asked}");
        match header {
            Some(header) => assert!(
                asked.to_lowercase().contains(&header.to_lowercase()),
                "{asked}"
            ),
            None => assert!(!asked.to_lowercase().contains("authorization"), "{asked}"),
        }
    }
}

/// The cluster's Secret goes to the cluster's address alone, and a plan reads no Secret of the
/// agent's namespace.
#[tokio::test]
async fn a_secret_goes_nowhere_but_to_its_own_address() {
    let clusters = Double::new(|_| (200, vector("1"))).await;
    let strangers = Double::new(|_| (200, vector("1"))).await;
    let meter = meter(Secrets::default().with("bellwether/metrics", &[("token", TOKEN)]));
    let bundle = bundle(Some(MetricsDefaults {
        address: clusters.address.clone(),
        secret_ref: Some(SecretKeyRef {
            name: "metrics".into(),
            key: Some("token".into()),
        }),
        ..MetricsDefaults::default()
    }));
    let built_in = plan(Metric {
        name: REQUEST_SUCCESS_RATE.into(),
        ..Metric::default()
    });
    measure(&meter, &built_in, &bundle).await;
    assert_eq!(clusters.asked().len(), 4, "value, requests, scrapes, age");
    for asked in clusters.asked() {
        assert!(asked.contains(&format!("Bearer {TOKEN}")), "{asked}");
    }
    let away = plan(asks(
        MetricSourceKind::Prometheus,
        &strangers.address,
        "x",
        None,
    ));
    measure(&meter, &away, &bundle).await;
    let asked = strangers.take();
    assert_eq!(asked.len(), 2, "value, and how fresh it is");
    assert!(asked.iter().all(|asked| !asked.contains(TOKEN)));
    let thief = plan(asks(
        MetricSourceKind::Prometheus,
        &strangers.address,
        "x",
        Some("metrics"),
    ));
    let sample = measure(&meter, &thief, &bundle).await;
    assert_eq!(
        sample.error,
        "failed to read Secret shop/metrics: there is none"
    );
    assert_eq!(strangers.asked().len(), 0, "nothing was sent");
}

/// I28: a server that repeats what it was told does not get it into a status.
#[tokio::test]
async fn secrets_stay_out_of_what_is_reported() {
    let echo = Double::new(|request| {
        let body = match request.contains("/api/v1/query HTTP") {
            true => json!({"status": "error", "error": format!("bad {TOKEN}")}).to_string(),
            false => format!("no {TOKEN} here"),
        };
        (if request.starts_with("GET") { 403 } else { 200 }, body)
    })
    .await;
    let secrets = Secrets::default()
        .with("shop/token", &[("token", TOKEN)])
        .with(
            "shop/dog",
            &[("api-key", TOKEN), ("application-key", "other-k3y")],
        )
        .with(
            "shop/aws",
            &[
                ("access-key-id", "AKID"),
                ("secret-access-key", TOKEN),
                ("region", "eu-1"),
            ],
        );
    let meter = meter(secrets);
    for (kind, query, secret) in [
        (MetricSourceKind::Prometheus, "x", "token"),
        (MetricSourceKind::Http, "/x#", "token"),
        (MetricSourceKind::Datadog, "avg:x{*}", "dog"),
        (MetricSourceKind::CloudWatch, "[{\"Id\":\"a\"}]", "aws"),
    ] {
        let plan = plan(asks(kind, &echo.address, query, Some(secret)));
        let sample = measure(&meter, &plan, &bundle(None)).await;
        assert!(!sample.error.is_empty(), "{kind:?}");
        let shown = format!(
            "{sample:?} {:?}",
            check(&plan.analysis, |_| Some(&sample), wall())
        );
        assert!(!shown.contains(TOKEN), "{kind:?}: {shown}");
        assert_eq!(verdict(&plan, &sample), Verdict::Unknown);
    }
}

#[tokio::test]
async fn http_json_is_asked_for_one_number() {
    let double = Double::new(|_| (200, json!({"errors": [{"percent": "2.5"}]}).to_string())).await;
    let meter = meter(Secrets::default());
    let query = "/stats?service={{ service }}&window={{ interval }}#/errors/0/percent";
    let plan = plan(asks(MetricSourceKind::Http, &double.address, query, None));
    let sample = measure(&meter, &plan, &bundle(None)).await;
    assert_eq!(sample.value, Some(2.5), "{}", sample.error);
    assert_eq!(verdict(&plan, &sample), Verdict::Pass);
    let asked = double.asked().pop().expect("it was asked");
    assert!(
        asked.starts_with("GET /stats?service=web-canary&window=60s HTTP/1.1"),
        "{asked}"
    );
}

#[tokio::test]
async fn datadog_is_asked_with_both_keys_over_the_window() {
    let double = Double::new(|_| {
        let now = wall().as_millisecond();
        let points = json!([[now - 20_000, 9.0], [now - 10_000, 3.0]]);
        (
            200,
            json!({"status": "ok", "series": [{"pointlist": points}]}).to_string(),
        )
    })
    .await;
    let secrets =
        Secrets::default().with("shop/dog", &[("api-key", "a"), ("application-key", "b")]);
    let meter = meter(secrets);
    let query = "sum:trace.errors{kube_deployment:{{ target }}}";
    let plan = plan(asks(
        MetricSourceKind::Datadog,
        &double.address,
        query,
        Some("dog"),
    ));
    let sample = measure(&meter, &plan, &bundle(None)).await;
    assert_eq!(sample.value, Some(3.0), "{}", sample.error);
    assert!(
        sample
            .age_ms
            .is_some_and(|age| (10_000..12_000).contains(&age))
    );
    assert_eq!(verdict(&plan, &sample), Verdict::Pass);
    let asked = double.asked().pop().expect("it was asked").to_lowercase();
    assert!(asked.starts_with("get /api/v1/query?from="), "{asked}");
    assert!(asked.contains("web-canary"), "{asked}");
    assert!(asked.contains("dd-api-key: a\r\n"), "{asked}");
    assert!(asked.contains("dd-application-key: b\r\n"), "{asked}");
}

#[tokio::test]
async fn cloudwatch_is_asked_by_signed_request() {
    let double = Double::new(|_| {
        let now = wall().as_second();
        let series = json!({"Id": "e", "Timestamps": [now - 30], "Values": [1.25]});
        (200, json!({"MetricDataResults": [series]}).to_string())
    })
    .await;
    let secrets = Secrets::default().with(
        "shop/aws",
        &[
            ("access-key-id", "AKID"),
            ("secret-access-key", "key"),
            ("session-token", "session"),
            ("region", "eu-west-1"),
        ],
    );
    let meter = meter(secrets);
    let query = "[{\"Id\": \"e\", \"Expression\": \"errors {{ target }}\"}]";
    let plan = plan(asks(
        MetricSourceKind::CloudWatch,
        &double.address,
        query,
        Some("aws"),
    ));
    let sample = measure(&meter, &plan, &bundle(None)).await;
    assert_eq!(sample.value, Some(1.25), "{}", sample.error);
    assert_eq!(verdict(&plan, &sample), Verdict::Pass);
    let asked = double.asked().pop().expect("it was asked");
    assert!(asked.starts_with("POST / HTTP/1.1"), "{asked}");
    assert!(
        asked.contains("AWS4-HMAC-SHA256 Credential=AKID/")
            && asked.contains("/eu-west-1/monitoring/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target, Signature="),
        "{asked}"
    );
    let (_, body) = asked.split_once("\r\n\r\n").expect("a body");
    let body: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(
        body["MetricDataQueries"][0]["Expression"],
        "errors web-canary"
    );
    assert_eq!(
        body["EndTime"].as_i64().expect("a time") - body["StartTime"].as_i64().expect("a time"),
        60
    );
}

/// Whatever the source does, the check is Unknown and says why; nothing is a pass.
#[tokio::test]
async fn troubles_of_the_source_are_unknown() {
    let refusal = json!({"status": "error", "errorType": "bad_data", "error": "parse error"});
    let cases: [(u16, String, &str); 10] = [
        (401, "who are you".to_owned(), "answered 401: who are you"),
        (500, "<html>".to_owned(), "answered 500"),
        (
            400,
            refusal.to_string(),
            "failed to query the metrics source: parse error",
        ),
        // As a proxy may answer that kept what the source said before.
        (500, vector("1"), "answered 500"),
        (503, vector("1"), "answered 503"),
        (302, String::new(), "redirects are not followed"),
        (200, "<html>".to_owned(), "failed to read an answer"),
        (200, "x".repeat((1 << 20) + 1), "larger than 1048576 bytes"),
        (
            200,
            json!({"status": "success", "data": {"resultType": "vector", "result": []}})
                .to_string(),
            "",
        ),
        (200, vector("NaN"), ""),
    ];
    let meter = meter(Secrets::default());
    for (status, body, says) in cases {
        let double = Double::new(move |_| (status, body.clone())).await;
        let plan = plan(asks(
            MetricSourceKind::Prometheus,
            &double.address,
            "x",
            None,
        ));
        let sample = measure(&meter, &plan, &bundle(None)).await;
        assert!(sample.error.contains(says), "{says}: {}", sample.error);
        assert_eq!(verdict(&plan, &sample), Verdict::Unknown, "{status}");
    }
    let closed = plan(asks(
        MetricSourceKind::Prometheus,
        "http://127.0.0.1:1",
        "x",
        None,
    ));
    let sample = measure(&meter, &closed, &bundle(None)).await;
    assert!(sample.error.contains("failed to reach"), "{}", sample.error);
}

/// The five seconds that a query may take.
#[tokio::test]
async fn a_source_that_hangs_is_unknown_after_its_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = format!("http://{}", listener.local_addr().expect("it is bound"));
    let hanging = tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok(accepted) = listener.accept().await {
            open.push(accepted);
        }
    });
    let plan = plan(asks(MetricSourceKind::Prometheus, &address, "x", None));
    let sample = measure(&meter(Secrets::default()), &plan, &bundle(None)).await;
    assert!(sample.error.contains("failed to reach"), "{}", sample.error);
    assert_eq!(verdict(&plan, &sample), Verdict::Unknown);
    hanging.abort();
}

/// An answer of another time, as a cache in front of the source gives it, is no answer.
#[tokio::test]
async fn an_old_answer_is_no_answer() {
    let double = Double::new(|_| {
        let then = wall().as_second() - 120;
        let result = json!([{"metric": {}, "value": [then, "1"]}]);
        (
            200,
            json!({"status": "success", "data": {"resultType": "vector", "result": result}})
                .to_string(),
        )
    })
    .await;
    let plan = plan(asks(
        MetricSourceKind::Prometheus,
        &double.address,
        "x",
        None,
    ));
    let sample = measure(&meter(Secrets::default()), &plan, &bundle(None)).await;
    let outcome = check(&plan.analysis, |_| Some(&sample), wall());
    assert_eq!(outcome.verdict, Verdict::Unknown);
    assert!(
        outcome.results[0].reason.starts_with("ClockSkew"),
        "{:?}",
        outcome.results
    );
}

#[tokio::test]
async fn both_versions_are_asked_for_where_they_are_compared() {
    let double = Double::new(|request| {
        (
            200,
            vector(if request.contains("web-canary") {
                "110"
            } else {
                "100"
            }),
        )
    })
    .await;
    let mut metric = asks(
        MetricSourceKind::Prometheus,
        &double.address,
        "sum(x{d=\"{{ target }}\"})",
        None,
    );
    metric.range = None;
    metric.relative = Some(Relative {
        max: "10".parse().expect("a number"),
        better_when: Some(Better::Lower),
    });
    let mut plan = plan(metric);
    let meter = meter(Secrets::default());
    let sample = measure(&meter, &plan, &bundle(None)).await;
    assert_eq!(sample.value, Some(110.0));
    assert_eq!(
        sample.stable.as_ref().and_then(|stable| stable.value),
        Some(100.0)
    );
    assert_eq!(verdict(&plan, &sample), Verdict::Pass);
    if let Some(relative) = &mut plan.analysis.metrics[0].relative {
        relative.max = "9".parse().expect("a number");
    }
    assert_eq!(verdict(&plan, &sample), Verdict::Fail);
}

#[test]
fn without_any_address_the_pods_are_asked_or_nobody() {
    let built_in = Metric {
        name: REQUEST_DURATION.into(),
        ..Metric::default()
    };
    assert_eq!(source_of(&built_in, &bundle(None)), Source::Probe);
    let own = Metric {
        query: Some("x".into()),
        name: "mine".into(),
        ..Metric::default()
    };
    assert!(matches!(source_of(&own, &bundle(None)), Source::Nowhere(_)));
    // A name alone does not make a probe's answer that of a query.
    let named = Metric {
        name: REQUEST_DURATION.into(),
        ..own
    };
    assert!(matches!(
        source_of(&named, &bundle(None)),
        Source::Nowhere(_)
    ));
}

#[test]
fn statistic_takes_the_nearest_rank() {
    let values: Vec<f64> = (1..=200).map(f64::from).collect();
    assert_eq!(statistic(&values, Aggregation::P50), Some(100.0));
    assert_eq!(statistic(&values, Aggregation::P99), Some(198.0));
    assert_eq!(statistic(&values, Aggregation::Avg), Some(100.5));
    assert_eq!(statistic(&[7.0], Aggregation::P99), Some(7.0));
    assert_eq!(statistic(&[], Aggregation::P99), None);
    assert_eq!(statistic(&[], Aggregation::Avg), None);
}

/// The authority that the Secret holds is trusted, and nobody but it.
#[tokio::test]
async fn a_source_with_its_own_authority_is_trusted_by_its_secret_alone() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let certificate = |name: &str| {
        let key = rcgen::KeyPair::generate().expect("a key");
        let parameters = rcgen::CertificateParams::new(vec![name.to_owned()]).expect("a name");
        (parameters.self_signed(&key).expect("a certificate"), key)
    };
    let ((own, key), (other, _)) = (certificate("127.0.0.1"), certificate("127.0.0.1"));
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![own.der().clone()],
            rustls_pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )
        .expect("a server's certificate");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = format!("https://{}", listener.local_addr().expect("it is bound"));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let mut chunk = [0; 4096];
            let _ = stream.read(&mut chunk).await;
            let body = vector("2");
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    let meter = meter(
        Secrets::default()
            .with("shop/own", &[("ca.crt", own.pem().as_str())])
            .with("shop/other", &[("ca.crt", other.pem().as_str())])
            .with("shop/broken", &[("ca.crt", "no certificate")]),
    );
    let ask = async |secret| {
        let metric = asks(MetricSourceKind::Prometheus, &address, "x", secret);
        measure(&meter, &plan(metric), &bundle(None)).await
    };
    let trusted = ask(Some("own")).await;
    assert_eq!(trusted.value, Some(2.0), "{}", trusted.error);
    for secret in [None, Some("other"), Some("broken")] {
        let sample = ask(secret).await;
        assert_eq!(sample.value, None, "{secret:?}");
        assert!(sample.error.starts_with("failed to"), "{}", sample.error);
    }
}
