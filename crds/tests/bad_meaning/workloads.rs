//! Workloads and their Services.

use bellwether_api::document::load;

use super::{APPLICATION, check};

#[test]
fn workloads() {
    let path = "spec.components[0].rollout";
    check(
        &[(
            "kind: Deployment, name: web}",
            "kind: Deployment, name: wbe}",
        )],
        &[&format!(
            "10:57 {path}.workload.name: Deployment default/wbe is not among the manifests of \
             component \"web\"; did you mean \"web\"?"
        )],
    );
    check(
        &[(
            "apiVersion: apps/v1, kind: Deployment, name: web}",
            "apiVersion: apps/v1, kind: StatefulSet, name: web, namespace: other}",
        )],
        &[
            &format!(
                "10:7 {path}.workload: nothing is known of a copy beside StatefulSet web (apps/v1); use \
                 strategy.batch, which updates it in place"
            ),
            &format!(
                "10:58 {path}.workload.name: StatefulSet other/web is not among the manifests of \
                 component \"web\""
            ),
        ],
    );
    for (group, kind, target) in [
        (
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            "kind: Deployment, name: web",
        ),
        ("keda.sh/v1alpha1", "ScaledObject", "name: web"),
    ] {
        let object = format!(
            "manifests:\n    - {{apiVersion: {group}, kind: {kind}, metadata: {{name: scaler}}, spec: {{scaleTargetRef: {{{target}}}}}}}"
        );
        check(&[("manifests:", &object)], &[]);
        let instances = |written: &str| format!("instances: {{{written}}}\n      strategy: ");
        let named = instances(&format!("autoscaler: {{kind: {kind}, name: scaler}}"));
        check(&[("manifests:", &object), ("strategy: ", &named)], &[]);
        let other = instances(&format!("autoscaler: {{kind: {kind}, name: other}}"));
        check(
            &[("manifests:", &object), ("strategy: ", &other)],
            &[&format!(
                "13:19 {path}.instances.autoscaler: Deployment web is scaled by {kind} scaler; name \
                 that one, or leave it out"
            )],
        );
        let fixed = instances("mode: FixedTotal");
        check(
            &[
                ("manifests:", &object),
                ("strategy: ", &fixed),
                ("spec: {template", "spec: {replicas: 3, template"),
            ],
            &[&format!(
                "13:19 {path}.instances.mode: {kind} scaler scales Deployment web, whose pods \
                 FixedTotal would take; use Surge"
            )],
        );
        let twice =
            object
                .replacen("name: scaler", "name: second", 1)
                .replacen("manifests:\n", "", 1);
        check(
            &[("manifests:", &format!("{object}\n{twice}"))],
            &[&format!(
                "10:7 {path}.workload: {kind} scaler and {kind} second both scale Deployment web; \
                 leave one"
            )],
        );
    }
    check(
        &[(
            "workload: {",
            "application: shop\n      component: web\n      workload: {",
        )],
        &[
            &format!(
                "10:7 {path}.application: leave it out here: the rollout belongs to the component \
                 that it stands in"
            ),
            &format!(
                "11:7 {path}.component: leave it out here: the rollout belongs to the component \
                 that it stands in"
            ),
        ],
    );
}

#[test]
fn services_that_cannot_be_pinned() {
    let service = "spec: {selector: {app: web}, ports: [{name: http, port: 80}]}";
    let path = "spec.components[0].rollout.service";
    for (spec, expected) in [
        (
            "spec: {ports: [{port: 80}]}",
            format!("11:7 {path}: Service web cannot be pinned to one version: it has no selector"),
        ),
        (
            "spec: {type: ExternalName, externalName: example.com}",
            format!(
                "11:7 {path}: Service web cannot be pinned to one version: it is of type ExternalName"
            ),
        ),
        (
            "spec: {selector: {app: other}, ports: [{port: 80}]}",
            format!(
                "11:7 {path}: Service web does not select the pods of Deployment web: its selector wants app=other"
            ),
        ),
        (
            "spec: {selector: {app: web}, ports: [{port: 81}, {name: admin, port: 82}]}",
            format!("11:28 {path}.port: Service web has no port 80; it has 81, 82 (admin)"),
        ),
    ] {
        check(&[(service, spec)], &[&expected]);
    }
    check(
        &[
            (
                "service: {name: web, port: 80}",
                "service: {name: wbe, port: 80}",
            ),
            ("backendRefs: [{name: web", "backendRefs: [{name: wbe"),
        ],
        &[&format!(
            "11:17 {path}.name: Service default/wbe is not among the application's manifests; did \
             you mean \"web\"?"
        )],
    );
    check(
        &[("      service: {name: web, port: 80}\n", "")],
        &[
            "11:7 spec.components[0].rollout.traffic: traffic is split behind a Service; set service \
           to the one that clients use",
        ],
    );
    let text = APPLICATION.replace(
        service,
        "spec: {clusterIP: None, selector: {app: web}, ports: [{port: 80}]}",
    );
    let loaded = load("in.yaml", text.as_bytes()).expect("a headless Service can be pinned");
    assert_eq!(
        loaded.warnings[0].to_string(),
        "in.yaml:11:7 spec.components[0].rollout.service: Service web is headless: clients that \
         resolve pods by DNS are not moved by weights"
    );
}
