//! Rollouts of Services of Knative: what is taken, and what is refused by name.

use one_component::application;

mod one_component;

fn errors(rollout: &str, service: &str) -> Vec<String> {
    let lines = format!(
        "    rollout:
      workload: {{apiVersion: serving.knative.dev/v1, kind: Service, name: web}}
{rollout}    manifests:
    - apiVersion: serving.knative.dev/v1
      kind: Service
      metadata: {{name: web}}
      spec:
{service}"
    );
    one_component::errors(&application("web", &lines))
}

const TEMPLATE: &str = "        template: {spec: {containers: [{image: web}]}}\n";
const KNATIVE: &str = "      traffic: [{knative: {}}]\n";
const CANARY: &str = "      strategy: {canary: {stepWeight: 10}}\n";

#[test]
fn weights_of_revisions_are_taken() {
    for strategy in [
        CANARY,
        "      strategy: {canary: {steps: [{weight: 10}, {weight: 50}]}}\n",
        "      strategy: {canary: {manual: {weight: 5}}}\n",
        "      strategy: {blueGreen: {iterations: 3}}\n",
    ] {
        let found = errors(&format!("{strategy}{KNATIVE}"), TEMPLATE);
        assert_eq!(found, [""; 0], "{strategy}");
    }
    let tagged =
        format!("{TEMPLATE}        traffic: [{{latestRevision: true, percent: 100, tag: now}}]\n");
    assert_eq!(errors(&format!("{CANARY}{KNATIVE}"), &tagged), [""; 0]);
}

#[test]
fn what_revisions_do_not_have_is_refused_by_name() {
    for (rollout, says) in [
        (
            CANARY.to_owned(),
            "traffic: a Service of Knative shares its requests itself",
        ),
        (
            format!("{CANARY}{KNATIVE}      service: {{name: web, port: 80}}\n"),
            "service: a Service of Knative is what clients use; leave service out",
        ),
        (
            format!("      strategy: {{batch: {{steps: [{{replicas: 1}}]}}}}\n{KNATIVE}"),
            "batch: no pod of a Service of Knative is updated",
        ),
        (
            format!(
                "      strategy: {{canary: {{steps: [{{weight: 10, replicas: 2}}]}}}}\n{KNATIVE}"
            ),
            "steps[0].replicas: Knative sizes each revision by its own requests",
        ),
        (
            format!("{CANARY}{KNATIVE}      instances: {{minReplicas: 2}}\n"),
            "instances: Knative sizes each revision",
        ),
        (
            format!("      strategy: {{canary: {{stepWeight: 10, mirror: true}}}}\n{KNATIVE}"),
            "knative (Service) cannot mirror requests",
        ),
        (
            format!(
                "      strategy: {{abTest: {{iterations: 2, match: [{{headers: [{{name: a, exact: b}}]}}]}}}}\n{KNATIVE}"
            ),
            "knative (Service) cannot match headers exactly",
        ),
        (
            format!("{CANARY}      traffic: [{{knative: {{}}}}, {{nginx: {{ingress: web}}}}]\n"),
            "leave knative out, or the other items",
        ),
        (
            format!("{CANARY}{KNATIVE}      hooks: [{{name: load}}]\n"),
            "hooks[0].load: a revision has no Service that the agent could ask; name a url",
        ),
        (
            format!(
                "{CANARY}{KNATIVE}      analysis: {{metrics: [{{name: cpu, template: {{name: cpu-usage}}, range: {{max: \"1\"}}}}]}}\n"
            ),
            "cpu-usage knows pods by the name of a copy",
        ),
    ] {
        let found = errors(&rollout, TEMPLATE);
        assert!(
            found.iter().any(|error| error.contains(says)),
            "{rollout}: {found:?}"
        );
    }
}

#[test]
fn a_service_that_names_its_revisions_is_refused() {
    let plan = format!("{CANARY}{KNATIVE}");
    let named = "        template: {metadata: {name: web-a}, spec: {containers: [{image: web}]}}\n";
    let pinned = format!("{TEMPLATE}        traffic: [{{revisionName: web-a, percent: 100}}]\n");
    for (service, says) in [
        (named, "leave spec.template.metadata.name out"),
        (pinned.as_str(), "gives requests to revision web-a"),
    ] {
        let found = errors(&plan, service);
        assert!(
            found.iter().any(|error| error.contains(says)),
            "{service}: {found:?}"
        );
    }
}
