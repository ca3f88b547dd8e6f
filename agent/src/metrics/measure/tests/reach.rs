//! Against sources that do not answer.

use bellwether_api::bundle::BundleRollout;

use super::*;

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
