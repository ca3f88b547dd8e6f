//! Updates in place: what a plan may say, and of which kinds.

use bellwether_api::document::load;

const STATEFUL_SET: &str = "{apiVersion: apps/v1, kind: StatefulSet, name: db}";
const STEPS: &str = "{batch: {steps: [{replicas: 4}, {replicas: 50%}, {replicas: 100%}]}}";

/// What is wrong with a plan of this workload and strategy, paths below `spec`.
fn errors(workload: &str, strategy: &str, lines: &str) -> Vec<String> {
    let text = format!(
        "apiVersion: bellwether.dev/v1alpha1\nkind: Rollout\n\
         metadata: {{name: db, namespace: default}}\nspec:\n  application: shop\n  \
         workload: {workload}\n  strategy: {strategy}\n{lines}\n"
    );
    let errors = load("in.yaml", text.as_bytes()).err().unwrap_or_default();
    errors
        .iter()
        .map(|error| {
            let path = error.path.to_string();
            format!("{}: {}", path.trim_start_matches("spec."), error.message)
        })
        .collect()
}

#[track_caller]
fn check(workload: &str, strategy: &str, lines: &str, expected: &[&str]) {
    assert_eq!(
        errors(workload, strategy, lines),
        expected,
        "{workload} {strategy} {lines}"
    );
}

#[test]
fn kinds_that_hold_pods_back_are_accepted() {
    for workload in [
        STATEFUL_SET,
        "{apiVersion: apps/v1, kind: DaemonSet, name: db}",
        "{apiVersion: apps.kruise.io/v1alpha1, kind: CloneSet, name: db}",
        "{apiVersion: example.dev/v1, kind: Shard, name: db, adapter: {partition: /spec/held}}",
        "{apiVersion: example.dev/v1, kind: Shard, name: db, adapter: {partition: /spec/update/held, \
         paused: /spec/paused, updated: /status/new, updatedAvailable: /status/newReady}}",
    ] {
        check(workload, STEPS, "", &[]);
    }
    check(STATEFUL_SET, STEPS, "  instances: {mode: InPlace}", &[]);
    check(
        STATEFUL_SET,
        "{type: Batch, batch: {steps: [{name: first, replicas: 1, advance: After, after: 10m}, {replicas: 2, advance: Auto}]}}",
        "  analysis: {metrics: [{name: errors, query: 'sum(up)', range: {max: '1'}}]}",
        &[],
    );
}

#[test]
fn kinds_that_do_not_are_refused_by_name() {
    check(
        "{apiVersion: apps/v1, kind: Deployment, name: db}",
        STEPS,
        "",
        &[
            "workload: a Deployment cannot hold pods back, so that it is not updated in place; use \
             canary with steps that name replicas",
        ],
    );
    check(
        "{apiVersion: example.dev/v1, kind: Shard, name: db}",
        STEPS,
        "",
        &[
            "workload: nothing is known of how Shard db (example.dev/v1) holds pods back; say where \
             its partition is in workload.adapter",
        ],
    );
    check(
        STATEFUL_SET,
        "{canary: {stepWeight: 10}}",
        "",
        &[
            "workload: nothing is known of a copy beside StatefulSet db (apps/v1); use strategy.batch, \
             which updates it in place",
        ],
    );
}

#[test]
fn adapters_point_into_the_object() {
    let adapter = |fields: &str| {
        format!("{{apiVersion: example.dev/v1, kind: Shard, name: db, adapter: {{{fields}}}}}")
    };
    for (fields, expected) in [
        (
            "partition: spec.held",
            "workload.adapter.partition: \"spec.held\" is no JSON pointer below /spec/, such as \
             /spec/partition",
        ),
        (
            "partition: /spec/held, updated: /spec/new",
            "workload.adapter.updated: \"/spec/new\" is no JSON pointer below /status/, such as \
             /status/partition",
        ),
        (
            "partition: /spec/template/held",
            "workload.adapter.partition: the pod template is what changes; partition stands \
             beside it",
        ),
        (
            "partition: /spec/held, revisionLabel: ''",
            "workload.adapter.revisionLabel: pods are told apart by a label; name it",
        ),
    ] {
        check(&adapter(fields), STEPS, "", &[expected]);
    }
    check(
        "{apiVersion: apps/v1, kind: Deployment, name: db, adapter: {partition: /spec/held}}",
        "{canary: {stepWeight: 10}}",
        "",
        &["workload.adapter: a Deployment needs no adapter for this strategy; leave it out"],
    );
}

#[test]
fn a_mirror_of_a_step_is_refused_with_why() {
    check(
        STATEFUL_SET,
        "{batch: {steps: [{replicas: 4, mirror: 20}, {replicas: 100%}]}}",
        "",
        &[
            "strategy.batch.steps[0].mirror: a batch changes the pods that users reach, with their \
             volumes, so that a mirrored request would be answered, and written, twice by one workload; \
             use canary, whose copy stands apart",
        ],
    );
}

#[test]
fn steps_grow_and_count_pods_alone() {
    let at = "strategy.batch.steps";
    let steps = |steps: &str| format!("{{batch: {{steps: [{steps}]}}}}");
    for (written, expected) in [
        (
            "{}",
            vec![format!(
                "{at}[0].replicas: a batch is a number of pods; set replicas"
            )],
        ),
        (
            "{replicas: 0}",
            vec![format!("{at}[0].replicas: a batch has at least 1 pod")],
        ),
        (
            "{replicas: 120%}",
            vec![format!("{at}[0].replicas: a share is at most 100%")],
        ),
        (
            "{replicas: 4}, {replicas: 50%}, {replicas: 20%}",
            vec![format!(
                "{at}[2].replicas: steps count all new pods and do not fall; 20% follows 50%"
            )],
        ),
        (
            "{replicas: 4}, {replicas: 3}",
            vec![format!(
                "{at}[1].replicas: steps count all new pods and do not fall; 3 follows 4"
            )],
        ),
        (
            "{match: [{method: GET}]}",
            vec![
                format!(
                    "{at}: a step with weight or match needs a route; set service to the one that clients use"
                ),
                format!("{at}[0].replicas: a batch is a number of pods; set replicas"),
            ],
        ),
        (
            "{name: a, replicas: 1, advance: After}, {name: a, replicas: 2, after: 1m}",
            vec![
                format!("{at}[0].advance: After needs a time; set after"),
                format!("{at}[1].name: two steps are named \"a\""),
                format!("{at}[1].after: after is used with advance: After only"),
            ],
        ),
    ] {
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        check(STATEFUL_SET, &steps(written), "", &expected);
    }
}

#[test]
fn what_a_batch_does_not_have_is_refused_by_name() {
    for (lines, expected) in [
        (
            "  instances: {mode: FixedTotal}",
            "instances.mode: a batch updates pods where they are; use InPlace, or leave mode out",
        ),
        (
            "  instances: {mode: InPlace, maxReplicas: 3}",
            "instances.maxReplicas: an update in place adds no pods; leave it out",
        ),
        (
            "  instances: {readyThreshold: 3}",
            "instances.readyThreshold: use a percentage of 1% to 100%",
        ),
        (
            "  instances: {readyThreshold: 0%}",
            "instances.readyThreshold: use a percentage of 1% to 100%",
        ),
        (
            "  analysis: {metrics: [{name: request-success-rate, range: {min: '99'}}]}",
            "analysis.metrics[0]: request-success-rate measures the new version's Service; give \
             every step but one of 100% a weight or a match, or use a query or a template of your \
             own",
        ),
        (
            "  analysis: {metrics: [{name: e, query: up, relative: {max: '5', betterWhen: Lower}}]}",
            "analysis.metrics[0]: both versions have pods of one workload, which a comparison \
             cannot tell apart; use range",
        ),
    ] {
        check(STATEFUL_SET, STEPS, lines, &[expected]);
    }
    check(
        "{apiVersion: apps/v1, kind: Deployment, name: db}",
        "{canary: {stepWeight: 10}}",
        "  instances: {mode: InPlace}",
        &[
            "instances.mode: InPlace is what strategy.batch does, and this plan has none; use Surge \
             or FixedTotal",
        ],
    );
}

const SPLIT: &str =
    "  service: {name: db, port: 80}\n  traffic: [{gatewayApi: {httpRoutes: [db]}}]";

#[test]
fn steps_may_say_where_requests_go() {
    let steps = |steps: &str| format!("{{batch: {{steps: [{steps}]}}}}");
    for taken in [
        "{replicas: 10, match: [{headers: [{name: x-employee, exact: 'true'}]}]}, \
         {replicas: 50%, weight: 50}, {replicas: 100%}",
        "{weight: 5}",
        "{weight: 5, replicas: 20%}, {weight: 100, replicas: 50%}",
        "{replicas: 1, weight: 0}, {weight: 100}",
    ] {
        check(STATEFUL_SET, &steps(taken), SPLIT, &[]);
        let metrics = "  analysis: {metrics: [{name: request-success-rate, range: {min: '99'}}, \
                       {name: request-duration, relative: {max: '10'}}]}";
        check(
            STATEFUL_SET,
            &steps(taken),
            &format!("{SPLIT}\n{metrics}"),
            &[],
        );
    }
    check(STATEFUL_SET, STEPS, SPLIT, &[]);
}

#[test]
fn what_a_batch_cannot_split_is_refused_by_name() {
    let at = "strategy.batch.steps";
    let by_turns = "some steps say where requests go, and a step without weight and match leaves it \
                    to the number of pods; give each but one of 100% a weight or a match, or none";
    let no_choice = "with every pod new there is no version left to choose; leave it out";
    for (written, expected) in [
        (
            "{replicas: 1}, {replicas: 50%, weight: 50}",
            vec![format!("{at}[0].weight: {by_turns}")],
        ),
        (
            "{replicas: 1, weight: 10}, {replicas: 50%}, {replicas: 100%}",
            vec![format!("{at}[1].weight: {by_turns}")],
        ),
        (
            "{replicas: 1, weight: 10}, {replicas: 2, weight: 5}",
            vec![format!("{at}[1].weight: weights do not fall; 5 follows 10")],
        ),
        (
            "{replicas: 100%, weight: 50, match: [{method: GET}]}",
            vec![
                format!("{at}[0].weight: {no_choice}"),
                format!("{at}[0].match: {no_choice}"),
            ],
        ),
        (
            "{weight: 20}, {weight: 30, replicas: 10%}",
            vec![format!(
                "{at}[1].replicas: steps count all new pods and do not fall; 10% follows 20%"
            )],
        ),
    ] {
        let strategy = format!("{{batch: {{steps: [{written}]}}}}");
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        check(STATEFUL_SET, &strategy, SPLIT, &expected);
    }
    let split = "{batch: {steps: [{weight: 20}]}}";
    for (strategy, lines, expected) in [
        (
            split,
            "  service: {name: db, port: 80}\n  traffic: [{none: {}}]".to_owned(),
            "traffic[0].none: without a router the share of traffic is the share of pods, which a \
             batch sets; leave weight and match out",
        ),
        (
            "{batch: {steps: [{replicas: 1, match: [{method: GET}]}]}}",
            "  service: {name: db, port: 80}\n  traffic: [{nginx: {ingress: db}}]".to_owned(),
            "traffic[0].nginx.ingress: nginx.ingress (Ingress) cannot match the method; it can \
             match headers exactly",
        ),
        (
            STEPS,
            format!("{SPLIT}\n  sessionAffinity: {{cookieName: a}}"),
            "sessionAffinity: only weights draw users by chance; this strategy needs no session \
             affinity",
        ),
        (
            split,
            format!(
                "{SPLIT}\n  analysis: {{metrics: [{{name: cpu, template: {{name: cpu-usage}}, range: {{max: '1'}}}}]}}"
            ),
            "analysis.metrics[0]: cpu-usage knows pods by the name of a copy, and an update in \
             place makes none; use a query or a template of your own",
        ),
        (
            STEPS,
            "  hooks: [{name: a, type: PreRollout, url: 'http://a.example/'}]".to_owned(),
            "hooks[0].type: no step has a weight or a match: a PreRollout hook is never called; use \
             ConfirmRollout or Rollout",
        ),
    ] {
        check(STATEFUL_SET, strategy, &lines, &[expected]);
    }
    check(
        STATEFUL_SET,
        split,
        &format!("{SPLIT}\n  hooks: [{{name: a, type: PreRollout, url: 'http://a.example/'}}]"),
        &[],
    );
}

#[test]
fn a_threshold_of_ready_pods_goes_with_batches() {
    check(
        STATEFUL_SET,
        STEPS,
        "  instances: {readyThreshold: 80%}",
        &[],
    );
    check(
        "{apiVersion: apps/v1, kind: Deployment, name: db}",
        "{canary: {stepWeight: 10}}",
        "  instances: {readyThreshold: 80%}",
        &[
            "instances.readyThreshold: a copy counts once all its pods are ready; readyThreshold \
             goes with strategy.batch",
        ],
    );
}

#[test]
fn the_manifest_says_how_many_pods_there_are() {
    let application = |spec: &str| {
        format!(
            "apiVersion: bellwether.dev/v1alpha1\nkind: Application\n\
             metadata: {{name: shop, namespace: default}}\nspec:\n  \
             destination: {{clusters: [c1]}}\n  components:\n  - name: db\n    manifests:\n    \
             - apiVersion: apps/v1\n      kind: StatefulSet\n      metadata: {{name: db}}\n      \
             spec: {spec}\n    rollout:\n      workload: {STATEFUL_SET}\n      strategy: {STEPS}\n"
        )
    };
    let found = |spec: &str| -> Vec<String> {
        let errors = load("in.yaml", application(spec).as_bytes()).err();
        errors
            .unwrap_or_default()
            .iter()
            .map(ToString::to_string)
            .collect()
    };
    assert_eq!(found("{replicas: 10, template: {}}"), Vec::<String>::new());
    let unsized_ = found("{template: {}}");
    assert!(
        unsized_.len() == 1 && unsized_[0].contains("set spec.replicas there"),
        "{unsized_:?}"
    );
    let on_delete = found("{replicas: 3, updateStrategy: {type: OnDelete}, template: {}}");
    assert!(
        on_delete.len() == 1 && on_delete[0].contains("OnDelete"),
        "{on_delete:?}"
    );
}

#[test]
fn steps_that_say_where_requests_go_are_refused_beside_an_autoscaler() {
    let application = |steps: &str| {
        format!(
            "apiVersion: bellwether.dev/v1alpha1\nkind: Application\n\
             metadata: {{name: shop, namespace: default}}\nspec:\n  \
             destination: {{clusters: [c1]}}\n  components:\n  - name: db\n    manifests:\n    \
             - apiVersion: apps/v1\n      kind: StatefulSet\n      metadata: {{name: db}}\n      \
             spec: {{replicas: 3, template: {{}}}}\n    \
             - apiVersion: v1\n      kind: Service\n      metadata: {{name: db}}\n      \
             spec: {{selector: {{app: db}}, ports: [{{port: 80}}]}}\n    \
             - apiVersion: autoscaling/v2\n      kind: HorizontalPodAutoscaler\n      \
             metadata: {{name: more}}\n      \
             spec: {{scaleTargetRef: {{apiVersion: apps/v1, kind: StatefulSet, name: db}}}}\n    \
             rollout:\n      workload: {STATEFUL_SET}\n      service: {{name: db, port: 80}}\n      \
             traffic: [{{gatewayApi: {{httpRoutes: [db]}}}}]\n      \
             strategy: {{batch: {{steps: [{steps}]}}}}\n"
        )
    };
    let found = |steps: &str| -> Vec<String> {
        let errors = load("in.yaml", application(steps).as_bytes()).err();
        let errors = errors.unwrap_or_default();
        errors.iter().map(|error| error.message.clone()).collect()
    };
    let by_pods = found("{replicas: 1}, {replicas: 100%}");
    let split = found("{replicas: 1, weight: 20}, {replicas: 100%}");
    let about = |messages: &[String]| {
        let about = messages.iter();
        about.filter(|one| one.contains("replicas alone")).count()
    };
    assert_eq!(about(&by_pods), 0, "{by_pods:?}");
    assert_eq!(about(&split), 1, "{split:?}");
    assert!(
        split
            .iter()
            .any(|one| { one.contains("HorizontalPodAutoscaler more scales StatefulSet db") }),
        "{split:?}"
    );
}
