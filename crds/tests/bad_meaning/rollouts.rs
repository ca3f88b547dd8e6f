//! Rollouts: strategies, metrics, and those that stand alone.

use bellwether_api::document::load;

use super::{APPLICATION, check};

#[test]
fn strategies() {
    for (canary, expected) in [
        (
            "{}",
            &[
                "spec.components[0].rollout.strategy.canary: exactly one of stepWeight, weights, steps, manual must be set",
            ][..],
        ),
        (
            "{stepWeight: 0, weights: [0, 20, 20, 10], maxWeight: 0, stepWeightPromotion: 0}",
            &[
                "stepWeight: use at least 1",
                "weights: exactly one of stepWeight, weights, steps, manual may be set, found stepWeight and weights",
                "weights[0]: the first weight is above 0",
                "weights[2]: weights rise strictly; 20 follows 20",
                "weights[3]: weights rise strictly; 10 follows 20",
                "maxWeight: use at least 1",
                "stepWeightPromotion: use at least 1",
            ],
        ),
        (
            "{weights: [10], maxWeight: 50, advance: After}",
            &[
                "maxWeight: maxWeight ends the form stepWeight, which is not set",
                "advance: After needs a time and stands on single steps; use Auto or Manual here",
            ],
        ),
        (
            "{steps: [{weight: 0}, {weight: 10, replicas: 0, advance: After}, {weight: 20, replicas: 101%, after: 1m}, {name: a, weight: 30}, {name: a, weight: 40}]}",
            &[
                "steps[0].weight: a step has a weight above 0, or a match, a mirror or replicas",
                "steps[1].replicas: a step that takes traffic has at least 1 pod",
                "steps[1].advance: After needs a time; set after",
                "steps[2].replicas: a share is at most 100%",
                "steps[2].after: after is used with advance: After only",
                "steps[4].name: two steps are named \"a\"",
            ],
        ),
    ] {
        let text = APPLICATION.replace("{stepWeight: 10}", canary);
        let errors = load("in.yaml", text.as_bytes()).expect_err(canary);
        let errors: Vec<String> = errors
            .iter()
            .map(|error| format!("{}: {}", error.path, error.message))
            .map(|text| text.replace("spec.components[0].rollout.strategy.canary.", ""))
            .collect();
        assert_eq!(errors, expected, "{canary}");
    }
}

#[test]
fn metrics() {
    check(
        &[
            (
                "analysis: {metrics: [{name: request-success-rate, range: {min: \"99\"}}]}",
                "analysis:
        interval: 500ms
        metrics:
        - {name: request-sucess-rate, range: {}}
        - {name: request-success-rate, range: {min: \"101\", max: \"100\"}, window: 2s, aggregation: P99}
        - {name: request-duration, range: {max: \"-1\"}, source: {type: Probe, address: 'http://x'}}
        - {name: request-duration, range: {max: \"1\"}, source: {type: Prometheus, address: 'prometheus:9090'}}",
            ),
            ("strategy:", "progressDeadline: 100ms\n      instances: {minReplicas: 0}\n      strategy:"),
        ],
        &[
            "13:7 spec.components[0].rollout.progressDeadline: use at least 1s",
            "14:19 spec.components[0].rollout.instances.minReplicas: a canary without pods cannot \
             take traffic; use at least 1",
            "17:9 spec.components[0].rollout.analysis.interval: use at least 1s",
            "19:12 spec.components[0].rollout.analysis.metrics[0].name: unknown metric \
             \"request-sucess-rate\"; use one of request-success-rate, request-duration, or set \
             template or query; did you mean \"request-success-rate\"?",
            "19:39 spec.components[0].rollout.analysis.metrics[0].range: set min, max or both",
            "20:40 spec.components[0].rollout.analysis.metrics[1].range: min 101 is above max 100: \
             nothing would pass",
            "20:48 spec.components[0].rollout.analysis.metrics[1].range.min: a success rate is a \
             percentage: at most 100",
            "20:73 spec.components[0].rollout.analysis.metrics[1].window: use at least 4s: a window \
             needs four scrapes",
            "20:85 spec.components[0].rollout.analysis.metrics[1].aggregation: request-success-rate \
             is a share; an aggregation belongs to request-duration",
            "21:44 spec.components[0].rollout.analysis.metrics[2].range.max: no value of this \
             metric is below 0: nothing would pass",
            "21:78 spec.components[0].rollout.analysis.metrics[2].source.address: a Probe asks the \
             canary's pods; it has no address",
            "22:11 spec.components[0].rollout.analysis.metrics[3]: the metric \"request-duration\" \
             stands here twice",
            "22:82 spec.components[0].rollout.analysis.metrics[3].source.address: an address starts \
             with http:// or https://",
        ],
    );
}

#[test]
fn a_rollout_that_stands_alone() {
    let rollout = "apiVersion: bellwether.dev/v1alpha1
kind: Rollout
metadata: {name: shop-web, namespace: default}
spec:
  APPLICATION
  workload: {apiVersion: apps/v1, kind: Deployment, name: web}
  service: {name: web, port: admin}
  strategy: {canary: {stepWeight: 10}}
  analysis: {metrics: [{name: request-success-rate, range: {min: \"99\"}}]}
";
    let errors = |text: &str| -> Vec<String> {
        let errors = load("in.yaml", text.as_bytes()).err().unwrap_or_default();
        errors.iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        errors(&rollout.replace("APPLICATION\n", "\n")),
        [
            "in.yaml:4:1 spec.application: a Rollout that stands alone names the application that \
          renders its workload, or the destination whose clusters have it already"
        ]
    );
    // Alone it is right; beside its application it is compared with what that renders.
    let alone = rollout.replace("APPLICATION", "application: shop");
    assert_eq!(errors(&alone), Vec::<String>::new());
    assert_eq!(
        errors(&format!("{APPLICATION}---\n{alone}")),
        ["in.yaml:32:24 spec.service.port: Service web has no port \"admin\"; it has 80 (http)"]
    );
    let other = alone.replace("application: shop", "application: shop\n  component: wep");
    assert_eq!(
        errors(&format!("{APPLICATION}---\n{other}")),
        [
            "in.yaml:31:3 spec.component: the application has no component \"wep\"; did you mean \
          \"web\"?"
        ]
    );
}

#[test]
fn a_rollout_of_somebody_elses_workload_says_where_and_asks_for_no_more_than_that() {
    let rollout = |more: &str| {
        format!(
            "apiVersion: bellwether.dev/v1alpha1
kind: Rollout
metadata: {{name: shop-web, namespace: default}}
spec:
  workload: {{apiVersion: apps/v1, kind: Deployment, name: web, namespace: shop}}
  strategy: {{canary: {{stepWeight: 10}}}}
  analysis: {{metrics: [{{name: request-success-rate, range: {{min: \"99\"}}}}]}}
{more}"
        )
    };
    let errors = |text: &str| -> Vec<String> {
        let errors = load("in.yaml", text.as_bytes()).err().unwrap_or_default();
        errors.iter().map(ToString::to_string).collect()
    };
    let good = rollout("  destination: {clusters: [eu-1]}\n");
    assert_eq!(errors(&good), Vec::<String>::new());
    let cases = [
        (
            rollout("  destination: {}\n"),
            "in.yaml:8:3 spec.destination: set at least one of fleet, selector, clusters",
        ),
        (
            rollout("  application: shop\n  destination: {clusters: [eu-1]}\n"),
            "in.yaml:9:3 spec.destination: leave it out: the application says which clusters get \
             the workload",
        ),
        (
            good.replace(", namespace: shop", ""),
            "in.yaml:5:3 spec.workload.namespace: say where the workload lies: there is no \
             application to tell",
        ),
        (
            rollout("  destination: {clusters: [eu-1]}\n  instances: {mode: FixedTotal}\n"),
            "in.yaml:9:15 spec.instances.mode: FixedTotal is not supported for workloads that the \
             hub does not deliver: their size is whoever's who writes them; use Surge",
        ),
        (
            rollout("  destination: {clusters: [eu-1]}\n  component: web\n"),
            "in.yaml:9:3 spec.component: leave it out: without an application there are no components",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(errors(&text), [expected]);
    }
}
