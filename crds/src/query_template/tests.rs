use std::collections::BTreeMap;

use super::{Placeholders, QueryError, check, check_open, fill, regex_literal, variables_of};
use crate::metric_template::MetricSourceKind::{CloudWatch, Datadog, Http, Probe, Prometheus};

fn values(variables: &[(&str, &str)]) -> Placeholders {
    Placeholders {
        namespace: "shop".into(),
        target: "web-canary".into(),
        service: "web-canary".into(),
        ingress: "web".into(),
        route: "web".into(),
        interval: "30s".into(),
        variables: variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    }
}

#[test]
fn every_placeholder_is_filled_in() {
    let query = "{{ namespace }}/{{ target }}/{{ service }}/{{ ingress }}/{{route}}/{{ interval }}/{{ variables.team }}";
    assert_eq!(
        fill(Prometheus, query, &values(&[("team", "blue")])).as_deref(),
        Ok("shop/web-canary/web-canary/web/web/30s/blue")
    );
}

#[test]
fn what_nothing_fills_is_named_with_what_was_meant() {
    let error = fill(Prometheus, "x{a=\"{{ targt }}\"}", &values(&[])).expect_err("unknown");
    assert_eq!(
        error.to_string(),
        "failed to fill in the query: there is no placeholder \"targt\"; there are namespace, \
         target, service, ingress, route, interval and variables.NAME"
    );
    let error = fill(
        Prometheus,
        "{{ variables.tema }}",
        &values(&[("team", "a")]),
    )
    .expect_err("unknown variable");
    assert_eq!(
        error,
        QueryError::Unknown {
            name: "variables.tema".into(),
            meant: Some("variables.team".into()),
        }
    );
    assert!(matches!(
        fill(Prometheus, "{{ target ", &values(&[])),
        Err(QueryError::Template(_))
    ));
}

/// No value can end the text that it stands in, whatever language the query is in.
#[test]
fn values_are_escaped_for_the_language_of_the_query() {
    let evil = values(&[("v", "a\"} or vector(1) #\\\n`")]);
    assert_eq!(
        fill(Prometheus, "x{a=\"{{ variables.v }}\"}", &evil).as_deref(),
        Ok("x{a=\"a\\x22} or vector(1) #\\\\\\n\\x60\"}")
    );
    check(Prometheus, "x{a=\"{{ variables.v }}\"}", &evil.variables).expect("one matcher");
    assert_eq!(
        fill(Http, "/q?v={{ variables.v }}#/x", &evil).as_deref(),
        Ok("/q?v=a%22%7D%20or%20vector%281%29%20%23%5C%0A%60#/x")
    );
    let json = fill(CloudWatch, "[{\"Id\":\"{{ variables.v }}\"}]", &evil).expect("escaped");
    let value: serde_json::Value = serde_json::from_str(&json).expect("still JSON");
    assert_eq!(value[0]["Id"], "a\"} or vector(1) #\\\n`");
    let refused = fill(Datadog, "avg:x{a:{{ variables.v }}}", &evil);
    assert!(
        refused
            .as_ref()
            .is_err_and(|error| error.to_string().contains("cannot stand in")),
        "{refused:?}"
    );
    assert_eq!(
        fill(Datadog, "avg:x{kube_deployment:{{ target }}}", &evil).as_deref(),
        Ok("avg:x{kube_deployment:web-canary}")
    );
}

#[test]
fn a_value_can_be_taken_literally_in_a_regex() {
    let values = values(&[("host", "a.b*")]);
    assert_eq!(
        fill(
            Prometheus,
            "x{h=~\"{{ variables.host | regex }}\"}",
            &values
        )
        .as_deref(),
        Ok("x{h=~\"a\\\\.b\\\\*\"}")
    );
    assert_eq!(regex_literal("web-1"), "web-1");
}

#[test]
fn filling_in_takes_bounded_work() {
    let query = "{% for a in variables.x %}{% for b in variables.x %}{% for c in variables.x %}\
                 {% for d in variables.x %}{{ a }}{% endfor %}{% endfor %}{% endfor %}{% endfor %}";
    let values = values(&[("x", &"y".repeat(1_000))]);
    assert!(fill(Prometheus, query, &values).is_err());
}

#[test]
fn a_query_is_read_before_it_is_accepted() {
    let none = BTreeMap::new();
    check(
        Prometheus,
        "100 - sum(rate(errors{ns=\"{{ namespace }}\"}[{{ interval }}])) / sum(rate(all[{{ interval }}])) * 100",
        &none,
    )
    .expect("right");
    let cases = [
        (Prometheus, "sum(rate(x[{{ interval }}])", ""),
        (Prometheus, "x[{{ interval }}]", "range of values"),
        (Prometheus, "\"text\"", "gives a text"),
        (Prometheus, "rate(x)", ""),
        (Probe, "x", "takes no query"),
        (Datadog, " ", "empty"),
        (Http, "/stats", "names no value"),
        (Http, "stats#/a", "starts with /"),
        (Http, "/stats#a", "JSON pointer"),
        (CloudWatch, "{}", "no JSON list"),
        (CloudWatch, "[{\"Id\":\"a\"},{\"Id\":\"b\"}]", "exactly one"),
        (CloudWatch, "[{\"Id\":\"a\",\"ReturnData\":false}]", "none"),
        (CloudWatch, "[{}]", "has an Id"),
    ];
    for (kind, query, says) in cases {
        let error = check(kind, query, &none).expect_err(query).to_string();
        assert!(error.contains(says), "{query}: {error}");
    }
}

#[test]
fn a_template_is_read_with_stand_ins_for_its_variables() {
    let query = "histogram_quantile({{ variables.quantile }}, sum by (le) (rate({{ variables.series }}[{{ variables.window }}])))";
    check_open(Prometheus, query).expect("a number, a name and a duration");
    assert_eq!(
        variables_of(Prometheus, query).as_deref(),
        Ok(["quantile", "series", "window"]
            .map(str::to_owned)
            .as_slice())
    );
    assert!(check_open(Prometheus, "sum(x{a=\"{{ variables.a }}\"").is_err());
    assert!(check_open(Prometheus, "{{ nmespace }}").is_err());
}
