//! The examples of Kruise Rollout's manual, and what it can say beyond them.

use serde_json::{Value, json};

use super::*;
use crate::document;

/// A chart's other objects: two Services, of which one has two ports.
fn beside() -> Vec<Value> {
    let service = |name: &str, ports: Value| {
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"selector": {"app": "demo"}, "ports": ports},
        })
    };
    vec![
        service("echoserver", json!([{"name": "http", "port": 80}])),
        service("both", json!([{"port": 80}, {"port": 9090}])),
    ]
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
    rollout["spec"]["application"] = json!("demo");
    let text = rollout.to_string();
    if let Err(errors) = document::load("translated", text.as_bytes()) {
        panic!("{text}: {errors:?}");
    }
    translated.rollouts[0]["spec"].clone()
}

fn beta(kind: &str, strategy: Value) -> Value {
    let group = if kind == "CloneSet" {
        "apps.kruise.io/v1alpha1"
    } else {
        "apps/v1"
    };
    json!({
        "apiVersion": "rollouts.kruise.io/v1beta1", "kind": "Rollout",
        "metadata": {"name": "rollouts-demo"},
        "spec": {
            "workloadRef": {"apiVersion": group, "kind": kind, "name": "echoserver"},
            "strategy": strategy,
        },
    })
}

fn alpha(style: Option<&str>, canary: Value) -> Value {
    let mut record = json!({
        "apiVersion": "rollouts.kruise.io/v1alpha1", "kind": "Rollout",
        "metadata": {"name": "rollouts-demo"},
        "spec": {
            "objectRef": {"workloadRef": {"apiVersion": "apps/v1", "kind": "Deployment",
                "name": "echoserver"}},
            "strategy": {"canary": canary},
        },
    });
    if let Some(style) = style {
        record["metadata"]["annotations"] = json!({"rollouts.kruise.io/rolling-style": style});
    }
    record
}

fn nginx() -> Value {
    json!([{"service": "echoserver", "ingress": {"classType": "nginx", "name": "echoserver"}}])
}

fn refused(record: Value) -> String {
    match translated(record) {
        Err(error) => error.to_string(),
        Ok(translated) => panic!("translated: {translated:?}"),
    }
}

/// The same plan in both versions of the API, as the manual has it.
#[test]
fn the_basic_example_says_the_same_as_a_rollout() {
    let wanted = json!({
        "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "echoserver"},
        "service": {"name": "echoserver", "port": 80},
        "traffic": [{"nginx": {"ingress": "echoserver"}}],
        "strategy": {"canary": {"steps": [
            {"weight": 5, "replicas": 1},
            {"weight": 50, "replicas": "50%", "advance": "After", "after": "7200s"},
            {"weight": 100, "replicas": "100%", "advance": "Auto"},
        ]}},
        "analysis": {"onFailure": "Pause"},
    });
    let routings = json!([{"service": "echoserver", "ingress": {"name": "echoserver"}}]);
    let new = beta(
        "Deployment",
        json!({"canary": {
            "enableExtraWorkloadForCanary": true,
            "steps": [
                {"traffic": "5%", "pause": {}, "replicas": 1},
                {"traffic": "50%", "replicas": "50%", "pause": {"duration": 7200}},
                {"traffic": "100%", "replicas": "100%"},
            ],
            "trafficRoutings": routings,
        }}),
    );
    assert_eq!(spec(new), wanted);
    let old = |style| {
        alpha(
            style,
            json!({
                "steps": [
                    {"weight": 5, "pause": {}, "replicas": 1},
                    {"weight": 50, "replicas": "50%", "pause": {"duration": 7200}},
                    {"weight": 100, "replicas": "100%"},
                ],
                "trafficRoutings": routings,
            }),
        )
    };
    for style in [None, Some("canary"), Some("Canary")] {
        assert_eq!(spec(old(style)), wanted, "{style:?}");
        assert!(translated(old(style)).expect("translated").notes.is_empty());
    }
    // A Deployment whose own pods would change gets a copy, and that is said.
    assert_eq!(spec(old(Some("partition"))), wanted);
    let notes = translated(old(Some("partition")))
        .expect("translated")
        .notes;
    assert!(notes[0].message.contains("holds no pods back"), "{notes:?}");
}

#[test]
fn steps_of_other_kinds_are_batches_in_place() {
    let steps = json!([
        {"replicas": 1}, {"replicas": "50%", "pause": {"duration": 0}}, {"replicas": "100%"},
    ]);
    let batch = json!({"batch": {"steps": [
        {"replicas": 1}, {"replicas": "50%", "advance": "Auto"},
        {"replicas": "100%", "advance": "Auto"},
    ]}});
    for kind in ["StatefulSet", "CloneSet", "DaemonSet"] {
        // The flag is for Deployments alone, there as here.
        for extra in [true, false] {
            let record = beta(
                kind,
                json!({"canary": {"enableExtraWorkloadForCanary": extra, "steps": steps}}),
            );
            let found = spec(record);
            assert_eq!(found["strategy"], batch, "{kind}");
            assert!(found.get("service").is_none() && found.get("traffic").is_none());
        }
    }
    let routed = spec(beta(
        "StatefulSet",
        json!({"paused": true, "canary": {
            "steps": [
                {"replicas": 1, "matches": [{"headers": [{"name": "user", "value": "a"}]}]},
                {"replicas": "50%", "traffic": "20%"},
                {"replicas": "100%", "traffic": "100%"},
            ],
            "failureThreshold": "20%",
            "trafficRoutings": [{"service": "echoserver", "gracePeriodSeconds": 7,
                "gateway": {"httpRouteName": "echo"}}],
        }}),
    ));
    assert_eq!(
        routed,
        json!({
            "workload": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "echoserver"},
            "service": {"name": "echoserver", "port": 80},
            "traffic": [{"gatewayApi": {"httpRoutes": ["echo"]}}],
            "drain": "7s",
            "suspend": true,
            "instances": {"readyThreshold": "80%"},
            "strategy": {"batch": {"steps": [
                {"replicas": 1, "match": [{"headers": [{"name": "user", "exact": "a"}]}]},
                {"replicas": "50%", "weight": 20},
                {"replicas": "100%", "advance": "Auto"},
            ]}},
            "analysis": {"onFailure": "Pause"},
        })
    );
}

#[test]
fn blue_green_is_a_canary_of_full_size_whose_last_step_waits() {
    let steps = json!([
        {"replicas": "100%", "traffic": "0%"},
        {"replicas": "100%", "traffic": "10%"},
        {"replicas": "100%", "traffic": "100%"},
    ]);
    let strategy = json!({"blueGreen": {"steps": steps, "trafficRoutings": nginx()}});
    assert_eq!(
        spec(beta("Deployment", strategy.clone()))["strategy"],
        json!({"canary": {"steps": [
            {"weight": 0, "replicas": "100%"},
            {"weight": 10, "replicas": "100%"},
            {"weight": 100, "replicas": "100%"},
        ]}})
    );
    let text = refused(beta("CloneSet", strategy));
    assert!(
        text.contains("spec.strategy.blueGreen: no copy of a CloneSet"),
        "{text}"
    );
}

#[test]
fn matches_are_those_of_the_gateway_api_and_cookies_those_of_nginx() {
    let matched = |routings: Value, matches: Value| {
        let found = spec(beta(
            "Deployment",
            json!({"canary": {
                "enableExtraWorkloadForCanary": true, "trafficRoutings": routings,
                "steps": [{"replicas": 1, "matches": matches}],
            }}),
        ));
        let step = &found["strategy"]["canary"]["steps"][0];
        assert_eq!(step["weight"], 0, "what does not match stays");
        step["match"].clone()
    };
    let gateway = json!([{"service": "echoserver", "gateway": {"httpRouteName": "echo"}}]);
    for (routings, matches, wanted) in [
        (
            nginx(),
            json!([{"headers": [{"type": "Exact", "name": "user-agent", "value": "pc"}]}]),
            json!([{"headers": [{"name": "user-agent", "exact": "pc"}]}]),
        ),
        (
            nginx(),
            json!([{"headers": [{"name": "canary-by-cookie", "value": "demo"}]}]),
            json!([{"cookies": [{"name": "demo", "exact": "always"}]}]),
        ),
        // What ingress-nginx finds anywhere in the value.
        (
            nginx(),
            json!([{"headers": [{"type": "RegularExpression", "name": "a", "value": "x|y"}]}]),
            json!([{"headers": [{"name": "a", "regex": ".*(?:x|y).*"}]}]),
        ),
        (
            nginx(),
            json!([{"headers": [{"type": "RegularExpression", "name": "a", "value": "^x.*$"}]}]),
            json!([{"headers": [{"name": "a", "regex": "^x.*$"}]}]),
        ),
        (
            gateway,
            json!([
                {"headers": [{"type": "RegularExpression", "name": "a", "value": "x.*"}],
                    "queryParams": [{"name": "v", "value": "2"}]},
                {"path": {"value": "/new"}},
                {"path": {"type": "Exact", "value": "/only"}},
            ]),
            json!([
                {"headers": [{"name": "a", "regex": "x.*"}],
                    "queryParams": [{"name": "v", "exact": "2"}]},
                {"path": {"prefix": "/new"}},
                {"path": {"exact": "/only"}},
            ]),
        ),
    ] {
        assert_eq!(matched(routings, matches.clone()), wanted, "{matches}");
    }
}

#[test]
fn a_record_that_is_disabled_governs_nothing_and_says_so() {
    let mut record = beta("Deployment", json!({"canary": {}}));
    record["spec"]["disabled"] = json!(true);
    let translated = translated(record).expect("translated");
    assert!(translated.rollouts.is_empty());
    assert_eq!(translated.notes[0].path, "rollouts-demo spec.disabled");
}

const AT: &str = "spec.strategy.canary";

/// A Rollout that would be translated, with other fields of its strategy.
fn canary(change: Value) -> Value {
    let canary = json!({
        "enableExtraWorkloadForCanary": true,
        "steps": [{"traffic": "20%", "replicas": 1}],
        "trafficRoutings": nginx(),
    });
    beta("Deployment", json!({"canary": with(canary, change)}))
}

fn with(mut object: Value, change: Value) -> Value {
    let fields = object.as_object_mut().expect("an object");
    fields.extend(change.as_object().expect("fields").clone());
    object
}

fn is_refused(record: Value, said: &str) {
    let text = refused(record.clone());
    assert!(
        text.contains(said),
        "{record}\nis not refused by {said}: {text}"
    );
}

#[test]
fn fields_of_a_strategy_that_have_no_counterpart_are_refused_by_name() {
    spec(canary(json!({})));
    for (change, said) in [
        (json!({"trafficRoutingRef": "demo"}), "trafficRoutingRef: "),
        (
            json!({"patchPodTemplateMetadata": {"labels": {"a": "b"}}}),
            "patchPodTemplateMetadata: ",
        ),
        (
            json!({"disableGenerateCanaryService": true}),
            "disableGenerateCanaryService: ",
        ),
        (json!({"failureThreshold": "20%"}), "failureThreshold: "),
        (json!({"trafficRoutings": []}), "trafficRoutings: "),
        (
            json!({"stepz": []}),
            "stepz: it has no counterpart; did you mean \"steps\"?",
        ),
        (json!({"steps": []}), "steps: "),
    ] {
        is_refused(canary(change), &format!("{AT}.{said}"));
    }
    is_refused(beta("Deployment", json!({})), "spec.strategy.canary: ");
    let mut record = canary(json!({}));
    record["metadata"]["annotations"] = json!({"rollouts.kruise.io/trafficrouting": "demo"});
    is_refused(
        record,
        "metadata.annotations[\"rollouts.kruise.io/trafficrouting\"]: ",
    );
    let mut record = canary(json!({}));
    record["apiVersion"] = json!("rollouts.kruise.io/v1");
    is_refused(record, "v1alpha1 and v1beta1");
}

#[test]
fn steps_that_have_no_counterpart_are_refused_by_their_fields() {
    let header = |kind: &str| json!([{"headers": [{"name": "a", "value": "b", "type": kind}]}]);
    for (steps, said) in [
        (json!([{"replicas": 1}]), "steps[0].traffic: "),
        (json!([{"traffic": "0%"}]), "steps[0].replicas: "),
        (json!([{"traffic": 20}]), "steps[0].traffic: "),
        (json!([{"traffic": "120%"}]), "steps[0].traffic: "),
        (
            json!([{"traffic": "20%"}, {"traffic": "10%"}]),
            "steps[1].traffic: a step before has 20 %",
        ),
        (
            json!([{"traffic": "20%"}, {"replicas": 1, "matches": header("Exact")}]),
            "steps[1].matches: a step before has 20 %",
        ),
        (
            json!([{"traffic": "20%", "requestHeaderModifier": {"set": [{"name": "a", "value": "b"}]}}]),
            "steps[0].requestHeaderModifier: ",
        ),
        (
            json!([{"traffic": "20%", "trafficRoutings": nginx()}]),
            "steps[0].trafficRoutings: it stands beside steps",
        ),
        (
            json!([{"traffic": "20%", "matches": header("Exact")}]),
            "steps[0].matches: ",
        ),
        (
            json!([{"replicas": 1, "matches": header("Prefix")}]),
            "steps[0].matches[0].headers[0].type: ",
        ),
    ] {
        is_refused(canary(json!({"steps": steps})), &format!("{AT}.{said}"));
    }
    for (steps, said) in [
        (
            json!([{"replicas": 1}, {"replicas": "50%", "traffic": "50%"}]),
            "steps: some say where requests go",
        ),
        (
            json!([{"replicas": "100%", "traffic": "50%"}]),
            "steps[0].replicas: ",
        ),
    ] {
        let strategy = json!({"canary": {"steps": steps, "trafficRoutings": nginx()}});
        is_refused(beta("StatefulSet", strategy), &format!("{AT}.{said}"));
    }
}

#[test]
fn routes_that_have_no_counterpart_are_refused_by_their_fields() {
    for (change, said) in [
        (
            json!({"service": "both"}),
            "service: Service both has 2 ports",
        ),
        (json!({"service": "none"}), "service: "),
        (
            json!({"ingress": {"name": "a", "classType": "aliyun-alb"}}),
            "ingress.classType: ",
        ),
        (
            json!({"customNetworkRefs": [{"kind": "VirtualService"}]}),
            "customNetworkRefs: ",
        ),
        (json!({"ingress": null}), "ingress: name the Ingress"),
    ] {
        let one = json!({"service": "echoserver", "ingress": {"name": "echoserver"}});
        let record = canary(json!({"trafficRoutings": [with(one, change)]}));
        is_refused(record, &format!("{AT}.trafficRoutings[0].{said}"));
    }
}

#[test]
fn other_kinds_of_the_group_are_refused_by_name() {
    for kind in ["BatchRelease", "TrafficRouting", "RolloutHistory"] {
        let record = json!({
            "apiVersion": "rollouts.kruise.io/v1alpha1", "kind": kind, "metadata": {"name": "a"},
        });
        let text = refused(record);
        assert!(
            text.starts_with(&format!(
                "failed to translate {kind} a of Kruise Rollout: kind: "
            )),
            "{text}"
        );
    }
}
