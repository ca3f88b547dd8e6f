use super::*;

const WINDOW: Dur = Dur::from_secs(60);
const LONG: Dur = Dur::from_secs(3_600);

fn freshness(query: &str) -> Freshness {
    Freshness::of(query, WINDOW)
        .unwrap_or_else(|error| panic!("{query}: {error}"))
        .unwrap_or_else(|| panic!("{query} reads something"))
}

/// What is said of a value whose series are known to be so.
fn judged(query: &str, in_force: Dur, answer: &[(&str, f64)]) -> Result<(), String> {
    let answer = answer
        .iter()
        .map(|(part, value)| ((*part).to_owned(), *value))
        .collect();
    judge(&freshness(query).read(&answer, Some(in_force)))
}

#[test]
fn a_value_that_is_to_tell_of_no_weight_is_held_against_none() {
    let answer = BTreeMap::from([("age-0".to_owned(), 90.0)]);
    let read = |in_force| freshness("x").read(&answer, in_force);
    assert!(judge(&read(Some(Dur::from_secs(10)))).is_err());
    assert_eq!(judge(&read(None)), Ok(()));
}

#[test]
fn one_query_asks_for_all_selectors() {
    let asked = freshness("max(queue) / sum(rate(done{a=\"b\"}[2m] offset 1m))").query;
    assert_eq!(
        asked,
        "label_replace(time() - max(timestamp({__name__=\"queue\"})), \"bellwether_part\", \"age-0\", \
         \"\", \"\") or label_replace(time() - 60.000 - (max(timestamp({__name__=\"done\",a=\"b\"} \
         offset 60000ms)) or max(max_over_time(timestamp({__name__=\"done\",a=\"b\"})[120000ms:10000ms] \
         offset 60000ms))), \"bellwether_part\", \"age-1\", \"\", \"\") or \
         label_replace(max(count_over_time({__name__=\"done\",a=\"b\"}[120000ms] offset 60000ms)), \
         \"bellwether_part\", \"scrapes-1\", \"\", \"\")"
    );
    for query in [
        "x @ 100 offset -5m",
        "x @ -100",
        "max_over_time(rate(x[1m])[10m:] @ 50)",
        "{__name__=~\"a|b\",c=~\"\\\\d+\"}",
        "increase(x[500ms])",
    ] {
        let asked = freshness(query).query;
        promql_parser::parser::parse(&asked).unwrap_or_else(|why| panic!("{asked}: {why}"));
    }
    for reads_nothing in ["vector(1)", "absent(x)", "time() - timestamp(x)"] {
        let asked = Freshness::of(reads_nothing, WINDOW);
        assert_eq!(asked, Ok(None), "{reads_nothing}");
    }
}

#[test]
fn old_series_make_a_value_unknown() {
    for (query, in_force, answer, expected) in [
        // A level: twice the window of a minute, or half of its own range.
        ("x", LONG, &[("age-0", 120.0)][..], ""),
        (
            "x",
            LONG,
            &[("age-0", 121.0)],
            "StaleSample: the newest measurement of x is 2m1s old; 2m would do (a longer window allows \
             more)",
        ),
        ("max_over_time(x[10m])", LONG, &[("age-0", 300.0)], ""),
        (
            "max_over_time(x[10m])",
            LONG,
            &[("age-0", 301.0)],
            "StaleSample: ",
        ),
        // A change: half of its range, or of the window.
        (
            "rate(x[30s])",
            LONG,
            &[("age-0", 30.0), ("scrapes-0", 2.0)],
            "",
        ),
        (
            "rate(x[30s])",
            LONG,
            &[("age-0", 31.0), ("scrapes-0", 2.0)],
            "StaleSample: ",
        ),
        (
            "rate(x[5m])",
            LONG,
            &[("age-0", 150.0), ("scrapes-0", 9.0)],
            "",
        ),
        (
            "rate(x[5m])",
            LONG,
            &[("age-0", 151.0), ("scrapes-0", 9.0)],
            "StaleSample: ",
        ),
        (
            "rate(x[5m])",
            LONG,
            &[("age-0", 1.0), ("scrapes-0", 1.0)],
            "TooFewScrapes: 1 of at least 2 of x in 5m",
        ),
        // Samples of a series that is gone, and nobody knows since when.
        (
            "max_over_time(x[10m])",
            LONG,
            &[("scrapes-0", 1.0)],
            "StaleSample: nothing of x is measured any more",
        ),
        // One sample of a level is one.
        (
            "avg_over_time(x[5m])",
            LONG,
            &[("age-0", 1.0), ("scrapes-0", 1.0)],
            "",
        ),
        // The oldest decides, whichever it is.
        (
            "x / y",
            LONG,
            &[("age-0", 1.0), ("age-1", 500.0)],
            "StaleSample: the newest measurement of y",
        ),
        (
            "x / y",
            LONG,
            &[("age-0", 500.0), ("age-1", 1.0)],
            "StaleSample: the newest measurement of x",
        ),
        // What matches nothing is not old: there may never have been an error.
        ("sum(rate(errors[1m])) or vector(0)", LONG, &[], ""),
        ("x or y", LONG, &[("age-1", 3.0)], ""),
        // What was measured before the weight was in force tells nothing of it.
        ("x", Dur::from_secs(10), &[("age-0", 9.0)], ""),
        (
            "x",
            Dur::from_secs(10),
            &[("age-0", 11.0)],
            "StaleSample: the newest measurement of x is 11s old, from before the weight was in force",
        ),
        // Whoever looks elsewhere means to.
        ("x offset 1h", Dur::from_secs(10), &[("age-0", 11.0)], ""),
        ("x @ 1000", Dur::from_secs(10), &[("age-0", 11.0)], ""),
        ("x offset 1h", LONG, &[("age-0", 200.0)], "StaleSample: "),
        (
            "{job=\"j\"}",
            LONG,
            &[("age-0", 500.0)],
            "StaleSample: the newest measurement is 8m20s old",
        ),
    ] {
        let judged = judged(query, in_force, answer);
        if expected.is_empty() {
            assert_eq!(judged, Ok(()), "{query} {answer:?}");
        } else {
            let reason = judged.expect_err(query);
            assert!(reason.starts_with(expected), "{query} {answer:?}: {reason}");
        }
    }
}
