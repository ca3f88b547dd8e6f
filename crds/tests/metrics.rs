//! What is accepted of metrics and their templates, and what is refused with which words.

use bellwether_api::{
    analysis::{Better, MetricOnFailure},
    document::{Document, load},
};

const ROLLOUT: &str = "apiVersion: bellwether.dev/v1alpha1
kind: Rollout
metadata: {name: web, namespace: shop}
spec:
  application: shop
  workload: {apiVersion: apps/v1, kind: Deployment, name: web}
  strategy: {canary: {weights: [50]}}
  analysis:
    metrics:
";

const TEMPLATE: &str = "apiVersion: bellwether.dev/v1alpha1
kind: MetricTemplate
metadata: {name: errors, namespace: shop}
spec:
";

/// Loads the text behind `head`; errors, or else warnings, each without file and position.
fn said(head: &str, text: &str) -> Vec<String> {
    let said: Vec<String> = match load("in.yaml", format!("{head}{text}\n").as_bytes()) {
        Ok(loaded) => loaded.warnings.iter().map(ToString::to_string).collect(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    };
    said.iter()
        .map(|line| line.split_once(' ').map_or("", |(_, rest)| rest).to_owned())
        .collect()
}

#[track_caller]
fn metric(text: &str, expected: &[&str]) {
    let expected: Vec<String> = expected
        .iter()
        .map(|line| format!("spec.analysis.metrics[0]{line}"))
        .collect();
    assert_eq!(said(ROLLOUT, &format!("    - {text}")), expected, "{text}");
}

#[track_caller]
fn template(text: &str, expected: &[&str]) {
    assert_eq!(said(TEMPLATE, &format!("  {text}")), expected, "{text}");
}

#[test]
fn every_form_of_a_metric_is_read() {
    for text in [
        "{name: request-success-rate, range: {min: \"99\"}}",
        "{name: request-duration, threshold: \"500\", aggregation: P95, onFailure: Rollback}",
        "{name: request-duration, relative: {max: \"10\"}}",
        "{name: errors, template: {name: errors}, variables: {team: a}, range: {max: \"1\"}}",
        "{name: errors, template: {name: errors, namespace: default}, range: {max: \"1\"}}",
        "{name: queue, query: 'sum(queue{ns=\"{{ namespace }}\",t=\"{{ variables.t }}\"})', \
         variables: {t: a}, relative: {max: \"0\", betterWhen: Lower}}",
        "{name: stats, query: '/s?svc={{ service }}#/a/0', range: {min: \"-1\", max: \"1\"}, \
         source: {type: Http, address: 'https://stats'}}",
        "{name: dog, query: 'avg:x{*}', range: {max: \"1\"}, source: {type: Datadog, address: \
         'https://api.datadoghq.eu', secretRef: {name: dog}}}",
        "{name: prom, query: up, range: {min: \"1\"}, source: {type: Prometheus, address: \
         'https://prom', secretRef: {name: prom, key: token}}}",
    ] {
        metric(text, &[]);
    }
}

#[test]
fn defaults_are_those_of_the_analysis() {
    let text = format!(
        "{ROLLOUT}    - {{name: request-success-rate, relative: {{max: \"1\"}}}}\n    - {{name: \
         request-duration, relative: {{max: \"1\"}}, onFailure: Ignore}}\n"
    );
    let loaded = load("in.yaml", text.as_bytes()).expect("right");
    let Document::Rollout(rollout) = &loaded.documents[0] else {
        panic!("a Rollout")
    };
    let spec = rollout.spec.clone().with_defaults("shop");
    let better = |index: usize| {
        let metric = &spec.analysis.metrics[index];
        metric.relative.as_ref().and_then(|one| one.better_when)
    };
    assert_eq!(better(0), Some(Better::Higher));
    assert_eq!(better(1), Some(Better::Lower));
    let actions: Vec<_> = spec
        .analysis
        .metrics
        .iter()
        .map(|one| one.on_failure)
        .collect();
    assert_eq!(
        actions,
        [
            Some(MetricOnFailure::Rollback),
            Some(MetricOnFailure::Ignore)
        ]
    );
}

#[test]
fn limits_exclude_and_need_each_other() {
    metric(
        "{name: request-success-rate, range: {min: \"1\"}, threshold: \"1\"}",
        &[".threshold: exactly one of range and threshold may be set"],
    );
    metric(
        "{name: request-duration, relative: {max: \"-1\"}}",
        &[
            ".relative.max: a new version that must be better than the old one is not supported; \
             use at least 0",
        ],
    );
    metric(
        "{name: q, query: up, relative: {max: \"1\"}}",
        &[".relative.betterWhen: say which way of q is better: Lower or Higher"],
    );
    metric(
        "{name: request-duration, relative: {max: \"1\"}, source: {type: Probe}}",
        &[".relative: a Probe asks the canary's pods alone; nothing is known of the old version"],
    );
    let warnings = said(ROLLOUT, "    - {name: request-duration}");
    assert_eq!(
        warnings,
        [
            "spec.analysis.metrics: none of the metrics decides anything: every check is Unknown, \
             and no weight rises without a human",
            "spec.analysis.metrics[0]: request-duration has no limit: it is measured and shown, \
             and decides nothing; set range",
        ]
    );
    let full = ROLLOUT.replace("[50]", "[50, 100]");
    let warnings = said(
        &full,
        "    - {name: request-duration, relative: {max: \"1\"}}",
    );
    assert_eq!(
        warnings,
        [
            "spec.analysis.metrics[0].relative: the plan reaches a weight of 100, where the old \
             version has no requests to compare with: the metric is Unknown there"
        ]
    );
    let switched = ROLLOUT.replace(
        "strategy: {canary: {weights: [50]}}",
        "service: {name: web, port: 80}\n  strategy: {blueGreen: {iterations: 1}}",
    );
    let warnings = said(
        &switched,
        "    - {name: request-duration, relative: {max: \"1\"}}",
    );
    let warned = |line: &String| line.contains("the plan reaches a weight of 100");
    assert!(warnings.iter().any(warned), "{warnings:?}");
}

#[test]
fn queries_are_read_before_they_are_stored() {
    metric(
        "{name: q, query: 'sum(x{ns=\"{{ namspace }}\"})', range: {max: \"1\"}}",
        &[
            ".query: failed to fill in the query: there is no placeholder \"namspace\"; there are \
             namespace, target, service, ingress, route, interval and variables.NAME; did you \
             mean \"namespace\"?",
        ],
    );
    metric(
        "{name: q, query: 'up{t=\"{{ variables.team }}\"}', variables: {teem: a}, range: {max: \"1\"}}",
        &[
            ".query: failed to fill in the query: variables.team is not set under the metric's \
             variables; did you mean \"variables.teem\"?",
            ".variables.teem: the query does not use this variable; did you mean \"team\"?",
        ],
    );
    metric(
        "{name: q, query: 'up[1m]', range: {max: \"1\"}}",
        &[
            ".query: failed to read the query: it gives a range of values; aggregate it to one, \
             such as by sum(rate(…))",
        ],
    );
    metric(
        "{name: q, query: up, template: {name: q}, range: {max: \"1\"}}",
        &[".query: exactly one of template and query may be set"],
    );
    metric(
        "{name: request-duration, variables: {a: b}, range: {max: \"1\"}}",
        &[".variables: variables fill in a template or a query; neither is set"],
    );
    metric(
        "{name: cpu-usage, range: {max: \"1\"}}",
        &[".name: cpu-usage is a template; write template: {name: cpu-usage} beside the name"],
    );
}

#[test]
fn sources_say_what_they_lack() {
    metric(
        "{name: q, query: '/a#/b', range: {max: \"1\"}, source: {type: Http}}",
        &[".source.address: Http needs an address"],
    );
    metric(
        "{name: q, query: 'avg:x{*}', range: {max: \"1\"}, source: {type: Datadog, address: \
         'http://d'}}",
        &[".source.secretRef: Datadog answers nobody without keys; set secretRef"],
    );
    metric(
        "{name: q, query: 'avg:x{*}', range: {max: \"1\"}, source: {type: Datadog, address: \
         'http://d', secretRef: {name: d, key: k}}}",
        &[".source.secretRef.key: Datadog needs more than one key of the Secret; leave key out"],
    );
    metric(
        "{name: q, query: up, range: {max: \"1\"}, source: {type: Prometheus, secretRef: {name: \
         p}}}",
        &[".source.secretRef: a Secret is sent to the address beside it alone; set address too"],
    );
    metric(
        "{name: request-duration, range: {max: \"1\"}, source: {type: Http, address: 'http://h'}}",
        &[
            ".source.type: request-duration is measured by Prometheus or by Probe; Http needs a \
             template or a query",
        ],
    );
}

/// Where nobody counts requests, a number of them would hold every check for ever.
#[test]
fn requests_are_asked_for_where_somebody_counts_them() {
    const DOG: &str = "name: q, query: 'avg:x{*}', range: {max: \"1\"}, source: {type: Datadog, address: \
                       'http://d', secretRef: {name: d}}";
    const WHY: &str = "nobody counts requests for a metric of Datadog: with minRequests 20 every check of \
                       it would be Unknown; set minRequests: 0 on this metric";
    let at = format!(".minRequests: {WHY}");
    metric(&format!("{{{DOG}, minRequests: 20}}"), &[at.as_str()]);
    metric(&format!("{{{DOG}, minRequests: 0}}"), &[]);
    let counted = ROLLOUT.replace("  analysis:\n", "  analysis:\n    minRequests: 20\n");
    let inherited = said(&counted, &format!("    - {{{DOG}}}"));
    assert_eq!(inherited, [format!("spec.analysis.metrics[0]{at}")]);
    for right in [
        format!("{{{DOG}, minRequests: 0}}"),
        "{name: request-success-rate, range: {min: \"99\"}}".to_owned(),
        "{name: request-success-rate, range: {min: \"99\"}, source: {type: Probe}}".to_owned(),
        "{name: q, query: up, range: {max: \"1\"}}".to_owned(),
        "{name: q, template: {name: errors}, range: {max: \"1\"}}".to_owned(),
    ] {
        assert_eq!(
            said(&counted, &format!("    - {right}")),
            [""; 0],
            "{right}"
        );
    }
    let page =
        "name: q, query: '/a#/b', range: {max: \"1\"}, source: {type: Http, address: 'http://h'}";
    let http = said(&counted, &format!("    - {{{page}}}"));
    assert!(http[0].contains("a metric of Http"), "{http:?}");
    let watch = "name: q, query: '[{\"Id\": \"a\"}]', range: {max: \"1\"}, source: {type: CloudWatch, \
                 address: 'https://c', secretRef: {name: c}}";
    let watch = said(&counted, &format!("    - {{{watch}}}"));
    assert!(watch[0].contains("a metric of CloudWatch"), "{watch:?}");
}

#[test]
fn a_metric_may_ask_for_a_human() {
    metric(
        "{name: request-duration, range: {max: \"1\"}, onFailure: Pause}",
        &[],
    );
}

#[test]
fn templates_are_read_with_stand_ins() {
    for text in [
        "query: 'sum(rate(x{ns=\"{{ namespace }}\"}[{{ variables.window }}]))'",
        "{type: Http, address: 'http://h', query: '/{{ variables.path }}#/x'}",
        "{type: CloudWatch, address: 'https://monitoring.eu-west-1.amazonaws.com', secretRef: \
         {name: aws}, query: '[{\"Id\": \"a\", \"Expression\": \"{{ variables.e }}\"}]'}",
    ] {
        template(text, &[]);
    }
    let error = said(TEMPLATE, "  query: 'sum(rate(x[{{ interval }}])'");
    assert_eq!(error.len(), 1, "{error:?}");
    assert!(
        error[0].starts_with("spec.query: failed to read the query: "),
        "{error:?}"
    );
    template(
        "{type: Probe, query: x}",
        &[
            "spec.type: a Probe takes no query and needs no template; name request-success-rate or \
             request-duration in the Rollout",
        ],
    );
    template(
        "{type: Datadog, query: 'avg:x{*}'}",
        &[
            "spec.address: Datadog needs an address",
            "spec.secretRef: Datadog answers nobody without keys; set secretRef",
        ],
    );
    assert_eq!(
        said(
            &TEMPLATE.replace("name: errors", "name: request-duration"),
            "  query: up"
        ),
        ["metadata.name: request-duration is built in and no template"]
    );
}

/// The examples of the page are documents that are accepted, without a warning.
#[test]
fn examples_of_the_page_are_right() {
    let page = include_str!("../../docs/metrics.md");
    let examples: Vec<&str> = page
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert_eq!(examples.len(), 3);
    for example in examples {
        let loaded = load("docs/metrics.md", example.as_bytes());
        let loaded = loaded.unwrap_or_else(|errors| panic!("{errors:?}\n{example}"));
        assert_eq!(loaded.warnings, [], "{example}");
    }
}
