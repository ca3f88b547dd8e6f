mod routes;

use serde_json::{Value, json};

use super::*;
use crate::document;

/// The chart's other objects: a Deployment with two ports and its Service.
fn beside() -> Vec<Value> {
    vec![
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "app"},
            "spec": {
                "selector": {"matchLabels": {"app": "app"}},
                "template": {"spec": {"containers": [
                    {"name": "app", "ports": [
                        {"name": "http", "containerPort": 8080},
                        {"name": "grpc", "containerPort": 9090},
                        {"containerPort": 7070},
                    ]},
                    {"name": "istio-proxy", "ports": [{"name": "admin", "containerPort": 15000}]},
                ]}},
            },
        }),
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "app-full"},
            "spec": {"selector": {"app": "app"}, "ports": [
                {"name": "web", "port": 80, "targetPort": "http"},
            ]},
        }),
    ]
}

fn canary(change: impl FnOnce(&mut Value)) -> Value {
    let mut canary = json!({
        "apiVersion": "flagger.app/v1beta1", "kind": "Canary",
        "metadata": {"name": "app-full", "labels": {"chart": "app-0.1.1"}},
        "spec": {
            "provider": "nginx",
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "app"},
            "ingressRef": {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "app-full"},
            "service": {"name": "app-full", "port": 80, "targetPort": 8080},
            "analysis": {"interval": "1m", "threshold": 5, "maxWeight": 50, "stepWeight": 10},
        },
    });
    change(&mut canary);
    canary
}

fn translated(record: Value) -> Result<Translated, ImportError> {
    let mut objects = beside();
    objects.push(record);
    translate(&objects)
}

/// The spec of the Rollout, which must be one that is accepted.
fn spec(record: Value) -> Value {
    let translated = translated(record).expect("translated");
    let mut rollout = translated.rollouts[0].clone();
    rollout["spec"]["application"] = json!("app");
    let text = rollout.to_string();
    document::load("translated", text.as_bytes()).expect("a Rollout that is accepted");
    translated.rollouts[0]["spec"].clone()
}

fn refused(change: impl FnOnce(&mut Value)) -> String {
    match translated(canary(change)) {
        Err(error) => error.to_string(),
        Ok(translated) => panic!("translated: {translated:?}"),
    }
}

fn analysis(change: Value) -> Value {
    spec(canary(|canary| canary["spec"]["analysis"] = change))
}

#[test]
fn a_plain_canary_says_the_same_as_a_rollout() {
    assert_eq!(
        spec(canary(|_| {})),
        json!({
            "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "app"},
            "service": {"name": "app-full", "port": 80},
            "traffic": [{"nginx": {"ingress": "app-full"}}],
            "strategy": {"canary": {"stepWeight": 10, "maxWeight": 50}},
            "analysis": {"interval": "1m", "failureThreshold": 5, "onNoData": "Fail"},
        })
    );
}

#[test]
fn strategies_are_told_apart_as_flagger_does() {
    for (written, strategy) in [
        (
            json!({"stepWeights": [1, 2, 10, 80], "stepWeightPromotion": 25}),
            json!({"canary": {"weights": [1, 2, 10, 80], "stepWeightPromotion": 25}}),
        ),
        (
            json!({"stepWeight": 20, "mirror": true}),
            json!({"canary": {"stepWeight": 20, "mirror": true}}),
        ),
        (
            json!({"stepWeight": 20, "maxWeight": 50, "mirror": true, "mirrorWeight": 60}),
            json!({"canary": {"advance": "Auto", "steps": [
                {"weight": 0, "mirror": 60}, {"weight": 20}, {"weight": 40}, {"weight": 50},
            ]}}),
        ),
        (
            json!({"iterations": 3}),
            json!({"blueGreen": {"iterations": 3, "analysisTraffic": "None"}}),
        ),
        (
            json!({"iterations": 3, "mirror": true, "mirrorWeight": 100}),
            json!({"blueGreen": {"iterations": 3, "analysisTraffic": "Mirror"}}),
        ),
    ] {
        let provider = if written.get("mirror").is_some() || written.get("iterations").is_some() {
            "istio"
        } else {
            "nginx"
        };
        let spec = spec(canary(|canary| {
            canary["spec"]["provider"] = json!(provider);
            canary["spec"]["analysis"] = written.clone();
        }));
        assert_eq!(spec["strategy"], strategy, "{written}");
        assert_eq!(spec["analysis"]["onNoData"], "Fail");
    }
    for (written, path) in [
        (json!({}), "spec.analysis.stepWeight"),
        (
            json!({"stepWeight": 5, "iterations": 2}),
            "spec.analysis.stepWeight",
        ),
        (
            json!({"stepWeight": 5, "stepWeights": [1]}),
            "spec.analysis.stepWeights",
        ),
        (
            json!({"stepWeight": 5, "match": [{"headers": {"x": {"exact": "y"}}}]}),
            "spec.analysis.match",
        ),
        (
            json!({"iterations": 2, "mirror": true, "mirrorWeight": 10}),
            "spec.analysis.mirrorWeight",
        ),
    ] {
        let text = refused(|canary| canary["spec"]["analysis"] = written.clone());
        assert!(text.contains(path), "{written}: {text}");
    }
}

#[test]
fn matches_are_lists_and_a_cookie_is_one_cookie() {
    let record = canary(|canary| {
        canary["spec"]["provider"] = json!("istio");
        canary["spec"]["analysis"] = json!({"iterations": 3, "match": [
            {"headers": {"user-agent": {"regex": ".*Firefox.*"}}, "method": {"exact": "GET"}},
            {"headers": {"cookie": {"regex": "^(.*?;)?(type=insider)(;.*)?$"}}},
            {"uri": {"prefix": "/new"}, "port": 8080, "sourceLabels": {"app": "shop"}},
            {"queryParams": {"v": {"exact": "2"}}},
        ]});
    });
    assert_eq!(
        spec(record)["strategy"]["abTest"]["match"],
        json!([
            {"headers": [{"name": "user-agent", "regex": ".*Firefox.*"}], "method": "GET"},
            {"cookies": [{"name": "type", "exact": "insider"}]},
            {"path": {"prefix": "/new"}, "port": 8080, "sourceLabels": {"app": "shop"}},
            {"queryParams": [{"name": "v", "exact": "2"}]},
        ])
    );
    let nginx = analysis(json!({"iterations": 3, "match": [
        {"headers": {"cookie": {"exact": "canary"}}},
    ]}));
    assert_eq!(
        nginx["strategy"]["abTest"]["match"],
        json!([{"cookies": [{"name": "canary", "exact": "always"}]}])
    );
    let text = refused(|canary| {
        canary["spec"]["analysis"] = json!({"iterations": 3, "match": [
            {"headers": {"x-user": {"suffix": "-test"}}, "authority": {"exact": "a"}},
        ]});
    });
    for path in [
        "spec.analysis.match[0].headers.x-user.suffix",
        "spec.analysis.match[0].authority",
    ] {
        assert!(text.contains(path), "{text}");
    }
}

#[test]
fn metrics_keep_their_limits_and_take_the_charts_templates_in() {
    let mut objects = beside();
    objects.push(canary(|canary| {
        canary["metadata"]["namespace"] = json!("demo");
        canary["spec"]["metricsServer"] = json!("http://prometheus:9090");
        canary["spec"]["analysis"]["metrics"] = json!([
            {"name": "request-success-rate", "threshold": 99, "interval": "1m"},
            {"name": "request-duration", "thresholdRange": {"max": 500}, "interval": "30s"},
            {"name": "404s percentage", "templateRef": {"name": "not-found-percentage", "namespace": "canary"},
             "thresholdRange": {"max": 5.5}, "interval": "1m", "templateVariables": {"team": "blue"}},
            {"name": "errors", "templateRef": {"name": "of-the-hub", "namespace": "flagger"}},
            {"name": "own", "query": "sum(rate(x{s=\"{{ service }}-canary\",a=\"{{ service }}\",i=\"{{ ingress }}\"}[1m]))", "threshold": 3},
        ]);
    }));
    objects.push(json!({
        "apiVersion": "flagger.app/v1beta1", "kind": "MetricTemplate",
        "metadata": {"name": "not-found-percentage", "namespace": "canary"},
        "spec": {
            "provider": {"type": "prometheus", "address": "http://flagger-prometheus:9090"},
            "query": "sum(rate(x{ns=\"{{ namespace }}\",p=~\"{{ target }}-.+\",r=\"{{ route }}\",t=\"{{ variables.team }}\"}[{{interval}}]))",
        },
    }));
    let translated = translate(&objects).expect("translated");
    let server = json!({"type": "Prometheus", "address": "http://prometheus:9090"});
    let spec = &translated.rollouts[0]["spec"];
    assert_eq!(spec["workload"]["namespace"], "demo");
    assert_eq!(
        spec["analysis"]["metrics"],
        json!([
            {"name": "request-success-rate", "threshold": "99", "window": "1m", "source": server},
            {"name": "request-duration", "range": {"max": "500"}, "window": "30s", "source": server},
            {
                "name": "404s-percentage", "range": {"max": "5.5"}, "window": "1m",
                "variables": {"team": "blue"},
                "source": {"type": "Prometheus", "address": "http://flagger-prometheus:9090"},
                "query": "sum(rate(x{ns=\"{{ namespace }}\",p=~\"{{ target }}-.+\",r=\"app\",t=\"{{ variables.team }}\"}[{{ interval }}]))",
            },
            {"name": "errors", "template": {"name": "of-the-hub"}, "threshold": "0"},
            {
                "name": "own", "threshold": "3", "source": server,
                "query": "sum(rate(x{s=\"{{ service }}\",a=\"app-full\",i=\"app-full\"}[1m]))",
            },
        ])
    );
    let mut rollout = translated.rollouts[0].clone();
    rollout["spec"]["application"] = json!("app");
    document::load("translated", rollout.to_string().as_bytes()).expect("accepted");
    assert!(
        translated
            .notes
            .iter()
            .any(|note| note.path.contains("metrics[3].templateRef.namespace")),
        "{:?}",
        translated.notes
    );
}

#[test]
fn queries_about_flaggers_own_copies_are_refused_with_what_is_built_in() {
    let template = |spec: Value| {
        json!({
            "apiVersion": "flagger.app/v1beta1", "kind": "MetricTemplate",
            "metadata": {"name": "not-found-percentage"}, "spec": spec,
        })
    };
    let using = canary(|canary| {
        canary["spec"]["analysis"]["metrics"] = json!([
            {"name": "404s", "templateRef": {"name": "not-found-percentage"}},
        ]);
    });
    let mut objects = beside();
    objects.push(using);
    // As the chart of an article has it: the route that Flagger makes for APISIX.
    objects.push(template(json!({
        "provider": {"type": "prometheus", "address": "http://flagger-prometheus.apisix:9090"},
        "query": "sum(rate(apisix_http_status{route=~\"{{ namespace }}_{{ route }}-{{ target }}-canary_.+\"}[{{ interval }}]))",
    })));
    let text = translate(&objects).expect_err("refused").to_string();
    assert!(
        text.contains("metrics[0].templateRef.name") && text.contains("client-error-percentage"),
        "{text}"
    );
    objects.pop();
    objects.push(template(json!({
        "provider": {"type": "datadog", "region": "eu"}, "query": "avg:x",
    })));
    let text = translate(&objects).expect_err("refused").to_string();
    assert!(
        text.contains("MetricTemplate not-found-percentage"),
        "{text}"
    );
    assert!(
        text.contains("spec.provider.type") && text.contains("spec.provider.region"),
        "{text}"
    );
}

#[test]
fn webhooks_become_hooks_and_commands_of_a_load_tester_loads() {
    let hooks = |webhooks: Value| {
        let spec = analysis(json!({"stepWeight": 10, "webhooks": webhooks}));
        spec["hooks"].clone()
    };
    assert_eq!(
        hooks(json!([
            {"name": "acceptance-test", "type": "pre-rollout", "url": "http://tester/", "timeout": "10s",
             "metadata": {"type": "bash", "cmd": "curl -s http://app-canary/ | grep ok"}},
            {"name": "load test", "timeout": "5s",
             "metadata": {"cmd": "hey -z 1m -q 5 -c 2 -H 'X-User: a b' http://app-full-canary/"}},
            {"name": "gate", "type": "confirm-promotion", "url": "http://gate/", "retries": 2, "muteAlert": true},
            {"name": "just-load"},
        ])),
        json!([
            {"name": "acceptance-test", "type": "PreRollout", "url": "http://tester/", "timeout": "10s",
             "metadata": {"type": "bash", "cmd": "curl -s http://app-canary/ | grep ok"}},
            {"name": "load-test", "type": "Rollout", "load": {
                "duration": "1m", "rate": 10, "concurrency": 2, "url": "http://app-full-canary/",
                "headers": {"X-User": "a b"},
            }},
            {"name": "gate", "type": "ConfirmPromotion", "url": "http://gate/", "retries": 2, "muteAlert": true},
            {"name": "just-load", "type": "Rollout"},
        ])
    );
    for (webhook, path) in [
        (
            json!({"name": "a", "type": "pre-rollout"}),
            "webhooks[0].url",
        ),
        (json!({"name": "a", "type": "before"}), "webhooks[0].type"),
        (
            json!({"name": "a", "url": "https://x", "disableTLS": true}),
            "webhooks[0].disableTLS",
        ),
        (
            json!({"name": "a", "metadata": {"cmd": "rm -rf /"}}),
            "webhooks[0].metadata.cmd",
        ),
        (
            json!({"name": "a", "metadata": {"cmd": "hey -z 1m -q 1 http://x; true"}}),
            "for a shell",
        ),
        (
            json!({"name": "a", "metadata": {"cmd": "hey -n 100 -q 1 http://x"}}),
            "-n of hey",
        ),
        (
            json!({"name": "a", "metadata": {"cmd": "hey -z 1m http://x"}}),
            "say -q",
        ),
        (
            json!({"name": "a", "metadata": {"other": "x"}}),
            "webhooks[0].metadata.other",
        ),
    ] {
        let text = refused(|canary| canary["spec"]["analysis"]["webhooks"] = json!([webhook]));
        assert!(text.contains(path), "{webhook}: {text}");
    }
}

#[test]
fn the_rest_of_a_canary_is_kept_or_refused_by_name() {
    let spec = spec(canary(|canary| {
        canary["spec"]["progressDeadlineSeconds"] = json!(60);
        canary["spec"]["skipAnalysis"] = json!(true);
        canary["spec"]["suspend"] = json!(true);
        canary["spec"]["revertOnDeletion"] = json!(true);
        canary["spec"]["autoscalerRef"] = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "name": "app"});
        canary["spec"]["provider"] = json!("istio");
        canary["spec"]["analysis"]["canaryReadyThreshold"] = json!(100);
        canary["spec"]["analysis"]["sessionAffinity"] =
            json!({"cookieName": "flagger", "maxAge": 3600, "primaryCookieName": "old"});
    }));
    assert_eq!(spec["progressDeadline"], "60s");
    assert_eq!(spec["analysis"]["skip"], true);
    assert_eq!(spec["suspend"], true);
    assert_eq!(
        spec["instances"],
        json!({"autoscaler": {"kind": "HorizontalPodAutoscaler", "name": "app"}})
    );
    assert_eq!(
        spec["sessionAffinity"],
        json!({"cookieName": "flagger", "maxAge": "3600s", "stableCookieName": "old"})
    );
    let text = refused(|canary| {
        canary["spec"]["targetRef"]["kind"] = json!("DaemonSet");
        canary["spec"]["analysis"]["primaryReadyThreshold"] = json!(50);
        canary["spec"]["analysis"]["sessionAffinity"] = json!({"cookieName": "a", "domain": "b"});
        canary["spec"]["autoscalerRef"] =
            json!({"name": "a", "primaryScalerReplicas": {"minReplicas": 1}});
        canary["spec"]["analysis"]["treshold"] = json!(3);
    });
    for path in [
        "spec.targetRef.kind",
        "spec.analysis.primaryReadyThreshold",
        "spec.analysis.sessionAffinity.domain",
        "spec.autoscalerRef.primaryScalerReplicas",
        "spec.analysis.treshold: it has no counterpart; did you mean \"threshold\"?",
    ] {
        assert!(text.contains(path), "{text}");
    }
    let provider = json!({
        "apiVersion": "flagger.app/v1beta1", "kind": "AlertProvider", "metadata": {"name": "slack"},
    });
    let text = translate(&[provider]).expect_err("refused").to_string();
    assert!(text.contains("AlertProvider slack"), "{text}");
}
