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
fn providers_have_one_spelling_each() {
    let traffic = |spec: Value, more: &[Value]| {
        let mut objects = beside();
        objects.extend(more.iter().cloned());
        objects.push(canary(|canary| {
            for (key, value) in spec.as_object().expect("fields") {
                canary["spec"][key] = value.clone();
            }
        }));
        let translated = translate(&objects).map_err(|error| error.to_string())?;
        Ok::<Value, String>(translated.rollouts[0]["spec"]["traffic"].clone())
    };
    let service = |more: Value| {
        let mut service = json!({"name": "app-full", "port": 80, "targetPort": "http"});
        for (key, value) in more.as_object().expect("fields") {
            service[key] = value.clone();
        }
        service
    };
    let old = json!({
        "apiVersion": "extensions/v1beta1", "kind": "Ingress",
        "metadata": {"name": "app-full", "annotations": {"kubernetes.io/ingress.class": "skipper"}},
    });
    assert_eq!(
        traffic(json!({"provider": "ingress"}), std::slice::from_ref(&old)),
        Ok(json!([{"skipper": {"ingress": "app-full"}}]))
    );
    assert_eq!(
        traffic(json!({"provider": null}), std::slice::from_ref(&old)),
        Ok(json!([{"skipper": {"ingress": "app-full"}}]))
    );
    assert_eq!(
        traffic(
            json!({"provider": "apisix", "routeRef": {"apiVersion": "apisix.apache.org/v2", "kind": "ApisixRoute", "name": "app-route"}}),
            &[]
        ),
        Ok(json!([{"apisix": {"route": "app-route"}}]))
    );
    for provider in ["gatewayapi:v1", "gatewayapi:v1beta1", "gateway"] {
        let made = service(json!({
            "hosts": ["app.example"], "gatewayRefs": [{"name": "gw", "namespace": "infra"}],
            "timeout": "10s", "headers": {"request": {"set": {"x-a": "b"}, "remove": ["x-c"]}},
            "match": [{"uri": {"prefix": "/app"}}],
        }));
        assert_eq!(
            traffic(json!({"provider": provider, "service": made}), &[]),
            Ok(
                json!([{"gatewayApi": {"httpRoutes": ["app-full"]}, "create": {
                    "gateways": ["infra/gw"], "hosts": ["app.example"], "timeout": "10s", "path": "/app",
                    "headers": {"request": {"set": [{"name": "x-a", "value": "b"}], "remove": ["x-c"]}},
                }}])
            )
        );
    }
    let made = service(json!({
        "gateways": ["istio-system/public", "mesh"], "hosts": ["app.example"],
        "retries": {"attempts": 3, "perTryTimeout": "1s", "retryOn": "5xx"},
        "corsPolicy": {"allowOrigins": [{"exact": "https://a.example"}], "allowMethods": ["GET"], "maxAge": "24h"},
    }));
    assert_eq!(
        traffic(json!({"provider": "istio", "service": made}), &[]),
        Ok(
            json!([{"istio": {"virtualServices": ["app-full"]}, "create": {
                "gateways": ["istio-system/public", "mesh"], "hosts": ["app.example", "app-full"],
                "retries": {"attempts": 3, "perTryTimeout": "1s", "retryOn": "5xx"},
                "cors": {"allowOrigins": ["https://a.example"], "allowMethods": ["GET"], "maxAge": "24h"},
            }}])
        )
    );
    let proxy = json!({
        "apiVersion": "projectcontour.io/v1", "kind": "HTTPProxy", "metadata": {"name": "app-full"},
    });
    assert_eq!(
        traffic(json!({"provider": "contour"}), &[proxy]),
        Ok(json!([{"contour": {"httpProxy": "app-full"}}]))
    );
    for (spec, path) in [
        (
            json!({"provider": "contour"}),
            "spec.provider: Flagger would make HTTPProxy",
        ),
        (
            json!({"provider": "osm"}),
            "spec.provider: \"osm\" has no counterpart",
        ),
        (json!({"provider": "apisix"}), "spec.routeRef"),
        (json!({"ingressRef": null}), "spec.ingressRef"),
        (
            json!({"provider": "nginx", "service": service(json!({"hosts": ["a"]}))}),
            "spec.service.hosts",
        ),
        (
            json!({"provider": "istio", "service": service(json!({"trafficPolicy": {"tls": {"mode": "DISABLE"}}}))}),
            "spec.service.trafficPolicy",
        ),
        (
            json!({"provider": "istio", "service": service(json!({"rewrite": {"uri": "/"}}))}),
            "spec.service.rewrite",
        ),
        (
            json!({"provider": "gatewayapi"}),
            "spec.service.gatewayRefs",
        ),
        (json!({"upstreamRef": {"name": "a"}}), "spec.upstreamRef"),
        (
            json!({"provder": "nginx"}),
            "spec.provder: it has no counterpart; did you mean \"provider\"?",
        ),
    ] {
        let error = traffic(spec.clone(), &[]).expect_err("refused");
        assert!(error.contains(path), "{spec}: {error}");
    }
    // Nothing says: the fleet's own default does.
    assert_eq!(
        traffic(json!({"provider": null, "ingressRef": null}), &[]),
        Ok(Value::Null)
    );
}

#[test]
fn a_service_that_nobody_wrote_is_made_and_one_that_is_written_is_left() {
    let mut objects = beside();
    objects.push(canary(|canary| {
        canary["spec"]["service"] = json!({
            "port": 9898, "targetPort": 8080, "portName": "web", "appProtocol": "http",
            "portDiscovery": true, "apex": {"labels": {"team": "blue"}},
        });
    }));
    let translated = translate(&objects).expect("translated");
    assert_eq!(
        translated.rollouts[0]["spec"]["service"],
        json!({"name": "app", "port": 9898}),
        "the workload's name where it has none of its own"
    );
    assert_eq!(
        translated.services,
        vec![json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "app", "labels": {"team": "blue"}},
            "spec": {"type": "ClusterIP", "selector": {"app": "app"}, "ports": [
                {"name": "web", "port": 9898, "targetPort": 8080, "protocol": "TCP", "appProtocol": "http"},
                {"name": "grpc", "port": 9090, "targetPort": 9090, "protocol": "TCP"},
                {"name": "tcp-app-2", "port": 7070, "targetPort": 7070, "protocol": "TCP"},
            ]},
        })]
    );
    assert!(
        super::translate(&[canary(|_| {})]).is_err(),
        "no workload, no Service"
    );
    for (service, path) in [
        (json!({"name": "app-full", "port": 81}), "spec.service.port"),
        (
            json!({"name": "app-full", "port": 80, "targetPort": 9090}),
            "spec.service.targetPort",
        ),
        (
            json!({"name": "app-full", "port": 80, "targetPort": "http", "portName": "x"}),
            "spec.service.portName",
        ),
        (
            json!({"name": "app-full", "port": 80, "targetPort": "http", "apex": {"labels": {"a": "b"}}}),
            "spec.service.apex",
        ),
        (
            json!({"name": "app-full", "port": 80, "targetPort": "http", "canary": {"labels": {"a": "b"}}}),
            "spec.service.canary",
        ),
        (json!({"name": "app-full"}), "spec.service.port"),
    ] {
        let text = refused(|canary| canary["spec"]["service"] = service.clone());
        assert!(text.contains(path), "{service}: {text}");
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
