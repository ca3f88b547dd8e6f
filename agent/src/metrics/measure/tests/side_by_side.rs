//! Both groups of an A/B test are measured, and one of them is for people alone.

use super::*;

fn ab_test(metric: Metric) -> RolloutSpec {
    let mut plan = plan(metric);
    plan.strategy = serde_json::from_value(json!({"abTest": {
        "iterations": 2, "match": [{"headers": [{"name": "group", "exact": "b"}]}],
    }}))
    .expect("a strategy");
    plan
}

/// A Prometheus that has 110 of the canary and `stable` of the old version.
async fn double(stable: &'static str) -> Double {
    Double::new(move |request| {
        let is_canary = request.contains("web-canary");
        (200, vector(if is_canary { "110" } else { stable }))
    })
    .await
}

fn metric(double: &Double, query: &str) -> Metric {
    asks(MetricSourceKind::Prometheus, &double.address, query, None)
}

/// What an A/B test shows of the old version, and what the check is.
async fn shown(plan: &RolloutSpec) -> (Option<String>, Verdict) {
    let sample = measure(&meter(Secrets::default()), plan, &bundle(None)).await;
    let outcome = check(&plan.analysis, |_| Some(&sample), wall());
    assert_eq!(outcome.results[0].value.as_deref(), Some("110"));
    (outcome.results[0].stable.clone(), outcome.verdict)
}

#[tokio::test]
async fn an_ab_test_shows_both_groups_and_is_judged_by_one() {
    const BY_TARGET: &str = "sum(x{d=\"{{ target }}\"})";
    for stable in ["100", "NaN", "1e9"] {
        let double = double(stable).await;
        let mut plan = ab_test(metric(&double, BY_TARGET));
        plan.analysis.metrics[0].range =
            Some(serde_json::from_value(json!({"max": "120"})).expect("a range"));
        let (beside, verdict) = shown(&plan).await;
        let expected = match stable {
            "NaN" => None,
            "1e9" => Some("1000000000"),
            other => Some(other),
        };
        assert_eq!(beside.as_deref(), expected, "{stable}");
        assert_eq!(verdict, Verdict::Pass, "{stable}");
    }
    // A canary is compared with nothing unless its limit says so.
    let double = double("100").await;
    let canary = plan(metric(&double, BY_TARGET));
    assert_eq!(shown(&canary).await.0, None);
}

#[tokio::test]
async fn a_query_that_names_no_version_is_asked_once() {
    let double = Double::new(|_| (200, vector("110"))).await;
    let plan = ab_test(metric(&double, "sum(orders)"));
    assert_eq!(shown(&plan).await.0, None);
}

#[tokio::test(start_paused = true)]
async fn a_check_does_not_wait_for_what_decides_nothing() {
    let after = async |ms: u64, value: f64| {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        Sample {
            value: Some(value),
            ..Sample::default()
        }
    };
    let started = tokio::time::Instant::now();
    let (canary, stable) = beside(after(100, 1.0), after(60_000, 2.0)).await;
    assert_eq!((canary.value, stable), (Some(1.0), None));
    assert_eq!(
        started.elapsed(),
        Duration::from_millis(100) + BESIDE_WITHIN
    );
    for (canary_ms, stable_ms) in [(100, 200), (200, 100)] {
        let (canary, stable) = beside(after(canary_ms, 1.0), after(stable_ms, 2.0)).await;
        assert_eq!(canary.value, Some(1.0));
        assert_eq!(stable.and_then(|stable| stable.value), Some(2.0));
    }
}
