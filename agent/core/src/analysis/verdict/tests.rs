use bellwether_api::{
    analysis::{
        Analysis, AnalysisFailure, Better, Metric, MetricOnFailure, OnNoData, Range, Relative,
    },
    duration::Dur,
    number::Num,
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
        range: Some(Range {
            min: Some(num("99")),
            max: None,
        }),
        ..Metric::default()
    }
}

fn sample(value: f64) -> Sample {
    Sample {
        value: Some(value),
        requests: Some(100.0),
        scrapes: Some(12),
        window: Dur::from_secs(60),
        ..Sample::default()
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
    metric.range = Some(Range {
        min: None,
        max: Some(num("500")),
    });
    assert_eq!(verdict(&metric, 500.0), Verdict::Pass);
    assert_eq!(verdict(&metric, 500.001), Verdict::Fail);
    metric.range = Some(Range {
        min: Some(num("1")),
        max: Some(num("2")),
    });
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

fn judged(metric: &Metric, sample: &Sample) -> (Verdict, String) {
    let result = evaluate(
        metric,
        &Analysis::default(),
        Some(sample),
        Timestamp::UNIX_EPOCH,
    );
    (result.verdict, result.reason)
}

#[test]
fn one_threshold_is_a_floor_for_successes_and_a_ceiling_for_the_rest() {
    let with = |name: &str, threshold: &str| Metric {
        range: None,
        threshold: Some(num(threshold)),
        ..metric(name)
    };
    // (metric, threshold, value, verdict)
    let cases = [
        ("request-success-rate", "99", 99.0, Verdict::Pass),
        ("request-success-rate", "99", 98.9, Verdict::Fail),
        ("request-duration", "500", 500.0, Verdict::Pass),
        ("request-duration", "500", 500.1, Verdict::Fail),
        ("errors", "0", 0.0, Verdict::Pass),
        ("errors", "0", 0.1, Verdict::Fail),
    ];
    for (name, threshold, value, expected) in cases {
        let found = judged(&with(name, threshold), &sample(value)).0;
        assert_eq!(found, expected, "{name} {threshold}: {value}");
    }
    let limit = |name| {
        let metric = with(name, "5");
        evaluate(&metric, &Analysis::default(), None, Timestamp::UNIX_EPOCH).limit
    };
    assert_eq!(limit("request-success-rate"), "≥ 5");
    assert_eq!(limit("errors"), "≤ 5");
}

/// A sample of another time than the one that was asked for says nothing of this one.
#[test]
fn samples_of_another_time_are_unknown() {
    let at = |age_ms, skew_ms, scrapes| Sample {
        age_ms,
        skew_ms,
        scrapes,
        ..sample(100.0)
    };
    let cases = [
        ("", at(Some(29_000), Some(100), Some(12))),
        ("StaleSample", at(Some(31_000), None, Some(12))),
        ("", at(Some(59_000), None, None)),
        ("StaleSample", at(Some(61_000), None, None)),
        ("", at(Some(-900), None, None)),
        ("FutureSample", at(Some(-5_000), None, None)),
        ("", at(None, Some(-30_000), None)),
        ("ClockSkew", at(None, Some(-30_001), None)),
        ("ClockSkew", at(None, Some(3_600_000), None)),
    ];
    for (reason, sample) in cases {
        let (verdict, said) = judged(&metric("m"), &sample);
        let expected = if reason.is_empty() {
            Verdict::Pass
        } else {
            Verdict::Unknown
        };
        assert_eq!(verdict, expected, "{sample:?}: {said}");
        assert!(said.starts_with(reason), "{reason}: {said}");
    }
}

#[test]
fn a_share_of_no_requests_is_unknown() {
    let none = Sample {
        requests: Some(0.0),
        ..sample(100.0)
    };
    let (verdict, reason) = judged(&metric("request-success-rate"), &none);
    assert_eq!(verdict, Verdict::Unknown);
    assert!(reason.starts_with("NoRequests"), "{reason}");
    let own = Metric {
        query: Some("queue_length".into()),
        ..metric("queue")
    };
    assert_eq!(
        judged(&own, &none).0,
        Verdict::Pass,
        "it counts no requests"
    );
}

#[test]
fn the_old_version_is_measured_by_the_same_rules() {
    let metric = Metric {
        range: Some(Range {
            min: None,
            max: Some(num("500")),
        }),
        relative: Some(Relative {
            max: num("10"),
            better_when: Some(Better::Lower),
        }),
        ..metric("request-duration")
    };
    let against = |value, stable: Option<Sample>| Sample {
        stable: stable.map(Box::new),
        ..sample(value)
    };
    let empty = Sample {
        value: None,
        ..sample(0.0)
    };
    let idle = Sample {
        requests: Some(0.0),
        ..sample(200.0)
    };
    let cases = [
        (against(220.0, Some(sample(200.0))), Verdict::Pass, ""),
        (against(221.0, Some(sample(200.0))), Verdict::Fail, ""),
        (against(501.0, Some(sample(490.0))), Verdict::Fail, ""),
        (
            against(200.0, Some(empty.clone())),
            Verdict::Unknown,
            "NoData",
        ),
        (against(200.0, Some(idle)), Verdict::Unknown, "NoRequests"),
        (against(200.0, None), Verdict::Unknown, "NoData"),
        (
            against(f64::NAN, Some(sample(200.0))),
            Verdict::Unknown,
            "NotANumber",
        ),
        // What is over its own limit fails, whatever the old version shows.
        (against(501.0, Some(empty)), Verdict::Fail, ""),
    ];
    for (sample, expected, reason) in cases {
        let (verdict, said) = judged(&metric, &sample);
        assert_eq!(verdict, expected, "{sample:?}: {said}");
        assert!(said.starts_with(reason), "{reason}: {said}");
        assert_eq!(
            said.ends_with("(of the old version)"),
            said.contains("NoData") || said.contains("NoRequests")
        );
    }
    let shown = evaluate(
        &metric,
        &Analysis::default(),
        Some(&against(220.0, Some(sample(200.0)))),
        Timestamp::UNIX_EPOCH,
    );
    assert_eq!(
        shown.limit,
        "≤ 500, ≤ 220 (at most 10 % above the old version's 200)"
    );
}

/// (value of each metric, its `onFailure`) → verdict and what it calls for.
type Case<'a> = (
    &'a [(Option<f64>, Option<MetricOnFailure>)],
    Verdict,
    Option<AnalysisFailure>,
);

#[test]
fn failures_call_for_what_their_metrics_say() {
    use AnalysisFailure::{Pause, Rollback};
    use MetricOnFailure as On;
    let (good, bad) = (Some(100.0), Some(1.0));
    let cases: [Case<'_>; 9] = [
        (&[(bad, None)], Verdict::Fail, Some(Pause)),
        (&[(bad, Some(On::Rollback))], Verdict::Fail, Some(Rollback)),
        (&[(bad, Some(On::Pause))], Verdict::Fail, Some(Pause)),
        (
            &[(bad, Some(On::Pause)), (bad, Some(On::Rollback))],
            Verdict::Fail,
            Some(Rollback),
        ),
        (
            &[(bad, Some(On::Pause)), (good, Some(On::Rollback))],
            Verdict::Fail,
            Some(Pause),
        ),
        (
            &[(bad, Some(On::Ignore)), (good, None)],
            Verdict::Pass,
            None,
        ),
        (
            &[(None, Some(On::Ignore)), (good, None)],
            Verdict::Pass,
            None,
        ),
        (&[(good, Some(On::Ignore))], Verdict::Unknown, None),
        (&[(None, None)], Verdict::Unknown, None),
    ];
    for (metrics, verdict, on_failure) in cases {
        let analysis = Analysis {
            on_failure: Pause,
            metrics: metrics
                .iter()
                .enumerate()
                .map(|(i, (_, on_failure))| Metric {
                    on_failure: *on_failure,
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
        let outcome = check(&analysis, of, Timestamp::UNIX_EPOCH);
        assert_eq!(
            (outcome.verdict, outcome.on_failure),
            (verdict, on_failure),
            "{metrics:?}"
        );
        assert_eq!(
            outcome.results.len(),
            metrics.len(),
            "all of them are shown"
        );
    }
}

#[test]
fn what_decides_nothing_is_shown_as_such() {
    let ignored = Metric {
        on_failure: Some(MetricOnFailure::Ignore),
        ..metric("ignored")
    };
    let open = Metric {
        range: None,
        ..metric("open")
    };
    let analysis = Analysis {
        metrics: vec![ignored, open, metric("m")],
        ..Analysis::default()
    };
    let low = sample(1.0);
    let outcome = check(&analysis, |_| Some(&low), Timestamp::UNIX_EPOCH);
    let shown: Vec<(Verdict, bool)> = outcome
        .results
        .iter()
        .map(|result| (result.verdict, result.ignored))
        .collect();
    assert_eq!(
        shown,
        [
            (Verdict::Fail, true),
            (Verdict::Pass, true),
            (Verdict::Fail, false)
        ]
    );
}

#[test]
fn two_statistics_of_one_metric_have_their_own_samples() {
    use bellwether_api::analysis::Aggregation::{P50, P99};
    let of = |aggregation, max: &str| Metric {
        aggregation: Some(aggregation),
        range: Some(Range {
            min: None,
            max: Some(num(max)),
        }),
        ..metric("request-duration")
    };
    let analysis = Analysis {
        metrics: vec![of(P50, "100"), of(P99, "500")],
        ..Analysis::default()
    };
    let (median, tail) = (sample(90.0), sample(400.0));
    let sample_of = |key: &str| match key {
        "request-duration/P50" => Some(&median),
        "request-duration" => Some(&tail),
        _ => None,
    };
    let outcome = check(&analysis, sample_of, Timestamp::UNIX_EPOCH);
    assert_eq!(outcome.verdict, Verdict::Pass);
    assert_eq!(outcome.results[0].metric, "request-duration/P50");
}
