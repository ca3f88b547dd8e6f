//! Rollouts of kinds that an adapter without a partition tells of: what is taken, and what is refused by name.

use bellwether_api::document::load;
use one_component::application;

mod one_component;

const ADAPTER: &str = "paused: /spec/paused, revisionLabel: version";
const CANARY: &str = "{canary: {stepWeight: 10}}";
const SPEC: &str =
    "replicas: 3, selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}}";
const SPLIT: &str = "      service: {name: web, port: 80}
      traffic: [{traefik: {ingressRoute: web}}]
";

/// What a document says.
struct Said<'a> {
    kind: &'a str,
    adapter: &'a str,
    strategy: &'a str,
    lines: &'a str,
    spec: &'a str,
    beside: &'a str,
}

const PLAIN: Said<'static> = Said {
    kind: "apiVersion: example.dev/v1, kind: Shard",
    adapter: ADAPTER,
    strategy: CANARY,
    lines: "",
    spec: SPEC,
    beside: "",
};

/// What is wrong with a component whose workload has this adapter, by its path.
fn errors(said: &Said<'_>) -> Vec<String> {
    let Said {
        kind,
        adapter,
        strategy,
        lines,
        spec,
        beside,
    } = said;
    let lines = format!(
        "    rollout:
      workload: {{{kind}, name: web, adapter: {{{adapter}}}}}
      strategy: {strategy}
{lines}    manifests:
    - {{{kind}, metadata: {{name: web}}, spec: {{{spec}}}}}
    - {{apiVersion: v1, kind: Service, metadata: {{name: web}}, spec: {{selector: {{app: web}}, ports: [{{port: 80}}]}}}}
    - apiVersion: traefik.io/v1alpha1
      kind: IngressRoute
      metadata: {{name: web}}
      spec: {{routes: [{{match: Host(`a`), services: [{{name: web, port: 80}}]}}]}}
{beside}"
    );
    one_component::errors(&application("web", &lines))
}

#[track_caller]
fn refused(said: &Said<'_>, expected: &[&str]) {
    let found = errors(said);
    let hits = found
        .iter()
        .zip(expected)
        .all(|(one, said)| one.starts_with(said));
    assert!(hits && found.len() == expected.len(), "{found:#?}");
}

#[test]
fn every_strategy_with_a_copy_is_taken() {
    for strategy in [
        CANARY,
        "{canary: {steps: [{weight: 10}, {weight: 50, replicas: 2}]}}",
        "{canary: {manual: {weight: 5}}}",
        "{abTest: {iterations: 2, match: [{headers: [{name: x, exact: z}]}]}}",
        "{blueGreen: {iterations: 2}}",
    ] {
        let said = Said {
            strategy,
            lines: SPLIT,
            ..PLAIN
        };
        refused(&said, &[]);
    }
    refused(&PLAIN, &[]);
    let clone_set = Said {
        kind: "apiVersion: apps.kruise.io/v1alpha1, kind: CloneSet",
        adapter: "paused: /spec/updateStrategy/paused, revisionLabel: controller-revision-hash",
        ..PLAIN
    };
    refused(&clone_set, &[]);
}

#[test]
fn what_an_adapter_without_a_partition_lacks_is_named_by_its_field() {
    let paused = "workload.adapter.paused: Shard web (example.dev/v1) has no partition, and could not be held";
    let label = "workload.adapter.revisionLabel: its Services are kept to the pods of one version by a label";
    for (adapter, expected) in [
        ("revisionLabel: version", vec![paused]),
        ("paused: /spec/paused", vec![label]),
        ("replicas: /spec/size", vec![paused, label]),
        (
            "paused: /status/paused, revisionLabel: ''",
            vec![
                "workload.adapter.paused: \"/status/paused\" is no JSON pointer below /spec/",
                "workload.adapter.revisionLabel: pods are told apart by a label; name it",
            ],
        ),
        (
            "paused: /spec/paused, revisionLabel: version, byOrdinal: true",
            vec!["workload.adapter.byOrdinal: it is of updates in place"],
        ),
        (
            "paused: /spec/paused, revisionLabel: version, waitsForBrokenPods: true",
            vec!["workload.adapter.waitsForBrokenPods: it is of updates in place"],
        ),
    ] {
        let spec = format!("{SPEC}, size: 3");
        let said = Said {
            adapter,
            spec: &spec,
            ..PLAIN
        };
        refused(&said, &expected);
    }
}

#[test]
fn strategies_that_do_not_go_with_an_adapter_are_refused_with_the_nearest_that_does() {
    let steps = "{batch: {steps: [{replicas: 100%}]}}";
    let batch = Said {
        strategy: steps,
        ..PLAIN
    };
    refused(
        &batch,
        &[
            "workload.adapter.partition: a batch holds pods back by a partition; say where it is, or use \
             canary, abTest or blueGreen",
        ],
    );
    let partition = Said {
        adapter: "partition: /spec/held",
        ..PLAIN
    };
    refused(
        &partition,
        &[
            "workload.adapter.partition: a partition is for updates in place; use it with strategy.batch, or \
             leave it out",
        ],
    );
    for kind in ["Deployment", "DaemonSet"] {
        let kind = format!("apiVersion: apps/v1, kind: {kind}");
        let said = Said {
            kind: &kind,
            ..PLAIN
        };
        let found = errors(&said);
        let expected = "needs no adapter for this strategy; leave it out";
        assert!(
            found.iter().any(|one| one.ends_with(expected)),
            "{found:#?}"
        );
    }
    let stateful = Said {
        kind: "apiVersion: apps/v1, kind: StatefulSet",
        ..PLAIN
    };
    refused(
        &stateful,
        &["workload: StatefulSet web (apps/v1) cannot be told to stand still"],
    );
}

#[test]
fn what_copies_of_such_kinds_do_not_have_is_refused_by_its_field() {
    let fixed = "      instances: {mode: FixedTotal}\n";
    let none = format!(
        "{}      traffic: [{{none: {{}}}}]\n",
        "      service: {name: web, port: 80}\n"
    );
    for (lines, adapter, expected) in [
        (
            fixed,
            ADAPTER,
            "instances.mode: which pods the controller takes",
        ),
        (&none, ADAPTER, "traffic[0].none: without a router"),
        (
            "      instances: {autoscaler: {kind: HorizontalPodAutoscaler, name: web}}\n",
            "paused: /spec/paused, revisionLabel: version, replicas: /spec/size",
            "instances.autoscaler: the size stands in /spec/size; only /spec/replicas is left",
        ),
    ] {
        let spec = format!("{SPEC}, size: 3");
        let said = Said {
            lines,
            adapter,
            spec: &spec,
            ..PLAIN
        };
        refused(&said, &[expected]);
    }
    let text = format!(
        "apiVersion: bellwether.dev/v1alpha1\nkind: Rollout\nmetadata: {{name: web}}\nspec:\n  \
         destination: {{fleet: all}}\n  workload: {{apiVersion: example.dev/v1, kind: Shard, name: web, \
         namespace: shop, adapter: {{{ADAPTER}}}}}\n  strategy: {CANARY}\n"
    );
    let found = load("in.yaml", text.as_bytes()).err().unwrap_or_default();
    let [only] = found.as_slice() else {
        panic!("{found:#?}");
    };
    assert_eq!(only.path.to_string(), "spec.workload.adapter");
    assert!(only.message.contains("does not deliver"), "{only:?}");
}

#[test]
fn an_autoscaler_of_a_size_that_is_not_left_to_it_is_refused() {
    let scaler = "    - apiVersion: autoscaling/v2
      kind: HorizontalPodAutoscaler
      metadata: {name: web}
      spec: {scaleTargetRef: {apiVersion: example.dev/v1, kind: Shard, name: web}, maxReplicas: 9}
";
    let plain = Said {
        beside: scaler,
        ..PLAIN
    };
    refused(&plain, &[]);
    let spec = format!("{SPEC}, size: 3");
    let elsewhere = Said {
        adapter: "paused: /spec/paused, revisionLabel: version, replicas: /spec/size",
        spec: &spec,
        ..plain
    };
    refused(
        &elsewhere,
        &[
            "workload.adapter.replicas: HorizontalPodAutoscaler web scales Shard web, whose size stands in",
        ],
    );
}

#[test]
fn a_manifest_of_which_no_copy_can_be_made_is_refused() {
    for (spec, field) in [
        (
            "replicas: 3, template: {metadata: {labels: {app: web}}}",
            "spec.selector.matchLabels",
        ),
        (
            "replicas: 3, selector: {matchLabels: {app: web}}",
            "spec.template",
        ),
        (
            "selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}}",
            "spec.replicas",
        ),
    ] {
        let found = errors(&Said { spec, ..PLAIN });
        let [only] = found.as_slice() else {
            panic!("{found:#?}");
        };
        assert!(only.starts_with("workload: Shard web: its copy"), "{only}");
        assert!(only.contains(field), "{only}");
    }
}

#[test]
fn pointers_that_a_run_cannot_drive_are_refused() {
    let spec = format!("{SPEC}, size: 3");
    for (paused, replicas, expected) in [
        (
            "/spec/template/paused",
            "/spec/size",
            "paused: the pod template is what changes; paused stands beside it",
        ),
        (
            "/spec/selector/paused",
            "/spec/size",
            "paused: the selector never changes; paused stands beside it",
        ),
        (
            "/spec/pools/0/paused",
            "/spec/size",
            "paused: \"/spec/pools/0/paused\" leads into a list",
        ),
        (
            "/spec/size",
            "/spec/size",
            "paused: \"/spec/size\" and replicas, which is \"/spec/size\", are one field",
        ),
        (
            "/spec/size/paused",
            "/spec/size",
            "paused: \"/spec/size/paused\" and replicas",
        ),
    ] {
        let adapter = format!("paused: {paused}, revisionLabel: version, replicas: {replicas}");
        let said = Said {
            adapter: &adapter,
            spec: &spec,
            ..PLAIN
        };
        refused(&said, &[&format!("workload.adapter.{expected}")]);
    }
    let beside = Said {
        adapter: "paused: /spec/size-paused, revisionLabel: version, replicas: /spec/size",
        spec: &spec,
        ..PLAIN
    };
    refused(&beside, &[]);
    let replicas = Said {
        adapter: "paused: /spec/paused, revisionLabel: version, replicas: /spec/template/size",
        spec: "selector: {matchLabels: {app: web}}, template: {size: 3, metadata: {labels: {app: web}}}",
        ..PLAIN
    };
    refused(
        &replicas,
        &["workload.adapter.replicas: the pod template is what changes; replicas stands beside it"],
    );
}

#[test]
fn a_service_that_selects_by_the_revision_label_is_refused() {
    let service = |namespace: &str, selector: &str| {
        format!(
            "    - {{apiVersion: v1, kind: Service, metadata: {{name: old{namespace}}}, spec: {{selector: \
             {{{selector}}}, ports: [{{port: 80}}]}}}}\n"
        )
    };
    let said = "workload.adapter.revisionLabel: Service old selects by version itself";
    for (namespace, selector, expected) in [
        ("", "app: web, version: a", vec![said]),
        ("", "version: a", vec![said]),
        ("", "ring: x, version: a", vec![said]),
        ("", "app: web", vec![]),
        ("", "app: db, version: a", vec![]),
        (", namespace: other", "app: web, version: a", vec![]),
    ] {
        let beside = service(namespace, selector);
        let plain = Said {
            beside: &beside,
            ..PLAIN
        };
        refused(&plain, &expected);
    }
}

#[test]
fn labels_of_a_manifest_that_tell_no_versions_apart_are_refused() {
    for (template, expected) in [
        (
            "{app: web, version: a}",
            "version is what its controller tells versions apart by",
        ),
        (
            "{ring: a}",
            "its Services are found by the labels of its pod template",
        ),
    ] {
        let spec = format!(
            "replicas: 3, selector: {{matchLabels: {{app: web}}}}, template: {{metadata: {{labels: {template}}}}}"
        );
        let said = Said {
            spec: &spec,
            ..PLAIN
        };
        refused(&said, &[&format!("workload: Shard web: {expected}")]);
    }
}
