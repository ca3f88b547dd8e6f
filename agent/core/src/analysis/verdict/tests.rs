use bellwether_api::{
    duration::Dur,
    number::Num,
    rollout::{Analysis, Metric, OnNoData, Range},
    status::Verdict,
};
use jiff::{SignedDuration, Timestamp};

use super::{Sample, check, effective_window, evaluate};

fn num(text: &str) -> Num {
    text.parse().expect("a number")
}

fn metric(name: &str) -> Metric {
    Metric {
        name: name.to_owned(),
        range: Range {
            min: Some(num("99")),
            max: None,
        },
        window: Dur::from_secs(60),
        min_requests: None,
        on_no_data: None,
        aggregation: None,
        source: None,
    }
}

fn sample(value: f64) -> Sample {
    Sample {
        value: Some(value),
        requests: Some(100.0),
        scrapes: Some(12),
        window: Dur::from_secs(60),
        error: String::new(),
    }
}

#[test]
fn limits_are_inclusive() {
    let mut metric = metric("m");
    let analysis = Analysis::default();
    let verdict = |metric: &Metric, value| {
        evaluate(
            metric,
            &analysis,
            Some(&sample(value)),
            Timestamp::UNIX_EPOCH,
        )
        .verdict
    };
    assert_eq!(verdict(&metric, 99.0), Verdict::Pass);
    assert_eq!(verdict(&metric, 98.999), Verdict::Fail);
    metric.range = Range {
        min: None,
        max: Some(num("500")),
    };
    assert_eq!(verdict(&metric, 500.0), Verdict::Pass);
    assert_eq!(verdict(&metric, 500.001), Verdict::Fail);
    metric.range = Range {
        min: Some(num("1")),
        max: Some(num("2")),
    };
    for (value, expected) in [
        (0.5, Verdict::Fail),
        (1.5, Verdict::Pass),
        (2.5, Verdict::Fail),
    ] {
        assert_eq!(verdict(&metric, value), expected, "{value}");
    }
}

#[test]
fn too_little_is_unknown_and_says_why() {
    let analysis = Analysis {
        min_requests: 50,
        ..Analysis::default()
    };
    let slow = |scrapes, seconds| Sample {
        scrapes: Some(scrapes),
        window: Dur::from_secs(seconds),
        ..sample(100.0)
    };
    let cases = [
        ("NoData", None),
        (
            "NoData",
            Some(Sample {
                value: None,
                ..sample(0.0)
            }),
        ),
        ("NotANumber", Some(sample(f64::NAN))),
        ("NotANumber", Some(sample(f64::INFINITY))),
        ("TooFewScrapes", Some(slow(1, 60))),
        ("ScrapeTooSlow", Some(slow(2, 60))),
        (
            "TooFewRequests",
            Some(Sample {
                requests: Some(49.0),
                ..sample(100.0)
            }),
        ),
        (
            "TooFewRequests",
            Some(Sample {
                requests: None,
                ..sample(100.0)
            }),
        ),
        (
            "TooFewRequests",
            Some(Sample {
                requests: Some(f64::NAN),
                ..sample(100.0)
            }),
        ),
        (
            "SourceError",
            Some(Sample {
                error: "refused".into(),
                ..sample(100.0)
            }),
        ),
    ];
    for (reason, sample) in cases {
        let result = evaluate(
            &metric("m"),
            &analysis,
            sample.as_ref(),
            Timestamp::UNIX_EPOCH,
        );
        assert_eq!(result.verdict, Verdict::Unknown, "{reason}");
        assert!(
            result.reason.starts_with(reason),
            "{reason}: {}",
            result.reason
        );
    }
    for enough in [
        slow(4, 60),
        slow(3, 60),
        slow(2, 20),
        Sample {
            scrapes: None,
            ..sample(100.0)
        },
    ] {
        let result = evaluate(
            &metric("m"),
            &analysis,
            Some(&enough),
            Timestamp::UNIX_EPOCH,
        );
        assert_eq!(result.verdict, Verdict::Pass, "{}", result.reason);
    }
}

#[test]
fn a_metric_may_ask_for_its_own_number_of_requests() {
    let analysis = Analysis {
        min_requests: 500,
        ..Analysis::default()
    };
    let own = Metric {
        min_requests: Some(10),
        ..metric("m")
    };
    let result = evaluate(&own, &analysis, Some(&sample(100.0)), Timestamp::UNIX_EPOCH);
    assert_eq!(result.verdict, Verdict::Pass);
}

#[test]
fn metrics_fold_into_one_verdict() {
    use OnNoData::{Fail, Hold, Ignore};
    let (good, bad) = (Some(100.0), Some(1.0));
    type Case<'a> = (&'a [(Option<f64>, OnNoData)], Verdict);
    let cases: [Case<'_>; 10] = [
        (&[], Verdict::NothingConfigured),
        (&[(good, Hold)], Verdict::Pass),
        (&[(good, Hold), (bad, Hold)], Verdict::Fail),
        (&[(good, Hold), (None, Hold)], Verdict::Unknown),
        (&[(bad, Hold), (None, Hold)], Verdict::Fail),
        (&[(good, Hold), (None, Fail)], Verdict::Fail),
        (&[(good, Hold), (None, Ignore)], Verdict::Pass),
        (&[(None, Ignore)], Verdict::Unknown),
        (&[(None, Ignore), (None, Hold)], Verdict::Unknown),
        (&[(bad, Ignore)], Verdict::Fail),
    ];
    for (metrics, expected) in cases {
        let analysis = Analysis {
            metrics: metrics
                .iter()
                .enumerate()
                .map(|(i, (_, no_data))| Metric {
                    on_no_data: Some(*no_data),
                    ..metric(&i.to_string())
                })
                .collect(),
            ..Analysis::default()
        };
        let samples: Vec<_> = metrics
            .iter()
            .map(|(value, _)| Sample {
                value: *value,
                ..sample(0.0)
            })
            .collect();
        let of = |name: &str| name.parse::<usize>().ok().and_then(|i| samples.get(i));
        let check = check(&analysis, of, Timestamp::UNIX_EPOCH);
        assert_eq!(check.verdict, expected, "{metrics:?}");
        assert_eq!(check.results.len(), metrics.len());
    }
}

#[test]
fn the_window_is_cut_where_the_weight_changed() {
    let since = Timestamp::UNIX_EPOCH;
    let window = |seconds| {
        effective_window(
            Dur::from_secs(60),
            since,
            since + SignedDuration::from_secs(seconds),
        )
    };
    assert_eq!(window(10), Dur::from_secs(10));
    assert_eq!(window(300), Dur::from_secs(60));
    assert_eq!(window(-5), Dur::default());
}

#[test]
fn values_and_limits_are_printed() {
    let result = evaluate(
        &metric("m"),
        &Analysis::default(),
        Some(&sample(99.456)),
        Timestamp::UNIX_EPOCH,
    );
    assert_eq!(
        (result.value.as_deref(), result.limit.as_str()),
        (Some("99.46"), "≥ 99")
    );
}
