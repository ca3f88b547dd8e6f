//! Records of other systems that a chart brings.

use super::*;

/// The template of a Canary, and of the switch around it.
const CANARY: &str = "{{- if .Values.podAnnotations.canary }}
apiVersion: flagger.app/v1beta1
kind: Canary
metadata:
  name: web
spec:
  provider: nginx
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  ingressRef: {apiVersion: networking.k8s.io/v1, kind: Ingress, name: web}
  service: {port: 80, targetPort: http}
  analysis: {interval: 30s, threshold: 3, maxWeight: 50, stepWeight: 10}
{{- end }}
";

fn with_canary(enabled: bool) -> Value {
    chart(|helm| {
        helm["values"] = json!({
            "ingress": {"enabled": true, "className": "nginx"},
            "podAnnotations": {"canary": if enabled { "yes" } else { "" }},
        });
    })
}

#[tokio::test]
async fn a_canary_of_flagger_in_a_chart_governs_its_workload_and_reaches_no_cluster() {
    let shelf = Shelf::with_chart();
    shelf.put("templates/canary.yaml", CANARY);
    let stage = Stage::new(&shelf).await;
    stage.apply(with_canary(true)).await;
    stage.settle().await.expect("released");
    let (_, bundle) = stage.fleet.bundle("canary-1").await.expect("a bundle");
    let rollouts = &bundle.rollouts;
    assert_eq!(rollouts.len(), 1, "{rollouts:?}");
    assert_eq!(rollouts[0].spec.workload.name, "web");
    assert_eq!(rollouts[0].spec.analysis.failure_threshold, 3);
    let kinds: Vec<Value> = stage
        .objects("canary-1")
        .await
        .iter()
        .map(|one| one["kind"].clone())
        .collect();
    assert!(!kinds.contains(&json!("Canary")), "{kinds:?}");
    assert!(kinds.contains(&json!("Ingress")), "{kinds:?}");
}

#[tokio::test]
async fn a_canary_that_its_values_switch_off_is_a_plain_release() {
    let shelf = Shelf::with_chart();
    shelf.put("templates/canary.yaml", CANARY);
    let stage = Stage::new(&shelf).await;
    stage.apply(with_canary(false)).await;
    stage.settle().await.expect("released");
    let (_, bundle) = stage.fleet.bundle("canary-1").await.expect("a bundle");
    assert!(bundle.rollouts.is_empty(), "{:?}", bundle.rollouts);
}

#[tokio::test]
async fn what_a_canary_says_and_has_no_counterpart_is_said_with_its_path() {
    let shelf = Shelf::with_chart();
    let alerts = CANARY.replace(
        "stepWeight: 10",
        "stepWeight: 10, alerts: [{name: on-call}]",
    );
    shelf.put("templates/canary.yaml", &alerts);
    let stage = Stage::new(&shelf).await;
    stage.apply(with_canary(true)).await;
    let error = stage.settle().await.expect_err("held").chain();
    assert!(
        error.contains("Canary web") && error.contains("spec.analysis.alerts"),
        "{error}"
    );
    assert!(stage.fleet.bundle("canary-1").await.is_none());
}

/// A Rollout of Kruise for a Deployment that is split by its Ingress.
const KRUISE: &str = "apiVersion: rollouts.kruise.io/v1beta1
kind: Rollout
metadata:
  name: web
spec:
  workloadRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  strategy:
    canary:
      enableExtraWorkloadForCanary: true
      steps:
      - {traffic: 20%, replicas: 1}
      - {traffic: 50%, pause: {duration: 60}}
      trafficRoutings:
      - {service: web, ingress: {classType: nginx, name: web}}
";

#[tokio::test]
async fn a_rollout_of_kruise_in_a_chart_governs_its_workload_and_reaches_no_cluster() {
    let shelf = Shelf::with_chart();
    shelf.put("templates/canary.yaml", KRUISE);
    let stage = Stage::new(&shelf).await;
    stage.apply(with_canary(true)).await;
    stage.settle().await.expect("released");
    let (_, bundle) = stage.fleet.bundle("canary-1").await.expect("a bundle");
    let rollouts = &bundle.rollouts;
    assert_eq!(rollouts.len(), 1, "{rollouts:?}");
    assert_eq!(rollouts[0].spec.workload.name, "web");
    let canary = rollouts[0].spec.strategy.canary.as_ref();
    assert_eq!(canary.map(|canary| canary.steps.len()), Some(2));
    let objects = stage.objects("canary-1").await;
    let foreign = |one: &Value| {
        let version = one["apiVersion"].as_str().unwrap_or_default();
        version.starts_with("rollouts.kruise.io/")
    };
    assert!(!objects.iter().any(foreign), "{objects:?}");
}
