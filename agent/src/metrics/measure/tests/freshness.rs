//! Queries of one's own whose series are old, or too few to tell anything.

use super::*;

/// A Prometheus whose value is 1, and which knows this of the series behind it.
async fn double(parts: &[(&'static str, &'static str)]) -> Double {
    let parts = parts.to_vec();
    Double::new(move |request| {
        if !request.contains("bellwether_part") {
            return (200, vector("1"));
        }
        let now = wall().as_second();
        let series = |(part, value): &(&str, &str)| json!({"metric": {"bellwether_part": part}, "value": [now, value]});
        let result: Vec<Value> = parts.iter().map(series).collect();
        (
            200,
            json!({"status": "success", "data": {"resultType": "vector", "result": result}})
                .to_string(),
        )
    })
    .await
}

#[tokio::test]
async fn a_query_of_ones_own_rests_on_fresh_series_or_is_unknown() {
    const CHANGE: &str = "sum(rate(errors{d=\"{{ target }}\"}[{{ interval }}])) or vector(0)";
    for (query, parts, reason) in [
        ("max(queue)", &[("age-0", "10.5")][..], ""),
        ("max(queue)", &[("age-0", "200")], "StaleSample"),
        // What matches nothing is not old.
        ("max(queue) or vector(0)", &[], ""),
        (CHANGE, &[("age-0", "10"), ("scrapes-0", "4")], ""),
        (
            CHANGE,
            &[("age-0", "50"), ("scrapes-0", "4")],
            "StaleSample",
        ),
        (
            CHANGE,
            &[("age-0", "10"), ("scrapes-0", "1")],
            "TooFewScrapes",
        ),
        (CHANGE, &[], ""),
        (
            "a / b",
            &[("age-0", "1"), ("age-1", "400")],
            "StaleSample: the newest measurement of b",
        ),
    ] {
        let double = double(parts).await;
        let plan = plan(asks(
            MetricSourceKind::Prometheus,
            &double.address,
            query,
            None,
        ));
        let sample = measure(&meter(Secrets::default()), &plan, &bundle(None)).await;
        let outcome = check(&plan.analysis, |_| Some(&sample), wall());
        let said = &outcome.results[0].reason;
        let expected = if reason.is_empty() {
            Verdict::Pass
        } else {
            Verdict::Unknown
        };
        assert_eq!(outcome.verdict, expected, "{query} {parts:?}: {said}");
        assert!(said.starts_with(reason), "{query} {parts:?}: {said}");
    }
}

/// Whoever cannot say how old its samples are has not shown that they are new.
#[tokio::test]
async fn a_source_that_refuses_to_say_how_fresh_it_is_is_unknown() {
    let double = Double::new(|request| {
        if request.contains("bellwether_part") {
            let refusal = json!({"status": "error", "error": "too many samples"});
            return (422, refusal.to_string());
        }
        (200, vector("1"))
    })
    .await;
    let plan = plan(asks(
        MetricSourceKind::Prometheus,
        &double.address,
        "max(queue)",
        None,
    ));
    let sample = measure(&meter(Secrets::default()), &plan, &bundle(None)).await;
    assert!(
        sample.error.contains("too many samples"),
        "{}",
        sample.error
    );
    assert_eq!(verdict(&plan, &sample), Verdict::Unknown);
}

/// The old version's side of a comparison is judged as the new one's.
#[tokio::test]
async fn a_comparison_needs_fresh_series_of_both_versions() {
    let double = Double::new(|request| {
        if !request.contains("bellwether_part") {
            return (200, vector("1"));
        }
        let age = if request.contains("web-canary") {
            "1"
        } else {
            "400"
        };
        let now = wall().as_second();
        let result = json!([{"metric": {"bellwether_part": "age-0"}, "value": [now, age]}]);
        (
            200,
            json!({"status": "success", "data": {"resultType": "vector", "result": result}})
                .to_string(),
        )
    })
    .await;
    let mut metric = asks(
        MetricSourceKind::Prometheus,
        &double.address,
        "max(queue{d=\"{{ target }}\"})",
        None,
    );
    metric.relative = Some(Relative {
        max: "10".parse().expect("a number"),
        better_when: Some(Better::Lower),
    });
    let plan = plan(metric);
    let sample = measure(&meter(Secrets::default()), &plan, &bundle(None)).await;
    let outcome = check(&plan.analysis, |_| Some(&sample), wall());
    assert_eq!(outcome.verdict, Verdict::Unknown);
    let said = &outcome.results[0].reason;
    assert!(
        said.starts_with("StaleSample") && said.ends_with("(of the old version)"),
        "{said}"
    );
}
