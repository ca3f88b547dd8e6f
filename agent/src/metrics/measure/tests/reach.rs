//! Against sources that do not answer.

use bellwether_api::bundle::BundleRollout;
use bellwether_proto::wire::MetricsSource;

use super::*;

/// Nobody listens there.
const NOBODY: &str = "http://127.0.0.1:1";

/// A wrong address or Secret of the cluster's metrics shows before a check needs them.
#[tokio::test]
async fn a_source_of_the_cluster_that_does_not_answer_is_named_at_once() {
    let good = Double::new(|_| (200, vector("1"))).await;
    let closed = Double::new(|request| (401, format!("not you: {request}"))).await;
    let meter = meter(Secrets::default().with("bellwether/metrics", &[("token", TOKEN)]));
    let at = |address: &str, secret: Option<&str>, metric: Metric| {
        let mut bundle = bundle(Some(MetricsDefaults {
            address: address.to_owned(),
            secret_ref: secret.map(|name| SecretKeyRef {
                name: name.to_owned(),
                key: Some("token".into()),
            }),
            ..MetricsDefaults::default()
        }));
        bundle.rollouts = vec![BundleRollout {
            name: "web".into(),
            spec: plan(metric),
        }];
        bundle
    };
    let built_in = || Metric {
        name: REQUEST_SUCCESS_RATE.into(),
        ..Metric::default()
    };
    let right = at(&good.address, Some("metrics"), built_in());
    assert_eq!(meter.unreachable(&right).await, None);
    let asked = good.asked();
    assert_eq!(asked.len(), 1, "once");
    assert!(
        asked[0].contains("query=vector%281%29") && asked[0].contains(TOKEN),
        "{asked:?}"
    );
    for (bundle, says) in [
        (
            at("http://127.0.0.1:1", None, built_in()),
            "failed to reach",
        ),
        (at("prometheus", None, built_in()), "as a URL"),
        (
            at(&good.address, Some("absent"), built_in()),
            "there is none",
        ),
        (
            at(&closed.address, Some("metrics"), built_in()),
            "answered 401",
        ),
    ] {
        let why = meter.unreachable(&bundle).await.expect("no answer");
        assert!(why.contains(says) && !why.contains(TOKEN), "{why}");
    }
    // Whoever brings an address of its own does not read there.
    let own = asks(
        MetricSourceKind::Prometheus,
        "http://127.0.0.1:1",
        "x",
        None,
    );
    let elsewhere = at(&good.address, None, own);
    assert_eq!(meter.unreachable(&elsewhere).await, None);
    assert_eq!(good.asked().len(), 1, "nobody asked for nothing");
    assert_eq!(meter.unreachable(&bundle(None)).await, None);
}

/// What plans and templates name is asked there and with the Secret beside it, each once.
#[tokio::test]
async fn sources_that_a_plan_names_are_tried_with_their_own_secrets() {
    use MetricSourceKind::{CloudWatch, Datadog, Http, Prometheus};
    let good = Double::new(|_| (200, vector("1"))).await;
    let closed = Double::new(|request| (403, format!("not you: {request}"))).await;
    let page = Double::new(|_| (200, "<html>welcome</html>".to_owned())).await;
    let missing = Double::new(|_| (404, "no such path".to_owned())).await;
    let aws = Double::new(|_| {
        let refusal = json!({"__type": "UnrecognizedClientException", "message": "bad token"});
        (400, refusal.to_string())
    })
    .await;
    let meter = meter(
        Secrets::default()
            .with("shop/token", &[("token", TOKEN)])
            .with(
                "shop/aws",
                &[
                    ("access-key-id", "AKID"),
                    ("secret-access-key", TOKEN),
                    ("region", "eu-1"),
                ],
            )
            .with(
                "shop/dog",
                &[("api-key", TOKEN), ("application-key", "k3y")],
            )
            .with("bellwether/agents", &[("token", TOKEN)]),
    );
    let tried = async |metric: Metric| {
        let found = OwnSource::of_plan("web", &plan(metric), "shop");
        assert_eq!(found.len(), 1, "{found:?}");
        let why = meter.silence(&found[0]).await;
        if let Some(why) = &why {
            assert!(!why.message.contains(TOKEN), "{why:?}");
        }
        why.map_or("", |why| why.reason)
    };
    let all = [&good, &closed, &page, &missing, &aws];
    let [good_at, closed_at, page_at, missing_at, aws_at] = all.map(|one| one.address.as_str());
    let (queue, ids) = ("max(queue)", "[{\"Id\": \"a\"}]");
    for (kind, address, query, secret, reason) in [
        (Prometheus, good_at, queue, None, ""),
        (Prometheus, good_at, queue, Some("token"), ""),
        (Prometheus, NOBODY, queue, None, "Unreachable"),
        (Prometheus, closed_at, queue, Some("token"), "Unauthorized"),
        (Prometheus, page_at, queue, None, "NoPrometheus"),
        (Prometheus, missing_at, queue, None, "NoPrometheus"),
        // The Secrets of the agent's namespace are not a plan's.
        (Prometheus, good_at, queue, Some("agents"), "NoSecret"),
        (Http, NOBODY, "/a#/b", None, "Unreachable"),
        (Http, closed_at, "/a#/b", Some("token"), "Unauthorized"),
        (Http, page_at, "/a#/b", None, "NoJson"),
        // Of a version that is not there yet many have nothing.
        (Http, missing_at, "/a#/b", None, ""),
        (Http, good_at, "/a#/b", None, ""),
        (Datadog, closed_at, "avg:x{*}", Some("dog"), "Unauthorized"),
        (Datadog, good_at, "avg:x{*}", Some("token"), "Unauthorized"),
        (CloudWatch, NOBODY, ids, None, "Unauthorized"),
        (CloudWatch, aws_at, ids, Some("aws"), "Unauthorized"),
    ] {
        let found = tried(asks(kind, address, query, secret)).await;
        assert_eq!(found, reason, "{kind:?} {address} {query} {secret:?}");
    }
    let asked = good.asked().join("\n");
    assert!(
        asked.contains("query=vector%281%29") && !asked.contains("queue"),
        "a Prometheus is asked for nothing of the metric's: {asked}"
    );
}

/// Several metrics that read at one place ask it once; those of the cluster are not a plan's.
#[test]
fn whatever_reads_at_one_place_asks_it_once() {
    use MetricSourceKind::Prometheus;
    let mut several = plan(asks(Prometheus, NOBODY, "a", Some("token")));
    let others = [
        asks(Prometheus, NOBODY, "b", Some("token")),
        asks(Prometheus, NOBODY, "c", None),
        Metric {
            name: REQUEST_SUCCESS_RATE.into(),
            ..Metric::default()
        },
    ];
    several.analysis.metrics.extend(others);
    assert_eq!(OwnSource::of_plan("web", &several, "shop").len(), 2);

    // Nor do plans of other namespaces, unless a Secret of theirs is shown.
    let key = |secret, namespace| {
        let plan = plan(asks(Prometheus, NOBODY, "a", secret));
        OwnSource::of_plan("web", &plan, namespace)[0].key()
    };
    assert_eq!(key(None, "shop"), key(None, "other"));
    assert_ne!(key(Some("token"), "shop"), key(Some("token"), "other"));
}

fn source(address: &str, secret: &str) -> MetricsSource {
    MetricsSource {
        address: address.to_owned(),
        secret: secret.to_owned(),
        secret_key: String::new(),
    }
}

#[tokio::test]
async fn every_kind_of_silence_has_its_word_and_no_secret() {
    let good = Double::new(|_| (200, vector("1"))).await;
    let empty = Double::new(|_| {
        let body = json!({"status": "success", "data": {"resultType": "vector", "result": []}});
        (200, body.to_string())
    })
    .await;
    let closed = Double::new(|request| (401, format!("not you: {request}"))).await;
    let moved = Double::new(|_| (302, String::new())).await;
    let page = Double::new(|_| (200, "<html>welcome</html>".to_owned())).await;
    let meter = meter(Secrets::default().with("bellwether/metrics", &[("token", TOKEN)]));
    for (source, reason) in [
        (source(&good.address, ""), ""),
        (source(&good.address, "metrics"), ""),
        (source(&good.address, "absent"), "NoSecret"),
        (source("prometheus", ""), "BadAddress"),
        (source("http://127.0.0.1:1", ""), "Unreachable"),
        (source(&closed.address, "metrics"), "Unauthorized"),
        (source(&moved.address, ""), "Redirected"),
        (source(&page.address, ""), "NoPrometheus"),
        (source(&empty.address, ""), "NoPrometheus"),
    ] {
        let answer = meter.try_source(&source).await;
        assert_eq!(answer.reason, reason, "{answer:?}");
        assert_eq!(answer.address, source.address);
        assert_eq!(answer.message.is_empty(), reason.is_empty(), "{answer:?}");
        assert!(!answer.message.contains(TOKEN), "{answer:?}");
    }
    assert!(good.asked()[1].contains(TOKEN), "the Secret is used");
}

/// What the hub names is asked at once, and what it names instead too.
#[tokio::test]
async fn sources_are_asked_when_they_are_named_and_when_they_change() {
    let good = Double::new(|_| (200, vector("1"))).await;
    let reachable = crate::metrics::Reachable::default();
    let mut reports = reachable.reports();
    assert!(!reports.borrow().asked, "nobody said where to ask");
    let (asking, meter) = (reachable.clone(), meter(Secrets::default()));
    let task = tokio::spawn(async move { asking.run(meter).await });
    for (sources, reasons) in [
        (vec![source("http://127.0.0.1:1", "")], &["Unreachable"][..]),
        (vec![source(&good.address, "")], &[""]),
        (Vec::new(), &[]),
        (
            vec![source(&good.address, ""), source("http://127.0.0.1:1", "")],
            &["", "Unreachable"],
        ),
    ] {
        reachable.aim(sources.clone());
        // A source that is named twice is not asked for it.
        reachable.aim(sources);
        reports.changed().await.expect("it is told");
        let report = reports.borrow_and_update().clone();
        assert!(report.asked);
        let said: Vec<&str> = report
            .answers
            .iter()
            .map(|answer| answer.reason.as_str())
            .collect();
        assert_eq!(said, reasons);
    }
    task.abort();
}
