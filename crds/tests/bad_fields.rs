//! Fields that are unknown, missing, or of the wrong type or value: what the schemas say.

use bellwether_api::document::load;

fn check(text: &str, expected: &[&str]) {
    let errors = load("in.yaml", text.as_bytes()).expect_err(text);
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(errors, expected, "{text}");
}

#[test]
fn kinds_and_versions() {
    let table: &[(&str, &str, &[&str])] = &[
        (
            "bellwether.dev/v1alpha1",
            "Rolout",
            &[
                "in.yaml:2:1 kind: unknown kind \"Rolout\"; use one of Cluster, Fleet, MetricTemplate, AlertProvider, Application, \
               Rollout, Repository; did you mean \"Rollout\"?",
            ],
        ),
        (
            "bellwether.dev/v1",
            "Fleet",
            &[
                "in.yaml:1:1 apiVersion: unknown version \"bellwether.dev/v1\"; did you mean \
               \"bellwether.dev/v1alpha1\"?",
            ],
        ),
        (
            "belwether.dev/v1alpha1",
            "fleets",
            &[
                "in.yaml:1:1 apiVersion: unknown version \"belwether.dev/v1alpha1\"; did you mean \
                 \"bellwether.dev/v1alpha1\"?",
                "in.yaml:2:1 kind: unknown kind \"fleets\"; use one of Cluster, Fleet, MetricTemplate, AlertProvider, \
                 Application, Rollout, Repository; did you mean \"Fleet\"?",
            ],
        ),
        (
            "apps/v1",
            "Deployment",
            &[
                "in.yaml:2:1 kind: Deployment of apps/v1 is no kind of Bellwether; objects for \
               member clusters stand under components[].manifests of an Application",
            ],
        ),
    ];
    for (version, kind, expected) in table {
        let text =
            format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: x}}\nspec: {{}}\n");
        check(&text, expected);
    }
}

#[test]
fn unknown_fields_are_named_with_what_was_meant() {
    check(
        "apiVersion: bellwether.dev/v1alpha1
kind: Application
metadata: {name: shop, lables: {a: b}}
extra: 1
spec:
  destination: {flet: eu}
  targetNamspace: web
  components:
  - name: web
    serviceAccount: {chart: web}
  waves:
  - name: one
    maxConcurent: 1
    after: [{sok: 1m}]
  colour: red
",
        &[
            "in.yaml:3:24 metadata.lables: unknown field; did you mean \"labels\"?",
            "in.yaml:4:1 extra: unknown field",
            "in.yaml:6:17 spec.destination.flet: unknown field; did you mean \"fleet\"?",
            "in.yaml:7:3 spec.targetNamspace: unknown field; did you mean \"targetNamespace\"?",
            "in.yaml:10:21 spec.components[0].serviceAccount: expected a string, found an object",
            "in.yaml:13:5 spec.waves[0].maxConcurent: unknown field; did you mean \
             \"maxConcurrent\"?",
            "in.yaml:14:14 spec.waves[0].after[0].sok: unknown field; did you mean \"soak\"?",
            "in.yaml:15:3 spec.colour: unknown field",
        ],
    );
}

#[test]
fn what_exists_nowhere_is_refused_with_the_way_out() {
    check(
        "apiVersion: bellwether.dev/v1alpha1
kind: Rollout
metadata: {name: web}
spec:
  application: shop
  workload: {apiVersion: apps/v1, kind: Deployment, name: web}
  trigger: {allowLocal: true}
  strategy: {canary: {steps: [{weight: 10}]}}
  instances: {autoscaler: {kind: ScaledObject, name: web, canaryQueries: []}}
  analysis: {relative: {maxIncrease: 10%}}
---
apiVersion: bellwether.dev/v1alpha1
kind: Application
metadata: {name: shop}
spec:
  destination: {fleet: eu}
  hooks: []
  components: []
",
        &[
            "in.yaml:7:13 spec.trigger.allowLocal: what the hub delivers is the release's, so that an \
             edit in a cluster is drift and starts no run; say the change to the hub, or let a Rollout \
             without application, which names its destination, govern a workload that others write",
            "in.yaml:9:59 spec.instances.autoscaler.canaryQueries: no autoscaler is copied, so that its \
             queries mean the same pods before, during and after a run; leave them out",
            "in.yaml:10:14 spec.analysis.relative: what the new version may differ from the old one by \
             is a limit of each metric; write it below analysis.metrics",
            "in.yaml:17:3 spec.hooks: hooks of a run stand in its Rollout, those of what joins and \
             leaves a fleet in the Fleet",
        ],
    );
}

#[test]
fn names_of_other_projects_are_understood() {
    check(
        "apiVersion: bellwether.dev/v1alpha1
kind: Rollout
metadata: {name: web}
spec:
  application: shop
  workload: {apiVersion: apps/v1, kind: Deployment, name: web}
  targetRef: {name: web}
  progressDeadlineSeconds: 60
  strategy: {canary: {stepWeights: [1]}}
  analysis:
    checkIntervalSeconds: 10
    threshold: 5
    stepWeight: 10
    metrics:
    - {name: request-duration, thresholdRange: {max: 1}, interval: 1m}
",
        &[
            "in.yaml:7:3 spec.targetRef: unknown field; did you mean \"workload\"?",
            "in.yaml:8:3 spec.progressDeadlineSeconds: unknown field; did you mean \
             \"progressDeadline\"?",
            "in.yaml:9:23 spec.strategy.canary.stepWeights: unknown field; did you mean \
             \"weights\"?",
            "in.yaml:11:5 spec.analysis.checkIntervalSeconds: unknown field; did you mean \
             \"interval\"?",
            "in.yaml:12:5 spec.analysis.threshold: unknown field; did you mean \
             \"failureThreshold\"?",
            "in.yaml:13:5 spec.analysis.stepWeight: unknown field; did you mean \
             \"spec.strategy.canary.stepWeight\"?",
            "in.yaml:15:32 spec.analysis.metrics[0].thresholdRange: unknown field; did you mean \
             \"range\"?",
            "in.yaml:15:58 spec.analysis.metrics[0].interval: unknown field; did you mean \
             \"window\"?",
        ],
    );
}

#[test]
fn types_values_and_required_fields() {
    check(
        "apiVersion: bellwether.dev/v1alpha1
kind: Rollout
metadata:
  name: web
  labels: {country: no, version: 1.10, ok: \"no\"}
spec:
  application: 7
  workload: {kind: Deployment, name: }
  suspend: \"yes\"
  service: {name: web, port: [80]}
  progressDeadline: 10 minutes
  strategy:
    canary:
      stepWeight: 150
      maxWeight: -1
      weights: 10
      steps:
      - {weight: 12.5, replicas: half, advance: auto}
  onDeletion: Rolback
  analysis:
    interval: 60
    metrics:
    - name: request-duration
      range: {max: 500, min: abc}
",
        &[
            "in.yaml:5:21 metadata.labels.country: expected a string, found the boolean no; write \
             it in quotes: \"no\"",
            "in.yaml:5:34 metadata.labels.version: expected a string, found the number 1.10; write \
             it in quotes: \"1.10\"",
            "in.yaml:7:16 spec.application: expected a string, found the number 7; write it in \
             quotes: \"7\"",
            "in.yaml:8:13 spec.workload.apiVersion: required field is missing",
            "in.yaml:8:32 spec.workload.name: required field is missing",
            "in.yaml:9:12 spec.suspend: expected true or false, found a string",
            "in.yaml:10:30 spec.service.port: expected an integer or a string, found a list",
            "in.yaml:11:21 spec.progressDeadline: \"10 minutes\" is no duration; write it like \
             \"90s\" or \"1h30m\"",
            "in.yaml:14:19 spec.strategy.canary.stepWeight: 150 is above 100, the largest allowed \
             value",
            "in.yaml:15:18 spec.strategy.canary.maxWeight: -1 is below 0, the smallest allowed \
             value",
            "in.yaml:16:16 spec.strategy.canary.weights: expected a list, found the number 10",
            "in.yaml:18:18 spec.strategy.canary.steps[0].weight: expected an integer, found the \
             number 12.5",
            "in.yaml:18:34 spec.strategy.canary.steps[0].replicas: \"half\" is neither a count nor \
             a percentage; write 3 or \"25%\"",
            "in.yaml:18:49 spec.strategy.canary.steps[0].advance: unknown value \"auto\"; use one \
             of Auto, Manual, After; did you mean \"Auto\"?",
            "in.yaml:19:15 spec.onDeletion: unknown value \"Rolback\"; use one of Rollback, \
             Complete; did you mean \"Rollback\"?",
            "in.yaml:21:15 spec.analysis.interval: expected a duration such as 90s or 1h30m, found the \
             number 60",
            "in.yaml:24:20 spec.analysis.metrics[0].range.max: expected a string, found the number \
             500; write it in quotes: \"500\"",
            "in.yaml:24:30 spec.analysis.metrics[0].range.min: \"abc\" is no decimal number; write \
             it like \"99\" or \"0.5\"",
        ],
    );
}

#[test]
fn a_union_has_exactly_one_key() {
    check(
        "apiVersion: bellwether.dev/v1alpha1
kind: Rollout
metadata: {name: web}
spec:
  application: shop
  workload: {apiVersion: apps/v1, kind: Deployment, name: web}
  service: {name: web, port: 80}
  strategy:
    canary: {stepWeight: 10}
    blueGreen: {iterations: 3}
  traffic: [{}]
",
        &[
            "in.yaml:10:5 spec.strategy: exactly one may be set, found canary and blueGreen",
            "in.yaml:11:13 spec.traffic[0]: exactly one must be set of: alb, apisix, appMesh, contour, \
             gatewayApi, gloo, istio, knative, kuma, linkerd, nginx, none, skipper, traefik",
        ],
    );
}

#[test]
fn one_object_may_not_stand_twice() {
    let fleet = "apiVersion: bellwether.dev/v1alpha1\nkind: Fleet\nmetadata: {name: eu}\n\
                 spec: {clusters: [a]}\n";
    check(
        &format!("{fleet}---\n{fleet}"),
        &[
            "in.yaml:8:12 metadata.name: Fleet \"eu\" stands twice in this input; the first is at \
           3:12",
        ],
    );
}

#[test]
fn the_spec_itself_is_required_where_it_must_be() {
    let head = "apiVersion: bellwether.dev/v1alpha1\nmetadata: {name: x}\nkind: ";
    check(
        &format!("{head}Application\n"),
        &["in.yaml:1:1 spec: required field is missing"],
    );
    assert!(load("in.yaml", format!("{head}Cluster\n").as_bytes()).is_ok());
}
