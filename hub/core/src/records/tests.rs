use serde_json::{Value, json};

use super::*;

fn map() -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}})
}

fn rollout(strategy: Value) -> Value {
    json!({
        "apiVersion": "bellwether.dev/v1alpha1", "kind": "Rollout",
        "metadata": {"name": "shop-web"},
        "spec": {
            "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "strategy": strategy,
        },
    })
}

#[test]
fn a_rollout_among_the_objects_becomes_a_plan() {
    let plan = rollout(json!({"canary": {"weights": [20, 50]}}));
    let found = take("shop", "web", &[map(), plan]).expect("found");
    assert_eq!(found.objects, vec![map()]);
    assert_eq!(found.rollouts.len(), 1);
    assert_eq!(found.rollouts[0].name, "shop-web");
    assert_eq!(found.rollouts[0].spec.workload.name, "web");
}

#[test]
fn a_wrong_rollout_names_its_field() {
    let error = take(
        "shop",
        "web",
        &[rollout(json!({"canary": {"weihgts": [20]}}))],
    )
    .expect_err("refused");
    let text = error.to_string();
    assert!(
        text.contains("shop-web") && text.contains("weights"),
        "{text}"
    );
}

#[test]
fn records_of_others_are_refused_by_name() {
    for (api_version, kind) in [
        ("argoproj.io/v1alpha1", "Rollout"),
        ("rollouts.kruise.io/v1beta1", "BatchRelease"),
        ("rollouts.kruise.io/v1alpha1", "TrafficRouting"),
        ("bellwether.dev/v1alpha1", "Application"),
    ] {
        let record = json!({
            "apiVersion": api_version, "kind": kind, "metadata": {"name": "web"},
        });
        let text = take("shop", "web", &[map(), record])
            .expect_err("refused")
            .to_string();
        assert!(text.contains(kind) && text.contains("web"), "{text}");
    }
    let other = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": {"name": "w"},
    });
    assert_eq!(
        take("shop", "web", std::slice::from_ref(&other))
            .expect("kept")
            .objects,
        vec![other]
    );
}

#[test]
fn what_bellwether_itself_consists_of_is_refused_by_name() {
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "fleets.bellwether.dev"},
    });
    let text = take("shop", "web", &[map(), definition])
        .expect_err("refused")
        .to_string();
    assert!(
        text.contains("fleets.bellwether.dev") && text.contains("own installation"),
        "{text}"
    );
}

#[test]
fn a_canary_of_flagger_becomes_a_plan_and_is_not_applied() {
    let canary = json!({
        "apiVersion": "flagger.app/v1beta1", "kind": "Canary", "metadata": {"name": "web"},
        "spec": {
            "provider": "nginx",
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "ingressRef": {"name": "web"},
            "service": {"port": 80},
            "analysis": {"stepWeight": 10, "maxWeight": 50, "threshold": 2},
        },
    });
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}},
    });
    let found = take("shop", "web", &[canary.clone(), deployment.clone()]).expect("found");
    assert_eq!(found.objects[0], deployment);
    assert_eq!(
        found.objects[1]["kind"], "Service",
        "which Flagger would make"
    );
    assert_eq!(found.objects.len(), 2);
    let plan = &found.rollouts[0];
    assert_eq!(
        (plan.name.as_str(), plan.spec.analysis.failure_threshold),
        ("web", 2)
    );
    assert_eq!(plan.spec.application.as_deref(), Some("shop"));

    let mut unknown = canary.clone();
    unknown["spec"]["analysis"]["alerts"] = json!([{"name": "on-call"}]);
    let text = take("shop", "web", &[unknown, deployment.clone()])
        .expect_err("refused")
        .to_string();
    assert!(
        text.contains("Canary web") && text.contains("spec.analysis.alerts"),
        "{text}"
    );
    // What a Rollout cannot say is said of the Rollout.
    let mut beyond = canary;
    beyond["spec"]["analysis"]["interval"] = json!("0s");
    let text = take("shop", "web", &[beyond, deployment])
        .expect_err("refused")
        .to_string();
    assert!(
        text.contains("Rollout web") && text.contains("interval"),
        "{text}"
    );
}

#[test]
fn a_rollout_of_kruise_becomes_a_plan_and_is_not_applied() {
    let rollout = json!({
        "apiVersion": "rollouts.kruise.io/v1beta1", "kind": "Rollout",
        "metadata": {"name": "rollouts-demo"},
        "spec": {
            "workloadRef": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db"},
            "strategy": {"canary": {"steps": [{"replicas": 1}, {"replicas": "100%"}]}},
        },
    });
    let found = take("shop", "web", &[map(), rollout.clone()]).expect("found");
    assert_eq!(found.objects, [map()]);
    let [plan] = found.rollouts.as_slice() else {
        panic!("one plan: {:?}", found.rollouts);
    };
    assert_eq!(plan.name, "rollouts-demo");
    assert_eq!(plan.spec.application.as_deref(), Some("shop"));
    assert!(plan.spec.strategy.batch.is_some(), "{:?}", plan.spec);

    let mut unknown = rollout;
    unknown["spec"]["strategy"]["canary"]["trafficRoutingRef"] = json!("demo");
    let text = take("shop", "web", &[map(), unknown])
        .expect_err("refused")
        .to_string();
    assert!(
        text.contains("Rollout rollouts-demo of Kruise Rollout")
            && text.contains("spec.strategy.canary.trafficRoutingRef"),
        "{text}"
    );
}
