//! Rollouts with a copy of a DaemonSet: what is taken, and what is refused by name.

use bellwether_api::document::load;
use one_component::application;

mod one_component;

const CANARY: &str = "{canary: {stepWeight: 10}}";
const SERVICE: &str = "      service: {name: log, port: 80}\n";
const TRAFFIC: &str = "      traffic: [{gatewayApi: {httpRoutes: [log]}}]\n";
const POD: &str = "{containers: [{name: log, image: 'log:1'}]}";

/// What is wrong with a component whose DaemonSet has this pod template.
fn errors(strategy: &str, lines: &str, pod: &str) -> Vec<String> {
    let lines = format!(
        "    rollout:
      workload: {{apiVersion: apps/v1, kind: DaemonSet, name: log}}
      strategy: {strategy}
{lines}    manifests:
    - apiVersion: apps/v1
      kind: DaemonSet
      metadata: {{name: log}}
      spec:
        selector: {{matchLabels: {{app: log}}}}
        template: {{metadata: {{labels: {{app: log}}}}, spec: {pod}}}
    - {{apiVersion: v1, kind: Service, metadata: {{name: log}}, spec: {{selector: {{app: log}}, ports: [{{port: 80}}]}}}}
    - apiVersion: gateway.networking.k8s.io/v1
      kind: HTTPRoute
      metadata: {{name: log}}
      spec: {{rules: [{{backendRefs: [{{name: log, port: 80}}]}}]}}
"
    );
    one_component::errors(&application("log", &lines))
}

#[track_caller]
fn refused(strategy: &str, lines: &str, pod: &str, expected: &[&str]) {
    let found = errors(strategy, lines, pod);
    let hits = found
        .iter()
        .zip(expected)
        .all(|(one, said)| one.starts_with(said));
    assert!(hits && found.len() == expected.len(), "{found:#?}");
}

#[test]
fn every_strategy_with_a_copy_is_taken() {
    let split = format!("{SERVICE}{TRAFFIC}");
    for strategy in [
        CANARY,
        "{canary: {steps: [{weight: 10}, {weight: 50, mirror: 20}]}}",
        "{canary: {manual: {weight: 5}}}",
        "{abTest: {iterations: 2, match: [{headers: [{name: x, exact: z}]}]}}",
        "{blueGreen: {iterations: 2, analysisTraffic: Mirror}}",
    ] {
        refused(strategy, &split, POD, &[]);
    }
    refused(CANARY, "", POD, &[]);
}

#[test]
fn numbers_of_pods_are_refused_by_their_field() {
    for (strategy, lines, field) in [
        (
            "{canary: {steps: [{weight: 10}, {weight: 50, replicas: 2}]}}",
            "",
            "strategy.canary.steps[1].replicas",
        ),
        (
            "{canary: {manual: {replicas: 2}}}",
            "",
            "strategy.canary.manual.replicas",
        ),
        (
            "{blueGreen: {iterations: 2, replicas: 2}}",
            "",
            "strategy.blueGreen.replicas",
        ),
        (
            CANARY,
            "      instances: {minReplicas: 2}\n",
            "instances.minReplicas",
        ),
        (
            CANARY,
            "      instances: {autoscaler: {kind: HorizontalPodAutoscaler, name: log}}\n",
            "instances.autoscaler",
        ),
    ] {
        let lines = format!("{SERVICE}{TRAFFIC}{lines}");
        refused(strategy, &lines, POD, &[&format!("{field}: ")]);
    }
    let fixed = format!("{SERVICE}{TRAFFIC}      instances: {{mode: FixedTotal}}\n");
    let said = errors(CANARY, &fixed, POD);
    let no_number = "instances.mode: a DaemonSet has a pod on each node";
    assert!(
        said.iter().any(|one| one.starts_with(no_number)),
        "{said:#?}"
    );
    let none = format!("{SERVICE}      traffic: [{{none: {{}}}}]\n");
    let at = "traffic[0].none: without a router the share of traffic is the share of pods, and a DaemonSet";
    refused(CANARY, &none, POD, &[at]);
}

#[test]
fn what_two_pods_of_a_node_cannot_share_is_refused_with_the_way_out() {
    for (pod, field) in [
        (
            "{hostNetwork: true, containers: []}",
            "spec.template.spec.hostNetwork",
        ),
        (
            "{containers: [{name: log, ports: [{containerPort: 80, hostPort: 80}]}]}",
            "spec.template.spec.containers[0].ports[0].hostPort",
        ),
        (
            "{volumes: [{name: l, hostPath: {path: /l}}], containers: [{name: log, volumeMounts: \
             [{name: l, mountPath: /l}]}]}",
            "spec.template.spec.volumes[0].hostPath",
        ),
    ] {
        let said = format!("workload: DaemonSet log: no copy can run beside it: {field} ");
        refused(CANARY, "", pod, &[&said]);
        refused("{batch: {steps: [{replicas: 1}]}}", "", pod, &[]);
    }
}

#[test]
fn a_daemon_set_that_somebody_else_delivers_has_no_copy() {
    let text = "apiVersion: bellwether.dev/v1alpha1\nkind: Rollout\n\
                metadata: {name: log, namespace: default}\nspec:\n  destination: {fleet: all}\n  \
                workload: {apiVersion: apps/v1, kind: DaemonSet, namespace: shop, name: log}\n  \
                strategy: {canary: {stepWeight: 10}}\n";
    let errors = load("in.yaml", text.as_bytes()).err().unwrap_or_default();
    let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert!(
        said.iter()
            .any(|one| one.contains("the hub does not deliver is not supported")),
        "{said:?}"
    );
}
